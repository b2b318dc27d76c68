/* SPDX-License-Identifier: BSD-2-Clause */
/* net_priv - private to net/: an interface, and what its parts tell one another. */
#ifndef NET_NET_PRIV_H
#define NET_NET_PRIV_H

/* lwIP has a mem_free() of its own (net.mk gives it another name): its header is seen under that
 * one, so this header comes before any of lwIP's. */
#define mem_free lwip_mem_free
#include "lwip/mem.h"
#undef mem_free

#include "kernel/api/list.h"
#include "lwip/netif.h"
#include "mapper/nic.h"
#include "net/net.h"

struct nif {
	struct netif netif;
	struct nic *nic;
	bool dhcp, had_lease;
	uint16_t csum_flags; /* lwIP's, for frames whose checksum is good */
	struct {             /* net_gro.c: what may still grow */
		struct pbuf *head, *tail;
		unsigned bytes, joined;
		uint32_t next_seq;
	} gro;
	/* Packets given to the NIC and given back by it, which happens in order: memory that was
	 * let go when `queued` stood at n is the NIC's no more once `done` has come to n. */
	uint64_t queued, done;
	uint64_t barrier; /* net_if.c's */
	struct list node;
};

struct net_conn {
	struct tcp_pcb *pcb; /* NULL: gone */
	const struct net_conn_ops *ops;
	void *ctx;
	uint16_t peer_mss;
	uint16_t max_pieces;     /* of one segment */
	uint16_t small_segments; /* received */
	bool dirty, closing, in_callback, abort_wanted, wants_room;
	bool retry;            /* net_send.c's */
	uint64_t given, acked; /* bytes */
	uint64_t resent;       /* up to here there may be copies of what was sent */
	struct net_pin *pins, **pins_tail;
	/* net_send.c: the segment that still grows, its last buffer and how many it has */
	struct tcp_seg *tail_seg;
	uint32_t tail_seq;
	struct pbuf *tail;
	unsigned nr_pieces;
	struct net_conn *next_dirty;
	struct list node;
	ip_addr_t local, peer;
	uint16_t local_port, peer_port;
};

extern struct list nifs; /* of struct nif, in order of NICs */

struct nif *nif_find(const char *name);
/* The segment that goes out next belongs to a connection whose peer takes so many bytes a segment.
 */
extern uint16_t net_segment_size;

/* net_gro.c: a frame whose checksum is good, on its way up; and what is held back of those. */
void net_gro(struct nif *n, struct pbuf *p);
void net_gro_end(struct nif *n);
void net_up(struct nif *n, struct pbuf *p); /* net_if.c: into lwIP */
/* net_clock.c.  Before anything is given to lwIP that makes it wait for something. */
void net_clock_wind(void);
void net_clock_init(void);
/* net_send.c: memory for what is under way; a connection begins, and is gone. */
int net_send_init(void);
void net_send_beat(void); /* now and then */
void net_send_begin(struct net_conn *c);
void net_send_forget(struct net_conn *c);
/* net_tcp.c: tells it that there is room, if it wants to know; it may be gone then. */
void net_writable(struct net_conn *c);
/* net_tcp.c: pins whose memory waits for a NIC may be done. */
void net_tcp_reaped(void);
/* Whether nothing is with any NIC that was given to it before net_tx_mark(); a new mark takes the
 * place of the last. */
void net_tx_mark(void);
bool net_tx_passed(void);
bool net_tx_idle(void); /* nothing is with any NIC */

#endif

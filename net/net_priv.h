/* SPDX-License-Identifier: BSD-2-Clause */
/* net_priv - private to net/: an interface, and what its parts tell one another. */
#ifndef NET_NET_PRIV_H
#define NET_NET_PRIV_H

/* lwIP has a mem_free() of its own (net.mk gives it another name): its header is seen under that
 * one, so this header comes before any of lwIP's. */
#define mem_free lwip_mem_free
#include "lwip/mem.h"
#undef mem_free

#include "lwip/netif.h"
#include "mapper/nic.h"
#include "net/net.h"

struct nif {
	struct netif netif;
	struct nic *nic;
	bool dhcp, had_lease;
	/* Packets given to the NIC and given back by it, which happens in order: memory that was
	 * let go when `queued` stood at n is the NIC's no more once `done` has come to n. */
	uint64_t queued, done;
	struct list node;
};

extern struct list nifs; /* of struct nif, in order of NICs */

struct nif *nif_find(const char *name);
/* The segment that goes out next belongs to a connection whose peer takes so many bytes a segment.
 */
extern uint16_t net_segment_size;

/* Something was given to lwIP that may have changed when its timers are due. */
void net_timers_changed(void);
/* net_tcp.c: pins whose memory waits for a NIC may be done. */
void net_tcp_reaped(void);
/* Whether nothing given to any NIC before `stamp` (net_tx_stamp()) is out any more. */
uint64_t net_tx_stamp(void);
bool net_tx_passed(uint64_t stamp);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net - TCP for exports, and the addresses of the machine.  Nothing outside net/ knows lwIP.  All
 * of it is used on core 0, on the loop or a fiber; callbacks come on the loop and must not block.
 *
 * Sending.  What is given to net_send() during one turn of the loop leaves together, in as few
 * segments as the NIC can take.  Received bytes are shown where they landed; net_consumed() opens
 * the window again, so a reader that is slow stops its peer and no one else.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "kernel/api/base.h"
#include "kernel/api/errno.h"
#include "kernel/api/strbuf.h"

struct net_conn;
struct net_listener;

/* Received memory; counted references. */
struct net_ref;
void net_ref_get(struct net_ref *r);
void net_ref_put(struct net_ref *r);

/* Memory under way to the peer: unchanged from net_send() until done(), which comes exactly once,
 * when the peer has acknowledged it or the connection is gone.  A net_send() that failed never
 * calls it. */
struct net_pin {
	void (*done)(struct net_pin *pin);
	/* net/'s */
	struct net_pin *next;
	uint64_t end;
};

struct net_conn_ops {
	/* n bytes in order.  They are readable until the callback returns; who needs them longer
	 * takes a reference to ref. */
	void (*input)(void *ctx, const uint8_t *p, size_t n, struct net_ref *ref);
	/* A net_send() that was refused would now be worth trying. */
	void (*writable)(void *ctx);
	/* 0: the peer closed its side (what we sent may still arrive: net_close() it), else -errno.
	 * With -errno the connection is gone when this returns; with 0 it still must be closed. */
	void (*closed)(void *ctx, int err);
};

/* accept: who calls net_conn_set() and returns 0 has the connection; else it is reset. */
struct net_listener *net_listen(
	uint16_t port, int (*accept)(void *ctx, struct net_conn *c), void *ctx);
void net_unlisten(struct net_listener *l);
void net_conn_set(struct net_conn *c, const struct net_conn_ops *ops, void *ctx);

/* All of it or nothing: 0, -EAGAIN (no room; writable() will come), -ENOTCONN.  pin NULL: p is
 * copied (for headers).  n is 1..NET_SEND_MAX, NET_COPY_MAX of what is copied. */
#define NET_SEND_MAX 65536
#define NET_COPY_MAX 8192
/* In the place of a pin: not copied either, and a later pin on the same connection, or
 * net_linger(), says when it may change. */
#define NET_KEEP ((struct net_pin *)1)
int net_send(struct net_conn *c, const void *p, size_t n, struct net_pin *pin);
/* A header, which is copied, and what follows it, which has a pin: both or nothing. */
int net_send_with(struct net_conn *c, const void *head, size_t head_len, const void *p, size_t n,
	struct net_pin *pin);
/* done() as soon as no NIC has anything any more of what was sent before, on whatever connection:
 * for memory whose connection is gone. */
void net_linger(struct net_pin *pin);
size_t net_room(const struct net_conn *c);    /* bytes that surely fit now */
uint64_t net_given(const struct net_conn *c); /* bytes sent so far ... */
uint64_t net_acked(const struct net_conn *c); /* ... and acknowledged by the peer */
/* Somebody waits for what lies unacknowledged on other connections. */
bool net_starves(void);
/* Lets what was given so far leave without waiting for the end of the turn. */
void net_push(struct net_conn *c);
void net_consumed(struct net_conn *c, size_t n);
/* Sends what is queued and then FIN; no callbacks after this but pins' done(). */
void net_close(struct net_conn *c);
/* RST; pins are done, no callbacks after this. */
void net_abort(struct net_conn *c);

#define NET_ADDR_TEXT 64
/* "10.0.2.15", "fe80::1"; with_port: "10.0.2.15:3260", "[fe80::1]:3260" */
void net_local_text(const struct net_conn *c, bool with_port, char text[NET_ADDR_TEXT]);
void net_peer_text(const struct net_conn *c, bool with_port, char text[NET_ADDR_TEXT]);

/* Takes all NICs there are and starts DHCP on each. */
int net_init(void);

/* ---- `ip` and `ping`: text in, text out, as iproute2 and iputils print it ---- */

/* argv: "addr add 10.0.0.2/24 dev eth0", "link", "route add default via 10.0.0.1", ... */
may_block int net_ip(unsigned argc, char **argv, struct strbuf *out, struct strbuf *why);
struct net_ping {
	char address[NET_ADDR_TEXT];
	unsigned seq, bytes, ttl;
	uint64_t ns; /* round trip */
};
/* One echo request to an address in text; 0, -ETIMEDOUT, -EHOSTUNREACH, -EINVAL (no address). */
may_block int net_ping(const char *address, unsigned seq, unsigned bytes, uint64_t timeout_ns,
	struct net_ping *answer);
/* The first IPv4 address of the machine in text, "" while there is none. */
void net_first_address(char text[NET_ADDR_TEXT]);

#endif

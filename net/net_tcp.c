/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_tcp - connections over lwIP's raw API.
 *
 * Large segments.  lwIP announces the segment size of the wire, so peers send what fits; what we
 * send may be far larger where the NIC cuts TCP: after the handshake a connection's segment size is
 * raised, and the NIC is told the peer's real one (net_hook_segment).
 *
 * Pins.  lwIP keeps pointers to memory, not copies.  A pin is done when its last byte has been
 * acknowledged, or the connection is gone, and besides no NIC has a packet any more that was queued
 * before that moment: after a retransmission, or a reset, an old copy could still be in its ring.
 * Those that wait for it do so in two lots: while the NICs come to the point where they were when
 * the first was closed, the second is gathered.
 */
#include "net/net_priv.h"

#include "kernel/api/core.h"
#include "kernel/api/list.h"
#include "kernel/api/mem.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#define BIG_SEGMENTS  30 /* wire segments in one of ours */
#define BIG_MAX       43800
#define FIRST_WINDOW  (256u * 1024) /* a storage network: no slow start below this */
#define OOSEQ_MAX     128
#define MSS_MIN4      256  /* who can take no more than that is no initiator */
#define MSS_MIN6      1220 /* RFC 8200: no path has less */
#define SMALL         512  /* a segment that need not be acknowledged at once ... */
#define SMALL_ACK     16   /* ... but every so many */
#define KEEP_IDLE_MS  30000
#define KEEP_INTVL_MS 5000
#define KEEP_CNT      6

struct net_listener {
	struct tcp_pcb *pcb;
	int (*accept)(void *ctx, struct net_conn *c);
	void *ctx;
};

static struct mem_tag conn_tag = MEM_TAG("net connections");
/* Pins let go whose memory a NIC may still read. */
static struct net_pin *zombies, *zombies_next;

uint32_t *net_hook_segment(
	struct pbuf *p, struct tcp_hdr *hdr, const struct tcp_pcb *pcb, uint32_t *opts)
{
	bool ours = pcb && pcb->state != SYN_RCVD && pcb->state != LISTEN;
	struct net_conn *c = ours ? pcb->callback_arg : NULL;

	/* Only segments with data of connections that were accepted are ever larger than the wire
	 * takes; of others this is not looked at. */
	net_segment_size = c ? c->peer_mss : TCP_MSS;
	if (c && unlikely(TCP_SEQ_LT(lwip_ntohl(hdr->seqno), pcb->snd_nxt)))
		c->resent = c->given;
	return opts;
}

void net_hook_ack(struct tcp_pcb *pcb, unsigned bytes)
{
	struct net_conn *c = pcb->callback_arg;
	bool small = c && bytes < SMALL && ++c->small_segments % SMALL_ACK;

	if (pcb->flags & TF_ACK_DELAY && !small) {
		tcp_clear_flags(pcb, TF_ACK_DELAY);
		tcp_ack_now(pcb);
	} else {
		tcp_set_flags(pcb, TF_ACK_DELAY);
	}
}

/* What waits for a lost segment keeps buffers from the NIC, and many who are sent one byte too late
 * for ever would leave it none: the fewer there are, the less may wait. */
unsigned net_hook_ooseq(void)
{
	unsigned most = OOSEQ_MAX;
	struct nif *n;

	list_for_each (n, &nifs, node)
		most = MIN(most, n->nic->spare_bufs / 4);
	return most;
}

/* ---- references ---- */

void net_ref_get(struct net_ref *r)
{
	pbuf_ref((struct pbuf *)r);
}

void net_ref_put(struct net_ref *r)
{
	pbuf_free((struct pbuf *)r);
}

/* ---- pins ---- */

void net_tcp_reaped(void)
{
	struct net_pin *pin, *next;

	while (unlikely(zombies) && net_tx_passed()) {
		pin = zombies;
		zombies = zombies_next;
		zombies_next = NULL;
		net_tx_mark();
		for (; pin; pin = next) {
			next = pin->next;
			pin->done(pin);
		}
	}
}

static void pin_release(struct net_pin *pin)
{
	if (net_tx_idle()) {
		pin->done(pin);
		return;
	}
	if (zombies) {
		pin->next = zombies_next;
		zombies_next = pin;
		return;
	}
	pin->next = NULL;
	zombies = pin;
	net_tx_mark();
}

void net_linger(struct net_pin *pin)
{
	pin_release(pin);
}

static void pins_release(struct net_conn *c, bool all)
{
	struct net_pin *pin;

	while ((pin = c->pins) && (all || pin->end <= c->acked)) {
		c->pins = pin->next;
		if (!c->pins)
			c->pins_tail = &c->pins;
		/* What was sent once and acknowledged has left the ring before it could be. */
		if (all || pin->end <= c->resent)
			pin_release(pin);
		else
			pin->done(pin);
	}
}

/* ---- leaving ---- */

static void conn_free(struct net_conn *c)
{
	net_send_forget(c);
	pins_release(c, true);
	mem_free(c);
}

static void callbacks_off(struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
	tcp_poll(pcb, NULL, 0);
}

static err_t abort_now(struct net_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	c->pcb = NULL;
	if (pcb) {
		callbacks_off(pcb);
		tcp_abort(pcb);
	}
	conn_free(c);
	return ERR_ABRT;
}

/* What is queued goes out, and FIN behind it.  It stays until all is acknowledged. */
static err_t close_now(struct net_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;

	/* Where something is not consumed yet (also a FIN that lwIP is about to report), lwIP would
	 * reset the connection and free its pcb. */
	if (pcb->rcv_wnd < TCP_WND_MAX(pcb))
		pcb->rcv_wnd = TCP_WND_MAX(pcb);
	tcp_output(pcb);
	if (tcp_close(pcb) != ERR_OK)
		return abort_now(c);
	if (c->acked == c->given) { /* nothing to wait for */
		callbacks_off(pcb);
		c->pcb = NULL;
		conn_free(c);
	}
	return ERR_OK;
}

/* After a callback of ours: what lwIP must be told. */
static err_t leave(struct net_conn *c)
{
	c->in_callback = false;
	if (c->abort_wanted)
		return abort_now(c);
	return c->closing && c->pcb ? close_now(c) : ERR_OK;
}

static err_t conn_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct net_conn *c = arg;
	struct pbuf *q;

	if (c->closing) {
		if (p) {
			tcp_recved(pcb, p->tot_len);
			pbuf_free(p);
		}
		return ERR_OK;
	}
	c->in_callback = true;
	if (!p) {
		if (c->ops)
			c->ops->closed(c->ctx, 0);
		return leave(c);
	}
	for (q = p; q && c->ops && !c->abort_wanted && !c->closing; q = q->next)
		if (q->len)
			c->ops->input(c->ctx, q->payload, q->len, (struct net_ref *)q);
	pbuf_free(p);
	return leave(c);
}

static void conn_gone(void *arg, err_t err)
{
	struct net_conn *c = arg;

	c->pcb = NULL;
	if (!c->closing && !c->abort_wanted && c->ops) {
		c->in_callback = true; /* so that an abort from here only sets the flag */
		c->ops->closed(c->ctx, err == ERR_RST ? -ECONNRESET : -ETIMEDOUT);
	}
	conn_free(c);
}

static err_t room(struct net_conn *c)
{
	if (!c->wants_room || !c->ops)
		return ERR_OK;
	c->wants_room = false;
	c->in_callback = true;
	c->ops->writable(c->ctx);
	return leave(c);
}

static err_t conn_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct net_conn *c = arg;

	c->acked += len;
	pins_release(c, false);
	if (c->closing) {
		if (c->acked == c->given) { /* nothing here is needed any more */
			callbacks_off(pcb);
			c->pcb = NULL;
			conn_free(c);
		}
		return ERR_OK;
	}
	return room(c);
}

void net_writable(struct net_conn *c)
{
	if (c->pcb && !c->closing && !c->in_callback)
		room(c);
}

/* ---- coming ---- */

static err_t listener_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct net_listener *l = arg;
	struct nif *n;
	struct net_conn *c;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	c = mem_alloc(&conn_tag, sizeof(*c));
	if (!c)
		return ERR_MEM;       /* lwIP resets it */
	if (IP_IS_V6(&pcb->local_ip)) /* whatever somebody said of the path */
		pcb->mss = MAX(pcb->mss, (u16_t)MSS_MIN6);
	if (pcb->mss < MSS_MIN4) {
		mem_free(c);
		return ERR_MEM;
	}
	c->pcb = pcb;
	c->pins_tail = &c->pins;
	c->peer_mss = pcb->mss;
	c->local = pcb->local_ip;
	c->peer = pcb->remote_ip;
	c->local_port = pcb->local_port;
	c->peer_port = pcb->remote_port;
	c->in_callback = true;
	if (l->accept(l->ctx, c) || c->abort_wanted) {
		callbacks_off(pcb);
		mem_free(c);
		return ERR_MEM;
	}
	c->in_callback = false;
	tcp_arg(pcb, c);
	tcp_recv(pcb, conn_recv);
	tcp_sent(pcb, conn_sent);
	tcp_err(pcb, conn_gone);
	tcp_nagle_disable(pcb);
	ip_set_option(pcb, SOF_KEEPALIVE);
	pcb->keep_idle = KEEP_IDLE_MS;
	pcb->keep_intvl = KEEP_INTVL_MS;
	pcb->keep_cnt = KEEP_CNT;
	list_for_each (n, &nifs, node)
		if (IP_IS_V4(&pcb->local_ip) && n->nic->tx_tso4 &&
			ip4_addr_eq(ip_2_ip4(&pcb->local_ip), netif_ip4_addr(&n->netif)))
			pcb->mss = (u16_t)MIN(pcb->mss * BIG_SEGMENTS, BIG_MAX);
	pcb->cwnd = MAX(pcb->cwnd, (tcpwnd_size_t)FIRST_WINDOW);
	net_send_begin(c);
	return ERR_OK;
}

struct net_listener *net_listen(
	uint16_t port, int (*accept)(void *ctx, struct net_conn *c), void *ctx)
{
	struct net_listener *l = mem_alloc(&conn_tag, sizeof(*l));
	struct tcp_pcb *pcb = l ? tcp_new_ip_type(IPADDR_TYPE_ANY) : NULL, *listening = NULL;

	if (pcb)
		ip_set_option(pcb, SOF_REUSEADDR);
	if (pcb && tcp_bind(pcb, IP_ANY_TYPE, port) == ERR_OK)
		listening = tcp_listen(pcb);
	if (!listening) {
		if (pcb)
			tcp_abort(pcb);
		mem_free(l);
		return NULL;
	}
	l->pcb = listening;
	l->accept = accept;
	l->ctx = ctx;
	tcp_arg(listening, l);
	tcp_accept(listening, listener_accept);
	return l;
}

void net_unlisten(struct net_listener *l)
{
	tcp_close(l->pcb);
	mem_free(l);
}

void net_conn_set(struct net_conn *c, const struct net_conn_ops *ops, void *ctx)
{
	c->ops = ops;
	c->ctx = ctx;
}

uint64_t net_given(const struct net_conn *c)
{
	return c->given;
}

uint64_t net_acked(const struct net_conn *c)
{
	return c->acked;
}

void net_push(struct net_conn *c)
{
	if (c->pcb)
		tcp_output(c->pcb);
}

void net_consumed(struct net_conn *c, size_t n)
{
	while (c->pcb && n) {
		u16_t part = (u16_t)MIN(n, (size_t)0xffff);

		tcp_recved(c->pcb, part);
		n -= part;
	}
}

void net_close(struct net_conn *c)
{
	ASSERT(!c->closing);
	c->closing = true;
	c->ops = NULL;
	/* In a callback leave() does it, when lwIP has nothing more of the peer's to show.  Without
	 * a pcb this is closed(), and conn_gone() frees it. */
	if (c->pcb && !c->in_callback)
		close_now(c);
}

void net_abort(struct net_conn *c)
{
	c->ops = NULL;
	if (c->in_callback || !c->pcb)
		c->abort_wanted = true;
	else
		abort_now(c);
}

static void address_text(
	const ip_addr_t *a, uint16_t port, bool with_port, char text[NET_ADDR_TEXT])
{
	char ip[IPADDR_STRLEN_MAX];

	ipaddr_ntoa_r(a, ip, sizeof(ip));
	if (!with_port)
		str_printf(text, NET_ADDR_TEXT, "%s", ip);
	else if (IP_IS_V6(a))
		str_printf(text, NET_ADDR_TEXT, "[%s]:%u", ip, port);
	else
		str_printf(text, NET_ADDR_TEXT, "%s:%u", ip, port);
}

void net_local_text(const struct net_conn *c, bool with_port, char text[NET_ADDR_TEXT])
{
	address_text(&c->local, c->local_port, with_port, text);
}

void net_peer_text(const struct net_conn *c, bool with_port, char text[NET_ADDR_TEXT])
{
	address_text(&c->peer, c->peer_port, with_port, text);
}

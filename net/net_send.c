/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_send - from net_send() to lwIP's queue of unsent segments.
 *
 * tcp_write() takes a buffer from a heap for every header, one from a pool for every piece of data,
 * and walks the segment to its end each time.  Here a buffer is one pop from a list, short pieces
 * are copied into the buffer itself, and the end of the segment that grows is remembered.  The
 * segments are lwIP's in every respect (RFC 9293 is its business), only made by us: no longer than
 * its own, and of no more pieces than the NIC takes in a packet.
 *
 * Only a segment's first buffer has its total length right at all times.  In the others it is one
 * that no packet has, so that lwIP does not take them for a packet's end; nif_output() sees to it.
 */
#include "net/net_priv.h"

#include "kernel/api/core.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#define NR_PIECES  1536
#define INLINE_MAX 80
#define SEG_MIN    MIN(256u, (unsigned)TCP_MSS) /* a segment may take so much, whatever the window */
/* Ethernet, IPv6 and TCP in front of a segment's data. */
#define HEADERS (PBUF_LINK_HLEN + IP6_HLEN + TCP_HLEN)
_Static_assert(HEADERS <= INLINE_MAX, "a segment's headers fit into a piece");

struct piece {
	struct pbuf_custom pc;
	struct piece *free;
	uint8_t bytes[INLINE_MAX] __aligned(8);
};

static struct mem_tag send_tag = MEM_TAG("net pieces");
static struct piece *pieces;
static unsigned nr_free;
static struct tcp_seg *spares;
static unsigned nr_spares;
static struct list conns = LIST_INIT(conns);
static struct net_conn *dirty;
static struct work flush_work;
static bool flush_posted;
static bool starved;  /* somebody was refused for want of pieces ... */
static unsigned need; /* ... and so many would have done for one of them */

/* ---- pieces ---- */

static void post_flush(void)
{
	if (flush_posted)
		return;
	flush_posted = true;
	work_post(&flush_work);
}

static void piece_free(struct pbuf *p)
{
	struct piece *x = container_of((void *)p, struct piece, pc);

	x->free = pieces;
	pieces = x;
	nr_free++;
	if (unlikely(starved) && nr_free >= need)
		post_flush();
}

/* Not when there is none: callers look at nr_free. */
static struct piece *piece_get(void *payload, uint16_t len, pbuf_type type)
{
	struct piece *x = pieces;
	struct pbuf *p = &x->pc.pbuf;

	pieces = x->free;
	nr_free--;
	p->next = NULL;
	p->payload = payload ? payload : x->bytes;
	p->tot_len = p->len = len;
	p->type_internal = (u8_t)type;
	p->flags = PBUF_FLAG_IS_CUSTOM;
	p->ref = 1;
	p->if_idx = NETIF_NO_INDEX;
	return x;
}

/* ---- segments ---- */

static void seg_headers(struct tcp_pcb *pcb, struct tcp_seg *seg, struct pbuf *p)
{
	p->payload = ((struct piece *)(void *)p)->bytes + INLINE_MAX - TCP_HLEN;
	seg->next = NULL;
	seg->p = p;
	seg->len = 0;
	seg->flags = 0;
	seg->tcphdr = p->payload;
	seg->tcphdr->src = lwip_htons(pcb->local_port);
	seg->tcphdr->dest = lwip_htons(pcb->remote_port);
	seg->tcphdr->seqno = lwip_htonl(pcb->snd_lbb);
	TCPH_HDRLEN_FLAGS_SET(seg->tcphdr, TCP_HLEN / 4, 0);
	seg->tcphdr->urgp = 0;
}

/* Segments are taken before they are needed: what is begun can then be finished. */
static bool spares_fill(unsigned nr)
{
	struct tcp_seg *seg;

	for (; unlikely(nr_spares < nr); nr_spares++) {
		seg = memp_malloc(MEMP_TCP_SEG);
		if (!seg)
			return false;
		seg->next = spares;
		spares = seg;
	}
	return true;
}

/* A segment without data yet, at the end of those unsent. */
static void seg_begin(struct net_conn *c)
{
	struct tcp_pcb *pcb = c->pcb;
	struct tcp_seg *seg = spares, **at = &pcb->unsent;
	struct piece *x = piece_get(NULL, TCP_HLEN, PBUF_RAM);

	spares = seg->next;
	nr_spares--;
	seg_headers(pcb, seg, &x->pc.pbuf);
	while (*at)
		at = &(*at)->next;
	*at = seg;
	pcb->unsent_oversize = 0;
	pcb->snd_queuelen++;
	c->tail_seg = seg;
	c->tail_seq = pcb->snd_lbb;
	c->tail = &x->pc.pbuf;
	c->nr_pieces = 1;
}

/* Whether tail_seg is there, unsent and the last: nobody but us makes segments with data, but lwIP
 * may have sent it, freed it, or cut it in two for a small window. */
static bool tail_grows(const struct net_conn *c)
{
	return c->tail_seg && !TCP_SEQ_LT(c->tail_seq, c->pcb->snd_nxt) && !c->tail_seg->next;
}

static inline void append(
	struct net_conn *c, struct tcp_pcb *pcb, struct tcp_seg *seg, struct piece *x, unsigned len)
{
	struct pbuf *p = &x->pc.pbuf;

	p->tot_len = UINT16_MAX;
	c->tail->next = p;
	c->tail = p;
	c->nr_pieces++;
	seg->p->tot_len += len;
	seg->len += len;
	pcb->snd_lbb += len;
	pcb->snd_buf -= len;
	pcb->snd_queuelen++;
}

/* Bytes a segment may have: as lwIP does, no more than half of what the peer ever let us send, but
 * not so little that pieces would not do. */
static unsigned seg_max(const struct tcp_pcb *pcb)
{
	unsigned half = pcb->snd_wnd_max / 2;

	return half && half < pcb->mss ? MAX(half, MIN(SEG_MIN, (unsigned)pcb->mss)) : pcb->mss;
}

/* The part of an unsent segment behind its first `at` bytes becomes a segment of its own. */
static void seg_split(struct net_conn *c, struct tcp_pcb *pcb, struct tcp_seg *seg, unsigned at)
{
	uint32_t seq = lwip_ntohl(seg->tcphdr->seqno) + at;
	struct pbuf *p = seg->p, *rest = p->next, *q;
	struct tcp_seg *new = spares;
	struct piece *head, *x;
	unsigned left = at;

	for (; left >= rest->len; p = rest, rest = p->next)
		left -= rest->len;
	if (left) { /* inside of it */
		p = rest;
		if (p->payload == ((struct piece *)(void *)p)->bytes) {
			x = piece_get(NULL, (uint16_t)(p->len - left), PBUF_RAM);
			memcpy(x->bytes, (uint8_t *)p->payload + left, p->len - left);
		} else {
			x = piece_get(
				(uint8_t *)p->payload + left, (uint16_t)(p->len - left), PBUF_ROM);
		}
		rest = &x->pc.pbuf;
		rest->tot_len = UINT16_MAX;
		rest->next = p->next;
		p->len = (uint16_t)left;
		pcb->snd_queuelen++;
		if (c->tail == p)
			c->tail = rest;
	}
	p->next = NULL;
	spares = new->next;
	nr_spares--;
	head = piece_get(NULL, TCP_HLEN, PBUF_RAM);
	pcb->snd_queuelen++;
	seg_headers(pcb, new, &head->pc.pbuf);
	new->tcphdr->seqno = lwip_htonl(seq);
	if (TCPH_FLAGS(seg->tcphdr) & TCP_FIN) {
		TCPH_UNSET_FLAG(seg->tcphdr, TCP_FIN);
		TCPH_SET_FLAG(new->tcphdr, TCP_FIN);
	}
	new->len = (uint16_t)(seg->len - at);
	new->p->next = rest;
	new->p->tot_len = (uint16_t)(TCP_HLEN + new->len);
	/* It may have IP's and Ethernet's headers too, of a sending that failed. */
	seg->p->tot_len -= new->len;
	seg->len = (uint16_t)at;
	new->next = seg->next;
	seg->next = new;
	if (c->tail_seg != seg)
		return;
	c->tail_seg = new;
	c->tail_seq = seq;
	for (c->nr_pieces = 0, q = new->p; q; q = q->next)
		c->nr_pieces++;
}

/* A peer whose window has room for half of a large segment does not tell when it has more (it is
 * not twice as much), and lwIP would wait for a timer to cut the segment.  Here it is cut at once,
 * at the size of the wire's segments. */
void net_hook_fit(struct tcp_pcb *pcb)
{
	struct tcp_seg *seg = pcb->unsent;
	struct net_conn *c = pcb->callback_arg;
	uint32_t wnd, before;

	if (!seg || !c || pcb->state < ESTABLISHED)
		return;
	/* What lwIP made itself: FIN, or a part cut off for a window smaller than the wire's
	 * segments. */
	if (unlikely(!seg->p->next || !(seg->p->flags & PBUF_FLAG_IS_CUSTOM)))
		return;
	wnd = MIN(pcb->snd_wnd, pcb->cwnd);
	before = lwip_ntohl(seg->tcphdr->seqno) - pcb->lastack;
	if (likely(before + seg->len <= wnd))
		return;
	/* Nor what was sent before, or is no more than the wire takes. */
	if (before >= wnd || wnd - before < c->peer_mss || seg->len <= c->peer_mss ||
		TCP_SEQ_LT(lwip_ntohl(seg->tcphdr->seqno), pcb->snd_nxt))
		return;
	wnd -= before;
	if ((pcb->unacked && wnd < seg->len / 2u) || nr_free < 2 || !spares_fill(1))
		return;
	seg_split(c, pcb, seg, wnd - wnd % c->peer_mss);
}

/* ---- the interface ---- */

/* Pieces came back: everybody who wants room tries, once. */
static void feed(void)
{
	struct net_conn *c;

	starved = false;
	list_for_each (c, &conns, node)
		c->retry = c->wants_room;
again:
	list_for_each (c, &conns, node) {
		if (!c->retry)
			continue;
		c->retry = false;
		net_writable(c);
		goto again; /* any of them may be gone now */
	}
}

static void flush_run(struct work *w __unused)
{
	struct net_conn *c;

	flush_posted = false;
	net_clock_wind();
	if (unlikely(starved) && nr_free >= need)
		feed();
	while ((c = dirty)) {
		dirty = c->next_dirty;
		c->dirty = false;
		if (!c->pcb)
			continue;
		net_hook_fit(c->pcb);
		tcp_output(c->pcb);
	}
}

static void mark_dirty(struct net_conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	c->next_dirty = dirty;
	dirty = c;
	post_flush();
}

size_t net_room(const struct net_conn *c)
{
	if (!c->pcb || c->pcb->snd_queuelen + 8u > TCP_SND_QUEUELEN)
		return 0;
	return c->pcb->snd_buf;
}

/* Whether so many bytes surely fit, in at most `most` pieces of which each may need a segment.  Who
 * has more pieces out than there are left waits for his own to come back. */
static inline bool has_room(const struct net_conn *c, size_t n, unsigned most)
{
	unsigned queued = c->pcb->snd_queuelen;

	if (unlikely(nr_free < 2 * most || (nr_spares < most && !spares_fill(most)))) {
		/* Segments that lwIP has out of order are waited for by the clock. */
		need = MIN(starved ? need : UINT32_MAX, nr_free < 2 * most ? 2 * most : UINT32_MAX);
		starved = true;
		return false;
	}
	return n <= c->pcb->snd_buf && queued + 2 * most <= TCP_SND_QUEUELEN &&
	       likely(!queued || queued + 2 * most <= nr_free);
}

/* Pieces of n bytes: of a chunk at most, and cut where a segment ends. */
static inline unsigned pieces_copied(size_t n, unsigned max)
{
	return likely(n <= INLINE_MAX) ? 2 : (unsigned)(n / INLINE_MAX + n / max + 3);
}

static inline unsigned pieces_pinned(size_t n, unsigned max)
{
	return likely(n <= max) ? 2 : (unsigned)(n / max) + 2;
}

static void queue_bytes(struct net_conn *c, const uint8_t *p, size_t n, unsigned max, bool copy)
{
	struct tcp_pcb *pcb = c->pcb;
	struct tcp_seg *seg;
	struct piece *x;
	unsigned part;

	for (; n; p += part, n -= part) {
		if (!tail_grows(c) || c->tail_seg->len >= max || c->nr_pieces >= c->max_pieces)
			seg_begin(c);
		seg = c->tail_seg;
		part = (unsigned)MIN(n, (size_t)(max - seg->len));
		if (copy) {
			part = MIN(part, (unsigned)INLINE_MAX);
			x = piece_get(NULL, (uint16_t)part, PBUF_RAM);
			memcpy(x->bytes, p, part);
		} else {
			x = piece_get((void *)(uintptr_t)p, (uint16_t)part, PBUF_ROM);
		}
		append(c, pcb, seg, x, part);
	}
}

static int refuse(struct net_conn *c)
{
	c->wants_room = true;
	mark_dirty(c);
	return -EAGAIN;
}

static void sent(struct net_conn *c, size_t n, struct net_pin *pin)
{
	c->given += n;
	if (pin && pin != NET_KEEP) {
		pin->end = c->given;
		pin->next = NULL;
		*c->pins_tail = pin;
		c->pins_tail = &pin->next;
	}
	mark_dirty(c);
}

int net_send(struct net_conn *c, const void *p, size_t n, struct net_pin *pin)
{
	unsigned max;

	ASSERT(n && n <= (pin ? NET_SEND_MAX : NET_COPY_MAX));
	if (!c->pcb || c->closing || c->abort_wanted)
		return -ENOTCONN;
	max = seg_max(c->pcb);
	if (!has_room(c, n, pin ? pieces_pinned(n, max) : pieces_copied(n, max)))
		return refuse(c);
	queue_bytes(c, p, n, max, !pin);
	sent(c, n, pin);
	return 0;
}

int net_send_with(struct net_conn *c, const void *head, size_t head_len, const void *p, size_t n,
	struct net_pin *pin)
{
	unsigned max;

	ASSERT(head_len && head_len <= INLINE_MAX && n && n <= NET_SEND_MAX && pin);
	if (!c->pcb || c->closing || c->abort_wanted)
		return -ENOTCONN;
	max = seg_max(c->pcb);
	if (!has_room(c, head_len + n, pieces_copied(head_len, max) + pieces_pinned(n, max)))
		return refuse(c);
	queue_bytes(c, head, head_len, max, true);
	queue_bytes(c, p, n, max, false);
	sent(c, head_len + n, pin);
	return 0;
}

void net_send_beat(void)
{
	if (unlikely(starved))
		feed();
}

bool net_starves(void)
{
	return starved;
}

/* ---- coming and going ---- */

void net_send_begin(struct net_conn *c)
{
	struct nif *n;

	c->max_pieces = UINT16_MAX;
	list_for_each (n, &nifs, node)
		c->max_pieces = (uint16_t)MIN((unsigned)c->max_pieces, n->nic->max_segs);
	list_add_tail(&conns, &c->node);
}

void net_send_forget(struct net_conn *c)
{
	struct net_conn **at = &dirty;

	if (list_linked(&c->node))
		list_del(&c->node);
	if (!c->dirty)
		return;
	while (*at != c)
		at = &(*at)->next_dirty;
	*at = c->next_dirty;
	c->dirty = false;
}

int net_send_init(void)
{
	struct piece *all = mem_alloc(&send_tag, NR_PIECES * sizeof(*all));

	if (!all)
		return -ENOMEM;
	flush_work.fn = flush_run;
	for (unsigned i = 0; i < NR_PIECES; i++) {
		all[i].pc.custom_free_function = piece_free;
		piece_free(&all[i].pc.pbuf);
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn - PDUs in and out.  In: bytes come in any pieces; a header (with what belongs to it) is
 * gathered, looked at, and says where the data behind it goes.  Out: what there is to say stands in
 * a queue and is made into PDUs when the network has room, so sequence numbers are in order and
 * nothing is built that cannot leave.
 */
#include "exports/iscsi/iscsi.h"
#include "kernel/api/crypto.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define REPLIES_MAX 256 /* of a connection that does not read */

struct list iscsi_conns = LIST_INIT(iscsi_conns);
static struct mem_tag conn_tag = MEM_TAG("iscsi");
static struct mem_tag data_tag = MEM_TAG("iscsi data");
static struct pool smalls, bigs;
static bool have_pools;
static unsigned nr_conns; /* that have memory, also those that are gone for the other side */

/* ---- memory for data ---- */

bool conn_data_pools(void)
{
	struct mem_stats st;
	uint64_t share;

	if (have_pools)
		return true;
	mem_stats(&st);
	share = st.free_bytes / 8;
	if (pool_init(&smalls, &data_tag, PAGE_SIZE,
		    (unsigned)MAX(MIN(share / 4 / PAGE_SIZE, 1024ull), 32ull)))
		return false;
	/* At least one of the largest commands must be possible. */
	if (pool_init(&bigs, &data_tag, BIG,
		    (unsigned)MAX(MIN(share / BIG, 256ull), (uint64_t)TASK_SEGS))) {
		pool_destroy(&smalls);
		return false;
	}
	have_pools = true;
	return true;
}

void conn_data_release(void)
{
	if (!have_pools || nr_conns || !list_empty(&iscsi_targets))
		return;
	pool_destroy(&smalls);
	pool_destroy(&bigs);
	have_pools = false;
}

struct pool *conn_pool(bool small)
{
	return small ? &smalls : &bigs;
}

/* ---- coming and going ---- */

static void conn_last(struct net_pin *pin)
{
	struct conn *c = container_of(pin, struct conn, last);

	mem_free(c->tasks);
	mem_free(c->nexuses);
	mem_free_wipe(c->text);
	mem_free(c->more);
	mem_free(c);
	nr_conns--;
	conn_data_release();
}

void conn_put(struct conn *c)
{
	if (--c->refs)
		return;
	/* What it sent last may still be in a NIC's ring. */
	c->last.done = conn_last;
	net_linger(&c->last);
}

static void outq_free(struct conn *c)
{
	while (!list_empty(&c->outq)) {
		struct out *o = list_first(&c->outq, struct out, node);

		list_del(&o->node);
		if (!o->is_task)
			mem_free(container_of(o, struct reply, out));
	}
	c->nr_replies = 0;
}

/* The end of it, whoever wants it; the network's side is seen to by the caller. */
static void conn_end(struct conn *c)
{
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	list_del(&c->node);
	timer_stop(&c->timer);
	outq_free(c);
	tasks_drop(c);
	c->net = NULL;
	conn_put(c);
}

void conn_kill(struct conn *c, const char *why)
{
	struct net_conn *net = c->net;

	if (c->state == CONN_DEAD)
		return;
	if (why)
		log_info("iscsi: %s: %s", c->peer, why);
	conn_end(c);
	net_abort(net);
}

static void conn_close(struct conn *c)
{
	struct net_conn *net = c->net;

	if (c->state == CONN_DEAD)
		return;
	conn_end(c);
	net_close(net);
}

/* It holds memory, does its part of nothing, and others wait. */
static bool is_stuck(struct conn *c)
{
	uint64_t acked = net_acked(c->net), left = net_given(c->net) - acked;

	if (!left || acked - c->acked >= STALL_BYTES) {
		c->moved_tick = c->ticks;
		c->acked = acked;
	}
	return (tasks_starve() && tasks_wait_for_peer(c)) ||
	       (net_starves() && c->ticks - c->moved_tick > STALL_TICKS);
}

static void conn_tick(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);
	uint64_t silent = now_ns() - c->heard_ns;
	struct reply *r;

	c->ticks++;
	if (c->state == CONN_LOGIN && silent > LOGIN_NS) {
		conn_kill(c, "login took too long");
		return;
	}
	if (silent > 2 * SILENCE_NS) {
		conn_kill(c, "no sign of life");
		return;
	}
	if (is_stuck(c)) {
		conn_kill(c, "moves nothing while others wait for memory");
		return;
	}
	timer_start(t, now_ns() + TICK_NS);
	if (c->state != CONN_FULL || silent <= SILENCE_NS || c->pinged || c->closing)
		return;
	/* NOP-In that wants an answer, 11.19 */
	c->pinged = true;
	r = reply_make(c, 0x20, 0x80, UINT32_MAX, NULL, 0);
	if (!r)
		return;
	be32(r->data + 20, 1 + c->next_ttt++ % 0x7fffffff);
	reply_send(c, r, false);
}

/* ---- out ---- */

struct reply *reply_make(
	struct conn *c, uint8_t opcode, uint8_t flags, uint32_t itt, const void *data, uint32_t n)
{
	uint32_t padded = (n + 3) & ~3u;
	unsigned len = 48 + (c->p.header_digest ? 4 : 0) + padded + (c->p.data_digest && n ? 4 : 0);
	struct reply *r;

	if (c->state == CONN_DEAD)
		return NULL;
	r = mem_alloc(&conn_tag, sizeof(*r) + len);
	if (!r || c->nr_replies >= REPLIES_MAX) {
		mem_free(r);
		conn_kill(c, "too many answers wait to be read");
		return NULL;
	}
	r->data = (uint8_t *)(r + 1);
	r->len = len;
	r->header_digest = c->p.header_digest;
	r->data_digest = c->p.data_digest;
	r->data[0] = opcode;
	r->data[1] = flags;
	be24(r->data + 5, n);
	be32(r->data + 16, itt);
	if (n)
		memcpy(r->data + 48 + (c->p.header_digest ? 4 : 0), data, n);
	return r;
}

uint32_t conn_max_cmd_sn(struct conn *c)
{
	c->told_max_sn = c->exp_cmd_sn + (c->tasks ? c->nr_free : 1) - 1;
	return c->told_max_sn;
}

void reply_send(struct conn *c, struct reply *r, bool status)
{
	r->status = status;
	c->nr_replies++;
	list_add_tail(&c->outq, &r->out.node);
	conn_flush(c);
}

static void put_digest(uint8_t *at, uint32_t crc)
{
	at[0] = (uint8_t)crc;
	at[1] = (uint8_t)(crc >> 8);
	at[2] = (uint8_t)(crc >> 16);
	at[3] = (uint8_t)(crc >> 24);
}

/* Numbers and digests, at the moment it leaves. */
static void reply_finish(struct conn *c, struct reply *r)
{
	uint32_t n = rd24(r->data + 5), padded = (n + 3) & ~3u;
	uint8_t *data = r->data + 48;

	r->finished = true;
	be32(r->data + 24, c->stat_sn);
	if (r->status)
		c->stat_sn++;
	be32(r->data + 28, c->exp_cmd_sn);
	be32(r->data + 32, conn_max_cmd_sn(c));
	if (r->header_digest) {
		put_digest(data, crc32c(0, r->data, 48));
		data += 4;
	}
	if (r->data_digest && n)
		put_digest(data + padded, crc32c(0, data, padded));
}

/* False: no room; writable() will come. */
static bool reply_emit(struct conn *c, struct reply *r)
{
	if (!r->finished)
		reply_finish(c, r);
	while (r->sent < r->len) {
		unsigned n = MIN(r->len - r->sent, (unsigned)NET_COPY_MAX);

		if (net_send(c->net, r->data + r->sent, n, NULL))
			return false;
		r->sent += n;
	}
	return true;
}

void conn_flush(struct conn *c)
{
	if (c->flushing)
		return;
	c->flushing = true;
	c->refs++;
	while (c->state != CONN_DEAD && !list_empty(&c->outq)) {
		struct out *o = list_first(&c->outq, struct out, node);
		struct reply *r = container_of(o, struct reply, out);

		if (o->is_task) {
			if (!task_emit(container_of(o, struct task, out)))
				break;
			continue; /* it took itself off the queue */
		}
		if (!reply_emit(c, r))
			break;
		list_del(&o->node);
		c->nr_replies--;
		if (r->then_close) {
			mem_free(r);
			conn_close(c);
			break;
		}
		mem_free(r);
	}
	c->flushing = false;
	conn_put(c);
}

void reject(struct conn *c, uint8_t reason)
{
	struct reply *r = reply_make(c, 0x3f, 0x80, UINT32_MAX, c->head, 48);

	if (!r)
		return;
	r->data[2] = reason;
	reply_send(c, r, true);
}

/* ---- in ---- */

static void nop_out(struct conn *c)
{
	uint32_t itt = rd32(c->head + 16);
	struct reply *r;

	c->pinged = false;
	if (itt == UINT32_MAX) /* an answer to ours */
		return;
	r = reply_make(c, 0x20, 0x80, itt, c->text, MIN(c->text_len, c->p.mrdsl));
	if (!r)
		return;
	memcpy(r->data + 8, c->head + 8, 8);
	be32(r->data + 20, UINT32_MAX);
	reply_send(c, r, true);
}

static void logout(struct conn *c)
{
	uint8_t reason = c->head[1] & 0x7f;
	uint16_t cid = (uint16_t)(c->head[20] << 8 | c->head[21]);
	struct reply *r = reply_make(c, 0x26, 0x80, rd32(c->head + 16), NULL, 0);

	if (!r)
		return;
	/* Recovery is not supported, and there is no other connection that could be closed. */
	r->data[2] = reason == 2 ? 2 : reason == 1 && cid != c->cid ? 1 : 0;
	r->then_close = !r->data[2];
	c->closing = r->then_close;
	reply_send(c, r, true);
}

/* Commands have a number; false: not the one that is due, so it is as if it had not come. */
static bool number_ok(struct conn *c)
{
	uint8_t op = c->head[0] & 0x3f;
	uint32_t sn = rd32(c->head + 24);

	if (op == 0x05 || op == 0x10) /* Data-Out, SNACK */
		return true;
	if (c->head[0] & 0x40) /* immediate */
		return true;
	if (sn != c->exp_cmd_sn || (int32_t)(sn - conn_max_cmd_sn(c)) > 0)
		return false;
	c->exp_cmd_sn++;
	return true;
}

/* A header has come: where do the bytes behind it go?  False: the connection is gone. */
static bool head_arrived(struct conn *c)
{
	uint8_t op = c->head[0] & 0x3f;
	uint32_t n = rd24(c->head + 5);

	c->sink = SINK_DROP;
	c->sink_task = NULL;
	c->text_len = c->state == CONN_LOGIN ? c->text_len : 0;
	c->bad_digest = false;
	if (c->state == CONN_LOGIN) {
		if (op != 0x03 || c->head[4] || n > TEXT_MAX - c->text_len) {
			conn_kill(c, op != 0x03 ? "no login" : "login with too many bytes");
			return false;
		}
		c->sink = SINK_TEXT;
		return true;
	}
	if (n > OUR_MRDSL) {
		conn_kill(c, "a data segment beyond what was agreed");
		return false;
	}
	if (!number_ok(c)) {
		c->head[0] = 0x3f; /* nothing is done with it */
		return true;
	}
	switch (op) {
	case 0x01:
		task_command(c);
		break;
	case 0x05:
		task_data_out(c);
		break;
	case 0x00:
	case 0x04:
		if (op == 0x04 && n > TEXT_MAX) {
			conn_kill(c, "a text beyond what is sane");
			return false;
		}
		c->sink = SINK_TEXT;
		break;
	}
	return c->state != CONN_DEAD;
}

static void pdu_arrived(struct conn *c)
{
	uint8_t op = c->head[0] & 0x3f;

	if (c->state == CONN_LOGIN) {
		login_pdu(c);
		return;
	}
	if (c->bad_digest && op != 0x01 && op != 0x05) {
		reject(c, 0x02);
		return;
	}
	switch (op) {
	case 0x00:
		nop_out(c);
		break;
	case 0x01:
	case 0x05:
		task_sunk(c);
		break;
	case 0x02:
		task_management(c);
		break;
	case 0x04:
		text_pdu(c);
		break;
	case 0x06:
		logout(c);
		break;
	case 0x3f: /* out of number: ignored in silence, 4.2.2.1 */
		break;
	case 0x03:
		conn_kill(c, "login in a session");
		break;
	case 0x10:
		reject(c, 0x03); /* SNACK: no recovery level has it */
		break;
	default:
		reject(c, 0x05);
		break;
	}
}

static void take_text(struct conn *c, const uint8_t *p, uint32_t n)
{
	uint32_t room = TEXT_MAX - MIN(c->text_len, (uint32_t)TEXT_MAX);

	memcpy(c->text + c->text_len, p, MIN(n, room));
	c->text_len += MIN(n, room);
}

/* One copy, into pages the disk can have. */
static void take_data(struct conn *c, const uint8_t *p, uint32_t n)
{
	struct task *t = c->sink_task;
	uint32_t at = c->sink_at, unit = t->small ? PAGE_SIZE : BIG;

	c->sink_at += n;
	while (n && at < t->expected) {
		struct seg *s = &t->segs[at / unit];
		uint32_t off = at % unit, part = MIN(n, s->len - off);

		part = MIN(part, t->expected - at);
		copy_data((uint8_t *)dma_ptr(s->addr) + off, p, part);
		p += part;
		at += part;
		n -= part;
	}
}

static bool head_digest_ok(struct conn *c)
{
	uint8_t want[4];

	if (c->state != CONN_FULL || !c->p.header_digest)
		return true;
	put_digest(want, crc32c(0, c->head, c->want - 4));
	return !memcmp(want, c->head + c->want - 4, 4);
}

static unsigned tail_bytes(const struct conn *c)
{
	uint32_t n = rd24(c->head + 5);

	return ((0 - n) & 3) + (c->state == CONN_FULL && c->p.data_digest && n ? 4 : 0);
}

static void next_pdu(struct conn *c)
{
	c->rx = RX_HEAD;
	c->have = 0;
	c->want = 48;
}

static void head_bytes(struct conn *c, const uint8_t **p, size_t *n)
{
	unsigned part = (unsigned)MIN(*n, (size_t)(c->want - c->have));

	if (likely(part == 48 && !c->have))
		memcpy(c->head, *p, 48); /* the compiler's, in a few instructions */
	else
		memcpy(c->head + c->have, *p, part);
	c->have += part;
	*p += part;
	*n -= part;
	if (c->have < c->want)
		return;
	if (c->want == 48) {
		c->want += c->head[4] * 4u + (c->state == CONN_FULL && c->p.header_digest ? 4 : 0);
		if (c->have < c->want)
			return;
	}
	if (!head_digest_ok(c)) {
		conn_kill(c, "header digest error");
		return;
	}
	c->data_left = rd24(c->head + 5);
	c->data_crc = 0;
	c->have = 0;
	if (!head_arrived(c))
		return;
	c->rx = RX_DATA;
	if (c->data_left)
		return;
	c->rx = RX_HEAD;
	pdu_arrived(c);
	next_pdu(c);
}

static void tail_arrived(struct conn *c)
{
	unsigned pad = (0 - rd24(c->head + 5)) & 3;
	uint8_t want[4];

	if (c->want > pad) {
		put_digest(want, crc32c(c->data_crc, c->tail, pad));
		c->bad_digest = memcmp(want, c->tail + pad, 4) != 0;
	}
	pdu_arrived(c);
}

static void conn_input(void *ctx, const uint8_t *p, size_t n, struct net_ref *ref __unused)
{
	struct conn *c = ctx;

	c->heard_ns = now_ns();
	c->refs++;
	net_consumed(c->net, n); /* all of it finds a place below */
	for (;;) {
		if (c->state == CONN_DEAD || c->closing)
			break;
		if (c->rx == RX_HEAD) {
			if (!n)
				break;
			head_bytes(c, &p, &n);
		} else if (c->rx == RX_DATA) {
			uint32_t part = (uint32_t)MIN(n, (size_t)c->data_left);

			if (!n)
				break;
			if (c->state == CONN_FULL && c->p.data_digest)
				c->data_crc = crc32c(c->data_crc, p, part);
			if (c->sink == SINK_TEXT)
				take_text(c, p, part);
			else if (c->sink == SINK_TASK)
				take_data(c, p, part);
			p += part;
			n -= part;
			c->data_left -= part;
			if (!c->data_left)
				c->rx = RX_TAIL;
		} else {
			unsigned part;

			c->want = tail_bytes(c);
			part = (unsigned)MIN(n, (size_t)(c->want - c->have));
			memcpy(c->tail + c->have, p, part);
			c->have += part;
			p += part;
			n -= part;
			if (c->have < c->want)
				break;
			c->rx = RX_HEAD;
			tail_arrived(c);
			next_pdu(c);
		}
	}
	conn_put(c);
}

static void conn_writable(void *ctx)
{
	conn_flush(ctx);
}

static void conn_closed(void *ctx, int err)
{
	struct conn *c = ctx;

	if (err)
		conn_end(c);
	else
		conn_close(c);
}

static const struct net_conn_ops ops = {
	.input = conn_input,
	.writable = conn_writable,
	.closed = conn_closed,
};

int conn_accept(void *ctx __unused, struct net_conn *net)
{
	unsigned logins = 0;
	struct conn *c;

	list_for_each (c, &iscsi_conns, node)
		logins += c->state == CONN_LOGIN;
	if (logins >= LOGINS_MAX)
		return -EAGAIN;
	c = mem_alloc(&conn_tag, sizeof(*c));
	if (c)
		c->text = mem_alloc(&conn_tag, TEXT_MAX + 1);
	if (!c || !c->text) {
		mem_free(c);
		return -ENOMEM;
	}
	nr_conns++;
	c->more_ttt = UINT32_MAX;
	c->net = net;
	c->refs = 1;
	c->p = (struct params){ .initial_r2t = true,
		.immediate_data = true,
		.mrdsl = 8192,
		.max_burst = 262144,
		.first_burst = 65536 };
	list_init(&c->outq);
	net_peer_text(net, true, c->peer);
	c->heard_ns = now_ns();
	c->timer.fn = conn_tick;
	timer_start(&c->timer, now_ns() + TICK_NS);
	next_pdu(c);
	list_add_tail(&iscsi_conns, &c->node);
	net_conn_set(net, &ops, c);
	return 0;
}

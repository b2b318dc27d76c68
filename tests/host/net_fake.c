/* SPDX-License-Identifier: BSD-2-Clause */
/* net_fake - see net_fake.h. */
#include <stdlib.h>
#include "tests/host/host.h"
#include "tests/host/net_fake.h"

struct net_listener {
	struct net_listener *next;
	uint16_t port;
	int (*accept)(void *ctx, struct net_conn *c);
	void *ctx;
};

struct piece { /* of what was sent */
	struct piece *next;
	struct net_pin *pin;
	const uint8_t *at; /* pinned memory, or copy */
	size_t n, taken;
	uint32_t crc; /* of pinned memory when it was given */
	uint8_t copy[];
};

struct net_conn {
	const struct net_conn_ops *ops;
	void *ctx;
	struct fake_peer *peer;
};

struct fake_peer {
	struct net_conn conn;
	bool ours, theirs; /* who still holds it */
	bool hung_up, refused;
	int err;
	size_t chunk, room, queued;
	unsigned refuse;
	uint64_t read;
	struct piece *head, **tail;
	uint8_t *in; /* written, not yet arrived */
	size_t in_len;
	bool posted, turning;
	struct work work;
};

static struct net_listener *listeners;
static unsigned nr_conns;

void net_ref_get(struct net_ref *r __unused)
{
}

void net_ref_put(struct net_ref *r __unused)
{
}

struct net_listener *net_listen(
	uint16_t port, int (*accept)(void *ctx, struct net_conn *c), void *ctx)
{
	struct net_listener *l;

	if (fake_listens(port))
		return NULL;
	l = calloc(1, sizeof(*l));
	ASSERT(l);
	*l = (struct net_listener){ listeners, port, accept, ctx };
	listeners = l;
	return l;
}

void net_unlisten(struct net_listener *l)
{
	struct net_listener **at = &listeners;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	free(l);
}

void net_conn_set(struct net_conn *c, const struct net_conn_ops *ops, void *ctx)
{
	c->ops = ops;
	c->ctx = ctx;
}

static void free_piece(struct fake_peer *p)
{
	struct piece *q = p->head;
	struct net_pin *pin = q->pin;

	/* Pinned memory is as it was. */
	ASSERT(!pin || crc32(0, q->at, q->n) == q->crc);
	p->head = q->next;
	if (!p->head)
		p->tail = &p->head;
	free(q);
	if (pin && pin != NET_KEEP)
		pin->done(pin);
}

static void free_peer(struct fake_peer *p)
{
	if (p->ours || p->theirs || p->posted || p->turning)
		return;
	while (p->head)
		free_piece(p);
	free(p->in);
	free(p);
	nr_conns--;
}

static void kick(struct fake_peer *p)
{
	if (p->posted)
		return;
	p->posted = true;
	work_post(&p->work);
}

int net_send(struct net_conn *c, const void *bytes, size_t n, struct net_pin *pin)
{
	struct fake_peer *p = c->peer;
	struct piece *q;

	ASSERT(p->ours && n && (pin || n <= NET_COPY_MAX));
	if (p->hung_up)
		return -ENOTCONN;
	if ((p->refuse && !--p->refuse) || n > p->room - MIN(p->queued, p->room)) {
		p->refused = true;
		if (n <= net_room(c))
			kick(p); /* for no reason but the test's */
		return -EAGAIN;
	}
	q = calloc(1, sizeof(*q) + (pin ? 0 : n));
	ASSERT(q);
	q->pin = pin;
	q->n = n;
	q->at = pin ? bytes : q->copy;
	if (pin)
		q->crc = crc32(0, bytes, n);
	else
		memcpy(q->copy, bytes, n);
	*p->tail = q;
	p->tail = &q->next;
	p->queued += n;
	return 0;
}

int net_send_with(struct net_conn *c, const void *head, size_t head_len, const void *p, size_t n,
	struct net_pin *pin)
{
	struct fake_peer *peer = c->peer;
	unsigned refuse = peer->refuse;
	int err;

	/* Both or nothing: as one that needs room for both. */
	if (!peer->hung_up && !refuse &&
		head_len + n > peer->room - MIN(peer->queued, peer->room)) {
		peer->refused = true;
		return -EAGAIN;
	}
	err = net_send(c, head, head_len, NULL);
	if (err)
		return err;
	peer->refuse = 0;
	err = net_send(c, p, n, pin);
	ASSERT(!err || peer->hung_up);
	peer->refuse = refuse ? refuse - 1 : 0;
	return err;
}

uint64_t net_given(const struct net_conn *c)
{
	return c->peer->read + c->peer->queued;
}

uint64_t net_acked(const struct net_conn *c)
{
	return c->peer->read;
}

bool net_starves(void)
{
	return false;
}

void net_linger(struct net_pin *pin)
{
	pin->done(pin);
}

size_t net_room(const struct net_conn *c)
{
	return c->peer->room - MIN(c->peer->queued, c->peer->room);
}

void net_push(struct net_conn *c __unused)
{
}

void net_consumed(struct net_conn *c, size_t n)
{
	ASSERT(c->peer->ours && n);
}

void net_close(struct net_conn *c)
{
	ASSERT(c->peer->ours);
	c->peer->ours = false;
	free_peer(c->peer);
}

void net_abort(struct net_conn *c)
{
	struct fake_peer *p = c->peer;

	ASSERT(p->ours);
	p->ours = false;
	while (p->head)
		free_piece(p);
	p->queued = 0;
	free_peer(p);
}

void net_local_text(const struct net_conn *c __unused, bool with_port, char text[NET_ADDR_TEXT])
{
	str_copy(text, NET_ADDR_TEXT, with_port ? "10.0.2.15:3260" : "10.0.2.15");
}

void net_peer_text(const struct net_conn *c __unused, bool with_port, char text[NET_ADDR_TEXT])
{
	str_copy(text, NET_ADDR_TEXT, with_port ? "10.0.2.2:40000" : "10.0.2.2");
}

static void arrive(struct fake_peer *p)
{
	size_t n = p->chunk ? MIN(p->chunk, p->in_len) : p->in_len;
	uint8_t *exact = malloc(n); /* so that reading past it is noticed */

	ASSERT(exact);
	memcpy(exact, p->in, n);
	memmove(p->in, p->in + n, p->in_len - n);
	p->in_len -= n;
	p->conn.ops->input(p->conn.ctx, exact, n, NULL);
	free(exact);
}

static void turn(struct work *w)
{
	struct fake_peer *p = container_of(w, struct fake_peer, work);

	p->posted = false;
	p->turning = true;
	if (p->ours && p->refused && net_room(&p->conn)) {
		p->refused = false;
		p->conn.ops->writable(p->conn.ctx);
	}
	if (p->ours && p->in_len)
		arrive(p);
	if (p->ours && !p->in_len && p->hung_up) {
		if (p->err) {
			p->ours = false;
			while (p->head)
				free_piece(p);
		}
		p->conn.ops->closed(p->conn.ctx, p->err);
	} else if (p->ours && p->in_len) {
		kick(p);
	}
	p->turning = false;
	free_peer(p);
}

struct fake_peer *fake_connect(uint16_t port)
{
	struct net_listener *l = listeners;
	struct fake_peer *p;

	while (l && l->port != port)
		l = l->next;
	if (!l)
		return NULL;
	p = calloc(1, sizeof(*p));
	ASSERT(p);
	nr_conns++;
	p->conn.peer = p;
	p->room = SIZE_MAX;
	p->tail = &p->head;
	p->work.fn = turn;
	p->ours = true;
	if (l->accept(l->ctx, &p->conn)) {
		p->ours = false;
		free_peer(p);
		return NULL;
	}
	p->theirs = true;
	return p;
}

void fake_chunk(struct fake_peer *p, size_t bytes)
{
	p->chunk = bytes;
}

void fake_room(struct fake_peer *p, size_t bytes)
{
	p->room = bytes;
	kick(p);
}

void fake_refuse_send(struct fake_peer *p, unsigned n)
{
	p->refuse = n ? n + 1 : 0;
}

void fake_write(struct fake_peer *p, const void *bytes, size_t n)
{
	if (!p->ours || !n)
		return;
	p->in = realloc(p->in, p->in_len + n);
	ASSERT(p->in);
	memcpy(p->in + p->in_len, bytes, n);
	p->in_len += n;
	kick(p);
}

size_t fake_read(struct fake_peer *p, void *to, size_t n)
{
	size_t got = 0;

	while (got < n && p->head) {
		struct piece *q = p->head;
		size_t part = MIN(n - got, q->n - q->taken);

		memcpy((uint8_t *)to + got, q->at + q->taken, part);
		got += part;
		q->taken += part;
		p->queued -= part;
		p->read += part;
		if (q->taken == q->n)
			free_piece(p);
	}
	if (got && p->refused)
		kick(p);
	return got;
}

size_t fake_readable(const struct fake_peer *p)
{
	return p->queued;
}

bool fake_closed(const struct fake_peer *p)
{
	return !p->ours;
}

void fake_hang_up(struct fake_peer *p, int err)
{
	p->theirs = false;
	p->hung_up = true;
	p->err = err;
	kick(p);
}

unsigned fake_nr_conns(void)
{
	return nr_conns;
}

bool fake_listens(uint16_t port)
{
	struct net_listener *l;

	for (l = listeners; l; l = l->next)
		if (l->port == port)
			return true;
	return false;
}

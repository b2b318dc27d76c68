/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fan - one bio that becomes several: a flush for every device or target, a discard for every
 * stripe.  The bio itself is kept; clones of it are sent, a few at a time, until all have been;
 * then it ends with the first error or 0.
 *
 * Each core of a table has one fan, made with it, and every fan at least one clone, so that there
 * is always progress; who finds the fan out waits in line for it.
 */
#include "kernel/api/string.h"
#include "mapper/mdev.h"
#include "mapper/split.h"

struct clone {
	struct bio bio;
	struct fan *fan;
	struct clone *next; /* free */
	struct mframe f;
};

struct fan {
	struct table_core *tc;
	struct bio *parent;
	struct clone *free;
	unsigned nr_out; /* clones, and 1 while they are being sent */
	int status;
	/* What comes next: copy number copy of target number target, or with flush_by_dev of device
	 * number copy.  Other operations than flush have one target. */
	unsigned target, copy;
	bool all_sent;
};

static size_t clone_size(size_t data_size)
{
	return ROUND_UP_POW2(sizeof(struct clone) + data_size, (size_t)16);
}

static size_t head_size(void)
{
	return ROUND_UP_POW2(sizeof(struct fan), (size_t)16);
}

size_t fan_size(unsigned nr_clones, size_t data_size)
{
	return head_size() + nr_clones * clone_size(data_size);
}

static void fan_done(struct fan *fan);

/* As mframe_end() for a clone. */
static bool clone_end_io(struct bio_frame *frame, struct bio *bio, int *status)
{
	struct mframe *f = container_of(frame, struct mframe, frame);

	if (f->target) {
		bio->frames = frame;
		if ((*status || !f->target->end_io_errors) &&
			f->target->ops->end_io(f->target, bio, status))
			return true;
		bio->frames = frame->next;
	}
	return false;
}

void fan_init(struct fan *fan, struct table_core *tc, unsigned nr_clones, size_t data_size)
{
	char *at = (char *)fan + head_size();

	fan->tc = tc;
	for (unsigned i = 0; i < nr_clones; i++, at += clone_size(data_size)) {
		struct clone *c = (struct clone *)at;

		c->fan = fan;
		c->f.tc = tc;
		c->f.frame.end = clone_end_io;
		c->next = fan->free;
		fan->free = c;
	}
}

/* ---- clones ---- */

static void clone_done(struct bio *bio)
{
	struct clone *c = container_of(bio, struct clone, bio);
	struct fan *fan = c->fan;

	if (bio->status && !fan->status)
		fan->status = bio->status;
	c->next = fan->free;
	fan->free = c;
	fan->nr_out--;
	fan_done(fan);
}

static void clone_map(struct clone *c, struct target *tg)
{
	struct bio *bio = &c->bio;

	c->f.target = tg->ops->end_io ? tg : NULL;
	switch (tg->ops->map(tg, bio)) {
	case MAP_REMAPPED:
		bio->vetted = !bio->dev->raw_flush;
		bio_submit(bio);
		break;
	case MAP_HELD:
		break;
	case MAP_DONE:
		c->f.target = NULL;
		bio_end(bio, 0);
		break;
	case MAP_FAIL:
	case MAP_REQUEUE: /* a copy cannot be held until the table is another */
		c->f.target = NULL;
		bio_end(bio, bio->status ? bio->status : -EIO);
		break;
	}
}

/* dev NULL: to a target. */
static void clone_send(struct fan *fan, struct bdev *dev, struct target *tg, unsigned copy)
{
	struct clone *c = fan->free;
	const struct bio *parent = fan->parent;

	fan->free = c->next;
	fan->nr_out++;
	c->f.frame.next = NULL;
	c->f.target = NULL;
	c->bio = (struct bio){
		.dev = dev ? dev : parent->dev,
		.sector = parent->sector,
		.nr_sectors = parent->nr_sectors,
		.op = parent->op,
		.flags = parent->flags,
		.done = clone_done,
		.frames = &c->f.frame,
		.core = parent->core,
		.target_nr = (uint16_t)copy,
	};
	if (dev)
		bio_submit(&c->bio);
	else
		clone_map(c, tg);
}

/* ---- fans ---- */

static unsigned copies_at(const struct fan *fan)
{
	const struct table *t = fan->tc->table;
	const struct target *tg = &t->targets[fan->target];

	switch (fan->parent->op) {
	case BIO_FLUSH:
		return t->flush_by_dev ? t->nr_deps : tg->nr_flush;
	case BIO_DISCARD:
		return tg->nr_discard;
	case BIO_WRITE_ZEROES:
		return tg->nr_write_zeroes;
	default:
		return tg->nr_secure_erase;
	}
}

/* Moves on to where there is a copy to send; false: all were. */
static bool fan_settle(struct fan *fan)
{
	const struct table *t = fan->tc->table;
	bool every_target = fan->parent->op == BIO_FLUSH && !t->flush_by_dev;

	while (!fan->all_sent && fan->copy == copies_at(fan)) {
		fan->copy = 0;
		if (every_target && fan->target + 1 < t->nr_targets)
			fan->target++;
		else
			fan->all_sent = true;
	}
	return !fan->all_sent;
}

static void fan_send(struct fan *fan)
{
	struct table *t = fan->tc->table;
	bool by_dev = fan->parent->op == BIO_FLUSH && t->flush_by_dev;

	fan->nr_out++;
	while (fan->free && fan_settle(fan)) {
		unsigned copy = fan->copy++;

		clone_send(fan, by_dev ? t->deps[copy] : NULL, &t->targets[fan->target], copy);
	}
	fan->nr_out--;
}

static void fan_start(struct fan *fan, struct bio *bio)
{
	struct table *t = fan->tc->table;

	fan->parent = bio;
	fan->status = 0;
	fan->all_sent = false;
	fan->copy = 0;
	fan->target = 0;
	if (bio->op != BIO_FLUSH)
		fan->target = (unsigned)(table_find(t, bio->sector) - t->targets);
	fan_send(fan);
}

/* A clone came back. */
static void fan_done(struct fan *fan)
{
	struct table_core *tc = fan->tc;

	fan_send(fan);
	while (!fan->nr_out) {
		struct bio *next = bio_list_pop(&tc->fan_waiting);
		struct bio *parent = fan->parent;
		int status = fan->status;

		if (next) {
			fan_start(fan, next);
			bio_finish(parent, status);
			continue;
		}
		tc->fan_out = false;
		bio_finish(parent, status);
		if (tc->draining)
			table_core_pump(tc);
		return;
	}
}

void fan_submit(struct table_core *tc, struct bio *bio)
{
	if (!tc->fan_out) {
		tc->fan_out = true;
		fan_start(tc->fan, bio);
	} else if (bio->flags & BIO_NOWAIT) {
		bio_end(bio, -EAGAIN);
	} else {
		bio_list_add(&tc->fan_waiting, bio);
	}
}

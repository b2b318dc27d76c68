/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ramdisk - see ramdisk.h.  A bio is executed when it completes, not when it arrives, so reads see
 * what completed before them and a power cut finds writes in flight unexecuted.
 *
 * Cache: data is what reads see, stable what is on the medium.  A flush makes durable what was
 * acknowledged before the flush arrived, and no more (but for what was written over since: one
 * content a sector is all the cache has): dirty_seq remembers by number of completion
 * when a sector's oldest volatile write was acknowledged, a flush remembers the number it met.
 */
#include <stdlib.h>
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "tests/host/ramdisk.h"

struct slot {
	struct list node; /* rd->pending while it waits */
	struct ramdisk *rd;
	struct bio *bio;
	struct work work;
	struct timer timer;
	uint64_t seq; /* rd->seq when it arrived */
	int status;   /* how it shall fail */
	unsigned core;
	bool sent; /* on its way to slot_done */
};

/* ---- what block.h promises ---- */

#define REQUIRE(rd, x)                                                              \
	do {                                                                        \
		if (!(x))                                                           \
			panic("%s: bio breaks a promise: %s", (rd)->bdev.name, #x); \
	} while (0)

static void check_segs(struct ramdisk *rd, struct bio *bio)
{
	const struct limits *l = &rd->bdev.limits;
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;
	uint64_t bytes = 0, end = 0;
	unsigned runs = 0;

	while (seg_next(&it, UINT32_MAX, &s)) {
		REQUIRE(rd, s.len != 0);
		REQUIRE(rd, !(s.addr & l->dma_align));
		REQUIRE(rd, s.len <= l->max_seg_size);
		if (l->seg_boundary != UINT64_MAX)
			REQUIRE(rd, (s.addr | l->seg_boundary) ==
					    ((s.addr + s.len - 1) | l->seg_boundary));
		if (l->no_gaps && bytes)
			REQUIRE(rd, !(s.addr & (l->no_gaps - 1)) && !(end & (l->no_gaps - 1)));
		end = s.addr + s.len;
		bytes += s.len;
		runs++;
	}
	REQUIRE(rd, bytes == bio_bytes(bio));
	REQUIRE(rd, runs <= l->max_segs);
}

static void check(struct ramdisk *rd, struct bio *bio)
{
	const struct limits *l = &rd->bdev.limits;
	uint32_t block = l->logical_block >> SECTOR_SHIFT, n = bio->nr_sectors;
	uint32_t chunk = l->chunk_sectors;

	REQUIRE(rd, bio->dev == &rd->bdev);
	REQUIRE(rd, bio->op < BIO_NR_OPS);
	REQUIRE(rd, !(bio->flags & BIO_PREFLUSH));
	REQUIRE(rd, !(bio->flags & BIO_FUA) || (l->fua && bio->op == BIO_WRITE));
	if (bio->op == BIO_FLUSH) {
		REQUIRE(rd, l->write_cache);
		REQUIRE(rd, n == 0);
		return;
	}
	REQUIRE(rd, n != 0);
	REQUIRE(rd, !(bio->sector % block) && !(n % block));
	REQUIRE(rd, bio->sector < rd->bdev.nr_sectors && n <= rd->bdev.nr_sectors - bio->sector);
	REQUIRE(rd, bio->op == BIO_READ || !rd->bdev.read_only);
	switch (bio->op) {
	case BIO_READ:
	case BIO_WRITE:
		REQUIRE(rd, n <= l->max_sectors);
		if (chunk)
			REQUIRE(rd, bio->sector / chunk == (bio->sector + n - 1) / chunk);
		check_segs(rd, bio);
		break;
	case BIO_DISCARD:
		REQUIRE(rd, n <= l->max_discard_sectors);
		break;
	case BIO_WRITE_ZEROES:
		REQUIRE(rd, n <= l->max_write_zeroes_sectors);
		break;
	default:
		REQUIRE(rd, n <= l->max_secure_erase_sectors);
		break;
	}
}

/* ---- the medium ---- */

static void make_stable(struct ramdisk *rd, sector_t sector)
{
	memcpy(rd->stable + sector * SECTOR_SIZE, rd->data + sector * SECTOR_SIZE, SECTOR_SIZE);
	rd->dirty_seq[sector] = 0;
}

/* Contents of these sectors changed; fua: durably. */
static void changed(struct ramdisk *rd, sector_t first, uint32_t nr, bool fua)
{
	if (!rd->stable)
		return;
	for (sector_t s = first; s < first + nr; s++) {
		if (fua)
			make_stable(rd, s);
		else if (!rd->dirty_seq[s])
			rd->dirty_seq[s] = rd->seq;
	}
}

static void execute(struct ramdisk *rd, struct bio *bio, uint64_t arrived)
{
	uint8_t *at = rd->data + bio->sector * SECTOR_SIZE;
	struct seg_iter it;
	struct seg s;

	switch (bio->op) {
	case BIO_READ:
	case BIO_WRITE:
		for (it = seg_iter_of(bio); seg_next(&it, UINT32_MAX, &s); at += s.len) {
			if (bio->op == BIO_READ)
				memcpy(dma_ptr(s.addr), at, s.len);
			else
				memcpy(at, dma_ptr(s.addr), s.len);
		}
		break;
	case BIO_WRITE_ZEROES:
	case BIO_SECURE_ERASE:
		memset(at, 0, bio_bytes(bio));
		break;
	case BIO_DISCARD:
		memset(at, 0xd5, bio_bytes(bio)); /* a hint promises nothing of what is read */
		break;
	case BIO_FLUSH:
		for (sector_t n = 0; rd->stable && n < rd->bdev.nr_sectors; n++)
			if (rd->dirty_seq[n] && rd->dirty_seq[n] <= arrived)
				make_stable(rd, n);
		return;
	}
	if (bio->op != BIO_READ)
		changed(rd, bio->sector, bio->nr_sectors, bio->flags & BIO_FUA);
}

/* ---- the way of a bio ---- */

static void slot_end(struct slot *s)
{
	struct ramdisk *rd = s->rd;
	struct bio *bio = s->bio;
	int status = s->status;

	rd->seq++;
	if (status)
		rd->nr_errors++;
	else
		execute(rd, bio, s->seq);
	rd->in_flight--;
	list_del(&s->node);
	free(s);
	bio_end(bio, status);
}

static void slot_work(struct work *w)
{
	slot_end(container_of(w, struct slot, work));
}

static void slot_timer(struct timer *t)
{
	slot_end(container_of(t, struct slot, timer));
}

static void slot_send(struct slot *s)
{
	struct ramdisk *rd = s->rd;
	uint64_t wait = rd->delay_ns;

	s->sent = true;
	if (rd->jitter_ns)
		wait += rng_below(&rd->rng, rd->jitter_ns + 1);
	if (wait && s->core == this_core())
		timer_start(&s->timer, now_ns() + wait);
	else
		work_send(s->core, &s->work);
}

static bool in_fail_range(struct ramdisk *rd, struct bio *bio)
{
	if (!rd->fail_range_status || !(rd->fail_ops >> bio->op & 1))
		return false;
	return bio->op == BIO_FLUSH || (bio->sector < rd->fail_first + rd->fail_nr &&
					       bio->sector + bio->nr_sectors > rd->fail_first);
}

static void ramdisk_submit(struct bdev *dev, struct bio *bio)
{
	struct ramdisk *rd = dev->ctx;
	struct slot *s;

	check(rd, bio);
	s = calloc(1, sizeof(*s));
	ASSERT(s);
	if (rd->nr_trace++ < RAMDISK_TRACE)
		rd->trace[rd->nr_trace - 1] = (struct ramdisk_bio){ bio->op, bio->flags,
			bio->nr_sectors, bio->nr_segs, bio->sector };
	rd->nr[bio->op]++;
	rd->sectors[bio->op] += bio->nr_sectors;
	rd->nr_fua += bio->flags & BIO_FUA ? 1 : 0;
	rd->in_flight++;
	rd->max_in_flight = MAX(rd->max_in_flight, rd->in_flight);

	s->rd = rd;
	s->bio = bio;
	s->work.fn = slot_work;
	s->timer.fn = slot_timer;
	s->seq = rd->seq;
	s->core = this_core();
	if (rd->fail_in && !--rd->fail_in)
		s->status = rd->fail_nth_status;
	else if (in_fail_range(rd, bio))
		s->status = rd->fail_range_status;
	list_add_tail(&rd->pending, &s->node);
	if (!rd->held)
		slot_send(s);
}

static const struct bdev_ops ramdisk_ops = {
	.submit = ramdisk_submit,
};

/* ---- for tests ---- */

static uint32_t free_minor(uint32_t major)
{
	for (uint32_t minor = 0;; minor++) {
		struct bdev *b = NULL;

		while ((b = bdev_next(b)) && !(b->major == major && b->minor == minor))
			;
		if (!b)
			return minor;
	}
}

struct ramdisk *ramdisk_create(const char *name, sector_t sectors, const struct limits *limits)
{
	struct ramdisk *rd = calloc(1, sizeof(*rd));

	ASSERT(rd && sectors);
	rd->data = calloc(sectors, SECTOR_SIZE);
	ASSERT(rd->data);
	list_init(&rd->pending);
	str_copy(rd->bdev.name, sizeof(rd->bdev.name), name);
	rd->bdev.major = 1;
	rd->bdev.minor = free_minor(rd->bdev.major);
	rd->bdev.nr_sectors = sectors;
	rd->bdev.ops = &ramdisk_ops;
	rd->bdev.ctx = rd;
	if (limits) {
		rd->bdev.limits = *limits;
	} else {
		limits_default(&rd->bdev.limits);
		rd->bdev.limits.max_discard_sectors = UINT32_MAX;
		rd->bdev.limits.discard_granularity = SECTOR_SIZE;
		rd->bdev.limits.max_write_zeroes_sectors = UINT32_MAX;
	}
	if (rd->bdev.limits.write_cache) {
		rd->stable = calloc(sectors, SECTOR_SIZE);
		rd->dirty_seq = calloc(sectors, sizeof(*rd->dirty_seq));
		ASSERT(rd->stable && rd->dirty_seq);
		rd->seq = 1; /* 0 means clean */
	}
	if (bdev_register(&rd->bdev)) {
		free(rd->data);
		free(rd->stable);
		free(rd->dirty_seq);
		free(rd);
		return NULL;
	}
	return rd;
}

void ramdisk_destroy(struct ramdisk *rd)
{
	if (!rd)
		return;
	ASSERT(list_empty(&rd->pending));
	if (bdev_unregister(&rd->bdev))
		panic("%s: destroyed while open", rd->bdev.name);
	free(rd->data);
	free(rd->stable);
	free(rd->dirty_seq);
	free(rd);
}

void ramdisk_delay(struct ramdisk *rd, uint64_t delay_ns, uint64_t jitter_ns, uint64_t seed)
{
	rd->delay_ns = delay_ns;
	rd->jitter_ns = jitter_ns;
	rng_seed(&rd->rng, seed);
}

void ramdisk_hold(struct ramdisk *rd)
{
	rd->held = true;
}

void ramdisk_release(struct ramdisk *rd, unsigned n)
{
	struct slot *s;

	if (!n)
		rd->held = false;
	list_for_each (s, &rd->pending, node) {
		if (s->sent)
			continue;
		slot_send(s);
		if (n && !--n)
			break;
	}
}

void ramdisk_fail_nth(struct ramdisk *rd, unsigned n, int status)
{
	rd->fail_in = n;
	rd->fail_nth_status = status;
}

void ramdisk_fail_range(struct ramdisk *rd, unsigned ops, sector_t first, sector_t nr, int status)
{
	rd->fail_ops = ops;
	rd->fail_first = first;
	rd->fail_nr = nr;
	rd->fail_range_status = status;
}

void ramdisk_power_cut(struct ramdisk *rd, uint64_t seed)
{
	struct rng rng;
	struct slot *s;

	list_for_each (s, &rd->pending, node)
		s->status = -EIO;
	rd->held = false;
	ramdisk_release(rd, 0);
	rng_seed(&rng, seed);
	for (sector_t n = 0; rd->stable && n < rd->bdev.nr_sectors; n++) {
		if (!rd->dirty_seq[n])
			continue;
		if (seed && rng_below(&rng, 2)) {
			make_stable(rd, n);
			continue;
		}
		memcpy(rd->data + n * SECTOR_SIZE, rd->stable + n * SECTOR_SIZE, SECTOR_SIZE);
		rd->dirty_seq[n] = 0;
	}
}

uint64_t ramdisk_nr_dirty(const struct ramdisk *rd)
{
	uint64_t n = 0;

	for (sector_t s = 0; rd->stable && s < rd->bdev.nr_sectors; s++)
		n += rd->dirty_seq[s] != 0;
	return n;
}

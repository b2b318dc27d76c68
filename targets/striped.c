/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * striped - chunks dealt out to N devices in turn: "striped <N> <chunk sectors> N x {<dev>
 * <offset>}".  Chunk c lies on device c % N, there as chunk c / N.  Neither N nor the chunk need be
 * a power of two; where they are, shifts take the place of divisions.
 */
#include "kernel/api/string.h"
#include "targets/targets.h"

/* After so many errors of one device nobody is told of more. */
#define EVENTS_MAX 15

struct stripe {
	struct bdev *dev;
	sector_t start;
	unsigned errors; /* atomic */
};

struct striped {
	unsigned nr;
	uint32_t chunk; /* sectors */
	bool shifts;    /* both are powers of two, with these shifts and masks */
	uint8_t nr_shift, chunk_shift;
	uint32_t nr_mask, chunk_mask;
	struct stripe stripes[];
};

static struct mem_tag striped_tag = MEM_TAG("striped");

static struct striped *striped_of(const struct target *t)
{
	return *(struct striped **)t->ctx;
}

static int striped_ctr(struct target *t, struct args *a)
{
	uint32_t nr, chunk, i;
	struct striped *s;

	if (args_left(a) < 2)
		arg_fail(a, -EINVAL, "Not enough arguments");
	nr = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid stripe count");
	if (!nr)
		arg_fail(a, -EINVAL, "Invalid stripe count");
	chunk = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid chunk_size");
	if (!chunk)
		arg_fail(a, -EINVAL, "Invalid chunk_size");
	if (a->err || !nr || !chunk)
		return a->err;
	if (t->len % nr)
		arg_fail(a, -EINVAL, "Target length not divisible by number of stripes");
	else if (t->len / nr % chunk)
		arg_fail(a, -EINVAL, "Target length not divisible by chunk size");
	else if (args_left(a) != 2ull * nr || nr > UINT16_MAX)
		arg_fail(a, -EINVAL, "Not enough destinations specified");
	if (a->err)
		return a->err;
	s = mem_alloc(&striped_tag, sizeof(*s) + nr * sizeof(s->stripes[0]));
	if (!s) {
		arg_fail(a, -ENOMEM, "Memory allocation for striped context failed");
		return a->err;
	}
	*(struct striped **)t->ctx = s;
	s->nr = nr;
	s->chunk = chunk;
	s->nr_mask = nr - 1;
	s->chunk_mask = chunk - 1;
	s->shifts = !(nr & s->nr_mask) && !(chunk & s->chunk_mask);
	s->nr_shift = (uint8_t)__builtin_ctz(nr);
	s->chunk_shift = (uint8_t)__builtin_ctz(chunk);
	for (i = 0; i < nr; i++)
		s->stripes[i].dev = arg_range(a, t->len / nr, &s->stripes[i].start,
			"Couldn't parse stripe destination", "Couldn't parse stripe destination");
	t->max_io_sectors = chunk;
	t->nr_flush = t->nr_discard = t->nr_write_zeroes = t->nr_secure_erase = (uint16_t)nr;
	t->flush_bypass = t->end_io_errors = true;
	return arg_end(a, "Not enough destinations specified");
}

static void striped_dtr(struct target *t)
{
	mem_free(striped_of(t));
}

/* How many sectors before offset lie on stripe i. */
static sector_t sectors_before(const struct striped *s, sector_t offset, unsigned i)
{
	sector_t c = offset / s->chunk, row = c / s->nr * s->chunk;
	unsigned on = (unsigned)(c % s->nr);

	if (on < i)
		return row;
	return row + (on == i ? offset % s->chunk : s->chunk);
}

/* One of the copies of a discard or the like: the part of it that lies on stripe target_nr. */
static enum map_result map_copy(struct target *t, struct striped *s, struct bio *bio)
{
	struct stripe *st = &s->stripes[bio->target_nr];
	sector_t from = target_offset(t, bio);
	sector_t begin = sectors_before(s, from, bio->target_nr);
	sector_t end = sectors_before(s, from + bio->nr_sectors, bio->target_nr);

	if (begin == end)
		return MAP_DONE;
	bio->dev = st->dev;
	bio->sector = st->start + begin;
	bio->nr_sectors = (uint32_t)(end - begin);
	return MAP_REMAPPED;
}

/* Whatever is not data to stripes and chunks that are powers of two. */
static __attribute__((noinline)) enum map_result map_slow(
	struct target *t, struct striped *s, struct bio *bio)
{
	uint32_t *which = target_bio_data(bio);
	sector_t offset, c;
	struct stripe *st;

	if (!bio_has_data(bio)) {
		*which = bio->target_nr;
		if (bio->op != BIO_FLUSH)
			return map_copy(t, s, bio);
		bio->dev = s->stripes[bio->target_nr].dev;
		bio->sector = 0;
		return MAP_REMAPPED;
	}
	offset = target_offset(t, bio);
	c = offset / s->chunk;
	*which = (uint32_t)(c % s->nr);
	st = &s->stripes[*which];
	bio->dev = st->dev;
	bio->sector = st->start + c / s->nr * s->chunk + offset % s->chunk;
	return MAP_REMAPPED;
}

static enum map_result striped_map(struct target *t, struct bio *bio)
{
	struct striped *s = striped_of(t);
	sector_t offset, c;
	struct stripe *st;
	uint32_t which;

	if (unlikely(!s->shifts || bio->op > BIO_WRITE))
		return map_slow(t, s, bio);
	offset = target_offset(t, bio);
	c = offset >> s->chunk_shift;
	which = (uint32_t)c & s->nr_mask;
	*(uint32_t *)target_bio_data(bio) = which;
	st = &s->stripes[which];
	bio->dev = st->dev;
	/* The chunks before it on this stripe, and what is before it in its own. */
	bio->sector = st->start + (c >> s->nr_shift << s->chunk_shift) + (offset & s->chunk_mask);
	return MAP_REMAPPED;
}

static bool striped_end_io(struct target *t, struct bio *bio, int *status)
{
	const uint32_t *which = target_bio_data(bio);
	struct stripe *st;

	if (likely(!*status) || *status == -EOPNOTSUPP || *status == -EAGAIN)
		return false;
	st = &striped_of(t)->stripes[*which];
	if (__atomic_add_fetch(&st->errors, 1, __ATOMIC_RELAXED) < EVENTS_MAX)
		target_event(t);
	return false;
}

static void striped_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct striped *s = striped_of(t);
	unsigned i;

	strbuf_printf(out, "%u", s->nr);
	if (type == STATUS_TABLE)
		strbuf_printf(out, " %u", s->chunk);
	for (i = 0; i < s->nr; i++) {
		const struct stripe *st = &s->stripes[i];

		strbuf_printf(out, " %u:%u", st->dev->major, st->dev->minor);
		if (type == STATUS_TABLE)
			strbuf_printf(out, " %llu", (unsigned long long)st->start);
	}
	if (type == STATUS_INFO) {
		strbuf_puts(out, " 1 ");
		for (i = 0; i < s->nr; i++)
			strbuf_putc(out, s->stripes[i].errors ? 'D' : 'A');
	}
}

static void striped_io_hints(struct target *t, struct limits *l)
{
	const struct striped *s = striped_of(t);

	l->io_min = (uint32_t)MIN((uint64_t)s->chunk * SECTOR_SIZE, (uint64_t)UINT32_MAX);
	l->io_opt = (uint32_t)MIN((uint64_t)l->io_min * s->nr, (uint64_t)UINT32_MAX);
}

const struct target_ops striped_ops = {
	.name = "striped",
	.syntax = "<stripes> <chunk sectors> (<device> <start>)...",
	.version = { 1, 6, 0 },
	.ctx_size = sizeof(struct striped *),
	.per_bio_size = sizeof(uint32_t),
	.ctr = striped_ctr,
	.dtr = striped_dtr,
	.map = striped_map,
	.end_io = striped_end_io,
	.status = striped_status,
	.io_hints = striped_io_hints,
};

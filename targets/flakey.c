/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * flakey - a device that works for some seconds and then for some does not, over and over:
 * "flakey <dev> <start> <up> <down> [<nr words> <feature>...]".  Features say what goes wrong
 * meanwhile; without any every request fails.  Seconds are counted from the load of the table.
 *
 *	error_reads, error_writes, drop_writes
 *	corrupt_bio_byte <nth> <r|w> <value> <flags>
 *	random_read_corrupt <p>, random_write_corrupt <p>	in 1,000,000,000
 *
 * What is corrupted on its way down is a copy: the pages are the submitter's.  The copy is taken
 * when it is needed, and a write there is no memory for fails like those of a disk that is down.
 */
#include "kernel/api/random.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "targets/targets.h"

#define PROBABILITY_BASE 1000000000u
#define FEATURES_MAX     11u
/* Linux's numbers of the flags that a bio of ours may have. */
#define LINUX_WRITE    1u
#define LINUX_FUA      (1u << 17)
#define LINUX_PREFLUSH (1u << 18)
#define LINUX_NOWAIT   (1u << 21)

struct flakey {
	struct bdev *dev;
	sector_t start;
	struct timer timer; /* until it changes, on core 0 */
	bool is_down;       /* other cores look as well */
	uint32_t up, down;
	bool error_reads, error_writes, drop_writes, default_features;
	uint32_t corrupt_byte; /* 1 is the first; 0: none */
	bool corrupt_writes;   /* or reads */
	uint8_t corrupt_value;
	uint32_t corrupt_flags;
	uint32_t random_read, random_write;
	struct rng rng[MAX_CORES];
};

struct flakey_bio {
	bool down; /* it came at a bad time */
	uint8_t order;
	void *copy; /* of a write's data */
	struct seg seg;
	/* the submitter's */
	const struct seg *segs;
	uint32_t nr_segs, seg_off;
};

static struct mem_tag flakey_tag = MEM_TAG("flakey");

/* ---- the words of a table ---- */

static void feature_drop_writes(struct flakey *f, struct args *a)
{
	if (f->drop_writes)
		arg_fail(a, -EINVAL, "Feature drop_writes duplicated");
	if (f->error_writes)
		arg_fail(a, -EINVAL, "Feature drop_writes conflicts with feature error_writes");
	f->drop_writes = true;
}

static void feature_error_writes(struct flakey *f, struct args *a)
{
	if (f->error_writes)
		arg_fail(a, -EINVAL, "Feature error_writes duplicated");
	if (f->drop_writes)
		arg_fail(a, -EINVAL, "Feature error_writes conflicts with feature drop_writes");
	f->error_writes = true;
}

static void feature_error_reads(struct flakey *f, struct args *a)
{
	if (f->error_reads)
		arg_fail(a, -EINVAL, "Feature error_reads duplicated");
	f->error_reads = true;
}

static void feature_corrupt(struct flakey *f, struct args *a, unsigned left)
{
	const char *way;

	if (!left) {
		arg_fail(a, -EINVAL, "Feature corrupt_bio_byte requires parameters");
		return;
	}
	f->corrupt_byte = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid corrupt bio byte");
	if (!a->err && !f->corrupt_byte)
		arg_fail(a, -EINVAL, "Invalid corrupt bio byte");
	way = arg_word(a, "Invalid corrupt bio direction (r or w)");
	if (!a->err && strcasecmp(way, "w") && strcasecmp(way, "r"))
		arg_fail(a, -EINVAL, "Invalid corrupt bio direction (r or w)");
	f->corrupt_writes = !strcasecmp(way, "w");
	f->corrupt_value =
		(uint8_t)arg_u64(a, 255, "Invalid corrupt value to write into bio byte (0-255)");
	f->corrupt_flags = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid corrupt bio flags mask");
}

static uint32_t feature_random(struct args *a, unsigned left, const char *name)
{
	if (!left)
		arg_fail(a, -EINVAL, "Feature %s requires a parameter", name);
	return (uint32_t)arg_u64(a, PROBABILITY_BASE, "Invalid random corrupt argument");
}

static void feature(struct flakey *f, struct args *a, unsigned end)
{
	const char *word = arg_word(a, "Insufficient feature arguments");
	unsigned left = end - a->pos;

	if (a->err)
		return;
	if (!strcasecmp(word, "error_reads"))
		feature_error_reads(f, a);
	else if (!strcasecmp(word, "drop_writes"))
		feature_drop_writes(f, a);
	else if (!strcasecmp(word, "error_writes"))
		feature_error_writes(f, a);
	else if (!strcasecmp(word, "corrupt_bio_byte"))
		feature_corrupt(f, a, left);
	else if (!strcasecmp(word, "random_read_corrupt"))
		f->random_read = feature_random(a, left, "random_read_corrupt");
	else if (!strcasecmp(word, "random_write_corrupt"))
		f->random_write = feature_random(a, left, "random_write_corrupt");
	else
		arg_fail(a, -EINVAL, "Unrecognised flakey feature requested");
}

static void check_conflicts(const struct flakey *f, struct args *a)
{
	bool writes = (f->corrupt_byte && f->corrupt_writes) || f->random_write;
	bool reads = (f->corrupt_byte && !f->corrupt_writes) || f->random_read;

	if (f->drop_writes && writes)
		arg_fail(a, -EINVAL,
			"drop_writes is incompatible with %scorrupt_bio_byte with the WRITE flag "
			"set",
			f->random_write ? "random_write_corrupt or " : "");
	if (f->error_writes && writes)
		arg_fail(a, -EINVAL,
			"error_writes is incompatible with %scorrupt_bio_byte with the WRITE flag "
			"set",
			f->random_write ? "random_write_corrupt or " : "");
	if (f->error_reads && reads)
		arg_fail(a, -EINVAL,
			"error_reads is incompatible with random_read_corrupt or corrupt_bio_byte "
			"with the READ flag set");
}

static void features(struct flakey *f, struct args *a)
{
	unsigned nr, end;

	if (args_left(a)) {
		nr = (unsigned)arg_u64(a, FEATURES_MAX, "Invalid number of feature args");
		end = a->pos + nr;
		if (!a->err && nr > args_left(a))
			arg_fail(a, -EINVAL, "Invalid number of feature args");
		while (!a->err && a->pos < end)
			feature(f, a, end);
		check_conflicts(f, a);
	}
	f->default_features = !f->error_reads && !f->error_writes && !f->drop_writes &&
			      !f->corrupt_byte && !f->random_read && !f->random_write;
}

/* From up to down and back, for as long as there is a table. */
static void change(struct timer *t)
{
	struct flakey *f = container_of(t, struct flakey, timer);
	bool down = !f->is_down;

	__atomic_store_n(&f->is_down, down, __ATOMIC_RELAXED);
	timer_start(t, t->due_ns + (down ? f->down : f->up) * NS_PER_S);
}

static int flakey_ctr(struct target *t, struct args *a)
{
	struct flakey *f = t->ctx;
	unsigned at = a->pos, end, i;

	if (args_left(a) < 4)
		arg_fail(a, -EINVAL, "Invalid argument count");
	arg_word(a, "Device lookup failed");
	f->start = arg_u64(a, UINT64_MAX, "Invalid device sector");
	f->up = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid up interval");
	f->down = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid up interval"); /* Linux says so too */
	if (f->up + f->down == 0) /* also when it is 2^32 */
		arg_fail(a, -EINVAL, "Total (up + down) interval is zero");
	if (f->up + f->down < f->up)
		arg_fail(a, -EINVAL, "Interval overflow");
	features(f, a);
	if (a->err)
		return a->err;
	end = a->pos;
	a->pos = at;
	f->dev = arg_bdev(a, "Device lookup failed");
	if (a->err)
		return a->err;
	a->pos = end;
	arg_uses(a, f->dev, f->start, t->len);
	for (i = 0; i < MAX_CORES; i++)
		rng_seed(&f->rng[i], now_ns() + i);
	f->timer.fn = change;
	f->is_down = !f->up;
	if (f->up && f->down)
		timer_start(&f->timer, now_ns() + f->up * NS_PER_S);
	t->end_io_errors = !f->corrupt_byte && !f->random_read && !f->random_write;
	t->nr_flush = t->nr_discard = 1;
	return a->err; /* words behind the features do not matter to Linux */
}

/* ---- the way of a bio ---- */

/* As Linux would have them, to be compared with a mask. */
static uint32_t linux_flags(const struct bio *bio)
{
	uint32_t v = bio->op == BIO_WRITE ? LINUX_WRITE : 0;

	if (bio->flags & BIO_FUA)
		v |= LINUX_FUA;
	if (bio->flags & BIO_PREFLUSH)
		v |= LINUX_PREFLUSH;
	if (bio->flags & BIO_NOWAIT)
		v |= LINUX_NOWAIT;
	return v;
}

static bool hits(struct flakey *f, uint32_t probability)
{
	return probability && rng_below(&f->rng[this_core()], PROBABILITY_BASE) < probability;
}

static void set_byte(const struct bio *bio, uint64_t at, uint8_t value)
{
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;

	if (at >= bio_bytes(bio))
		return;
	seg_skip(&it, at);
	if (seg_next(&it, 1, &s))
		*(uint8_t *)dma_ptr(s.addr) = value;
}

static void random_byte(struct flakey *f, const struct bio *bio)
{
	struct rng *r = &f->rng[this_core()];

	set_byte(bio, rng_below(r, bio_bytes(bio)), (uint8_t)rng_u64(r));
}

static bool copy_take(struct flakey_bio *fb, struct bio *bio)
{
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;
	uint8_t *to;

	if (bio_bytes(bio) > (uint64_t)PAGE_SIZE << PAGE_ORDER_MAX)
		return false;
	fb->order = (uint8_t)page_order(bio_bytes(bio));
	fb->copy = to = page_alloc(&flakey_tag, fb->order);
	if (!to)
		return false;
	while (seg_next(&it, UINT32_MAX, &s)) {
		memcpy(to, dma_ptr(s.addr), s.len);
		to += s.len;
	}
	fb->segs = bio->segs;
	fb->nr_segs = bio->nr_segs;
	fb->seg_off = bio->seg_off;
	fb->seg = (struct seg){ dma_addr(fb->copy), (uint32_t)bio_bytes(bio) };
	bio->segs = &fb->seg;
	bio->nr_segs = 1;
	bio->seg_off = 0;
	return true;
}

/* A write while it is down that is neither dropped nor an error. */
static enum map_result corrupt_write(struct flakey *f, struct flakey_bio *fb, struct bio *bio)
{
	bool nth = f->corrupt_byte && f->corrupt_writes &&
		   (linux_flags(bio) & f->corrupt_flags) == f->corrupt_flags;
	bool any = hits(f, f->random_write);

	if (bio->op != BIO_WRITE || (!nth && !any))
		return MAP_REMAPPED;
	if (!copy_take(fb, bio)) {
		bio->status = -ENOMEM;
		return MAP_FAIL;
	}
	if (nth)
		set_byte(bio, f->corrupt_byte - 1, f->corrupt_value);
	if (any)
		random_byte(f, bio);
	return MAP_REMAPPED;
}

static enum map_result flakey_map(struct target *t, struct bio *bio)
{
	struct flakey *f = t->ctx;
	struct flakey_bio *fb = target_bio_data(bio);

	fb->down = __atomic_load_n(&f->is_down, __ATOMIC_RELAXED);
	fb->copy = NULL;
	bio->dev = f->dev;
	if (bio->op != BIO_FLUSH)
		bio->sector = f->start + target_offset(t, bio);
	if (likely(!fb->down))
		return MAP_REMAPPED;
	bio->status = -EIO;
	if (bio->op == BIO_READ)
		return f->error_reads || f->default_features ? MAP_FAIL : MAP_REMAPPED;
	if (f->drop_writes)
		return MAP_DONE;
	if (f->error_writes || f->default_features)
		return MAP_FAIL;
	return corrupt_write(f, fb, bio);
}

static bool flakey_end_io(struct target *t, struct bio *bio, int *status)
{
	struct flakey *f = t->ctx;
	struct flakey_bio *fb = target_bio_data(bio);

	if (unlikely(fb->copy != NULL)) {
		bio->segs = fb->segs;
		bio->nr_segs = fb->nr_segs;
		bio->seg_off = fb->seg_off;
		page_free(&flakey_tag, fb->copy, fb->order);
		fb->copy = NULL;
		return false;
	}
	if (likely(!fb->down) || bio->op != BIO_READ || *status)
		return false;
	if (f->corrupt_byte && !f->corrupt_writes &&
		(linux_flags(bio) & f->corrupt_flags) == f->corrupt_flags)
		set_byte(bio, f->corrupt_byte - 1, f->corrupt_value);
	if (hits(f, f->random_read))
		random_byte(f, bio);
	return false;
}

static void flakey_dtr(struct target *t)
{
	struct flakey *f = t->ctx;

	timer_stop(&f->timer);
}

static void flakey_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct flakey *f = t->ctx;
	unsigned nr = f->error_reads + f->drop_writes + f->error_writes +
		      (f->corrupt_byte ? 5 : 0) + (f->random_read ? 2 : 0) +
		      (f->random_write ? 2 : 0);

	if (type != STATUS_TABLE)
		return;
	strbuf_printf(out, "%u:%u %llu %u %u %u ", f->dev->major, f->dev->minor,
		(unsigned long long)f->start, f->up, f->down, nr);
	if (f->error_reads)
		strbuf_printf(out, "error_reads ");
	if (f->drop_writes)
		strbuf_printf(out, "drop_writes ");
	else if (f->error_writes)
		strbuf_printf(out, "error_writes ");
	if (f->corrupt_byte)
		strbuf_printf(out, "corrupt_bio_byte %u %c %u %u ", f->corrupt_byte,
			f->corrupt_writes ? 'w' : 'r', f->corrupt_value, f->corrupt_flags);
	if (f->random_read)
		strbuf_printf(out, "random_read_corrupt %u ", f->random_read);
	if (f->random_write)
		strbuf_printf(out, "random_write_corrupt %u ", f->random_write);
}

const struct target_ops flakey_ops = {
	.name = "flakey",
	.syntax = "<device> <start> <up s> <down s> [<number of words> [error_reads] "
		  "[drop_writes|error_writes] [corrupt_bio_byte <nth> <r|w> <value> <flags>] "
		  "[random_read_corrupt <p>] [random_write_corrupt <p>]]",
	.version = { 1, 5, 0 },
	.ctx_size = sizeof(struct flakey),
	.per_bio_size = sizeof(struct flakey_bio),
	.ctr = flakey_ctr,
	.dtr = flakey_dtr,
	.map = flakey_map,
	.end_io = flakey_end_io,
	.status = flakey_status,
};

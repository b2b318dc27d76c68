/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench - requests from pooled buffers through bio_submit(), as any export sends them.  Everything
 * is allocated before the measured phase; in it one request costs a random number, a clock reading
 * and a histogram entry.
 *
 * With verify every block has the number of its last write beside it; a block is never in two
 * requests at once, so what a read must find is known exactly.
 */
#include "shell/bench.h"
#include "kernel/api/fiber.h"
#include "kernel/api/machine.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"

#define BLOCKS_MAX (1u << 20) /* that verify keeps track of */
#define BUCKETS    512
#define BUSY       0x80000000u

struct bench;

struct op {
	struct bio bio;
	struct seg seg;
	struct bench *bench;
	void *buf;
	uint64_t begun, block;
};

struct bench {
	struct bench_how how;
	uint64_t rng, next; /* random state, next block in sequence */
	uint64_t blocks;
	uint32_t sectors; /* of a block */
	uint64_t issued, done, errors, mismatches;
	uint64_t since_flush, started, ended, worst;
	unsigned in_flight;
	bool stop, final; /* final: reading everything back */
	int first_err;
	sector_t first_bad;
	uint32_t *written; /* per block: how often, and BUSY; NULL without verify */
	struct op *ops;
	unsigned order; /* of a buffer */
	struct work finish;
	bool finished;
	struct waitq q;
	uint32_t histogram[BUCKETS];
};

static struct mem_tag bench_tag = MEM_TAG("blk bench");

/* ---- data ---- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93;
	return x ^ x >> 32;
}

static uint64_t stamp_base(sector_t sector, uint64_t seed, uint64_t generation)
{
	return mix(seed ^ mix(sector ^ mix(generation)));
}

void stamp_fill(void *buf, uint32_t nr_sectors, sector_t sector, uint64_t seed, uint64_t generation)
{
	uint64_t *p = buf;

	for (; nr_sectors--; sector++) {
		uint64_t x = stamp_base(sector, seed, generation);

		*p++ = sector;
		*p++ = seed;
		*p++ = generation;
		for (unsigned i = 3; i < SECTOR_SIZE / 8; i++, x += 0x9e3779b97f4a7c15)
			*p++ = x;
	}
}

bool stamp_check(const void *buf, uint32_t nr_sectors, sector_t sector, uint64_t seed,
	uint64_t generation, sector_t *bad)
{
	uint64_t want[SECTOR_SIZE / 8];
	const char *p = buf;

	for (; nr_sectors--; sector++, p += SECTOR_SIZE) {
		stamp_fill(want, 1, sector, seed, generation);
		if (memcmp(p, want, SECTOR_SIZE)) {
			*bad = sector;
			return false;
		}
	}
	return true;
}

/* ---- the measured phase, on the core that was asked for ---- */

static uint64_t random_block(struct bench *b)
{
	b->rng ^= b->rng << 13;
	b->rng ^= b->rng >> 7;
	b->rng ^= b->rng << 17;
	return (uint64_t)(((unsigned __int128)b->rng * b->blocks) >> 64);
}

static unsigned bucket(uint64_t ns)
{
	unsigned high = 63 - (unsigned)__builtin_clzll(ns | 8);

	return high * 8 + (unsigned)(ns >> (high - 3) & 7);
}

static void finished(struct work *w)
{
	struct bench *b = container_of(w, struct bench, finish);

	b->finished = true;
	waitq_wake_all(&b->q);
}

/* The next block that no request has; the final phase reads those that were written, in order. */
static bool pick(struct bench *b, struct op *op)
{
	uint64_t tries;

	if (b->final) {
		while (b->next < b->blocks && !b->written[b->next])
			b->next++;
		op->block = b->next++;
		return op->block < b->blocks;
	}
	if (b->issued == b->how.count || b->stop || b->errors)
		return false;
	if (b->how.sequential) {
		op->block = b->next++;
		if (b->next == b->blocks)
			b->next = 0;
	} else {
		op->block = random_block(b);
	}
	for (tries = 0; b->written && b->written[op->block] & BUSY; tries++) {
		if (tries == b->blocks)
			return false;
		if (++op->block == b->blocks)
			op->block = 0;
	}
	return true;
}

/* now: what the clock said a moment ago; one reading a request is enough. */
static void issue(struct bench *b, struct op *op, uint64_t now)
{
	struct bio *bio = &op->bio;

	bio->dev = b->how.dev;
	bio->flags = 0;
	if (b->how.flush_every && b->since_flush >= b->how.flush_every && !b->final) {
		b->since_flush = 0;
		bio->op = BIO_FLUSH;
		bio->sector = 0;
		bio->nr_sectors = bio->nr_segs = 0;
		b->in_flight++;
		bio_submit(bio);
		return;
	}
	if (!pick(b, op))
		return;
	bio->op = b->how.write && !b->final ? BIO_WRITE : BIO_READ;
	bio->sector = op->block * b->sectors;
	bio->nr_sectors = b->sectors;
	bio->segs = &op->seg;
	bio->nr_segs = 1;
	bio->seg_off = 0;
	b->in_flight++;
	if (!b->final)
		b->issued++;
	if (bio->op == BIO_WRITE) {
		uint32_t generation = 0;

		b->since_flush++;
		if (b->how.fua)
			bio->flags = BIO_FUA;
		if (b->written) {
			generation = ++b->written[op->block];
			b->written[op->block] |= BUSY;
		}
		stamp_fill(op->buf, b->sectors, bio->sector, b->how.seed, generation);
	} else if (b->written && !b->final) {
		b->written[op->block] |= BUSY;
	}
	op->begun = now;
	bio_submit(bio);
}

static __attribute__((noinline)) void verify(struct bench *b, struct op *op)
{
	uint32_t generation = b->written[op->block] & ~BUSY;
	sector_t bad;

	b->written[op->block] = generation;
	if (op->bio.op != BIO_READ || !generation || op->bio.status)
		return;
	if (!stamp_check(
		    op->buf, b->sectors, op->block * b->sectors, b->how.seed, generation, &bad)) {
		if (!b->mismatches++)
			b->first_bad = bad;
	}
}

static void op_done(struct bio *bio)
{
	struct op *op = container_of(bio, struct op, bio);
	struct bench *b = op->bench;
	uint64_t now = now_ns(), ns = now - op->begun;

	b->in_flight--;
	if (unlikely(bio->status) && !b->errors++) {
		b->first_err = bio->status;
		b->first_bad = bio->op == BIO_FLUSH ? 0 : op->block * b->sectors;
	}
	if (bio->op != BIO_FLUSH) {
		if (b->written)
			verify(b, op);
		if (!b->final) {
			b->histogram[bucket(ns)]++;
			if (ns > b->worst)
				b->worst = ns;
			b->done++;
		}
	}
	issue(b, op, now);
	if (!b->in_flight) {
		b->ended = now;
		if (!b->final)
			MACHINE_MARK(0x02);
		b->finish.fn = finished;
		work_send(0, &b->finish);
	}
}

static void start(void *arg)
{
	struct bench *b = arg;

	b->in_flight = 1; /* ours: the phase cannot end while it begins */
	b->started = now_ns();
	if (!b->final)
		MACHINE_MARK(0x01);
	for (unsigned i = 0; i < b->how.qd; i++)
		issue(b, &b->ops[i], now_ns());
	if (--b->in_flight == 0) {
		b->ended = now_ns();
		b->finish.fn = finished;
		work_send(0, &b->finish);
	}
}

/* ---- around it, on core 0 ---- */

static may_block void phase(struct shell_io *io, struct bench *b)
{
	b->finished = false;
	core_call(b->how.core, start, b);
	while (!b->finished) {
		(void)waitq_wait_until(&b->q, now_ns() + 50 * NS_PER_MS);
		if (io_interrupted(io))
			__atomic_store_n(&b->stop, true, __ATOMIC_RELAXED);
	}
}

static void print_ns(struct shell_io *io, const char *name, uint64_t ns)
{
	io_printf(io, " %s %llu.%llu", name, (unsigned long long)ns / 1000,
		(unsigned long long)ns % 1000 / 100);
}

static uint64_t percentile(const struct bench *b, unsigned per_mille)
{
	uint64_t want = (b->done * per_mille + 999) / 1000, seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += b->histogram[i];
		if (seen >= want) {
			unsigned high = i / 8;
			uint64_t top = high < 3 ? 16 : (uint64_t)(8 + i % 8 + 1) << (high - 3);

			return MIN(top, b->worst);
		}
	}
	return b->worst;
}

static void report(struct shell_io *io, struct bench *b)
{
	uint64_t us = MAX((b->ended - b->started) / 1000, (uint64_t)1);
	uint64_t iops = b->done * 1000000 / us;

	io_printf(io, "%llu of %u bytes in %llu.%03llu s: %llu IOPS, %llu KiB/s\n",
		(unsigned long long)b->done, b->how.bs, (unsigned long long)us / 1000000,
		(unsigned long long)us / 1000 % 1000, (unsigned long long)iops,
		(unsigned long long)(b->done * (b->how.bs / 512) / 2 * 1000000 / us));
	io_puts(io, "latency us:");
	print_ns(io, "p50", percentile(b, 500));
	print_ns(io, "p90", percentile(b, 900));
	print_ns(io, "p99", percentile(b, 990));
	print_ns(io, "p99.9", percentile(b, 999));
	print_ns(io, "max", b->worst);
	io_puts(io, "\n");
}

static may_block int outcome(struct shell_io *io, struct bench *b, struct strbuf *why)
{
	const char *name = b->how.dev->name;

	if (b->mismatches)
		return fail(why, -EIO,
			"%s: verify: %llu blocks are not what was written, the first at sector "
			"%llu",
			name, (unsigned long long)b->mismatches, (unsigned long long)b->first_bad);
	if (b->errors)
		return fail(why, b->first_err, "%s: sector %llu: %s", name,
			(unsigned long long)b->first_bad, err_text(b->first_err));
	if (b->how.verify)
		io_puts(io, "verify: ok\n");
	if (b->stop)
		return fail(why, -EINTR, "interrupted");
	return 0;
}

static may_block int run(struct shell_io *io, struct bench *b, struct strbuf *why)
{
	b->ops = mem_alloc(&bench_tag, b->how.qd * sizeof(*b->ops));
	b->order = page_order(b->how.bs);
	if (b->how.verify)
		b->written = mem_alloc(&bench_tag, b->blocks * sizeof(*b->written));
	if (!b->ops || (b->how.verify && !b->written))
		return fail(why, -ENOMEM, "no memory for so many blocks or requests");
	for (unsigned i = 0; i < b->how.qd; i++) {
		struct op *op = &b->ops[i];

		op->bench = b;
		op->bio.done = op_done;
		op->buf = page_alloc(&bench_tag, b->order);
		if (!op->buf)
			return fail(why, -ENOMEM, "no memory for %u buffers of %u bytes", b->how.qd,
				b->how.bs);
		op->seg = (struct seg){ dma_addr(op->buf), b->how.bs };
	}
	phase(io, b);
	report(io, b);
	if (b->how.verify && b->how.write && !b->errors) {
		b->final = true;
		b->next = 0;
		phase(io, b);
	}
	return outcome(io, b, why);
}

int bench_run(struct shell_io *io, const struct bench_how *how, struct strbuf *why)
{
	struct bench *b = mem_alloc(&bench_tag, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->how = *how;
	b->rng = mix(how->seed + 0x9e3779b97f4a7c15) | 1;
	b->sectors = how->bs / SECTOR_SIZE;
	b->blocks = how->dev->nr_sectors / b->sectors;
	if (how->verify && b->blocks > BLOCKS_MAX)
		b->blocks = BLOCKS_MAX;
	bdev_open(how->dev);
	err = b->blocks ? run(io, b, why)
			: fail(why, -EINVAL, "%s: smaller than one block", how->dev->name);
	bdev_close(how->dev);
	for (unsigned i = 0; b->ops && i < how->qd; i++)
		page_free(&bench_tag, b->ops[i].buf, b->order);
	mem_free(b->ops);
	mem_free(b->written);
	mem_free(b);
	return err;
}

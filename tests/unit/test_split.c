/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_split - what becomes of bios that cannot go to their device as they are.  The ramdisk panics
 * when a request breaks its limits, so every test here also checks that none does; data is compared
 * byte by byte.  A "layer" plays a mapped device: it moves bios to the device beneath, cuts at
 * boundaries of its own, takes flushes raw and can hold what comes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "mapper/split.h"
#include "tests/host/host.h"
#include "tests/host/ramdisk.h"

#define MEM_SIZE  (1u << 20)
#define SEGS_MAX  64
#define REQS_MAX  64
#define DISK_SIZE 5120 /* sectors */

struct req {
	struct bio bio;
	struct seg segs[SEGS_MAX];
	unsigned nr_done, core;
	void (*then)(struct req *r);
};

static uint8_t *mem, *model;
static struct req reqs[REQS_MAX];
static struct ramdisk *rd;
static unsigned nr_ended;
static struct req *ended[REQS_MAX];

static int setup(void **state)
{
	host_reset();
	block_reset();
	split_extra_jobs = 32;
	split_extra_pieces = 96;
	mem = aligned_alloc(65536, MEM_SIZE);
	model = calloc(DISK_SIZE, SECTOR_SIZE);
	memset(reqs, 0, sizeof(reqs));
	nr_ended = 0;
	rd = NULL;
	return mem && model ? 0 : -1;
}

static int teardown(void **state)
{
	bool clean;

	host_run();
	ramdisk_destroy(rd);
	clean = host_mem_check();
	free(mem);
	free(model);
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

/* ---- requests ---- */

static void req_done(struct bio *bio)
{
	struct req *r = container_of(bio, struct req, bio);

	r->nr_done++;
	assert_int_equal(this_core(), r->core);
	ended[nr_ended++ % REQS_MAX] = r;
	if (r->then)
		r->then(r);
}

static struct req *req_make(unsigned i, struct bdev *dev, enum bio_op op, unsigned flags,
	sector_t sector, uint32_t nr_sectors)
{
	struct req *r = &reqs[i];

	r->nr_done = 0;
	r->core = this_core();
	r->bio.dev = dev;
	r->bio.op = (uint8_t)op;
	r->bio.flags = (uint8_t)flags;
	r->bio.sector = sector;
	r->bio.nr_sectors = nr_sectors;
	r->bio.segs = NULL;
	r->bio.nr_segs = r->bio.seg_off = 0;
	r->bio.done = req_done;
	return r;
}

static void req_memory(struct req *r, unsigned i, void *p, uint32_t len)
{
	r->segs[i] = (struct seg){ dma_addr(p), len };
	r->bio.segs = r->segs;
	r->bio.nr_segs = i + 1;
}

/* One run of memory from offset at of mem. */
static struct req *req_one(unsigned i, struct bdev *dev, enum bio_op op, unsigned flags,
	sector_t sector, uint32_t nr_sectors, size_t at)
{
	struct req *r = req_make(i, dev, op, flags, sector, nr_sectors);

	if (bio_has_data(&r->bio))
		req_memory(r, 0, mem + at, nr_sectors * SECTOR_SIZE);
	return r;
}

static int req_run(struct req *r)
{
	bio_submit(&r->bio);
	assert_int_equal(r->nr_done, 0);
	host_run();
	assert_int_equal(r->nr_done, 1);
	return r->bio.status;
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	struct rng r;

	rng_seed(&r, seed);
	while (n--)
		*p++ = (uint8_t)rng_u64(&r);
}

static void make_disk(const struct limits *l)
{
	rd = ramdisk_create("disk", DISK_SIZE, l);
	assert_non_null(rd);
}

/* The trace as text: "R5+11 F W..." with ! for FUA. */
static const char *trace(void)
{
	static char text[4096];
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < rd->nr_trace; i++) {
		struct ramdisk_bio *b = &rd->trace[i];

		assert_true(n < sizeof(text) - 64);
		if (b->op == BIO_FLUSH)
			n += str_printf(text + n, 64, "%sF", i ? " " : "");
		else
			n += str_printf(text + n, 64, "%s%c%s%llu+%u", i ? " " : "",
				"RWFDZE"[b->op], b -> flags &BIO_FUA ? "!" : "",
				(unsigned long long)b->sector, b->nr_sectors);
	}
	rd->nr_trace = 0;
	return text;
}

/* ---- a mapped device ---- */

struct layer {
	struct bdev bdev, *below;
	sector_t offset;
	uint32_t boundary; /* 0: none */
	bool hold;
	struct bio_list held;
	unsigned nr_nested, nr_cut;
};

static unsigned next_minor;

static void layer_submit(struct bdev *dev, struct bio *bio)
{
	struct layer *l = dev->ctx;

	assert_int_equal(l->nr_nested++, 0);
	if (l->hold) {
		bio_list_add(&l->held, bio);
	} else {
		if (l->boundary && bio->nr_sectors)
			assert_int_equal(bio->sector / l->boundary,
				(bio->sector + bio->nr_sectors - 1) / l->boundary);
		bio->dev = l->below;
		bio->sector += bio->op == BIO_FLUSH ? 0 : l->offset;
		bio_submit(bio);
	}
	l->nr_nested--;
}

static uint32_t layer_piece(struct bdev *dev, const struct bio *bio)
{
	struct layer *l = dev->ctx;

	if (!l->boundary)
		return bio->nr_sectors;
	return (uint32_t)MIN(bio->nr_sectors, l->boundary - bio->sector % l->boundary);
}

static const struct bdev_ops layer_ops = {
	.submit = layer_submit,
	.piece = layer_piece,
};

static struct layer *layer_make(struct bdev *below, sector_t offset, uint32_t boundary)
{
	struct layer *l = calloc(1, sizeof(*l));

	str_printf(l->bdev.name, sizeof(l->bdev.name), "dm-%u", next_minor);
	l->bdev.major = 253;
	l->bdev.minor = next_minor++;
	l->bdev.nr_sectors = below->nr_sectors - offset;
	limits_default(&l->bdev.limits);
	l->bdev.limits.max_discard_sectors = UINT32_MAX;
	l->bdev.limits.discard_granularity = SECTOR_SIZE;
	l->bdev.limits.max_write_zeroes_sectors = UINT32_MAX;
	l->bdev.raw_flush = true;
	l->bdev.ops = &layer_ops;
	l->bdev.ctx = l;
	l->below = below;
	l->offset = offset;
	l->boundary = boundary;
	assert_int_equal(bdev_register(&l->bdev), 0);
	return l;
}

static void layer_free(struct layer *l)
{
	assert_int_equal(bdev_unregister(&l->bdev), 0);
	free(l);
}

static void layer_release(struct layer *l)
{
	struct bio_list held = l->held;
	struct bio *bio;

	l->held = (struct bio_list){ 0 };
	l->hold = false;
	while ((bio = bio_list_pop(&held)) != NULL)
		bio_submit(bio);
}

/* ---- sizes and boundaries ---- */

static struct limits defaults(void)
{
	struct limits l;

	limits_default(&l);
	l.max_discard_sectors = l.max_write_zeroes_sectors = UINT32_MAX;
	l.discard_granularity = SECTOR_SIZE;
	return l;
}

static void what_fits_goes_whole(void **state)
{
	make_disk(NULL);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_WRITE, 0, 5, 100, 0)), 0);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_DISCARD, 0, 0, DISK_SIZE, 0)), 0);
	assert_string_equal(trace(), "W5+100 D0+5120");
}

static void too_large_goes_in_pieces(void **state)
{
	struct limits l = defaults();

	l.max_sectors = 8;
	l.max_write_zeroes_sectors = 5;
	make_disk(&l);
	fill(mem, 30 * SECTOR_SIZE, 1);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_WRITE, 0, 3, 30, 0)), 0);
	assert_string_equal(trace(), "W3+8 W11+8 W19+8 W27+6");
	assert_memory_equal(rd->data + 3 * SECTOR_SIZE, mem, 30 * SECTOR_SIZE);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_READ, 0, 2, 32, 65536)), 0);
	assert_string_equal(trace(), "R2+8 R10+8 R18+8 R26+8");
	assert_memory_equal(mem + 65536 + SECTOR_SIZE, mem, 30 * SECTOR_SIZE);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_WRITE_ZEROES, 0, 3, 11, 0)), 0);
	assert_string_equal(trace(), "Z3+5 Z8+5 Z13+1");
	assert_memory_equal(rd->data + 14 * SECTOR_SIZE, mem + 11 * SECTOR_SIZE, SECTOR_SIZE);
}

static void chunks_are_not_crossed(void **state)
{
	struct limits l = defaults();

	l.chunk_sectors = 24; /* no power of two */
	make_disk(&l);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_READ, 0, 20, 50, 0)), 0);
	assert_string_equal(trace(), "R20+4 R24+24 R48+22");
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_READ, 0, 24, 24, 0)), 0);
	assert_string_equal(trace(), "R24+24");
}

static void pieces_are_whole_blocks(void **state)
{
	struct limits l = defaults();

	l.logical_block = l.physical_block = 4096;
	l.max_sectors = 23;
	make_disk(&l);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_READ, 0, 8, 48, 0)), 0);
	assert_string_equal(trace(), "R8+16 R24+16 R40+16");
}

static void memory_has_limits_too(void **state)
{
	struct limits l = defaults();
	struct req *r;

	l.max_segs = 3;
	l.max_seg_size = 2048;
	l.seg_boundary = 8191;
	make_disk(&l);
	fill(mem, 65536, 2);
	/* More runs than may be; the last piece begins within a run. */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 12);
	for (unsigned i = 0; i < 8; i++)
		req_memory(r, i, mem + 4096 * i, 1024);
	r->bio.seg_off = 512;
	assert_int_equal(req_run(r), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rd->trace[i].nr_segs, i < 2 ? 3 : 1); /* no more than it needs */
	assert_string_equal(trace(), "W0+5 W5+6 W11+1");
	assert_memory_equal(rd->data, mem + 512, 512);
	for (unsigned i = 1; i < 6; i++)
		assert_memory_equal(rd->data + 512 + 1024 * (i - 1), mem + 4096 * i, 1024);
	/* A run that is too long, and one that crosses a boundary. */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 6);
	req_memory(r, 0, mem, 3072);
	assert_int_equal(req_run(r), 0);
	assert_string_equal(trace(), "W0+4 W4+2");
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 4);
	req_memory(r, 0, mem + 8192 - 512, 2048);
	assert_int_equal(req_run(r), 0);
	assert_string_equal(trace(), "W0+1 W1+3");
}

static void gaps(void **state)
{
	struct limits l = defaults();
	struct req *r;

	l.no_gaps = 4096;
	make_disk(&l);
	fill(mem, 65536, 3);
	/* Ragged outside, whole inside: as it is. */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 8 + 4 + 2);
	req_memory(r, 0, mem + 2048, 2048);
	req_memory(r, 1, mem + 8192, 4096);
	req_memory(r, 2, mem + 16384, 1024);
	assert_int_equal(req_run(r), 0);
	assert_string_equal(trace(), "W0+14");
	/* A run that ends within a page must be the last, one that begins within a page the first.
	 */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 2 + 8 + 1 + 8);
	req_memory(r, 0, mem + 4096, 1024);
	req_memory(r, 1, mem + 8192, 4096);
	req_memory(r, 2, mem + 16384 + 512, 512);
	req_memory(r, 3, mem + 20480, 4096);
	assert_int_equal(req_run(r), 0);
	assert_string_equal(trace(), "W0+2 W2+8 W10+1 W11+8");
	assert_memory_equal(rd->data + 11 * SECTOR_SIZE, mem + 20480, 4096);
}

static void what_no_cut_mends_is_refused(void **state)
{
	struct limits l = defaults();
	struct req *r;

	l.logical_block = l.physical_block = 4096;
	l.max_segs = 4;
	make_disk(&l);
	/* A block in five runs. */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 8);
	for (unsigned i = 0; i < 5; i++)
		req_memory(r, i, mem + 8192 * i, i < 4 ? 512 : 2048);
	assert_int_equal(req_run(r), -EINVAL);
	assert_string_equal(trace(), "");
	/* The same after two good blocks: an error although these were written. */
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 24);
	req_memory(r, 0, mem, 8192);
	for (unsigned i = 1; i < 6; i++)
		req_memory(r, i, mem + 8192 * i, i < 5 ? 512 : 2048);
	assert_int_equal(req_run(r), -EINVAL);
	assert_string_equal(trace(), "W0+16");
	/* Less memory than sectors, and none. */
	rd->bdev.limits.max_sectors = 8;
	bdev_limits_changed(&rd->bdev);
	r = req_make(0, &rd->bdev, BIO_WRITE, 0, 0, 24);
	req_memory(r, 0, mem, 8192);
	assert_int_equal(req_run(r), -EINVAL);
	r->bio.nr_segs = 0;
	r->bio.dev = &rd->bdev;
	r->bio.sector = 0;
	r->bio.nr_sectors = 24;
	r->nr_done = 0;
	assert_int_equal(req_run(r), -EINVAL);
}

static void discards_end_at_granules(void **state)
{
	struct limits l = defaults();

	l.max_discard_sectors = 20;
	l.discard_granularity = 8 * SECTOR_SIZE;
	l.discard_alignment = 3 * SECTOR_SIZE;
	make_disk(&l);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_DISCARD, 0, 0, 50, 0)), 0);
	assert_string_equal(trace(), "D0+19 D19+16 D35+15");
	/* Granules larger than any discard: cut where it must be. */
	rd->bdev.limits.max_discard_sectors = 4;
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_DISCARD, 0, 4, 6, 0)), 0);
	assert_string_equal(trace(), "D4+4 D8+2");
}

static void not_offered(void **state)
{
	struct limits l;

	limits_default(&l);
	make_disk(&l);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_DISCARD, 0, 0, 8, 0)), -EOPNOTSUPP);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_WRITE_ZEROES, 0, 0, 8, 0)), -EOPNOTSUPP);
	assert_int_equal(req_run(req_one(0, &rd->bdev, BIO_SECURE_ERASE, 0, 0, 8, 0)), -EOPNOTSUPP);
	assert_string_equal(trace(), "");
}

/* ---- flushes ---- */

static void flush_sequences(void **state)
{
	static const struct {
		bool cache, fua;
		enum bio_op op;
		unsigned flags;
		uint32_t nr_sectors;
		const char *trace;
	} rows[] = {
		{ false, false, BIO_FLUSH, 0, 0, "" },
		{ true, false, BIO_FLUSH, 0, 0, "F" },
		{ true, true, BIO_FLUSH, BIO_FUA | BIO_PREFLUSH, 0, "F" },
		{ false, false, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 8, "W0+8" },
		{ false, true, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 8, "W0+8" },
		{ true, false, BIO_WRITE, 0, 8, "W0+8" },
		{ true, false, BIO_WRITE, BIO_FUA, 8, "W0+8 F" },
		{ true, false, BIO_WRITE, BIO_PREFLUSH, 8, "F W0+8" },
		{ true, false, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 8, "F W0+8 F" },
		{ true, true, BIO_WRITE, BIO_FUA, 8, "W!0+8" },
		{ true, true, BIO_WRITE, BIO_PREFLUSH, 8, "F W0+8" },
		{ true, true, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 8, "F W!0+8" },
		{ true, true, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 20, "F W!0+16 W!16+4" },
		{ true, false, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 20, "F W0+16 W16+4 F" },
		/* FUA is promised for writes only. */
		{ true, true, BIO_WRITE_ZEROES, BIO_FUA, 8, "Z0+8 F" },
		{ true, true, BIO_WRITE_ZEROES, BIO_PREFLUSH, 8, "F Z0+8" },
		/* Of no meaning elsewhere. */
		{ true, true, BIO_READ, BIO_FUA | BIO_PREFLUSH, 8, "R0+8" },
		{ true, true, BIO_DISCARD, BIO_FUA | BIO_PREFLUSH, 8, "D0+8" },
		{ true, true, BIO_READ, BIO_FUA | BIO_PREFLUSH, 20, "R0+16 R16+4" },
		/* A write of nothing. */
		{ true, true, BIO_WRITE, 0, 0, "" },
		{ true, true, BIO_WRITE, BIO_FUA, 0, "" },
		{ true, false, BIO_WRITE, BIO_PREFLUSH | BIO_FUA, 0, "F" },
		{ false, false, BIO_WRITE, BIO_PREFLUSH, 0, "" },
		{ true, true, BIO_READ, BIO_PREFLUSH, 0, "" },
		{ true, true, BIO_DISCARD, 0, 0, "" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct limits l = defaults();

		l.write_cache = rows[i].cache;
		l.fua = rows[i].fua;
		l.max_sectors = 16;
		make_disk(&l);
		assert_int_equal(req_run(req_one(0, &rd->bdev, rows[i].op, rows[i].flags, 0,
					 rows[i].nr_sectors, 0)),
			0);
		assert_string_equal(trace(), rows[i].trace);
		if (rows[i].flags & BIO_FUA && rows[i].op != BIO_DISCARD)
			assert_int_equal(ramdisk_nr_dirty(rd), 0);
		ramdisk_destroy(rd);
	}
	rd = NULL;
}

/* The flush must be back before the write goes, and that before the flush after it. */
static void flush_sequences_wait(void **state)
{
	struct limits l = defaults();
	struct req *r;

	l.write_cache = true;
	make_disk(&l);
	ramdisk_hold(rd);
	r = req_one(0, &rd->bdev, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 0, 8, 0);
	bio_submit(&r->bio);
	for (unsigned i = 1; i <= 3; i++) {
		host_run();
		assert_int_equal(rd->nr_trace, i);
		assert_int_equal(rd->in_flight, 1);
		assert_int_equal(r->nr_done, 0);
		ramdisk_release(rd, 1);
	}
	host_run();
	assert_int_equal(r->nr_done, 1);
	ramdisk_release(rd, 0);
}

static void flush_sequences_fail(void **state)
{
	static const struct {
		unsigned nth;
		const char *trace;
	} rows[] = {
		{ 1, "F" },             /* the data must not go */
		{ 2, "F W0+16 W16+4" }, /* pieces that were out come back, no flush */
		{ 3, "F W0+16 W16+4" },
		{ 4, "F W0+16 W16+4 F" },
	};
	struct limits l = defaults();

	l.write_cache = true;
	l.max_sectors = 16;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bdev_stats st;

		make_disk(&l);
		ramdisk_fail_nth(rd, rows[i].nth, -ENOSPC);
		assert_int_equal(
			req_run(req_one(0, &rd->bdev, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, 0, 20, 0)),
			-ENOSPC);
		assert_string_equal(trace(), rows[i].trace);
		/* Counted where it happened, and once. */
		bdev_stats_sum(&rd->bdev, &st);
		assert_int_equal(st.errors, 1);
		ramdisk_destroy(rd);
	}
	rd = NULL;
}

static void flushes_share(void **state)
{
	struct limits l = defaults();

	l.write_cache = true;
	make_disk(&l);
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 6; i++)
		bio_submit(&req_one(i, &rd->bdev, BIO_FLUSH, 0, 0, 0, 0)->bio);
	assert_int_equal(rd->nr[BIO_FLUSH], 1);
	ramdisk_release(rd, 1);
	host_run();
	/* The first ended its own; the five that came later share the second. */
	assert_int_equal(reqs[0].nr_done, 1);
	assert_int_equal(reqs[1].nr_done, 0);
	assert_int_equal(rd->nr[BIO_FLUSH], 2);
	ramdisk_fail_nth(rd, 1, -EIO);
	bio_submit(&req_one(6, &rd->bdev, BIO_FLUSH, 0, 0, 0, 0)->bio);
	ramdisk_release(rd, 1);
	host_run();
	for (unsigned i = 1; i < 6; i++) {
		assert_int_equal(reqs[i].nr_done, 1);
		assert_int_equal(reqs[i].bio.status, 0);
	}
	assert_int_equal(reqs[6].nr_done, 0);
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(reqs[6].bio.status, -EIO); /* no error is lost by sharing */
}

/* A flush that is out does not cover a write acknowledged since: the next one does not share it. */
static void a_late_flush_covers_late_writes(void **state)
{
	struct limits l = defaults();

	l.write_cache = true;
	make_disk(&l);
	fill(mem, SECTOR_SIZE, 4);
	ramdisk_delay(rd, NS_PER_MS, 0, 0);
	bio_submit(&req_one(0, &rd->bdev, BIO_FLUSH, 0, 0, 0, 0)->bio);
	ramdisk_delay(rd, 0, 0, 0);
	assert_int_equal(req_run(req_one(1, &rd->bdev, BIO_WRITE, 0, 7, 1, 0)), 0);
	bio_submit(&req_one(2, &rd->bdev, BIO_FLUSH, 0, 0, 0, 0)->bio);
	host_run();
	assert_int_equal(rd->nr[BIO_FLUSH], 1);
	assert_int_equal(reqs[0].nr_done + reqs[2].nr_done, 0);
	host_advance(NS_PER_MS);
	assert_int_equal(reqs[0].nr_done, 1);
	assert_int_equal(reqs[2].nr_done, 1);
	ramdisk_power_cut(rd, 0);
	assert_memory_equal(rd->data + 7 * SECTOR_SIZE, mem, SECTOR_SIZE);
}

/* ---- failures ---- */

static void first_error_counts_and_ends_the_sending(void **state)
{
	struct limits l = defaults();
	struct req *r;

	l.max_sectors = 1;
	make_disk(&l);
	split_extra_jobs = split_extra_pieces = 0;
	ramdisk_destroy(rd); /* the pools are made with the first device */
	make_disk(&l);
	ramdisk_fail_nth(rd, 3, -EIO);
	r = req_one(0, &rd->bdev, BIO_WRITE, 0, 0, 100, 0);
	assert_int_equal(req_run(r), -EIO);
	assert_int_equal(rd->nr_trace, 3);

	split_extra_jobs = 1;
	split_extra_pieces = 9;
	ramdisk_destroy(rd);
	make_disk(&l);
	ramdisk_hold(rd);
	ramdisk_fail_nth(rd, 2, -ENOSPC);
	ramdisk_fail_range(rd, 1 << BIO_WRITE, 5, 1, -EIO);
	r = req_one(0, &rd->bdev, BIO_WRITE, 0, 0, 100, 0);
	bio_submit(&r->bio);
	host_run();
	assert_int_equal(rd->in_flight, 10);
	/* The parent waits for all that are out, whatever the first ones said. */
	ramdisk_release(rd, 9);
	host_run();
	assert_int_equal(r->nr_done, 0);
	/* The one that succeeded before the first error was replaced, nobody else. */
	assert_int_equal(rd->nr_trace, 11);
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(r->nr_done, 1);
	assert_int_equal(r->bio.status, -ENOSPC);
}

/* ---- forward progress ---- */

static void one_at_a_time_without_extras(void **state)
{
	struct limits l = defaults();
	struct req *r;

	split_extra_jobs = split_extra_pieces = 0;
	l.max_sectors = 4;
	make_disk(&l);
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 10; i++)
		bio_submit(&req_one(i, &rd->bdev, BIO_WRITE, 0, i * 16, 16, i * 8192)->bio);
	r = req_one(10, &rd->bdev, BIO_WRITE, BIO_NOWAIT, 0, 16, 0);
	bio_submit(&r->bio);
	host_run();
	assert_int_equal(r->nr_done, 1);
	assert_int_equal(r->bio.status, -EAGAIN);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(rd->in_flight, 1);
		ramdisk_release(rd, 1);
		host_run();
	}
	for (unsigned i = 0; i < 10; i++)
		assert_ptr_equal(ended[i + 1], &reqs[i]);
	ramdisk_release(rd, 0);
}

static void extras_make_it_parallel(void **state)
{
	struct limits l = defaults();

	split_extra_jobs = 2;
	split_extra_pieces = 4;
	l.max_sectors = 4;
	make_disk(&l);
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 8; i++)
		bio_submit(&req_one(i, &rd->bdev, BIO_WRITE, 0, i * 32, 32, i * 16384)->bio);
	host_run();
	assert_int_equal(rd->in_flight, 3 + 4); /* a piece of each job's own and the extras */
	ramdisk_release(rd, 0);
	host_run();
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(reqs[i].nr_done, 1);
	assert_int_equal(rd->max_in_flight, 7);
}

/* Whatever a neighbour holds on to, the reserve is a device's own. */
static void a_stuck_neighbour_does_not_matter(void **state)
{
	struct limits l = defaults();
	struct ramdisk *other;

	split_extra_jobs = 2;
	split_extra_pieces = 4;
	l.max_sectors = 4;
	make_disk(&l);
	other = ramdisk_create("other", DISK_SIZE, &l);
	ramdisk_hold(other);
	for (unsigned i = 0; i < 8; i++)
		bio_submit(&req_one(i, &other->bdev, BIO_WRITE, 0, i * 32, 32, i * 16384)->bio);
	host_run();
	assert_int_equal(req_run(req_one(20, &rd->bdev, BIO_WRITE, 0, 0, 64, 0)), 0);
	assert_int_equal(rd->max_in_flight, 1);
	ramdisk_release(other, 0);
	host_run();
	ramdisk_destroy(other);
}

/* Forty devices, each with boundaries of its own, none with anything but its reserve. */
static void deep_stacks_move(void **state)
{
	struct limits l = defaults();
	struct layer *layers[40];
	struct bdev *top;

	split_extra_jobs = split_extra_pieces = 0;
	l.max_sectors = 2;
	l.write_cache = true;
	make_disk(&l);
	top = &rd->bdev;
	for (unsigned i = 0; i < ARRAY_SIZE(layers); i++) {
		layers[i] = layer_make(top, i % 3, 3 + i % 17);
		top = &layers[i]->bdev;
	}
	fill(mem, MEM_SIZE, 5);
	for (unsigned i = 0; i < 20; i++)
		bio_submit(
			&req_one(i, top, BIO_WRITE, BIO_FUA | BIO_PREFLUSH, i * 64, 64, i * 32768)
				 ->bio);
	host_run();
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(reqs[i].nr_done, 1);
		assert_int_equal(reqs[i].bio.status, 0);
	}
	assert_memory_equal(rd->data + 39 * SECTOR_SIZE, mem, 20 * 64 * SECTOR_SIZE);
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	for (unsigned i = ARRAY_SIZE(layers); i--;)
		layer_free(layers[i]);
}

/* A suspended device gives its bios back to bio_submit() when it has other boundaries. */
static void held_pieces_are_cut_again(void **state)
{
	for (unsigned extras = 0; extras <= 8; extras += 4) {
		struct layer *layer;
		struct req *r;

		split_extra_jobs = split_extra_pieces = extras;
		make_disk(NULL);
		layer = layer_make(&rd->bdev, 0, 16);
		fill(mem, 65536, 6 + extras);
		layer->hold = true;
		for (unsigned i = 0; i < 3; i++)
			bio_submit(
				&req_one(i, &layer->bdev, BIO_WRITE, 0, 5 + i * 40, 40, i * 20480)
					 ->bio);
		r = req_one(3, &layer->bdev, BIO_WRITE, 0, 125, 3, 61440);
		bio_submit(&r->bio); /* not a piece */
		host_run();
		assert_true(layer->held.nr >= 2);
		layer->boundary = 5;
		layer_release(layer);
		host_run();
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(reqs[i].nr_done, 1);
			assert_int_equal(reqs[i].bio.status, 0);
		}
		assert_memory_equal(rd->data + 5 * SECTOR_SIZE, mem, 123 * SECTOR_SIZE);
		layer_free(layer);
		ramdisk_destroy(rd);
		rd = NULL;
	}
}

static void held_pieces_fail_too(void **state)
{
	struct layer *layer;
	struct req *r;

	split_extra_jobs = split_extra_pieces = 0;
	make_disk(NULL);
	layer = layer_make(&rd->bdev, 0, 16);
	layer->hold = true;
	r = req_one(0, &layer->bdev, BIO_WRITE, 0, 0, 40, 0);
	bio_submit(&r->bio);
	layer->boundary = 4;
	ramdisk_fail_nth(rd, 2, -EIO);
	layer_release(layer);
	host_run();
	assert_int_equal(r->nr_done, 1);
	assert_int_equal(r->bio.status, -EIO);
	assert_int_equal(rd->nr_trace, 2);
	/* The device has become smaller while it held. */
	layer->boundary = 16;
	layer->hold = true;
	r = req_one(0, &layer->bdev, BIO_WRITE, 0, 0, 40, 0);
	bio_submit(&r->bio);
	layer->bdev.nr_sectors = 8;
	layer_release(layer);
	host_run();
	assert_int_equal(r->nr_done, 1);
	assert_int_equal(r->bio.status, -EINVAL);
	layer_free(layer);
}

static void then_unregister(struct req *r)
{
	struct layer *l = r->bio.owner;

	layer_free(l);
}

/* done() of the last request may be where the device goes. */
static void gone_at_done(void **state)
{
	struct layer *layer;
	struct req *r;

	make_disk(NULL);
	layer = layer_make(&rd->bdev, 0, 4);
	r = req_one(0, &layer->bdev, BIO_WRITE, BIO_PREFLUSH | BIO_FUA, 0, 40, 0);
	r->bio.owner = layer;
	r->then = then_unregister;
	assert_int_equal(req_run(r), 0);
}

static void registering_without_memory(void **state)
{
	unsigned n;

	make_disk(NULL); /* ours makes no pools: that is tested below */
	for (n = 1;; n++) {
		struct ramdisk *other;

		host_fail_alloc(n);
		other = ramdisk_create("other", 8, NULL);
		if (!host_alloc_failed()) {
			assert_non_null(other);
			ramdisk_destroy(other);
			break;
		}
		assert_null(other);
	}
	assert_int_equal(n, 3);
	ramdisk_destroy(rd);
	for (n = 1;; n++) {
		host_fail_alloc(n);
		rd = ramdisk_create("disk", 8, NULL);
		if (!host_alloc_failed())
			break;
		assert_null(rd);
		assert_true(host_mem_check());
	}
	assert_int_equal(n, 5);
}

/* ---- everything at once ---- */

static struct limits random_limits(struct rng *r)
{
	struct limits l = defaults();
	uint32_t block;

	l.logical_block = l.physical_block = rng_below(r, 3) ? 512 : 4096;
	block = l.logical_block >> SECTOR_SHIFT;
	if (rng_below(r, 2))
		l.max_sectors = block + (uint32_t)rng_below(r, 40);
	if (rng_below(r, 2))
		l.max_segs = 1 + (uint32_t)rng_below(r, 6);
	if (rng_below(r, 2))
		l.max_seg_size = l.logical_block << rng_below(r, 4);
	if (rng_below(r, 3) == 0)
		l.seg_boundary = (4096u << rng_below(r, 4)) - 1;
	if (rng_below(r, 3) == 0)
		l.no_gaps = 4096;
	if (rng_below(r, 3) == 0)
		l.chunk_sectors = block * (1 + (uint32_t)rng_below(r, 20));
	l.max_write_zeroes_sectors = block * (1 + (uint32_t)rng_below(r, 20));
	l.max_discard_sectors = block * (1 + (uint32_t)rng_below(r, 20));
	l.discard_granularity = l.logical_block * (1 + (uint32_t)rng_below(r, 9));
	l.discard_alignment = l.logical_block * (uint32_t)rng_below(r, 9);
	l.write_cache = rng_below(r, 2);
	l.fua = rng_below(r, 2);
	return l;
}

/* Memory for a request: runs of whole pages in shuffled places, the first and last perhaps ragged,
 * out of the 16 pages of its slot. */
static void random_memory(struct rng *rng, struct req *r, unsigned slot, uint32_t block)
{
	uint8_t *base = mem + slot * 16 * PAGE_SIZE;
	uint64_t left = bio_bytes(&r->bio);
	unsigned pages[16], n = 0, at = 0;

	for (unsigned i = 0; i < 16; i++) {
		unsigned j = (unsigned)rng_below(rng, i + 1);

		pages[i] = pages[j];
		pages[j] = i;
	}
	while (left) {
		uint32_t len = (uint32_t)MIN(left, PAGE_SIZE);
		uint32_t skip = 0;

		if (!n && block == SECTOR_SIZE)
			skip = (uint32_t)rng_below(rng, 8) * SECTOR_SIZE;
		len = MIN(len, PAGE_SIZE - skip);
		req_memory(r, n++, base + pages[at++] * PAGE_SIZE + skip, len);
		left -= len;
	}
	if (n && rng_below(rng, 2)) { /* the request begins within a longer first run */
		uint32_t before = (uint32_t)(r->segs[0].addr & (PAGE_SIZE - 1));

		r->segs[0].addr -= before;
		r->segs[0].len += before;
		r->bio.seg_off = before;
	}
}

static void copy(struct req *r, uint8_t *to, bool from_memory)
{
	struct bio bio = r->bio;
	struct seg_iter it = seg_iter_of(&bio);
	struct seg s;

	while (seg_next(&it, UINT32_MAX, &s)) {
		if (from_memory)
			memcpy(to, dma_ptr(s.addr), s.len);
		else
			assert_memory_equal(to, dma_ptr(s.addr), s.len);
		to += s.len;
	}
}

struct shot {
	sector_t sector; /* of the disk */
	uint32_t nr;
	enum bio_op op;
	unsigned flags;
	struct bio bio; /* as submitted */
};

/* Requests side by side, each in sectors of its own, over a stack of one or two layers. */
static void one_round(
	struct rng *rng, struct layer **layers, unsigned nr_layers, unsigned nr_cores_used)
{
	static struct shot shots[15];
	struct bdev *top = nr_layers ? &layers[nr_layers - 1]->bdev : &rd->bdev;
	uint32_t block = rd->bdev.limits.logical_block >> SECTOR_SHIFT;
	sector_t offset = 0;

	for (unsigned i = 0; i < nr_layers; i++)
		offset += layers[i]->offset;
	for (unsigned i = 0; i < ARRAY_SIZE(shots); i++) {
		struct shot *s = &shots[i];
		struct req *r;

		s->op = (enum bio_op)rng_below(rng, 5);
		s->flags = (unsigned)rng_below(rng, 4);
		s->nr = s->op == BIO_FLUSH ? 0
					   : block * (1 + (uint32_t)rng_below(rng, 112 / block));
		s->sector = i * 256 + block * rng_below(rng, 16);
		host_set_core((unsigned)rng_below(rng, nr_cores_used));
		r = req_make(i, top, s->op, s->flags, s->op == BIO_FLUSH ? 0 : s->sector, s->nr);
		if (bio_has_data(&r->bio))
			random_memory(rng, r, i, block * SECTOR_SIZE);
		s->sector += offset;
		fill(mem + i * 16 * PAGE_SIZE, 16 * PAGE_SIZE, (unsigned)rng_u64(rng));
		s->bio = r->bio;
		if (s->op == BIO_WRITE)
			copy(r, model + s->sector * SECTOR_SIZE, true);
		else if (s->op == BIO_WRITE_ZEROES)
			memset(model + s->sector * SECTOR_SIZE, 0, s->nr * SECTOR_SIZE);
		else if (s->op == BIO_DISCARD) /* as the ramdisk does */
			memset(model + s->sector * SECTOR_SIZE, 0xd5, s->nr * SECTOR_SIZE);
		bio_submit(&r->bio);
		assert_int_equal(r->nr_done, 0);
	}
	host_advance(NS_PER_S);
	for (unsigned i = 0; i < ARRAY_SIZE(shots); i++) {
		struct shot *s = &shots[i];

		assert_int_equal(reqs[i].nr_done, 1);
		assert_int_equal(reqs[i].bio.status, 0);
		reqs[i].bio = s->bio;
		if (s->op == BIO_READ)
			copy(&reqs[i], model + s->sector * SECTOR_SIZE, false);
	}
	assert_memory_equal(rd->data, model, DISK_SIZE * SECTOR_SIZE);
}

static void many_shapes(void **state)
{
	unsigned rounds = getenv("CAIRN_SOAK") ? 4000 : 150;
	struct rng rng;

	rng_seed(&rng, 99);
	for (unsigned n = 0; n < rounds; n++) {
		unsigned cores = 1 + (unsigned)rng_below(&rng, 3),
			 nr = (unsigned)rng_below(&rng, 3);
		struct limits l = random_limits(&rng);
		uint32_t block = l.logical_block >> SECTOR_SHIFT;
		struct layer *layers[2];

		host_reset();
		block_reset();
		host_set_cores(cores);
		host_shuffle(n);
		split_extra_jobs = (unsigned)rng_below(&rng, 4);
		split_extra_pieces = (unsigned)rng_below(&rng, 8);
		memset(model, 0, DISK_SIZE * SECTOR_SIZE);
		make_disk(&l);
		if (rng_below(&rng, 2))
			ramdisk_delay(rd, 1000, 100000, n);
		for (unsigned i = 0; i < nr; i++) {
			layers[i] = layer_make(i ? &layers[0]->bdev : &rd->bdev,
				block * rng_below(&rng, 30), block * (uint32_t)rng_below(&rng, 30));
			layers[i]->bdev.limits = l;
			if (rng_below(&rng, 2))
				bdev_limits_changed(&layers[i]->bdev);
		}
		for (unsigned i = 0; i < 3; i++)
			one_round(&rng, layers, nr, cores);
		host_set_core(0);
		while (nr)
			layer_free(layers[--nr]);
		ramdisk_destroy(rd);
		rd = NULL;
		assert_true(host_mem_check());
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(what_fits_goes_whole),
		TEST(too_large_goes_in_pieces),
		TEST(chunks_are_not_crossed),
		TEST(pieces_are_whole_blocks),
		TEST(memory_has_limits_too),
		TEST(gaps),
		TEST(what_no_cut_mends_is_refused),
		TEST(discards_end_at_granules),
		TEST(not_offered),
		TEST(flush_sequences),
		TEST(flush_sequences_wait),
		TEST(flush_sequences_fail),
		TEST(flushes_share),
		TEST(a_late_flush_covers_late_writes),
		TEST(first_error_counts_and_ends_the_sending),
		TEST(one_at_a_time_without_extras),
		TEST(extras_make_it_parallel),
		TEST(a_stuck_neighbour_does_not_matter),
		TEST(deep_stacks_move),
		TEST(held_pieces_are_cut_again),
		TEST(held_pieces_fail_too),
		TEST(gone_at_done),
		TEST(registering_without_memory),
		TEST(many_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

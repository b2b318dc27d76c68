/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_log_writes - the log as Linux's replay-log would read it: what enters it when, replaying it
 * onto an empty disk, marks and the super, a reserve that runs out, a log that is full or fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define SECTORS 8192u /* of the data */
#define DISKS   3
#define REQS    600
#define CORES   3

enum {
	FLUSH = 1,
	FUA = 2,
	DISCARD = 4,
	MARK = 8,
};

static struct ramdisk *rd[DISKS], *lg;
static uint8_t buf[1200 * 512] __aligned(PAGE_SIZE), back[1200 * 512] __aligned(PAGE_SIZE);

static struct req {
	struct bio bio;
	struct seg segs[3];
	uint8_t *mem;
	unsigned core, nr_done;
	struct work work;
} reqs[REQS];

static struct ramdisk *disk(const char *name, sector_t sectors, uint32_t block)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = l.physical_block = l.discard_granularity = block;
	l.write_cache = true;
	l.max_discard_sectors = UINT32_MAX;
	return ramdisk_create(name, sectors, &l);
}

static int setup(void **state)
{
	int err = mapped_setup(state);

	memset(reqs, 0, sizeof(reqs));
	host_set_cores(CORES);
	for (unsigned i = 0; i < DISKS; i++) {
		char name[8];

		str_printf(name, sizeof(name), "ram%u", i);
		rd[i] = disk(name, SECTORS, 512);
	}
	lg = disk("log", 65536, 512);
	return err;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_release(rd[i], 0);
	ramdisk_release(lg, 0);
	mapped_remove_all(true);
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_destroy(rd[i]);
	ramdisk_destroy(lg);
	for (unsigned i = 0; i < REQS; i++)
		free(reqs[i].mem);
	return mapped_teardown(state);
}

/* ---- reading a log ---- */

struct entry {
	uint64_t sector, nr_sectors, flags, data_len;
	const uint8_t *data;
};

static uint32_t log_block; /* bytes of a sector of it */
static const uint8_t *log_at;

/* How many entries the super tells of. */
static uint64_t log_open(void)
{
	uint64_t head[3];

	memcpy(head, lg->data, sizeof(head));
	memcpy(&log_block, lg->data + 24, sizeof(log_block));
	assert_int_equal(head[0], 0x6a736677736872);
	assert_int_equal(head[1], 1);
	log_at = lg->data + log_block;
	return head[2];
}

static struct entry log_next(void)
{
	struct entry e;

	memcpy(&e, log_at, 32);
	e.data = log_at + 32;
	log_at += log_block;
	if (e.flags & MARK)
		return e;
	assert_int_equal(e.data_len, 0);
	e.data = log_at;
	if (!(e.flags & DISCARD))
		log_at += e.nr_sectors * log_block;
	return e;
}

static void expect(uint64_t sector, uint64_t nr, uint64_t flags)
{
	struct entry e = log_next();

	assert_int_equal(e.sector, sector);
	assert_int_equal(e.nr_sectors, nr);
	assert_int_equal(e.flags, flags);
}

static void expect_mark(const char *text)
{
	struct entry e = log_next();

	assert_int_equal(e.flags, MARK);
	assert_int_equal(e.sector, 0);
	assert_int_equal(e.nr_sectors, 0);
	assert_int_equal(e.data_len, strlen(text));
	assert_string_equal((const char *)e.data, text);
}

/* A disk of zeroes after all entries. */
static uint8_t *replay(uint64_t nr)
{
	uint8_t *image = calloc(SECTORS, 512);

	for (uint64_t i = 0; i < nr; i++) {
		struct entry e = log_next();

		if (e.flags & MARK)
			continue;
		assert_true((e.sector + e.nr_sectors) * log_block <= (uint64_t)SECTORS * 512);
		if (e.flags & DISCARD)
			memset(image + e.sector * log_block, 0xd5, e.nr_sectors * log_block);
		else
			memcpy(image + e.sector * log_block, e.data, e.nr_sectors * log_block);
	}
	return image;
}

/* ---- requests and messages ---- */

static void req_done(struct bio *bio)
{
	struct req *r = container_of(bio, struct req, bio);

	assert_int_equal(this_core(), r->core);
	r->nr_done++;
}

static void req_run(struct work *w)
{
	bio_submit(&container_of(w, struct req, work)->bio);
}

static void send(unsigned core, unsigned i, struct bdev *dev, enum bio_op op, unsigned flags,
	sector_t sector, uint32_t nr)
{
	struct req *r = &reqs[i];

	r->core = core;
	r->nr_done = 0;
	r->bio = (struct bio){ .dev = dev,
		.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.sector = sector,
		.nr_sectors = nr,
		.done = req_done };
	if (bio_has_data(&r->bio)) {
		/* Runs that end in the middle of the log's pages. */
		uint32_t bytes = nr * 512, first = nr > 2 ? 512 : bytes;

		free(r->mem);
		r->mem = aligned_alloc(4096, ROUND_UP_POW2((size_t)bytes, (size_t)4096));
		for (uint32_t k = 0; k < bytes; k++)
			r->mem[k] = (uint8_t)(k / 512 * 7 + i * 13 + k % 251);
		r->segs[0] = (struct seg){ dma_addr(r->mem), first };
		r->segs[1] = (struct seg){ dma_addr(r->mem + first), bytes - first };
		r->bio.segs = r->segs;
		r->bio.nr_segs = bytes > first ? 2 : 1;
	}
	r->work.fn = req_run;
	work_send(core, &r->work);
}

static int status_of(unsigned i)
{
	assert_int_equal(reqs[i].nr_done, 1);
	return reqs[i].bio.status;
}

static struct {
	char *words[8];
	unsigned nr;
	int err;
} msg;

static void message_run(void *arg)
{
	struct strbuf out = { 0 }, why = { 0 };

	msg.err = dm_message(dm_find("m"), 0, msg.nr, msg.words, &out, &why);
	strbuf_free(&out);
	strbuf_free(&why);
}

static int message(const char *a, const char *b, const char *c)
{
	const char *words[] = { a, b, c };

	msg.nr = 0;
	for (unsigned i = 0; i < 3 && words[i]; i++)
		msg.words[msg.nr++] = (char *)words[i];
	host_fiber(message_run, NULL);
	host_run();
	return msg.err;
}

static struct bdev *make(void)
{
	assert_int_equal(mapped_create("m", "0 8192 log-writes ram0 log"), 0);
	return mapped_bdev("m");
}

/* ---- tests ---- */

static void test_format(void **state)
{
	struct bdev *dev = make();
	char line[64];

	str_printf(line, sizeof(line), "0 8192 log-writes 1:%u 1:%u\n", rd[0]->bdev.minor,
		lg->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 0 0\n");
	for (unsigned i = 0; i < 3; i++) {
		memset(buf, 'a' + (int)i, 4096);
		assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, i * 100, 8, buf), 0);
	}
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 300, back), 0);
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 0 0\n");
	assert_int_equal(lg->nr[BIO_WRITE], 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	host_run();
	/* Only a FUA or a mark writes the super. */
	assert_int_equal(lg->data[0], 0);
	assert_int_equal(message("mark", "here", NULL), 0);
	/* As recorded from a live Linux: targets.md 1.4. */
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 5 29\n");
	assert_int_equal(log_open(), 5);
	assert_int_equal(log_block, 512);
	for (unsigned i = 0; i < 3; i++) {
		struct entry e = log_next();

		assert_int_equal(e.sector, i * 100);
		assert_int_equal(e.nr_sectors, 8);
		assert_int_equal(e.flags, 0);
		memset(buf, 'a' + (int)i, 4096);
		assert_memory_equal(e.data, buf, 4096);
	}
	expect(0, 0, FLUSH);
	expect_mark("here");
	/* What is left comes in at the end, then Linux's last words. */
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 50, 1, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 60, 2, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 70, 30, NULL), 0);
	assert_int_equal(mapped_suspend_noflush("m"), 0);
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(log_open(), 9);
	for (unsigned i = 0; i < 5; i++)
		log_next();
	expect(60, 2, FUA);
	expect(50, 1, 0);
	expect(70, 30, DISCARD);
	expect_mark("dm-log-writes-end");
	assert_int_equal(ramdisk_nr_dirty(lg), 0);
}

/* The order of Linux's own example, one disk for each of a, b and c. */
static void test_order(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("low", "0 100 linear ram0 0\n100 100 linear ram1 0\n"
					      "200 100 linear ram2 0"),
		0);
	assert_int_equal(mapped_create("m", "0 300 log-writes /dev/mapper/low log"), 0);
	dev = mapped_bdev("m");
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_hold(rd[i]);
	send(0, 0, dev, BIO_WRITE, 0, 10, 1);
	send(1, 1, dev, BIO_WRITE, 0, 110, 1);
	send(2, 2, dev, BIO_WRITE, 0, 210, 1);
	host_run();
	ramdisk_release(rd[2], 1);
	host_run();
	ramdisk_release(rd[0], 1);
	host_run();
	assert_int_equal(status_of(0) | status_of(2), 0);
	send(1, 3, dev, BIO_FLUSH, 0, 0, 0);
	send(2, 4, dev, BIO_WRITE, BIO_FUA, 220, 1);
	host_run();
	ramdisk_release(rd[1], 1);
	host_run();
	assert_int_equal(status_of(1), 0);
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_release(rd[i], 0);
	host_run();
	assert_int_equal(status_of(3) | status_of(4), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(message("MARK", "", NULL), 0);
	assert_int_equal(log_open(), 7);
	expect(210, 1, 0);
	expect(10, 1, 0);
	expect(0, 0, FLUSH);
	expect(220, 1, FUA);
	expect(110, 1, 0);
	expect(0, 0, FLUSH);
	expect_mark("");
	assert_int_equal(mapped_remove("m"), 0);
}

static void check_replay(void)
{
	uint64_t nr = log_open();
	uint8_t *image = replay(nr);

	assert_memory_equal(image, rd[0]->data, SECTORS * 512);
	free(image);
}

/* From all cores, on a disk that reorders; requests that are out together do not overlap. */
static void test_replay(void **state)
{
	struct rng rng;
	struct bdev *dev;

	for (unsigned seed = 1; seed <= 6; seed++) {
		uint32_t most = seed % 2 ? 300 : 20;

		memset(rd[0]->data, 0, SECTORS * 512);
		memset(lg->data, 0, 65536 * 512);
		ramdisk_delay(rd[0], 1000, 50000, seed);
		ramdisk_delay(lg, 1000, seed * 30000, seed);
		host_shuffle(seed);
		rng_seed(&rng, seed);
		dev = make();
		for (unsigned round = 0; round < 5; round++) {
			sector_t at = 0;
			unsigned i = 0;

			while (i < REQS && at < SECTORS - most) {
				unsigned kind = (unsigned)rng_below(&rng, 20);
				uint32_t nr = 1 + (uint32_t)rng_below(&rng, most);
				unsigned core = (unsigned)rng_below(&rng, CORES);

				if (kind == 0)
					send(core, i++, dev, BIO_FLUSH, 0, 0, 0);
				else if (kind == 1)
					send(core, i++, dev, BIO_DISCARD, 0, at, nr);
				else
					send(core, i++, dev, BIO_WRITE,
						kind == 2   ? BIO_FUA
						: kind == 3 ? BIO_PREFLUSH
							    : 0,
						at, nr);
				at += nr;
				if (rng_below(&rng, 8) == 0)
					host_advance(3000);
			}
			host_advance(NS_PER_S);
			for (unsigned k = 0; k < i; k++)
				assert_int_equal(status_of(k), 0);
		}
		assert_null(strstr(mapped_status("m"), "disabled"));
		assert_int_equal(mapped_remove("m"), 0);
		check_replay();
	}
}

/* More than the reserve without any flush, and a log that is slow. */
static void test_reserve(void **state)
{
	struct bdev *dev = make();
	unsigned nr = 0;

	ramdisk_hold(lg);
	for (unsigned i = 0; i < 40; i++)
		send(i % CORES, i, dev, BIO_WRITE, 0, i * 200, 200);
	send(1, 40, dev, BIO_FLUSH, 0, 0, 0);
	send(1, 41, dev, BIO_WRITE, BIO_NOWAIT, 8190, 1);
	host_run();
	for (unsigned i = 0; i < 40; i++)
		nr += reqs[i].nr_done;
	assert_int_equal(nr, 20); /* whole ones of 25 pages that 512 have room for */
	assert_int_equal(reqs[40].nr_done, 0);
	assert_int_equal(status_of(41), -EAGAIN);
	ramdisk_release(lg, 0);
	host_run();
	for (unsigned i = 0; i < 41; i++)
		assert_int_equal(status_of(i), 0);
	/* Many small ones: it is blocks that run out. */
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < REQS; i++)
			send(i % CORES, i, dev, BIO_DISCARD, 0, i * 10, 1);
		host_run();
		for (unsigned i = 0; i < REQS; i++)
			assert_int_equal(status_of(i), 0);
	}
	/* One larger than a block may be is cut. */
	send(2, 0, dev, BIO_WRITE, 0, 3, 3000);
	host_run();
	assert_int_equal(status_of(0), 0);
	assert_int_equal(mapped_remove("m"), 0);
	check_replay();
}

static void test_full(void **state)
{
	struct bdev *dev;

	ramdisk_destroy(lg);
	lg = disk("log", 40, 512);
	dev = make();
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 0, 8, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 8, 20, buf), 0);
	host_run();
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 2 30\n");
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 0, 8, buf), 0);
	host_run();
	assert_true(host_log_has("device-mapper: log-writes: Ran out of space on the logdev"));
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 2 39 logging_disabled\n");
	/* I/O goes on, and marks are taken and forgotten. */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(mapped_rw(dev, BIO_WRITE, i % 2 * BIO_FUA, i, 40, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 0, 8, NULL), 0);
	assert_int_equal(message("mark", "x", NULL), 0);
	assert_int_equal(log_open(), 2);
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(log_open(), 2);
}

static void test_broken(void **state)
{
	for (unsigned n = 1; n <= 5; n++) {
		struct bdev *dev = make();

		ramdisk_fail_nth(lg, n, -EIO);
		ramdisk_hold(lg);
		for (unsigned i = 0; i < 40; i++)
			send(i % CORES, i, dev, BIO_WRITE, BIO_FUA, i * 200, 200);
		host_run();
		ramdisk_release(lg, 0);
		host_run();
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(status_of(i), 0);
		assert_true(host_log_has("log-writes: Error writing log block, error="));
		assert_non_null(strstr(mapped_status("m"), " logging_disabled\n"));
		assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, buf), 0);
		assert_int_equal(mapped_remove("m"), 0);
	}
	/* Its blocks are larger than those the log is written in. */
	ramdisk_destroy(lg);
	lg = disk("log", 4096, 4096);
	assert_int_equal(mapped_rw(make(), BIO_WRITE, BIO_FUA, 0, 8, buf), 0);
	host_run();
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 1 9 logging_disabled\n");
}

static void test_large_blocks(void **state)
{
	struct bdev *dev;

	ramdisk_destroy(rd[0]);
	rd[0] = disk("ram0", SECTORS, 4096);
	dev = make();
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 0 7\n");
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + i / 512);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 64, 24, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 800, 8, buf), 0);
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(log_open(), 3);
	assert_int_equal(log_block, 4096);
	expect(100, 1, FUA);
	expect(8, 3, 0);
	expect_mark("dm-log-writes-end");
	check_replay();
}

/* A table that was never live leaves the log of the live one alone; one that follows begins anew
 * once the old one has said its last words. */
static void test_tables(void **state)
{
	struct bdev *dev = make();
	char longest[600];

	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 5, 1, buf), 0);
	assert_int_equal(mapped_load("m", "0 8192 log-writes ram0 log"), 0);
	assert_int_equal(mapped_clear("m"), 0);
	assert_int_equal(log_open(), 1);
	expect(5, 1, FUA);
	assert_int_equal(mapped_load("m", "0 8192 log-writes ram0 log"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_string_equal(mapped_status("m"), "0 8192 log-writes 0 0\n");
	memset(longest, 'y', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(message("mark", longest, NULL), 0);
	longest[512 - 32 - 1] = 0;
	assert_int_equal(log_open(), 1);
	expect_mark(longest);
	assert_int_equal(message("mark", NULL, NULL), -EINVAL);
	assert_true(host_log_has("device-mapper: log-writes: Invalid log-writes message arguments, "
				 "expect 2 arguments, got 1"));
	assert_int_equal(message("mark", "a", "b"), -EINVAL);
	assert_int_equal(message("remark", "a", NULL), -EINVAL);
	assert_true(host_log_has("Unrecognised log writes target message received: remark"));
}

/* Discards are taken also where the disk has none, and end well. */
static void test_no_discard(void **state)
{
	struct bdev *dev;
	struct limits l;

	ramdisk_destroy(rd[0]);
	limits_default(&l);
	rd[0] = ramdisk_create("ram0", SECTORS, &l);
	dev = make();
	assert_true(dev->limits.write_cache);
	assert_int_equal(dev->limits.max_discard_sectors, UINT32_MAX >> 9);
	assert_int_equal(dev->limits.max_write_zeroes_sectors, 0);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 100, 50, NULL), 0);
	send(2, 0, dev, BIO_DISCARD, 0, 200, 50);
	host_run();
	assert_int_equal(status_of(0), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 1, 1, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(message("mark", "m", NULL), 0);
	assert_int_equal(log_open(), 5);
	expect(1, 1, FUA);
	expect(100, 50, DISCARD);
	expect(200, 50, DISCARD);
	expect(0, 0, FLUSH);
	assert_int_equal(rd[0]->nr[BIO_DISCARD], 0);
}

static void test_refuses(void **state)
{
	static const struct {
		const char *table, *words;
		int err;
	} no[] = {
		{ "0 8 log-writes", "log-writes: Invalid argument count", -EINVAL },
		{ "0 8 log-writes ram0", "log-writes: Invalid argument count", -EINVAL },
		{ "0 8 log-writes nobody log", "log-writes: Device lookup failed", -ENODEV },
		{ "0 8 log-writes ram0 nobody", "log-writes: Log device lookup failed", -ENODEV },
		{ "0 8193 log-writes ram0 log",
			"ram0 too small for target: start=0, len=8193, dev_size=8192", -EINVAL },
	};
	static const unsigned some[] = { 1, 2, 5, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
		23, 24, 25, 300, 530, 531, 532, 533, 534, 535, 536, 537, 538, 539, 540, 600 };

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		assert_non_null(strstr(mapped_why(), no[i].words));
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
	for (unsigned n = 0; n < ARRAY_SIZE(some); n++) {
		int err;

		mapped_fail_alloc(some[n]);
		err = mapped_create("m", "0 8 log-writes ram0 log");
		assert_true(err == -ENOMEM || !err);
		host_fail_alloc(0);
		if (!err)
			assert_int_equal(mapped_remove("m"), 0);
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_format),
		T(test_order),
		T(test_replay),
		T(test_reserve),
		T(test_full),
		T(test_broken),
		T(test_large_blocks),
		T(test_tables),
		T(test_no_discard),
		T(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

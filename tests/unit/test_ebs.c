/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_ebs - small blocks on a disk of large ones: contents against a plain array with many
 * neighbours under way at once on several cores, errors, the edges, what it prints and refuses.
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

#define SECTORS 4096u
#define REQS    300
#define CORES   3

static struct ramdisk *rd;
static uint8_t buf[1024 * 512] __aligned(PAGE_SIZE);
static uint8_t model[SECTORS * 512];

static struct req {
	struct bio bio;
	struct seg segs[2];
	uint8_t *mem;
	unsigned core, nr_done;
	struct work work;
} reqs[REQS];

static void disk(sector_t sectors, uint32_t block)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = l.physical_block = l.discard_granularity = block;
	l.write_cache = true;
	l.max_discard_sectors = UINT32_MAX;
	rd = ramdisk_create("ram0", sectors, &l);
}

static int setup(void **state)
{
	int err = mapped_setup(state);

	memset(reqs, 0, sizeof(reqs));
	host_set_cores(CORES);
	disk(SECTORS, 4096);
	return err;
}

static int teardown(void **state)
{
	ramdisk_release(rd, 0);
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	for (unsigned i = 0; i < REQS; i++)
		free(reqs[i].mem);
	return mapped_teardown(state);
}

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

/* Memory in two runs, the first of one sector. */
static void send(unsigned core, unsigned i, struct bdev *dev, enum bio_op op, unsigned flags,
	sector_t sector, uint32_t nr)
{
	struct req *r = &reqs[i];
	uint32_t bytes = nr * 512, first = nr > 1 ? 512 : bytes;

	r->core = core;
	r->nr_done = 0;
	r->bio = (struct bio){ .dev = dev,
		.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.sector = sector,
		.nr_sectors = nr,
		.done = req_done };
	if (bio_has_data(&r->bio)) {
		free(r->mem);
		r->mem = aligned_alloc(4096, ROUND_UP_POW2((size_t)bytes, (size_t)4096));
		for (uint32_t k = 0; k < bytes; k++)
			r->mem[k] = (uint8_t)(k / 512 * 7 + i * 13 + k % 251 + sector);
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

static const struct shape {
	unsigned block, start, len, emulated, underlying; /* 0: not said */
} shapes[] = {
	{ 4096, 0, 4096, 1, 0 },
	{ 4096, 64, 1024, 1, 8 },
	{ 4096, 0, 4096, 4, 8 },
	{ 4096, 512, 2048, 2, 512 },
	{ 512, 0, 4095, 1, 8 },
	{ 512, 0, 4001, 1, 1024 },
	{ 512, 8, 4000, 1, 1 },
	{ 512, 4, 4000, 8, 4 },
	{ 512, 3, 4000, 1, 0 },
};

/* In each round requests do not overlap, but share blocks with their neighbours. */
static void test_contents(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		struct bdev *dev;
		struct rng rng;
		char table[64];

		ramdisk_destroy(rd);
		disk(s->block == 512 ? 4095 : SECTORS, s->block);
		memset(rd->data, 0x11, rd->bdev.nr_sectors * 512);
		memset(model, 0x11, sizeof(model));
		ramdisk_delay(rd, 1000, 40000, n + 1);
		host_shuffle(n);
		str_printf(table, sizeof(table),
			s->underlying ? "0 %u ebs ram0 %u %u %u" : "0 %u ebs ram0 %u %u",
			s->len - s->len % s->emulated, s->start, s->emulated, s->underlying);
		if (s->start + s->len > rd->bdev.nr_sectors)
			str_printf(table, sizeof(table), "0 4094 ebs ram0 0 1 8");
		assert_int_equal(mapped_create("m", table), 0);
		dev = mapped_bdev("m");
		assert_int_equal(dev->limits.logical_block, s->emulated * 512);
		rng_seed(&rng, n);
		for (unsigned round = 0; round < 12; round++) {
			uint32_t most = round % 3 == 0 ? 3 : round % 3 == 1 ? 20 : 300;
			sector_t at = rng_below(&rng, 10) * s->emulated;
			unsigned i = 0;

			for (; i < REQS; i++) {
				uint32_t nr = (1 + (uint32_t)rng_below(&rng, most)) * s->emulated;
				unsigned kind = (unsigned)rng_below(&rng, 10);
				unsigned core = (unsigned)rng_below(&rng, CORES);

				if (at + nr > dev->nr_sectors)
					break;
				send(core, i, dev, kind < 3 ? BIO_READ : BIO_WRITE,
					kind == 3   ? BIO_FUA
					: kind == 4 ? BIO_PREFLUSH
						    : 0,
					at, nr);
				at += nr;
				if (rng_below(&rng, 20) == 0)
					host_advance(2000);
			}
			host_advance(NS_PER_S);
			while (i--) {
				struct bio *bio = &reqs[i].bio;
				uint8_t *want;

				/* Where it was sent has changed; what stands there has not. */
				at -= reqs[i].segs[0].len / 512;
				if (reqs[i].bio.nr_segs == 2)
					at -= reqs[i].segs[1].len / 512;
				want = model + (s->start + at) * 512;
				assert_int_equal(status_of(i), 0);
				if (bio->op == BIO_READ)
					assert_memory_equal(reqs[i].mem, want,
						reqs[i].segs[0].len +
							(bio->nr_segs == 2 ? reqs[i].segs[1].len
									   : 0));
				else
					memcpy(want, reqs[i].mem,
						reqs[i].segs[0].len +
							(bio->nr_segs == 2 ? reqs[i].segs[1].len
									   : 0));
			}
			assert_memory_equal(rd->data, model, rd->bdev.nr_sectors * 512);
		}
		assert_int_equal(mapped_remove("m"), 0);
	}
}

/* Whole blocks pass as they are; parts read, and write the blocks around them. */
static void test_traffic(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("m", "0 1024 ebs ram0 64 1"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 8, 16, buf), 0);
	assert_int_equal(rd->nr[BIO_READ], 0);
	assert_int_equal(rd->trace[0].sector, 72);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 15, 2, buf), 0);
	assert_int_equal(rd->trace[1].op, BIO_READ);
	assert_int_equal(rd->trace[1].sector, 72);
	assert_int_equal(rd->trace[1].nr_sectors, 16);
	assert_int_equal(rd->trace[2].op, BIO_WRITE);
	assert_int_equal(rd->trace[2].nr_sectors, 16);
	assert_int_equal(rd->trace[3].op, BIO_FLUSH); /* its FUA */
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 3, 1, buf), 0);
	assert_int_equal(rd->trace[4].nr_sectors, 8);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(rd->nr[BIO_FLUSH], 2);
	/* Of a discard the whole blocks inside. */
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 3, 30, NULL), 0);
	assert_int_equal(rd->trace[6].sector, 72);
	assert_int_equal(rd->trace[6].nr_sectors, 24);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 1, 14, NULL), 0);
	assert_int_equal(rd->nr[BIO_DISCARD], 1);
}

static void test_errors(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("m", "0 1024 ebs ram0 0 1"), 0);
	dev = mapped_bdev("m");
	ramdisk_fail_nth(rd, 1, -ENODATA);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 1, 1, buf), -ENODATA);
	assert_int_equal(rd->nr[BIO_WRITE], 0);
	ramdisk_fail_nth(rd, 2, -EIO);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 1, 1, buf), -EIO);
	ramdisk_fail_nth(rd, 1, -EIO);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 1, 1, buf), -EIO);
	ramdisk_fail_nth(rd, 1, -EIO);
	send(2, 0, dev, BIO_WRITE, 0, 8, 8);
	host_run();
	assert_int_equal(status_of(0), -EIO);
	/* Nothing was left behind: the same blocks again, more than there are buffers. */
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 40; i++)
		send(i % CORES, i, dev, i % 4 ? BIO_WRITE : BIO_READ, 0, i, 1);
	host_run();
	send(1, 40, dev, BIO_WRITE, BIO_NOWAIT, 100, 1);
	host_run();
	assert_int_equal(status_of(40), -EAGAIN);
	ramdisk_release(rd, 0);
	host_run();
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(status_of(i), 0);
	/* A table that says blocks are smaller than they are. */
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(mapped_create("m", "0 1024 ebs ram0 0 1 1"), 0);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 1, 1, buf), -EIO);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 8, 8, buf), 0);
}

static void test_words(void **state)
{
	static const struct {
		const char *table, *words;
		int err;
	} no[] = {
		{ "0 8 ebs", "ebs: Invalid argument count", -EINVAL },
		{ "0 8 ebs ram0 0", "ebs: Invalid argument count", -EINVAL },
		{ "0 8 ebs ram0 0 1 8 8", "ebs: Invalid argument count", -EINVAL },
		{ "0 8 ebs nobody x 1", "ebs: Invalid device offset sector", -EINVAL },
		{ "0 8 ebs ram0 8 1", "ebs: Invalid device offset sector", -EINVAL },
		{ "0 8 ebs nobody 0 3", "ebs: Invalid emulated block size", -EINVAL },
		{ "0 8 ebs ram0 0 0", "ebs: Invalid emulated block size", -EINVAL },
		{ "0 16 ebs ram0 0 16", "ebs: Invalid emulated block size", -EINVAL },
		{ "0 8 ebs ram0 0 1 0", "ebs: Invalid underlying block size", -EINVAL },
		{ "0 8 ebs ram0 0 1 12", "ebs: Invalid underlying block size", -EINVAL },
		{ "0 8 ebs ram0 0 1 65536", "ebs: Invalid underlying block size", -EINVAL },
		{ "0 8 ebs nobody 0 1 8", "ebs: Device lookup failed", -ENODEV },
		{ "0 16 ebs ram0 4 1 8",
			"ebs: Device offset must be multiple of underlying block size", -EINVAL },
		{ "0 16 ebs ram0 4 1",
			"ebs: Device offset must be multiple of underlying block size", -EINVAL },
		{ "0 8192 ebs ram0 0 1",
			"ram0 too small for target: start=0, len=8192, dev_size=4096", -EINVAL },
	};
	char line[64];

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		assert_non_null(strstr(mapped_why(), no[i].words));
		assert_null(dm_find("m"));
		assert_int_equal(rd->bdev.open_count, 0);
	}
	assert_int_equal(mapped_create("m", "0 1024 ebs ram0 8 2 4"), 0);
	str_printf(line, sizeof(line), "0 1024 ebs 1:%u 8 2 4\n", rd->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	assert_string_equal(mapped_status("m"), "0 1024 ebs \n");
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(mapped_create("m", "0 1024 ebs ram0 8 1"), 0);
	str_printf(line, sizeof(line), "0 1024 ebs 1:%u 8 1\n", rd->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	assert_int_equal(mapped_bdev("m")->limits.physical_block, 4096);
	assert_int_equal(mapped_remove("m"), 0);
	for (unsigned n = 1;; n++) {
		int err;

		mapped_fail_alloc(n);
		err = mapped_create("m", "0 1024 ebs ram0 8 1");
		if (!host_alloc_failed())
			break;
		assert_true(err == -ENOMEM || !err);
		if (!err)
			assert_int_equal(mapped_remove("m"), 0);
		assert_null(dm_find("m"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_contents),
		T(test_traffic),
		T(test_errors),
		T(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_striped - where each sector goes, for shapes that are powers of two and shapes that are not,
 * against a slow and plain model; discards cut stripe by stripe; flushes; what it prints, refuses
 * and says of errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define DISKS 5

static struct ramdisk *rd[DISKS];
static uint8_t buf[256 * 512] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
	l.max_discard_sectors = l.max_write_zeroes_sectors = UINT32_MAX;
	l.discard_granularity = 512;
	for (unsigned i = 0; i < DISKS; i++) {
		char name[8];

		str_printf(name, sizeof(name), "ram%u", i);
		rd[i] = ramdisk_create(name, 4096, &l);
	}
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_destroy(rd[i]);
	return mapped_teardown(state);
}

static const struct shape {
	unsigned nr;
	uint32_t chunk;
	sector_t rows;
	unsigned start; /* of stripe i: start * (i + 1) */
} shapes[] = {
	{ 1, 8, 9, 0 },
	{ 2, 8, 6, 3 },
	{ 4, 16, 4, 8 },
	{ 3, 8, 7, 1 },
	{ 2, 24, 5, 5 },
	{ 5, 10, 6, 100 },
	{ 3, 1, 40, 2 },
	{ 5, 7, 1, 0 },
};

static struct bdev *make(const struct shape *s)
{
	struct strbuf table = { 0 };

	unsigned long long len = s->rows * s->chunk * s->nr;

	strbuf_printf(&table, "0 %llu striped %u %u", len, s->nr, s->chunk);
	for (unsigned i = 0; i < s->nr; i++) {
		strbuf_printf(&table, " ram%u %u", i, s->start * (i + 1));
		memset(rd[i]->data, 0, 4096 * 512);
	}
	assert_int_equal(mapped_create("m", strbuf_text(&table)), 0);
	strbuf_free(&table);
	return mapped_bdev("m");
}

/* The byte that the disks have for a sector of the device, by the plainest of reckonings. */
static uint8_t *where(const struct shape *s, sector_t sector)
{
	sector_t at = 0, done[DISKS] = { 0 };
	unsigned i = 0;

	for (;; i = (i + 1) % s->nr) {
		if (sector - at < s->chunk)
			return rd[i]->data + (s->start * (i + 1) + done[i] + sector - at) * 512;
		at += s->chunk;
		done[i] += s->chunk;
	}
}

static uint8_t mark(sector_t sector, unsigned salt)
{
	return (uint8_t)(sector * 7 + salt * 31 + 1);
}

static void test_where(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		struct bdev *dev = make(s);
		struct rng rng;

		assert_int_equal(dev->nr_sectors, s->rows * s->chunk * s->nr);
		for (sector_t sector = 0; sector < dev->nr_sectors; sector++) {
			memset(buf, mark(sector, n), 512);
			assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, sector, 1, buf), 0);
		}
		for (sector_t sector = 0; sector < dev->nr_sectors; sector++)
			assert_int_equal(*where(s, sector), mark(sector, n));
		rng_seed(&rng, n);
		for (unsigned i = 0; i < 200; i++) {
			uint32_t most = (uint32_t)MIN(dev->nr_sectors, 256);
			uint32_t len = 1 + (uint32_t)rng_below(&rng, most);
			sector_t first = rng_below(&rng, dev->nr_sectors - len + 1);

			memset(buf, 0, sizeof(buf));
			assert_int_equal(mapped_rw(dev, BIO_READ, 0, first, len, buf), 0);
			for (uint32_t k = 0; k < len; k++) {
				assert_int_equal(buf[k * 512], mark(first + k, n));
				assert_int_equal(buf[k * 512 + 511], mark(first + k, n));
			}
		}
		assert_int_equal(mapped_remove("m"), 0);
	}
}

/* Each disk gets at most one request of a discard, and together they are just the range. */
static void test_ranges(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		struct bdev *dev = make(s);
		struct rng rng;

		rng_seed(&rng, n + 100);
		for (unsigned i = 0; i < 100; i++) {
			uint32_t len = 1 + (uint32_t)rng_below(&rng, dev->nr_sectors);
			sector_t first = rng_below(&rng, dev->nr_sectors - len + 1);
			enum bio_op op = i % 2 ? BIO_DISCARD : BIO_WRITE_ZEROES;
			uint64_t sum = 0;

			for (unsigned k = 0; k < s->nr; k++) {
				rd[k]->nr[op] = rd[k]->sectors[op] = 0;
				memset(rd[k]->data, 0x11, 4096 * 512);
			}
			assert_int_equal(mapped_rw(dev, op, 0, first, len, NULL), 0);
			for (unsigned k = 0; k < s->nr; k++) {
				assert_true(rd[k]->nr[op] <= 1);
				sum += rd[k]->sectors[op];
			}
			assert_int_equal(sum, len);
			for (sector_t k = 0; k < dev->nr_sectors; k++) {
				bool in = k >= first && k < first + len;

				assert_int_equal(*where(s, k), !in                 ? 0x11
							       : op == BIO_DISCARD ? 0xd5
										   : 0);
			}
		}
		assert_int_equal(mapped_remove("m"), 0);
	}
}

static void test_flush_once_each(void **state)
{
	struct bdev *dev;

	/* Two stripes on one disk, and the target twice: every disk is flushed once all the same.
	 */
	assert_int_equal(mapped_create("m", "0 48 striped 3 8 ram0 0 ram1 0 ram0 100\n"
					    "48 16 striped 2 8 ram2 0 ram1 100\n"
					    "64 8 linear ram3 0"),
		0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 72, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rd[i]->nr[BIO_FLUSH], 1);
		assert_int_equal(ramdisk_nr_dirty(rd[i]), 0);
	}
	assert_int_equal(rd[4]->nr[BIO_FLUSH], 0);
	/* One that fails is not lost among those that do not. */
	for (unsigned i = 0; i < 4; i++) {
		ramdisk_fail_range(rd[i], 1 << BIO_FLUSH, 0, 0, -ETIMEDOUT);
		assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), -ETIMEDOUT);
		ramdisk_fail_range(rd[i], 0, 0, 0, 0);
	}
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
}

static void test_health(void **state)
{
	struct bdev *dev;
	char line[128];

	assert_int_equal(mapped_create("m", "0 48 striped 3 8 ram0 0 ram1 16 ram2 0"), 0);
	dev = mapped_bdev("m");
	str_printf(line, sizeof(line), "0 48 striped 3 8 1:%u 0 1:%u 16 1:%u 0\n",
		rd[0]->bdev.minor, rd[1]->bdev.minor, rd[2]->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	str_printf(line, sizeof(line), "0 48 striped 3 1:%u 1:%u 1:%u 1 AAA\n", rd[0]->bdev.minor,
		rd[1]->bdev.minor, rd[2]->bdev.minor);
	assert_string_equal(mapped_status("m"), line);
	ramdisk_fail_range(rd[1], 1 << BIO_READ, 0, 4096, -EIO);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 8, buf), 0);
	host_run();
	assert_int_equal(mapped_info("m").event_nr, 0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 8, buf), -EIO);
	assert_non_null(strstr(mapped_status("m"), " 1 ADA\n"));
	host_run();
	assert_int_equal(mapped_info("m").event_nr, 1);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 48, buf), -EIO);
	assert_non_null(strstr(mapped_status("m"), " 1 ADA\n"));
	host_run();
	assert_int_equal(mapped_info("m").event_nr, 14);
}

static void test_limits(void **state)
{
	const struct limits *l;

	assert_int_equal(mapped_create("m", "0 48 striped 3 8 ram0 0 ram1 16 ram2 0"), 0);
	l = &mapped_bdev("m")->limits;
	assert_int_equal(l->io_min, 4096);
	assert_int_equal(l->io_opt, 3 * 4096);
	assert_true(l->write_cache);
	assert_int_not_equal(l->max_discard_sectors, 0);
}

/* Chunks smaller than the blocks of the disks: what would fall between two of them is refused, and
 * never moved to a block near by. */
static void test_blocks_larger_than_chunks(void **state)
{
	struct limits l;
	struct ramdisk *big[2];
	static uint8_t bytes[8192] __aligned(4096);

	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	big[0] = ramdisk_create("big0", 4096, &l);
	big[1] = ramdisk_create("big1", 4096, &l);
	memset(bytes, 0x77, sizeof(bytes));
	for (unsigned chunk = 1; chunk < 16; chunk <<= 1) {
		char table[80];

		str_printf(table, sizeof(table), "0 8192 striped 2 %u big0 0 big1 0", chunk);
		assert_int_equal(mapped_create("m", table), 0);
		assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 8, 16, bytes),
			chunk < 8 ? -EINVAL : 0);
		assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 8, 16, bytes),
			chunk < 8 ? -EINVAL : 0);
		if (chunk < 8)
			assert_int_equal(big[0]->nr[BIO_WRITE] + big[1]->nr[BIO_WRITE], 0);
		assert_int_equal(mapped_remove("m"), 0);
	}
	ramdisk_destroy(big[0]);
	ramdisk_destroy(big[1]);
}

static void test_refuses(void **state)
{
	static const struct {
		const char *table, *words;
		int err;
	} no[] = {
		{ "0 8 striped", "striped: Not enough arguments", -EINVAL },
		{ "0 8 striped 1", "striped: Not enough arguments", -EINVAL },
		{ "0 8 striped 0 8", "striped: Invalid stripe count", -EINVAL },
		{ "0 8 striped x 8 ram0 0", "striped: Invalid stripe count", -EINVAL },
		{ "0 8 striped 4294967296 8 ram0 0", "striped: Invalid stripe count", -EINVAL },
		{ "0 16 striped 2 0 ram0 0 ram1 0", "striped: Invalid chunk_size", -EINVAL },
		{ "0 16 striped 2 x ram0 0 ram1 0", "striped: Invalid chunk_size", -EINVAL },
		{ "0 9 striped 2 8 ram0 0 ram1 0",
			"striped: Target length not divisible by number of stripes", -EINVAL },
		{ "0 17 striped 1 8 ram0 0", "striped: Target length not divisible by chunk size",
			-EINVAL },
		{ "0 16 striped 2 8 ram0 0", "striped: Not enough destinations specified",
			-EINVAL },
		{ "0 16 striped 2 8 ram0 0 ram1 0 ram2",
			"striped: Not enough destinations specified", -EINVAL },
		{ "0 16 striped 2 8 ram0 0 ram1 x", "striped: Couldn't parse stripe destination",
			-EINVAL },
		{ "0 16 striped 2 8 ram0 0 nobody 0", "striped: Couldn't parse stripe destination",
			-ENODEV },
		{ "0 16 striped 2 8 ram0 0 ram1 4089",
			"ram1 too small for target: start=4089, len=8, dev_size=4096", -EINVAL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		assert_non_null(strstr(mapped_why(), no[i].words));
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
	for (unsigned n = 1;; n++) {
		int err;

		mapped_fail_alloc(n);
		err = mapped_create("m", "0 16 striped 2 8 ram0 0 ram1 0");
		if (!host_alloc_failed())
			break;
		/* A failure that only costs words of a reason is none. */
		assert_true(err == -ENOMEM || !err);
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
		T(test_where),
		T(test_ranges),
		T(test_flush_once_each),
		T(test_health),
		T(test_limits),
		T(test_blocks_larger_than_chunks),
		T(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_unstriped - the columns of a striped device, read and written beside it; what Linux does at
 * the edges; what it prints and refuses.
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
static uint8_t buf[256 * 512] __aligned(PAGE_SIZE), back[256 * 512] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
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
	unsigned rows, start;
} shapes[] = {
	{ 1, 8, 9, 0 },
	{ 2, 8, 6, 0 },
	{ 4, 16, 4, 7 },
	{ 3, 24, 5, 3 },
	{ 5, 7, 6, 0 },
	{ 3, 1, 40, 11 },
};

/* What the striped target put on disk i must be the column i, for it is the inverse. */
static void test_columns(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		const struct shape *s = &shapes[n];
		unsigned len = s->nr * s->chunk * s->rows, column = s->chunk * s->rows;
		struct strbuf table = { 0 };
		struct rng rng;

		strbuf_printf(&table, "0 %u striped %u %u", len, s->nr, s->chunk);
		for (unsigned i = 0; i < s->nr; i++)
			strbuf_printf(&table, " ram%u 0", i);
		assert_int_equal(mapped_create("s", strbuf_text(&table)), 0);
		strbuf_reset(&table);
		if (s->start)
			strbuf_printf(&table, "0 %u zero\n", s->start);
		strbuf_printf(&table, "%u %u linear /dev/mapper/s 0", s->start, len);
		assert_int_equal(mapped_create("all", strbuf_text(&table)), 0);
		rng_seed(&rng, n);
		for (unsigned i = 0; i < s->nr; i++) {
			struct bdev *dev;

			strbuf_reset(&table);
			strbuf_printf(&table, "0 %u unstriped %u %u %u /dev/mapper/all %u", column,
				s->nr, s->chunk, i, s->start);
			assert_int_equal(mapped_create("u", strbuf_text(&table)), 0);
			dev = mapped_bdev("u");
			assert_int_equal(dev->nr_sectors, column);
			for (unsigned k = 0; k < column * 512; k++)
				buf[k] = (uint8_t)rng_u64(&rng);
			assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, column, buf), 0);
			assert_memory_equal(rd[i]->data, buf, column * 512);
			for (unsigned k = 0; k < 20; k++) {
				uint32_t nr = 1 + (uint32_t)rng_below(&rng, column);
				sector_t at = rng_below(&rng, column - nr + 1);

				assert_int_equal(mapped_rw(dev, BIO_READ, 0, at, nr, back), 0);
				assert_memory_equal(back, buf + at * 512, nr * 512);
			}
			assert_int_equal(mapped_remove("u"), 0);
		}
		strbuf_free(&table);
		assert_int_equal(mapped_remove("all"), 0);
		assert_int_equal(mapped_remove("s"), 0);
	}
}

/* Tables that reach past the end are taken; only what is there can be read. */
static void test_edges(void **state)
{
	struct bdev *dev;

	/* Column 2 of 2: as many rows as fit when one more chunk stands before it. */
	assert_int_equal(mapped_create("u", "0 2048 unstriped 2 64 2 ram0 0"), 0);
	dev = mapped_bdev("u");
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 8, buf), 0);
	assert_int_equal(rd[0]->trace[0].sector, 128);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 1983, 1, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 1984, 1, buf), -EIO);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 1983, 2, buf), -EIO);
	assert_int_equal(mapped_remove("u"), 0);
	/* A column far beyond, by numbers whose sums would wrap. */
	assert_int_equal(mapped_create("u", "0 64 unstriped 4294967295 64 4294967295 ram0 0"), 0);
	assert_int_equal(mapped_rw(mapped_bdev("u"), BIO_READ, 0, 0, 1, buf), -EIO);
	assert_int_equal(mapped_remove("u"), 0);
	assert_int_equal(mapped_create("u", "0 4096 unstriped 4294967295 2048 0 ram0 0"), 0);
	assert_int_equal(mapped_rw(mapped_bdev("u"), BIO_READ, 0, 2047, 1, buf), 0);
	assert_int_equal(mapped_rw(mapped_bdev("u"), BIO_READ, 0, 2048, 1, buf), -EIO);
	assert_int_equal(mapped_remove("u"), 0);
	/* As in Linux sectors count from the mapped device's beginning. */
	rd[0]->nr_trace = 0;
	assert_int_equal(mapped_create("u", "0 8 zero\n8 64 unstriped 2 8 1 ram0 100"), 0);
	assert_int_equal(mapped_rw(mapped_bdev("u"), BIO_READ, 0, 8, 1, buf), 0);
	assert_int_equal(rd[0]->trace[0].sector, 100 + 8 + 16);
}

static void test_words(void **state)
{
	struct bdev *dev;
	char line[64];

	assert_int_equal(mapped_create("u", "0 96 unstriped 3 24 1 ram0 5"), 0);
	dev = mapped_bdev("u");
	str_printf(line, sizeof(line), "0 96 unstriped 3 24 1 1:%u 5\n", rd[0]->bdev.minor);
	assert_string_equal(mapped_table("u"), line);
	assert_string_equal(mapped_status("u"), "0 96 unstriped \n");
	assert_int_equal(dev->limits.chunk_sectors, 24);
	assert_int_equal(dev->limits.max_discard_sectors, 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, buf), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(rd[0]->nr[BIO_FLUSH], 1);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 0, 8, NULL), -EOPNOTSUPP);
}

static void test_refuses(void **state)
{
	static const struct {
		const char *table, *words;
		int err;
	} no[] = {
		{ "0 8 unstriped", "unstriped: Invalid number of arguments", -EINVAL },
		{ "0 8 unstriped 2 8 0 ram0", "unstriped: Invalid number of arguments", -EINVAL },
		{ "0 8 unstriped 2 8 0 ram0 0 0", "unstriped: Invalid number of arguments",
			-EINVAL },
		{ "0 8 unstriped 0 8 0 ram0 0", "unstriped: Invalid stripe count", -EINVAL },
		{ "0 8 unstriped x 8 0 ram0 0", "unstriped: Invalid stripe count", -EINVAL },
		{ "0 8 unstriped 4294967296 8 0 ram0 0", "unstriped: Invalid stripe count",
			-EINVAL },
		{ "0 8 unstriped 2 0 0 ram0 0", "unstriped: Invalid chunk_size", -EINVAL },
		{ "0 8 unstriped 2 8k 0 ram0 0", "unstriped: Invalid chunk_size", -EINVAL },
		{ "0 8 unstriped 2 8 - ram0 0", "unstriped: Invalid stripe number", -EINVAL },
		{ "0 8 unstriped 2 8 3 ram0 0",
			"unstriped: Please provide stripe between [0, # of stripes]", -EINVAL },
		{ "0 8 unstriped 2 8 0 nobody 0", "unstriped: Couldn't get striped device",
			-ENODEV },
		{ "0 8 unstriped 2 8 0 ram0 x", "unstriped: Invalid striped device offset",
			-EINVAL },
		{ "0 9 unstriped 2 8 0 ram0 0",
			"unstriped: Target length not divisible by chunk size", -EINVAL },
		{ "0 8 unstriped 2 8 0 ram0 4089",
			"ram0 too small for target: start=4089, len=8, dev_size=4096", -EINVAL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		assert_non_null(strstr(mapped_why(), no[i].words));
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
	assert_int_equal(mapped_create("m", "0 8 unstriped 1 8 7 ram0 0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_columns),
		T(test_edges),
		T(test_words),
		T(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* test_linear - the linear, zero and error targets: what they accept, print, map and answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *a, *b;
static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);

	a = ramdisk_create("ram0", 1024, NULL);
	b = ramdisk_create("ram1", 2048, NULL);
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(a);
	ramdisk_destroy(b);
	return mapped_teardown(state);
}

static void fill(uint8_t c)
{
	memset(page, c, sizeof(page));
}

static bool is_all(const uint8_t *p, uint8_t c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != c)
			return false;
	return true;
}

static void test_maps(void **state)
{
	struct bdev *dev;

	assert_int_equal(
		mapped_create("m", "0 100 linear /dev/ram0 7\n100 50 linear ram1 1998"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(dev->nr_sectors, 150);
	fill(1);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, page), 0);
	assert_true(is_all(a->data + 7 * 512, 1, 4096));
	assert_true(is_all(a->data + 15 * 512, 0, 512));
	assert_true(is_all(a->data + 6 * 512, 0, 512));
	/* Across the boundary: four sectors end the first disk's part, four begin the second's. */
	fill(2);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 96, 8, page), 0);
	assert_true(is_all(a->data + 103 * 512, 2, 4 * 512));
	assert_true(is_all(b->data + 1998 * 512, 2, 4 * 512));
	fill(0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 96, 8, page), 0);
	assert_true(is_all(page, 2, sizeof(page)));
	/* Its last sector is the disk's last. */
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 149, 1, page), 0);
	assert_true(is_all(b->data + 2047 * 512, 2, 512));
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 149, 2, page), -EINVAL);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 150, 1, page), -EINVAL);
}

static void test_other_operations(void **state)
{
	struct bdev *dev;

	fill(9);
	memset(a->data, 9, 1024 * 512);
	assert_int_equal(mapped_create("m", "0 1000 linear ram0 24"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_WRITE_ZEROES, 0, 10, 5, NULL), 0);
	assert_true(is_all(a->data + 34 * 512, 0, 5 * 512));
	assert_int_equal(a->data[34 * 512 - 1], 9);
	assert_int_equal(a->data[39 * 512], 9);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 500, 100, NULL), 0);
	assert_int_equal(a->sectors[BIO_DISCARD], 100);
	assert_true(is_all(a->data + 524 * 512, 0xd5, 100 * 512));
	/* What the disk does not offer the device does not either. */
	assert_int_equal(mapped_rw(dev, BIO_SECURE_ERASE, 0, 0, 8, NULL), -EOPNOTSUPP);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(a->nr[BIO_FLUSH], 0); /* it has no cache */
}

static void test_flush(void **state)
{
	struct limits l;
	struct ramdisk *c;
	struct bdev *dev;

	limits_default(&l);
	l.write_cache = true;
	c = ramdisk_create("cached", 64, &l);
	assert_int_equal(mapped_create("m", "0 64 linear cached 0"), 0);
	dev = mapped_bdev("m");
	assert_true(dev->limits.write_cache);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, page), 0);
	assert_int_equal(ramdisk_nr_dirty(c), 8);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(ramdisk_nr_dirty(c), 0);
	assert_int_equal(c->nr[BIO_FLUSH], 1);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_FUA, 8, 8, page), 0);
	assert_int_equal(ramdisk_nr_dirty(c), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 16, 8, page), 0);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, BIO_PREFLUSH, 24, 8, page), 0);
	assert_int_equal(ramdisk_nr_dirty(c), 8);
	assert_int_equal(mapped_remove("m"), 0);
	ramdisk_destroy(c);
}

static void test_prints(void **state)
{
	char line[64];

	assert_int_equal(mapped_create("m", " 0\t8  linear  /dev/ram1   00012 "), 0);
	str_printf(line, sizeof(line), "0 8 linear 1:%u 12\n", b->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	assert_string_equal(mapped_status("m"), "0 8 linear \n");
	/* As Linux: a device's own table can be given back to it. */
	assert_int_equal(mapped_create("e", "0 8 error\n8 8 zero\n16 8 error and more words"), 0);
	assert_string_equal(mapped_table("e"), "0 8 error \n8 8 zero \n16 8 error \n");
	assert_string_equal(mapped_status("e"), "0 8 error \n8 8 zero \n16 8 error \n");
}

static void test_refuses(void **state)
{
	static const struct {
		const char *table;
		int err;
		const char *words;
	} no[] = {
		{ "0 8 linear", -EINVAL, "linear: Invalid argument count" },
		{ "0 8 linear ram0", -EINVAL, "linear: Invalid argument count" },
		{ "0 8 linear ram0 0 x", -EINVAL, "linear: Invalid argument count" },
		{ "0 8 linear ram0 x", -EINVAL, "linear: Invalid device sector" },
		{ "0 8 linear ram0 -1", -EINVAL, "linear: Invalid device sector" },
		{ "0 8 linear ram0 1x", -EINVAL, "linear: Invalid device sector" },
		{ "0 8 linear nobody x", -EINVAL, "linear: Invalid device sector" },
		{ "0 8 linear nobody 0", -ENODEV, "linear: Device lookup failed" },
		{ "0 8 linear 77:1 0", -ENXIO, "linear: Device lookup failed" },
		{ "0 1025 linear ram0 0", -EINVAL,
			"ram0 too small for target: start=0, len=1025, dev_size=1024" },
		{ "0 8 linear ram0 1017", -EINVAL,
			"ram0 too small for target: start=1017, len=8, dev_size=1024" },
		{ "0 8 linear ram0 18446744073709551615", -EINVAL,
			"ram0 too small for target: start=18446744073709551615, len=8, "
			"dev_size=1024" },
		{ "0 8 zero x", -EINVAL, "zero: No arguments required" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		char words[200];

		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		str_printf(words, sizeof(words), "table line 1: %s", no[i].words);
		assert_string_equal(mapped_why(), words);
		str_printf(words, sizeof(words), "device-mapper: table: 253:0: %s", no[i].words);
		assert_true(host_log_has(words));
		assert_null(dm_find("m"));
		assert_int_equal(a->bdev.open_count, 0);
	}
	assert_true(host_log_has("linear: Device lookup failed (-ENODEV)"));
	assert_true(host_log_has("linear: Device lookup failed (-ENXIO)"));
	assert_true(host_log_has("device-mapper: ioctl: error adding target to table"));
	assert_true(host_log_has("device-mapper: core: Cannot calculate initial queue limits"));
}

static void test_zero_and_error(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("m", "0 8 zero\n8 8 error"), 0);
	dev = mapped_bdev("m");
	fill(3);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, page), 0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 7, page), 0);
	assert_true(is_all(page, 0, 7 * 512));
	assert_int_equal(page[7 * 512], 3);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 0, 8, NULL), 0);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 1, page), -EIO);
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 15, 1, page), -EIO);
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 8, 8, NULL), -EIO);
	/* Half in each: the good half does not hide the bad. */
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 4, 8, page), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_maps),
		T(test_other_operations),
		T(test_flush),
		T(test_prints),
		T(test_refuses),
		T(test_zero_and_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

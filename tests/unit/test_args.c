/* SPDX-License-Identifier: BSD-2-Clause */
/* test_args - the cursor over a table line's words: what it accepts, and that its first failure
 * stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "mapper/mdev.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *rd;
static struct table *t;
static struct args a;
static char *words[8];

static int setup(void **state)
{
	int err = mapped_setup(state);

	rd = ramdisk_create("ram0", 100, NULL);
	err |= mapped_create("m", "0 8 zero");
	/* A table as it is while it is being read. */
	t = mem_alloc(&mdev_tag, sizeof(*t));
	t->targets = mem_alloc(&mdev_tag, sizeof(*t->targets));
	t->targets[0].table = t;
	t->md = dm_find("m");
	t->line = 3;
	return err;
}

static void destroy(void *arg)
{
	table_destroy(t);
}

static int teardown(void **state)
{
	host_fiber(destroy, NULL);
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	return mapped_teardown(state);
}

static void line(unsigned n, ...)
{
	va_list ap;

	va_start(ap, n);
	for (unsigned i = 0; i < n; i++)
		words[i] = va_arg(ap, char *);
	va_end(ap);
	a = (struct args){ .argv = words, .argc = n, .target = t->targets };
}

static void test_words(void **state)
{
	line(3, "one", "2", "three");
	assert_int_equal(args_left(&a), 3);
	assert_string_equal(arg_word(&a, "no"), "one");
	assert_int_equal(arg_u64(&a, 2, "no"), 2);
	assert_int_equal(args_left(&a), 1);
	assert_int_equal(a.err, 0);
	assert_int_equal(arg_end(&a, "too many"), -EINVAL);
	assert_string_equal(a.words, "too many");
	assert_int_equal(args_left(&a), 0);
	line(1, "x");
	assert_string_equal(arg_word(&a, "no"), "x");
	assert_int_equal(arg_end(&a, "too many"), 0);
}

static void test_first_failure_stays(void **state)
{
	line(1, "x");
	assert_int_equal(arg_u64(&a, 9, "first"), 0);
	assert_string_equal(arg_word(&a, "second"), "");
	assert_null(arg_bdev(&a, "third"));
	arg_fail(&a, -EIO, "fourth");
	assert_int_equal(arg_end(&a, "fifth"), -EINVAL);
	assert_string_equal(a.words, "first");
	line(0);
	arg_fail(&a, -ENOSPC, "%s: %d", "own", 5);
	assert_int_equal(arg_end(&a, "no"), -ENOSPC);
	assert_string_equal(a.words, "own: 5");
	/* Words beyond the room for them are cut. */
	line(0);
	arg_fail(&a, -EIO, "%0500d", 1);
	assert_int_equal(strlen(a.words), sizeof(a.words) - 1);
}

static void test_numbers(void **state)
{
	static const char *const no[] = { "", "x", "-1", "+1", " 1", "1 ", "1x", "0x1", "1.0",
		"18446744073709551616", "99999999999999999999999" };

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		line(1, no[i]);
		assert_int_equal(arg_u64(&a, UINT64_MAX, "bad"), 0);
		assert_int_equal(a.err, -EINVAL);
	}
	line(3, "18446744073709551615", "007", "8");
	assert_true(arg_u64(&a, UINT64_MAX, "bad") == UINT64_MAX);
	assert_int_equal(arg_u64(&a, 7, "bad"), 7);
	assert_int_equal(arg_u64(&a, 7, "over"), 0);
	assert_string_equal(a.words, "over");
}

static int bdev_err(const char *spec)
{
	line(1, spec);
	if (arg_bdev(&a, "words")) {
		assert_int_equal(a.err, 0);
		return 0;
	}
	assert_string_equal(a.words, "words");
	return a.err;
}

static void test_devices(void **state)
{
	int other;

	assert_int_equal(bdev_err("nobody"), -ENODEV);
	assert_int_equal(bdev_err("/dev/nobody"), -ENODEV);
	assert_int_equal(bdev_err("/dev/mapper/nobody"), -ENODEV);
	assert_int_equal(bdev_err(""), -ENODEV);
	assert_int_equal(bdev_err("8:"), -ENXIO);
	assert_int_equal(bdev_err("8:16"), -ENXIO);
	assert_int_equal(bdev_err("8:16x"), -ENODEV);
	/* Itself, by all its names. */
	assert_int_equal(bdev_err("m"), -EINVAL);
	assert_int_equal(bdev_err("/dev/dm-0"), -EINVAL);
	assert_int_equal(bdev_err("/dev/mapper/m"), -EINVAL);
	assert_int_equal(bdev_err("253:0"), -EINVAL);
	rd->bdev.gone = true;
	assert_int_equal(bdev_err("ram0"), -ENXIO);
	rd->bdev.gone = false;
	rd->bdev.read_only = true;
	bdev_limits_changed(&rd->bdev);
	assert_int_equal(bdev_err("ram0"), -EACCES);
	t->read_only = true;
	assert_int_equal(bdev_claim(&rd->bdev, &other), 0);
	assert_int_equal(bdev_err("ram0"), -EBUSY);
	bdev_release(&rd->bdev, &other);
	assert_int_equal(rd->bdev.open_count, 0);
	assert_int_equal(t->nr_deps, 0);
	/* Taken twice, it is opened once. */
	assert_int_equal(bdev_err("ram0"), 0);
	assert_int_equal(bdev_err("/dev/ram0"), 0);
	assert_int_equal(rd->bdev.open_count, 1);
	assert_int_equal(t->nr_deps, 1);
	assert_ptr_equal(t->deps[0], &rd->bdev);
	rd->bdev.read_only = false;
	bdev_limits_changed(&rd->bdev);
}

static void test_ranges(void **state)
{
	sector_t start;

	line(3, "ram0", "17", "rest");
	assert_ptr_equal(arg_range(&a, 5, &start, "dev", "start"), &rd->bdev);
	assert_int_equal(start, 17);
	assert_string_equal(arg_word(&a, "no"), "rest");
	assert_int_equal(t->nr_uses, 1);
	assert_int_equal(t->uses[0].start, 17);
	assert_int_equal(t->uses[0].len, 5);
	assert_int_equal(t->uses[0].line, 3);
	/* The number is judged first. */
	line(2, "nobody", "x");
	assert_null(arg_range(&a, 5, &start, "dev", "start"));
	assert_string_equal(a.words, "start");
	line(2, "nobody", "1");
	assert_null(arg_range(&a, 5, &start, "dev", "start"));
	assert_string_equal(a.words, "dev");
	assert_int_equal(a.err, -ENODEV);
	line(1, "ram0");
	assert_null(arg_range(&a, 5, &start, "dev", "start"));
	assert_string_equal(a.words, "start");
	line(0);
	assert_null(arg_range(&a, 5, &start, "dev", "start"));
	assert_string_equal(a.words, "dev");
	assert_int_equal(t->nr_uses, 1);
	for (unsigned i = 0; i < 100; i++) {
		line(2, "ram0", "1");
		assert_non_null(arg_range(&a, i, &start, "dev", "start"));
	}
	assert_int_equal(t->nr_uses, 101);
	assert_int_equal(t->uses[100].len, 99);
	assert_int_equal(t->nr_deps, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_words),
		T(test_first_failure_stays),
		T(test_numbers),
		T(test_devices),
		T(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

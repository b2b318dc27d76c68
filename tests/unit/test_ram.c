/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_ram - disks of memory: contents against a plain array, zeroes, a stack on top, what is
 * refused, memory that is short and comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/ram.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"

static uint8_t buf[3000 * 512] __aligned(PAGE_SIZE), model[3000 * 512];

static struct {
	const char *name, *words;
	uint64_t bytes;
	unsigned fail;
	int err;
} call;

static void create_run(void *arg)
{
	if (call.fail)
		host_fail_alloc(call.fail);
	call.err = ram_create(call.name, call.bytes, &call.words);
}

static int create(const char *name, uint64_t bytes)
{
	call.name = name;
	call.bytes = bytes;
	host_fiber(create_run, NULL);
	return call.err;
}

static int removes(const char *name)
{
	return ram_remove(name, &call.words);
}

static int setup(void **state)
{
	call.fail = 0;
	return mapped_setup(state);
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	removes("ram0");
	removes("ram1");
	return mapped_teardown(state);
}

static void test_contents(void **state)
{
	static const unsigned sizes[] = { 1, 2, 8, 9, 127, 128, 129, 1000, 3000 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned size = sizes[i];
		struct bdev *dev;
		struct rng rng;

		assert_int_equal(create("ram0", size * 512), 0);
		dev = bdev_find("/dev/ram0");
		assert_non_null(dev);
		assert_ptr_equal(bdev_find("1:0"), dev);
		assert_int_equal(dev->nr_sectors, size);
		memset(model, 0, sizeof(model));
		rng_seed(&rng, i);
		for (unsigned n = 0; n < 100; n++) {
			uint32_t nr = 1 + (uint32_t)rng_below(&rng, size);
			sector_t at = rng_below(&rng, size - nr + 1);
			unsigned kind = (unsigned)rng_below(&rng, 8);

			if (kind < 3) {
				for (unsigned k = 0; k < nr * 512; k++)
					buf[k] = (uint8_t)(k * 7 + n + k / 512);
				memcpy(model + at * 512, buf, nr * 512);
				assert_int_equal(mapped_rw(dev, BIO_WRITE, kind == 1 ? BIO_FUA : 0,
							 at, nr, buf),
					0);
			} else if (kind < 5) {
				memset(model + at * 512, 0, nr * 512);
				assert_int_equal(
					mapped_rw(dev, kind == 3 ? BIO_DISCARD : BIO_WRITE_ZEROES,
						0, at, nr, NULL),
					0);
			} else {
				memset(buf, 0xee, sizeof(buf));
				assert_int_equal(mapped_rw(dev, BIO_READ, 0, at, nr, buf), 0);
				assert_memory_equal(buf, model + at * 512, nr * 512);
			}
		}
		assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
		assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, size, buf), 0);
		assert_memory_equal(buf, model, size * 512);
		assert_int_equal(removes("ram0"), 0);
		assert_null(bdev_find("ram0"));
	}
}

static void test_in_use(void **state)
{
	assert_int_equal(create("ram0", 1 << 20), 0);
	assert_int_equal(create("ram1", 1 << 20), 0);
	assert_int_equal(create("ram1", 1 << 20), -EEXIST);
	assert_string_equal(call.words, "it is there already");
	assert_int_equal(mapped_create("m", "0 4096 striped 2 8 ram0 0 ram1 0"), 0);
	memset(buf, 0x42, sizeof(buf));
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 0, 2500, buf), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 0, 2500, buf), 0);
	assert_int_equal(buf[0], 0x42);
	assert_int_equal(buf[2500 * 512 - 1], 0x42);
	assert_int_equal(removes("ram1"), -EBUSY);
	assert_string_equal(call.words, "it is in use");
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(removes("ram1"), 0);
	assert_int_equal(removes("ram1"), -ENODEV);
}

static void test_refuses(void **state)
{
	static const char *const bad[] = { "", "ram", "ramx", "ram01", "ram-1", "ram1048576", "vda",
		"ram0/", "ram99999999999999999999", "Ram0", "xram0" };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(create(bad[i], 4096), -EINVAL);
	assert_int_equal(create("ram0", 0), -EINVAL);
	assert_int_equal(create("ram0", 513), -EINVAL);
	assert_int_equal(create("ram0", 1ull << 62), -ENOMEM);
	assert_int_equal(create("ram0", 1ull << 63), -ENOMEM);
	assert_int_equal(create("ram0", UINT64_MAX - 511), -ENOMEM);
	assert_string_equal(call.words, "there is not so much memory");
	assert_int_equal(create("ram1048575", 512), 0);
	assert_int_equal(removes("ram1048575"), 0);
	/* Only what we made is removed. */
	assert_int_equal(mapped_create("m", "0 8 zero"), 0);
	assert_int_equal(removes("m"), -ENODEV);
	assert_int_equal(removes("/dev/dm-0"), -ENODEV);
	for (call.fail = 1;; call.fail++) {
		int err = create("ram0", 1 << 20);

		if (!host_alloc_failed())
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(bdev_find("ram0"));
	}
	assert_int_equal(removes("ram0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_contents),
		T(test_in_use),
		T(test_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

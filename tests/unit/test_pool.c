/* SPDX-License-Identifier: BSD-2-Clause */
/* test_pool - pools of objects: what they promise of memory, order, water marks and failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/host/host.h"

static struct mem_tag tag = MEM_TAG("test pool");

static int setup(void **state)
{
	host_reset();
	return 0;
}

static int teardown(void **state)
{
	bool clean = host_mem_check();

	host_reset();
	return clean ? 0 : -1;
}

static const struct {
	size_t size;
	unsigned nr;
} shapes[] = {
	{ 0, 3 },
	{ 1, 1 },
	{ 8, 100 },
	{ 40, 7 },
	{ 4080, 5 },
	{ 4081, 5 }, /* rounds up to a page */
	{ 4096, 1 },
	{ 4096, 33 },
	{ 4096, 200 },
	{ 3 * 4096, 11 },
	{ 64 * 4096, 3 },
	{ 65 * 4096, 2 },
	{ 1024 * 4096, 2 },
};

/* Every object is writable to its end and nobody else's: each is filled with its own number. */
static void test_objects(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		unsigned nr = shapes[i].nr;
		size_t size = shapes[i].size;
		unsigned char *objs[200];
		struct pool p;

		assert_int_equal(pool_init(&p, &tag, size, nr), 0);
		assert_int_equal(p.nr_free, nr);
		for (unsigned n = 0; n < nr; n++) {
			objs[n] = pool_get(&p);
			assert_non_null(objs[n]);
			assert_int_equal((uintptr_t)objs[n] % 16, 0);
			if (p.obj_size % PAGE_SIZE == 0)
				assert_int_equal((uintptr_t)objs[n] % PAGE_SIZE, 0);
			for (size_t b = 0; b < size; b += 1 + size / 64)
				assert_int_equal(objs[n][b], 0);
			memset(objs[n], (int)n + 1, size);
		}
		assert_null(pool_get(&p));
		for (unsigned n = 0; n < nr; n++) {
			for (size_t b = 0; b < size; b += 1 + size / 64)
				assert_int_equal(objs[n][b], n + 1);
			pool_put(&p, objs[n]);
		}
		pool_destroy(&p);
		assert_int_equal(tag.bytes, 0);
	}
}

/* No more memory than the objects need, where they fit runs of pages exactly. */
static void test_no_waste(void **state)
{
	struct pool p;

	for (unsigned nr = 1; nr < 300; nr += 13) {
		assert_int_equal(pool_init(&p, &tag, PAGE_SIZE, nr), 0);
		assert_in_range(tag.bytes, nr * PAGE_SIZE, nr * PAGE_SIZE + 32 * sizeof(void *));
		pool_destroy(&p);
	}
	assert_int_equal(pool_init(&p, &tag, 3 * PAGE_SIZE, 100), 0);
	assert_in_range(tag.bytes, 300 * PAGE_SIZE, 340 * PAGE_SIZE);
	pool_destroy(&p);
}

static void test_low_water(void **state)
{
	struct pool p;
	void *a, *b;

	assert_int_equal(pool_init(&p, &tag, 32, 4), 0);
	assert_int_equal(p.low_water, 4);
	a = pool_get(&p);
	b = pool_get(&p);
	assert_true((char *)b > (char *)a); /* in order of address */
	pool_put(&p, a);
	pool_put(&p, b);
	assert_int_equal(p.low_water, 2);
	assert_ptr_equal(pool_get(&p), b);
	assert_int_equal(p.low_water, 2);
	pool_put(&p, b);
	pool_destroy(&p);
}

static void test_failure(void **state)
{
	const size_t sizes[] = { 40, PAGE_SIZE, 3 * PAGE_SIZE };
	struct pool p;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		int err = 0;
		unsigned n;

		for (n = 1;; n++) {
			host_fail_alloc(n);
			err = pool_init(&p, &tag, sizes[i], 77);
			if (!host_alloc_failed())
				break;
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(tag.bytes, 0);
			assert_null(pool_get(&p));
			pool_destroy(&p); /* harmless */
		}
		assert_int_equal(err, 0);
		assert_true(n > (i ? 3 : 1)); /* it did fail */
		pool_destroy(&p);
	}
}

static void test_absurd(void **state)
{
	struct pool p = { 0 };

	pool_destroy(&p);
	assert_int_equal(pool_init(&p, &tag, 100, 0), 0);
	assert_null(pool_get(&p));
	pool_destroy(&p);
	assert_int_equal(pool_init(&p, &tag, SIZE_MAX, 1), -ENOMEM);
	assert_int_equal(pool_init(&p, &tag, SIZE_MAX / 2, 3), -ENOMEM);
	assert_int_equal(pool_init(&p, &tag, (size_t)PAGE_SIZE << 11, 1), -ENOMEM);
	assert_int_equal(pool_init(&p, &tag, ((size_t)1 << 40) + 16, UINT32_MAX), -ENOMEM);
}

static void destroy(void *arg)
{
	pool_destroy(arg);
}

static void test_destroy_in_use(void **state)
{
	struct pool p;
	void *o;

	assert_int_equal(pool_init(&p, &tag, 32, 4), 0);
	o = pool_get(&p);
	assert_true(host_expect_panic(destroy, &p));
	assert_non_null(strstr(host_panic_text(), "nr_free == p->nr"));
	pool_put(&p, o);
	pool_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_waste, setup, teardown),
		cmocka_unit_test_setup_teardown(test_low_water, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absurd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_destroy_in_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

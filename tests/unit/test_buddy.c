/* SPDX-License-Identifier: BSD-2-Clause */
/* The page allocator: what it hands out never overlaps, is aligned, and all of it comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/lib/buddy.h"

#define PAGES 3000

static struct buddy b;
static char *area;
static uint8_t owner[PAGES];

static void setup(void)
{
	area = aligned_alloc(PAGE_SIZE, (size_t)PAGES * PAGE_SIZE);
	assert_non_null(area);
	memset(area, 0xa5, (size_t)PAGES * PAGE_SIZE);
	memset(owner, 0, sizeof(owner));
	buddy_init(&b);
}

static void claim(char *p, size_t nr, uint8_t who)
{
	size_t first = (size_t)(p - area) / PAGE_SIZE, i;

	assert_true(p >= area && first + nr <= PAGES);
	for (i = 0; i < nr; i++) {
		assert_int_equal(owner[first + i], who ? 0 : 1);
		owner[first + i] = who;
	}
}

static void random_blocks(void **state)
{
	struct {
		char *p;
		size_t nr;
	} live[200] = { 0 };
	size_t free_before;
	unsigned i, round;

	setup();
	srand(7);
	/* Two regions with a hole, neither on a round address. */
	assert_int_equal(buddy_add(&b, area + 100, 1001 * PAGE_SIZE), 999 * PAGE_SIZE);
	assert_int_equal(
		buddy_add(&b, area + 1500 * PAGE_SIZE, 1500 * PAGE_SIZE), 1499 * PAGE_SIZE);
	free_before = b.free_pages;
	for (round = 0; round < 20000; round++) {
		i = (unsigned)rand() % ARRAY_SIZE(live);
		if (live[i].p) {
			claim(live[i].p, live[i].nr, 0);
			memset(live[i].p, 0x5a, live[i].nr * PAGE_SIZE);
			assert_true(buddy_free(&b, live[i].p, live[i].nr));
			assert_false(buddy_free(&b, live[i].p, live[i].nr));
			live[i].p = NULL;
			continue;
		}
		live[i].nr = 1 + (unsigned)rand() % (rand() % 8 ? 9 : 100);
		live[i].p = buddy_alloc(&b, live[i].nr);
		if (live[i].p) {
			size_t align = PAGE_SIZE;

			while (align < live[i].nr * PAGE_SIZE)
				align *= 2;
			assert_int_equal((uintptr_t)live[i].p % align, 0);
			claim(live[i].p, live[i].nr, 1);
		}
	}
	for (i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i].p)
			assert_true(buddy_free(&b, live[i].p, live[i].nr));
	assert_int_equal(b.free_pages, free_before);
	/* All grown together again: a large block is to be had. */
	assert_non_null(buddy_alloc(&b, 512));
	free(area);
}

static void bad_frees_and_small_ranges(void **state)
{
	char *p;

	setup();
	assert_int_equal(buddy_add(&b, area, PAGE_SIZE), 0);
	assert_int_equal(buddy_add(&b, area + 1, PAGE_SIZE), 0);
	assert_null(buddy_alloc(&b, 1));
	assert_int_equal(buddy_add(&b, area, 64 * PAGE_SIZE), 63 * PAGE_SIZE);
	p = buddy_alloc(&b, 3);
	assert_false(buddy_free(&b, p + 16, 1));
	assert_false(buddy_free(&b, p, 4)); /* the fourth page was given back at once */
	assert_false(buddy_free(&b, p, 0));
	assert_false(buddy_free(&b, area + 70 * PAGE_SIZE, 1));
	assert_false(buddy_free(&b, p, SIZE_MAX));
	assert_true(buddy_free(&b, p, 3));
	assert_null(buddy_alloc(&b, 0));
	assert_null(buddy_alloc(&b, 64));
	assert_null(buddy_alloc(&b, SIZE_MAX));
	free(area);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_blocks),
		cmocka_unit_test(bad_frees_and_small_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_timerheap - the heap of timers beside a plain array, over long random histories; its shape
 * is checked as they go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/lib/timerheap.h"
#include "tests/host/host.h"

#define NR 300

static struct timer timers[NR];
static struct timerheap heap;

static int setup(void **state)
{
	host_reset();
	memset(timers, 0, sizeof(timers));
	heap = (struct timerheap){ 0 };
	return 0;
}

/* Every link has its way back and nobody is due before its parent.  Counts. */
static unsigned check_below(const struct timer *parent)
{
	const struct timer *before = parent;
	unsigned n = 1;

	for (const struct timer *t = parent->child; t; before = t, t = t->next) {
		assert_ptr_equal(t->prev, before);
		assert_true(t->due_ns >= parent->due_ns);
		assert_true(t->pending);
		n += check_below(t);
	}
	return n;
}

static void check(unsigned nr)
{
	if (!heap.root) {
		assert_int_equal(nr, 0);
		return;
	}
	assert_null(heap.root->next);
	assert_null(heap.root->prev);
	assert_true(heap.root->pending);
	assert_int_equal(check_below(heap.root), nr);
}

static uint64_t least_pending(void)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < NR; i++)
		if (timers[i].pending)
			due = MIN(due, timers[i].due_ns);
	return due;
}

static void test_empty(void **state)
{
	assert_null(timerheap_first(&heap));
	assert_null(timerheap_pop_due(&heap, UINT64_MAX));
}

static void test_sorted(void **state)
{
	uint64_t last = 0;
	struct timer *t;
	struct rng r;

	rng_seed(&r, 1);
	for (unsigned i = 0; i < NR; i++) {
		timers[i].due_ns = i % 7 ? rng_below(&r, 1000) : 500; /* many alike */
		timerheap_insert(&heap, &timers[i]);
		check(i + 1);
	}
	for (unsigned i = 0; i < NR; i++) {
		t = timerheap_first(&heap);
		assert_null(timerheap_pop_due(&heap, t->due_ns - 1));
		assert_ptr_equal(timerheap_pop_due(&heap, t->due_ns), t);
		assert_false(t->pending);
		assert_true(t->due_ns >= last);
		last = t->due_ns;
		check(NR - 1 - i);
	}
	assert_null(heap.root);
}

static void test_history(void **state)
{
	uint64_t now = 0;
	unsigned nr = 0;
	struct timer *t;
	struct rng r;

	rng_seed(&r, 42);
	for (unsigned step = 0; step < 40000; step++) {
		t = &timers[rng_below(&r, NR)];
		switch (rng_below(&r, 4)) {
		case 0:
		case 1:
			if (t->pending) {
				timerheap_remove(&heap, t);
				assert_false(t->pending);
				assert_null(t->child);
				assert_null(t->next);
				assert_null(t->prev);
				nr--;
			}
			if (step % 3) {
				t->due_ns = now + rng_below(&r, 1000);
				timerheap_insert(&heap, t);
				nr++;
			}
			break;
		case 2:
			if (t->pending) {
				timerheap_remove(&heap, t);
				nr--;
			}
			break;
		default:
			now += rng_below(&r, 40);
			while ((t = timerheap_pop_due(&heap, now))) {
				assert_true(t->due_ns <= now);
				assert_true(t->due_ns <= least_pending());
				nr--;
			}
			assert_true(least_pending() > now);
		}
		if (step % 64 == 0)
			check(nr);
		if (heap.root)
			assert_int_equal(timerheap_first(&heap)->due_ns, least_pending());
	}
	check(nr);
}

static void test_ends_of_time(void **state)
{
	timers[0].due_ns = UINT64_MAX;
	timers[1].due_ns = 0;
	timerheap_insert(&heap, &timers[0]);
	timerheap_insert(&heap, &timers[1]);
	assert_ptr_equal(timerheap_pop_due(&heap, 0), &timers[1]);
	assert_null(timerheap_pop_due(&heap, UINT64_MAX - 1));
	assert_ptr_equal(timerheap_pop_due(&heap, UINT64_MAX), &timers[0]);
}

static void insert(void *arg)
{
	timerheap_insert(&heap, arg);
}

static void remove_from(void *arg)
{
	timerheap_remove(&heap, arg);
}

static void test_misuse(void **state)
{
	timerheap_insert(&heap, &timers[0]);
	assert_true(host_expect_panic(insert, &timers[0]));
	assert_true(host_expect_panic(remove_from, &timers[1]));
	check(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, setup),
		cmocka_unit_test_setup(test_sorted, setup),
		cmocka_unit_test_setup(test_history, setup),
		cmocka_unit_test_setup(test_ends_of_time, setup),
		cmocka_unit_test_setup(test_misuse, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

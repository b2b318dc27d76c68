/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_delay - each class waits its time, where and in the order it came; a suspension lets all of
 * them go at once; what the table says loads again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/api/timer.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define REQS  240
#define CORES 3

static struct ramdisk *a, *b;
static uint8_t mem[REQS * 512] __aligned(PAGE_SIZE);

static struct req {
	struct bio bio;
	struct seg seg;
	uint64_t began_ns, ended_ns;
	unsigned core, nr_done;
	struct work work;
} reqs[REQS];
static unsigned order[REQS], nr_ended;

static int setup(void **state)
{
	int err = mapped_setup(state);

	memset(reqs, 0, sizeof(reqs));
	nr_ended = 0;
	host_set_cores(CORES);
	a = ramdisk_create("vda", 8192, NULL);
	b = ramdisk_create("vdb", 8192, NULL);
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(a);
	ramdisk_destroy(b);
	return mapped_teardown(state);
}

static void ended(struct bio *bio)
{
	struct req *r = bio->owner;

	assert_int_equal(bio->status, 0);
	assert_int_equal(this_core(), r->core);
	r->ended_ns = now_ns();
	r->nr_done++;
	order[nr_ended++] = (unsigned)(r - reqs);
}

static void begin(struct work *w)
{
	struct req *r = container_of(w, struct req, work);

	r->began_ns = now_ns();
	bio_submit(&r->bio);
}

static void send(unsigned i, const char *dev, enum bio_op op, sector_t sector, unsigned core)
{
	struct req *r = &reqs[i];

	r->bio = (struct bio){ .dev = mapped_bdev(dev),
		.op = (uint8_t)op,
		.sector = op == BIO_FLUSH ? 0 : sector,
		.nr_sectors = op != BIO_FLUSH,
		.done = ended,
		.owner = r };
	if (bio_has_data(&r->bio)) {
		r->seg = (struct seg){ dma_addr(mem + i * 512), 512 };
		r->bio.segs = &r->seg;
		r->bio.nr_segs = 1;
	}
	r->core = core;
	r->work.fn = begin;
	work_send(core, &r->work);
}

static uint64_t took(unsigned i)
{
	assert_int_equal(reqs[i].nr_done, 1);
	return (reqs[i].ended_ns - reqs[i].began_ns) / NS_PER_MS;
}

static void test_classes(void **state)
{
	assert_int_equal(
		mapped_create("d", "0 1024 delay /dev/vda 8 10 /dev/vdb 16 20 /dev/vda 0 0"), 0);
	assert_string_equal(mapped_status("d"), "0 1024 delay 0 0 0\n");
	send(0, "d", BIO_READ, 5, 0);
	send(1, "d", BIO_WRITE, 6, 1);
	send(2, "d", BIO_FLUSH, 0, 2);
	send(3, "d", BIO_DISCARD, 7, 0);
	host_run();
	assert_int_equal(reqs[2].nr_done, 1); /* not delayed at all */
	assert_string_equal(mapped_status("d"), "0 1024 delay 1 2 0\n");
	host_advance(9 * NS_PER_MS);
	assert_int_equal(nr_ended, 1);
	host_advance(2 * NS_PER_MS);
	assert_string_equal(mapped_status("d"), "0 1024 delay 0 2 0\n");
	host_advance(10 * NS_PER_MS);
	assert_int_equal(nr_ended, 4);
	assert_in_range(took(0), 10, 11);
	assert_in_range(took(1), 20, 21);
	assert_in_range(took(3), 20, 21);
	assert_int_equal(a->trace[0].sector, 5 + 8);
	assert_int_equal(b->nr[BIO_WRITE] + b->nr[BIO_DISCARD], 2);
	assert_int_equal(b->trace[0].sector, b->trace[0].op == BIO_WRITE ? 22 : 23);
}

static void test_tables(void **state)
{
	char words[3][64], table[200];

	str_printf(words[0], 64, " %u:%u 8 10", a->bdev.major, a->bdev.minor);
	str_printf(words[1], 64, " %u:%u 16 20", b->bdev.major, b->bdev.minor);
	str_printf(words[2], 64, " %u:%u 0 4294967295", a->bdev.major, a->bdev.minor);
	for (unsigned n = 1; n <= 3; n++) {
		str_printf(table, sizeof(table), "0 1024 delay%s%s%s\n", words[0],
			n > 1 ? words[1] : "", n > 2 ? words[2] : "");
		assert_int_equal(mapped_create("d", table), 0);
		assert_string_equal(mapped_table("d"), table);
		assert_int_equal(mapped_remove("d"), 0);
	}
}

/* In order of their class on each core, and none before its time. */
static void test_order(void **state)
{
	unsigned last[CORES] = { 0 }, i;

	assert_int_equal(mapped_create("d", "0 1024 delay /dev/vda 0 50"), 0);
	for (i = 0; i < REQS; i++) {
		send(i, "d", BIO_WRITE, i, i % CORES);
		if (i % 7 == 0)
			host_advance(NS_PER_MS);
	}
	host_advance(100 * NS_PER_MS);
	assert_int_equal(nr_ended, REQS);
	for (i = 0; i < REQS; i++) {
		unsigned k = order[i], core = k % CORES;

		assert_true(k >= last[core]);
		last[core] = k;
		assert_in_range(took(k), 50, 52);
	}
}

static void test_suspend(void **state)
{
	unsigned i;

	assert_int_equal(mapped_create("d", "0 1024 delay /dev/vda 0 100000"), 0);
	for (i = 0; i < 30; i++)
		send(i, "d", i % 2 ? BIO_READ : BIO_WRITE, i, i % CORES);
	host_run();
	assert_int_equal(nr_ended, 0);
	assert_int_equal(mapped_suspend("d"), 0);
	host_run();
	assert_int_equal(nr_ended, 30);
	assert_string_equal(mapped_status("d"), "0 1024 delay 0 0 0\n");
	/* and then it delays again; removal by force does not wait either */
	assert_int_equal(mapped_resume("d"), 0);
	send(30, "d", BIO_READ, 0, 1);
	host_run();
	assert_int_equal(nr_ended, 30);
	host_advance(99 * NS_PER_S);
	assert_int_equal(nr_ended, 30);
	host_advance(2 * NS_PER_S);
	assert_int_equal(nr_ended, 31);
}

static void test_no_memory(void **state)
{
	for (unsigned n = 1;; n++) {
		mapped_fail_alloc(n);
		if (!mapped_create("d", "0 1024 delay /dev/vda 0 1"))
			break;
		host_fail_alloc(0);
		assert_int_equal(a->bdev.open_count, 0);
	}
	host_fail_alloc(0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_classes),
		T(test_tables),
		T(test_order),
		T(test_suspend),
		T(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

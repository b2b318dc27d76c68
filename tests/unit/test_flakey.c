/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_flakey - up and down by the clock, and each thing that may go wrong while it is down; the
 * submitter's pages are never touched by what is corrupted on its way to the disk.
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

#define SECTORS 1024u

static struct ramdisk *rd;
static uint8_t out[64 * 512] __aligned(PAGE_SIZE), in[64 * 512] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);

	rd = ramdisk_create("vda", 8192, NULL);
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 ^ i >> 8);
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	return mapped_teardown(state);
}

static void create(const char *words)
{
	char table[160];

	str_printf(table, sizeof(table), "0 1024 flakey /dev/vda 8 %s", words);
	assert_int_equal(mapped_create("f", table), 0);
}

static int rw(enum bio_op op, unsigned flags, sector_t sector, uint32_t nr)
{
	return mapped_rw(mapped_bdev("f"), op, flags, sector, nr, op == BIO_READ ? in : out);
}

/* Two seconds up, three down, for as long as one likes. */
static void test_clock(void **state)
{
	create("2 3");
	for (unsigned s = 0; s < 40; s++) {
		int want = s % 5 < 2 ? 0 : -EIO;

		host_advance(NS_PER_S / 2);
		assert_int_equal(rw(BIO_WRITE, 0, s, 8), want);
		assert_int_equal(rw(BIO_READ, 0, s, 8), want);
		assert_int_equal(rw(BIO_DISCARD, 0, s, 8), want);
		assert_int_equal(rw(BIO_FLUSH, 0, 0, 0), want);
		host_advance(NS_PER_S / 2);
	}
	/* and anew from each load */
	assert_int_equal(mapped_load("f", "0 1024 flakey /dev/vda 8 1 100"), 0);
	assert_int_equal(mapped_resume("f"), 0);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), 0);
	host_advance(NS_PER_S);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), -EIO);
}

static void test_drop(void **state)
{
	create("0 1 1 drop_writes");
	rd->data[8 * 512] = 0x5a;
	assert_int_equal(rw(BIO_WRITE, 0, 0, 8), 0);
	assert_int_equal(rw(BIO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(rd->nr[BIO_WRITE], 0);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), 0);
	assert_int_equal(in[0], 0x5a);
}

static void test_errors(void **state)
{
	create("0 1 1 error_writes");
	assert_int_equal(rw(BIO_WRITE, 0, 0, 8), -EIO);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), 0);
	assert_int_equal(mapped_remove("f"), 0);
	create("0 1 1 error_reads");
	assert_int_equal(rw(BIO_WRITE, 0, 0, 8), 0);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), -EIO);
	assert_int_equal(mapped_remove("f"), 0);
	create("0 1 2 error_reads drop_writes");
	assert_int_equal(rw(BIO_WRITE, 0, 16, 8), 0);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), -EIO);
	assert_int_equal(rd->nr[BIO_WRITE], 1);
}

static void test_corrupt_read(void **state)
{
	memcpy(rd->data + 8 * 512, out, sizeof(out));
	create("0 1 5 corrupt_bio_byte 1000 r 77 0");
	assert_int_equal(rw(BIO_READ, 0, 0, 8), 0);
	assert_int_equal(in[999], 77);
	in[999] = out[999];
	assert_memory_equal(in, out, 4096);
	assert_memory_equal(rd->data + 8 * 512, out, sizeof(out));
	/* shorter than that: as it is */
	assert_int_equal(rw(BIO_READ, 0, 0, 1), 0);
	assert_memory_equal(in, out, 512);
	/* writes are not touched */
	assert_int_equal(rw(BIO_WRITE, 0, 100, 8), 0);
	assert_memory_equal(rd->data + 108 * 512, out, 4096);
}

static void test_corrupt_write(void **state)
{
	create("0 1 5 corrupt_bio_byte 1000 w 77 0");
	assert_int_equal(rw(BIO_WRITE, 0, 0, 8), 0);
	assert_int_equal(rd->data[8 * 512 + 999], 77);
	assert_int_equal(out[999], (uint8_t)(999 * 7 ^ 999 >> 8));
	rd->data[8 * 512 + 999] = out[999];
	assert_memory_equal(rd->data + 8 * 512, out, 4096);
	assert_int_equal(rw(BIO_READ, 0, 0, 8), 0);
	assert_memory_equal(in, out, 4096);
	assert_int_equal(mapped_remove("f"), 0);
	/* only those with FUA (1 << 17, as Linux counts) */
	create("0 1 5 corrupt_bio_byte 1 w 0 131072");
	out[0] = 0xa5;
	assert_int_equal(rw(BIO_WRITE, 0, 0, 8), 0);
	assert_int_equal(rd->data[8 * 512], 0xa5);
	assert_int_equal(rw(BIO_WRITE, BIO_FUA, 0, 8), 0);
	assert_int_equal(rd->data[8 * 512], 0);
	/* no memory for the copy: like a disk that is down */
	mapped_fail_alloc(1);
	assert_int_equal(rw(BIO_WRITE, BIO_FUA, 0, 8), -ENOMEM);
	host_fail_alloc(0);
	assert_int_equal(rw(BIO_WRITE, BIO_FUA, 0, 8), 0);
}

static unsigned differ(const uint8_t *a, const uint8_t *b, unsigned n)
{
	unsigned i, nr = 0;

	for (i = 0; i < n; i++)
		nr += a[i] != b[i];
	return nr;
}

static void test_random(void **state)
{
	unsigned i, hit = 0;

	create("0 1 4 random_read_corrupt 500000000 random_write_corrupt 0");
	assert_int_equal(rw(BIO_WRITE, 0, 0, 64), 0);
	for (i = 0; i < 400; i++) {
		unsigned n;

		assert_int_equal(rw(BIO_READ, 0, 0, 64), 0);
		n = differ(in, out, sizeof(out));
		assert_true(n <= 1);
		hit += n;
	}
	assert_in_range(hit, 140, 260);
	assert_int_equal(mapped_remove("f"), 0);
	create("0 1 2 random_write_corrupt 1000000000");
	for (hit = i = 0; i < 100; i++) {
		assert_int_equal(rw(BIO_WRITE, 0, 0, 64), 0);
		hit += differ(rd->data + 8 * 512, out, sizeof(out));
	}
	assert_in_range(hit, 90, 100);
}

/* What is printed is what is accepted, and says the same again. */
static void test_tables(void **state)
{
	static const char *const words[][2] = {
		{ "2 3", "2 3 0 " },
		{ "2 3 1 Drop_Writes", "2 3 1 drop_writes " },
		{ "2 3 7 error_reads drop_writes corrupt_bio_byte 5 R 1 2", NULL },
		{ "2 3 2 error_reads error_writes", "2 3 2 error_reads error_writes " },
		{ "2 3 9 random_write_corrupt 5 corrupt_bio_byte 5 w 1 2 random_read_corrupt 6",
			"2 3 9 corrupt_bio_byte 5 w 1 2 random_read_corrupt 6 "
			"random_write_corrupt 5 " },
	};
	char table[200], want[200];

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		str_printf(table, sizeof(table), "0 1024 flakey /dev/vda 8 %s", words[i][0]);
		if (!words[i][1]) { /* reads cannot both fail and be corrupted */
			assert_int_equal(mapped_create("f", table), -EINVAL);
			continue;
		}
		assert_int_equal(mapped_create("f", table), 0);
		str_printf(want, sizeof(want), "0 1024 flakey %u:%u 8 %s\n", rd->bdev.major,
			rd->bdev.minor, words[i][1]);
		assert_string_equal(mapped_table("f"), want);
		assert_int_equal(mapped_load("f", want), 0);
		assert_string_equal(mapped_inactive("f"), want);
		assert_int_equal(mapped_remove("f"), 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_clock),
		T(test_drop),
		T(test_errors),
		T(test_corrupt_read),
		T(test_corrupt_write),
		T(test_random),
		T(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_table - tables out of text: lines, words and places; text that is huge, hostile or random;
 * every allocation failing once; what limits come of the devices beneath; finding a target.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "mapper/mdev.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *a, *b;
static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);

	a = ramdisk_create("ram0", 10000, NULL);
	b = ramdisk_create("ram1", 10000, NULL);
	return err | mapped_create("m", "0 8 zero");
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(a);
	ramdisk_destroy(b);
	return mapped_teardown(state);
}

/* ---- text ---- */

static struct {
	const char *text;
	size_t len;
	int err;
	struct strbuf why;
} loaded;

static void load_run(void *arg)
{
	strbuf_reset(&loaded.why);
	loaded.err = dm_load(dm_find("m"), loaded.text, loaded.len, false, &loaded.why);
}

/* Of any bytes. */
static int load(const char *text, size_t len)
{
	loaded.text = text;
	loaded.len = len;
	host_fiber(load_run, NULL);
	return loaded.err;
}

static void test_lines(void **state)
{
	static const char *const same[] = {
		"0 8 zero\n8 8 error",
		"0 8 zero\n8 8 error\n",
		"\n\n  0   8\tzero   \n\t\n8 8 error\n\n\n",
		"0 8 zero\r\n8 8 error\r\n",
		"# a comment\n0 8 zero\n   # another: 8 8 linear\n8 8 error\n#",
		"00 08 zero\n0008 8 error",
		"0 8 z\\ero\n8 8 \\error \\",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(mapped_load("m", same[i]), 0);
		assert_string_equal(mapped_inactive("m"), "0 8 zero \n8 8 error \n");
	}
	/* A backslash takes a blank, and itself, into a word. */
	assert_int_equal(mapped_load("m", "0 8 linear ram\\ 0 0"), -ENODEV);
	assert_int_equal(mapped_load("m", "0 8 li\\\\near ram0 0"), -EINVAL);
	assert_string_equal(mapped_why(), "table line 1: li\\near: unknown target type");
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} no[] = {
		{ "", "no targets specified" },
		{ "\n \n# 0 8 zero\n", "no targets specified" },
		{ "0", "table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "0 8", "table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "x 8 zero", "table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "0 8x zero", "table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "-0 8 zero", "table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "0 99999999999999999999 zero",
			"table line 1: Invalid format: <start> <length> <target type> ..." },
		{ "0 0 zero", "table line 1: zero-length target" },
		{ "0 8 nobody", "table line 1: nobody: unknown target type" },
		{ "0 8 ZERO", "table line 1: ZERO: unknown target type" },
		{ "1 8 zero", "table line 1: zero: Gap in table" },
		{ "0 8 zero\n9 8 zero", "table line 2: zero: Gap in table" },
		{ "0 8 zero\n\n#\n7 8 zero", "table line 4: zero: Gap in table" },
		{ "0 8 zero\n0 8 zero", "table line 2: zero: Gap in table" },
		{ "0 8 zero\n8 8 zero\n8 8 error", "table line 3: error: Gap in table" },
		{ "0 18446744073709551615 zero", "table line 1: the device would be too large" },
		{ "0 8 zero\n8 18014398509481983 zero",
			"table line 2: the device would be too large" },
		{ "0 8 zero\n8 8 linear ram0 9993",
			"table line 2: ram0 too small for target: start=9993, len=8, "
			"dev_size=10000" },
	};

	assert_int_equal(mapped_load("m", "0 24 linear ram0 0"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_load("m", no[i].text), -EINVAL);
		assert_string_equal(mapped_why(), no[i].words);
		/* What was there before is there still. */
		assert_non_null(strstr(mapped_inactive("m"), "0 24 linear "));
		assert_string_equal(mapped_table("m"), "0 8 zero \n");
		assert_int_equal(a->bdev.open_count, 1);
	}
	assert_int_equal(load("0 8 ze\0ro", 9), -EINVAL);
	assert_string_equal(strbuf_text(&loaded.why), "table line 1: there is a zero byte in it");
	strbuf_free(&loaded.why);
}

static void test_huge(void **state)
{
	size_t max = DM_TABLE_MAX;
	char *text = malloc(max + 1), *p = text;
	unsigned lines = 0;

	/* One word of 16 MiB. */
	memset(text, 'x', max + 1);
	memcpy(text, "0 8 zero ", 9);
	assert_int_equal(load(text, max), -EINVAL);
	assert_string_equal(strbuf_text(&loaded.why), "table line 1: zero: No arguments required");
	assert_int_equal(load(text, max + 1), -E2BIG);
	assert_string_equal(strbuf_text(&loaded.why), "the table is larger than 16 MiB");
	/* As many words as fit: there is memory for them or there is not. */
	for (size_t i = 9; i < max; i++)
		text[i] = i % 2 ? ' ' : 'y';
	load(text, max);
	assert_true(loaded.err == -EINVAL || loaded.err == -ENOMEM);
	/* Nothing but line ends. */
	memset(text, '\n', max);
	assert_int_equal(load(text, max), -EINVAL);
	/* Many lines, and a mistake in the last. */
	while (lines < 100000) {
		p += str_printf(p, 64, "%u 3 linear ram%u %u\n", lines * 3, lines % 2, lines % 997);
		lines++;
	}
	memcpy(p, "7 7 zero", 8);
	assert_int_equal(load(text, (size_t)(p - text) + 8), -EINVAL);
	assert_string_equal(strbuf_text(&loaded.why), "table line 100001: zero: Gap in table");
	assert_int_equal(a->bdev.open_count, 0);
	assert_int_equal(load(text, (size_t)(p - text)), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_equal(mapped_info("m").nr_targets, lines);
	assert_int_equal(mapped_bdev("m")->nr_sectors, lines * 3);
	/* Every one of them is found. */
	for (unsigned i = 0; i < lines; i += 97) {
		struct ramdisk *rd = i % 2 ? b : a;

		memset(page, (int)i, 512);
		assert_int_equal(
			mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, i * 3 + i % 3, 1, page), 0);
		assert_int_equal(rd->data[(i % 997 + i % 3) * 512], (uint8_t)i);
	}
	free(text);
	strbuf_free(&loaded.why);
}

/* Some lines that could be right, of which some bytes are changed or words repeated. */
static void random_text(struct rng *rng, struct strbuf *text)
{
	static const char *const bits[] = { "zero", "error", "linear ram0 7", "linear 253:0 0",
		"striped 2 8 ram0 0 ram1 16", "striped 1 4 ram1 5", "linear /dev/ram1 9990",
		"zero 1", "error some words", "striped 3 8 ram0 0", "linear ram0", "nobody", "" };
	static const char odd[] = "0123456789 \t\n\\#:-x\r/";
	unsigned at = 0;

	for (uint64_t n = rng_below(rng, 5); n; n--) {
		unsigned len = rng_below(rng, 8) ? 16 : (unsigned)rng_below(rng, 20);

		strbuf_printf(text, "%u %u %s\n", at, len, bits[rng_below(rng, ARRAY_SIZE(bits))]);
		at += len;
	}
	for (uint64_t n = rng_below(rng, 3); n && text->len; n--) {
		char *p = &text->data[rng_below(rng, text->len)];

		if (rng_below(rng, 2))
			*p = odd[rng_below(rng, sizeof(odd) - 1)];
		else
			*p = (char)rng_u64(rng);
	}
}

static void test_random_text(void **state)
{
	unsigned good = 0;

	for (unsigned seed = 0; seed < 20000; seed++) {
		struct strbuf text = { 0 };
		struct rng rng;

		rng_seed(&rng, seed);
		random_text(&rng, &text);
		if (!load(strbuf_text(&text), text.len)) {
			char *printed = strdup(mapped_inactive("m"));

			/* What it prints it takes, and prints the same. */
			assert_int_equal(mapped_load("m", printed), 0);
			assert_string_equal(mapped_inactive("m"), printed);
			free(printed);
			good++;
			assert_int_equal(mapped_clear("m"), 0);
		} else {
			assert_true(strbuf_text(&loaded.why)[0]);
			assert_null(strchr(strbuf_text(&loaded.why), '\n'));
		}
		assert_int_equal(a->bdev.open_count, 0);
		assert_int_equal(b->bdev.open_count, 0);
		strbuf_free(&text);
	}
	assert_in_range(good, 1000, 19000);
	strbuf_free(&loaded.why);
}

static void test_no_memory(void **state)
{
	static const char text[] = "0 16 striped 2 8 ram0 0 ram1 0\n16 8 zero\n24 8 linear ram1 50";
	unsigned n, failed = 0;
	int err;

	assert_int_equal(mapped_load("m", "0 9 linear ram1 0"), 0);
	for (n = 1;; n++) {
		mapped_fail_alloc(n);
		err = mapped_load("m", text);
		if (!host_alloc_failed())
			break;
		if (!err)
			continue; /* only words of a reason were lost */
		failed++;
		assert_int_equal(err, -ENOMEM);
		assert_non_null(strstr(mapped_inactive("m"), "0 9 linear"));
		assert_int_equal(a->bdev.open_count, 0);
		assert_int_equal(b->bdev.open_count, 1);
	}
	assert_int_equal(err, 0);
	assert_true(failed >= 12);
}

/* ---- limits ---- */

static struct ramdisk *disk(const char *name, uint32_t logical, uint32_t physical)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = logical;
	l.physical_block = physical;
	l.io_min = physical;
	return ramdisk_create(name, 8000, &l);
}

static void test_blocks(void **state)
{
	struct ramdisk *k4 = disk("k4", 4096, 4096);

	assert_int_equal(mapped_load("m", "0 80 linear k4 8"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_equal(mapped_bdev("m")->limits.logical_block, 4096);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 1, 1, page), -EINVAL);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 8, 8, page), 0);
	assert_int_equal(mapped_load("m", "0 80 linear k4 4"), -EINVAL);
	assert_string_equal(mapped_why(),
		"table line 1: start=4 not aligned to h/w logical block size 4096 of k4");
	assert_int_equal(mapped_load("m", "0 4 linear k4 0"), -EINVAL);
	assert_string_equal(mapped_why(),
		"table line 1: len=4 not aligned to h/w logical block size 4096 of k4");
	assert_int_equal(mapped_load("m", "0 4 linear ram0 0\n4 8 linear k4 0"), -EINVAL);
	assert_string_equal(mapped_why(), "table line 0 (start sect 0 len 4) not aligned to h/w "
					  "logical block size 4096");
	assert_int_equal(mapped_load("m", "0 8 linear ram0 1\n8 8 linear k4 0"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_equal(mapped_load("m", "0 8 zero"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_equal(mapped_bdev("m")->limits.logical_block, 512);
	ramdisk_destroy(k4);
}

static void test_offers(void **state)
{
	struct limits l;
	struct ramdisk *c;
	const struct limits *got = &mapped_bdev("m")->limits;

	limits_default(&l);
	l.write_cache = true;
	c = ramdisk_create("plain", 100, &l); /* no discard, no write zeroes */
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_not_equal(got->max_discard_sectors, 0);
	assert_int_not_equal(got->max_write_zeroes_sectors, 0);
	assert_int_equal(got->max_secure_erase_sectors, 0);
	assert_false(got->write_cache);
	/* One that cannot takes it from all. */
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0\n8 8 linear plain 0"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_equal(got->max_discard_sectors, 0);
	assert_int_equal(got->max_write_zeroes_sectors, 0);
	assert_true(got->write_cache);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_DISCARD, 0, 0, 8, NULL), -EOPNOTSUPP);
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0\n8 8 zero\n16 8 error"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_int_not_equal(got->max_discard_sectors, 0);
	assert_false(got->write_cache);
	ramdisk_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_lines),
		T(test_refused),
		T(test_huge),
		T(test_random_text),
		T(test_no_memory),
		T(test_blocks),
		T(test_offers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

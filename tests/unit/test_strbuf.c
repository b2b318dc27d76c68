/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_strbuf - text that grows, and the formatter: judged by the C library's snprintf over every
 * combination of flags, widths, precisions, lengths and awkward numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "tests/host/host.h"

#pragma GCC diagnostic ignored "-Wformat-nonliteral"

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

/* ---- the formatter ---- */

static unsigned nr_compared;

static void __printf(1, 2) compare(const char *fmt, ...)
{
	char ours[512], theirs[512];
	size_t len;
	int want;
	va_list ap;

	va_start(ap, fmt);
	want = vsnprintf(theirs, sizeof(theirs), fmt, ap);
	va_end(ap);
	va_start(ap, fmt);
	len = str_vprintf(ours, sizeof(ours), fmt, ap);
	va_end(ap);
	nr_compared++;
	if (len == (size_t)want && !strcmp(ours, theirs))
		return;
	print_error("format \"%s\": ours \"%s\" (%zu), libc \"%s\" (%d)\n", fmt, ours, len, theirs,
		want);
	fail();
}

static const char *const flag_sets[] = { "", "-", "0", "+", " ", "#", "-0", "+0", " 0", "#0", "-#",
	"+-", "+ ", "#-0", "+#0" };
static const char *const widths[] = { "", "1", "2", "7", "30" };
static const char *const precisions[] = { "", ".", ".0", ".1", ".5", ".25" };

static const uint64_t numbers[] = { 0, 1, 7, 8, 9, 10, 127, 128, 255, 256, 32767, 32768, 65535,
	65536, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
	0x8000000000000000, 0xfffffffffffffffe, UINT64_MAX, 8589934592, 12345678901234567890u };

static void compare_number(const char *length, const char *fmt, uint64_t v)
{
	if (!strcmp(length, "l"))
		compare(fmt, (unsigned long)v);
	else if (!strcmp(length, "ll"))
		compare(fmt, (unsigned long long)v);
	else if (!strcmp(length, "z"))
		compare(fmt, (size_t)v);
	else if (!strcmp(length, "t"))
		compare(fmt, (ptrdiff_t)v);
	else if (!strcmp(length, "j"))
		compare(fmt, (uintmax_t)v);
	else
		compare(fmt, (unsigned)v);
}

static void test_integers(void **state)
{
	static const char *const lengths[] = { "", "hh", "h", "l", "ll", "z", "t", "j" };
	char fmt[64];

	nr_compared = 0;
	for (unsigned f = 0; f < ARRAY_SIZE(flag_sets); f++)
		for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
			for (unsigned p = 0; p < ARRAY_SIZE(precisions); p++)
				for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++)
					for (const char *c = "diuxXo"; *c; c++) {
						snprintf(fmt, sizeof(fmt), "<%%%s%s%s%s%c>",
							flag_sets[f], widths[w], precisions[p],
							lengths[l], *c);
						for (unsigned n = 0; n < ARRAY_SIZE(numbers); n++)
							compare_number(lengths[l], fmt, numbers[n]);
					}
	assert_true(nr_compared > 400000);
}

static void test_strings(void **state)
{
	static const char *const words[] = { "", "x", "five5",
		"something longer than thirty letters" };
	char fmt[64];

	for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
		for (unsigned p = 0; p < ARRAY_SIZE(precisions); p++)
			for (unsigned left = 0; left < 2; left++) {
				snprintf(fmt, sizeof(fmt), "[%%%s%s%ss]", left ? "-" : "",
					widths[w], precisions[p]);
				for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
					compare(fmt, words[i]);
			}
}

static void test_rest(void **state)
{
	const char unterminated[3] = { 'a', 'b', 'c' };
	char out[64];
	volatile const char *null = NULL;

	compare("%c%5c%-5c|", 'a', 'b', 'c');
	compare("100%% of %s", "it");
	compare("%*d|%-*d|%*d|", 6, 42, 6, 42, -6, 42);
	compare("%.*d|%.*d|%.*s|", 4, 7, -1, 7, 2, "cut");
	compare("%p %20p %-20p|", (void *)0x1234abcd, (void *)0x10, (void *)UINTPTR_MAX);
	compare("%p|%10p|", NULL, NULL);
	compare("%.3s|%5.2s|", unterminated, unterminated);
	compare("no conversion");
	compare("%s", "");
	str_printf(out, sizeof(out), "%s|%.3s|%8s", (const char *)null, (const char *)null,
		(const char *)null);
	assert_string_equal(out, "(null)||  (null)");
	assert_int_equal(str_printf(out, sizeof(out), "%c", 0), 1);
}

static void bad_conversion(void *arg)
{
	char out[16];

	str_printf(out, sizeof(out), arg, 1);
}

static void test_bad_conversion(void **state)
{
	char fmt[] = "%y";

	assert_true(host_expect_panic(bad_conversion, fmt));
	assert_string_equal(host_panic_text(), "printf: unknown conversion %y");
}

static void test_array(void **state)
{
	char a[8];

	memset(a, 'x', sizeof(a));
	assert_int_equal(str_printf(a, 4, "%d", 123456), 6);
	assert_string_equal(a, "123");
	assert_int_equal(a[4], 'x');
	assert_int_equal(str_printf(a, 1, "abc"), 3);
	assert_string_equal(a, "");
	assert_int_equal(str_printf(a, 8, "%100d", 1), 100);
	assert_string_equal(a, "       ");
	assert_int_equal(str_printf(a, 8, "1234567"), 7);
	assert_string_equal(a, "1234567");
}

/* ---- the buffer ---- */

static void test_grow(void **state)
{
	struct strbuf sb = { 0 };
	char want[4000] = "";

	assert_string_equal(strbuf_text(&sb), "");
	for (unsigned i = 0; i < 500; i++) {
		strbuf_printf(&sb, "%u,", i);
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "%u,", i);
		assert_int_equal(sb.len, strlen(sb.data));
	}
	assert_string_equal(strbuf_text(&sb), want);
	assert_false(sb.truncated);
	strbuf_reset(&sb);
	assert_string_equal(strbuf_text(&sb), "");
	strbuf_putc(&sb, 'a');
	strbuf_puts(&sb, "bc");
	strbuf_write(&sb, "d\0e", 3);
	strbuf_write(&sb, NULL, 0);
	assert_int_equal(sb.len, 6);
	assert_memory_equal(sb.data, "abcd\0e", 7);
	strbuf_free(&sb);
	assert_string_equal(strbuf_text(&sb), "");
	strbuf_puts(&sb, "again");
	assert_string_equal(strbuf_text(&sb), "again");
	strbuf_free(&sb);
}

static void test_limit(void **state)
{
	struct strbuf sb;

	strbuf_init(&sb, 11);
	strbuf_puts(&sb, "0123456789");
	assert_false(sb.truncated);
	strbuf_puts(&sb, "x");
	assert_true(sb.truncated);
	assert_string_equal(strbuf_text(&sb), "0123456789");
	strbuf_reset(&sb);
	assert_false(sb.truncated);
	strbuf_printf(&sb, "%s", "abcdefghijklmnop");
	assert_true(sb.truncated);
	assert_string_equal(strbuf_text(&sb), "abcdefghij");
	strbuf_free(&sb);
	strbuf_init(&sb, 1);
	strbuf_puts(&sb, "x");
	assert_true(sb.truncated);
	assert_string_equal(strbuf_text(&sb), "");
	strbuf_free(&sb);
}

static void test_fixed(void **state)
{
	struct strbuf sb;
	char room[6] = "stale";

	strbuf_init_fixed(&sb, room, sizeof(room));
	assert_string_equal(strbuf_text(&sb), "");
	strbuf_puts(&sb, "abcde");
	assert_false(sb.truncated);
	strbuf_putc(&sb, 'f');
	assert_true(sb.truncated);
	assert_string_equal(room, "abcde");
	strbuf_free(&sb);
	strbuf_puts(&sb, "ok");
	assert_string_equal(room, "ok");
	strbuf_init_fixed(&sb, NULL, 0);
	strbuf_puts(&sb, "x");
	assert_true(sb.truncated);
	assert_string_equal(strbuf_text(&sb), "");
}

/* Out of memory at any point: what fitted stays, terminated, and the buffer knows. */
static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		struct strbuf sb = { 0 };
		bool failed;

		host_fail_alloc(n);
		for (unsigned i = 0; i < 50; i++)
			strbuf_printf(&sb, "%010u\n", i);
		failed = host_alloc_failed();
		assert_int_equal(strlen(strbuf_text(&sb)), sb.len);
		if (!sb.truncated)
			assert_int_equal(sb.len, 50 * 11);
		strbuf_free(&sb);
		if (!failed)
			break;
	}
	assert_in_range(n, 3, 20);
}

/* One failure is overcome by asking for less; when even that fails, it shows. */
static void test_truncated_by_memory(void **state)
{
	struct strbuf sb = { 0 };
	static char big[65 << 20];

	strbuf_puts(&sb, "head ");
	memset(big, 'x', sizeof(big) - 1);
	strbuf_puts(&sb, big); /* more than mem_alloc() has on the host */
	assert_true(sb.truncated);
	assert_true(!strncmp(strbuf_text(&sb), "head x", 6) || !strcmp(strbuf_text(&sb), "head "));
	assert_int_equal(strlen(strbuf_text(&sb)), sb.len);
	strbuf_free(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_integers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_conversion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_array, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fixed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated_by_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

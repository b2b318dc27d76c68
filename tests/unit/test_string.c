/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_string - the kernel's string functions beside the C library's.  The kernel's source is
 * compiled in here as the kernel sees it, its functions under names beginning with k_.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"

#undef KERNEL_API_STRING_H
#pragma GCC diagnostic ignored "-Wbuiltin-macro-redefined"
#undef __STDC_HOSTED__
#define __STDC_HOSTED__ 0
#define memcpy          k_memcpy
#define memmove         k_memmove
#define memset          k_memset
#define memcmp          k_memcmp
#define memchr          k_memchr
#define strlen          k_strlen
#define strnlen         k_strnlen
#define strcmp          k_strcmp
#define strncmp         k_strncmp
#define strcasecmp      k_strcasecmp
#define strncasecmp     k_strncasecmp
#define strchr          k_strchr
#define strrchr         k_strrchr
#define strstr          k_strstr
#define copy_data       k_copy_data
#define copied_data     k_copied_data
#define str_copy        k_str_copy
#define str_to_u64      k_str_to_u64
#include "kernel/lib/string.c" /* NOLINT(bugprone-suspicious-include) */
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strcasecmp
#undef strncasecmp
#undef strchr
#undef strrchr
#undef strstr
#undef str_copy
#undef str_to_u64
#undef __STDC_HOSTED__
#define __STDC_HOSTED__ 1

#define ROOM 700

static unsigned char a[ROOM], b[ROOM], src[ROOM];

static void fill(void)
{
	for (unsigned i = 0; i < ROOM; i++) {
		a[i] = b[i] = (unsigned char)(i * 7 + 3);
		src[i] = (unsigned char)(i * 13 + 101);
	}
}

/* Lengths around every threshold, all small misalignments, and nothing written beyond. */
static void test_memcpy(void **state)
{
	for (size_t n = 0; n < 300; n++)
		for (unsigned d = 0; d < 9; d++)
			for (unsigned s = 0; s < 9; s += 1 + n / 40) {
				fill();
				memcpy(a + 20 + d, src + s, n);
				assert_ptr_equal(k_memcpy(b + 20 + d, src + s, n), b + 20 + d);
				assert_memory_equal(a, b, ROOM);
			}
}

static void test_memmove(void **state)
{
	for (size_t n = 0; n < 200; n++)
		for (int shift = -40; shift <= 40; shift += 1 + (int)n / 30) {
			fill();
			memmove(a + 100 + shift, a + 100, n);
			assert_ptr_equal(k_memmove(b + 100 + shift, b + 100, n), b + 100 + shift);
			assert_memory_equal(a, b, ROOM);
		}
}

static void test_memset(void **state)
{
	for (size_t n = 0; n < 300; n++)
		for (unsigned d = 0; d < 9; d++) {
			fill();
			memset(a + d, (int)n, n);
			assert_ptr_equal(k_memset(b + d, (int)n + 256, n), b + d);
			assert_memory_equal(a, b, ROOM);
		}
}

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

static void test_memcmp(void **state)
{
	for (size_t n = 0; n < 70; n++)
		for (size_t at = 0; at < n + 3; at++) {
			fill();
			assert_int_equal(k_memcmp(a + 1, b + 1, n), 0);
			b[1 + at] ^= 0x80;
			assert_int_equal(
				sign(k_memcmp(a + 1, b + 1, n)), sign(memcmp(a + 1, b + 1, n)));
			assert_int_equal(
				sign(k_memcmp(b + 1, a + 1, n)), sign(memcmp(b + 1, a + 1, n)));
		}
	/* The first difference decides, not the last. */
	assert_true(k_memcmp("aZ345678x", "bA345678x", 9) < 0);
}

/* Every pair of these; copies of exact size, so that the sanitizer sees a byte read too far. */
static const char *const words[] = { "", "a", "A", "b", "ab", "aB", "abc", "ABC", "abcabc", "zz",
	"ZZ", "\x80", "\xff", "@", "[", "`", "{", "0", "aaaaab", "hello world", "HELLO WORLD" };

static char *exact(const char *s)
{
	char *p = malloc(strlen(s) + 1);

	assert_non_null(p);
	memcpy(p, s, strlen(s) + 1);
	return p;
}

static void test_compare(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(words); j++) {
			char *x = exact(words[i]), *y = exact(words[j]);

			assert_int_equal(sign(k_strcmp(x, y)), sign(strcmp(x, y)));
			assert_int_equal(sign(k_strcasecmp(x, y)), sign(strcasecmp(x, y)));
			for (size_t n = 0; n < 8; n++) {
				assert_int_equal(sign(k_strncmp(x, y, n)), sign(strncmp(x, y, n)));
				assert_int_equal(
					sign(k_strncasecmp(x, y, n)), sign(strncasecmp(x, y, n)));
			}
			assert_ptr_equal(k_strstr(x, y), strstr(x, y));
			free(x);
			free(y);
		}
}

static void test_search(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		char *x = exact(words[i]);
		size_t len = strlen(x);

		assert_int_equal(k_strlen(x), len);
		for (size_t n = 0; n < 14; n++)
			assert_int_equal(k_strnlen(x, MIN(n, len + 1)), strnlen(x, n));
		for (int c = 0; c < 256; c++) {
			assert_ptr_equal(k_strchr(x, c), strchr(x, c));
			assert_ptr_equal(k_strrchr(x, c), strrchr(x, c));
			assert_ptr_equal(k_memchr(x, c, len), memchr(x, c, len));
		}
		free(x);
	}
}

static void test_str_copy(void **state)
{
	char to[5];

	assert_true(k_str_copy(to, sizeof(to), ""));
	assert_string_equal(to, "");
	assert_true(k_str_copy(to, sizeof(to), "abcd"));
	assert_string_equal(to, "abcd");
	assert_false(k_str_copy(to, sizeof(to), "vwxyz"));
	assert_string_equal(to, "vwxy");
	assert_false(k_str_copy(to, 1, "a"));
	assert_string_equal(to, "");
}

static const struct {
	const char *text;
	unsigned base;
	uint64_t max;
	int err;
	uint64_t value;
} numbers[] = {
	{ "0", 10, UINT64_MAX, 0, 0 },
	{ "007", 10, UINT64_MAX, 0, 7 },
	{ "18446744073709551615", 10, UINT64_MAX, 0, UINT64_MAX },
	{ "18446744073709551616", 10, UINT64_MAX, -ERANGE, 0 },
	{ "99999999999999999999999999", 10, UINT64_MAX, -ERANGE, 0 },
	{ "18446744073709551616x", 10, UINT64_MAX, -EINVAL, 0 },
	{ "255", 10, 255, 0, 255 },
	{ "256", 10, 255, -ERANGE, 0 },
	{ "", 10, UINT64_MAX, -EINVAL, 0 },
	{ "-1", 10, UINT64_MAX, -EINVAL, 0 },
	{ "+1", 10, UINT64_MAX, -EINVAL, 0 },
	{ " 1", 10, UINT64_MAX, -EINVAL, 0 },
	{ "1 ", 10, UINT64_MAX, -EINVAL, 0 },
	{ "1x", 10, UINT64_MAX, -EINVAL, 0 },
	{ "a", 10, UINT64_MAX, -EINVAL, 0 },
	{ "\xff", 10, UINT64_MAX, -EINVAL, 0 },
	{ "fF", 16, UINT64_MAX, 0, 255 },
	{ "0x10", 16, UINT64_MAX, -EINVAL, 0 },
	{ "ffffffffffffffff", 16, UINT64_MAX, 0, UINT64_MAX },
	{ "10000000000000000", 16, UINT64_MAX, -ERANGE, 0 },
	{ "0x1f", 0, UINT64_MAX, 0, 31 },
	{ "0X1F", 0, UINT64_MAX, 0, 31 },
	{ "0x", 0, UINT64_MAX, -EINVAL, 0 },
	{ "017", 0, UINT64_MAX, 0, 15 },
	{ "018", 0, UINT64_MAX, -EINVAL, 0 },
	{ "0", 0, UINT64_MAX, 0, 0 },
	{ "12", 0, UINT64_MAX, 0, 12 },
	{ "zz", 36, UINT64_MAX, 0, 35 * 36 + 35 },
	{ "102", 2, UINT64_MAX, -EINVAL, 0 },
};

static void test_str_to_u64(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint64_t v = 4711;

		assert_int_equal(k_str_to_u64(numbers[i].text, numbers[i].base, numbers[i].max, &v),
			numbers[i].err);
		assert_int_equal(v, numbers[i].err ? 4711 : numbers[i].value);
	}
}

static void test_err_text(void **state)
{
	/* Where glibc's words are Linux's, which is everywhere. */
	for (int e = 0; e < 134; e++) {
		char unknown[32];

		str_printf(unknown, sizeof(unknown), "Unknown error %d", e);
		if (strcmp(err_text(e), unknown) != 0)
			assert_string_equal(err_text(-e), strerror(e));
	}
	assert_string_equal(err_text(-EBUSY), "Device or resource busy");
	assert_string_equal(err_text(100000), "Unknown error 100000");
	assert_string_equal(err_text(-100000), "Unknown error 100000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memcpy),
		cmocka_unit_test(test_memmove),
		cmocka_unit_test(test_memset),
		cmocka_unit_test(test_memcmp),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_str_copy),
		cmocka_unit_test(test_str_to_u64),
		cmocka_unit_test(test_err_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

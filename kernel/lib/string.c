/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * string - memory and text.  The C library's names exist here for the kernel only (the compiler
 * calls some of them by itself); hosted builds use the host's.
 *
 * Emulators take one step per element of a string instruction, so the moves are rep movsq and
 * stosq, never the byte forms; short and ragged ends go by overlapping words.
 */
#define STRING_C /* the functions themselves */
#include "kernel/api/string.h"
#include "kernel/api/errno.h"

#if !__STDC_HOSTED__

typedef uint64_t __attribute__((may_alias, aligned(1))) word64;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32;
typedef uint16_t __attribute__((may_alias, aligned(1))) word16;

/* Under 17 bytes.  Reads all before it writes, so source and destination may overlap. */
static inline void move_short(char *d, const char *s, size_t n)
{
	if (n >= 8) {
		uint64_t a = *(const word64 *)s, b = *(const word64 *)(s + n - 8);

		*(word64 *)d = a;
		*(word64 *)(d + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const word32 *)s, b = *(const word32 *)(s + n - 4);

		*(word32 *)d = a;
		*(word32 *)(d + n - 4) = b;
	} else if (n >= 2) {
		uint16_t a = *(const word16 *)s, b = *(const word16 *)(s + n - 2);

		*(word16 *)d = a;
		*(word16 *)(d + n - 2) = b;
	} else if (n) {
		*d = *s;
	}
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	char *d = dst;
	const char *s = src;
	size_t words = n / 8;

	if (n <= 16) {
		move_short(d, s, n);
		return dst;
	}
	/* The last eight bytes, which may overlap the words before them. */
	*(word64 *)(d + n - 8) = *(const word64 *)(s + n - 8);
	if (words < 16) {
		for (; words; words--, d += 8, s += 8)
			*(word64 *)d = *(const word64 *)s;
		return dst;
	}
	__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	char *d = dst;
	const char *s = src;
	uint64_t first, last;

	if (n <= 16) {
		move_short(d, s, n);
		return dst;
	}
	if (d == s)
		return dst;
	first = *(const word64 *)s;
	last = *(const word64 *)(s + n - 8);
	if ((uintptr_t)d < (uintptr_t)s) {
		for (size_t i = 0; i + 8 <= n; i += 8)
			*(word64 *)(d + i) = *(const word64 *)(s + i);
		*(word64 *)(d + n - 8) = last;
	} else {
		for (size_t i = n; i >= 8; i -= 8)
			*(word64 *)(d + i - 8) = *(const word64 *)(s + i - 8);
		*(word64 *)d = first;
	}
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	char *d = dst;
	uint64_t v = 0x0101010101010101ull * (unsigned char)c;
	size_t words = n / 8;

	if (n < 8) {
		while (n--)
			*(volatile char *)d++ = (char)c; /* volatile: not to become a memset */
		return dst;
	}
	*(word64 *)(d + n - 8) = v;
	if (words < 16) {
		for (; words; words--, d += 8)
			*(word64 *)d = v;
		return dst;
	}
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(v) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n >= 8 && *(const word64 *)x == *(const word64 *)y; n -= 8, x += 8, y += 8)
		;
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	for (const unsigned char *p = s; n; n--, p++)
		if (*p == (unsigned char)c)
			return (void *)(uintptr_t)p;
	return NULL;
}

size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

static int lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : (unsigned char)c;
}

int strncasecmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (lower(*a) != lower(*b) || !*a)
			return lower(*a) - lower(*b);
	return 0;
}

int strcasecmp(const char *a, const char *b)
{
	return strncasecmp(a, b, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)(uintptr_t)s;
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	do {
		if (*s == (char)c)
			last = s;
	} while (*s++);
	return (char *)(uintptr_t)last;
}

char *strstr(const char *s, const char *sub)
{
	size_t n = strlen(sub);

	for (;; s++) {
		if (!strncmp(s, sub, n))
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

#endif

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strnlen(src, size);
	bool fits = len < size;

	if (!fits)
		len = size - 1;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return fits;
}

/* 0..35, or 36 for what is no digit in any base. */
static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A') + 10;
	return 36;
}

int str_to_u64(const char *s, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	bool over = false;

	if (base == 0) {
		base = 10;
		if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
			base = 16;
			s += 2;
		} else if (s[0] == '0') {
			base = 8;
		}
	}
	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned d = digit_value(*s);

		if (d >= base)
			return -EINVAL;
		over |= __builtin_mul_overflow(v, (uint64_t)base, &v);
		over |= __builtin_add_overflow(v, (uint64_t)d, &v);
	}
	if (over || v > max)
		return -ERANGE;
	*out = v;
	return 0;
}

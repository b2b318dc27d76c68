/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * base - the words every other file uses: fixed-width types, sectors and pages,
 * container_of, bounds arithmetic, ASSERT.  No code of its own.
 */
#ifndef KERNEL_API_BASE_H
#define KERNEL_API_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t sector_t; /* always units of 512 bytes, whatever a disk's block size */

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512u
#define PAGE_SHIFT   12
#define PAGE_SIZE    4096u

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#define ARRAY_SIZE(a)            (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                ((a) < (b) ? (a) : (b))
#define MAX(a, b)                ((a) > (b) ? (a) : (b))
#define DIV_ROUND_UP(n, d)       (((n) + (d)-1) / (d))
#define ROUND_UP_POW2(n, p)      (((n) + (p)-1) & ~((p)-1)) /* p: a power of two, n's type */
#define container_of(p, type, m) ((type *)((char *)(p)-offsetof(type, m)))

#define likely(x)      __builtin_expect(!!(x), 1)
#define unlikely(x)    __builtin_expect(!!(x), 0)
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __must_check   __attribute__((warn_unused_result))
#define __noreturn     __attribute__((noreturn))
#define __packed       __attribute__((packed))
#define __aligned(n)   __attribute__((aligned(n)))
#define __unused       __attribute__((unused))

/* Marks a function that may switch fibers: call it on a fiber only, and look again at what you
 * read before it.  For the reader; the compiler does not check it. */
#define may_block

static inline bool is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* floor(log2(n)); n must not be 0. */
static inline unsigned ilog2(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

/*
 * The machine stops: words on every console, registers, backtrace, build id.  Only for our own
 * broken invariants; bad input, bad media and bad firmware are answered with an error instead.
 */
void panic(const char *fmt, ...) __printf(1, 2) __noreturn;

#define ASSERT(x)                                                           \
	do {                                                                \
		if (unlikely(!(x)))                                         \
			panic("%s:%d: ASSERT(%s)", __FILE__, __LINE__, #x); \
	} while (0)

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto - kernel/api/crypto.h by Mbed TLS (digests) and ISA-L (checksums).  Only this folder
 * includes their headers.
 */
#include ".deps/isal/include/crc.h"
#include "mbedtls/md5.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/sha256.h"
#include "kernel/api/crypto.h"
#include "kernel/api/string.h"

_Static_assert(sizeof(mbedtls_sha256_context) <= sizeof(struct sha256), "the context fits");
_Static_assert(_Alignof(mbedtls_sha256_context) <= _Alignof(struct sha256), "and is aligned");

static mbedtls_sha256_context *context(struct sha256 *s)
{
	return (mbedtls_sha256_context *)s->state;
}

/* What the library calls to forget; the asm makes the compiler believe that someone looks. */
void mbedtls_platform_zeroize(void *buf, size_t len)
{
	memset(buf, 0, len);
	__asm__ volatile("" : : "r"(buf) : "memory");
}

/* The library's functions fail only for hardware engines and wrong arguments of our own. */

void sha256_init(struct sha256 *s)
{
	int err;

	mbedtls_sha256_init(context(s));
	err = mbedtls_sha256_starts(context(s), 0);
	ASSERT(!err);
}

void sha256_update(struct sha256 *s, const void *p, size_t n)
{
	int err = mbedtls_sha256_update(context(s), p, n);

	ASSERT(!err);
}

void sha256_final(struct sha256 *s, uint8_t digest[SHA256_SIZE])
{
	int err = mbedtls_sha256_finish(context(s), digest);

	ASSERT(!err);
	mbedtls_sha256_free(context(s)); /* what was hashed may have been a secret */
}

uint32_t crc32(uint32_t crc, const void *p, size_t n)
{
	/* The library forgot the const; it only reads. */
	return crc32_gzip_refl_base(crc, (uint8_t *)(uintptr_t)p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	return ~crc32_iscsi_base((uint8_t *)(uintptr_t)p, (int)n, ~crc);
}

void md5_of(const void *const p[], const size_t n[], unsigned nr, uint8_t digest[MD5_SIZE])
{
	mbedtls_md5_context c;
	int err;

	mbedtls_md5_init(&c);
	err = mbedtls_md5_starts(&c);
	for (unsigned i = 0; i < nr; i++)
		err |= mbedtls_md5_update(&c, p[i], n[i]);
	err |= mbedtls_md5_finish(&c, digest);
	ASSERT(!err);
	mbedtls_md5_free(&c);
}

bool same_bytes(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differ = 0;

	for (size_t i = 0; i < n; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

/* ---- random bytes ---- */

static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static bool has_rdrand(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c >> 30 & 1;
}

/* Each block is a hash of all that came before and of fresh noise, so that what is lacking in one
 * source is not missed, and one block says nothing of another. */
void random_bytes(void *p, size_t n)
{
	static uint8_t pool[SHA256_SIZE];
	uint8_t block[SHA256_SIZE], *out = p;
	bool rdrand = has_rdrand();
	struct sha256 s;

	while (n) {
		size_t part = MIN(n, sizeof(block) / 2);
		uint64_t noise[32];

		for (unsigned i = 0; i < ARRAY_SIZE(noise); i++) {
			unsigned char ok = 0;
			uint64_t v = 0;

			if (rdrand && i < 8)
				__asm__ volatile("rdrand %0; setc %1"
						 : "=r"(v), "=qm"(ok)
						 :
						 : "cc");
			noise[i] = v ^ ticks() << (i & 31);
		}
		sha256_init(&s);
		sha256_update(&s, pool, sizeof(pool));
		sha256_update(&s, noise, sizeof(noise));
		sha256_final(&s, block);
		memcpy(out, block, part);
		out += part;
		n -= part;
		sha256_init(&s);
		sha256_update(&s, block, sizeof(block));
		sha256_update(&s, pool, sizeof(pool));
		sha256_final(&s, pool);
	}
	mbedtls_platform_zeroize(block, sizeof(block));
}

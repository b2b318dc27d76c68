/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto - kernel/api/crypto.h by Mbed TLS (digests) and ISA-L (checksums).  Only this folder
 * includes their headers.
 */
#include ".deps/isal/include/crc.h"
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

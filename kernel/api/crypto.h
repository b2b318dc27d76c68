/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * crypto - digests and checksums.  Implemented by Mbed TLS and ISA-L behind this header; nobody
 * else includes theirs.
 */
#ifndef KERNEL_API_CRYPTO_H
#define KERNEL_API_CRYPTO_H

#include "kernel/api/base.h"

#define SHA256_SIZE 32

struct sha256 {
	uint64_t state[16]; /* room for the library's context, checked where it is used */
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *p, size_t n);
void sha256_final(struct sha256 *s, uint8_t digest[SHA256_SIZE]);

#define MD5_SIZE 16

/* The digest of up to three pieces one after the other; for CHAP. */
void md5_of(const void *const p[], const size_t n[], unsigned nr, uint8_t digest[MD5_SIZE]);

/* Bytes nobody can guess: a hash over the processor's random numbers where it has them and the
 * jitter of its clock; any core. */
void random_bytes(void *p, size_t n);
/* In a time that does not depend on what they hold. */
bool same_bytes(const void *a, const void *b, size_t n);

/* CRC-32C as in iSCSI digests, inverted at both ends; crc = 0 to begin, or the result so far. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* CRC-32 as in Ethernet and GPT (reflected, init and final xor all ones); crc = 0 to begin, or the
 * result so far to go on. */
uint32_t crc32(uint32_t crc, const void *p, size_t n);

#endif

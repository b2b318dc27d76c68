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

/* CRC-32 as in Ethernet and GPT (reflected, init and final xor all ones); crc = 0 to begin, or the
 * result so far to go on. */
uint32_t crc32(uint32_t crc, const void *p, size_t n);

#endif

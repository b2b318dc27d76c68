/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mbedtls_config - which parts of Mbed TLS exist for us; build_info.h includes it first of all.
 * Plain C code only (-mgeneral-regs-only), no files, no clock, no threads, no self tests.
 */
#ifndef KERNEL_CRYPTO_MBEDTLS_CONFIG_H
#define KERNEL_CRYPTO_MBEDTLS_CONFIG_H

#define MBEDTLS_PLATFORM_ZEROIZE_ALT /* crypto.c has it */
#define MBEDTLS_PLATFORM_NO_STD_FUNCTIONS
#define MBEDTLS_SHA256_C
#define MBEDTLS_MD5_C /* CHAP with those who know nothing better */

#endif

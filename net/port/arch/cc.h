/* SPDX-License-Identifier: BSD-2-Clause */
/* cc - the compiler and the few functions of a C library, as lwIP wants to hear of them. */
#ifndef NET_PORT_ARCH_CC_H
#define NET_PORT_ARCH_CC_H

#include "kernel/api/base.h"
#include "kernel/api/string.h"

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_CTYPE_H    1
#define LWIP_NO_UNISTD_H   1
#define LWIP_NO_LIMITS_H   1
#define INT_MAX            __INT_MAX__
#define SSIZE_MAX          __PTRDIFF_MAX__
#define X8_F               "02x"
#define U16_F              "u"
#define S16_F              "d"
#define X16_F              "x"
#define U32_F              "u"
#define S32_F              "d"
#define X32_F              "x"
#define SZT_F              "zu"

typedef ptrdiff_t ssize_t;

#define LWIP_PLATFORM_DIAG(x)
#define LWIP_PLATFORM_ASSERT(x) panic("lwIP: %s", x)
#define LWIP_RAND()             net_random()
#define LWIP_CHKSUM             net_checksum

uint32_t net_random(void);
/* The one's complement sum, not inverted, in the machine's byte order (RFC 1071). */
uint16_t net_checksum(const void *p, int len);

#endif

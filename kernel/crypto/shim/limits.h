/* SPDX-License-Identifier: BSD-2-Clause */
/* shim - <limits.h>, of which check_config.h wants CHAR_BIT.  The compiler's own asks for libc's.
 */
#ifndef KERNEL_CRYPTO_SHIM_LIMITS_H
#define KERNEL_CRYPTO_SHIM_LIMITS_H

#define CHAR_BIT __CHAR_BIT__
#define INT_MAX  __INT_MAX__
#define UINT_MAX (__INT_MAX__ * 2U + 1U)

#endif

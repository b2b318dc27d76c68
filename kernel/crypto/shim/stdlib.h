/* SPDX-License-Identifier: BSD-2-Clause */
/* shim - <stdlib.h>, found by alignment.h and platform.h, which use nothing of it here. */
#ifndef KERNEL_CRYPTO_SHIM_STDLIB_H
#define KERNEL_CRYPTO_SHIM_STDLIB_H

#include <stddef.h>

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* shim - <string.h> for third-party code in the kernel. */
#ifndef KERNEL_CRYPTO_SHIM_STRING_H
#define KERNEL_CRYPTO_SHIM_STRING_H

#include "kernel/api/string.h"

#endif

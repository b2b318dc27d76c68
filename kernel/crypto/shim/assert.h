/* SPDX-License-Identifier: BSD-2-Clause */
/* shim - <assert.h>, found by common.h, for static assertions. */
#ifndef KERNEL_CRYPTO_SHIM_ASSERT_H
#define KERNEL_CRYPTO_SHIM_ASSERT_H

#define static_assert _Static_assert

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* copy - the bytes of disks that are moved by the processor, and how many those were. */
#include "kernel/api/string.h"

static uint64_t nr_copied;

void copy_data(void *restrict dst, const void *restrict src, size_t n)
{
	__atomic_fetch_add(&nr_copied, n, __ATOMIC_RELAXED);
	memcpy(dst, src, n);
}

uint64_t copied_data(void)
{
	return __atomic_load_n(&nr_copied, __ATOMIC_RELAXED);
}

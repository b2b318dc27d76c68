/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * buddy - whole pages, in blocks of 2^order aligned to their size.  One byte a page says what
 * stands there; free blocks are linked through their own first bytes, so memory that nobody asked
 * for is never touched but for one write a block.  Not locked.
 */
#ifndef KERNEL_LIB_BUDDY_H
#define KERNEL_LIB_BUDDY_H

#include "kernel/api/list.h"

#define BUDDY_ORDERS  15 /* the largest block: 2^14 pages, 64 MiB */
#define BUDDY_REGIONS 32

struct buddy_region {
	char *base; /* first page, aligned to one */
	size_t pages;
	uint8_t *state; /* a byte a page */
};

struct buddy {
	struct buddy_region region[BUDDY_REGIONS];
	unsigned nr_regions;
	struct list free[BUDDY_ORDERS];
	size_t free_pages;
};

void buddy_init(struct buddy *b);
/*
 * Hands over the whole pages in [base, base + bytes); some of them hold the region's state.  The
 * address space must be such that blocks are aligned as addresses are.  Answers the bytes that
 * became free; 0 when the range is too small or there are too many.
 */
size_t buddy_add(struct buddy *b, void *base, size_t bytes);
/* nr pages in one piece, aligned to the power of two that is not below nr; not cleared. */
void *buddy_alloc(struct buddy *b, size_t nr);
/* nr as it was asked for.  False, and nothing done: these pages are not ours or are free. */
bool buddy_free(struct buddy *b, void *p, size_t nr);

#endif

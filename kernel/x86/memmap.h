/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memmap - where things are in the address space.
 *
 *   ffff8000 00000000  direct map of all RAM, never executable
 *   ffffc000 00000000  vmap: device registers, firmware tables, stacks with guard pages
 *   ffffffff 80000000  the first 2 GiB of physical memory as the kernel image is linked;
 *                      only the image itself is mapped, each section with its own rights
 */
#ifndef KERNEL_X86_MEMMAP_H
#define KERNEL_X86_MEMMAP_H

#define DIRECT_BASE 0xffff800000000000
#define DIRECT_SIZE 0x0000400000000000
#define VMAP_BASE   0xffffc00000000000
#define VMAP_SIZE   0x0000008000000000
#define IMAGE_BASE  0xffffffff80000000

#ifndef __ASSEMBLER__
#include "kernel/api/base.h"

static inline void *phys_to_virt(uint64_t phys)
{
	return (void *)(phys + DIRECT_BASE);
}

/* Of anything mapped: direct map, image or vmap. */
uint64_t virt_to_phys(const void *p);

enum map_flags { MAP_WRITE = 1, MAP_EXEC = 2, MAP_UNCACHED = 4 };

/* Boot: the final page tables, from pages between *first_free (a physical address, moved on) and
 * limit.  ranges: physical [from, to) pairs that the direct map must cover. */
struct phys_range {
	uint64_t from, to;
};
void paging_init(
	const struct phys_range *ranges, unsigned nr, uint64_t *first_free, uint64_t limit);
/* Drops the identity map of low memory: from here on the null page faults. */
void paging_drop_low(void);

/* Maps physical pages at a fresh vmap address; sub-page offset kept.  NULL: no room or memory. */
void *vmap_phys(uint64_t phys, uint64_t size, unsigned flags);
/* A stack of size bytes (pages) with an unmapped page below; its lowest address, or NULL. */
void *vmap_stack(size_t size);
/* RAM that is always mapped, or else a mapping made now: for firmware tables. */
const void *phys_peek(uint64_t phys, uint64_t size);
#endif

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paging - the one address space.  W^X throughout: text is executable and read-only, everything
 * else is not executable; the image's text and constants are read-only in the direct map too.
 * Mappings are only ever added, so no other core needs telling.
 */
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "kernel/api/dma.h"
#include "kernel/spin.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"

#define P_PRESENT  1ull
#define P_WRITE    2ull
#define P_UNCACHED 0x18ull /* PCD, PWT */
#define P_LARGE    0x80ull
#define P_GLOBAL   0x100ull
#define P_NX       (1ull << 63)
#define P_ADDR     0x000ffffffffff000ull

extern char image_start[], rodata_start[], data_start[], image_end[];

static uint64_t *root;
static uint64_t *early_free; /* boot: where the next table comes from; NULL: page_alloc */
static uint64_t early_limit;
static uint64_t vmap_next = VMAP_BASE + PAGE_SIZE;
static struct phys_range direct[64];
static unsigned nr_direct;
static struct spinlock lock;
static struct mem_tag tables_tag = MEM_TAG("page tables"), stacks_tag = MEM_TAG("stacks");

/* While boot's tables are in use low memory is reached where it is; afterwards in the direct map.
 */
static void *table_ptr(uint64_t phys)
{
	return early_free ? (void *)phys : phys_to_virt(phys);
}

static uint64_t table_new(void)
{
	uint64_t phys;
	void *p;

	if (early_free) {
		phys = *early_free;
		if (phys + PAGE_SIZE > early_limit)
			return 0;
		*early_free += PAGE_SIZE;
		memset((void *)phys, 0, PAGE_SIZE);
		return phys;
	}
	p = page_alloc(&tables_tag, 0);
	return p ? virt_to_phys(p) : 0;
}

/* The entry for virt at level (0: 4 KiB, 1: 2 MiB, 2: 1 GiB), tables made on the way; NULL: no
 * memory. */
static uint64_t *entry_of(uint64_t virt, unsigned level)
{
	uint64_t *t = root;
	unsigned l;

	for (l = 3; l > level; l--) {
		uint64_t *e = &t[virt >> (12 + 9 * l) & 511];

		if (!(*e & P_PRESENT)) {
			uint64_t table = table_new();

			if (!table)
				return NULL;
			*e = table | P_PRESENT | P_WRITE;
		}
		t = table_ptr(*e & P_ADDR);
		ASSERT(t);
	}
	return &t[virt >> (12 + 9 * level) & 511];
}

static bool map_one(uint64_t virt, uint64_t phys, uint64_t bits, unsigned level)
{
	uint64_t *e = entry_of(virt, level);

	if (!e)
		return false;
	*e = phys | bits | P_PRESENT | (level ? P_LARGE : 0);
	return true;
}

/* Rights of a page of the direct map: what the image holds as constant is constant there too. */
static uint64_t direct_bits(uint64_t phys)
{
	uint64_t from = (uint64_t)image_start - IMAGE_BASE, to = (uint64_t)data_start - IMAGE_BASE;

	return P_NX | (phys >= from && phys < to ? 0 : P_WRITE);
}

static bool map_direct(uint64_t from, uint64_t to, bool giant)
{
	uint64_t image_to = (uint64_t)image_end - IMAGE_BASE, p = from;

	while (p < to) {
		unsigned level = 0;

		if (!(p & 0x1fffff) && to - p >= 0x200000 && p >= image_to)
			level = 1;
		if (giant && !(p & 0x3fffffff) && to - p >= 0x40000000 && p >= image_to)
			level = 2;
		if (!map_one(DIRECT_BASE + p, p, direct_bits(p), level))
			return false;
		p += 1ull << (12 + 9 * level);
	}
	return true;
}

void paging_init(const struct phys_range *ranges, unsigned nr, uint64_t *first_free, uint64_t limit)
{
	bool giant = cpuid(0x80000000, 0).eax >= 0x80000001 && (cpuid(0x80000001, 0).edx >> 26 & 1);
	uint64_t v, bits, cr3;
	unsigned i;

	early_free = first_free;
	early_limit = limit;
	cr3 = table_new();
	root = (uint64_t *)cr3;
	for (i = 0; i < nr; i++) {
		uint64_t from = ranges[i].from & ~(uint64_t)(PAGE_SIZE - 1);
		uint64_t to = ROUND_UP_POW2(ranges[i].to, (uint64_t)PAGE_SIZE);

		if (to > DIRECT_SIZE)
			to = DIRECT_SIZE;
		if (from >= to || nr_direct == ARRAY_SIZE(direct))
			continue;
		if (!map_direct(from, to, giant))
			panic("not enough memory for the page tables");
		direct[nr_direct].from = from;
		direct[nr_direct++].to = to;
	}
	for (v = (uint64_t)image_start; v < (uint64_t)image_end; v += PAGE_SIZE) {
		bits = v < (uint64_t)rodata_start ? 0 : P_NX;
		bits |= v >= (uint64_t)data_start ? P_WRITE : 0;
		if (!map_one(v, v - IMAGE_BASE, bits, 0))
			panic("not enough memory for the page tables");
	}
	for (v = 0; v < 0x100000; v += PAGE_SIZE) /* for starting cores; paging_drop_low() */
		if (!map_one(v, v, P_WRITE, 0))
			panic("not enough memory for the page tables");
	/* The top level of vmap now, so that every core that copies nothing sees all of it. */
	if (!entry_of(VMAP_BASE, 2))
		panic("not enough memory for the page tables");
	__asm__ volatile("mov %0, %%cr3" ::"r"(cr3) : "memory");
	root = phys_to_virt(cr3);
	early_free = NULL;
}

void paging_drop_low(void)
{
	root[0] = 0;
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}

static bool in_direct(uint64_t phys, uint64_t size)
{
	unsigned i;

	for (i = 0; i < nr_direct; i++)
		if (phys >= direct[i].from && phys < direct[i].to)
			return size <= direct[i].to - phys;
	return false;
}

uint64_t virt_to_phys(const void *p)
{
	uint64_t v = (uint64_t)p;
	const uint64_t *t = root;
	unsigned l;

	if (v >= DIRECT_BASE && v < DIRECT_BASE + DIRECT_SIZE)
		return v - DIRECT_BASE;
	if (v >= IMAGE_BASE)
		return v - IMAGE_BASE;
	for (l = 3;; l--) {
		uint64_t e = t[v >> (12 + 9 * l) & 511];

		if (!(e & P_PRESENT))
			panic("no physical address behind %p", p);
		if (l == 0)
			return (e & P_ADDR) | (v & (PAGE_SIZE - 1));
		t = phys_to_virt(e & P_ADDR);
	}
}

dma_addr_t dma_addr(const void *p)
{
	return virt_to_phys(p);
}

void *dma_ptr(dma_addr_t a)
{
	return phys_to_virt(a);
}

void *vmap_phys(uint64_t phys, uint64_t size, unsigned flags)
{
	uint64_t off = phys & (PAGE_SIZE - 1), base, bytes, i;
	uint64_t bits = (flags & MAP_WRITE ? P_WRITE : 0) | (flags & MAP_EXEC ? 0 : P_NX) |
			(flags & MAP_UNCACHED ? P_UNCACHED : 0);
	uint64_t irq;
	void *v = NULL;

	if (!size || size > 1ull << 36 || phys + size < phys || (phys + size) >> 52)
		return NULL;
	bytes = ROUND_UP_POW2(off + size, (uint64_t)PAGE_SIZE);
	irq = spin_lock(&lock);
	base = vmap_next;
	if (bytes + PAGE_SIZE <= VMAP_BASE + VMAP_SIZE - base) {
		vmap_next += bytes + PAGE_SIZE;
		for (i = 0; i < bytes; i += PAGE_SIZE)
			if (!map_one(base + i, phys - off + i, bits, 0))
				break;
		if (i >= bytes)
			v = (void *)(base + off);
	}
	spin_unlock(&lock, irq);
	return v;
}

void *vmap_stack(size_t size)
{
	unsigned order = page_order(size);
	void *pages = page_alloc(&stacks_tag, order), *v;

	if (!pages)
		return NULL;
	v = vmap_phys(virt_to_phys(pages), size, MAP_WRITE);
	if (!v)
		page_free(&stacks_tag, pages, order);
	return v;
}

volatile void *mmio_map(uint64_t phys, uint64_t size)
{
	return vmap_phys(phys, size, MAP_WRITE | MAP_UNCACHED);
}

const void *phys_peek(uint64_t phys, uint64_t size)
{
	if (phys + size < phys)
		return NULL;
	return in_direct(phys, size) ? phys_to_virt(phys) : vmap_phys(phys, size, 0);
}

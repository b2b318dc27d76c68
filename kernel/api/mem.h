/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem - memory with its purpose written on it.  Every byte handed out is counted on a tag; the
 * `mem` command prints the tags.  Tags are static objects and register themselves at first use.
 *
 * mem_alloc and page_alloc may be called on any core, on the loop or a fiber, never from an
 * interrupt; they never block and answer NULL when there is no memory.  The I/O path allocates
 * from pools only: what a request needs is reserved when its device is made.
 */
#ifndef KERNEL_API_MEM_H
#define KERNEL_API_MEM_H

#include "kernel/api/base.h"

struct mem_tag {
	const char *name;
	size_t bytes, peak_bytes; /* as asked for, without our overhead */
	size_t nr;                /* allocations alive */
	struct mem_tag *next;     /* registry; NULL-terminated, see mem_tags() */
	bool registered;
};

#define MEM_TAG(n)          \
	{                   \
		.name = (n) \
	}

/* Zeroed, aligned to 16. */
void *mem_alloc(struct mem_tag *tag, size_t size) __must_check;
void mem_free(void *p); /* NULL does nothing */
/* Wipes before freeing: for keys. */
void mem_free_wipe(void *p);

/* 2^order contiguous zeroed pages, aligned to their size, reachable by any device's DMA. */
void *page_alloc(struct mem_tag *tag, unsigned order) __must_check;
void page_free(struct mem_tag *tag, void *p, unsigned order); /* NULL does nothing */

#define PAGE_ORDER_MAX 10 /* 4 MiB */

/* Smallest order whose pages hold size bytes. */
static inline unsigned page_order(size_t size)
{
	unsigned order = 0;

	while (((size_t)PAGE_SIZE << order) < size)
		order++;
	return order;
}

struct mem_stats {
	uint64_t total_bytes; /* usable RAM the machine gave us, kernel image included */
	uint64_t image_bytes; /* the kernel image, page tables and boot data */
	uint64_t free_bytes;
	uint64_t reserved_bytes; /* firmware and holes, not usable */
};

void mem_stats(struct mem_stats *st);
struct mem_tag *mem_tags(void);

/*
 * pool - a fixed number of equal objects, made at once and never more.  Belongs to one core: no
 * locks.  Objects are zero the first time and not cleared between uses, but for the first word.
 * They are aligned to 16, or to a page when their size is a multiple of PAGE_SIZE.
 */
struct pool {
	void *free; /* singly linked through the first word */
	void *base; /* the memory, or for objects of whole pages a table of runs */
	struct mem_tag *tag;
	size_t obj_size;
	unsigned nr, nr_free, low_water; /* low_water: least nr_free ever seen */
};

int pool_init(struct pool *p, struct mem_tag *tag, size_t obj_size, unsigned nr) __must_check;
void pool_destroy(struct pool *p); /* all objects must be back; zeroed: does nothing */

static inline void *pool_get(struct pool *p)
{
	void **o = p->free;

	if (unlikely(!o))
		return NULL;
	p->free = *o;
	*o = NULL;
	if (--p->nr_free < p->low_water)
		p->low_water = p->nr_free;
	return o;
}

static inline void pool_put(struct pool *p, void *obj)
{
	*(void **)obj = p->free;
	p->free = obj;
	p->nr_free++;
}

#endif

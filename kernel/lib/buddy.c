/* SPDX-License-Identifier: BSD-2-Clause */
/* buddy - see buddy.h. */
#include "kernel/lib/buddy.h"
#include "kernel/api/string.h"

/* A page's state: USED, or order + 1 for the first page of a free block; INSIDE one otherwise. */
enum { USED = 0, INSIDE = 0xff };

void buddy_init(struct buddy *b)
{
	unsigned i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < BUDDY_ORDERS; i++)
		list_init(&b->free[i]);
}

static struct buddy_region *region_of(struct buddy *b, const char *p)
{
	unsigned i;

	for (i = 0; i < b->nr_regions; i++) {
		struct buddy_region *r = &b->region[i];

		if (p >= r->base && p < r->base + r->pages * PAGE_SIZE)
			return r;
	}
	return NULL;
}

static void mark_free(struct buddy *b, struct buddy_region *r, size_t page, unsigned order)
{
	r->state[page] = (uint8_t)(order + 1);
	list_add_head(&b->free[order], (struct list *)(r->base + page * PAGE_SIZE));
}

/* The number of the page across regions: what blocks are aligned by. */
static size_t number(const struct buddy_region *r, size_t page)
{
	return (uintptr_t)r->base / PAGE_SIZE + page;
}

/* One block comes back: it grows as long as the other half is free too. */
static void free_block(struct buddy *b, struct buddy_region *r, size_t page, unsigned order)
{
	memset(r->state + page, INSIDE, (size_t)1 << order);
	while (order + 1 < BUDDY_ORDERS) {
		size_t first = number(r, 0),
		       mate = (number(r, page) ^ ((size_t)1 << order)) - first;

		if (mate >= r->pages || r->state[mate] != order + 1)
			break;
		list_del((struct list *)(r->base + mate * PAGE_SIZE));
		r->state[mate] = INSIDE;
		if (mate < page)
			page = mate;
		order++;
	}
	mark_free(b, r, page, order);
}

/* Any run of pages: as the largest aligned blocks it is made of. */
static void free_run(struct buddy *b, struct buddy_region *r, size_t page, size_t nr)
{
	b->free_pages += nr;
	while (nr) {
		size_t n = number(r, page);
		unsigned order = n ? (unsigned)__builtin_ctzll(n) : BUDDY_ORDERS - 1;

		if (order >= BUDDY_ORDERS)
			order = BUDDY_ORDERS - 1;
		while (((size_t)1 << order) > nr)
			order--;
		free_block(b, r, page, order);
		page += (size_t)1 << order;
		nr -= (size_t)1 << order;
	}
}

size_t buddy_add(struct buddy *b, void *base, size_t bytes)
{
	uintptr_t start = ((uintptr_t)base + PAGE_SIZE - 1) & ~(uintptr_t)(PAGE_SIZE - 1);
	uintptr_t end = ((uintptr_t)base + bytes) & ~(uintptr_t)(PAGE_SIZE - 1);
	struct buddy_region *r;
	size_t state_pages;

	if (b->nr_regions == BUDDY_REGIONS || end <= start)
		return 0;
	r = &b->region[b->nr_regions];
	r->base = (char *)start;
	r->pages = (end - start) / PAGE_SIZE;
	r->state = (uint8_t *)start;
	state_pages = (r->pages + PAGE_SIZE - 1) / PAGE_SIZE;
	if (r->pages <= state_pages)
		return 0;
	b->nr_regions++;
	memset(r->state, USED, r->pages);
	free_run(b, r, state_pages, r->pages - state_pages);
	return (r->pages - state_pages) * PAGE_SIZE;
}

void *buddy_alloc(struct buddy *b, size_t nr)
{
	struct buddy_region *r;
	struct list *n;
	unsigned want = 0, order;
	size_t page;

	while (want < BUDDY_ORDERS && ((size_t)1 << want) < nr)
		want++;
	for (order = want; order < BUDDY_ORDERS && list_empty(&b->free[order]);)
		order++;
	if (!nr || order >= BUDDY_ORDERS)
		return NULL;
	n = b->free[order].next;
	list_del(n);
	r = region_of(b, (char *)n);
	page = (size_t)((char *)n - r->base) / PAGE_SIZE;
	while (order > want) {
		order--;
		mark_free(b, r, page + ((size_t)1 << order), order);
	}
	memset(r->state + page, USED, (size_t)1 << want);
	b->free_pages -= (size_t)1 << want;
	if (((size_t)1 << want) > nr)
		free_run(b, r, page + nr, ((size_t)1 << want) - nr);
	return n;
}

bool buddy_free(struct buddy *b, void *p, size_t nr)
{
	struct buddy_region *r = region_of(b, p);
	size_t page, i;

	if (!r || (uintptr_t)p % PAGE_SIZE)
		return false;
	page = (size_t)((char *)p - r->base) / PAGE_SIZE;
	if (!nr || nr > r->pages - page)
		return false;
	for (i = 0; i < nr; i++)
		if (r->state[page + i] != USED)
			return false;
	free_run(b, r, page, nr);
	return true;
}

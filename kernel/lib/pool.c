/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool - equal objects made at once.  Small ones come from one piece of memory, aligned to 16.
 * Objects of whole pages come page-aligned, so that they can hold blocks for any device, out of
 * runs of pages no longer than need be: the largest that the rest of the objects fills, so little
 * is wasted, and at most RUN_ORDER_MAX, so that scattered memory serves too.
 */
#include "kernel/api/mem.h"
#include "kernel/api/errno.h"

#define POOL_ALIGN    16u
#define RUN_ORDER_MAX 6u

static bool in_pages(size_t obj_size)
{
	return obj_size % PAGE_SIZE == 0;
}

/* How many objects a run of 2^order pages holds. */
static unsigned run_holds(size_t obj_size, unsigned order)
{
	return (unsigned)(((size_t)PAGE_SIZE << order) / obj_size);
}

/* The run that comes next when so many objects are still to be had. */
static unsigned run_order(size_t obj_size, unsigned left)
{
	unsigned order = page_order(obj_size);

	while (order < RUN_ORDER_MAX && run_holds(obj_size, order + 1) <= left)
		order++;
	return order;
}

static unsigned count_runs(size_t obj_size, unsigned nr)
{
	unsigned n = 0;

	for (unsigned left = nr; left; n++)
		left -= MIN(left, run_holds(obj_size, run_order(obj_size, left)));
	return n;
}

/* Backwards, so that they are handed out in order of address. */
static void put_all(struct pool *p, char *base, unsigned nr)
{
	while (nr-- > 0)
		pool_put(p, base + nr * p->obj_size);
}

static void free_runs(struct pool *p)
{
	void **runs = p->base;
	unsigned order;

	for (unsigned i = 0, left = p->nr; left; i++) {
		order = run_order(p->obj_size, left);
		left -= MIN(left, run_holds(p->obj_size, order));
		page_free(p->tag, runs[i], order);
	}
	mem_free(runs);
}

static int init_in_pages(struct pool *p)
{
	void **runs;
	unsigned order, n;

	if (p->obj_size > (size_t)PAGE_SIZE << PAGE_ORDER_MAX)
		return -ENOMEM;
	runs = mem_alloc(p->tag, count_runs(p->obj_size, p->nr) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	p->base = runs;
	for (unsigned i = 0, left = p->nr; left; i++) {
		order = run_order(p->obj_size, left);
		runs[i] = page_alloc(p->tag, order);
		if (!runs[i]) {
			free_runs(p); /* the rest of the table is zero */
			return -ENOMEM;
		}
		n = MIN(left, run_holds(p->obj_size, order));
		put_all(p, runs[i], n);
		left -= n;
	}
	return 0;
}

static int init_in_one(struct pool *p)
{
	size_t bytes;

	if (__builtin_mul_overflow(p->obj_size, (size_t)p->nr, &bytes))
		return -ENOMEM;
	p->base = mem_alloc(p->tag, bytes);
	if (!p->base)
		return -ENOMEM;
	put_all(p, p->base, p->nr);
	return 0;
}

int pool_init(struct pool *p, struct mem_tag *tag, size_t obj_size, unsigned nr)
{
	int err;

	*p = (struct pool){ 0 };
	if (!nr)
		return 0;
	if (obj_size > SIZE_MAX - POOL_ALIGN)
		return -ENOMEM;
	obj_size = ROUND_UP_POW2(MAX(obj_size, (size_t)1), (size_t)POOL_ALIGN);
	*p = (struct pool){ .tag = tag, .obj_size = obj_size, .nr = nr };
	err = in_pages(obj_size) ? init_in_pages(p) : init_in_one(p);
	if (err)
		*p = (struct pool){ 0 };
	p->low_water = p->nr_free;
	return err;
}

void pool_destroy(struct pool *p)
{
	if (!p->base)
		return;
	ASSERT(p->nr_free == p->nr);
	if (in_pages(p->obj_size))
		free_runs(p);
	else
		mem_free(p->base);
	*p = (struct pool){ 0 };
}

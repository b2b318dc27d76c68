/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_mem - kernel/api/mem.h over malloc, so that the address sanitizer watches every allocation.
 * A table knows what is alive: for the leak check, for frees of what was never had, and to let
 * host_reset() give everything back.
 */
#include <stdio.h>
#include <stdlib.h>
#include "tests/host/host_internal.h"

#define BUCKETS   4096u
#define RAM_BYTES (256ull << 20) /* what mem_stats() says we have */

struct block {
	struct block *next;
	void *p;
	struct mem_tag *tag;
	size_t size;
	int order; /* -1: from mem_alloc */
};

static struct block *blocks[BUCKETS];
static struct mem_tag *tags;
static uint64_t used_bytes;
static unsigned fail_in;
static bool failed;

static struct block **bucket(const void *p)
{
	return &blocks[((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull >> 52 & (BUCKETS - 1)];
}

void host_fail_alloc(unsigned n)
{
	fail_in = n;
	failed = false;
}

bool host_alloc_failed(void)
{
	fail_in = 0;
	return failed;
}

bool host_alloc_fails(void)
{
	if (!fail_in || --fail_in)
		return false;
	failed = true;
	return true;
}

static void tag_use(struct mem_tag *tag, size_t size)
{
	if (!tag->registered) {
		tag->registered = true;
		tag->next = tags;
		tags = tag;
	}
	tag->nr++;
	tag->bytes += size;
	tag->peak_bytes = MAX(tag->peak_bytes, tag->bytes);
}

static void *block_new(struct mem_tag *tag, size_t size, size_t align, int order)
{
	struct block *b;
	void *p;

	ASSERT(tag);
	if (size > (64u << 20) || host_alloc_fails())
		return NULL;
	b = malloc(sizeof(*b));
	if (!b || posix_memalign(&p, align, size ? size : 1))
		panic("host: the test machine is out of memory");
	memset(p, 0, size);
	*b = (struct block){ *bucket(p), p, tag, size, order };
	*bucket(p) = b;
	tag_use(tag, size);
	used_bytes += size;
	return p;
}

static size_t block_size(void *p)
{
	for (struct block *b = *bucket(p); b; b = b->next)
		if (b->p == p)
			return b->size;
	return 0;
}

static void block_free(void *p, struct mem_tag *tag, int order)
{
	struct block **at = bucket(p), *b;

	while (*at && (*at)->p != p)
		at = &(*at)->next;
	b = *at;
	if (!b)
		panic("free of %p, which is not allocated", p);
	if (b->order != order)
		panic("free of %p: it is of order %d, not %d", p, b->order, order);
	if (tag && b->tag != tag)
		panic("free of %p: it is \"%s\", not \"%s\"", p, b->tag->name, tag->name);
	*at = b->next;
	b->tag->nr--;
	b->tag->bytes -= b->size;
	used_bytes -= b->size;
	free(b);
	free(p);
}

void *mem_alloc(struct mem_tag *tag, size_t size)
{
	return block_new(tag, size, 16, -1);
}

void mem_free(void *p)
{
	if (p)
		block_free(p, NULL, -1);
}

void mem_free_wipe(void *p)
{
	if (!p)
		return;
	memset(p, 0, block_size(p));
	__asm__ volatile("" : : "r"(p) : "memory"); /* not a dead store */
	mem_free(p);
}

void *page_alloc(struct mem_tag *tag, unsigned order)
{
	size_t size = (size_t)PAGE_SIZE << order;

	if (order > PAGE_ORDER_MAX)
		return NULL;
	return block_new(tag, size, size, (int)order);
}

void page_free(struct mem_tag *tag, void *p, unsigned order)
{
	if (p)
		block_free(p, tag, (int)order);
}

void mem_stats(struct mem_stats *st)
{
	*st = (struct mem_stats){
		.total_bytes = RAM_BYTES,
		.free_bytes = used_bytes < RAM_BYTES ? RAM_BYTES - used_bytes : 0,
	};
}

struct mem_tag *mem_tags(void)
{
	return tags;
}

bool host_mem_check(void)
{
	bool clean = true;

	for (struct mem_tag *t = tags; t; t = t->next) {
		if (t->nr)
			fprintf(stderr, "leak: %zu of \"%s\", %zu bytes\n", t->nr, t->name,
				t->bytes);
		clean &= !t->nr;
	}
	return clean;
}

void host_mem_reset(void)
{
	struct mem_tag *t;
	struct block *b;

	for (unsigned i = 0; i < BUCKETS; i++) {
		while ((b = blocks[i])) {
			blocks[i] = b->next;
			free(b->p);
			free(b);
		}
	}
	used_bytes = 0;
	while ((t = tags)) {
		tags = t->next;
		t->next = NULL;
		t->registered = false;
		t->bytes = t->peak_bytes = t->nr = 0;
	}
	fail_in = 0;
	failed = false;
}

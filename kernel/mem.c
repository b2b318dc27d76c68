/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mem - the machine's memory.  Pages come from the buddy allocator; what is smaller than a quarter
 * of a page is cut from slabs, one page each; the rest is as many pages as it takes.  One lock:
 * the I/O path does not come here.
 */
#include "kernel/api/mem.h"
#include "kernel/api/list.h"
#include "kernel/api/machine.h"
#include "kernel/api/string.h"
#include "kernel/boot_info.h"
#include "kernel/lib/buddy.h"
#include "kernel/spin.h"
#include "kernel/x86/memmap.h"

/* Before every object. */
struct head {
	struct mem_tag *tag;
	uint32_t size;
	uint32_t magic;
};

#define MAGIC_USED 0x6d656d21u
#define MAGIC_FREE 0x66726565u

/* At the start of a slab's page.  An object's head never stands at the page's first byte, which
 * is how mem_free() tells slabs from whole pages. */
struct slab {
	struct list node; /* on its class's list while it has room */
	struct slab_object *free;
	uint32_t used, class;
	uint64_t pad[4];
};

struct slab_object {
	struct slab_object *next;
};

static const uint16_t class_size[] = { 32, 48, 64, 96, 128, 192, 256, 336, 448, 576, 800, 1008 };
#define NR_CLASSES ARRAY_SIZE(class_size)
#define SLAB_MAX   (class_size[NR_CLASSES - 1] - sizeof(struct head))

static struct spinlock lock;
static struct buddy buddy;
static struct list partial[NR_CLASSES];
static struct mem_stats stats;
static struct mem_tag *tags;
static struct mem_tag slab_tag = MEM_TAG("small objects' unused room");

void mem_add_range(uint64_t phys, uint64_t bytes)
{
	unsigned i;

	if (!buddy.nr_regions) {
		buddy_init(&buddy);
		for (i = 0; i < NR_CLASSES; i++)
			list_init(&partial[i]);
	}
	stats.total_bytes += bytes;
	buddy_add(&buddy, phys_to_virt(phys), bytes);
}

void mem_set_image(uint64_t bytes)
{
	stats.image_bytes = bytes;
	stats.total_bytes += bytes;
}

void mem_set_reserved(uint64_t bytes)
{
	stats.reserved_bytes = bytes;
}

void mem_stats(struct mem_stats *st)
{
	uint64_t irq = spin_lock(&lock);

	*st = stats;
	st->free_bytes = buddy.free_pages * PAGE_SIZE;
	spin_unlock(&lock, irq);
}

struct mem_tag *mem_tags(void)
{
	return __atomic_load_n(&tags, __ATOMIC_ACQUIRE);
}

static void tag_add(struct mem_tag *tag, size_t bytes)
{
	if (!tag->registered) {
		tag->registered = true;
		tag->next = tags;
		__atomic_store_n(&tags, tag, __ATOMIC_RELEASE);
	}
	tag->nr++;
	tag->bytes += bytes;
	if (tag->bytes > tag->peak_bytes)
		tag->peak_bytes = tag->bytes;
}

static void tag_sub(struct mem_tag *tag, size_t bytes)
{
	tag->nr--;
	tag->bytes -= bytes;
}

/* What a slab of that class does not hand out yet. */
static size_t slab_room(unsigned class, uint32_t used)
{
	return PAGE_SIZE - used * (size_t)class_size[class];
}

static struct slab *slab_make(unsigned class)
{
	struct slab *s = buddy_alloc(&buddy, 1);
	size_t size = class_size[class], at;

	if (!s)
		return NULL;
	*s = (struct slab){ .class = class };
	for (at = sizeof(*s); at + size <= PAGE_SIZE; at += size) {
		struct slab_object *o = (struct slab_object *)((char *)s + at);

		o->next = s->free;
		s->free = o;
	}
	list_add_head(&partial[class], &s->node);
	tag_add(&slab_tag, PAGE_SIZE);
	return s;
}

static struct head *slab_get(size_t size)
{
	struct slab_object *o;
	struct slab *s;
	unsigned class = 0;

	while (class_size[class] < size + sizeof(struct head))
		class ++;
	if (list_empty(&partial[class]))
		s = slab_make(class);
	else
		s = container_of(partial[class].next, struct slab, node);
	if (!s)
		return NULL;
	o = s->free;
	s->free = o->next;
	slab_tag.bytes -= slab_room(class, s->used) - slab_room(class, s->used + 1);
	s->used++;
	if (!s->free)
		list_del(&s->node);
	return (struct head *)o;
}

static void slab_put(struct head *h)
{
	struct slab *s = (struct slab *)((uintptr_t)h & ~(uintptr_t)(PAGE_SIZE - 1));
	struct slab_object *o = (struct slab_object *)h;
	unsigned class = s->class;

	if (!s->free)
		list_add_head(&partial[class], &s->node);
	o->next = s->free;
	s->free = o;
	s->used--;
	slab_tag.bytes += class_size[class];
	/* One empty slab a class is kept: making and freeing one object must not cost a page. */
	if (!s->used && (s->node.next != &partial[class] || s->node.prev != &partial[class])) {
		list_del(&s->node);
		tag_sub(&slab_tag, PAGE_SIZE);
		buddy_free(&buddy, s, 1);
	}
}

static size_t pages_for(size_t size)
{
	return (size + sizeof(struct head) + PAGE_SIZE - 1) / PAGE_SIZE;
}

void *mem_alloc(struct mem_tag *tag, size_t size)
{
	struct head *h;
	uint64_t irq;

	if (size > ((size_t)PAGE_SIZE << (BUDDY_ORDERS - 1)))
		return NULL;
	irq = spin_lock(&lock);
	h = size <= SLAB_MAX ? slab_get(size) : buddy_alloc(&buddy, pages_for(size));
	if (h)
		tag_add(tag, size);
	spin_unlock(&lock, irq);
	if (!h)
		return NULL;
	*h = (struct head){ .tag = tag, .size = (uint32_t)size, .magic = MAGIC_USED };
	memset(h + 1, 0, size);
	return h + 1;
}

void mem_free(void *p)
{
	struct head *h = p;
	uint64_t irq;

	if (!p)
		return;
	h--;
	if (h->magic != MAGIC_USED)
		panic("mem: freed %s: %p", h->magic == MAGIC_FREE ? "twice" : "what is not ours",
			p);
	h->magic = MAGIC_FREE;
	irq = spin_lock(&lock);
	tag_sub(h->tag, h->size);
	if ((uintptr_t)h % PAGE_SIZE)
		slab_put(h);
	else
		buddy_free(&buddy, h, pages_for(h->size));
	spin_unlock(&lock, irq);
}

void mem_free_wipe(void *p)
{
	if (!p)
		return;
	memset(p, 0, ((struct head *)p - 1)->size);
	__asm__ volatile("" : : "r"(p) : "memory"); /* the compiler must not leave it out */
	mem_free(p);
}

void *page_alloc(struct mem_tag *tag, unsigned order)
{
	size_t bytes = (size_t)PAGE_SIZE << order;
	uint64_t irq;
	void *p;

	if (order > PAGE_ORDER_MAX)
		return NULL;
	irq = spin_lock(&lock);
	p = buddy_alloc(&buddy, (size_t)1 << order);
	if (p)
		tag_add(tag, bytes);
	spin_unlock(&lock, irq);
	return p ? memset(p, 0, bytes) : NULL;
}

void page_free(struct mem_tag *tag, void *p, unsigned order)
{
	uint64_t irq;
	bool ours;

	if (!p)
		return;
	irq = spin_lock(&lock);
	ours = buddy_free(&buddy, p, (size_t)1 << order);
	if (ours)
		tag_sub(tag, (size_t)PAGE_SIZE << order);
	spin_unlock(&lock, irq);
	if (!ours)
		panic("mem: pages freed that are not in use: %p, order %u", p, order);
}

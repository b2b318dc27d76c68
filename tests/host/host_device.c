/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_device - kernel/api/dma.h for model devices.  Physical addresses are pointers.  A region of
 * registers is a stretch of unreadable address space whose addresses only mmio_read and mmio_write
 * understand.
 */
#include <sys/mman.h>
#include "tests/host/host_internal.h"

#define MAX_REGIONS 64
#define MAX_IRQS    1024

struct region {
	uint64_t base, size;
	char *cookie;
	const struct host_mmio_ops *ops;
	void *ctx;
};

static struct region regions[MAX_REGIONS];
static unsigned nr_regions;

static struct host_irq {
	struct irq *irq;
	unsigned core;
	int gsi; /* -1: an MSI, with */
	uint64_t addr;
	uint32_t data;
} irqs[MAX_IRQS];
static unsigned nr_irqs, irq_limit = MAX_IRQS;

void host_device_reset(void)
{
	for (unsigned i = 0; i < nr_regions; i++)
		munmap(regions[i].cookie, regions[i].size);
	nr_regions = 0;
	nr_irqs = 0;
	irq_limit = MAX_IRQS;
}

/* ---- memory as devices see it ---- */

/* Not the pointer itself, so that nobody mistakes one for the other; and low enough, for memory of
 * the sanitizer's heap, for devices that take page numbers of 32 bits. */
#define DMA_FLIP 0x600000000000u

dma_addr_t dma_addr(const void *p)
{
	return (uintptr_t)p ^ DMA_FLIP;
}

void *dma_ptr(dma_addr_t a)
{
	return (void *)(uintptr_t)(a ^ DMA_FLIP);
}

/* ---- registers ---- */

void host_mmio_region(uint64_t base, uint64_t size, const struct host_mmio_ops *ops, void *ctx)
{
	struct region *r = &regions[nr_regions];
	void *p;

	ASSERT(nr_regions < MAX_REGIONS && size && size <= 1u << 30 && base + size > base);
	for (unsigned i = 0; i < nr_regions; i++)
		ASSERT(base + size <= regions[i].base || base >= regions[i].base + regions[i].size);
	p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT(p != MAP_FAILED);
	*r = (struct region){ base, size, p, ops, ctx };
	nr_regions++;
}

volatile void *mmio_map(uint64_t phys, uint64_t size)
{
	for (unsigned i = 0; i < nr_regions; i++) {
		struct region *r = &regions[i];

		if (size && phys >= r->base && phys - r->base < r->size &&
			size <= r->size - (phys - r->base))
			return r->cookie + (phys - r->base);
	}
	return NULL;
}

static struct region *region_of(const volatile void *p, unsigned size, uint64_t *off)
{
	uintptr_t a = (uintptr_t)p;

	for (unsigned i = 0; i < nr_regions; i++) {
		struct region *r = &regions[i];
		uintptr_t c = (uintptr_t)r->cookie;

		if (a < c || a - c >= r->size)
			continue;
		*off = a - c;
		if (*off % size || *off + size > r->size)
			panic("mmio: %u bytes at 0x%llx of region 0x%llx", size,
				(unsigned long long)*off, (unsigned long long)r->base);
		return r;
	}
	panic("mmio: %p is no register", (const void *)(uintptr_t)p);
}

static uint64_t region_read(const volatile void *p, unsigned size)
{
	uint64_t off;
	struct region *r = region_of(p, size, &off);

	return r->ops->read(r->ctx, off, size);
}

static void region_write(volatile void *p, unsigned size, uint64_t v)
{
	uint64_t off;
	struct region *r = region_of(p, size, &off);

	r->ops->write(r->ctx, off, size, v);
}

#define MMIO_FUNCTIONS(bits)                                      \
	uint##bits##_t mmio_read##bits(const volatile void *p)    \
	{                                                         \
		return (uint##bits##_t)region_read(p, bits / 8);  \
	}                                                         \
	void mmio_write##bits(volatile void *p, uint##bits##_t v) \
	{                                                         \
		region_write(p, bits / 8, v);                     \
	}
MMIO_FUNCTIONS(8)
MMIO_FUNCTIONS(16)
MMIO_FUNCTIONS(32)
MMIO_FUNCTIONS(64)

/* ---- interrupts ---- */

void host_irq_limit(unsigned n)
{
	irq_limit = MIN(nr_irqs + n, MAX_IRQS);
}

static int irq_new(struct irq *irq, unsigned core, int gsi)
{
	if (nr_irqs >= irq_limit)
		return -ENOSPC;
	ASSERT(core < nr_cores());
	irq->core = core;
	irq->msi_addr = gsi < 0 ? 0xfee00000u | core << 12 : 0;
	irq->msi_data = gsi < 0 ? 0x20 + nr_irqs : 0;
	irq->count = 0;
	irqs[nr_irqs++] = (struct host_irq){ irq, core, gsi, irq->msi_addr, irq->msi_data };
	return 0;
}

int irq_alloc_msi(struct irq *irq, unsigned core)
{
	return irq_new(irq, core, -1);
}

int irq_alloc_gsi(struct irq *irq, unsigned core, unsigned gsi, bool level __unused)
{
	return gsi < 256 ? irq_new(irq, core, (int)gsi) : -ENODEV;
}

static void irq_came(struct host_irq *h)
{
	h->irq->count++;
	host_wake(h->core);
}

bool host_irq_raise(uint64_t msi_addr, uint32_t msi_data)
{
	for (unsigned i = 0; i < nr_irqs; i++) {
		struct host_irq *h = &irqs[i];

		if (h->gsi >= 0 || h->data != msi_data || h->addr != msi_addr)
			continue;
		irq_came(h);
		return true;
	}
	return false;
}

bool host_gsi_raise(unsigned gsi)
{
	bool any = false;

	for (unsigned i = 0; i < nr_irqs; i++)
		if (irqs[i].gsi == (int)gsi) {
			irq_came(&irqs[i]);
			any = true;
		}
	return any;
}

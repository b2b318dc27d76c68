/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dma, mmio - what a driver needs of the machine.  On the host (unit tests, simulator, fuzzers)
 * the same names reach model devices, so drivers compile unchanged.
 */
#ifndef KERNEL_API_DMA_H
#define KERNEL_API_DMA_H

#include "kernel/api/base.h"

typedef uint64_t dma_addr_t; /* a physical address as devices see it */

/* Of memory from page_alloc, mem_alloc, a pool, a static object or a fiber stack's page. */
dma_addr_t dma_addr(const void *p);
/* The other way, for addresses that dma_addr() gave. */
void *dma_ptr(dma_addr_t a);

/* Device registers, mapped uncached and never unmapped.  NULL: no room or a silly range. */
volatile void *mmio_map(uint64_t phys, uint64_t size);

#if __STDC_HOSTED__
uint8_t mmio_read8(const volatile void *p);
uint16_t mmio_read16(const volatile void *p);
uint32_t mmio_read32(const volatile void *p);
uint64_t mmio_read64(const volatile void *p);
void mmio_write8(volatile void *p, uint8_t v);
void mmio_write16(volatile void *p, uint16_t v);
void mmio_write32(volatile void *p, uint32_t v);
void mmio_write64(volatile void *p, uint64_t v);
#else
#define MMIO_ACCESS(bits)                                                       \
	static inline uint##bits##_t mmio_read##bits(const volatile void *p)    \
	{                                                                       \
		return *(const volatile uint##bits##_t *)p;                     \
	}                                                                       \
	static inline void mmio_write##bits(volatile void *p, uint##bits##_t v) \
	{                                                                       \
		*(volatile uint##bits##_t *)p = v;                              \
	}
MMIO_ACCESS(8)
MMIO_ACCESS(16)
MMIO_ACCESS(32)
MMIO_ACCESS(64)
#undef MMIO_ACCESS
#endif

/* Order of our own writes and reads as a device sees them in memory. */
static inline void dma_wmb(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void dma_rmb(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void dma_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * An interrupt wakes the loop of one core, which then polls its pollers; no handler runs.  It also
 * counts, for `mem`-like reports and for tests.
 */
struct irq {
	unsigned core;
	uint32_t msi_data;
	uint64_t msi_addr; /* what to write in an MSI-X table entry */
	uint64_t count;    /* how often it came */
};

/* A vector of its own on that core.  0 or -ENOSPC (poll by timer then). */
int irq_alloc_msi(struct irq *irq, unsigned core);
/* A wired interrupt (I/O APIC input), edge triggered unless level.  0, -ENOSPC or -ENODEV. */
int irq_alloc_gsi(struct irq *irq, unsigned core, unsigned gsi, bool level);

#endif

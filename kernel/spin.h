/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spin - the kernel floor's own lock, for what all cores share there: memory, the log, the address
 * space.  Held for a few instructions with interrupts off.  Nothing above kernel/ uses it.
 */
#ifndef KERNEL_SPIN_H
#define KERNEL_SPIN_H

#include "kernel/x86/io.h"

struct spinlock {
	uint32_t held;
};

/* The interrupt state to give back to spin_unlock(). */
static inline uint64_t spin_lock(struct spinlock *l)
{
	uint64_t irq = irq_save();

	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(&l->held, __ATOMIC_RELAXED))
			cpu_relax();
	return irq;
}

static inline void spin_unlock(struct spinlock *l, uint64_t irq)
{
	__atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
	irq_restore(irq);
}

#endif

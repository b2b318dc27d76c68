/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timerheap - timers in order of due_ns: a pairing heap through the timers themselves, so starting
 * one cannot fail.  insert O(1), remove and pop O(log n) amortised.  Not locked; one per core.
 */
#ifndef KERNEL_LIB_TIMERHEAP_H
#define KERNEL_LIB_TIMERHEAP_H

#include "kernel/api/timer.h"

struct timerheap { /* zeroed: empty */
	struct timer *root;
};

/* t must not be pending; takes t->due_ns as it is. */
void timerheap_insert(struct timerheap *h, struct timer *t);
/* t must be pending in h. */
void timerheap_remove(struct timerheap *h, struct timer *t);
/* One of those due first; NULL: empty. */
static inline struct timer *timerheap_first(const struct timerheap *h)
{
	return h->root;
}
/* Removes and returns one that is due at now_ns, the earliest first; NULL: none. */
struct timer *timerheap_pop_due(struct timerheap *h, uint64_t now);

#endif

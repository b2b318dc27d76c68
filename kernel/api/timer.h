/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timer - call me once, later, on this core's loop.  A timer belongs to the core that started it:
 * start and stop it there.  Never early; late by at most one loop turn.
 */
#ifndef KERNEL_API_TIMER_H
#define KERNEL_API_TIMER_H

#include "kernel/api/base.h"

/* Nanoseconds since boot, monotonic, the same on every core. */
uint64_t now_ns(void);

struct timer {
	struct timer *child, *next, *prev; /* pairing heap, private to the floor */
	uint64_t due_ns;
	void (*fn)(struct timer *t); /* set by the owner before the first start */
	bool pending;
};

/* (Re)starts it; an earlier start is forgotten. */
void timer_start(struct timer *t, uint64_t due_ns);
/* After this fn will not run.  Zeroed or stopped: does nothing. */
void timer_stop(struct timer *t);

#endif

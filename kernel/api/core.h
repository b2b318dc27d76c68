/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core - one event loop per processor core, run to completion, no preemption.
 *
 * A loop turn takes what other cores sent, runs posted work, due timers, ready fibers and the
 * pollers; when a turn did nothing the core polls on briefly, arms its pollers and halts until an
 * interrupt.  Code on one core never runs beside other code on that core, so state that belongs to
 * a core needs no lock.  Interrupt handlers run none of our code but a mark and a wake-up.
 *
 * Cores are numbered 0..nr_cores()-1; the shell, the network and all control work live on core 0.
 */
#ifndef KERNEL_API_CORE_H
#define KERNEL_API_CORE_H

#include "kernel/api/base.h"
#include "kernel/api/list.h"

#define MAX_CORES 32

#if __STDC_HOSTED__
unsigned this_core(void);
#else
static inline unsigned this_core(void)
{
	unsigned core;

	__asm__("movl %%gs:0, %0" : "=r"(core)); /* struct cpu begins with it */
	return core;
}
#endif
unsigned nr_cores(void);

/*
 * One deferred call.  Owned by whoever embeds it; may be posted again once fn has begun.  Posting
 * one that is still queued is a bug.
 */
struct work {
	struct work *next;
	void (*fn)(struct work *w);
};

/* fn runs on this core's loop, after what was posted before; never inside the caller. */
void work_post(struct work *w);
/* The same on another core (or this one).  Lock-free and cannot fail; calls from one core to
 * another keep their order.  Wakes the core if it halted. */
void work_send(unsigned core, struct work *w);

/*
 * What a driver puts on a loop.  poll() takes whatever the device has finished and says whether
 * that was anything.  arm() is called when the loop is about to halt: ask the device for an
 * interrupt, then look once more; true if something is there after all.  After a wake-up every
 * poller is polled.  Both run on the loop of the core the poller was added on.
 */
struct poller {
	struct list node;
	bool (*poll)(struct poller *p);
	bool (*arm)(struct poller *p); /* may be NULL */
};

void poller_add(struct poller *p); /* on this core */
void poller_del(struct poller *p); /* on the core it was added on; zeroed: does nothing */

/* Runs fn(arg) on that core's loop (not a fiber: fn must not block) and returns when it has
 * finished.  Call on a fiber. */
may_block void core_call(unsigned core, void (*fn)(void *arg), void *arg);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fiber - straight-line code that may wait: commands, probing, metadata.  Cooperative, one core
 * for life, 16 KiB of stack with a guard page.  Switching happens only in functions marked
 * may_block.  The I/O path does not use fibers.
 */
#ifndef KERNEL_API_FIBER_H
#define KERNEL_API_FIBER_H

#include "kernel/api/base.h"
#include "kernel/api/core.h"
#include "kernel/api/list.h"
#include "kernel/api/timer.h"

#define FIBER_STACK_SIZE (16u * 1024)

struct fiber;

/* Makes a fiber on this core, ready to run; it ends when fn returns.  NULL: no memory. */
struct fiber *fiber_create(const char *name, void (*fn)(void *arg), void *arg);
/* The running fiber, or NULL on the bare loop. */
#if __STDC_HOSTED__
struct fiber *fiber_self(void);
#else
static inline struct fiber *fiber_self(void)
{
	struct fiber *f;

	__asm__ volatile("movq %%gs:16, %0" : "=r"(f)); /* struct cpu's */
	return f;
}
#endif
const char *fiber_name(const struct fiber *f);

may_block void fiber_yield(void); /* lets the loop turn once */
may_block void fiber_sleep(uint64_t ns);

/* Who waits for something.  Zero-initialised is usable.  One core only. */
struct waitq {
	struct fiber *head, *tail;
};

may_block void waitq_wait(struct waitq *q);
/* As above, at most until due_ns; 0 or -ETIMEDOUT. */
may_block int waitq_wait_until(struct waitq *q, uint64_t due_ns);
void waitq_wake_all(struct waitq *q); /* same core, loop or fiber */

/* One event, once.  Zeroed: has not happened.  Signalled and awaited on one core; from another
 * core send a work that signals. */
struct completion {
	bool done;
	struct waitq q;
};

static inline void completion_signal(struct completion *c)
{
	c->done = true;
	waitq_wake_all(&c->q);
}

static inline void may_block completion_wait(struct completion *c)
{
	while (!c->done)
		waitq_wait(&c->q);
}

/* One fiber at a time, first come first served as far as wake-ups go.  One core only. */
struct gate {
	struct fiber *owner;
	struct waitq q;
};

may_block void gate_enter(struct gate *g);
void gate_leave(struct gate *g);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* timer - a heap of timers on each core; the loop runs what is due. */
#include "kernel/timer.h"
#include "kernel/api/core.h"
#include "kernel/lib/timerheap.h"

static struct timerheap heaps[MAX_CORES];

static struct timerheap *mine(void)
{
	return &heaps[this_core()];
}

void timer_start(struct timer *t, uint64_t due_ns)
{
	if (t->pending)
		timerheap_remove(mine(), t);
	t->due_ns = due_ns;
	timerheap_insert(mine(), t);
}

void timer_stop(struct timer *t)
{
	if (t->pending)
		timerheap_remove(mine(), t);
}

uint64_t timers_next_due(void)
{
	struct timer *t = timerheap_first(mine());

	return t ? t->due_ns : UINT64_MAX;
}

bool timers_run(void)
{
	struct timer *t = timerheap_first(mine());
	uint64_t now;
	bool any = false;

	if (!t)
		return false;
	/* Read once: a timer that starts itself for "at once" waits for the next turn. */
	now = now_ns();
	while ((t = timerheap_pop_due(mine(), now))) {
		any = true;
		t->fn(t);
	}
	return any;
}

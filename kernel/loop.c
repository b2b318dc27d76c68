/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loop - the event loop of each core; core.h says what runs in it.
 *
 * Crossing cores.  Work sent to another core is pushed on that core's inbox, a list with one
 * compare-and-swap a push, taken whole by its owner: nothing can be full, and what one core sends
 * to another keeps its order.  The sender interrupts the receiver only when it has said it halts.
 *
 * Halting.  Interrupts are switched off before the last look at everything and on again by the
 * instruction before hlt, so nothing can come between the look and the halt.
 */
#include "kernel/api/core.h"
#include "kernel/api/fiber.h"
#include "kernel/timer.h"
#include "kernel/x86/io.h"
#include "kernel/x86/x86.h"

/* How long a core that just had work goes on looking before it halts (network-floor.md). */
#define POLL_NS (1 * NS_PER_US)

bool fibers_run(void);

void work_post(struct work *w)
{
	struct cpu *c = this_cpu();

	w->next = NULL;
	*c->posted_tail = w;
	c->posted_tail = &w->next;
}

void work_send(unsigned core, struct work *w)
{
	struct cpu *c = cpus[core];
	struct work *head;

	if (core == this_core()) {
		work_post(w);
		return;
	}
	head = __atomic_load_n(&c->inbox, __ATOMIC_RELAXED);
	do {
		w->next = head;
	} while (!__atomic_compare_exchange_n(
		&c->inbox, &head, w, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	if (!head && __atomic_load_n(&c->halted, __ATOMIC_SEQ_CST))
		core_wake(core);
}

/* What other cores sent, in the order it was sent, behind what is posted here. */
static void take_inbox(struct cpu *c)
{
	struct work *w = __atomic_exchange_n(&c->inbox, NULL, __ATOMIC_SEQ_CST), *first = NULL;
	struct work *last = w;

	while (w) {
		struct work *next = w->next;

		w->next = first;
		first = w;
		w = next;
	}
	if (first) {
		*c->posted_tail = first;
		c->posted_tail = &last->next;
	}
}

static bool run_posted(struct cpu *c)
{
	struct work *w = c->posted, **end = c->posted_tail;
	bool more;

	if (!w)
		return false;
	/* Only what stands there now: work that posts itself again must not starve the pollers. */
	c->posted = NULL;
	c->posted_tail = &c->posted;
	do {
		struct work *next = w->next;

		more = &w->next != end;
		w->fn(w);
		w = next;
	} while (more && w);
	return true;
}

void poller_add(struct poller *p)
{
	list_add_tail(&this_cpu()->pollers, &p->node);
}

void poller_del(struct poller *p)
{
	struct cpu *c = this_cpu();

	if (c->next_poller == &p->node)
		c->next_poller = p->node.next;
	list_del(&p->node);
}

static bool run_pollers(struct cpu *c)
{
	struct list *n = c->pollers.next;
	bool any = false;

	while (n != &c->pollers) {
		struct poller *p = container_of(n, struct poller, node);

		c->next_poller = n->next;
		any |= p->poll(p);
		n = c->next_poller;
	}
	c->next_poller = NULL;
	return any;
}

static bool turn(struct cpu *c)
{
	bool any;

	if (__atomic_load_n(&c->inbox, __ATOMIC_RELAXED))
		take_inbox(c);
	any = run_posted(c);
	any |= timers_run();
	any |= fibers_run();
	any |= run_pollers(c);
	return any;
}

static bool arm_pollers(struct cpu *c)
{
	struct list *n;

	for (n = c->pollers.next; n != &c->pollers; n = n->next) {
		struct poller *p = container_of(n, struct poller, node);

		if (p->arm && p->arm(p))
			return true;
	}
	return false;
}

static void halt(struct cpu *c)
{
	uint64_t due;

	irq_disable();
	__atomic_store_n(&c->halted, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&c->inbox, __ATOMIC_SEQ_CST) || c->posted || arm_pollers(c)) {
		irq_enable();
	} else {
		/* Behind the pollers: arming one may start a timer. */
		due = timers_next_due();
		if (due != c->timer_armed_ns || due != UINT64_MAX) {
			c->timer_armed_ns = due;
			lapic_timer_set(due);
		}
		__asm__ volatile("sti; hlt" ::: "memory");
	}
	__atomic_store_n(&c->halted, 0, __ATOMIC_SEQ_CST);
}

void loop_init(struct cpu *c)
{
	c->posted_tail = &c->posted;
	list_init(&c->pollers);
	c->timer_armed_ns = UINT64_MAX;
}

void loop_run(void)
{
	struct cpu *c = this_cpu();
	uint64_t poll_until = 0;

	irq_enable();
	for (;;) {
		if (turn(c)) {
			poll_until = 0;
			continue;
		}
		if (!poll_until)
			poll_until = now_ns() + POLL_NS;
		if (now_ns() < poll_until) {
			cpu_relax();
			continue;
		}
		halt(c);
		/* The wake-up may have been for nothing here: then halt again without polling on.
		 */
	}
}

/* ---- running something on another core and waiting for it ---- */

struct call {
	struct work work;
	unsigned from;
	void (*fn)(void *arg);
	void *arg;
	struct completion done;
};

static void call_back(struct work *w)
{
	completion_signal(&container_of(w, struct call, work)->done);
}

static void call_there(struct work *w)
{
	struct call *call = container_of(w, struct call, work);

	call->fn(call->arg);
	call->work.fn = call_back;
	work_send(call->from, &call->work);
}

void core_call(unsigned core, void (*fn)(void *arg), void *arg)
{
	struct call call = { .work.fn = call_there, .from = this_core(), .fn = fn, .arg = arg };

	if (core == this_core()) {
		fn(arg);
		return;
	}
	work_send(core, &call.work);
	completion_wait(&call.done);
}

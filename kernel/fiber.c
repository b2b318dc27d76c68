/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fiber - cooperative stacks on a core's loop; fiber.h has the contract.  The loop runs each ready
 * fiber in turn until it waits.  A fiber that ended leaves its stack for the next one on its core:
 * stacks are never unmapped, so no other core's TLB needs to hear of it.
 */
#include "kernel/api/fiber.h"
#include "kernel/api/errno.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

bool fibers_run(void);
void stack_switch(uint64_t *save_sp, uint64_t load_sp);

struct fiber {
	uint64_t sp;
	struct fiber *next;    /* ready queue, wait queue or the dead */
	struct waitq *waiting; /* the queue it stands in */
	struct timer timer;
	bool timed_out;
	void *stack;
	void (*fn)(void *arg);
	void *arg;
	char name[24];
};

static struct mem_tag fiber_tag = MEM_TAG("fibers");

const char *fiber_name(const struct fiber *f)
{
	return f->name;
}

static void make_ready(struct fiber *f)
{
	struct cpu *c = this_cpu();

	f->next = NULL;
	if (c->ready_head)
		c->ready_tail->next = f;
	else
		c->ready_head = f;
	c->ready_tail = f;
}

/* Back to the loop, until someone makes this fiber ready. */
static void switch_out(void)
{
	struct cpu *c = this_cpu();
	struct fiber *f = c->running;

	c->running = NULL;
	stack_switch(&f->sp, c->loop_sp);
}

static void fiber_entry(void)
{
	struct cpu *c = this_cpu();
	struct fiber *f = c->running;

	f->fn(f->arg);
	f->next = c->dead;
	c->dead = f;
	switch_out();
	panic("an ended fiber runs");
}

struct fiber *fiber_create(const char *name, void (*fn)(void *arg), void *arg)
{
	struct cpu *c = this_cpu();
	struct fiber *f = c->dead;
	uint64_t *sp;

	if (f) {
		c->dead = f->next;
	} else {
		f = mem_alloc(&fiber_tag, sizeof(*f));
		if (!f)
			return NULL;
		f->stack = vmap_stack(FIBER_STACK_SIZE);
		if (!f->stack) {
			mem_free(f);
			return NULL;
		}
	}
	str_copy(f->name, sizeof(f->name), name);
	f->fn = fn;
	f->arg = arg;
	f->timed_out = false;
	f->waiting = NULL;
	sp = (uint64_t *)((char *)f->stack + FIBER_STACK_SIZE);
	*--sp = 0; /* where fiber_entry would return to: the end of a backtrace */
	*--sp = (uint64_t)fiber_entry;
	sp -= 6; /* the registers stack_switch() takes back */
	memset(sp, 0, 6 * sizeof(*sp));
	f->sp = (uint64_t)sp;
	make_ready(f);
	return f;
}

/* Runs what is ready now; true if anything was. */
bool fibers_run(void)
{
	struct cpu *c = this_cpu();
	struct fiber *f, *last = c->ready_tail;

	if (!c->ready_head)
		return false;
	do {
		f = c->ready_head;
		c->ready_head = f->next;
		c->running = f;
		stack_switch(&c->loop_sp, f->sp);
	} while (f != last && c->ready_head);
	return true;
}

void fiber_yield(void)
{
	make_ready(fiber_self());
	switch_out();
}

static void waitq_remove(struct waitq *q, struct fiber *f)
{
	struct fiber **p = &q->head, *prev = NULL;

	while (*p && *p != f) {
		prev = *p;
		p = &(*p)->next;
	}
	if (!*p)
		return;
	*p = f->next;
	if (q->tail == f)
		q->tail = prev;
	f->waiting = NULL;
}

static void fiber_timeout(struct timer *t)
{
	struct fiber *f = container_of(t, struct fiber, timer);

	f->timed_out = true;
	if (f->waiting)
		waitq_remove(f->waiting, f);
	make_ready(f);
}

void fiber_sleep(uint64_t ns)
{
	struct fiber *f = fiber_self();

	f->timer.fn = fiber_timeout;
	timer_start(&f->timer, now_ns() + ns);
	switch_out();
	f->timed_out = false;
}

void waitq_wait(struct waitq *q)
{
	struct fiber *f = fiber_self();

	ASSERT(f);
	f->next = NULL;
	f->waiting = q;
	if (q->head)
		q->tail->next = f;
	else
		q->head = f;
	q->tail = f;
	switch_out();
}

int waitq_wait_until(struct waitq *q, uint64_t due_ns)
{
	struct fiber *f = fiber_self();
	bool late;

	f->timed_out = false;
	f->timer.fn = fiber_timeout;
	timer_start(&f->timer, due_ns);
	waitq_wait(q);
	timer_stop(&f->timer);
	late = f->timed_out;
	f->timed_out = false;
	return late ? -ETIMEDOUT : 0;
}

void waitq_wake_all(struct waitq *q)
{
	struct fiber *f = q->head;

	q->head = q->tail = NULL;
	while (f) {
		struct fiber *next = f->next;

		f->waiting = NULL;
		timer_stop(&f->timer);
		make_ready(f);
		f = next;
	}
}

void gate_enter(struct gate *g)
{
	while (g->owner)
		waitq_wait(&g->q);
	g->owner = fiber_self();
}

void gate_leave(struct gate *g)
{
	ASSERT(g->owner == fiber_self());
	g->owner = NULL;
	waitq_wake_all(&g->q);
}

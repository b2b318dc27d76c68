/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_fiber - kernel/api/fiber.h over ucontext, and the escape from a caught panic, which is a
 * switch of stacks too.  The address sanitizer is told of every switch.  Stacks are larger than the
 * kernel's because instrumented frames are; a guard page stands below each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "tests/host/host_internal.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(HOST_ASAN)
#define HOST_ASAN 1
#endif
#ifdef HOST_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES (256u * 1024)
#define GUARD_BYTES PAGE_SIZE

/* A stack and where its code is. */
struct context {
	ucontext_t uc;
	void *fake; /* the sanitizer's */
	const void *bottom;
	size_t size;
};

struct fiber {
	struct fiber *next; /* ready queue or waitq */
	struct list all;
	struct context ctx;
	struct context *resume; /* ctx, or host_expect_panic()'s on top of it */
	char *stack;
	char name[32];
	void (*fn)(void *arg);
	void *arg;
	unsigned core;
	bool ready, ended, timed_out;
	struct waitq *waits_on;
	struct timer timer;
};

/* One caught panic at a time. */
static struct expect {
	struct context ctx;
	struct context *back;
	void (*fn)(void *arg);
	void *arg;
	bool active, panicked;
} expect;
static char panic_words[512];

static struct fiber *running;
static struct context *here; /* which context is executing; NULL until the first switch */
static struct context base;  /* the process's own stack */
static struct context *loop; /* what a fiber gives way to */
static struct list all_fibers = LIST_INIT(all_fibers);

/* ---- stacks ---- */

static struct context *context_here(void)
{
	return here ? here : &base;
}

/* First thing on a stack that was switched to: `from` learns its bounds for the way back. */
static void context_arrived(struct context *to, struct context *from)
{
#ifdef HOST_ASAN
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(to->fake, &bottom, &size);
	if (from && !from->bottom) {
		from->bottom = bottom;
		from->size = size;
	}
#else
	(void)from;
#endif
	here = to;
}

static struct context *came_from;

static void context_leave(struct context *from, struct context *to, bool for_good)
{
#ifdef HOST_ASAN
	__sanitizer_start_switch_fiber(for_good ? NULL : &from->fake, to->bottom, to->size);
#else
	(void)for_good;
#endif
	came_from = from;
}

/*
 * What the sanitizer guards between the frames on a stack, from where we are upwards, stays guarded
 * when a failed assertion jumps over those frames, unless they are on the stack it jumps from.  So
 * the process's stack is cleaned whenever it is left, else the words of a failure on a fiber would
 * drown in the sanitizer's own.
 */
static void clean_base(void)
{
#ifdef HOST_ASAN
	char *sp = __builtin_frame_address(0);

	if (base.bottom)
		__asan_unpoison_memory_region(
			sp, (size_t)((const char *)base.bottom + base.size - sp));
#endif
}

static void context_switch(struct context *to)
{
	struct context *from = context_here();
	volatile bool back = false;

	if (from == &base)
		clean_base();
	/* Not swapcontext(): the sanitizer would forget what it guards on the stack we go to, and
	 * print a warning into every test's output. */
	getcontext(&from->uc);
	if (!back) {
		back = true;
		context_leave(from, to, false);
		setcontext(&to->uc);
		abort();
	}
	context_arrived(from, NULL);
}

static void __noreturn context_exit_to(struct context *to)
{
	context_leave(context_here(), to, true);
	setcontext(&to->uc);
	abort();
}

static char *stack_new(void)
{
	char *s = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (s == MAP_FAILED)
		return NULL;
	mprotect(s, GUARD_BYTES, PROT_NONE);
	return s;
}

static void stack_free(char *s)
{
#ifdef HOST_ASAN
	__asan_unpoison_memory_region(s, GUARD_BYTES + STACK_BYTES);
#endif
	munmap(s, GUARD_BYTES + STACK_BYTES);
}

static void context_make(struct context *c, char *stack, void (*entry)(void))
{
	getcontext(&c->uc);
	c->bottom = stack + GUARD_BYTES;
	c->size = STACK_BYTES;
	c->uc.uc_stack.ss_sp = stack + GUARD_BYTES;
	c->uc.uc_stack.ss_size = STACK_BYTES;
	c->uc.uc_link = NULL;
	makecontext(&c->uc, entry, 0);
}

/* ---- fibers ---- */

static void fiber_entry(void)
{
	struct fiber *f = running;

	context_arrived(&f->ctx, came_from);
	f->fn(f->arg);
	f->ended = true;
	context_exit_to(loop);
}

static void make_ready(struct fiber *f)
{
	struct core *c = &host_cores[f->core];

	ASSERT(!f->ready);
	f->ready = true;
	f->next = NULL;
	if (c->ready_tail)
		c->ready_tail->next = f;
	else
		c->ready_head = f;
	c->ready_tail = f;
}

static void waitq_remove(struct waitq *q, struct fiber *f)
{
	struct fiber **at = &q->head, *prev = NULL;

	while (*at != f) {
		prev = *at;
		at = &(*at)->next;
	}
	*at = f->next;
	if (q->tail == f)
		q->tail = prev;
}

static void fiber_timer(struct timer *t)
{
	struct fiber *f = container_of(t, struct fiber, timer);

	if (f->waits_on) {
		waitq_remove(f->waits_on, f);
		f->waits_on = NULL;
		f->timed_out = true;
	}
	make_ready(f);
}

struct fiber *fiber_create(const char *name, void (*fn)(void *arg), void *arg)
{
	struct fiber *f = host_alloc_fails() ? NULL : calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->stack = stack_new();
	if (!f->stack) {
		free(f);
		return NULL;
	}
	str_copy(f->name, sizeof(f->name), name);
	f->fn = fn;
	f->arg = arg;
	f->core = host_core;
	f->timer.fn = fiber_timer;
	f->resume = &f->ctx;
	context_make(&f->ctx, f->stack, fiber_entry);
	list_add_tail(&all_fibers, &f->all);
	make_ready(f);
	return f;
}

static void fiber_free(struct fiber *f)
{
	list_del(&f->all);
	stack_free(f->stack);
	free(f);
}

struct fiber *fiber_self(void)
{
	return running;
}

const char *fiber_name(const struct fiber *f)
{
	return f->name;
}

bool host_run_fibers(void)
{
	struct core *c = &host_cores[host_core];
	struct fiber *last = c->ready_tail, *f;
	struct context *was_loop = loop;
	bool more = last != NULL;

	if (!last)
		return false;
	loop = context_here();
	while (more && (f = c->ready_head)) {
		more = f != last;
		c->ready_head = f->next;
		if (!c->ready_head)
			c->ready_tail = NULL;
		f->ready = false;
		running = f;
		context_switch(f->resume);
		running = NULL;
		if (f->ended)
			fiber_free(f);
	}
	loop = was_loop;
	return true;
}

/* Back to the loop until someone makes us ready. */
static void fiber_block(void)
{
	running->resume = context_here();
	context_switch(loop);
}

static struct fiber *fiber_must(const char *who)
{
	if (!running)
		panic("%s: not on a fiber", who);
	ASSERT(running->core == host_core);
	return running;
}

void fiber_yield(void)
{
	make_ready(fiber_must("fiber_yield"));
	fiber_block();
}

void fiber_sleep(uint64_t ns)
{
	struct fiber *f = fiber_must("fiber_sleep");

	timer_start(&f->timer, now_ns() + ns);
	fiber_block();
}

static void waitq_add(struct waitq *q, struct fiber *f)
{
	f->next = NULL;
	if (q->tail)
		q->tail->next = f;
	else
		q->head = f;
	q->tail = f;
	f->waits_on = q;
	f->timed_out = false;
}

void waitq_wait(struct waitq *q)
{
	waitq_add(q, fiber_must("waitq_wait"));
	fiber_block();
}

int waitq_wait_until(struct waitq *q, uint64_t due_ns)
{
	struct fiber *f = fiber_must("waitq_wait_until");

	waitq_add(q, f);
	timer_start(&f->timer, due_ns);
	fiber_block();
	return f->timed_out ? -ETIMEDOUT : 0;
}

void waitq_wake_all(struct waitq *q)
{
	struct fiber *f;

	while ((f = q->head)) {
		q->head = f->next;
		ASSERT(f->core == host_core);
		f->waits_on = NULL;
		timer_stop(&f->timer);
		make_ready(f);
	}
	q->tail = NULL;
}

void gate_enter(struct gate *g)
{
	struct fiber *f = fiber_must("gate_enter");

	ASSERT(g->owner != f);
	while (g->owner)
		waitq_wait(&g->q);
	g->owner = f;
}

void gate_leave(struct gate *g)
{
	ASSERT(running && g->owner == running);
	g->owner = NULL;
	waitq_wake_all(&g->q);
}

struct host_fiber_run {
	void (*fn)(void *arg);
	void *arg;
	bool ended;
};

static void host_fiber_main(void *arg)
{
	struct host_fiber_run *r = arg;

	r->fn(r->arg);
	r->ended = true;
}

static bool host_fiber_ended(void *arg)
{
	return ((struct host_fiber_run *)arg)->ended;
}

void host_fiber(void (*fn)(void *arg), void *arg)
{
	struct host_fiber_run r = { .fn = fn, .arg = arg };

	if (!fiber_create("test", host_fiber_main, &r))
		panic("host_fiber: no memory (a host_fail_alloc() meant for the fiber's code?)");
	if (!host_run_until(host_fiber_ended, &r, 86400 * NS_PER_S))
		panic("host_fiber: the fiber waits for ever");
}

unsigned host_nr_fibers(void)
{
	unsigned n = 0;
	struct fiber *f;

	list_for_each (f, &all_fibers, all)
		n++;
	return n;
}

void host_fiber_reset(void)
{
	struct fiber *f, *next;

	if (running || context_here() != &base) {
		/* A failed assertion jumped off a fiber's stack behind our back. */
		running = NULL;
#ifdef HOST_ASAN
		__sanitizer_start_switch_fiber(NULL, base.bottom, base.size);
		__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
		here = &base;
	}
	loop = NULL;
	expect.active = false;
	list_for_each_safe (f, next, &all_fibers, all)
		fiber_free(f);
}

/* ---- panics that a test wants ---- */

static void expect_entry(void)
{
	context_arrived(&expect.ctx, came_from);
	expect.fn(expect.arg);
	context_exit_to(expect.back);
}

void host_escape(const char *text)
{
	if (!expect.active)
		return;
	str_copy(panic_words, sizeof(panic_words), text);
	expect.panicked = true;
	context_exit_to(expect.back);
}

bool host_expect_panic(void (*fn)(void *arg), void *arg)
{
	char *stack = stack_new();
	struct fiber *was = running;
	struct context *was_loop = loop;
	unsigned core = host_core;
	bool inside = !was && !host_outside();

	ASSERT(stack && !expect.active);
	expect.fn = fn;
	expect.arg = arg;
	expect.active = true;
	expect.panicked = false;
	expect.back = context_here();
	context_make(&expect.ctx, stack, expect_entry);
	context_switch(&expect.ctx);
	expect.active = false;
	running = was;
	loop = was_loop;
	host_core = core;
	host_set_inside(inside || was);
	stack_free(stack);
	return expect.panicked;
}

const char *host_panic_text(void)
{
	return panic_words;
}

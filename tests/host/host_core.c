/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_core - clock, cores and their loops: kernel/api/core.h and timer.h played by one thread.
 * What a real loop does with halting is done here too, so a driver that forgets to arm its queue or
 * a model that forgets its interrupt hangs in a test as it would in the machine.
 */
#include "tests/host/host_internal.h"

#define TURNS_MAX (50u * 1000 * 1000) /* more than any test needs before it is idle */

struct core host_cores[MAX_CORES];
unsigned host_core;
static unsigned nr = 1;
static uint64_t clock_ns;
static bool shuffled, inside;
static struct rng shuffle_rng;

void host_core_reset(void)
{
	memset(host_cores, 0, sizeof(host_cores));
	for (unsigned i = 0; i < MAX_CORES; i++) {
		host_cores[i].work_tail = &host_cores[i].work_head;
		list_init(&host_cores[i].pollers);
	}
	host_core = 0;
	nr = 1;
	clock_ns = 0;
	shuffled = inside = false;
}

/* A test that forgets host_reset() still finds its loops in order. */
__attribute__((constructor)) static void core_start(void)
{
	host_core_reset();
}

bool host_outside(void)
{
	return !inside && !fiber_self();
}

void host_set_inside(bool yes)
{
	inside = yes;
}

void host_set_cores(unsigned n)
{
	ASSERT(n >= 1 && n <= MAX_CORES);
	ASSERT(host_outside());
	nr = n;
}

void host_set_core(unsigned core)
{
	ASSERT(core < nr && host_outside());
	host_core = core;
	host_cores[core].woken = true; /* what runs there next is no halted core's doing */
}

void host_shuffle(uint64_t seed)
{
	shuffled = seed != 0;
	rng_seed(&shuffle_rng, seed);
}

unsigned this_core(void)
{
	return host_core;
}

unsigned nr_cores(void)
{
	return nr;
}

uint64_t now_ns(void)
{
	return clock_ns;
}

/* ---- work ---- */

void work_send(unsigned core, struct work *w)
{
	struct core *c = &host_cores[core];

	ASSERT(core < nr);
	ASSERT(w->fn);
	if (c->nr_works < 256)
		for (struct work *q = c->work_head; q; q = q->next)
			ASSERT(q != w); /* posted while still queued */
	w->next = NULL;
	*c->work_tail = w;
	c->work_tail = &w->next;
	c->nr_works++;
	c->woken = true;
}

void work_post(struct work *w)
{
	work_send(host_core, w);
}

/* What is queued now; what it posts waits for the next turn. */
static bool run_works(struct core *c)
{
	unsigned n = c->nr_works;

	for (unsigned i = 0; i < n; i++) {
		struct work *w = c->work_head;

		c->work_head = w->next;
		if (!c->work_head)
			c->work_tail = &c->work_head;
		c->nr_works--;
		w->next = NULL;
		w->fn(w);
	}
	return n != 0;
}

struct call {
	struct work work;
	void (*fn)(void *arg);
	void *arg;
	unsigned from;
	bool ran;
	struct completion done;
};

/* First on the called core, then, sent back, on the caller's. */
static void call_run(struct work *w)
{
	struct call *c = container_of(w, struct call, work);

	if (!c->ran) {
		c->ran = true;
		c->fn(c->arg);
		work_send(c->from, &c->work);
		return;
	}
	completion_signal(&c->done);
}

void core_call(unsigned core, void (*fn)(void *arg), void *arg)
{
	struct call c = { .work.fn = call_run, .fn = fn, .arg = arg, .from = host_core };

	ASSERT(fiber_self());
	work_send(core, &c.work);
	completion_wait(&c.done);
}

/* ---- timers ---- */

/* Of those of one generation prev leads to the first, and from there to their parent. */
static void check_core(const struct core *c, const struct timer *t)
{
	while (t->prev)
		t = t->prev;
	if (t != timerheap_first(&c->timers))
		panic("timer: it was started on another core");
}

void timer_start(struct timer *t, uint64_t due_ns)
{
	struct core *c = &host_cores[host_core];

	ASSERT(t->fn);
	if (t->pending) {
		check_core(c, t);
		timerheap_remove(&c->timers, t);
	}
	t->due_ns = due_ns;
	timerheap_insert(&c->timers, t);
}

void timer_stop(struct timer *t)
{
	struct core *c = &host_cores[host_core];

	if (!t->pending)
		return;
	check_core(c, t);
	timerheap_remove(&c->timers, t);
}

/* Those due when the turn came to them; one that restarts itself as due waits for the next turn. */
static bool run_timers(struct core *c)
{
	struct timer *t;
	bool any = false;

	for (unsigned n = 0; n < 1024 && (t = timerheap_pop_due(&c->timers, clock_ns)); n++) {
		any = true;
		t->fn(t);
	}
	return any;
}

uint64_t host_next_due(void)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < nr; i++) {
		struct timer *t = timerheap_first(&host_cores[i].timers);

		if (t && t->due_ns < due)
			due = t->due_ns;
	}
	return due;
}

/* ---- pollers ---- */

void poller_add(struct poller *p)
{
	struct core *c = &host_cores[host_core];

	ASSERT(p->poll && !list_linked(&p->node));
	list_add_tail(&c->pollers, &p->node);
	c->woken = true;
}

static bool on_list(const struct list *head, const struct list *node)
{
	for (const struct list *n = head->next; n != head; n = n->next)
		if (n == node)
			return true;
	return false;
}

void poller_del(struct poller *p)
{
	struct core *c = &host_cores[host_core];

	if (!list_linked(&p->node))
		return;
	if (!on_list(&c->pollers, &p->node))
		panic("poller_del: it was added on another core");
	if (c->next_poller == &p->node)
		c->next_poller = p->node.next;
	list_del(&p->node);
}

static bool run_pollers(struct core *c, bool arm)
{
	bool any = false;

	for (struct list *n = c->pollers.next; n != &c->pollers; n = c->next_poller) {
		struct poller *p = container_of(n, struct poller, node);

		c->next_poller = n->next;
		if (arm)
			any |= p->arm && p->arm(p);
		else
			any |= p->poll(p);
	}
	c->next_poller = NULL;
	return any;
}

/* ---- the loop ---- */

void host_wake(unsigned core)
{
	ASSERT(core < nr);
	host_cores[core].woken = true;
}

static bool core_turn(unsigned core)
{
	struct core *c = &host_cores[core];
	struct timer *t = timerheap_first(&c->timers);
	bool any;

	if (c->halted && !c->woken && !c->ready_head && !(t && t->due_ns <= clock_ns))
		return false;
	host_core = core;
	c->halted = c->woken = false;
	any = run_works(c);
	any |= run_timers(c);
	any |= host_run_fibers();
	any |= run_pollers(c, false);
	if (any || c->woken)
		return true;
	if (run_pollers(c, true))
		return true;
	c->halted = true;
	return c->woken; /* by what arming did */
}

bool host_turn(void)
{
	unsigned order[MAX_CORES] = { 0 }, was = host_core;
	bool any = false;

	ASSERT(host_outside());
	inside = true;
	for (unsigned i = 0; i < nr; i++)
		order[i] = i;
	for (unsigned i = nr; shuffled && i > 1; i--) {
		unsigned j = (unsigned)rng_below(&shuffle_rng, i), o = order[i - 1];

		order[i - 1] = order[j];
		order[j] = o;
	}
	for (unsigned i = 0; i < nr; i++)
		any |= core_turn(order[i]);
	host_core = was;
	inside = false;
	/* What a core did for one that had its turn already, or for its own next turn. */
	for (unsigned i = 0; i < nr; i++)
		any |= host_cores[i].woken || host_cores[i].ready_head;
	return any || host_next_due() <= clock_ns;
}

void host_run(void)
{
	for (unsigned n = 0; host_turn(); n++)
		if (n == TURNS_MAX)
			panic("host_run: never idle");
}

/* To the next timer if that is not after limit.  False: there is none. */
static bool step_clock(uint64_t limit)
{
	uint64_t due = host_next_due();

	if (due == UINT64_MAX || due > limit)
		return false;
	if (due > clock_ns)
		clock_ns = due;
	return true;
}

bool host_run_until(bool (*cond)(void *arg), void *arg, uint64_t max_ns)
{
	uint64_t limit = max_ns > UINT64_MAX - clock_ns ? UINT64_MAX : clock_ns + max_ns;

	for (unsigned n = 0; n < TURNS_MAX; n++) {
		if (cond(arg))
			return true;
		if (!host_turn() && !step_clock(limit))
			return cond(arg);
	}
	panic("host_run_until: never idle");
}

void host_advance(uint64_t ns)
{
	uint64_t limit = clock_ns + ns;

	do
		host_run();
	while (step_clock(limit));
	clock_ns = limit;
	host_run();
}

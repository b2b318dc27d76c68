/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_host - what all other unit tests stand on: loops, time, fibers, memory, interrupts,
 * registers and consoles of tests/host keep the contracts of kernel/api, and catch who breaks them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/host/host.h"

static struct mem_tag tag = MEM_TAG("test host");
static char story[512]; /* what happened, in order */

static void tell(const char *fmt, ...) __printf(1, 2);
static void tell(const char *fmt, ...)
{
	size_t len = strlen(story);
	va_list ap;

	va_start(ap, fmt);
	str_vprintf(story + len, sizeof(story) - len, fmt, ap);
	va_end(ap);
}

static int setup(void **state)
{
	host_reset();
	story[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	bool clean = host_mem_check() && !host_nr_fibers();

	host_reset();
	return clean ? 0 : -1;
}

static void assert_panics(void (*fn)(void *arg), void *arg, const char *words)
{
	assert_true(host_expect_panic(fn, arg));
	if (!strstr(host_panic_text(), words))
		fail_msg("panic: %s", host_panic_text());
}

/* ---- work ---- */

struct note {
	struct work work;
	char name;
	struct work *then;
};

static void note_run(struct work *w)
{
	struct note *n = container_of(w, struct note, work);

	tell("%c%u ", n->name, this_core());
	if (n->then)
		work_post(n->then);
}

static void test_work(void **state)
{
	struct note c = { { NULL, note_run }, 'c', NULL };
	struct note a = { { NULL, note_run }, 'a', &c.work }, b = { { NULL, note_run }, 'b', NULL };

	work_post(&a.work);
	work_post(&b.work);
	assert_string_equal(story, ""); /* never inside the caller */
	assert_true(host_turn());
	assert_string_equal(story, "a0 b0 "); /* what a posted waits for the next turn */
	assert_true(host_turn());
	assert_string_equal(story, "a0 b0 c0 ");
	host_run();
	assert_false(host_turn());
	work_post(&b.work); /* again, once it has begun */
	host_run();
	assert_string_equal(story, "a0 b0 c0 b0 ");
}

static void post(void *arg)
{
	work_post(arg);
}

static void test_work_twice(void **state)
{
	struct note a = { { NULL, note_run }, 'a', NULL };

	work_post(&a.work);
	assert_panics(post, &a.work, "q != w");
	host_run();
}

static void test_work_across(void **state)
{
	struct note n[10];

	host_set_cores(4);
	for (unsigned i = 0; i < 10; i++) {
		n[i] = (struct note){ { NULL, note_run }, (char)('a' + i), NULL };
		work_send(i % 2 ? 3 : 1, &n[i].work);
	}
	host_run();
	assert_string_equal(story, "a1 c1 e1 g1 i1 b3 d3 f3 h3 j3 ");
	assert_int_equal(nr_cores(), 4);
	assert_int_equal(this_core(), 0);
}

static void one_history(uint64_t seed, char *out)
{
	struct note n[8];

	host_reset();
	story[0] = '\0';
	host_set_cores(8);
	host_shuffle(seed);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 8; i++) {
			n[i] = (struct note){ { NULL, note_run }, 'w', NULL };
			work_send(i, &n[i].work);
		}
		host_run();
	}
	str_copy(out, sizeof(story), story);
}

/* A seed is one history; another seed is another. */
static void test_shuffle(void **state)
{
	char straight[512], one[512], again[512], other[512];

	one_history(0, straight);
	one_history(1, one);
	one_history(1, again);
	one_history(2, other);
	assert_memory_equal(straight, "w0 w1 w2 w3 w4 w5 w6 w7 w0", 26);
	assert_string_not_equal(straight, one);
	assert_string_equal(one, again);
	assert_string_not_equal(one, other);
}

/* ---- timers ---- */

struct alarm {
	struct timer timer;
	char name;
	uint64_t again_ns; /* restarts itself so much later */
};

static void alarm_rings(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);

	assert_false(t->pending);
	assert_int_equal(now_ns(), t->due_ns);
	tell("%c%llu ", a->name, (unsigned long long)now_ns());
	if (a->again_ns && now_ns() < 30)
		timer_start(t, now_ns() + a->again_ns);
}

static void test_timers(void **state)
{
	struct alarm a = { { .fn = alarm_rings }, 'a', 7 }, b = { { .fn = alarm_rings }, 'b', 0 };
	struct alarm c = { { .fn = alarm_rings }, 'c', 0 };

	timer_stop(&a.timer); /* idle: nothing */
	timer_start(&a.timer, 10);
	timer_start(&b.timer, 25);
	timer_start(&c.timer, 11);
	timer_stop(&c.timer);
	timer_start(&b.timer, 5); /* earlier after all */
	assert_int_equal(host_next_due(), 5);
	host_run();
	assert_string_equal(story, "");
	assert_int_equal(now_ns(), 0); /* time moves by order only */
	host_advance(23);
	assert_string_equal(story, "b5 a10 a17 ");
	assert_int_equal(now_ns(), 23);
	host_advance(1);
	assert_string_equal(story, "b5 a10 a17 a24 ");
	host_advance(100);
	assert_string_equal(story, "b5 a10 a17 a24 a31 ");
	assert_int_equal(now_ns(), 124);
	assert_int_equal(host_next_due(), UINT64_MAX);
}

static void late_rings(struct timer *t)
{
	tell("late ");
	timer_stop(t);
}

static void test_timer_overdue(void **state)
{
	struct timer t = { .fn = late_rings };

	host_advance(1000);
	timer_start(&t, 3); /* in the past: at the next turn, not at once */
	assert_string_equal(story, "");
	host_run();
	assert_string_equal(story, "late ");
	assert_int_equal(now_ns(), 1000);
}

static struct timer at_once = { .fn = late_rings };

static bool start_at_once(struct poller *p)
{
	if (!story[0] && !at_once.pending)
		timer_start(&at_once, now_ns());
	return false;
}

/* Started when the timers had their turn already: the loop must not halt over it. */
static void test_timer_from_poller(void **state)
{
	struct poller p = { .poll = start_at_once };

	poller_add(&p);
	host_run();
	assert_string_equal(story, "late ");
	poller_del(&p);
}

static void stop_timer(void *arg)
{
	timer_stop(arg);
}

static void start_timer(void *arg)
{
	timer_start(arg, 1);
}

static void test_timer_core(void **state)
{
	struct timer t = { .fn = late_rings }, other = { .fn = late_rings };

	host_set_cores(2);
	host_set_core(1);
	timer_start(&other, 5);
	timer_start(&t, 9);
	host_set_core(0);
	assert_panics(stop_timer, &t, "another core");
	assert_panics(start_timer, &other, "another core");
	host_set_core(1);
	timer_stop(&t);
	timer_stop(&other);
}

static bool is_past(void *arg)
{
	return now_ns() >= *(uint64_t *)arg;
}

static void test_run_until(void **state)
{
	struct alarm a = { { .fn = alarm_rings }, 'a', 7 };
	uint64_t when = 20;

	assert_false(host_run_until(is_past, &when, NS_PER_S)); /* nothing will ever happen */
	timer_start(&a.timer, 10);
	assert_false(host_run_until(is_past, &when, 12));
	assert_int_equal(now_ns(), 10);
	assert_true(host_run_until(is_past, &when, 20));
	assert_int_equal(now_ns(), 24);
	timer_stop(&a.timer);
}

/* ---- pollers and halting ---- */

/* A device with a finished counter that tells of new ones only when armed. */
struct device {
	struct poller poller;
	struct irq irq;
	unsigned finished, taken;
	unsigned nr_polls, nr_arms;
	bool armed;
};

static bool device_poll(struct poller *p)
{
	struct device *d = container_of(p, struct device, poller);
	bool any = d->taken != d->finished;

	d->nr_polls++;
	d->taken = d->finished;
	return any;
}

static bool device_arm(struct poller *p)
{
	struct device *d = container_of(p, struct device, poller);

	d->nr_arms++;
	d->armed = true;
	return d->taken != d->finished;
}

static void device_finish(struct device *d)
{
	d->finished++;
	if (d->armed)
		assert_true(host_irq_raise(d->irq.msi_addr, d->irq.msi_data));
	d->armed = false;
}

static void test_halt(void **state)
{
	struct device d = { .poller = { .poll = device_poll, .arm = device_arm } };
	unsigned polls;

	assert_int_equal(irq_alloc_msi(&d.irq, 0), 0);
	poller_add(&d.poller);
	host_run();
	assert_int_equal(d.nr_arms, 1);
	polls = d.nr_polls;
	host_run(); /* halted: not polled */
	assert_int_equal(d.nr_polls, polls);
	device_finish(&d);
	host_run();
	assert_int_equal(d.taken, 1);
	assert_int_equal(d.irq.count, 1);
	assert_int_equal(d.nr_arms, 2);
	d.armed = false; /* a driver that forgets to arm, or a device without interrupt, hangs */
	device_finish(&d);
	host_run();
	assert_int_equal(d.taken, 1);
	host_wake(0);
	host_run();
	assert_int_equal(d.taken, 2);
	poller_del(&d.poller);
	poller_del(&d.poller);
}

static bool finish_while_arming(struct poller *p)
{
	struct device *d = container_of(p, struct device, poller);

	if (!d->nr_arms++)
		d->finished++;
	return d->taken != d->finished;
}

static void test_arm_race(void **state)
{
	struct device d = { .poller = { .poll = device_poll, .arm = finish_while_arming } };

	poller_add(&d.poller);
	host_run();
	assert_int_equal(d.taken, 1);
	poller_del(&d.poller);
}

static struct poller *to_delete;

static bool delete_next(struct poller *p)
{
	if (to_delete)
		poller_del(to_delete);
	to_delete = NULL;
	return false;
}

static void delete_poller(void *arg)
{
	poller_del(arg);
}

static void test_poller_del(void **state)
{
	struct poller a = { .poll = delete_next };
	struct device b = { .poller = { .poll = device_poll } },
		      c = { .poller = { .poll = device_poll } };

	poller_add(&a);
	poller_add(&b.poller);
	poller_add(&c.poller);
	to_delete = &b.poller;
	host_turn();
	assert_int_equal(b.nr_polls, 0);
	assert_int_equal(c.nr_polls, 1);
	host_set_cores(2);
	host_set_core(1);
	assert_panics(delete_poller, &a, "another core");
	host_set_core(0);
	poller_del(&a);
	poller_del(&c.poller);
}

static void test_irq(void **state)
{
	struct irq msi[3], wired;

	host_set_cores(3);
	host_irq_limit(4);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(irq_alloc_msi(&msi[i], i), 0);
	assert_int_equal(irq_alloc_gsi(&wired, 2, 11, true), 0);
	assert_int_equal(irq_alloc_msi(&wired, 0), -ENOSPC);
	assert_int_equal(irq_alloc_gsi(&wired, 0, 100000, false), -ENODEV);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j <= i; j++)
			assert_true(host_irq_raise(msi[i].msi_addr, msi[i].msi_data));
	assert_true(host_gsi_raise(11));
	assert_false(host_gsi_raise(12));
	assert_false(host_irq_raise(msi[0].msi_addr, msi[1].msi_data));
	assert_false(host_irq_raise(0, 0));
	assert_false(host_irq_raise(msi[0].msi_addr, UINT32_MAX));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(msi[i].count, i + 1);
	assert_int_equal(wired.count, 1);
}

/* ---- fibers ---- */

static void yielder(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		tell("%s%u ", fiber_name(fiber_self()), i);
		fiber_yield();
	}
}

static void test_yield(void **state)
{
	assert_null(fiber_self());
	assert_non_null(fiber_create("a", yielder, NULL));
	assert_non_null(fiber_create("b", yielder, NULL));
	assert_int_equal(host_nr_fibers(), 2);
	assert_string_equal(story, "");
	host_turn();
	assert_string_equal(story, "a0 b0 "); /* once a turn */
	host_run();
	assert_string_equal(story, "a0 b0 a1 b1 a2 b2 ");
	assert_int_equal(host_nr_fibers(), 0);
}

static void sleeper(void *arg)
{
	fiber_sleep(*(uint64_t *)arg);
	tell("%llu ", (unsigned long long)now_ns());
}

static void test_sleep(void **state)
{
	uint64_t ns[] = { 30, 10, 20 };

	for (unsigned i = 0; i < 3; i++)
		assert_non_null(fiber_create("s", sleeper, &ns[i]));
	host_run();
	assert_string_equal(story, "");
	host_advance(50);
	assert_string_equal(story, "10 20 30 ");
	host_fiber(sleeper, &ns[0]);
	assert_int_equal(now_ns(), 80);
}

static struct waitq queue;

static void waiter(void *arg)
{
	const uint64_t *due = arg;
	int err = 0;

	if (due)
		err = waitq_wait_until(&queue, *due);
	else
		waitq_wait(&queue);
	tell("%s%s@%llu ", fiber_name(fiber_self()), err == -ETIMEDOUT ? "!" : "",
		(unsigned long long)now_ns());
}

static void test_waitq(void **state)
{
	uint64_t early = 5, late = 50;

	queue = (struct waitq){ 0 };
	waitq_wake_all(&queue);
	fiber_create("a", waiter, NULL);
	fiber_create("b", waiter, &early);
	fiber_create("c", waiter, &late);
	fiber_create("d", waiter, &early);
	fiber_create("e", waiter, NULL);
	host_advance(10);
	assert_string_equal(story, "b!@5 d!@5 ");
	waitq_wake_all(&queue);
	assert_string_equal(story, "b!@5 d!@5 "); /* ready, not run */
	host_run();
	assert_string_equal(story, "b!@5 d!@5 a@10 c@10 e@10 ");
	assert_int_equal(host_next_due(), UINT64_MAX); /* c's timer is gone */
	assert_null(queue.head);
	assert_null(queue.tail);
	fiber_create("f", waiter, &early); /* due already */
	host_run();
	assert_string_equal(story, "b!@5 d!@5 a@10 c@10 e@10 f!@10 ");
}

struct gated {
	struct gate gate;
	unsigned inside, entered;
};

static void through_gate(void *arg)
{
	struct gated *g = arg;

	gate_enter(&g->gate);
	assert_int_equal(g->inside++, 0);
	g->entered++;
	fiber_yield();
	fiber_sleep(3);
	g->inside--;
	gate_leave(&g->gate);
}

static void test_gate(void **state)
{
	struct gated g = { 0 };

	for (unsigned i = 0; i < 6; i++)
		fiber_create("g", through_gate, &g);
	host_advance(1000);
	assert_int_equal(g.entered, 6);
	assert_null(g.gate.owner);
}

static void where(void *arg)
{
	assert_null(fiber_self());
	*(unsigned *)arg = this_core();
}

static void caller(void *arg)
{
	for (unsigned i = 0; i < nr_cores(); i++) {
		unsigned core = 99;

		core_call(i, where, &core);
		assert_int_equal(core, i);
		assert_int_equal(this_core(), 2);
	}
	tell("done");
}

static void test_core_call(void **state)
{
	host_set_cores(4);
	host_set_core(2);
	host_fiber(caller, NULL);
	assert_string_equal(story, "done");
}

static void off_fiber(void *arg)
{
	fiber_yield();
}

static void forever(void *arg)
{
	waitq_wait(&queue);
}

static void run_forever(void *arg)
{
	host_fiber(forever, NULL);
}

static void test_fiber_misuse(void **state)
{
	assert_panics(off_fiber, NULL, "not on a fiber");
	queue = (struct waitq){ 0 };
	assert_panics(run_forever, NULL, "waits for ever");
	host_reset(); /* takes the fiber that still waits */
	assert_int_equal(host_nr_fibers(), 0);
}

/* Deep, but within the 16 KiB of the kernel times what the sanitizer adds. */
static unsigned eat_stack(unsigned depth)
{
	volatile char bytes[512];

	bytes[depth % 512] = (char)depth;
	return depth ? eat_stack(depth - 1) + (bytes[depth % 512] != (char)depth) : 0;
}

static void deep(void *arg)
{
	assert_int_equal(eat_stack(24), 0);
	tell("deep");
}

static void test_deep(void **state)
{
	host_fiber(deep, NULL);
	assert_string_equal(story, "deep");
}

/* A test that fails on a fiber jumps from its stack; the next one must not notice. */
static jmp_buf jump;

static void jumper(void *arg)
{
	fiber_yield();
	longjmp(jump, 1);
}

static void test_failed_on_fiber(void **state)
{
	if (!setjmp(jump))
		host_fiber(jumper, NULL);
	assert_non_null(fiber_self());
	host_reset();
	assert_null(fiber_self());
	assert_int_equal(host_nr_fibers(), 0);
	host_fiber(deep, NULL);
	assert_string_equal(story, "deep");
}

static void panicker(void *arg)
{
	fiber_sleep(5);
	panic("on purpose %d", 1);
}

static void run_panicker(void *arg)
{
	host_fiber(panicker, NULL);
}

static void leaver(void *arg)
{
	if (arg)
		machine_reboot();
	machine_poweroff();
}

static void nothing(void *arg)
{
	tell("nothing ");
}

static void expect_on_fiber(void *arg)
{
	assert_true(host_expect_panic(panicker, NULL) && fiber_self());
	assert_false(host_expect_panic(nothing, NULL));
	fiber_yield();
	tell("on");
}

static void test_expect_panic(void **state)
{
	assert_false(host_expect_panic(nothing, NULL));
	assert_panics(run_panicker, NULL, "on purpose 1");
	assert_panics(leaver, NULL, "poweroff");
	assert_panics(leaver, story, "reboot");
	host_reset();
	story[0] = '\0';
	host_fiber(expect_on_fiber, NULL);
	assert_string_equal(story, "nothing on");
}

/* ---- memory ---- */

static void test_memory(void **state)
{
	char *a = mem_alloc(&tag, 100), *b = page_alloc(&tag, 2);
	struct mem_stats st;
	struct mem_tag *t;

	assert_int_equal((uintptr_t)a % 16, 0);
	assert_int_equal((uintptr_t)b % (4 * PAGE_SIZE), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(a[i], 0);
	for (unsigned i = 0; i < 4 * PAGE_SIZE; i++)
		assert_int_equal(b[i], 0);
	assert_int_equal(tag.bytes, 100 + 4 * PAGE_SIZE);
	assert_int_equal(tag.nr, 2);
	for (t = mem_tags(); t && t != &tag; t = t->next)
		;
	assert_ptr_equal(t, &tag);
	mem_stats(&st);
	assert_int_equal(st.total_bytes - st.free_bytes, tag.bytes);
	assert_false(host_mem_check());
	mem_free(a);
	page_free(&tag, b, 2);
	mem_free(NULL);
	mem_free_wipe(NULL);
	page_free(&tag, NULL, 3);
	assert_int_equal(tag.bytes, 0);
	assert_int_equal(tag.peak_bytes, 100 + 4 * PAGE_SIZE);
	assert_true(host_mem_check());
	assert_null(page_alloc(&tag, PAGE_ORDER_MAX + 1));
	assert_null(mem_alloc(&tag, SIZE_MAX));
	mem_free_wipe(mem_alloc(&tag, 32));
}

static void free_it(void *arg)
{
	mem_free(arg);
}

static void free_pages(void *arg)
{
	page_free(&tag, arg, 1);
}

static void free_other_tag(void *arg)
{
	static struct mem_tag other = MEM_TAG("other");

	page_free(&other, arg, 0);
}

static void test_bad_free(void **state)
{
	char *a = mem_alloc(&tag, 100), *b = page_alloc(&tag, 0);

	assert_panics(free_it, a + 16, "not allocated");
	assert_panics(free_it, b, "of order 0");
	assert_panics(free_pages, b, "of order 0");
	assert_panics(free_other_tag, b, "\"test host\"");
	mem_free(a);
	page_free(&tag, b, 0);
	assert_panics(free_it, a, "not allocated");
}

static unsigned try_three(void)
{
	void *a = mem_alloc(&tag, 8), *b = page_alloc(&tag, 0);
	struct fiber *f = fiber_create("f", nothing, NULL);
	unsigned got = (a ? 1 : 0) + (b ? 1 : 0) + (f ? 1 : 0);

	mem_free(a);
	page_free(&tag, b, 0);
	host_run();
	return got;
}

static void test_fail_alloc(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		unsigned got;

		host_fail_alloc(n);
		got = try_three();
		if (!host_alloc_failed()) {
			assert_int_equal(got, 3);
			break;
		}
		assert_int_equal(got, 2); /* just the one */
	}
	assert_int_equal(n, 4);
	assert_int_equal(try_three(), 3);
}

/* host_reset() takes what a failed test left. */
static void test_reset_frees(void **state)
{
	assert_non_null(mem_alloc(&tag, 77));
	assert_non_null(page_alloc(&tag, 3));
	host_set_cores(3);
	host_reset();
	assert_true(host_mem_check());
	assert_int_equal(tag.bytes, 0);
	assert_int_equal(nr_cores(), 1);
	assert_null(mem_tags());
}

/* ---- registers ---- */

struct chip {
	uint64_t regs[4];
	unsigned nr_reads;
};

static uint64_t chip_read(void *ctx, uint64_t off, unsigned size)
{
	struct chip *c = ctx;
	uint64_t v = 0;

	c->nr_reads++;
	memcpy(&v, (char *)c->regs + off, size);
	return v;
}

static void chip_write(void *ctx, uint64_t off, unsigned size, uint64_t v)
{
	memcpy((char *)((struct chip *)ctx)->regs + off, &v, size);
}

static void read_register(void *arg)
{
	(void)mmio_read32(arg);
}

static void test_mmio(void **state)
{
	static const struct host_mmio_ops ops = { chip_read, chip_write };
	struct chip one = { 0 }, two = { 0 };
	volatile char *a, *b;

	host_mmio_region(0xfe000000, sizeof(one.regs), &ops, &one);
	host_mmio_region(0xfe001000, sizeof(two.regs), &ops, &two);
	a = mmio_map(0xfe000000, 32);
	b = mmio_map(0xfe001008, 8);
	assert_non_null(a);
	assert_non_null(b);
	mmio_write32(a + 4, 0x11223344);
	mmio_write8(a, 0x55);
	mmio_write16(a + 2, 0x6677);
	assert_true(one.regs[0] == 0x1122334466770055);
	mmio_write64(b, 0x0123456789abcdef);
	assert_true(two.regs[1] == 0x0123456789abcdef);
	assert_int_equal(mmio_read8(b), 0xef);
	assert_int_equal(mmio_read16(b + 2), 0x89ab);
	assert_int_equal(mmio_read32(b + 4), 0x01234567);
	assert_true(mmio_read64(b) == two.regs[1]);
	assert_int_equal(one.nr_reads, 0);
	assert_int_equal(two.nr_reads, 4);
	assert_null(mmio_map(0xfe000000, 33));
	assert_null(mmio_map(0xfe000000, 0));
	assert_null(mmio_map(0xfdffffff, 8));
	assert_null(mmio_map(UINT64_MAX - 3, 8));
	assert_panics(read_register, (void *)(uintptr_t)(a + 2), "mmio: 4 bytes at 0x2");
	assert_panics(read_register, (void *)(uintptr_t)(a + 32), "no register");
	assert_panics(read_register, &one, "no register");
}

static void test_dma(void **state)
{
	char *p = page_alloc(&tag, 0);

	assert_ptr_equal(dma_ptr(dma_addr(p) + 5), p + 5);
	page_free(&tag, p, 0);
}

/* ---- consoles, the machine ---- */

static struct host_console tty;

static void echo(void *arg)
{
	char buf[8];
	size_t n;

	for (;;) {
		while (!(n = tty.console.read(&tty.console, buf, sizeof(buf))))
			waitq_wait(&tty.console.readable);
		tty.console.write(&tty.console, buf, n);
		if (memchr(buf, '.', n))
			return;
	}
}

static void write_outside(void *arg)
{
	tty.console.write(&tty.console, "x", 1);
}

static void test_console(void **state)
{
	struct console other = { .name = "other" };

	assert_null(console_next(NULL));
	host_console_add(&tty, "tty");
	console_register(&other);
	assert_ptr_equal(console_next(NULL), &tty.console);
	assert_ptr_equal(console_next(&tty.console), &other);
	assert_null(console_next(&other));
	tty.bite = 3;
	fiber_create("echo", echo, NULL);
	host_console_type(&tty, "typed early, ", 13);
	host_run();
	assert_string_equal(host_console_text(&tty), "typed early, ");
	host_console_clear(&tty);
	host_console_type(&tty, "and late.", 9);
	host_run();
	assert_string_equal(host_console_text(&tty), "and late.");
	assert_int_equal(host_nr_fibers(), 0);
	assert_panics(write_outside, NULL, "outside of a fiber");
	host_console_free(&tty);
	assert_ptr_equal(console_next(NULL), &other);
}

static void test_machine(void **state)
{
	struct strbuf sb = { 0 };

	assert_string_equal(machine_cmdline(), "");
	host_set_cmdline("cairn.run=\"help\"");
	assert_string_equal(machine_cmdline(), "cairn.run=\"help\"");
	assert_int_equal(fw_cfg_read("opt/cairn/config", 100, &sb), -ENOENT);
	host_fw_cfg_add("opt/cairn/config", "a\0b", 3);
	host_fw_cfg_add("empty", NULL, 0);
	assert_int_equal(fw_cfg_read("opt/cairn/config", 2, &sb), -E2BIG);
	assert_int_equal(sb.len, 0);
	assert_int_equal(fw_cfg_read("opt/cairn/config", 3, &sb), 0);
	assert_int_equal(sb.len, 3);
	assert_memory_equal(sb.data, "a\0b", 3);
	assert_int_equal(fw_cfg_read("empty", 0, &sb), 0);
	strbuf_free(&sb);
	assert_int_equal(strlen(machine_build_id()), 40);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(work),
		T(work_twice),
		T(work_across),
		T(shuffle),
		T(timers),
		T(timer_overdue),
		T(timer_from_poller),
		T(timer_core),
		T(run_until),
		T(halt),
		T(arm_race),
		T(poller_del),
		T(irq),
		T(yield),
		T(sleep),
		T(waitq),
		T(gate),
		T(core_call),
		T(fiber_misuse),
		T(deep),
		T(failed_on_fiber),
		T(expect_panic),
		T(memory),
		T(bad_free),
		T(fail_alloc),
		T(reset_frees),
		T(mmio),
		T(dma),
		T(console),
		T(machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

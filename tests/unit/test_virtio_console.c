/* SPDX-License-Identifier: BSD-2-Clause */
/* test_virtio_console - hvc0 over every transport: typing, printing, waiting, and wicked devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/virtio/mmio.h"
#include "tests/host/host.h"
#include "tests/host/model_virtio.h"

#define REGS_AT 0xfe000000u

static struct model_virtio m, m2;
static unsigned fail_nth; /* allocation of an attach; 0: none */

static int setup(void **state)
{
	fail_nth = 0;
	host_reset();
	virtio_mmio_reset();
	model_pci_reset(true);
	model_console_init(&m);
	return 0;
}

static int teardown(void **state)
{
	model_virtio_free(&m);
	model_virtio_free(&m2);
	model_pci_reset(false);
	host_reset();
	return 0;
}

/* ---- what happens on fibers ---- */

static int attach_err;

static void attach_one(void *v)
{
	host_fail_alloc(fail_nth);
	attach_err = virtio_attach(v);
}

static void attach_all(void *arg)
{
	drivers_attach();
}

static struct console *attach(void)
{
	host_fiber(attach_one, &m.v);
	host_run();
	return console_next(NULL);
}

struct text {
	struct console *c;
	const char *text;
	size_t n;
	bool done;
};

static void write_text(void *arg)
{
	struct text *t = arg;

	t->c->write(t->c, t->text, t->n);
	t->done = true;
}

static struct text say(struct console *c, const char *text)
{
	struct text t = { c, text, strlen(text), false };

	host_fiber(write_text, &t);
	host_run();
	assert_true(t.done);
	return t;
}

static const char *printed(struct model_virtio *which)
{
	return strbuf_text(&which->output);
}

static size_t reads(struct console *c, char *buf, size_t n)
{
	size_t got = c->read(c, buf, n - 1);

	buf[got] = 0;
	host_wake(0); /* the reader's turn of the loop */
	host_run();
	return got;
}

static void talk(struct console *c)
{
	char buf[64];

	assert_non_null(c);
	assert_string_equal(c->name, "hvc0");
	assert_int_equal(reads(c, buf, sizeof(buf)), 0);
	say(c, "hello\r\n");
	assert_string_equal(printed(&m), "hello\r\n");
	model_console_type(&m, "lsblk\n");
	host_advance(NS_PER_S);
	assert_int_equal(reads(c, buf, 4), 3);
	assert_string_equal(buf, "lsb");
	assert_int_equal(reads(c, buf, sizeof(buf)), 3);
	assert_string_equal(buf, "lk\n");
	assert_int_equal(reads(c, buf, sizeof(buf)), 0);
	say(c, "more");
	assert_string_equal(printed(&m), "hello\r\nmore");
}

/* ---- the same over everything it can hang on ---- */

static void test_direct(void **state)
{
	talk(attach());
}

static void test_no_irq(void **state)
{
	m.no_irq = true;
	talk(attach());
}

static void test_plain_rings(void **state)
{
	m.offered = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	talk(attach());
}

static void test_mmio(void **state)
{
	for (unsigned version = 1; version <= 2; version++) {
		setup(state);
		model_virtio_mmio(&m, version, REGS_AT, 5);
		virtio_mmio_add(REGS_AT, 512, 5);
		host_fiber(attach_all, NULL);
		talk(console_next(NULL));
		host_fiber((void (*)(void *))drivers_shutdown, NULL);
		assert_int_equal(m.dev_status, 0);
		model_virtio_free(&m);
	}
}

static void test_pci(void **state)
{
	model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, true);
	host_fiber(attach_all, NULL);
	talk(console_next(NULL));
	assert_true(m.nr_irqs > 0);
	host_fiber((void (*)(void *))drivers_shutdown, NULL);
	assert_int_equal(m.dev_status, 0);
}

/* Two devices are two consoles. */
static void test_two(void **state)
{
	struct console *c;

	attach();
	model_console_init(&m2);
	host_fiber(attach_one, &m2.v);
	c = console_next(console_next(NULL));
	assert_non_null(c);
	assert_string_equal(c->name, "hvc1");
	say(c, "second");
	assert_string_equal(printed(&m2), "second");
	assert_string_equal(printed(&m), "");
}

/* ---- much at once ---- */

/* What nobody reads stays on the other side, and nothing is lost. */
static void test_input_waits(void **state)
{
	struct console *c = attach();
	char typed[4001], buf[100];
	size_t got = 0, n;

	for (unsigned i = 0; i < 4000; i++)
		typed[i] = 'a' + i % 23;
	typed[4000] = 0;
	model_console_type(&m, typed);
	host_run();
	assert_true(m.input_taken <= 8 * 256);
	while ((n = reads(c, buf, sizeof(buf))) != 0) {
		assert_memory_equal(buf, typed + got, n);
		got += n;
	}
	assert_int_equal(got, 4000);
}

/* The reader is woken. */
static void wait_input(void *arg)
{
	struct text *t = arg;
	char c;

	while (!t->c->read(t->c, &c, 1))
		waitq_wait(&t->c->readable);
	t->n = c;
	t->done = true;
}

static void test_reader_woken(void **state)
{
	struct text t = { .c = attach() };

	assert_non_null(fiber_create("reader", wait_input, &t));
	host_advance(10 * NS_PER_S);
	assert_false(t.done);
	model_console_type(&m, "x");
	host_run();
	assert_true(t.done);
	assert_int_equal(t.n, 'x');
}

static char much[20001];

static struct text much_of(struct console *c)
{
	for (unsigned i = 0; i < 20000; i++)
		much[i] = 'A' + i % 29;
	return (struct text){ c, much, 20000, false };
}

/* A slow device makes the writer wait, and it all arrives in order. */
static void test_output_waits(void **state)
{
	struct text t = much_of(attach());

	m.hold = true;
	assert_non_null(fiber_create("writer", write_text, &t));
	host_advance(NS_PER_S);
	assert_false(t.done);
	assert_in_range(m.nr_held, 8, 16);
	m.hold = false;
	model_virtio_release(&m, 0);
	host_run();
	assert_true(t.done);
	assert_string_equal(printed(&m), much);
}

/* ---- wicked devices ---- */

static void test_refused(void **state)
{
	m.offered &= ~VIRTIO_BIT(VIRTIO_F_VERSION_1);
	assert_null(attach());
	assert_true(host_log_has("does not offer virtio 1.x"));

	setup(state);
	m.nr_queues = 1;
	assert_null(attach());
	assert_int_equal(attach_err, -ENODEV);
	assert_true(host_mem_check());

	setup(state);
	m.never_reset = true;
	assert_null(attach());
	assert_int_equal(attach_err, -ETIMEDOUT);
	assert_true(host_log_has("does not confirm reset"));

	setup(state);
	m.vanished = true;
	assert_null(attach());
	assert_true(host_mem_check());
}

static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		setup(state);
		fail_nth = n;
		host_fiber(attach_one, &m.v);
		if (!host_alloc_failed())
			break;
		assert_null(console_next(NULL));
		assert_true(host_mem_check());
		model_virtio_free(&m);
	}
	assert_true(n > 8);
	assert_non_null(console_next(NULL));
}

/* It is left alone after one lie; who writes does not hang, and the loop comes to rest. */
static void test_lies(void **state)
{
	static const enum model_fault faults[] = { MODEL_REPEAT, MODEL_WRONG_ID, MODEL_ID_RANGE,
		MODEL_HUGE_LEN, MODEL_IDX_JUMP, MODEL_IDX_BACK };

	for (unsigned i = 0; i < ARRAY_SIZE(faults) * 2; i++) {
		struct console *c;
		struct text t;
		char buf[16];

		if (i & 1 && faults[i / 2] == MODEL_WRONG_ID)
			continue; /* all input buffers are with it: no id is wrong */
		if (!(i & 1) && faults[i / 2] == MODEL_IDX_BACK)
			continue; /* the next completion makes it a lost buffer, which is no lie */
		setup(state);
		c = attach();
		m.fault = faults[i / 2];
		m.fault_in = 1;
		if (i & 1)
			model_console_type(&m, "abc");
		t = much_of(c);
		assert_non_null(fiber_create("writer", write_text, &t));
		host_advance(NS_PER_S);
		assert_true(t.done);
		assert_true(host_log_has("is broken"));
		assert_true(host_log_has("misbehaves and is left"));
		assert_int_equal(m.dev_status, 0);
		say(c, "into nowhere");
		reads(c, buf, sizeof(buf));
		model_virtio_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_direct),
		T(test_no_irq),
		T(test_plain_rings),
		T(test_mmio),
		T(test_pci),
		T(test_two),
		T(test_input_waits),
		T(test_reader_woken),
		T(test_output_waits),
		T(test_refused),
		T(test_no_memory),
		T(test_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

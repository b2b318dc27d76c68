/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_virtio_blk_faults - disks that go wrong under load: every bio ends exactly once, in time,
 * and not while the device may still touch its memory (tests/host/load.h checks that); afterwards
 * the disk works again, or is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/virtio/mmio.h"
#include "tests/host/host.h"
#include "tests/host/load.h"
#include "tests/host/mapped.h"
#include "tests/host/model_virtio.h"

#define SECTORS 8192u
#define REGS_AT 0xfe000000u

enum where { DIRECT, MMIO_1, MMIO_2, PCI, NR_WHERE };

static struct model_virtio m;
static struct load load;
static struct bdev *dev;

static void end(void)
{
	load_free(&load);
	model_virtio_free(&m);
	host_reset();
	block_reset();
	virtio_mmio_reset();
	model_pci_reset(true);
}

static int teardown(void **state)
{
	end();
	return 0;
}

static void attach_main(void *arg)
{
	if (*(enum where *)arg == DIRECT)
		assert_int_equal(virtio_attach(&m.v), 0);
	else
		drivers_attach();
}

static bool owns(void *model, uint64_t addr)
{
	return model_virtio_owns(model, addr);
}

/* A disk with so many queues on as many cores, and a load that is not yet submitted. */
static void begin(enum where where, unsigned queues, uint64_t seed)
{
	end();
	host_set_cores(queues);
	host_shuffle(seed);
	model_blk_init(&m, SECTORS);
	rng_seed(&m.rng, seed);
	m.nr_queues = queues;
	model_blk_config(&m)->num_queues = (uint16_t)queues;
	if (where == MMIO_1 || where == MMIO_2) {
		model_virtio_mmio(&m, where == MMIO_1 ? 1 : 2, REGS_AT, 5);
		virtio_mmio_add(REGS_AT, 512, 5);
	} else if (where == PCI) {
		model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, true);
	}
	host_fiber(attach_main, &where);
	dev = bdev_find("vda");
	assert_non_null(dev);
	m.delay_ns = 50 * NS_PER_US;
	m.shuffle = true;
	load = (struct load){ .dev = dev, .owns = owns, .model = &m, .medium = m.data };
	rng_seed(&load.rng, seed);
}

/* All of it ends well. */
static void works(unsigned n)
{
	unsigned ok = load.nr_ok;

	load.lies = false;
	load_submit(&load, n);
	assert_true(load_run(&load, 10 * NS_PER_S));
	assert_int_equal(load.nr_ok, ok + n);
	assert_true(load_verify(&load));
}

static void is_gone(void)
{
	unsigned ok = load.nr_ok;

	host_advance(NS_PER_S); /* recovery may end a little after the last bio */
	assert_true(host_log_has("vda: gone"));
	assert_true(dev->gone);
	load_submit(&load, 10);
	assert_true(load_run(&load, 0));
	assert_int_equal(load.nr_ok, ok);
	assert_int_equal(load.last_err, -ENODEV);
}

/* ---- one wicked completion ---- */

static const enum model_fault lies[] = { MODEL_REPEAT, MODEL_WRONG_ID, MODEL_ID_RANGE,
	MODEL_HUGE_LEN, MODEL_IDX_JUMP, MODEL_IDX_BACK };

static void test_lies(void **state)
{
	unsigned recovered = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(lies) * NR_WHERE * 6; i++) {
		enum model_fault f = lies[i % ARRAY_SIZE(lies)];

		begin(i / ARRAY_SIZE(lies) % NR_WHERE, 1 + i % 3, i + 1);
		load.lies = f == MODEL_WRONG_ID || f == MODEL_IDX_BACK || f == MODEL_IDX_JUMP;
		m.fault = f;
		m.fault_in = 1 + i % 37;
		load_submit(&load, 100);
		load_run(&load, 5 * NS_PER_S);
		load_submit(&load, 100);
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_true(load.longest_ns <= 60 * NS_PER_S);
		assert_false(dev->gone);
		recovered += m.nr_resets > 1;
		if (load.lies)
			load_free(&load); /* what was read meanwhile may be anything */
		else
			assert_true(load_verify(&load));
		works(200);
	}
	assert_true(recovered > ARRAY_SIZE(lies) * NR_WHERE * 5);
}

/* One request is lost: that one times out, the others do not, and the disk goes on. */
static void test_drop(void **state)
{
	for (unsigned i = 0; i < 12; i++) {
		begin(i % NR_WHERE, 1 + i / 4, i + 1);
		m.fault = MODEL_DROP;
		m.fault_in = 1 + i * 3;
		load_submit(&load, 100);
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_int_equal(load.nr_ok, 99);
		assert_int_equal(load.last_err, -ETIMEDOUT);
		assert_in_range(load.longest_ns, 25 * NS_PER_S, 28 * NS_PER_S);
		assert_int_equal(m.nr_resets, 2);
		assert_true(host_log_has("no answer for 25 s"));
		host_run();
		assert_true(host_log_has("back after a reset"));
		assert_true(load_verify(&load));
		works(300);
	}
}

/* More than a mapped device lets through at once, to a disk that falls silent: what waited for its
 * turn has its answer within the minute as well (load.h checks it). */
static void test_silent_below_mapped(void **state)
{
	static const enum where there[] = { PCI, MMIO_2, DIRECT };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(there); i++) {
		begin(there[i / 2], 1 + i % 2, i + 1);
		dm_init();
		assert_int_equal(mapped_create("m", "0 8192 linear /dev/vda 0"), 0);
		load.dev = mapped_bdev("m");
		works(50);
		m.silent = true;
		load_submit(&load, 1500);
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_int_equal(load.nr_ok, 50);
		assert_in_range(load.longest_ns, 25 * NS_PER_S, 60 * NS_PER_S);
		host_advance(NS_PER_S);
		assert_int_equal(mapped_remove("m"), 0);
		load.dev = dev;
		assert_true(load_verify(&load));
	}
}

/* One is lost while the load goes on: those in flight at the reset are sent again and end well. */
static void test_drop_in_traffic(void **state)
{
	begin(PCI, 2, 5);
	m.delay_ns = 7 * NS_PER_S;
	m.fault = MODEL_DROP;
	m.fault_in = 3;
	for (unsigned i = 0; i < 20; i++) {
		load_submit(&load, 20);
		host_advance(3 * NS_PER_S);
	}
	assert_true(load_run(&load, 100 * NS_PER_S));
	assert_int_equal(load.nr_ok, 399);
	assert_true(load_verify(&load));
	assert_true(m.nr_requests > 401); /* some twice */
}

/* What is sent again after a reset keeps the age it has: resets do not add up. */
static void test_age(void **state)
{
	begin(DIRECT, 2, 1);
	m.hold = true;
	load_submit(&load, 30);
	host_advance(20 * NS_PER_S);
	m.fault = MODEL_ID_RANGE;
	m.fault_in = 1;
	model_virtio_release(&m, 1);
	host_advance(2 * NS_PER_S);
	assert_true(host_log_has("back after a reset"));
	assert_in_range(load.nr_done, 5, 25); /* of the queue that lied */
	assert_int_equal(load.last_err, -EIO);
	assert_true(load_run(&load, 100 * NS_PER_S));
	assert_int_equal(load.last_err, -ETIMEDOUT);
	assert_in_range(load.longest_ns, 25 * NS_PER_S, 28 * NS_PER_S);
	assert_true(load_verify(&load));
}

static void test_bad_status(void **state)
{
	static const struct {
		int status, err;
	} t[] = { { VIRTIO_BLK_S_IOERR, -EIO }, { VIRTIO_BLK_S_UNSUPP, -EOPNOTSUPP }, { 3, -EIO },
		{ 0xfe, -EIO } };

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin(DIRECT, 1, 1);
		m.status = t[i].status;
		load_submit(&load, 10);
		assert_true(load_run(&load, NS_PER_S));
		assert_int_equal(load.nr_ok, 0);
		assert_int_equal(load.last_err, t[i].err);
		m.status = -1;
		works(10);
		assert_int_equal(m.nr_resets, 1);
	}
	m.fault = MODEL_NO_STATUS;
	m.fault_in = 1;
	load_free(&load);
	load_submit(&load, 10);
	assert_true(load_run(&load, NS_PER_S));
	assert_int_equal(load.nr_ok, 9);
	assert_int_equal(load.last_err, -EIO);
}

static void test_asks_for_reset(void **state)
{
	begin(PCI, 2, 1);
	m.silent = true;
	load_submit(&load, 100);
	host_run();
	m.needs_reset = true;
	m.silent = false;
	assert_true(load_run(&load, 5 * NS_PER_S));
	assert_true(host_log_has("asks for a reset"));
	assert_int_equal(m.nr_resets, 2);
	works(100);
}

/* ---- for good ---- */

/* Takes everything, answers nothing.  More is submitted than the rings hold. */
static void test_silent(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		begin(i % NR_WHERE, 1 + i / 4, i + 1);
		m.silent = true;
		load_submit(&load, 400);
		host_advance(20 * NS_PER_S);
		load_submit(&load, 100);
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_int_equal(load.nr_ok, 0);
		assert_true(load_verify(&load));
		assert_false(dev->gone); /* one more chance */
		load_submit(&load, 10);
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_int_equal(load.last_err, -ETIMEDOUT);
		is_gone();
	}
}

/* It comes to its senses before anyone gave it up. */
static void test_silent_for_a_while(void **state)
{
	begin(DIRECT, 2, 3);
	m.silent = true;
	load_submit(&load, 300);
	assert_true(load_run(&load, 100 * NS_PER_S));
	assert_int_equal(load.nr_ok, 0);
	m.silent = false;
	works(300);
	m.silent = true;
	load_submit(&load, 10);
	assert_true(load_run(&load, 100 * NS_PER_S));
	assert_int_equal(load.last_err, -ETIMEDOUT);
	m.silent = false;
	works(100);
}

static void test_vanishes(void **state)
{
	for (unsigned i = 0; i < 12; i++) {
		begin(i % NR_WHERE, 1 + i / 4, i + 1);
		load_submit(&load, 300);
		if (i & 1)
			host_turn();
		m.vanished = true;
		if (m.regs.pci)
			m.regs.pci->gone = true;
		m.dma_off = true; /* what is not there reaches no memory */
		if (i % NR_WHERE == MMIO_1 || i % NR_WHERE == MMIO_2) {
			/* Nobody can know that: what it had stays with it. */
			assert_false(load_run(&load, 300 * NS_PER_S));
			assert_true(host_log_has("its requests are held"));
			continue;
		}
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_true(load_verify(&load));
		is_gone();
	}
}

/* It does not confirm the reset and goes on writing to the memory it was given. */
static void test_never_resets(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		begin(i & 1 ? PCI : DIRECT, 1 + i / 2, i + 1);
		m.silent = m.never_reset = true;
		load_submit(&load, 200);
		if (i & 1) {
			/* The real bus: cut off by its command register. */
			host_advance(25 * NS_PER_S);
			assert_int_equal(load.nr_done, 0);
		}
		assert_true(load_run(&load, 100 * NS_PER_S));
		assert_true(host_log_has("cut off from memory instead"));
		if (m.regs.pci)
			assert_int_equal(model_pci_get16(m.regs.pci, 4) & 4, 0);
		assert_true(load_verify(&load));
		is_gone();
	}
}

/* ... and cannot be cut off: nothing ends until it confirms after all. */
static void test_cannot_be_stopped(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		begin(i ? MMIO_2 : DIRECT, 1, 1);
		m.silent = m.never_reset = m.no_stop_dma = true;
		load_submit(&load, 200);
		assert_false(load_run(&load, 1000 * NS_PER_S));
		assert_int_equal(load.nr_done, 0);
		assert_true(host_log_has("can be neither reset nor cut off"));
		m.never_reset = false;
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_int_equal(load.nr_early, 0);
		assert_true(host_log_has("has confirmed the reset at last"));
		is_gone();
	}
}

/* A reset that takes its time, as long as it may. */
static void test_slow_reset(void **state)
{
	begin(MMIO_2, 1, 1);
	m.silent = true;
	m.reset_reads = 15000;
	load_submit(&load, 200);
	assert_true(load_run(&load, 100 * NS_PER_S));
	assert_in_range(load.longest_ns, 39 * NS_PER_S, 60 * NS_PER_S);
	assert_true(load_verify(&load));
	m.silent = false;
	works(100);
}

static void c_features(void)
{
	m.offered &= ~VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
}

static void c_smaller(void)
{
	model_blk_config(&m)->capacity = SECTORS - 1;
}

static void c_dead(void)
{
	m.stays_dead = true;
}

static void c_restless(void)
{
	m.restless = true;
}

/* What comes back from the reset is not the disk we knew. */
static void test_comes_back_other(void **state)
{
	static const struct {
		void (*change)(void);
		const char *words;
	} t[] = { { c_features, "came back with other features" },
		{ c_smaller, "came back smaller, 8191 sectors" },
		{ c_dead, "the device refused features" },
		{ c_restless, "its configuration never holds still" } };

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin(DIRECT, 2, i + 1);
		m.fault = MODEL_DROP;
		m.fault_in = 5;
		t[i].change();
		load_submit(&load, 100);
		host_advance(29 * NS_PER_S);
		load_submit(&load, 100);
		assert_true(load_run(&load, 100 * NS_PER_S));
		host_advance(NS_PER_S);
		assert_true(host_log_has(t[i].words));
		assert_true(load_verify(&load));
		is_gone();
	}
}

/* ---- chance ---- */

/* Whatever happens in whatever order, nothing is lost, early or late. */
static void test_random(void **state)
{
	unsigned seeds = getenv("CAIRN_SOAK") ? 2000 : 50;
	struct rng r;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		rng_seed(&r, seed);
		begin((enum where)rng_below(&r, NR_WHERE), 1 + (unsigned)rng_below(&r, 4), seed);
		for (unsigned round = 0; round < 8; round++) {
			load_submit(&load, (unsigned)rng_below(&r, 200));
			m.delay_ns = rng_below(&r, 3) * NS_PER_S * rng_below(&r, 2) + 1000;
			if (rng_below(&r, 2)) {
				m.fault = 1 + (unsigned)rng_below(&r, 8);
				m.fault_in = 1 + (unsigned)rng_below(&r, 100);
				load.lies |= m.fault == MODEL_WRONG_ID ||
					     m.fault == MODEL_IDX_BACK || m.fault == MODEL_IDX_JUMP;
			}
			m.silent = !rng_below(&r, 4);
			m.needs_reset = !rng_below(&r, 12);
			m.reset_reads = rng_below(&r, 2) ? 0 : (unsigned)rng_below(&r, 9000);
			if (rng_below(&r, 2))
				host_advance(rng_below(&r, 20 * NS_PER_S));
		}
		m.silent = false;
		m.reset_reads = 0;
		assert_true(load_run(&load, 200 * NS_PER_S));
		assert_int_equal(load.nr_early, 0);
		assert_int_equal(load.nr_done, load.nr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_teardown(f, teardown)
		T(test_lies),
		T(test_drop),
		T(test_silent_below_mapped),
		T(test_drop_in_traffic),
		T(test_age),
		T(test_bad_status),
		T(test_asks_for_reset),
		T(test_silent),
		T(test_silent_for_a_while),
		T(test_vanishes),
		T(test_never_resets),
		T(test_cannot_be_stopped),
		T(test_slow_reset),
		T(test_comes_back_other),
		T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

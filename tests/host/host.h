/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host - kernel/api a second time, as an ordinary process, for unit tests, fuzzers and the
 * simulator.  One thread plays all cores in turn; time stands still until a test moves it; nothing
 * happens but inside host_turn() and what calls it.  Equal calls give equal histories.
 *
 * A test begins with host_reset() and usually ends with assert_true(host_mem_check()).
 */
#ifndef TESTS_HOST_HOST_H
#define TESTS_HOST_HOST_H

#include "kernel/api/base.h"
#include "kernel/api/console.h"
#include "kernel/api/core.h"
#include "kernel/api/crypto.h"
#include "kernel/api/dma.h"
#include "kernel/api/errno.h"
#include "kernel/api/fiber.h"
#include "kernel/api/list.h"
#include "kernel/api/log.h"
#include "kernel/api/machine.h"
#include "kernel/api/mem.h"
#include "kernel/api/random.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"

/* Everything as at start: one core, time 0, no fibers, timers, pollers, consoles, models, log or
 * fault; frees what was allocated.  Also recovers from a test that failed on a fiber. */
void host_reset(void);

/* ---- time and the loops ---- */

/* How many cores there are, 1..MAX_CORES; while nothing runs. */
void host_set_cores(unsigned n);
/* Which core the test's own code, outside the loops, is on.  host_reset() makes it 0. */
void host_set_core(unsigned core);
/* From now on the cores take their turns in an order drawn from seed (0: in order of number). */
void host_shuffle(uint64_t seed);

/*
 * One turn of every core's loop: posted work, due timers, ready fibers, pollers.  A core whose turn
 * did nothing arms its pollers and, if they have nothing after all, halts as a real one does: until
 * work, a due timer, a ready fiber or an interrupt wakes it, its pollers are not polled.  True if
 * anything happened.  Not from a fiber or a callback.
 */
bool host_turn(void);
/* Turns until nothing happens.  Time does not move, timers that are not due stay. */
void host_run(void);
/* Turns until cond(arg), moving the clock to the next timer whenever nothing else is left to do, at
 * most max_ns from now.  The last answer of cond. */
bool host_run_until(bool (*cond)(void *arg), void *arg, uint64_t max_ns);
/* Moves the clock by ns, timer by timer, running everything that comes of it. */
void host_advance(uint64_t ns);
/* When the next timer of any core is due, UINT64_MAX: none. */
uint64_t host_next_due(void);
/* As if an interrupt came: the core polls its pollers at its next turn. */
void host_wake(unsigned core);

/* Runs fn(arg) on a new fiber of the test's core, turning (and moving time, up to a day) until it
 * has ended; panics if it never does. */
void host_fiber(void (*fn)(void *arg), void *arg);
/* Fibers that have not ended. */
unsigned host_nr_fibers(void);

/* ---- memory ---- */

/* True if everything allocated was freed; else says on stderr what was not. */
bool host_mem_check(void);
/* The n-th allocation from now (memory, pages, fibers; 1 = the next) fails, once; 0: none does. */
void host_fail_alloc(unsigned n);
/* True if the failure ordered last has happened.  Loop n until it did not:
 *	for (n = 1; host_fail_alloc(n), try(), host_alloc_failed(); n++) */
bool host_alloc_failed(void);

/* ---- broken promises ---- */

/* Calls fn(arg) and says whether it panicked; what it held by then is lost until host_reset().
 * Also catches machine_poweroff() and machine_reboot(). */
bool host_expect_panic(void (*fn)(void *arg), void *arg);
/* The words of the last caught panic; "poweroff" and "reboot" for those two. */
const char *host_panic_text(void);

/* ---- log, machine, console ---- */

bool host_log_has(const char *text); /* since host_reset() or host_log_clear() */
void host_log_clear(void);
/* A file that fw_cfg_read() finds; the bytes are copied. */
void host_fw_cfg_add(const char *name, const void *data, size_t len);
void host_set_cmdline(const char *line); /* copied */

/*
 * A console whose keyboard and screen are the test.  The test owns it and frees it before
 * host_mem_check().
 */
struct host_console {
	struct console console;
	struct strbuf in, out;
	size_t taken; /* of in */
	size_t bite;  /* most bytes one read() gives; 0: no such limit */
};

void host_console_add(struct host_console *hc, const char *name); /* registers; name stays yours */
void host_console_type(struct host_console *hc, const void *bytes, size_t n);
const char *host_console_text(struct host_console *hc); /* all that was written to it */
void host_console_clear(struct host_console *hc);
void host_console_free(struct host_console *hc);

/* ---- model devices ---- */

struct host_mmio_ops {
	/* size is 1, 2, 4 or 8 and off a multiple of it, inside the region. */
	uint64_t (*read)(void *ctx, uint64_t off, unsigned size);
	void (*write)(void *ctx, uint64_t off, unsigned size, uint64_t value);
};

/* mmio_map() of addresses inside [base, base + size) gives pointers whose mmio_read/mmio_write
 * reach ops; touching them directly faults, any other pointer panics.  size: up to 1 GiB. */
void host_mmio_region(uint64_t base, uint64_t size, const struct host_mmio_ops *ops, void *ctx);

/* A device writes an MSI: counts on the struct irq that has it and wakes its core.  False if nobody
 * has it. */
bool host_irq_raise(uint64_t msi_addr, uint32_t msi_data);
bool host_gsi_raise(unsigned gsi);
/* How many more interrupts can be had before -ENOSPC. */
void host_irq_limit(unsigned n);

#endif

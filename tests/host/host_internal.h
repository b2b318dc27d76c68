/* SPDX-License-Identifier: BSD-2-Clause */
/* host_internal - what the files of tests/host share and tests do not see. */
#ifndef TESTS_HOST_HOST_INTERNAL_H
#define TESTS_HOST_HOST_INTERNAL_H

#include "tests/host/host.h"
#include "kernel/lib/timerheap.h"

struct core {
	struct work *work_head, **work_tail;
	unsigned nr_works;
	struct timerheap timers;
	struct fiber *ready_head, *ready_tail;
	struct list pollers;
	struct list *next_poller; /* the loop's place in pollers, moved on by poller_del() */
	bool halted, woken;
};

extern struct core host_cores[MAX_CORES];
extern unsigned host_core; /* whose code is running */

void host_core_reset(void);
void host_fiber_reset(void);
void host_mem_reset(void);
void host_device_reset(void);

/* Runs what is ready on this core now; what becomes ready meanwhile waits for the next turn. */
bool host_run_fibers(void);
/* Counts towards host_fail_alloc(); true: fail this one. */
bool host_alloc_fails(void);
/* Leaves for host_expect_panic() if there is one around us. */
void host_escape(const char *text);
/* False on a fiber or inside host_turn(). */
bool host_outside(void);
void host_set_inside(bool inside);

#endif

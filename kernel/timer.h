/* SPDX-License-Identifier: BSD-2-Clause */
/* timer - what the loop asks of this core's timers. */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include "kernel/api/timer.h"

uint64_t timers_next_due(void); /* UINT64_MAX: none pending */
bool timers_run(void);          /* all that are due; true if any was */

#endif

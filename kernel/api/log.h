/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log - the ring that dmesg prints.  Any core, any context including interrupts; never blocks.
 * Oldest lines are overwritten.  Nothing goes to a console unasked.  A message is one line without
 * its newline, at most 240 bytes (the rest is cut), and begins with its component: "nvme0: ...".
 * Control bytes are stored as '?': what a disk says of itself cannot drive the reader's terminal.
 */
#ifndef KERNEL_API_LOG_H
#define KERNEL_API_LOG_H

#include "kernel/api/base.h"

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_write(enum log_level level, const char *fmt, ...) __printf(2, 3);

#define log_err(...)  log_write(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)

struct log_line {
	uint64_t seq;     /* 0, 1, 2 ... since boot */
	uint64_t when_ns; /* now_ns() at the time */
	enum log_level level;
	char text[241];
};

/* The line with number *seq or, if that is gone, the oldest after it; then *seq moves past it.
 * False when there is none yet. */
bool log_read(uint64_t *seq, struct log_line *line);

#endif

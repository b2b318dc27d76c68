/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * console - a line to a person or a program, bytes in and out.  COM1 and virtio-console make them;
 * boot/main.c starts a shell on each.  All on core 0.
 */
#ifndef KERNEL_API_CONSOLE_H
#define KERNEL_API_CONSOLE_H

#include "kernel/api/base.h"
#include "kernel/api/fiber.h"
#include "kernel/api/list.h"

struct console {
	struct list node;
	const char *name;      /* "ttyS0", "hvc0" */
	struct waitq readable; /* woken when read() may give something */
	/* What is there, at most n bytes, 0 if nothing; never waits, never loses a byte: what the
	 * reader has not taken stays with the sender. */
	size_t (*read)(struct console *c, char *buf, size_t n);
	/* All of it, waiting for room; call on a fiber. */
	may_block void (*write)(struct console *c, const char *buf, size_t n);
};

void console_register(struct console *c);
/* The first registered after prev (NULL: the first of all); NULL at the end. */
struct console *console_next(struct console *prev);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* console - the list of them. */
#include "kernel/api/console.h"

static struct list consoles = LIST_INIT(consoles);

void console_register(struct console *c)
{
	list_add_tail(&consoles, &c->node);
}

struct console *console_next(struct console *prev)
{
	struct list *n = prev ? prev->node.next : consoles.next;

	return n == &consoles ? NULL : container_of(n, struct console, node);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host_console - a console of text in memory.  Its reader gets what was typed, its writer gives way
 * to the loop after every call as a slow line would, so nobody's output is atomic by accident.
 */
#include "tests/host/host_internal.h"

static size_t console_read(struct console *c, char *buf, size_t n)
{
	struct host_console *hc = container_of(c, struct host_console, console);

	n = MIN(n, hc->in.len - hc->taken);
	if (hc->bite)
		n = MIN(n, hc->bite);
	if (n)
		memcpy(buf, hc->in.data + hc->taken, n);
	hc->taken += n;
	return n;
}

static void console_write(struct console *c, const char *buf, size_t n)
{
	struct host_console *hc = container_of(c, struct host_console, console);

	if (!fiber_self())
		panic("console %s: written to outside of a fiber", c->name);
	strbuf_write(&hc->out, buf, n);
	fiber_yield();
}

void host_console_add(struct host_console *hc, const char *name)
{
	*hc = (struct host_console){
		.console = { .name = name, .read = console_read, .write = console_write },
	};
	console_register(&hc->console);
}

void host_console_type(struct host_console *hc, const void *bytes, size_t n)
{
	strbuf_write(&hc->in, bytes, n);
	waitq_wake_all(&hc->console.readable);
}

const char *host_console_text(struct host_console *hc)
{
	return strbuf_text(&hc->out);
}

void host_console_clear(struct host_console *hc)
{
	strbuf_reset(&hc->out);
}

void host_console_free(struct host_console *hc)
{
	list_del(&hc->console.node);
	strbuf_free(&hc->in);
	strbuf_free(&hc->out);
}

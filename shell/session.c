/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session - one console with its prompt.  Bytes are taken from the console only when somebody wants
 * them, so that what is typed ahead waits with the sender; the exception is a running command that
 * looks for Ctrl-C, which keeps what it passed.
 */
#include "kernel/api/errno.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "shell/complete.h"
#include "shell/run.h"

#define AHEAD_MAX 4096 /* bytes kept while looking for Ctrl-C; then it is looked for no further */

static const char prompt[] = "cairn# ", table_prompt[] = "> ";

struct session {
	struct console *console;
	struct shell_io io;
	struct lineedit line;  /* at the prompt */
	struct lineedit input; /* what a command reads */
	struct history history;
	bool stop; /* Ctrl-C came since the command began */
	bool input_ended;
	char ahead[AHEAD_MAX];
	size_t ahead_pos, ahead_len;
};

static struct mem_tag session_tag = MEM_TAG("shell");

static void out(void *ctx, const char *s, size_t n)
{
	struct session *s_ = ctx;

	s_->console->write(s_->console, s, n);
}

/* Makes room behind what waits and takes what the console has.  False: nothing new. */
static bool take(struct session *s)
{
	size_t got;

	if (s->ahead_pos) {
		memmove(s->ahead, s->ahead + s->ahead_pos, s->ahead_len - s->ahead_pos);
		s->ahead_len -= s->ahead_pos;
		s->ahead_pos = 0;
	}
	got = s->console->read(s->console, s->ahead + s->ahead_len, AHEAD_MAX - s->ahead_len);
	s->ahead_len += got;
	return got;
}

static bool more(void *ctx)
{
	struct session *s = ctx;

	return s->ahead_pos < s->ahead_len || take(s);
}

static may_block char next_char(struct session *s)
{
	while (s->ahead_pos == s->ahead_len) {
		s->ahead_pos = s->ahead_len = 0;
		s->ahead_len = s->console->read(s->console, s->ahead, 64);
		if (!s->ahead_len)
			waitq_wait(&s->console->readable);
	}
	return s->ahead[s->ahead_pos++];
}

static may_block enum lineedit_event read_event(struct session *s, struct lineedit *le)
{
	enum lineedit_event e;

	lineedit_begin(le);
	do
		e = lineedit_feed(le, next_char(s));
	while (e == EDIT_MORE);
	return e;
}

/* ---- what a command sees ---- */

static may_block void session_write(struct shell_io *io, const char *text, size_t n)
{
	struct session *s = container_of(io, struct session, io);

	while (n) {
		const char *nl = memchr(text, '\n', n);
		size_t part = nl ? (size_t)(nl - text) : n;

		if (part)
			s->console->write(s->console, text, part);
		if (nl) {
			s->console->write(s->console, "\r\n", 2);
			part++;
		}
		text += part;
		n -= part;
	}
}

static may_block bool session_read_line(struct shell_io *io, struct strbuf *to, size_t max)
{
	struct session *s = container_of(io, struct session, io);
	enum lineedit_event e;

	if (s->input_ended) {
		s->input_ended = false;
		return false;
	}
	s->input.max = max;
	s->input.after_cr = s->line.after_cr; /* the LF of a CR LF may still be on its way */
	s->console->write(s->console, table_prompt, sizeof(table_prompt) - 1);
	e = read_event(s, &s->input);
	s->line.after_cr = s->input.after_cr;
	if (e == EDIT_CANCEL) {
		s->stop = true;
		return false;
	}
	if (e == EDIT_END) {
		s->console->write(s->console, "\r\n", 2);
		if (!s->input.len)
			return false;
		s->input_ended = true; /* Ctrl-D behind text: the text is the last line */
	}
	strbuf_write(to, s->input.buf, s->input.len);
	if (s->input.overflow)
		to->truncated = true;
	return true;
}

static bool session_interrupted(struct shell_io *io)
{
	struct session *s = container_of(io, struct session, io);
	char *c;

	if (s->stop)
		return true;
	while (s->ahead_len - s->ahead_pos < AHEAD_MAX && take(s))
		;
	c = memchr(s->ahead + s->ahead_pos, '\x03', s->ahead_len - s->ahead_pos);
	if (!c)
		return false;
	/* What was typed before it was meant for a command that will not come to read it. */
	s->ahead_pos = (size_t)(c + 1 - s->ahead);
	s->stop = true;
	return true;
}

/* ---- the prompt ---- */

static void run_typed(struct session *s)
{
	struct strbuf why = { 0 };

	if (s->line.overflow || strlen(s->line.buf) != s->line.len) {
		strbuf_puts(&why,
			s->line.overflow ? "the line is too long" : "the line holds a zero byte");
		run_say_error(&s->io, NULL, &why, -E2BIG);
		strbuf_free(&why);
		return;
	}
	history_add(&s->history, s->line.buf);
	s->stop = s->input_ended = false;
	shell_run_line(&s->io, s->line.buf, true);
}

static void session_run(void *arg)
{
	struct session *s = arg;

	for (;;) {
		s->console->write(s->console, prompt, sizeof(prompt) - 1);
		switch (read_event(s, &s->line)) {
		case EDIT_LINE:
			run_typed(s);
			break;
		case EDIT_END: /* the console stays; there is nowhere to leave to */
			s->console->write(s->console, "\r\n", 2);
			break;
		default:
			break;
		}
	}
}

int shell_start(struct console *c)
{
	struct session *s = mem_alloc(&session_tag, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->console = c;
	s->io.write = session_write;
	s->io.read_line = session_read_line;
	s->io.interrupted = session_interrupted;
	s->line = (struct lineedit){
		.ctx = s,
		.out = out,
		.more = more,
		.complete = shell_complete,
		.interactive = true,
		.again = prompt,
		.max = SHELL_LINE_MAX,
		.history = &s->history,
	};
	s->input = (struct lineedit){ .ctx = s, .out = out, .more = more, .again = table_prompt };
	if (!fiber_create(c->name, session_run, s)) {
		mem_free(s);
		return -ENOMEM;
	}
	return 0;
}

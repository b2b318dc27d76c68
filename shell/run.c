/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run - a line's commands one after the other, each behind a guard that keeps the promise about the
 * closing error line whatever the command prints.
 */
#include "shell/run.h"
#include "kernel/api/console.h"
#include "kernel/api/errno.h"
#include "kernel/api/fiber.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"

#define WHY_MAX   4096
#define WHY_SHOWN 1000
#define LOOK_NS   (50 * NS_PER_MS) /* how often a waiting command looks for Ctrl-C */

static const char error_word[] = "error: ";

/* ---- printing ---- */

void io_puts(struct shell_io *io, const char *s)
{
	io->write(io, s, strlen(s));
}

void io_printf(struct shell_io *io, const char *fmt, ...)
{
	struct strbuf sb = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(&sb, fmt, ap);
	va_end(ap);
	io->write(io, strbuf_text(&sb), sb.len);
	strbuf_free(&sb);
}

int fail(struct strbuf *why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(why, fmt, ap);
	va_end(ap);
	return err;
}

int io_sleep_until(struct shell_io *io, uint64_t due_ns, struct strbuf *why)
{
	for (;;) {
		uint64_t now = now_ns();

		if (io_interrupted(io))
			return fail(why, -EINTR, "interrupted");
		if (now >= due_ns)
			return 0;
		fiber_sleep(MIN(due_ns - now, LOOK_NS));
	}
}

/* ---- the guard ---- */

/*
 * Stands between a command and the console.  A line that begins like the closing error line is held
 * back until it is known whether it really does, and then gets a space before it.
 */
struct guard {
	struct shell_io io;
	struct shell_io *outer;
	bool line_start; /* nothing of this line was printed */
	uint8_t held;    /* so much of error_word is held back; line_start is false then */
	char buf[256];
	size_t n;
};

static void guard_flush(struct guard *g)
{
	if (g->n)
		g->outer->write(g->outer, g->buf, g->n);
	g->n = 0;
}

static void guard_put(struct guard *g, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (g->n == sizeof(g->buf))
			guard_flush(g);
		g->buf[g->n++] = s[i];
	}
}

static void guard_char(struct guard *g, char c)
{
	if (g->line_start || g->held) {
		if (c == error_word[g->held]) {
			g->line_start = false;
			if (error_word[++g->held])
				return;
			guard_put(g, " error: ", 8);
			g->held = 0;
			return;
		}
		guard_put(g, error_word, g->held);
		g->held = 0;
	}
	if (((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
		c = '?';
	guard_put(g, &c, 1);
	g->line_start = c == '\n';
}

static may_block void guard_write(struct shell_io *io, const char *s, size_t n)
{
	struct guard *g = container_of(io, struct guard, io);

	for (size_t i = 0; i < n; i++)
		guard_char(g, s[i]);
	guard_flush(g);
}

static may_block bool guard_read_line(struct shell_io *io, struct strbuf *out, size_t max)
{
	struct guard *g = container_of(io, struct guard, io);

	return g->outer->read_line(g->outer, out, max);
}

static bool guard_interrupted(struct shell_io *io)
{
	struct guard *g = container_of(io, struct guard, io);

	return g->outer->interrupted(g->outer);
}

static void guard_init(struct guard *g, struct shell_io *outer)
{
	g->outer = outer;
	g->io = (struct shell_io){ .write = guard_write };
	if (outer->read_line)
		g->io.read_line = guard_read_line;
	if (outer->interrupted)
		g->io.interrupted = guard_interrupted;
	g->line_start = true;
	g->held = 0;
	g->n = 0;
}

/* What is held back goes out, and a line that was begun is ended: what follows is ours. */
static may_block void guard_end(struct guard *g)
{
	guard_put(g, error_word, g->held);
	if (!g->line_start)
		guard_put(g, "\n", 1);
	g->held = 0;
	g->line_start = true;
	guard_flush(g);
}

void run_say_error(struct shell_io *io, const char *where, struct strbuf *why, int err)
{
	struct strbuf line = { 0 };
	const char *p = why->len ? strbuf_text(why) : err_text(err);

	strbuf_puts(&line, error_word);
	if (where)
		strbuf_printf(&line, "%s: ", where);
	for (size_t n = 0; *p && n < WHY_SHOWN; p++, n++) {
		if (*p == '\n' && !p[1])
			break;
		strbuf_putc(&line, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
	}
	strbuf_puts(&line, *p && *p != '\n' ? "...\n" : "\n");
	if (line.truncated)
		io_puts(io, "error: Cannot allocate memory\n");
	else
		io->write(io, strbuf_text(&line), line.len);
	strbuf_free(&line);
}

/* ---- commands ---- */

static const struct verb *verb_find(const char *name)
{
	for (unsigned i = 0; all_verbs[i]; i++)
		if (!strcmp(all_verbs[i]->name, name))
			return all_verbs[i];
	return NULL;
}

int run_command(struct shell_io *io, const char *where, struct words *w, struct strbuf *last)
{
	const struct verb *v;
	struct strbuf why;
	struct guard g;
	int err;

	if (!w->argc)
		return 0;
	strbuf_init(&why, WHY_MAX);
	guard_init(&g, io);
	v = verb_find(w->argv[0]);
	if (v)
		err = v->run(&g.io, w->argc, w->argv, &why);
	else
		err = fail(&why, -ENOENT, "%.60s: no such command (`help` lists them)", w->argv[0]);
	guard_end(&g);
	if (err >= 0) {
		err = 0;
	} else if (last) {
		strbuf_puts(last, why.len ? strbuf_text(&why) : err_text(err));
	} else {
		run_say_error(io, where, &why, err);
	}
	strbuf_free(&why);
	return err;
}

int run_line(struct shell_io *io, const char *where, const char *line, bool many)
{
	struct words w = { 0 };
	struct strbuf why;
	int err;

	strbuf_init(&why, WHY_MAX);
	err = words_check(line, many, &why);
	while (!err && *line) {
		err = words_next(&line, many, &w, &why);
		if (err)
			break;
		if (w.end == WORDS_JOB) {
			err = job_start(io, &w, &why);
			continue;
		}
		err = run_command(io, where, &w, NULL);
		words_free(&w);
		if (err) { /* it said so itself */
			strbuf_free(&why);
			return err;
		}
	}
	if (err)
		run_say_error(io, where, &why, err);
	strbuf_free(&why);
	return err;
}

int shell_run_line(struct shell_io *io, const char *line, bool many)
{
	return run_line(io, NULL, line, many);
}

/* ---- configuration at boot ---- */

struct config_io {
	struct shell_io io;
	const char *next; /* the line after the one that runs */
	unsigned line;    /* its number */
};

static may_block void config_write(struct shell_io *io, const char *s, size_t n)
{
	struct console *c = NULL;

	while (n) {
		const char *nl = memchr(s, '\n', n);
		size_t part = nl ? (size_t)(nl - s) : n;

		while ((c = console_next(c))) {
			if (part)
				c->write(c, s, part);
			if (nl)
				c->write(c, "\r\n", 2);
		}
		part += nl ? 1 : 0;
		s += part;
		n -= part;
	}
}

/* One line of the text into out; a Ctrl-D byte stands for its end.  False: there is none. */
static bool config_line(struct config_io *cfg, struct strbuf *out)
{
	const char *p = cfg->next;
	size_t n = 0;

	if (!*p)
		return false;
	cfg->line++;
	if (*p == '\x04') {
		cfg->next = p + 1;
		if (*cfg->next == '\r')
			cfg->next++;
		if (*cfg->next == '\n')
			cfg->next++;
		return false;
	}
	while (p[n] && p[n] != '\n' && p[n] != '\x04')
		n++;
	cfg->next = p + n + (p[n] == '\n' ? 1 : 0);
	if (n && p[n - 1] == '\r')
		n--;
	strbuf_write(out, p, n);
	return true;
}

static bool config_read_line(struct shell_io *io, struct strbuf *out, size_t max)
{
	struct config_io *cfg = container_of(io, struct config_io, io);
	size_t before = out->len;

	if (!config_line(cfg, out))
		return false;
	if (out->len - before > max)
		out->truncated = true;
	return true;
}

void shell_run_config(const char *what, const char *text)
{
	struct config_io cfg = { .next = text };
	struct strbuf line = { 0 };
	char where[64];
	int err;

	cfg.io.write = config_write;
	cfg.io.read_line = config_read_line;
	while (*cfg.next) {
		strbuf_reset(&line);
		if (!config_line(&cfg, &line))
			continue;
		str_printf(where, sizeof(where), "%s line %u", what, cfg.line);
		if (line.truncated || line.len > SHELL_LINE_MAX) {
			struct strbuf why = { 0 };

			strbuf_puts(&why, "the line is too long");
			run_say_error(&cfg.io, where, &why, -E2BIG);
			strbuf_free(&why);
			err = -E2BIG;
		} else {
			err = run_line(&cfg.io, where, strbuf_text(&line), true);
		}
		if (err)
			log_err("config: %s: %s", where, err_text(err));
	}
	strbuf_free(&line);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shell - words in, words out.  A session is one console with its prompt; run_line() is the same
 * without a console (boot-time configuration, tests).  Core 0, on a fiber.
 */
#ifndef SHELL_SHELL_H
#define SHELL_SHELL_H

#include "kernel/api/base.h"
#include "kernel/api/console.h"
#include "kernel/api/strbuf.h"

#define SHELL_LINE_MAX  (64u * 1024)
#define SHELL_WORDS_MAX 8192

/* Where a command reads following lines from and prints to. */
struct shell_io {
	void *ctx;
	may_block void (*write)(struct shell_io *io, const char *s, size_t n);
	/* One line without its end, appended to out; false at end of input (Ctrl-D) or when Ctrl-C
	 * came instead.  Of a line over max bytes only the beginning comes and out->truncated is
	 * set.  NULL: there is no input to read. */
	may_block bool (*read_line)(struct shell_io *io, struct strbuf *out, size_t max);
	/* Ctrl-C was typed since the command began.  NULL: never. */
	bool (*interrupted)(struct shell_io *io);
};

void io_printf(struct shell_io *io, const char *fmt, ...) __printf(2, 3);
void io_puts(struct shell_io *io, const char *s);

/*
 * A verb.  argv[0] is its own name, argv[argc] is NULL; run() may write into the words.  What it
 * prints is made harmless on the way: control bytes but newline and tab become '?', and a line that
 * would begin like the closing error line gets a space before it.  Returns 0 or -errno; on failure
 * it has put the reason into `why` and the shell prints "error: <why>" as the last line (control
 * bytes and newlines made harmless).  An empty why gets err_text().
 */
struct verb {
	const char *name;
	const char *usage; /* one line: "suspend [--noflush] <device>" */
	const char *help;  /* what it does, one or more lines */
	may_block int (*run)(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why);
	/* Optional: offers completions of the word begun, each by out(ctx, word); argv are the
	 * words before it, the verb's name first.  What does not begin with `begun` is left out by
	 * the caller.  Must not block. */
	void (*complete)(unsigned argc, char **argv, const char *begun,
		void (*out)(void *ctx, const char *word), void *ctx);
};

/* shell/verbs.c: every verb there is, NULL at the end; help and completion come from it. */
extern const struct verb *const all_verbs[];

/* Splits, runs, prints the closing error line.  ';' and '&&' separate commands when `many`: the
 * first that fails ends the line; '&' after one makes it a job.  A line that cannot be split is
 * refused before anything runs.  0 or -errno of the last command run. */
may_block int shell_run_line(struct shell_io *io, const char *line, bool many);

/* Starts a session on a fiber of its own. */
int shell_start(struct console *c);

/* The configuration given at boot (cairn.run=, opt/cairn/config), printed to every console before
 * the first prompt: text of commands, one a line; # comments. */
may_block void shell_run_config(const char *what, const char *text);

/* Called by reboot and poweroff once the disks are flushed, to leave the devices quiet.  NULL:
 * nobody.  boot/main.c says who. */
extern may_block void (*shell_before_stop)(void);

#endif

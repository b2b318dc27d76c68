/* SPDX-License-Identifier: BSD-2-Clause */
/* run - private to the shell: commands as words, jobs. */
#ifndef SHELL_RUN_H
#define SHELL_RUN_H

#include "shell/shell.h"
#include "shell/words.h"

/*
 * Runs one command and prints its closing error line; where: words that begin it ("cairn.run line
 * 2"), or NULL.  last: gets the reason instead of the line being printed (jobs), or NULL.
 */
may_block int run_command(
	struct shell_io *io, const char *where, struct words *w, struct strbuf *last);

/* "error: ..." as a line of its own, made harmless.  An empty why gets err_text(err). */
may_block void run_say_error(struct shell_io *io, const char *where, struct strbuf *why, int err);

/* As shell_run_line(), with `where` for the error line. */
may_block int run_line(struct shell_io *io, const char *where, const char *line, bool many);

/* Starts a job; takes the words (also on failure) and says "[number]". */
may_block int job_start(struct shell_io *io, struct words *w, struct strbuf *why);

/* Whether Ctrl-C was typed or the job was told to stop. */
static inline bool io_interrupted(struct shell_io *io)
{
	return io->interrupted && io->interrupted(io);
}

/* Sleeps until then or until interrupted: 0 or -EINTR (with words in why). */
may_block int io_sleep_until(struct shell_io *io, uint64_t due_ns, struct strbuf *why);

/* Words in why, then err. */
int fail(struct strbuf *why, int err, const char *fmt, ...) __printf(3, 4);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * words - a typed line as commands, a command as words, the way a Unix shell splits them:
 *
 *   'text'    as it stands               "text"   \" and \\ stand for " and \
 *   \c        the character c            #        at the start of a word: a comment to the end
 *   a; b      one after the other        a && b   the same (a command that fails ends the line)
 *   a &       as a job
 *
 * Nothing else is special: no variables, no patterns, no pipes.
 */
#ifndef SHELL_WORDS_H
#define SHELL_WORDS_H

#include "kernel/api/base.h"
#include "kernel/api/strbuf.h"

enum words_end {
	WORDS_LAST, /* end of the line or a comment */
	WORDS_THEN, /* ; or && */
	WORDS_JOB,  /* & */
};

struct words {
	unsigned argc;
	char **argv; /* argv[argc] is NULL */
	enum words_end end;
	void *mem;
};

/*
 * Takes the first command off *line.  Without `many` the characters ; and & are like any other.
 * 0, -EINVAL with words in why, or -ENOMEM.  argc may be 0.
 */
int words_next(const char **line, bool many, struct words *w, struct strbuf *why);
void words_free(struct words *w); /* wipes; zeroed: does nothing */

/* Whether all of a line can be split: 0 or as words_next(). */
int words_check(const char *line, bool many, struct strbuf *why);

/* Whether a line may hold a key or a password: such lines are kept nowhere. */
bool words_secret(const char *line);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lineedit - one line under the cursor of a terminal.  Bytes go in one by one, what the terminal
 * must show comes out through out().
 *
 * Typing at the end of the line shows the character and nothing else, so a pipe looks like a
 * person. Any other change of a line that fits 80 columns is drawn with backspaces.  A longer line
 * is, once it is edited inside, shown through a window on the terminal's current row: the width is
 * never asked for, and 80 columns are all that is counted on.
 *
 *   arrows, Ctrl-B F P N   move, history        Ctrl-A E, Home End   ends of the line
 *   Ctrl-K U W             cut to the end, to the start, the word before
 *   Backspace, Del, Ctrl-D delete               Ctrl-L               clear the screen
 *   Tab                    complete             Ctrl-C               give up the line
 *
 * CR, LF and CR LF end a line once.
 */
#ifndef SHELL_LINEEDIT_H
#define SHELL_LINEEDIT_H

#include "kernel/api/base.h"
#include "kernel/api/strbuf.h"

#define HISTORY_LINES    64
#define HISTORY_LINE_MAX 4096u

struct history {
	char *lines[HISTORY_LINES]; /* a ring; the newest is before `next` */
	unsigned nr, next;
};

/* What Tab can do: see complete.h. */
struct completions {
	bool literal;         /* the cursor is where Tab is just white space */
	bool exact;           /* the word begun is one of the candidates */
	bool begun_empty;     /* the cursor is on no word */
	unsigned nr;          /* candidates */
	struct strbuf insert; /* what all of them go on with, quoted */
	struct strbuf list;   /* all of them, lines of at most 78 columns */
};

enum lineedit_event {
	EDIT_MORE,
	EDIT_LINE,   /* it ended; .buf[0..len) is it, see overflow */
	EDIT_END,    /* Ctrl-D: on an empty line, or at the end of one while !interactive */
	EDIT_CANCEL, /* Ctrl-C */
};

struct lineedit {
	/* the owner's */
	void *ctx;
	void (*out)(void *ctx, const char *s, size_t n);
	/* Whether bytes wait behind this one: then a Tab was piped or pasted.  NULL: never. */
	bool (*more)(void *ctx);
	/* Fills c for the text before the cursor.  NULL: Tab is white space. */
	void (*complete)(void *ctx, const char *before, size_t n, struct completions *c);
	bool interactive; /* false: Tab and history are off, Ctrl-D always ends */
	const char
		*again; /* what stands before a line shown a second time; as wide as the prompt */
	size_t max;     /* bytes of a line */
	struct history *history; /* NULL: none */

	/* the line */
	char *buf; /* terminated at EDIT_LINE */
	size_t len, pos, size;
	bool overflow; /* did not fit max or the memory; buf holds the beginning */

	/* private */
	unsigned hist_back; /* how far back we are in it; 0: on the line itself */
	char *stash;        /* the line itself meanwhile */
	size_t cols;        /* columns of the line, or what the row has of it */
	size_t cursor;      /* columns before the cursor */
	bool window;
	size_t used; /* bytes of buf that were ever written since it was wiped */
	bool after_cr, tabbed;
	uint8_t esc;
	unsigned esc_arg, esc_mod;
};

/* Before the first line and after each: empties it (wiping) and keeps after_cr and history. */
void lineedit_begin(struct lineedit *le);
enum lineedit_event lineedit_feed(struct lineedit *le, char c);
void lineedit_free(struct lineedit *le);

/* Remembers a line unless it is empty, very long, begins with a space, may hold a secret or is the
 * one before. */
void history_add(struct history *h, const char *line);
void history_free(struct history *h);

#endif

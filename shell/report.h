/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * report - rows of columns as libdm's report prints them: aligned under headings, or joined by a
 * separator, or as NAME='value'.
 *
 * A row is an object that the fields' get() know; every value is taken when the row is added.
 */
#ifndef SHELL_REPORT_H
#define SHELL_REPORT_H

#include "kernel/api/base.h"
#include "kernel/api/strbuf.h"

struct report_field {
	const char *id, *heading;
	unsigned width; /* at least */
	bool number;    /* to the right, and sorted as one */
	void (*get)(const void *row, struct strbuf *out);
};

struct report_style {
	const char *fields;    /* -o: "a,b", "+c" behind those of `standard`, NULL */
	const char *standard;  /* which and in which order without -o */
	const char *sort;      /* -O: "a,-b"; NULL: as rows were added */
	const char *separator; /* NULL: one space, and aligned */
	const char *prefix;    /* of names ("DM_"); NULL: no names */
	bool no_headings, as_rows, unquoted;
};

#define REPORT_COLUMNS 48

struct report {
	const struct report_field *all; /* id NULL at the end */
	struct report_style style;
	const struct report_field *columns[REPORT_COLUMNS];
	unsigned nr_columns;
	struct {
		unsigned field; /* of `all` */
		bool down;
	} sort[REPORT_COLUMNS];
	unsigned nr_sort;
	struct strbuf text; /* all values, each with its end; a row's sort keys behind it */
	unsigned nr_rows;
};

/* 0, or -EINVAL with words in why. */
int report_begin(struct report *r, const struct report_field *all, const struct report_style *style,
	struct strbuf *why);
void report_row(struct report *r, const void *row);
/* Appends all of it; 0 or -ENOMEM. */
int report_print(struct report *r, struct strbuf *out);
void report_free(struct report *r);

#endif

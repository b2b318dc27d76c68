/* SPDX-License-Identifier: BSD-2-Clause */
/* report - see report.h. */
#include "shell/report.h"

#include "kernel/api/errno.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"

static struct mem_tag report_tag = MEM_TAG("report");

/* ---- which columns ---- */

static bool is_field(const struct report_field *f, const char *word, size_t n)
{
	return strlen(f->id) == n && !memcmp(f->id, word, n);
}

/* The words of a list, one by one; NULL at its end. */
static const char *next_word(const char **at, size_t *n)
{
	const char *word = *at, *comma;

	if (!*word)
		return NULL;
	comma = strchr(word, ',');
	*n = comma ? (size_t)(comma - word) : strlen(word);
	*at = word + *n + (comma ? 1 : 0);
	return word;
}

static int add_columns(struct report *r, const char *list, struct strbuf *why)
{
	const char *word;
	size_t n;

	while ((word = next_word(&list, &n))) {
		bool all = n == 3 && !memcmp(word, "all", 3), found = false;

		for (const struct report_field *f = r->all; f->id; f++) {
			if (!all && !is_field(f, word, n))
				continue;
			found = true;
			if (r->nr_columns == REPORT_COLUMNS) {
				strbuf_puts(why, "too many fields");
				return -EINVAL;
			}
			r->columns[r->nr_columns++] = f;
		}
		if (found)
			continue;
		strbuf_printf(why, "Unrecognised field: %.*s", (int)n, word);
		return -EINVAL;
	}
	return 0;
}

static int add_sort(struct report *r, const char *list, struct strbuf *why)
{
	const char *word;
	size_t n;

	while ((word = next_word(&list, &n))) {
		bool down = *word == '-';
		unsigned i;

		if (n && (*word == '-' || *word == '+'))
			word++, n--;
		for (i = 0; r->all[i].id && !is_field(&r->all[i], word, n); i++)
			;
		if (!r->all[i].id || r->nr_sort == REPORT_COLUMNS) {
			strbuf_printf(why, "Unrecognised sort key: %.*s", (int)n, word);
			return -EINVAL;
		}
		r->sort[r->nr_sort].field = i;
		r->sort[r->nr_sort++].down = down;
	}
	return 0;
}

int report_begin(struct report *r, const struct report_field *all, const struct report_style *style,
	struct strbuf *why)
{
	const char *fields = style->fields;
	int err = 0;

	*r = (struct report){ .all = all, .style = *style };
	if (!fields || *fields == '+')
		err = add_columns(r, style->standard, why);
	if (!err && fields)
		err = add_columns(r, fields + (*fields == '+'), why);
	if (!err && style->sort)
		err = add_sort(r, style->sort, why);
	return err;
}

/* ---- rows ---- */

void report_row(struct report *r, const void *row)
{
	unsigned i;

	for (i = 0; i < r->nr_columns; i++) {
		r->columns[i]->get(row, &r->text);
		strbuf_putc(&r->text, 0);
	}
	for (i = 0; i < r->nr_sort; i++) {
		r->all[r->sort[i].field].get(row, &r->text);
		strbuf_putc(&r->text, 0);
	}
	r->nr_rows++;
}

void report_free(struct report *r)
{
	strbuf_free(&r->text);
}

/* ---- order ---- */

static int compare(const struct report *r, const char *const *a, const char *const *b)
{
	for (unsigned i = 0; i < r->nr_sort; i++) {
		const char *x = a[r->nr_columns + i], *y = b[r->nr_columns + i];
		int order = 0;

		/* Numbers have no leading zeroes: the longer one is more. */
		if (r->all[r->sort[i].field].number)
			order = (int)strlen(x) - (int)strlen(y);
		if (!order)
			order = strcmp(x, y);
		if (order)
			return r->sort[i].down ? -order : order;
	}
	return 0;
}

/* Merge sort: rows[] are indices of values' rows; equal ones stay in order. */
static void sort_rows(
	const struct report *r, const char **values, unsigned *rows, unsigned *spare, unsigned nr)
{
	unsigned half = nr / 2, a = 0, b = half, width = r->nr_columns + r->nr_sort;

	if (nr < 2)
		return;
	sort_rows(r, values, rows, spare, half);
	sort_rows(r, values, rows + half, spare, nr - half);
	for (unsigned i = 0; i < nr; i++) {
		bool left = b == nr || (a < half && compare(r, values + rows[a] * width,
							    values + rows[b] * width) <= 0);

		spare[i] = left ? rows[a++] : rows[b++];
	}
	memcpy(rows, spare, nr * sizeof(*rows));
}

/* ---- printing ---- */

static void put_name(const struct report *r, const struct report_field *f, struct strbuf *out)
{
	strbuf_puts(out, r->style.prefix);
	for (const char *p = f->id; *p; p++)
		strbuf_putc(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p);
	strbuf_putc(out, '=');
}

static void put_cell(const struct report *r, unsigned i, const char *text, unsigned width,
	bool heading, struct strbuf *out)
{
	const struct report_field *f = r->columns[i];
	const char *quote = r->style.unquoted ? "" : "'";

	if (r->style.prefix && !heading) {
		put_name(r, f, out);
		strbuf_printf(out, "%s%s%s", quote, text, quote);
	} else if (r->style.separator) {
		strbuf_puts(out, text);
	} else if (f->number && !heading) {
		strbuf_printf(out, "%*s", (int)width, text);
	} else {
		strbuf_printf(out, "%-*s", (int)width, text);
	}
}

static void put_between(const struct report *r, bool last, struct strbuf *out)
{
	if (last)
		strbuf_putc(out, '\n');
	else
		strbuf_puts(out, r->style.separator ? r->style.separator : " ");
}

static void put_table(const struct report *r, const char **values, const unsigned *rows,
	const unsigned *widths, struct strbuf *out)
{
	unsigned width = r->nr_columns + r->nr_sort, i, k;

	for (i = 0; !r->style.no_headings && i < r->nr_columns; i++) {
		put_cell(r, i, r->columns[i]->heading, widths[i], true, out);
		put_between(r, i + 1 == r->nr_columns, out);
	}
	for (k = 0; k < r->nr_rows; k++)
		for (i = 0; i < r->nr_columns; i++) {
			put_cell(r, i, values[rows[k] * width + i], widths[i], false, out);
			put_between(r, i + 1 == r->nr_columns, out);
		}
}

/* A line for each column. */
static void put_turned(const struct report *r, const char **values, const unsigned *rows,
	const unsigned *widths, struct strbuf *out)
{
	unsigned width = r->nr_columns + r->nr_sort, i, k;

	for (i = 0; i < r->nr_columns; i++) {
		if (!r->style.no_headings) {
			put_cell(r, i, r->columns[i]->heading, widths[i], true, out);
			put_between(r, !r->nr_rows, out);
		}
		for (k = 0; k < r->nr_rows; k++) {
			put_cell(r, i, values[rows[k] * width + i], widths[i], false, out);
			put_between(r, k + 1 == r->nr_rows, out);
		}
	}
}

int report_print(struct report *r, struct strbuf *out)
{
	unsigned width = r->nr_columns + r->nr_sort, i, k, widths[REPORT_COLUMNS];
	const char **values, *at = strbuf_text(&r->text);
	unsigned *rows;

	values = mem_alloc(&report_tag, (size_t)r->nr_rows * width * sizeof(*values) + 1);
	rows = mem_alloc(&report_tag, (size_t)r->nr_rows * 2 * sizeof(*rows) + 1);
	if (!values || !rows || r->text.truncated) {
		mem_free(values);
		mem_free(rows);
		return -ENOMEM;
	}
	for (i = 0; i < r->nr_columns; i++)
		widths[i] = r->style.no_headings ? 0 : (unsigned)strlen(r->columns[i]->heading);
	for (k = 0; k < r->nr_rows; k++) {
		rows[k] = k;
		for (i = 0; i < width; i++) {
			size_t n = strlen(at);

			values[k * width + i] = at;
			if (i < r->nr_columns)
				widths[i] = MAX(widths[i], (unsigned)n);
			at += n + 1;
		}
	}
	for (i = 0; i < r->nr_columns; i++)
		widths[i] = MAX(widths[i], r->columns[i]->width);
	sort_rows(r, values, rows, rows + r->nr_rows, r->nr_rows);
	(r->style.as_rows ? put_turned : put_table)(r, values, rows, widths, out);
	mem_free(values);
	mem_free(rows);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * complete - see complete.h.  A byte that nobody types is put behind the text before the cursor;
 * how the words come out then says where the cursor is: in the last word, in quotes (its partner is
 * missing) or in a comment (the byte is missing).
 */
#include "shell/complete.h"
#include "kernel/api/string.h"
#include "mapper/control.h"
#include "shell/shell.h"
#include "shell/words.h"

#define CURSOR     '\x01'
#define LIST_WIDTH 78
#define LIST_MAX   (16u * 1024)

struct offers {
	struct completions *c;
	const char *begun;
	size_t begun_len;
	struct strbuf rest; /* what all candidates so far have behind begun */
	size_t row;         /* columns of the last line of the list */
};

static void offer(void *ctx, const char *word)
{
	struct offers *o = ctx;
	struct completions *c = o->c;
	size_t same = 0, len = strlen(word);
	const char *more = word + o->begun_len;

	if (strncmp(word, o->begun, o->begun_len) != 0)
		return;
	if (!*more)
		c->exact = true;
	if (!c->nr++) {
		strbuf_puts(&o->rest, more);
	} else {
		while (same < o->rest.len && o->rest.data[same] == more[same])
			same++;
		o->rest.len = same;
	}
	if (o->row && o->row + 2 + len > LIST_WIDTH) {
		strbuf_putc(&c->list, '\n');
		o->row = 0;
	}
	strbuf_puts(&c->list, o->row ? "  " : "");
	strbuf_puts(&c->list, word);
	o->row += (o->row ? 2 : 0) + len;
}

/* What words.c would take apart gets a backslash. */
static void quote(struct strbuf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == ' ' || s[i] == '\t' || strchr("'\"\\;&#", s[i]))
			strbuf_putc(out, '\\');
		strbuf_putc(out, s[i]);
	}
}

static const struct verb *verb_find(const char *name)
{
	for (unsigned i = 0; all_verbs[i]; i++)
		if (!strcmp(all_verbs[i]->name, name))
			return all_verbs[i];
	return NULL;
}

/* The words of the command the cursor is in; false: it is in none. */
static bool words_at_cursor(const char *line, struct words *w)
{
	struct strbuf why = { 0 };
	bool ok;

	do {
		words_free(w);
		ok = !words_next(&line, true, w, &why);
	} while (ok && *line);
	strbuf_free(&why);
	return ok && w->argc;
}

void shell_complete(void *ctx, const char *before, size_t n, struct completions *c)
{
	struct strbuf line = { 0 };
	struct offers o = { .c = c };
	struct words w = { 0 };
	char *last;

	*c = (struct completions){ 0 };
	c->list.max = LIST_MAX;
	strbuf_write(&line, before, n);
	strbuf_putc(&line, CURSOR);
	if (line.truncated || !words_at_cursor(strbuf_text(&line), &w)) {
		c->literal = true;
		goto out;
	}
	last = w.argv[w.argc - 1];
	if (!strlen(last) || last[strlen(last) - 1] != CURSOR) {
		c->literal = true; /* in a comment */
		goto out;
	}
	last[strlen(last) - 1] = '\0';
	o.begun = last;
	o.begun_len = strlen(last);
	c->begun_empty = !o.begun_len;
	w.argv[w.argc - 1] = NULL;
	if (w.argc == 1) {
		for (unsigned i = 0; all_verbs[i]; i++)
			offer(&o, all_verbs[i]->name);
	} else {
		const struct verb *v = verb_find(w.argv[0]);

		if (v && v->complete)
			v->complete(w.argc - 1, w.argv, last, offer, &o);
	}
	quote(&c->insert, strbuf_text(&o.rest), o.rest.len);
out:
	words_free(&w);
	strbuf_free(&line);
	strbuf_free(&o.rest);
}

void complete_mapped(const char *begun, void (*out)(void *ctx, const char *word), void *ctx)
{
	bool path = begun[0] == '/';
	char word[DM_NAME_MAX + 16];

	for (struct mdev *md = dm_next(NULL); md; md = dm_next(md)) {
		struct dm_info info;

		dm_info(md, &info);
		str_printf(word, sizeof(word), "%s%s", path ? "/dev/mapper/" : "", info.name);
		out(ctx, word);
	}
}

void complete_devices(const char *begun, void (*out)(void *ctx, const char *word), void *ctx)
{
	bool path = begun[0] == '/';
	char word[BDEV_NAME_MAX + 8];

	for (struct bdev *dev = bdev_next(NULL); dev; dev = bdev_next(dev)) {
		if (dev->major == DM_MAJOR)
			continue;
		str_printf(word, sizeof(word), "%s%s", path ? "/dev/" : "", dev->name);
		out(ctx, word);
	}
	complete_mapped(begun, out, ctx);
}

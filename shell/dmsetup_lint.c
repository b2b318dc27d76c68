/* SPDX-License-Identifier: BSD-2-Clause */
/* dmsetup_lint - what is wrong with a table, and where: the line, its word, what the target takes.
 */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"

/* The table is tried on a device of this name, which nobody sees for longer than that takes. */
#define SCRATCH "dmsetup-lint"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* The nr-th line, 1..; *len without its end.  NULL: there is none. */
static const char *find_line(const char *text, unsigned nr, size_t *len)
{
	const char *end;

	for (; nr > 1 && text; nr--) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (!text)
		return NULL;
	end = strchr(text, '\n');
	*len = end ? (size_t)(end - text) : strlen(text);
	return text;
}

/* Where a word begins; behind the last and a space when it is missing. */
static size_t find_word(const char *line, size_t len, unsigned word)
{
	size_t end = 0;

	for (size_t i = 0; i < len;) {
		if (is_blank(line[i])) {
			i++;
			continue;
		}
		if (!word--)
			return i;
		for (; i < len && !is_blank(line[i]); i++)
			i += line[i] == '\\' && i + 1 < len;
		end = i;
	}
	return end + 1;
}

static may_block void point(struct dm_cmd *c, struct dm_fault fault)
{
	size_t len, at, type;
	const char *line = find_line(strbuf_text(&c->table), fault.line, &len);
	const struct target_ops *t;
	struct strbuf out = { 0 };
	char name[32];

	if (!line || !fault.line)
		return;
	at = find_word(line, len, fault.word);
	/* Tabs are one column wide, so that the mark stands where it should. */
	for (size_t i = 0; i < len; i++)
		strbuf_putc(&out, line[i] == '\t' ? ' ' : line[i]);
	strbuf_printf(&out, "\n%*s^\n", (int)at, "");
	type = find_word(line, len, 2);
	for (at = 0; type + at < len && !is_blank(line[type + at]) && at < sizeof(name) - 1; at++)
		name[at] = line[type + at];
	name[at] = 0;
	t = target_find(name);
	if (t && fault.word > 2)
		strbuf_printf(&out, "<start> <length> %s%s%s\n", t->name, *t->syntax ? " " : "",
			t->syntax);
	else if (fault.word < 3 && !t && *name)
		strbuf_puts(&out, "<start> <length> <target type> ...; `dmsetup targets` lists the "
				  "types\n");
	io_puts(c->io, strbuf_text(&out));
	strbuf_free(&out);
}

may_block int do_lint(struct dm_cmd *c)
{
	struct strbuf other = { 0 };
	struct dm_fault fault = { 0 };
	struct mdev *md;
	int err = dm_read_table(c);

	if (err)
		return err;
	err = dm_create(SCRATCH, "", -1, &md, c->why);
	if (err)
		return err;
	err = dm_load(md, strbuf_text(&c->table), c->table.len, c->read_only, c->why);
	md = dm_find(SCRATCH);
	if (md) {
		fault = dm_fault(md);
		(void)dm_remove(md, false, &other);
	}
	strbuf_free(&other);
	if (err)
		point(c, fault);
	return err;
}

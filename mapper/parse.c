/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * parse - the text of a table, one target a line:
 *
 *	<start sector> <sectors> <target type> <the target's own words>
 *
 * Empty lines and lines that begin with # are skipped.  Words are separated by blanks; a backslash
 * takes the next byte as it is.  The text is anybody's: nothing in it is believed, and a table is
 * there whole or not at all.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/mdev.h"

#define LINES_A_TURN 256 /* then others on this core get theirs */
#define SECTORS_MAX  (UINT64_MAX >> SECTOR_SHIFT >> 1)

struct parser {
	struct table *t;
	const char *text, *end; /* what is left */
	char *line;             /* a copy of one, cut into words */
	size_t line_size;
	char **words;
	unsigned nr_words, max_words;
	unsigned word; /* to blame if this goes wrong */
	struct strbuf *why;
};

static const struct {
	int err;
	const char *name;
} err_names[] = {
	{ EIO, "EIO" },
	{ ENXIO, "ENXIO" },
	{ EACCES, "EACCES" },
	{ EBUSY, "EBUSY" },
	{ ENODEV, "ENODEV" },
	{ ENOENT, "ENOENT" },
	{ ENOMEM, "ENOMEM" },
	{ EINVAL, "EINVAL" },
	{ ENOSPC, "ENOSPC" },
	{ EROFS, "EROFS" },
	{ ERANGE, "ERANGE" },
	{ EEXIST, "EEXIST" },
};

static const char *err_name(int err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(err_names); i++)
		if (err_names[i].err == -err)
			return err_names[i].name;
	return "?";
}

/* Says which line is wrong to the user and, in Linux's form, to the log.  type: whose words they
 * are, NULL: the mapper's. */
static int refuse(struct parser *p, const char *type, int err, const char *words)
{
	const struct bdev *dev = &p->t->md->bdev;

	p->t->md->fault = (struct dm_fault){ p->t->line, p->word };

	strbuf_printf(p->why, "table line %u: %s%s%s", p->t->line, type ? type : "",
		type ? ": " : "", words);
	log_err("device-mapper: table: %u:%u: %s%s%s (-%s)", dev->major, dev->minor,
		type ? type : "", type ? ": " : "", words, err_name(err));
	log_err("device-mapper: ioctl: error adding target to table");
	return err;
}

static int no_memory(struct parser *p)
{
	return refuse(p, NULL, -ENOMEM, "no memory");
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* ---- lines and words ---- */

/* The next line's extent, without its end; false at the end of the text. */
static bool next_line(struct parser *p, const char **line, size_t *len)
{
	const char *end;

	if (p->text == p->end)
		return false;
	end = memchr(p->text, '\n', (size_t)(p->end - p->text));
	*line = p->text;
	*len = (size_t)((end ? end : p->end) - p->text);
	p->text = end ? end + 1 : p->end;
	while (*len && is_blank(**line)) {
		++*line;
		--*len;
	}
	return true;
}

static bool has_target(const char *line, size_t len)
{
	return len && *line != '#';
}

/* How many words at most: places where one begins. */
static size_t count_words(const char *line, size_t len)
{
	size_t nr = 0;

	for (size_t i = 0; i < len; i++)
		if (!is_blank(line[i]) && (i == 0 || is_blank(line[i - 1])))
			nr++;
	return nr;
}

/* Into p->words; the words' bytes are in p->line. */
static int split_line(struct parser *p, const char *line, size_t len)
{
	size_t nr = count_words(line, len);
	char *out;

	if (len + 1 > p->line_size) {
		mem_free(p->line);
		p->line_size = MAX(len + 1, (size_t)256);
		p->line = mem_alloc(&mdev_tag, p->line_size);
	}
	if (nr > p->max_words) {
		mem_free(p->words);
		p->max_words = (unsigned)MAX(nr, (size_t)16);
		p->words = mem_alloc(&mdev_tag, p->max_words * sizeof(*p->words));
	}
	if (!p->line || !p->words)
		return no_memory(p);
	if (memchr(line, '\0', len))
		return refuse(p, NULL, -EINVAL, "there is a zero byte in it");
	out = p->line;
	p->nr_words = 0;
	for (size_t i = 0; i < len;) {
		if (is_blank(line[i])) {
			i++;
			continue;
		}
		p->words[p->nr_words++] = out;
		for (; i < len && !is_blank(line[i]); i++) {
			if (line[i] == '\\' && i + 1 < len)
				i++;
			*out++ = line[i];
		}
		*out++ = '\0';
	}
	return 0;
}

/* ---- targets ---- */

static int check_place(struct parser *p, sector_t begin, sector_t len, const struct target_ops *ops)
{
	const struct table *t = p->t;
	const struct target_ops *first = t->nr_targets ? t->targets[0].ops : NULL;

	if (first && first->singleton)
		return refuse(p, first->name, -EINVAL, "target type must appear alone in table");
	p->word = 1;
	if (!len)
		return refuse(p, NULL, -EINVAL, "zero-length target");
	p->word = 2;
	if (!ops)
		return 0;
	if (ops->singleton && first)
		return refuse(p, NULL, -EINVAL, "singleton target type must appear alone in table");
	p->word = 0;
	if (begin != t->nr_sectors)
		return refuse(p, ops->name, -EINVAL, "Gap in table");
	p->word = 1;
	if (len > SECTORS_MAX - begin)
		return refuse(p, NULL, -EINVAL, "the device would be too large");
	return 0;
}

static int add_target(struct parser *p)
{
	struct table *t = p->t;
	struct target *tg = &t->targets[t->nr_targets];
	struct args a = { .argv = p->words + 3, .argc = p->nr_words - 3, .target = tg };
	sector_t begin = 0, len = 0;
	int err;

	p->word = 0;
	if (p->nr_words && !str_to_u64(p->words[0], 10, UINT64_MAX, &begin)) {
		p->word = 1;
		if (p->nr_words > 1 && !str_to_u64(p->words[1], 10, UINT64_MAX, &len))
			p->word = 2;
	}
	if (p->word < 2 || p->nr_words < 3)
		return refuse(
			p, NULL, -EINVAL, "Invalid format: <start> <length> <target type> ...");
	*tg = (struct target){ .table = t, .begin = begin, .len = len };
	tg->ops = target_find(p->words[2]);
	err = check_place(p, begin, len, tg->ops);
	if (err)
		return err;
	p->word = 2;
	if (!tg->ops)
		return refuse(p, p->words[2], -EINVAL, "unknown target type");
	if (tg->ops->ctx_size) {
		tg->ctx = mem_alloc(&mdev_tag, tg->ops->ctx_size);
		if (!tg->ctx)
			return no_memory(p);
	}
	t->nr_targets++;
	err = tg->ops->ctr(tg, &a);
	p->word = 3 + a.at;
	if (err)
		return refuse(p, tg->ops->name, err, a.err ? a.words : err_text(err));
	t->nr_sectors += len;
	return 0;
}

static int add_lines(struct parser *p)
{
	const char *line;
	size_t len;
	int err = 0;

	for (p->t->line = 1; !err && next_line(p, &line, &len); p->t->line++) {
		if (has_target(line, len)) {
			err = split_line(p, line, len);
			if (!err)
				err = add_target(p);
		}
		if (p->t->line % LINES_A_TURN == 0)
			fiber_yield();
	}
	return err;
}

/* The array of targets is made at once, because they know their places in it. */
static int make_room(struct parser *p)
{
	struct parser ahead = *p;
	struct table *t = p->t;
	const char *line;
	size_t len;

	while (next_line(&ahead, &line, &len))
		if (has_target(line, len))
			t->max_targets++;
	if (!t->max_targets) {
		strbuf_puts(p->why, "no targets specified");
		log_err("device-mapper: ioctl: populate_table: no targets specified");
		return -EINVAL;
	}
	t->targets = mem_alloc(&mdev_tag, (size_t)t->max_targets * sizeof(*t->targets));
	if (t->targets)
		return 0;
	strbuf_printf(p->why, "no memory for %u targets", t->max_targets);
	return -ENOMEM;
}

int table_parse(struct mdev *md, const char *text, size_t len, bool read_only, struct table **out,
	struct strbuf *why)
{
	struct parser p = { .text = text, .end = text + len, .why = why };
	int err;

	if (len > DM_TABLE_MAX) {
		strbuf_printf(why, "the table is larger than %u MiB", DM_TABLE_MAX >> 20);
		return -E2BIG;
	}
	p.t = mem_alloc(&mdev_tag, sizeof(*p.t));
	if (!p.t) {
		strbuf_puts(why, "no memory for a table");
		return -ENOMEM;
	}
	p.t->md = md;
	md->fault = (struct dm_fault){ 0 };
	p.t->read_only = read_only;
	err = make_room(&p);
	if (!err)
		err = add_lines(&p);
	mem_free(p.line);
	mem_free(p.words);
	if (!err)
		err = table_settle(p.t, why);
	if (!err && !table_make_cores(p.t)) {
		strbuf_puts(why, "no memory for the I/O of a table");
		err = -ENOMEM;
	}
	if (err)
		table_destroy(p.t);
	else
		*out = p.t;
	return err;
}

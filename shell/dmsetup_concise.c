/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmsetup_concise - devices in one line: "<name>,<uuid>,<minor>,<flags>,<table>[,<table>...]", the
 * next behind a ';'.  A backslash takes its meaning from the character behind it.
 */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"

struct concise {
	char name[DM_NAME_MAX + 1], uuid[DM_UUID_MAX + 1], minor[12], flags[8];
	struct strbuf table;
};

/* The text up to a ',' or ';', which *at stands behind afterwards.  What ended it, 0: the end;
 * negative: the line ends in a backslash. */
static int field(const char **at, struct strbuf *out)
{
	for (const char *p = *at;; p++) {
		if (*p == '\\') {
			if (!*++p)
				return -1;
			strbuf_putc(out, *p);
		} else if (*p == ',' || *p == ';' || !*p) {
			*at = *p ? p + 1 : p;
			return *p;
		} else {
			strbuf_putc(out, *p);
		}
	}
}

static may_block int refuse(struct dm_cmd *c, const char *words)
{
	io_printf(c->io, "%s\nCommand failed.\n", words);
	return fail(c->why, -EINVAL, "%s", words);
}

static may_block int too_few(struct dm_cmd *c)
{
	return refuse(
		c, "Incomplete entry: five comma-separated fields are required for each device");
}

/* One device; the end of it in *end. */
static may_block int parse(struct dm_cmd *c, const char **at, struct concise *d, int *end)
{
	struct {
		char *to;
		size_t size;
	} parts[] = { { d->name, sizeof(d->name) }, { d->uuid, sizeof(d->uuid) },
		{ d->minor, sizeof(d->minor) }, { d->flags, sizeof(d->flags) } };
	struct strbuf word = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		strbuf_reset(&word);
		*end = field(at, &word);
		str_copy(parts[i].to, parts[i].size, strbuf_text(&word));
		if (*end != ',' || word.len >= parts[i].size)
			break;
	}
	strbuf_free(&word);
	if (*end < 0)
		return refuse(c, "Backslash must be followed by another character at end of "
				 "string.");
	if (*end != ',')
		return too_few(c);
	strbuf_reset(&d->table);
	do {
		*end = field(at, &d->table);
		strbuf_putc(&d->table, '\n');
	} while (*end == ',');
	if (*end < 0)
		return refuse(c, "Backslash must be followed by another character at end of "
				 "string.");
	return 0;
}

static may_block int create_one(struct dm_cmd *c, struct concise *d)
{
	char words[96];
	uint64_t minor = 0;

	if (*d->flags && strcmp(d->flags, "ro") && strcmp(d->flags, "rw")) {
		str_printf(words, sizeof(words),
			"Invalid flags parameter '%s' must be 'ro' or 'rw' or empty.", d->flags);
		return refuse(c, words);
	}
	if (*d->minor && (!dm_is_number(d->minor, &minor) || minor >= 1u << 20)) {
		str_printf(words, sizeof(words), "Invalid minor number '%s'", d->minor);
		return refuse(c, words);
	}
	c->uuid = *d->uuid ? d->uuid : NULL;
	c->minor = *d->minor ? (int)minor : -1;
	c->read_only = !strcmp(d->flags, "ro");
	strbuf_reset(&c->table);
	strbuf_puts(&c->table, strbuf_text(&d->table));
	return dm_create_whole(c, d->name);
}

/* All of them or none. */
may_block int dm_create_concise(struct dm_cmd *c)
{
	struct strbuf made = { 0 }, other = { 0 };
	struct concise d = { 0 };
	const char *spec, *at;
	int err = 0, end = ';';

	if (c->argc > 1)
		return refuse(c, "dmsetup create --concise takes at most one argument");
	if (c->has_table || c->uuid || c->minor >= 0 || c->inactive || c->notable)
		return refuse(c, "--concise is incompatible with --[no]table, --minor, --uuid and "
				 "--inactive.");
	spec = c->argc ? c->argv[0] : NULL;
	if (!spec) {
		err = dm_read_table(c);
		if (err)
			return err;
		spec = strbuf_text(&c->table);
	}
	strbuf_puts(&other, spec); /* c->table is used for each device */
	while (other.len && other.data[other.len - 1] == '\n')
		other.data[--other.len] = 0;
	for (at = strbuf_text(&other); !err && end == ';' && *at;) {
		err = parse(c, &at, &d, &end);
		if (!err)
			err = create_one(c, &d);
		if (!err) {
			strbuf_puts(&made, d.name);
			strbuf_putc(&made, 0);
		}
	}
	strbuf_reset(&other);
	for (size_t i = 0; err && i < made.len; i += strlen(made.data + i) + 1) {
		struct mdev *md = dm_find(made.data + i);

		if (md)
			(void)dm_remove(md, false, &other);
	}
	strbuf_free(&d.table);
	strbuf_free(&made);
	strbuf_free(&other);
	return err;
}

static void put_quoted(const char *s, size_t n, struct strbuf *out)
{
	for (; n; s++, n--) {
		if (*s == ',' || *s == ';' || *s == '\\')
			strbuf_putc(out, '\\');
		strbuf_putc(out, *s);
	}
}

static may_block int put_device(struct dm_cmd *c, struct mdev *md, struct strbuf *out)
{
	struct strbuf text = { 0 };
	struct dm_info i;
	int err;

	dm_info(md, &i);
	if (out->len)
		strbuf_putc(out, ';');
	put_quoted(i.name, strlen(i.name), out);
	strbuf_putc(out, ',');
	put_quoted(i.uuid, strlen(i.uuid), out);
	strbuf_printf(out, ",%u,%s", i.minor, i.read_only ? "ro" : "rw");
	err = dm_status(md, true, c->inactive, &text);
	if (!err && !text.len)
		strbuf_putc(out, ',');
	for (const char *p = strbuf_text(&text), *nl; !err && (nl = strchr(p, '\n')); p = nl + 1) {
		strbuf_putc(out, ',');
		put_quoted(p, (size_t)(nl - p), out);
	}
	strbuf_free(&text);
	return err;
}

may_block int dm_table_concise(struct dm_cmd *c)
{
	struct strbuf out = { 0 };
	struct dm_info info;
	struct mdev *md;
	int err = 0;

	for (unsigned i = 0; i < c->argc && !err; i++) {
		md = dm_find(c->argv[i]);
		err = md ? put_device(c, md, &out) : dm_absent(c, "table", c->argv[i]);
	}
	/* By name each time: this may wait, and a device may go meanwhile. */
	for (md = c->argc ? NULL : dm_next(NULL); md && !err; md = dm_after(info.name)) {
		dm_info(md, &info);
		err = put_device(c, md, &out);
	}
	if (!err)
		io_printf(c->io, "%s\n", out.len ? strbuf_text(&out) : "No devices found");
	strbuf_free(&out);
	return err;
}

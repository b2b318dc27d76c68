/* SPDX-License-Identifier: BSD-2-Clause */
/* dmsetup_show - the commands of dmsetup that show something. */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"
#include "shell/report.h"
#include "shell/select.h"

/* ---- verbs that show something ---- */

/* ---- info -c ---- */

static void get_name(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct dm_info *)row)->name);
}

static void get_uuid(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct dm_info *)row)->uuid);
}

static void get_mangled_name(const void *row, struct strbuf *out)
{
	dm_mangle(((const struct dm_info *)row)->name, out);
}

static void get_mangled_uuid(const void *row, struct strbuf *out)
{
	dm_mangle(((const struct dm_info *)row)->uuid, out);
}

static void get_read_ahead(const void *row, struct strbuf *out)
{
	const struct dm_info *i = row;

	strbuf_puts(out, i->live_table || i->inactive_table ? "256" : "0");
}

static void get_blkdevname(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "dm-%u", ((const struct dm_info *)row)->minor);
}

static void get_attr(const void *row, struct strbuf *out)
{
	const struct dm_info *i = row;

	strbuf_printf(out, "%c%c%c%c", i->live_table ? 'L' : '-', i->inactive_table ? 'I' : '-',
		i->suspended ? 's' : '-', i->read_only ? 'r' : 'w');
}

static void get_tables_loaded(const void *row, struct strbuf *out)
{
	const struct dm_info *i = row;

	strbuf_puts(out, i->live_table && i->inactive_table ? "Both"
			 : i->live_table                    ? "Live"
			 : i->inactive_table                ? "Inactive"
							    : "None");
}

static void get_suspended(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct dm_info *)row)->suspended ? "Suspended" : "Active");
}

static void get_readonly(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct dm_info *)row)->read_only ? "Read-only" : "Writeable");
}

static void get_devno(const void *row, struct strbuf *out)
{
	const struct dm_info *i = row;

	strbuf_printf(out, "%u:%u", i->major, i->minor);
}

static void get_major(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct dm_info *)row)->major);
}

static void get_minor(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct dm_info *)row)->minor);
}

static void get_open(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct dm_info *)row)->open_count);
}

static void get_segments(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct dm_info *)row)->nr_targets);
}

static void get_events(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct dm_info *)row)->event_nr);
}

static const struct report_field info_fields[] = {
	{ "name", "Name", 16, false, get_name },
	{ "mangled_name", "MangledName", 16, false, get_mangled_name },
	{ "unmangled_name", "UnmangledName", 16, false, get_name },
	{ "uuid", "UUID", 32, false, get_uuid },
	{ "mangled_uuid", "MangledUUID", 32, false, get_mangled_uuid },
	{ "unmangled_uuid", "UnmangledUUID", 32, false, get_uuid },
	{ "read_ahead", "RAhead", 6, true, get_read_ahead },
	{ "blkdevname", "BlkDevName", 16, false, get_blkdevname },
	{ "attr", "Stat", 4, false, get_attr },
	{ "tables_loaded", "Tables", 6, false, get_tables_loaded },
	{ "suspended", "Suspended", 9, false, get_suspended },
	{ "readonly", "Read-only", 9, false, get_readonly },
	{ "devno", "DevNo", 5, false, get_devno },
	{ "major", "Maj", 3, true, get_major },
	{ "minor", "Min", 3, true, get_minor },
	{ "open", "Open", 4, true, get_open },
	{ "segments", "Targ", 4, true, get_segments },
	{ "events", "Event", 6, true, get_events },
	{ 0 },
};

static void info_row(struct dm_cmd *c, struct report *r, struct mdev *md)
{
	struct dm_info info;

	dm_info(md, &info);
	if (!c->select || select_row(info_fields, c->select, &info))
		report_row(r, &info);
}

/* Of those named, or all. */
static may_block int info_once(
	struct dm_cmd *c, const struct report_style *style, const char *before)
{
	struct strbuf out = { 0 };
	struct report r;
	int err = report_begin(&r, info_fields, style, c->why);

	if (!err && c->select)
		err = select_check(info_fields, c->select, c->why);
	if (err) {
		io_puts(c->io, "Command failed.\n");
		return err;
	}
	for (unsigned i = 0; i < c->argc; i++) {
		struct mdev *md = dm_find(c->argv[i]);

		if (md)
			info_row(c, &r, md);
		else
			err = dm_absent(c, NULL, c->argv[i]);
	}
	for (struct mdev *md = c->argc ? NULL : dm_next(NULL); md; md = dm_next(md))
		info_row(c, &r, md);
	strbuf_puts(&out, before);
	if (r.nr_rows && report_print(&r, &out))
		err = -ENOMEM;
	else if (!c->argc && !dm_next(NULL))
		strbuf_puts(&out, "No devices found\n");
	io_puts(c->io, strbuf_text(&out));
	report_free(&r);
	strbuf_free(&out);
	return err;
}

static may_block int info_columns(struct dm_cmd *c)
{
	struct report_style style = { .fields = c->output,
		.standard = "name,major,minor,attr,open,segments,events,uuid",
		.sort = c->sort,
		.separator = c->separator                    ? c->separator
			     : c->noheadings                 ? ":"
			     : c->nameprefixes || c->as_rows ? " "
							     : NULL,
		.prefix = c->nameprefixes ? "DM_" : NULL,
		.no_headings = c->noheadings,
		.as_rows = c->as_rows,
		.unquoted = c->unquoted };
	/* Once, as often as --count says (0: for ever), for ever when only --interval was given. */
	uint64_t nr = c->count != UINT64_MAX ? c->count : c->interval != UINT64_MAX ? 0 : 1;
	uint64_t every = c->interval != UINT64_MAX ? c->interval : 1, due = now_ns();
	int err = 0;

	for (uint64_t i = 0; !err && (!nr || i < nr); i++) {
		if (i) {
			due += every * NS_PER_S;
			err = io_sleep_until(c->io, due, c->why);
		}
		if (!err)
			err = info_once(c, &style, i ? "\n" : "");
	}
	return err;
}

/* ---- one device or all ---- */

static void show_info(struct dm_cmd *c, struct mdev *md, struct strbuf *out)
{
	struct dm_info i;

	dm_info(md, &i);
	strbuf_printf(out, "Name:              %s\n", i.name);
	strbuf_printf(out, "State:             %s%s%s\n", i.suspended ? "SUSPENDED" : "ACTIVE",
		i.read_only ? " (READ-ONLY)" : "", i.deferred_remove ? " (DEFERRED REMOVE)" : "");
	if (i.live_table || i.inactive_table) /* without one Linux has no queue to ask */
		strbuf_puts(out, "Read Ahead:        256\n");
	strbuf_printf(out, "Tables present:    %s%s%s\n", i.live_table ? "LIVE" : "",
		i.live_table && i.inactive_table ? " & " : "",
		i.inactive_table ? "INACTIVE"
		: i.live_table   ? ""
				 : "None");
	strbuf_printf(out, "Open count:        %u\n", i.open_count);
	strbuf_printf(out, "Event number:      %u\n", i.event_nr);
	strbuf_printf(out, "Major, minor:      %u, %u\n", i.major, i.minor);
	strbuf_printf(out, "Number of targets: %u\n", i.nr_targets);
	if (*i.uuid)
		strbuf_printf(out, "UUID: %s\n", i.uuid);
	strbuf_putc(out, '\n');
}

/* Whether a status or table line is of the type asked for. */
static bool line_wanted(const char *line, size_t n, const char *type)
{
	unsigned spaces = 0;
	size_t i;

	for (i = 0; i < n && spaces < 2; i++)
		spaces += line[i] == ' ';
	return strlen(type) < n - i && !memcmp(line + i, type, strlen(type)) &&
	       line[i + strlen(type)] == ' ';
}

static may_block void show_lines(struct dm_cmd *c, struct mdev *md, bool table, struct strbuf *out)
{
	bool prefix = c->argc != 1;
	struct strbuf text = { 0 };
	struct dm_info info;
	const char *p;

	dm_info(md, &info);
	if (dm_status(md, table, c->inactive, &text) || !text.len) {
		if (!c->target)
			strbuf_printf(out, "%s%s\n", prefix ? info.name : "", prefix ? ": " : "");
		strbuf_free(&text);
		return;
	}
	for (p = strbuf_text(&text); *p;) {
		const char *nl = strchr(p, '\n');
		size_t n = nl ? (size_t)(nl - p) : strlen(p);

		if (!c->target || line_wanted(p, n, c->target)) {
			if (prefix)
				strbuf_printf(out, "%s: ", info.name);
			strbuf_write(out, p, n);
			strbuf_putc(out, '\n');
		}
		p += n + (nl ? 1 : 0);
	}
	strbuf_free(&text);
}

static void show_deps(struct dm_cmd *c, struct mdev *md, struct strbuf *out)
{
	bool names =
		c->output && (!strcmp(c->output, "devname") || !strcmp(c->output, "blkdevname"));
	struct dm_info info;
	struct bdev *d;
	unsigned n = 0;

	dm_info(md, &info);
	while (dm_dep(md, n))
		n++;
	if (c->argc != 1)
		strbuf_printf(out, "%s: ", info.name);
	strbuf_printf(out, "%u dependencies\t:", n);
	for (n = 0; (d = dm_dep(md, n)); n++) {
		struct mdev *below = d->major == DM_MAJOR ? dm_find(d->name) : NULL;

		if (below)
			dm_info(below, &info);
		if (names)
			strbuf_printf(out, " (%s)",
				below && !strcmp(c->output, "devname") ? info.name : d->name);
		else
			strbuf_printf(out, " (%u, %u)", d->major, d->minor);
	}
	strbuf_putc(out, '\n');
}

static may_block void show(struct dm_cmd *c, const char *what, struct mdev *md, struct strbuf *out)
{
	if (*what == 'i')
		show_info(c, md, out);
	else if (*what == 'd')
		show_deps(c, md, out);
	else
		show_lines(c, md, *what == 't', out);
}

/* For the devices named, or all in order of name. */
static may_block int show_each(struct dm_cmd *c, const char *what)
{
	char name[DM_NAME_MAX + 1];
	struct strbuf out = { 0 };
	struct dm_info info;
	struct mdev *md;
	int err = 0;

	for (unsigned i = 0; i < c->argc; i++) {
		md = dm_find(c->argv[i]);
		if (md) {
			show(c, what, md, &out);
			continue;
		}
		io_puts(c->io, strbuf_text(&out));
		strbuf_reset(&out);
		err = dm_absent(c, *what == 'i' || *what == 's' ? NULL : what, c->argv[i]);
	}
	if (!c->argc && !dm_next(NULL))
		strbuf_puts(&out, "No devices found\n");
	/* By name each time: showing may wait, and a device may go meanwhile. */
	for (md = c->argc ? NULL : dm_next(NULL); md;) {
		dm_info(md, &info);
		str_copy(name, sizeof(name), info.name);
		show(c, what, md, &out);
		md = dm_after(name);
	}
	io_puts(c->io, strbuf_text(&out));
	strbuf_free(&out);
	return err;
}

may_block int do_info(struct dm_cmd *c)
{
	return c->columns ? info_columns(c) : show_each(c, "info");
}

may_block int do_status(struct dm_cmd *c)
{
	return show_each(c, "status");
}

may_block int do_table(struct dm_cmd *c)
{
	return c->concise ? dm_table_concise(c) : show_each(c, "table");
}

static bool names_devices(const char *o)
{
	return !strcmp(o, "devno") || !strcmp(o, "blkdevname") || !strcmp(o, "devname");
}

may_block int do_deps(struct dm_cmd *c)
{
	if (c->output && !names_devices(c->output))
		return dm_misused(c, "deps: -o devno, blkdevname or devname");
	return show_each(c, "deps");
}

/* Whether one of its live targets is of that type. */
static may_block bool has_target(struct mdev *md, const char *type)
{
	struct strbuf text = { 0 };
	bool found = false;

	if (!dm_status(md, true, false, &text))
		for (const char *p = strbuf_text(&text), *nl; !found && (nl = strchr(p, '\n'));
			p = nl + 1)
			found = line_wanted(p, (size_t)(nl - p), type);
	strbuf_free(&text);
	return found;
}

may_block int do_ls(struct dm_cmd *c)
{
	const char *o = c->output && !c->tree ? c->output : "devno";
	struct strbuf out = { 0 };
	struct dm_info info;

	if (!names_devices(o))
		return dm_misused(c, "ls: -o devno, blkdevname or devname");
	if (c->tree && !c->target)
		return dm_tree(c);
	for (struct mdev *md = dm_next(NULL); md; md = dm_next(md)) {
		if (c->target && !has_target(md, c->target))
			continue;
		dm_info(md, &info);
		if (c->target)
			strbuf_printf(&out, "%s\t(%u, %u)\n", info.name, info.major, info.minor);
		else if (!strcmp(o, "devname"))
			strbuf_printf(&out, "%s\t(%s)\n", info.name, info.name);
		else if (!strcmp(o, "blkdevname"))
			strbuf_printf(&out, "%s\t(dm-%u)\n", info.name, info.minor);
		else
			strbuf_printf(&out, "%s\t(%u:%u)\n", info.name, info.major, info.minor);
	}
	if (out.len || !c->target || !dm_next(NULL))
		io_puts(c->io, out.len ? strbuf_text(&out) : "No devices found\n");
	strbuf_free(&out);
	return 0;
}

may_block int do_targets(struct dm_cmd *c)
{
	for (unsigned i = 0; all_targets[i]; i++)
		io_printf(c->io, "%-16s v%u.%u.%u\n", all_targets[i]->name,
			all_targets[i]->version[0], all_targets[i]->version[1],
			all_targets[i]->version[2]);
	return 0;
}

may_block int do_version(struct dm_cmd *c)
{
	io_puts(c->io, "Library version:   1.02.185 (2022-05-18)\nDriver version:    4.47.0\n");
	return 0;
}

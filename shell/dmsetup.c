/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmsetup - the device mapper's verbs in the words of Linux's dmsetup.  What that prints comes
 * first, unchanged; the shell's closing line then says why.
 */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "mapper/control.h"
#include "mapper/target.h"
#include "shell/complete.h"
#include "shell/run.h"
#include "shell/verbs.h"

struct dm_cmd {
	struct shell_io *io;
	struct strbuf *why;
	char **argv; /* words that are no options */
	unsigned argc;
	bool force, notable, read_only, noflush, columns, setuuid, inactive, tree, noheadings,
		has_table;
	const char *uuid, *output, *target;
	int minor;
	struct strbuf table;
};

/* ---- words of failure ---- */

static int failed(struct dm_cmd *c, const char *verb, const char *name, struct mdev *md, int err)
{
	struct dm_info info;

	io_printf(c->io, "device-mapper: %s ioctl on %s ", verb, name);
	if (md) {
		dm_info(md, &info);
		if (*info.uuid)
			io_printf(c->io, "%s ", info.uuid);
		io_printf(c->io, "(%u:%u)", info.major, info.minor);
	}
	io_printf(c->io, " failed: %s\nCommand failed.\n", err_text(err));
	return err;
}

static int absent(struct dm_cmd *c, const char *verb, const char *name)
{
	if (verb)
		io_printf(c->io, "device-mapper: %s ioctl on %s  failed: %s\nCommand failed.\n",
			verb, name, err_text(-ENXIO));
	else
		io_puts(c->io, "Device does not exist.\nCommand failed.\n");
	return fail(c->why, -ENXIO, "%.140s: no such mapped device", name);
}

static int misused(struct dm_cmd *c, const char *words)
{
	io_puts(c->io, "Command failed.\n");
	return fail(c->why, -EINVAL, "dmsetup: %s", words);
}

/* ---- the table ---- */

static may_block int read_table(struct dm_cmd *c)
{
	if (c->has_table)
		return 0;
	if (!c->io->read_line)
		return misused(c, "no --table, and nothing to read one from");
	strbuf_init(&c->table, DM_TABLE_MAX + 1);
	while (c->io->read_line(c->io, &c->table, SHELL_LINE_MAX)) {
		strbuf_putc(&c->table, '\n');
		if (c->table.truncated)
			return misused(c, "the table is too long");
	}
	if (io_interrupted(c->io)) {
		io_puts(c->io, "Command failed.\n");
		return fail(c->why, -EINTR, "interrupted");
	}
	return 0;
}

static may_block int load(struct dm_cmd *c, struct mdev *md, const char *name)
{
	int err = dm_load(md, strbuf_text(&c->table), c->table.len, c->read_only, c->why);

	return err ? failed(c, "reload", name, md, err) : 0;
}

/* ---- verbs that change something ---- */

static may_block int do_create(struct dm_cmd *c)
{
	const char *name = c->argv[0];
	struct mdev *md;
	int err;

	if (!c->notable) {
		err = read_table(c);
		if (err)
			return err;
	}
	err = dm_create(name, c->uuid ? c->uuid : "", c->minor, &md, c->why);
	if (err) {
		io_printf(c->io,
			"device-mapper: create ioctl on %s %s%s failed: %s\nCommand failed.\n",
			name, c->uuid ? c->uuid : "", "", err_text(err));
		return err;
	}
	if (c->notable)
		return 0;
	err = load(c, md, name);
	if (!err) {
		err = dm_resume(md, c->noflush, c->why);
		if (err)
			failed(c, "resume", name, md, err);
	}
	if (err) {
		struct strbuf other = { 0 };

		md = dm_find(name);
		if (md)
			(void)dm_remove(md, false, &other);
		strbuf_free(&other);
	}
	return err;
}

static may_block int do_load(struct dm_cmd *c)
{
	struct mdev *md = dm_find(c->argv[0]);
	int err;

	if (!md)
		return absent(c, "reload", c->argv[0]);
	err = read_table(c);
	if (err)
		return err;
	md = dm_find(c->argv[0]); /* reading took its time */
	return md ? load(c, md, c->argv[0]) : absent(c, "reload", c->argv[0]);
}

/* Does it to each device named; goes on after a failure and answers the first. */
static may_block int each(
	struct dm_cmd *c, const char *verb, int (*fn)(struct dm_cmd *c, struct mdev *md))
{
	int first = 0;

	for (unsigned i = 0; i < c->argc; i++) {
		struct mdev *md = dm_find(c->argv[i]);
		int err;

		if (!md) {
			err = absent(c, verb, c->argv[i]);
		} else {
			err = fn(c, md);
			if (err)
				failed(c, verb, c->argv[i], NULL, err);
		}
		if (err && !first)
			first = err;
	}
	return first;
}

static may_block int remove_one(struct dm_cmd *c, struct mdev *md)
{
	return dm_remove(md, c->force, c->why);
}

static may_block int suspend_one(struct dm_cmd *c, struct mdev *md)
{
	return dm_suspend(md, c->noflush, c->why);
}

static may_block int resume_one(struct dm_cmd *c, struct mdev *md)
{
	return dm_resume(md, c->noflush, c->why);
}

static may_block int clear_one(struct dm_cmd *c, struct mdev *md)
{
	return dm_clear(md, c->why);
}

static may_block int do_remove(struct dm_cmd *c)
{
	return each(c, "remove", remove_one);
}

static may_block int do_suspend(struct dm_cmd *c)
{
	return each(c, "suspend", suspend_one);
}

static may_block int do_resume(struct dm_cmd *c)
{
	return each(c, "resume", resume_one);
}

static may_block int do_clear(struct dm_cmd *c)
{
	return each(c, "clear", clear_one);
}

static may_block int do_remove_all(struct dm_cmd *c)
{
	dm_remove_all(c->force);
	return 0;
}

static may_block int do_rename(struct dm_cmd *c)
{
	struct mdev *md = dm_find(c->argv[0]);
	int err;

	if (!md)
		return absent(c, "rename", c->argv[0]);
	err = c->setuuid ? dm_set_uuid(md, c->argv[1], c->why) : dm_rename(md, c->argv[1], c->why);
	return err ? failed(c, "rename", c->argv[0], NULL, err) : 0;
}

static bool is_number(const char *s, uint64_t *n)
{
	return !str_to_u64(s, 10, UINT64_MAX >> SECTOR_SHIFT, n);
}

static may_block int do_message(struct dm_cmd *c)
{
	struct strbuf answer = { 0 };
	struct mdev *md = dm_find(c->argv[0]);
	const char *name = c->argv[0];
	uint64_t sector;
	int err;

	/* The seed's spellings: the sector first, and suspend and resume as messages. */
	if (!md && is_number(c->argv[0], &sector) && c->argc > 2 && dm_find(c->argv[1])) {
		name = c->argv[1];
		md = dm_find(name);
	} else if (!md && c->argc == 2 && (!strcmp(name, "suspend") || !strcmp(name, "resume"))) {
		c->argv++;
		c->argc--;
		return *name == 's' ? do_suspend(c) : do_resume(c);
	} else if (c->argc > 1 && !is_number(c->argv[1], &sector)) {
		io_puts(c->io, "invalid sector number\n");
		return misused(c, "message: <device> <sector> <words>...");
	}
	if (!md)
		return absent(c, "message", name);
	if (c->argc < 3)
		return misused(c, "message: <device> <sector> <words>...");
	err = dm_message(md, sector, c->argc - 2, c->argv + 2, &answer, c->why);
	if (err)
		failed(c, "message", name, NULL, err);
	else if (answer.len)
		io_printf(c->io, "%s%s", strbuf_text(&answer),
			answer.data[answer.len - 1] == '\n' ? "" : "\n");
	strbuf_free(&answer);
	return err;
}

/* ---- verbs that show something ---- */

static void show_info(struct dm_cmd *c, struct mdev *md, struct strbuf *out)
{
	struct dm_info i;

	dm_info(md, &i);
	if (c->columns) {
		strbuf_printf(out, "%-16s %3u %3u %c%c%c%c %4u %4u %6u %s\n", i.name, i.major,
			i.minor, i.live_table ? 'L' : '-', i.inactive_table ? 'I' : '-',
			i.suspended ? 's' : '-', i.read_only ? 'r' : 'w', i.open_count,
			i.nr_targets, i.event_nr, i.uuid);
		return;
	}
	strbuf_printf(out, "Name:              %s\n", i.name);
	strbuf_printf(out, "State:             %s%s\n", i.suspended ? "SUSPENDED" : "ACTIVE",
		i.read_only ? " (READ-ONLY)" : "");
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

	if (c->columns && !c->noheadings && (c->argc || dm_next(NULL)))
		strbuf_puts(&out, "Name             Maj Min Stat Open Targ Event  UUID\n");
	for (unsigned i = 0; i < c->argc; i++) {
		md = dm_find(c->argv[i]);
		if (md) {
			show(c, what, md, &out);
			continue;
		}
		io_puts(c->io, strbuf_text(&out));
		strbuf_reset(&out);
		err = absent(c, *what == 'i' || *what == 's' ? NULL : what, c->argv[i]);
	}
	if (!c->argc && !dm_next(NULL))
		strbuf_puts(&out, "No devices found\n");
	/* By name each time: showing may wait, and a device may go meanwhile. */
	for (md = c->argc ? NULL : dm_next(NULL); md;) {
		dm_info(md, &info);
		str_copy(name, sizeof(name), info.name);
		show(c, what, md, &out);
		for (md = dm_next(NULL); md; md = dm_next(md)) {
			dm_info(md, &info);
			if (strcmp(info.name, name) > 0)
				break;
		}
	}
	io_puts(c->io, strbuf_text(&out));
	strbuf_free(&out);
	return err;
}

static may_block int do_info(struct dm_cmd *c)
{
	return show_each(c, "info");
}

static may_block int do_status(struct dm_cmd *c)
{
	return show_each(c, "status");
}

static may_block int do_table(struct dm_cmd *c)
{
	return show_each(c, "table");
}

static may_block int do_deps(struct dm_cmd *c)
{
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

static may_block int do_ls(struct dm_cmd *c)
{
	const char *o = c->output ? c->output : "devno";
	struct strbuf out = { 0 };
	struct dm_info info;

	if (strcmp(o, "devno") && strcmp(o, "blkdevname") && strcmp(o, "devname"))
		return misused(c, "ls: -o devno, blkdevname or devname");
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
	io_puts(c->io, out.len ? strbuf_text(&out) : "No devices found\n");
	strbuf_free(&out);
	return 0;
}

static may_block int do_targets(struct dm_cmd *c)
{
	for (unsigned i = 0; all_targets[i]; i++)
		io_printf(c->io, "%-16s v%u.%u.%u\n", all_targets[i]->name,
			all_targets[i]->version[0], all_targets[i]->version[1],
			all_targets[i]->version[2]);
	return 0;
}

static may_block int do_version(struct dm_cmd *c)
{
	io_puts(c->io, "Library version:   1.02.185 (2022-05-18)\nDriver version:    4.47.0\n");
	return 0;
}

/* ---- which one ---- */

#define ANY 8192

static const struct {
	const char *name;
	unsigned min, max; /* words that are no options */
	may_block int (*run)(struct dm_cmd *c);
} commands[] = {
	{ "create", 1, 1, do_create },
	{ "remove", 1, ANY, do_remove },
	{ "remove_all", 0, 0, do_remove_all },
	{ "reload", 1, 1, do_load },
	{ "load", 1, 1, do_load },
	{ "clear", 1, ANY, do_clear },
	{ "suspend", 1, ANY, do_suspend },
	{ "resume", 1, ANY, do_resume },
	{ "message", 2, ANY, do_message },
	{ "rename", 2, 2, do_rename },
	{ "table", 0, ANY, do_table },
	{ "status", 0, ANY, do_status },
	{ "info", 0, ANY, do_info },
	{ "ls", 0, 0, do_ls },
	{ "deps", 0, ANY, do_deps },
	{ "targets", 0, 0, do_targets },
	{ "version", 0, 0, do_version },
};

/* One option; takes words behind it from *i on.  False: unknown, or without its value. */
static bool option(struct dm_cmd *c, char **argv, unsigned argc, unsigned *i)
{
	static const struct {
		const char *names[3];
		size_t flag;
	} flags[] = {
		{ { "-f", "--force" }, offsetof(struct dm_cmd, force) },
		{ { "-n", "--notable" }, offsetof(struct dm_cmd, notable) },
		{ { "-r", "--readonly" }, offsetof(struct dm_cmd, read_only) },
		{ { "--noflush" }, offsetof(struct dm_cmd, noflush) },
		{ { "-c", "-C", "--columns" }, offsetof(struct dm_cmd, columns) },
		{ { "--setuuid" }, offsetof(struct dm_cmd, setuuid) },
		{ { "--inactive" }, offsetof(struct dm_cmd, inactive) },
		{ { "--noheadings" }, offsetof(struct dm_cmd, noheadings) },
	};
	const char *word = argv[*i], *value;
	uint64_t n;

	for (unsigned f = 0; f < ARRAY_SIZE(flags); f++)
		for (unsigned k = 0; k < 3 && flags[f].names[k]; k++)
			if (!strcmp(word, flags[f].names[k])) {
				*(bool *)((char *)c + flags[f].flag) = true;
				return true;
			}
	if (!strcmp(word, "--nolockfs") || !strcmp(word, "--noudevsync") ||
		!strcmp(word, "--noudevrules") || !strcmp(word, "-v") ||
		!strcmp(word, "--showkeys"))
		return true;
	if (*i + 1 >= argc)
		return false;
	value = argv[++*i];
	if (!strcmp(word, "--table") || !strcmp(word, "--tables")) {
		c->has_table = true;
		strbuf_puts(&c->table, value);
		strbuf_putc(&c->table, '\n');
	} else if (!strcmp(word, "-u") || !strcmp(word, "--uuid")) {
		c->uuid = value;
	} else if (!strcmp(word, "-o") || !strcmp(word, "--options")) {
		c->output = value;
	} else if (!strcmp(word, "--target")) {
		c->target = value;
	} else if ((!strcmp(word, "-m") || !strcmp(word, "--minor")) && is_number(value, &n) &&
		   n < 1u << 20) {
		c->minor = (int)n;
	} else {
		return false;
	}
	return true;
}

static may_block int dispatch(struct dm_cmd *c, char **argv, unsigned argc)
{
	const char *name = NULL;
	bool words_only = false;

	c->argv = argv;
	for (unsigned i = 1; i < argc; i++) {
		/* A message's words are the target's, whatever they look like. */
		bool message = name && !strcmp(name, "message") && c->argc >= 2;

		if (!words_only && !message && !strcmp(argv[i], "--")) {
			words_only = true;
		} else if (!words_only && !message && argv[i][0] == '-' && argv[i][1]) {
			if (!option(c, argv, argc, &i)) {
				io_puts(c->io, "Command failed.\n");
				return fail(c->why, -EINVAL,
					"dmsetup: %.60s: unknown, or without its value",
					argv[MIN(i, argc - 1)]);
			}
		} else if (!name) {
			name = argv[i];
		} else {
			c->argv[c->argc++] = argv[i]; /* never ahead of what is still read */
		}
	}
	if (!name)
		return misused(c, "which command? (`help dmsetup` lists them)");
	for (unsigned k = 0; k < ARRAY_SIZE(commands); k++) {
		if (strcmp(commands[k].name, name))
			continue;
		/* Everywhere but in create a uuid says which device, before the other words. */
		if (c->uuid && commands[k].run != do_create && commands[k].max) {
			memmove(c->argv + 1, c->argv, c->argc * sizeof(*c->argv));
			c->argv[0] = (char *)c->uuid;
			c->argc++;
		}
		if (c->argc < commands[k].min || c->argc > commands[k].max) {
			io_puts(c->io, "Incorrect number of arguments\n");
			return misused(c, "incorrect number of arguments");
		}
		return commands[k].run(c);
	}
	io_puts(c->io, "Unknown command\n");
	io_puts(c->io, "Command failed.\n");
	return fail(c->why, -EINVAL, "dmsetup: %.60s: unknown command", name);
}

static may_block int dmsetup_run(
	struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct dm_cmd c = { .io = io, .why = why, .minor = -1 };
	int err = dispatch(&c, argv, argc);

	strbuf_free(&c.table);
	return err;
}

static void dmsetup_complete(unsigned argc, char **argv, const char *begun,
	void (*out)(void *ctx, const char *word), void *ctx)
{
	if (argc > 1) {
		complete_mapped(begun, out, ctx);
		return;
	}
	for (unsigned k = 0; k < ARRAY_SIZE(commands); k++)
		out(ctx, commands[k].name);
}

const struct verb dmsetup_verb = {
	.name = "dmsetup",
	.usage = "dmsetup <command> [<option>...] [<device>...]",
	.help = "create <name> [--table T]... [--notable] [-r|--readonly] [-u|--uuid U] "
		"[-m|--minor N]\n"
		"reload|load <device> [--table T]... [-r]      suspend|resume [--noflush] "
		"<device>...\n"
		"remove [-f] <device>...    remove_all [-f]    clear <device>...\n"
		"rename <device> [--setuuid] <new>             message <device> <sector> "
		"<word>...\n"
		"table|status|info|deps [<device>...]          ls, targets, version\n\n"
		"Without --table the lines of the table are read from here, to Ctrl-D.",
	.run = dmsetup_run,
	.complete = dmsetup_complete,
};

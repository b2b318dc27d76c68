/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmsetup - the device mapper's verbs in the words of Linux's dmsetup.  What that prints comes
 * first, unchanged; the shell's closing line then says why.
 */
#include "shell/dmsetup.h"
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/complete.h"
#include "shell/verbs.h"

/* ---- words of failure ---- */

int dm_failed(struct dm_cmd *c, const char *verb, const char *name, struct mdev *md, int err)
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

int dm_absent(struct dm_cmd *c, const char *verb, const char *name)
{
	if (verb)
		io_printf(c->io, "device-mapper: %s ioctl on %s  failed: %s\nCommand failed.\n",
			verb, name, err_text(-ENXIO));
	else
		io_puts(c->io, "Device does not exist.\nCommand failed.\n");
	return fail(c->why, -ENXIO, "%.140s: no such mapped device", name);
}

int dm_misused(struct dm_cmd *c, const char *words)
{
	io_puts(c->io, "Command failed.\n");
	return fail(c->why, -EINVAL, "dmsetup: %s", words);
}

bool dm_is_number(const char *s, uint64_t *n)
{
	return !str_to_u64(s, 10, UINT64_MAX >> SECTOR_SHIFT, n);
}

/* ---- names ---- */

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
	       (c && strchr("#+-.:=@_/", c));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\\xNN" at p. */
static bool is_mangled(const char *p)
{
	return p[0] == '\\' && p[1] == 'x' && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0;
}

int dm_unmangle(char *word, struct strbuf *why)
{
	bool mangled = false, raw = false;
	char *to = word;
	const char *p;

	for (p = word; *p; p++) {
		if (is_mangled(p)) {
			mangled = true;
			p += 3;
		} else if (p[0] == '\\' && p[1] == 'x' && (!p[2] || !p[3])) {
			return fail(why, -EINVAL,
				"\"%.128s\": \\x without its two hexadecimal digits", word);
		} else {
			raw |= !is_plain(*p);
		}
	}
	if (!mangled)
		return 0;
	if (raw)
		return fail(why, -EINVAL,
			"\"%.128s\": some of its characters are written as \\xNN and others, which "
			"should be, are not",
			word);
	for (p = word; *p; p++) {
		if (!is_mangled(p)) {
			*to++ = *p;
			continue;
		}
		*to = (char)(hex_digit(p[2]) << 4 | hex_digit(p[3]));
		if (!*to++)
			return fail(why, -EINVAL, "a name has no zero byte");
		p += 3;
	}
	*to = 0;
	return 0;
}

void dm_mangle(const char *s, struct strbuf *out)
{
	for (; *s; s++)
		if (is_plain(*s) && *s != '/')
			strbuf_putc(out, *s);
		else
			strbuf_printf(out, "\\x%02x", (uint8_t)*s);
}

/* ---- which one ---- */

#define ANY 8192

static const struct {
	const char *name;
	unsigned min, max; /* words that are no options */
	unsigned names;    /* so many of them, the first, are names of devices */
	may_block int (*run)(struct dm_cmd *c);
} commands[] = {
	{ "create", 0, ANY, ANY, do_create },
	{ "remove", 1, ANY, ANY, do_remove },
	{ "remove_all", 0, 0, 0, do_remove_all },
	{ "reload", 1, 1, ANY, do_load },
	{ "load", 1, 1, ANY, do_load },
	{ "clear", 1, ANY, ANY, do_clear },
	{ "suspend", 1, ANY, ANY, do_suspend },
	{ "resume", 1, ANY, ANY, do_resume },
	{ "message", 2, ANY, 1, do_message },
	{ "rename", 2, 2, 2, do_rename },
	{ "table", 0, ANY, ANY, do_table },
	{ "status", 0, ANY, ANY, do_status },
	{ "info", 0, ANY, ANY, do_info },
	{ "ls", 0, 0, 0, do_ls },
	{ "deps", 0, ANY, ANY, do_deps },
	{ "targets", 0, 0, 0, do_targets },
	{ "version", 0, 0, 0, do_version },
	{ "target-version", 1, 1, 0, do_target_version },
	{ "wait", 1, 2, 1, do_wait },
	{ "lint", 0, 0, 0, do_lint },
	{ "wipe_table", 1, ANY, ANY, do_wipe_table },
	{ "splitname", 1, 2, 0, do_splitname },
	{ "setgeometry", 5, 5, 1, do_setgeometry },
	{ "mangle", 0, 1, 1, do_mangle },
	{ "mknodes", 0, 1, 1, do_nothing },
	{ "udevcookies", 0, 0, 0, do_udevcookies },
	{ "udevcreatecookie", 0, 0, 0, do_nothing },
	{ "udevreleasecookie", 0, 1, 0, do_nothing },
	{ "udevcomplete", 1, 1, 0, do_nothing },
	{ "udevcomplete_all", 0, 1, 0, do_udevcomplete_all },
	{ "udevflags", 1, 1, 0, do_udevflags },
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
		{ { "--deferred" }, offsetof(struct dm_cmd, deferred) },
		{ { "--dry-run" }, offsetof(struct dm_cmd, dry_run) },
		{ { "--concise" }, offsetof(struct dm_cmd, concise) },
		{ { "--tree" }, offsetof(struct dm_cmd, tree) },
		{ { "--nameprefixes" }, offsetof(struct dm_cmd, nameprefixes) },
		{ { "--rows" }, offsetof(struct dm_cmd, as_rows) },
		{ { "--unquoted" }, offsetof(struct dm_cmd, unquoted) },
	};
	static const char *const ignored[] = { "--nolockfs", "--noudevsync", "--noudevrules", "-v",
		"--showkeys", "--addnodeoncreate", "--addnodeonresume", "--retry", "-y", "--yes",
		"--verifyudev", "--checks", "--noopencount" };
	const char *word = argv[*i], *value;
	uint64_t n;

	for (unsigned f = 0; f < ARRAY_SIZE(flags); f++)
		for (unsigned k = 0; k < 3 && flags[f].names[k]; k++)
			if (!strcmp(word, flags[f].names[k])) {
				*(bool *)((char *)c + flags[f].flag) = true;
				return true;
			}
	/* What there is nothing to do for: nodes, udev, file systems, others who hold a device. */
	for (unsigned k = 0; k < ARRAY_SIZE(ignored); k++)
		if (!strcmp(word, ignored[k]))
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
	} else if (!strcmp(word, "-O") || !strcmp(word, "--sort")) {
		c->sort = value;
	} else if (!strcmp(word, "-S") || !strcmp(word, "--select")) {
		c->select = value;
	} else if (!strcmp(word, "--count")) {
		return dm_is_number(value, &c->count);
	} else if (!strcmp(word, "--interval")) {
		return dm_is_number(value, &c->interval) && c->interval;
	} else if (!strcmp(word, "--separator")) {
		c->separator = value;
	} else if (!strcmp(word, "--readahead") || !strcmp(word, "--manglename")) {
		;
	} else if (!strcmp(word, "--target")) {
		c->target = value;
	} else if ((!strcmp(word, "-m") || !strcmp(word, "--minor")) && dm_is_number(value, &n) &&
		   n < 1u << 20) {
		c->minor = (int)n;
	} else {
		return false;
	}
	return true;
}

static may_block int name_refused(struct dm_cmd *c)
{
	io_puts(c->io, "Command failed.\n");
	return -EINVAL;
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
		return dm_misused(c, "which command? (`help dmsetup` lists them)");
	for (unsigned k = 0; k < ARRAY_SIZE(commands); k++) {
		if (strcmp(commands[k].name, name))
			continue;
		if (c->uuid && dm_unmangle((char *)c->uuid, c->why))
			return name_refused(c);
		/* Everywhere but in create a uuid says which device, before the other words. */
		if (c->uuid && commands[k].run != do_create && commands[k].max) {
			memmove(c->argv + 1, c->argv, c->argc * sizeof(*c->argv));
			c->argv[0] = (char *)c->uuid;
			c->argc++;
		}
		if (c->argc < commands[k].min || c->argc > commands[k].max) {
			io_puts(c->io, "Incorrect number of arguments\n");
			return dm_misused(c, "incorrect number of arguments");
		}
		for (unsigned i = 0; i < MIN(c->argc, commands[k].names) && !c->concise; i++)
			if (dm_unmangle(c->argv[i], c->why))
				return name_refused(c);
		return commands[k].run(c);
	}
	io_puts(c->io, "Unknown command\n");
	io_puts(c->io, "Command failed.\n");
	return fail(c->why, -EINVAL, "dmsetup: %.60s: unknown command", name);
}

static may_block int dmsetup_run(
	struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct dm_cmd c = {
		.io = io, .why = why, .minor = -1, .count = UINT64_MAX, .interval = UINT64_MAX
	};
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
		"create --dry-run ...: says whether it would be refused, and makes nothing\n"
		"lint [--table T]...: what is wrong with a table, and where\n"
		"create --concise [<devices>]                  wipe_table <device>...\n"
		"reload|load <device> [--table T]... [-r]      suspend|resume [--noflush] "
		"<device>...\n"
		"remove [-f] [--deferred] <device>...          remove_all [-f] [--deferred]\n"
		"clear <device>...                             rename <device> [--setuuid] <new>\n"
		"message <device> <sector> <word>...           wait <device> [<event>]\n"
		"table [--concise]|status|deps [<device>...]   targets, target-version <type>\n"
		"info [-c [-o <field>,...] [-O <field>,...] [--noheadings] [--separator S]\n"
		"     [--nameprefixes] [--unquoted] [--rows] [-S <selection>]\n"
		"     [--count N] [--interval <seconds>]] [<device>...]\n"
		"ls [--target <type>] [-o devno|blkdevname|devname]\n"
		"ls --tree [-o nodevice,blkdevname,active,open,rw,uuid,compact,inverted,utf]\n"
		"splitname <name>, setgeometry <device> <cylinders> <heads> <sectors> <start>,\n"
		"mangle, mknodes, udev..., version\n\n"
		"Without --table the lines of the table are read from here, to Ctrl-D.",
	.run = dmsetup_run,
	.complete = dmsetup_complete,
};

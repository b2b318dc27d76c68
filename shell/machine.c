/* SPDX-License-Identifier: BSD-2-Clause */
/* machine - the commands about the machine as a whole. */
#include "kernel/api/core.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/machine.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "mapper/block.h"
#include "shell/run.h"
#include "shell/verbs.h"

may_block void (*shell_before_stop)(void);

static int help_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	unsigned i;

	if (argc > 2)
		return fail(why, -EINVAL, "help: one command at a time");
	for (i = 0; all_verbs[i]; i++) {
		const struct verb *v = all_verbs[i];

		if (argc == 1) {
			io_printf(io, "%s\n", v->usage);
		} else if (!strcmp(v->name, argv[1])) {
			io_printf(io, "%s\n\n%s\n", v->usage, v->help);
			return 0;
		}
	}
	if (argc == 2)
		return fail(why, -ENOENT, "%.60s: no such command", argv[1]);
	io_puts(io, "\n`help <command>` says more.  ; or && between commands, & behind one, # "
		    "comments.\n");
	return 0;
}

static int mem_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct strbuf out = { 0 };
	struct mem_stats st;

	mem_stats(&st);
	strbuf_printf(&out, "total %10llu KiB\nimage %10llu KiB\nfree  %10llu KiB\n",
		(unsigned long long)st.total_bytes >> 10, (unsigned long long)st.image_bytes >> 10,
		(unsigned long long)st.free_bytes >> 10);
	strbuf_printf(&out, "%12s %12s %8s  %s\n", "bytes", "peak", "pieces", "used for");
	for (struct mem_tag *t = mem_tags(); t; t = t->next)
		strbuf_printf(
			&out, "%12zu %12zu %8zu  %s\n", t->bytes, t->peak_bytes, t->nr, t->name);
	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
	return 0;
}

static int dmesg_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct log_line line;
	uint64_t seq = 0;

	while (log_read(&seq, &line) && !io_interrupted(io))
		io_printf(io, "[%5llu.%06llu] %s\n", (unsigned long long)(line.when_ns / NS_PER_S),
			(unsigned long long)(line.when_ns % NS_PER_S / 1000), line.text);
	return 0;
}

static int echo_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	for (unsigned i = 1; i < argc; i++)
		io_printf(io, "%s%s", i > 1 ? " " : "", argv[i]);
	io_puts(io, "\n");
	return 0;
}

/* Seconds with at most three places as nanoseconds. */
static int parse_seconds(char *word, uint64_t *ns)
{
	char *dot = strchr(word, '.');
	uint64_t s = 0, ms = 0;
	size_t n = 0;

	if (dot) {
		*dot++ = 0;
		n = strlen(dot);
		if (!n || n > 3 || str_to_u64(dot, 10, 999, &ms))
			return -EINVAL;
	}
	if (str_to_u64(word, 10, 1000000, &s))
		return -EINVAL;
	for (; n && n < 3; n++)
		ms *= 10;
	*ns = s * NS_PER_S + ms * NS_PER_MS;
	return 0;
}

static may_block int sleep_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	uint64_t ns;

	if (argc != 2 || parse_seconds(argv[1], &ns))
		return fail(why, -EINVAL, "sleep: for how many seconds?");
	return io_sleep_until(io, now_ns() + ns, why);
}

static int uptime_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	uint64_t ms = now_ns() / NS_PER_MS;

	io_printf(io, "%llu.%03llu s\n", (unsigned long long)(ms / 1000),
		(unsigned long long)(ms % 1000));
	return 0;
}

static int version_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	io_printf(io, "%s\nbuild id %s\n%u core%s\n", machine_version(), machine_build_id(),
		nr_cores(), nr_cores() == 1 ? "" : "s");
	return 0;
}

static int uname_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	io_printf(io, "%s x86_64\n", machine_version());
	return 0;
}

/* What disks hold in volatile caches becomes durable before the machine goes.  A disk that fails is
 * no reason to stay: it is said. */
static may_block void flush_disks(struct shell_io *io)
{
	for (struct bdev *d = bdev_next(NULL); d; d = bdev_next(d)) {
		int err = 0;

		if (!d->whole && d->limits.write_cache && !d->gone)
			err = bdev_flush(d);
		if (err)
			io_printf(io, "%s: flush: %s\n", d->name, err_text(err));
	}
	if (shell_before_stop)
		shell_before_stop();
}

static may_block int poweroff_run(
	struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	flush_disks(io);
	machine_poweroff();
}

static may_block int reboot_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	flush_disks(io);
	machine_reboot();
}

#define VERB(n, args, text) \
	const struct verb n##_verb = { .name = #n, .usage = #n args, .help = text, .run = n##_run }

VERB(help, " [<command>]", "Lists the commands, or says what one does.");
VERB(mem, "", "How much memory there is and what took it.");
VERB(dmesg, "", "Prints the log.");
VERB(echo, " [<word>...]", "Prints its words.");
VERB(sleep, " <seconds>", "Waits; Ctrl-C ends it.");
VERB(uptime, "", "Seconds since the kernel started.");
VERB(version, "", "The version, the build id and the number of cores.");
VERB(uname, "", "The version in one line.");
VERB(poweroff, "", "Flushes the disks and switches the machine off.");
VERB(reboot, "", "Flushes the disks and starts the machine anew.");

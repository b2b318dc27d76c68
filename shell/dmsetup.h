/* SPDX-License-Identifier: BSD-2-Clause */
/* dmsetup - private to the shell's dmsetup: a command with its options, and what does it. */
#ifndef SHELL_DMSETUP_H
#define SHELL_DMSETUP_H

#include "mapper/control.h"
#include "mapper/target.h"
#include "shell/run.h"

struct dm_cmd {
	struct shell_io *io;
	struct strbuf *why;
	char **argv; /* words that are no options */
	unsigned argc;
	bool force, notable, read_only, noflush, columns, setuuid, inactive, tree, noheadings,
		has_table, dry_run, deferred, concise, unquoted, nameprefixes, as_rows;
	const char *uuid, *output, *target, *separator, *sort, *select;
	uint64_t count, interval; /* UINT64_MAX: not given */
	int minor;
	struct strbuf table;
};

/* Linux's words, then -errno: an ioctl failed (md NULL: without its number); no such device (verb
 * NULL: as `info` says it); wrong words. */
int dm_failed(struct dm_cmd *c, const char *verb, const char *name, struct mdev *md, int err);
int dm_absent(struct dm_cmd *c, const char *verb, const char *name);
int dm_misused(struct dm_cmd *c, const char *words);
bool dm_is_number(const char *s, uint64_t *n);
/* libdm writes characters that udev does not like as \\xNN.  Here names and uuids are kept as they
 * are: these turn what was typed into that, in place (0 or -EINVAL with words in why), and back. */
int dm_unmangle(char *word, struct strbuf *why);
void dm_mangle(const char *s, struct strbuf *out);

/* The table out of --table or the lines that follow; of it, a device with that name. */
may_block int dm_read_table(struct dm_cmd *c);
may_block int dm_create_whole(struct dm_cmd *c, const char *name);
may_block int dm_create_concise(struct dm_cmd *c);
may_block int dm_table_concise(struct dm_cmd *c);
may_block int dm_tree(struct dm_cmd *c);

/* The commands. */
may_block int do_create(struct dm_cmd *c);
may_block int do_lint(struct dm_cmd *c);
may_block int do_wait(struct dm_cmd *c);
may_block int do_wipe_table(struct dm_cmd *c);
may_block int do_splitname(struct dm_cmd *c);
may_block int do_mangle(struct dm_cmd *c);
may_block int do_setgeometry(struct dm_cmd *c);
may_block int do_target_version(struct dm_cmd *c);
may_block int do_nothing(struct dm_cmd *c);
may_block int do_udevcookies(struct dm_cmd *c);
may_block int do_udevcomplete_all(struct dm_cmd *c);
may_block int do_udevflags(struct dm_cmd *c);
may_block int do_load(struct dm_cmd *c);
may_block int do_remove(struct dm_cmd *c);
may_block int do_suspend(struct dm_cmd *c);
may_block int do_resume(struct dm_cmd *c);
may_block int do_clear(struct dm_cmd *c);
may_block int do_remove_all(struct dm_cmd *c);
may_block int do_rename(struct dm_cmd *c);
may_block int do_message(struct dm_cmd *c);
may_block int do_info(struct dm_cmd *c);
may_block int do_status(struct dm_cmd *c);
may_block int do_table(struct dm_cmd *c);
may_block int do_deps(struct dm_cmd *c);
may_block int do_ls(struct dm_cmd *c);
may_block int do_targets(struct dm_cmd *c);
may_block int do_version(struct dm_cmd *c);

#endif

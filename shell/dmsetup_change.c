/* SPDX-License-Identifier: BSD-2-Clause */
/* dmsetup_change - the commands of dmsetup that change something. */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"

/* ---- the table ---- */

may_block int dm_read_table(struct dm_cmd *c)
{
	if (c->has_table)
		return 0;
	if (!c->io->read_line)
		return dm_misused(c, "no --table, and nothing to read one from");
	strbuf_init(&c->table, DM_TABLE_MAX + 1);
	while (c->io->read_line(c->io, &c->table, SHELL_LINE_MAX)) {
		strbuf_putc(&c->table, '\n');
		if (c->table.truncated)
			return dm_misused(c, "the table is too long");
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

	return err ? dm_failed(c, "reload", name, md, err) : 0;
}

/* ---- verbs that change something ---- */

may_block int dm_create_whole(struct dm_cmd *c, const char *name)
{
	struct mdev *md;
	int err = dm_create(name, c->uuid ? c->uuid : "", c->minor, &md, c->why);

	if (err) {
		io_printf(c->io,
			"device-mapper: create ioctl on %s %s failed: %s\nCommand failed.\n", name,
			c->uuid ? c->uuid : "", err_text(err));
		return err;
	}
	if (c->notable && !c->dry_run)
		return 0;
	if (!c->notable)
		err = load(c, md, name);
	if (!err && !c->dry_run) {
		err = dm_resume(md, c->noflush, c->why);
		if (err)
			dm_failed(c, "resume", name, md, err);
	}
	if (err || c->dry_run) {
		struct strbuf other = { 0 };

		md = dm_find(name);
		if (md)
			(void)dm_remove(md, false, &other);
		strbuf_free(&other);
	}
	return err;
}

may_block int do_create(struct dm_cmd *c)
{
	int err = 0;

	if (c->concise)
		return dm_create_concise(c);
	if (c->argc != 1)
		return dm_misused(c, "create: one name");
	if (!c->notable)
		err = dm_read_table(c);
	return err ? err : dm_create_whole(c, c->argv[0]);
}

may_block int do_load(struct dm_cmd *c)
{
	struct mdev *md = dm_find(c->argv[0]);
	int err;

	if (!md)
		return dm_absent(c, "reload", c->argv[0]);
	err = dm_read_table(c);
	if (err)
		return err;
	md = dm_find(c->argv[0]); /* reading took its time */
	return md ? load(c, md, c->argv[0]) : dm_absent(c, "reload", c->argv[0]);
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
			err = dm_absent(c, verb, c->argv[i]);
		} else {
			err = fn(c, md);
			if (err)
				dm_failed(c, verb, c->argv[i], NULL, err);
		}
		if (err && !first)
			first = err;
	}
	return first;
}

static may_block int remove_one(struct dm_cmd *c, struct mdev *md)
{
	return c->deferred ? dm_remove_deferred(md, c->why) : dm_remove(md, c->force, c->why);
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

may_block int do_remove(struct dm_cmd *c)
{
	return each(c, "remove", remove_one);
}

may_block int do_suspend(struct dm_cmd *c)
{
	return each(c, "suspend", suspend_one);
}

may_block int do_resume(struct dm_cmd *c)
{
	return each(c, "resume", resume_one);
}

may_block int do_clear(struct dm_cmd *c)
{
	return each(c, "clear", clear_one);
}

may_block int do_remove_all(struct dm_cmd *c)
{
	dm_remove_all(c->force, c->deferred);
	return 0;
}

may_block int do_rename(struct dm_cmd *c)
{
	struct mdev *md = dm_find(c->argv[0]);
	int err;

	if (!md)
		return dm_absent(c, "rename", c->argv[0]);
	err = c->setuuid ? dm_set_uuid(md, c->argv[1], c->why) : dm_rename(md, c->argv[1], c->why);
	return err ? dm_failed(c, "rename", c->argv[0], NULL, err) : 0;
}

may_block int do_message(struct dm_cmd *c)
{
	struct strbuf answer = { 0 };
	struct mdev *md = dm_find(c->argv[0]);
	const char *name = c->argv[0];
	uint64_t sector;
	int err;

	/* The seed's spellings: the sector first, and suspend and resume as messages. */
	if (!md && dm_is_number(c->argv[0], &sector) && c->argc > 2 && dm_find(c->argv[1])) {
		name = c->argv[1];
		md = dm_find(name);
	} else if (!md && c->argc == 2 && (!strcmp(name, "suspend") || !strcmp(name, "resume"))) {
		c->argv++;
		c->argc--;
		return *name == 's' ? do_suspend(c) : do_resume(c);
	} else if (c->argc > 1 && !dm_is_number(c->argv[1], &sector)) {
		io_puts(c->io, "invalid sector number\n");
		return dm_misused(c, "message: <device> <sector> <words>...");
	}
	if (!md)
		return dm_absent(c, "message", name);
	if (c->argc < 3)
		return dm_misused(c, "message: <device> <sector> <words>...");
	err = dm_message(md, sector, c->argc - 2, c->argv + 2, &answer, c->why);
	if (err)
		dm_failed(c, "message", name, NULL, err);
	else if (answer.len)
		io_printf(c->io, "%s%s", strbuf_text(&answer),
			answer.data[answer.len - 1] == '\n' ? "" : "\n");
	strbuf_free(&answer);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* dmsetup_small - the smaller commands of dmsetup, and those that have no meaning here (there is no
 * udev and there are no nodes) but are said by scripts. */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"
#include "shell/report.h"

#define WAIT_NS    (200 * NS_PER_MS) /* how often Ctrl-C is looked for */
#define UDEV_MAGIC 0x0d4du

/* ---- events ---- */

may_block int do_wait(struct dm_cmd *c)
{
	struct mdev *md = dm_find(c->argv[0]);
	uint64_t nr = 0;
	int err;

	if (!md)
		return dm_absent(c, "waitevent", c->argv[0]);
	/* Whatever is no number counts as 0, as atoi() has it. */
	if (c->argc > 1 && !dm_is_number(c->argv[1], &nr))
		nr = 0;
	do {
		err = dm_wait(md, (uint32_t)nr, now_ns() + WAIT_NS);
		if (err == -ETIMEDOUT && io_interrupted(c->io)) {
			io_puts(c->io, "Command failed.\n");
			return fail(c->why, -EINTR, "interrupted");
		}
		md = dm_find(c->argv[0]);
	} while (err == -ETIMEDOUT && md);
	return err && err != -ETIMEDOUT ? dm_failed(c, "waitevent", c->argv[0], NULL, err)
	       : md                     ? 0
					: dm_absent(c, "waitevent", c->argv[0]);
}

/* ---- an error table in place of what is there ---- */

static may_block sector_t table_length(struct mdev *md)
{
	struct dm_info info;

	dm_info(md, &info);
	return info.live_table ? info.bdev->nr_sectors : 0;
}

static may_block int wipe_one(struct dm_cmd *c, struct mdev *md, const char *name)
{
	char table[48];
	int err;

	str_printf(table, sizeof(table), "0 %llu error", (unsigned long long)table_length(md));
	err = dm_load(md, table, strlen(table), false, c->why);
	if (err)
		return dm_failed(c, "reload", name, md, err);
	md = dm_find(name);
	if (!md)
		return dm_absent(c, "resume", name);
	err = dm_resume(md, c->noflush, c->why);
	return err ? dm_failed(c, "resume", name, md, err) : 0;
}

may_block int do_wipe_table(struct dm_cmd *c)
{
	int first = 0;

	for (unsigned i = 0; i < c->argc; i++) {
		struct mdev *md = dm_find(c->argv[i]);
		int err = md ? wipe_one(c, md, c->argv[i]) : dm_absent(c, "table", c->argv[i]);

		first = first ? first : err;
	}
	return first;
}

/* ---- names ---- */

struct split_name {
	char vg[DM_NAME_MAX + 1], lv[DM_NAME_MAX + 1], layer[DM_NAME_MAX + 1];
};

/* Up to a single '-'; two of them are one that belongs to the name. */
static const char *part(const char *at, char *to)
{
	for (; *at; at++) {
		if (*at == '-' && at[1] != '-')
			break;
		if (*at == '-')
			at++;
		*to++ = *at;
	}
	*to = 0;
	return *at ? at + 1 : at;
}

static void get_vg(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct split_name *)row)->vg);
}

static void get_lv(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct split_name *)row)->lv);
}

static void get_layer(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct split_name *)row)->layer);
}

may_block int do_splitname(struct dm_cmd *c)
{
	static const struct report_field fields[] = {
		{ "vg_name", "VG", 4, false, get_vg },
		{ "lv_name", "LV", 4, false, get_lv },
		{ "lv_layer", "LVLayer", 7, false, get_layer },
		{ 0 },
	};
	struct report_style style = { .fields = c->output,
		.standard = "vg_name,lv_name,lv_layer",
		.separator = c->separator    ? c->separator
			     : c->noheadings ? ":"
					     : NULL,
		.no_headings = c->noheadings };
	struct strbuf out = { 0 };
	struct split_name n = { 0 };
	struct report r;
	int err;

	if (strnlen(c->argv[0], DM_NAME_MAX + 1) > DM_NAME_MAX)
		return dm_misused(c, "splitname: the name is too long");
	if (c->argc < 2 || !strcmp(c->argv[1], "LVM")) {
		const char *at = part(c->argv[0], n.vg);

		at = part(at, n.lv);
		part(at, n.layer);
	}
	err = report_begin(&r, fields, &style, c->why);
	if (!err) {
		report_row(&r, &n);
		err = report_print(&r, &out);
	}
	io_puts(c->io, err ? "Command failed.\n" : strbuf_text(&out));
	report_free(&r);
	strbuf_free(&out);
	return err;
}

/* Names here are kept as they are; no other form exists. */
may_block int do_mangle(struct dm_cmd *c)
{
	struct mdev *md = c->argc ? dm_find(c->argv[0]) : dm_next(NULL);
	struct dm_info i;

	if (!md && c->argc)
		return dm_absent(c, NULL, c->argv[0]);
	for (; md; md = c->argc ? NULL : dm_next(md)) {
		dm_info(md, &i);
		io_printf(c->io, "%s: %s: name %salready in correct form\n", i.name,
			*i.uuid ? i.uuid : "[no UUID]", *i.uuid ? "and UUID " : "");
	}
	return 0;
}

/* ---- geometry ---- */

may_block int do_setgeometry(struct dm_cmd *c)
{
	static const uint64_t limits[] = { 65535, 255, 255, UINT64_MAX };
	struct mdev *md = dm_find(c->argv[0]);
	uint64_t n[4];
	const char *why = NULL;

	if (!md)
		return dm_absent(c, "setgeometry", c->argv[0]);
	for (unsigned i = 0; i < 4 && !why; i++)
		if (str_to_u64(c->argv[i + 1], 10, UINT64_MAX, &n[i]))
			why = "Unable to interpret geometry settings.";
	for (unsigned i = 0; i < 4 && !why; i++)
		if (n[i] > limits[i])
			why = "Geometry exceeds range limits.";
	if (!why && n[3] > n[0] * n[1] * n[2])
		why = "core: Start sector is beyond the geometry limits.";
	if (!why)
		return 0; /* nobody here asks for it */
	strbuf_puts(c->why, why);
	return dm_failed(c, "setgeometry", c->argv[0], NULL, -EINVAL);
}

/* ---- targets ---- */

may_block int do_target_version(struct dm_cmd *c)
{
	const struct target_ops *t = target_find(c->argv[0]);

	if (!t) {
		io_printf(c->io, "device-mapper: target-version ioctl on %s  failed: %s\n",
			c->argv[0], err_text(-EINVAL));
		io_puts(c->io, "Command failed.\n");
		return fail(c->why, -EINVAL, "%.60s: unknown target type", c->argv[0]);
	}
	io_printf(c->io, "%-16s v%u.%u.%u\n", t->name, t->version[0], t->version[1], t->version[2]);
	return 0;
}

/* ---- udev ---- */

may_block int do_nothing(struct dm_cmd *c __unused)
{
	return 0;
}

may_block int do_udevcookies(struct dm_cmd *c)
{
	io_puts(c->io, "Cookie       Semid      Value      Last semop time           "
		       "Last change time\n");
	return 0;
}

may_block int do_udevcomplete_all(struct dm_cmd *c)
{
	io_printf(c->io, "0 semaphores with keys prefixed by %u (0x%x) destroyed. 0 skipped.\n",
		UDEV_MAGIC, UDEV_MAGIC);
	return 0;
}

may_block int do_udevflags(struct dm_cmd *c)
{
	static const char *const names[] = { "DISABLE_DM_RULES_FLAG",
		"DISABLE_SUBSYSTEM_RULES_FLAG", "DISABLE_DISK_RULES_FLAG",
		"DISABLE_OTHER_RULES_FLAG", "LOW_PRIORITY_FLAG", "DISABLE_LIBRARY_FALLBACK_FLAG",
		"PRIMARY_SOURCE_FLAG", "FLAG7" };
	const char *word = c->argv[0];
	bool hex = word[0] == '0' && (word[1] | 32) == 'x';
	uint64_t cookie;

	if (str_to_u64(word + (hex ? 2 : 0), hex ? 16 : 10, UINT32_MAX, &cookie) || !cookie)
		return dm_misused(c, "udevflags: Incorrect cookie value");
	for (unsigned i = 0; i < 16; i++) {
		if (!(cookie >> 16 >> i & 1))
			continue;
		if (i < 8)
			io_printf(c->io, "DM_UDEV_%s='1'\n", names[i]);
		else
			io_printf(c->io, "DM_SUBSYSTEM_UDEV_FLAG%u='1'\n", i - 8);
	}
	return 0;
}

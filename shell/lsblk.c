/* SPDX-License-Identifier: BSD-2-Clause */
/* lsblk - every block device, mapped ones by their name, in the columns of util-linux's. */
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "mapper/control.h"
#include "shell/run.h"
#include "shell/verbs.h"

/* "64M", "1.5G": powers of 1024 with one place, as lsblk rounds. */
static void size_words(uint64_t sectors, char *out, size_t n)
{
	static const char unit[] = "BKMGTPE";
	uint64_t bytes = sectors << SECTOR_SHIFT, tenths;
	unsigned u = 0;

	while (bytes >> (10 * u) >= 1024 && u < 6)
		u++;
	if (!u) {
		str_printf(out, n, "%lluB", (unsigned long long)bytes);
		return;
	}
	tenths = ((bytes >> (10 * (u - 1))) * 10 + 512) / 1024;
	if (tenths % 10)
		str_printf(out, n, "%llu.%llu%c", (unsigned long long)tenths / 10,
			(unsigned long long)tenths % 10, unit[u]);
	else
		str_printf(out, n, "%llu%c", (unsigned long long)tenths / 10, unit[u]);
}

static const char *type_of(const struct bdev *d, const struct mdev *md)
{
	return md ? "dm" : d->whole ? "part" : "disk";
}

static int lsblk_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct strbuf out = { 0 };
	struct dm_info info;

	if (argc > 1)
		return fail(why, -EINVAL, "lsblk: takes no words");
	strbuf_printf(&out, "%-24s %8s %2s %8s %2s %-4s %s\n", "NAME", "MAJ:MIN", "RM", "SIZE",
		"RO", "TYPE", "WHAT");
	for (struct bdev *d = bdev_next(NULL); d; d = bdev_next(d)) {
		struct mdev *md = d->major == DM_MAJOR ? dm_find(d->name) : NULL;
		struct strbuf what = { 0 };
		char size[24], number[24];

		size_words(d->nr_sectors, size, sizeof(size));
		str_printf(number, sizeof(number), "%u:%u", d->major, d->minor);
		if (md)
			dm_info(md, &info);
		if (d->ops->describe)
			d->ops->describe(d, &what);
		strbuf_printf(&out, "%-24s %8s  0 %8s  %d %-4s %s\n", md ? info.name : d->name,
			number, size, d->read_only, type_of(d, md), strbuf_text(&what));
		strbuf_free(&what);
	}
	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
	return 0;
}

const struct verb lsblk_verb = {
	.name = "lsblk",
	.usage = "lsblk",
	.help = "Lists the block devices: disks, partitions, mapped devices.",
	.run = lsblk_run,
};

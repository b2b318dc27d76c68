/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control - the device mapper's verbs, as Linux's dm ioctls have them.  Core 0, on a fiber; verbs
 * that change one device are done one after the other, in order of arrival.
 *
 * Every verb answers 0 or -errno and leaves nothing half-applied.  On failure `why` (never NULL)
 * gets the reason in words without newline: what Linux would put in its kernel log, naming the
 * table line and the argument ("table line 2: linear: Device lookup failed").
 *
 * A device is addressed by name, by uuid (with the "UUID-" form of libdm's nodes left to the
 * shell), by "major:minor", "/dev/dm-N", "dm-N" or "/dev/mapper/NAME".
 */
#ifndef MAPPER_CONTROL_H
#define MAPPER_CONTROL_H

#include "mapper/block.h"

#define DM_MAJOR     253
#define DM_NAME_MAX  127
#define DM_UUID_MAX  128
#define DM_TABLE_MAX (16u << 20)

struct mdev;

struct dm_info {
	char name[DM_NAME_MAX + 1];
	char uuid[DM_UUID_MAX + 1];
	uint32_t major, minor;
	bool suspended, live_table, inactive_table, read_only, deferred_remove;
	unsigned open_count, nr_targets; /* nr_targets of the live table */
	uint32_t event_nr;
	struct bdev *bdev; /* valid until the next may_block */
};

/* NULL if there is no such device. */
struct mdev *dm_find(const char *spec);
/* In order of name, NULL begins and ends; valid until the next verb. */
struct mdev *dm_next(struct mdev *prev);
/* The first behind that name, whether there is a device with it or not. */
struct mdev *dm_after(const char *name);
/* In order of minor number. */
struct mdev *dm_next_by_minor(struct mdev *prev);
void dm_info(struct mdev *md, struct dm_info *out);

/* -EINVAL (bad name or uuid), -EBUSY (name or uuid taken), -ENOMEM.  minor -1: the lowest free.
 * The device has no table and is not suspended, as after DM_DEV_CREATE. */
may_block int dm_create(
	const char *name, const char *uuid, int minor, struct mdev **out, struct strbuf *why);
/* Where the table stands that was last refused: of which line (1..; 0: no line is to blame) which
 * word (0..; one behind the last: a word is missing). */
struct dm_fault {
	unsigned line, word;
};
struct dm_fault dm_fault(const struct mdev *md);
/* Replaces the inactive table.  text: lines "start length type args...", empty lines and lines
 * beginning with # skipped. */
may_block int dm_load(
	struct mdev *md, const char *text, size_t len, bool read_only, struct strbuf *why);
may_block int dm_clear(struct mdev *md, struct strbuf *why);
/* noflush: do not flush devices first (nor is that done when a device beneath is suspended and
 * would hold the flush).  Returns when nothing is in flight.  There are no file systems here to
 * lock. */
may_block int dm_suspend(struct mdev *md, bool noflush, struct strbuf *why);
/* Makes the inactive table live (suspending first if need be) and lets I/O flow, held bios first
 * and in order.  If the inactive table cannot be had any more all stays as it was; if a target
 * refuses at the last moment (preresume), as with Linux, it is live and the device suspended. */
may_block int dm_resume(struct mdev *md, bool noflush, struct strbuf *why);
/* -EBUSY while open.  force: first loads an error table over its whole length; if it is still open
 * that table stays and -EBUSY is the answer. */
may_block int dm_remove(struct mdev *md, bool force, struct strbuf *why);
/* If it is open: once it no longer is, and that was not taken back by the message
 * "@cancel_deferred_remove". */
may_block int dm_remove_deferred(struct mdev *md, struct strbuf *why);
/* Removes all that are not open, repeatedly (force, deferred: as above).  Returns how many stay. */
may_block unsigned dm_remove_all(bool force, bool deferred);
may_block int dm_rename(struct mdev *md, const char *new_name, struct strbuf *why);
may_block int dm_set_uuid(struct mdev *md, const char *uuid, struct strbuf *why);
/* The words of a message to the target at that sector, or to the core when they begin with '@'. */
may_block int dm_message(struct mdev *md, sector_t sector, unsigned argc, char **argv,
	struct strbuf *out, struct strbuf *why);

/* "start length type words\n" for each target of the live (or inactive) table; nothing when there
 * is none.  For STATUS_INFO and STATUS_TABLE lines end as Linux's do: a space stands after the type
 * even when no words follow.  -ENXIO when the device is gone. */
may_block int dm_status(struct mdev *md, bool table_words, bool inactive, struct strbuf *out);
/* The i-th bdev the live table uses; NULL at the end.  In the order Linux prints (last taken
 * first). */
struct bdev *dm_dep(struct mdev *md, unsigned i);

/* Returns when the event number is another than event_nr: 0; -ETIMEDOUT at due_ns (UINT64_MAX:
 * never); -ENXIO when the device was removed. */
may_block int dm_wait(struct mdev *md, uint32_t event_nr, uint64_t due_ns);

/* Brings the mapper up: no devices.  Once, at boot, and once a unit test. */
int dm_init(void);
void dm_exit(void); /* tests: everything removed, nothing leaks */

#endif

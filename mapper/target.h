/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target - what a device-mapper target is.  A target maps a range of sectors of a mapped device
 * onto bdevs.  The mapper owns the context (ctx_size bytes, zeroed), the devices taken with
 * arg_bdev() and the per-bio data; a target is mostly its constructor and its map().
 *
 * ctr, dtr, status and message run on core 0 on a fiber and may block; map and end_io run on any
 * core and must not.  If ctr fails, dtr still runs on the half-filled context.
 */
#ifndef MAPPER_TARGET_H
#define MAPPER_TARGET_H

#include "mapper/block.h"

struct table;
struct target;

/*
 * args - the words of a table line as a cursor whose first failure sticks, so a constructor reads
 * straight down and asks once at the end.  Error words are Linux's ("Invalid device sector").
 */
struct args {
	char **argv;
	unsigned argc, pos;
	struct target *target;
	int err;         /* 0 or the first -errno */
	unsigned at;     /* the word that is to blame, argc: one that is missing */
	char words[160]; /* why */
};

unsigned args_left(const struct args *a);
const char *arg_word(struct args *a, const char *words); /* "" after a failure */
uint64_t arg_u64(struct args *a, uint64_t max, const char *words);
/* Takes a device for this table; the mapper opens it and closes it after dtr.  NULL after a
 * failure: -ENODEV (no such name) or -ENXIO (no such number), -EACCES (read-only under a writable
 * table), -EBUSY (somebody other than a mapped device claimed it), -EINVAL when it is the mapped
 * device itself or stands on it. */
struct bdev *arg_bdev(struct args *a, const char *words);
/* Says that the target does its I/O on these sectors of a device it took: the mapper checks that
 * they exist and are aligned, and stacks the device's limits.  Every target says it of every device
 * whose limits bind it. */
void arg_uses(struct args *a, struct bdev *dev, sector_t start, sector_t len);
/* The common pair "<dev> <start>" at once: the number is judged first, as Linux's targets do, then
 * the device is taken and len sectors from *start are said to be used. */
struct bdev *arg_range(struct args *a, sector_t len, sector_t *start, const char *dev_words,
	const char *start_words);
/* Says a failure of the target's own. */
void arg_fail(struct args *a, int err, const char *fmt, ...) __printf(3, 4);
/* The constructor's last line: leftovers fail with words; the first error or 0. */
int arg_end(struct args *a, const char *words);

enum map_result {
	MAP_REMAPPED, /* bio->dev and ->sector were changed: submit it there */
	MAP_HELD,     /* the target will bio_submit() or bio_end() it */
	MAP_REQUEUE,  /* not now: again at the device's next resume (a copy, target_nr > 0 or one
			 of several, ends with -EIO instead) */
	MAP_FAIL,     /* end it with bio->status (set it; 0 stands for -EIO) */
	MAP_DONE,     /* end it with success now (zero target) */
};

enum status_type {
	STATUS_INFO,  /* dmsetup status */
	STATUS_TABLE, /* dmsetup table: words that ctr accepts */
};

struct target_ops {
	const char *name;
	const char *syntax; /* the words of its table line: "<device> <start>" */
	uint16_t version[3];
	size_t ctx_size;
	size_t per_bio_size; /* bytes beside every bio while this target has it */

	int (*ctr)(struct target *t, struct args *a);
	void (*dtr)(struct target *t); /* optional */
	/* Data operations arrive cut to one target and at most t->max_io_sectors-aligned pieces.
	 * Flush arrives t->nr_flush times, bio->target_nr 0..; discard, write-zeroes and
	 * secure-erase likewise. */
	enum map_result (*map)(struct target *t, struct bio *bio);
	/* Optional: sees every bio that map() remapped or held, when it ends on its core.  *status
	 * may be changed.  True: the target keeps the bio and ends or submits it again later; it
	 * will be seen here again. */
	bool (*end_io)(struct target *t, struct bio *bio, int *status);
	void (*status)(struct target *t, enum status_type type, struct strbuf *out); /* optional */
	/* Optional.  Words are argv[0..argc); answer text goes to out.  0 or -errno, best by
	 * message_fail(). */
	int (*message)(struct target *t, unsigned argc, char **argv, struct strbuf *out);
	/* Optional, on a fiber: presuspend while I/O still flows, postsuspend when it has drained,
	 * preresume may refuse (-errno), resume. */
	void (*presuspend)(struct target *t);
	void (*presuspend_undo)(struct target *t);
	void (*postsuspend)(struct target *t);
	int (*preresume)(struct target *t);
	void (*resume)(struct target *t);
	/* Optional: changes what stacking came to. */
	void (*io_hints)(struct target *t, struct limits *l);
	bool wildcard; /* as Linux's DM_TARGET_WILDCARD (error) */
	bool singleton;
	bool immutable;
};

struct target {
	const struct target_ops *ops;
	struct table *table;
	sector_t begin, len; /* in the mapped device */
	void *ctx;
	uint32_t max_io_sectors; /* cut at multiples of this from begin; 0 = no cut */
	uint16_t nr_flush, nr_discard, nr_write_zeroes,
		nr_secure_erase; /* 0: -EOPNOTSUPP (flush: none) */
	bool flush_bypass;       /* a flush may go to each device taken, once, without map() */
	bool discards_supported; /* even when no device beneath offers them */
	bool flush_supported;    /* has a volatile cache of its own */
	bool end_io_errors;      /* end_io() wants to see those that failed, no others */
};

static inline sector_t target_offset(const struct target *t, const struct bio *bio)
{
	return bio->sector - t->begin;
}

#define TARGET_DATA_AT 32 /* behind what the mapper has beside the bio */

/* The per-bio data of the innermost target that has this bio; valid from map() to end_io().  Not
 * cleared, aligned to 16. */
static inline void *target_bio_data(struct bio *bio)
{
	return (char *)bio->frames + TARGET_DATA_AT;
}

/* What message() returns when it refuses: err, and out says why.  It is logged with the target's
 * name before it. */
int message_fail(struct strbuf *out, int err, const char *fmt, ...) __printf(3, 4);

/* Something worth telling `dmsetup wait` happened.  Any core. */
void target_event(struct target *t);

/* targets/targets.c: every target there is, NULL at the end. */
extern const struct target_ops *const all_targets[];
const struct target_ops *target_find(const char *name);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mdev - private to the mapper: what a table and a mapped device are made of.
 *
 * Cores.  A bio passes a mapped device on the core that submitted it, in both directions, and finds
 * there, in mdev_core.path, the pools and counts of the live table for that core.  Only that core
 * touches them, so counting what is in flight takes no lock.  Core 0 stops and starts the device by
 * calling every core in turn (core_call); between the two path is NULL everywhere and the table can
 * be exchanged.  Whoever looks at the live table outside core 0's fibers does it through path.
 */
#ifndef MAPPER_MDEV_H
#define MAPPER_MDEV_H

#include "kernel/api/fiber.h"
#include "mapper/control.h"
#include "mapper/target.h"
#include "mapper/tree.h"

#define MDEV_DEPTH_MAX 128 /* mapped devices above one another */
#define MDEV_MINOR_MAX ((1u << 20) - 1)
#define CACHE_LINE     64

extern struct mem_tag mdev_tag;

/* What stands beside a bio from map() to its end.  end and tc are set when the table is made. */
struct mframe {
	struct bio_frame frame;
	struct table_core *tc;
	struct target *target; /* its end_io() will see the bio; NULL: none will */
	char data[] __aligned(16);
};

/* The part of a table that belongs to one core. */
struct table_core {
	struct pool frames;
	struct bio_list waiting; /* for a frame, in order */
	struct table *table;
	struct fan *fan;             /* fan.c: the one there is, if the table needs copies */
	struct bio_list fan_waiting; /* for it */
	bool fan_out;
	bool pumping;  /* waiting is being served further up the stack */
	bool draining; /* core 0 waits for drained */
	struct work drained;
} __aligned(CACHE_LINE);

/* Sectors of a device that a target said it uses. */
struct table_use {
	struct bdev *dev;
	sector_t start, len;
	unsigned target; /* its index */
	unsigned line;   /* of the table's text */
};

struct table {
	struct mdev *md;
	struct target *targets; /* in order of begin, without gaps */
	unsigned nr_targets, max_targets;
	unsigned line; /* that is being read */
	sector_t nr_sectors;
	bool read_only;
	struct bdev **deps; /* each once, in the order first taken */
	unsigned nr_deps, max_deps;
	struct table_use *uses;
	unsigned nr_uses, max_uses;
	struct limits limits;
	uint64_t flush_copies;    /* bios a flush turns into */
	bool flush_by_dev;        /* these are one for each of deps, not seen by map() */
	struct target *flush_one; /* who gets it when it is one, by map() */
	bool whole;               /* one target that takes pieces of any size */
	uint32_t grid;            /* one target, pieces cut at multiples of so many (2^n); 0 */
	struct table_core *cores;
	void *cores_mem; /* cores, before it was aligned */
	unsigned users;  /* fibers at work on it beside the one that holds the gate */
	struct waitq idle;
};

struct mdev_core {
	struct table_core *path; /* NULL: I/O does not flow */
	struct bio_list held;    /* until the next resume, in order of arrival */
	bool hold;               /* suspended; else, without path, bios end with -EIO */
} __aligned(CACHE_LINE);

struct mdev {
	struct bdev bdev;
	char name[DM_NAME_MAX + 1], uuid[DM_UUID_MAX + 1];
	struct tree_node by_name, by_uuid, by_minor;
	struct table *live, *inactive;
	bool suspended;
	bool dying;            /* removed; the memory stays while refs */
	bool deferred;         /* to be removed when nobody has it open any more */
	unsigned refs;         /* fibers in a verb on it, and 1 for being there */
	struct dm_fault fault; /* of the table that was last refused */
	struct gate gate;      /* around everything that changes it */
	int nr_draining;       /* cores whose drained is on its way; can be below 0 for a moment */
	struct waitq drained;
	uint32_t event_nr;
	unsigned new_events; /* atomic: since event_work was last sent */
	struct work event_work;
	struct waitq events;
	unsigned visit, depth; /* stack_check()'s */
	struct mdev_core *cores;
	void *cores_mem;
};

/* ---- table.c ---- */

/* How many frames a table has for each core, how many copies of one bio are out at once.  Tests set
 * them to 1. */
extern unsigned table_nr_frames, table_nr_clones;

/* parse.c: a table for md out of text; *why on failure.  Its devices are open. */
may_block int table_parse(struct mdev *md, const char *text, size_t len, bool read_only,
	struct table **out, struct strbuf *why);
/* NULL does nothing.  Nothing may be in flight. */
may_block void table_destroy(struct table *t);
/* Checks again what the devices beneath can take and computes t->limits. */
int table_settle(struct table *t, struct strbuf *why);
/* Keeps a table from being destroyed while a fiber works on it without the gate. */
static inline void table_hold(struct table *t)
{
	t->users++;
}
void table_release(struct table *t);
/* Is it one of deps? */
bool table_has(const struct table *t, const struct bdev *dev);
/* Claims a device that is not yet one of deps.  0, -ENOMEM, -EBUSY. */
int table_take(struct table *t, struct bdev *dev);
/* 0 or -ENOMEM. */
int table_add_use(struct table *t, const struct table_use *use);

/* Makes what every core needs, after the last target.  False: no memory. */
bool table_make_cores(struct table *t);
/* An array of things as large as cache lines, aligned to them; NULL.  *mem is for mem_free(). */
void *lines_alloc(unsigned nr, size_t size, void **mem);

/* The target that has this sector; sector < nr_sectors. */
struct target *table_find_slow(const struct table *t, sector_t sector);
static inline struct target *table_find(const struct table *t, sector_t sector)
{
	return likely(t->nr_targets == 1) ? t->targets : table_find_slow(t, sector);
}

/* ---- fan.c: one bio that becomes several ---- */

/* Bytes a fan needs for so many clones with so much data each. */
size_t fan_size(unsigned nr_clones, size_t data_size);
void fan_init(struct fan *fan, struct table_core *tc, unsigned nr_clones, size_t data_size);
/* A flush, or a discard and the like whose target wants copies; waits for the fan if need be. */
void fan_submit(struct table_core *tc, struct bio *bio);

/* ---- mdev.c ---- */

/* NULL if it is no mapped device. */
struct mdev *mdev_of(const struct bdev *dev);
/* Makes md->bdev known under md->bdev.minor. */
int mdev_register(struct mdev *md);
may_block void mdev_unregister(struct mdev *md);
/* Frees what mdev_register() made, and md. */
void mdev_free(struct mdev *md);

/* I/O stops: new bios are held, those in flight have ended on return.  md->suspended. */
may_block void mdev_suspend(struct mdev *md, bool noflush);
/* Runs the targets' hooks, lets I/O flow, held bios first.  -errno: preresume refused; still
 * suspended. */
may_block int mdev_resume(struct mdev *md, struct strbuf *why);
/* Makes t live, while suspended; returns the table that was. */
struct table *mdev_swap(struct mdev *md, struct table *t);
/* Would md with this table stand on itself, or would a stack become too high?  0 or -EINVAL. */
int mdev_check_stack(struct mdev *md, const struct table *t, struct strbuf *why);
/* True if dev is md or stands on it. */
bool mdev_stands_on(struct bdev *dev, struct mdev *md);

/* What a frame of a bio that was not copied has as its end(). */
bool mframe_end(struct bio_frame *frame, struct bio *bio, int *status);
/* A frame came back or a fan ended: whoever waits goes on. */
void table_core_pump(struct table_core *tc);
bool table_core_idle(const struct table_core *tc);

/* The next mapped device in order of number. */
struct mdev *mdev_next(struct mdev *prev);

/* ---- control.c ---- */

/* The last one closed it: a removal that was put off may be due. */
void control_idle(struct mdev *md);

#endif

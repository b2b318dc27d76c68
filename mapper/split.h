/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split - private to block.c, split.c and bdev.c: what bio_submit() does with a bio that cannot go
 * to its device as it is.
 */
#ifndef MAPPER_SPLIT_H
#define MAPPER_SPLIT_H

#include "mapper/block.h"

/*
 * Beside the reserve of every device each core has this many jobs and pieces that all its devices
 * share, so that large requests are worked on in parallel.  Nothing depends on them; tests set them
 * to 0.  Read when the first device is registered.
 */
extern unsigned split_extra_jobs, split_extra_pieces;

/* bio_end() of a bio whose failure its device has counted already. */
void bio_finish(struct bio *bio, int status);

/* Makes dev->splitters.  0 or -ENOMEM. */
int split_attach(struct bdev *dev);
/* Frees them; nothing may be in flight. */
void split_detach(struct bdev *dev);
/* Parts of block_reset(). */
void split_reset(void);
void bio_reset(void);

/* Everything but the plain case: flushes, discards, what needs pieces or a flush around it.  The
 * bio was checked against its device's size and rights. */
void split_submit(unsigned core, struct bio *bio);

/*
 * How many sectors from bio->sector may go in one request, 1..nr_sectors, a multiple of the logical
 * block unless it is all.  -EOPNOTSUPP, or -EINVAL: not even one block can.  Not for flushes.
 */
int64_t split_sectors(struct bdev *dev, const struct bio *bio);

/* The crash test's proof that it can fail: a build that answers flushes without sending them. */
#ifdef MUTANT_FLUSH_NOT_SENT
#define FLUSHES_ARE_SENT false
#else
#define FLUSHES_ARE_SENT true
#endif

/* Hands a bio that fits to its device. */
static inline void bio_start(unsigned core, struct bdev *dev, struct bio *bio)
{
	struct bdev_stats *st = &dev->stats[core];

	st->ios[bio->op]++;
	st->sectors[bio->op] += bio->nr_sectors;
	dev->ops->submit(dev, bio);
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ramdisk - a disk of memory for tests of everything above mapper/block.h.  It completes bios from
 * its core's loop, never inside submit; it can be slow, shuffled, held, faulty, or lose its cache;
 * and it panics when a bio breaks what block.h promises a driver.  Its memory is not counted by
 * host_mem_check(), what bdev_register() allocates is: destroy it before checking.
 */
#ifndef TESTS_HOST_RAMDISK_H
#define TESTS_HOST_RAMDISK_H

#include "kernel/api/random.h"
#include "mapper/block.h"

#define RAMDISK_TRACE 4096

struct ramdisk_bio { /* what came, in order of arrival */
	uint8_t op, flags;
	uint32_t nr_sectors, nr_segs;
	sector_t sector;
};

struct ramdisk {
	struct bdev bdev;
	uint8_t *data; /* what reads see */

	/* counters; a test may clear them */
	uint64_t nr[BIO_NR_OPS], sectors[BIO_NR_OPS];
	uint64_t nr_fua, nr_errors;
	unsigned in_flight, max_in_flight;
	struct ramdisk_bio trace[RAMDISK_TRACE]; /* the first so many */
	unsigned nr_trace;                       /* how many came, also past the end of trace */

	/* private */
	uint8_t *stable;     /* volatile cache: what a power cut leaves; NULL: all is durable */
	uint64_t *dirty_seq; /* per sector: its oldest write not yet flushed, 0 clean */
	uint64_t seq;        /* counts completions */
	struct list pending; /* held or waiting, in order of arrival */
	bool held;
	uint64_t delay_ns, jitter_ns;
	struct rng rng;
	unsigned fail_in;
	int fail_nth_status, fail_range_status;
	unsigned fail_ops; /* bit per enum bio_op */
	sector_t fail_first, fail_nr;
};

/* limits NULL: limits_default() and discard, write-zeroes of any size.  A disk whose limits say
 * write_cache has a volatile cache.  Registered; NULL if that failed. */
struct ramdisk *ramdisk_create(const char *name, sector_t sectors, const struct limits *limits);
/* Must be idle and not open. */
void ramdisk_destroy(struct ramdisk *rd);

/* From now on bios take that long, and up to jitter_ns more, drawn from seed: so they reorder. */
void ramdisk_delay(struct ramdisk *rd, uint64_t delay_ns, uint64_t jitter_ns, uint64_t seed);
/* Keeps what arrives from now on. */
void ramdisk_hold(struct ramdisk *rd);
/* Completes the oldest n of the held; 0: all, and holds no more. */
void ramdisk_release(struct ramdisk *rd, unsigned n);

/* The n-th bio to arrive from now (1: the next) fails, once; 0: none. */
void ramdisk_fail_nth(struct ramdisk *rd, unsigned n, int status);
/* Operations in the mask (1 << BIO_READ ...) that touch any of these sectors fail; status 0: no
 * more.  Flush has no sectors: it fails if its bit is set. */
void ramdisk_fail_range(struct ramdisk *rd, unsigned ops, sector_t first, sector_t nr, int status);

/*
 * The power fails and comes back: what is in flight ends with -EIO unexecuted, and of the sectors
 * whose writes no flush has covered each keeps the new contents or the last durable ones as drawn
 * from seed (0: all are lost).  Disks without a cache lose nothing that was acknowledged.
 */
void ramdisk_power_cut(struct ramdisk *rd, uint64_t seed);

/* Sectors written or zeroed and not yet durable. */
uint64_t ramdisk_nr_dirty(const struct ramdisk *rd);

#endif

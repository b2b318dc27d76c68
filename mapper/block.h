/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block - the two nouns.  A bdev is a numbered row of 512-byte sectors with limits; a bio is one
 * request to one bdev.  Drivers make bdevs, targets make bdevs out of bdevs, exports consume them;
 * nobody can tell which kind they hold.
 *
 * Contexts.  bio_submit() is called on any core's loop or fiber and never blocks; done() runs on
 * the core that submitted, on its loop, never inside bio_submit().  Registering, opening and
 * looking up devices happens on core 0 only.
 */
#ifndef MAPPER_BLOCK_H
#define MAPPER_BLOCK_H

#include "kernel/api/base.h"
#include "kernel/api/core.h"
#include "kernel/api/dma.h"
#include "kernel/api/errno.h"
#include "kernel/api/list.h"
#include "kernel/api/mem.h"
#include "kernel/api/strbuf.h"

enum bio_op {
	BIO_READ,
	BIO_WRITE,
	BIO_FLUSH,        /* everything acknowledged before this was submitted becomes durable */
	BIO_DISCARD,      /* contents no longer wanted; a hint */
	BIO_WRITE_ZEROES, /* reads zeroes afterwards */
	BIO_SECURE_ERASE,
	BIO_NR_OPS,
};

enum bio_flags {
	BIO_FUA = 1,      /* writes: durable before done */
	BIO_PREFLUSH = 2, /* writes: flush first, then this */
	BIO_NOWAIT = 4,   /* -EAGAIN rather than being held by a suspended device */
};

/* One run of memory a device can reach.  len is a multiple of 512 unless limits allow less. */
struct seg {
	dma_addr_t addr;
	uint32_t len;
};

struct bdev;
struct bio;

/*
 * A layer that wants to see a bio on its way back (mapped devices, partitions need none): pushed on
 * bio->frames before the bio is submitted below, popped by bio_end() on bio->core, innermost first.
 * end() may change *status; true means the layer keeps the bio (it will bio_end() it again).
 */
struct bio_frame {
	struct bio_frame *next;
	bool (*end)(struct bio_frame *f, struct bio *bio, int *status);
};

/*
 * The submitter fills dev, op, flags, sector, nr_sectors, segs and seg_* and done; the rest is the
 * engine's.  From bio_submit() to done() the bio, its segs array and the memory named there belong
 * to the engine and the device: untouched, unmoved, and for writes unchanged.  At done() only
 * status, segs, owner are meaningful (dev, sector and flags may have been changed), and everything
 * is the submitter's again; the device no longer touches the pages.  A layer that sends a bio a
 * second time from its end() fills them in again.  The engine's fields are zero before the first
 * submit and fit for the next one at done().
 *
 * A read or write covers nr_sectors * 512 bytes of segs, beginning seg_off bytes into segs[0].
 * Flush, discard, write-zeroes and secure-erase carry no segs; flush has nr_sectors 0.
 */
struct bio {
	struct bdev *dev;
	sector_t sector;
	uint32_t nr_sectors;
	uint8_t op;    /* enum bio_op */
	uint8_t flags; /* enum bio_flags */
	const struct seg *segs;
	uint32_t nr_segs;
	uint32_t seg_off;
	void (*done)(struct bio *bio);
	void *owner; /* the submitter's */

	/* the engine's */
	struct bio *next;         /* whoever holds the bio may queue it by this */
	struct bio_frame *frames; /* layers to pass on the way back, innermost first */
	struct work work;         /* crossing cores */
	uint8_t core;             /* where it was submitted, where done() runs */
	uint8_t vetted;           /* range, alignment and rights were checked above */
	uint16_t target_nr;       /* which of the target's nr_flush/nr_discard/... copies this is */
	int status;               /* at done(): 0 or -errno */
	uint64_t driver[2];       /* for the driver while it holds the bio */
};

/* -EIO: the device failed; -ENODATA: the medium is bad there (a read error); -EOPNOTSUPP: the
 * device cannot; -ENOSPC; -ETIMEDOUT; -ENODEV: gone; -EROFS; -EINVAL: out of range or unaligned;
 * -EAGAIN: see BIO_NOWAIT.
 *
 * A bio that a device held may pass here a second time.  One with frames keeps its core and may do
 * so anywhere; one without must do so on bio->core. */
void bio_submit(struct bio *bio);

/* Called by whoever holds the bio (driver or target), once, on any core, in any state of the loop:
 * crosses to the submitter's core and calls done() there, outside every bio_submit() and never on a
 * fiber's stack.  When it is called on the bare loop of that core, done() has run on return unless
 * the call came from inside another done() or a bio_submit(). */
void bio_end(struct bio *bio, int status);

/* For drivers with fewer queues than cores: hands the bio to dev->ops->submit() on that core. */
void bio_forward(struct bio *bio, unsigned core);

static inline uint64_t bio_bytes(const struct bio *bio)
{
	return (uint64_t)bio->nr_sectors << SECTOR_SHIFT;
}

static inline bool bio_has_data(const struct bio *bio)
{
	return bio->op == BIO_READ || bio->op == BIO_WRITE;
}

/* FIFO of bios by bio->next.  Zeroed is empty. */
struct bio_list {
	struct bio *head, **tail;
	unsigned nr;
};

void bio_list_add(struct bio_list *l, struct bio *bio);
void bio_list_add_head(struct bio_list *l, struct bio *bio);
struct bio *bio_list_pop(struct bio_list *l); /* NULL when empty */

/*
 * Walks the memory of a bio, run by run, from seg_off to nr_sectors * 512 bytes.
 *	struct seg s;  struct seg_iter it = seg_iter_of(bio);
 *	while (seg_next(&it, UINT32_MAX, &s)) ...
 */
struct seg_iter {
	const struct seg *seg;
	uint32_t nr;    /* segs left, this one included */
	uint32_t off;   /* into *seg */
	uint64_t bytes; /* left of the bio */
};

struct seg_iter seg_iter_of(const struct bio *bio);
/* The next contiguous run, at most max bytes.  False at the end. */
bool seg_next(struct seg_iter *it, uint32_t max, struct seg *out);
/* Skips bytes. */
void seg_skip(struct seg_iter *it, uint64_t bytes);

/*
 * What a device can take.  Stacked by limits_stack() as Linux stacks them.  The block layer splits
 * bios so that ops->submit() never sees one outside its limits; it does not bounce, so every
 * submitter must hold to logical_block, dma_align and the page rule of no_gaps itself: memory from
 * page_alloc in whole blocks satisfies all.
 */
struct limits {
	uint32_t logical_block;  /* bytes, power of two, >= 512: unit of every request */
	uint32_t physical_block; /* bytes */
	uint32_t io_min, io_opt; /* bytes; 0 = unknown */
	uint32_t max_sectors;    /* one read or write */
	uint32_t max_segs;       /* runs of memory in one request */
	uint32_t max_seg_size;   /* bytes of one run */
	uint64_t seg_boundary;   /* a run may not cross a multiple of mask+1; UINT64_MAX = none */
	uint32_t no_gaps;        /* PRP rule: but for the first start and the last end, runs begin
				    and end at multiples of this (a power of two); 0 = no rule */
	uint32_t dma_align;      /* mask for addresses: 3 = multiples of 4 */
	uint32_t chunk_sectors;  /* a read or write may not cross a multiple of this; 0 = none */
	uint32_t max_discard_sectors;      /* 0 = no discard */
	uint32_t discard_granularity;      /* bytes */
	uint32_t discard_alignment;        /* bytes */
	uint32_t max_write_zeroes_sectors; /* 0 = not offered */
	uint32_t max_secure_erase_sectors; /* 0 = not offered */
	bool write_cache; /* a completed write may be volatile: flush means something */
	bool fua;         /* takes BIO_FUA itself; else the block layer adds a flush */
	bool rotational;
	bool misaligned;           /* stacking found incompatible alignments */
	uint32_t alignment_offset; /* bytes */
};

/* What a driver starts from: one 512-byte block, no limits beyond UINT32_MAX. */
void limits_default(struct limits *l);
/* What stacking starts from: the most permissive. */
void limits_stacking(struct limits *l);
/* Narrows *t by *b, of which the part used begins at start.  False: alignment cannot be honoured
 * (the result is still usable; Linux warns). */
bool limits_stack(struct limits *t, const struct limits *b, sector_t start);
/* Makes the limits of a device those of its part that begins at start (alignments move). */
void limits_offset(struct limits *l, sector_t start);
/* What bdev_register() asks of limits: NULL if they make sense, else words why not. */
const char *limits_check(const struct limits *l);

struct bdev_ops {
	/* Takes a bio that fits the limits; ends it later by bio_end().  Any core.  Must not block,
	 * must not submit to itself.  Reads and writes have no PREFLUSH, and FUA only if
	 * limits.fua; no FLUSH arrives unless limits.write_cache. (Mapped devices get all.) */
	void (*submit)(struct bdev *dev, struct bio *bio);
	/* Optional: how many sectors from bio->sector may go in one piece, >= 1, <= nr_sectors; the
	 * rest follows as pieces of their own.  For mapped devices and partitions. */
	uint32_t (*piece)(struct bdev *dev, const struct bio *bio);
	/* Optional: appends words about the device for lsblk ("QEMU NVMe Ctrl, serial ..."). */
	void (*describe)(struct bdev *dev, struct strbuf *out);
	/* Optional: the bdevs beneath this one, i = 0, 1, ... until NULL. */
	struct bdev *(*below)(struct bdev *dev, unsigned i);
	/* Optional: nobody has it open any more.  Must not close or unregister anything itself. */
	void (*idle)(struct bdev *dev);
};

#define BDEV_NAME_MAX 128

struct bdev_stats { /* one per core, added up by who asks */
	uint64_t ios[BIO_NR_OPS];
	uint64_t sectors[BIO_NR_OPS];
	uint64_t errors; /* requests that failed here, not in a device beneath */
	uint64_t pad[3]; /* the counts of two cores never share a cache line */
};

struct splitter; /* split.c: pieces, and flushes around a write */

struct bdev {
	char name[BDEV_NAME_MAX]; /* "vda", "nvme0n1p1", "dm-0": as under /dev */
	uint32_t major, minor;
	sector_t nr_sectors;
	bool read_only;
	bool raw_flush; /* set by mapped devices: ops->submit() takes FLUSH/PREFLUSH/FUA itself */
	bool uncut;     /* likewise: ops->piece would leave every read and write whole */
	uint32_t grid;  /* likewise, or: it cuts them at multiples of so many sectors (a power of
			   two); 0: neither */
	struct limits limits;
	const struct bdev_ops *ops;
	void *ctx;          /* the maker's */
	char serial[64];    /* the medium's own identity in printable text, "" if none */
	struct bdev *whole; /* partitions: the disk they are part of */

	/* the block layer's */
	struct list node;
	struct bdev *name_next, *number_next; /* what bdev_find() walks */
	unsigned open_count;
	const void *holder;     /* who claimed it, NULL: nobody */
	unsigned nr_claims;     /* how often */
	unsigned nr_parts;      /* of a disk: its partitions that are registered ... */
	unsigned parts_claimed; /* ... and how many claims are on them */
	bool gone; /* set when not registered, and by a driver whose disk is lost: -ENODEV */
	/* A read or write of 1..easy_sectors in at most easy_segs runs surely fits the limits, if
	 * its op and flags have none of these bits; whether it fits ops->piece is asked. */
	uint32_t easy_sectors, easy_segs;
	uint32_t hard_bits;         /* op in the low byte, flags in the next */
	uint32_t block_mask;        /* sectors of a logical block, less one */
	struct splitter *splitters; /* one per core */
	struct bdev_stats *stats;   /* one per core */
};

/* Makes the device known; allocates what splitting and flushing need (so it can fail with -ENOMEM,
 * -EEXIST, or -EINVAL for limits that make no sense).  The maker owns the memory of dev. */
int bdev_register(struct bdev *dev);
/* The device must not be open and have no bio in flight.  -EBUSY if it is open or has partitions.
 * A device that is not registered is left alone: 0. */
int bdev_unregister(struct bdev *dev);
/* To be called after limits, size or read_only of a registered device without ops->piece were
 * changed, while no bio is on its way to it.  Devices with ops->piece need not, but are quicker
 * when they do: until then their reads and writes all go the long way.  Theirs may change under
 * bios that other cores submit at the moment; ops->piece is what cuts then, and the devices beneath
 * for themselves. */
void bdev_limits_changed(struct bdev *dev);

/* By "/dev/x", "x", "/dev/mapper/NAME", "major:minor", "/dev/disk/by-serial/S" (disks) or
 * "/dev/disk/by-partuuid/U".  NULL if there is none, or if two devices say they are S or U. */
struct bdev *bdev_find(const char *spec);
/* In order of registration; NULL begins and ends. */
struct bdev *bdev_next(struct bdev *prev);

/* Someone uses it: it cannot be removed.  Core 0. */
void bdev_open(struct bdev *dev);
void bdev_close(struct bdev *dev);

/*
 * Opens it for one holder (any address that says who) and others of the same holder: -EBUSY while
 * another has it, or for a partition its disk, or for a disk one of its partitions.  Who only opens
 * is not in the way.  Released as often as claimed.  Core 0.
 */
int bdev_claim(struct bdev *dev, const void *holder) __must_check;
void bdev_release(struct bdev *dev, const void *holder);

/* What all cores counted since it was registered. */
void bdev_stats_sum(const struct bdev *dev, struct bdev_stats *out);

/* Asked by bdev_find() for NAME when it got "/dev/mapper/NAME", or a bare NAME that is no bdev's.
 * One hook, set by mapper/mdev.c; NULL: nobody. */
extern struct bdev *(*bdev_find_mapped)(const char *name);

/* One synchronous request on a fiber, for probing, tools and metadata: buf is DMA-able memory in
 * whole blocks, less than 4 GiB, NULL for operations without data.  0 or -errno. */
may_block int bdev_rw(struct bdev *dev, enum bio_op op, unsigned flags, sector_t sector,
	uint32_t nr_sectors, void *buf);
may_block int bdev_flush(struct bdev *dev);

/* Reads the partition table of a whole disk and registers what it finds ("vda1", "nvme0n1p1",
 * minor = disk's minor + number; numbers past the disk's share of minors: 259 and one from 2^20
 * on).  Bad tables are logged and ignored. Returns how many. */
may_block unsigned part_scan(struct bdev *disk);
/* Unregisters the partitions of a disk that is going away or will be scanned again.  -EBUSY if one
 * is open: then all stay. */
int part_forget(struct bdev *disk);

/* Host tests, after a host_reset(): forgets all devices and requests without freeing anything. */
void block_reset(void);

#endif

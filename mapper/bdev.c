/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev - the devices there are: making them known, finding them by what people call them, who uses
 * them, and synchronous requests for code on fibers.  Core 0, but for the requests.
 */
#include "kernel/api/fiber.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/split.h"

#define BUCKETS     512u /* power of two */
#define SECTORS_MAX (UINT64_MAX >> SECTOR_SHIFT)

static struct mem_tag bdev_tag = MEM_TAG("block");
static struct list bdevs = LIST_INIT(bdevs);
static struct bdev *by_name[BUCKETS], *by_number[BUCKETS];

struct bdev *(*bdev_find_mapped)(const char *name);

/* ---- finding ---- */

static struct bdev **name_bucket(const char *name)
{
	uint32_t h = 2166136261u;

	while (*name)
		h = (h ^ (uint8_t)*name++) * 16777619u;
	return &by_name[(h ^ h >> 16) & (BUCKETS - 1)];
}

static struct bdev **number_bucket(uint32_t major, uint32_t minor)
{
	return &by_number[(major * 37 + minor) & (BUCKETS - 1)];
}

static struct bdev *find_name(const char *name)
{
	struct bdev *dev = *name_bucket(name);

	while (dev && strcmp(dev->name, name) != 0)
		dev = dev->name_next;
	return dev;
}

static struct bdev *find_number(uint32_t major, uint32_t minor)
{
	struct bdev *dev = *number_bucket(major, minor);

	while (dev && (dev->major != major || dev->minor != minor))
		dev = dev->number_next;
	return dev;
}

/* Two decimal numbers around a colon and nothing else. */
static bool parse_number(const char *s, uint32_t *major, uint32_t *minor)
{
	const char *colon = strchr(s, ':');
	char first[16];
	uint64_t n[2];

	if (!colon || (size_t)(colon - s) >= sizeof(first))
		return false;
	memcpy(first, s, (size_t)(colon - s));
	first[colon - s] = '\0';
	if (str_to_u64(first, 10, UINT32_MAX, &n[0]) ||
		str_to_u64(colon + 1, 10, UINT32_MAX, &n[1]))
		return false;
	*major = (uint32_t)n[0];
	*minor = (uint32_t)n[1];
	return true;
}

/* By what the medium says of itself, of disks or of partitions.  Two that say the same could be
 * confused, so neither is found. */
static struct bdev *find_identity(const char *id, bool parts)
{
	struct bdev *found = NULL, *dev;

	if (!*id)
		return NULL;
	list_for_each (dev, &bdevs, node) {
		if ((dev->whole != NULL) != parts)
			continue;
		if ((parts ? strcasecmp(dev->serial, id) : strcmp(dev->serial, id)) != 0)
			continue;
		if (found)
			return NULL;
		found = dev;
	}
	return found;
}

/* What stands after a prefix, NULL: the prefix does not stand there. */
static const char *after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static struct bdev *find_mapped(const char *name)
{
	return bdev_find_mapped && *name ? bdev_find_mapped(name) : NULL;
}

struct bdev *bdev_find(const char *spec)
{
	uint32_t major, minor;
	const char *name;
	struct bdev *dev;

	if (parse_number(spec, &major, &minor))
		return find_number(major, minor);
	name = after(spec, "/dev/disk/by-serial/");
	if (name)
		return find_identity(name, false);
	name = after(spec, "/dev/disk/by-partuuid/");
	if (name)
		return find_identity(name, true);
	name = after(spec, "/dev/mapper/");
	if (name)
		return find_mapped(name);
	name = after(spec, "/dev/");
	if (name)
		return find_name(name);
	dev = find_name(spec);
	return dev ? dev : find_mapped(spec);
}

struct bdev *bdev_next(struct bdev *prev)
{
	struct list *n = prev ? prev->node.next : bdevs.next;

	return n == &bdevs ? NULL : container_of(n, struct bdev, node);
}

/* ---- life ---- */

static void set_easy(struct bdev *dev)
{
	const struct limits *l = &dev->limits;

	dev->easy_sectors = dev->easy_segs = 0;
	dev->block_mask = (l->logical_block >> SECTOR_SHIFT) - 1;
	/* Every op but the first two is greater than 1. */
	dev->hard_bits = 0xfeu | (unsigned)(BIO_FUA | BIO_PREFLUSH) << 8 | dev->read_only;
	if (dev->whole) { /* the disk looks at it again */
		dev->easy_sectors = (uint32_t)MIN(dev->nr_sectors, (sector_t)UINT32_MAX);
		dev->easy_segs = UINT32_MAX;
		return;
	}
	/* Where a request lies matters to these, or where its memory does. */
	if (l->chunk_sectors || l->seg_boundary != UINT64_MAX)
		return;
	dev->easy_sectors = MIN(l->max_sectors, l->max_seg_size >> SECTOR_SHIFT);
	dev->easy_sectors = (uint32_t)MIN(dev->nr_sectors, (sector_t)dev->easy_sectors);
	dev->easy_segs = l->no_gaps ? 1 : l->max_segs;
}

void bdev_limits_changed(struct bdev *dev)
{
	set_easy(dev);
}

static const char *why_not(const struct bdev *dev)
{
	if (!dev->name[0] || strchr(dev->name, '/'))
		return "this is no name";
	if (dev->nr_sectors > SECTORS_MAX)
		return "its size in bytes is over 2^64";
	return limits_check(&dev->limits);
}

static void link_dev(struct bdev *dev)
{
	struct bdev **bucket = name_bucket(dev->name);

	dev->name_next = *bucket;
	*bucket = dev;
	bucket = number_bucket(dev->major, dev->minor);
	dev->number_next = *bucket;
	*bucket = dev;
	list_add_tail(&bdevs, &dev->node);
}

static void unlink_dev(struct bdev *dev)
{
	struct bdev **at = name_bucket(dev->name);

	while (*at != dev)
		at = &(*at)->name_next;
	*at = dev->name_next;
	at = number_bucket(dev->major, dev->minor);
	while (*at != dev)
		at = &(*at)->number_next;
	*at = dev->number_next;
	dev->name_next = dev->number_next = NULL;
	list_del(&dev->node);
}

int bdev_register(struct bdev *dev)
{
	const char *words = why_not(dev);
	int err;

	ASSERT(!list_linked(&dev->node) && dev->ops && dev->ops->submit);
	if (words) {
		log_err("%s: refused: %s", dev->name, words);
		return -EINVAL;
	}
	if (find_name(dev->name) || find_number(dev->major, dev->minor))
		return -EEXIST;
	dev->stats = mem_alloc(&bdev_tag, nr_cores() * sizeof(*dev->stats));
	if (!dev->stats)
		return -ENOMEM;
	err = split_attach(dev);
	if (err) {
		mem_free(dev->stats);
		dev->stats = NULL;
		return err;
	}
	dev->open_count = dev->nr_claims = dev->nr_parts = dev->parts_claimed = 0;
	dev->holder = NULL;
	dev->gone = false;
	if (dev->ops->piece)
		dev->easy_sectors = dev->easy_segs = 0;
	else
		set_easy(dev);
	if (dev->whole)
		dev->whole->nr_parts++;
	link_dev(dev);
	return 0;
}

int bdev_unregister(struct bdev *dev)
{
	if (!list_linked(&dev->node))
		return 0;
	if (dev->open_count || dev->nr_parts)
		return -EBUSY;
	unlink_dev(dev);
	if (dev->whole)
		dev->whole->nr_parts--;
	dev->gone = true;
	split_detach(dev);
	mem_free(dev->stats);
	dev->stats = NULL;
	return 0;
}

/* ---- use ---- */

void bdev_open(struct bdev *dev)
{
	dev->open_count++;
}

static void opened_less(struct bdev *dev)
{
	if (--dev->open_count == 0 && dev->ops->idle)
		dev->ops->idle(dev);
}

void bdev_close(struct bdev *dev)
{
	ASSERT(dev->open_count > dev->nr_claims);
	opened_less(dev);
}

int bdev_claim(struct bdev *dev, const void *holder)
{
	ASSERT(holder);
	if (dev->holder != holder) {
		if (dev->holder || dev->parts_claimed || (dev->whole && dev->whole->holder))
			return -EBUSY;
		dev->holder = holder;
	}
	dev->nr_claims++;
	dev->open_count++;
	if (dev->whole)
		dev->whole->parts_claimed++;
	return 0;
}

void bdev_release(struct bdev *dev, const void *holder)
{
	ASSERT(dev->holder == holder && dev->nr_claims);
	if (--dev->nr_claims == 0)
		dev->holder = NULL;
	if (dev->whole)
		dev->whole->parts_claimed--;
	opened_less(dev);
}

void bdev_stats_sum(const struct bdev *dev, struct bdev_stats *out)
{
	*out = (struct bdev_stats){ 0 };
	for (unsigned core = 0; dev->stats && core < nr_cores(); core++) {
		const struct bdev_stats *st = &dev->stats[core];

		for (unsigned op = 0; op < BIO_NR_OPS; op++) {
			out->ios[op] += st->ios[op];
			out->sectors[op] += st->sectors[op];
		}
		out->errors += st->errors;
	}
}

/* ---- on a fiber ---- */

static void rw_done(struct bio *bio)
{
	completion_signal(bio->owner);
}

int bdev_rw(struct bdev *dev, enum bio_op op, unsigned flags, sector_t sector, uint32_t nr_sectors,
	void *buf)
{
	struct completion done = { 0 };
	struct seg seg = { 0 };
	struct bio bio = {
		.dev = dev,
		.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.sector = sector,
		.nr_sectors = nr_sectors,
		.done = rw_done,
		.owner = &done,
	};

	ASSERT(fiber_self());
	if (bio_has_data(&bio)) {
		if (bio_bytes(&bio) > UINT32_MAX)
			return -EINVAL;
		seg.addr = dma_addr(buf);
		seg.len = (uint32_t)bio_bytes(&bio);
		bio.segs = &seg;
		bio.nr_segs = 1;
	}
	bio_submit(&bio);
	completion_wait(&done);
	return bio.status;
}

int bdev_flush(struct bdev *dev)
{
	return bdev_rw(dev, BIO_FLUSH, 0, 0, 0, NULL);
}

/* ---- tests ---- */

void block_reset(void)
{
	list_init(&bdevs);
	memset(by_name, 0, sizeof(by_name));
	memset(by_number, 0, sizeof(by_number));
	bdev_find_mapped = NULL;
	split_reset();
	bio_reset();
}

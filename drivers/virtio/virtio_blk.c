/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_blk - virtio block devices (virtio 1.2, 5.2): vda, vdb ... in the order they are attached.
 *
 * Here is what happens once: reading what the disk says of itself and not believing nonsense,
 * making its queues (one for each core if it has as many), and giving it its name.  Requests are
 * in virtio_blk_io.c, recovery in virtio_blk_recover.c.
 */
#include "drivers/driver.h"
#include "drivers/virtio/virtio_blk.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define BLK_MAJOR     254
#define BLK_MINORS    16
#define BLK_MAX_DISKS 1024
#define MAX_SECTORS   32768u /* one request: 16 MiB */
#define MAX_CAPACITY  (INT64_MAX >> SECTOR_SHIFT)
#define MIN_DESCS     3u

static struct mem_tag blk_tag = MEM_TAG("virtio-blk");

const uint64_t blk_features_wanted =
	VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
	VIRTIO_BIT(VIRTIO_BLK_F_RO) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
	VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
	VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
	VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);

/* ---- configuration ---- */

#define CONFIG(v, field, to) \
	virtio_config(v, offsetof(struct virtio_blk_config, field), to, sizeof(*(to)))

sector_t blk_read_capacity(struct blk *b)
{
	uint64_t sectors;

	CONFIG(b->v, capacity, &sectors);
	return sectors;
}

static int read_size(struct blk *b)
{
	struct limits *l = &b->bdev.limits;
	uint32_t size = SECTOR_SIZE, most;
	sector_t sectors = blk_read_capacity(b);

	if (virtio_has(b->v, VIRTIO_BLK_F_BLK_SIZE))
		CONFIG(b->v, blk_size, &size);
	if (!is_pow2(size) || size < SECTOR_SIZE || size > PAGE_SIZE) {
		log_warn("%s: a block size of %u bytes cannot be used", b->v->name, size);
		return -EINVAL;
	}
	if (sectors > MAX_CAPACITY) {
		log_warn("%s: a capacity of %llu sectors cannot be", b->v->name,
			(unsigned long long)sectors);
		return -EINVAL;
	}
	b->capacity = sectors;
	sectors &= ~(sector_t)(size / SECTOR_SIZE - 1);
	if (!sectors) {
		log_warn("%s: has no capacity", b->v->name);
		return -EINVAL;
	}
	l->logical_block = l->physical_block = l->io_min = size;
	b->bdev.nr_sectors = sectors;

	if (virtio_has(b->v, VIRTIO_BLK_F_SIZE_MAX)) {
		CONFIG(b->v, size_max, &most);
		if (most < size) {
			log_warn("%s: takes runs of %u bytes, less than its block of %u",
				b->v->name, most, size);
			return -EINVAL;
		}
		l->max_seg_size = most & ~(size - 1);
	}
	return 0;
}

/* Without SEG_MAX a device takes one run, by the custom of drivers before us. */
static void read_segs(struct blk *b, struct virtqueue *vq)
{
	uint32_t segs = 1;

	if (virtio_has(b->v, VIRTIO_BLK_F_SEG_MAX)) {
		CONFIG(b->v, seg_max, &segs);
		if (!segs) {
			log_warn("%s: says it takes no runs of memory, taken as one", b->v->name);
			segs = 1;
		}
	}
	b->bdev.limits.max_segs = MIN(segs, vq_max_descs(vq) - 2);
}

/* Hints only: nonsense is dropped, not the disk. */
static void read_topology(struct blk *b)
{
	struct limits *l = &b->bdev.limits;
	uint32_t block = l->logical_block, opt;
	uint8_t exp, off;
	uint16_t min;

	if (!virtio_has(b->v, VIRTIO_BLK_F_TOPOLOGY))
		return;
	CONFIG(b->v, physical_block_exp, &exp);
	CONFIG(b->v, alignment_offset, &off);
	CONFIG(b->v, min_io_size, &min);
	CONFIG(b->v, opt_io_size, &opt);
	if (exp > 12 || off >= 1u << exp || (uint64_t)opt * block > UINT32_MAX) {
		log_warn("%s: its topology (2^%u, %u, %u, %u blocks) makes no sense, ignored",
			b->v->name, exp, off, min, opt);
		return;
	}
	l->physical_block = block << exp;
	l->alignment_offset = off * block;
	l->io_min = MAX((uint32_t)min * block, l->physical_block);
	l->io_opt = opt * block;
}

static void read_discard(struct blk *b)
{
	struct limits *l = &b->bdev.limits;
	uint32_t block = l->logical_block, most, segs, align, mask = ~(block / SECTOR_SIZE - 1);

	if (virtio_has(b->v, VIRTIO_BLK_F_DISCARD)) {
		CONFIG(b->v, max_discard_sectors, &most);
		CONFIG(b->v, max_discard_seg, &segs);
		CONFIG(b->v, discard_sector_alignment, &align);
		most = (most ? most : UINT32_MAX) & mask;
		if (!align)
			align = block / SECTOR_SIZE;
		if (!most || !segs || align > UINT32_MAX / SECTOR_SIZE ||
			align * SECTOR_SIZE % block) {
			log_warn("%s: its discard limits make no sense, not used", b->v->name);
		} else {
			l->max_discard_sectors = most;
			l->discard_granularity = align * SECTOR_SIZE;
		}
	}
	if (virtio_has(b->v, VIRTIO_BLK_F_WRITE_ZEROES)) {
		CONFIG(b->v, max_write_zeroes_sectors, &most);
		CONFIG(b->v, max_write_zeroes_seg, &segs);
		most = (most ? most : UINT32_MAX) & mask;
		if (!most || !segs)
			log_warn("%s: its write-zeroes limits make no sense, not used", b->v->name);
		else
			l->max_write_zeroes_sectors = most;
	}
}

static void read_cache(struct blk *b)
{
	uint8_t wce = 1;

	if (!virtio_has(b->v, VIRTIO_BLK_F_FLUSH))
		return;
	if (virtio_has(b->v, VIRTIO_BLK_F_CONFIG_WCE))
		CONFIG(b->v, wce, &wce);
	b->bdev.limits.write_cache = wce != 0;
}

/* ---- queues ---- */

static unsigned queues_wanted(struct blk *b)
{
	uint16_t nr = 1;

	if (!virtio_has(b->v, VIRTIO_BLK_F_MQ) || b->v->one_irq)
		return 1;
	CONFIG(b->v, num_queues, &nr);
	if (!nr) {
		log_warn("%s: says it has no queues, taken as one", b->v->name);
		nr = 1;
	}
	return MIN(nr, nr_cores());
}

static unsigned reqs_order(const struct blk_queue *q)
{
	return page_order(q->vq.size * sizeof(struct blk_req));
}

static int make_queue(struct blk *b, unsigned i, unsigned size)
{
	struct blk_queue *q = &b->queues[i];
	int err;

	q->disk = b;
	q->vq.max_descs = BLK_MAX_DESCS;
	err = vq_init(&q->vq, b->v, i, i, size);
	if (err)
		return err;
	if (vq_max_descs(&q->vq) < MIN_DESCS) {
		log_warn("%s: queue %u of %u is too small", b->v->name, i, q->vq.size);
		return -EINVAL;
	}
	q->reqs = page_alloc(&blk_tag, reqs_order(q));
	if (!q->reqs)
		return -ENOMEM;
	q->reqs_addr = dma_addr(q->reqs);
	blk_queue_begin(q);
	return 0;
}

/* Tables take 1 KiB a slot, so many queues are made shallower than few. */
static int make_queues(struct blk *b)
{
	unsigned i, c, nr = queues_wanted(b), size = nr <= 2 ? 128 : 64;
	int err;

	if (b->v->broken)
		return -EIO;
	if (!virtio_has(b->v, VIRTIO_RING_F_INDIRECT_DESC))
		size = 0;
	b->queues = mem_alloc(&blk_tag, nr * sizeof(*b->queues));
	if (!b->queues)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		b->nr_queues = i + 1;
		err = make_queue(b, i, size);
		if (err == -ENODEV && i) { /* fewer than it said */
			b->nr_queues = i;
			break;
		}
		if (err)
			return err;
	}
	for (c = 0; c < nr_cores(); c++)
		b->by_core[c] = &b->queues[c % b->nr_queues];
	return 0;
}

static void free_queues(struct blk *b)
{
	unsigned i;

	for (i = 0; i < b->nr_queues; i++) {
		if (b->queues[i].reqs)
			page_free(&blk_tag, b->queues[i].reqs, reqs_order(&b->queues[i]));
		vq_free(&b->queues[i].vq);
	}
	mem_free(b->queues);
	b->queues = NULL;
	b->nr_queues = 0;
}

static void queue_leave(void *arg)
{
	struct blk_queue *q = arg;

	poller_del(&q->poller);
	timer_stop(&q->tick);
	timer_stop(&q->wake);
}

/* ---- name and words ---- */

/* vda ... vdz, vdaa ...: the first that is free.  False after BLK_MAX_DISKS. */
static bool give_name(struct bdev *dev)
{
	unsigned i, n, at;
	char letters[8];

	for (i = 0; i < BLK_MAX_DISKS; i++) {
		at = sizeof(letters) - 1;
		letters[at] = 0;
		for (n = i + 1; n; n = (n - 1) / 26)
			letters[--at] = 'a' + (n - 1) % 26;
		str_printf(dev->name, sizeof(dev->name), "vd%s", &letters[at]);
		if (!bdev_find(dev->name)) {
			dev->major = BLK_MAJOR;
			dev->minor = i * BLK_MINORS;
			return true;
		}
	}
	return false;
}

static void blk_describe(struct bdev *dev, struct strbuf *out)
{
	struct blk *b = dev->ctx;

	strbuf_printf(
		out, "%s, %u queue%s", b->v->name, b->nr_queues, b->nr_queues == 1 ? "" : "s");
	if (dev->serial[0])
		strbuf_printf(out, ", serial %s", dev->serial);
	if (b->cut)
		strbuf_puts(out, ", gone");
}

static const struct bdev_ops blk_ops = {
	.submit = blk_submit,
	.describe = blk_describe,
};

/* ---- life ---- */

static int read_config(struct blk *b)
{
	int err;

	limits_default(&b->bdev.limits);
	b->bdev.limits.max_sectors = MAX_SECTORS;
	err = read_size(b);
	if (err)
		return err;
	b->bdev.read_only = virtio_has(b->v, VIRTIO_BLK_F_RO);
	read_topology(b);
	read_discard(b);
	read_cache(b);
	return b->v->broken ? -EIO : 0;
}

static int make_bdev(struct blk *b)
{
	struct bdev *dev = &b->bdev;
	int err;

	dev->ops = &blk_ops;
	dev->ctx = b;
	if (!give_name(dev))
		return -ENOSPC;
	err = bdev_register(dev);
	if (err)
		return err;
	if (!fiber_create(dev->name, blk_recover_main, b)) {
		bdev_unregister(dev);
		return -ENOMEM;
	}
	log_info("%s: %s, %llu sectors, blocks of %u bytes, %u queue%s of %u%s%s%s", dev->name,
		b->v->name, (unsigned long long)dev->nr_sectors, dev->limits.logical_block,
		b->nr_queues, b->nr_queues == 1 ? "" : "s", b->queues[0].vq.size,
		dev->limits.write_cache ? ", write cache" : "", dev->read_only ? ", read-only" : "",
		b->queues[0].vq.has_irq ? "" : ", polled");
	return 0;
}

static int blk_attach(struct virtio_dev *v)
{
	struct blk *b = v->softc;
	unsigned i;
	int err;

	b->v = v;
	err = virtio_reset(v);
	if (err)
		return err; /* it was given nothing yet */
	err = virtio_start(v, blk_features_wanted);
	if (err)
		goto out;
	b->features = v->features;
	err = read_config(b);
	if (err)
		goto out;
	err = make_queues(b);
	if (err)
		goto out;
	read_segs(b, &b->queues[0].vq);
	if (v->broken) {
		err = -EIO;
		goto out;
	}
	virtio_driver_ok(v);
	err = blk_get_id(&b->queues[0], b->bdev.serial, VIRTIO_BLK_ID_BYTES + 1);
	if (err)
		goto out;
	for (i = 0; i < b->nr_queues; i++)
		core_call(b->queues[i].core, blk_queue_start, &b->queues[i]);
	err = make_bdev(b);
	if (err)
		goto stop;
	part_scan(&b->bdev);
	return 0;
stop:
	for (i = 0; i < b->nr_queues; i++)
		core_call(b->queues[i].core, queue_leave, &b->queues[i]);
out:
	if (virtio_quiesce(v))
		log_err("%s: its rings stay where they are: it may still write there", v->name);
	else
		free_queues(b);
	return err;
}

static void blk_shutdown(struct virtio_dev *v)
{
	virtio_quiesce(v);
}

const struct virtio_driver virtio_blk_driver = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.softc_size = sizeof(struct blk),
	.attach = blk_attach,
	.shutdown = blk_shutdown,
};

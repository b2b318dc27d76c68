/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * part - partitions: devices that are a run of sectors of a disk.  They only move a bio; what is
 * within limits, needs a flush, or is too large, the disk itself looks at.  formats/ reads the
 * tables.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/formats/table.h"

#define BAD_SAID     16 /* entries of a table of which the log says what is wrong */
#define BLKEXT_MAJOR 259
#define EXT_MINOR    (1u << 20) /* beyond those that NVMe disks get under this major */

struct part {
	struct bdev bdev;
	sector_t start;
	const char *kind;
	char label[sizeof(((struct part_entry *)0)->label)];
};

static struct mem_tag part_tag = MEM_TAG("partitions");

/* ---- the device ---- */

static void part_submit(struct bdev *dev, struct bio *bio)
{
	const struct part *p = dev->ctx;

	bio->dev = dev->whole;
	bio->sector += p->start;
	bio_submit(bio);
}

static void part_describe(struct bdev *dev, struct strbuf *out)
{
	const struct part *p = dev->ctx;

	strbuf_printf(out, "%s partition", p->kind);
	if (p->label[0])
		strbuf_printf(out, " \"%s\"", p->label);
}

static struct bdev *part_below(struct bdev *dev, unsigned i)
{
	return i ? NULL : dev->whole;
}

static const struct bdev_ops part_ops = {
	.submit = part_submit,
	.describe = part_describe,
	.below = part_below,
};

/* ---- the tables ---- */

int table_read(struct part_table *t, sector_t block, uint32_t nr_blocks)
{
	struct bdev *disk = t->disk;
	uint32_t nr = nr_blocks * t->block_sectors;
	int err;

	ASSERT(nr_blocks && (uint64_t)nr << SECTOR_SHIFT <= PART_BUF_SIZE);
	ASSERT(block < t->nr_blocks && nr_blocks <= t->nr_blocks - block);
	err = bdev_rw(disk, BIO_READ, 0, block * t->block_sectors, nr, t->buf);
	if (err)
		log_warn("%s: partition table: block %llu cannot be read: %s", disk->name,
			(unsigned long long)block, err_text(err));
	return err;
}

bool table_may_say(struct part_table *t)
{
	t->nr_bad++;
	if (t->nr_bad == BAD_SAID + 1)
		log_warn("%s: %s: more entries are bad", t->disk->name, t->kind);
	return t->nr_bad <= BAD_SAID;
}

static const struct part_entry *table_at(const struct part_table *t, sector_t start, sector_t len)
{
	for (unsigned i = 0; i < t->nr; i++) {
		const struct part_entry *e = &t->entries[i];

		if (start < e->start + e->len && e->start < start + len)
			return e;
	}
	return NULL;
}

/* Words in the log, "vda: GPT: partition 7 ..."; always NULL. */
static struct part_entry *leave_out(struct part_table *t, unsigned number, const char *words)
{
	if (table_may_say(t))
		log_warn(
			"%s: %s: partition %u %s, left out", t->disk->name, t->kind, number, words);
	return NULL;
}

struct part_entry *table_add(struct part_table *t, unsigned number, sector_t first, sector_t nr)
{
	const struct part_entry *other;
	struct part_entry *e;
	char words[48];

	if (!first || !nr || first >= t->nr_blocks || nr > t->nr_blocks - first)
		return leave_out(t, number, "is not within the disk");
	if (number > PART_MAX || t->nr == PART_MAX)
		return leave_out(t, number, "is one too many");
	other = table_at(t, first * t->block_sectors, nr * t->block_sectors);
	if (other) {
		str_printf(words, sizeof(words), "overlaps partition %u", other->number);
		return leave_out(t, number, words);
	}
	e = &t->entries[t->nr++];
	*e = (struct part_entry){
		.number = number,
		.start = first * t->block_sectors,
		.len = nr * t->block_sectors,
	};
	return e;
}

static may_block void table_fill(struct part_table *t)
{
	bool is_gpt;

	if (table_read(t, 0, 1))
		return;
	/* What was found before an error stays: those partitions are where they are. */
	if (!mbr_read(t, &is_gpt) && is_gpt)
		(void)gpt_read(t);
}

/* ---- coming and going ---- */

/* How many minor numbers from the disk's on are its own. */
static unsigned minors_of(const struct bdev *disk)
{
	return disk->major == BLKEXT_MAJOR ? 256 : 16;
}

static void part_number(struct bdev *dev, const struct bdev *disk, unsigned number)
{
	char spec[32];

	if (number < minors_of(disk)) {
		dev->major = disk->major;
		dev->minor = disk->minor + number;
		return;
	}
	dev->major = BLKEXT_MAJOR;
	dev->minor = EXT_MINOR;
	for (;; dev->minor++) {
		str_printf(spec, sizeof(spec), "%u:%u", dev->major, dev->minor);
		if (!bdev_find(spec))
			return;
	}
}

static int part_name(struct bdev *dev, const struct bdev *disk, unsigned number)
{
	size_t n = strlen(disk->name), len;
	bool digit = n && disk->name[n - 1] >= '0' && disk->name[n - 1] <= '9';

	len = str_printf(
		dev->name, sizeof(dev->name), "%s%s%u", disk->name, digit ? "p" : "", number);
	return len < sizeof(dev->name) ? 0 : -ENAMETOOLONG;
}

static int part_make(const struct part_table *t, const struct part_entry *e)
{
	struct part *p = mem_alloc(&part_tag, sizeof(*p));
	struct bdev *dev;
	int err;

	if (!p)
		return -ENOMEM;
	p->start = e->start;
	p->kind = t->kind;
	str_copy(p->label, sizeof(p->label), e->label);
	dev = &p->bdev;
	dev->nr_sectors = e->len;
	dev->read_only = t->disk->read_only;
	dev->limits = t->disk->limits;
	limits_offset(&dev->limits, e->start);
	dev->ops = &part_ops;
	dev->ctx = p;
	dev->whole = t->disk;
	str_copy(dev->serial, sizeof(dev->serial), e->uuid);
	part_number(dev, t->disk, e->number);
	err = part_name(dev, t->disk, e->number);
	if (!err)
		err = bdev_register(dev);
	if (err)
		mem_free(p);
	return err;
}

static unsigned table_publish(const struct part_table *t)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < t->nr; i++) {
		const struct part_entry *e = &t->entries[i];
		int err = part_make(t, e);

		if (err)
			log_warn("%s: partition %u: left out: %s", t->disk->name, e->number,
				err_text(err));
		else
			nr++;
	}
	if (nr)
		log_info("%s: %s, %u partition%s", t->disk->name, t->kind, nr, nr == 1 ? "" : "s");
	return nr;
}

unsigned part_scan(struct bdev *disk)
{
	struct part_table *t;
	unsigned nr = 0;

	if (part_forget(disk)) {
		log_warn("%s: partitions are in use and were not read again", disk->name);
		return disk->nr_parts;
	}
	t = mem_alloc(&part_tag, sizeof(*t));
	if (t)
		t->buf = page_alloc(&part_tag, PART_BUF_ORDER);
	if (!t || !t->buf) {
		log_warn("%s: no memory to read its partition table", disk->name);
		mem_free(t);
		return 0;
	}
	t->disk = disk;
	t->block_sectors = disk->limits.logical_block >> SECTOR_SHIFT;
	t->nr_blocks = disk->nr_sectors / t->block_sectors;
	/* Reading may wait; nobody takes the disk away meanwhile. */
	bdev_open(disk);
	if (t->nr_blocks)
		table_fill(t);
	nr = table_publish(t);
	bdev_close(disk);
	page_free(&part_tag, t->buf, PART_BUF_ORDER);
	mem_free(t);
	return nr;
}

static struct bdev *next_part(const struct bdev *disk, struct bdev *prev)
{
	struct bdev *dev = bdev_next(prev);

	while (dev && (dev->whole != disk || dev->ops != &part_ops))
		dev = bdev_next(dev);
	return dev;
}

int part_forget(struct bdev *disk)
{
	struct bdev *dev, *next;

	for (dev = next_part(disk, NULL); dev; dev = next_part(disk, dev))
		if (dev->open_count)
			return -EBUSY;
	for (dev = next_part(disk, NULL); dev; dev = next) {
		next = next_part(disk, dev);
		if (bdev_unregister(dev))
			panic("%s: a partition that nobody has open stays", dev->name);
		mem_free(container_of(dev, struct part, bdev));
	}
	return 0;
}

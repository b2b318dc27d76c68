/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ebs - a device with smaller blocks than its disk has: "ebs <dev> <offset> <emulated sectors>
 * [<underlying sectors>]", both powers of two.  Without the last it is the disk's logical block.
 *
 * What covers whole underlying blocks goes straight through.  A read of less reads the blocks
 * around it into a buffer; a write of less reads them, puts its sectors in and writes them back.
 * Meanwhile no other write may touch these blocks, or one of the two would undo the other; so every
 * write is entered in a list on core 0, and one that meets a read-modify-write in there waits.
 * Requests wait in one line in order of arrival.  Reads need no such care: a write back does not
 * change what it does not concern.
 *
 * Buffers are set aside by ctr; bios are cut so that one always suffices.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "targets/targets.h"

#define CUT_SECTORS  256u       /* bios are cut at multiples of this, or of the underlying block */
#define BUFFER_BYTES (1u << 20) /* of all buffers, but at least one */
#define MAX_BUFFERS  8u
#define PIECE_ORDER  5u /* 128 KiB */

struct buffer { /* and the request that has it */
	struct ebs *ebs;
	struct buffer *next;
	struct bio *user;
	struct bio bio;
	struct seg *segs;
};

struct ebs {
	struct bdev *dev;
	sector_t start;
	uint32_t emulated, underlying; /* sectors */
	bool underlying_given;
	uint32_t cut;
	struct list writes; /* under way */
	struct bio_list waiting;
	bool pumping;
	unsigned nr_buffers, nr_pieces, piece_order;
	struct buffer *buffers, *free;
};

struct ebs_bio {
	struct work work;
	struct ebs *ebs;
	struct bio *bio;
	struct list node;    /* of writes */
	sector_t first, end; /* of the disk, in whole underlying blocks */
	int status;
	bool partial; /* needs a buffer */
	bool entered;
};

static struct mem_tag ebs_tag = MEM_TAG("ebs");

static void pump(struct ebs *e);

/* ---- read, modify, write ---- */

/* Between the middle of the buffer and the memory of its user. */
static void buffer_copy(struct buffer *b, bool in)
{
	const struct ebs_bio *eb = target_bio_data(b->user);
	struct seg_iter theirs = seg_iter_of(b->user), ours = seg_iter_of(&b->bio);
	struct seg s, d;

	seg_skip(&ours, (b->user->sector - eb->first) << SECTOR_SHIFT);
	while (seg_next(&theirs, UINT32_MAX, &s)) {
		while (s.len && seg_next(&ours, s.len, &d)) {
			memcpy(dma_ptr(in ? d.addr : s.addr), dma_ptr(in ? s.addr : d.addr), d.len);
			s.addr += d.len;
			s.len -= d.len;
		}
	}
}

static void buffer_done(struct bio *bio);

static void buffer_send(struct buffer *b, enum bio_op op)
{
	struct ebs *e = b->ebs;
	const struct ebs_bio *eb = target_bio_data(b->user);

	b->bio = (struct bio){ .dev = e->dev,
		.sector = eb->first,
		.nr_sectors = (uint32_t)(eb->end - eb->first),
		.op = (uint8_t)op,
		.flags = op == BIO_WRITE ? b->user->flags & BIO_FUA : 0,
		.segs = b->segs,
		.nr_segs = e->nr_pieces,
		.done = buffer_done,
		.owner = b };
	bio_submit(&b->bio);
}

static void buffer_done(struct bio *bio)
{
	struct buffer *b = bio->owner;
	struct bio *user = b->user;
	struct ebs_bio *eb = target_bio_data(user);
	struct ebs *e = b->ebs;
	int status = bio->status;

	if (!status && bio->op == BIO_READ) {
		buffer_copy(b, user->op == BIO_WRITE);
		if (user->op == BIO_WRITE) {
			buffer_send(b, BIO_WRITE);
			return;
		}
	}
	if (eb->entered)
		list_del(&eb->node);
	eb->entered = false;
	b->next = e->free;
	e->free = b;
	bio_end(user, status);
	pump(e);
}

/* ---- the line, on core 0 ---- */

static bool conflicts(const struct ebs *e, const struct ebs_bio *eb)
{
	const struct ebs_bio *w;

	list_for_each (w, &e->writes, node)
		if ((w->partial || eb->partial) && w->first < eb->end && eb->first < w->end)
			return true;
	return false;
}

/* False: not now. */
static bool go(struct ebs *e, struct bio *bio)
{
	struct ebs_bio *eb = target_bio_data(bio);
	struct buffer *b = e->free;

	if ((eb->partial && !b) || (bio->op != BIO_READ && conflicts(e, eb)))
		return false;
	if (bio->op != BIO_READ) {
		list_add_tail(&e->writes, &eb->node);
		eb->entered = true;
	}
	if (!eb->partial) {
		bio_submit(bio);
		return true;
	}
	e->free = b->next;
	b->user = bio;
	buffer_send(b, BIO_READ);
	return true;
}

static void pump(struct ebs *e)
{
	struct bio *bio;

	if (e->pumping)
		return;
	e->pumping = true;
	while ((bio = bio_list_pop(&e->waiting)) != NULL) {
		if (!go(e, bio)) {
			bio_list_add_head(&e->waiting, bio);
			break;
		}
	}
	e->pumping = false;
}

static void arrive(struct ebs *e, struct bio *bio)
{
	if (!e->waiting.head && go(e, bio))
		return;
	if (bio->flags & BIO_NOWAIT)
		bio_end(bio, -EAGAIN);
	else
		bio_list_add(&e->waiting, bio);
}

static void arrive_run(struct work *w)
{
	struct ebs_bio *eb = container_of(w, struct ebs_bio, work);

	arrive(eb->ebs, eb->bio);
}

/* A write that went straight through is over. */
static void leave(struct ebs_bio *eb)
{
	list_del(&eb->node);
	eb->entered = false;
	pump(eb->ebs);
}

static void leave_run(struct work *w)
{
	struct ebs_bio *eb = container_of(w, struct ebs_bio, work);
	struct bio *bio = eb->bio;
	int status = eb->status;

	leave(eb);
	bio_end(bio, status);
}

/* ---- on any core ---- */

/* Only whole blocks are discarded; false: there are none. */
static bool trim(const struct ebs *e, struct bio *bio)
{
	sector_t mask = e->underlying - 1, end = (bio->sector + bio->nr_sectors) & ~mask;

	bio->sector = (bio->sector + mask) & ~mask;
	if (bio->sector >= end)
		return false;
	bio->nr_sectors = (uint32_t)(end - bio->sector);
	return true;
}

static enum map_result ebs_map(struct target *t, struct bio *bio)
{
	struct ebs *e = t->ctx;
	struct ebs_bio *eb = target_bio_data(bio);
	sector_t mask = e->underlying - 1, end;

	eb->entered = false;
	bio->dev = e->dev;
	if (bio->op == BIO_FLUSH) {
		bio->sector = 0;
		return MAP_REMAPPED;
	}
	bio->sector = e->start + target_offset(t, bio);
	if (bio->op == BIO_DISCARD && !trim(e, bio))
		return MAP_DONE;
	end = bio->sector + bio->nr_sectors;
	eb->partial = (bio->sector | end) & mask;
	/* With blocks no smaller than the disk's nothing is ever partial. */
	if (e->emulated >= e->underlying || (bio->op == BIO_READ && !eb->partial)) {
		/* The table may say that blocks are smaller than they are. */
		return (bio->sector | end) & e->dev->block_mask ? MAP_FAIL : MAP_REMAPPED;
	}
	eb->ebs = e;
	eb->bio = bio;
	eb->first = bio->sector & ~mask;
	/* A disk may end within a block. */
	eb->end = MIN((end + mask) & ~mask, e->dev->nr_sectors);
	if (eb->end < end || eb->end - eb->first > e->cut)
		return MAP_FAIL;
	if (this_core() == 0) {
		arrive(e, bio);
	} else {
		eb->work.fn = arrive_run;
		work_send(0, &eb->work);
	}
	return MAP_HELD;
}

static bool ebs_end_io(struct target *t, struct bio *bio, int *status)
{
	struct ebs_bio *eb = target_bio_data(bio);

	if (!eb->entered)
		return false;
	if (this_core() == 0) {
		leave(eb);
		return false;
	}
	eb->status = *status;
	eb->work.fn = leave_run;
	work_send(0, &eb->work);
	return true;
}

/* ---- life ---- */

static bool reserve(struct ebs *e)
{
	uint64_t bytes = (uint64_t)e->cut << SECTOR_SHIFT;

	e->nr_buffers = (unsigned)MAX(1, MIN(MAX_BUFFERS, BUFFER_BYTES / bytes));
	e->piece_order = MIN(PIECE_ORDER, page_order(bytes));
	e->nr_pieces = (unsigned)DIV_ROUND_UP(bytes, (uint64_t)PAGE_SIZE << e->piece_order);
	e->buffers = mem_alloc(&ebs_tag, e->nr_buffers * sizeof(*e->buffers));
	for (unsigned i = 0; e->buffers && i < e->nr_buffers; i++) {
		struct buffer *b = &e->buffers[i];

		b->segs = mem_alloc(&ebs_tag, e->nr_pieces * sizeof(*b->segs));
		if (!b->segs)
			return false;
		for (unsigned k = 0; k < e->nr_pieces; k++) {
			void *p = page_alloc(&ebs_tag, e->piece_order);

			if (!p)
				return false;
			b->segs[k] = (struct seg){ dma_addr(p), PAGE_SIZE << e->piece_order };
		}
		b->ebs = e;
		b->next = e->free;
		e->free = b;
	}
	return e->buffers != NULL;
}

static void ebs_dtr(struct target *t)
{
	struct ebs *e = t->ctx;

	for (unsigned i = 0; e->buffers && i < e->nr_buffers; i++) {
		struct buffer *b = &e->buffers[i];

		for (unsigned k = 0; b->segs && k < e->nr_pieces; k++)
			if (b->segs[k].len)
				page_free(&ebs_tag, dma_ptr(b->segs[k].addr), e->piece_order);
		mem_free(b->segs);
	}
	mem_free(e->buffers);
}

static uint32_t block_arg(struct args *a, const char *words)
{
	uint32_t n = (uint32_t)arg_u64(a, UINT16_MAX, words);

	if (!is_pow2(n))
		arg_fail(a, -EINVAL, "%s", words);
	return n;
}

static int ebs_ctr(struct target *t, struct args *a)
{
	static const char offset_words[] = "Invalid device offset sector";
	struct ebs *e = t->ctx;
	unsigned dev_at = a->pos, nr = args_left(a);

	list_init(&e->writes);
	if (nr < 3 || nr > 4)
		arg_fail(a, -EINVAL, "Invalid argument count");
	/* Linux judges the numbers before it looks for the device. */
	arg_word(a, "Invalid argument count");
	e->start = arg_u64(a, UINT64_MAX, offset_words);
	if (e->start >= t->len)
		arg_fail(a, -EINVAL, offset_words);
	e->emulated = block_arg(a, "Invalid emulated block size");
	if (e->emulated > PAGE_SIZE >> SECTOR_SHIFT)
		arg_fail(a, -EINVAL, "Invalid emulated block size");
	e->underlying_given = nr == 4;
	if (e->underlying_given)
		e->underlying = block_arg(a, "Invalid underlying block size");
	if (a->err)
		return a->err;
	a->pos = dev_at;
	e->dev = arg_bdev(a, "Device lookup failed");
	if (a->err)
		return a->err;
	a->pos = dev_at + nr;
	if (!e->underlying_given)
		e->underlying = e->dev->limits.logical_block >> SECTOR_SHIFT;
	if (!e->underlying_given && e->emulated == e->underlying)
		log_info("device-mapper: ebs: Emulation superfluous: emulated equal to underlying "
			 "block size");
	if (e->start & (e->underlying - 1))
		arg_fail(a, -EINVAL, "Device offset must be multiple of underlying block size");
	arg_uses(a, e->dev, e->start, t->len);
	if (!a->err && e->emulated < e->underlying) {
		e->cut = MAX(CUT_SECTORS, e->underlying);
		t->max_io_sectors = e->cut;
		if (!reserve(e))
			arg_fail(a, -ENOMEM, "Cannot create dm bufio client");
	}
	t->nr_flush = t->nr_discard = 1;
	return arg_end(a, "Invalid argument count");
}

static void ebs_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct ebs *e = t->ctx;

	if (type != STATUS_TABLE)
		return;
	strbuf_printf(out, "%u:%u %llu %u", e->dev->major, e->dev->minor,
		(unsigned long long)e->start, e->emulated);
	if (e->underlying_given)
		strbuf_printf(out, " %u", e->underlying);
}

static void ebs_io_hints(struct target *t, struct limits *l)
{
	const struct ebs *e = t->ctx;

	l->logical_block = e->emulated << SECTOR_SHIFT;
	l->physical_block = MAX(e->emulated, e->underlying) << SECTOR_SHIFT;
	l->alignment_offset = 0;
	l->io_min = l->physical_block;
}

const struct target_ops ebs_ops = {
	.name = "ebs",
	.syntax = "<device> <start> <sectors of a block> [<sectors of a block beneath>]",
	.version = { 1, 0, 1 },
	.ctx_size = sizeof(struct ebs),
	.per_bio_size = sizeof(struct ebs_bio),
	.ctr = ebs_ctr,
	.dtr = ebs_dtr,
	.map = ebs_map,
	.end_io = ebs_end_io,
	.status = ebs_status,
	.io_hints = ebs_io_hints,
};

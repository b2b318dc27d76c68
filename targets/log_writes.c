/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log-writes - passes everything on and writes what was written, and when, to a second device, for
 * replaying a file system's life step by step: "log-writes <dev> <log dev>".  The log is Linux's,
 * little-endian, in sectors of the first device's logical block:
 *
 *	sector 0	struct log_super, written anew after each FUA and mark
 *	then for each	struct log_entry in a sector of its own, the text of a mark right behind it;
 *	entry		then the data of a write
 *
 * A write or discard enters the log when a flush that was sent after its end has ended, followed by
 * the flush; with FUA at once when it has ended.  So the log tells in which order things became
 * durable.  "mark <text>" enters at once.  When the log is full or cannot be written logging ends,
 * and I/O goes on without.
 *
 * Memory.  Data is copied when it arrives and kept until it is in the log.  Blocks and pages for
 * that are set aside by ctr; a write that finds too few waits, and then what has ended enters the
 * log without waiting for its flush: a disk may write its cache back early, so the log still tells
 * a possible story.  Linux takes more memory instead.
 *
 * Everything but deciding whether a bio concerns us happens on core 0.
 */
#include "kernel/api/fiber.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "targets/targets.h"

#define PREFIX     "device-mapper: log-writes: "
#define NR_BLOCKS  1024u
#define NR_COPIES  512u /* pages */
#define MAX_COPIES 128u /* of one write */
#define END_MARK   "dm-log-writes-end"

#define LOG_MAGIC   0x6a736677736872ull
#define LOG_VERSION 1

enum log_flags {
	LOG_FLUSH = 1,
	LOG_FUA = 2,
	LOG_DISCARD = 4,
	LOG_MARK = 8,
};

struct log_super {
	uint64_t magic, version, nr_entries;
	uint32_t sector_size;
	uint32_t pad;
};

struct log_entry {
	uint64_t sector, nr_sectors, flags;
	uint64_t data_len; /* of a mark's text */
};

_Static_assert(sizeof(struct log_super) == 32, "as Linux writes it");
_Static_assert(sizeof(struct log_entry) == 32, "as Linux writes it");

struct copy { /* of up to a page of data */
	struct copy *next;
	void *mem;
};

struct block { /* what will be an entry */
	struct list node;
	struct log_writes *log;
	struct log_entry entry;
	struct copy *copies;
	struct list before; /* of a flush: what it makes durable */
	struct work work;   /* ended on another core */
	sector_t at;        /* its place in the log, ... */
	uint64_t number;    /* ... the entries up to it */
	const char *mark;
};

struct log_writes {
	struct bdev *dev, *logdev;
	uint32_t sector_size;
	unsigned shift; /* from sectors of 512 to those of the log */
	bool takes_discard;
	bool live;    /* was resumed: there may be something to log */
	bool enabled; /* other cores look as well; only core 0 ends it */
	bool broken;  /* a write to the log failed: nothing queued is written any more */
	bool ready;   /* ctr came to its end */
	bool pumping;
	uint64_t nr_entries;
	sector_t next_sector;
	struct list unflushed; /* blocks that ended, in that order */
	struct list queue;     /* that have their place in the log and are to be written */
	unsigned nr_passing;   /* whose bios are below */
	struct bio_list waiting;

	/* the reserve */
	struct block *blocks, *end_mark;
	struct list free_blocks;
	struct copy *copies, *free_copies;
	unsigned nr_free_copies;

	/* the block that is being written */
	struct block *writing;
	bool super_out; /* and now the super */
	struct bio bio;
	struct seg segs[1 + MAX_COPIES];
	uint8_t *page; /* an entry or super lies at its end, so that data may follow gapless */
	struct waitq idle;
};

struct log_bio {
	struct work work;
	struct log_writes *log;
	struct bio *bio;
	struct block *block; /* NULL: not logged */
};

static struct mem_tag log_tag = MEM_TAG("log-writes");

static void write_next(struct log_writes *l);
static void pump(struct log_writes *l);

/* ---- the log ---- */

static void block_free(struct log_writes *l, struct block *b)
{
	struct copy *c;

	while ((c = b->copies) != NULL) {
		b->copies = c->next;
		c->next = l->free_copies;
		l->free_copies = c;
		l->nr_free_copies++;
	}
	if (b->mark)
		mem_free(b);
	else
		list_add_tail(&l->free_blocks, &b->node);
	pump(l);
}

static void disable(struct log_writes *l)
{
	__atomic_store_n(&l->enabled, false, __ATOMIC_RELAXED);
}

/* Gives a block its place; write_next() has to be called then. */
static void enqueue(struct log_writes *l, struct block *b)
{
	sector_t sectors = 1;

	if (!l->enabled) {
		block_free(l, b);
		return;
	}
	if (!(b->entry.flags & LOG_DISCARD))
		sectors += b->entry.nr_sectors;
	b->at = l->next_sector;
	l->next_sector += sectors << l->shift;
	if (l->next_sector >= l->logdev->nr_sectors) {
		log_err(PREFIX "Ran out of space on the logdev");
		disable(l);
		block_free(l, b);
		return;
	}
	b->number = ++l->nr_entries;
	list_add_tail(&l->queue, &b->node);
}

static void enqueue_all(struct log_writes *l, struct list *blocks)
{
	struct list *n;

	while ((n = list_pop(blocks)) != NULL)
		enqueue(l, container_of(n, struct block, node));
}

static void sent(struct bio *bio)
{
	struct log_writes *l = bio->owner;
	struct block *b = l->writing;

	if (bio->status) {
		log_err(PREFIX "Error writing log block, error=%d", -bio->status);
		disable(l);
		l->broken = true;
	} else if (!l->super_out && (b->entry.flags & (LOG_FUA | LOG_MARK))) {
		struct log_super super = { .magic = LOG_MAGIC,
			.version = LOG_VERSION,
			.nr_entries = b->number,
			.sector_size = l->sector_size };

		l->super_out = true;
		memset(dma_ptr(l->segs[0].addr), 0, l->sector_size);
		memcpy(dma_ptr(l->segs[0].addr), &super, sizeof(super));
		bio->dev = l->logdev;
		bio->flags = 0;
		bio->sector = 0;
		bio->nr_sectors = l->sector_size >> SECTOR_SHIFT;
		bio->nr_segs = 1;
		bio_submit(bio);
		return;
	}
	l->super_out = false;
	l->writing = NULL;
	block_free(l, b);
	write_next(l);
}

static void write_block(struct log_writes *l, struct block *b)
{
	uint8_t *head = l->page + PAGE_SIZE - l->sector_size;
	uint64_t left = 0;
	unsigned nr = 1;

	l->writing = b;
	memset(head, 0, l->sector_size);
	memcpy(head, &b->entry, sizeof(b->entry));
	if (b->mark)
		memcpy(head + sizeof(b->entry), b->mark, b->entry.data_len);
	l->segs[0] = (struct seg){ dma_addr(head), l->sector_size };
	if (b->copies)
		left = b->entry.nr_sectors * l->sector_size;
	l->bio = (struct bio){ .dev = l->logdev,
		.sector = b->at,
		.nr_sectors = (uint32_t)((l->sector_size + left) >> SECTOR_SHIFT),
		.op = BIO_WRITE,
		.segs = l->segs,
		.done = sent,
		.owner = l };
	for (struct copy *c = b->copies; c; c = c->next) {
		uint32_t n = (uint32_t)MIN(left, PAGE_SIZE);

		l->segs[nr++] = (struct seg){ dma_addr(c->mem), n };
		left -= n;
	}
	l->bio.nr_segs = nr;
	bio_submit(&l->bio);
}

/* One after the other, so a super never tells of an entry that is not there. */
static void write_next(struct log_writes *l)
{
	struct list *n;

	while (!l->writing && (n = list_pop(&l->queue)) != NULL) {
		struct block *b = container_of(n, struct block, node);

		if (l->broken)
			block_free(l, b);
		else
			write_block(l, b);
	}
	if (!l->writing)
		waitq_wake_all(&l->idle);
}

/* ---- the way of a bio, on core 0 ---- */

static void block_copy(struct log_writes *l, struct block *b, const struct bio *bio)
{
	struct seg_iter it = seg_iter_of(bio);
	struct copy **end = &b->copies;
	uint32_t at = PAGE_SIZE;
	uint8_t *to = NULL;
	struct seg s;

	while (seg_next(&it, PAGE_SIZE - at % PAGE_SIZE, &s)) {
		if (at == PAGE_SIZE) {
			struct copy *c = l->free_copies;

			l->free_copies = c->next;
			l->nr_free_copies--;
			c->next = NULL;
			*end = c;
			end = &c->next;
			to = c->mem;
			at = 0;
		}
		memcpy(to + at, dma_ptr(s.addr), s.len);
		at += s.len;
	}
}

/* A block with everything of the bio that will be logged; NULL: too little is free. */
static struct block *block_make(struct log_writes *l, const struct bio *bio)
{
	uint64_t pages = 0;
	struct block *b;
	struct list *n;

	if (bio->op == BIO_WRITE)
		pages = DIV_ROUND_UP(bio_bytes(bio), (uint64_t)PAGE_SIZE);
	if (pages > l->nr_free_copies)
		return NULL;
	n = list_pop(&l->free_blocks);
	if (!n)
		return NULL;
	b = container_of(n, struct block, node);
	b->entry = (struct log_entry){ 0 };
	list_init(&b->before);
	if (bio->op == BIO_FLUSH) {
		b->entry.flags = LOG_FLUSH;
		while ((n = list_pop(&l->unflushed)) != NULL)
			list_add_tail(&b->before, n);
		return b;
	}
	b->entry.sector = bio->sector >> l->shift;
	b->entry.nr_sectors = bio->nr_sectors >> l->shift;
	if (bio->op == BIO_DISCARD)
		b->entry.flags = LOG_DISCARD;
	else if (bio->flags & BIO_FUA)
		b->entry.flags = LOG_FUA;
	if (pages)
		block_copy(l, b, bio);
	return b;
}

/* False: it has to wait until something is free. */
static bool pass(struct log_writes *l, struct bio *bio)
{
	struct log_bio *lb = target_bio_data(bio);

	if (l->enabled) {
		lb->block = block_make(l, bio);
		if (!lb->block)
			return false;
		l->nr_passing++;
	}
	if (bio->op == BIO_DISCARD && !l->takes_discard)
		bio_end(bio, 0);
	else
		bio_submit(bio);
	return true;
}

/* What waits goes on in order; what has ended makes room for it. */
static void pump(struct log_writes *l)
{
	struct bio *bio;

	if (l->pumping)
		return;
	l->pumping = true;
	while ((bio = bio_list_pop(&l->waiting)) != NULL) {
		if (pass(l, bio))
			continue;
		bio_list_add_head(&l->waiting, bio);
		if (list_empty(&l->unflushed))
			break;
		enqueue_all(l, &l->unflushed);
		write_next(l);
	}
	l->pumping = false;
}

static void arrive(struct log_writes *l, struct bio *bio)
{
	if (bio->op == BIO_WRITE && bio->nr_sectors > MAX_COPIES * (PAGE_SIZE >> SECTOR_SHIFT)) {
		bio_end(bio, -EIO); /* io_hints() said that we do not take such */
		return;
	}
	if (!l->waiting.head && pass(l, bio))
		return;
	if (bio->flags & BIO_NOWAIT) {
		bio_end(bio, -EAGAIN);
		return;
	}
	bio_list_add(&l->waiting, bio);
	pump(l);
}

static void arrive_run(struct work *w)
{
	struct log_bio *lb = container_of(w, struct log_bio, work);

	arrive(lb->log, lb->bio);
}

static enum map_result log_writes_map(struct target *t, struct bio *bio)
{
	struct log_bio *lb = target_bio_data(bio);
	struct log_writes *l = t->ctx;

	/* Linux does not move it either: a target that does not begin at 0 uses the same sectors of
	 * the device. */
	bio->dev = l->dev;
	lb->block = NULL;
	if (bio->op == BIO_READ ||
		(!__atomic_load_n(&l->enabled, __ATOMIC_RELAXED) && bio->op != BIO_DISCARD))
		return MAP_REMAPPED;
	lb->log = l;
	lb->bio = bio;
	if (this_core() == 0) {
		arrive(l, bio);
	} else {
		lb->work.fn = arrive_run;
		work_send(0, &lb->work);
	}
	return MAP_HELD;
}

static void ended(struct log_writes *l, struct block *b)
{
	l->nr_passing--;
	if (b->entry.flags & LOG_FLUSH)
		enqueue_all(l, &b->before);
	if (b->entry.flags & (LOG_FLUSH | LOG_FUA))
		enqueue(l, b);
	else
		list_add_tail(&l->unflushed, &b->node);
	write_next(l);
	pump(l);
}

static void ended_run(struct work *w)
{
	struct block *b = container_of(w, struct block, work);

	ended(b->log, b);
}

/* Whatever has come of it, as with Linux: a write that failed may have changed the disk. */
static bool log_writes_end_io(struct target *t, struct bio *bio, int *status)
{
	struct log_bio *lb = target_bio_data(bio);
	struct block *b = lb->block;

	if (!b)
		return false;
	if (this_core() == 0) {
		ended(b->log, b);
	} else {
		b->work.fn = ended_run;
		work_send(0, &b->work);
	}
	return false;
}

/* ---- marks ---- */

static struct block *mark_make(struct log_writes *l, const char *text)
{
	size_t n = strnlen(text, l->sector_size - sizeof(struct log_entry) - 1);
	struct block *b = mem_alloc(&log_tag, sizeof(*b) + n + 1);

	if (!b)
		return NULL;
	b->entry.flags = LOG_MARK;
	b->entry.data_len = n;
	memcpy(b + 1, text, n);
	b->mark = (const char *)(b + 1);
	return b;
}

static int log_writes_message(struct target *t, unsigned argc, char **argv, struct strbuf *out)
{
	struct log_writes *l = t->ctx;
	struct block *b;

	if (argc != 2)
		return message_fail(out, -EINVAL,
			"Invalid log-writes message arguments, expect 2 arguments, got %u", argc);
	if (strcasecmp(argv[0], "mark") != 0)
		return message_fail(out, -EINVAL,
			"Unrecognised log writes target message received: %s", argv[0]);
	b = mark_make(l, argv[1]);
	if (!b)
		return -ENOMEM;
	enqueue(l, b);
	write_next(l);
	return 0;
}

/* ---- life ---- */

static bool reserve(struct log_writes *l)
{
	list_init(&l->unflushed);
	list_init(&l->queue);
	list_init(&l->free_blocks);
	l->page = page_alloc(&log_tag, 0);
	l->blocks = mem_alloc(&log_tag, NR_BLOCKS * sizeof(*l->blocks));
	l->copies = mem_alloc(&log_tag, NR_COPIES * sizeof(*l->copies));
	l->end_mark = mark_make(l, END_MARK);
	if (!l->page || !l->blocks || !l->copies || !l->end_mark)
		return false;
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		l->blocks[i].log = l;
		list_add_tail(&l->free_blocks, &l->blocks[i].node);
	}
	for (unsigned i = 0; i < NR_COPIES; i++) {
		struct copy *c = &l->copies[i];

		c->mem = page_alloc(&log_tag, 0);
		if (!c->mem)
			return false;
		c->next = l->free_copies;
		l->free_copies = c;
		l->nr_free_copies++;
	}
	return true;
}

static int log_writes_ctr(struct target *t, struct args *a)
{
	struct log_writes *l = t->ctx;

	if (args_left(a) < 2)
		arg_fail(a, -EINVAL, "Invalid argument count");
	l->dev = arg_bdev(a, "Device lookup failed");
	l->logdev = arg_bdev(a, "Log device lookup failed");
	if (a->err)
		return a->err;
	arg_uses(a, l->dev, t->begin, t->len);
	l->sector_size = l->dev->limits.logical_block;
	l->takes_discard = l->dev->limits.max_discard_sectors != 0;
	if (l->sector_size > PAGE_SIZE) {
		arg_fail(a, -EINVAL, "Device block size is too large");
		return a->err;
	}
	l->shift = ilog2(l->sector_size) - SECTOR_SHIFT;
	l->next_sector = 1u << l->shift;
	if (!reserve(l)) {
		arg_fail(a, -ENOMEM, "Cannot allocate context");
		return a->err;
	}
	l->enabled = l->ready = true;
	t->nr_flush = t->nr_discard = 1;
	t->flush_supported = t->discards_supported = true;
	return a->err; /* further words do not matter to Linux */
}

static void log_writes_resume(struct target *t)
{
	struct log_writes *l = t->ctx;

	l->live = true;
}

/* What is left enters the log, and a last mark, which makes the super tell of all of it.  Linux
 * writes that mark even for a table that was never live, over the log of the one that is. */
static may_block void finish(struct log_writes *l)
{
	while (l->nr_passing)
		fiber_yield();
	enqueue_all(l, &l->unflushed);
	enqueue(l, l->end_mark);
	l->end_mark = NULL;
	write_next(l);
	while (l->writing)
		waitq_wait(&l->idle);
	if (!l->broken && bdev_flush(l->logdev))
		log_warn(PREFIX "the log could not be flushed");
}

static void log_writes_dtr(struct target *t)
{
	struct log_writes *l = t->ctx;

	if (l->ready && l->live)
		finish(l);
	for (unsigned i = 0; l->copies && i < NR_COPIES; i++)
		page_free(&log_tag, l->copies[i].mem, 0);
	mem_free(l->end_mark);
	mem_free(l->copies);
	mem_free(l->blocks);
	page_free(&log_tag, l->page, 0);
}

static void log_writes_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct log_writes *l = t->ctx;

	if (type == STATUS_TABLE) {
		strbuf_printf(out, "%u:%u %u:%u", l->dev->major, l->dev->minor, l->logdev->major,
			l->logdev->minor);
		return;
	}
	strbuf_printf(out, "%llu %llu%s", (unsigned long long)l->nr_entries,
		(unsigned long long)l->next_sector - 1, l->enabled ? "" : " logging_disabled");
}

static void log_writes_io_hints(struct target *t, struct limits *lim)
{
	const struct log_writes *l = t->ctx;

	if (!l->takes_discard) {
		lim->discard_granularity = l->sector_size;
		lim->max_discard_sectors = UINT32_MAX >> SECTOR_SHIFT;
	}
	lim->io_min = lim->physical_block;
	lim->max_sectors = MIN(lim->max_sectors, MAX_COPIES * (PAGE_SIZE >> SECTOR_SHIFT));
}

const struct target_ops log_writes_ops = {
	.name = "log-writes",
	.syntax = "<device> <log device>",
	.version = { 1, 1, 0 },
	.ctx_size = sizeof(struct log_writes),
	.per_bio_size = sizeof(struct log_bio),
	.ctr = log_writes_ctr,
	.dtr = log_writes_dtr,
	.map = log_writes_map,
	.end_io = log_writes_end_io,
	.status = log_writes_status,
	.message = log_writes_message,
	.resume = log_writes_resume,
	.io_hints = log_writes_io_hints,
};

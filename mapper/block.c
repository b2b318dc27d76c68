/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * block - the way of a bio: down through bio_submit(), back through bio_end().  Neither recurses,
 * however deep the stack of devices: what a device submits while bio_submit() runs is queued and
 * taken by the outermost call, what ends there is ended by the loop a little later, and what ends
 * inside a done() is ended by the outermost bio_end().
 *
 * The common case, a read or write that fits its device, passes here in a few dozen instructions;
 * split.c has everything else, bdev.c the devices themselves.
 */
#include "kernel/api/fiber.h"
#include "mapper/split.h"

/* What one core has under way.  Only that core touches it. */
struct block_core {
	bool active;               /* bio_submit() is running further up the stack */
	bool ending;               /* a done() or a frame's end() is */
	bool posted;               /* drain is on its way */
	struct bio *next;          /* submitted while active: what a target passes on */
	struct bio_list pending;   /* further ones, behind it */
	struct bio_list unwinding; /* ended while ending, taken by the outermost bio_end() */
	struct bio_list ended;     /* ended while active or on a fiber, taken by drain */
	struct work drain;
} __aligned(128);

static struct block_core block_cores[MAX_CORES];

/* ---- lists and walks ---- */

static inline void list_put(struct bio_list *l, struct bio *bio)
{
	bio->next = NULL;
	if (l->head)
		*l->tail = bio;
	else
		l->head = bio;
	l->tail = &bio->next;
	l->nr++;
}

static inline struct bio *list_take(struct bio_list *l)
{
	struct bio *bio = l->head;

	if (bio) {
		l->head = bio->next;
		bio->next = NULL;
		l->nr--;
	}
	return bio;
}

void bio_list_add(struct bio_list *l, struct bio *bio)
{
	list_put(l, bio);
}

void bio_list_add_head(struct bio_list *l, struct bio *bio)
{
	bio->next = l->head;
	if (!l->head)
		l->tail = &bio->next;
	l->head = bio;
	l->nr++;
}

struct bio *bio_list_pop(struct bio_list *l)
{
	return list_take(l);
}

struct seg_iter seg_iter_of(const struct bio *bio)
{
	struct seg_iter it = { 0 };

	if (bio_has_data(bio)) {
		it.seg = bio->segs;
		it.nr = bio->nr_segs;
		it.off = bio->seg_off;
		it.bytes = bio_bytes(bio);
	}
	return it;
}

/* Past runs that are used up, so that off is inside *seg or nr is 0. */
static inline void seg_settle(struct seg_iter *it)
{
	while (it->nr && it->off >= it->seg->len) {
		it->off -= it->seg->len;
		it->seg++;
		it->nr--;
	}
}

bool seg_next(struct seg_iter *it, uint32_t max, struct seg *out)
{
	uint64_t n;

	seg_settle(it);
	if (!it->nr || !it->bytes || !max)
		return false;
	n = MIN(it->bytes, it->seg->len - it->off);
	n = MIN(n, max);
	out->addr = it->seg->addr + it->off;
	out->len = (uint32_t)n;
	it->off += (uint32_t)n;
	it->bytes -= n;
	return true;
}

void seg_skip(struct seg_iter *it, uint64_t bytes)
{
	bytes = MIN(bytes, it->bytes);
	it->bytes -= bytes;
	seg_settle(it);
	while (it->nr && bytes) {
		uint64_t n = MIN(bytes, it->seg->len - it->off);

		it->off += (uint32_t)n;
		bytes -= n;
		seg_settle(it);
	}
}

/* ---- down ---- */

/* 0 or why this request cannot be one to this device. */
static inline int bio_vet(const struct bdev *dev, const struct bio *bio)
{
	uint32_t block = dev->limits.logical_block >> SECTOR_SHIFT;

	if (unlikely(bio->op >= BIO_NR_OPS))
		return -EOPNOTSUPP;
	if (unlikely(bio->op == BIO_FLUSH))
		return bio->nr_sectors ? -EINVAL : 0;
	if (unlikely(bio->sector > dev->nr_sectors ||
		     bio->nr_sectors > dev->nr_sectors - bio->sector))
		return -EINVAL;
	if (unlikely((bio->sector | bio->nr_sectors) & (block - 1)))
		return -EINVAL;
	if (unlikely(dev->read_only && bio->op != BIO_READ))
		return -EROFS;
	return 0;
}

/* A read or write that goes to its device as it is: nearly every one.  Sectors are compared by
 * subtraction, for the sum could wrap; no sectors at all are no less than easy_sectors. */
static inline bool is_easy(struct bdev *dev, const struct bio *bio)
{
	uint32_t nr = bio->nr_sectors;

	return !((bio->op | (unsigned)bio->flags << 8) & dev->hard_bits) &&
	       nr - 1 < dev->easy_sectors && bio->nr_segs <= dev->easy_segs && !dev->gone &&
	       (bio->vetted || (bio->sector <= dev->nr_sectors - nr &&
				       !((bio->sector | nr) & dev->block_mask))) &&
	       (!dev->ops->piece || dev->uncut ||
		       (dev->grid ? ((uint32_t)bio->sector & (dev->grid - 1)) + nr <= dev->grid
				  : dev->ops->piece(dev, bio) >= nr));
}

static __attribute__((noinline)) void submit_hard(unsigned core, struct bio *bio)
{
	struct bdev *dev = bio->dev;
	int err = dev->gone ? -ENODEV : bio->vetted ? 0 : bio_vet(dev, bio);

	if (err)
		bio_end(bio, err);
	else
		split_submit(core, bio);
}

/* The device may submit further ones: they come out of next, then out of pending. */
static void submit_all(unsigned core, struct block_core *c, struct bio *bio)
{
	do {
		struct bdev *dev = bio->dev;

		if (likely(is_easy(dev, bio)))
			bio_start(core, dev, bio);
		else
			submit_hard(core, bio);
		bio = c->next;
		c->next = NULL;
	} while (bio || unlikely((bio = list_take(&c->pending)) != NULL));
	c->active = false;
}

static __attribute__((noinline)) void submit_later(struct block_core *c, struct bio *bio)
{
	list_put(&c->pending, bio);
}

void bio_submit(struct bio *bio)
{
	unsigned core = this_core();
	struct block_core *c = &block_cores[core];

	/* With frames it is on its way down from a layer above, perhaps on another core. */
	if (!bio->frames)
		bio->core = (uint8_t)core;
	if (!c->active) {
		c->active = true;
		submit_all(core, c, bio);
	} else if (likely(!c->next)) {
		c->next = bio;
	} else {
		submit_later(c, bio);
	}
}

/* A bio that another core vetted, split and counted arrives where its queue is. */
static void forward_run(struct work *w)
{
	struct bio *bio = container_of(w, struct bio, work);
	unsigned core = this_core();
	struct block_core *c = &block_cores[core];

	c->active = true;
	bio->dev->ops->submit(bio->dev, bio);
	bio = c->next;
	c->next = NULL;
	if (bio)
		submit_all(core, c, bio);
	else
		c->active = false;
}

void bio_forward(struct bio *bio, unsigned core)
{
	bio->work.fn = forward_run;
	work_send(core, &bio->work);
}

/* ---- back ---- */

/* Through the layers above and out.  Afterwards the bio is somebody else's. */
static inline void bio_unwind(struct bio *bio)
{
	struct bio_frame *f;

	while (unlikely((f = bio->frames) != NULL)) {
		bio->frames = f->next;
		if (f->end(f, bio, &bio->status))
			return;
	}
	bio->vetted = 0;
	bio->done(bio);
}

/* A device that answers inside submit() and a submitter that goes on from done() would keep each
 * other busy for ever: what arrives while this runs waits for the next turn of the loop. */
static void drain_run(struct work *w)
{
	struct block_core *c = container_of(w, struct block_core, drain);
	struct bio_list l = c->ended;
	struct bio *bio;

	c->ended = (struct bio_list){ 0 };
	c->posted = false;
	c->ending = true;
	while ((bio = list_take(&l)) != NULL)
		do
			bio_unwind(bio);
		while ((bio = list_take(&c->unwinding)) != NULL);
	c->ending = false;
}

/* The bio is on its own core and has its status. */
static inline void end_here(struct block_core *c, struct bio *bio)
{
	if (unlikely(c->active || fiber_self())) {
		list_put(&c->ended, bio);
		if (!c->posted) {
			c->posted = true;
			c->drain.fn = drain_run;
			work_post(&c->drain);
		}
		return;
	}
	if (unlikely(c->ending)) {
		list_put(&c->unwinding, bio);
		return;
	}
	c->ending = true;
	do
		bio_unwind(bio);
	while (unlikely((bio = list_take(&c->unwinding)) != NULL));
	c->ending = false;
}

static void end_crossed(struct work *w)
{
	end_here(&block_cores[this_core()], container_of(w, struct bio, work));
}

void bio_finish(struct bio *bio, int status)
{
	unsigned core = this_core();

	bio->status = status;
	if (unlikely(bio->core != core)) {
		bio->work.fn = end_crossed;
		work_send(bio->core, &bio->work);
		return;
	}
	end_here(&block_cores[core], bio);
}

void bio_end(struct bio *bio, int status)
{
	if (unlikely(status) && bio->dev->stats)
		bio->dev->stats[this_core()].errors++;
	bio_finish(bio, status);
}

void bio_reset(void)
{
	for (unsigned i = 0; i < MAX_CORES; i++)
		block_cores[i] = (struct block_core){ 0 };
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mdev - mapped devices at work: the way of a bio through one, and how its I/O is stopped, changed
 * over to another table and let flow again.  mdev.h says who touches what.
 *
 * A bio gets a frame, is shown to its target's map(), and goes on to the device beneath as it is,
 * with new place and sector; on its way back the frame is taken off it.  A device has so many
 * frames for each core; who finds none waits in line, and the frame that comes back takes it on.
 * Since frames belong to one device, a stack of any height moves if the disk at its bottom does.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/mdev.h"

/* ---- the way down ---- */

_Static_assert(
	offsetof(struct mframe, data) == TARGET_DATA_AT && offsetof(struct mframe, frame) == 0,
	"target_bio_data() finds it");

/* A bio that was counted here will be counted once more. */
static void uncount(struct mdev *md, struct bio *bio)
{
	struct bdev_stats *st = &md->bdev.stats[this_core()];

	st->ios[bio->op]--;
	st->sectors[bio->op] -= bio->nr_sectors;
}

/* Until the next resume, when it comes anew and is judged by what the device is then. */
static void hold(struct mdev *md, struct bio *bio)
{
	uncount(md, bio);
	bio->dev = &md->bdev;
	bio->vetted = 0;
	bio_list_add(&md->cores[this_core()].held, bio);
}

static void frame_requeue(struct mframe *f, struct bio *bio)
{
	struct table_core *tc = f->tc;

	bio->frames = f->frame.next;
	pool_put(&tc->frames, f);
	hold(tc->table->md, bio);
	table_core_pump(tc);
}

/* The target did not pass it on. */
static __attribute__((noinline)) void map_kept(
	struct mframe *f, struct bio *bio, enum map_result result)
{
	switch (result) {
	case MAP_REQUEUE:
		frame_requeue(f, bio);
		break;
	case MAP_FAIL:
		f->target = NULL;
		bio_end(bio, bio->status ? bio->status : -EIO);
		break;
	case MAP_DONE:
		f->target = NULL;
		bio_end(bio, 0);
		break;
	case MAP_REMAPPED:
	case MAP_HELD:
		break;
	}
}

static __attribute__((noinline)) void await_frame(struct table_core *tc, struct bio *bio)
{
	if (bio->flags & BIO_NOWAIT)
		bio_end(bio, -EAGAIN);
	else
		bio_list_add(&tc->waiting, bio);
}

/* tg NULL: a flush straight to the only device. */
static inline void map_bio(struct table_core *tc, struct target *tg, struct bio *bio)
{
	struct mframe *f = pool_get(&tc->frames);
	enum map_result result;

	if (unlikely(!f)) {
		await_frame(tc, bio);
		return;
	}
	f->frame.next = bio->frames;
	bio->frames = &f->frame;
	bio->target_nr = 0;
	bio->status = 0;
	if (unlikely(!tg)) {
		f->target = NULL;
		bio->dev = tc->table->deps[0];
		bio_submit(bio);
		return;
	}
	f->target = tg->ops->end_io ? tg : NULL;
	result = tg->ops->map(tg, bio);
	if (likely(result == MAP_REMAPPED)) {
		/* Where targets lie on disks was checked with the table; mapped devices can have
		 * changed since. */
		bio->vetted = !bio->dev->raw_flush;
		bio_submit(bio);
	} else {
		map_kept(f, bio, result);
	}
}

static unsigned copies_of(const struct target *tg, unsigned op)
{
	switch (op) {
	case BIO_DISCARD:
		return tg->nr_discard;
	case BIO_WRITE_ZEROES:
		return tg->nr_write_zeroes;
	case BIO_SECURE_ERASE:
		return tg->nr_secure_erase;
	}
	return 1;
}

static void map_other(struct table_core *tc, struct bio *bio)
{
	struct table *t = tc->table;
	struct target *tg;
	unsigned nr;

	if (bio->op == BIO_FLUSH) {
		if (!t->flush_copies)
			bio_end(bio, 0);
		else if (t->flush_copies > 1)
			fan_submit(tc, bio);
		else
			map_bio(tc, t->flush_by_dev ? NULL : t->flush_one, bio);
		return;
	}
	tg = table_find(t, bio->sector);
	nr = copies_of(tg, bio->op);
	if (!nr)
		bio_end(bio, -EOPNOTSUPP);
	else if (nr > 1)
		fan_submit(tc, bio);
	else
		map_bio(tc, tg, bio);
}

/* A bio that is in the table and in one piece as table_piece() has it. */
static inline void pass(struct table_core *tc, struct bio *bio)
{
	if (likely(bio->op <= BIO_WRITE))
		map_bio(tc, table_find(tc->table, bio->sector), bio);
	else
		map_other(tc, bio);
}

static void again_run(struct work *w)
{
	bio_submit(container_of(w, struct bio, work));
}

/* Not where it should be, or the device does not let I/O flow. */
static void divert(struct mdev *md, unsigned core, struct bio *bio)
{
	struct mdev_core *c = &md->cores[core];

	if (bio->core != core) {
		uncount(md, bio);
		bio->work.fn = again_run;
		work_send(bio->core, &bio->work);
	} else if (!c->hold) {
		bio_end(bio, md->dying ? -ENODEV : -EIO);
	} else if (bio->flags & BIO_NOWAIT) {
		bio_end(bio, -EAGAIN);
	} else {
		hold(md, bio);
	}
}

static void mdev_submit(struct bdev *dev, struct bio *bio)
{
	struct mdev *md = container_of(dev, struct mdev, bdev);
	unsigned core = this_core();
	struct table_core *tc = md->cores[core].path;

	if (unlikely(!tc || bio->core != core))
		divert(md, core, bio);
	else if (unlikely(bio->nr_sectors && bio->sector + bio->nr_sectors > tc->table->nr_sectors))
		bio_end(bio, -EIO);
	else
		pass(tc, bio);
}

/* While I/O does not flow nothing needs cutting: what is held comes by here again. */
static uint32_t mdev_piece(struct bdev *dev, const struct bio *bio)
{
	struct mdev *md = container_of(dev, struct mdev, bdev);
	struct table_core *tc = md->cores[this_core()].path;
	uint32_t n = bio->nr_sectors, into;
	const struct target *tg;

	if (unlikely(!tc) || tc->table->whole || bio->sector >= tc->table->nr_sectors)
		return n;
	tg = table_find(tc->table, bio->sector);
	n = (uint32_t)MIN(n, tg->begin + tg->len - bio->sector);
	if (tg->max_io_sectors && bio->op <= BIO_WRITE) {
		into = (uint32_t)(target_offset(tg, bio) % tg->max_io_sectors);
		n = MIN(n, tg->max_io_sectors - into);
	}
	return n;
}

static struct bdev *mdev_below(struct bdev *dev, unsigned i)
{
	const struct table *t = container_of(dev, struct mdev, bdev)->live;

	return t && i < t->nr_deps ? t->deps[t->nr_deps - 1 - i] : NULL;
}

static void mdev_describe(struct bdev *dev, struct strbuf *out)
{
	strbuf_puts(out, container_of(dev, struct mdev, bdev)->name);
}

static void mdev_idle(struct bdev *dev)
{
	control_idle(container_of(dev, struct mdev, bdev));
}

static const struct bdev_ops mdev_ops = {
	.submit = mdev_submit,
	.piece = mdev_piece,
	.describe = mdev_describe,
	.below = mdev_below,
	.idle = mdev_idle,
};

struct mdev *mdev_of(const struct bdev *dev)
{
	return dev->ops == &mdev_ops ? container_of(dev, struct mdev, bdev) : NULL;
}

/* ---- the way back ---- */

bool table_core_idle(const struct table_core *tc)
{
	return tc->frames.nr_free == tc->frames.nr && !tc->fan_out && !tc->fan_waiting.head;
}

void table_core_pump(struct table_core *tc)
{
	if (tc->pumping)
		return;
	tc->pumping = true;
	while (tc->waiting.head && tc->frames.nr_free)
		pass(tc, bio_list_pop(&tc->waiting));
	tc->pumping = false;
	if (tc->draining && table_core_idle(tc)) {
		tc->draining = false;
		work_send(0, &tc->drained);
		/* From here the table may be gone. */
	}
}

static __attribute__((noinline)) bool target_keeps(struct mframe *f, struct bio *bio, int *status)
{
	/* For target_bio_data(); and if the target keeps it, it comes here again. */
	bio->frames = &f->frame;
	if (f->target->ops->end_io(f->target, bio, status))
		return true;
	bio->frames = f->frame.next;
	return false;
}

bool mframe_end(struct bio_frame *frame, struct bio *bio, int *status)
{
	struct mframe *f = container_of(frame, struct mframe, frame);
	struct table_core *tc = f->tc;

	if (f->target && (*status || !f->target->end_io_errors) && target_keeps(f, bio, status))
		return true;
	pool_put(&tc->frames, f);
	if (unlikely(tc->waiting.head || tc->draining))
		table_core_pump(tc);
	return false;
}

/* ---- stop and go ---- */

struct core_order {
	struct mdev *md;
	bool draining; /* the answer: a drained work will come */
};

static void hold_all(struct mdev *md, struct bio_list *l)
{
	struct bio *bio;

	while ((bio = bio_list_pop(l)))
		hold(md, bio);
}

static void core_stop(void *arg)
{
	struct core_order *o = arg;
	struct mdev_core *c = &o->md->cores[this_core()];
	struct table_core *tc = c->path;

	c->hold = true;
	o->draining = false;
	if (!tc)
		return;
	c->path = NULL;
	hold_all(o->md, &tc->waiting);
	hold_all(o->md, &tc->fan_waiting);
	o->draining = tc->draining = !table_core_idle(tc);
}

static void core_go(void *arg)
{
	struct core_order *o = arg;
	struct mdev_core *c = &o->md->cores[this_core()];
	struct bio_list l = c->held; /* whoever is held anew waits for the next resume */
	struct bio *bio;

	c->held = (struct bio_list){ 0 };
	c->hold = false;
	c->path = o->md->live ? &o->md->live->cores[this_core()] : NULL;
	while ((bio = bio_list_pop(&l)))
		bio_submit(bio);
}

/* The device does not come back. */
static void core_fail(void *arg)
{
	struct core_order *o = arg;
	struct mdev_core *c = &o->md->cores[this_core()];
	struct bio_list l = c->held;
	struct bio *bio;

	c->held = (struct bio_list){ 0 };
	c->hold = false;
	while ((bio = bio_list_pop(&l)))
		bio_end(bio, -ENODEV);
}

/* Would something sent to this device be held somewhere beneath it? */
static bool held_beneath(const struct mdev *md)
{
	for (struct mdev *m = NULL; (m = mdev_next(m));)
		if (m != md && m->suspended && mdev_stands_on((struct bdev *)&md->bdev, m))
			return true;
	return false;
}

void mdev_suspend(struct mdev *md, bool noflush)
{
	struct core_order o = { .md = md };
	struct table *t = md->live;

	if (md->suspended)
		return;
	for (unsigned i = 0; t && i < t->nr_targets; i++)
		if (t->targets[i].ops->presuspend)
			t->targets[i].ops->presuspend(&t->targets[i]);
	if (t && !noflush && !held_beneath(md) && bdev_flush(&md->bdev))
		log_warn("%s: not all could be flushed before suspending", md->bdev.name);
	for (unsigned core = 0; core < nr_cores(); core++) {
		core_call(core, core_stop, &o);
		md->nr_draining += o.draining;
	}
	while (md->nr_draining)
		waitq_wait(&md->drained);
	for (unsigned i = 0; t && i < t->nr_targets; i++)
		if (t->targets[i].ops->postsuspend)
			t->targets[i].ops->postsuspend(&t->targets[i]);
	md->suspended = true;
}

int mdev_resume(struct mdev *md, struct strbuf *why)
{
	struct core_order o = { .md = md };
	struct table *t = md->live;

	for (unsigned i = 0; t && i < t->nr_targets; i++) {
		struct target *tg = &t->targets[i];
		int err = tg->ops->preresume ? tg->ops->preresume(tg) : 0;

		if (!err)
			continue;
		strbuf_printf(why, "%s: preresume failed, error = %d", tg->ops->name, err);
		log_err("device-mapper: table: %u:%u: %s: preresume failed, error = %d",
			md->bdev.major, md->bdev.minor, tg->ops->name, err);
		return err;
	}
	for (unsigned i = 0; t && i < t->nr_targets; i++)
		if (t->targets[i].ops->resume)
			t->targets[i].ops->resume(&t->targets[i]);
	md->suspended = false;
	for (unsigned core = 0; core < nr_cores(); core++)
		core_call(core, core_go, &o);
	return 0;
}

struct table *mdev_swap(struct mdev *md, struct table *t)
{
	struct table *old = md->live;

	ASSERT(md->suspended);
	md->live = t;
	md->bdev.nr_sectors = t->nr_sectors;
	md->bdev.limits = t->limits;
	md->bdev.read_only = t->read_only;
	md->bdev.uncut = t->whole;
	md->bdev.grid = t->grid;
	bdev_limits_changed(&md->bdev);
	return old;
}

/* ---- events ---- */

static void event_run(struct work *w)
{
	struct mdev *md = container_of(w, struct mdev, event_work);

	md->event_nr += __atomic_exchange_n(&md->new_events, 0, __ATOMIC_ACQ_REL);
	waitq_wake_all(&md->events);
}

void target_event(struct target *t)
{
	struct mdev *md = t->table->md;

	/* Whoever makes it more than 0 sends the work, which begins by making it 0 again. */
	if (__atomic_fetch_add(&md->new_events, 1, __ATOMIC_ACQ_REL) == 0)
		work_send(0, &md->event_work);
}

/* ---- stacks ---- */

static unsigned visit; /* the number of the walk under way; walks do not block */

static struct mdev *mdev_under(struct bdev *dev)
{
	return mdev_of(dev->whole ? dev->whole : dev);
}

/* Without looking at anything twice; the depth of what is there is bounded, so the C stack holds.
 */
static bool stands_on(struct mdev *m, const struct mdev *md)
{
	if (m == md)
		return true;
	if (m->visit == visit)
		return false;
	m->visit = visit;
	for (unsigned i = 0; m->live && i < m->live->nr_deps; i++) {
		struct mdev *below = mdev_under(m->live->deps[i]);

		if (below && stands_on(below, md))
			return true;
	}
	return false;
}

bool mdev_stands_on(struct bdev *dev, struct mdev *md)
{
	struct mdev *m = mdev_under(dev);

	visit++;
	return m && stands_on(m, md);
}

/* How many mapped devices lie one above the other at m's and beneath, if md had table t. */
static unsigned depth_of(struct mdev *m, const struct mdev *md, const struct table *t)
{
	const struct table *of = m == md ? t : m->live;
	unsigned depth = 0;

	if (m->visit == visit)
		return m->depth;
	for (unsigned i = 0; of && i < of->nr_deps; i++) {
		struct mdev *below = mdev_under(of->deps[i]);

		if (below)
			depth = MAX(depth, depth_of(below, md, t));
	}
	m->visit = visit;
	m->depth = depth + 1;
	return m->depth;
}

int mdev_check_stack(struct mdev *md, const struct table *t, struct strbuf *why)
{
	bool above = false;

	for (unsigned i = 0; i < t->nr_deps; i++) {
		if (!mdev_stands_on(t->deps[i], md))
			continue;
		strbuf_printf(why, "%s stands on this device", t->deps[i]->name);
		return -EINVAL;
	}
	visit++;
	above = depth_of(md, md, t) > MDEV_DEPTH_MAX;
	if (md->bdev.open_count)
		for (struct mdev *m = NULL; !above && (m = mdev_next(m));)
			above = depth_of(m, md, t) > MDEV_DEPTH_MAX;
	if (!above)
		return 0;
	strbuf_printf(why, "more than %u mapped devices would be stacked", MDEV_DEPTH_MAX);
	return -EINVAL;
}

/* ---- life ---- */

int mdev_register(struct mdev *md)
{
	int err;

	md->cores = lines_alloc(nr_cores(), sizeof(*md->cores), &md->cores_mem);
	if (!md->cores)
		return -ENOMEM;
	md->event_work.fn = event_run;
	md->bdev.major = DM_MAJOR;
	str_printf(md->bdev.name, sizeof(md->bdev.name), "dm-%u", md->bdev.minor);
	md->bdev.ops = &mdev_ops;
	md->bdev.raw_flush = true;
	limits_default(&md->bdev.limits);
	err = bdev_register(&md->bdev);
	if (!err)
		bdev_limits_changed(&md->bdev);
	return err;
}

void mdev_unregister(struct mdev *md)
{
	struct core_order o = { .md = md };

	md->bdev.gone = true;
	for (unsigned core = 0; core < nr_cores(); core++)
		core_call(core, core_fail, &o);
	/* Someone may have opened it by its number a moment ago; all they get is -ENODEV. */
	while (bdev_unregister(&md->bdev))
		fiber_sleep(NS_PER_MS);
	while (__atomic_load_n(&md->new_events, __ATOMIC_ACQUIRE))
		fiber_yield();
	waitq_wake_all(&md->events);
}

void mdev_free(struct mdev *md)
{
	mem_free(md->cores_mem);
	mem_free(md);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * delay - holds every request for a while: "delay <dev> <start> <ms>", and once or twice again the
 * same three words: for writes, for flushes.  Classes that are not given are as the one before.
 *
 * A request waits on the core where it came, in order of its class; one timer a core.  Before a
 * suspension those that wait go on at once, and none waits until the resume.
 */
#include "kernel/api/timer.h"
#include "targets/targets.h"

enum delay_class { DELAY_READ, DELAY_WRITE, DELAY_FLUSH, DELAY_CLASSES };

struct class
{
	struct bdev *dev;
	sector_t start;
	uint32_t ms;
};

struct delay_core {
	struct timer timer;
	struct bio_list waiting[DELAY_CLASSES];
} __aligned(64);

struct delay {
	struct class classes[DELAY_CLASSES];
	unsigned nr_given;
	bool passing; /* between presuspend and resume; read by every core */
	struct delay_core *cores;
};

struct delay_bio {
	uint64_t due_ns;
};

static struct mem_tag delay_tag = MEM_TAG("delay");

/* Sends what is due, or all of it; then the timer stands on the next. */
static void release(struct delay_core *c, bool all)
{
	uint64_t next = UINT64_MAX, now = now_ns();
	unsigned i;

	for (i = 0; i < DELAY_CLASSES; i++) {
		struct bio *bio;

		while ((bio = c->waiting[i].head)) {
			struct delay_bio *db = target_bio_data(bio);

			if (!all && db->due_ns > now) {
				next = MIN(next, db->due_ns);
				break;
			}
			bio_submit(bio_list_pop(&c->waiting[i]));
		}
	}
	if (next == UINT64_MAX)
		timer_stop(&c->timer);
	else
		timer_start(&c->timer, next);
}

static void timer_run(struct timer *t)
{
	release(container_of(t, struct delay_core, timer), false);
}

static void release_all(void *core)
{
	release(core, true);
}

static enum delay_class class_of(const struct bio *bio)
{
	if (bio->op == BIO_READ)
		return DELAY_READ;
	return bio->op == BIO_FLUSH || bio->flags & BIO_PREFLUSH ? DELAY_FLUSH : DELAY_WRITE;
}

static __attribute__((noinline)) void wait_turn(
	struct delay *d, enum delay_class nr, struct bio *bio)
{
	struct delay_core *c = &d->cores[this_core()];
	struct delay_bio *db = target_bio_data(bio);

	db->due_ns = now_ns() + d->classes[nr].ms * NS_PER_MS;
	bio_list_add(&c->waiting[nr], bio);
	if (!c->timer.pending || c->timer.due_ns > db->due_ns)
		timer_start(&c->timer, db->due_ns);
}

static enum map_result delay_map(struct target *t, struct bio *bio)
{
	struct delay *d = t->ctx;
	enum delay_class nr = class_of(bio);
	const struct class *k = &d->classes[nr];

	bio->dev = k->dev;
	if (likely(bio->op != BIO_FLUSH))
		bio->sector = k->start + target_offset(t, bio);
	if (!k->ms || __atomic_load_n(&d->passing, __ATOMIC_RELAXED))
		return MAP_REMAPPED;
	wait_turn(d, nr, bio);
	return MAP_HELD;
}

static void class_arg(struct target *t, struct args *a, struct class *k)
{
	unsigned at = a->pos;

	/* The numbers are judged before the device is looked for, as Linux does. */
	arg_word(a, "Device lookup failed");
	k->start = arg_u64(a, UINT64_MAX, "Invalid device sector");
	k->ms = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid delay");
	if (a->err)
		return;
	a->pos = at;
	k->dev = arg_bdev(a, "Device lookup failed");
	if (a->err)
		return;
	a->pos = at + 3;
	arg_uses(a, k->dev, k->start, t->len);
}

static int delay_ctr(struct target *t, struct args *a)
{
	struct delay *d = t->ctx;
	unsigned i, n = args_left(a);

	if (n != 3 && n != 6 && n != 9)
		arg_fail(a, -EINVAL, "Requires exactly 3, 6 or 9 arguments");
	if (a->err)
		return a->err;
	for (i = 0; i < DELAY_CLASSES; i++) {
		if (i < n / 3)
			class_arg(t, a, &d->classes[i]);
		else
			d->classes[i] = d->classes[i - 1];
		if (a->err)
			return a->err;
	}
	d->nr_given = n / 3;
	d->cores = mem_alloc(&delay_tag, nr_cores() * sizeof(*d->cores));
	if (!d->cores) {
		arg_fail(a, -ENOMEM, "Cannot allocate context");
		return a->err;
	}
	for (i = 0; i < nr_cores(); i++)
		d->cores[i].timer.fn = timer_run;
	t->nr_flush = t->nr_discard = 1;
	return a->err;
}

static void delay_presuspend(struct target *t)
{
	struct delay *d = t->ctx;

	__atomic_store_n(&d->passing, true, __ATOMIC_RELAXED);
	/* A core that saw `passing` too late has put its request into the list by the time it takes
	 * our call. */
	for (unsigned i = 0; i < nr_cores(); i++)
		core_call(i, release_all, &d->cores[i]);
}

static void delay_resume(struct target *t)
{
	struct delay *d = t->ctx;

	__atomic_store_n(&d->passing, false, __ATOMIC_RELAXED);
}

static void delay_dtr(struct target *t)
{
	struct delay *d = t->ctx;

	mem_free(d->cores);
}

static void delay_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct delay *d = t->ctx;
	unsigned i, k;

	if (type == STATUS_TABLE) {
		for (k = 0; k < d->nr_given; k++)
			strbuf_printf(out, "%s%u:%u %llu %u", k ? " " : "",
				d->classes[k].dev->major, d->classes[k].dev->minor,
				(unsigned long long)d->classes[k].start, d->classes[k].ms);
		return;
	}
	for (k = 0; k < DELAY_CLASSES; k++) {
		unsigned nr = 0;

		for (i = 0; i < nr_cores(); i++)
			nr += __atomic_load_n(&d->cores[i].waiting[k].nr, __ATOMIC_RELAXED);
		strbuf_printf(out, "%s%u", k ? " " : "", nr);
	}
}

const struct target_ops delay_ops = {
	.name = "delay",
	.syntax = "<device> <start> <ms> [<device> <start> <ms of writes> [<device> <start> <ms of "
		  "flushes>]]",
	.version = { 1, 3, 0 },
	.ctx_size = sizeof(struct delay),
	.per_bio_size = sizeof(struct delay_bio),
	.ctr = delay_ctr,
	.dtr = delay_dtr,
	.map = delay_map,
	.status = delay_status,
	.presuspend = delay_presuspend,
	.presuspend_undo = delay_resume,
	.resume = delay_resume,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_block - the way of a bio down and back (where done() runs and where it never does, frames,
 * crossing cores, depth), the lists and walks, and the devices there are: register, find, open,
 * claim, count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *rd;
static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);
static struct seg page_seg;

static unsigned nr_nested, max_nested; /* submits of any toys inside each other */

static int setup(void **state)
{
	host_reset();
	block_reset();
	nr_nested = max_nested = 0;
	page_seg = (struct seg){ dma_addr(page), PAGE_SIZE };
	rd = NULL;
	return 0;
}

static int teardown(void **state)
{
	bool clean;

	host_run();
	ramdisk_destroy(rd);
	clean = host_mem_check();
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

/* ---- a device for all purposes ---- */

struct toy {
	struct bdev bdev;
	struct bdev *below; /* NULL: ends by itself */
	bool at_once;       /* inside submit, else by hand */
	int status;
	struct bio_list held;
	unsigned nr;
	unsigned queue_core; /* forwards to it */
	bool forwards;
	unsigned submitted_on;
	struct bio_frame frame; /* pushed if frame.end */
};

static void toy_submit(struct bdev *dev, struct bio *bio)
{
	struct toy *t = dev->ctx;

	if (t->forwards && this_core() != t->queue_core) {
		bio_forward(bio, t->queue_core);
		return;
	}
	nr_nested++;
	max_nested = MAX(max_nested, nr_nested);
	t->nr++;
	t->submitted_on = this_core();
	if (t->below) {
		if (t->frame.end) {
			t->frame.next = bio->frames;
			bio->frames = &t->frame;
		}
		bio->dev = t->below;
		bio_submit(bio);
	} else if (t->at_once) {
		bio_end(bio, t->status);
	} else {
		bio_list_add(&t->held, bio);
	}
	nr_nested--;
}

static const struct bdev_ops toy_ops = {
	.submit = toy_submit,
};

static unsigned next_minor;

static void toy_make(struct toy *t, struct bdev *below)
{
	*t = (struct toy){ .below = below };
	str_printf(t->bdev.name, sizeof(t->bdev.name), "toy%u", next_minor);
	t->bdev.major = 240;
	t->bdev.minor = next_minor++;
	t->bdev.nr_sectors = 1000;
	limits_default(&t->bdev.limits);
	t->bdev.ops = &toy_ops;
	t->bdev.ctx = t;
	assert_int_equal(bdev_register(&t->bdev), 0);
}

static void toy_free(struct toy *t)
{
	assert_int_equal(bdev_unregister(&t->bdev), 0);
}

static char story[256];

static void tell(char c)
{
	size_t n = strlen(story);

	assert_true(n + 1 < sizeof(story));
	story[n] = c;
	story[n + 1] = '\0';
}

static unsigned nr_done, done_core;
static int done_status;
static bool inside; /* of something that done() must not run in */

static void on_done(struct bio *bio)
{
	assert_false(inside);
	assert_null(fiber_self());
	assert_null(bio->frames);
	nr_done++;
	done_core = this_core();
	done_status = bio->status;
	tell('d');
}

static struct bio *bio_make(struct bio *bio, struct bdev *dev, enum bio_op op)
{
	*bio = (struct bio){
		.dev = dev,
		.op = (uint8_t)op,
		.nr_sectors = op == BIO_FLUSH ? 0 : 1,
		.segs = &page_seg,
		.nr_segs = 1,
		.done = on_done,
	};
	nr_done = 0;
	story[0] = '\0';
	return bio;
}

static void submit_inside(struct bio *bio)
{
	inside = true;
	bio_submit(bio);
	inside = false;
}

/* ---- what is refused ---- */

static void requests_that_cannot_be(void **state)
{
	static const struct {
		unsigned op;
		sector_t sector;
		uint32_t nr;
		int err;
	} rows[] = {
		{ BIO_READ, 0, 8, 0 },
		{ BIO_READ, 96, 8, 0 },
		{ BIO_READ, 104, 8, -EINVAL },
		{ BIO_READ, 96, 16, -EINVAL },
		{ BIO_READ, UINT64_MAX - 7, 8, -EINVAL },
		{ BIO_READ, UINT64_MAX, 8, -EINVAL },
		{ BIO_READ, 8, UINT32_MAX - 7, -EINVAL },
		{ BIO_READ, 4, 8, -EINVAL },
		{ BIO_READ, 8, 4, -EINVAL },
		{ BIO_READ, 104, 0, 0 },
		{ BIO_READ, 112, 0, -EINVAL },
		{ BIO_WRITE, 0, 8, 0 },
		{ BIO_FLUSH, 0, 0, 0 },
		{ BIO_FLUSH, 0, 8, -EINVAL },
		{ BIO_DISCARD, 104, 8, -EINVAL },
		{ BIO_WRITE_ZEROES, 0, 4, -EINVAL },
		{ BIO_NR_OPS, 0, 8, -EOPNOTSUPP },
		{ 255, 0, 8, -EOPNOTSUPP },
	};
	struct limits l;
	struct bdev_stats st;
	unsigned nr_bad = 0;

	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	l.max_write_zeroes_sectors = l.max_discard_sectors = 64;
	rd = ramdisk_create("disk", 104, &l);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bio bio;

		bio_make(&bio, &rd->bdev, BIO_READ);
		bio.op = (uint8_t)rows[i].op;
		bio.sector = rows[i].sector;
		bio.nr_sectors = rows[i].nr;
		submit_inside(&bio);
		assert_int_equal(nr_done, 0);
		host_run();
		assert_int_equal(nr_done, 1);
		assert_int_equal(done_status, rows[i].err);
		nr_bad += rows[i].err != 0;
	}
	bdev_stats_sum(&rd->bdev, &st);
	assert_int_equal(st.errors, nr_bad);
	assert_int_equal(st.ios[BIO_READ], 2);
	assert_int_equal(st.ios[BIO_WRITE], 1);
}

static void read_only_and_gone(void **state)
{
	struct bio bio;

	rd = ramdisk_create("disk", 64, NULL);
	rd->bdev.read_only = true;
	bdev_limits_changed(&rd->bdev);
	for (unsigned op = 0; op < BIO_NR_OPS; op++) {
		submit_inside(bio_make(&bio, &rd->bdev, (enum bio_op)op));
		host_run();
		assert_int_equal(nr_done, 1);
		assert_int_equal(done_status, op == BIO_READ || op == BIO_FLUSH ? 0 : -EROFS);
	}
	rd->bdev.gone = true;
	submit_inside(bio_make(&bio, &rd->bdev, BIO_READ));
	host_run();
	assert_int_equal(nr_done, 1);
	assert_int_equal(done_status, -ENODEV);
}

/* Even of a device that is not there any more. */
static void unregistered(void **state)
{
	struct toy t;
	struct bio bio;

	toy_make(&t, NULL);
	toy_free(&t);
	submit_inside(bio_make(&bio, &t.bdev, BIO_READ));
	host_run();
	assert_int_equal(nr_done, 1);
	assert_int_equal(done_status, -ENODEV);
}

/* ---- where done() runs ---- */

static void never_inside_submit(void **state)
{
	struct toy t;
	struct bio bio;

	toy_make(&t, NULL);
	t.at_once = true;
	t.status = -EIO;
	submit_inside(bio_make(&bio, &t.bdev, BIO_READ));
	assert_int_equal(nr_done, 0);
	host_run();
	assert_int_equal(nr_done, 1);
	assert_int_equal(done_status, -EIO);
	toy_free(&t);
}

static struct bio *pair[2];

static void end_the_other(struct bio *bio)
{
	tell('<');
	inside = true;
	bio_end(pair[1], 0);
	inside = false;
	tell('>');
}

/* bio_end() on the bare loop has called done() on return; inside a done() it has not. */
static void at_once_on_the_loop(void **state)
{
	struct bio a, b;
	struct toy t;

	toy_make(&t, NULL);
	pair[0] = bio_make(&a, &t.bdev, BIO_READ);
	pair[1] = bio_make(&b, &t.bdev, BIO_READ);
	a.done = end_the_other;
	submit_inside(&a);
	submit_inside(&b);
	bio_end(&a, 0);
	assert_string_equal(story, "<>d");
	t.held = (struct bio_list){ 0 };
	toy_free(&t);
}

static void end_on_fiber(void *arg)
{
	inside = true;
	bio_end(arg, -ENOSPC);
	inside = false;
}

static void never_on_a_fiber(void **state)
{
	struct toy t;
	struct bio bio;

	toy_make(&t, NULL);
	submit_inside(bio_make(&bio, &t.bdev, BIO_READ));
	host_fiber(end_on_fiber, &bio);
	host_run();
	assert_int_equal(nr_done, 1);
	assert_int_equal(done_status, -ENOSPC);
	t.held = (struct bio_list){ 0 };
	toy_free(&t);
}

static void on_the_submitters_core(void **state)
{
	struct toy t;
	struct bio bio;

	host_set_cores(3);
	toy_make(&t, NULL);
	for (unsigned from = 0; from < 3; from++) {
		for (unsigned at = 0; at < 3; at++) {
			host_set_core(from);
			submit_inside(bio_make(&bio, &t.bdev, BIO_READ));
			host_set_core(at);
			bio_end(&bio, 0);
			assert_int_equal(nr_done, from == at);
			host_run();
			assert_int_equal(nr_done, 1);
			assert_int_equal(done_core, from);
		}
	}
	t.held = (struct bio_list){ 0 };
	host_set_core(0);
	toy_free(&t);
}

static void forwarded(void **state)
{
	struct bdev_stats st;
	struct toy t;
	struct bio bio;

	host_set_cores(2);
	toy_make(&t, NULL);
	t.forwards = t.at_once = true;
	t.queue_core = 0;
	host_set_core(1);
	submit_inside(bio_make(&bio, &t.bdev, BIO_WRITE));
	host_run();
	assert_int_equal(t.submitted_on, 0);
	assert_int_equal(nr_done, 1);
	assert_int_equal(done_core, 1);
	/* Counted where it was submitted. */
	assert_int_equal(t.bdev.stats[1].ios[BIO_WRITE], 1);
	bdev_stats_sum(&t.bdev, &st);
	assert_int_equal(st.ios[BIO_WRITE], 1);
	assert_int_equal(st.sectors[BIO_WRITE], 1);
	host_set_core(0);
	toy_free(&t);
}

/* A device that answers at once and a submitter that goes on at once leave the loop its turns. */
static struct bio *endless;
static unsigned nr_rounds;

static void again(struct bio *bio)
{
	assert_true(nr_rounds < 1000);
	if (++nr_rounds < 500)
		bio_submit(endless);
}

static void nobody_starves_the_loop(void **state)
{
	unsigned turns = 0;
	struct toy t;
	struct bio bio;

	toy_make(&t, NULL);
	t.at_once = true;
	endless = bio_make(&bio, &t.bdev, BIO_READ);
	bio.done = again;
	nr_rounds = 0;
	submit_inside(&bio);
	while (host_turn())
		turns++;
	assert_int_equal(nr_rounds, 500);
	assert_true(turns >= 500);
	toy_free(&t);
}

/* ---- stacks ---- */

static void deep_stacks_do_not_nest(void **state)
{
	enum { DEPTH = 300 };
	struct toy *toys = calloc(DEPTH, sizeof(*toys));
	struct bio bio;

	toy_make(&toys[0], NULL);
	toys[0].at_once = true;
	for (unsigned i = 1; i < DEPTH; i++)
		toy_make(&toys[i], &toys[i - 1].bdev);
	submit_inside(bio_make(&bio, &toys[DEPTH - 1].bdev, BIO_READ));
	host_run();
	assert_int_equal(nr_done, 1);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(toys[i].nr, 1);
	assert_int_equal(max_nested, 1);
	for (unsigned i = DEPTH; i--;)
		toy_free(&toys[i]);
	free(toys);
}

static struct bio *kept;

static bool frame_a(struct bio_frame *f, struct bio *bio, int *status)
{
	tell('a');
	assert_int_equal(*status, -EIO);
	*status = -ENODATA;
	return false;
}

static bool frame_b(struct bio_frame *f, struct bio *bio, int *status)
{
	tell('b');
	assert_int_equal(*status, -ENODATA);
	kept = bio;
	return true;
}

static void frames_from_the_inside(void **state)
{
	struct toy disk, a, b;
	struct bio bio;

	host_set_cores(2);
	toy_make(&disk, NULL);
	toy_make(&a, &disk.bdev);
	toy_make(&b, &a.bdev);
	a.frame.end = frame_a;
	b.frame.end = frame_b;
	host_set_core(1);
	submit_inside(bio_make(&bio, &b.bdev, BIO_READ));
	host_set_core(0);
	bio_end(&bio, -EIO); /* the disk's queue is on another core: frames see their own */
	host_run();
	assert_string_equal(story, "ab");
	assert_ptr_equal(kept, &bio);
	assert_int_equal(nr_done, 0);
	/* The layer that kept it ends it later, on whatever core it is. */
	bio_end(kept, 0);
	host_run();
	assert_string_equal(story, "abd");
	assert_int_equal(done_core, 1);
	assert_int_equal(done_status, 0);
	disk.held = (struct bio_list){ 0 };
	toy_free(&b);
	toy_free(&a);
	toy_free(&disk);
}

/* A bio with frames may be sent on from anywhere and still comes back home. */
static bool frame_none(struct bio_frame *f, struct bio *bio, int *status)
{
	assert_int_equal(this_core(), 1);
	tell('f');
	return false;
}

static void sent_on_from_elsewhere(void **state)
{
	struct bio_frame frame = { .end = frame_none };
	struct toy t, disk;
	struct bio bio;

	host_set_cores(2);
	toy_make(&t, NULL);
	toy_make(&disk, NULL);
	disk.at_once = true;
	host_set_core(1);
	submit_inside(bio_make(&bio, &t.bdev, BIO_READ)); /* held by t */
	host_set_core(0);
	bio.frames = &frame;
	bio.dev = &disk.bdev;
	bio_submit(&bio);
	host_run();
	assert_string_equal(story, "fd");
	assert_int_equal(done_core, 1);
	t.held = (struct bio_list){ 0 };
	toy_free(&t);
	toy_free(&disk);
}

/* ---- lists and walks ---- */

static void lists(void **state)
{
	struct bio_list l = { 0 };
	struct bio b[4];

	assert_null(bio_list_pop(&l));
	bio_list_add_head(&l, &b[1]);
	bio_list_add(&l, &b[2]);
	bio_list_add_head(&l, &b[0]);
	bio_list_add(&l, &b[3]);
	assert_int_equal(l.nr, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(bio_list_pop(&l), &b[i]);
	assert_null(bio_list_pop(&l));
	assert_int_equal(l.nr, 0);
	bio_list_add(&l, &b[3]);
	assert_ptr_equal(bio_list_pop(&l), &b[3]);
}

static void walks(void **state)
{
	static const struct seg segs[] = { { 1000, 0 }, { 0x10000, 1024 }, { 0x20000, 512 },
		{ 0, 0 }, { 0x30000, 2048 } };
	struct bio bio = {
		.op = BIO_READ, .nr_sectors = 5, .segs = segs, .nr_segs = 5, .seg_off = 512
	};
	static const struct seg whole[] = { { 0x10200, 512 }, { 0x20000, 512 }, { 0x30000, 1536 } };
	struct seg_iter it = seg_iter_of(&bio);
	struct seg s;
	unsigned n = 0;

	for (; seg_next(&it, UINT32_MAX, &s); n++) {
		assert_true(n < 3);
		assert_int_equal(s.addr, whole[n].addr);
		assert_int_equal(s.len, whole[n].len);
	}
	assert_int_equal(n, 3);
	/* In bites, and from any point. */
	for (uint32_t skip = 0; skip <= 2560; skip += 4) {
		uint64_t sum = 0, at = skip;

		it = seg_iter_of(&bio);
		seg_skip(&it, skip);
		while (seg_next(&it, 100, &s)) {
			uint64_t want = at < 512    ? 0x10200 + at
					: at < 1024 ? 0x20000 + at - 512
						    : 0x30000 + at - 1024;

			assert_true(s.len && s.len <= 100);
			assert_int_equal(s.addr, want);
			sum += s.len;
			at += s.len;
		}
		assert_int_equal(sum, 2560 - skip);
	}
	it = seg_iter_of(&bio);
	seg_skip(&it, 1000000);
	assert_false(seg_next(&it, 1, &s));
	/* Less memory than the bio says. */
	bio.nr_segs = 2;
	it = seg_iter_of(&bio);
	assert_true(seg_next(&it, UINT32_MAX, &s));
	assert_false(seg_next(&it, UINT32_MAX, &s));
	/* No memory at all. */
	bio.op = BIO_DISCARD;
	it = seg_iter_of(&bio);
	assert_false(seg_next(&it, UINT32_MAX, &s));
}

/* ---- the devices ---- */

static struct bdev *mapped_dev;

static struct bdev *mapped(const char *name)
{
	return strcmp(name, "home") == 0 ? mapped_dev : NULL;
}

static void finding(void **state)
{
	static const struct {
		const char *spec;
		int toy; /* -1: none */
	} rows[] = {
		{ "alpha", 0 },
		{ "/dev/alpha", 0 },
		{ "240:7", 0 },
		{ "240:007", 0 },
		{ "alph", -1 },
		{ "alphab", -1 },
		{ "ALPHA", -1 },
		{ "", -1 },
		{ "/dev/", -1 },
		{ "/dev//alpha", -1 },
		{ "dev/alpha", -1 },
		{ "240:9", -1 },
		{ "240:7 ", -1 },
		{ " 240:7", -1 },
		{ "240:", -1 },
		{ ":7", -1 },
		{ ":", -1 },
		{ "240:7:1", -1 },
		{ "4294967536:7", -1 },
		{ "240:4294967303", -1 },
		{ "99999999999999999999999999:7", -1 },
		{ "-240:7", -1 },
		{ "/dev/240:7", -1 },
		{ "home", 1 },
		{ "/dev/mapper/home", 1 },
		{ "/dev/home", -1 },
		{ "/dev/mapper/alpha", -1 },
		{ "/dev/mapper/", -1 },
		{ "/dev/mapper/beta", -1 },
		{ "/dev/disk/by-serial/S-1", 0 },
		{ "/dev/disk/by-serial/s-1", -1 },
		{ "/dev/disk/by-serial/", -1 },
		{ "/dev/disk/by-serial/twice", -1 },
		{ "/dev/disk/by-partuuid/S-1", -1 },
		{ "/dev/disk/by-partuuid/abcd-01", 3 },
		{ "/dev/disk/by-partuuid/ABCD-01", 3 },
		{ "/dev/disk/by-serial/abcd-01", -1 },
	};
	struct toy t[4];

	for (unsigned i = 0; i < 4; i++) {
		static const char *const names[] = { "alpha", "beta", "gamma", "alpha1" };
		static const char *const serials[] = { "S-1", "twice", "twice", "abcd-01" };

		toy_make(&t[i], NULL);
		toy_free(&t[i]);
		str_copy(t[i].bdev.name, sizeof(t[i].bdev.name), names[i]);
		str_copy(t[i].bdev.serial, sizeof(t[i].bdev.serial), serials[i]);
		t[i].bdev.minor = 7 + i * 512; /* the same bucket */
		t[i].bdev.whole = i == 3 ? &t[0].bdev : NULL;
		assert_int_equal(bdev_register(&t[i].bdev), 0);
	}
	assert_null(bdev_find("/dev/mapper/home")); /* nobody to ask */
	assert_null(bdev_find("home"));
	bdev_find_mapped = mapped;
	mapped_dev = &t[1].bdev;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bdev *want = rows[i].toy < 0 ? NULL : &t[rows[i].toy].bdev;

		assert_ptr_equal(bdev_find(rows[i].spec), want);
	}
	/* In order of registration. */
	struct bdev *dev = bdev_next(NULL);

	for (unsigned i = 0; i < 4; i++, dev = bdev_next(dev))
		assert_ptr_equal(dev, &t[i].bdev);
	assert_null(dev);
	for (unsigned i = 4; i--;) {
		toy_free(&t[i]);
		assert_null(bdev_find(t[i].bdev.name));
	}
	assert_null(bdev_next(NULL));
}

static void many_devices(void **state)
{
	enum { NR = 2000 };
	struct toy *t = calloc(NR, sizeof(*t));
	char spec[160];

	for (unsigned i = 0; i < NR; i++)
		toy_make(&t[i], NULL);
	for (unsigned i = 0; i < NR; i += 3)
		toy_free(&t[i]);
	for (unsigned i = 0; i < NR; i++) {
		struct bdev *want = i % 3 ? &t[i].bdev : NULL;

		assert_ptr_equal(bdev_find(t[i].bdev.name), want);
		str_printf(spec, sizeof(spec), "%u:%u", t[i].bdev.major, t[i].bdev.minor);
		assert_ptr_equal(bdev_find(spec), want);
	}
	for (unsigned i = 0; i < NR; i++)
		toy_free(&t[i]); /* of one that is not registered: nothing */
	free(t);
}

static void registering_refuses(void **state)
{
	struct toy a, b;

	toy_make(&a, NULL);
	toy_make(&b, NULL);
	toy_free(&b);
	str_copy(b.bdev.name, sizeof(b.bdev.name), a.bdev.name);
	assert_int_equal(bdev_register(&b.bdev), -EEXIST);
	str_copy(b.bdev.name, sizeof(b.bdev.name), "other");
	b.bdev.minor = a.bdev.minor;
	assert_int_equal(bdev_register(&b.bdev), -EEXIST);
	b.bdev.minor = 5000;
	b.bdev.limits.logical_block = 1000;
	assert_int_equal(bdev_register(&b.bdev), -EINVAL);
	assert_true(host_log_has("other: refused: logical_block"));
	b.bdev.limits.logical_block = 512;
	b.bdev.nr_sectors = 1ull << 55;
	assert_int_equal(bdev_register(&b.bdev), -EINVAL);
	b.bdev.nr_sectors--;
	b.bdev.name[0] = '\0';
	assert_int_equal(bdev_register(&b.bdev), -EINVAL);
	str_copy(b.bdev.name, sizeof(b.bdev.name), "a/b");
	assert_int_equal(bdev_register(&b.bdev), -EINVAL);
	assert_null(bdev_find("other"));
	str_copy(b.bdev.name, sizeof(b.bdev.name), "other");
	assert_int_equal(bdev_register(&b.bdev), 0);
	toy_free(&a);
	toy_free(&b);
}

static void in_use_stays(void **state)
{
	struct toy t, part;

	toy_make(&t, NULL);
	bdev_open(&t.bdev);
	bdev_open(&t.bdev);
	assert_int_equal(bdev_unregister(&t.bdev), -EBUSY);
	bdev_close(&t.bdev);
	assert_int_equal(bdev_unregister(&t.bdev), -EBUSY);
	assert_ptr_equal(bdev_find(t.bdev.name), &t.bdev);
	bdev_close(&t.bdev);
	/* A disk that has partitions stays, too. */
	toy_make(&part, NULL);
	toy_free(&part);
	part.bdev.whole = &t.bdev;
	assert_int_equal(bdev_register(&part.bdev), 0);
	assert_int_equal(bdev_unregister(&t.bdev), -EBUSY);
	toy_free(&part);
	toy_free(&t);
}

static void close_too_often(void *arg)
{
	bdev_close(arg);
}

static void claims(void **state)
{
	struct toy disk, p1, p2;
	int me, you;

	toy_make(&disk, NULL);
	toy_make(&p1, NULL);
	toy_make(&p2, NULL);
	toy_free(&p1);
	toy_free(&p2);
	p1.bdev.whole = p2.bdev.whole = &disk.bdev;
	assert_int_equal(bdev_register(&p1.bdev), 0);
	assert_int_equal(bdev_register(&p2.bdev), 0);

	assert_int_equal(bdev_claim(&p1.bdev, &me), 0);
	assert_int_equal(bdev_claim(&p1.bdev, &me), 0);
	assert_int_equal(bdev_claim(&p1.bdev, &you), -EBUSY);
	assert_int_equal(bdev_claim(&p2.bdev, &you), 0);
	assert_int_equal(bdev_claim(&disk.bdev, &me), -EBUSY);
	assert_int_equal(p1.bdev.open_count, 2);
	assert_int_equal(bdev_unregister(&p1.bdev), -EBUSY);
	bdev_open(&p1.bdev); /* not in the way, nor hindered */
	bdev_close(&p1.bdev);
	assert_true(host_expect_panic(close_too_often, &p1.bdev));
	bdev_release(&p1.bdev, &me);
	assert_int_equal(bdev_claim(&p1.bdev, &you), -EBUSY);
	bdev_release(&p1.bdev, &me);
	assert_int_equal(bdev_claim(&p1.bdev, &you), 0);
	bdev_release(&p1.bdev, &you);
	assert_int_equal(bdev_claim(&disk.bdev, &you), -EBUSY);
	bdev_release(&p2.bdev, &you);

	assert_int_equal(bdev_claim(&disk.bdev, &me), 0);
	assert_int_equal(bdev_claim(&p1.bdev, &me), -EBUSY);
	bdev_release(&disk.bdev, &me);
	assert_int_equal(disk.bdev.open_count, 0);
	toy_free(&p1);
	toy_free(&p2);
	toy_free(&disk);
}

static void limits_change(void **state)
{
	struct bio bio;

	rd = ramdisk_create("disk", 64, NULL);
	rd->bdev.limits.max_sectors = 2;
	bdev_limits_changed(&rd->bdev);
	bio_make(&bio, &rd->bdev, BIO_READ);
	bio.nr_sectors = 8;
	submit_inside(&bio);
	host_run();
	assert_int_equal(rd->nr[BIO_READ], 4);
	assert_int_equal(done_status, 0);
}

/* ---- on a fiber ---- */

static int rw_err[8];

static void rw(void *arg)
{
	uint8_t *buf = arg;

	memset(buf, 0x5a, PAGE_SIZE);
	rw_err[0] = bdev_rw(&rd->bdev, BIO_WRITE, BIO_FUA, 8, 8, buf);
	memset(buf, 0, PAGE_SIZE);
	rw_err[1] = bdev_rw(&rd->bdev, BIO_READ, 0, 8, 8, buf);
	rw_err[2] = bdev_rw(&rd->bdev, BIO_READ, 0, 60, 8, buf);
	rw_err[3] = bdev_rw(&rd->bdev, BIO_WRITE_ZEROES, 0, 0, 64, NULL);
	rw_err[4] = bdev_flush(&rd->bdev);
	rw_err[5] = bdev_rw(&rd->bdev, BIO_READ, 0, 0, 1u << 23, buf);
	ramdisk_fail_nth(rd, 1, -ENODATA);
	rw_err[6] = bdev_rw(&rd->bdev, BIO_READ, 0, 0, 1, buf);
}

static void one_request_on_a_fiber(void **state)
{
	static const int want[8] = { 0, 0, -EINVAL, 0, 0, -EINVAL, -ENODATA };
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
	l.max_write_zeroes_sectors = 10;
	rd = ramdisk_create("disk", 64, &l);
	ramdisk_delay(rd, NS_PER_MS, 0, 1);
	host_fiber(rw, page);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(rw_err[i], want[i]);
	assert_int_equal(page[0], 0x5a);
	assert_int_equal(page[PAGE_SIZE - 1], 0x5a);
	assert_int_equal(rd->nr[BIO_FLUSH], 2);
	assert_int_equal(rd->nr[BIO_WRITE_ZEROES], 7);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(requests_that_cannot_be),
		TEST(read_only_and_gone),
		TEST(unregistered),
		TEST(never_inside_submit),
		TEST(at_once_on_the_loop),
		TEST(never_on_a_fiber),
		TEST(on_the_submitters_core),
		TEST(forwarded),
		TEST(nobody_starves_the_loop),
		TEST(deep_stacks_do_not_nest),
		TEST(frames_from_the_inside),
		TEST(sent_on_from_elsewhere),
		TEST(lists),
		TEST(walks),
		TEST(finding),
		TEST(many_devices),
		TEST(registering_refuses),
		TEST(in_use_stays),
		TEST(claims),
		TEST(limits_change),
		TEST(one_request_on_a_fiber),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

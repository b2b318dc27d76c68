/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_mdev - mapped devices at work, with a toy target that does whatever a target may do: frames
 * and per-bio data, every answer of map(), hooks, held I/O and its order, lines for frames and
 * fans, the crossing of cores, stacks at minimal pools, stopping with requests out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "mapper/mdev.h"
#include "mapper/split.h"
#include "targets/targets.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

/* ---- the toy ---- */

struct toy {
	struct bdev *dev;
};

struct toy_bio {
	uint64_t pattern;
	struct bio *self;
	uint64_t more[3];
};

static struct {
	enum map_result result;
	int status;
	int end_status; /* what end_io() makes of a success */
	unsigned keep;  /* so many bios are kept by end_io() */
	struct bio *kept;
	int preresume_err;
	struct bio_list held;
	unsigned nr_map, nr_end, nr_dtr;
	unsigned copies;
	uint32_t max_io;
	struct strbuf hooks;
	struct target *target;
} toy;

static int toy_ctr(struct target *t, struct args *a)
{
	struct toy *y = t->ctx;

	t->nr_flush = t->nr_discard = t->nr_write_zeroes = (uint16_t)toy.copies;
	t->nr_secure_erase = 1;
	t->max_io_sectors = toy.max_io;
	t->discards_supported = true;
	toy.target = t;
	y->dev = arg_bdev(a, "no device");
	arg_uses(a, y->dev, 0, t->len);
	return arg_end(a, "too many");
}

static void toy_dtr(struct target *t)
{
	toy.nr_dtr++;
}

static enum map_result toy_map(struct target *t, struct bio *bio)
{
	struct toy *y = t->ctx;
	struct toy_bio *b = target_bio_data(bio);

	assert_true(bio->nr_sectors == 0 || bio->sector + bio->nr_sectors <= t->begin + t->len);
	toy.nr_map++;
	memset(b, 0xa5, sizeof(*b));
	b->pattern = 0x1122334455667788;
	b->self = bio;
	switch (toy.result) {
	case MAP_REMAPPED:
		bio->dev = y->dev;
		bio->sector = target_offset(t, bio);
		break;
	case MAP_HELD:
		bio_list_add(&toy.held, bio);
		break;
	case MAP_FAIL:
		bio->status = (int16_t)toy.status;
		break;
	default:
		break;
	}
	return toy.result;
}

static bool toy_end_io(struct target *t, struct bio *bio, int *status)
{
	struct toy_bio *b = target_bio_data(bio);

	toy.nr_end++;
	assert_int_equal(b->pattern, 0x1122334455667788);
	assert_ptr_equal(b->self, bio);
	if (toy.keep) {
		toy.keep--;
		toy.kept = bio;
		return true;
	}
	if (!*status)
		*status = toy.end_status;
	return false;
}

static void hook(char c)
{
	strbuf_putc(&toy.hooks, c);
}

static void toy_presuspend(struct target *t)
{
	hook('p');
	fiber_yield(); /* they may block */
}

static void toy_postsuspend(struct target *t)
{
	hook('P');
}

static int toy_preresume(struct target *t)
{
	hook('r');
	return toy.preresume_err;
}

static void toy_resume(struct target *t)
{
	hook('R');
}

static const struct target_ops toy_ops = {
	.name = "toy",
	.ctx_size = sizeof(struct toy),
	.per_bio_size = sizeof(struct toy_bio),
	.ctr = toy_ctr,
	.dtr = toy_dtr,
	.map = toy_map,
	.end_io = toy_end_io,
	.presuspend = toy_presuspend,
	.postsuspend = toy_postsuspend,
	.preresume = toy_preresume,
	.resume = toy_resume,
};

static const struct target_ops still_ops = {
	.name = "still",
	.ctx_size = sizeof(struct toy),
	.ctr = toy_ctr,
	.map = toy_map,
	.immutable = true,
	.singleton = true,
};

/* This program's own cast. */
const struct target_ops *const all_targets[] = {
	&toy_ops,
	&still_ops,
	&linear_ops,
	&striped_ops,
	&error_ops,
	&zero_ops,
	NULL,
};

const struct target_ops *target_find(const char *name)
{
	for (unsigned i = 0; all_targets[i]; i++)
		if (!strcmp(all_targets[i]->name, name))
			return all_targets[i];
	return NULL;
}

static const char *hooks(void)
{
	static char text[64];

	str_copy(text, sizeof(text), strbuf_text(&toy.hooks));
	strbuf_reset(&toy.hooks);
	return text;
}

/* ---- around each test ---- */

#define REQS 400

static struct req {
	struct bio bio;
	struct seg seg;
	unsigned nr_done, core;
} reqs[REQS];
static unsigned order[REQS], nr_order; /* which ended when */
static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);
static struct ramdisk *rd;

static int setup(void **state)
{
	int err;

	table_nr_frames = 128;
	table_nr_clones = 16;
	split_extra_jobs = 32;
	split_extra_pieces = 96;
	err = mapped_setup(state);
	memset(&toy, 0, sizeof(toy));
	memset(reqs, 0, sizeof(reqs));
	nr_order = 0;
	toy.copies = 1;
	rd = ramdisk_create("ram0", 4096, NULL);
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	strbuf_free(&toy.hooks);
	return mapped_teardown(state);
}

static void req_done(struct bio *bio)
{
	struct req *r = container_of(bio, struct req, bio);

	assert_int_equal(this_core(), r->core);
	r->nr_done++;
	order[nr_order++] = (unsigned)(r - reqs);
}

static void send(
	unsigned i, struct bdev *dev, enum bio_op op, unsigned flags, sector_t sector, uint32_t nr)
{
	struct req *r = &reqs[i];

	assert_int_equal(r->nr_done, 0);
	r->core = this_core();
	r->seg = (struct seg){ dma_addr(page), sizeof(page) };
	r->bio = (struct bio){ .dev = dev,
		.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.sector = sector,
		.nr_sectors = nr,
		.done = req_done };
	if (bio_has_data(&r->bio)) {
		r->bio.segs = &r->seg;
		r->bio.nr_segs = 1;
	}
	bio_submit(&r->bio);
}

static int status_of(unsigned i)
{
	assert_int_equal(reqs[i].nr_done, 1);
	return reqs[i].bio.status;
}

/* Verbs that wait for what the test does meanwhile. */
static struct {
	struct mdev *md;
	bool resume, ended;
	int err;
	struct strbuf why;
} bg;

static void bg_run(void *arg)
{
	bg.err = bg.resume ? dm_resume(bg.md, false, &bg.why) : dm_suspend(bg.md, true, &bg.why);
	bg.ended = true;
}

static void in_background(const char *name, bool resume)
{
	bg.md = dm_find(name);
	bg.resume = resume;
	bg.ended = false;
	assert_non_null(fiber_create("background", bg_run, NULL));
	host_run();
}

/* ---- the answers of map() ---- */

static void test_map_results(void **state)
{
	struct bdev *dev;
	struct bio *bio;

	assert_int_equal(mapped_create("m", "0 64 toy ram0"), 0);
	assert_string_equal(hooks(), "rR");
	dev = mapped_bdev("m");
	toy.result = MAP_REMAPPED;
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 8, 8, page), 0);
	assert_int_equal(rd->nr[BIO_WRITE], 1);
	assert_int_equal(toy.nr_end, 1);
	toy.result = MAP_DONE;
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 8, page), 0);
	toy.result = MAP_FAIL;
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 8, page), -EIO);
	toy.status = -ENODATA;
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 8, page), -ENODATA);
	assert_int_equal(toy.nr_end, 1); /* it is not asked about these */
	assert_int_equal(rd->nr[BIO_READ], 0);

	toy.result = MAP_HELD;
	send(0, dev, BIO_READ, 0, 0, 8);
	send(1, dev, BIO_READ, 0, 0, 8);
	host_run();
	assert_int_equal(nr_order, 0);
	bio = bio_list_pop(&toy.held);
	bio_end(bio, -EBADMSG);
	bio = bio_list_pop(&toy.held);
	bio->dev = &rd->bdev;
	bio_submit(bio);
	host_run();
	assert_int_equal(status_of(0), -EBADMSG);
	assert_int_equal(status_of(1), 0);
	assert_int_equal(toy.nr_end, 3);

	toy.result = MAP_REMAPPED;
	toy.end_status = -EILSEQ;
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 8, 8, page), -EILSEQ);
	toy.end_status = 0;
	toy.keep = 1;
	send(2, dev, BIO_READ, 0, 0, 8);
	host_run();
	assert_int_equal(reqs[2].nr_done, 0);
	bio_end(toy.kept, 0);
	host_run();
	assert_int_equal(status_of(2), 0);
	/* Kept, and sent to the disk a second time. */
	toy.keep = 1;
	rd->nr[BIO_READ] = 0;
	send(3, dev, BIO_READ, 0, 0, 8);
	host_run();
	toy.kept->dev = &rd->bdev;
	bio_submit(toy.kept);
	host_run();
	assert_int_equal(status_of(3), 0);
	assert_int_equal(rd->nr[BIO_READ], 2);
}

static void test_requeue(void **state)
{
	struct bdev *dev;

	table_nr_frames = 2;
	assert_int_equal(mapped_create("m", "0 64 toy ram0"), 0);
	dev = mapped_bdev("m");
	toy.result = MAP_REQUEUE;
	for (unsigned i = 0; i < 10; i++)
		send(i, dev, BIO_WRITE, 0, i, 1);
	host_run();
	assert_int_equal(nr_order, 0);
	assert_int_equal(toy.nr_map, 10);
	/* Nothing is in flight: suspend does not wait for them. */
	assert_int_equal(mapped_suspend_noflush("m"), 0);
	assert_int_equal(nr_order, 0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(toy.nr_map, 20);
	toy.result = MAP_REMAPPED;
	assert_int_equal(mapped_suspend_noflush("m"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(order[i], i);
		assert_int_equal(status_of(i), 0);
		assert_int_equal(rd->trace[i].sector, i);
	}
	/* Counted once, however often it came. */
	assert_int_equal(dev->stats[0].ios[BIO_WRITE], 10);
	assert_int_equal(dev->stats[0].sectors[BIO_WRITE], 10);
}

static void test_copies(void **state)
{
	struct bdev *dev;

	toy.copies = 5;
	table_nr_clones = 2;
	assert_int_equal(mapped_create("m", "0 64 toy ram0"), 0);
	dev = mapped_bdev("m");
	toy.result = MAP_REMAPPED;
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 3, 8, NULL), 0);
	assert_int_equal(toy.nr_map, 5);
	assert_int_equal(toy.nr_end, 5);
	assert_int_equal(rd->nr[BIO_DISCARD], 5);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	assert_int_equal(toy.nr_map, 10);
	ramdisk_fail_nth(rd, 3, -ENOSPC);
	assert_int_equal(mapped_rw(dev, BIO_WRITE_ZEROES, 0, 3, 8, NULL), -ENOSPC);
	assert_int_equal(toy.nr_map, 15);
	toy.result = MAP_REQUEUE;
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 3, 8, NULL), -EIO);
	toy.result = MAP_FAIL;
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 3, 8, NULL), -EIO);
	toy.result = MAP_DONE;
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 3, 8, NULL), 0);
	/* Many at once stand in line for the one fan. */
	toy.result = MAP_REMAPPED;
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 20; i++)
		send(i, dev, BIO_DISCARD, 0, i, 1);
	send(20, dev, BIO_DISCARD, BIO_NOWAIT, 20, 1);
	host_run();
	assert_int_equal(status_of(20), -EAGAIN);
	assert_int_equal(nr_order, 1);
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(nr_order, 21);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(order[i + 1], i);
	/* And a suspend takes those out of the line, and waits for the one that is out. */
	ramdisk_hold(rd);
	for (unsigned i = 30; i < 34; i++)
		send(i, dev, BIO_DISCARD, 0, i, 1);
	in_background("m", false);
	assert_false(bg.ended);
	rd->nr[BIO_DISCARD] = 0;
	ramdisk_release(rd, 0);
	host_run();
	assert_true(bg.ended);
	assert_int_equal(nr_order, 22);
	assert_int_equal(rd->nr[BIO_DISCARD], 3); /* what was left of the first */
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(nr_order, 25);
}

static void test_max_io(void **state)
{
	struct bdev *dev;

	toy.max_io = 6;
	assert_int_equal(mapped_create("m", "0 3 linear ram0 0\n3 60 toy ram0"), 0);
	dev = mapped_bdev("m");
	toy.result = MAP_REMAPPED;
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 8, page), 0);
	assert_int_equal(rd->nr[BIO_WRITE], 2); /* 0-2, 3-7 */
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 8, 8, page), 0);
	assert_int_equal(rd->nr[BIO_WRITE], 5); /* 8, 9-14, 15 */
	assert_int_equal(mapped_rw(dev, BIO_WRITE_ZEROES, 0, 3, 60, NULL), 0);
	assert_int_equal(rd->nr[BIO_WRITE_ZEROES], 1);
}

/* ---- suspend ---- */

static void test_no_table(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create_empty("m"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 0, 1, page), -EINVAL);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), -EIO);
	assert_int_equal(mapped_suspend("m"), 0);
	send(0, dev, BIO_FLUSH, 0, 0, 0);
	host_run();
	assert_int_equal(nr_order, 0);
	assert_int_equal(mapped_resume("m"), -EINVAL);
	assert_int_equal(mapped_load("m", "0 8 zero"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(status_of(0), 0);
}

static void test_held(void **state)
{
	struct bdev *dev;

	table_nr_frames = 3; /* so that the line for frames is in the order too */
	assert_int_equal(mapped_create("m", "0 400 linear ram0 1000"), 0);
	dev = mapped_bdev("m");
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 10; i++)
		send(i, dev, BIO_WRITE, 0, i, 1);
	in_background("m", false);
	assert_false(bg.ended); /* three are out */
	assert_int_equal(rd->nr[BIO_WRITE], 3);
	for (unsigned i = 10; i < 20; i++)
		send(i, dev, i % 2 ? BIO_WRITE : BIO_READ, 0, i, 1);
	send(20, dev, BIO_READ, BIO_NOWAIT, 0, 1);
	ramdisk_release(rd, 0);
	host_run();
	assert_true(bg.ended);
	assert_true(mapped_info("m").suspended);
	assert_int_equal(status_of(20), -EAGAIN);
	assert_int_equal(nr_order, 4);
	assert_int_equal(rd->nr_trace, 3);
	host_advance(3 * NS_PER_S);
	assert_int_equal(rd->nr_trace, 3);
	/* Another table: what was held goes to where that has it. */
	assert_int_equal(mapped_load("m", "0 13 linear ram0 2000\n13 387 linear ram0 3000"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(nr_order, 21);
	for (unsigned i = 3; i < 20; i++) {
		assert_int_equal(status_of(i), 0);
		assert_int_equal(rd->trace[i].sector, i < 13 ? 2000 + i : 3000 + i - 13);
	}
	assert_int_equal(dev->stats[0].ios[BIO_WRITE], 15);
	assert_int_equal(dev->stats[0].ios[BIO_READ], 6);
}

/* Large ones that were held come to a table with boundaries in them, a smaller device, a device
 * that is read-only. */
static void test_held_and_judged_anew(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("m", "0 64 linear ram0 0"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_suspend("m"), 0);
	memset(page, 0x77, sizeof(page));
	send(0, dev, BIO_WRITE, 0, 0, 8);
	send(1, dev, BIO_WRITE, 0, 56, 8);
	send(2, dev, BIO_READ, 0, 0, 1);
	assert_int_equal(mapped_load("m", "0 3 linear ram0 100\n3 2 linear ram0 200\n"
					  "5 27 striped 3 3 ram0 300 ram0 400 ram0 500"),
		0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(status_of(0), 0);
	assert_int_equal(status_of(1), -EINVAL);
	assert_int_equal(status_of(2), 0);
	assert_int_equal(rd->data[102 * 512], 0x77);
	assert_int_equal(rd->data[103 * 512], 0);
	assert_int_equal(rd->data[201 * 512], 0x77);
	assert_int_equal(rd->data[202 * 512], 0);
	assert_int_equal(rd->data[302 * 512], 0x77);
	assert_int_equal(rd->data[303 * 512], 0);
	assert_int_equal(mapped_suspend("m"), 0);
	send(3, dev, BIO_WRITE, 0, 0, 8);
	send(4, dev, BIO_READ, 0, 0, 8);
	assert_int_equal(mapped_load_read_only("m", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(status_of(3), -EROFS);
	assert_int_equal(status_of(4), 0);
	assert_true(mapped_info("m").read_only);
}

/* A request is cut in pieces; some are out when the device is suspended, the others are held and
 * find a table that cuts elsewhere. */
static void test_pieces_over_a_change(void **state)
{
	for (unsigned jobs = 0; jobs < 2; jobs++) {
		struct bdev *dev;

		split_extra_jobs = split_extra_pieces = jobs * 8;
		mapped_remove_all(true);
		ramdisk_destroy(rd);
		rd = ramdisk_create("ram0", 4096, NULL);
		memset(reqs, 0, sizeof(reqs));
		nr_order = 0;
		assert_int_equal(mapped_create("m", "0 64 striped 1 2 ram0 0"), 0);
		dev = mapped_bdev("m");
		memset(page, 0x42, sizeof(page));
		ramdisk_hold(rd);
		send(0, dev, BIO_WRITE, 0, 1, 8);
		send(1, dev, BIO_WRITE, 0, 33, 8);
		in_background("m", false);
		ramdisk_release(rd, 0);
		host_run();
		assert_true(bg.ended);
		assert_int_equal(mapped_load("m", "0 64 striped 1 1 ram0 0"), 0);
		assert_int_equal(mapped_resume("m"), 0);
		host_run();
		assert_int_equal(status_of(0), 0);
		assert_int_equal(status_of(1), 0);
		for (unsigned s = 0; s < 64; s++)
			assert_int_equal(rd->data[s * 512],
				(s >= 1 && s < 9) || (s >= 33 && s < 41) ? 0x42 : 0);
	}
}

static void test_hooks(void **state)
{
	toy.result = MAP_REMAPPED;
	assert_int_equal(mapped_create("m", "0 8 toy ram0\n8 8 toy ram0"), 0);
	assert_string_equal(hooks(), "rrRR");
	assert_int_equal(mapped_resume("m"), 0);
	assert_string_equal(hooks(), "");
	assert_int_equal(mapped_suspend("m"), 0);
	assert_string_equal(hooks(), "ppPP");
	assert_int_equal(mapped_suspend("m"), 0);
	assert_string_equal(hooks(), "");
	assert_int_equal(mapped_resume("m"), 0);
	assert_string_equal(hooks(), "rrRR");
	assert_int_equal(mapped_load("m", "0 8 toy ram0"), 0);
	assert_string_equal(hooks(), "");
	assert_int_equal(mapped_resume("m"), 0);
	assert_string_equal(hooks(), "ppPPrR");
	assert_int_equal(toy.nr_dtr, 2);
	/* Refused at the last moment: live, suspended, and the next resume tries again. */
	assert_int_equal(mapped_load("m", "0 16 toy ram0"), 0);
	toy.preresume_err = -EBADMSG;
	assert_int_equal(mapped_resume("m"), -EBADMSG);
	assert_string_equal(mapped_why(), "toy: preresume failed, error = -74");
	assert_true(
		host_log_has("device-mapper: table: 253:0: toy: preresume failed, error = -74"));
	assert_string_equal(hooks(), "pPr");
	assert_int_equal(toy.nr_dtr, 3);
	assert_true(mapped_info("m").suspended);
	assert_false(mapped_info("m").inactive_table);
	assert_int_equal(mapped_bdev("m")->nr_sectors, 16);
	send(0, mapped_bdev("m"), BIO_READ, 0, 15, 1);
	host_run();
	assert_int_equal(nr_order, 0);
	toy.preresume_err = 0;
	assert_int_equal(mapped_resume("m"), 0);
	host_run();
	assert_int_equal(status_of(0), 0);
	assert_int_equal(mapped_remove("m"), 0);
	assert_int_equal(toy.nr_dtr, 4);
}

/* What lies beneath became smaller since the load: nothing changes, I/O flows on. */
static void test_resume_refused(void **state)
{
	assert_int_equal(mapped_create("low", "0 100 linear ram0 0"), 0);
	assert_int_equal(mapped_create("m", "0 50 linear ram0 0"), 0);
	assert_int_equal(mapped_load("m", "0 100 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_load("low", "0 60 linear ram0 0"), 0);
	assert_int_equal(mapped_resume("low"), 0);
	assert_int_equal(mapped_resume("m"), -EINVAL);
	assert_non_null(strstr(mapped_why(), "dm-0 too small for target: start=0, len=100, "
					     "dev_size=60"));
	assert_false(mapped_info("m").suspended);
	assert_true(mapped_info("m").inactive_table);
	assert_int_equal(mapped_bdev("m")->nr_sectors, 50);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 49, 1, page), 0);
}

/* Beneath, a live table shrank under one that was checked: -EIO, nothing reaches the disk. */
static void test_shrunk_beneath(void **state)
{
	assert_int_equal(mapped_create("low", "0 100 linear ram0 0"), 0);
	assert_int_equal(mapped_create("m", "0 100 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_load("low", "0 60 linear ram0 0"), 0);
	assert_int_equal(mapped_resume("low"), 0);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 59, 1, page), 0);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 60, 1, page), -EINVAL);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 59, 2, page), -EINVAL);
	assert_int_equal(rd->nr[BIO_READ], 1);
}

static void test_suspended_beneath(void **state)
{
	struct bdev *dev;

	assert_int_equal(mapped_create("low", "0 100 linear ram0 0"), 0);
	assert_int_equal(mapped_create("m", "0 100 linear /dev/mapper/low 0"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_suspend("low"), 0);
	/* No flush is sent where it would be held. */
	assert_int_equal(mapped_suspend("m"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	/* But a request that is held there is in flight here. */
	send(0, dev, BIO_WRITE, 0, 5, 1);
	host_run();
	in_background("m", false);
	host_advance(NS_PER_S);
	assert_false(bg.ended);
	assert_int_equal(mapped_resume("low"), 0);
	host_run();
	assert_true(bg.ended);
	assert_int_equal(status_of(0), 0);
}

/* ---- cores ---- */

static struct work on_core;
static struct bdev *core_dev;

static void send_from_core(struct work *w)
{
	send(this_core(), core_dev, BIO_WRITE, 0, this_core() * 10, 1);
}

static void test_cores(void **state)
{
	/* What was made with one core has one core's worth. */
	ramdisk_destroy(rd);
	host_set_cores(4);
	rd = ramdisk_create("ram0", 4096, NULL);
	assert_int_equal(mapped_create("m", "0 100 linear ram0 0"), 0);
	core_dev = mapped_bdev("m");
	on_core.fn = send_from_core;
	for (unsigned i = 0; i < 4; i++) {
		ramdisk_hold(rd);
		work_send(i, &on_core);
		host_run();
		assert_int_equal(reqs[i].nr_done, 0);
		in_background("m", false);
		assert_false(bg.ended); /* whichever core it is on */
		ramdisk_release(rd, 0);
		host_run();
		assert_true(bg.ended);
		assert_int_equal(status_of(i), 0);
		memset(reqs, 0, sizeof(reqs));
		work_send(i, &on_core);
		host_run();
		assert_int_equal(reqs[i].nr_done, 0);
		assert_int_equal(mapped_resume("m"), 0);
		host_run();
		assert_int_equal(status_of(i), 0);
		memset(reqs, 0, sizeof(reqs));
	}
}

static void end_elsewhere(struct work *w)
{
	struct bio *bio = bio_list_pop(&toy.held);

	bio->dev = &rd->bdev;
	bio_submit(bio);
}

/* A target beneath hands a bio on from another core than it came from. */
static void test_from_another_core(void **state)
{
	static struct work w = { .fn = end_elsewhere };
	struct bio *bio;

	ramdisk_destroy(rd);
	host_set_cores(3);
	rd = ramdisk_create("ram0", 4096, NULL);
	assert_int_equal(mapped_create("low", "0 100 linear ram0 0"), 0);
	assert_int_equal(mapped_create("m", "0 100 toy /dev/mapper/low"), 0);
	toy.result = MAP_HELD;
	send(0, mapped_bdev("m"), BIO_WRITE, 0, 3, 1);
	host_run();
	bio = toy.held.head;
	assert_non_null(bio);
	work_send(2, &w);
	host_run();
	assert_int_equal(status_of(0), 0);
	toy.held = (struct bio_list){ 0 };
	/* Through a mapped device it crosses back to its core first. */
	send(1, mapped_bdev("m"), BIO_WRITE, 0, 4, 1);
	host_run();
	bio = bio_list_pop(&toy.held);
	bio->dev = mapped_bdev("low");
	host_set_core(2);
	bio_submit(bio);
	host_set_core(0);
	host_run();
	assert_int_equal(status_of(1), 0);
	assert_int_equal(mapped_bdev("low")->stats[2].ios[BIO_WRITE], 0);
	assert_int_equal(mapped_bdev("low")->stats[0].ios[BIO_WRITE], 1);
}

/* ---- stacks ---- */

static void stack(unsigned height, bool stripes)
{
	char name[16], text[96];

	for (unsigned i = 0; i < height; i++) {
		str_printf(name, sizeof(name), "s%u", i);
		if (!i)
			str_printf(text, sizeof(text), "0 1024 linear ram0 0");
		else if (stripes && i % 2)
			str_printf(text, sizeof(text),
				"0 512 striped 2 4 /dev/mapper/s%u 0 /dev/mapper/s%u 256\n"
				"512 512 linear /dev/mapper/s%u 512",
				i - 1, i - 1, i - 1);
		else
			str_printf(text, sizeof(text), "0 1024 linear /dev/mapper/s%u 0", i - 1);
		assert_int_equal(mapped_create(name, text), 0);
	}
}

static void test_high_stack(void **state)
{
	static uint8_t buf[64 * 512] __aligned(PAGE_SIZE), back[64 * 512] __aligned(PAGE_SIZE);
	char text[64];
	struct bdev *top;
	struct rng rng;

	table_nr_frames = 1;
	table_nr_clones = 1;
	split_extra_jobs = split_extra_pieces = 0;
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	rd = ramdisk_create("ram0", 4096, NULL);
	stack(MDEV_DEPTH_MAX, true);
	str_printf(text, sizeof(text), "0 8 linear /dev/mapper/s%u 0", MDEV_DEPTH_MAX - 1);
	assert_int_equal(mapped_create("more", text), -EINVAL);
	assert_string_equal(mapped_why(), "more than 128 mapped devices would be stacked");
	str_printf(text, sizeof(text), "s%u", MDEV_DEPTH_MAX - 1);
	top = mapped_bdev(text);
	rng_seed(&rng, 5);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t n = 1 + (uint32_t)rng_below(&rng, 64);
		sector_t at = rng_below(&rng, 1024 - n);

		for (unsigned k = 0; k < n * 512; k++)
			buf[k] = (uint8_t)rng_u64(&rng);
		assert_int_equal(mapped_rw(top, BIO_WRITE, i % 3 ? 0 : BIO_FUA, at, n, buf), 0);
		assert_int_equal(mapped_rw(top, BIO_READ, 0, at, n, back), 0);
		assert_memory_equal(buf, back, n * 512);
	}
	/* Many at once, each with the one frame of each level to go through. */
	for (unsigned i = 0; i < 100; i++)
		send(i, top, i % 4 == 3 ? BIO_FLUSH : BIO_READ, 0, i % 4 == 3 ? 0 : i * 5,
			i % 4 == 3 ? 0 : 8);
	host_run();
	assert_int_equal(nr_order, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(status_of(i), 0);
}

/* A stack grows too high, or into itself, by what is loaded in its middle as well. */
static void test_stack_checks(void **state)
{
	char text[64];

	stack(MDEV_DEPTH_MAX, false);
	assert_int_equal(mapped_create("a", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_create("b", "0 8 linear /dev/mapper/a 0"), 0);
	assert_int_equal(mapped_load("s0", "0 1024 linear ram0 0"), 0);
	assert_int_equal(mapped_load("s0", "0 8 linear /dev/mapper/a 0\n8 1016 zero"), -EINVAL);
	assert_string_equal(mapped_why(), "more than 128 mapped devices would be stacked");
	/* Itself, and one that stands on it. */
	assert_int_equal(mapped_load("a", "0 8 linear /dev/mapper/a 0"), -EINVAL);
	assert_string_equal(mapped_why(), "table line 1: linear: Device lookup failed");
	str_printf(text, sizeof(text), "0 8 linear 253:%u 0", MDEV_DEPTH_MAX + 1);
	assert_int_equal(mapped_load("a", text), -EINVAL);
	assert_string_equal(mapped_why(), "table line 1: linear: Device lookup failed");
	str_printf(text, sizeof(text), "0 8 linear /dev/mapper/s%u 0", MDEV_DEPTH_MAX - 1);
	assert_int_equal(mapped_load("s0", text), -EINVAL);
	/* Two tables that are each right alone: the second to become live is refused. */
	assert_int_equal(mapped_create("x", "0 8 zero"), 0);
	assert_int_equal(mapped_create("y", "0 8 zero"), 0);
	assert_int_equal(mapped_load("x", "0 8 linear /dev/mapper/y 0"), 0);
	assert_int_equal(mapped_load("y", "0 8 linear /dev/mapper/x 0"), 0);
	assert_int_equal(mapped_resume("x"), 0);
	assert_int_equal(mapped_resume("y"), -EINVAL);
	str_printf(text, sizeof(text), "dm-%u stands on this device", MDEV_DEPTH_MAX + 2);
	assert_string_equal(mapped_why(), text);
	assert_int_equal(mapped_rw(mapped_bdev("x"), BIO_READ, 0, 0, 8, page), 0);
	assert_string_equal(mapped_table("y"), "0 8 zero \n");
	assert_int_equal(mapped_clear("y"), 0);
}

/* ---- removal ---- */

static void test_remove_with_held(void **state)
{
	assert_int_equal(mapped_create("m", "0 100 linear ram0 0"), 0);
	assert_int_equal(mapped_suspend("m"), 0);
	for (unsigned i = 0; i < 5; i++)
		send(i, mapped_bdev("m"), BIO_READ, 0, i, 1);
	host_run();
	assert_int_equal(mapped_remove("m"), 0);
	host_run();
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(status_of(i), -ENODEV);
}

static void test_immutable(void **state)
{
	assert_int_equal(mapped_create("m", "0 8 still ram0"), 0);
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0"), -EINVAL);
	assert_string_equal(mapped_why(), "can't replace immutable target type still");
	assert_int_equal(mapped_load("m", "0 8 still ram0"), 0);
	assert_int_equal(mapped_load("m", "0 8 error"), 0);
	assert_int_equal(mapped_load("m", "0 8 still ram0\n8 8 zero"), -EINVAL);
	assert_string_equal(
		mapped_why(), "table line 2: still: target type must appear alone in table");
	assert_int_equal(mapped_load("m", "0 8 zero\n8 8 still ram0"), -EINVAL);
	assert_string_equal(
		mapped_why(), "table line 2: singleton target type must appear alone in table");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_map_results),
		T(test_requeue),
		T(test_copies),
		T(test_max_io),
		T(test_no_table),
		T(test_held),
		T(test_held_and_judged_anew),
		T(test_pieces_over_a_change),
		T(test_hooks),
		T(test_resume_refused),
		T(test_shrunk_beneath),
		T(test_suspended_beneath),
		T(test_cores),
		T(test_from_another_core),
		T(test_high_stack),
		T(test_stack_checks),
		T(test_remove_with_held),
		T(test_immutable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

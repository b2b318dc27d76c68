/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_mdev_load - suspend, reload, resume, 20 times under load from four cores, for many seeds.
 *
 * Each core keeps several requests out on blocks of its own and knows what every block must hold;
 * the disk is slow and answers in any order.  Meanwhile a fiber suspends the device (for 3 seconds
 * nothing may reach the disk), loads another layout of the same sectors and resumes; or resumes
 * onto a new table without suspending first.  In the end every block is read and must be as written
 * last. What a core submitted while the device was suspended must reach the disk in that order.
 *
 * CAIRN_SOAK=1 in the environment: ten times the seeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "mapper/mdev.h"
#include "mapper/split.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define CORES     4
#define DEPTH     8                        /* requests a core has out */
#define BLOCK     16                       /* sectors */
#define BLOCKS    24                       /* of each core */
#define SECTORS   (CORES * BLOCKS * BLOCK) /* of the device */
#define SPARE     64                       /* behind it on the disk */
#define ROUNDS    20
#define SEEDS     40
#define SUBMITTED (CORES * DEPTH) /* at most, while suspended */

/* The same sectors each time, cut elsewhere. */
static const char *const layouts[] = {
	"0 1536 linear ram0 0",
	("0 100 linear ram0 0\n100 3 linear ram0 100\n103 409 linear ram0 103\n"
	 "512 1000 linear ram0 512\n1512 24 linear ram0 1512"),
	"0 1536 striped 1 8 ram0 0",
	"0 1024 linear /dev/mapper/under 0\n1024 512 striped 1 1 /dev/mapper/under 1024",
	"0 1536 striped 1 3 ram0 0",
	"0 768 striped 2 384 ram0 0 ram0 384\n768 768 linear ram0 768",
};

struct slot {
	struct bio bio;
	struct seg seg;
	uint8_t *mem;
	unsigned core, block;
	uint32_t version; /* being written */
	uint64_t nr;      /* of all this core submitted */
};

static struct load {
	struct rng rng;
	uint32_t versions[BLOCKS]; /* what each holds */
	bool busy[BLOCKS];
	struct slot slots[DEPTH];
	unsigned nr_out;
	uint64_t nr_submitted, nr_ended;
	struct work start;
	/* first sectors of what was submitted while suspended, in order */
	sector_t held[SUBMITTED];
	unsigned nr_held;
} loads[CORES];

static struct ramdisk *rd;
static struct bdev *dev;
static struct mem_tag tag = MEM_TAG("load");
static bool stop, suspended, may_fail;
static unsigned nr_held_seen, nr_failed;

static void go_on(struct load *l, struct slot *s);

/* What a block holds: a stamp in every sector, so that no part of it can be another's or old. */
static uint64_t stamp(unsigned core, unsigned block, unsigned sector, uint32_t version)
{
	if (!version)
		return 0;
	return ((uint64_t)version << 32 | core << 24 | block << 16 | sector) *
	       0x9e3779b97f4a7c15ull;
}

static void fill(struct slot *s)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		uint64_t *p = (uint64_t *)(s->mem + i * SECTOR_SIZE);

		for (unsigned k = 0; k < SECTOR_SIZE / 8; k++)
			p[k] = stamp(s->core, s->block, i, s->version) + k;
	}
}

static void verify(const uint8_t *mem, unsigned core, unsigned block, uint32_t version)
{
	for (unsigned i = 0; i < BLOCK; i++) {
		const uint64_t *p = (const uint64_t *)(mem + i * SECTOR_SIZE);

		for (unsigned k = 0; k < SECTOR_SIZE / 8; k++)
			assert_int_equal(p[k], version ? stamp(core, block, i, version) + k : 0);
	}
}

static void slot_done(struct bio *bio)
{
	struct slot *s = container_of(bio, struct slot, bio);
	struct load *l = &loads[s->core];

	assert_int_equal(this_core(), s->core);
	assert_true(bio->status == 0 || may_fail);
	nr_failed += bio->status != 0;
	if (bio->op == BIO_WRITE && !bio->status)
		l->versions[s->block] = s->version;
	if (bio->op == BIO_READ && !bio->status)
		verify(s->mem, s->core, s->block, l->versions[s->block]);
	if (bio->op != BIO_FLUSH)
		l->busy[s->block] = false;
	l->nr_out--;
	l->nr_ended++;
	if (!bio->status) /* on a device of errors there would be no end of it */
		go_on(l, s);
}

/* The next request of a slot: mostly writes, some with FUA, some flushes. */
static void go_on(struct load *l, struct slot *s)
{
	uint64_t what = rng_below(&l->rng, 16);

	if (stop)
		return;
	do
		s->block = (unsigned)rng_below(&l->rng, BLOCKS);
	while (l->busy[s->block]);
	s->nr = l->nr_submitted++;
	s->seg = (struct seg){ dma_addr(s->mem), BLOCK * SECTOR_SIZE };
	s->bio = (struct bio){
		.dev = dev,
		.op = what < 10   ? BIO_WRITE
		      : what < 15 ? BIO_READ
				  : BIO_FLUSH,
		.done = slot_done,
	};
	if (s->bio.op != BIO_FLUSH) {
		s->bio.sector = (s->core * BLOCKS + s->block) * BLOCK;
		s->bio.nr_sectors = BLOCK;
		s->bio.segs = &s->seg;
		s->bio.nr_segs = 1;
		l->busy[s->block] = true;
	}
	if (s->bio.op == BIO_WRITE) {
		s->version = l->versions[s->block] + 1;
		/* Not where order counts: many small ones wait in line at a disk without FUA. */
		if (what == 9 && !suspended)
			s->bio.flags = BIO_FUA;
		fill(s);
	} else if (s->bio.op == BIO_READ) {
		memset(s->mem, 0xee, BLOCK * SECTOR_SIZE);
	}
	l->nr_out++;
	if (suspended && s->bio.op != BIO_FLUSH)
		l->held[l->nr_held++] = s->bio.sector;
	bio_submit(&s->bio);
}

static void load_start(struct work *w)
{
	struct load *l = container_of(w, struct load, start);

	for (unsigned i = 0; i < DEPTH; i++)
		go_on(l, &l->slots[i]);
}

/* Each core's requests of the time of suspension, by the sector each begins with, must have come to
 * the disk in order, and no others of that core before them. */
static void check_order(void)
{
	unsigned next[CORES] = { 0 };

	assert_true(rd->nr_trace <= RAMDISK_TRACE);
	for (unsigned i = 0; i < rd->nr_trace; i++) {
		const struct ramdisk_bio *b = &rd->trace[i];
		unsigned core = (unsigned)(b->sector / (BLOCKS * BLOCK));
		struct load *l = &loads[core];

		if (b->op == BIO_FLUSH || b->sector % BLOCK || next[core] == l->nr_held)
			continue;
		assert_int_equal(b->sector, l->held[next[core]]);
		next[core]++;
	}
	for (unsigned i = 0; i < CORES; i++) {
		assert_int_equal(next[i], loads[i].nr_held);
		nr_held_seen += next[i];
		loads[i].nr_held = 0;
	}
}

/* ---- the one who disturbs ---- */

static struct {
	struct rng rng;
	bool ended;
	unsigned nr_quiet; /* suspensions in which nothing came */
} op;

static void wait_a_little(void)
{
	fiber_sleep(rng_below(&op.rng, 1000 * NS_PER_US));
}

static void change(struct mdev *md, unsigned i)
{
	const char *layout = layouts[i % ARRAY_SIZE(layouts)];
	bool first = rng_below(&op.rng, 4) != 0;
	struct strbuf why = { 0 };
	uint64_t came;

	if (!first) {
		assert_int_equal(dm_load(md, layout, strlen(layout), false, &why), 0);
		wait_a_little();
		assert_int_equal(dm_resume(md, i % 2, &why), 0);
		return;
	}
	assert_int_equal(dm_suspend(md, i % 2, &why), 0);
	/* All that was submitted from here on is held; what was before may be too. */
	for (unsigned k = 0; k < CORES; k++)
		assert_true(loads[k].nr_out == DEPTH);
	came = rd->nr_trace;
	assert_int_equal(rd->in_flight, 0);
	fiber_sleep(3 * NS_PER_S);
	assert_int_equal(rd->nr_trace, came);
	assert_int_equal(dm_load(md, layout, strlen(layout), false, &why), 0);
	rd->nr_trace = 0;
	op.nr_quiet++;
	assert_int_equal(dm_resume(md, false, &why), 0);
	strbuf_free(&why);
}

static void disturb(void *arg)
{
	struct mdev *md = dm_find("m");

	for (unsigned i = 0; i < ROUNDS; i++) {
		wait_a_little();
		change(md, i + 1);
	}
	wait_a_little();
	op.ended = true;
}

/* ---- a run ---- */

static bool all_back(void *arg)
{
	for (unsigned i = 0; i < CORES; i++)
		if (loads[i].nr_out)
			return false;
	return true;
}

static bool op_ended(void *arg)
{
	return op.ended;
}

static void begin(uint64_t seed)
{
	struct limits l;

	assert_int_equal(mapped_setup(NULL), 0);
	host_set_cores(CORES);
	host_shuffle(seed);
	memset(loads, 0, sizeof(loads));
	memset(&op, 0, sizeof(op));
	stop = suspended = may_fail = false;
	nr_held_seen = nr_failed = 0;
	limits_default(&l);
	l.write_cache = true;
	l.fua = seed % 2;
	rd = ramdisk_create("ram0", SECTORS + SPARE, &l);
	ramdisk_delay(rd, 20 * NS_PER_US, 200 * NS_PER_US, seed);
	assert_int_equal(
		mapped_create("under", "0 1000 linear ram0 0\n1000 536 linear ram0 1000"), 0);
	assert_int_equal(mapped_create("m", layouts[0]), 0);
	dev = mapped_bdev("m");
	assert_int_equal(dev->nr_sectors, SECTORS);
	bdev_open(dev);
	rng_seed(&op.rng, seed);
	for (unsigned i = 0; i < CORES; i++) {
		struct load *ld = &loads[i];

		rng_seed(&ld->rng, seed * 100 + i);
		for (unsigned k = 0; k < DEPTH; k++) {
			ld->slots[k].core = i;
			ld->slots[k].mem = page_alloc(&tag, page_order(BLOCK * SECTOR_SIZE));
			assert_non_null(ld->slots[k].mem);
		}
		ld->start.fn = load_start;
		work_send(i, &ld->start);
	}
}

static void end(void)
{
	unsigned order = page_order(BLOCK * SECTOR_SIZE);

	stop = true;
	assert_true(host_run_until(all_back, NULL, NS_PER_S));
	host_run();
	for (unsigned i = 0; i < CORES; i++)
		for (unsigned k = 0; k < DEPTH; k++)
			page_free(&tag, loads[i].slots[k].mem, order);
	if (dev)
		bdev_close(dev);
	assert_int_equal(mapped_remove_all(false), 0);
	ramdisk_destroy(rd);
	assert_int_equal(mapped_teardown(NULL), 0);
}

static unsigned nr_seeds(void)
{
	return getenv("CAIRN_SOAK") ? SEEDS * 10 : SEEDS;
}

/* The final contents, on the disk itself: every layout is the same sectors. */
static void verify_all(void)
{
	for (unsigned i = 0; i < CORES; i++)
		for (unsigned b = 0; b < BLOCKS; b++)
			verify(rd->data + (i * BLOCKS + b) * BLOCK * SECTOR_SIZE, i, b,
				loads[i].versions[b]);
}

static void test_under_load(void **state)
{
	uint64_t nr = 0, quiet = 0;

	for (uint64_t seed = 1; seed <= nr_seeds(); seed++) {
		begin(seed);
		assert_non_null(fiber_create("disturb", disturb, NULL));
		assert_true(host_run_until(op_ended, NULL, 1000 * NS_PER_S));
		stop = true;
		assert_true(host_run_until(all_back, NULL, NS_PER_S));
		verify_all();
		for (unsigned i = 0; i < CORES; i++) {
			assert_int_equal(loads[i].nr_submitted, loads[i].nr_ended);
			assert_true(loads[i].nr_submitted > ROUNDS * DEPTH * 2);
			nr += loads[i].nr_ended;
		}
		assert_int_equal(dev->open_count, 1);
		quiet += op.nr_quiet;
		end();
	}
	print_message("%llu requests, %u changes of table, %llu of them suspended\n",
		(unsigned long long)nr, nr_seeds() * ROUNDS, (unsigned long long)quiet);
	assert_true(quiet > nr_seeds() * ROUNDS / 2);
}

/* ---- order ---- */

/* As above, but a core's own requests are all submitted while the device is suspended, so that the
 * disk must see just these, in their order. */
static void order_fiber(void *arg)
{
	struct strbuf why = { 0 };
	struct mdev *md = dm_find("m");

	for (unsigned i = 0; i < ROUNDS; i++) {
		const char *layout = layouts[i % ARRAY_SIZE(layouts)];

		assert_int_equal(dm_suspend(md, i % 2, &why), 0);
		suspended = true;
		stop = false;
		for (unsigned k = 0; k < CORES; k++)
			work_send(k, &loads[k].start);
		wait_a_little();
		stop = true;
		suspended = false;
		for (unsigned k = 0; k < CORES; k++)
			assert_int_equal(loads[k].nr_out, DEPTH);
		assert_int_equal(dm_load(md, layout, strlen(layout), false, &why), 0);
		rd->nr_trace = 0;
		assert_int_equal(dm_resume(md, false, &why), 0);
		while (!all_back(NULL))
			fiber_sleep(NS_PER_MS);
		check_order();
	}
	op.ended = true;
}

static void test_order(void **state)
{
	for (uint64_t seed = 1; seed <= nr_seeds(); seed++) {
		/* With so few frames most stand in line for one when they are let go. */
		table_nr_frames = seed % 3 ? 128 : 2;
		begin(seed);
		stop = true; /* nothing before the first suspension */
		host_run();
		assert_non_null(fiber_create("order", order_fiber, NULL));
		assert_true(host_run_until(op_ended, NULL, 1000 * NS_PER_S));
		verify_all();
		assert_true(nr_held_seen > ROUNDS * CORES * DEPTH / 2);
		end();
	}
	table_nr_frames = 128;
}

/* ---- remove -f ---- */

static void remove_fiber(void *arg)
{
	struct strbuf why = { 0 };
	struct mdev *md = dm_find("m");

	wait_a_little();
	assert_int_equal(dm_remove(md, false, &why), -EBUSY);
	assert_int_equal(nr_failed, 0);
	may_fail = true;
	assert_int_equal(dm_remove(md, true, &why), -EBUSY);
	wait_a_little();
	op.ended = true;
	strbuf_free(&why);
}

static void test_remove_force(void **state)
{
	for (uint64_t seed = 1; seed <= nr_seeds(); seed++) {
		uint64_t reads;

		begin(seed);
		assert_non_null(fiber_create("remove", remove_fiber, NULL));
		assert_true(host_run_until(op_ended, NULL, 1000 * NS_PER_S));
		assert_true(nr_failed > 0);
		assert_string_equal(mapped_table("m"), "0 1536 error \n");
		assert_int_equal(mapped_remove("under"), 0); /* nobody holds the disk any more */
		assert_int_equal(rd->bdev.open_count, 0);
		assert_int_equal(rd->in_flight, 0);
		reads = rd->nr_trace;
		stop = true;
		assert_true(host_run_until(all_back, NULL, NS_PER_S));
		assert_int_equal(rd->nr_trace, reads);
		verify_all();
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_under_load),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_remove_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

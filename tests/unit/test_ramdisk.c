/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_ramdisk - the disk that other tests trust: when it completes, how it fails, what its
 * volatile cache keeps and loses, and that it catches bios that break the driver's contract.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/ramdisk.h"

#define NR_BIOS 16

static struct mem_tag tag = MEM_TAG("test ramdisk");
static struct ramdisk *rd;
static char *pages; /* one for each bio */
static struct bio bios[NR_BIOS];
static struct seg segs[NR_BIOS];
static unsigned order[NR_BIOS], nr_done;

static int setup(void **state)
{
	host_reset();
	block_reset();
	pages = page_alloc(&tag, 4);
	nr_done = 0;
	return pages ? 0 : -1;
}

static int teardown(void **state)
{
	bool clean;

	ramdisk_destroy(rd);
	rd = NULL;
	page_free(&tag, pages, 4);
	clean = host_mem_check();
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

static void make_disk(bool write_cache, bool fua)
{
	struct limits l;

	limits_default(&l);
	l.write_cache = write_cache;
	l.fua = fua;
	l.max_write_zeroes_sectors = UINT32_MAX;
	l.max_discard_sectors = UINT32_MAX;
	l.discard_granularity = SECTOR_SIZE;
	rd = ramdisk_create("ram0", 64, &l);
	assert_non_null(rd);
}

static void bio_done(struct bio *bio)
{
	order[nr_done++] = (unsigned)(bio - bios);
}

/* Bio i, with page i, filled with the letter for writes. */
static struct bio *send(unsigned i, enum bio_op op, unsigned flags, sector_t sector, char letter)
{
	bool data = op == BIO_READ || op == BIO_WRITE;

	segs[i] = (struct seg){ dma_addr(pages + i * PAGE_SIZE), SECTOR_SIZE };
	if (op == BIO_WRITE)
		memset(pages + i * PAGE_SIZE, letter, SECTOR_SIZE);
	bios[i] = (struct bio){
		.dev = &rd->bdev,
		.op = (uint8_t)op,
		.flags = (uint8_t)flags,
		.sector = sector,
		.nr_sectors = op == BIO_FLUSH ? 0 : 1,
		.segs = data ? &segs[i] : NULL,
		.nr_segs = data,
		.done = bio_done,
		.status = 1,
	};
	bio_submit(&bios[i]);
	return &bios[i];
}

/* Sends and runs; its status. */
static int act(enum bio_op op, unsigned flags, sector_t sector, char letter)
{
	struct bio *b = send(0, op, flags, sector, letter);
	unsigned before = nr_done;

	host_advance(NS_PER_S);
	assert_int_equal(nr_done, before + 1);
	nr_done = before;
	return b->status;
}

static char letter_at(sector_t sector)
{
	assert_int_equal(act(BIO_READ, 0, sector, 0), 0);
	for (unsigned i = 1; i < SECTOR_SIZE; i++)
		assert_int_equal(pages[i], pages[0]);
	return pages[0];
}

static void test_read_write(void **state)
{
	make_disk(false, false);
	assert_int_equal(letter_at(63), 0);
	assert_int_equal(act(BIO_WRITE, 0, 63, 'a'), 0);
	assert_int_equal(letter_at(63), 'a');
	assert_int_equal(letter_at(62), 0);
	assert_int_equal(rd->data[63 * SECTOR_SIZE], 'a');
	assert_int_equal(act(BIO_WRITE_ZEROES, 0, 63, 0), 0);
	assert_int_equal(letter_at(63), 0);
	assert_int_equal(act(BIO_DISCARD, 0, 63, 0), 0);
	assert_int_equal(letter_at(63), (char)0xd5); /* a discard promises no zeroes */
	assert_int_equal(rd->nr[BIO_WRITE], 1);
	assert_int_equal(rd->sectors[BIO_READ], 5);
	assert_int_equal(rd->trace[1].op, BIO_WRITE);
	assert_int_equal(rd->trace[1].sector, 63);
	assert_int_equal(act(BIO_READ, 0, 64, 0), -EINVAL); /* by the block layer */
}

static void test_not_inside_submit(void **state)
{
	make_disk(false, false);
	send(0, BIO_WRITE, 0, 1, 'a');
	assert_int_equal(nr_done, 0);
	assert_int_equal(rd->in_flight, 1);
	assert_int_equal(rd->data[SECTOR_SIZE], 0); /* executed when it completes */
	host_run();
	assert_int_equal(nr_done, 1);
	assert_int_equal(rd->data[SECTOR_SIZE], 'a');
	assert_int_equal(rd->in_flight, 0);
}

static void test_delay(void **state)
{
	bool shuffled = false;

	make_disk(false, false);
	ramdisk_delay(rd, 100, 0, 0);
	send(0, BIO_READ, 0, 0, 0);
	host_advance(99);
	assert_int_equal(nr_done, 0);
	host_advance(1);
	assert_int_equal(nr_done, 1);
	nr_done = 0;
	ramdisk_delay(rd, 100, 1000, 7);
	for (unsigned i = 0; i < NR_BIOS; i++)
		send(i, BIO_READ, 0, i, 0);
	host_advance(1100);
	assert_int_equal(nr_done, NR_BIOS);
	for (unsigned i = 0; i < NR_BIOS; i++)
		shuffled |= order[i] != i;
	assert_true(shuffled);
	assert_int_equal(rd->max_in_flight, NR_BIOS);
}

static void test_hold(void **state)
{
	make_disk(false, false);
	ramdisk_hold(rd);
	for (unsigned i = 0; i < 5; i++)
		send(i, BIO_READ, 0, i, 0);
	host_advance(NS_PER_S);
	assert_int_equal(nr_done, 0);
	ramdisk_release(rd, 2);
	host_run();
	assert_int_equal(nr_done, 2);
	assert_int_equal(order[0] + order[1], 1);
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(nr_done, 5);
	assert_int_equal(act(BIO_READ, 0, 0, 0), 0); /* holds no more */
}

static void test_errors(void **state)
{
	make_disk(true, false);
	ramdisk_fail_nth(rd, 2, -EIO);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'a'), 0);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'b'), -EIO);
	assert_int_equal(letter_at(1), 'a'); /* a failed write wrote nothing; once only */
	ramdisk_fail_range(rd, 1u << BIO_READ | 1u << BIO_FLUSH, 10, 2, -ENODATA);
	assert_int_equal(act(BIO_READ, 0, 9, 0), 0);
	assert_int_equal(act(BIO_READ, 0, 10, 0), -ENODATA);
	assert_int_equal(act(BIO_READ, 0, 11, 0), -ENODATA);
	assert_int_equal(act(BIO_READ, 0, 12, 0), 0);
	assert_int_equal(act(BIO_WRITE, 0, 10, 'x'), 0);
	assert_int_equal(act(BIO_FLUSH, 0, 0, 0), -ENODATA);
	assert_int_equal(ramdisk_nr_dirty(rd), 2); /* a failed flush made nothing durable */
	ramdisk_fail_range(rd, 0, 0, 0, 0);
	assert_int_equal(letter_at(10), 'x');
	assert_int_equal(rd->nr_errors, 4);
}

/* ---- the cache ---- */

static void test_power_cut(void **state)
{
	make_disk(true, false);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'a'), 0);
	assert_int_equal(act(BIO_WRITE, 0, 2, 'a'), 0);
	assert_int_equal(ramdisk_nr_dirty(rd), 2);
	assert_int_equal(act(BIO_FLUSH, 0, 0, 0), 0);
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	assert_int_equal(act(BIO_WRITE, 0, 2, 'b'), 0);
	assert_int_equal(act(BIO_WRITE_ZEROES, 0, 1, 0), 0);
	assert_int_equal(act(BIO_WRITE, 0, 3, 'b'), 0);
	assert_int_equal(letter_at(2), 'b'); /* reads see the cache */
	assert_int_equal(letter_at(1), 0);
	ramdisk_power_cut(rd, 0);
	assert_int_equal(letter_at(1), 'a');
	assert_int_equal(letter_at(2), 'a');
	assert_int_equal(letter_at(3), 0);
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
}

/* Each sector for itself, as the seed says: some survive, some do not, equal seeds alike. */
static void test_power_cut_seed(void **state)
{
	uint64_t kept[3] = { 0 };

	make_disk(true, false);
	for (unsigned run = 0; run < 3; run++) {
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(act(BIO_WRITE, 0, i, 'a'), 0);
		assert_int_equal(act(BIO_FLUSH, 0, 0, 0), 0);
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(act(BIO_WRITE, 0, i, 'b'), 0);
		ramdisk_power_cut(rd, run == 2 ? 5 : 9);
		for (unsigned i = 0; i < 64; i++)
			kept[run] |= (uint64_t)(letter_at(i) == 'b') << i;
	}
	assert_true(kept[0] == kept[1]);
	assert_true(kept[0] != kept[2]);
	assert_in_range(__builtin_popcountll(kept[0]), 10, 54);
}

static void test_cut_in_flight(void **state)
{
	make_disk(true, false);
	ramdisk_delay(rd, 1000, 0, 0);
	send(1, BIO_WRITE, 0, 1, 'a');
	ramdisk_hold(rd);
	send(2, BIO_WRITE, 0, 2, 'a');
	send(3, BIO_FLUSH, 0, 0, 0);
	ramdisk_power_cut(rd, 0);
	host_advance(NS_PER_S);
	assert_int_equal(nr_done, 3);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(bios[i].status, -EIO);
	assert_int_equal(letter_at(1), 0);
	assert_int_equal(letter_at(2), 0);
}

/* A flush covers what was acknowledged before it was sent, not what completes while it runs:
 * whoever sends a flush before its writes are done must lose them. */
static void test_flush_covers(void **state)
{
	make_disk(true, false);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'a'), 0);
	ramdisk_hold(rd);
	send(1, BIO_WRITE, 0, 2, 'a');
	send(2, BIO_FLUSH, 0, 0, 0);
	ramdisk_release(rd, 1);
	host_run();
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(nr_done, 2);
	assert_int_equal(bios[1].status, 0);
	assert_int_equal(bios[2].status, 0);
	assert_int_equal(ramdisk_nr_dirty(rd), 1);
	ramdisk_power_cut(rd, 0);
	assert_int_equal(letter_at(1), 'a');
	assert_int_equal(letter_at(2), 0);
}

static void test_fua(void **state)
{
	make_disk(true, true);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'a'), 0);
	assert_int_equal(act(BIO_WRITE, BIO_FUA, 2, 'a'), 0);
	assert_int_equal(rd->nr_fua, 1);
	ramdisk_power_cut(rd, 0);
	assert_int_equal(letter_at(1), 0);
	assert_int_equal(letter_at(2), 'a');
}

static void test_no_cache(void **state)
{
	make_disk(false, false);
	assert_int_equal(act(BIO_WRITE, 0, 1, 'a'), 0);
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	ramdisk_power_cut(rd, 0);
	assert_int_equal(letter_at(1), 'a');
}

/* ---- the contract ---- */

/* Past the block layer, as a broken one would. */
static void submit_raw(void *arg)
{
	struct bio *bio = arg;

	bio->dev->ops->submit(bio->dev, bio);
}

static void test_catches(void **state)
{
	struct seg two[2] = { { dma_addr(pages), 512 }, { dma_addr(pages + 1024), 512 } };
	struct limits l;

	limits_default(&l);
	l.logical_block = l.physical_block = 1024;
	l.max_sectors = 8;
	l.max_segs = 1;
	l.dma_align = 511;
	l.write_cache = true;
	rd = ramdisk_create("ram0", 64, &l);
	assert_non_null(rd);

	const struct {
		struct bio bio;
		const char *words;
	} bad[] = {
		{ { .op = BIO_READ, .nr_sectors = 2, .segs = two, .nr_segs = 2 }, "max_segs" },
		{ { .op = BIO_READ, .nr_sectors = 3, .segs = two, .nr_segs = 2 }, "block" },
		{ { .op = BIO_READ, .sector = 1, .nr_sectors = 2, .segs = two, .nr_segs = 2 },
			"block" },
		{ { .op = BIO_READ, .sector = 64, .nr_sectors = 2, .segs = two, .nr_segs = 2 },
			"nr_sectors" },
		{ { .op = BIO_READ, .nr_sectors = 4, .segs = two, .nr_segs = 2 }, "bytes ==" },
		{ { .op = BIO_READ, .nr_sectors = 10, .segs = two, .nr_segs = 2 }, "max_sectors" },
		{ { .op = BIO_READ, .segs = two, .nr_segs = 2 }, "n != 0" },
		{ { .op = BIO_DISCARD, .nr_sectors = 2 }, "max_discard" },
		{ { .op = BIO_WRITE_ZEROES, .nr_sectors = 2 }, "max_write_zeroes" },
		{ { .op = BIO_SECURE_ERASE, .nr_sectors = 2 }, "max_secure_erase" },
		{ { .op = BIO_FLUSH, .nr_sectors = 2 }, "n == 0" },
		{ { .op = BIO_WRITE, .flags = BIO_FUA, .nr_sectors = 2 }, "BIO_FUA" },
		{ { .op = BIO_WRITE, .flags = BIO_PREFLUSH, .nr_sectors = 2 }, "BIO_PREFLUSH" },
		{ { .op = BIO_READ, .nr_sectors = 2, .segs = two, .nr_segs = 2, .seg_off = 4 },
			"dma_align" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct bio bio = bad[i].bio;

		bio.dev = &rd->bdev;
		bio.done = bio_done;
		assert_true(host_expect_panic(submit_raw, &bio));
		assert_non_null(strstr(host_panic_text(), "breaks a promise"));
		if (!strstr(host_panic_text(), bad[i].words))
			fail_msg("%u: %s", i, host_panic_text());
	}
	assert_int_equal(rd->nr_trace, 0);
}

static void test_names(void **state)
{
	struct ramdisk *other;

	make_disk(false, false);
	assert_null(ramdisk_create("ram0", 8, NULL));
	other = ramdisk_create("ram1", 8, NULL);
	assert_non_null(other);
	assert_int_equal(rd->bdev.minor, 0);
	assert_int_equal(other->bdev.minor, 1);
	assert_ptr_equal(bdev_find("ram1"), &other->bdev);
	assert_ptr_equal(bdev_find("1:0"), &rd->bdev);
	ramdisk_destroy(other);
	assert_null(bdev_find("ram1"));
	ramdisk_destroy(NULL);
}

/* A bio of another core is executed there and comes back there. */
static void test_cores(void **state)
{
	host_set_cores(3);
	make_disk(false, false);
	ramdisk_delay(rd, 50, 0, 0);
	host_set_core(2);
	send(0, BIO_WRITE, 0, 5, 'z');
	host_set_core(0);
	send(1, BIO_WRITE, 0, 6, 'z');
	host_advance(50);
	assert_int_equal(nr_done, 2);
	assert_int_equal(bios[0].core, 2);
	assert_int_equal(bios[1].core, 0);
	assert_int_equal(letter_at(5), 'z');
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(read_write),
		T(not_inside_submit),
		T(delay),
		T(hold),
		T(errors),
		T(power_cut),
		T(power_cut_seed),
		T(cut_in_flight),
		T(flush_covers),
		T(fua),
		T(no_cache),
		T(catches),
		T(names),
		T(cores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

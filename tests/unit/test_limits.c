/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_limits - stacking of limits.  Expected numbers are worked out by hand from Linux 6.1's rules
 * and cover each place where two devices' limits can disagree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/api/random.h"
#include "kernel/api/string.h"
#include "mapper/block.h"

static struct limits disk(uint32_t logical, uint32_t physical)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = logical;
	l.physical_block = l.io_min = physical;
	return l;
}

#define SAME(a, b, field) assert_int_equal((a)->field, (b)->field)

static void assert_same(const struct limits *a, const struct limits *b)
{
	SAME(a, b, logical_block);
	SAME(a, b, physical_block);
	SAME(a, b, io_min);
	SAME(a, b, io_opt);
	SAME(a, b, max_sectors);
	SAME(a, b, max_segs);
	SAME(a, b, max_seg_size);
	SAME(a, b, seg_boundary);
	SAME(a, b, no_gaps);
	SAME(a, b, dma_align);
	SAME(a, b, chunk_sectors);
	SAME(a, b, max_discard_sectors);
	SAME(a, b, discard_granularity);
	SAME(a, b, discard_alignment);
	SAME(a, b, max_write_zeroes_sectors);
	SAME(a, b, max_secure_erase_sectors);
	SAME(a, b, write_cache);
	SAME(a, b, fua);
	SAME(a, b, rotational);
	SAME(a, b, misaligned);
	SAME(a, b, alignment_offset);
}

static void starts_make_sense(void **state)
{
	struct limits l;

	limits_default(&l);
	assert_null(limits_check(&l));
	assert_int_equal(l.logical_block, 512);
	assert_int_equal(l.max_sectors, UINT32_MAX);
	assert_int_equal(l.max_write_zeroes_sectors, 0);
	assert_false(l.fua || l.write_cache || l.rotational || l.misaligned);
	limits_stacking(&l);
	assert_null(limits_check(&l));
	assert_int_equal(l.max_write_zeroes_sectors, UINT32_MAX);
}

static void on_nothing_is_the_device_itself(void **state)
{
	struct limits t, b = disk(4096, 4096);

	b.io_opt = 65536;
	b.max_sectors = 2048;
	b.max_segs = 126;
	b.max_seg_size = 65536;
	b.seg_boundary = 0xffffffff;
	b.no_gaps = 4096;
	b.dma_align = 3;
	b.chunk_sectors = 256;
	b.max_discard_sectors = 8192;
	b.discard_granularity = 8192;
	b.discard_alignment = 4096;
	b.max_write_zeroes_sectors = 128;
	b.max_secure_erase_sectors = 64;
	b.write_cache = b.fua = b.rotational = true;
	limits_stacking(&t);
	assert_true(limits_stack(&t, &b, 0));
	assert_same(&t, &b);
}

static void takes_the_narrower_of_two(void **state)
{
	struct limits t, a = disk(512, 512), b = disk(4096, 4096);

	a.max_sectors = 1001; /* becomes a multiple of the other's block */
	a.max_segs = 10;
	b.max_segs = 20;
	a.max_seg_size = 8192;
	a.seg_boundary = 0xffff;
	b.no_gaps = 4096;
	a.dma_align = 511;
	b.dma_align = 3;
	a.io_opt = 3 * 4096;
	b.io_opt = 2 * 4096;
	a.chunk_sectors = 24;
	b.chunk_sectors = 64;
	a.max_write_zeroes_sectors = 100;
	b.max_write_zeroes_sectors = 0;
	limits_stacking(&t);
	assert_true(limits_stack(&t, &a, 8));
	assert_true(limits_stack(&t, &b, 16));
	assert_int_equal(t.logical_block, 4096);
	assert_int_equal(t.physical_block, 4096);
	assert_int_equal(t.io_min, 4096);
	assert_int_equal(t.io_opt, 6 * 4096);
	assert_int_equal(t.max_sectors, 1000);
	assert_int_equal(t.max_segs, 10);
	assert_int_equal(t.max_seg_size, 8192);
	assert_int_equal(t.seg_boundary, 0xffff);
	assert_int_equal(t.no_gaps, 4096);
	assert_int_equal(t.dma_align, 511);
	assert_int_equal(t.chunk_sectors, 8);
	assert_int_equal(t.max_write_zeroes_sectors, 0);
	assert_false(t.misaligned);
	assert_null(limits_check(&t));
}

static void discard_is_of_those_who_have_it(void **state)
{
	struct limits t, none = disk(512, 512), a = disk(512, 512), b = disk(512, 512);

	a.discard_granularity = 4096;
	a.max_discard_sectors = 1000;
	b.discard_granularity = 65536;
	b.max_discard_sectors = 4000;
	limits_stacking(&t);
	limits_stack(&t, &none, 0);
	assert_int_equal(t.max_discard_sectors, 0);
	limits_stack(&t, &b, 0);
	assert_int_equal(t.max_discard_sectors, 4000);
	limits_stack(&t, &a, 4); /* its next granule begins 4 sectors on */
	assert_int_equal(t.max_discard_sectors, 1000);
	assert_int_equal(t.discard_granularity, 65536);
	assert_int_equal(t.discard_alignment, 2048);
}

static void caches(void **state)
{
	static const struct {
		bool cache_a, fua_a, cache_b, fua_b, cache, fua;
	} rows[] = {
		{ false, false, false, false, false, true },
		{ true, true, false, false, true, true },
		{ true, true, true, false, true, false },
		{ true, true, true, true, true, true },
		{ true, false, false, false, true, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct limits t, a = disk(512, 512), b = disk(512, 512);

		a.write_cache = rows[i].cache_a;
		a.fua = rows[i].fua_a;
		b.write_cache = rows[i].cache_b;
		b.fua = rows[i].fua_b;
		limits_stacking(&t);
		limits_stack(&t, &a, 0);
		limits_stack(&t, &b, 0);
		assert_int_equal(t.write_cache, rows[i].cache);
		assert_int_equal(t.fua, rows[i].fua);
	}
}

static void alignment(void **state)
{
	static const struct {
		uint32_t logical, physical, offset; /* the device */
		sector_t start;
		uint32_t aligned; /* the result */
		bool good;
	} rows[] = {
		{ 512, 4096, 0, 0, 0, true },
		{ 512, 4096, 0, 8, 0, true },
		{ 512, 4096, 0, 63, 512, true }, /* the old place of a first partition */
		{ 512, 4096, 0, 1, 3584, true },
		{ 512, 4096, 3584, 63, 0, true }, /* what such disks then lied about */
		{ 512, 4096, 3584, 0, 3584, true },
		{ 4096, 4096, 512, 0, 512, false }, /* not even on a block */
		{ 512, 65536, 0, 2048, 0, true },
		{ 512, 65536, 0, 2052, 65536 - 2048, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct limits t, b = disk(rows[i].logical, rows[i].physical);

		b.alignment_offset = rows[i].offset;
		limits_stacking(&t);
		assert_int_equal(limits_stack(&t, &b, rows[i].start), rows[i].good);
		assert_int_equal(t.alignment_offset, rows[i].aligned);
		assert_int_equal(t.misaligned, !rows[i].good);
	}
}

static void grids_that_never_meet(void **state)
{
	struct limits t, a = disk(512, 4096), b = disk(512, 4096);

	a.alignment_offset = 512;
	limits_stacking(&t);
	assert_true(limits_stack(&t, &a, 0));
	assert_false(limits_stack(&t, &b, 0));
	assert_true(t.misaligned);
	assert_null(limits_check(&t));
	/* Once misaligned, always, but the next device is not to blame. */
	b.alignment_offset = t.alignment_offset;
	assert_true(limits_stack(&t, &b, 0));
	assert_true(t.misaligned);
}

static void hints_that_do_not_fit_give_way(void **state)
{
	struct limits t, a = disk(512, 512), b = disk(4096, 4096);

	a.io_opt = 3 * 512;
	a.chunk_sectors = 12;
	limits_stacking(&t);
	assert_true(limits_stack(&t, &a, 0));
	assert_false(limits_stack(&t, &b, 0));
	assert_int_equal(t.io_opt, 0);
	assert_int_equal(t.chunk_sectors, 0);
	assert_true(t.misaligned);

	/* A common multiple that no 32 bits hold is no hint. */
	a = b = disk(512, 512);
	a.io_opt = 0x80000000;
	b.io_opt = 3 * 512;
	limits_stacking(&t);
	limits_stack(&t, &a, 0);
	limits_stack(&t, &b, 0);
	assert_int_equal(t.io_opt, 0);
}

static void parts(void **state)
{
	struct limits l = disk(512, 4096);

	l.chunk_sectors = 256;
	l.max_discard_sectors = 100000;
	l.discard_granularity = 8192;
	limits_offset(&l, 2048);
	assert_int_equal(l.alignment_offset, 0);
	assert_int_equal(l.chunk_sectors, 256);
	assert_int_equal(l.discard_alignment, 0);
	limits_offset(&l, 63);
	assert_int_equal(l.alignment_offset, 512);
	assert_int_equal(l.discard_alignment, 512);
	assert_int_equal(l.chunk_sectors, 0);
}

#define BAD(field, value, says)                                    \
	do {                                                       \
		struct limits bad = disk(4096, 4096);              \
                                                                   \
		bad.field = (value);                               \
		assert_non_null(limits_check(&bad));               \
		assert_non_null(strstr(limits_check(&bad), says)); \
	} while (0)

static void nonsense_is_named(void **state)
{
	BAD(logical_block, 0, "logical_block");
	BAD(logical_block, 256, "logical_block");
	BAD(logical_block, 520, "logical_block");
	BAD(logical_block, 131072, "logical_block");
	BAD(physical_block, 0, "physical_block");
	BAD(physical_block, 2048, "physical_block");
	BAD(physical_block, 12288, "physical_block");
	BAD(max_sectors, 0, "max_sectors");
	BAD(max_sectors, 7, "max_sectors");
	BAD(chunk_sectors, 12, "chunk_sectors");
	BAD(max_discard_sectors, 7, "max_discard_sectors");
	BAD(max_write_zeroes_sectors, 1, "max_write_zeroes_sectors");
	BAD(max_secure_erase_sectors, 1, "max_secure_erase_sectors");
	BAD(max_segs, 0, "max_segs");
	BAD(max_seg_size, 4095, "max_seg_size");
	BAD(seg_boundary, 0, "seg_boundary");
	BAD(seg_boundary, 511, "seg_boundary");
	BAD(seg_boundary, 0x12345, "seg_boundary");
	BAD(no_gaps, 4095, "no_gaps");
	BAD(no_gaps, 8, "no_gaps");
	BAD(dma_align, 4, "dma_align");
	BAD(dma_align, UINT32_MAX, "dma_align");
}

static uint32_t pick(struct rng *r)
{
	switch (rng_below(r, 4)) {
	case 0:
		return 0;
	case 1:
		return 1u << rng_below(r, 32);
	case 2:
		return (uint32_t)rng_below(r, 100);
	}
	return (uint32_t)rng_u64(r);
}

/* Whatever devices say, as long as bdev_register() takes them, their stack can be registered too.
 */
static void any_stack_can_be_used(void **state)
{
	unsigned nr_stacked = 0;
	struct rng r;

	rng_seed(&r, 7);
	for (unsigned n = 0; n < 20000; n++) {
		struct limits t;

		limits_stacking(&t);
		for (unsigned i = 0; i < 3; i++) {
			struct limits b = disk(512u << rng_below(&r, 8), 512u << rng_below(&r, 23));

			b.io_min = pick(&r);
			b.io_opt = pick(&r);
			b.max_sectors = pick(&r) | 128;
			b.max_segs = pick(&r) | 1;
			b.max_seg_size = pick(&r) | 65536;
			b.seg_boundary = rng_below(&r, 2) ? UINT64_MAX
							  : (1ull << (10 + rng_below(&r, 54))) - 1;
			b.chunk_sectors = pick(&r) & ~127u;
			b.max_discard_sectors = pick(&r) | 16;
			b.discard_granularity = pick(&r);
			b.discard_alignment = pick(&r);
			b.max_write_zeroes_sectors = pick(&r) & ~63u;
			b.alignment_offset = pick(&r);
			if (limits_check(&b))
				continue;
			limits_stack(&t, &b, rng_u64(&r));
			assert_null(limits_check(&t));
			limits_offset(&b, rng_u64(&r));
			assert_null(limits_check(&b));
			nr_stacked++;
		}
	}
	assert_true(nr_stacked > 10000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_make_sense),
		cmocka_unit_test(on_nothing_is_the_device_itself),
		cmocka_unit_test(takes_the_narrower_of_two),
		cmocka_unit_test(discard_is_of_those_who_have_it),
		cmocka_unit_test(caches),
		cmocka_unit_test(alignment),
		cmocka_unit_test(grids_that_never_meet),
		cmocka_unit_test(hints_that_do_not_fit_give_way),
		cmocka_unit_test(parts),
		cmocka_unit_test(nonsense_is_named),
		cmocka_unit_test(any_stack_can_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

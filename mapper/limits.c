/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * limits - how the limits of devices come together in a device made of them.  The results are those
 * of Linux 6.1, field by field, because people compare lsblk -t; no_gaps, which Linux's mapper
 * leaves to each disk, becomes the strictest here: nobody below can mend a gap.
 *
 * Numbers come from devices and are not trusted to be sane: everything is reckoned in 64 bits, and
 * nothing is divided by what could be 0.
 */
#include "mapper/block.h"

#define BLOCK_MAX (64u << 10)

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Least common multiple, where 0 says nothing.  Two 32-bit numbers have one of at most 64 bits. */
static uint64_t lcm(uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a | b;
	return (uint64_t)(a / gcd(a, b)) * b;
}

static uint32_t least_but_0(uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a | b;
	return MIN(a, b);
}

/* What alignments are reckoned in: bytes, at least a sector. */
static uint32_t granule_of(const struct limits *l)
{
	return MAX(MAX(l->physical_block, l->io_min), SECTOR_SIZE);
}

/* How far behind start the next aligned byte is. */
static uint32_t alignment_at(const struct limits *l, sector_t start)
{
	uint32_t granule = granule_of(l);
	uint32_t into = (uint32_t)(start % (granule >> SECTOR_SHIFT)) << SECTOR_SHIFT;

	return (uint32_t)(((uint64_t)granule + l->alignment_offset - into) % granule);
}

static uint32_t discard_alignment_at(const struct limits *l, sector_t start)
{
	uint32_t granule = l->discard_granularity >> SECTOR_SHIFT;
	uint32_t aligned = l->discard_alignment >> SECTOR_SHIFT;

	if (!l->max_discard_sectors || !granule)
		return 0;
	aligned %= granule;
	return (uint32_t)((granule + (uint64_t)aligned - start % granule) % granule)
	       << SECTOR_SHIFT;
}

/* Do two grids, each said by its step and its offset, meet? */
static bool grids_meet(uint64_t step_a, uint64_t off_a, uint64_t step_b, uint64_t off_b)
{
	uint64_t a = step_a + off_a, b = step_b + off_b;

	return MAX(a, b) % MIN(a, b) == 0;
}

static void common(struct limits *l)
{
	*l = (struct limits){
		.logical_block = SECTOR_SIZE,
		.physical_block = SECTOR_SIZE,
		.io_min = SECTOR_SIZE,
		.max_sectors = UINT32_MAX,
		.max_segs = UINT32_MAX,
		.max_seg_size = UINT32_MAX,
		.seg_boundary = UINT64_MAX,
	};
}

void limits_default(struct limits *l)
{
	common(l);
}

void limits_stacking(struct limits *l)
{
	common(l);
	l->max_write_zeroes_sectors = UINT32_MAX;
	l->fua = true;
}

/* What one request may be. */
static void stack_sizes(struct limits *t, const struct limits *b)
{
	t->max_sectors = MIN(t->max_sectors, b->max_sectors);
	t->max_segs = MIN(t->max_segs, b->max_segs);
	t->max_seg_size = MIN(t->max_seg_size, b->max_seg_size);
	t->seg_boundary = MIN(t->seg_boundary, b->seg_boundary);
	t->no_gaps = MAX(t->no_gaps, b->no_gaps);
	t->dma_align = MAX(t->dma_align, b->dma_align);
	t->max_write_zeroes_sectors = MIN(t->max_write_zeroes_sectors, b->max_write_zeroes_sectors);
	t->max_secure_erase_sectors =
		least_but_0(t->max_secure_erase_sectors, b->max_secure_erase_sectors);
}

static void stack_discard(struct limits *t, const struct limits *b, sector_t start)
{
	uint32_t alignment = discard_alignment_at(b, start);

	if (!b->discard_granularity)
		return;
	t->max_discard_sectors = least_but_0(t->max_discard_sectors, b->max_discard_sectors);
	t->discard_granularity = MAX(t->discard_granularity, b->discard_granularity);
	t->discard_alignment =
		(uint32_t)(lcm(t->discard_alignment, alignment) % t->discard_granularity);
}

/* Block sizes and hints, once merged, must still be multiples of each other.  False: one was not
 * and gave way. */
static bool settle_hints(struct limits *t)
{
	bool good = true;

	if (t->physical_block & (t->logical_block - 1)) {
		t->physical_block = t->logical_block;
		good = false;
	}
	if (t->io_min & (t->physical_block - 1)) {
		t->io_min = t->physical_block;
		good = false;
	}
	if (t->io_opt & (t->physical_block - 1)) {
		t->io_opt = 0;
		good = false;
	}
	if (((uint64_t)t->chunk_sectors << SECTOR_SHIFT) & (t->physical_block - 1)) {
		t->chunk_sectors = 0;
		good = false;
	}
	return good;
}

bool limits_stack(struct limits *t, const struct limits *b, sector_t start)
{
	uint32_t alignment = alignment_at(b, start), block_sectors;
	uint64_t opt;
	bool good = true;

	stack_sizes(t, b);
	if (t->alignment_offset != alignment)
		good = grids_meet(granule_of(t), t->alignment_offset, granule_of(b), alignment);
	t->logical_block = MAX(t->logical_block, b->logical_block);
	t->physical_block = MAX(t->physical_block, b->physical_block);
	t->io_min = MAX(t->io_min, b->io_min);
	opt = lcm(t->io_opt, b->io_opt);
	t->io_opt = opt <= UINT32_MAX ? (uint32_t)opt : 0;
	if (b->chunk_sectors)
		t->chunk_sectors = gcd(t->chunk_sectors, b->chunk_sectors);
	good &= settle_hints(t);
	t->alignment_offset = (uint32_t)(lcm(t->alignment_offset, alignment) % granule_of(t));
	good &= !(t->alignment_offset & (t->logical_block - 1));

	block_sectors = t->logical_block >> SECTOR_SHIFT;
	t->max_sectors = MAX(t->max_sectors & ~(block_sectors - 1), block_sectors);
	/* The least of these may be too little for the greatest block; who said it has smaller
	 * blocks and cuts for itself. */
	t->max_seg_size = MAX(t->max_seg_size, t->logical_block);
	t->seg_boundary = MAX(t->seg_boundary, (uint64_t)t->logical_block - 1);
	if (t->max_write_zeroes_sectors < block_sectors)
		t->max_write_zeroes_sectors = 0;
	if (t->max_secure_erase_sectors < block_sectors)
		t->max_secure_erase_sectors = 0;
	stack_discard(t, b, start);
	if (t->max_discard_sectors < block_sectors)
		t->max_discard_sectors = 0;

	t->write_cache |= b->write_cache;
	t->fua &= b->fua || !b->write_cache;
	t->rotational |= b->rotational;
	t->misaligned |= b->misaligned || !good;
	return good;
}

void limits_offset(struct limits *l, sector_t start)
{
	l->alignment_offset = alignment_at(l, start);
	l->discard_alignment = discard_alignment_at(l, start);
	/* The whole device cuts at its own multiples; a part that lies across them has none. */
	if (l->chunk_sectors && start % l->chunk_sectors)
		l->chunk_sectors = 0;
}

static const char *check_memory(const struct limits *l)
{
	if (!l->max_segs)
		return "max_segs is 0";
	if (l->max_seg_size < l->logical_block)
		return "max_seg_size is less than a block";
	if (l->seg_boundary != UINT64_MAX &&
		(!is_pow2(l->seg_boundary + 1) || l->seg_boundary < PAGE_SIZE - 1 ||
			l->seg_boundary < l->logical_block - 1))
		return "seg_boundary is not the mask of a power of two that holds a page and a "
		       "block";
	if (l->no_gaps && (!is_pow2(l->no_gaps) || l->no_gaps < SECTOR_SIZE))
		return "no_gaps is not a power of two from 512";
	if (!is_pow2((uint64_t)l->dma_align + 1) || l->dma_align >= PAGE_SIZE)
		return "dma_align is not the mask of a power of two within a page";
	return NULL;
}

const char *limits_check(const struct limits *l)
{
	uint32_t block = l->logical_block >> SECTOR_SHIFT;

	if (!is_pow2(l->logical_block) || !block || l->logical_block > BLOCK_MAX)
		return "logical_block is not a power of two from 512 to 65536";
	if (!is_pow2(l->physical_block) || l->physical_block < l->logical_block)
		return "physical_block is not a power of two from logical_block";
	if (l->max_sectors < block)
		return "max_sectors is less than a block";
	if (l->chunk_sectors % block)
		return "chunk_sectors is not a multiple of the block";
	if (l->max_discard_sectors && l->max_discard_sectors < block)
		return "max_discard_sectors is less than a block";
	if (l->max_write_zeroes_sectors && l->max_write_zeroes_sectors < block)
		return "max_write_zeroes_sectors is less than a block";
	if (l->max_secure_erase_sectors && l->max_secure_erase_sectors < block)
		return "max_secure_erase_sectors is less than a block";
	return check_memory(l);
}

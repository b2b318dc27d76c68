/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unstriped - one column of a device that was striped elsewhere, by a controller or an SSD inside
 * itself: "unstriped <#stripes> <chunk sectors> <stripe #> <dev> <start>".  Chunk c of the target
 * is chunk c * stripes + stripe of the device.
 *
 * Linux counts from the beginning of the mapped device, not of the target, and accepts stripe ==
 * stripes and tables that reach past the end; so do we, since tables that work there must give the
 * same bytes here.  What would fall off the device fails when it is asked for.
 */
#include "targets/targets.h"

struct unstriped {
	struct bdev *dev;
	sector_t start;
	uint32_t stripes, chunk, stripe;
	uint64_t row;    /* sectors from one chunk of the column to the next */
	uint64_t column; /* where its first chunk begins; UINT64_MAX: past any device */
};

static int unstriped_ctr(struct target *t, struct args *a)
{
	struct unstriped *u = t->ctx;
	uint64_t offset;

	if (args_left(a) != 5)
		arg_fail(a, -EINVAL, "Invalid number of arguments");
	u->stripes = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid stripe count");
	if (!u->stripes)
		arg_fail(a, -EINVAL, "Invalid stripe count");
	u->chunk = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid chunk_size");
	if (!u->chunk)
		arg_fail(a, -EINVAL, "Invalid chunk_size");
	u->stripe = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid stripe number");
	if (u->stripe > u->stripes && u->stripes > 1)
		arg_fail(a, -EINVAL, "Please provide stripe between [0, # of stripes]");
	u->dev = arg_bdev(a, "Couldn't get striped device");
	u->start = arg_u64(a, UINT64_MAX, "Invalid striped device offset");
	if (a->err || !u->chunk)
		return a->err;
	if (t->len % u->chunk)
		arg_fail(a, -EINVAL, "Target length not divisible by chunk size");
	arg_uses(a, u->dev, u->start, t->len);
	u->row = (uint64_t)u->stripes * u->chunk;
	offset = (uint64_t)u->stripe * u->chunk;
	if (__builtin_add_overflow(u->start, offset, &u->column))
		u->column = UINT64_MAX;
	t->max_io_sectors = u->chunk;
	t->nr_flush = 1;
	t->flush_bypass = true;
	return arg_end(a, "Invalid number of arguments");
}

static enum map_result unstriped_map(struct target *t, struct bio *bio)
{
	const struct unstriped *u = t->ctx;
	sector_t size = u->dev->nr_sectors, row = bio->sector / u->chunk, at;

	if (bio->op == BIO_FLUSH) {
		bio->dev = u->dev;
		bio->sector = 0;
		return MAP_REMAPPED;
	}
	/* The table promised less than this reaches, so nobody looks at it again; in this order the
	 * sum cannot wrap. */
	if (u->column >= size || row > size / u->row)
		return MAP_FAIL;
	at = u->column + row * u->row + bio->sector % u->chunk;
	if (at > size || bio->nr_sectors > size - at || (at & u->dev->block_mask))
		return MAP_FAIL;
	bio->dev = u->dev;
	bio->sector = at;
	return MAP_REMAPPED;
}

static void unstriped_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct unstriped *u = t->ctx;

	if (type == STATUS_TABLE)
		strbuf_printf(out, "%u %u %u %u:%u %llu", u->stripes, u->chunk, u->stripe,
			u->dev->major, u->dev->minor, (unsigned long long)u->start);
}

static void unstriped_io_hints(struct target *t, struct limits *l)
{
	const struct unstriped *u = t->ctx;

	l->chunk_sectors = u->chunk;
}

const struct target_ops unstriped_ops = {
	.name = "unstriped",
	.syntax = "<stripes> <chunk sectors> <stripe> <device> <start>",
	.version = { 1, 1, 0 },
	.ctx_size = sizeof(struct unstriped),
	.ctr = unstriped_ctr,
	.map = unstriped_map,
	.status = unstriped_status,
	.io_hints = unstriped_io_hints,
};

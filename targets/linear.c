/* SPDX-License-Identifier: BSD-2-Clause */
/* linear - a range of one device: "linear <dev> <start>". */
#include "targets/targets.h"

struct linear {
	struct bdev *dev;
	sector_t start;
};

static int linear_ctr(struct target *t, struct args *a)
{
	struct linear *l = t->ctx;

	if (args_left(a) != 2)
		arg_fail(a, -EINVAL, "Invalid argument count");
	l->dev = arg_range(a, t->len, &l->start, "Device lookup failed", "Invalid device sector");
	t->nr_flush = t->nr_discard = t->nr_write_zeroes = t->nr_secure_erase = 1;
	t->flush_bypass = true;
	return arg_end(a, "Invalid argument count");
}

static enum map_result linear_map(struct target *t, struct bio *bio)
{
	const struct linear *l = t->ctx;

	bio->dev = l->dev;
	bio->sector = l->start + target_offset(t, bio);
	return MAP_REMAPPED;
}

static void linear_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct linear *l = t->ctx;

	if (type == STATUS_TABLE)
		strbuf_printf(out, "%u:%u %llu", l->dev->major, l->dev->minor,
			(unsigned long long)l->start);
}

const struct target_ops linear_ops = {
	.name = "linear",
	.syntax = "<device> <start>",
	.version = { 1, 4, 0 },
	.ctx_size = sizeof(struct linear),
	.ctr = linear_ctr,
	.map = linear_map,
	.status = linear_status,
};

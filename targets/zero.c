/* SPDX-License-Identifier: BSD-2-Clause */
/* zero - reads are zeroes, writes go nowhere: "zero". */
#include "kernel/api/string.h"
#include "targets/targets.h"

static int zero_ctr(struct target *t, struct args *a)
{
	t->nr_discard = t->nr_write_zeroes = 1; /* no flushes: nothing here is ever volatile */
	t->discards_supported = true;
	return arg_end(a, "No arguments required");
}

static enum map_result zero_map(struct target *t, struct bio *bio)
{
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;

	if (bio->op == BIO_READ)
		while (seg_next(&it, UINT32_MAX, &s))
			memset(dma_ptr(s.addr), 0, s.len);
	return MAP_DONE;
}

const struct target_ops zero_ops = {
	.name = "zero",
	.syntax = "",
	.version = { 1, 1, 0 },
	.ctr = zero_ctr,
	.map = zero_map,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* error - every request fails: "error", whatever stands behind it. */
#include "targets/targets.h"

static int error_ctr(struct target *t, struct args *a)
{
	t->nr_discard = 1;
	t->discards_supported = true;
	return 0;
}

static enum map_result error_map(struct target *t, struct bio *bio)
{
	bio->status = -EIO;
	return MAP_FAIL;
}

const struct target_ops error_ops = {
	.name = "error",
	.syntax = "[<device> <start>]",
	.version = { 1, 5, 0 },
	.ctr = error_ctr,
	.map = error_map,
	.wildcard = true,
};

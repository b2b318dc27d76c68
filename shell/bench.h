/* SPDX-License-Identifier: BSD-2-Clause */
/* bench - the load that `blk bench` puts on a device, and the data that both of them write. */
#ifndef SHELL_BENCH_H
#define SHELL_BENCH_H

#include "mapper/block.h"
#include "shell/run.h"

struct bench_how {
	struct bdev *dev;
	bool write, sequential, verify, fua;
	uint32_t bs; /* bytes */
	unsigned qd, core;
	uint64_t count, seed;
	uint64_t flush_every; /* writes between two flushes; 0: none */
};

may_block int bench_run(struct shell_io *io, const struct bench_how *how, struct strbuf *why);

/* Sectors of data that say where they belong, who wrote them and for the how-manieth time. */
void stamp_fill(
	void *buf, uint32_t nr_sectors, sector_t sector, uint64_t seed, uint64_t generation);
/* True if they are what stamp_fill() makes; else *bad is the first sector that is not. */
bool stamp_check(const void *buf, uint32_t nr_sectors, sector_t sector, uint64_t seed,
	uint64_t generation, sector_t *bad);

#endif

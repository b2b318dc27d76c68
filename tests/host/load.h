/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load - many bios to one disk driven by a model, for tests of drivers: reads of sectors nobody
 * writes and writes to sectors of their own, in several runs of memory, from every core.  In done()
 * it is checked that bios end on their core, that the device no longer owns their memory, that none
 * ended twice, and none later than 60 s after it was submitted.
 */
#ifndef TESTS_HOST_LOAD_H
#define TESTS_HOST_LOAD_H

#include "kernel/api/random.h"
#include "mapper/block.h"

#define LOAD_MAX   2048
#define LOAD_BYTES 8192u /* of one bio at most */
#define LOAD_SEGS  4

struct load {
	struct bdev *dev;
	/* Whether the device may still touch this byte; what the bytes of its medium are. */
	bool (*owns)(void *model, uint64_t addr);
	void *model;
	const uint8_t *medium;
	struct rng rng;
	bool lies; /* the device completes what it goes on owning: no checks of ownership */
	bool no_writes;

	/* what came of it */
	unsigned nr, nr_done, nr_ok, nr_early;
	uint64_t longest_ns;
	int last_err; /* 0: none */
	struct load_bio *bios[LOAD_MAX];
};

/* Submits n more bios, spread over the cores. */
void load_submit(struct load *l, unsigned n);
/* Runs until all have ended, at most for so long; true if they did. */
bool load_run(struct load *l, uint64_t max_ns);
/* What was written and acknowledged is on the medium; what was read was right. */
bool load_verify(struct load *l);
unsigned load_last_core(const struct load *l); /* where the last one was submitted */
void load_free(struct load *l);                /* nothing may be under way */

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* random - a small repeatable generator (xoshiro256**) for loads and tests; never for secrets. */
#ifndef KERNEL_API_RANDOM_H
#define KERNEL_API_RANDOM_H

#include "kernel/api/base.h"

struct rng {
	uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed); /* any seed, 0 included */
uint64_t rng_u64(struct rng *r);
/* Evenly 0..n-1; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

#endif

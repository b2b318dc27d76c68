/* SPDX-License-Identifier: BSD-2-Clause */
/* load - see load.h.  The first half of the disk is read, the second half written. */
#include <stdlib.h>
#include "tests/host/host.h"
#include "tests/host/load.h"

struct load_bio {
	struct bio bio;
	struct load *load;
	struct seg segs[LOAD_SEGS];
	unsigned core, bytes;
	sector_t sector;
	uint64_t begin_ns;
	bool ended;
	int status;
	uint8_t *buf, *wants;
};

static struct mem_tag load_tag = MEM_TAG("load");

static bool device_owns(const struct load_bio *b)
{
	unsigned i;

	for (i = 0; i < b->bio.nr_segs; i++)
		if (b->load->owns(b->load->model, b->segs[i].addr) ||
			b->load->owns(b->load->model, b->segs[i].addr + b->segs[i].len - 1))
			return true;
	return false;
}

static void load_done(struct bio *bio)
{
	struct load_bio *b = bio->owner;
	struct load *l = b->load;

	ASSERT(!b->ended);
	ASSERT(this_core() == b->core);
	b->ended = true;
	b->status = bio->status;
	l->nr_done++;
	l->nr_ok += !b->status;
	if (b->status)
		l->last_err = b->status;
	l->longest_ns = MAX(l->longest_ns, now_ns() - b->begin_ns);
	if (!l->lies && device_owns(b))
		l->nr_early++;
	/* Whatever the device does to it from now on is not ours any more. */
	if (!b->status && b->bio.op == BIO_READ)
		b->status = memcmp(b->buf, b->wants, b->bytes) ? -EILSEQ : 0;
}

/* Cuts the buffer into runs of whole blocks. */
static void make_segs(struct load *l, struct load_bio *b)
{
	unsigned sectors = b->bytes / SECTOR_SIZE, nr, i, n, from = 0;
	uint32_t most = MIN(l->dev->limits.max_segs, (uint32_t)LOAD_SEGS);
	unsigned block = l->dev->limits.logical_block / SECTOR_SIZE;

	nr = 1 + (unsigned)rng_below(&l->rng, MIN(most, sectors / block));
	for (i = 0; i < nr; i++) {
		n = i == nr - 1 ? sectors - from : block;
		b->segs[i] = (struct seg){ dma_addr(b->buf + from * SECTOR_SIZE), n * SECTOR_SIZE };
		from += n;
	}
	b->bio.segs = b->segs;
	b->bio.nr_segs = nr;
}

static void submit_one(struct load *l)
{
	struct load_bio *b = calloc(1, sizeof(*b));
	uint32_t block = l->dev->limits.logical_block / SECTOR_SIZE;
	uint64_t half = l->dev->nr_sectors / 2 / block * block, place = LOAD_BYTES / SECTOR_SIZE;
	unsigned blocks = LOAD_BYTES / SECTOR_SIZE / block, i;
	bool write;

	ASSERT(b && l->nr < LOAD_MAX);
	b->buf = page_alloc(&load_tag, page_order(LOAD_BYTES));
	b->wants = malloc(LOAD_BYTES);
	ASSERT(b->buf && b->wants);
	b->load = l;
	b->core = (unsigned)rng_below(&l->rng, nr_cores());
	b->bytes = (1 + (unsigned)rng_below(&l->rng, blocks)) * block * SECTOR_SIZE;
	write = rng_below(&l->rng, 2) && !l->no_writes && half >= (l->nr + 1) * place;
	b->sector =
		write ? half + l->nr * place : rng_below(&l->rng, (half - place) / block) * block;
	for (i = 0; i < b->bytes; i++)
		b->buf[i] = write ? (uint8_t)rng_u64(&l->rng) : 0xd1;
	memcpy(b->wants, write ? b->buf : l->medium + b->sector * SECTOR_SIZE, b->bytes);
	make_segs(l, b);
	b->bio.dev = l->dev;
	b->bio.op = write ? BIO_WRITE : BIO_READ;
	b->bio.sector = b->sector;
	b->bio.nr_sectors = b->bytes / SECTOR_SIZE;
	b->bio.done = load_done;
	b->bio.owner = b;
	b->begin_ns = now_ns();
	l->bios[l->nr++] = b;
	host_set_core(b->core);
	bio_submit(&b->bio);
	host_set_core(0);
	host_wake(b->core); /* as if its loop had done this */
}

void load_submit(struct load *l, unsigned n)
{
	while (n--)
		submit_one(l);
}

static bool all_done(void *arg)
{
	struct load *l = arg;

	return l->nr_done == l->nr;
}

bool load_run(struct load *l, uint64_t max_ns)
{
	return host_run_until(all_done, l, max_ns);
}

bool load_verify(struct load *l)
{
	unsigned i;

	for (i = 0; i < l->nr; i++) {
		struct load_bio *b = l->bios[i];

		if (!b->ended || b->status == -EILSEQ)
			return false;
		if (!b->status && b->bio.op == BIO_WRITE &&
			memcmp(l->medium + b->sector * SECTOR_SIZE, b->wants, b->bytes) != 0)
			return false;
	}
	return !l->nr_early && l->longest_ns <= 60 * NS_PER_S;
}

unsigned load_last_core(const struct load *l)
{
	return l->bios[l->nr - 1]->core;
}

void load_free(struct load *l)
{
	while (l->nr) {
		struct load_bio *b = l->bios[--l->nr];

		page_free(&load_tag, b->buf, page_order(LOAD_BYTES));
		free(b->wants);
		free(b);
	}
	l->nr_done = l->nr_ok = l->nr_early = 0;
	l->longest_ns = 0;
	l->last_err = 0;
}

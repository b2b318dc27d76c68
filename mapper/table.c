/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table - what a mapped device is made of: targets side by side, the devices they took, the limits
 * that come of it, and for each core the frames its bios need.  parse.c makes one out of text;
 * while it is the live one its contents do not change.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/mdev.h"

#define FRAMES 128 /* bios that are in one device at once, for each core */
#define CLONES 16  /* copies of one bio that are out at once */

unsigned table_nr_frames = FRAMES, table_nr_clones = CLONES;

struct mem_tag mdev_tag = MEM_TAG("mapper");
static const char holder; /* mapped devices share devices among themselves, and with nobody else */

struct target *table_find_slow(const struct table *t, sector_t sector)
{
	unsigned low = 0, high = t->nr_targets - 1;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (sector < t->targets[mid].begin + t->targets[mid].len)
			high = mid;
		else
			low = mid + 1;
	}
	return &t->targets[low];
}

/* ---- devices ---- */

/* Makes room for one more in an array of what has this size. */
static bool grow(void **array, unsigned nr, unsigned *max, size_t size)
{
	unsigned more = *max ? *max * 2 : 4;
	void *p;

	if (nr < *max)
		return true;
	p = mem_alloc(&mdev_tag, more * size);
	if (!p)
		return false;
	if (nr)
		memcpy(p, *array, nr * size);
	mem_free(*array);
	*array = p;
	*max = more;
	return true;
}

bool table_has(const struct table *t, const struct bdev *dev)
{
	for (unsigned i = t->nr_deps; i-- > 0;)
		if (t->deps[i] == dev)
			return true;
	return false;
}

int table_take(struct table *t, struct bdev *dev)
{
	void *deps = t->deps;
	int err;

	if (!grow(&deps, t->nr_deps, &t->max_deps, sizeof(void *)))
		return -ENOMEM;
	t->deps = deps;
	err = bdev_claim(dev, &holder);
	if (!err)
		t->deps[t->nr_deps++] = dev;
	return err;
}

int table_add_use(struct table *t, const struct table_use *use)
{
	void *uses = t->uses;

	if (!grow(&uses, t->nr_uses, &t->max_uses, sizeof(*t->uses)))
		return -ENOMEM;
	t->uses = uses;
	t->uses[t->nr_uses] = *use;
	t->uses[t->nr_uses++].line = t->line;
	return 0;
}

/* ---- limits ---- */

/* Into why, and as Linux has it into the log. */
static void __printf(4, 5)
	refuse(const struct table *t, unsigned line, struct strbuf *why, const char *fmt, ...)
{
	char words[200];
	va_list ap;

	va_start(ap, fmt);
	str_vprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	if (line)
		strbuf_printf(why, "table line %u: %s", line, words);
	else
		strbuf_puts(why, words);
	log_err("device-mapper: table: %u:%u: %s", t->md->bdev.major, t->md->bdev.minor, words);
}

static bool use_fits(const struct table *t, const struct table_use *u, struct strbuf *why)
{
	const struct bdev *dev = u->dev;
	uint32_t block = dev->limits.logical_block;
	uint64_t mask = (block >> SECTOR_SHIFT) - 1;

	if (u->start > dev->nr_sectors || u->len > dev->nr_sectors - u->start)
		refuse(t, u->line, why,
			"%s too small for target: start=%llu, len=%llu, dev_size=%llu", dev->name,
			(unsigned long long)u->start, (unsigned long long)u->len,
			(unsigned long long)dev->nr_sectors);
	else if (u->start & mask)
		refuse(t, u->line, why, "start=%llu not aligned to h/w logical block size %u of %s",
			(unsigned long long)u->start, block, dev->name);
	else if (u->len & mask)
		refuse(t, u->line, why, "len=%llu not aligned to h/w logical block size %u of %s",
			(unsigned long long)u->len, block, dev->name);
	else
		return true;
	return false;
}

/* What no copy of an operation can reach is not offered, whatever the other devices can. */
static void offer(
	const struct target *tg, const struct table_use *u, unsigned nr, struct limits *own)
{
	bool discard = nr || tg->discards_supported, erase = nr;

	for (unsigned i = 0; i < nr; i++) {
		discard &= u[i].dev->limits.max_discard_sectors || tg->discards_supported;
		erase &= u[i].dev->limits.max_secure_erase_sectors != 0;
	}
	if (!discard || !tg->nr_discard) {
		own->max_discard_sectors = 0;
	} else if (!own->max_discard_sectors) {
		own->max_discard_sectors = UINT32_MAX;
		own->discard_granularity = MAX(own->discard_granularity, own->logical_block);
	}
	if (!erase || !tg->nr_secure_erase)
		own->max_secure_erase_sectors = 0;
	if (!tg->nr_write_zeroes)
		own->max_write_zeroes_sectors = 0;
	if (tg->flush_supported)
		own->write_cache = true;
}

/* Of one target, from its nr uses. */
static bool settle_target(const struct table *t, struct target *tg, const struct table_use *u,
	unsigned nr, struct limits *own, struct strbuf *why)
{
	limits_stacking(own);
	for (unsigned i = 0; i < nr; i++) {
		if (!use_fits(t, &u[i], why))
			return false;
		if (!limits_stack(own, &u[i].dev->limits, u[i].start))
			log_warn("device-mapper: table: %u:%u: adding target device %s caused an "
				 "alignment inconsistency: physical_block_size=%u, "
				 "logical_block_size=%u, alignment_offset=%u, start=%llu",
				t->md->bdev.major, t->md->bdev.minor, u[i].dev->name,
				u[i].dev->limits.physical_block, u[i].dev->limits.logical_block,
				u[i].dev->limits.alignment_offset,
				(unsigned long long)u[i].start << SECTOR_SHIFT);
	}
	offer(tg, u, nr, own);
	if (tg->ops->io_hints)
		tg->ops->io_hints(tg, own);
	return true;
}

static bool blocks_fit(const struct table *t, const struct limits *l, struct strbuf *why)
{
	uint64_t mask = (l->logical_block >> SECTOR_SHIFT) - 1;

	for (unsigned i = 0; i < t->nr_targets; i++) {
		const struct target *tg = &t->targets[i];

		if (!((tg->begin | tg->len) & mask))
			continue;
		refuse(t, 0, why,
			"table line %u (start sect %llu len %llu) not aligned to h/w logical block "
			"size %u",
			i, (unsigned long long)tg->begin, (unsigned long long)tg->len,
			l->logical_block);
		return false;
	}
	return true;
}

static bool settle(struct table *t, struct limits *all, struct strbuf *why)
{
	unsigned first = 0; /* of the uses not looked at yet */
	bool discard = true, erase = true;
	const char *words;

	limits_stacking(all);
	for (unsigned i = 0; i < t->nr_targets; i++) {
		struct target *tg = &t->targets[i];
		struct limits own;
		unsigned nr = 0;

		while (first + nr < t->nr_uses && t->uses[first + nr].target == i)
			nr++;
		if (!settle_target(t, tg, nr ? &t->uses[first] : NULL, nr, &own, why))
			return false;
		if (!limits_stack(all, &own, 0))
			log_warn("device-mapper: table: %u:%u: adding target device (start sect "
				 "%llu len %llu) caused an alignment inconsistency",
				t->md->bdev.major, t->md->bdev.minor, (unsigned long long)tg->begin,
				(unsigned long long)tg->len);
		discard &= own.max_discard_sectors != 0;
		erase &= own.max_secure_erase_sectors != 0;
		first += nr;
	}
	if (!discard)
		all->max_discard_sectors = all->discard_granularity = all->discard_alignment = 0;
	if (!erase)
		all->max_secure_erase_sectors = 0;
	words = limits_check(all);
	if (words)
		refuse(t, 0, why, "its limits together make no sense: %s", words);
	return !words && blocks_fit(t, all, why);
}

int table_settle(struct table *t, struct strbuf *why)
{
	struct limits all;

	if (!settle(t, &all, why)) {
		log_err("device-mapper: core: Cannot calculate initial queue limits");
		log_err("device-mapper: ioctl: unable to set up device queue for new table.");
		return -EINVAL;
	}
	t->limits = all;
	return 0;
}

/* ---- copies and frames ---- */

/* How many bios a flush becomes; 1 goes without a copy. */
static void count_flushes(struct table *t)
{
	uint64_t nr = 0;

	t->flush_by_dev = true;
	for (unsigned i = 0; i < t->nr_targets; i++) {
		struct target *tg = &t->targets[i];

		if (!tg->nr_flush)
			continue;
		nr += tg->nr_flush;
		t->flush_one = tg;
		t->flush_by_dev &= tg->flush_bypass;
	}
	t->flush_copies = nr && t->flush_by_dev ? t->nr_deps : nr;
}

/* The most copies any bio can become. */
static uint64_t most_copies(const struct table *t)
{
	uint64_t most = t->flush_copies;

	for (unsigned i = 0; i < t->nr_targets; i++) {
		const struct target *tg = &t->targets[i];

		most = MAX(most, MAX(tg->nr_discard, tg->nr_write_zeroes));
		most = MAX(most, tg->nr_secure_erase);
	}
	return most;
}

static void drained_run(struct work *w)
{
	struct table_core *tc = container_of(w, struct table_core, drained);
	struct mdev *md = tc->table->md;

	md->nr_draining--;
	waitq_wake_all(&md->drained);
}

static bool core_init(struct table *t, struct table_core *tc, size_t data_size, unsigned clones)
{
	struct mframe *f, *list = NULL;

	tc->table = t;
	tc->drained.fn = drained_run;
	if (pool_init(&tc->frames, &mdev_tag, sizeof(*f) + data_size, table_nr_frames))
		return false;
	/* What the free list leaves alone is written once, here. */
	while ((f = pool_get(&tc->frames))) {
		f->tc = tc;
		f->frame.end = mframe_end;
		f->frame.next = list ? &list->frame : NULL;
		list = f;
	}
	while ((f = list)) {
		list = f->frame.next ? container_of(f->frame.next, struct mframe, frame) : NULL;
		pool_put(&tc->frames, f);
	}
	tc->frames.low_water = tc->frames.nr_free;
	if (clones < 2)
		return true;
	tc->fan = mem_alloc(&mdev_tag, fan_size(clones, data_size));
	if (tc->fan)
		fan_init(tc->fan, tc, clones, data_size);
	return tc->fan != NULL;
}

bool table_make_cores(struct table *t)
{
	size_t data_size = 0;
	uint64_t copies;

	count_flushes(t);
	copies = most_copies(t);
	for (unsigned i = 0; i < t->nr_targets; i++)
		data_size = MAX(data_size, t->targets[i].ops->per_bio_size);
	data_size = ROUND_UP_POW2(data_size, (size_t)16);
	t->whole = t->nr_targets == 1 && !t->targets[0].max_io_sectors;
	t->grid = t->nr_targets == 1 ? t->targets[0].max_io_sectors : 0;
	if (t->grid & (t->grid - 1))
		t->grid = 0;
	t->cores = lines_alloc(nr_cores(), sizeof(*t->cores), &t->cores_mem);
	if (!t->cores)
		return false;
	/* A bio that becomes several needs a fan, however few clones it may have at once. */
	copies = copies > 1 ? MAX(2, MIN(copies, table_nr_clones)) : 0;
	for (unsigned i = 0; i < nr_cores(); i++)
		if (!core_init(t, &t->cores[i], data_size, (unsigned)copies))
			return false;
	return true;
}

void *lines_alloc(unsigned nr, size_t size, void **mem)
{
	*mem = mem_alloc(&mdev_tag, nr * size + CACHE_LINE - 1);
	return (void *)ROUND_UP_POW2((uintptr_t)*mem, (uintptr_t)CACHE_LINE);
}

/* ---- end ---- */

void table_release(struct table *t)
{
	if (--t->users == 0)
		waitq_wake_all(&t->idle);
}

void table_destroy(struct table *t)
{
	if (!t)
		return;
	while (t->users)
		waitq_wait(&t->idle);
	for (unsigned i = t->nr_targets; i-- > 0;) {
		struct target *tg = &t->targets[i];

		if (tg->ops->dtr)
			tg->ops->dtr(tg);
		mem_free(tg->ctx);
	}
	for (unsigned i = 0; i < t->nr_deps; i++)
		bdev_release(t->deps[i], &holder);
	for (unsigned i = 0; t->cores && i < nr_cores(); i++) {
		ASSERT(!t->cores[i].fan_out);
		pool_destroy(&t->cores[i].frames);
		mem_free(t->cores[i].fan);
	}
	mem_free(t->cores_mem);
	mem_free(t->targets);
	mem_free(t->deps);
	mem_free(t->uses);
	mem_free(t);
}

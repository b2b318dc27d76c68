/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * switch - regions of equal size, each on one of several paths, as a table says that messages
 * change: "switch <#paths> <region sectors> 0 N x {<dev> <offset>}".  The message is
 * "set_region_mappings" and any number of
 *
 *	[<region>]:<path>	of that region, or of the one after the last
 *	R<n>,<m>		the last n paths again, for the next m regions
 *
 * with all numbers hexadecimal.  At first region r has path r % N.
 *
 * The table packs as many entries as fit in a 64-bit slot.  Messages run on core 0 and any core
 * maps; a slot is read and written whole, so nobody sees half an entry.
 */
#include "kernel/api/fiber.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "targets/targets.h"

#define PREFIX    "device-mapper: switch: "
#define PATHS_MAX 131072u /* what Linux's allocator has room for, or nearly */
#define RUN_SLOTS 8192u   /* slots of the table in one allocation */
#define RUN_BYTES (RUN_SLOTS * sizeof(uint64_t))

#define REGIONS_A_TURN 262144u /* filled in, then others on this core get theirs */

struct path {
	struct bdev *dev;
	sector_t start;
};

struct switcher {
	unsigned nr_paths, nr_runs;
	uint32_t region; /* sectors */
	uint64_t nr_regions;
	unsigned bits, per_slot; /* of an entry; entries */
	uint64_t **runs;         /* the table */
	struct path *paths;
};

static struct mem_tag switch_tag = MEM_TAG("switch");

/* ---- the table ---- */

static uint64_t *slot_of(const struct switcher *s, uint64_t region, unsigned *shift)
{
	uint64_t slot = region / s->per_slot;

	*shift = (unsigned)(region % s->per_slot) * s->bits;
	return &s->runs[slot / RUN_SLOTS][slot % RUN_SLOTS];
}

static unsigned table_read(const struct switcher *s, uint64_t region)
{
	unsigned shift;
	const uint64_t *slot = slot_of(s, region, &shift);

	return (unsigned)(__atomic_load_n(slot, __ATOMIC_RELAXED) >> shift) &
	       (unsigned)((1ull << s->bits) - 1);
}

static void table_write(struct switcher *s, uint64_t region, unsigned path)
{
	unsigned shift;
	uint64_t *slot = slot_of(s, region, &shift);
	uint64_t mask = ((1ull << s->bits) - 1) << shift;

	__atomic_store_n(slot, (*slot & ~mask) | (uint64_t)path << shift, __ATOMIC_RELAXED);
}

static may_block bool table_make(struct switcher *s, sector_t len)
{
	uint64_t slots, runs;

	s->bits = s->nr_paths > 2 ? ilog2(s->nr_paths - 1) + 1 : 1;
	s->per_slot = 64 / s->bits;
	s->nr_regions = DIV_ROUND_UP(len, (uint64_t)s->region);
	slots = DIV_ROUND_UP(s->nr_regions, (uint64_t)s->per_slot);
	runs = DIV_ROUND_UP(slots, (uint64_t)RUN_SLOTS);
	if (runs > UINT32_MAX / sizeof(*s->runs))
		return false;
	s->runs = mem_alloc(&switch_tag, runs * sizeof(*s->runs));
	if (!s->runs)
		return false;
	for (; s->nr_runs < runs; s->nr_runs++) {
		s->runs[s->nr_runs] = mem_alloc(&switch_tag,
			MIN(RUN_BYTES, (slots - (uint64_t)s->nr_runs * RUN_SLOTS) * 8));
		if (!s->runs[s->nr_runs])
			return false;
	}
	for (uint64_t r = 0; r < s->nr_regions; r++) {
		table_write(s, r, (unsigned)(r % s->nr_paths));
		if (r % REGIONS_A_TURN == REGIONS_A_TURN - 1)
			fiber_yield();
	}
	return true;
}

/* ---- life ---- */

static int switch_ctr(struct target *t, struct args *a)
{
	struct switcher *s = t->ctx;
	uint64_t nr;

	nr = arg_u64(a, PATHS_MAX, "Invalid number of paths");
	if (!nr)
		arg_fail(a, -EINVAL, "Invalid number of paths");
	s->region = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid region size");
	if (!s->region)
		arg_fail(a, -EINVAL, "Invalid region size");
	arg_u64(a, 0, "Invalid number of optional args");
	if (args_left(a) != nr * 2)
		arg_fail(a, -EINVAL, "Incorrect number of path arguments");
	if (a->err)
		return a->err;
	s->paths = mem_alloc(&switch_tag, nr * sizeof(*s->paths));
	if (!s->paths) {
		arg_fail(a, -ENOMEM, "Cannot allocate redirection context");
		return a->err;
	}
	s->nr_paths = (unsigned)nr;
	for (unsigned i = 0; i < s->nr_paths && !a->err; i++) {
		struct path *p = &s->paths[i];

		p->dev = arg_bdev(a, "Device lookup failed");
		p->start = arg_u64(a, UINT64_MAX, "Invalid device starting offset");
		arg_uses(a, p->dev, p->start, t->len);
	}
	if (!a->err && !table_make(s, t->len))
		arg_fail(a, -ENOMEM, "Cannot allocate region table");
	t->max_io_sectors = s->region;
	/* Linux sends a discard down one path, and no flush at all; ours reach every device. */
	t->nr_discard = 1;
	t->nr_flush = (uint16_t)MIN(nr, UINT16_MAX);
	t->flush_bypass = true;
	return arg_end(a, "Incorrect number of path arguments");
}

static void switch_dtr(struct target *t)
{
	struct switcher *s = t->ctx;

	while (s->nr_runs)
		mem_free(s->runs[--s->nr_runs]);
	mem_free(s->runs);
	mem_free(s->paths);
}

static enum map_result switch_map(struct target *t, struct bio *bio)
{
	const struct switcher *s = t->ctx;
	sector_t offset = target_offset(t, bio);
	const struct path *p = s->paths;

	if (likely(bio->op != BIO_FLUSH))
		p += table_read(s, offset / s->region);
	else
		p += bio->target_nr;
	bio->dev = p->dev;
	bio->sector = likely(bio->op != BIO_FLUSH) ? p->start + offset : 0;
	return MAP_REMAPPED;
}

static void switch_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct switcher *s = t->ctx;

	if (type != STATUS_TABLE)
		return;
	strbuf_printf(out, "%u %u 0", s->nr_paths, s->region);
	for (unsigned i = 0; i < s->nr_paths; i++)
		strbuf_printf(out, " %u:%u %llu", s->paths[i].dev->major, s->paths[i].dev->minor,
			(unsigned long long)s->paths[i].start);
}

/* ---- messages ---- */

/* Digits as far as there are any, none being 0; what goes beyond 64 bits is lost, as in Linux. */
static uint64_t hex(const char **at)
{
	uint64_t n = 0;

	for (;; (*at)++) {
		unsigned char c = (unsigned char)**at, low = c | 0x20;

		if (c >= '0' && c <= '9')
			n = n << 4 | (c - '0');
		else if (low >= 'a' && low <= 'f')
			n = n << 4 | (low - 'a' + 10u);
		else
			return n;
	}
}

static int refuse(struct strbuf *why, const char *word)
{
	return message_fail(why, -EINVAL, "invalid set_region_mappings argument: '%s'", word);
}

/* "R<n>,<m>": *region is the last one set, and will be. */
static int repeat(
	struct switcher *s, const char *word, uint64_t *region, bool apply, struct strbuf *why)
{
	const char *at = word + 1;
	uint64_t cycle, nr;

	if (*at == ',')
		return refuse(why, word);
	cycle = hex(&at);
	if (*at++ != ',' || !*at)
		return refuse(why, word);
	nr = hex(&at);
	if (*at)
		return refuse(why, word);
	if (!cycle || cycle - 1 > *region)
		return message_fail(why, -EINVAL,
			"invalid set_region_mappings cycle length: %llu > %llu",
			(unsigned long long)(cycle - 1), (unsigned long long)*region);
	if (*region + nr < *region || *region + nr >= s->nr_regions)
		return message_fail(why, -EINVAL,
			"invalid set_region_mappings region number: %llu + %llu >= %llu",
			(unsigned long long)*region, (unsigned long long)nr,
			(unsigned long long)s->nr_regions);
	for (uint64_t r = *region + 1; apply && r <= *region + nr; r++)
		table_write(s, r, table_read(s, r - cycle));
	*region += nr;
	return 0;
}

/* "[<region>]:<path>" */
static int assign(
	struct switcher *s, const char *word, uint64_t *region, bool apply, struct strbuf *why)
{
	const char *at = word;
	uint64_t path;

	if (*at == ':')
		++*region;
	else
		*region = hex(&at);
	if (*at++ != ':' || !*at)
		return refuse(why, word);
	path = hex(&at);
	if (*at)
		return refuse(why, word);
	if (*region >= s->nr_regions)
		return message_fail(why, -EINVAL,
			"invalid set_region_mappings region number: %llu >= %llu",
			(unsigned long long)*region, (unsigned long long)s->nr_regions);
	if (path >= s->nr_paths)
		return message_fail(why, -EINVAL, "invalid set_region_mappings device: %llu >= %u",
			(unsigned long long)path, s->nr_paths);
	if (apply)
		table_write(s, *region, (unsigned)path);
	return 0;
}

static int set_region_mappings(
	struct switcher *s, unsigned argc, char **argv, bool apply, struct strbuf *why)
{
	uint64_t region = 0;
	int err = 0;

	for (unsigned i = 1; i < argc && !err; i++) {
		if ((argv[i][0] & 0xdf) == 'R')
			err = repeat(s, argv[i], &region, apply, why);
		else
			err = assign(s, argv[i], &region, apply, why);
	}
	return err;
}

static int switch_message(struct target *t, unsigned argc, char **argv, struct strbuf *out)
{
	struct switcher *s = t->ctx;
	int err;

	if (strcasecmp(argv[0], "set_region_mappings") != 0)
		return message_fail(out, -EINVAL, "Unrecognised message received.");
	/* Whether a word is right does not depend on what the table holds; so all are judged before
	 * the first is obeyed, where Linux would leave half a message behind. */
	err = set_region_mappings(s, argc, argv, false, out);
	return err ? err : set_region_mappings(s, argc, argv, true, out);
}

const struct target_ops switch_ops = {
	.name = "switch",
	.syntax = "<paths> <region sectors> 0 (<device> <start>)...",
	.version = { 1, 1, 0 },
	.ctx_size = sizeof(struct switcher),
	.ctr = switch_ctr,
	.dtr = switch_dtr,
	.map = switch_map,
	.status = switch_status,
	.message = switch_message,
};

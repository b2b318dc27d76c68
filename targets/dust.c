/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dust - a disk with bad blocks where one wants them: "dust <dev> <start> <block size in bytes>".
 * Messages add and remove blocks of the device and switch the failing on and off.  Reading a bad
 * block fails; writing to it makes it good, at once or after a number of writes that fail.
 *
 * The list is in memory only and belongs to core 0.  Requests that it might concern go there; all
 * others never leave their core.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/tree.h"
#include "targets/targets.h"

#define PREFIX            "device-mapper: dust: "
#define BLOCK_SECTORS_MAX 2097152u

struct bad_block {
	struct tree_node node;
	uint64_t block;
	uint8_t writes_to_fail;
};

struct dust {
	struct bdev *dev;
	sector_t start;
	uint32_t block_bytes;
	unsigned shift; /* from sectors to blocks */
	bool failing;   /* other cores look as well */
	bool quiet;
	struct tree bad;
	uint64_t nr_bad;
};

struct dust_bio {
	struct work work;
	struct dust *dust;
	struct bio *bio;
};

static struct mem_tag dust_tag = MEM_TAG("dust");

static int by_block(const struct tree_node *n, const void *key)
{
	uint64_t a = container_of(n, const struct bad_block, node)->block;
	uint64_t b = *(const uint64_t *)key;

	return a < b ? -1 : a > b;
}

static struct bad_block *find(struct dust *d, uint64_t block)
{
	struct tree_node *n = tree_find(&d->bad, &block);

	return n ? container_of(n, struct bad_block, node) : NULL;
}

static void drop(struct dust *d, struct bad_block *b)
{
	tree_remove(&d->bad, &b->node, &b->block);
	mem_free(b);
	__atomic_store_n(&d->nr_bad, d->nr_bad - 1, __ATOMIC_RELAXED);
}

/* ---- the way of a bio ---- */

/* Whether it may go on. */
static bool passes(struct dust *d, struct bio *bio)
{
	struct bad_block *b = find(d, bio->sector >> d->shift);

	if (!b || !d->failing)
		return true;
	if (bio->op == BIO_READ)
		return false;
	if (b->writes_to_fail) {
		b->writes_to_fail--;
		return false;
	}
	if (!d->quiet)
		log_info(PREFIX "block %llu removed from badblocklist by write",
			(unsigned long long)b->block);
	drop(d, b);
	return true;
}

static void look_run(struct work *w)
{
	struct dust_bio *db = container_of(w, struct dust_bio, work);

	if (passes(db->dust, db->bio))
		bio_submit(db->bio);
	else
		bio_end(db->bio, -EIO);
}

static enum map_result dust_map(struct target *t, struct bio *bio)
{
	struct dust *d = t->ctx;
	struct dust_bio *db = target_bio_data(bio);

	bio->dev = d->dev;
	if (bio->op == BIO_FLUSH)
		return MAP_REMAPPED;
	bio->sector = d->start + target_offset(t, bio);
	if (!__atomic_load_n(&d->failing, __ATOMIC_RELAXED) ||
		!__atomic_load_n(&d->nr_bad, __ATOMIC_RELAXED))
		return MAP_REMAPPED;
	if (this_core() == 0) {
		bio->status = -EIO;
		return passes(d, bio) ? MAP_REMAPPED : MAP_FAIL;
	}
	*db = (struct dust_bio){ .work.fn = look_run, .dust = d, .bio = bio };
	work_send(0, &db->work);
	return MAP_HELD;
}

/* ---- messages ---- */

static int add(struct dust *d, uint64_t block, uint8_t writes_to_fail, struct strbuf *out)
{
	struct bad_block *b;

	if (find(d, block))
		return d->quiet ? -EINVAL
				: message_fail(out, -EINVAL,
					  "dust_add_block: block %llu already in badblocklist",
					  (unsigned long long)block);
	b = mem_alloc(&dust_tag, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->block = block;
	b->writes_to_fail = writes_to_fail;
	tree_insert(&d->bad, &b->node, &b->block);
	__atomic_store_n(&d->nr_bad, d->nr_bad + 1, __ATOMIC_RELAXED);
	if (!d->quiet)
		log_info(PREFIX
			"dust_add_block: badblock added at block %llu with write fail count %u",
			(unsigned long long)block, writes_to_fail);
	return 0;
}

static int remove_block(struct dust *d, uint64_t block, struct strbuf *out)
{
	struct bad_block *b = find(d, block);

	if (!b)
		return d->quiet ? -EINVAL
				: message_fail(out, -EINVAL,
					  "dust_remove_block: block %llu not found in badblocklist",
					  (unsigned long long)block);
	drop(d, b);
	if (!d->quiet)
		log_info(PREFIX "dust_remove_block: badblock removed at block %llu",
			(unsigned long long)block);
	return 0;
}

static void drop_all(struct dust *d)
{
	struct tree_node *n;

	while ((n = tree_after(&d->bad, NULL)))
		drop(d, container_of(n, struct bad_block, node));
}

static void list(struct dust *d, struct strbuf *out)
{
	struct tree_node *n = tree_after(&d->bad, NULL);

	if (!n)
		strbuf_printf(out, "No blocks in badblocklist");
	while (n) {
		const struct bad_block *b = container_of(n, struct bad_block, node);

		strbuf_printf(out, "%llu\n", (unsigned long long)b->block);
		n = tree_after(&d->bad, &b->block);
	}
}

static void set_failing(struct dust *d, bool failing)
{
	log_info(PREFIX "%s read failures on bad sectors", failing ? "enabling" : "disabling");
	__atomic_store_n(&d->failing, failing, __ATOMIC_RELAXED);
}

static int message1(struct dust *d, const char *word, struct strbuf *out)
{
	if (!strcasecmp(word, "addbadblock") || !strcasecmp(word, "queryblock") ||
		!strcasecmp(word, "removebadblock"))
		return message_fail(out, -EINVAL, "%s requires an additional argument", word);
	if (!strcasecmp(word, "disable")) {
		set_failing(d, false);
	} else if (!strcasecmp(word, "enable")) {
		set_failing(d, true);
	} else if (!strcasecmp(word, "countbadblocks")) {
		strbuf_printf(out, "countbadblocks: %llu badblock(s) found",
			(unsigned long long)d->nr_bad);
	} else if (!strcasecmp(word, "clearbadblocks")) {
		strbuf_printf(out, "dust_clear_badblocks: %s",
			d->nr_bad ? "badblocks cleared" : "no badblocks found");
		drop_all(d);
	} else if (!strcasecmp(word, "quiet")) {
		d->quiet = !d->quiet;
	} else if (!strcasecmp(word, "listbadblocks")) {
		list(d, out);
	} else {
		return message_fail(out, -EINVAL, "unrecognized message '%s' received", word);
	}
	return 0;
}

static int message2(struct dust *d, const char *word, uint64_t block, struct strbuf *out)
{
	if (!strcasecmp(word, "addbadblock"))
		return add(d, block, 0, out);
	if (!strcasecmp(word, "removebadblock"))
		return remove_block(d, block, out);
	if (!strcasecmp(word, "queryblock")) {
		strbuf_printf(out, "dust_query_block: block %llu %sfound in badblocklist",
			(unsigned long long)block, find(d, block) ? "" : "not ");
		return 0;
	}
	return message_fail(out, -EINVAL, "unrecognized message '%s' received", word);
}

static int dust_message(struct target *t, unsigned argc, char **argv, struct strbuf *out)
{
	struct dust *d = t->ctx;
	uint64_t block = 0, nr = 0;

	if (argc == 1)
		return message1(d, argv[0], out);
	if (argc > 3)
		return message_fail(out, -EINVAL, "invalid number of arguments '%u'", argc);
	if (str_to_u64(argv[1], 10, UINT64_MAX, &block))
		return -EINVAL;
	if (block > d->dev->nr_sectors >> d->shift)
		return message_fail(out, -EINVAL, "selected block value out of range");
	if (argc == 2)
		return message2(d, argv[0], block, out);
	if (str_to_u64(argv[2], 10, UINT64_MAX, &nr))
		return -EINVAL;
	if (nr > 255)
		return message_fail(out, -EINVAL, "selected write fail count out of range");
	if (!strcasecmp(argv[0], "addbadblock"))
		return add(d, block, (uint8_t)nr, out);
	return message_fail(out, -EINVAL, "unrecognized message '%s' received", argv[0]);
}

/* ---- life ---- */

static const char *wrong_size(uint64_t bytes, sector_t len)
{
	if (bytes < SECTOR_SIZE)
		return "Block size must be at least 512";
	if (bytes & (bytes - 1))
		return "Block size must be a power of 2";
	if (bytes >> SECTOR_SHIFT > MIN(len, (sector_t)BLOCK_SECTORS_MAX))
		return "Block size is too large";
	return NULL;
}

static int dust_ctr(struct target *t, struct args *a)
{
	struct dust *d = t->ctx;
	unsigned at = a->pos;
	const char *why;

	if (args_left(a) != 3)
		arg_fail(a, -EINVAL, "Invalid argument count");
	d->bad.cmp = by_block;
	if (!a->err)
		a->pos = at + 2;
	d->block_bytes = (uint32_t)arg_u64(a, UINT32_MAX, "Invalid block size parameter");
	if (!a->err && !d->block_bytes)
		arg_fail(a, -EINVAL, "Invalid block size parameter");
	why = wrong_size(d->block_bytes, t->len);
	if (why)
		arg_fail(a, -EINVAL, "%s", why);
	if (a->err)
		return a->err;
	a->pos = at;
	d->dev = arg_range(
		a, t->len, &d->start, "Device lookup failed", "Invalid device offset sector");
	if (a->err)
		return a->err;
	a->pos++;
	d->shift = ilog2(d->block_bytes) - SECTOR_SHIFT;
	t->max_io_sectors = d->block_bytes >> SECTOR_SHIFT;
	t->nr_flush = t->nr_discard = 1;
	return arg_end(a, "Invalid argument count");
}

static void dust_dtr(struct target *t)
{
	struct dust *d = t->ctx;

	drop_all(d);
}

static void dust_status(struct target *t, enum status_type type, struct strbuf *out)
{
	const struct dust *d = t->ctx;

	strbuf_printf(out, "%u:%u ", d->dev->major, d->dev->minor);
	if (type == STATUS_TABLE)
		strbuf_printf(out, "%llu %u", (unsigned long long)d->start, d->block_bytes);
	else
		strbuf_printf(out, "%s %s", d->failing ? "fail_read_on_bad_block" : "bypass",
			d->quiet ? "quiet" : "verbose");
}

const struct target_ops dust_ops = {
	.name = "dust",
	.syntax = "<device> <start> <block bytes>",
	.version = { 1, 0, 0 },
	.ctx_size = sizeof(struct dust),
	.per_bio_size = sizeof(struct dust_bio),
	.ctr = dust_ctr,
	.dtr = dust_dtr,
	.map = dust_map,
	.status = dust_status,
	.message = dust_message,
};

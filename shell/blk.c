/* SPDX-License-Identifier: BSD-2-Clause */
/* blk - single requests to a device by hand, a load (bench.c), and disks of memory. */
#include "drivers/ram.h"
#include "kernel/api/crypto.h"
#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/bench.h"
#include "shell/complete.h"
#include "shell/verbs.h"

#define CHUNK_ORDER   5 /* 128 KiB */
#define CHUNK_SECTORS ((PAGE_SIZE << CHUNK_ORDER) / SECTOR_SIZE)

static struct mem_tag blk_tag = MEM_TAG("blk");

struct range {
	struct bdev *dev;
	sector_t sector;
	uint64_t count;
	uint64_t seed;
	bool fua, flush;
	void *buf;
};

/* ---- one piece at a time ---- */

static void dump(struct shell_io *io, uint64_t at, const uint8_t *p, size_t n)
{
	struct strbuf out = { 0 };

	for (size_t i = 0; i < n; i += 16) {
		unsigned long long where = at + i;

		strbuf_printf(&out, "%08llx:", where);
		for (unsigned k = 0; k < 16; k++)
			strbuf_printf(&out, "%s%02x", k % 2 ? "" : " ", p[i + k]);
		strbuf_puts(&out, "  ");
		for (unsigned k = 0; k < 16; k++)
			strbuf_putc(
				&out, p[i + k] >= 0x20 && p[i + k] < 0x7f ? (char)p[i + k] : '.');
		strbuf_putc(&out, '\n');
	}
	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
}

static may_block int pieces(struct shell_io *io, struct range *r, enum bio_op op,
	struct sha256 *sum, struct strbuf *why)
{
	bool data = op == BIO_READ || op == BIO_WRITE;
	uint64_t left = r->count;
	sector_t at = r->sector;

	while (left) {
		uint32_t n =
			(uint32_t)MIN(left, data ? (uint64_t)CHUNK_SECTORS : (uint64_t)1 << 21);
		int err;

		if (io_interrupted(io))
			return fail(why, -EINTR, "interrupted");
		if (op == BIO_WRITE)
			stamp_fill(r->buf, n, at, r->seed, 0);
		err = bdev_rw(r->dev, op, r->fua ? BIO_FUA : 0, at, n, data ? r->buf : NULL);
		if (err)
			return fail(why, err, "%s: sector %llu: %s", r->dev->name,
				(unsigned long long)at, err_text(err));
		if (sum)
			sha256_update(sum, r->buf, (size_t)n * SECTOR_SIZE);
		else if (op == BIO_READ)
			dump(io, at << SECTOR_SHIFT, r->buf, (size_t)n * SECTOR_SIZE);
		at += n;
		left -= n;
	}
	return 0;
}

static may_block int flush(struct range *r, struct strbuf *why)
{
	int err = bdev_flush(r->dev);

	return err ? fail(why, err, "%s: flush: %s", r->dev->name, err_text(err)) : 0;
}

static may_block int do_range(
	struct shell_io *io, struct range *r, const char *what, struct strbuf *why)
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 sum;
	int err = 0;

	if (!strcmp(what, "read"))
		return pieces(io, r, BIO_READ, NULL, why);
	if (!strcmp(what, "discard"))
		return pieces(io, r, BIO_DISCARD, NULL, why);
	if (!strcmp(what, "sum")) {
		sha256_init(&sum);
		err = pieces(io, r, BIO_READ, &sum, why);
		sha256_final(&sum, digest);
		for (unsigned i = 0; !err && i < SHA256_SIZE; i++)
			io_printf(io, "%02x%s", digest[i], i + 1 == SHA256_SIZE ? "\n" : "");
		return err;
	}
	err = pieces(io, r, !strcmp(what, "zero") ? BIO_WRITE_ZEROES : BIO_WRITE, NULL, why);
	return err || !r->flush ? err : flush(r, why);
}

/* ---- words ---- */

static struct bdev *device(const char *word, struct strbuf *why)
{
	struct bdev *d = bdev_find(word);

	if (!d)
		fail(why, -ENODEV, "%.140s: no such device", word);
	return d;
}

static may_block int range_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct range r = { 0 };
	uint64_t block;
	unsigned i;
	int err;

	for (i = 5; i < argc; i++) {
		if (!strcmp(argv[i], "--fua"))
			r.fua = true;
		else if (!strcmp(argv[i], "--flush"))
			r.flush = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc &&
			 !str_to_u64(argv[i + 1], 0, UINT64_MAX, &r.seed))
			i++;
		else
			return fail(
				why, -EINVAL, "blk %s: %.60s: not understood", argv[1], argv[i]);
	}
	if (argc < 5)
		return fail(why, -EINVAL, "blk %s: <device> <sector> <count>", argv[1]);
	r.dev = device(argv[2], why);
	if (!r.dev)
		return -ENODEV;
	if (str_to_u64(argv[3], 10, UINT64_MAX, &r.sector))
		return fail(why, -EINVAL, "%.60s: not a sector number", argv[3]);
	if (str_to_u64(argv[4], 10, UINT64_MAX, &r.count))
		return fail(why, -EINVAL, "%.60s: not a number of sectors", argv[4]);
	block = r.dev->limits.logical_block / SECTOR_SIZE;
	if (r.sector > r.dev->nr_sectors || r.count > r.dev->nr_sectors - r.sector)
		return fail(why, -EINVAL, "%s has %llu sectors", r.dev->name,
			(unsigned long long)r.dev->nr_sectors);
	if ((r.sector | r.count) & (block - 1))
		return fail(why, -EINVAL, "%s has blocks of %llu sectors", r.dev->name,
			(unsigned long long)block);
	r.buf = page_alloc(&blk_tag, CHUNK_ORDER);
	if (!r.buf)
		return -ENOMEM;
	bdev_open(r.dev);
	err = do_range(io, &r, argv[1], why);
	bdev_close(r.dev);
	page_free(&blk_tag, r.buf, CHUNK_ORDER);
	return err;
}

/* "4k", "1M" */
static int parse_size(const char *word, uint64_t *out)
{
	char text[24];
	size_t n;
	unsigned shift = 0;

	if (!str_copy(text, sizeof(text), word))
		return -EINVAL;
	n = strlen(text);
	if (n && (text[n - 1] | 32) == 'k')
		shift = 10;
	else if (n && (text[n - 1] | 32) == 'm')
		shift = 20;
	if (shift)
		text[n - 1] = 0;
	if (str_to_u64(text, 10, 1u << 20, out))
		return -EINVAL;
	*out <<= shift;
	return 0;
}

static int bench_option(
	struct bench_how *how, const char *name, const char *value, struct strbuf *why)
{
	uint64_t n = 0;

	if (!strcmp(name, "--rw")) {
		how->write = strstr(value, "write");
		how->sequential = strncmp(value, "rand", 4);
		if (strcmp(value + (how->sequential ? 0 : 4), how->write ? "write" : "read"))
			return fail(why, -EINVAL, "--rw: randread, randwrite, read or write");
		return 0;
	}
	if (!strcmp(name, "--bs")) {
		if (parse_size(value, &n) || !n || n % SECTOR_SIZE || n > 4u << 20)
			return fail(why, -EINVAL, "--bs: a multiple of 512, at most 4M");
		how->bs = (uint32_t)n;
		return 0;
	}
	if (str_to_u64(value, 0, UINT64_MAX, &n))
		return fail(why, -EINVAL, "%s: %.60s is not a number", name, value);
	if (!strcmp(name, "--qd")) {
		how->qd = (unsigned)n;
		return n && n <= 1024 ? 0 : fail(why, -EINVAL, "--qd: 1 to 1024");
	}
	if (!strcmp(name, "--core")) {
		how->core = (unsigned)n;
		return n < nr_cores()
			       ? 0
			       : fail(why, -EINVAL, "--core: there are %u cores", nr_cores());
	}
	if (!strcmp(name, "--count")) {
		how->count = n;
		return n ? 0 : fail(why, -EINVAL, "--count: at least 1");
	}
	if (!strcmp(name, "--flush")) {
		how->flush_every = n;
		return n ? 0
			 : fail(why, -EINVAL, "--flush: writes between two flushes, at least 1");
	}
	how->seed = n;
	return 0;
}

static may_block int bench_words(
	struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	static const char *const with_value[] = { "--rw", "--bs", "--qd", "--count", "--seed",
		"--core", "--flush" };
	struct bench_how how = { .bs = 4096, .qd = 32, .count = 10000, .seed = 1 };

	if (argc < 3)
		return fail(why, -EINVAL, "blk bench: which device?");
	how.dev = device(argv[2], why);
	if (!how.dev)
		return -ENODEV;
	for (unsigned i = 3; i < argc; i++) {
		bool known = false;
		int err;

		for (unsigned k = 0; k < ARRAY_SIZE(with_value); k++)
			known |= !strcmp(argv[i], with_value[k]);
		if (!strcmp(argv[i], "--verify")) {
			how.verify = true;
		} else if (!strcmp(argv[i], "--fua")) {
			how.fua = true;
		} else if (known && i + 1 < argc) {
			err = bench_option(&how, argv[i], argv[i + 1], why);
			if (err)
				return err;
			i++;
		} else {
			return fail(why, -EINVAL, "blk bench: %.60s: not understood", argv[i]);
		}
	}
	if (how.bs % how.dev->limits.logical_block)
		return fail(why, -EINVAL, "--bs: %s has blocks of %u bytes", how.dev->name,
			how.dev->limits.logical_block);
	return bench_run(io, &how, why);
}

/* "64M", "1048576": bytes.  As parse_size(), but for what a disk may have. */
static int parse_bytes(const char *word, uint64_t *out)
{
	static const char units[] = "kmg";
	size_t n = strlen(word);
	const char *unit = n ? strchr(units, word[n - 1] | 32) : NULL;
	unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;
	char text[24];

	if (!str_copy(text, sizeof(text), word))
		return -EINVAL;
	if (shift)
		text[n - 1] = 0;
	if (str_to_u64(text, 10, UINT64_MAX >> shift, out))
		return -EINVAL;
	*out <<= shift;
	return 0;
}

static may_block int ramdisk_words(unsigned argc, char **argv, struct strbuf *why)
{
	const char *words;
	uint64_t bytes;
	int err;

	if (argc == 5 && !strcmp(argv[2], "create")) {
		if (parse_bytes(argv[4], &bytes))
			return fail(why, -EINVAL, "%.60s: not a size", argv[4]);
		err = ram_create(argv[3], bytes, &words);
	} else if (argc == 4 && !strcmp(argv[2], "remove")) {
		err = ram_remove(argv[3], &words);
	} else {
		return fail(why, -EINVAL, "blk ramdisk: create <name> <size>, or remove <name>");
	}
	return err ? fail(why, err, "%.60s: %s", argv[3], words) : 0;
}

static const char *const subcommands[] = { "read", "write", "sum", "zero", "discard", "flush",
	"bench", "ramdisk" };

static may_block int blk_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	struct range r = { 0 };

	if (argc < 2)
		return fail(why, -EINVAL,
			"blk: read, write, sum, zero, discard, flush, bench or ramdisk?");
	if (!strcmp(argv[1], "bench"))
		return bench_words(io, argc, argv, why);
	if (!strcmp(argv[1], "ramdisk"))
		return ramdisk_words(argc, argv, why);
	if (!strcmp(argv[1], "flush")) {
		if (argc != 3)
			return fail(why, -EINVAL, "blk flush: which device?");
		r.dev = device(argv[2], why);
		return r.dev ? flush(&r, why) : -ENODEV;
	}
	for (unsigned i = 0; i < 5; i++)
		if (!strcmp(argv[1], subcommands[i]))
			return range_run(io, argc, argv, why);
	return fail(why, -EINVAL, "blk: %.60s: not understood", argv[1]);
}

static void blk_complete(unsigned argc, char **argv, const char *begun,
	void (*out)(void *ctx, const char *word), void *ctx)
{
	static const char *const of_ramdisk[] = { "create", "remove" };
	bool ramdisk = argc > 1 && !strcmp(argv[1], "ramdisk");

	if ((argc == 2 && !ramdisk) || (argc == 3 && ramdisk && !strcmp(argv[2], "remove")))
		complete_devices(begun, out, ctx);
	for (unsigned i = 0; argc == 2 && ramdisk && i < ARRAY_SIZE(of_ramdisk); i++)
		out(ctx, of_ramdisk[i]);
	for (unsigned i = 0; argc == 1 && i < ARRAY_SIZE(subcommands); i++)
		out(ctx, subcommands[i]);
}

const struct verb blk_verb = {
	.name = "blk",
	.usage = "blk read|write|sum|zero|discard|flush|bench|ramdisk ...",
	.help = "blk read|sum <device> <sector> <count>            a hex dump, the sha256\n"
		"blk write <device> <sector> <count> [--seed S] [--fua] [--flush]\n"
		"                                                  data made of S and the sector "
		"number\n"
		"blk zero|discard <device> <sector> <count>\n"
		"blk flush <device>\n"
		"blk bench <device> [--rw randread|randwrite|read|write] [--bs 4k] [--qd 32] "
		"[--count N]\n"
		"          [--seed S] [--verify] [--core N] [--fua] [--flush N]\n"
		"                                                  --flush: one after every N "
		"writes\n"
		"blk ramdisk create <name> <size>                  ram0, ram1 ...: a disk of "
		"zeroed memory\n"
		"blk ramdisk remove <name>\n\n"
		"Sectors are of 512 bytes.",
	.run = blk_run,
	.complete = blk_complete,
};

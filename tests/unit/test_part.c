/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_part - partition tables as devices.  Two tables were written by sfdisk (util-linux 2.38) and
 * stand here byte by byte; the others are made here, right or wrong in one thing, with blocks of
 * 512 and 4096 bytes.  At the end tables are made at random and damaged at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *rd;
static uint32_t block; /* bytes */
static uint64_t nr_blocks;

static int setup(void **state)
{
	host_reset();
	block_reset();
	rd = NULL;
	return 0;
}

static void drop(void)
{
	if (rd)
		assert_int_equal(part_forget(&rd->bdev), 0);
	ramdisk_destroy(rd);
	rd = NULL;
}

static int teardown(void **state)
{
	bool clean;

	drop();
	clean = host_mem_check();
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

static void disk(const char *name, uint32_t block_bytes, uint64_t blocks)
{
	struct limits l;

	drop();
	limits_default(&l);
	l.logical_block = l.physical_block = l.io_min = block_bytes;
	l.max_discard_sectors = 1 << 16;
	l.discard_granularity = block_bytes;
	block = block_bytes;
	nr_blocks = blocks;
	rd = ramdisk_create(name, blocks * (block / SECTOR_SIZE), &l);
	assert_non_null(rd);
	assert_int_equal(bdev_unregister(&rd->bdev), 0);
	rd->bdev.major = 254; /* as the third virtio disk */
	rd->bdev.minor = 32;
	assert_int_equal(bdev_register(&rd->bdev), 0);
}

static unsigned nr_found;

static void scan_fiber(void *arg)
{
	nr_found = part_scan(&rd->bdev);
}

static unsigned scan(void)
{
	host_log_clear();
	host_fiber(scan_fiber, NULL);
	/* Whatever was on it, the disk itself can be used. */
	assert_ptr_equal(bdev_find(rd->bdev.name), &rd->bdev);
	assert_int_equal(rd->bdev.open_count, 0);
	assert_int_equal(rd->bdev.nr_parts, nr_found);
	return nr_found;
}

static void bio_is_back(struct bio *bio)
{
}

/* The partition of that name; where it is is seen by a read of its first block. */
static struct bdev *part(const char *name, sector_t start, sector_t len)
{
	static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);
	struct seg seg = { dma_addr(page), PAGE_SIZE };
	struct bdev *dev = bdev_find(name);
	struct bio bio = {
		.dev = dev,
		.nr_sectors = block / SECTOR_SIZE,
		.segs = &seg,
		.nr_segs = 1,
		.done = bio_is_back,
	};

	assert_non_null(dev);
	assert_int_equal(dev->nr_sectors, len);
	assert_ptr_equal(dev->whole, &rd->bdev);
	assert_ptr_equal(dev->ops->below(dev, 0), &rd->bdev);
	assert_null(dev->ops->below(dev, 1));
	rd->nr_trace = 0;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, 0);
	assert_int_equal(rd->trace[0].sector, start);
	return dev;
}

/* ---- making tables ---- */

static uint8_t *at(uint64_t b)
{
	assert_true(b < nr_blocks);
	return rd->data + b * block;
}

static void put32(uint8_t *p, uint64_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, v);
	put32(p + 4, v >> 32);
}

static void mbr_entry(uint64_t b, unsigned i, uint8_t type, uint64_t first, uint64_t nr)
{
	uint8_t *p = at(b) + 446 + 16 * i;

	p[4] = type;
	put32(p + 8, first);
	put32(p + 12, nr);
	at(b)[510] = 0x55;
	at(b)[511] = 0xaa;
}

#define GPT_ENTRIES 128

static uint8_t *gpt_entries(bool backup)
{
	return at(backup ? nr_blocks - 1 - GPT_ENTRIES * 128 / block : 2);
}

/* After a change: the CRCs of entries and header, of a header that may say anything. */
static void gpt_seal(bool backup)
{
	uint8_t *h = at(backup ? nr_blocks - 1 : 1);
	uint32_t size = h[12] | h[13] << 8;

	put32(h + 88, crc32(0, gpt_entries(backup), GPT_ENTRIES * 128));
	put32(h + 16, 0);
	put32(h + 16, crc32(0, h, size));
}

static void gpt_header(bool backup)
{
	uint8_t *h = at(backup ? nr_blocks - 1 : 1);
	uint64_t array = GPT_ENTRIES * 128 / block;

	put64(h, 0x5452415020494645); /* "EFI PART" */
	put32(h + 8, 0x10000);
	put32(h + 12, 92);
	put64(h + 24, backup ? nr_blocks - 1 : 1);
	put64(h + 32, backup ? 1 : nr_blocks - 1);
	put64(h + 40, 2 + array);
	put64(h + 48, nr_blocks - 2 - array);
	memset(h + 56, 0xd1, 16);
	put64(h + 72, backup ? nr_blocks - 1 - array : 2);
	put32(h + 80, GPT_ENTRIES);
	put32(h + 84, 128);
	gpt_seal(backup);
}

static void gpt_set(unsigned i, uint64_t first, uint64_t last)
{
	for (unsigned backup = 0; backup < 2; backup++) {
		uint8_t *p = gpt_entries(backup) + i * 128;

		memset(p, 0x77, 16);
		memset(p + 16, (int)i + 1, 16);
		put64(p + 32, first);
		put64(p + 40, last);
		gpt_seal(backup);
	}
}

/* A protective MBR and both copies, no partitions. */
static void gpt_disk(uint32_t block_bytes, uint64_t blocks)
{
	disk("vda", block_bytes, blocks);
	mbr_entry(0, 0, 0xee, 1, UINT32_MAX);
	gpt_header(false);
	gpt_header(true);
}

/* ---- by sfdisk ---- */

struct patch {
	uint32_t at;
	const char *hex;
};

static void apply(const struct patch *p, unsigned nr)
{
	for (; nr--; p++) {
		for (unsigned i = 0; p->hex[2 * i]; i++) {
			char byte[3] = { p->hex[2 * i], p->hex[2 * i + 1], '\0' };
			uint64_t v;

			assert_int_equal(str_to_u64(byte, 16, 255, &v), 0);
			rd->data[p->at + i] = (uint8_t)v;
		}
	}
}

static const struct patch sfdisk_gpt[] = {
	{ 0x1c0, "0200eeffffff01000000ff0f" },
	{ 0x1fe, "55aa4546492050415254000001005c000000749950af00000000010000000000"
		 "0000ff0f0000000000004000000000000000de0f00000000000067452301ab89"
		 "efcd0123456789abcdef02000000000000008000000080000000f5d3291a" },
	{ 0x400, "af3dc60f838472478e793d69d8477de4aaaaaaaabbbbccccddddeeeeeeeeeeee"
		 "4000000000000000a300000000000000000000000000000072006f006f007400"
		 "2000660073" },
	{ 0x480, "af3dc60f838472478e793d69d8477de478563412bc9af0de123456789abcdef0"
		 "0008000000000000e70b0000000000000000000000000000e40062" },
	{ 0x1fbe00, "af3dc60f838472478e793d69d8477de4aaaaaaaabbbbccccddddeeeeeeeeeeee"
		    "4000000000000000a300000000000000000000000000000072006f006f007400"
		    "2000660073" },
	{ 0x1fbe80, "af3dc60f838472478e793d69d8477de478563412bc9af0de123456789abcdef0"
		    "0008000000000000e70b0000000000000000000000000000e40062" },
	{ 0x1ffe00, "4546492050415254000001005c000000b6be285800000000ff0f000000000000"
		    "01000000000000004000000000000000de0f00000000000067452301ab89efcd"
		    "0123456789abcdefdf0f0000000000008000000080000000f5d3291a" },
};

static const struct patch sfdisk_mbr[] = {
	{ 0x1b8, "3412feca000000010100830225003f0000006400000000030c0005223a00c800"
		 "0000d0070000802f280082372300b80b0000f401000000000000000000000000"
		 "00000000000055aa" },
	{ 0x191bf, "040c0083043d003f000000320000000006160005071300c70000003d" },
	{ 0x191fe, "55aa" },
	{ 0x31fbf, "06170083071300010000003c000000000f370005223a001f030000b104" },
	{ 0x31ffe, "55aa" },
	{ 0x7cfbf, "0f380083223a0001000000b004" },
	{ 0x7cffe, "55aa" },
};

static void expect_gpt(void)
{
	struct strbuf words = { 0 };
	struct bdev *dev;

	assert_int_equal(scan(), 2);
	dev = part("vda1", 64, 100);
	assert_string_equal(dev->serial, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
	assert_int_equal(dev->major, 254);
	assert_int_equal(dev->minor, 33);
	dev->ops->describe(dev, &words);
	assert_string_equal(strbuf_text(&words), "GPT partition \"root fs\"");
	strbuf_free(&words);
	dev = part("vda2", 2048, 1000);
	assert_string_equal(dev->serial, "12345678-9abc-def0-1234-56789abcdef0");
	assert_ptr_equal(
		bdev_find("/dev/disk/by-partuuid/12345678-9ABC-DEF0-1234-56789ABCDEF0"), dev);
	dev->ops->describe(dev, &words);
	assert_string_equal(strbuf_text(&words), "GPT partition \"?b\"");
	strbuf_free(&words);
}

static void sfdisk_writes_gpt(void **state)
{
	disk("vda", 512, 4096);
	apply(sfdisk_gpt, ARRAY_SIZE(sfdisk_gpt));
	expect_gpt();
	assert_false(host_log_has("no good"));
	assert_false(host_log_has("backup"));
}

static void sfdisk_writes_mbr(void **state)
{
	static const struct {
		const char *name, *uuid;
		sector_t start, len;
	} rows[] = {
		{ "vda1", "cafe1234-01", 63, 100 },
		{ "vda3", "cafe1234-03", 3000, 500 },
		{ "vda5", "cafe1234-05", 263, 50 },
		{ "vda6", "cafe1234-06", 400, 60 },
		{ "vda7", "cafe1234-07", 1000, 1200 },
	};

	disk("vda", 512, 4096);
	apply(sfdisk_mbr, ARRAY_SIZE(sfdisk_mbr));
	assert_int_equal(scan(), ARRAY_SIZE(rows));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bdev *dev = part(rows[i].name, rows[i].start, rows[i].len);

		assert_string_equal(dev->serial, rows[i].uuid);
		assert_int_equal(dev->minor, 32 + rows[i].name[3] - '0');
	}
	assert_false(host_log_has("left out"));
}

/* ---- GPT ---- */

/* Any byte that a CRC covers: that copy counts no more, the other does. */
static void either_copy_will_do(void **state)
{
	static const struct {
		uint32_t at;
		const char *says;
	} rows[] = {
		{ 0x200, "the primary table is no good: no signature" },
		{ 0x20c, "the primary table is no good: a header of that size" },
		{ 0x20f, "the primary table is no good: a header of that size" },
		{ 0x210, "the primary table is no good: the header's CRC" },
		{ 0x238, "the primary table is no good: the header's CRC" },
		{ 0x258, "the primary table is no good: the header's CRC" },
		{ 0x400, "the primary table is no good: the CRC of its entries" },
		{ 0x43ff, "the primary table is no good: the CRC of its entries" },
		{ 0x1ffe00, "the backup table is no good: no signature" },
		{ 0x1ffe30, "the backup table is no good: the header's CRC" },
		{ 0x1fbe28, "the backup table is no good: the CRC of its entries" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		disk("vda", 512, 4096);
		apply(sfdisk_gpt, ARRAY_SIZE(sfdisk_gpt));
		rd->data[rows[i].at] ^= 0x10;
		expect_gpt();
		assert_true(host_log_has(rows[i].says));
		assert_int_equal(host_log_has("using the backup table"), rows[i].at < 0x10000);
	}
	/* One of each: nothing is left. */
	rd->data[0x400] ^= 1;
	rd->data[0x1fbe28] ^= 1;
	rd->data[0x1ffe10] ^= 1;
	assert_int_equal(scan(), 0);
	assert_true(host_log_has("the primary table is no good"));
	assert_true(host_log_has("the backup table is no good"));
}

static void gpt_in_both_block_sizes(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		uint32_t sectors = i ? 8 : 1;
		struct bdev *dev;

		gpt_disk(i ? 4096 : 512, 1000);
		gpt_set(0, 50, 50);
		gpt_set(1, 60, 159);
		gpt_set(15, 160, 900); /* past the minors that a disk has */
		gpt_set(127, 901, 965);
		assert_int_equal(scan(), 4);
		part("vda1", 50 * sectors, sectors);
		dev = part("vda2", 60 * sectors, 100 * sectors);
		assert_int_equal(dev->minor, 34);
		assert_int_equal(dev->limits.logical_block, block);
		dev = part("vda16", 160 * sectors, 741 * sectors);
		assert_int_equal(dev->major, 259);
		assert_int_equal(dev->minor, 1 << 20);
		dev = part("vda128", 901 * sectors, 65 * sectors);
		assert_int_equal(dev->major, 259);
		assert_int_equal(dev->minor, (1 << 20) + 1);
	}
}

/* Headers whose CRC is right and which say what cannot be. */
static void headers_that_lie(void **state)
{
	static const struct {
		unsigned at, size;
		uint64_t value;
		const char *says;
	} rows[] = {
		{ 12, 4, 91, "a header of that size" },
		{ 12, 4, 0, "a header of that size" },
		{ 12, 4, 4097, "a header of that size" },
		{ 12, 4, UINT32_MAX, "a header of that size" },
		{ 24, 8, 2, "it says that it is in another block" },
		{ 40, 8, 996, "its last block is before its first" },
		{ 40, 8, UINT64_MAX, "its last block is before its first" },
		{ 40, 8, 0, "the header lies where partitions may be" },
		{ 40, 8, 1, "the header lies where partitions may be" },
		{ 40, 8, 2, "its entries lie where partitions may be" },
		{ 48, 8, 1000, "its last block is beyond the disk" },
		{ 48, 8, UINT64_MAX, "its last block is beyond the disk" },
		{ 72, 8, 0, "its entries are not within the disk" },
		{ 72, 8, 1, "its entries are not within the disk" },
		{ 72, 8, 999, "its entries are not within the disk" },
		{ 72, 8, 1000, "its entries are not within the disk" },
		{ 72, 8, UINT64_MAX, "its entries are not within the disk" },
		{ 72, 8, UINT64_MAX - 3, "its entries are not within the disk" },
		{ 72, 8, 500, "its entries lie where partitions may be" },
		{ 80, 4, 0, "that number of entries cannot be" },
		{ 80, 4, 8193, "that number of entries cannot be" },
		{ 80, 4, UINT32_MAX, "that number of entries cannot be" },
		{ 84, 4, 0, "entries of that size cannot be" },
		{ 84, 4, 127, "entries of that size cannot be" },
		{ 84, 4, 192, "entries of that size cannot be" },
		{ 84, 4, 8192, "entries of that size cannot be" },
		{ 84, 4, UINT32_MAX, "entries of that size cannot be" },
		{ 84, 4, 0x80000000, "entries of that size cannot be" },
		{ 88, 4, 1, "the CRC of its entries is wrong" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
		unsigned row = i / 2;
		uint8_t *h;

		gpt_disk(i % 2 ? 4096 : 512, 1000);
		gpt_set(0, 100, 199);
		h = at(1);
		if (rows[row].size == 8)
			put64(h + rows[row].at, rows[row].value);
		else
			put32(h + rows[row].at, rows[row].value);
		if (rows[row].at != 12 || rows[row].value < block) {
			put32(h + 16, 0);
			put32(h + 16, crc32(0, h, MIN(h[12] | h[13] << 8, (int)block)));
		}
		assert_int_equal(scan(), 1); /* thanks to the backup */
		assert_true(host_log_has(rows[row].says));
		part("vda1", 100 * (block / 512), 100 * (block / 512));
	}
}

/* Entries are refused one by one. */
static void entries_that_cannot_be(void **state)
{
	static const struct {
		uint64_t first, last;
		const char *says;
	} rows[] = {
		{ 300, 299, "partition 2 is not where partitions may be" },
		{ 33, 300, "partition 2 is not where partitions may be" },
		{ 300, 967, "partition 2 is not where partitions may be" },
		{ 300, UINT64_MAX, "partition 2 is not where partitions may be" },
		{ 0, UINT64_MAX, "partition 2 is not where partitions may be" },
		{ UINT64_MAX, 0, "partition 2 is not where partitions may be" },
		{ UINT64_MAX, UINT64_MAX, "partition 2 is not where partitions may be" },
		{ 199, 300, "partition 2 overlaps partition 1" },
		{ 50, 100, "partition 2 overlaps partition 1" },
		{ 120, 130, "partition 2 overlaps partition 1" },
		{ 50, 960, "partition 2 overlaps partition 1" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		gpt_disk(512, 1000);
		gpt_set(0, 100, 199);
		gpt_set(1, rows[i].first, rows[i].last);
		gpt_set(2, 400, 410);
		assert_int_equal(scan(), 2);
		assert_true(host_log_has(rows[i].says));
		part("vda1", 100, 100);
		part("vda3", 400, 11);
		assert_null(bdev_find("vda2"));
	}
}

static unsigned log_lines(void)
{
	struct log_line line;
	uint64_t seq = 0;
	unsigned n = 0;

	while (log_read(&seq, &line))
		n++;
	return n;
}

static void nonsense_does_not_fill_the_log(void **state)
{
	unsigned before;

	gpt_disk(512, 1000);
	for (unsigned i = 0; i < GPT_ENTRIES; i++)
		gpt_set(i, 100, 200 + i);
	before = log_lines();
	assert_int_equal(scan(), 1);
	assert_true(log_lines() - before < 20);
	assert_true(host_log_has("more entries are bad"));
}

/* As many entries as are allowed, of more than one buffer. */
static void large_arrays(void **state)
{
	enum { NR = 8192 };
	uint8_t *h;

	disk("vda", 512, 8192);
	mbr_entry(0, 0, 0xee, 1, UINT32_MAX);
	gpt_header(false);
	h = at(1);
	put64(h + 40, 3000);
	put64(h + 48, 8000);
	put64(h + 32, 5); /* no backup there, nor at the end */
	put32(h + 80, NR);
	for (unsigned i = 0; i < NR; i += 512) {
		uint8_t *p = at(2) + i * 128;

		memset(p, 1, 32);
		put64(p + 32, 3000 + i / 4);
		put64(p + 40, 3000 + i / 4);
	}
	put32(h + 88, crc32(0, at(2), NR * 128));
	put32(h + 16, 0);
	put32(h + 16, crc32(0, h, 92));
	/* Those with numbers over 256 are left out: entry 1 is the only other. */
	assert_int_equal(scan(), 1);
	part("vda1", 3000, 1);
	assert_true(host_log_has("partition 513 is one too many"));
	assert_true(host_log_has("the backup table is no good"));
}

static void gpt_needs_its_mbr(void **state)
{
	gpt_disk(512, 1000);
	gpt_set(0, 100, 199);
	memset(at(0), 0, 512);
	assert_int_equal(scan(), 0);
	/* A hybrid: the GPT is what counts. */
	mbr_entry(0, 0, 0x83, 500, 20);
	mbr_entry(0, 1, 0xee, 1, 99);
	assert_int_equal(scan(), 1);
	part("vda1", 100, 100);
}

static void disks_too_small(void **state)
{
	for (uint64_t n = 1; n <= 40; n++) {
		disk("vda", 512, n);
		mbr_entry(0, 0, 0xee, 1, UINT32_MAX);
		if (n > 1)
			memcpy(at(1), "EFI PART", 8);
		assert_int_equal(scan(), 0);
	}
	/* Not even one block. */
	disk("vda", 4096, 1);
	assert_int_equal(bdev_unregister(&rd->bdev), 0);
	rd->bdev.nr_sectors = 7;
	assert_int_equal(bdev_register(&rd->bdev), 0);
	assert_int_equal(scan(), 0);
}

/* ---- MBR ---- */

static void mbr_in_both_block_sizes(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		uint32_t sectors = i ? 8 : 1;

		disk("nvme0n1", i ? 4096 : 512, 1000);
		mbr_entry(0, 0, 0x83, 1, 10);
		mbr_entry(0, 3, 0x0f, 100, 900);
		mbr_entry(100, 0, 0x83, 1, 9);
		mbr_entry(100, 1, 0x05, 600, 20);
		mbr_entry(700, 0, 0x83, 2, 18);
		mbr_entry(700, 1, 0x85, 300, 20); /* backwards: legal */
		mbr_entry(400, 0, 0x83, 10, 5);
		assert_int_equal(scan(), 4);
		part("nvme0n1p1", sectors, 10 * sectors);
		part("nvme0n1p5", 101 * sectors, 9 * sectors);
		part("nvme0n1p6", 702 * sectors, 18 * sectors);
		part("nvme0n1p7", 410 * sectors, 5 * sectors);
		assert_false(host_log_has("MBR: "));
	}
}

static void mbr_entries_that_cannot_be(void **state)
{
	disk("vda", 512, 1000);
	mbr_entry(0, 0, 0x83, 100, 901);
	mbr_entry(0, 1, 0x83, 0, 10); /* on the table itself */
	mbr_entry(0, 2, 0x83, UINT32_MAX, UINT32_MAX);
	mbr_entry(0, 3, 0x83, 100, 900);
	assert_int_equal(scan(), 1);
	assert_true(host_log_has("vda: MBR: partition 1 is not within the disk, left out"));
	assert_true(host_log_has("partition 2 is not within the disk"));
	assert_true(host_log_has("partition 3 is not within the disk"));
	part("vda4", 100, 900);
	/* Unused ones: a type without sectors, sectors without a type. */
	mbr_entry(0, 0, 0x83, 10, 0);
	mbr_entry(0, 1, 0, 10, 10);
	mbr_entry(0, 2, 0, 0, 0);
	assert_int_equal(scan(), 1);
	mbr_entry(0, 0, 0x83, 950, 10);
	assert_int_equal(scan(), 1);
	assert_true(host_log_has("partition 4 overlaps partition 1"));
}

/* File systems put 55 aa at the end of their first sector, too. */
static void boot_sectors_are_no_tables(void **state)
{
	disk("vda", 512, 1000);
	mbr_entry(0, 0, 0x83, 100, 10);
	at(0)[446 + 32] = 0x41;
	assert_int_equal(scan(), 0);
	at(0)[446 + 32] = 0x80;
	assert_int_equal(scan(), 1);
	at(0)[511] = 0xab;
	assert_int_equal(scan(), 0);
}

static void chains_that_go_wrong(void **state)
{
	disk("vda", 512, 4000);
	/* In a circle. */
	mbr_entry(0, 1, 0x05, 100, 1000);
	mbr_entry(100, 0, 0x83, 10, 5);
	mbr_entry(100, 1, 0x05, 200, 10);
	mbr_entry(300, 0, 0x83, 1, 5);
	mbr_entry(300, 1, 0x05, 200, 10);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("goes in circles"));
	mbr_entry(300, 1, 0x05, 0, 10);
	assert_int_equal(scan(), 2);
	/* Out of its partition, and where no table is. */
	mbr_entry(300, 1, 0x05, 1000, 10);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("logical partition 7 is said outside"));
	mbr_entry(300, 1, 0x05, UINT32_MAX, UINT32_MAX);
	assert_int_equal(scan(), 2);
	mbr_entry(300, 1, 0x05, 999, 1);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("no table where logical partition 7"));
	/* A logical partition that sticks out, is on its own table, or on another's. */
	mbr_entry(300, 1, 0, 0, 0);
	mbr_entry(300, 0, 0x83, 1, 800);
	assert_int_equal(scan(), 1);
	assert_true(host_log_has("partition 6 is not within its extended partition"));
	mbr_entry(300, 0, 0x83, 0, 5);
	assert_int_equal(scan(), 1);
	mbr_entry(300, 0, 0x83, UINT32_MAX, UINT32_MAX);
	assert_int_equal(scan(), 1);
	mbr_entry(0, 0, 0x83, 305, 10);
	mbr_entry(300, 0, 0x83, 1, 10);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("partition 6 overlaps partition 1"));
	/* A second extended partition; one that the disk does not hold. */
	mbr_entry(0, 2, 0x0f, 2000, 100);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("a second extended partition"));
	mbr_entry(0, 1, 0x05, 4000, 1000);
	assert_int_equal(scan(), 1);
	assert_true(host_log_has("the extended partition is not within the disk"));
	mbr_entry(0, 1, 0x05, 100, 4000);
	assert_int_equal(scan(), 2);
	mbr_entry(0, 1, 0x05, 0, 4000);
	assert_int_equal(scan(), 1);
}

static void long_chains_end(void **state)
{
	disk("vda", 512, 4000);
	mbr_entry(0, 0, 0x05, 10, 3990);
	for (unsigned i = 0; i < 1000; i++) {
		mbr_entry(10 + 3 * i, 0, 0x83, 1, 2);
		mbr_entry(10 + 3 * i, 1, 0x05, 3 * (i + 1), 3);
	}
	assert_int_equal(scan(), 128);
	assert_true(host_log_has("more than 128 links"));
	part("vda132", 11 + 127 * 3, 2);
}

/* ---- the devices ---- */

static void partitions_are_within_themselves(void **state)
{
	static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);
	struct seg seg = { dma_addr(page), PAGE_SIZE };
	struct bio bio = { .segs = &seg, .nr_segs = 1, .done = bio_is_back };
	struct bdev_stats st;
	struct bdev *dev;

	disk("vda", 512, 1000);
	mbr_entry(0, 0, 0x83, 100, 10);
	rd->bdev.read_only = true;
	bdev_limits_changed(&rd->bdev);
	assert_int_equal(scan(), 1);
	dev = part("vda1", 100, 10);
	bio.dev = dev;
	bio.op = BIO_WRITE;
	bio.nr_sectors = 1;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, -EROFS);
	rd->bdev.read_only = false;
	bdev_limits_changed(&rd->bdev);
	assert_int_equal(scan(), 1);
	dev = part("vda1", 100, 10);
	memset(page, 0x3c, sizeof(page));
	bio.dev = dev;
	bio.sector = 3;
	bio.nr_sectors = 8;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, -EINVAL);
	bio.dev = dev;
	bio.sector = 3;
	bio.nr_sectors = 7;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, 0);
	assert_int_equal(rd->data[103 * 512 - 1], 0);
	assert_memory_equal(rd->data + 103 * 512, page, 7 * 512);
	assert_int_equal(rd->data[110 * 512], 0);
	bdev_stats_sum(dev, &st);
	assert_int_equal(st.sectors[BIO_WRITE], 7);
	assert_int_equal(st.errors, 1);
	bio.dev = dev;
	bio.op = BIO_FLUSH;
	bio.nr_sectors = 0;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, 0);
}

/* Splitting, and flushes around a write, are the disk's affair. */
static void partitions_leave_the_rest_to_the_disk(void **state)
{
	static uint8_t pages[4 * PAGE_SIZE] __aligned(PAGE_SIZE);
	struct seg seg = { dma_addr(pages), sizeof(pages) };
	struct bio bio = { .segs = &seg, .nr_segs = 1, .done = bio_is_back };
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
	l.chunk_sectors = 8;
	rd = ramdisk_create("vdb", 1000, &l);
	block = 512;
	nr_blocks = 1000;
	mbr_entry(0, 0, 0x83, 100, 100);
	assert_int_equal(scan(), 1);
	bio.dev = part("vdb1", 100, 100);
	assert_int_equal(bio.dev->limits.chunk_sectors, 0);
	rd->nr_trace = 0;
	bio.op = BIO_WRITE;
	bio.flags = BIO_FUA | BIO_PREFLUSH;
	bio.nr_sectors = 20;
	bio_submit(&bio);
	host_run();
	assert_int_equal(bio.status, 0);
	assert_int_equal(rd->nr_trace, 5);
	assert_int_equal(rd->trace[0].op, BIO_FLUSH);
	assert_int_equal(rd->trace[1].nr_sectors, 4);
	assert_int_equal(rd->trace[2].nr_sectors, 8);
	assert_int_equal(rd->trace[3].nr_sectors, 8);
	assert_int_equal(rd->trace[4].op, BIO_FLUSH);
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
}

static void in_use_they_stay(void **state)
{
	struct bdev *dev;

	disk("vda", 512, 1000);
	mbr_entry(0, 0, 0x83, 100, 10);
	mbr_entry(0, 1, 0x83, 200, 10);
	assert_int_equal(scan(), 2);
	dev = part("vda2", 200, 10);
	bdev_open(dev);
	assert_int_equal(part_forget(&rd->bdev), -EBUSY);
	assert_int_equal(bdev_unregister(&rd->bdev), -EBUSY);
	assert_non_null(bdev_find("vda1"));
	mbr_entry(0, 0, 0x83, 300, 10);
	assert_int_equal(scan(), 2);
	assert_true(host_log_has("partitions are in use"));
	part("vda1", 100, 10);
	bdev_close(dev);
	assert_int_equal(scan(), 2);
	part("vda1", 300, 10);
	assert_int_equal(part_forget(&rd->bdev), 0);
	assert_null(bdev_find("vda1"));
	assert_int_equal(bdev_unregister(&rd->bdev), 0);
	assert_int_equal(bdev_register(&rd->bdev), 0);
}

static void unreadable(void **state)
{
	gpt_disk(512, 1000);
	gpt_set(0, 100, 199);
	ramdisk_fail_range(rd, 1 << BIO_READ, 0, 1, -EIO);
	assert_int_equal(scan(), 0);
	assert_true(host_log_has("block 0 cannot be read"));
	ramdisk_fail_range(rd, 1 << BIO_READ, 1, 1, -ENODATA);
	assert_int_equal(scan(), 1);
	assert_true(host_log_has("using the backup"));
	ramdisk_fail_range(rd, 1 << BIO_READ, 2, 1, -ENODATA);
	assert_int_equal(scan(), 1);
	ramdisk_fail_range(rd, 1 << BIO_READ, 1, 999, -ENODATA);
	assert_int_equal(scan(), 0);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
	/* What reads well the first time need not the second. */
	for (unsigned n = 1; n < 12; n++) {
		ramdisk_fail_nth(rd, n, -EIO);
		assert_true(scan() <= 1);
	}
	ramdisk_fail_nth(rd, 0, 0);
	assert_int_equal(scan(), 1);
}

static void no_memory(void **state)
{
	unsigned n;

	gpt_disk(512, 1000);
	gpt_set(0, 100, 199);
	gpt_set(1, 200, 299);
	/* Fiber, table, buffer, and two for each partition. */
	for (n = 2;; n++) {
		host_fail_alloc(n);
		scan();
		if (!host_alloc_failed())
			break;
		assert_true(nr_found < 2);
		assert_true(host_log_has("left out: Cannot allocate memory") ||
			    host_log_has("no memory to read its partition table"));
	}
	assert_int_equal(nr_found, 2);
	assert_int_equal(n, 8);
}

/* ---- at random ---- */

static void check_parts(void)
{
	for (struct bdev *a = bdev_next(NULL); a; a = bdev_next(a)) {
		if (!a->whole)
			continue;
		assert_true(a->nr_sectors && a->nr_sectors <= rd->bdev.nr_sectors);
		assert_int_equal(a->nr_sectors % (block / SECTOR_SIZE), 0);
		assert_null(limits_check(&a->limits));
	}
}

static uint64_t odd_number(struct rng *r)
{
	switch (rng_below(r, 5)) {
	case 0:
		return rng_u64(r);
	case 1:
		return UINT64_MAX - rng_below(r, 4);
	case 2:
		return nr_blocks - 3 + rng_below(r, 6);
	case 3:
		return 1ull << rng_below(r, 64);
	}
	return rng_below(r, nr_blocks);
}

static void random_tables(void **state)
{
	unsigned rounds = getenv("CAIRN_SOAK") ? 20000 : 800, nr_any = 0;
	struct rng r;

	rng_seed(&r, 5);
	for (unsigned n = 0; n < rounds; n++) {
		bool backup = rng_below(&r, 2);
		uint8_t *h;

		gpt_disk(rng_below(&r, 2) ? 512 : 4096, 300);
		if (rng_below(&r, 2)) { /* MBRs here and there */
			memset(at(0), 0, 512);
			for (unsigned i = 0; i < 40; i++) {
				static const uint8_t types[] = { 0x83, 0x05, 0x0f, 0x85, 0 };

				mbr_entry(i < 4 ? 0 : rng_below(&r, 60), (unsigned)rng_below(&r, 4),
					types[rng_below(&r, ARRAY_SIZE(types))],
					rng_below(&r, 4) ? rng_below(&r, 60) : odd_number(&r),
					rng_below(&r, 4) ? rng_below(&r, 250) : odd_number(&r));
			}
		}
		for (unsigned i = 0; i < 10; i++) {
			uint64_t first = rng_below(&r, 300);

			gpt_set((unsigned)rng_below(&r, 128), first,
				rng_below(&r, 4) ? first + rng_below(&r, 30) : odd_number(&r));
		}
		h = at(backup ? nr_blocks - 1 : 1);
		for (unsigned i = (unsigned)rng_below(&r, 3); i; i--)
			put64(h + 8 * rng_below(&r, 12), odd_number(&r));
		put32(h + 16, 0);
		put32(h + 16, crc32(0, h, MIN(h[12] | h[13] << 8, (int)block)));
		for (unsigned i = (unsigned)rng_below(&r, 3); i; i--)
			rd->data[rng_below(&r, 40 * 512)] ^= (uint8_t)rng_u64(&r);
		nr_any += scan() != 0;
		check_parts();
	}
	assert_true(nr_any > rounds / 3);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(sfdisk_writes_gpt),
		TEST(sfdisk_writes_mbr),
		TEST(either_copy_will_do),
		TEST(gpt_in_both_block_sizes),
		TEST(headers_that_lie),
		TEST(entries_that_cannot_be),
		TEST(nonsense_does_not_fill_the_log),
		TEST(large_arrays),
		TEST(gpt_needs_its_mbr),
		TEST(disks_too_small),
		TEST(mbr_in_both_block_sizes),
		TEST(mbr_entries_that_cannot_be),
		TEST(boot_sectors_are_no_tables),
		TEST(chains_that_go_wrong),
		TEST(long_chains_end),
		TEST(partitions_are_within_themselves),
		TEST(partitions_leave_the_rest_to_the_disk),
		TEST(in_use_they_stay),
		TEST(unreadable),
		TEST(no_memory),
		TEST(random_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

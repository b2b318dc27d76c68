/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gpt - the partition table of UEFI: a header and an array of entries, twice, at the beginning and
 * the end of the disk, each with CRCs.
 *
 * Header, in a block of its own, little endian:
 *    0  "EFI PART"           40  first block for partitions     80  number of entries
 *    8  revision             48  last such block                84  bytes an entry has
 *   12  bytes of header      56  GUID of the disk               88  CRC-32 of the entries
 *   16  CRC-32 of it         72  block where the entries are
 *   24  block it is in
 *   32  block the other is in
 * Entry:
 *    0  GUID of the type, 0 if unused    32  first block    48  attributes
 *   16  GUID of the partition            40  last block     56  name, 36 units of UTF-16
 */
#include "kernel/api/crypto.h"
#include "kernel/api/log.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/string.h"
#include "mapper/formats/table.h"

#define HEADER_MIN  92u
#define ENTRY_MIN   128u
#define ENTRY_MAX   4096u
#define ENTRIES_MAX (1u << 20) /* bytes; 16 KiB is what everyone makes */
#define NAME_UNITS  36

struct gpt {
	const char *which;
	sector_t at, other;
	sector_t first, last; /* blocks for partitions */
	sector_t entries;
	uint32_t nr, size;
	uint32_t crc;
	uint8_t guid[16];
};

static void gpt_say(const struct part_table *t, const struct gpt *g, const char *words)
{
	log_warn("%s: GPT: the %s table is no good: %s", t->disk->name, g->which, words);
}

/* What is wrong with the header at buf; NULL: nothing, and it is in *g. */
static const char *gpt_header(struct part_table *t, struct gpt *g)
{
	uint8_t *h = t->buf;
	uint32_t block = t->disk->limits.logical_block, size = le32(h + 12), crc = le32(h + 16);
	uint64_t blocks;

	if (memcmp(h, "EFI PART", 8) != 0)
		return "no signature";
	if (size < HEADER_MIN || size > block)
		return "a header of that size cannot be";
	memset(h + 16, 0, 4);
	if (crc32(0, h, size) != crc)
		return "the header's CRC is wrong";
	if (le64(h + 24) != g->at)
		return "it says that it is in another block";
	g->other = le64(h + 32);
	g->first = le64(h + 40);
	g->last = le64(h + 48);
	memcpy(g->guid, h + 56, sizeof(g->guid));
	g->entries = le64(h + 72);
	g->nr = le32(h + 80);
	g->size = le32(h + 84);
	g->crc = le32(h + 88);
	if (g->last >= t->nr_blocks)
		return "its last block is beyond the disk";
	if (g->first > g->last)
		return "its last block is before its first";
	if (g->at >= g->first && g->at <= g->last)
		return "the header lies where partitions may be";
	if (!is_pow2(g->size) || g->size < ENTRY_MIN || g->size > ENTRY_MAX)
		return "entries of that size cannot be";
	if (!g->nr || g->nr > ENTRIES_MAX / g->size)
		return "that number of entries cannot be";
	blocks = DIV_ROUND_UP((uint64_t)g->nr * g->size, block);
	if (g->entries < 2 || g->entries >= t->nr_blocks || blocks > t->nr_blocks - g->entries)
		return "its entries are not within the disk";
	if (g->entries <= g->last && g->entries + blocks > g->first)
		return "its entries lie where partitions may be";
	if (g->at >= g->entries && g->at < g->entries + blocks)
		return "its entries lie on the header";
	return NULL;
}

/* The first three numbers of a GUID are little endian. */
static void gpt_guid(char *out, size_t size, const uint8_t *g)
{
	str_printf(out, size, "%08x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", le32(g),
		g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

static void gpt_name(char *out, size_t size, const uint8_t *name)
{
	size_t n = 0;

	for (unsigned i = 0; i < NAME_UNITS && n + 1 < size; i++) {
		unsigned unit = name[2 * i] | name[2 * i + 1] << 8;

		if (!unit)
			break;
		out[n++] = unit >= 0x20 && unit < 0x7f ? (char)unit : '?';
	}
	out[n] = '\0';
}

static void gpt_entry(struct part_table *t, const struct gpt *g, uint32_t index, const uint8_t *p)
{
	static const uint8_t unused[16];
	uint64_t first = le64(p + 32), last = le64(p + 40);
	struct part_entry *e;

	if (memcmp(p, unused, sizeof(unused)) == 0)
		return;
	if (first > last || first < g->first || last > g->last) {
		if (table_may_say(t))
			log_warn("%s: GPT: partition %u is not where partitions may be, left out",
				t->disk->name, index + 1);
		return;
	}
	e = table_add(t, index + 1, first, last - first + 1);
	if (!e)
		return;
	gpt_guid(e->uuid, sizeof(e->uuid), p + 16);
	gpt_name(e->label, sizeof(e->label), p + 56);
}

/* The entries, a buffer at a time, to their CRC and, if add, to the table. */
static may_block int gpt_walk(struct part_table *t, const struct gpt *g, bool add, uint32_t *crc)
{
	uint32_t block = t->disk->limits.logical_block, left = g->nr * g->size, index = 0;
	sector_t at = g->entries;

	*crc = 0;
	while (left) {
		uint32_t n = MIN(left, PART_BUF_SIZE), blocks = DIV_ROUND_UP(n, block);
		int err = table_read(t, at, blocks);

		if (err)
			return err;
		*crc = crc32(*crc, t->buf, n);
		for (uint32_t off = 0; add && off < n; off += g->size)
			gpt_entry(t, g, index++, t->buf + off);
		at += blocks;
		left -= n;
	}
	return 0;
}

/* Reads one copy: header, then entries for their CRC.  0 if it is good. */
static may_block int gpt_copy(struct part_table *t, struct gpt *g, const char *which, sector_t at)
{
	const char *words;
	uint32_t crc;
	int err;

	*g = (struct gpt){ .which = which, .at = at };
	if (at < 1 || at >= t->nr_blocks) {
		gpt_say(t, g, "its header is not within the disk");
		return -EINVAL;
	}
	err = table_read(t, at, 1);
	if (err)
		return err;
	words = gpt_header(t, g);
	if (!words) {
		err = gpt_walk(t, g, false, &crc);
		if (err)
			return err;
		if (crc != g->crc)
			words = "the CRC of its entries is wrong";
	}
	if (!words)
		return 0;
	gpt_say(t, g, words);
	return -EINVAL;
}

/* The backup is not needed now but some day it may be. */
static may_block void gpt_compare(struct part_table *t, const struct gpt *primary)
{
	struct gpt backup;

	if (gpt_copy(t, &backup, "backup", primary->other))
		return;
	if (backup.crc != primary->crc || backup.nr != primary->nr ||
		backup.size != primary->size || backup.first != primary->first ||
		backup.last != primary->last || memcmp(backup.guid, primary->guid, 16) != 0)
		log_warn("%s: GPT: the backup table is not that of the primary, which counts",
			t->disk->name);
}

int gpt_read(struct part_table *t)
{
	struct gpt g;
	uint32_t crc;
	int err;

	t->kind = "GPT";
	if (!gpt_copy(t, &g, "primary", 1)) {
		gpt_compare(t, &g);
	} else {
		err = gpt_copy(t, &g, "backup", t->nr_blocks - 1);
		if (err)
			return err;
		log_warn("%s: GPT: using the backup table", t->disk->name);
	}
	err = gpt_walk(t, &g, true, &crc);
	if (!err && crc != g.crc) {
		gpt_say(t, &g, "its entries change from one read to the next");
		err = -EIO;
	}
	if (err)
		t->nr = 0;
	return err;
}

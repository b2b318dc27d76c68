/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table - what a reader of partition tables gets and gives.  part.c makes one for a scan and turns
 * what it holds afterwards into devices; gpt.c and mbr.c fill it.
 *
 * Readers believe nothing.  What they say of a table goes to the log, naming the disk; an entry
 * that cannot be a partition is left out with words, the others stay.
 */
#ifndef MAPPER_FORMATS_TABLE_H
#define MAPPER_FORMATS_TABLE_H

#include "mapper/block.h"

#define PART_MAX       256 /* partitions of one disk */
#define PART_BUF_ORDER 4   /* of the pages at buf: at least a block of any disk */
#define PART_BUF_SIZE  (PAGE_SIZE << PART_BUF_ORDER)

struct part_entry {
	unsigned number; /* 1..PART_MAX */
	sector_t start, len;
	char uuid[40];  /* PARTUUID */
	char label[80]; /* printable, "" if none */
};

struct part_table {
	struct bdev *disk;
	sector_t nr_blocks;     /* of the disk */
	uint32_t block_sectors; /* sectors a block has */
	uint8_t *buf;
	const char *kind; /* "GPT" or "MBR" */
	unsigned nr_bad;  /* entries that were left out */
	unsigned nr;
	struct part_entry entries[PART_MAX];
};

/* Reads so many blocks, which must exist and fit, to buf.  Says a failure in the log. */
may_block int table_read(struct part_table *t, sector_t block, uint32_t nr_blocks);
/*
 * Adds a partition, in blocks.  Left out with words if it is empty, not within the disk, on sectors
 * of one that was added before, or one too many.  NULL then; else uuid and label are "".
 */
struct part_entry *table_add(struct part_table *t, unsigned number, sector_t first, sector_t nr);

/* An entry is left out: may the log have words about it?  A table full of nonsense must not fill
 * the log: after a few the answer is no. */
bool table_may_say(struct part_table *t);

/* gpt.c: fills t from either copy of the table.  0, or -errno if neither is any good. */
may_block int gpt_read(struct part_table *t);
/* mbr.c: the sector 0 that is at buf.  *is_gpt: it only says that there is a GPT.  0 or -errno; a
 * sector that is no MBR at all gives no partitions and 0. */
may_block int mbr_read(struct part_table *t, bool *is_gpt);

static inline uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mbr - the partition table in a disk's first sector.
 *
 *   440  disk signature, 4 bytes
 *   446  four entries of 16 bytes: active flag, (3), type, (3), first block, number of blocks
 *   510  55 aa
 *
 * An entry of type 5, f or 85 is an extended partition: in its first block is a sector like this
 * one, of which the first entry is a logical partition, counted from that sector, and the second
 * names the next such sector, counted from the extended partition.  Logical partitions are numbered
 * from 5 in order of the chain.  All numbers are in the disk's blocks.
 *
 * The chain is not followed out of its partition, to a sector seen before, or for ever.
 */
#include "kernel/api/log.h"
#include "kernel/api/strbuf.h"
#include "mapper/formats/table.h"

#define ENTRIES       446
#define ENTRY_SIZE    16
#define NR_ENTRIES    4
#define FIRST_LOGICAL 5
#define CHAIN_MAX     128

#define TYPE_GPT 0xee

struct mbr_entry {
	uint8_t active, type;
	uint32_t first, nr;
};

/* The chain of one extended partition. */
struct chain {
	sector_t first, nr; /* the extended partition */
	unsigned number;    /* of the next logical one */
	uint32_t signature;
	unsigned nr_seen;
	uint32_t seen[CHAIN_MAX]; /* counted from first */
};

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static bool is_used(const struct mbr_entry *e)
{
	return e->type && e->nr;
}

/* Takes the entries out of the sector at buf, which the next read overwrites.  False: it is not
 * such a sector (boot sectors of file systems also end in 55 aa). */
static bool mbr_entries(const struct part_table *t, struct mbr_entry out[NR_ENTRIES])
{
	if (t->buf[510] != 0x55 || t->buf[511] != 0xaa)
		return false;
	for (unsigned i = 0; i < NR_ENTRIES; i++) {
		const uint8_t *p = t->buf + ENTRIES + i * ENTRY_SIZE;

		out[i] = (struct mbr_entry){ p[0], p[4], le32(p + 8), le32(p + 12) };
		if (out[i].active & 0x7f)
			return false;
	}
	return true;
}

static void mbr_add(
	struct part_table *t, unsigned number, sector_t first, uint32_t nr, uint32_t signature)
{
	struct part_entry *e = table_add(t, number, first, nr);

	if (e)
		str_printf(e->uuid, sizeof(e->uuid), "%08x-%02x", signature, number);
}

/* Marks the sector as seen.  False: the chain must end before it. */
static bool chain_may_visit(const struct part_table *t, struct chain *c, uint32_t at)
{
	const char *name = t->disk->name;

	if (at >= c->nr) {
		log_warn("%s: MBR: logical partition %u is said outside its extended partition",
			name, c->number);
		return false;
	}
	for (unsigned i = 0; i < c->nr_seen; i++) {
		if (c->seen[i] == at) {
			log_warn("%s: MBR: the chain of logical partitions goes in circles", name);
			return false;
		}
	}
	if (c->nr_seen == CHAIN_MAX) {
		log_warn("%s: MBR: more than %u links of logical partitions, the rest is left out",
			name, CHAIN_MAX);
		return false;
	}
	c->seen[c->nr_seen++] = at;
	return true;
}

/* One link: its partition is added, *next is where the next link is.  False: there is none. */
static bool chain_link(struct part_table *t, struct chain *c, uint32_t at, uint32_t *next)
{
	struct mbr_entry e[NR_ENTRIES];
	bool more = false;

	if (!mbr_entries(t, e)) {
		log_warn("%s: MBR: no table where logical partition %u is said", t->disk->name,
			c->number);
		return false;
	}
	for (unsigned i = 0; i < NR_ENTRIES; i++) {
		uint64_t first = (uint64_t)at + e[i].first;

		if (!is_used(&e[i]))
			continue;
		if (is_extended(e[i].type)) {
			if (!more)
				*next = e[i].first;
			more = true;
		} else if (i >= 2) {
			continue; /* garbage that some tools leave */
		} else if (!e[i].first || first + e[i].nr > c->nr) {
			if (table_may_say(t))
				log_warn("%s: MBR: partition %u is not within its extended "
					 "partition, left out",
					t->disk->name, c->number);
			c->number++;
		} else {
			mbr_add(t, c->number++, c->first + first, e[i].nr, c->signature);
		}
	}
	return more;
}

static may_block int mbr_logical(struct part_table *t, struct chain *c)
{
	uint32_t at = 0;
	bool more = true;

	c->nr_seen = 0;
	while (more && chain_may_visit(t, c, at)) {
		uint32_t next = 0;
		int err = table_read(t, c->first + at, 1);

		if (err)
			return err;
		more = chain_link(t, c, at, &next);
		at = next;
	}
	return 0;
}

/* Only the first extended partition of a table has meaning. */
static may_block int mbr_extended(
	struct part_table *t, const struct mbr_entry *e, uint32_t signature)
{
	struct chain c = {
		.first = e->first,
		.nr = e->nr,
		.number = FIRST_LOGICAL,
		.signature = signature,
	};

	if (!c.first || c.first >= t->nr_blocks || c.nr > t->nr_blocks - c.first) {
		log_warn("%s: MBR: the extended partition is not within the disk", t->disk->name);
		if (!c.first || c.first >= t->nr_blocks)
			return -EINVAL;
		c.nr = t->nr_blocks - c.first;
	}
	return mbr_logical(t, &c);
}

int mbr_read(struct part_table *t, bool *is_gpt)
{
	struct mbr_entry e[NR_ENTRIES], extended = { 0 };
	uint32_t signature = le32(t->buf + 440);

	*is_gpt = false;
	t->kind = "MBR";
	if (!mbr_entries(t, e))
		return 0;
	for (unsigned i = 0; i < NR_ENTRIES; i++)
		*is_gpt |= e[i].type == TYPE_GPT;
	if (*is_gpt)
		return 0;
	for (unsigned i = 0; i < NR_ENTRIES; i++) {
		if (!is_used(&e[i]))
			continue;
		if (!is_extended(e[i].type)) {
			mbr_add(t, i + 1, e[i].first, e[i].nr, signature);
		} else if (!extended.nr) {
			extended = e[i];
		} else {
			log_warn("%s: MBR: a second extended partition, left out", t->disk->name);
		}
	}
	return extended.nr ? mbr_extended(t, &extended, signature) : 0;
}

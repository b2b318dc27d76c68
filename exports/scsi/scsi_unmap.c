/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_unmap - UNMAP and WRITE SAME: blocks that are no longer wanted, or all alike.
 *
 *	UNMAP's list	0 its length less 2   2 length of the descriptors   8 descriptors
 *	a descriptor	0 LBA   8 number of blocks   12 reserved
 *
 * WRITE SAME of zeroes tells the device so if it knows how, and discards if the initiator allows it
 * (UNMAP); we say that discarded blocks may read as anything (LBPRZ 0).  Else, and when the device
 * turns out not to know after all, it is written, a buffer at a time.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define ANCHOR_UNMAP 0x01 /* of UNMAP's byte 1 */
#define LIST_MAX     (64u << 10)
#define LIST_HEAD    8
#define DESC         16
#define UNMAP_BLOCKS (1u << 20) /* more than that in one command nobody expects */

/* Of WRITE SAME's byte 1. */
#define PROTECT 0xe0
#define ANCHOR  0x10
#define UNMAP   0x08
#define PBLBA   0x06 /* PBDATA, LBDATA */
#define NDOB    0x01 /* no data comes: zeroes.  In WRITE SAME(10) it was RELADR */

static struct mem_tag unmap_tag = MEM_TAG("scsi unmap");

/* ---- UNMAP ---- */

uint32_t scsi_unmap_max(const struct scsi_unit *u)
{
	uint64_t most = MIN(u->dev->limits.max_discard_sectors, UNMAP_BYTES >> SECTOR_SHIFT);

	return (uint32_t)MIN(most / scsi_block_sectors(u), (uint64_t)UNMAP_BLOCKS);
}

bool scsi_unmap_begin(struct scsi_cmd *c)
{
	uint32_t n = get16(c->cdb + 7);

	if (c->cdb[1] & ANCHOR_UNMAP)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!n)
		return false;
	if (n < LIST_HEAD)
		return scsi_refuse(c, SCSI_PARAMETER_LIST_LENGTH);
	c->dir = SCSI_OUT;
	c->bytes = n;
	return true;
}

/* What the list says is wrong with it; *nr: its descriptors. */
static enum scsi_sense list_check(const struct scsi_cmd *c, uint32_t *nr)
{
	uint32_t room = c->nr_segs ? c->room : 0, len, descs;
	uint8_t head[LIST_HEAD];

	*nr = 0;
	if (room < LIST_HEAD)
		return SCSI_PARAMETER_LIST_LENGTH;
	scsi_gather(c, 0, head, sizeof(head));
	len = get16(head);
	descs = get16(head + 2);
	if (len + 2 > room || descs + LIST_HEAD > len + 2)
		return descs ? SCSI_PARAMETER_LIST_LENGTH : SCSI_SENSE_NONE;
	if (descs / DESC > UNMAP_DESCS)
		return SCSI_INVALID_PARAMETER_LIST;
	*nr = descs / DESC; /* an incomplete one at the end is to be ignored */
	return SCSI_SENSE_NONE;
}

/* All of them are good before the first is done. */
static enum scsi_sense descs_check(const struct scsi_cmd *c)
{
	const struct scsi_job *j = c->priv;
	uint64_t blocks = scsi_blocks(c->unit), total = 0, lba, n;
	const uint8_t *d = j->descs;
	uint32_t i;

	for (i = 0; i < j->nr_descs; i++, d += DESC) {
		lba = get64(d);
		n = get32(d + 8);
		if (lba > blocks || n > blocks - lba)
			return SCSI_LBA_OUT_OF_RANGE;
		total += n;
	}
	return total > scsi_unmap_max(c->unit) ? SCSI_INVALID_PARAMETER_LIST : SCSI_SENSE_NONE;
}

static void unmap_done(struct bio *bio);

static void unmap_next(struct scsi_cmd *c)
{
	struct scsi_job *j = c->priv;
	const uint8_t *d;
	uint32_t n;

	while (j->off < j->nr_descs) {
		d = j->descs + DESC * j->off++;
		n = get32(d + 8);
		if (!n)
			continue;
		j->lba = get64(d);
		scsi_bio(c, BIO_DISCARD, j->lba, n, unmap_done);
		bio_submit(&c->bio);
		return;
	}
	scsi_end(c);
}

static void unmap_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;
	struct scsi_job *j = c->priv;

	if (!bio->status) {
		unmap_next(c);
		return;
	}
	scsi_fail_io(c, bio->status, BIO_DISCARD, j->lba);
	scsi_end(c);
}

static void unmap_refuse(struct scsi_cmd *c, enum scsi_sense sense)
{
	if (sense)
		scsi_fail(c, sense);
	scsi_end(c);
}

void scsi_unmap_run(struct scsi_cmd *c)
{
	struct scsi_job *j;
	enum scsi_sense no;
	uint32_t nr;

	no = list_check(c, &nr);
	if (no || !nr) {
		unmap_refuse(c, no);
		return;
	}
	j = scsi_job(c, false);
	if (!j)
		return;
	/* Copied: what is checked and what is done must be the same. */
	j->descs = mem_alloc(&unmap_tag, (size_t)nr * DESC);
	if (!j->descs) {
		c->status = SCSI_BUSY;
		scsi_end(c);
		return;
	}
	j->nr_descs = nr;
	scsi_gather(c, LIST_HEAD, j->descs, nr * DESC);
	no = descs_check(c);
	if (no)
		unmap_refuse(c, no);
	else
		unmap_next(c);
}

/* ---- WRITE SAME ---- */

enum { SAME_DISCARD, SAME_ZEROES, SAME_WRITE };

static bool is_ndob(const struct scsi_cmd *c)
{
	return c->cdb[1] & NDOB;
}

static bool is_16(const struct scsi_cmd *c)
{
	return scsi_cdb_len(c->cdb[0]) == 16;
}

bool scsi_write_same_begin(struct scsi_cmd *c)
{
	uint8_t flags = c->cdb[1];

	if (flags & (PROTECT | ANCHOR | PBLBA) || (flags & NDOB && !is_16(c)) ||
		(flags & UNMAP && !scsi_unmap_max(c->unit)))
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!scsi_range(c))
		return false;
	if (!c->nr_blocks) {
		uint64_t rest = scsi_blocks(c->unit) - c->lba;

		c->nr_blocks = (uint32_t)MIN(rest, SAME_MAX + 1ull);
	}
	if (c->nr_blocks > SAME_MAX)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (is_ndob(c))
		return true;
	c->dir = SCSI_OUT;
	c->bytes = c->unit->block;
	return true;
}

static bool is_zero(const struct scsi_cmd *c)
{
	uint32_t i, off;
	uint8_t part[256];

	for (off = 0; !is_ndob(c) && off < c->unit->block; off += sizeof(part)) {
		scsi_gather(c, off, part, sizeof(part));
		for (i = 0; i < sizeof(part); i++)
			if (part[i])
				return false;
	}
	return true;
}

static void same_done(struct bio *bio);

static void same_write_next(struct scsi_cmd *c)
{
	struct scsi_job *j = c->priv;

	if (j->left)
		scsi_job_bio(c, BIO_WRITE, MIN(j->piece, j->left), same_done);
	else
		scsi_end(c);
}

static void same_write(struct scsi_cmd *c)
{
	struct scsi_job *j = scsi_job(c, true);
	uint32_t block = c->unit->block, at;

	if (!j)
		return;
	if (!is_ndob(c)) {
		scsi_gather(c, 0, j->buf, block);
		for (at = block; at < MIN(JOB_BYTES, j->left * (uint64_t)block); at += block)
			copy_data(j->buf + at, j->buf, block);
	}
	same_write_next(c);
}

static void same_send(struct scsi_cmd *c)
{
	if (c->step == SAME_WRITE) {
		same_write(c);
		return;
	}
	scsi_bio(c, c->step == SAME_DISCARD ? BIO_DISCARD : BIO_WRITE_ZEROES, c->lba, c->nr_blocks,
		same_done);
	bio_submit(&c->bio);
}

static void same_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;
	struct scsi_job *j = c->priv;
	uint32_t n;

	if (bio->status == -EOPNOTSUPP && c->step != SAME_WRITE) {
		c->step++;
		same_send(c);
	} else if (bio->status) {
		scsi_fail_io(c, bio->status, BIO_WRITE, j ? j->lba : c->lba);
		scsi_end(c);
	} else if (c->step == SAME_WRITE) {
		n = MIN(j->piece, j->left);
		j->lba += n;
		j->left -= n;
		same_write_next(c);
	} else {
		scsi_end(c);
	}
}

void scsi_write_same_run(struct scsi_cmd *c)
{
	if (!is_ndob(c) && (!c->nr_segs || c->room < c->unit->block)) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		scsi_end(c);
		return;
	}
	c->unit->writes++;
	if (!is_zero(c))
		c->step = SAME_WRITE;
	else if (c->cdb[1] & UNMAP)
		c->step = SAME_DISCARD;
	else if (c->unit->dev->limits.max_write_zeroes_sectors)
		c->step = SAME_ZEROES;
	else
		c->step = SAME_WRITE;
	same_send(c);
}

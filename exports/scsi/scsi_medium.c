/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_medium - READ, WRITE, SYNCHRONIZE CACHE, START STOP UNIT: one bio between the device and the
 * transport's pages.
 *
 * READ(6), WRITE(6): LBA in 21 bits, length in 8, of which 0 means 256.  The others: byte 1 has
 * protection in its upper three bits (we have none), then DPO, which is a hint, and FUA.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define PROTECT  0xe0 /* of byte 1 */
#define FUA      0x08
#define START    1 /* of START STOP UNIT's byte 4 */
#define NO_FLUSH 4

enum { READ_WHOLE, READ_TAIL };

static struct mem_tag scsi_tag = MEM_TAG("scsi");
static unsigned nr_jobs;

uint64_t scsi_blocks(const struct scsi_unit *u)
{
	return u->dev->nr_sectors / scsi_block_sectors(u);
}

/* ---- jobs ---- */

struct scsi_job *scsi_job(struct scsi_cmd *c, bool with_buf)
{
	struct scsi_job *j = nr_jobs < JOBS_MAX ? mem_alloc(&scsi_tag, sizeof(*j)) : NULL;

	if (j && with_buf)
		j->buf = page_alloc(&scsi_tag, page_order(JOB_BYTES));
	if (!j || (with_buf && !j->buf)) {
		mem_free(j);
		c->status = SCSI_BUSY;
		c->moved = 0;
		scsi_end(c);
		return NULL;
	}
	nr_jobs++;
	c->priv = j;
	j->lba = c->lba;
	j->left = c->nr_blocks;
	j->piece = JOB_BYTES / c->unit->block;
	return j;
}

void scsi_job_free(struct scsi_cmd *c)
{
	struct scsi_job *j = c->priv;

	if (!j)
		return;
	c->priv = NULL;
	nr_jobs--;
	page_free(&scsi_tag, j->buf, page_order(JOB_BYTES));
	mem_free(j->descs);
	mem_free(j);
}

void scsi_bio(struct scsi_cmd *c, enum bio_op op, uint64_t lba, uint32_t blocks,
	void (*done)(struct bio *bio))
{
	uint32_t per = scsi_block_sectors(c->unit);

	c->bio.dev = c->unit->dev;
	c->bio.op = (uint8_t)op;
	c->bio.flags = 0;
	c->bio.sector = lba * per;
	c->bio.nr_sectors = blocks * per;
	c->bio.segs = NULL;
	c->bio.nr_segs = c->bio.seg_off = 0;
	c->bio.done = done;
	c->bio.owner = c;
}

void scsi_job_bio(
	struct scsi_cmd *c, enum bio_op op, uint32_t blocks, void (*done)(struct bio *bio))
{
	struct scsi_job *j = c->priv;

	j->seg = (struct seg){ dma_addr(j->buf), blocks * c->unit->block };
	scsi_bio(c, op, j->lba, blocks, done);
	c->bio.segs = &j->seg;
	c->bio.nr_segs = 1;
	bio_submit(&c->bio);
}

/* ---- the CDB ---- */

bool scsi_range(struct scsi_cmd *c)
{
	const uint8_t *b = c->cdb;
	uint64_t blocks = scsi_blocks(c->unit);

	switch (scsi_cdb_len(b[0])) {
	case 6:
		c->lba = (uint64_t)(b[1] & 0x1f) << 16 | get16(b + 2);
		c->nr_blocks = b[4] ? b[4] : 256;
		break;
	case 10:
		c->lba = get32(b + 2);
		c->nr_blocks = get16(b + 7);
		break;
	case 12:
		c->lba = get32(b + 2);
		c->nr_blocks = get32(b + 6);
		break;
	default:
		c->lba = get64(b + 2);
		c->nr_blocks = get32(b + 10);
	}
	/* No blocks from behind the last one are out of range too. */
	if (c->lba >= blocks || c->nr_blocks > blocks - c->lba)
		return scsi_refuse(c, SCSI_LBA_OUT_OF_RANGE);
	return true;
}

static bool has_flags(const struct scsi_cmd *c)
{
	return scsi_cdb_len(c->cdb[0]) > 6;
}

/* Of the opcodes 08 28 88 a8 and 0a 2a 8a aa. */
static bool is_write(const struct scsi_cmd *c)
{
	return c->cdb[0] & 2;
}

bool scsi_rw_begin(struct scsi_cmd *c)
{
	uint64_t bytes;

	if (has_flags(c) && c->cdb[1] & PROTECT)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!scsi_range(c))
		return false;
	bytes = (uint64_t)c->nr_blocks * c->unit->block;
	if (bytes > SCSI_XFER_MAX)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!bytes)
		return false;
	c->bytes = (uint32_t)bytes;
	c->dir = is_write(c) ? SCSI_OUT : SCSI_IN;
	c->medium = true;
	return true;
}

/* ---- reads and writes ---- */

/* As many whole blocks as there is memory for; 0: none. */
static uint32_t whole_blocks(struct scsi_cmd *c, enum bio_op op, void (*done)(struct bio *bio))
{
	uint32_t n = c->nr_segs ? c->room / c->unit->block : 0;

	scsi_bio(c, op, c->lba, n, done);
	c->bio.segs = c->segs;
	c->bio.nr_segs = c->nr_segs;
	return n;
}

static void write_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;

	if (bio->status)
		scsi_fail_io(c, bio->status, BIO_WRITE, c->lba);
	scsi_end(c);
}

void scsi_write_run(struct scsi_cmd *c)
{
	uint32_t n = whole_blocks(c, BIO_WRITE, write_done);

	c->unit->writes++;
	c->unit->written_bytes += (uint64_t)n * c->unit->block;
	if (!n) {
		scsi_end(c);
		return;
	}
	if (has_flags(c) && c->cdb[1] & FUA)
		c->bio.flags = BIO_FUA;
	bio_submit(&c->bio);
}

static void read_done(struct bio *bio);

/* An initiator that expects a part of a block gets it by way of a buffer. */
static void read_tail(struct scsi_cmd *c)
{
	struct scsi_job *j;

	if (!c->nr_segs || c->moved == c->room) {
		scsi_end(c);
		return;
	}
	j = scsi_job(c, true);
	if (!j)
		return;
	c->step = READ_TAIL;
	j->lba = c->lba + c->moved / c->unit->block;
	scsi_job_bio(c, BIO_READ, 1, read_done);
}

static void read_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;
	struct scsi_job *j = c->priv;

	if (bio->status) {
		scsi_job_free(c);
		scsi_scan(c, bio->status);
		return;
	}
	if (c->step == READ_WHOLE) {
		c->moved = c->room - c->room % c->unit->block;
		read_tail(c);
		return;
	}
	scsi_scatter(c, c->moved, j->buf, c->room - c->moved);
	c->moved = c->room;
	scsi_end(c);
}

void scsi_read_run(struct scsi_cmd *c)
{
	uint32_t n = whole_blocks(c, BIO_READ, read_done);

	c->unit->reads++;
	c->unit->read_bytes += c->nr_segs ? c->room : 0;
	c->step = READ_WHOLE;
	if (n)
		bio_submit(&c->bio);
	else
		read_tail(c);
}

/* ---- the unit ---- */

/* Answers at once, whatever is to be said. */
bool scsi_ready_begin(struct scsi_cmd *c)
{
	if (c->unit->dev->gone)
		scsi_fail(c, SCSI_HARDWARE_FAILURE);
	else if (!scsi_blocks(c->unit))
		scsi_fail(c, SCSI_NOT_READY);
	return false;
}

/* IMMED allows to answer before; we do not. */
bool scsi_sync_begin(struct scsi_cmd *c)
{
	return scsi_range(c);
}

/* A unit that is to stop first writes what it has; there is nothing else to start or stop. */
bool scsi_start_stop_begin(struct scsi_cmd *c)
{
	if (c->cdb[4] & 0xf0)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB); /* no power conditions */
	return !(c->cdb[4] & (START | NO_FLUSH));
}

static void sync_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;

	if (bio->status)
		scsi_fail_io(c, bio->status, BIO_FLUSH, 0);
	scsi_end(c);
}

void scsi_sync_run(struct scsi_cmd *c)
{
	scsi_bio(c, BIO_FLUSH, 0, 0, sync_done);
	bio_submit(&c->bio);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_verify - VERIFY, and where a READ failed: both read the medium, piece by piece, into a
 * buffer of our own.
 *
 * A piece that cannot be read is halved until one block is left: that is the bad one, whose number
 * the initiator wants.  BYTCHK, bits 1 and 2 of byte 1: 0 only reads, 1 compares with as many
 * blocks from the initiator, 3 compares every block with the one that came.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define PROTECT 0xe0

enum { CHECK_NONE, CHECK_ALL, CHECK_RESERVED, CHECK_ONE };

static unsigned bytchk(const struct scsi_cmd *c)
{
	return c->cdb[1] >> 1 & 3;
}

static bool is_verify(const struct scsi_cmd *c)
{
	return (c->cdb[0] & 0x1f) == 0xf;
}

bool scsi_verify_begin(struct scsi_cmd *c)
{
	uint64_t bytes;

	if (c->cdb[1] & PROTECT || bytchk(c) == CHECK_RESERVED)
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!scsi_range(c))
		return false;
	bytes = (uint64_t)c->nr_blocks * c->unit->block;
	if (c->nr_blocks > RANGE_MAX || (bytchk(c) == CHECK_ALL && bytes > SCSI_XFER_MAX))
		return scsi_refuse(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!bytes)
		return false;
	if (bytchk(c) == CHECK_NONE)
		return true;
	c->dir = SCSI_OUT;
	c->medium = bytchk(c) == CHECK_ALL;
	c->bytes = c->medium ? (uint32_t)bytes : c->unit->block;
	return true;
}

/* The first of n bytes from off in the initiator's data that is not that of buf; n: none. */
static uint32_t differs(const struct scsi_cmd *c, uint32_t off, const uint8_t *buf, uint32_t n)
{
	const uint8_t *at;
	uint32_t part, i, seg, same = 0;

	for (seg = 0; seg < c->nr_segs && same < n; seg++) {
		if (off >= c->segs[seg].len) {
			off -= c->segs[seg].len;
			continue;
		}
		at = (const uint8_t *)dma_ptr(c->segs[seg].addr) + off;
		part = MIN(n - same, c->segs[seg].len - off);
		if (memcmp(at, buf + same, part) != 0) {
			for (i = 0; at[i] == buf[same + i]; i++)
				;
			return same + i;
		}
		same += part;
		off = 0;
	}
	return n;
}

/* False: the blocks in the buffer are not the initiator's; then the command has failed. */
static bool compare(struct scsi_cmd *c, uint32_t blocks)
{
	struct scsi_job *j = c->priv;
	uint32_t block = c->unit->block, i, at;

	for (i = 0; i < blocks && bytchk(c) != CHECK_NONE; i++) {
		at = differs(c, j->off, j->buf + i * block, block);
		if (at < block) {
			scsi_fail_info(c, SCSI_MISCOMPARE, j->off + at);
			return false;
		}
		if (bytchk(c) == CHECK_ALL)
			j->off += block;
	}
	return true;
}

static void scan_done(struct bio *bio);

static void scan_next(struct scsi_cmd *c)
{
	struct scsi_job *j = c->priv;

	if (j->left) {
		scsi_job_bio(c, BIO_READ, MIN(j->piece, j->left), scan_done);
		return;
	}
	/* A read that failed and now does not has brought no data all the same. */
	if (j->err)
		scsi_fail_io(c, j->err, BIO_READ, c->lba);
	scsi_end(c);
}

static bool is_medium_error(int err)
{
	return err == -EIO || err == -ENODATA || err == -EILSEQ;
}

static void scan_done(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;
	struct scsi_job *j = c->priv;
	uint32_t n = MIN(j->piece, j->left);

	if (bio->status && n > 1 && is_medium_error(bio->status)) {
		j->piece = n / 2;
	} else if (bio->status) {
		scsi_fail_io(c, bio->status, BIO_READ, j->lba);
		scsi_end(c);
		return;
	} else if (is_verify(c) && !compare(c, n)) {
		scsi_end(c);
		return;
	} else {
		j->lba += n;
		j->left -= n;
	}
	scan_next(c);
}

void scsi_scan(struct scsi_cmd *c, int err)
{
	struct scsi_job *j;

	c->moved = 0;
	if (!is_medium_error(err)) {
		scsi_fail_io(c, err, BIO_READ, c->lba);
		scsi_end(c);
		return;
	}
	j = scsi_job(c, true);
	if (!j)
		return;
	j->err = err;
	scan_next(c);
}

void scsi_verify_run(struct scsi_cmd *c)
{
	uint32_t block = c->unit->block, given = c->nr_segs ? c->room / block : 0;
	struct scsi_job *j;

	if (bytchk(c) == CHECK_ONE && !given) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		scsi_end(c);
		return;
	}
	if (bytchk(c) == CHECK_ALL)
		c->nr_blocks = MIN(c->nr_blocks, given);
	j = scsi_job(c, true);
	if (j)
		scan_next(c);
}

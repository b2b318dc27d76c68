/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_sense - how commands end: sense data (SPC-4 4.5), unit attentions, what errors of the block
 * layer are to an initiator.
 *
 * Fixed format as the control mode page says (D_SENSE 0), with a number in the information field
 * if there is one; a number of more than 32 bits does not fit there and makes it descriptor format.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define FIXED     0x70
#define FIXED_LEN 18
#define DESC      0x72
#define DESC_LEN  8
#define VALID     0x80
#define INFO_DESC 12 /* bytes of the information descriptor */

unsigned scsi_sense_fixed(uint8_t *out, enum scsi_sense sense)
{
	memset(out, 0, FIXED_LEN);
	out[0] = FIXED;
	out[2] = (uint8_t)(sense >> 16);
	out[7] = FIXED_LEN - 8;
	put16(out + 12, sense & 0xffff);
	return FIXED_LEN;
}

unsigned scsi_sense_desc(uint8_t *out, enum scsi_sense sense)
{
	memset(out, 0, DESC_LEN);
	out[0] = DESC;
	out[1] = (uint8_t)(sense >> 16);
	put16(out + 2, sense & 0xffff);
	return DESC_LEN;
}

void scsi_fail(struct scsi_cmd *c, enum scsi_sense sense)
{
	c->status = SCSI_CHECK_CONDITION;
	c->moved = 0;
	c->sense_len = (uint8_t)scsi_sense_fixed(c->sense, sense);
}

void scsi_fail_info(struct scsi_cmd *c, enum scsi_sense sense, uint64_t info)
{
	uint8_t *d = c->sense + DESC_LEN;

	scsi_fail(c, sense);
	if (info <= UINT32_MAX) {
		c->sense[0] |= VALID;
		put32(c->sense + 3, (uint32_t)info);
		return;
	}
	c->sense_len = (uint8_t)(scsi_sense_desc(c->sense, sense) + INFO_DESC);
	c->sense[7] = INFO_DESC;
	d[0] = 0; /* information */
	d[1] = INFO_DESC - 2;
	d[2] = VALID;
	d[3] = 0;
	put64(d + 4, info);
}

bool scsi_refuse(struct scsi_cmd *c, enum scsi_sense sense)
{
	scsi_fail(c, sense);
	return false;
}

static void fail_medium(struct scsi_cmd *c, enum bio_op op, uint64_t lba)
{
	if (op == BIO_READ)
		scsi_fail_info(c, SCSI_MEDIUM_READ_ERROR, lba);
	else if (op == BIO_FLUSH)
		scsi_fail(c, SCSI_MEDIUM_WRITE_ERROR); /* which blocks is not known */
	else
		scsi_fail_info(c, SCSI_MEDIUM_WRITE_ERROR, lba);
}

void scsi_fail_io(struct scsi_cmd *c, int err, enum bio_op op, uint64_t lba)
{
	uint64_t blocks = scsi_blocks(c->unit);

	c->unit->errors++;
	switch (err) {
	case -EIO:
	case -ENODATA:
	case -EILSEQ:
		fail_medium(c, op, lba);
		break;
	case -ENOSPC:
		scsi_fail(c, SCSI_SPACE_ALLOCATION_FAILED);
		break;
	case -EROFS:
		scsi_fail(c, SCSI_WRITE_PROTECTED);
		break;
	case -EOPNOTSUPP:
		scsi_fail(c, SCSI_INVALID_OPCODE);
		break;
	case -ENOMEM:
	case -EAGAIN:
		c->status = SCSI_BUSY;
		c->sense_len = 0;
		c->moved = 0;
		break;
	case -EINVAL: /* the device may have shrunk since the command was looked at */
		if (lba >= blocks || c->nr_blocks > blocks - lba)
			scsi_fail(c, SCSI_LBA_OUT_OF_RANGE);
		else
			scsi_fail(c, SCSI_HARDWARE_FAILURE);
		break;
	default:
		scsi_fail(c, SCSI_HARDWARE_FAILURE);
	}
}

void scsi_end(struct scsi_cmd *c)
{
	scsi_job_free(c);
	c->done(c);
}

/* ---- unit attentions ---- */

/* The same one is told once; when there is no room the last gives way: a power-on comes first and
 * says all. */
void scsi_attention(struct scsi_nexus *n, enum scsi_sense sense)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(n->attention) && n->attention[i]; i++)
		if (n->attention[i] == sense)
			return;
	n->attention[MIN(i, ARRAY_SIZE(n->attention) - 1)] = sense;
}

static void attention_del(struct scsi_nexus *n, unsigned i)
{
	for (; i + 1 < ARRAY_SIZE(n->attention); i++)
		n->attention[i] = n->attention[i + 1];
	n->attention[i] = SCSI_SENSE_NONE;
}

static enum scsi_sense attention_first(const struct scsi_cmd *c)
{
	return c->unit && c->nexus ? (enum scsi_sense)c->nexus->attention[0] : SCSI_SENSE_NONE;
}

bool scsi_attention_report(struct scsi_cmd *c)
{
	enum scsi_sense sense = attention_first(c);

	if (!sense)
		return false;
	attention_del(c->nexus, 0);
	scsi_fail(c, sense);
	return true;
}

int scsi_request_sense(struct scsi_cmd *c, uint8_t *out)
{
	enum scsi_sense sense = c->unit ? attention_first(c) : SCSI_NO_SUCH_LUN;

	if (c->cdb[1] & 1)
		return (int)scsi_sense_desc(out, sense);
	return (int)scsi_sense_fixed(out, sense);
}

void scsi_request_sense_run(struct scsi_cmd *c)
{
	scsi_param_send(c);
	if (attention_first(c))
		attention_del(c->nexus, 0);
	scsi_end(c);
}

/* Who has the list knows that it changed. */
void scsi_report_luns_run(struct scsi_cmd *c)
{
	unsigned i;

	scsi_param_send(c);
	for (i = 0; c->nexus && i < ARRAY_SIZE(c->nexus->attention); i++)
		if (c->nexus->attention[i] == SCSI_LUN_DATA_CHANGED)
			attention_del(c->nexus, i);
	scsi_end(c);
}

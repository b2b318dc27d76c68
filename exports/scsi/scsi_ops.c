/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_ops - the commands there are, what of a CDB each looks at, and the two that tell it: REPORT
 * LUNS and REPORT SUPPORTED OPERATION CODES.
 */
#include "exports/scsi/scsi_internal.h"

#define F4 0xff, 0xff, 0xff, 0xff

/* Usage of CDBs with a range: byte 1, LBA, group, length, control. */
#define LBA_6(first)                       \
	{                                  \
		first, 0xff, 0xff, 0xff, 4 \
	}
#define LBA_10(first)                       \
	{                                   \
		first, F4, 0, 0xff, 0xff, 4 \
	}
#define LBA_12(first)               \
	{                           \
		first, F4, F4, 0, 4 \
	}
#define LBA_16(first)                   \
	{                               \
		first, F4, F4, F4, 0, 4 \
	}

/* The middle of a row: of a command that begins and runs, or of one that makes parameter data of
 * the length that len bytes at "at" allow, and has something to do after. */
#define DOES(begin, run)         NULL, 0, 0, begin, run
#define SAYS(data, at, len, run) data, at, len, NULL, run

#define RW     scsi_rw_begin
#define VERIFY scsi_verify_begin
#define SAME   scsi_write_same_begin

/* Those that matter for speed first: it is searched from the top. */
/* clang-format off */
const struct scsi_op scsi_ops[] = {
	/* READ(10), WRITE(10), READ(16), WRITE(16) */
	{ 0x28, NO_ACTION, 0, DOES(RW, scsi_read_run), LBA_10(0xf8) },
	{ 0x2a, NO_ACTION, OP_WRITES, DOES(RW, scsi_write_run), LBA_10(0xf8) },
	{ 0x88, NO_ACTION, 0, DOES(RW, scsi_read_run), LBA_16(0xf8) },
	{ 0x8a, NO_ACTION, OP_WRITES, DOES(RW, scsi_write_run), LBA_16(0xf8) },
	/* READ(6), WRITE(6), READ(12), WRITE(12) */
	{ 0x08, NO_ACTION, 0, DOES(RW, scsi_read_run), LBA_6(0x1f) },
	{ 0x0a, NO_ACTION, OP_WRITES, DOES(RW, scsi_write_run), LBA_6(0x1f) },
	{ 0xa8, NO_ACTION, 0, DOES(RW, scsi_read_run), LBA_12(0xf8) },
	{ 0xaa, NO_ACTION, OP_WRITES, DOES(RW, scsi_write_run), LBA_12(0xf8) },
	/* SYNCHRONIZE CACHE(10), (16), START STOP UNIT, TEST UNIT READY */
	{ 0x35, NO_ACTION, 0, DOES(scsi_sync_begin, scsi_sync_run), LBA_10(0x02) },
	{ 0x91, NO_ACTION, 0, DOES(scsi_sync_begin, scsi_sync_run), LBA_16(0x02) },
	{ 0x1b, NO_ACTION, 0, DOES(scsi_start_stop_begin, scsi_sync_run), { 1, 0, 0, 0xf5, 4 } },
	{ 0x00, NO_ACTION, 0, DOES(scsi_ready_begin, NULL), { 0, 0, 0, 0, 4 } },
	/* UNMAP, WRITE SAME(10), (16) */
	{ 0x42, NO_ACTION, OP_WRITES | OP_DISCARDS, DOES(scsi_unmap_begin, scsi_unmap_run),
		{ 1, 0, 0, 0, 0, 0, 0xff, 0xff, 4 } },
	{ 0x41, NO_ACTION, OP_WRITES, DOES(SAME, scsi_write_same_run), LBA_10(0xff) },
	{ 0x93, NO_ACTION, OP_WRITES, DOES(SAME, scsi_write_same_run), LBA_16(0xff) },
	/* VERIFY(10), (12), (16) */
	{ 0x2f, NO_ACTION, 0, DOES(VERIFY, scsi_verify_run), LBA_10(0xf6) },
	{ 0xaf, NO_ACTION, 0, DOES(VERIFY, scsi_verify_run), LBA_12(0xf6) },
	{ 0x8f, NO_ACTION, 0, DOES(VERIFY, scsi_verify_run), LBA_16(0xf6) },
	/* INQUIRY, REQUEST SENSE, REPORT LUNS */
	{ 0x12, NO_ACTION, OP_ALWAYS, SAYS(scsi_inquiry, 3, 2, NULL), { 3, 0xff, 0xff, 0xff, 4 } },
	{ 0x03, NO_ACTION, OP_ALWAYS, SAYS(scsi_request_sense, 4, 1, scsi_request_sense_run),
		{ 1, 0, 0, 0xff, 4 } },
	{ 0xa0, NO_ACTION, OP_ALWAYS, SAYS(scsi_report_luns, 6, 4, scsi_report_luns_run),
		{ 0, 0xff, 0, 0, 0, F4, 0, 4 } },
	/* READ CAPACITY(10), (16) */
	{ 0x25, NO_ACTION, 0, SAYS(scsi_read_capacity_10, 0, 0, NULL), { [8] = 4 } },
	{ 0x9e, 0x10, 0, SAYS(scsi_read_capacity_16, 10, 4, NULL),
		{ 0x1f, [9] = F4, [14] = 4 } },
	/* MODE SENSE(6), (10) */
	{ 0x1a, NO_ACTION, 0, SAYS(scsi_mode_sense, 4, 1, NULL), { 8, 0xff, 0xff, 0xff, 4 } },
	{ 0x5a, NO_ACTION, 0, SAYS(scsi_mode_sense, 7, 2, NULL),
		{ 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 4 } },
	/* REPORT SUPPORTED OPERATION CODES */
	{ 0xa3, 0x0c, 0, SAYS(scsi_report_opcodes, 6, 4, NULL),
		{ 0x1f, 0x87, 0xff, 0xff, 0xff, F4, 0, 4 } },
};
/* clang-format on */
const unsigned nr_scsi_ops = ARRAY_SIZE(scsi_ops);

/* ---- REPORT LUNS ---- */

int scsi_report_luns(struct scsi_cmd *c, uint8_t *out)
{
	unsigned i, n = 0, select = c->cdb[2];

	if (select > 2 || get32(c->cdb + 6) < 16) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		return -1;
	}
	/* 1 asks for well-known units only: there are none. */
	for (i = 0; c->target && i < SCSI_LUNS_MAX && select != 1; i++)
		if (c->target->units[i])
			scsi_lun_text((uint16_t)i, out + 8 + 8 * n++);
	put32(out, 8 * n);
	return (int)(8 + 8 * n);
}

/* ---- REPORT SUPPORTED OPERATION CODES ---- */

#define RCTD        0x80 /* of byte 2: time-outs too, of which we say nothing */
#define TIMEOUT_LEN 12

enum { REPORT_ALL, REPORT_OPCODE, REPORT_ACTION, REPORT_EITHER };

static unsigned timeouts(const struct scsi_cmd *c, uint8_t *out)
{
	if (!(c->cdb[2] & RCTD))
		return 0;
	put16(out, TIMEOUT_LEN - 2);
	return TIMEOUT_LEN;
}

static int opcodes_all(const struct scsi_cmd *c, uint8_t *out)
{
	uint8_t *at = out + 4;
	unsigned i;

	for (i = 0; i < nr_scsi_ops; i++) {
		const struct scsi_op *op = &scsi_ops[i];

		if (!scsi_op_there(op, c->unit))
			continue;
		at[0] = op->opcode;
		if (op->action != NO_ACTION) {
			put16(at + 2, op->action);
			at[5] = 1;
		}
		at[5] |= c->cdb[2] & RCTD ? 2 : 0;
		put16(at + 6, scsi_cdb_len(op->opcode));
		at += 8 + timeouts(c, at + 8);
	}
	put32(out, (uint32_t)(at - out) - 4);
	return (int)(at - out);
}

static int opcodes_one(const struct scsi_cmd *c, const struct scsi_op *op, uint8_t *out)
{
	unsigned i, len;

	if (!op || !scsi_op_there(op, c->unit)) {
		out[1] = 1; /* there is none */
		return 4;
	}
	len = scsi_cdb_len(op->opcode);
	out[1] = 3 | (c->cdb[2] & RCTD); /* as the standard has it */
	put16(out + 2, len);
	out[4] = op->opcode;
	for (i = 1; i < len; i++)
		out[4 + i] = op->usage[i - 1];
	if (op->action != NO_ACTION)
		out[5] = op->action;
	return (int)(4 + len + timeouts(c, out + 4 + len));
}

int scsi_report_opcodes(struct scsi_cmd *c, uint8_t *out)
{
	unsigned i, how = c->cdb[2] & 7, action = get16(c->cdb + 4);
	const struct scsi_op *found = NULL;
	bool bad = how > REPORT_EITHER;

	if (how == REPORT_ALL)
		return opcodes_all(c, out);
	for (i = 0; i < nr_scsi_ops && !bad; i++) {
		const struct scsi_op *op = &scsi_ops[i];
		bool has_actions = op->action != NO_ACTION;

		if (op->opcode != c->cdb[3])
			continue;
		/* To ask for an action where there are none, or the other way round. */
		bad = (how == REPORT_OPCODE && has_actions) ||
		      (how == REPORT_ACTION && !has_actions);
		if (has_actions ? op->action == action : how == REPORT_OPCODE || !action)
			found = op;
	}
	if (bad) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		return -1;
	}
	return opcodes_one(c, found, out);
}

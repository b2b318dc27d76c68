/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inquiry - INQUIRY with its vital product data (SPC-4 6.6 and 7.8, SBC-3 6.6) and MODE SENSE
 * (SPC-4 6.13, 7.5; SBC-3 6.5): what a unit says of itself.
 */
#include "exports/scsi/scsi_priv.h"

#define VERSION_SPC4 6

static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };

static void standard(const struct scsi_cmd *c, struct param *p)
{
	static const uint16_t versions[] = { 0x0080 /* SAM-4 */, 0x0460 /* SPC-4 */,
		0x04c0 /* SBC-3 */, 0x0960 /* iSCSI */ };
	uint8_t *d = param_add(p, 96);

	d[0] = c->unit ? 0 : 0x7f;
	d[2] = VERSION_SPC4;
	d[3] = 0x12; /* HISUP, response data format 2 */
	d[4] = 96 - 5;
	d[7] = 0x02; /* CMDQUE */
	memcpy(d + 8, "CAIRN   ", 8);
	memcpy(d + 16, "Mapped device   ", 16);
	memcpy(d + 32, "1.0 ", 4);
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++)
		put16(d + 58 + 2 * i, versions[i]);
}

/* The header of a page; its length is set when it is done. */
static uint8_t *page_begin(struct param *p, uint8_t page)
{
	uint8_t *d = param_add(p, 4);

	d[1] = page;
	return d;
}

static void designators(const struct scsi_unit *u, const struct scsi_target *t, struct param *p)
{
	size_t n = strlen(u->serial), name = strlen(t->name), padded;
	uint8_t *d = param_add(p, 4 + 16);

	d[0] = 1; /* binary */
	d[1] = 3; /* NAA, of the unit */
	d[3] = 16;
	memcpy(d + 4, u->naa, 16);
	d = param_add(p, (unsigned)(4 + 8 + n));
	d[0] = 2; /* ASCII */
	d[1] = 1; /* T10 vendor id */
	d[3] = (uint8_t)(8 + n);
	memcpy(d + 4, "CAIRN   ", 8);
	memcpy(d + 12, u->serial, n);
	d = param_add(p, 8);
	d[0] = 0x51; /* iSCSI, binary */
	d[1] = 0x94; /* of the target port: its relative number */
	d[3] = 4;
	d[7] = 1;
	padded = (name + 1 + 3) & ~(size_t)3;
	d = param_add(p, (unsigned)(4 + padded));
	d[0] = 0x53; /* iSCSI, UTF-8 */
	d[1] = 0xa8; /* of the target: its name */
	d[3] = (uint8_t)padded;
	memcpy(d + 4, t->name, name);
}

static void block_limits(const struct scsi_unit *u, struct param *p)
{
	const struct limits *l = &u->dev->limits;
	uint32_t per = scsi_sectors(u), most = SCSI_XFER_MAX / u->block;
	uint8_t *d = param_add(p, 60);

	put16(d + 2, MIN(MAX(l->io_min / u->block, 1u), 0xffffu));
	put32(d + 4, most);
	put32(d + 8, MIN(l->io_opt / u->block, most));
	if (l->max_discard_sectors) {
		uint32_t gran = MAX(l->discard_granularity / u->block, 1u);

		put32(d + 16, UINT32_MAX / 2 / per);
		put32(d + 20, 256);
		put32(d + 24, gran);
		put32(d + 28, 1u << 31 | l->discard_alignment / u->block);
	}
	put64(d + 32, UINT32_MAX / 2 / per); /* WRITE SAME */
}

static void thin(const struct scsi_unit *u, struct param *p)
{
	uint8_t *d = param_add(p, 4);

	if (u->dev->limits.max_discard_sectors) {
		d[1] = 0xe0; /* UNMAP, WRITE SAME 16 and 10 with UNMAP */
		d[2] = 2;    /* thin */
	}
}

enum scsi_sense scsi_inquiry(const struct scsi_cmd *c, struct param *p)
{
	const struct scsi_unit *u = c->unit;
	uint8_t *head;

	if (!(c->cdb[1] & 1)) {
		if (c->cdb[2])
			return SCSI_INVALID_FIELD_IN_CDB;
		standard(c, p);
		return SCSI_SENSE_NONE;
	}
	if (!u)
		return SCSI_INVALID_FIELD_IN_CDB;
	head = page_begin(p, c->cdb[2]);
	switch (c->cdb[2]) {
	case 0x00:
		memcpy(param_add(p, sizeof(pages)), pages, sizeof(pages));
		break;
	case 0x80:
		memcpy(param_add(p, (unsigned)strlen(u->serial)), u->serial, strlen(u->serial));
		break;
	case 0x83:
		designators(u, c->target, p);
		break;
	case 0xb0:
		block_limits(u, p);
		break;
	case 0xb1:
		head = param_add(p, 60) - 4;
		put16(head + 4, u->dev->limits.rotational ? 0 : 1);
		break;
	case 0xb2:
		thin(u, p);
		break;
	default:
		return SCSI_INVALID_FIELD_IN_CDB;
	}
	put16(head + 2, p->len - 4);
	return SCSI_SENSE_NONE;
}

/* ---- mode pages ---- */

static bool writable(const struct scsi_unit *u)
{
	return !u->read_only && !u->dev->read_only;
}

/* Page control 1 asks which bits can be changed: none. */
static void page_caching(const struct scsi_unit *u, bool values, struct param *p)
{
	uint8_t *d = param_add(p, 20);

	d[0] = 0x08;
	d[1] = 18;
	if (values && u->dev->limits.write_cache)
		d[2] = 4; /* WCE */
}

static void page_control(bool values, struct param *p)
{
	uint8_t *d = param_add(p, 12);

	d[0] = 0x0a;
	d[1] = 10;
	if (values)
		d[3] = 0x10; /* commands are carried out in any order */
}

static void page_exceptions(struct param *p)
{
	uint8_t *d = param_add(p, 12);

	d[0] = 0x1c;
	d[1] = 10;
}

static void block_descriptor(const struct scsi_unit *u, bool wide, struct param *p)
{
	uint64_t blocks = scsi_blocks(u);
	uint8_t *d;

	if (wide) {
		d = param_add(p, 16);
		put64(d, blocks);
		put32(d + 12, u->block);
		return;
	}
	d = param_add(p, 8);
	put32(d, (uint32_t)MIN(blocks, (uint64_t)UINT32_MAX));
	put32(d + 4, u->block);
	d[4] = 0;
}

enum scsi_sense scsi_mode_sense(const struct scsi_cmd *c, struct param *p)
{
	bool ten = c->cdb[0] == 0x5a, values = c->cdb[2] >> 6 != 1, dbd = c->cdb[1] & 8;
	uint8_t page = c->cdb[2] & 0x3f, sub = c->cdb[3], *head;
	bool wide = ten && c->cdb[1] & 0x10, all = page == 0x3f;
	unsigned before;

	if (c->cdb[2] >> 6 == 3)
		return (enum scsi_sense)0x053900; /* saving is not supported */
	if (sub && !(sub == 0xff && all))
		return SCSI_INVALID_FIELD_IN_CDB;
	head = param_add(p, ten ? 8 : 4);
	head[ten ? 3 : 2] = (uint8_t)((writable(c->unit) ? 0 : 0x80) | 0x10); /* DPOFUA */
	if (!dbd) {
		block_descriptor(c->unit, wide, p);
		if (ten) {
			head[4] = wide;
			head[7] = wide ? 16 : 8;
		} else {
			head[3] = 8;
		}
	}
	before = p->len;
	if (all || page == 0x08)
		page_caching(c->unit, values, p);
	if (all || page == 0x0a)
		page_control(values, p);
	if (all || page == 0x1c)
		page_exceptions(p);
	if (p->len == before)
		return SCSI_INVALID_FIELD_IN_CDB;
	if (ten)
		put16(head, p->len - 2);
	else
		head[0] = (uint8_t)(p->len - 1);
	return SCSI_SENSE_NONE;
}

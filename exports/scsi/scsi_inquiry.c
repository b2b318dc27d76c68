/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_inquiry - who the unit is and what it can: INQUIRY, its vital product data (SPC-4 7.8,
 * SBC-3 6.5), READ CAPACITY.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define EVPD       1
#define CMDDT      2 /* gone since SPC-3 */
#define STD_LEN    96
#define NO_UNIT    0x7f /* peripheral qualifier 3, type 1f */
#define VPD_HEAD   4
#define BIG_LEN    60 /* of B0 and B1 */
#define THIN       2
#define BINARY     1
#define ASCII      2
#define UTF8       3
#define PIV_PORT   0x90 /* PROTOCOL IDENTIFIER is valid, of the target port ... */
#define PIV_TARGET 0xa0 /* ... of the target */
#define OF_PORT    0x10
#define ISCSI      0x50
#define TYPE_T10   1
#define TYPE_NAA   3
#define TYPE_PORT  4
#define TYPE_NAME  8

/* Padded with blanks, not terminated. */
static const char vendor[8] = "CAIRN   ", product[16] = "VIRTUAL-DISK    ", revision[4] = "0001";

static int inquiry_standard(struct scsi_cmd *c, uint8_t *out)
{
	static const uint16_t versions[] = { 0x00a0, 0x0460, 0x04c0 }; /* SAM-5 SPC-4 SBC-3 */
	unsigned i;

	if (!c->unit)
		out[0] = NO_UNIT;
	out[2] = 6;    /* SPC-4 */
	out[3] = 0x12; /* LUNs with levels, format 2 */
	out[4] = STD_LEN - 5;
	out[7] = 0x02; /* command queuing */
	memcpy(out + 8, vendor, sizeof(vendor));
	memcpy(out + 16, product, sizeof(product));
	memcpy(out + 32, revision, sizeof(revision));
	for (i = 0; i < ARRAY_SIZE(versions); i++)
		put16(out + 58 + 2 * i, versions[i]);
	return STD_LEN;
}

/* ---- vital product data: what follows the head; its length ---- */

static int vpd_pages(const struct scsi_cmd *c, uint8_t *out)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };

	memcpy(out, pages, sizeof(pages));
	return sizeof(pages);
}

static int vpd_serial(const struct scsi_cmd *c, uint8_t *out)
{
	size_t n = strlen(c->unit->serial);

	memcpy(out, c->unit->serial, n);
	return (int)n;
}

/* One designator's head; its memory begins 4 bytes on. */
static int designator(uint8_t *out, uint8_t set, uint8_t type, unsigned len)
{
	out[0] = set;
	out[1] = type;
	out[3] = (uint8_t)len;
	return 4 + (int)len;
}

/* A name ends in a NUL and has a length that 4 divides. */
static int name_designator(uint8_t *out, const char *name)
{
	size_t n = strlen(name);

	str_copy((char *)out + 4, n + 1, name);
	return designator(
		out, ISCSI | UTF8, PIV_TARGET | TYPE_NAME, (unsigned)ROUND_UP_POW2(n + 1, 4));
}

static int vpd_identification(const struct scsi_cmd *c, uint8_t *out)
{
	const struct scsi_unit *u = c->unit;
	size_t serial = strlen(u->serial);
	uint8_t *at = out;

	memcpy(at + 4, u->naa, sizeof(u->naa));
	at += designator(at, BINARY, TYPE_NAA, sizeof(u->naa));
	memcpy(at + 4, vendor, sizeof(vendor));
	memcpy(at + 12, u->serial, serial);
	at += designator(at, ASCII, TYPE_T10, 8 + (unsigned)serial);
	put32(at + 4, 1);
	at += designator(at, BINARY, OF_PORT | TYPE_PORT, 4);
	if (c->target && c->target->name[0])
		at += name_designator(at, c->target->name);
	return (int)(at - out);
}

/* In blocks; 0 when it says nothing that one block does not. */
static uint32_t hint(const struct scsi_unit *u, uint32_t bytes, uint32_t max)
{
	uint32_t n = bytes / u->block;

	return bytes % u->block || n > max ? 0 : n;
}

static int vpd_limits(const struct scsi_cmd *c, uint8_t *out)
{
	const struct scsi_unit *u = c->unit;
	const struct limits *l = &u->dev->limits;
	uint32_t max = SCSI_XFER_MAX / u->block, granule = l->discard_granularity / u->block;
	uint32_t unmap = scsi_unmap_max(u);

	out -= VPD_HEAD; /* as SBC-3 counts */
	put16(out + 6, hint(u, l->io_min, UINT16_MAX));
	put32(out + 8, max);
	put32(out + 12, hint(u, l->io_opt, max));
	if (unmap) {
		put32(out + 20, unmap);
		put32(out + 24, UNMAP_DESCS);
	}
	if (unmap && granule) {
		put32(out + 28, granule);
		put32(out + 32, 1u << 31 | l->discard_alignment / u->block % granule);
	}
	put64(out + 36, SAME_MAX);
	return BIG_LEN;
}

static int vpd_characteristics(const struct scsi_cmd *c, uint8_t *out)
{
	if (!c->unit->dev->limits.rotational)
		put16(out, 1);
	return BIG_LEN; /* 0: a rotation rate that is not told */
}

static int vpd_provisioning(const struct scsi_cmd *c, uint8_t *out)
{
	if (scsi_unmap_max(c->unit)) {
		out[1] = 0xe0; /* by UNMAP and both WRITE SAMEs; what is read then is not said */
		out[2] = THIN;
	}
	return 4;
}

static int inquiry_vpd(struct scsi_cmd *c, uint8_t *out)
{
	static const struct {
		uint8_t page;
		int (*make)(const struct scsi_cmd *c, uint8_t *out);
	} pages[] = {
		{ 0x00, vpd_pages },
		{ 0x80, vpd_serial },
		{ 0x83, vpd_identification },
		{ 0xb0, vpd_limits },
		{ 0xb1, vpd_characteristics },
		{ 0xb2, vpd_provisioning },
	};
	unsigned i;
	int n;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].page != c->cdb[2])
			continue;
		n = pages[i].make(c, out + VPD_HEAD);
		out[1] = pages[i].page;
		put16(out + 2, (uint32_t)n);
		return VPD_HEAD + n;
	}
	scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
	return -1;
}

int scsi_inquiry(struct scsi_cmd *c, uint8_t *out)
{
	if (c->cdb[1] & EVPD && !c->unit) {
		scsi_fail(c, SCSI_NO_SUCH_LUN);
		return -1;
	}
	if (c->cdb[1] & EVPD)
		return inquiry_vpd(c, out);
	if (c->cdb[1] & CMDDT || c->cdb[2]) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		return -1;
	}
	return inquiry_standard(c, out);
}

/* ---- READ CAPACITY ---- */

int scsi_read_capacity_10(struct scsi_cmd *c, uint8_t *out)
{
	uint64_t blocks = scsi_blocks(c->unit);

	if (!blocks) {
		scsi_fail(c, SCSI_NOT_READY);
		return -1;
	}
	put32(out, (uint32_t)MIN(blocks - 1, UINT32_MAX));
	put32(out + 4, c->unit->block);
	return 8;
}

int scsi_read_capacity_16(struct scsi_cmd *c, uint8_t *out)
{
	const struct scsi_unit *u = c->unit;
	const struct limits *l = &u->dev->limits;
	uint64_t blocks = scsi_blocks(u);
	uint32_t aligned = l->alignment_offset / u->block & 0x3fff;

	if (!blocks) {
		scsi_fail(c, SCSI_NOT_READY);
		return -1;
	}
	put64(out, blocks - 1);
	put32(out + 8, u->block);
	if (l->physical_block > u->block)
		out[13] = (uint8_t)MIN(ilog2(l->physical_block / u->block), 15u);
	put16(out + 14, (scsi_unmap_max(u) ? 0x8000u : 0) | aligned);
	return 32;
}

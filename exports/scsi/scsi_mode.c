/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_mode - MODE SENSE: pages 08 (caching), 0a (control), 1c (informational exceptions), 3f
 * (all).
 *
 * Nothing can be changed, so there is no MODE SELECT, the default values are the current ones and
 * the masks of what is changeable are 0.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/string.h"

#define DBD          0x08 /* of byte 1 */
#define LLBAA        0x10
#define WP           0x80 /* of the device-specific parameter */
#define DPOFUA       0x10
#define ALL_PAGES    0x3f
#define ALL_SUBPAGES 0xff

enum { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static void page_caching(const struct scsi_unit *u, uint8_t *p)
{
	p[2] = u->dev->limits.write_cache ? 0x04 : 0;
}

static void page_control(const struct scsi_unit *u, uint8_t *p)
{
	p[3] = 0x10;              /* commands may be reordered; sense is of fixed format */
	put16(p + 8, UINT16_MAX); /* how long we may be busy: no limit */
}

static void page_exceptions(const struct scsi_unit *u, uint8_t *p)
{
	p[2] = 0x08; /* there are none */
}

static const struct {
	uint8_t code, len; /* len: of the whole page */
	void (*make)(const struct scsi_unit *u, uint8_t *p);
} mode_pages[] = {
	{ 0x08, 20, page_caching },
	{ 0x0a, 12, page_control },
	{ 0x1c, 12, page_exceptions },
};

static unsigned mode_pages_make(const struct scsi_cmd *c, uint8_t *out)
{
	unsigned i, n = 0, code = c->cdb[2] & 0x3f;

	for (i = 0; i < ARRAY_SIZE(mode_pages); i++) {
		if (code != mode_pages[i].code && code != ALL_PAGES)
			continue;
		out[n] = mode_pages[i].code;
		out[n + 1] = mode_pages[i].len - 2;
		if (c->cdb[2] >> 6 != PC_CHANGEABLE)
			mode_pages[i].make(c->unit, out + n);
		n += mode_pages[i].len;
	}
	return n;
}

static unsigned block_descriptor(const struct scsi_cmd *c, uint8_t *out, bool is_long)
{
	uint64_t blocks = scsi_blocks(c->unit);

	if (is_long) {
		put64(out, blocks);
		put32(out + 12, c->unit->block);
		return 16;
	}
	put32(out, (uint32_t)MIN(blocks, UINT32_MAX));
	put32(out + 4, c->unit->block); /* 24 bits: none is longer */
	return 8;
}

int scsi_mode_sense(struct scsi_cmd *c, uint8_t *out)
{
	bool is_6 = c->cdb[0] == 0x1a, is_long = !is_6 && c->cdb[1] & LLBAA;
	unsigned head = is_6 ? 4 : 8, descs = 0, pages;
	const struct scsi_unit *u = c->unit;
	uint8_t param;

	if (c->cdb[2] >> 6 == PC_SAVED) {
		scsi_fail(c, SCSI_SAVING_NOT_SUPPORTED);
		return -1;
	}
	if (!(c->cdb[1] & DBD))
		descs = block_descriptor(c, out + head, is_long);
	pages = mode_pages_make(c, out + head + descs);
	if (!pages || (c->cdb[3] && c->cdb[3] != ALL_SUBPAGES)) {
		scsi_fail(c, SCSI_INVALID_FIELD_IN_CDB);
		return -1;
	}
	param = (u->read_only || u->dev->read_only ? WP : 0) | DPOFUA;
	if (is_6) {
		out[0] = (uint8_t)(head + descs + pages - 1);
		out[2] = param;
		out[3] = (uint8_t)descs;
	} else {
		put16(out, head + descs + pages - 2);
		out[3] = param;
		out[4] = is_long;
		put16(out + 6, descs);
	}
	return (int)(head + descs + pages);
}

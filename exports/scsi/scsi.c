/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi - a command from its CDB to its end: units and LUNs, what is looked at first, parameter
 * data.  What the commands are stands in scsi_ops.c, what they do in the other files.
 */
#include "exports/scsi/scsi_internal.h"
#include "kernel/api/crypto.h"
#include "kernel/api/string.h"

#define SERIAL_PLAIN_MAX 36 /* longer identities are told by their hash */
#define NACA             4  /* of the control byte */

/* Parameter data is made here whole and then sent as far as it goes.  Only core 0 is ever here, and
 * nothing waits in between. */
static uint8_t param[PARAM_MAX];

/* ---- units ---- */

static bool is_plain(const char *s)
{
	if (strlen(s) > SERIAL_PLAIN_MAX)
		return false;
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static void digest_of(const char *identity, const uint16_t *lun, uint8_t digest[SHA256_SIZE])
{
	struct sha256 s;
	uint8_t nr[2];

	sha256_init(&s);
	sha256_update(&s, identity, strlen(identity) + 1);
	if (lun) {
		put16(nr, *lun);
		sha256_update(&s, nr, sizeof(nr));
	}
	sha256_final(&s, digest);
}

/* One device behind two LUNs is two units: all but LUN 0 have their number in the serial. */
static void serial_init(struct scsi_unit *u, const char *identity)
{
	uint8_t digest[SHA256_SIZE];
	struct strbuf sb;
	unsigned i;

	strbuf_init_fixed(&sb, u->serial, sizeof(u->serial));
	if (is_plain(identity)) {
		strbuf_puts(&sb, identity);
	} else {
		digest_of(identity, NULL, digest);
		for (i = 0; i < 16; i++)
			strbuf_printf(&sb, "%02x", digest[i]);
	}
	if (u->lun)
		strbuf_printf(&sb, "-%u", u->lun);
}

/* NAA 6 begins with 24 bits of a company; 02-43-52 has the bit of locally administered ones, so it
 * is nobody's.  The rest is hash. */
static void naa_init(struct scsi_unit *u, const char *identity)
{
	uint8_t digest[SHA256_SIZE];

	digest_of(identity, &u->lun, digest);
	memcpy(u->naa, digest, sizeof(u->naa));
	put32(u->naa, 0x60243520);
	u->naa[3] |= digest[3] & 0xf;
}

void scsi_unit_init(
	struct scsi_unit *u, struct bdev *dev, uint16_t lun, bool read_only, const char *identity)
{
	*u = (struct scsi_unit){
		.dev = dev,
		.lun = lun,
		.read_only = read_only,
		.block = dev->limits.logical_block,
	};
	u->blocks = scsi_blocks(u);
	if (!identity[0])
		identity = dev->name;
	serial_init(u, identity);
	naa_init(u, identity);
}

struct scsi_unit *scsi_find(struct scsi_target *t, const uint8_t lun[8])
{
	unsigned i, nr = get16(lun);

	for (i = 2; i < 8; i++)
		if (lun[i])
			return NULL;
	if (nr >> 14 == 1) /* flat; peripheral is bus 0 and a byte, and reads as such */
		nr &= 0x3fff;
	return nr < SCSI_LUNS_MAX ? t->units[nr] : NULL;
}

void scsi_lun_text(uint16_t lun, uint8_t field[8])
{
	memset(field, 0, 8);
	put16(field, lun < 256 ? lun : 0x4000u | lun);
}

/* ---- the transport's memory ---- */

/* Copies between it and buf; whichever way. */
static void copy(const struct scsi_cmd *c, uint32_t off, uint8_t *buf, uint32_t n, bool out)
{
	uint32_t part;
	uint8_t *at;
	unsigned i;

	for (i = 0; i < c->nr_segs && n; i++) {
		if (off >= c->segs[i].len) {
			off -= c->segs[i].len;
			continue;
		}
		at = (uint8_t *)dma_ptr(c->segs[i].addr) + off;
		part = MIN(n, c->segs[i].len - off);
		if (out)
			memcpy(at, buf, part);
		else
			memcpy(buf, at, part);
		buf += part;
		n -= part;
		off = 0;
	}
}

void scsi_gather(const struct scsi_cmd *c, uint32_t off, void *to, uint32_t n)
{
	memset(to, 0, n);
	copy(c, off, to, n, false);
}

void scsi_scatter(struct scsi_cmd *c, uint32_t off, const void *from, uint32_t n)
{
	copy(c, off, (uint8_t *)from, n, true);
}

/* ---- commands ---- */

static const struct scsi_op *op_find(const struct scsi_cmd *c, bool *known)
{
	uint8_t action = c->cdb[1] & 0x1f;
	unsigned i;

	*known = false;
	for (i = 0; i < nr_scsi_ops; i++) {
		const struct scsi_op *op = &scsi_ops[i];

		if (op->opcode != c->cdb[0])
			continue;
		*known = true;
		if (op->action == NO_ACTION || op->action == action)
			return op;
	}
	return NULL;
}

bool scsi_op_there(const struct scsi_op *op, const struct scsi_unit *u)
{
	return !(op->flags & OP_DISCARDS) || (u && scsi_unmap_max(u));
}

unsigned scsi_cdb_len(uint8_t opcode)
{
	static const uint8_t len[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

	return len[opcode >> 5];
}

static uint32_t alloc_length(const struct scsi_cmd *c, const struct scsi_op *op)
{
	const uint8_t *at = c->cdb + op->alloc_at;

	switch (op->alloc_len) {
	case 1:
		return at[0];
	case 2:
		return get16(at);
	case 4:
		return get32(at);
	}
	return PARAM_MAX;
}

static int param_make(struct scsi_cmd *c, const struct scsi_op *op)
{
	int n;

	memset(param, 0, sizeof(param));
	n = op->data(c, param);
	ASSERT(n <= PARAM_MAX);
	return n;
}

static bool param_begin(struct scsi_cmd *c, const struct scsi_op *op)
{
	int n = param_make(c, op);

	if (n < 0)
		return false;
	c->bytes = MIN((uint32_t)n, alloc_length(c, op));
	if (!c->bytes)
		return false;
	c->dir = SCSI_IN;
	return true;
}

/* It is made a second time, and may have become shorter. */
void scsi_param_send(struct scsi_cmd *c)
{
	bool known;
	int n = param_make(c, op_find(c, &known));

	if (n < 0)
		return;
	c->moved = MIN(MIN((uint32_t)n, c->bytes), c->nr_segs ? c->room : 0);
	scsi_scatter(c, 0, param, c->moved);
}

static bool is_read_only(const struct scsi_unit *u)
{
	return u && (u->read_only || u->dev->read_only);
}

/* What goes before the command's own look, in the order of SAM-5 and SPC-4: the unit, attentions,
 * the CDB.  NULL: it has failed. */
static const struct scsi_op *op_vet(struct scsi_cmd *c)
{
	bool known;
	const struct scsi_op *op = op_find(c, &known);
	bool always = op && op->flags & OP_ALWAYS;
	enum scsi_sense no;

	if (!c->unit && !always)
		no = SCSI_NO_SUCH_LUN;
	else if (!always && scsi_attention_report(c))
		return NULL;
	else if (!known || (op && !scsi_op_there(op, c->unit)))
		no = SCSI_INVALID_OPCODE;
	else if (!op || c->cdb[scsi_cdb_len(c->cdb[0]) - 1] & NACA)
		no = SCSI_INVALID_FIELD_IN_CDB;
	else if (op->flags & OP_WRITES && is_read_only(c->unit))
		no = SCSI_WRITE_PROTECTED;
	else
		return op;
	scsi_fail(c, no);
	return NULL;
}

bool scsi_begin(struct scsi_cmd *c)
{
	const struct scsi_op *op;

	c->dir = SCSI_NO_DATA;
	c->bytes = c->moved = c->room = 0;
	c->medium = false;
	c->segs = NULL;
	c->nr_segs = 0;
	c->status = SCSI_GOOD;
	c->sense_len = 0;
	c->bio = (struct bio){ 0 };
	c->priv = NULL;
	c->lba = 0;
	c->nr_blocks = 0;
	c->step = 0;
	op = op_vet(c);
	if (!op)
		return false;
	if (op->data)
		return param_begin(c, op);
	return op->begin(c);
}

void scsi_run(struct scsi_cmd *c)
{
	bool known;
	const struct scsi_op *op = op_find(c, &known);

	c->room = MIN(c->room, c->bytes);
	if (op->run) {
		op->run(c);
		return;
	}
	scsi_param_send(c);
	scsi_end(c);
}

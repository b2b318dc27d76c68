/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi - commands of a direct-access block device (SBC-3).
 *
 * Reads and writes are one bio over the transport's memory.  What needs memory of its own (VERIFY,
 * WRITE SAME) works in pieces of one buffer that scsi_begin() takes, so nothing is allocated once a
 * command runs.  When a read fails the blocks are read one by one, for the sense data name the one
 * that cannot be.
 */
#include "exports/scsi/scsi_priv.h"
#include "kernel/api/crypto.h"

#define PIECE_ORDER 4 /* 64 KiB at a time */
#define PIECE       ((uint32_t)PAGE_SIZE << PIECE_ORDER)

static struct mem_tag scsi_tag = MEM_TAG("scsi");

enum step {
	STEP_ONCE,   /* the bio was all there is to do */
	STEP_LOOP,   /* piece after piece: nr_blocks are left from lba on */
	STEP_SEARCH, /* a read failed: block by block */
};

/* Memory of a command beside the transport's. */
struct work_area {
	uint8_t *buf; /* PIECE bytes */
	struct seg seg;
	uint32_t at;     /* bytes of data-out looked at */
	uint32_t piece;  /* blocks of the bio that is out */
	int err;         /* what the search began with */
	uint16_t ranges; /* UNMAP: still to do */
};

uint32_t scsi_sectors(const struct scsi_unit *u)
{
	return u->block >> SECTOR_SHIFT;
}

uint64_t scsi_blocks(const struct scsi_unit *u)
{
	return u->dev->nr_sectors / scsi_sectors(u);
}

/* ---- ending ---- */

static void set_sense(struct scsi_cmd *c, enum scsi_sense sense, bool with_lba, uint64_t lba)
{
	uint8_t *s = c->sense;

	c->status = SCSI_CHECK_CONDITION;
	memset(s, 0, sizeof(c->sense));
	if (with_lba && lba > UINT32_MAX) {
		s[0] = 0x72;
		s[1] = (uint8_t)(sense >> 16);
		s[2] = (uint8_t)(sense >> 8);
		s[3] = (uint8_t)sense;
		s[7] = 12;
		s[9] = 10; /* information descriptor */
		s[10] = 0x80;
		put64(s + 12, lba);
		c->sense_len = 20;
		return;
	}
	s[0] = with_lba ? 0xf0 : 0x70;
	s[2] = (uint8_t)(sense >> 16);
	if (with_lba)
		put32(s + 3, (uint32_t)lba);
	s[7] = 10;
	s[12] = (uint8_t)(sense >> 8);
	s[13] = (uint8_t)sense;
	c->sense_len = 18;
}

void scsi_fail(struct scsi_cmd *c, enum scsi_sense sense)
{
	set_sense(c, sense, false, 0);
	c->moved = 0;
}

static void area_free(struct scsi_cmd *c)
{
	struct work_area *w = c->priv;

	if (!w)
		return;
	page_free(&scsi_tag, w->buf, PIECE_ORDER);
	mem_free(w);
	c->priv = NULL;
}

static void end(struct scsi_cmd *c)
{
	area_free(c);
	c->done(c);
}

static void end_fail(struct scsi_cmd *c, enum scsi_sense sense)
{
	scsi_fail(c, sense);
	end(c);
}

/* A bio failed; lba is what is known of where. */
static void end_errno(struct scsi_cmd *c, int err, bool write, uint64_t lba)
{
	c->unit->errors++;
	c->moved = 0;
	switch (err) {
	case -ENODATA:
	case -EILSEQ:
	case -EIO:
		set_sense(c, write ? SCSI_MEDIUM_WRITE_ERROR : SCSI_MEDIUM_READ_ERROR, true, lba);
		break;
	case -ENOSPC:
		set_sense(c, SCSI_SPACE_ALLOCATION_FAILED, false, 0);
		break;
	case -EROFS:
		set_sense(c, SCSI_WRITE_PROTECTED, false, 0);
		break;
	case -EOPNOTSUPP:
		set_sense(c, SCSI_INVALID_OPCODE, false, 0);
		break;
	case -EINVAL:
		set_sense(c, SCSI_LBA_OUT_OF_RANGE, false, 0);
		break;
	case -ENOMEM:
	case -EAGAIN:
		c->status = SCSI_BUSY;
		break;
	default:
		set_sense(c, SCSI_HARDWARE_FAILURE, false, 0);
		break;
	}
	end(c);
}

/* ---- bios ---- */

static void bio_ended(struct bio *bio);

static void send(struct scsi_cmd *c, enum bio_op op, uint64_t lba, uint32_t blocks,
	const struct seg *segs, unsigned nr_segs, unsigned flags)
{
	struct bio *bio = &c->bio;
	uint32_t per = scsi_sectors(c->unit);

	bio->dev = c->unit->dev;
	bio->op = (uint8_t)op;
	bio->flags = (uint8_t)flags;
	bio->sector = lba * per;
	bio->nr_sectors = blocks * per;
	bio->segs = segs;
	bio->nr_segs = nr_segs;
	bio->seg_off = 0;
	bio->done = bio_ended;
	bio->owner = c;
	bio_submit(bio);
}

/* The next piece of work, in the area's buffer; op is the bio's. */
static void send_piece(struct scsi_cmd *c, enum bio_op op, uint32_t most)
{
	struct work_area *w = c->priv;

	w->piece = MIN(c->nr_blocks, most);
	w->seg = (struct seg){ w->buf ? dma_addr(w->buf) : 0, w->piece * c->unit->block };
	send(c, op, c->lba, w->piece, op == BIO_READ || op == BIO_WRITE ? &w->seg : NULL,
		op == BIO_READ || op == BIO_WRITE, 0);
}

static uint32_t piece_blocks(const struct scsi_cmd *c)
{
	return PIECE / c->unit->block;
}

/* Most blocks one DISCARD or WRITE_ZEROES may have. */
static uint32_t range_blocks(const struct scsi_cmd *c)
{
	return UINT32_MAX / 2 / scsi_sectors(c->unit);
}

/* Copies n bytes of the data-out from `from` on. */
static void data_out(const struct scsi_cmd *c, uint32_t from, void *to, uint32_t n)
{
	uint8_t *d = to;

	for (unsigned i = 0; i < c->nr_segs && n; i++) {
		uint32_t len = c->segs[i].len, part;

		if (from >= len) {
			from -= len;
			continue;
		}
		part = MIN(n, len - from);
		memcpy(d, (uint8_t *)dma_ptr(c->segs[i].addr) + from, part);
		d += part;
		n -= part;
		from = 0;
	}
}

/* Offset of the first byte of data-out from `from` on that is not p's; n: all are. */
static uint32_t data_differs(const struct scsi_cmd *c, uint32_t from, const uint8_t *p, uint32_t n)
{
	uint32_t seen = 0;

	for (unsigned i = 0; i < c->nr_segs && seen < n; i++) {
		uint32_t len = c->segs[i].len, part;
		const uint8_t *d = dma_ptr(c->segs[i].addr);

		if (from >= len) {
			from -= len;
			continue;
		}
		part = MIN(n - seen, len - from);
		if (memcmp(d + from, p + seen, part)) {
			while (d[from] == p[seen]) {
				from++;
				seen++;
			}
			return seen;
		}
		seen += part;
		from = 0;
	}
	return n;
}

/* ---- the commands that work in pieces ---- */

static unsigned bytchk(const struct scsi_cmd *c)
{
	return c->cdb[1] >> 1 & 3;
}

/* A piece was read for VERIFY.  False: it differs, and the command has ended. */
static bool verify_piece(struct scsi_cmd *c)
{
	struct work_area *w = c->priv;
	uint32_t block = c->unit->block, at;

	for (uint32_t i = 0; bytchk(c) && i < w->piece; i++) {
		at = data_differs(c, bytchk(c) == 3 ? 0 : w->at, w->buf + i * block, block);
		if (at < block) {
			set_sense(c, SCSI_MISCOMPARE, true,
				bytchk(c) == 3 ? at : (uint64_t)w->at + at);
			end(c);
			return false;
		}
		w->at += bytchk(c) == 3 ? 0 : block;
	}
	return true;
}

static void unmap_next(struct scsi_cmd *c)
{
	struct work_area *w = c->priv;
	uint8_t d[16];

	while (!c->nr_blocks && w->ranges) {
		data_out(c, w->at, d, sizeof(d));
		w->at += sizeof(d);
		w->ranges--;
		c->lba = get64(d);
		c->nr_blocks = get32(d + 8);
	}
	if (c->nr_blocks)
		send_piece(c, BIO_DISCARD, range_blocks(c));
	else
		end(c);
}

static bool is_write_same(const struct scsi_cmd *c)
{
	return c->cdb[0] == 0x41 || c->cdb[0] == 0x93;
}

static void next_piece(struct scsi_cmd *c)
{
	const struct limits *l = &c->unit->dev->limits;
	struct work_area *w = c->priv;

	if (c->cdb[0] == 0x42) {
		unmap_next(c);
	} else if (!c->nr_blocks) {
		end(c);
	} else if (!is_write_same(c)) {
		send_piece(c, BIO_READ, piece_blocks(c));
	} else if (c->cdb[1] & 8) {
		send_piece(c, BIO_DISCARD, range_blocks(c));
	} else if (w->ranges && l->max_write_zeroes_sectors) {
		send_piece(c, BIO_WRITE_ZEROES, range_blocks(c));
	} else {
		send_piece(c, BIO_WRITE, piece_blocks(c));
	}
}

static void search_next(struct scsi_cmd *c)
{
	send_piece(c, BIO_READ, 1);
}

/* Memory to look for the block with; none: the first stands for all. */
static void search_begin(struct scsi_cmd *c, int err)
{
	struct work_area *w = c->priv ? c->priv : mem_alloc(&scsi_tag, sizeof(*w));

	if (w && !w->buf)
		w->buf = page_alloc(&scsi_tag, PIECE_ORDER);
	c->priv = w;
	if (!w || !w->buf) {
		end_errno(c, err, false, c->lba);
		return;
	}
	w->err = err;
	c->step = STEP_SEARCH;
	search_next(c);
}

static void search_ended(struct scsi_cmd *c, int status)
{
	struct work_area *w = c->priv;

	if (status) {
		end_errno(c, status, false, c->lba);
		return;
	}
	c->lba++;
	c->nr_blocks--;
	if (!c->nr_blocks) /* each can be read now: the last is as good as any */
		end_errno(c, w->err, false, c->lba - 1);
	else
		search_next(c);
}

static bool is_medium_error(int err)
{
	return err == -EIO || err == -ENODATA || err == -EILSEQ;
}

static void bio_ended(struct bio *bio)
{
	struct scsi_cmd *c = bio->owner;
	struct work_area *w = c->priv;
	bool write = bio->op != BIO_READ;
	int err = bio->status;

	if (c->step == STEP_SEARCH) {
		search_ended(c, err);
		return;
	}
	if (err && !write && is_medium_error(err)) {
		search_begin(c, err);
		return;
	}
	if (err) {
		end_errno(c, err, write, c->lba);
		return;
	}
	if (c->step == STEP_ONCE) {
		end(c);
		return;
	}
	if (bio->op == BIO_READ && !verify_piece(c))
		return;
	c->lba += w->piece;
	c->nr_blocks -= w->piece;
	next_piece(c);
}

/* ---- beginning ---- */

/* Ends a command in scsi_begin(). */
static bool fail(struct scsi_cmd *c, enum scsi_sense sense)
{
	area_free(c);
	scsi_fail(c, sense);
	return false;
}

static bool busy(struct scsi_cmd *c)
{
	area_free(c);
	c->status = SCSI_BUSY;
	return false;
}

/* LBA and count of the block commands, by the length their opcode's group has. */
static void parse_range(struct scsi_cmd *c)
{
	const uint8_t *d = c->cdb;

	switch (d[0] >> 5) {
	case 0:
		c->lba = get32(d) & 0x1fffff;
		c->nr_blocks = d[4] ? d[4] : 256;
		break;
	case 4:
		c->lba = get64(d + 2);
		c->nr_blocks = get32(d + 10);
		break;
	case 5:
		c->lba = get32(d + 2);
		c->nr_blocks = get32(d + 6);
		break;
	default:
		c->lba = get32(d + 2);
		c->nr_blocks = get16(d + 7);
		break;
	}
}

static bool in_range(const struct scsi_cmd *c)
{
	uint64_t all = scsi_blocks(c->unit);

	return c->lba <= all && c->nr_blocks <= all - c->lba;
}

static bool needs_area(struct scsi_cmd *c, bool buffer)
{
	struct work_area *w = mem_alloc(&scsi_tag, sizeof(*w));

	c->priv = w;
	if (w && buffer)
		w->buf = page_alloc(&scsi_tag, PIECE_ORDER);
	c->step = STEP_LOOP;
	return w && (w->buf || !buffer);
}

static bool is_read_only(const struct scsi_cmd *c)
{
	return c->unit->read_only || c->unit->dev->read_only;
}

static bool begin_read_write(struct scsi_cmd *c, bool write)
{
	parse_range(c);
	if (c->cdb[0] >> 5 && c->cdb[1] & 0xe0) /* protection information */
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	if (write && is_read_only(c))
		return fail(c, SCSI_WRITE_PROTECTED);
	if (!in_range(c))
		return fail(c, SCSI_LBA_OUT_OF_RANGE);
	if (c->nr_blocks > SCSI_XFER_MAX / c->unit->block)
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	c->medium = true;
	c->dir = !c->nr_blocks ? SCSI_NO_DATA : write ? SCSI_OUT : SCSI_IN;
	c->bytes = c->nr_blocks * c->unit->block;
	return true;
}

static bool begin_verify(struct scsi_cmd *c)
{
	parse_range(c);
	if (c->cdb[1] & 0xe0 || bytchk(c) == 2)
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!in_range(c))
		return fail(c, SCSI_LBA_OUT_OF_RANGE);
	if (bytchk(c) == 1 && c->nr_blocks > SCSI_XFER_MAX / c->unit->block)
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	if (c->nr_blocks && bytchk(c)) {
		c->dir = SCSI_OUT;
		c->medium = true;
		c->bytes = (bytchk(c) == 3 ? 1 : c->nr_blocks) * c->unit->block;
	}
	return needs_area(c, true) ? true : busy(c);
}

static bool begin_write_same(struct scsi_cmd *c)
{
	bool ndob = c->cdb[0] == 0x93 && c->cdb[1] & 1, unmap = c->cdb[1] & 8;
	const struct limits *l = &c->unit->dev->limits;
	uint64_t all = scsi_blocks(c->unit);

	parse_range(c);
	if (c->cdb[1] & 0xf0 || c->cdb[1] & 0x06 || (c->cdb[0] == 0x41 && c->cdb[1] & 1) ||
		(ndob && !(c->cdb[0] == 0x93)) || (unmap && !l->max_discard_sectors))
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	if (is_read_only(c))
		return fail(c, SCSI_WRITE_PROTECTED);
	if (c->lba >= all)
		return fail(c, SCSI_LBA_OUT_OF_RANGE);
	if (!c->nr_blocks) {
		if (all - c->lba > range_blocks(c))
			return fail(c, SCSI_INVALID_FIELD_IN_CDB);
		c->nr_blocks = (uint32_t)(all - c->lba);
	}
	if (!in_range(c))
		return fail(c, SCSI_LBA_OUT_OF_RANGE);
	if (c->nr_blocks > range_blocks(c))
		return fail(c, SCSI_INVALID_FIELD_IN_CDB);
	if (!ndob) {
		c->dir = SCSI_OUT;
		c->medium = true;
		c->bytes = c->unit->block;
	}
	return needs_area(c, true) ? true : busy(c);
}

static bool begin_unmap(struct scsi_cmd *c)
{
	if (c->cdb[1] & 1 || !c->unit->dev->limits.max_discard_sectors)
		return fail(c, c->cdb[1] & 1 ? SCSI_INVALID_FIELD_IN_CDB : SCSI_INVALID_OPCODE);
	if (is_read_only(c))
		return fail(c, SCSI_WRITE_PROTECTED);
	c->bytes = get16(c->cdb + 7);
	c->nr_blocks = 0;
	if (!c->bytes)
		return true;
	c->dir = SCSI_OUT;
	return needs_area(c, false) ? true : busy(c);
}

static bool begin_sync(struct scsi_cmd *c)
{
	parse_range(c);
	if (!in_range(c))
		return fail(c, SCSI_LBA_OUT_OF_RANGE);
	return true;
}

/* Parameters of at most this many bytes go to the initiator. */
static uint32_t allocation(const struct scsi_cmd *c)
{
	switch (c->cdb[0]) {
	case 0x12:
		return get16(c->cdb + 3);
	case 0x25:
		return 8;
	case 0x5a:
		return get16(c->cdb + 7);
	case 0x9e:
		return get32(c->cdb + 10);
	case 0xa0:
		return get32(c->cdb + 6);
	case 0xa3:
		return get32(c->cdb + 6);
	}
	return c->cdb[4]; /* REQUEST SENSE, MODE SENSE 6 */
}

static enum scsi_sense read_capacity(const struct scsi_cmd *c, struct param *p)
{
	const struct scsi_unit *u = c->unit;
	uint64_t last = scsi_blocks(u) ? scsi_blocks(u) - 1 : 0;
	uint8_t *d;

	if (c->cdb[0] == 0x25) {
		/* Without PMI there is no address to give. */
		if (!(c->cdb[8] & 1) && get32(c->cdb + 2))
			return SCSI_INVALID_FIELD_IN_CDB;
		d = param_add(p, 8);
		put32(d, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
		put32(d + 4, u->block);
		return SCSI_SENSE_NONE;
	}
	d = param_add(p, 32);
	put64(d, last);
	put32(d + 8, u->block);
	d[13] = (uint8_t)__builtin_ctz(MAX(u->dev->limits.physical_block / u->block, 1u));
	if (u->dev->limits.max_discard_sectors)
		d[14] = 0x80; /* LBPME */
	return SCSI_SENSE_NONE;
}

/* SPC-4 6.36: the commands there are, with the bits of their CDB that mean something. */
static const struct {
	uint8_t op, len;
	int16_t action; /* service action, -1: none */
} commands[] = { { 0x00, 6, -1 }, { 0x03, 6, -1 }, { 0x08, 6, -1 }, { 0x0a, 6, -1 },
	{ 0x12, 6, -1 }, { 0x1a, 6, -1 }, { 0x1b, 6, -1 }, { 0x25, 10, -1 }, { 0x28, 10, -1 },
	{ 0x2a, 10, -1 }, { 0x2f, 10, -1 }, { 0x35, 10, -1 }, { 0x41, 10, -1 }, { 0x42, 10, -1 },
	{ 0x5a, 10, -1 }, { 0x88, 16, -1 }, { 0x8a, 16, -1 }, { 0x8f, 16, -1 }, { 0x91, 16, -1 },
	{ 0x93, 16, -1 }, { 0x9e, 16, 0x10 }, { 0xa0, 12, -1 }, { 0xa3, 12, 0x0c },
	{ 0xa8, 12, -1 }, { 0xaa, 12, -1 }, { 0xaf, 12, -1 } };

static enum scsi_sense supported_codes(const struct scsi_cmd *c, struct param *p)
{
	unsigned i, how = c->cdb[2] & 7;
	uint8_t *d;

	if (!how) {
		d = param_add(p, 4);
		put32(d, 8 * ARRAY_SIZE(commands));
		for (i = 0; i < ARRAY_SIZE(commands); i++) {
			d = param_add(p, 8);
			d[0] = commands[i].op;
			if (commands[i].action >= 0) {
				put16(d + 2, (uint16_t)commands[i].action);
				d[5] = 1;
			}
			put16(d + 6, commands[i].len);
		}
		return SCSI_SENSE_NONE;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].op == c->cdb[3] &&
			(commands[i].action < 0 || how == 1 ||
				(uint32_t)commands[i].action == get16(c->cdb + 4)))
			break;
	if (how > 3 ||
		(i < ARRAY_SIZE(commands) && how != 3 && (how == 1) != (commands[i].action < 0)))
		return SCSI_INVALID_FIELD_IN_CDB;
	d = param_add(p, 4);
	d[1] = i < ARRAY_SIZE(commands) ? 3 : 1;
	if (i < ARRAY_SIZE(commands)) {
		put16(d + 2, commands[i].len);
		d = param_add(p, commands[i].len);
		memset(d, 0xff, commands[i].len);
		d[0] = commands[i].op;
		if (commands[i].action >= 0)
			d[1] = (uint8_t)commands[i].action;
		d[commands[i].len - 1] = 0;
	}
	return SCSI_SENSE_NONE;
}

static enum scsi_sense request_sense(struct scsi_cmd *c, struct param *p)
{
	enum scsi_sense sense = c->unit ? SCSI_SENSE_NONE : SCSI_NO_SUCH_LUN;
	uint8_t *d;

	if (c->nexus && c->nexus->attention[0]) {
		sense = (enum scsi_sense)c->nexus->attention[0];
		memmove(c->nexus->attention, c->nexus->attention + 1,
			sizeof(c->nexus->attention) - sizeof(c->nexus->attention[0]));
		c->nexus->attention[ARRAY_SIZE(c->nexus->attention) - 1] = 0;
	}
	if (c->cdb[1] & 1) {
		d = param_add(p, 8);
		d[0] = 0x72;
		d[1] = (uint8_t)(sense >> 16);
		d[2] = (uint8_t)(sense >> 8);
		d[3] = (uint8_t)sense;
		return SCSI_SENSE_NONE;
	}
	d = param_add(p, 18);
	d[0] = 0x70;
	d[2] = (uint8_t)(sense >> 16);
	d[7] = 10;
	d[12] = (uint8_t)(sense >> 8);
	d[13] = (uint8_t)sense;
	return SCSI_SENSE_NONE;
}

/* REPORT LUNS may be longer than a struct param: it is made where it goes. */
static uint32_t nr_luns(const struct scsi_target *t)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < SCSI_LUNS_MAX; i++)
		n += t->units[i] != NULL;
	return n;
}

static enum scsi_sense parameters(struct scsi_cmd *c, struct param *p)
{
	p->len = 0;
	switch (c->cdb[0]) {
	case 0x03:
		return request_sense(c, p);
	case 0x12:
		return scsi_inquiry(c, p);
	case 0x1a:
	case 0x5a:
		return scsi_mode_sense(c, p);
	case 0x25:
		return read_capacity(c, p);
	case 0x9e:
		return (c->cdb[1] & 0x1f) == 0x10 ? read_capacity(c, p) : SCSI_INVALID_FIELD_IN_CDB;
	case 0xa3:
		return (c->cdb[1] & 0x1f) == 0x0c ? supported_codes(c, p)
						  : SCSI_INVALID_FIELD_IN_CDB;
	}
	return SCSI_INVALID_OPCODE;
}

static bool begin_parameters(struct scsi_cmd *c)
{
	struct param *p;
	enum scsi_sense sense;
	uint32_t len;

	if (c->cdb[0] == 0xa0) {
		if (c->cdb[2] > 2 || allocation(c) < 16)
			return fail(c, SCSI_INVALID_FIELD_IN_CDB);
		len = 8 + 8 * (c->cdb[2] == 1 ? 0 : nr_luns(c->target));
	} else {
		p = mem_alloc(&scsi_tag, sizeof(*p));
		if (!p)
			return busy(c);
		sense = parameters(c, p);
		if (sense) {
			mem_free(p);
			return fail(c, sense);
		}
		len = p->len;
		c->priv = p; /* run takes it from there */
	}
	c->bytes = MIN(len, allocation(c));
	c->dir = c->bytes ? SCSI_IN : SCSI_NO_DATA;
	return true;
}

static bool is_parameters(uint8_t op)
{
	return op == 0x03 || op == 0x12 || op == 0x1a || op == 0x5a || op == 0x25 || op == 0x9e ||
	       op == 0xa0 || op == 0xa3;
}

bool scsi_begin(struct scsi_cmd *c)
{
	uint8_t op = c->cdb[0];
	struct scsi_nexus *n = c->nexus;

	c->dir = SCSI_NO_DATA;
	c->bytes = c->moved = c->nr_blocks = 0;
	c->medium = false;
	c->status = SCSI_GOOD;
	c->sense_len = 0;
	c->priv = NULL;
	c->step = STEP_ONCE;
	if (!c->unit && op != 0x12 && op != 0x03 && op != 0xa0)
		return fail(c, SCSI_NO_SUCH_LUN);
	if (c->unit && n && unlikely(n->attention[0]) && op != 0x12 && op != 0xa0 && op != 0x03) {
		enum scsi_sense sense = (enum scsi_sense)n->attention[0];

		memmove(n->attention, n->attention + 1,
			sizeof(n->attention) - sizeof(n->attention[0]));
		n->attention[ARRAY_SIZE(n->attention) - 1] = 0;
		return fail(c, sense);
	}
	switch (op) {
	case 0x08:
	case 0x28:
	case 0x88:
	case 0xa8:
		return begin_read_write(c, false);
	case 0x0a:
	case 0x2a:
	case 0x8a:
	case 0xaa:
		return begin_read_write(c, true);
	case 0x2f:
	case 0x8f:
	case 0xaf:
		return begin_verify(c);
	case 0x35:
	case 0x91:
		return begin_sync(c);
	case 0x41:
	case 0x93:
		return begin_write_same(c);
	case 0x42:
		return begin_unmap(c);
	case 0x00: /* TEST UNIT READY */
	case 0x1b: /* START STOP UNIT */
		return true;
	}
	return is_parameters(op) ? begin_parameters(c) : fail(c, SCSI_INVALID_OPCODE);
}

/* ---- running ---- */

static void put_data(struct scsi_cmd *c, uint32_t at, const uint8_t *p, uint32_t n)
{
	for (unsigned i = 0; i < c->nr_segs && n; i++) {
		uint32_t len = c->segs[i].len, part;

		if (at >= len) {
			at -= len;
			continue;
		}
		part = MIN(n, len - at);
		memcpy((uint8_t *)dma_ptr(c->segs[i].addr) + at, p, part);
		p += part;
		n -= part;
		at = 0;
	}
}

static void run_parameters(struct scsi_cmd *c)
{
	struct param *p = c->priv;
	uint32_t n = MIN(c->bytes, c->room), at = 0;
	uint8_t entry[8] = { 0 };

	c->moved = n;
	if (p) {
		put_data(c, 0, p->buf, n);
		mem_free(p);
		c->priv = NULL;
	} else {
		put32(entry, 8 * (c->cdb[2] == 1 ? 0 : nr_luns(c->target)));
		put_data(c, 0, entry, MIN(n, 8u));
		at = 8;
		for (unsigned i = 0; i < SCSI_LUNS_MAX && at < n; i++) {
			if (!c->target->units[i])
				continue;
			scsi_lun_text((uint16_t)i, entry);
			put_data(c, at, entry, MIN(n - at, 8u));
			at += 8;
		}
	}
	c->done(c);
}

static void run_read_write(struct scsi_cmd *c, bool write)
{
	struct scsi_unit *u = c->unit;
	uint32_t blocks = MIN(c->bytes, c->room) / u->block;
	bool fua = c->cdb[0] >> 5 && c->cdb[1] & 8;

	c->nr_blocks = blocks;
	if (!blocks) {
		end(c);
		return;
	}
	if (write) {
		u->writes++;
		u->written_bytes += (uint64_t)blocks * u->block;
	} else {
		u->reads++;
		u->read_bytes += (uint64_t)blocks * u->block;
		c->moved = blocks * u->block;
	}
	send(c, write ? BIO_WRITE : BIO_READ, c->lba, blocks, c->segs, c->nr_segs,
		write && fua ? BIO_FUA : 0);
}

static void run_write_same(struct scsi_cmd *c)
{
	struct work_area *w = c->priv;
	uint32_t block = c->unit->block;
	bool zero = true;

	if (c->dir == SCSI_OUT && c->room < block) {
		end_fail(c, SCSI_TOO_LITTLE_DATA);
		return;
	}
	if (c->dir == SCSI_OUT)
		data_out(c, 0, w->buf, block);
	for (uint32_t i = 0; i < block; i++)
		zero &= !w->buf[i];
	for (uint32_t i = block; i < PIECE; i += block)
		memcpy(w->buf + i, w->buf, block);
	w->ranges = zero;
	next_piece(c);
}

static void run_unmap(struct scsi_cmd *c)
{
	struct work_area *w = c->priv;
	uint64_t all = scsi_blocks(c->unit);
	uint32_t have = MIN(c->bytes, c->room), len;
	uint8_t d[16];

	if (!w) { /* no list at all */
		end(c);
		return;
	}
	if (have < 8) {
		end_fail(c, SCSI_PARAMETER_LIST_LENGTH);
		return;
	}
	data_out(c, 0, d, 8);
	len = get16(d + 2);
	if (len > have - 8) {
		end_fail(c, SCSI_PARAMETER_LIST_LENGTH);
		return;
	}
	if (len / 16 > 256) {
		end_fail(c, SCSI_INVALID_PARAMETER_LIST);
		return;
	}
	/* All of it is looked at before anything is done. */
	for (uint32_t at = 8; at + 16 <= 8 + len; at += 16) {
		data_out(c, at, d, 16);
		if (get64(d) > all || get32(d + 8) > all - get64(d)) {
			end_fail(c, SCSI_LBA_OUT_OF_RANGE);
			return;
		}
		if (get32(d + 8) > range_blocks(c)) {
			end_fail(c, SCSI_INVALID_PARAMETER_LIST);
			return;
		}
	}
	w->ranges = (uint16_t)(len / 16);
	w->at = 8;
	unmap_next(c);
}

void scsi_run(struct scsi_cmd *c)
{
	switch (c->cdb[0]) {
	case 0x08:
	case 0x28:
	case 0x88:
	case 0xa8:
		run_read_write(c, false);
		break;
	case 0x0a:
	case 0x2a:
	case 0x8a:
	case 0xaa:
		run_read_write(c, true);
		break;
	case 0x2f:
	case 0x8f:
	case 0xaf:
		if (c->dir == SCSI_OUT && c->room < c->bytes)
			end_fail(c, SCSI_TOO_LITTLE_DATA);
		else
			next_piece(c);
		break;
	case 0x35:
	case 0x91:
		send(c, BIO_FLUSH, 0, 0, NULL, 0, 0);
		break;
	case 0x41:
	case 0x93:
		run_write_same(c);
		break;
	case 0x42:
		run_unmap(c);
		break;
	case 0x00:
	case 0x1b:
		end(c);
		break;
	default:
		run_parameters(c);
		break;
	}
}

void scsi_drop(struct scsi_cmd *c)
{
	if (is_parameters(c->cdb[0])) {
		mem_free(c->priv);
		c->priv = NULL;
	} else {
		area_free(c);
	}
}

/* ---- units ---- */

void scsi_unit_init(
	struct scsi_unit *u, struct bdev *dev, uint16_t lun, bool read_only, const char *identity)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t digest[SHA256_SIZE], n[2] = { (uint8_t)(lun >> 8), (uint8_t)lun };
	const char *what = identity[0] ? identity : dev->name;
	struct sha256 s;

	memset(u, 0, sizeof(*u));
	u->dev = dev;
	u->lun = lun;
	u->read_only = read_only;
	u->block = dev->limits.logical_block;
	u->blocks = scsi_blocks(u);
	sha256_init(&s);
	sha256_update(&s, what, strlen(what));
	sha256_update(&s, n, sizeof(n));
	sha256_final(&s, digest);
	/* NAA 3, locally assigned, has too few bits: 6 with the bit in its company id that says it
	 * is nobody's. */
	u->naa[0] = 0x60;
	u->naa[1] = 0x20 | (digest[0] & 0x0f);
	memcpy(u->naa + 2, digest + 1, 14);
	for (unsigned i = 0; i < 16; i++) {
		u->serial[2 * i] = hex[digest[i] >> 4];
		u->serial[2 * i + 1] = hex[digest[i] & 15];
	}
}

struct scsi_unit *scsi_find(struct scsi_target *t, const uint8_t lun[8])
{
	unsigned n;

	if (get16(lun + 2) || get32(lun + 4))
		return NULL;
	switch (lun[0] >> 6) {
	case 0: /* peripheral device addressing, bus 0 */
		if (lun[0])
			return NULL;
		n = lun[1];
		break;
	case 1: /* flat */
		n = get16(lun) & 0x3fff;
		break;
	default:
		return NULL;
	}
	return n < SCSI_LUNS_MAX ? t->units[n] : NULL;
}

void scsi_lun_text(uint16_t lun, uint8_t field[8])
{
	memset(field, 0, 8);
	put16(field, lun < 256 ? lun : 0x4000u | lun);
}

void scsi_attention(struct scsi_nexus *n, enum scsi_sense sense)
{
	for (unsigned i = 0; i < ARRAY_SIZE(n->attention); i++) {
		if (n->attention[i] == sense)
			return;
		if (!n->attention[i]) {
			n->attention[i] = sense;
			return;
		}
	}
}

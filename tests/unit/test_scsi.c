/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_scsi - the SCSI command set over a ramdisk: what every command answers, its bounds, what
 * errors of the disk become, less room than data, and CDBs drawn at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "exports/scsi/scsi.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define SECTORS  16384u /* 8 MiB */
#define SEGS_MAX 1100

static struct ramdisk *rd;
static struct scsi_unit unit;
static struct scsi_target target;
static struct scsi_nexus nexus;

/* The last command: what went, what came. */
static struct scsi_cmd cmd;
static bool begun; /* scsi_begin() said to go on */
static unsigned nr_done;
static uint8_t in[SCSI_XFER_MAX], out[SCSI_XFER_MAX];
static uint32_t room_max, seg_bytes;
static struct seg segs[SEGS_MAX];

static void unit_over(struct ramdisk *disk)
{
	rd = disk;
	scsi_unit_init(&unit, &rd->bdev, 0, false, "TEST-0001");
	memset(&target, 0, sizeof(target));
	str_copy(target.name, sizeof(target.name), "iqn.2026-01.test:a");
	target.units[0] = &unit;
}

static int setup(void **state)
{
	host_reset();
	block_reset();
	memset(&nexus, 0, sizeof(nexus));
	memset(out, 0, sizeof(out));
	room_max = UINT32_MAX;
	seg_bytes = PAGE_SIZE;
	unit_over(ramdisk_create("ram0", SECTORS, NULL));
	return 0;
}

static int teardown(void **state)
{
	bool clean;

	host_run();
	ramdisk_destroy(rd);
	clean = host_mem_check();
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

/* Another disk in the place of the one there is. */
static void disk(sector_t sectors, const struct limits *l)
{
	ramdisk_destroy(rd);
	unit_over(ramdisk_create("ram0", sectors, l));
}

static void on_done(struct scsi_cmd *c)
{
	assert_ptr_equal(c, &cmd);
	nr_done++;
}

static bool is_done(void *arg)
{
	return nr_done != 0;
}

/* Memory of exactly that many bytes, so that the sanitizer sees a byte too many. */
static void segs_make(struct scsi_cmd *c, uint32_t room)
{
	uint32_t at, n;
	void *p;

	for (at = 0; at < room; at += n) {
		n = MIN(room - at, seg_bytes);
		assert_int_equal(posix_memalign(&p, SECTOR_SIZE, n), 0);
		if (c->dir == SCSI_OUT)
			memcpy(p, out + at, n);
		else
			memset(p, 0xee, n);
		segs[c->nr_segs++] = (struct seg){ dma_addr(p), n };
	}
	c->segs = room ? segs : NULL;
	c->room = room;
}

static void segs_take(struct scsi_cmd *c)
{
	uint32_t at = 0;
	unsigned i;

	assert_true(c->moved <= c->room);
	for (i = 0; i < c->nr_segs; i++) {
		if (c->dir == SCSI_IN)
			memcpy(in + at, dma_ptr(segs[i].addr), segs[i].len);
		at += segs[i].len;
		free(dma_ptr(segs[i].addr));
	}
}

static void check_end(const struct scsi_cmd *c)
{
	assert_true(c->status == SCSI_GOOD || c->status == SCSI_BUSY ||
		    c->status == SCSI_CHECK_CONDITION);
	assert_int_equal(c->sense_len != 0, c->status == SCSI_CHECK_CONDITION);
	assert_true(c->sense_len <= SCSI_SENSE_MAX);
	assert_null(c->priv);
	if (c->status)
		assert_int_equal(c->moved, 0);
}

static uint8_t run(const uint8_t *cdb, size_t len)
{
	memset(&cmd, 0xa5, sizeof(cmd)); /* begin trusts in nothing that is not the transport's */
	cmd.target = &target;
	cmd.unit = target.units[0];
	cmd.nexus = &nexus;
	cmd.done = on_done;
	memset(cmd.cdb, 0, sizeof(cmd.cdb));
	memcpy(cmd.cdb, cdb, len);
	nr_done = 0;
	memset(in, 0, 4096);
	begun = scsi_begin(&cmd);
	if (begun) {
		assert_int_equal(cmd.bytes != 0, cmd.dir != SCSI_NO_DATA);
		assert_true(cmd.bytes <= (cmd.medium ? SCSI_XFER_MAX : 64u << 10));
		segs_make(&cmd, MIN(cmd.bytes, room_max));
		scsi_run(&cmd);
		assert_true(host_run_until(is_done, NULL, NS_PER_S));
		segs_take(&cmd);
	}
	host_run();
	assert_int_equal(nr_done, begun ? 1 : 0);
	check_end(&cmd);
	return cmd.status;
}

#define RUN(...) run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

static void set32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void set64(uint8_t *p, uint64_t v)
{
	set32(p, (uint32_t)(v >> 32));
	set32(p + 4, (uint32_t)v);
}

/* LBA and number of blocks where CDBs of each length have them. */
static void set_range(uint8_t *cdb, uint64_t lba, uint32_t nr)
{
	switch (cdb[0] >> 5) {
	case 0:
		cdb[1] = (uint8_t)(lba >> 16 & 0x1f);
		cdb[2] = (uint8_t)(lba >> 8);
		cdb[3] = (uint8_t)lba;
		cdb[4] = (uint8_t)nr;
		break;
	case 4:
		set64(cdb + 2, lba);
		set32(cdb + 10, nr);
		break;
	case 5:
		set32(cdb + 2, (uint32_t)lba);
		set32(cdb + 6, nr);
		break;
	default:
		set32(cdb + 2, (uint32_t)lba);
		cdb[7] = (uint8_t)(nr >> 8);
		cdb[8] = (uint8_t)nr;
	}
}

static uint8_t run_lba(uint8_t opcode, uint8_t flags, uint64_t lba, uint32_t nr)
{
	uint8_t cdb[16] = { opcode, flags };

	set_range(cdb, lba, nr);
	return run(cdb, sizeof(cdb));
}

static uint32_t sense(void)
{
	const uint8_t *s = cmd.sense;

	if (!cmd.sense_len)
		return 0;
	if (s[0] == 0x72)
		return (uint32_t)s[1] << 16 | be16(s + 2);
	assert_int_equal(s[0] & 0x7f, 0x70);
	assert_int_equal(cmd.sense_len, 18);
	assert_int_equal(s[7], 10);
	return (uint32_t)s[2] << 16 | be16(s + 12);
}

/* UINT64_MAX: there is none. */
static uint64_t info(void)
{
	const uint8_t *s = cmd.sense;

	if (s[0] == 0x72)
		return s[7] == 12 && s[8] == 0 && s[9] == 10 && s[10] == 0x80 ? be64(s + 12)
									      : UINT64_MAX;
	return s[0] & 0x80 ? be32(s + 3) : UINT64_MAX;
}

#define assert_good(x) assert_int_equal((x), SCSI_GOOD)
#define assert_sense(x, s)                                   \
	do {                                                 \
		assert_int_equal((x), SCSI_CHECK_CONDITION); \
		assert_int_equal(sense(), (s));              \
	} while (0)

static bool is_all(const uint8_t *p, uint8_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != v)
			return false;
	return true;
}

static void pattern(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i * 7 + i / 251 + seed) | 1);
}

/* ---- who it is ---- */

static void test_inquiry(void **state)
{
	assert_good(RUN(0x12, 0, 0, 0, 96));
	assert_int_equal(cmd.dir, SCSI_IN);
	assert_false(cmd.medium);
	assert_int_equal(cmd.moved, 96);
	assert_int_equal(in[0], 0);
	assert_int_equal(in[2], 6);
	assert_int_equal(in[3] & 0xf, 2);
	assert_int_equal(in[4], 96 - 5);
	assert_int_equal(in[7], 2);
	assert_memory_equal(in + 8, "CAIRN   ", 8);
	/* Truncated, and more than there is. */
	assert_good(RUN(0x12, 0, 0, 0, 5));
	assert_int_equal(cmd.bytes, 5);
	assert_int_equal(cmd.moved, 5);
	assert_good(RUN(0x12, 0, 0, 0xff, 0xff));
	assert_int_equal(cmd.bytes, 96);
	assert_good(RUN(0x12, 0, 0, 0, 0));
	assert_false(begun);
	room_max = 3;
	assert_good(RUN(0x12, 0, 0, 0, 96));
	assert_int_equal(cmd.bytes, 96);
	assert_int_equal(cmd.moved, 3);
	room_max = 0;
	assert_good(RUN(0x12, 0, 0, 0, 96));
	assert_int_equal(cmd.moved, 0);
	assert_sense(RUN(0x12, 0, 0x80, 0, 96), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x12, 2, 0, 0, 96), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x12, 1, 0x84, 0, 96), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x12, 0, 0, 0, 96, 4), SCSI_INVALID_FIELD_IN_CDB); /* NACA */
}

static uint8_t run_vpd(uint8_t page)
{
	uint8_t status = RUN(0x12, 1, page, 4, 0);

	assert_int_equal(in[0], 0);
	assert_int_equal(in[1], page);
	assert_int_equal(be16(in + 2) + 4, cmd.moved);
	return status;
}

static void test_vpd_names(void **state)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };
	uint8_t *d;

	assert_good(run_vpd(0));
	assert_int_equal(cmd.moved, 4 + sizeof(pages));
	assert_memory_equal(in + 4, pages, sizeof(pages));
	for (unsigned i = 0; i < sizeof(pages); i++)
		assert_good(run_vpd(pages[i]));
	assert_good(run_vpd(0x80));
	assert_int_equal(cmd.moved, 4 + 9);
	assert_memory_equal(in + 4, "TEST-0001", 9);
	assert_good(run_vpd(0x83));
	d = in + 4;
	assert_int_equal(be32(d), 0x01030010);
	assert_int_equal(be32(d + 4) >> 4, 0x6024352);
	assert_memory_equal(d + 4, unit.naa, 16);
	d += 4 + d[3];
	assert_int_equal(be32(d), 0x02010000 | (8 + 9));
	assert_memory_equal(d + 4, "CAIRN   TEST-0001", 17);
	d += 4 + d[3];
	assert_int_equal(be32(d), 0x01140004);
	assert_int_equal(be32(d + 4), 1);
	d += 4 + d[3];
	assert_int_equal(be32(d), 0x53a80000 | 20);
	assert_string_equal((char *)d + 4, "iqn.2026-01.test:a");
	d += 4 + d[3];
	assert_int_equal(d - in, cmd.moved);
	/* The longest name there can be. */
	memset(target.name, 'n', sizeof(target.name) - 1);
	assert_good(run_vpd(0x83));
	assert_good(RUN(0x12, 1, 0x83, 0, 4));
	assert_int_equal(cmd.moved, 4);
}

static void test_names_of_units(void **state)
{
	char longer[200];
	struct scsi_unit a, b;

	scsi_unit_init(&a, &rd->bdev, 0, false, "");
	assert_string_equal(a.serial, "ram0");
	assert_int_equal(a.block, 512);
	assert_int_equal(a.blocks, SECTORS);
	scsi_unit_init(&b, &rd->bdev, 1, false, "");
	assert_string_equal(b.serial, "ram0-1");
	assert_memory_not_equal(a.naa, b.naa, 16);
	memset(longer, 'x', sizeof(longer));
	longer[36] = 0;
	scsi_unit_init(&a, &rd->bdev, 255, false, longer);
	assert_int_equal(strlen(a.serial), 40);
	longer[36] = 'x';
	longer[199] = 0;
	scsi_unit_init(&a, &rd->bdev, 0, false, longer);
	assert_int_equal(strlen(a.serial), 32);
	scsi_unit_init(&b, &rd->bdev, 0, false, longer);
	assert_memory_equal(&a, &b, sizeof(a));
	scsi_unit_init(&b, &rd->bdev, 0, false, longer + 1);
	assert_string_not_equal(a.serial, b.serial);
	scsi_unit_init(&b, &rd->bdev, 0, false, "a\tb");
	assert_int_equal(strlen(b.serial), 32);
}

static void test_vpd_limits(void **state)
{
	struct limits l;

	assert_good(run_vpd(0xb0));
	assert_int_equal(cmd.moved, 64);
	assert_int_equal(be16(in + 6), 1);
	assert_int_equal(be32(in + 8), SCSI_XFER_MAX / 512);
	assert_int_equal(be32(in + 12), 0);
	assert_int_equal(be32(in + 20), 1u << 20);
	assert_int_equal(be32(in + 24), 256);
	assert_int_equal(be32(in + 28), 1);
	assert_int_equal(be32(in + 32), 0x80000000);
	assert_int_equal(be64(in + 36), 8192);
	assert_good(run_vpd(0xb1));
	assert_int_equal(be16(in + 4), 1);
	assert_good(run_vpd(0xb2));
	assert_int_equal(cmd.moved, 8);
	assert_int_equal(in[5], 0xe0);
	assert_int_equal(in[6], 2);

	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	l.io_min = 65536;
	l.io_opt = 1 << 20;
	l.max_discard_sectors = 1024;
	l.discard_granularity = 65536;
	l.discard_alignment = 8192;
	l.rotational = true;
	disk(SECTORS, &l);
	assert_good(run_vpd(0xb0));
	assert_int_equal(be16(in + 6), 16);
	assert_int_equal(be32(in + 8), 1024);
	assert_int_equal(be32(in + 12), 256);
	assert_int_equal(be32(in + 20), 128);
	assert_int_equal(be32(in + 28), 16);
	assert_int_equal(be32(in + 32), 0x80000002);
	assert_good(run_vpd(0xb1));
	assert_int_equal(be16(in + 4), 0);

	limits_default(&l);
	disk(SECTORS, &l);
	assert_good(run_vpd(0xb0));
	assert_true(is_all(in + 20, 0, 16));
	assert_good(run_vpd(0xb2));
	assert_int_equal(in[5], 0);
}

static void test_luns(void **state)
{
	uint8_t lun[8] = { 0 };

	target.units[7] = target.units[200] = &unit;
	assert_good(RUN(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
	assert_int_equal(cmd.moved, 32);
	assert_int_equal(be32(in), 24);
	assert_int_equal(be64(in + 8), 0);
	assert_int_equal(be64(in + 16), 7ull << 48);
	assert_int_equal(be64(in + 24), 200ull << 48);
	assert_good(RUN(0xa0, 0, 1, 0, 0, 0, 0, 0, 1, 0));
	assert_int_equal(be32(in), 0);
	assert_int_equal(cmd.moved, 8);
	assert_good(RUN(0xa0, 0, 2, 0, 0, 0, 0, 0, 0, 16));
	assert_int_equal(cmd.moved, 16);
	assert_int_equal(be32(in), 24);
	assert_sense(RUN(0xa0, 0, 3, 0, 0, 0, 0, 0, 1, 0), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15), SCSI_INVALID_FIELD_IN_CDB);
	for (unsigned i = 1; i < SCSI_LUNS_MAX; i++)
		target.units[i] = &unit;
	assert_good(RUN(0xa0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff));
	assert_int_equal(cmd.moved, 8 + 8 * 256);

	for (unsigned i = 0; i < SCSI_LUNS_MAX; i++) {
		target.units[i] = &unit + i; /* not followed */
		scsi_lun_text((uint16_t)i, lun);
		assert_ptr_equal(scsi_find(&target, lun), &unit + i);
		lun[0] = 0x40;
		assert_ptr_equal(scsi_find(&target, lun), &unit + i);
		lun[0] = 0x80;
		assert_null(scsi_find(&target, lun));
		lun[0] = 1;
		assert_null(scsi_find(&target, lun));
		lun[0] = 0x41;
		assert_null(scsi_find(&target, lun));
		lun[0] = 0;
		lun[2] = 1;
		assert_null(scsi_find(&target, lun));
	}
	target.units[3] = NULL;
	scsi_lun_text(3, lun);
	assert_null(scsi_find(&target, lun));
	scsi_lun_text(0x123, lun);
	assert_int_equal(be16(lun), 0x4123);
}

static void test_no_unit(void **state)
{
	target.units[0] = NULL;
	target.units[5] = &unit;
	scsi_attention(&nexus, SCSI_POWER_ON);
	assert_good(RUN(0x12, 0, 0, 0, 96));
	assert_int_equal(in[0], 0x7f);
	assert_good(RUN(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
	assert_int_equal(be64(in + 8), 5ull << 48);
	assert_good(RUN(0x03, 0, 0, 0, 18));
	assert_int_equal(cmd.moved, 18);
	assert_int_equal(in[2], 5);
	assert_int_equal(be16(in + 12), 0x2500);
	assert_sense(RUN(0x12, 1, 0x83, 0, 96), SCSI_NO_SUCH_LUN);
	for (unsigned i = 0; i < 256; i++)
		if (i != 0x12 && i != 0xa0 && i != 3)
			assert_sense(RUN((uint8_t)i), SCSI_NO_SUCH_LUN);
	assert_int_equal(nexus.attention[0], SCSI_POWER_ON);
}

static void test_attention(void **state)
{
	scsi_attention(&nexus, SCSI_POWER_ON);
	scsi_attention(&nexus, SCSI_CAPACITY_CHANGED);
	scsi_attention(&nexus, SCSI_CAPACITY_CHANGED);
	scsi_attention(&nexus, SCSI_LUN_DATA_CHANGED);
	assert_good(RUN(0x12, 0, 0, 0, 96));
	assert_sense(RUN(0x00), SCSI_POWER_ON);
	assert_good(RUN(0x03, 0, 0, 0, 18)); /* told as data */
	assert_int_equal(in[0], 0x70);
	assert_int_equal(in[2] << 16 | be16(in + 12), SCSI_CAPACITY_CHANGED);
	assert_int_equal(nexus.attention[0], SCSI_LUN_DATA_CHANGED);
	assert_good(RUN(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
	assert_int_equal(nexus.attention[0], 0);
	assert_good(RUN(0x00));
	assert_good(RUN(0x03, 0, 0, 0, 18));
	assert_int_equal(in[2], 0);
	assert_good(RUN(0x03, 1, 0, 0, 252));
	assert_int_equal(in[0], 0x72);
	assert_int_equal(cmd.moved, 8);
	/* Any command gets it, also one there is not, and is not done. */
	scsi_attention(&nexus, SCSI_CAPACITY_CHANGED);
	assert_sense(RUN(0xee), SCSI_CAPACITY_CHANGED);
	scsi_attention(&nexus, SCSI_CAPACITY_CHANGED);
	out[0] = 9;
	assert_sense(run_lba(0x2a, 0, 0, 1), SCSI_CAPACITY_CHANGED);
	assert_int_equal(rd->nr[BIO_WRITE], 0);
	for (unsigned i = 0; i < 10; i++)
		scsi_attention(&nexus, SCSI_POWER_ON + i);
	for (unsigned i = 0; i < 4; i++)
		assert_sense(RUN(0x00), i < 3 ? SCSI_POWER_ON + i : SCSI_POWER_ON + 9);
	assert_good(RUN(0x00));
}

static void test_capacity(void **state)
{
	struct limits l;

	assert_good(RUN(0x25));
	assert_int_equal(cmd.moved, 8);
	assert_int_equal(be32(in), SECTORS - 1);
	assert_int_equal(be32(in + 4), 512);
	assert_good(RUN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
	assert_int_equal(cmd.moved, 32);
	assert_int_equal(be64(in), SECTORS - 1);
	assert_int_equal(be32(in + 8), 512);
	assert_int_equal(in[13], 0);
	assert_int_equal(be16(in + 14), 0x8000);
	assert_good(RUN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12));
	assert_int_equal(cmd.moved, 12);
	assert_sense(RUN(0x9e, 0x11), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x9e, 0), SCSI_INVALID_FIELD_IN_CDB);
	/* It grows; nobody has to tell. */
	rd->bdev.nr_sectors = (1ull << 32) + 8;
	assert_good(RUN(0x25));
	assert_int_equal(be32(in), UINT32_MAX);
	assert_good(RUN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
	assert_int_equal(be64(in), (1ull << 32) + 7);
	rd->bdev.nr_sectors = 1ull << 32;
	assert_good(RUN(0x25));
	assert_int_equal(be32(in), UINT32_MAX);
	rd->bdev.nr_sectors = 0;
	assert_sense(RUN(0x25), SCSI_NOT_READY);
	assert_sense(RUN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), SCSI_NOT_READY);
	assert_sense(RUN(0x00), SCSI_NOT_READY);
	assert_sense(run_lba(0x28, 0, 0, 0), SCSI_LBA_OUT_OF_RANGE);
	rd->bdev.nr_sectors = SECTORS;

	limits_default(&l);
	l.physical_block = 4096;
	l.alignment_offset = 3584;
	disk(SECTORS, &l);
	assert_good(RUN(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
	assert_int_equal(in[13], 3);
	assert_int_equal(be16(in + 14), 7);
	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	disk(SECTORS + 7, &l);
	assert_good(RUN(0x25));
	assert_int_equal(be32(in), SECTORS / 8 - 1);
	assert_int_equal(be32(in + 4), 4096);
}

static void test_mode_sense(void **state)
{
	struct limits l;

	assert_good(RUN(0x1a, 0, 0x3f, 0, 255));
	assert_int_equal(cmd.moved, 4 + 8 + 20 + 12 + 12);
	assert_int_equal(in[0], cmd.moved - 1);
	assert_int_equal(in[2], 0x10);
	assert_int_equal(in[3], 8);
	assert_int_equal(be32(in + 4), SECTORS);
	assert_int_equal(be32(in + 8), 512);
	assert_int_equal(be16(in + 12), 0x0812);
	assert_int_equal(in[14], 0); /* no cache */
	assert_int_equal(be16(in + 32), 0x0a0a);
	assert_int_equal(be16(in + 44), 0x1c0a);
	assert_good(RUN(0x1a, 8, 0x3f, 0xff, 255));
	assert_int_equal(cmd.moved, 4 + 20 + 12 + 12);
	assert_int_equal(in[3], 0);
	assert_good(RUN(0x1a, 8, 0x0a, 0, 10));
	assert_int_equal(cmd.moved, 10);
	assert_int_equal(in[0], 15);
	/* Changeable: nothing; default: as it is. */
	assert_good(RUN(0x1a, 8, 0x7f, 0, 255));
	assert_true(is_all(in + 6, 0, 18));
	assert_true(is_all(in + 26, 0, 10));
	assert_good(RUN(0x1a, 8, 0x8a, 0, 255));
	assert_int_equal(in[4 + 3], 0x10);
	assert_sense(RUN(0x1a, 8, 0xc8, 0, 255), SCSI_SAVING_NOT_SUPPORTED);
	assert_sense(RUN(0x1a, 8, 0x02, 0, 255), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x1a, 8, 0x0a, 1, 255), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(RUN(0x1a, 8, 0x3f, 1, 255), SCSI_INVALID_FIELD_IN_CDB);

	limits_default(&l);
	l.write_cache = true;
	disk(SECTORS, &l);
	unit.read_only = true;
	rd->bdev.nr_sectors = 1ull << 33;
	assert_good(RUN(0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0));
	assert_int_equal(cmd.moved, 8 + 8 + 20);
	assert_int_equal(be16(in), cmd.moved - 2);
	assert_int_equal(in[3], 0x90);
	assert_int_equal(in[4], 0);
	assert_int_equal(be16(in + 6), 8);
	assert_int_equal(be32(in + 8), UINT32_MAX);
	assert_int_equal(in[18], 4);
	assert_good(RUN(0x5a, 0x10, 0x08, 0, 0, 0, 0, 1, 0));
	assert_int_equal(cmd.moved, 8 + 16 + 20);
	assert_int_equal(in[4], 1);
	assert_int_equal(be64(in + 8), 1ull << 33);
	assert_int_equal(be32(in + 20), 512);
	assert_good(RUN(0x5a, 0x18, 0x08, 0, 0, 0, 0, 1, 0));
	assert_int_equal(cmd.moved, 8 + 20);
	rd->bdev.nr_sectors = SECTORS;
}

static void test_opcodes(void **state)
{
	unsigned n;
	uint8_t all[2048];

	assert_good(RUN(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0x10, 0));
	n = be32(in);
	assert_int_equal(n + 4, cmd.moved);
	assert_int_equal(n % 8, 0);
	memcpy(all, in, n + 4);
	for (unsigned i = 4; i < n + 4; i += 8) {
		bool action = all[i + 5] & 1;

		assert_good(RUN(0xa3, 0x0c, action ? 2 : 1, all[i], 0, all[i + 3], 0, 0, 1, 0));
		assert_int_equal(in[1], 3);
		assert_int_equal(be16(in + 2), be16(all + i + 6));
		assert_int_equal(cmd.moved, 4 + be16(in + 2));
		assert_int_equal(in[4], all[i]);
		assert_int_equal(in[cmd.moved - 1], 4);
		assert_int_equal(in[5] & 0x1f ? action : 0, action);
		assert_good(RUN(0xa3, 0x0c, 0x83, all[i], 0, all[i + 3], 0, 0, 1, 0));
		assert_int_equal(in[1], 0x83);
		assert_sense(RUN(0xa3, 0x0c, action ? 1 : 2, all[i], 0, all[i + 3], 0, 0, 1, 0),
			SCSI_INVALID_FIELD_IN_CDB);
		/* And what is said to be there is. */
		RUN(all[i], all[i + 3]);
		assert_int_not_equal(sense(), SCSI_INVALID_OPCODE);
	}
	assert_good(RUN(0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 0x10, 0));
	assert_int_equal(cmd.moved, 4 + n / 8 * 20);
	assert_good(RUN(0xa3, 0x0c, 1, 0x5e, 0, 0, 0, 0, 1, 0));
	assert_int_equal(in[1], 1);
	assert_int_equal(cmd.moved, 4);
	assert_good(RUN(0xa3, 0x0c, 3, 0x9e, 0, 0x11, 0, 0, 1, 0));
	assert_int_equal(in[1], 1);
	assert_sense(RUN(0xa3, 0x0c, 4, 0, 0, 0, 0, 0, 1, 0), SCSI_INVALID_FIELD_IN_CDB);
	/* No discard, no UNMAP. */
	assert_good(RUN(0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 1, 0));
	assert_int_equal(in[1], 3);
	rd->bdev.limits.max_discard_sectors = 0;
	assert_good(RUN(0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 1, 0));
	assert_int_equal(in[1], 1);
	assert_sense(RUN(0x42, 0, 0, 0, 0, 0, 0, 0, 24), SCSI_INVALID_OPCODE);
}

static void test_invalid_opcodes(void **state)
{
	static const char no[] = "\x15\x55\x16\x17\x56\x57\x5e\x5f\x1e\x2e\x8e\x7f\xc0"
				 "\xff\x89\x04";

	for (unsigned i = 0; i < sizeof(no) - 1; i++)
		assert_sense(RUN((uint8_t)no[i]), SCSI_INVALID_OPCODE);
	assert_good(RUN(0x00));
	rd->bdev.gone = true;
	assert_sense(RUN(0x00), SCSI_HARDWARE_FAILURE);
	assert_sense(run_lba(0x28, 0, 0, 1), SCSI_HARDWARE_FAILURE);
	rd->bdev.gone = false;
}

/* ---- reads and writes ---- */

static void test_read_write(void **state)
{
	static const uint8_t ops[][2] = { { 0x08, 0x0a }, { 0x28, 0x2a }, { 0xa8, 0xaa },
		{ 0x88, 0x8a } };

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		uint8_t flags = i ? 0x18 : 0;
		uint32_t nr = 1 + 7 * i, bytes = nr * 512;

		pattern(out, bytes, i + 1);
		assert_good(run_lba(ops[i][1], flags, 100 + i, nr));
		assert_int_equal(cmd.dir, SCSI_OUT);
		assert_int_equal(cmd.bytes, bytes);
		assert_true(cmd.medium);
		assert_memory_equal(rd->data + (100 + i) * 512, out, bytes);
		assert_good(run_lba(ops[i][0], flags, 100 + i, nr));
		assert_int_equal(cmd.dir, SCSI_IN);
		assert_int_equal(cmd.moved, bytes);
		assert_memory_equal(in, out, bytes);
		/* The last block, one behind, far behind, wrapping around. */
		assert_good(run_lba(ops[i][0], 0, SECTORS - 1, 1));
		assert_good(run_lba(ops[i][0], 0, SECTORS - 2, 2));
		assert_sense(run_lba(ops[i][0], 0, SECTORS - 1, 2), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i][0], 0, SECTORS, 1), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i][1], 0, SECTORS, 1), SCSI_LBA_OUT_OF_RANGE);
		if (!i)
			continue;
		assert_sense(run_lba(ops[i][0], 0, UINT32_MAX, 2), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i][0], 0, SECTORS, 0), SCSI_LBA_OUT_OF_RANGE);
		assert_good(run_lba(ops[i][0], 0, SECTORS - 1, 0));
		assert_false(begun);
		assert_int_equal(cmd.dir, SCSI_NO_DATA);
		assert_good(run_lba(ops[i][1], 0, 0, 0));
		assert_sense(run_lba(ops[i][0], 0x20, 0, 1), SCSI_INVALID_FIELD_IN_CDB);
		assert_sense(run_lba(ops[i][1], 0x80, 0, 1), SCSI_INVALID_FIELD_IN_CDB);
		assert_good(run_lba(ops[i][0], 0, 0, SCSI_XFER_MAX / 512));
		assert_int_equal(cmd.moved, SCSI_XFER_MAX);
		assert_memory_equal(in, rd->data, SCSI_XFER_MAX);
		assert_sense(run_lba(ops[i][0], 0, 0, SCSI_XFER_MAX / 512 + 1),
			SCSI_INVALID_FIELD_IN_CDB);
		assert_sense(run_lba(ops[i][1], 0, 0, SCSI_XFER_MAX / 512 + 1),
			SCSI_INVALID_FIELD_IN_CDB);
	}
	assert_sense(run_lba(0x88, 0, UINT64_MAX, 1), SCSI_LBA_OUT_OF_RANGE);
	assert_sense(run_lba(0x88, 0, UINT64_MAX, UINT32_MAX), SCSI_LBA_OUT_OF_RANGE);
	assert_sense(run_lba(0x88, 0, 1, UINT32_MAX), SCSI_LBA_OUT_OF_RANGE);
	assert_sense(run_lba(0x88, 0, 1ull << 55, 1), SCSI_LBA_OUT_OF_RANGE); /* as sectors: 0 */
	/* Of 6 bytes: 0 is 256. */
	pattern(out, 256 * 512, 9);
	assert_good(run_lba(0x0a, 0, 5, 0));
	assert_int_equal(cmd.bytes, 256 * 512);
	assert_good(run_lba(0x08, 0, 5, 0));
	assert_int_equal(cmd.moved, 256 * 512);
	assert_memory_equal(in, out, 256 * 512);
	assert_true(unit.reads && unit.writes && unit.read_bytes && unit.written_bytes);
	assert_int_equal(unit.errors, 0);
}

static void test_large_blocks(void **state)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	l.write_cache = true;
	disk(SECTORS, &l);
	pattern(out, 3 * 4096, 3);
	assert_good(run_lba(0x2a, 0, 2, 3));
	assert_int_equal(cmd.bytes, 3 * 4096);
	assert_memory_equal(rd->data + 2 * 4096, out, 3 * 4096);
	assert_int_equal(ramdisk_nr_dirty(rd), 24);
	seg_bytes = 512; /* runs need not be blocks */
	assert_good(run_lba(0x28, 0, 2, 3));
	assert_memory_equal(in, out, 3 * 4096);
	assert_good(run_lba(0x28, 0, SECTORS / 8 - 1, 1));
	assert_sense(run_lba(0x28, 0, SECTORS / 8 - 1, 2), SCSI_LBA_OUT_OF_RANGE);
	assert_good(run_lba(0x2f, 2, 2, 3));
	/* A part of a block goes by way of a buffer. */
	room_max = 5000;
	memset(in, 0, sizeof(in));
	assert_good(run_lba(0x28, 0, 2, 3));
	assert_int_equal(cmd.moved, 5000);
	assert_memory_equal(in, out, 5000);
	room_max = 100;
	assert_good(run_lba(0x28, 0, 2, 3));
	assert_int_equal(cmd.moved, 100);
	assert_memory_equal(in, out, 100);
}

static void test_flush(void **state)
{
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
	disk(SECTORS, &l);
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t sync[] = { 0x35, 0x91, 0x35, 0x91 };

		assert_good(run_lba(0x2a, 0, 0, 4));
		assert_int_equal(ramdisk_nr_dirty(rd), 4);
		assert_good(run_lba(sync[i], i & 2 ? 2 : 0, 0, i));
		assert_int_equal(cmd.dir, SCSI_NO_DATA);
		assert_int_equal(ramdisk_nr_dirty(rd), 0);
	}
	assert_good(run_lba(0x8a, 8, 0, 4));
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	assert_good(run_lba(0x0a, 8, 0, 4)); /* there is no such bit */
	assert_int_equal(ramdisk_nr_dirty(rd), 4);
	assert_good(RUN(0x1b, 0, 0, 0, 1));
	assert_good(RUN(0x1b, 0, 0, 0, 4));
	assert_int_equal(ramdisk_nr_dirty(rd), 4);
	assert_good(RUN(0x1b, 1, 0, 0, 0));
	assert_int_equal(ramdisk_nr_dirty(rd), 0);
	assert_sense(RUN(0x1b, 0, 0, 0, 0x10), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(run_lba(0x35, 0, SECTORS, 0), SCSI_LBA_OUT_OF_RANGE);
	assert_sense(run_lba(0x91, 0, 1, SECTORS), SCSI_LBA_OUT_OF_RANGE);
	ramdisk_fail_range(rd, 1 << BIO_FLUSH, 0, 0, -EIO);
	assert_sense(run_lba(0x35, 0, 0, 0), SCSI_MEDIUM_WRITE_ERROR);
	assert_int_equal(info(), UINT64_MAX);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

static void test_less_room(void **state)
{
	pattern(rd->data, 16 * 512, 5);
	for (uint32_t room = 0; room <= 5 * 512; room += room % 512 == 511 ? 1 : 73) {
		room_max = room;
		memset(in, 0, 4096);
		assert_good(run_lba(0x28, 0, 1, 4));
		assert_int_equal(cmd.bytes, 4 * 512);
		assert_int_equal(cmd.moved, MIN(room, 4 * 512));
		assert_memory_equal(in, rd->data + 512, cmd.moved);
		memset(out, 0xcc, 4096);
		memset(rd->data + 50 * 512, 0x11, 10 * 512);
		assert_good(run_lba(0x2a, 0, 50, 4));
		assert_true(is_all(rd->data + 50 * 512, 0xcc, MIN(room, 4 * 512) / 512 * 512));
		assert_int_equal(rd->data[50 * 512 + MIN(room, 4 * 512) / 512 * 512], 0x11);
	}
	/* There the bad block of a tail shows too. */
	room_max = 700;
	ramdisk_fail_range(rd, 1 << BIO_READ, 2, 1, -EIO);
	assert_sense(run_lba(0x28, 0, 1, 4), SCSI_MEDIUM_READ_ERROR);
	assert_int_equal(info(), 2);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

static void test_read_only(void **state)
{
	static const uint8_t writes[] = { 0x0a, 0x2a, 0xaa, 0x8a, 0x41, 0x93, 0x42 };

	for (unsigned pass = 0; pass < 2; pass++) {
		unit.read_only = !pass;
		rd->bdev.read_only = pass;
		for (unsigned i = 0; i < sizeof(writes); i++)
			assert_sense(run_lba(writes[i], 0, 0, 8), SCSI_WRITE_PROTECTED);
		assert_good(run_lba(0x28, 0, 0, 8));
		assert_good(run_lba(0x35, 0, 0, 8));
		assert_good(run_lba(0x2f, 0, 0, 8));
	}
	rd->bdev.read_only = false;
	assert_good(run_lba(0x2a, 0, 0, 8));
	assert_int_equal(rd->nr[BIO_WRITE], 1);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
	static const struct {
		int err;
		uint32_t read, write; /* 0: BUSY */
	} errs[] = {
		{ -EIO, SCSI_MEDIUM_READ_ERROR, SCSI_MEDIUM_WRITE_ERROR },
		{ -ENODATA, SCSI_MEDIUM_READ_ERROR, SCSI_MEDIUM_WRITE_ERROR },
		{ -EILSEQ, SCSI_MEDIUM_READ_ERROR, SCSI_MEDIUM_WRITE_ERROR },
		{ -ENOSPC, SCSI_SPACE_ALLOCATION_FAILED, SCSI_SPACE_ALLOCATION_FAILED },
		{ -EROFS, SCSI_WRITE_PROTECTED, SCSI_WRITE_PROTECTED },
		{ -EOPNOTSUPP, SCSI_INVALID_OPCODE, SCSI_INVALID_OPCODE },
		{ -ENODEV, SCSI_HARDWARE_FAILURE, SCSI_HARDWARE_FAILURE },
		{ -ETIMEDOUT, SCSI_HARDWARE_FAILURE, SCSI_HARDWARE_FAILURE },
		{ -EINVAL, SCSI_HARDWARE_FAILURE, SCSI_HARDWARE_FAILURE },
		{ -EPERM, SCSI_HARDWARE_FAILURE, SCSI_HARDWARE_FAILURE },
		{ -ENOMEM, 0, 0 },
		{ -EAGAIN, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		ramdisk_fail_range(rd, 1 << BIO_READ | 1 << BIO_WRITE, 40, 1, errs[i].err);
		run_lba(0x28, 0, 30, 20);
		assert_int_equal(sense(), errs[i].read);
		assert_int_equal(cmd.status, errs[i].read ? SCSI_CHECK_CONDITION : SCSI_BUSY);
		if (errs[i].read == SCSI_MEDIUM_READ_ERROR)
			assert_int_equal(info(), 40);
		run_lba(0x2a, 0, 30, 20);
		assert_int_equal(sense(), errs[i].write);
		assert_int_equal(cmd.status, errs[i].write ? SCSI_CHECK_CONDITION : SCSI_BUSY);
		if (errs[i].write == SCSI_MEDIUM_WRITE_ERROR)
			assert_int_equal(info(), 30);
	}
	assert_int_equal(unit.errors, 2 * ARRAY_SIZE(errs));
	/* One that is gone when looked for is an error all the same. */
	ramdisk_fail_range(rd, 0, 0, 0, 0);
	ramdisk_fail_nth(rd, 1, -EIO);
	assert_sense(run_lba(0x28, 0, 30, 20), SCSI_MEDIUM_READ_ERROR);
	assert_int_equal(info(), 30);
	/* It shrinks under the command. */
	ramdisk_fail_nth(rd, 1, -EINVAL);
	assert_sense(run_lba(0x28, 0, 0, 1), SCSI_HARDWARE_FAILURE);
}

static void test_bad_block(void **state)
{
	struct rng rng;

	rng_seed(&rng, 1);
	for (unsigned i = 0; i < 200; i++) {
		uint32_t nr = 1 + (uint32_t)rng_below(&rng, 2000);
		uint32_t lba = (uint32_t)rng_below(&rng, SECTORS - nr);
		uint32_t bad = lba + (uint32_t)rng_below(&rng, nr);

		ramdisk_fail_range(rd, 1 << BIO_READ, bad, 1 + rng_below(&rng, 3), -ENODATA);
		assert_sense(run_lba(i & 1 ? 0x88 : 0x8f, 0, lba, nr), SCSI_MEDIUM_READ_ERROR);
		assert_int_equal(info(), bad);
		assert_int_equal(cmd.sense[0], 0xf0);
	}
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

/* Block numbers that the information field cannot hold.  The disk below is 8 MiB behind 4 TiB of
 * zeroes. */
static void test_far_block(void **state)
{
	assert_int_equal(
		mapped_create("far", "0 8589934592 zero\n8589934592 16384 linear ram0 0"), 0);
	scsi_unit_init(&unit, mapped_bdev("far"), 0, false, "far");
	assert_good(RUN(0x25));
	assert_int_equal(be32(in), UINT32_MAX);
	pattern(out, 4096, 1);
	assert_good(run_lba(0x8a, 0, 8589934592 + 8, 8));
	assert_memory_equal(rd->data + 4096, out, 4096);
	ramdisk_fail_range(rd, 1 << BIO_READ, 9, 1, -EIO);
	assert_sense(run_lba(0x88, 0, 8589934592 + 5, 8), SCSI_MEDIUM_READ_ERROR);
	assert_int_equal(cmd.sense[0], 0x72);
	assert_int_equal(cmd.sense_len, 20);
	assert_int_equal(info(), 8589934592 + 9);
	assert_good(run_lba(0x88, 0, 8589934592 - 5, 8));
	ramdisk_fail_range(rd, 0, 0, 0, 0);
	assert_int_equal(mapped_remove("far"), 0);
}

static int far_setup(void **state)
{
	int err = mapped_setup(state);

	room_max = UINT32_MAX;
	seg_bytes = PAGE_SIZE;
	memset(&nexus, 0, sizeof(nexus));
	unit_over(ramdisk_create("ram0", SECTORS, NULL));
	return err;
}

static int far_teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	return mapped_teardown(state);
}

/* ---- VERIFY ---- */

static void test_verify(void **state)
{
	static const uint8_t ops[] = { 0x2f, 0xaf, 0x8f };

	pattern(rd->data, (size_t)SECTORS * 512, 4);
	for (unsigned i = 0; i < sizeof(ops); i++) {
		uint64_t before = rd->sectors[BIO_READ];

		assert_good(run_lba(ops[i], 0x10, 3, 1000));
		assert_int_equal(cmd.dir, SCSI_NO_DATA);
		assert_int_equal(rd->sectors[BIO_READ] - before, 1000);
		assert_good(run_lba(ops[i], 0, 3, 0));
		assert_sense(run_lba(ops[i], 0, SECTORS, 0), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i], 0, 1, SECTORS), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i], 4, 0, 1), SCSI_INVALID_FIELD_IN_CDB);
		assert_sense(run_lba(ops[i], 0x20, 0, 1), SCSI_INVALID_FIELD_IN_CDB);
		assert_good(run_lba(ops[i], 0, 0, SECTORS));

		memcpy(out, rd->data + 7 * 512, 600 * 512);
		assert_good(run_lba(ops[i], 2, 7, 600));
		assert_int_equal(cmd.dir, SCSI_OUT);
		assert_true(cmd.medium);
		assert_int_equal(cmd.bytes, 600 * 512);
		out[599 * 512 + 511] ^= 1;
		assert_sense(run_lba(ops[i], 2, 7, 600), SCSI_MISCOMPARE);
		assert_int_equal(info(), 599 * 512 + 511);
		out[4097] ^= 1;
		assert_sense(run_lba(ops[i], 2, 7, 600), SCSI_MISCOMPARE);
		assert_int_equal(info(), 4097);
		room_max = 4096 + 511;
		assert_good(run_lba(ops[i], 2, 7, 600)); /* what came is the same */
		room_max = UINT32_MAX;
		assert_sense(
			run_lba(ops[i], 2, 0, SCSI_XFER_MAX / 512 + 1), SCSI_INVALID_FIELD_IN_CDB);

		memset(rd->data, 0x33, 500 * 512);
		memset(out, 0x33, 512);
		assert_good(run_lba(ops[i], 6, 0, 500));
		assert_int_equal(cmd.bytes, 512);
		assert_false(cmd.medium);
		rd->data[450 * 512 + 9] = 0;
		assert_sense(run_lba(ops[i], 6, 0, 500), SCSI_MISCOMPARE);
		assert_int_equal(info(), 9);
		room_max = 511;
		assert_sense(run_lba(ops[i], 6, 0, 500), SCSI_INVALID_FIELD_IN_CDB);
		room_max = UINT32_MAX;
	}
	out[512] ^= 1;
	ramdisk_fail_range(rd, 1 << BIO_READ, 11, 1, -EIO);
	assert_sense(run_lba(0x2f, 2, 7, 10), SCSI_MISCOMPARE); /* comes before */
	assert_sense(run_lba(0x2f, 0, 7, 10), SCSI_MEDIUM_READ_ERROR);
	assert_int_equal(info(), 11);
	ramdisk_fail_range(rd, 1 << BIO_READ, 11, 1, -ETIMEDOUT);
	assert_sense(run_lba(0x2f, 0, 7, 10), SCSI_HARDWARE_FAILURE);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

/* ---- UNMAP and WRITE SAME ---- */

/* A list of nr descriptors in out, all zero; its length. */
static uint32_t unmap_list(unsigned nr)
{
	uint32_t len = 8 + 16 * nr;

	memset(out, 0, len);
	out[0] = (uint8_t)((len - 2) >> 8);
	out[1] = (uint8_t)(len - 2);
	out[2] = (uint8_t)((len - 8) >> 8);
	out[3] = (uint8_t)(len - 8);
	return len;
}

static void unmap_desc(unsigned i, uint64_t lba, uint32_t nr)
{
	set64(out + 8 + 16 * i, lba);
	set32(out + 16 + 16 * i, nr);
}

static uint8_t run_unmap(uint32_t len)
{
	return RUN(0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len);
}

static void test_unmap(void **state)
{
	uint32_t len = unmap_list(3);

	memset(rd->data, 1, (size_t)SECTORS * 512);
	unmap_desc(0, 5, 10);
	unmap_desc(1, 100, 0);
	unmap_desc(2, SECTORS - 1, 1);
	assert_good(run_unmap(len));
	assert_int_equal(cmd.dir, SCSI_OUT);
	assert_int_equal(cmd.bytes, len);
	assert_false(cmd.medium);
	assert_int_equal(rd->nr[BIO_DISCARD], 2);
	assert_int_equal(rd->trace[0].sector, 5);
	assert_int_equal(rd->trace[1].sector, SECTORS - 1);
	assert_int_equal(rd->sectors[BIO_DISCARD], 11);
	assert_int_equal(rd->data[5 * 512 - 1], 1);
	assert_int_equal(rd->data[5 * 512], 0xd5);
	/* All are looked at before the first is done. */
	unmap_desc(2, SECTORS - 1, 2);
	assert_sense(run_unmap(len), SCSI_LBA_OUT_OF_RANGE);
	unmap_desc(2, UINT64_MAX, 2);
	assert_sense(run_unmap(len), SCSI_LBA_OUT_OF_RANGE);
	assert_int_equal(rd->nr[BIO_DISCARD], 2);

	assert_good(run_unmap(0));
	assert_false(begun);
	for (uint32_t n = 1; n < 8; n++)
		assert_sense(run_unmap(n), SCSI_PARAMETER_LIST_LENGTH);
	assert_good(run_unmap(unmap_list(0)));
	assert_sense(run_unmap(unmap_list(2) - 1), SCSI_PARAMETER_LIST_LENGTH);
	out[1] -= 2;
	assert_sense(run_unmap(8 + 32), SCSI_PARAMETER_LIST_LENGTH);
	/* The incomplete one at the end does not count. */
	len = unmap_list(2);
	unmap_desc(0, 1, 1);
	unmap_desc(1, UINT64_MAX, 1);
	out[1] -= 1;
	out[3] -= 1;
	assert_good(run_unmap(len));
	room_max = 20;
	assert_sense(run_unmap(len), SCSI_PARAMETER_LIST_LENGTH);
	room_max = 0;
	assert_sense(run_unmap(len), SCSI_PARAMETER_LIST_LENGTH);
	room_max = UINT32_MAX;
	assert_good(run_unmap(unmap_list(256)));
	assert_sense(run_unmap(unmap_list(257)), SCSI_INVALID_PARAMETER_LIST);
	unmap_list(4094);
	out[0] = out[1] = out[2] = out[3] = 0xff;
	assert_sense(run_unmap(65535), SCSI_PARAMETER_LIST_LENGTH);
	assert_sense(RUN(0x42, 1, 0, 0, 0, 0, 0, 0, 24), SCSI_INVALID_FIELD_IN_CDB);
	/* More blocks than VPD B0 says, in all. */
	rd->bdev.limits.max_discard_sectors = 100;
	bdev_limits_changed(&rd->bdev);
	len = unmap_list(2);
	unmap_desc(0, 0, 60);
	unmap_desc(1, 100, 40);
	assert_good(run_unmap(len));
	unmap_desc(1, 100, 41);
	assert_sense(run_unmap(len), SCSI_INVALID_PARAMETER_LIST);
	ramdisk_fail_nth(rd, 2, -EIO);
	unmap_desc(1, 100, 40);
	assert_sense(run_unmap(len), SCSI_MEDIUM_WRITE_ERROR);
	assert_int_equal(info(), 100);
}

static void test_write_same(void **state)
{
	static const uint8_t ops[] = { 0x41, 0x93 };

	for (unsigned i = 0; i < sizeof(ops); i++) {
		memset(rd->data, 1, (size_t)SECTORS * 512);
		memset(rd->nr, 0, sizeof(rd->nr));
		pattern(out, 512, i);
		assert_good(run_lba(ops[i], 0, 10, 1000));
		assert_int_equal(cmd.bytes, 512);
		assert_false(cmd.medium);
		for (unsigned n = 10; n < 1010; n++)
			assert_memory_equal(rd->data + n * 512, out, 512);
		assert_int_equal(rd->data[10 * 512 - 1], 1);
		assert_int_equal(rd->data[1010 * 512], 1);
		/* UNMAP only may. */
		assert_good(run_lba(ops[i], 8, 2000, 10));
		assert_memory_equal(rd->data + 2009 * 512, out, 512);
		assert_int_equal(rd->nr[BIO_DISCARD], 0);
		memset(out, 0, 512);
		assert_good(run_lba(ops[i], 8, 3000, 10));
		assert_int_equal(rd->nr[BIO_DISCARD], 1);
		assert_good(run_lba(ops[i], 0, 4000, 1000));
		assert_int_equal(rd->nr[BIO_WRITE_ZEROES], 1);
		assert_true(is_all(rd->data + 4000 * 512, 0, 1000 * 512));
		assert_int_equal(rd->data[5000 * 512], 1);
		assert_good(run_lba(ops[i], 0, SECTORS - 9, 0)); /* to the end */
		assert_true(is_all(rd->data + (SECTORS - 9) * 512, 0, 9 * 512));
		assert_int_equal(rd->data[(SECTORS - 9) * 512 - 1], 1);
		assert_sense(run_lba(ops[i], 0, SECTORS, 0), SCSI_LBA_OUT_OF_RANGE);
		assert_sense(run_lba(ops[i], 0, SECTORS - 1, 2), SCSI_LBA_OUT_OF_RANGE);
		for (unsigned bit = 1; bit < 0x100; bit <<= 1)
			if (bit != 8 && !(bit == 1 && i))
				assert_sense(run_lba(ops[i], (uint8_t)bit, 0, 1),
					SCSI_INVALID_FIELD_IN_CDB);
		room_max = 511;
		assert_sense(run_lba(ops[i], 0, 0, 1), SCSI_INVALID_FIELD_IN_CDB);
		room_max = UINT32_MAX;
	}
	out[0] = 1;
	assert_good(run_lba(0x93, 1, 6000, 20)); /* no data: zeroes */
	assert_int_equal(cmd.dir, SCSI_NO_DATA);
	assert_true(is_all(rd->data + 6000 * 512, 0, 20 * 512));
	ramdisk_fail_range(rd, 1 << BIO_WRITE, 7300, 1, -EIO);
	assert_sense(run_lba(0x93, 0, 7000, 1000), SCSI_MEDIUM_WRITE_ERROR);
	assert_int_equal(info(), 7000 + 256); /* the piece it is in */
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

static void test_write_same_without(void **state)
{
	struct limits l;

	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	disk(SECTORS, &l);
	memset(rd->data, 1, (size_t)SECTORS * 512);
	assert_good(run_lba(0x93, 1, 1, 100));
	assert_int_equal(rd->nr[BIO_WRITE], 7);
	assert_true(is_all(rd->data + 4096, 0, 100 * 4096));
	assert_int_equal(rd->data[101 * 4096], 1);
	assert_sense(run_lba(0x93, 9, 1, 100), SCSI_INVALID_FIELD_IN_CDB); /* cannot unmap */
	/* A device that says it can and then cannot. */
	disk(SECTORS, NULL);
	memset(rd->data, 1, (size_t)SECTORS * 512);
	ramdisk_fail_range(rd, 1 << BIO_DISCARD | 1 << BIO_WRITE_ZEROES, 0, SECTORS, -EOPNOTSUPP);
	assert_good(run_lba(0x93, 9, 1, 300));
	assert_int_equal(rd->nr_errors, 2);
	assert_true(is_all(rd->data + 512, 0, 300 * 512));
	assert_int_equal(rd->data[301 * 512], 1);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
	/* Longer than VPD B0 allows. */
	rd->bdev.nr_sectors = 1 << 20;
	assert_sense(run_lba(0x93, 1, 0, 65537), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(run_lba(0x93, 1, 0, 0), SCSI_INVALID_FIELD_IN_CDB);
	assert_sense(run_lba(0x8f, 0, 0, 65537), SCSI_INVALID_FIELD_IN_CDB);
	rd->bdev.nr_sectors = SECTORS;
}

/* ---- memory, reentry, chance ---- */

static void test_no_memory(void **state)
{
	static const uint8_t lba[][2] = { { 0x2f, 0 }, { 0x2f, 2 }, { 0x93, 0 } };
	uint32_t len;

	for (unsigned i = 0; i < ARRAY_SIZE(lba); i++) {
		unsigned n = 0;

		out[0] = 0;
		do {
			memcpy(out, lba[i][0] == 0x93 ? (uint8_t[]){ 7 } : (uint8_t[]){ 0 }, 1);
			host_fail_alloc(++n);
			run_lba(lba[i][0], lba[i][1], lba[i][0] == 0x93 ? 100 : 0, 1);
			assert_int_equal(cmd.status, host_alloc_failed() ? SCSI_BUSY : SCSI_GOOD);
		} while (host_alloc_failed());
		assert_int_equal(n, 3);
	}
	len = unmap_list(1);
	for (unsigned n = 1; n < 4; n++) {
		host_fail_alloc(n);
		assert_int_equal(run_unmap(len), n < 3 ? SCSI_BUSY : SCSI_GOOD);
	}
	host_fail_alloc(1);
	room_max = 100;
	assert_int_equal(run_lba(0x28, 0, 0, 1), SCSI_BUSY);
	host_fail_alloc(0);
}

static unsigned nr_many_done, nr_many_busy;

static void many_done(struct scsi_cmd *c)
{
	assert_ptr_equal(c->owner, &nr_many_done);
	nr_many_done++;
	nr_many_busy += c->status == SCSI_BUSY;
}

/* Many at once: memory is bounded, what is too much is told to come again. */
static void test_many(void **state)
{
	static struct scsi_cmd cmds[100];

	nr_many_done = nr_many_busy = 0;
	ramdisk_hold(rd);
	for (unsigned i = 0; i < ARRAY_SIZE(cmds); i++) {
		cmds[i] = (struct scsi_cmd){
			.target = &target,
			.unit = &unit,
			.cdb = { 0x2f, 0, 0, 0, 0, 0, 0, 8, 0 },
			.done = many_done,
			.owner = &nr_many_done,
		};
		assert_true(scsi_begin(&cmds[i]));
		scsi_run(&cmds[i]);
	}
	host_run();
	assert_int_equal(nr_many_done, 100 - 32);
	assert_int_equal(nr_many_busy, 100 - 32);
	ramdisk_release(rd, 0);
	host_run();
	assert_int_equal(nr_many_done, 100);
	assert_int_equal(nr_many_busy, 100 - 32);
	assert_good(run_lba(0x2f, 0, 0, 8));
}

/* Half of them pass the first looks: an opcode there is, a range near the medium. */
static void fuzz_cdb(struct rng *rng, uint8_t *cdb)
{
	static const char ranges[] = "\x08\x0a\x28\x2a\x2f\x35\x41\x88\x8a\x8f\x91\x93\xa8\xaa\xaf";
	static const char others[] = "\x03\x12\x1a\x1b\x25\x42\x5a\x9e\xa0\xa3";
	uint64_t blocks = SECTORS / (unit.block / 512), zeroes = rng_below(rng, 10);

	for (unsigned i = 0; i < 16; i++)
		cdb[i] = rng_below(rng, 10) >= zeroes ? (uint8_t)rng_u64(rng) : 0;
	switch (rng_below(rng, 8)) {
	case 0:
		break;
	case 1:
		cdb[0] = (uint8_t)ranges[rng_below(rng, sizeof(ranges) - 1)];
		break;
	case 2:
	case 3:
		cdb[0] = (uint8_t)others[rng_below(rng, sizeof(others) - 1)];
		break;
	default:
		memset(cdb + 1, 0, 15);
		cdb[0] = (uint8_t)ranges[rng_below(rng, sizeof(ranges) - 1)];
		set_range(cdb, rng_below(rng, blocks + 3),
			(uint32_t)rng_below(rng, MIN(blocks / 8, 300)));
		cdb[1] = (uint8_t)(cdb[0] >> 5 ? rng_u64(rng) & 0x1e : 0);
	}
	if (cdb[0] == 0x42 && rng_below(rng, 4))
		memcpy(cdb + 1, "\0\0\0\0\0\0\0\x58", 9);
}

static void fuzz_world(struct rng *rng)
{
	static const int errs[] = { -EIO, -ENODATA, -ENOSPC, -EOPNOTSUPP, -ETIMEDOUT, -ENOMEM,
		-EINVAL };
	static const enum scsi_sense uas[] = { SCSI_POWER_ON, SCSI_LUN_DATA_CHANGED,
		SCSI_CAPACITY_CHANGED };

	room_max = rng_below(rng, 2) ? UINT32_MAX : (uint32_t)rng_below(rng, 10000);
	seg_bytes = (uint32_t)(1 + rng_below(rng, 64)) * 4096;
	target.units[0] = rng_below(rng, 30) ? &unit : NULL;
	unit.read_only = !rng_below(rng, 20);
	if (!rng_below(rng, 40))
		scsi_attention(&nexus, uas[rng_below(rng, ARRAY_SIZE(uas))]);
	if (!rng_below(rng, 10))
		ramdisk_fail_nth(rd, 1 + (unsigned)rng_below(rng, 3),
			errs[rng_below(rng, ARRAY_SIZE(errs))]);
	ramdisk_fail_range(rd, (unsigned)rng_u64(rng) & 0x1f, rng_below(rng, SECTORS), 8,
		rng_below(rng, 4) ? 0 : errs[rng_below(rng, ARRAY_SIZE(errs))]);
	if (rng_below(rng, 2)) {
		unmap_list((unsigned)rng_below(rng, 5));
		for (unsigned i = 0; i < 5; i++)
			unmap_desc(i, rng_below(rng, SECTORS + 10), (uint32_t)rng_below(rng, 100));
	}
	if (!rng_below(rng, 4))
		out[rng_below(rng, 64)] = (uint8_t)rng_u64(rng);
	if (!rng_below(rng, 8))
		memset(out, 0, 4096);
	if (!rng_below(rng, 50))
		host_fail_alloc(1 + (unsigned)rng_below(rng, 2));
}

static void fuzz(uint64_t seed, unsigned count)
{
	unsigned nr_good = 0, nr_begun = 0;
	uint8_t cdb[16];
	struct rng rng;

	rng_seed(&rng, seed);
	for (unsigned i = 0; i < count; i++) {
		fuzz_world(&rng);
		fuzz_cdb(&rng, cdb);
		nr_good += run(cdb, sizeof(cdb)) == SCSI_GOOD;
		nr_begun += begun;
		host_fail_alloc(0);
	}
	assert_true(nr_good > count / 4 && nr_begun > count / 4);
	ramdisk_fail_nth(rd, 0, 0);
	ramdisk_fail_range(rd, 0, 0, 0, 0);
}

static void test_fuzz(void **state)
{
	struct limits l;
	const char *count = getenv("FUZZ_COUNT");
	unsigned n = count ? (unsigned)atoi(count) : 40000;

	fuzz(1, n);
	limits_default(&l);
	l.logical_block = l.physical_block = 4096;
	l.write_cache = true;
	l.max_sectors = 256;
	l.max_segs = 16;
	l.no_gaps = 4096;
	l.dma_align = 3;
	l.max_discard_sectors = 2048;
	l.discard_granularity = 16384;
	disk(SECTORS, &l);
	fuzz(2, n);
	l.write_cache = false;
	l.logical_block = l.physical_block = 65536;
	l.max_sectors = 1024;
	l.max_segs = 64;
	disk(SECTORS, &l);
	fuzz(3, n / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_inquiry),
		T(test_vpd_names),
		T(test_names_of_units),
		T(test_vpd_limits),
		T(test_luns),
		T(test_no_unit),
		T(test_attention),
		T(test_capacity),
		T(test_mode_sense),
		T(test_opcodes),
		T(test_invalid_opcodes),
		T(test_read_write),
		T(test_large_blocks),
		T(test_flush),
		T(test_less_room),
		T(test_read_only),
		T(test_errors),
		T(test_bad_block),
		cmocka_unit_test_setup_teardown(test_far_block, far_setup, far_teardown),
		T(test_verify),
		T(test_unmap),
		T(test_write_same),
		T(test_write_same_without),
		T(test_no_memory),
		T(test_many),
		T(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

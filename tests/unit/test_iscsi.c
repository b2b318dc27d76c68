/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_iscsi_session - targets made by words; discovery; reading and writing in every way data may
 * go; digests; residuals; the window of commands; task management; NOP, text, logout; an initiator
 * that is slow, silent, or gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "exports/export.h"
#include "kernel/api/crypto.h"
#include "kernel/api/random.h"
#include "tests/host/host.h"
#include "tests/host/iscsi_export_words.h"
#include "tests/host/iscsi_peer.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *disk;
static uint8_t out[1 << 20], in[1 << 20];

static int setup(void **state)
{
	int err = mapped_setup(state);
	unsigned i;

	disk = ramdisk_create("vda", 8192, NULL);
	assert_non_null(disk);
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 ^ i >> 9);
	return err;
}

static int teardown(void **state)
{
	host_run();
	words_remove_all();
	if (fake_nr_conns())
		fail_msg("left: %s", words_sessions());
	assert_false(fake_listens(3260));
	ramdisk_destroy(disk);
	return mapped_teardown(state);
}

/* ---- words ---- */

static const struct {
	const char *words;
	int err;
	const char *why;
} refused[] = {
	{ "disk vda --noauth", -EINVAL, "no iSCSI name" },
	{ "iqn.2026-01.org.Cairn:x vda --noauth", -EINVAL, "small letters" },
	{ IQN " --noauth", -EINVAL, "which device" },
	{ IQN " vda", -EACCES, "closed by default" },
	{ IQN " vda --noauth --chap user:123456789012", -EACCES, "exclude" },
	{ IQN " vda --chap user:12345678901", -EINVAL, "12 to 255" },
	{ IQN " vda --chap user", -EINVAL, "USER:SECRET" },
	{ IQN " vda --chap", -EINVAL, "value is missing" },
	{ IQN " vda --chap u:123456789012 --mutual-chap t:123456789012", -EINVAL, "other than" },
	{ IQN " vda --noauth --mutual-chap t:123456789012", -EINVAL, "needs --chap" },
	{ IQN " vda --noauth --allow", -EINVAL, "value is missing" },
	{ IQN " vda --noauth --often", -EINVAL, "--often" },
	{ IQN " vdb --noauth", -ENODEV, "vdb" },
	{ IQN " vda vda,lun=0 --noauth", -EEXIST, "given twice" },
	{ IQN " vda,lun=256 --noauth", -EINVAL, "lun=256" },
	{ IQN " vda,rw --noauth", -EINVAL, "rw" },
};

static void test_refused(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		int err = words_create(refused[i].words);

		if (err != refused[i].err || !strstr(words_why(), refused[i].why))
			fail_msg("%s: %d %s", refused[i].words, err, words_why());
		assert_int_equal(disk->bdev.open_count, 0);
	}
	assert_false(fake_listens(3260));
}

static void test_create(void **state)
{
	int me;

	assert_int_equal(
		words_create(IQN " vda /dev/vda,ro,lun=7 vda --chap bob:verysecretword"), 0);
	assert_true(fake_listens(3260));
	assert_int_equal(words_create(IQN " vda --noauth"), -EEXIST);
	assert_int_equal(words_create(IQN "2 vda,ro --noauth --allow " USER), 0);
	assert_int_equal(bdev_claim(&disk->bdev, &me), -EBUSY);
	assert_non_null(strstr(words_list(), "iscsi " IQN " chap"));
	assert_non_null(strstr(words_list(), "  lun 7 /dev/vda 8192 sectors ro"));
	assert_non_null(strstr(words_list(), "iscsi " IQN "2 noauth"));
	assert_null(strstr(words_list(), "verysecret"));
	assert_null(strstr(words_stats(), "secret"));
	assert_int_equal(words_remove(IQN, false), 0);
	assert_true(fake_listens(3260));
	assert_int_equal(words_remove(IQN, false), -ENOENT);
	assert_int_equal(words_remove(IQN "2", false), 0);
	assert_false(fake_listens(3260));
	assert_int_equal(bdev_claim(&disk->bdev, &me), 0);
	bdev_release(&disk->bdev, &me);
}

static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 2;; n++) { /* 1: the fiber */
		host_fail_alloc(n);
		if (!words_create(IQN " vda --noauth --allow " USER))
			break;
		assert_int_equal(disk->bdev.open_count, 0);
		assert_false(fake_listens(3260));
	}
	host_fail_alloc(0);
	assert_true(n > 4);
}

/* ---- discovery ---- */

static void text(struct peer *p, uint32_t ttt, const char *t)
{
	uint8_t bhs[BHS_LEN] = { OP_TEXT, FLAG_FINAL };
	char data[256];
	size_t i, n = strlen(t);

	for (i = 0; i < n; i++)
		data[i] = (char)(t[i] == ';' ? 0 : t[i]);
	put32(bhs + BHS_ITT, ++p->itt);
	put32(bhs + BHS_TTT, ttt);
	put32(bhs + BHS_CMDSN, p->cmdsn++);
	peer_send(p, bhs, data, (uint32_t)n);
	assert_true(peer_recv(p));
}

static void test_discovery(void **state)
{
	struct peer *p;

	words_create(IQN " vda --noauth");
	words_create(IQN "2 vda --noauth --allow " USER "-not");
	words_create(IQN "3 vda --chap bob:verysecretword");
	words_create(IQN "4 vda --noauth --allow " USER);
	p = peer_discovery();
	text(p, TAG_NONE, "SendTargets=All;");
	assert_int_equal(peer_op(p), OP_TEXT_RSP);
	assert_int_equal(p->bhs[BHS_FLAGS], FLAG_FINAL);
	assert_memory_equal(p->data,
		"TargetName=" IQN "\0TargetAddress=10.0.2.15:3260,1\0"
		"TargetName=" IQN "4\0TargetAddress=10.0.2.15:3260,1\0",
		p->len);
	text(p, TAG_NONE, "SendTargets=" IQN "3;");
	assert_int_equal(p->len, 0);
	text(p, TAG_NONE, "SendTargets=" IQN "4;X-what=1;");
	assert_string_equal(peer_value(p, "TargetName"), IQN "4");
	assert_string_equal(peer_value(p, "X-what"), "NotUnderstood");
	peer_free(p);
}

static void test_many_targets(void **state)
{
	char words[256];
	unsigned i, nr = 0;
	struct peer *p;
	size_t at;

	for (i = 0; i < 12; i++) {
		str_printf(words, sizeof(words), IQN "%0150u vda --noauth", i);
		assert_int_equal(words_create(words), 0);
	}
	p = peer_discovery();
	text(p, TAG_NONE, "MaxRecvDataSegmentLength=512;");
	text(p, TAG_NONE, "SendTargets=All;");
	for (;;) {
		for (at = 0; at + 11 < p->len; at++)
			nr += !memcmp(p->data + at, "TargetName=", 11);
		if (p->bhs[BHS_FLAGS] & FLAG_FINAL)
			break;
		assert_int_equal(p->bhs[BHS_FLAGS], TEXT_CONTINUE);
		assert_true(p->len <= 512);
		text(p, get32(p->bhs + BHS_TTT), "");
	}
	assert_in_range(nr, 8, 12); /* some are cut in two */
	peer_free(p);
}

/* ---- data ---- */

static void test_read_write(void **state)
{
	static const size_t chunks[] = { 0, 1, 7, 48, 1000, 4096 };
	unsigned i;
	struct peer *p;

	words_create(IQN " vda --noauth");
	for (i = 0; i < ARRAY_SIZE(chunks); i++) {
		p = peer_session("MaxRecvDataSegmentLength=65536;");
		fake_chunk(p->net, chunks[i]);
		assert_int_equal(peer_write(p, 8 + i, 8, out + i * 512), 0);
		assert_int_equal(peer_read(p, 8 + i, 8, in), 0);
		assert_memory_equal(in, out + i * 512, 4096);
		assert_int_equal(p->bhs[BHS_FLAGS] & DATA_STATUS, DATA_STATUS);
		if (chunks[i] != 1) {
			assert_int_equal(peer_write(p, 100, 1500, out), 0);
			assert_int_equal(peer_read(p, 100, 1500, in), 0);
			assert_memory_equal(in, out, 1500 * 512);
			assert_memory_equal(disk->data + 100 * 512, out, 1500 * 512);
		}
		peer_free(p);
	}
	assert_non_null(strstr(words_stats(), "errors 0\n"));
}

static void test_immediate(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], d[BHS_LEN] = { OP_DATA_OUT }, cdb[16];

	words_create(IQN " vda --noauth");
	p = peer_session("InitialR2T=No;ImmediateData=Yes;FirstBurstLength=16384;"
			 "MaxBurstLength=32768;");
	assert_string_equal(peer_value(p, "InitialR2T"), "No");
	assert_string_equal(peer_value(p, "FirstBurstLength"), "16384");
	/* all of it at once */
	cdb_rw(cdb, true, 0, 8);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
	peer_send(p, bhs, out, 4096);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_SCSI_RSP);
	assert_int_equal(p->bhs[3], 0);
	assert_memory_equal(disk->data, out, 4096);
	/* immediate, unsolicited, then asked for */
	cdb_rw(cdb, true, 16, 64);
	peer_cmd(p, bhs, CMD_WRITE, 32768, cdb);
	peer_send(p, bhs, out, 4096);
	assert_false(peer_recv(p));
	put32(d + BHS_ITT, p->itt);
	put32(d + BHS_TTT, TAG_NONE);
	put32(d + BHS_OFFSET, 4096);
	peer_send(p, d, out + 4096, 4096);
	assert_false(peer_recv(p));
	d[BHS_FLAGS] = FLAG_FINAL;
	put32(d + BHS_DATASN, 1);
	put32(d + BHS_OFFSET, 8192);
	peer_send(p, d, out + 8192, 8192);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_R2T);
	assert_int_equal(get32(p->bhs + BHS_OFFSET), 16384);
	assert_int_equal(get32(p->bhs + BHS_R2T_LEN), 16384);
	memcpy(d + BHS_TTT, p->bhs + BHS_TTT, 4);
	put32(d + BHS_DATASN, 0);
	put32(d + BHS_OFFSET, 16384);
	peer_send(p, d, out + 16384, 16384);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_SCSI_RSP);
	assert_int_equal(p->bhs[3], 0);
	assert_memory_equal(disk->data + 16 * 512, out, 32768);
	peer_free(p);
}

static void test_digests(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], cdb[16];

	words_create(IQN " vda --noauth");
	p = peer_session("HeaderDigest=CRC32C,None;DataDigest=CRC32C;");
	p->header_digest = p->data_digest = true;
	assert_int_equal(peer_write(p, 3, 100, out), 0);
	assert_int_equal(peer_read(p, 3, 100, in), 0);
	assert_memory_equal(in, out, 51200);
	cdb_rw(cdb, false, 1u << 30, 1); /* sense, which needs padding */
	assert_int_equal(peer_status(p, cdb), 2);
	assert_int_equal(peer_sense(p), 0x052100);
	/* a data digest that is wrong */
	cdb_rw(cdb, true, 0, 8);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
	p->spoil_data = true;
	peer_send(p, bhs, out, 4096);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_REJECT);
	assert_int_equal(p->bhs[2], 2);
	bhs[0] = OP_SCSI_CMD;
	assert_memory_equal(p->data, bhs, BHS_LEN);
	assert_true(peer_recv(p));
	assert_int_equal(peer_sense(p), 0x0b4705);
	assert_int_equal(peer_read(p, 3, 100, in), 0);
	/* and a header's */
	p->spoil_header = true;
	peer_cmd(p, bhs, FLAG_FINAL, 0, cdb);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_closed(p));
	peer_free(p);
}

static void test_residuals(void **state)
{
	static const struct {
		unsigned blocks, edtl, flag, residual, got;
	} t[] = {
		{ 4, 4096, RSP_UNDERFLOW, 2048, 2048 },
		{ 4, 1024, RSP_OVERFLOW, 1024, 1024 },
		{ 1, 100, RSP_OVERFLOW, 412, 100 },
		{ 4, 0, RSP_OVERFLOW, 2048, 0 },
		{ 65535 / 512, 0xffffffff, RSP_UNDERFLOW, 0xffffffff - 127 * 512, 127 * 512 },
	};
	uint8_t bhs[BHS_LEN], cdb[16];
	struct peer *p;
	unsigned i;

	words_create(IQN " vda --noauth");
	p = peer_session("MaxRecvDataSegmentLength=262144;");
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		cdb_rw(cdb, false, 0, t[i].blocks);
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, t[i].edtl, cdb);
		peer_send(p, bhs, NULL, 0);
		assert_true(peer_recv(p));
		assert_int_equal(p->len, t[i].got);
		assert_int_equal(p->bhs[BHS_FLAGS] & 6, t[i].flag);
		assert_int_equal(get32(p->bhs + BHS_RESIDUAL), t[i].residual);
	}
	peer_free(p);
}

/* ---- the window, waiting, many ---- */

static void test_window(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], cdb[16];
	unsigned i, n = 0;

	words_create(IQN " vda --noauth");
	p = peer_session("");
	ramdisk_hold(disk);
	cdb_rw(cdb, false, 0, 8);
	for (i = 0; i < 300; i++) {
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
		peer_send(p, bhs, NULL, 0);
	}
	assert_false(peer_recv(p));
	assert_in_range(disk->in_flight, 32, 128);
	/* a ping is answered meanwhile */
	memset(bhs, 0, sizeof(bhs));
	bhs[0] = OP_NOP_OUT | OP_IMMEDIATE;
	put32(bhs + BHS_ITT, 77777);
	put32(bhs + BHS_TTT, TAG_NONE);
	peer_send(p, bhs, "hello", 5);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_NOP_IN);
	assert_memory_equal(p->data, "hello", 5);
	i = disk->in_flight;
	ramdisk_release(disk, 0);
	while (peer_recv(p))
		n++;
	assert_in_range(n, i, i + 1); /* and that the window is open again */
	p->cmdsn = p->max_cmdsn - 3;  /* those behind the window were as if never sent */
	peer_free(p);
}

static void test_slow_reader(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], cdb[16];
	unsigned i;

	words_create(IQN " vda --noauth");
	p = peer_session("MaxRecvDataSegmentLength=262144;");
	memcpy(disk->data, out, sizeof(out));
	for (i = 0; i < 40; i++) {
		fake_room(p->net, NET_SEND_MAX + 100 + i * 997);
		fake_refuse_send(p->net, i % 5);
		assert_int_equal(peer_read(p, i, 1000, in), 0);
		assert_memory_equal(in, out + i * 512, 512000);
	}
	/* who does not read at all is dropped, and pages are back */
	fake_room(p->net, 0);
	cdb_rw(cdb, false, 0, 1000);
	for (i = 0; i < 20; i++) {
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 512000, cdb);
		peer_send(p, bhs, NULL, 0);
	}
	host_run();
	host_advance(70 * NS_PER_S);
	assert_true(peer_closed(p));
	peer_free(p);
}

static void test_silence(void **state)
{
	uint8_t bhs[BHS_LEN] = { OP_NOP_OUT | OP_IMMEDIATE, FLAG_FINAL };
	struct peer *p;

	words_create(IQN " vda --noauth");
	p = peer_session("");
	host_advance(35 * NS_PER_S);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_NOP_IN);
	put32(bhs + BHS_ITT, TAG_NONE);
	memcpy(bhs + BHS_TTT, p->bhs + BHS_TTT, 4);
	peer_send(p, bhs, NULL, 0);
	host_advance(35 * NS_PER_S);
	assert_false(peer_closed(p));
	assert_true(peer_recv(p));
	host_advance(45 * NS_PER_S);
	assert_true(peer_closed(p));
	peer_free(p);
	/* in login */
	p = peer_new();
	fake_write(p->net, bhs, 20);
	host_advance(21 * NS_PER_S);
	assert_true(peer_closed(p));
	peer_free(p);
}

/* ---- task management ---- */

static unsigned tmf(struct peer *p, unsigned function, uint32_t ref)
{
	uint8_t bhs[BHS_LEN] = { OP_TMF | OP_IMMEDIATE, (uint8_t)(FLAG_FINAL | function) };

	put32(bhs + BHS_ITT, ++p->itt);
	put32(bhs + BHS_REF_ITT, ref);
	put32(bhs + BHS_CMDSN, p->cmdsn);
	peer_send(p, bhs, NULL, 0);
	if (!peer_recv(p) || peer_op(p) != OP_TMF_RSP || get32(p->bhs + BHS_ITT) != p->itt)
		return 1000;
	return p->bhs[2];
}

static void test_abort(void **state)
{
	struct peer *p, *q;
	uint8_t bhs[BHS_LEN], d[BHS_LEN] = { OP_DATA_OUT, FLAG_FINAL }, cdb[16];
	uint32_t itt;

	words_create(IQN " vda --noauth");
	p = peer_session("");
	q = peer_session("");
	assert_true(peer_closed(p)); /* the same ISID: instead of p */
	peer_free(p);
	p = peer_new();
	p->isid[5]++;
	assert_int_equal(peer_login(p, 1, 3, "InitiatorName=" USER ";TargetName=" IQN ";"), 0);
	assert_int_equal(tmf(p, 1, 999), 1);
	assert_int_equal(tmf(p, 8, 999), 4);
	assert_int_equal(tmf(p, 3, 999), 5); /* CLEAR ACA */
	assert_int_equal(tmf(p, 0x7f, 999), 5);
	/* a write that waits for its data: ends at once, the data goes nowhere */
	cdb_rw(cdb, true, 0, 8);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_R2T);
	memcpy(d + BHS_ITT, p->bhs + BHS_ITT, 8);
	assert_int_equal(tmf(p, 1, p->itt), 0);
	peer_send(p, d, out, 4096);
	assert_false(peer_recv(p));
	assert_false(peer_closed(p));
	/* a read the disk has: its answer never comes */
	ramdisk_hold(disk);
	cdb_rw(cdb, false, 0, 8);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
	peer_send(p, bhs, NULL, 0);
	itt = p->itt;
	assert_int_equal(tmf(p, 1, itt), 0);
	ramdisk_release(disk, 0);
	assert_false(peer_recv(p));
	/* the reset of everyone: the other is told */
	ramdisk_hold(disk);
	peer_cmd(q, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
	peer_send(q, bhs, NULL, 0);
	assert_false(peer_recv(q));
	memset(bhs, 0, sizeof(bhs));
	bhs[0] = OP_TMF | OP_IMMEDIATE;
	bhs[BHS_FLAGS] = FLAG_FINAL | 5;
	put32(bhs + BHS_ITT, 4711);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_TMF_RSP);
	ramdisk_release(disk, 0);
	assert_false(peer_recv(p));
	assert_false(peer_recv(q));
	memset(cdb, 0, 16);
	assert_int_equal(peer_status(q, cdb), 2);
	assert_int_equal(peer_sense(q), 0x062900);
	assert_int_equal(peer_status(q, cdb), 0);
	/* everything goes */
	assert_int_equal(tmf(p, 7, 0), 0);
	assert_true(peer_closed(p) && peer_closed(q));
	peer_free(p);
	peer_free(q);
}

/* Another session under a name of its own. */
static struct peer *another(unsigned n)
{
	struct peer *p = peer_new();

	p->isid[5] = (uint8_t)(p->isid[5] + n);
	assert_int_equal(peer_login(p, 1, 3, "InitiatorName=" USER ";TargetName=" IQN ";"), 0);
	return p;
}

/* A reset by another session while the data of a command come: they go nowhere. */
static void test_reset_in_data(void **state)
{
	uint8_t bhs[BHS_LEN], d[BHS_LEN + 4096] = { OP_DATA_OUT, FLAG_FINAL }, cdb[16];
	struct peer *p, *q;
	unsigned immediate;

	words_create(IQN " vda --noauth");
	memset(disk->data, 0x5a, 1 << 20);
	for (immediate = 0; immediate < 2; immediate++) {
		p = another(1);
		q = another(2);
		cdb_rw(cdb, true, 0, 8);
		peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
		if (immediate) {
			memcpy(d, bhs, BHS_LEN);
		} else {
			peer_send(p, bhs, NULL, 0);
			assert_true(peer_recv(p));
			assert_int_equal(peer_op(p), OP_R2T);
			memcpy(d + BHS_ITT, p->bhs + BHS_ITT, 8);
		}
		put24(d + BHS_DATA_LEN, 4096);
		memcpy(d + BHS_LEN, out, 4096);
		fake_write(p->net, d, BHS_LEN + 1000);
		host_run();
		assert_int_equal(tmf(q, 6, 0), 0);
		/* its page is another's now */
		assert_int_equal(peer_write(q, 64, 8, out + 8192), 0);
		fake_write(p->net, d + BHS_LEN + 1000, 4096 - 1000);
		host_run();
		assert_false(peer_recv(p));
		assert_memory_equal(disk->data + 64 * 512, out + 8192, 4096);
		assert_int_equal(disk->data[0], 0x5a);
		assert_int_equal(peer_read(p, 64, 8, in), 2); /* told of the reset */
		assert_int_equal(peer_read(p, 64, 8, in), 0);
		assert_memory_equal(in, out + 8192, 4096);
		peer_free(p);
		peer_free(q);
	}
}

/* Of sessions whose answers find no room: a reset ends their commands, and them, one by one. */
static void test_reset_drops(void **state)
{
	uint8_t bhs[BHS_LEN], nop[BHS_LEN] = { OP_NOP_OUT | OP_IMMEDIATE, FLAG_FINAL }, cdb[16];
	struct peer *p[6];
	unsigned i, k;

	words_create(IQN " vda --noauth");
	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = another(i);
	cdb_rw(cdb, true, 0, 8);
	put32(nop + BHS_TTT, TAG_NONE);
	for (i = 1; i < ARRAY_SIZE(p); i++) {
		/* All commands it may have, each of which waits for data; no window is left. */
		for (k = 0; k < 64; k++) {
			peer_cmd(p[i], bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
			peer_send(p[i], bhs, NULL, 0);
		}
		while (peer_recv(p[i]))
			;
		fake_room(p[i]->net, 0);
		for (k = 0; k < 256; k++) {
			put32(nop + BHS_ITT, 100000 + k);
			put32(nop + BHS_CMDSN, p[i]->cmdsn);
			peer_send(p[i], nop, NULL, 0);
		}
		host_run();
		assert_false(peer_closed(p[i]));
	}
	assert_int_equal(tmf(p[0], 6, 0), 0);
	for (i = 1; i < ARRAY_SIZE(p); i++) {
		peer_closed(p[i]);
		peer_free(p[i]);
	}
	assert_int_equal(peer_read(p[0], 0, 8, in), 0);
	peer_free(p[0]);
}

/* The data of an answer are acknowledged before its digest found room to leave, and more is asked.
 */
static void test_digest_late(void **state)
{
	uint8_t bhs[BHS_LEN], cdb[16], first[BHS_LEN + 4096], digest[4];
	struct peer *p;
	unsigned i;

	words_create(IQN " vda --noauth");
	memcpy(disk->data, out, sizeof(out));
	p = peer_session("DataDigest=CRC32C;MaxRecvDataSegmentLength=65536;");
	p->data_digest = true;
	for (i = 0; i < 20; i++) {
		cdb_rw(cdb, false, i, 8);
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
		peer_send(p, bhs, NULL, 0);
		fake_room(p->net, sizeof(first));
		host_run();
		assert_int_equal(fake_read(p->net, first, sizeof(first)), sizeof(first));
		assert_memory_equal(first + BHS_LEN, out + i * 512, 4096);
		fake_room(p->net, 0);
		cdb_rw(cdb, false, i + 100, 8);
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
		peer_send(p, bhs, NULL, 0);
		host_run();
		fake_room(p->net, SIZE_MAX);
		host_run();
		assert_int_equal(fake_read(p->net, digest, 4), 4);
		assert_int_equal(get32(digest), __builtin_bswap32(crc32c(0, out + i * 512, 4096)));
		assert_true(peer_recv(p));
		assert_int_equal(get32(p->bhs + BHS_ITT), p->itt);
		assert_memory_equal(p->data, out + (i + 100) * 512, 4096);
		assert_false(peer_recv(p));
		if (i != 10)
			continue;
		/* And such a one whose connection ends. */
		peer_free(p);
		p = peer_session("DataDigest=CRC32C;MaxRecvDataSegmentLength=65536;");
		p->data_digest = true;
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
		peer_send(p, bhs, NULL, 0);
		fake_room(p->net, sizeof(first));
		host_run();
		assert_int_equal(fake_read(p->net, first, sizeof(first)), sizeof(first));
		fake_room(p->net, 0);
		peer_free(p);
		p = peer_session("DataDigest=CRC32C;MaxRecvDataSegmentLength=65536;");
		p->data_digest = true;
	}
	peer_free(p);
}

static void test_gone_with_work(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], cdb[16];
	unsigned i, round;

	for (round = 0; round < 2; round++) {
		words_create(IQN " vda --noauth");
		p = peer_session("");
		ramdisk_hold(disk);
		for (i = 0; i < 20; i++) {
			cdb_rw(cdb, i & 1, i * 8, 8);
			peer_cmd(p, bhs, FLAG_FINAL | (i & 1 ? CMD_WRITE : CMD_READ), 4096, cdb);
			peer_send(p, bhs, out, i & 2 ? 0 : i & 1 ? 4096 : 0);
		}
		host_run();
		assert_true(disk->in_flight);
		if (round == 0) {
			fake_hang_up(p->net, -ECANCELED);
			host_run();
			ramdisk_release(disk, 0);
			host_run();
			assert_int_equal(words_remove(IQN, false), 0);
			free(p->data);
			free(p);
			continue;
		}
		assert_int_equal(words_remove(IQN, false), -EBUSY);
		/* It waits for what is with the disk, so that has to end. */
		ramdisk_release(disk, 0);
		assert_int_equal(words_remove(IQN, true), 0);
		assert_true(peer_closed(p));
		assert_int_equal(disk->bdev.open_count, 0);
		peer_free(p);
	}
}

static void test_logout(void **state)
{
	uint8_t bhs[BHS_LEN] = { OP_LOGOUT, FLAG_FINAL | 2 };
	struct peer *p;

	words_create(IQN " vda --noauth");
	p = peer_session("");
	put32(bhs + BHS_ITT, 9);
	put32(bhs + BHS_CMDSN, p->cmdsn++);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_LOGOUT_RSP);
	assert_int_equal(p->bhs[2], 2);
	bhs[BHS_FLAGS] = FLAG_FINAL | 1;
	put16(bhs + 20, 0xffff);
	put32(bhs + BHS_CMDSN, p->cmdsn++);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_recv(p));
	assert_int_equal(p->bhs[2], 1);
	bhs[BHS_FLAGS] = FLAG_FINAL;
	put32(bhs + BHS_CMDSN, p->cmdsn++);
	peer_send(p, bhs, NULL, 0);
	assert_true(peer_recv(p));
	assert_int_equal(p->bhs[2], 0);
	assert_true(peer_closed(p));
	peer_free(p);
}

static void test_suspended(void **state)
{
	struct peer *p;
	uint8_t bhs[BHS_LEN], cdb[16];

	assert_int_equal(mapped_create("m", "0 8192 linear /dev/vda 0"), 0);
	assert_int_equal(words_create(IQN " /dev/mapper/m --noauth"), 0);
	assert_non_null(strstr(words_list(), "  lun 0 /dev/dm-0 "));
	assert_int_equal(mapped_remove("m"), -EBUSY);
	p = peer_session("");
	assert_int_equal(peer_write(p, 0, 8, out), 0);
	assert_int_equal(mapped_suspend("m"), 0);
	cdb_rw(cdb, false, 0, 8);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
	peer_send(p, bhs, NULL, 0);
	assert_false(peer_recv(p));
	assert_int_equal(tmf(p, 1, 12345), 1);
	assert_int_equal(mapped_resume("m"), 0);
	assert_true(peer_recv(p));
	assert_memory_equal(p->data, out, 4096);
	peer_free(p);
	assert_int_equal(words_remove(IQN, false), 0);
	assert_int_equal(mapped_remove("m"), 0);
}

/* Immediate commands are not bound by the window: those beyond what there is room for are told so.
 */
static void test_task_set_full(void **state)
{
	uint8_t bhs[BHS_LEN], cdb[16];
	unsigned full = 0, good = 0;
	struct peer *p;

	words_create(IQN " vda --noauth");
	p = peer_session("");
	ramdisk_hold(disk);
	cdb_rw(cdb, false, 0, 8);
	for (unsigned i = 0; i < 40; i++) {
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, 4096, cdb);
		bhs[0] |= OP_IMMEDIATE;
		p->cmdsn--;
		put32(bhs + BHS_CMDSN, p->cmdsn);
		peer_send(p, bhs, NULL, 0);
	}
	while (peer_recv(p))
		full += peer_op(p) == OP_SCSI_RSP && p->bhs[3] == 0x28;
	ramdisk_release(disk, 0);
	while (peer_recv(p))
		good += peer_op(p) == OP_DATA_IN && p->bhs[3] == 0;
	assert_in_range(good, 1, 39);
	assert_int_equal(good + full, 40);
	assert_int_equal(peer_read(p, 0, 8, in), 0);
	peer_free(p);
}

/* With little memory: a command that needs nearly all of it has its turn between smaller ones that
 * never end. */
static void test_large_among_small(void **state)
{
	uint8_t bhs[BHS_LEN], cdb[16];
	static struct mem_tag tag = MEM_TAG("all but a little");
	void *rest[60];
	uint32_t large = 0;
	bool done = false;
	struct peer *p;

	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++) {
		rest[i] = page_alloc(&tag, PAGE_ORDER_MAX);
		assert_non_null(rest[i]);
	}
	words_create(IQN " vda --noauth");
	p = peer_session("MaxRecvDataSegmentLength=262144;");
	for (unsigned i = 0; i < 400 && !done; i++) {
		bool is_large = i == 30;

		cdb_rw(cdb, false, 0, is_large ? 8192 : 128);
		peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, is_large ? 4u << 20 : 65536, cdb);
		if (is_large)
			large = p->itt;
		peer_send(p, bhs, NULL, 0);
		/* Thirty are under way at any time. */
		while (i >= 30 && peer_recv(p)) {
			assert_int_equal(peer_op(p), OP_DATA_IN);
			if (!(p->bhs[BHS_FLAGS] & 1))
				continue;
			done |= large && get32(p->bhs + BHS_ITT) == large;
			break;
		}
	}
	assert_true(done);
	while (peer_recv(p))
		;
	peer_free(p);
	for (unsigned i = 0; i < ARRAY_SIZE(rest); i++)
		page_free(&tag, rest[i], PAGE_ORDER_MAX);
}

/* Sessions that hold memory for data they never send, and ping: not for ever while others wait. */
static void test_pinging_holders(void **state)
{
	uint8_t bhs[BHS_LEN], nop[BHS_LEN] = { OP_NOP_OUT | OP_IMMEDIATE, FLAG_FINAL }, cdb[16];
	static struct mem_tag tag = MEM_TAG("all but a little");
	void *rest[60];
	struct peer *p[3];
	unsigned i, k, s;

	for (i = 0; i < ARRAY_SIZE(rest); i++) {
		rest[i] = page_alloc(&tag, PAGE_ORDER_MAX);
		assert_non_null(rest[i]);
	}
	words_create(IQN " vda --noauth");
	for (i = 0; i < 3; i++)
		p[i] = another(i);
	for (i = 0; i < 2; i++)
		for (k = 0; k < 60; k++) {
			cdb_rw(cdb, true, 0, 128);
			peer_cmd(p[i], bhs, FLAG_FINAL | CMD_WRITE, 65536, cdb);
			peer_send(p[i], bhs, NULL, 0);
		}
	host_run();
	cdb_rw(cdb, false, 0, 2048);
	peer_cmd(p[2], bhs, FLAG_FINAL | CMD_READ, 1 << 20, cdb);
	peer_send(p[2], bhs, NULL, 0);
	assert_false(peer_recv(p[2]));
	put32(nop + BHS_TTT, TAG_NONE);
	for (s = 0; s < 40; s++) {
		for (i = 0; i < 3; i++) {
			put32(nop + BHS_ITT, 100000 + s);
			put32(nop + BHS_CMDSN, p[i]->cmdsn);
			peer_send(p[i], nop, NULL, 0);
			if (i < 2)
				while (peer_recv(p[i]))
					;
		}
		host_advance(NS_PER_S);
	}
	for (k = 0; peer_recv(p[2]);)
		k += peer_op(p[2]) == OP_DATA_IN ? p[2]->len : 0;
	assert_int_equal(k, 1 << 20);
	for (i = 0; i < 3; i++)
		peer_free(p[i]);
	for (i = 0; i < ARRAY_SIZE(rest); i++)
		page_free(&tag, rest[i], PAGE_ORDER_MAX);
}

/* What the disk did not make stable is not said to be; and where it could not read is said. */
static void test_disk_errors(void **state)
{
	struct limits l;
	struct ramdisk *cached;
	uint8_t sync[16] = { 0x35 }, bhs[BHS_LEN], cdb[16];
	struct peer *p;

	limits_default(&l);
	l.write_cache = true;
	cached = ramdisk_create("vdb", 8192, &l);
	words_create(IQN " vdb --noauth");
	p = peer_session("");
	assert_int_equal(peer_write(p, 0, 8, out), 0);
	ramdisk_fail_range(cached, 1 << BIO_FLUSH, 0, 8192, -EIO);
	assert_int_equal(peer_status(p, sync), 2);
	assert_int_equal(peer_write(p, 8, 8, out), 0); /* this one promises nothing */
	cdb_rw(cdb, true, 16, 8);
	cdb[1] |= 8; /* FUA */
	peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, 4096, cdb);
	peer_send(p, bhs, out, 4096);
	assert_true(peer_recv(p));
	assert_int_equal(peer_op(p), OP_SCSI_RSP);
	assert_int_equal(p->bhs[3], 2);
	ramdisk_fail_range(cached, 0, 0, 0, 0);
	assert_int_equal(peer_status(p, sync), 0);
	ramdisk_fail_range(cached, 1 << BIO_READ, 20, 1, -ENODATA);
	assert_int_equal(peer_read(p, 16, 8, in), 2);
	assert_int_equal(peer_sense(p) >> 16, 3); /* MEDIUM ERROR */
	peer_free(p);
	assert_int_equal(words_remove(IQN, true), 0);
	ramdisk_destroy(cached);
}

/* ---- who gets in ---- */

#define SECRET "verysecretword"
#define MUTUAL "theotherone-12"

/* The answer to a challenge, in text. */
static void chap_r(char *to, bool md5, uint8_t id, const char *secret, const char *challenge)
{
	uint8_t bytes[64], digest[32];
	unsigned i, n = 0, len = md5 ? 16 : 32;
	struct sha256 s;

	assert_true(!strncmp(challenge, "0x", 2));
	for (challenge += 2; challenge[2 * n]; n++) {
		char two[3] = { challenge[2 * n], challenge[2 * n + 1], 0 };

		assert_true(n < sizeof(bytes));
		bytes[n] = (uint8_t)strtoul(two, NULL, 16);
	}
	if (md5) {
		md5_of((const void *[]){ &id, secret, bytes },
			(const size_t[]){ 1, strlen(secret), n }, 3, digest);
	} else {
		sha256_init(&s);
		sha256_update(&s, &id, 1);
		sha256_update(&s, secret, strlen(secret));
		sha256_update(&s, bytes, n);
		sha256_final(&s, digest);
	}
	for (i = 0; i < len; i++)
		str_printf(to + 2 * i, 3, "%02x", digest[i]);
}

/* To the point where our answer is due; the challenge is in the peer. */
static struct peer *challenged(bool md5)
{
	struct peer *p = peer_new();

	assert_int_equal(peer_login(p, 0, -1,
				 "InitiatorName=" USER ";TargetName=" IQN
				 ";SessionType=Normal;AuthMethod=None,CHAP;"),
		0);
	assert_string_equal(peer_value(p, "AuthMethod"), "CHAP");
	assert_int_equal(peer_login(p, 0, -1, md5 ? "CHAP_A=5;" : "CHAP_A=7,5;"), 0);
	assert_string_equal(peer_value(p, "CHAP_A"), md5 ? "5" : "7");
	return p;
}

/* Its status; more: keys that go with the answer. */
static unsigned answer_with(
	struct peer *p, bool md5, const char *name, const char *secret, const char *more)
{
	char text[512], r[80];

	chap_r(r, md5, (uint8_t)strtoul(peer_value(p, "CHAP_I"), NULL, 0), secret,
		peer_value(p, "CHAP_C"));
	str_printf(text, sizeof(text), "CHAP_N=%s;CHAP_R=0x%s;%s", name, r, more);
	return peer_login(p, 0, 1, text);
}

static void test_chap(void **state)
{
	static const char *const wrong[][2] = { { "bob", "verysecretworD" }, { "bo", SECRET },
		{ "bobby", SECRET }, { "bob", "" }, { "", SECRET } };
	uint8_t cdb[16] = { 0 };
	struct peer *p;

	words_create(IQN " vda --chap bob:" SECRET);
	for (unsigned md5 = 0; md5 < 2; md5++) {
		p = challenged(md5);
		assert_int_equal(answer_with(p, md5, "bob", SECRET, ""), 0);
		assert_int_equal(peer_login(p, 1, 3, ""), 0);
		peer_status(p, cdb);
		assert_int_equal(peer_read(p, 0, 8, in), 0);
		peer_free(p);
		for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
			p = challenged(md5);
			assert_int_equal(answer_with(p, md5, wrong[i][0], wrong[i][1], "") >> 8, 2);
			assert_true(peer_closed(p));
			peer_free(p);
		}
		/* An answer that was right for another challenge. */
		p = challenged(md5);
		assert_int_equal(peer_login(p, 0, 1, "CHAP_N=bob;CHAP_R=0x00;") >> 8, 2);
		peer_free(p);
	}
	/* Nobody comes in round it. */
	for (unsigned i = 0; i < 4; i++) {
		static const char *const keys[] = { "", "AuthMethod=None;", "AuthMethod=SRP;",
			"AuthMethod=CHAP;" };
		char text[256];

		str_printf(text, sizeof(text), "InitiatorName=" USER ";TargetName=" IQN ";%s",
			keys[i]);
		for (unsigned step = 0; step < 4; step++) {
			unsigned status;

			p = peer_new();
			status = peer_login(p, step & 1, step < 2 ? 3 : 1, text);
			if (!status && step >= 2)
				status = peer_login(p, 1, 3, "");
			assert_true(status || !(p->bhs[BHS_FLAGS] & LOGIN_TRANSIT) ||
				    (p->bhs[BHS_FLAGS] & 3) != 3);
			peer_free(p);
		}
	}
}

static void test_mutual_chap(void **state)
{
	char r[80], text[256], reflected[200];
	struct peer *p;

	words_create(IQN " vda --chap bob:" SECRET " --mutual-chap cairn:" MUTUAL);
	for (unsigned md5 = 0; md5 < 2; md5++) {
		p = challenged(md5);
		assert_int_equal(answer_with(p, md5, "bob", SECRET,
					 "CHAP_I=77;CHAP_C=0x000102030405060708090a0b0c0d0e0f;"),
			0);
		chap_r(r, md5, 77, MUTUAL, "0x000102030405060708090a0b0c0d0e0f");
		str_printf(text, sizeof(text), "0x%s", r);
		assert_string_equal(peer_value(p, "CHAP_N"), "cairn");
		assert_string_equal(peer_value(p, "CHAP_R"), text);
		peer_free(p);
		/* Its own challenge sent back to it: it would answer for us. */
		p = challenged(md5);
		str_printf(reflected, sizeof(reflected), "CHAP_I=77;CHAP_C=%s;",
			peer_value(p, "CHAP_C"));
		assert_int_equal(answer_with(p, md5, "bob", SECRET, reflected) >> 8, 2);
		peer_free(p);
	}
}

/* ---- anything at all ---- */

/* Valid PDUs with changed bytes, and bytes from nowhere; what comes next is served. */
static void test_random(void **state)
{
	static const uint8_t ops[] = { OP_NOP_OUT, OP_SCSI_CMD, OP_TMF, OP_LOGIN, OP_TEXT,
		OP_DATA_OUT, OP_LOGOUT, OP_SNACK, 0x1c, OP_R2T };
	unsigned seed, n = getenv("CAIRN_SOAK") ? 30000 : 1500;

	words_create(IQN " vda --noauth");
	words_create(IQN "2 vda,ro --chap bob:" SECRET);
	for (seed = 1; seed <= n; seed++) {
		uint8_t bhs[BHS_LEN], data[600], cdb[16] = { 0 };
		struct peer *p;
		struct rng rng;

		rng_seed(&rng, seed);
		p = seed % 3 ? peer_session("ImmediateData=Yes;") : peer_new();
		assert_non_null(p);
		for (unsigned k = rng_below(&rng, 12) + 1; k && !peer_closed(p); k--) {
			unsigned len = (unsigned)rng_below(&rng, 4) ? 0 : rng_below(&rng, 600);

			memset(bhs, 0, sizeof(bhs));
			cdb_rw(cdb, rng_below(&rng, 2), rng_below(&rng, 9000),
				(unsigned)rng_below(&rng, 40));
			peer_cmd(p, bhs, 0x80 | (rng_below(&rng, 4) << 5),
				(uint32_t)rng_below(&rng, 40000), cdb);
			bhs[0] = ops[rng_below(&rng, sizeof(ops))] |
				 (rng_below(&rng, 2) ? OP_IMMEDIATE : 0);
			for (unsigned i = (unsigned)rng_below(&rng, 6); i; i--)
				bhs[rng_below(&rng, BHS_LEN)] = (uint8_t)rng_below(&rng, 256);
			for (unsigned i = 0; i < len; i++)
				data[i] = (uint8_t)rng_below(&rng, 256);
			bhs[BHS_AHS_LEN] = 0;
			if (rng_below(&rng, 8))
				peer_send(p, bhs, data, len);
			else
				fake_write(p->net, data, len); /* out of step from here */
			if (rng_below(&rng, 3))
				host_run();
			if (!rng_below(&rng, 4))
				peer_recv(p);
		}
		peer_free(p);
		if (seed % 50)
			continue;
		p = peer_session("");
		peer_status(p, cdb);
		assert_int_equal(peer_read(p, 0, 8, in), 0);
		peer_free(p);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_refused),
		T(test_create),
		T(test_no_memory),
		T(test_discovery),
		T(test_many_targets),
		T(test_read_write),
		T(test_immediate),
		T(test_digests),
		T(test_residuals),
		T(test_window),
		T(test_slow_reader),
		T(test_silence),
		T(test_abort),
		T(test_reset_in_data),
		T(test_reset_drops),
		T(test_digest_late),
		T(test_gone_with_work),
		T(test_logout),
		T(test_suspended),
		T(test_task_set_full),
		T(test_large_among_small),
		T(test_pinging_holders),
		T(test_disk_errors),
		T(test_chap),
		T(test_mutual_chap),
		T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

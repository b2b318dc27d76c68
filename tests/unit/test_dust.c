/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_dust - blocks go bad by message, fail while that is switched on, and are good again once
 * written, on any core; every message, its answer and its refusals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/api/random.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *rd;
static uint8_t buf[64 * 512] __aligned(PAGE_SIZE);
static char said[4096];

static int setup(void **state)
{
	int err = mapped_setup(state);

	host_set_cores(3);
	rd = ramdisk_create("vda", 8192, NULL);
	return err;
}

static int teardown(void **state)
{
	host_set_core(0);
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	return mapped_teardown(state);
}

static struct {
	const char *words;
	int err;
} asked;

static void ask(void *arg __unused)
{
	char line[128], *argv[6], *at = line;
	struct strbuf out = { 0 }, why = { 0 };
	unsigned argc = 0;

	str_copy(line, sizeof(line), asked.words);
	while (*at) {
		argv[argc++] = at;
		while (*at && *at != ' ')
			at++;
		if (*at)
			*at++ = 0;
	}
	asked.err = dm_message(dm_find("d"), 0, argc, argv, &out, &why);
	str_copy(said, sizeof(said), strbuf_text(asked.err ? &why : &out));
	strbuf_free(&out);
	strbuf_free(&why);
}

/* What was answered, or why not. */
static int say(const char *words)
{
	asked.words = words;
	host_fiber(ask, NULL);
	return asked.err;
}

static int rw(enum bio_op op, sector_t sector, uint32_t nr)
{
	return mapped_rw(mapped_bdev("d"), op, 0, sector, nr, buf);
}

static void test_life(void **state)
{
	assert_int_equal(mapped_create("d", "0 4096 dust /dev/vda 0 512"), 0);
	assert_non_null(strstr(mapped_status("d"), " bypass verbose\n"));
	assert_int_equal(say("addbadblock 60"), 0);
	assert_int_equal(say("addbadblock 67"), 0);
	assert_int_equal(rw(BIO_READ, 56, 16), 0);
	assert_int_equal(rw(BIO_WRITE, 56, 16), 0); /* nor does it make anything good */
	assert_int_equal(say("enable"), 0);
	assert_non_null(strstr(mapped_status("d"), " fail_read_on_bad_block verbose\n"));
	for (unsigned s = 50; s < 70; s++)
		assert_int_equal(rw(BIO_READ, s, 1), s == 60 || s == 67 ? -EIO : 0);
	assert_int_equal(rw(BIO_READ, 56, 16), -EIO);
	assert_int_equal(rw(BIO_FLUSH, 0, 0), 0);
	assert_int_equal(rw(BIO_WRITE, 60, 1), 0);
	assert_int_equal(rw(BIO_READ, 60, 1), 0);
	assert_int_equal(rw(BIO_READ, 67, 1), -EIO);
	assert_int_equal(say("disable"), 0);
	assert_int_equal(rw(BIO_READ, 67, 1), 0);
	assert_int_equal(say("enable"), 0);
	assert_int_equal(say("removebadblock 67"), 0);
	assert_int_equal(rw(BIO_READ, 56, 16), 0);
	/* so many writes fail first */
	assert_int_equal(say("addbadblock 9 3"), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rw(BIO_WRITE, 9, 1), -EIO);
		assert_int_equal(rw(BIO_READ, 9, 1), -EIO);
	}
	assert_int_equal(rw(BIO_WRITE, 9, 1), 0);
	assert_int_equal(rw(BIO_READ, 9, 1), 0);
}

/* Blocks of 8 sectors, counted on the device, of which the target begins at sector 16. */
static void test_blocks(void **state)
{
	assert_int_equal(mapped_create("d", "0 4096 dust /dev/vda 16 4096"), 0);
	assert_int_equal(say("addbadblock 3"), 0);
	assert_int_equal(say("enable"), 0);
	for (unsigned s = 0; s < 32; s++)
		assert_int_equal(rw(BIO_READ, s, 1), s / 8 == 1 ? -EIO : 0);
	assert_int_equal(rw(BIO_WRITE, 15, 1), 0);
	assert_int_equal(rw(BIO_READ, 8, 8), 0);
}

static const struct {
	const char *words;
	int err;
	const char *answer;
} talk[] = {
	{ "listbadblocks", 0, "No blocks in badblocklist" },
	{ "countbadblocks", 0, "countbadblocks: 0 badblock(s) found" },
	{ "clearbadblocks", 0, "dust_clear_badblocks: no badblocks found" },
	{ "AddBadBlock 7", 0, "" },
	{ "addbadblock 7", -EINVAL, "dust: dust_add_block: block 7 already in badblocklist" },
	{ "addbadblock 5 255", 0, "" },
	{ "addbadblock 1000", 0, "" },
	{ "listbadblocks", 0, "5\n7\n1000\n" },
	{ "queryblock 7", 0, "dust_query_block: block 7 found in badblocklist" },
	{ "queryblock 8", 0, "dust_query_block: block 8 not found in badblocklist" },
	{ "removebadblock 8", -EINVAL,
		"dust: dust_remove_block: block 8 not found in badblocklist" },
	{ "removebadblock 5", 0, "" },
	{ "countbadblocks", 0, "countbadblocks: 2 badblock(s) found" },
	{ "addbadblock", -EINVAL, "dust: addbadblock requires an additional argument" },
	{ "addbadblock 8193", -EINVAL, "dust: selected block value out of range" },
	{ "addbadblock x", -EINVAL, "" },
	{ "addbadblock 9 256", -EINVAL, "dust: selected write fail count out of range" },
	{ "addbadblock 9 1 1", -EINVAL, "dust: invalid number of arguments '4'" },
	{ "queryblock 9 1", -EINVAL, "dust: unrecognized message 'queryblock' received" },
	{ "polish", -EINVAL, "dust: unrecognized message 'polish' received" },
	{ "polish 9", -EINVAL, "dust: unrecognized message 'polish' received" },
	{ "quiet", 0, "" },
	{ "addbadblock 7", -EINVAL, "" },
	{ "quiet", 0, "" },
	{ "clearbadblocks", 0, "dust_clear_badblocks: badblocks cleared" },
	{ "countbadblocks", 0, "countbadblocks: 0 badblock(s) found" },
	{ "addbadblock 1", 0, "" },
};

static void test_messages(void **state)
{
	char want[64];

	assert_int_equal(mapped_create("d", "0 4096 dust /dev/vda 0 512"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(talk); i++) {
		int err = say(talk[i].words);

		if (err != talk[i].err || strcmp(said, talk[i].answer))
			fail_msg("%s: %d %s", talk[i].words, err, said);
	}
	str_printf(want, sizeof(want), "0 4096 dust %u:%u 0 512\n", rd->bdev.major, rd->bdev.minor);
	assert_string_equal(mapped_table("d"), want);
}

static void test_refused(void **state)
{
	static const char *const tables[][2] = { { "/dev/vda 0", "Invalid argument count" },
		{ "/dev/vda 0 512 1", "Invalid argument count" },
		{ "/dev/vda 0 x", "Invalid block size parameter" },
		{ "/dev/vda 0 0", "Invalid block size parameter" },
		{ "/dev/vda 0 256", "Block size must be at least 512" },
		{ "/dev/vda 0 1536", "Block size must be a power of 2" },
		{ "/dev/vda 0 4194304", "Block size is too large" },
		{ "/dev/vda x 512", "Invalid device offset sector" },
		{ "/dev/vdz 0 512", "Device lookup failed" } };
	char table[80];

	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		str_printf(table, sizeof(table), "0 4096 dust %s", tables[i][0]);
		assert_true(mapped_create("d", table) != 0);
		if (!strstr(mapped_why(), tables[i][1]))
			fail_msg("%s: %s", tables[i][0], mapped_why());
	}
}

/* ---- from every core at once ---- */

static struct req {
	struct bio bio;
	struct seg seg;
	struct work work;
	bool done;
} reqs[300];

static void ended(struct bio *bio)
{
	container_of(bio, struct req, bio)->done = true;
}

static void begin(struct work *w)
{
	bio_submit(&container_of(w, struct req, work)->bio);
}

static void test_cores(void **state)
{
	bool bad[256] = { false };
	unsigned i;
	struct rng rng;
	char words[32];

	rng_seed(&rng, 5);
	memset(reqs, 0, sizeof(reqs));
	assert_int_equal(mapped_create("d", "0 4096 dust /dev/vda 0 512"), 0);
	assert_int_equal(say("enable"), 0);
	for (i = 0; i < 256; i += 1 + (unsigned)rng_below(&rng, 3)) {
		bad[i] = true;
		str_printf(words, sizeof(words), "addbadblock %u", i);
		assert_int_equal(say(words), 0);
	}
	for (i = 0; i < 256; i++) {
		struct req *r = &reqs[i];

		r->seg = (struct seg){ dma_addr(buf), 512 };
		r->bio = (struct bio){ .dev = mapped_bdev("d"),
			.op = i % 5 ? BIO_READ : BIO_WRITE,
			.sector = i,
			.nr_sectors = 1,
			.segs = &r->seg,
			.nr_segs = 1,
			.done = ended };
		r->work.fn = begin;
		work_send(i % 3, &r->work);
	}
	host_run();
	for (i = 0; i < 256; i++) {
		assert_true(reqs[i].done);
		assert_int_equal(reqs[i].bio.status, bad[i] && i % 5 ? -EIO : 0);
		assert_int_equal(rw(BIO_READ, i, 1), bad[i] && i % 5 ? -EIO : 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_life),
		T(test_blocks),
		T(test_messages),
		T(test_refused),
		T(test_cores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

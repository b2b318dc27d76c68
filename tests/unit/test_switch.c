/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_switch - which path a region has, at first and after messages of every form, against a plain
 * array; messages that are refused change nothing; what it prints and refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

#define DISKS   7
#define REGIONS 500u

static struct ramdisk *rd[DISKS];
static uint8_t buf[64 * 512] __aligned(PAGE_SIZE);
static unsigned want[REGIONS];

static int setup(void **state)
{
	int err = mapped_setup(state);
	struct limits l;

	limits_default(&l);
	l.write_cache = true;
	l.max_discard_sectors = UINT32_MAX;
	l.discard_granularity = 512;
	for (unsigned i = 0; i < DISKS; i++) {
		char name[8];

		str_printf(name, sizeof(name), "ram%u", i);
		rd[i] = ramdisk_create(name, 4096, &l);
		/* Each sector says which disk it is on, and which it is there. */
		for (unsigned s = 0; s < 4096; s++) {
			rd[i]->data[s * 512] = (uint8_t)i;
			memcpy(rd[i]->data + s * 512 + 1, &s, sizeof(s));
		}
	}
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	for (unsigned i = 0; i < DISKS; i++)
		ramdisk_destroy(rd[i]);
	return mapped_teardown(state);
}

static struct {
	char *words[400];
	unsigned nr;
	int err;
} msg;

static void message_run(void *arg)
{
	struct strbuf out = { 0 }, why = { 0 };

	msg.err = dm_message(dm_find("m"), 0, msg.nr, msg.words, &out, &why);
	strbuf_free(&out);
	strbuf_free(&why);
}

/* The words of text, cut at spaces. */
static int message(const char *text)
{
	char *copy = strdup(text), *rest = copy;

	msg.nr = 0;
	while ((msg.words[msg.nr] = strsep(&rest, " ")) != NULL)
		msg.nr++;
	host_fiber(message_run, NULL);
	free(copy);
	return msg.err;
}

static void make(unsigned paths, unsigned region)
{
	struct strbuf table = { 0 };

	strbuf_printf(&table, "0 %u switch %u %u 0", REGIONS * region - region / 2, paths, region);
	for (unsigned i = 0; i < paths; i++)
		strbuf_printf(&table, " ram%u %u", i % DISKS, i);
	assert_int_equal(mapped_create("m", strbuf_text(&table)), 0);
	strbuf_free(&table);
	for (unsigned r = 0; r < REGIONS; r++)
		want[r] = r % paths;
}

static void check(unsigned region)
{
	struct bdev *dev = mapped_bdev("m");

	for (unsigned r = 0; r < REGIONS; r++) {
		unsigned at = r * region, sector;

		assert_int_equal(mapped_rw(dev, BIO_READ, 0, at, 1, buf), 0);
		assert_int_equal(buf[0], want[r] % DISKS);
		memcpy(&sector, buf + 1, sizeof(sector));
		assert_int_equal(sector, at + want[r]);
	}
}

static void test_first(void **state)
{
	static const unsigned paths[] = { 1, 2, 3, 4, 5, 7, 8, 9, 33, 200 };

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		make(paths[i], 1 + i % 7);
		check(1 + i % 7);
		assert_int_equal(mapped_remove("m"), 0);
	}
}

static void test_messages(void **state)
{
	make(5, 6);
	assert_int_equal(message("set_region_mappings 0:1 1:0 :4 :1 1F:3 :0 a0:2"), 0);
	want[0] = 1, want[1] = 0, want[2] = 4, want[3] = 1, want[31] = 3, want[32] = 0;
	want[160] = 2;
	check(6);
	/* The first ":p" of a message is region 1, and R looks back from the last. */
	assert_int_equal(message("SET_region_MAPPINGS :2"), 0);
	want[1] = 2;
	assert_int_equal(message("set_region_mappings 10:1 :2 :3 R3,7 r1,2 :4"), 0);
	want[16] = 1, want[17] = 2, want[18] = 3;
	for (unsigned r = 19; r < 26; r++)
		want[r] = want[r - 3];
	want[26] = want[27] = want[25];
	want[28] = 4;
	check(6);
	/* The repetition reads what this very message wrote, to the last region. */
	assert_int_equal(message("set_region_mappings 0:4 R1,1f3"), 0);
	for (unsigned r = 0; r < REGIONS; r++)
		want[r] = 4;
	check(6);
	assert_int_equal(message("set_region_mappings 5:0 R1,0"), 0);
	want[5] = 0;
	assert_int_equal(message("set_region_mappings"), 0);
	check(6);
}

static void test_bad_messages(void **state)
{
	static const struct {
		const char *text, *log;
	} no[] = {
		{ "set_region_mappings 0:1 x", "set_region_mappings argument: 'x'" },
		{ "set_region_mappings 0:1 5", "set_region_mappings argument: '5'" },
		{ "set_region_mappings 0:1 5:", "set_region_mappings argument: '5:'" },
		{ "set_region_mappings 0:1 5:1x", "set_region_mappings argument: '5:1x'" },
		{ "set_region_mappings 0:1 :", "set_region_mappings argument: ':'" },
		{ "set_region_mappings 0:1 R", "set_region_mappings argument: 'R'" },
		{ "set_region_mappings 0:1 R1", "set_region_mappings argument: 'R1'" },
		{ "set_region_mappings 0:1 R1,", "set_region_mappings argument: 'R1,'" },
		{ "set_region_mappings 0:1 R,1", "set_region_mappings argument: 'R,1'" },
		{ "set_region_mappings 0:1 R1,1,", "set_region_mappings argument: 'R1,1,'" },
		{ "set_region_mappings 0:1 ", "set_region_mappings argument: ''" },
		{ "set_region_mappings 0:1 R2,1", "set_region_mappings cycle length: 1 > 0" },
		{ "set_region_mappings 0:1 R0,1",
			"set_region_mappings cycle length: 18446744073709551615 > 0" },
		{ "set_region_mappings 0:1 R1,1f4",
			"set_region_mappings region number: 0 + 500 >= 500" },
		{ "set_region_mappings 2:1 R1,ffffffffffffffff",
			"set_region_mappings region number: 2 + 18446744073709551615 >= 500" },
		{ "set_region_mappings 0:1 1f4:1",
			"set_region_mappings region number: 500 >= 500" },
		{ "set_region_mappings 0:1 1f3:1 :1",
			"set_region_mappings region number: 500 >= 500" },
		{ "set_region_mappings 0:1 1:5", "set_region_mappings device: 5 >= 5" },
		{ "set_region_mapping 0:1", "device-mapper: switch: Unrecognised message" },
	};

	make(5, 6);
	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		host_log_clear();
		assert_int_equal(message(no[i].text), -EINVAL);
		assert_true(host_log_has(no[i].log));
	}
	check(6);
}

static void test_others(void **state)
{
	struct bdev *dev;

	make(3, 8);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_WRITE, 0, 0, 24, buf), 0);
	assert_int_equal(rd[0]->nr[BIO_WRITE], 1);
	assert_int_equal(rd[2]->nr[BIO_WRITE], 1);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(rd[i]->nr[BIO_FLUSH], 1);
		assert_int_equal(ramdisk_nr_dirty(rd[i]), 0);
	}
	/* Down the path of its first sector. */
	assert_int_equal(mapped_rw(dev, BIO_DISCARD, 0, 9, 30, NULL), 0);
	assert_int_equal(rd[1]->nr[BIO_DISCARD], 1);
	assert_int_equal(rd[1]->sectors[BIO_DISCARD], 30);
	assert_int_equal(mapped_remove("m"), 0);

	/* One that shares its table with others. */
	assert_int_equal(mapped_create("m", "0 5 zero\n5 16 switch 2 8 0 ram0 0 ram1 0"), 0);
	dev = mapped_bdev("m");
	assert_int_equal(mapped_rw(dev, BIO_READ, 0, 12, 2, buf), 0);
	assert_int_equal(buf[0], 0);
	assert_int_equal(buf[512], 1);
	assert_int_equal(mapped_rw(dev, BIO_FLUSH, 0, 0, 0, NULL), 0);
}

static void test_words(void **state)
{
	static const struct {
		const char *table, *words;
		int err;
	} no[] = {
		{ "0 8 switch", "switch: Invalid number of paths", -EINVAL },
		{ "0 8 switch 0 8 0", "switch: Invalid number of paths", -EINVAL },
		{ "0 8 switch 99999999 8 0", "switch: Invalid number of paths", -EINVAL },
		{ "0 8 switch 1", "switch: Invalid region size", -EINVAL },
		{ "0 8 switch 1 0 0 ram0 0", "switch: Invalid region size", -EINVAL },
		{ "0 8 switch 1 8", "switch: Invalid number of optional args", -EINVAL },
		{ "0 8 switch 1 8 1 x ram0 0", "switch: Invalid number of optional args", -EINVAL },
		{ "0 8 switch 1 8 0", "switch: Incorrect number of path arguments", -EINVAL },
		{ "0 8 switch 1 8 0 ram0", "switch: Incorrect number of path arguments", -EINVAL },
		{ "0 8 switch 1 8 0 ram0 0 ram1 0", "switch: Incorrect number of path arguments",
			-EINVAL },
		{ "0 8 switch 2 8 0 ram0 0 nobody 0", "switch: Device lookup failed", -ENODEV },
		{ "0 8 switch 1 8 0 ram0 x", "switch: Invalid device starting offset", -EINVAL },
		{ "0 8 switch 1 8 0 ram0 4089",
			"ram0 too small for target: start=4089, len=8, dev_size=4096", -EINVAL },
	};
	char line[64];

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		assert_int_equal(mapped_create("m", no[i].table), no[i].err);
		assert_non_null(strstr(mapped_why(), no[i].words));
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
	assert_int_equal(mapped_create("m", "0 20 switch 2 8 0 ram0 3 ram1 4"), 0);
	str_printf(line, sizeof(line), "0 20 switch 2 8 0 1:%u 3 1:%u 4\n", rd[0]->bdev.minor,
		rd[1]->bdev.minor);
	assert_string_equal(mapped_table("m"), line);
	assert_string_equal(mapped_status("m"), "0 20 switch \n");
	assert_int_equal(mapped_remove("m"), 0);
	for (unsigned n = 1;; n++) {
		int err;

		mapped_fail_alloc(n);
		err = mapped_create("m", "0 20 switch 2 8 0 ram0 3 ram1 4");
		if (!host_alloc_failed())
			break;
		assert_true(err == -ENOMEM || !err);
		if (!err)
			assert_int_equal(mapped_remove("m"), 0);
		assert_null(dm_find("m"));
		assert_int_equal(rd[0]->bdev.open_count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_first),
		T(test_messages),
		T(test_bad_messages),
		T(test_others),
		T(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

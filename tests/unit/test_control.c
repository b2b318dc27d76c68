/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_control - the verbs: names, uuids, numbers and how devices are found by them; the two
 * tables; what is refused and changes nothing; who holds whom; removal by force; events; verbs that
 * meet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "mapper/mdev.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/ramdisk.h"

static struct ramdisk *rd;
static uint8_t page[PAGE_SIZE] __aligned(PAGE_SIZE);

static int setup(void **state)
{
	int err = mapped_setup(state);

	rd = ramdisk_create("ram0", 1000, NULL);
	return err;
}

static int teardown(void **state)
{
	mapped_remove_all(true);
	ramdisk_destroy(rd);
	return mapped_teardown(state);
}

/* ---- names ---- */

static struct {
	const char *name, *uuid;
	int minor, err;
	struct strbuf why;
} new;

static void create_run(void *arg)
{
	struct mdev *md;

	strbuf_reset(&new.why);
	new.err = dm_create(new.name, new.uuid, new.minor, &md, &new.why);
	if (!new.err)
		assert_ptr_equal(md, dm_find(new.name));
}

static int create(const char *name, const char *uuid, int minor)
{
	new.name = name;
	new.uuid = uuid;
	new.minor = minor;
	host_fiber(create_run, NULL);
	return new.err;
}

static void test_create(void **state)
{
	char name[DM_NAME_MAX + 2], uuid[DM_UUID_MAX + 2];
	struct dm_info info;

	assert_int_equal(create("a", "U-1", -1), 0);
	info = mapped_info("a");
	assert_string_equal(info.name, "a");
	assert_string_equal(info.uuid, "U-1");
	assert_int_equal(info.major, 253);
	assert_int_equal(info.minor, 0);
	assert_false(info.suspended || info.live_table || info.inactive_table || info.read_only);
	assert_int_equal(info.open_count + info.nr_targets + info.event_nr, 0);
	assert_string_equal(info.bdev->name, "dm-0");
	assert_string_equal(mapped_table("a"), "");

	assert_int_equal(create("a", NULL, -1), -EBUSY);
	assert_string_equal(strbuf_text(&new.why), "name \"a\" is taken");
	assert_int_equal(create("b", "U-1", -1), -EBUSY);
	assert_string_equal(strbuf_text(&new.why), "uuid \"U-1\" is taken");
	assert_int_equal(create("b", "", 0), -EBUSY);
	assert_string_equal(strbuf_text(&new.why), "minor number 0 is taken");
	assert_int_equal(create("b", "", 1 << 20), -EINVAL);
	assert_int_equal(create("b", "", -2), -EINVAL);
	assert_int_equal(create("", NULL, -1), -EINVAL);
	assert_int_equal(create("x/y", NULL, -1), -EINVAL);
	assert_string_equal(strbuf_text(&new.why), "Name \"x/y\" invalid. It contains \"/\".");
	assert_int_equal(create(".", NULL, -1), -EINVAL);
	assert_int_equal(create("..", NULL, -1), -EINVAL);
	assert_int_equal(create("control", NULL, -1), -EINVAL);
	assert_int_equal(create("a\nb", NULL, -1), -EINVAL);
	assert_int_equal(create("b", "\x1b[2J", -1), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[DM_NAME_MAX + 1] = '\0';
	assert_int_equal(create(name, NULL, -1), -EINVAL);
	memset(uuid, 'u', sizeof(uuid));
	uuid[DM_UUID_MAX + 1] = '\0';
	assert_int_equal(create("b", uuid, -1), -EINVAL);
	assert_null(dm_find("b"));
	name[DM_NAME_MAX] = uuid[DM_UUID_MAX] = '\0';
	assert_int_equal(create(name, uuid, -1), 0);
	assert_string_equal(mapped_info(name).uuid, uuid);
	assert_ptr_equal(dm_find(uuid), dm_find(name));
	strbuf_free(&new.why);
}

static void test_find(void **state)
{
	struct mdev *md;

	assert_int_equal(create("vol", "CAIRN-7", 5), 0);
	md = dm_find("vol");
	assert_non_null(md);
	assert_ptr_equal(dm_find("CAIRN-7"), md);
	assert_ptr_equal(dm_find("253:5"), md);
	assert_ptr_equal(dm_find("dm-5"), md);
	assert_ptr_equal(dm_find("/dev/dm-5"), md);
	assert_ptr_equal(dm_find("/dev/mapper/vol"), md);
	assert_null(dm_find(""));
	assert_null(dm_find("vo"));
	assert_null(dm_find("253:"));
	assert_null(dm_find("253:4"));
	assert_null(dm_find("253:99999999999999999999"));
	assert_null(dm_find("254:5"));
	assert_null(dm_find("/dev/vol"));
	assert_null(dm_find("/dev/mapper/CAIRN-7"));
	assert_ptr_equal(bdev_find("/dev/mapper/vol"), mapped_bdev("vol"));
	assert_ptr_equal(bdev_find("vol"), mapped_bdev("vol"));
	assert_ptr_equal(bdev_find("/dev/dm-5"), mapped_bdev("vol"));
	assert_ptr_equal(bdev_find("253:5"), mapped_bdev("vol"));
	strbuf_free(&new.why);
}

/* In order of name and of number, whatever order they came in; the lowest number free is given. */
static void test_many(void **state)
{
	unsigned n = 0, last = 0;
	struct mdev *md = NULL;
	char name[16], before[16] = "";
	struct rng rng;

	rng_seed(&rng, 3);
	for (unsigned i = 0; i < 300; i++) {
		str_printf(name, sizeof(name), "d%03u", (i * 77) % 300);
		assert_int_equal(create(name, NULL, -1), 0);
		assert_int_equal(mapped_info(name).minor, i);
	}
	while ((md = dm_next(md))) {
		assert_true(strcmp(before, md->name) < 0);
		str_copy(before, sizeof(before), md->name);
		n++;
	}
	assert_int_equal(n, 300);
	for (n = 0; (md = dm_next_by_minor(md)); n++) {
		assert_true(!n || md->bdev.minor > last);
		last = md->bdev.minor;
	}
	assert_int_equal(n, 300);
	assert_int_equal(mapped_remove("253:250"), 0);
	assert_int_equal(mapped_remove("253:17"), 0);
	assert_int_equal(create("again", NULL, -1), 0);
	assert_int_equal(mapped_info("again").minor, 17);
	assert_int_equal(create("again2", NULL, -1), 0);
	assert_int_equal(mapped_info("again2").minor, 250);
	assert_int_equal(create("again3", NULL, -1), 0);
	assert_int_equal(mapped_info("again3").minor, 300);
	assert_int_equal(mapped_remove_all(false), 0);
	assert_null(dm_next(NULL));
	assert_null(dm_next_by_minor(NULL));
	strbuf_free(&new.why);
}

static void test_rename(void **state)
{
	assert_int_equal(mapped_create("a", "0 8 zero"), 0);
	assert_int_equal(mapped_create("b", "0 8 zero"), 0);
	assert_int_equal(mapped_rename("a", "b"), -EBUSY);
	assert_string_equal(mapped_why(), "Unable to change name on mapped device a to one that "
					  "already exists: b");
	assert_true(host_log_has("device-mapper: ioctl: Unable to change name on mapped device a"));
	assert_int_equal(mapped_rename("a", "x/y"), -EINVAL);
	assert_int_equal(mapped_info("a").event_nr, 0);
	assert_int_equal(mapped_rename("a", "c"), 0);
	assert_null(dm_find("a"));
	assert_int_equal(mapped_info("c").minor, 0);
	assert_int_equal(mapped_info("c").event_nr, 1);
	assert_int_equal(mapped_set_uuid("c", ""), -EINVAL);
	assert_int_equal(mapped_set_uuid("c", "U"), 0);
	assert_int_equal(mapped_info("c").event_nr, 2);
	assert_int_equal(mapped_set_uuid("c", "V"), -EINVAL);
	assert_string_equal(mapped_why(), "Unable to change uuid of mapped device c to V because "
					  "uuid is already set to U");
	assert_int_equal(mapped_set_uuid("b", "U"), -EBUSY);
	assert_string_equal(mapped_info("b").uuid, "");
	assert_ptr_equal(dm_find("U"), dm_find("c"));
	assert_int_equal(mapped_remove("c"), 0);
	assert_null(dm_find("U"));
	assert_int_equal(mapped_set_uuid("b", "U"), 0);
}

/* ---- tables ---- */

static void test_two_tables(void **state)
{
	struct dm_info info;

	assert_int_equal(mapped_create_empty("m"), 0);
	assert_int_equal(mapped_resume("m"), 0); /* as Linux: it is not suspended */
	assert_int_equal(mapped_load("m", "0 8 zero"), 0);
	info = mapped_info("m");
	assert_true(info.inactive_table && !info.live_table);
	assert_string_equal(mapped_table("m"), "");
	assert_string_equal(mapped_inactive("m"), "0 8 zero \n");
	assert_int_equal(mapped_resume("m"), 0);
	info = mapped_info("m");
	assert_true(!info.inactive_table && info.live_table);
	assert_int_equal(info.nr_targets, 1);
	assert_int_equal(mapped_load("m", "0 8 zero\n8 8 zero"), 0);
	assert_int_equal(mapped_info("m").nr_targets, 1);
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0"), 0);
	assert_int_equal(rd->bdev.open_count, 1);
	assert_int_equal(mapped_clear("m"), 0);
	assert_int_equal(mapped_clear("m"), 0);
	assert_int_equal(rd->bdev.open_count, 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_string_equal(mapped_table("m"), "0 8 zero \n");
	assert_int_equal(mapped_suspend("m"), 0);
	assert_true(mapped_info("m").suspended);
	assert_int_equal(mapped_suspend("m"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_false(mapped_info("m").suspended);
	assert_int_equal(mapped_info("m").event_nr, 0); /* none of this is an event */
}

static void test_read_only(void **state)
{
	assert_int_equal(mapped_create_empty("m"), 0);
	assert_int_equal(mapped_load_read_only("m", "0 8 linear ram0 0"), 0);
	assert_false(mapped_info("m").read_only);
	assert_int_equal(mapped_resume("m"), 0);
	assert_true(mapped_info("m").read_only);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 0, 1, page), -EROFS);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_DISCARD, 0, 0, 1, NULL), -EROFS);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_READ, 0, 0, 1, page), 0);
	/* Nobody writes through it. */
	assert_int_equal(mapped_create("up", "0 8 linear /dev/mapper/m 0"), -EACCES);
	assert_int_equal(mapped_load("m", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_resume("m"), 0);
	assert_false(mapped_info("m").read_only);
	assert_int_equal(mapped_rw(mapped_bdev("m"), BIO_WRITE, 0, 0, 1, page), 0);
}

static void test_deps(void **state)
{
	struct ramdisk *r1 = ramdisk_create("ram1", 1000, NULL);

	assert_int_equal(mapped_create("low", "0 8 zero"), 0);
	assert_int_equal(mapped_create("m", "0 8 linear ram0 0\n8 8 linear ram1 0\n"
					    "16 8 linear ram0 8\n24 8 linear /dev/mapper/low 0"),
		0);
	assert_ptr_equal(dm_dep(dm_find("m"), 0), mapped_bdev("low"));
	assert_ptr_equal(dm_dep(dm_find("m"), 1), &r1->bdev);
	assert_ptr_equal(dm_dep(dm_find("m"), 2), &rd->bdev);
	assert_null(dm_dep(dm_find("m"), 3));
	assert_null(dm_dep(dm_find("low"), 0));
	assert_int_equal(rd->bdev.open_count, 1);
	assert_int_equal(mapped_info("low").open_count, 1);
	assert_int_equal(mapped_remove("m"), 0);
	ramdisk_destroy(r1);
}

/* ---- removal ---- */

static void test_remove(void **state)
{
	assert_int_equal(mapped_create("low", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_create("up", "0 8 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_remove("low"), -EBUSY);
	assert_string_equal(mapped_why(), "low is in use");
	assert_false(mapped_info("low").suspended);
	assert_int_equal(mapped_rw(mapped_bdev("up"), BIO_WRITE, 0, 0, 8, page), 0);
	/* An inactive table holds its devices too. */
	assert_int_equal(mapped_load("up", "0 8 zero"), 0);
	assert_int_equal(mapped_resume("up"), 0);
	assert_int_equal(mapped_load("up", "0 8 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_remove("low"), -EBUSY);
	assert_int_equal(mapped_clear("up"), 0);
	assert_int_equal(mapped_remove("low"), 0);
	assert_null(dm_find("low"));
	assert_null(bdev_find("/dev/dm-0"));
	assert_int_equal(rd->bdev.open_count, 0);
	assert_int_equal(mapped_suspend("up"), 0);
	assert_int_equal(mapped_remove("up"), 0);
}

static void test_remove_force(void **state)
{
	assert_int_equal(mapped_create("low", "0 100 linear ram0 0\n100 7 zero"), 0);
	assert_int_equal(mapped_create("up", "0 8 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_remove_force("low"), -EBUSY);
	assert_string_equal(mapped_why(), "low is in use");
	assert_string_equal(mapped_table("low"), "0 107 error \n");
	assert_int_equal(rd->bdev.open_count, 0);
	assert_false(mapped_info("low").suspended);
	assert_int_equal(mapped_rw(mapped_bdev("up"), BIO_READ, 0, 0, 8, page), -EIO);
	/* Suspended, it does not stay so. */
	assert_int_equal(mapped_suspend("low"), 0);
	assert_int_equal(mapped_remove_force("low"), -EBUSY);
	assert_false(mapped_info("low").suspended);
	assert_int_equal(mapped_remove("up"), 0);
	assert_int_equal(mapped_remove_force("low"), 0);
	/* Without a table there is nothing to put an error in the place of. */
	assert_int_equal(mapped_create_empty("e"), 0);
	bdev_open(mapped_bdev("e"));
	assert_int_equal(mapped_remove_force("e"), -EBUSY);
	assert_false(mapped_info("e").live_table);
	bdev_close(mapped_bdev("e"));
}

/* Put off until nobody has it open, also through others that are put off; or taken back. */
static void test_remove_deferred(void **state)
{
	assert_int_equal(mapped_create("low", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_create("mid", "0 8 linear /dev/mapper/low 0"), 0);
	assert_int_equal(mapped_create("up", "0 8 linear /dev/mapper/mid 0"), 0);
	assert_int_equal(mapped_remove_deferred("low"), 0);
	assert_int_equal(mapped_remove_deferred("mid"), 0);
	assert_true(mapped_info("low").deferred_remove);
	assert_int_equal(mapped_rw(mapped_bdev("up"), BIO_READ, 0, 0, 8, page), 0);
	assert_int_equal(mapped_message("low", 0, "@cancel_deferred_remove"), 0);
	assert_false(mapped_info("low").deferred_remove);
	assert_int_equal(mapped_remove_deferred("low"), 0);
	assert_int_equal(mapped_remove("up"), 0);
	host_run();
	assert_null(dm_find("mid"));
	assert_null(dm_find("low"));
	assert_int_equal(rd->bdev.open_count, 0);
	/* nobody has it open: at once */
	assert_int_equal(mapped_create("one", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_remove_deferred("one"), 0);
	assert_null(dm_find("one"));
	/* taken back: it stays */
	assert_int_equal(mapped_create("one", "0 8 linear ram0 0"), 0);
	bdev_open(mapped_bdev("one"));
	assert_int_equal(mapped_remove_deferred("one"), 0);
	assert_int_equal(mapped_message("one", 0, "@CANCEL_deferred_remove"), 0);
	bdev_close(mapped_bdev("one"));
	host_run();
	assert_non_null(dm_find("one"));
	/* opened again before the time has come: later */
	bdev_open(mapped_bdev("one"));
	assert_int_equal(mapped_remove_deferred("one"), 0);
	bdev_close(mapped_bdev("one"));
	bdev_open(mapped_bdev("one"));
	host_run();
	assert_non_null(dm_find("one"));
	bdev_close(mapped_bdev("one"));
	host_run();
	assert_null(dm_find("one"));
}

static void test_remove_all(void **state)
{
	struct bdev *held;

	assert_int_equal(mapped_create("a", "0 8 linear ram0 0"), 0);
	assert_int_equal(mapped_create("b", "0 8 linear /dev/mapper/a 0"), 0);
	assert_int_equal(mapped_create("c", "0 8 linear /dev/mapper/b 0"), 0);
	assert_int_equal(mapped_create("d", "0 8 linear /dev/mapper/b 0"), 0);
	held = mapped_bdev("c");
	bdev_open(held);
	assert_int_equal(mapped_remove_all(false), 3);
	assert_null(dm_find("d"));
	assert_true(host_log_has("device-mapper: ioctl: remove_all left 3 open device(s)"));
	assert_int_equal(mapped_remove_all(true), 1);
	assert_string_equal(mapped_table("c"), "0 8 error \n");
	assert_null(dm_find("a"));
	assert_int_equal(rd->bdev.open_count, 0);
	bdev_close(held);
	assert_int_equal(mapped_remove_all(false), 0);
}

/* ---- messages and events ---- */

static void test_messages(void **state)
{
	assert_int_equal(mapped_create("m", "0 8 zero"), 0);
	assert_int_equal(mapped_message("m", 0, "hello"), -EINVAL);
	assert_string_equal(mapped_why(), "Target type does not support messages");
	assert_int_equal(mapped_message("m", 8, "hello"), -EINVAL);
	assert_string_equal(mapped_why(), "Target message sector outside device.");
	assert_int_equal(mapped_message("m", 0, "@foo"), -EINVAL);
	assert_string_equal(mapped_why(), "Unsupported message sent to DM core: @foo");
	assert_int_equal(mapped_create_empty("e"), 0);
	assert_int_equal(mapped_message("e", 0, "hello"), -ENXIO);
}

static struct waiter {
	struct mdev *md;
	uint32_t nr;
	uint64_t due_ns;
	bool ended;
	int err;
} waiters[2];

static void wait_run(void *arg)
{
	struct waiter *w = arg;

	w->err = dm_wait(w->md, w->nr, w->due_ns);
	w->ended = true;
}

static void test_events(void **state)
{
	assert_int_equal(mapped_create("m", "0 8 zero"), 0);
	for (unsigned i = 0; i < 2; i++) {
		waiters[i] = (struct waiter){ .md = dm_find("m"), .nr = i, .due_ns = UINT64_MAX };
		fiber_create("wait", wait_run, &waiters[i]);
	}
	host_run();
	assert_true(waiters[1].ended && !waiters[1].err); /* it is not 1 already */
	assert_false(waiters[0].ended);
	assert_int_equal(mapped_rename("m", "n"), 0);
	host_run();
	assert_true(waiters[0].ended && !waiters[0].err);
	waiters[0] = (struct waiter){ .md = dm_find("n"), .nr = 1, .due_ns = NS_PER_S };
	waiters[1] = (struct waiter){ .md = dm_find("n"), .nr = 1, .due_ns = UINT64_MAX };
	fiber_create("wait", wait_run, &waiters[0]);
	fiber_create("wait", wait_run, &waiters[1]);
	host_advance(2 * NS_PER_S);
	assert_true(waiters[0].ended);
	assert_int_equal(waiters[0].err, -ETIMEDOUT);
	assert_int_equal(mapped_remove("n"), 0);
	host_run();
	assert_true(waiters[1].ended);
	assert_int_equal(waiters[1].err, -ENXIO);
}

/* ---- verbs that meet ---- */

static struct {
	unsigned nr_ended, nr_removed, nr_gone;
} met;

static void meet_run(void *arg)
{
	struct mdev *md = dm_find("m");
	struct strbuf why = { 0 };
	unsigned what = (unsigned)(uintptr_t)arg;
	int err = -ENXIO;

	if (md) {
		switch (what) {
		case 0:
			err = dm_suspend(md, false, &why);
			break;
		case 1:
			err = dm_resume(md, false, &why);
			break;
		case 2:
			err = dm_load(md, "0 50 linear ram0 0", 18, false, &why);
			break;
		case 3:
			err = dm_remove(md, false, &why);
			met.nr_removed += !err;
			break;
		case 4:
			err = dm_clear(md, &why);
			break;
		}
	}
	assert_true(err == 0 || err == -ENXIO);
	met.nr_gone += err == -ENXIO;
	met.nr_ended++;
	strbuf_free(&why);
}

static void test_at_once(void **state)
{
	ramdisk_delay(rd, NS_PER_MS, NS_PER_MS, 1);
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct rng rng;

		memset(&met, 0, sizeof(met));
		rng_seed(&rng, seed);
		assert_int_equal(mapped_create("m", "0 100 linear ram0 0"), 0);
		for (unsigned i = 0; i < 12; i++) {
			uintptr_t what = rng_below(&rng, i < 6 ? 3 : 5);

			fiber_create("verb", meet_run, (void *)what);
			for (uint64_t k = rng_below(&rng, 3); k; k--)
				host_turn();
		}
		host_advance(NS_PER_S);
		assert_int_equal(met.nr_ended, 12);
		assert_true(met.nr_removed <= 1);
		if (met.nr_removed)
			assert_null(dm_find("m"));
		else
			assert_int_equal(mapped_remove("m"), 0);
		assert_int_equal(rd->bdev.open_count, 0);
		assert_int_equal(host_nr_fibers(), 0);
	}
}

static void test_no_memory(void **state)
{
	unsigned n, failed = 0;

	for (n = 1;; n++) {
		int err;

		mapped_fail_alloc(n);
		err = mapped_create("m", "0 8 linear ram0 0");
		if (!host_alloc_failed())
			break;
		if (!err) {
			assert_int_equal(mapped_remove("m"), 0);
			continue;
		}
		failed++;
		assert_int_equal(err, -ENOMEM);
		assert_null(dm_find("m"));
		assert_null(bdev_find("dm-0"));
		assert_int_equal(rd->bdev.open_count, 0);
	}
	assert_true(failed >= 8);
	assert_string_equal(mapped_info("m").bdev->name, "dm-0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_create),
		T(test_find),
		T(test_many),
		T(test_rename),
		T(test_two_tables),
		T(test_read_only),
		T(test_deps),
		T(test_remove),
		T(test_remove_force),
		T(test_remove_deferred),
		T(test_remove_all),
		T(test_messages),
		T(test_events),
		T(test_at_once),
		T(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

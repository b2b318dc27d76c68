/* SPDX-License-Identifier: BSD-2-Clause */
/* test_logring - the store behind dmesg: order, loss of the oldest, cutting, harmless bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/lib/logring.h"
#include "tests/host/host.h"

static struct log_slot slots[8];
static struct logring ring;

static int setup(void **state)
{
	host_reset();
	memset(slots, 0xee, sizeof(slots));
	ring = (struct logring){ slots, ARRAY_SIZE(slots), 0 };
	return 0;
}

static void put(const char *text)
{
	logring_write(&ring, LOG_INFO, 1000 + ring.next_seq, text, strlen(text));
}

static void test_order(void **state)
{
	struct log_line line;
	uint64_t seq = 0;

	assert_false(logring_read(&ring, &seq, &line));
	assert_int_equal(seq, 0);
	logring_write(&ring, LOG_ERR, 5, "one", 3);
	logring_write(&ring, LOG_DEBUG, 6, "two, of which this is cut", 3);
	assert_true(logring_read(&ring, &seq, &line));
	assert_int_equal(line.seq, 0);
	assert_int_equal(line.when_ns, 5);
	assert_int_equal(line.level, LOG_ERR);
	assert_string_equal(line.text, "one");
	assert_true(logring_read(&ring, &seq, &line));
	assert_int_equal(line.seq, 1);
	assert_int_equal(line.level, LOG_DEBUG);
	assert_string_equal(line.text, "two");
	assert_false(logring_read(&ring, &seq, &line));
	put("");
	assert_true(logring_read(&ring, &seq, &line));
	assert_string_equal(line.text, "");
}

/* A reader from the start gets the newest that fit, each once and in order, at every fill. */
static void test_wrap(void **state)
{
	for (unsigned total = 1; total < 40; total++) {
		struct log_line line;
		uint64_t seq = 0, want = total > 8 ? total - 8 : 0;
		char text[16];

		str_printf(text, sizeof(text), "line %u", total - 1);
		put(text);
		while (logring_read(&ring, &seq, &line)) {
			str_printf(text, sizeof(text), "line %llu", (unsigned long long)want);
			assert_int_equal(line.seq, want);
			assert_int_equal(line.when_ns, 1000 + want);
			assert_string_equal(line.text, text);
			want++;
		}
		assert_int_equal(want, total);
		assert_int_equal(seq, total);
	}
}

static void test_slow_reader(void **state)
{
	struct log_line line;
	uint64_t seq = 0;

	for (unsigned i = 0; i < 4; i++)
		put("early");
	assert_true(logring_read(&ring, &seq, &line));
	for (unsigned i = 0; i < 20; i++)
		put("late");
	assert_true(logring_read(&ring, &seq, &line));
	assert_int_equal(line.seq, 16);
	assert_int_equal(seq, 17);
	seq = 1000; /* from the future: nothing, and not moved */
	assert_false(logring_read(&ring, &seq, &line));
	assert_int_equal(seq, 1000);
}

static void test_cut(void **state)
{
	char text[400];
	struct log_line line;
	uint64_t seq = 0;

	memset(text, 'a', sizeof(text));
	for (size_t n = 238; n < 260; n++) {
		logring_write(&ring, LOG_INFO, 0, text, n);
		assert_true(logring_read(&ring, &seq, &line));
		assert_int_equal(strlen(line.text), MIN(n, (size_t)LOG_TEXT_MAX));
	}
}

static void test_harmless(void **state)
{
	char all[255];
	struct log_line line;
	uint64_t seq = 0;

	for (unsigned i = 0; i < 128; i++)
		all[i] = (char)i;
	logring_write(&ring, LOG_INFO, 0, all, 128);
	assert_true(logring_read(&ring, &seq, &line));
	assert_int_equal(strlen(line.text), 128);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(line.text[i], i < 32 || i == 127 ? '?' : (char)i);
	for (unsigned i = 0; i < 128; i++)
		all[i] = (char)(128 + i);
	logring_write(&ring, LOG_INFO, 0, all, 128);
	assert_true(logring_read(&ring, &seq, &line));
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(line.text[i], i < 32 ? '?' : (char)(128 + i));
}

/* The host's log_write(), through the same store. */
static void test_log_write(void **state)
{
	struct log_line line;
	uint64_t seq = 0;

	host_advance(7);
	log_warn("disk%u: says \"%s\"", 3, "\033[2J");
	while (log_read(&seq, &line))
		;
	assert_string_equal(line.text, "disk3: says \"?[2J\"");
	assert_int_equal(line.level, LOG_WARN);
	assert_int_equal(line.when_ns, 7);
	assert_true(host_log_has("disk3"));
	host_log_clear();
	assert_false(host_log_has("disk3"));
	log_info("%0300d", 1);
	assert_true(log_read(&seq, &line));
	assert_int_equal(strlen(line.text), LOG_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_wrap, setup),
		cmocka_unit_test_setup(test_slow_reader, setup),
		cmocka_unit_test_setup(test_cut, setup),
		cmocka_unit_test_setup(test_harmless, setup),
		cmocka_unit_test_setup(test_log_write, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* test_crypto - digests and checksums by published examples, in one piece and in many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/host/host.h"

static const char *hex(const uint8_t digest[SHA256_SIZE])
{
	static char text[2 * SHA256_SIZE + 1];

	for (unsigned i = 0; i < SHA256_SIZE; i++)
		str_printf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

/* In steps of so many bytes. */
static const char *sha256_of(const void *p, size_t n, size_t step)
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 s;

	memset(&s, 0xaa, sizeof(s)); /* init needs no help */
	sha256_init(&s);
	for (size_t at = 0; at < n; at += step)
		sha256_update(&s, (const char *)p + at, MIN(step, n - at));
	sha256_final(&s, digest);
	return hex(digest);
}

/* FIPS 180-4's examples, and what sha256sum says. */
static const struct {
	const char *text, *digest;
} examples[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopq"
	  "rlmnopqrsmnopqrstnopqrstu",
		"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
};

static void test_sha256(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(examples); i++)
		for (size_t step = 1; step < 130; step++)
			assert_string_equal(
				sha256_of(examples[i].text, strlen(examples[i].text), step),
				examples[i].digest);
}

static void test_sha256_million(void **state)
{
	char *a = malloc(1000000);
	const size_t steps[] = { 1, 63, 64, 65, 4096, 1000000 };

	assert_non_null(a);
	memset(a, 'a', 1000000);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++)
		assert_string_equal(sha256_of(a, 1000000, steps[i]),
			"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(a);
}

/* Nothing of what was hashed stays behind. */
static void test_sha256_forgets(void **state)
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 s;
	char bytes[sizeof(s) + 1];

	memset(&s, 0, sizeof(s));
	sha256_init(&s);
	sha256_update(&s, "the secret of somebody", 22);
	memcpy(bytes, &s, sizeof(s));
	assert_non_null(memchr(bytes, 's', sizeof(s)));
	sha256_final(&s, digest);
	for (unsigned i = 0; i < ARRAY_SIZE(s.state); i++)
		assert_int_equal(s.state[i], 0);
}

static uint32_t slow_crc32(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	while (n--) {
		crc ^= *p++;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void test_crc32(void **state)
{
	uint8_t bytes[1000];
	struct rng r;

	assert_int_equal(crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32(0, "", 0), 0);
	assert_int_equal(crc32(0, "a", 1), 0xe8b7be43);
	rng_seed(&r, 3);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rng_u64(&r);
	for (size_t n = 0; n < sizeof(bytes); n += 7) {
		uint32_t crc = slow_crc32(bytes, n);

		assert_int_equal(crc32(0, bytes, n), crc);
		for (size_t cut = 0; cut <= n; cut += 1 + n / 5)
			assert_int_equal(crc32(crc32(0, bytes, cut), bytes + cut, n - cut), crc);
	}
}

/* random.h stands beside: the same numbers from the same seed in every build, for ever. */
static void test_rng(void **state)
{
	unsigned count[10] = { 0 }, thirds[3] = { 0 };
	struct rng r, again;

	/* splitmix64 of 0 is published; xoshiro256**, from a state of 1, 2, 3, 4, too. */
	rng_seed(&r, 0);
	assert_true(r.s[0] == 0xe220a8397b1dcdafull && r.s[1] == 0x6e789e6aa1b965f4ull);
	r = (struct rng){ { 1, 2, 3, 4 } };
	assert_true(rng_u64(&r) == 11520);
	assert_true(rng_u64(&r) == 0);
	assert_true(rng_u64(&r) == 1509978240);
	assert_true(rng_u64(&r) == 1215971899390074240ull);
	rng_seed(&r, 77);
	rng_seed(&again, 77);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t v = rng_below(&r, 10);

		assert_true(v < 10 && v == rng_below(&again, 10));
		count[v]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(count[i], 9500, 10500);
	assert_true(rng_below(&r, 1) == 0);
	/* Of three quarters of the range each third comes up alike; without throwing away some of
	 * the draws the first would take half. */
	for (unsigned i = 0; i < 30000; i++)
		thirds[rng_below(&r, 3ull << 62) >> 62]++;
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(thirds[i], 9500, 10500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_sha256_million),
		cmocka_unit_test(test_sha256_forgets),
		cmocka_unit_test(test_crc32),
		cmocka_unit_test(test_rng),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

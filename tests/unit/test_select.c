/* SPDX-License-Identifier: BSD-2-Clause */
/* test_select - patterns, selections of rows, and reports made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/api/errno.h"
#include "kernel/api/random.h"
#include "kernel/api/string.h"
#include "shell/regex.h"
#include "shell/select.h"
#include "tests/host/host.h"

static int setup(void **state)
{
	host_reset();
	return 0;
}

/* ---- patterns ---- */

static const struct {
	const char *pattern, *yes[4], *no[4];
} patterns[] = {
	{ "", { "", "x" }, { 0 } },
	{ "b", { "b", "abc" }, { "", "acd" } },
	{ "^b", { "bcd" }, { "ab" } },
	{ "b$", { "ab", "b" }, { "bc" } },
	{ "^$", { "" }, { "a" } },
	{ "a.c", { "abc", "xaxcx" }, { "ac", "ab" } },
	{ "^ab*c$", { "ac", "abc", "abbbbc" }, { "abxc", "bc" } },
	{ "^ab+c$", { "abc", "abbc" }, { "ac" } },
	{ "^ab?c$", { "ac", "abc" }, { "abbc" } },
	{ "^(ab)+$", { "ab", "abab" }, { "aba", "" } },
	{ "^(a|b)*$", { "", "abba" }, { "abc" } },
	{ "^(a+)*b$", { "b", "aaab" }, { "aaa", "ac" } },
	{ "^a|b*$", { "ax", "xbb", "x" }, { 0 } },
	{ "^(x|y*|z)$", { "x", "yyy", "", "z" }, { "xy", "zz" } },
	{ "one|two|three", { "two", "xthreex", "one" }, { "four" } },
	{ "^[a-c0]+$", { "abc0" }, { "d", "abcd" } },
	{ "^[^a-c]+$", { "xyz" }, { "xay" } },
	{ "^[]x]+$", { "]x]" }, { "y" } },
	{ "^[a-]+$", { "a-a" }, { "b" } },
	{ "a\\.b", { "a.b" }, { "axb" } },
	{ "^\\(\\[$", { "([" }, { "(" } },
	{ "^(a(b(c|d)?)*)$", { "a", "abcb", "abbd" }, { "abx" } },
};

static const char *const bad[] = { "(", ")", "a)", "(a", "[", "[a", "*", "+a", "a|*",
	"(((((((((((((((((a", "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s" };

static void test_patterns(void **state)
{
	struct strbuf why = { 0 };
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct regex *r = regex_make(patterns[i].pattern, &why);

		if (!r)
			fail_msg("%s: %s", patterns[i].pattern, strbuf_text(&why));
		for (k = 0; k < 4 && patterns[i].yes[k]; k++)
			if (!regex_matches(r, patterns[i].yes[k]))
				fail_msg("%s: not %s", patterns[i].pattern, patterns[i].yes[k]);
		for (k = 0; k < 4 && patterns[i].no[k]; k++)
			if (regex_matches(r, patterns[i].no[k]))
				fail_msg("%s: %s", patterns[i].pattern, patterns[i].no[k]);
		regex_free(r);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		strbuf_reset(&why);
		if (regex_make(bad[i], &why))
			fail_msg("%s", bad[i]);
		assert_true(why.len);
	}
	strbuf_free(&why);
}

/* Anything at all: refused or obeyed, in time. */
static void test_any_pattern(void **state)
{
	static const char letters[] = "ab|()[]*+?^$.-\\";
	struct strbuf why = { 0 };
	char pattern[900], text[300];
	struct rng r;

	rng_seed(&r, 11);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (unsigned i = 0; i < 4000; i++) {
		unsigned n = (unsigned)rng_below(&r, i % 50 ? 20 : sizeof(pattern) - 1);
		struct regex *x;

		for (unsigned k = 0; k < n; k++)
			pattern[k] = letters[rng_below(&r, sizeof(letters) - 1)];
		pattern[n] = 0;
		strbuf_reset(&why);
		x = regex_make(pattern, &why);
		if (x)
			regex_matches(x, text);
		regex_free(x);
	}
	strbuf_free(&why);
}

/* ---- selections ---- */

struct row {
	const char *name;
	unsigned nr;
};

static void get_name(const void *row, struct strbuf *out)
{
	strbuf_puts(out, ((const struct row *)row)->name);
}

static void get_nr(const void *row, struct strbuf *out)
{
	strbuf_printf(out, "%u", ((const struct row *)row)->nr);
}

static const struct report_field fields[] = {
	{ "name", "Name", 6, false, get_name },
	{ "nr", "Nr", 3, true, get_nr },
	{ "nrx", "NrX", 3, true, get_nr },
	{ 0 },
};
static const struct row rows[] = { { "one", 1 }, { "two", 2 }, { "three", 30 }, { "a b", 4 } };

static void test_selections(void **state)
{
	static const struct {
		const char *text;
		unsigned rows; /* a bit each */
	} t[] = { { "", 15 }, { "nr=2", 2 }, { "nr!=2", 13 }, { "nr>2", 12 }, { "nr>=2", 14 },
		{ "nr<4", 3 }, { "nr<=4", 11 }, { "nrx=30", 4 }, { "name=one", 1 },
		{ "name='a b'", 8 }, { "name=\"a b\" || nr=1", 9 }, { "nr=1||nr=2&&name=two", 3 },
		{ "(nr=1||nr=2)&&name=two", 2 }, { "!(nr=1,name=one)", 14 },
		{ " ! ( nr = 1 ) # name = one ", 15 }, { "name=~^t", 6 }, { "name!~e", 10 },
		{ "name=~(e$|^a)", 13 }, { "name=~{o} && nr<2", 1 } };
	static const char *const wrong[] = { "nr", "nr=", "nr=x", "nr=~1", "name>a", "nosuch=1",
		"nr=1 &&", "nr=1)", "(nr=1", "!nr=1", "nr=1 nr=2", "name='x", "name=~[", "name=~(",
		"name=~*", "((((((((((((((((((nr=1))))))))))))))))))", "=", "&&",
		"nr=99999999999999999999" };
	struct strbuf why = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned got = 0;

		if (select_check(fields, t[i].text, &why))
			fail_msg("%s: %s", t[i].text, strbuf_text(&why));
		for (unsigned k = 0; k < ARRAY_SIZE(rows); k++)
			got |= (unsigned)select_row(fields, t[i].text, &rows[k]) << k;
		if (got != t[i].rows)
			fail_msg("%s: %#x", t[i].text, got);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		strbuf_reset(&why);
		if (!select_check(fields, wrong[i], &why) || !why.len)
			fail_msg("%s", wrong[i]);
	}
	strbuf_free(&why);
}

/* ---- reports ---- */

static void expect(struct report_style style, const char *want)
{
	struct strbuf why = { 0 }, out = { 0 };
	struct report r;

	style.standard = "name,nr";
	assert_int_equal(report_begin(&r, fields, &style, &why), 0);
	for (unsigned k = 0; k < 3; k++)
		report_row(&r, &rows[k]);
	assert_int_equal(report_print(&r, &out), 0);
	assert_string_equal(strbuf_text(&out), want);
	report_free(&r);
	strbuf_free(&why);
	strbuf_free(&out);
}

static void test_reports(void **state)
{
	struct strbuf why = { 0 };
	struct report r;

	expect((struct report_style){ 0 }, "Name   Nr \none      1\ntwo      2\nthree   30\n");
	expect((struct report_style){ .sort = "-nr" },
		"Name   Nr \nthree   30\ntwo      2\none      1\n");
	expect((struct report_style){ .sort = "name", .no_headings = true, .separator = "," },
		"one,1\nthree,30\ntwo,2\n");
	expect((struct report_style){ .fields = "+nrx", .no_headings = true, .separator = ":" },
		"one:1:1\ntwo:2:2\nthree:30:30\n");
	expect(
		(struct report_style){
			.fields = "nr", .prefix = "X_", .separator = " ", .no_headings = true },
		"X_NR='1'\nX_NR='2'\nX_NR='30'\n");
	expect((struct report_style){ .as_rows = true, .separator = " " },
		"Name one two three\nNr 1 2 30\n");
	assert_int_equal(
		report_begin(&r, fields, &(struct report_style){ .fields = "name,what" }, &why),
		-EINVAL);
	assert_non_null(strstr(strbuf_text(&why), "what"));
	strbuf_free(&why);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_patterns),
		T(test_any_pattern),
		T(test_selections),
		T(test_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

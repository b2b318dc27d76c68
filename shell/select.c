/* SPDX-License-Identifier: BSD-2-Clause */
/* select - see select.h.  The text is read anew for each row; it is short. */
#include "shell/select.h"

#include "kernel/api/errno.h"
#include "kernel/api/string.h"
#include "shell/regex.h"

#define DEPTH_MAX 16

enum op { EQUAL, DIFFERS, MATCHES, MATCHES_NOT, AT_LEAST, AT_MOST, ABOVE, BELOW, NO_OP };

struct selection {
	const struct report_field *all;
	const void *row; /* NULL: it is only checked */
	const char *at;
	struct strbuf *why, value, got;
	unsigned depth;
	int err;
};

static bool either(struct selection *s);

static bool wrong(struct selection *s, const char *words)
{
	if (!s->err) {
		s->err = -EINVAL;
		strbuf_printf(s->why, "selection: %s at \"%.40s\"", words, s->at);
	}
	return false;
}

static void skip_blanks(struct selection *s)
{
	while (*s->at == ' ' || *s->at == '\t')
		s->at++;
}

static bool take(struct selection *s, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(s);
	if (strncmp(s->at, word, n) != 0)
		return false;
	s->at += n;
	return true;
}

static const struct report_field *take_field(struct selection *s)
{
	const struct report_field *f, *best = NULL;

	skip_blanks(s);
	for (f = s->all; f->id; f++)
		if (!strncmp(s->at, f->id, strlen(f->id)) &&
			(!best || strlen(f->id) > strlen(best->id)))
			best = f;
	if (best)
		s->at += strlen(best->id);
	return best;
}

static enum op take_op(struct selection *s)
{
	static const char *const words[] = { "=~", "!~", ">=", "<=", "!=", "=", ">", "<" };
	static const enum op ops[] = { MATCHES, MATCHES_NOT, AT_LEAST, AT_MOST, DIFFERS, EQUAL,
		ABOVE, BELOW };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (take(s, words[i]))
			return ops[i];
	return NO_OP;
}

static bool ends_value(const char *p)
{
	return !*p || strchr(" \t),#", *p) || !strncmp(p, "&&", 2) || !strncmp(p, "||", 2);
}

/* Into s->value.  A pattern may stand in brackets of any kind instead of quotes. */
static bool take_value(struct selection *s, bool pattern)
{
	static const char open[] = "\"'({[", close[] = "\"')}]";
	const char *kind;
	char end = 0;

	skip_blanks(s);
	strbuf_reset(&s->value);
	kind = *s->at ? strchr(open, *s->at) : NULL;
	if (kind && (pattern || kind - open < 2)) {
		end = close[kind - open];
		s->at++;
	}
	for (; end ? *s->at && *s->at != end : !ends_value(s->at); s->at++)
		strbuf_putc(&s->value, *s->at);
	if (end && *s->at != end)
		return wrong(s, "a value without its end");
	s->at += end != 0;
	if (!end && !s->value.len)
		return wrong(s, "a value is missing");
	return true;
}

static bool compare_numbers(const struct selection *s, enum op op, uint64_t value)
{
	const char *text = strbuf_text((struct strbuf *)&s->got);
	uint64_t got = 0;

	if (str_to_u64(text, 10, UINT64_MAX, &got))
		return false;
	switch (op) {
	case EQUAL:
		return got == value;
	case DIFFERS:
		return got != value;
	case AT_LEAST:
		return got >= value;
	case AT_MOST:
		return got <= value;
	case ABOVE:
		return got > value;
	default:
		return got < value;
	}
}

static bool matches(struct selection *s)
{
	struct strbuf why = { 0 };
	struct regex *r = regex_make(strbuf_text(&s->value), &why);
	bool yes = false;

	if (!r)
		wrong(s, strbuf_text(&why));
	else if (s->row)
		yes = regex_matches(r, strbuf_text(&s->got));
	regex_free(r);
	strbuf_free(&why);
	return yes;
}

static bool term(struct selection *s)
{
	const struct report_field *f = take_field(s);
	uint64_t number = 0;
	enum op op;

	if (!f)
		return wrong(s, "no such field");
	op = take_op(s);
	if (op == NO_OP)
		return wrong(s, "no comparison");
	if (f->number ? op == MATCHES || op == MATCHES_NOT : op >= AT_LEAST)
		return wrong(s, "this field cannot be compared like that");
	if (!take_value(s, op == MATCHES || op == MATCHES_NOT))
		return false;
	if (f->number && str_to_u64(strbuf_text(&s->value), 10, UINT64_MAX, &number))
		return wrong(s, "not a number");
	strbuf_reset(&s->got);
	if (s->row)
		f->get(s->row, &s->got);
	if (op == MATCHES || op == MATCHES_NOT)
		return matches(s) == (op == MATCHES);
	if (f->number)
		return compare_numbers(s, op, number);
	return !strcmp(strbuf_text(&s->got), strbuf_text(&s->value)) == (op == EQUAL);
}

static bool one(struct selection *s)
{
	bool not = take(s, "!"), yes;

	if (!take(s, "("))
		return not ? wrong(s, "a ( is missing") : term(s);
	if (++s->depth > DEPTH_MAX)
		return wrong(s, "too many parentheses");
	yes = either(s);
	s->depth--;
	if (!s->err && !take(s, ")"))
		return wrong(s, "a ) is missing");
	return yes != not ;
}

static bool both(struct selection *s)
{
	bool yes = one(s);

	while (!s->err && (take(s, "&&") || take(s, ",")))
		yes &= one(s);
	return yes;
}

static bool either(struct selection *s)
{
	bool yes = both(s);

	while (!s->err && (take(s, "||") || take(s, "#")))
		yes |= both(s);
	return yes;
}

static bool run(struct selection *s)
{
	bool yes = true;

	skip_blanks(s);
	if (*s->at)
		yes = either(s);
	skip_blanks(s);
	if (!s->err && *s->at)
		wrong(s, "more than a selection");
	strbuf_free(&s->value);
	strbuf_free(&s->got);
	return yes && !s->err;
}

int select_check(const struct report_field *all, const char *text, struct strbuf *why)
{
	struct selection s = { .all = all, .at = text, .why = why };

	run(&s);
	return s.err;
}

bool select_row(const struct report_field *all, const char *text, const void *row)
{
	struct strbuf why = { 0 };
	struct selection s = { .all = all, .at = text, .why = &why, .row = row };
	bool yes = run(&s);

	strbuf_free(&why);
	return yes;
}

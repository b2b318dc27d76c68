/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * regex - see regex.h.  A pattern becomes a small program; all states it may be in are followed at
 * once, so no text makes it slow.
 */
#include "shell/regex.h"

#include "kernel/api/mem.h"
#include "kernel/api/string.h"

#define PROGRAM_MAX 512

enum code { ONE_OF, BEGIN, END, SPLIT, JUMP, FOUND };

struct step {
	uint8_t code;
	uint16_t to, or_to; /* SPLIT, JUMP */
	uint8_t set[32];    /* ONE_OF: a bit for each character */
};

struct regex {
	struct step steps[PROGRAM_MAX];
	unsigned nr;
	bool now[PROGRAM_MAX], next[PROGRAM_MAX];
	uint16_t stack[2 * PROGRAM_MAX];
};

struct maker {
	struct regex *r;
	const char *at;
	unsigned depth;
	const char *wrong; /* words */
};

static struct mem_tag regex_tag = MEM_TAG("regex");

/* ---- making the program ---- */

/* A step at that place; what was there and behind moves on by one. */
static struct step *insert(struct maker *m, unsigned at, enum code code)
{
	struct regex *r = m->r;

	if (r->nr == PROGRAM_MAX) {
		m->wrong = m->wrong ? m->wrong : "the pattern is too long";
		r->nr--;
		at = MIN(at, r->nr);
	}
	memmove(&r->steps[at + 1], &r->steps[at], (r->nr - at) * sizeof(*r->steps));
	r->nr++;
	for (unsigned i = at + 1; i < r->nr; i++) {
		r->steps[i].to += r->steps[i].to >= at;
		r->steps[i].or_to += r->steps[i].or_to >= at;
	}
	r->steps[at] = (struct step){ .code = (uint8_t)code };
	return &r->steps[at];
}

static struct step *append(struct maker *m, enum code code)
{
	return insert(m, m->r->nr, code);
}

static void set_range(struct step *s, uint8_t from, uint8_t to)
{
	for (unsigned c = from; c <= to; c++)
		s->set[c / 8] |= (uint8_t)(1u << c % 8);
}

/* Behind the '['. */
static void set_of(struct maker *m)
{
	struct step *s = append(m, ONE_OF);
	bool not = *m->at == '^', first = true;

	m->at += not ;
	for (; *m->at && (first || *m->at != ']'); first = false) {
		uint8_t from = (uint8_t)*m->at++, to = from;

		if (*m->at == '-' && m->at[1] && m->at[1] != ']') {
			to = (uint8_t)m->at[1];
			m->at += 2;
		}
		set_range(s, from, to);
	}
	if (*m->at != ']') {
		m->wrong = "a [ without its ]";
		return;
	}
	m->at++;
	for (unsigned i = 0; not &&i < sizeof(s->set); i++)
		s->set[i] = (uint8_t)~s->set[i];
}

static void either(struct maker *m);

static void group(struct maker *m)
{
	if (++m->depth > REGEX_DEPTH) {
		m->wrong = "too many parentheses in one another";
		return;
	}
	either(m);
	m->depth--;
	if (*m->at == ')')
		m->at++;
	else if (!m->wrong)
		m->wrong = "a ( without its )";
}

static void atom(struct maker *m)
{
	char c = *m->at++;

	if (c == '(') {
		group(m);
	} else if (c == '[') {
		set_of(m);
	} else if (c == '^') {
		append(m, BEGIN);
	} else if (c == '$') {
		append(m, END);
	} else if (c == '.') {
		set_range(append(m, ONE_OF), 1, 255);
	} else if (c == '*' || c == '+' || c == '?') {
		m->wrong = "nothing to repeat";
	} else {
		if (c == '\\' && *m->at)
			c = *m->at++;
		set_range(append(m, ONE_OF), (uint8_t)c, (uint8_t)c);
	}
}

static void repeated(struct maker *m)
{
	unsigned begin = m->r->nr;
	struct step *s;

	atom(m);
	for (; !m->wrong && (*m->at == '*' || *m->at == '+' || *m->at == '?'); m->at++) {
		if (*m->at == '+') {
			s = append(m, SPLIT);
			s->to = (uint16_t)begin;
			s->or_to = (uint16_t)m->r->nr;
			continue;
		}
		insert(m, begin, SPLIT);
		if (*m->at == '*')
			append(m, JUMP)->to = (uint16_t)begin;
		m->r->steps[begin].to = (uint16_t)(begin + 1);
		m->r->steps[begin].or_to = (uint16_t)m->r->nr;
	}
}

static void either(struct maker *m)
{
	unsigned begin = m->r->nr, jump;

	while (!m->wrong && *m->at && *m->at != '|' && *m->at != ')')
		repeated(m);
	if (m->wrong || *m->at != '|')
		return;
	m->at++;
	insert(m, begin, SPLIT);
	jump = m->r->nr;
	append(m, JUMP);
	m->r->steps[begin].to = (uint16_t)(begin + 1);
	m->r->steps[begin].or_to = (uint16_t)m->r->nr;
	if (++m->depth > REGEX_DEPTH)
		m->wrong = "too many alternatives";
	else
		either(m);
	m->depth--;
	m->r->steps[jump].to = (uint16_t)m->r->nr;
}

struct regex *regex_make(const char *pattern, struct strbuf *why)
{
	struct maker m = { .at = pattern };

	m.r = mem_alloc(&regex_tag, sizeof(*m.r));
	if (!m.r) {
		strbuf_puts(why, "no memory for a pattern");
		return NULL;
	}
	either(&m);
	if (!m.wrong && *m.at)
		m.wrong = "a ) without its (";
	append(&m, FOUND);
	if (!m.wrong)
		return m.r;
	strbuf_printf(why, "\"%.60s\": %s", pattern, m.wrong);
	mem_free(m.r);
	return NULL;
}

/* ---- running it ---- */

/* Marks a step, and those that follow without a character; true: the end was among them. */
static bool enter(struct regex *r, bool *set, unsigned step, bool at_begin, bool at_end)
{
	unsigned nr = 0;
	bool found = false;

	r->stack[nr++] = (uint16_t)step;
	while (nr) {
		unsigned at = r->stack[--nr];
		const struct step *s = &r->steps[at];

		if (set[at])
			continue;
		set[at] = true;
		if (s->code == FOUND)
			found = true;
		else if (s->code == JUMP || s->code == SPLIT)
			r->stack[nr++] = s->to;
		else if ((s->code == BEGIN && at_begin) || (s->code == END && at_end))
			r->stack[nr++] = (uint16_t)(at + 1);
		if (s->code == SPLIT)
			r->stack[nr++] = s->or_to;
	}
	return found;
}

bool regex_matches(struct regex *r, const char *text)
{
	memset(r->now, 0, sizeof(r->now));
	for (const char *p = text;; p++) {
		uint8_t c = (uint8_t)*p;

		/* A match may begin anywhere. */
		if (enter(r, r->now, 0, p == text, !c))
			return true;
		if (!c)
			return false;
		memset(r->next, 0, sizeof(r->next));
		for (unsigned i = 0; i < r->nr; i++)
			if (r->now[i] && r->steps[i].code == ONE_OF &&
				r->steps[i].set[c / 8] >> c % 8 & 1 &&
				enter(r, r->next, i + 1, false, !p[1]))
				return true;
		memcpy(r->now, r->next, sizeof(r->now));
	}
}

void regex_free(struct regex *r)
{
	mem_free(r);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* words - see words.h.  Each command is scanned twice: to count, then to copy. */
#include "shell/words.h"
#include "kernel/api/errno.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "shell/shell.h"

static struct mem_tag words_tag = MEM_TAG("shell words");

struct scan {
	const char *p;
	bool many;
	const char *bad; /* why it stopped */
	enum words_end end;
	unsigned argc;
	size_t bytes;
	char **argv; /* NULL: only count */
	char *text;
};

static void put(struct scan *s, char c)
{
	if (s->argv)
		s->text[s->bytes] = c;
	s->bytes++;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_operator(const struct scan *s)
{
	return s->many && (*s->p == ';' || *s->p == '&');
}

/* From behind the opening quote to behind the closing one. */
static bool scan_quoted(struct scan *s, char quote)
{
	while (*s->p != quote) {
		if (!*s->p) {
			s->bad = quote == '"' ? "a \" has no partner" : "a ' has no partner";
			return false;
		}
		if (quote == '"' && *s->p == '\\' && (s->p[1] == '"' || s->p[1] == '\\'))
			s->p++;
		put(s, *s->p++);
	}
	s->p++;
	return true;
}

/* One word; the scan stands on its first character. */
static bool scan_word(struct scan *s)
{
	if (s->argc == SHELL_WORDS_MAX) {
		s->bad = "too many words in one command";
		return false;
	}
	if (s->argv)
		s->argv[s->argc] = s->text + s->bytes;
	s->argc++;
	while (*s->p && !is_space(*s->p) && !is_operator(s)) {
		char c = *s->p++;

		if (c == '\'' || c == '"') {
			if (!scan_quoted(s, c))
				return false;
			continue;
		}
		if (c == '\\') {
			if (!*s->p) {
				s->bad = "nothing stands after the last \\";
				return false;
			}
			c = *s->p++;
		}
		put(s, c);
	}
	put(s, '\0');
	return true;
}

/* One command and the operator after it. */
static bool scan_command(struct scan *s)
{
	for (;;) {
		while (is_space(*s->p))
			s->p++;
		if (*s->p == '#')
			s->p += strlen(s->p);
		if (!*s->p || is_operator(s))
			break;
		if (!scan_word(s))
			return false;
	}
	s->end = WORDS_LAST;
	if (*s->p == ';') {
		s->end = WORDS_THEN;
		s->p++;
	} else if (s->p[0] == '&' && s->p[1] == '&') {
		s->end = WORDS_THEN;
		s->p += 2;
	} else if (*s->p == '&') {
		s->end = WORDS_JOB;
		s->p++;
		if (!s->argc) {
			s->bad = "no command stands before &";
			return false;
		}
	}
	return true;
}

int words_next(const char **line, bool many, struct words *w, struct strbuf *why)
{
	struct scan s = { .p = *line, .many = many };

	*w = (struct words){ 0 };
	if (!scan_command(&s)) {
		strbuf_puts(why, s.bad);
		return -EINVAL;
	}
	w->mem = mem_alloc(&words_tag, (s.argc + 1) * sizeof(char *) + s.bytes + 1);
	if (!w->mem)
		return -ENOMEM;
	w->argv = w->mem;
	w->argc = s.argc;
	w->end = s.end;
	s = (struct scan){ .p = *line, .many = many, .argv = w->argv };
	s.text = (char *)(w->argv + w->argc + 1);
	ASSERT(scan_command(&s));
	w->argv[w->argc] = NULL;
	*line = s.p;
	return 0;
}

void words_free(struct words *w)
{
	mem_free_wipe(w->mem);
	*w = (struct words){ 0 };
}

int words_check(const char *line, bool many, struct strbuf *why)
{
	struct scan s = { .p = line, .many = many };

	while (*s.p) {
		s.argc = 0;
		if (!scan_command(&s)) {
			strbuf_puts(why, s.bad);
			return -EINVAL;
		}
	}
	return 0;
}

static bool has_nocase(const char *text, const char *part)
{
	size_t n = strlen(part);

	for (; *text; text++)
		if (!strncasecmp(text, part, n))
			return true;
	return false;
}

bool words_secret(const char *line)
{
	static const char *const signs[] = { "crypt", "key", "secret", "passw", "passphrase",
		"chap", "hmac", NULL };

	for (unsigned i = 0; signs[i]; i++)
		if (has_nocase(line, signs[i]))
			return true;
	return false;
}

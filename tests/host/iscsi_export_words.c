/* SPDX-License-Identifier: BSD-2-Clause */
/* iscsi_export_words - see iscsi_export_words.h. */
#include "exports/export.h"
#include "tests/host/host.h"
#include "tests/host/iscsi_export_words.h"

#define WORDS_MAX 64

static char why_text[512], out_text[65536];

struct call {
	const char *words;
	bool create, force;
	int err;
};

static void on_fiber(void *arg)
{
	const struct export_kind *kind = all_exports[0];
	char text[1024], *argv[WORDS_MAX], *at;
	struct call *c = arg;
	struct strbuf why;
	unsigned argc = 0;

	strbuf_init_fixed(&why, why_text, sizeof(why_text));
	strbuf_text(&why);
	if (!c->create) {
		c->err = kind->remove(c->words, c->force, &why);
		return;
	}
	ASSERT(str_copy(text, sizeof(text), c->words));
	for (at = text; *at && argc < WORDS_MAX;) {
		argv[argc++] = at;
		while (*at && *at != ' ')
			at++;
		if (*at)
			*at++ = 0;
	}
	c->err = kind->create(argc, argv, &why);
}

int words_create(const char *words)
{
	struct call c = { .words = words, .create = true };

	host_fiber(on_fiber, &c);
	return c.err;
}

int words_remove(const char *name, bool force)
{
	struct call c = { .words = name, .force = force };

	host_fiber(on_fiber, &c);
	return c.err;
}

void words_remove_all(void)
{
	const char *name;

	while ((name = all_exports[0]->name_at(0))) {
		char copy[256];

		str_copy(copy, sizeof(copy), name);
		ASSERT(!words_remove(copy, true));
	}
}

const char *words_why(void)
{
	return why_text;
}

static const char *text_of(void (*print)(struct strbuf *out))
{
	struct strbuf out;

	strbuf_init_fixed(&out, out_text, sizeof(out_text));
	print(&out);
	return strbuf_text(&out);
}

const char *words_list(void)
{
	return text_of(all_exports[0]->list);
}

const char *words_sessions(void)
{
	return text_of(all_exports[0]->sessions);
}

const char *words_stats(void)
{
	return text_of(all_exports[0]->stats);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * export - how mapped devices leave the machine.  A kind of export (iscsi, ...) is one folder and
 * one line in exports.c.  Core 0, on a fiber.
 */
#ifndef EXPORTS_EXPORT_H
#define EXPORTS_EXPORT_H

#include "kernel/api/base.h"
#include "kernel/api/errno.h"
#include "kernel/api/strbuf.h"

struct export_kind {
	const char *name;  /* "iscsi" */
	const char *usage; /* of create, behind the kind */
	/* argv: the words behind the kind.  All or nothing; *why on failure.  Secrets among the
	 * words are wiped by whoever called. */
	may_block int (*create)(unsigned argc, char **argv, struct strbuf *why);
	/* -ENOENT without words: no export of this kind has that name.  -EBUSY: in use and not by
	 * force. */
	may_block int (*remove)(const char *name, bool force, struct strbuf *why);
	/* Lines of text, none when there is nothing. */
	void (*list)(struct strbuf *out);
	void (*sessions)(struct strbuf *out);
	void (*stats)(struct strbuf *out);
	/* Names for completion: i = 0, 1, ... until NULL. */
	const char *(*name_at)(unsigned i);
};

/* exports/exports.c: every kind there is, NULL at the end. */
extern const struct export_kind *const all_exports[];

#endif

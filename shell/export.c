/* SPDX-License-Identifier: BSD-2-Clause */
/* export - what is served to other machines, in words; the kinds of export do the work. */
#include "exports/export.h"
#include "kernel/api/string.h"
#include "shell/complete.h"
#include "shell/run.h"
#include "shell/verbs.h"

static const struct export_kind *kind_find(const char *name)
{
	for (unsigned i = 0; all_exports[i]; i++)
		if (!strcmp(all_exports[i]->name, name))
			return all_exports[i];
	return NULL;
}

static may_block int create(unsigned argc, char **argv, struct strbuf *why)
{
	const struct export_kind *k = argc ? kind_find(argv[0]) : NULL;

	if (!argc)
		return fail(why, -EINVAL, "export create: which kind?");
	if (!k)
		return fail(why, -EINVAL, "%.60s: no such kind of export", argv[0]);
	if (argc == 1)
		return fail(why, -EINVAL, "usage: export create %s %s", k->name, k->usage);
	return k->create(argc - 1, argv + 1, why);
}

static may_block int remove_one(const char *name, bool force, struct strbuf *why)
{
	for (unsigned i = 0; all_exports[i]; i++) {
		int err = all_exports[i]->remove(name, force, why);

		if (err != -ENOENT)
			return err;
	}
	return fail(why, -ENOENT, "%.230s: no such export", name);
}

static may_block int remove_run(unsigned argc, char **argv, struct strbuf *why)
{
	const char *name = NULL;
	bool force = false;

	for (unsigned i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--force"))
			force = true;
		else if (argv[i][0] == '-' || name)
			return fail(
				why, -EINVAL, "export remove: %.60s: not expected here", argv[i]);
		else
			name = argv[i];
	}
	if (!name)
		return fail(why, -EINVAL, "export remove: which one?");
	return remove_one(name, force, why);
}

static may_block int show(struct shell_io *io, size_t which, unsigned argc, struct strbuf *why)
{
	struct strbuf out = { 0 };

	if (argc)
		return fail(why, -EINVAL, "takes no words");
	for (unsigned i = 0; all_exports[i]; i++) {
		const struct export_kind *k = all_exports[i];

		if (which == 0)
			k->list(&out);
		else if (which == 1)
			k->sessions(&out);
		else
			k->stats(&out);
	}
	if (which == 2)
		strbuf_printf(&out, "copied %llu bytes\n", (unsigned long long)copied_data());
	io->write(io, strbuf_text(&out), out.len);
	strbuf_free(&out);
	return 0;
}

static const char *const commands[] = { "list", "sessions", "stats", "create", "remove" };

static may_block int export_run(struct shell_io *io, unsigned argc, char **argv, struct strbuf *why)
{
	if (argc == 1)
		return show(io, 0, 0, why);
	for (size_t i = 0; i < 3; i++)
		if (!strcmp(argv[1], commands[i]))
			return show(io, i, argc - 2, why);
	if (!strcmp(argv[1], "create"))
		return create(argc - 2, argv + 2, why);
	if (!strcmp(argv[1], "remove"))
		return remove_run(argc - 2, argv + 2, why);
	return fail(why, -EINVAL, "export %.60s: create, remove, list, sessions or stats", argv[1]);
}

static void export_complete(unsigned argc, char **argv, const char *begun,
	void (*out)(void *ctx, const char *word), void *ctx)
{
	const char *name;

	if (argc == 1) {
		for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
			out(ctx, commands[i]);
	} else if (!strcmp(argv[1], "remove")) {
		for (unsigned i = 0; all_exports[i]; i++)
			for (unsigned k = 0; (name = all_exports[i]->name_at(k)); k++)
				out(ctx, name);
	} else if (!strcmp(argv[1], "create") && argc == 2) {
		for (unsigned i = 0; all_exports[i]; i++)
			out(ctx, all_exports[i]->name);
	} else if (!strcmp(argv[1], "create") && argc > 3) {
		complete_devices(begun, out, ctx);
	}
}

const struct verb export_verb = {
	.name = "export",
	.usage = "export [list|sessions|stats] | create <kind> ... | remove [-f] <name>",
	.help = "Serves devices to other machines.\n\n"
		"create iscsi <iqn> <device>[,lun=N][,ro]...\n"
		"       (--chap USER:SECRET [--mutual-chap USER:SECRET] | --noauth) "
		"[--allow INITIATOR]...\n"
		"       secrets have 12 bytes or more; without --chap everybody is let in only "
		"when\n"
		"       --noauth says so; --allow lets in the initiators named and no others\n"
		"remove [-f] <iqn>     -f: although a session is open",
	.run = export_run,
	.complete = export_complete,
};

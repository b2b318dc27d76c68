/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * export - iSCSI targets as `export` makes them.  Nothing is open before the first and after the
 * last of them.  All exports claim devices in one name, so that two may serve the same one and a
 * table may not.
 */
#include "exports/export.h"
#include "exports/iscsi/iscsi.h"
#include "kernel/api/string.h"
#include "mapper/control.h"

struct list iscsi_targets = LIST_INIT(iscsi_targets);
static struct mem_tag target_tag = MEM_TAG("iscsi targets");
static struct net_listener *listener;
static const char holder[] = "export";

static int __printf(3, 4) fail(struct strbuf *why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(why, fmt, ap);
	va_end(ap);
	return err;
}

struct iscsi_target *target_by_name(const char *name)
{
	struct iscsi_target *t;

	list_for_each (t, &iscsi_targets, node)
		if (!strcasecmp(t->scsi.name, name))
			return t;
	return NULL;
}

bool target_allows(const struct iscsi_target *t, const char *initiator)
{
	for (unsigned i = 0; i < t->nr_allow; i++)
		if (!strcasecmp(t->allow[i], initiator))
			return true;
	return !t->nr_allow;
}

unsigned target_sessions(const struct iscsi_target *t)
{
	unsigned nr = 0;
	struct conn *c;

	list_for_each (c, &iscsi_conns, node)
		nr += c->target == t;
	return nr;
}

/* ---- create ---- */

/* 4.2.7: what an iSCSI name looks like. */
static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n < 5 || n > NAME_MAX_LEN ||
		(strncmp(name, "iqn.", 4) && strncmp(name, "eui.", 4) && strncmp(name, "naa.", 4)))
		return false;
	for (; *name; name++)
		if (!((*name >= 'a' && *name <= 'z') || (*name >= '0' && *name <= '9') ||
			    *name == '.' || *name == '-' || *name == ':'))
			return false;
	return true;
}

static int credential(const char *word, char user[NAME_MAX_LEN + 1], char secret[SECRET_MAX + 1],
	const char *option, struct strbuf *why)
{
	const char *colon = strchr(word, ':');
	size_t n = colon ? strlen(colon + 1) : 0;

	if (!colon || colon == word || colon - word > NAME_MAX_LEN)
		return fail(why, -EINVAL, "%s: USER:SECRET is wanted", option);
	if (n < SECRET_MIN || n > SECRET_MAX)
		return fail(why, -EINVAL, "%s: a secret has 12 to 255 characters", option);
	memcpy(user, word, (size_t)(colon - word));
	user[colon - word] = 0;
	str_copy(secret, SECRET_MAX + 1, colon + 1);
	return 0;
}

/* What makes the device itself, whatever it is called and when the machine was started. */
static const char *identity(const struct bdev *dev)
{
	struct mdev *md = dev->major == DM_MAJOR ? dm_find(dev->name) : NULL;
	static struct dm_info info;

	if (md) {
		dm_info(md, &info);
		if (info.uuid[0])
			return info.uuid;
	}
	return dev->serial;
}

/* "<device>[,lun=N][,ro]" */
static int add_unit(struct iscsi_target *t, char *word, struct strbuf *why)
{
	char *option = strchr(word, ',');
	bool read_only = false, given = false;
	struct scsi_unit *u;
	struct bdev *dev;
	uint64_t lun = 0;
	int err;

	for (char *next; option; option = next) {
		*option++ = 0;
		next = strchr(option, ',');
		if (next)
			*next = 0;
		if (!strcmp(option, "ro"))
			read_only = true;
		else if (!strncmp(option, "lun=", 4) &&
			 !str_to_u64(option + 4, 10, SCSI_LUNS_MAX - 1, &lun))
			given = true;
		else
			return fail(why, -EINVAL, "%.60s: lun=N (below %u) or ro is wanted", option,
				SCSI_LUNS_MAX);
		if (next)
			*next = ',';
	}
	while (!given && lun < SCSI_LUNS_MAX && t->scsi.units[lun])
		lun++;
	if (lun == SCSI_LUNS_MAX || t->scsi.units[lun])
		return fail(why, -EEXIST, "LUN %llu is given twice", (unsigned long long)lun);
	dev = bdev_find(word);
	if (!dev)
		return fail(why, -ENODEV, "%.200s: no such device", word);
	if (!dev->nr_sectors)
		return fail(why, -EINVAL, "%.200s: it has no sectors", word);
	u = mem_alloc(&target_tag, sizeof(*u));
	if (!u)
		return -ENOMEM;
	err = bdev_claim(dev, holder);
	if (err) {
		mem_free(u);
		return fail(why, err, "%.200s: somebody else uses it", word);
	}
	scsi_unit_init(u, dev, (uint16_t)lun, read_only, identity(dev));
	t->scsi.units[lun] = u;
	return 0;
}

static void target_free(struct iscsi_target *t)
{
	for (unsigned i = 0; i < SCSI_LUNS_MAX; i++) {
		if (!t->scsi.units[i])
			continue;
		bdev_release(t->scsi.units[i]->dev, holder);
		mem_free(t->scsi.units[i]);
	}
	mem_free_wipe(t);
}

static int parse_words(struct iscsi_target *t, unsigned argc, char **argv, struct strbuf *why)
{
	unsigned units = 0;
	bool noauth = false;
	int err = 0;

	for (unsigned i = 1; i < argc && !err; i++) {
		char *word = argv[i], *eq = word[0] == '-' ? strchr(word, '=') : NULL;
		const char *value = eq ? eq + 1 : i + 1 < argc ? argv[i + 1] : NULL;
		bool chap, mutual, allow;

		if (eq)
			*eq = 0;
		chap = !strcmp(word, "--chap");
		mutual = !strcmp(word, "--mutual-chap");
		allow = !strcmp(word, "--allow");
		if (!strcmp(word, "--noauth") && !eq) {
			noauth = true;
		} else if (chap || mutual || allow) {
			if (!value)
				return fail(why, -EINVAL, "%s: a value is missing", word);
			i += !eq;
			if (chap)
				err = credential(value, t->user, t->secret, word, why);
			else if (mutual)
				err = credential(
					value, t->mutual_user, t->mutual_secret, word, why);
			else if (t->nr_allow == ALLOW_MAX || strlen(value) > NAME_MAX_LEN)
				err = fail(why, -E2BIG, "--allow: at most %u names", ALLOW_MAX);
			else
				str_copy(t->allow[t->nr_allow++], NAME_MAX_LEN + 1, value);
		} else if (word[0] == '-') {
			err = fail(why, -EINVAL, "%.60s: unknown option", word);
		} else {
			err = add_unit(t, word, why);
			units++;
		}
	}
	if (err)
		return err;
	if (!units)
		return fail(why, -EINVAL, "which device?");
	if (noauth == (t->secret[0] != 0))
		return fail(why, -EACCES,
			noauth ? "--chap and --noauth exclude one another"
			       : "closed by default: say --chap USER:SECRET, or --noauth");
	if (t->mutual_secret[0] && (!t->secret[0] || !strcmp(t->secret, t->mutual_secret)))
		return fail(why, -EINVAL,
			"--mutual-chap: needs --chap, and a secret other than that one's");
	t->noauth = noauth;
	return 0;
}

static may_block int iscsi_create(unsigned argc, char **argv, struct strbuf *why)
{
	struct iscsi_target *t;
	int err;

	if (!name_ok(argv[0]))
		return fail(why, -EINVAL,
			"%.230s: no iSCSI name (iqn.YYYY-MM.domain:what, in small letters)",
			argv[0]);
	if (target_by_name(argv[0]))
		return fail(why, -EEXIST, "%s is exported already", argv[0]);
	t = mem_alloc(&target_tag, sizeof(*t));
	if (!t)
		return -ENOMEM;
	str_copy(t->scsi.name, sizeof(t->scsi.name), argv[0]);
	err = parse_words(t, argc, argv, why);
	if (!err && !conn_data_pools())
		err = fail(why, -ENOMEM, "no memory for its data");
	if (!err && !listener) {
		listener = net_listen(ISCSI_PORT, conn_accept, NULL);
		if (!listener)
			err = fail(why, -ENOMEM, "port %u cannot be opened", ISCSI_PORT);
	}
	if (err) {
		target_free(t);
		conn_data_release();
		return err;
	}
	list_add_tail(&iscsi_targets, &t->node);
	return 0;
}

/* ---- remove, and what there is ---- */

/* Commands of a connection that was cut may still be with the disk: the units stay until then. */
static may_block void drain(void)
{
	bool busy = true;

	while (busy) {
		fiber_sleep(NS_PER_MS);
		busy = iscsi_tasks_running() != 0;
	}
}

static may_block int iscsi_remove(const char *name, bool force, struct strbuf *why)
{
	struct iscsi_target *t = target_by_name(name);
	struct conn *c, *victim;

	if (!t)
		return -ENOENT;
	if (target_sessions(t) && !force)
		return fail(why, -EBUSY, "%s: %u session%s open (-f ends them)", name,
			target_sessions(t), target_sessions(t) == 1 ? " is" : "s are");
	list_del(&t->node); /* nobody finds it any more */
	do {
		victim = NULL;
		list_for_each (c, &iscsi_conns, node)
			if (c->target == t)
				victim = c;
		if (victim)
			conn_kill(victim, "the export is removed");
	} while (victim);
	if (list_empty(&iscsi_targets) && listener) {
		net_unlisten(listener);
		listener = NULL;
	}
	drain();
	target_free(t);
	conn_data_release();
	return 0;
}

static void iscsi_list(struct strbuf *out)
{
	struct iscsi_target *t;

	list_for_each (t, &iscsi_targets, node) {
		strbuf_printf(out, "iscsi %s %s", t->scsi.name,
			t->noauth             ? "noauth"
			: t->mutual_secret[0] ? "mutual-chap"
					      : "chap");
		for (unsigned i = 0; i < t->nr_allow; i++)
			strbuf_printf(out, " allow %s", t->allow[i]);
		strbuf_puts(out, "\n");
		for (unsigned i = 0; i < SCSI_LUNS_MAX; i++) {
			const struct scsi_unit *u = t->scsi.units[i];

			if (u)
				strbuf_printf(out, "  lun %u /dev/%s %llu sectors%s\n", i,
					u->dev->name, (unsigned long long)u->dev->nr_sectors,
					u->read_only || u->dev->read_only ? " ro" : "");
		}
	}
}

static void iscsi_sessions(struct strbuf *out)
{
	struct conn *c;

	list_for_each (c, &iscsi_conns, node)
		strbuf_printf(out, "iscsi %s %s %s %s\n", c->peer,
			c->initiator[0] ? c->initiator : "-",
			c->target      ? c->target->scsi.name
			: c->discovery ? "discovery"
				       : "-",
			c->state == CONN_FULL ? "in" : "logging in");
}

static void iscsi_stats(struct strbuf *out)
{
	struct iscsi_target *t;

	list_for_each (t, &iscsi_targets, node) {
		strbuf_printf(out, "iscsi %s sessions %u logins %llu refused %llu\n", t->scsi.name,
			target_sessions(t), (unsigned long long)t->logins,
			(unsigned long long)t->refused);
		for (unsigned i = 0; i < SCSI_LUNS_MAX; i++) {
			const struct scsi_unit *u = t->scsi.units[i];

			if (u)
				strbuf_printf(out,
					"  lun %u reads %llu bytes %llu writes %llu bytes %llu "
					"errors %llu\n",
					i, (unsigned long long)u->reads,
					(unsigned long long)u->read_bytes,
					(unsigned long long)u->writes,
					(unsigned long long)u->written_bytes,
					(unsigned long long)u->errors);
		}
	}
}

static const char *iscsi_name_at(unsigned i)
{
	struct iscsi_target *t;

	list_for_each (t, &iscsi_targets, node)
		if (!i--)
			return t->scsi.name;
	return NULL;
}

const struct export_kind iscsi_export = {
	.name = "iscsi",
	.usage = "<iqn> <device>[,lun=N][,ro]... (--chap USER:SECRET [--mutual-chap USER:SECRET] | "
		 "--noauth) [--allow INITIATOR]...",
	.create = iscsi_create,
	.remove = iscsi_remove,
	.list = iscsi_list,
	.sessions = iscsi_sessions,
	.stats = iscsi_stats,
	.name_at = iscsi_name_at,
};

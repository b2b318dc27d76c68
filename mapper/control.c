/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control - the verbs of control.h, and the names, uuids and numbers that mapped devices have.
 *
 * Everything here runs on fibers of core 0, so what does not block needs no protection: the trees
 * are changed in one go.  What blocks is done holding the device's gate; a device that was removed
 * while someone stood at its gate stays in memory until the last has left.
 */
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "mapper/mdev.h"

static int cmp_name(const struct tree_node *n, const void *key)
{
	return strcmp(container_of(n, struct mdev, by_name)->name, key);
}

static int cmp_uuid(const struct tree_node *n, const void *key)
{
	return strcmp(container_of(n, struct mdev, by_uuid)->uuid, key);
}

static int cmp_minor(const struct tree_node *n, const void *key)
{
	uint32_t a = container_of(n, struct mdev, by_minor)->bdev.minor;
	uint32_t b = *(const uint32_t *)key;

	return a < b ? -1 : a > b;
}

static struct tree names, uuids, minors;
static uint32_t free_minor; /* none below it is free */

#define OF(node, member) ((node) ? container_of(node, struct mdev, member) : NULL)

/* ---- finding ---- */

static struct mdev *find_name(const char *name)
{
	struct tree_node *n = tree_find(&names, name);

	return OF(n, by_name);
}

static struct mdev *find_uuid(const char *uuid)
{
	struct tree_node *n = tree_find(&uuids, uuid);

	return OF(n, by_uuid);
}

static struct mdev *find_minor(uint32_t minor)
{
	struct tree_node *n = tree_find(&minors, &minor);

	return OF(n, by_minor);
}

static const char *after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

struct mdev *dm_find(const char *spec)
{
	struct mdev *md = find_name(spec);
	const char *rest;
	uint64_t minor;

	if (!md && *spec)
		md = find_uuid(spec);
	if (md)
		return md;
	rest = after(spec, "/dev/mapper/");
	if (rest)
		return find_name(rest);
	rest = after(spec, "/dev/dm-");
	if (!rest)
		rest = after(spec, "dm-");
	if (!rest)
		rest = after(spec, "253:");
	if (rest && !str_to_u64(rest, 10, MDEV_MINOR_MAX, &minor))
		return find_minor((uint32_t)minor);
	return NULL;
}

static struct bdev *find_mapped(const char *name)
{
	struct mdev *md = find_name(name);

	return md ? &md->bdev : NULL;
}

struct mdev *dm_next(struct mdev *prev)
{
	struct tree_node *n = tree_after(&names, prev ? prev->name : NULL);

	return OF(n, by_name);
}

struct mdev *dm_after(const char *name)
{
	struct tree_node *n = tree_after(&names, name);

	return OF(n, by_name);
}

struct mdev *dm_next_by_minor(struct mdev *prev)
{
	struct tree_node *n = tree_after(&minors, prev ? &prev->bdev.minor : NULL);

	return OF(n, by_minor);
}

struct mdev *mdev_next(struct mdev *prev)
{
	return dm_next_by_minor(prev);
}

void dm_info(struct mdev *md, struct dm_info *out)
{
	*out = (struct dm_info){
		.major = md->bdev.major,
		.minor = md->bdev.minor,
		.suspended = md->suspended,
		.live_table = md->live != NULL,
		.inactive_table = md->inactive != NULL,
		.read_only = md->bdev.read_only,
		.deferred_remove = md->deferred,
		.open_count = md->bdev.open_count,
		.nr_targets = md->live ? md->live->nr_targets : 0,
		.event_nr = md->event_nr,
		.bdev = &md->bdev,
	};
	str_copy(out->name, sizeof(out->name), md->name);
	str_copy(out->uuid, sizeof(out->uuid), md->uuid);
}

struct bdev *dm_dep(struct mdev *md, unsigned i)
{
	return md->bdev.ops->below(&md->bdev, i);
}

/* ---- names ---- */

static bool has_control_bytes(const char *s)
{
	for (; *s; s++)
		if ((uint8_t)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

static int check_name(const char *name, struct strbuf *why)
{
	size_t len = strnlen(name, DM_NAME_MAX + 1);

	if (!len)
		strbuf_puts(why, "name not supplied when creating device");
	else if (len > DM_NAME_MAX)
		strbuf_printf(why, "a name has at most %u characters", DM_NAME_MAX);
	else if (strchr(name, '/'))
		strbuf_printf(why, "Name \"%s\" invalid. It contains \"/\".", name);
	else if (!strcmp(name, "control") || !strcmp(name, ".") || !strcmp(name, ".."))
		strbuf_printf(why, "Name \"%s\" invalid. It is reserved.", name);
	else if (has_control_bytes(name))
		strbuf_puts(why, "a name has no control characters");
	else
		return 0;
	return -EINVAL;
}

static int check_uuid(const char *uuid, struct strbuf *why)
{
	if (strnlen(uuid, DM_UUID_MAX + 1) > DM_UUID_MAX)
		strbuf_printf(why, "a uuid has at most %u characters", DM_UUID_MAX);
	else if (has_control_bytes(uuid))
		strbuf_puts(why, "a uuid has no control characters");
	else
		return 0;
	return -EINVAL;
}

static void link_all(struct mdev *md)
{
	tree_insert(&names, &md->by_name, md->name);
	if (*md->uuid)
		tree_insert(&uuids, &md->by_uuid, md->uuid);
	tree_insert(&minors, &md->by_minor, &md->bdev.minor);
}

static void unlink_all(struct mdev *md)
{
	tree_remove(&names, &md->by_name, md->name);
	if (*md->uuid)
		tree_remove(&uuids, &md->by_uuid, md->uuid);
	tree_remove(&minors, &md->by_minor, &md->bdev.minor);
	free_minor = MIN(free_minor, md->bdev.minor);
}

/* ---- the gate ---- */

static int enter(struct mdev *md, struct strbuf *why)
{
	md->refs++;
	gate_enter(&md->gate);
	if (!md->dying)
		return 0;
	gate_leave(&md->gate);
	if (--md->refs == 0)
		mdev_free(md);
	strbuf_puts(why, "the device was removed meanwhile");
	return -ENXIO;
}

static int leave(struct mdev *md, int err)
{
	gate_leave(&md->gate);
	if (--md->refs == 0)
		mdev_free(md);
	return err;
}

/* ---- create ---- */

static int pick_minor(int wanted, uint32_t *minor, struct strbuf *why)
{
	if (wanted > (int)MDEV_MINOR_MAX || wanted < -1) {
		strbuf_printf(why, "a minor number is 0 to %u", MDEV_MINOR_MAX);
		return -EINVAL;
	}
	if (wanted >= 0) {
		*minor = (uint32_t)wanted;
		if (!find_minor(*minor))
			return 0;
		strbuf_printf(why, "minor number %d is taken", wanted);
		return -EBUSY;
	}
	while (free_minor <= MDEV_MINOR_MAX && find_minor(free_minor))
		free_minor++;
	*minor = free_minor;
	if (free_minor <= MDEV_MINOR_MAX)
		return 0;
	strbuf_puts(why, "all minor numbers are taken");
	return -EBUSY;
}

int dm_create(const char *name, const char *uuid, int minor, struct mdev **out, struct strbuf *why)
{
	struct mdev *md;
	uint32_t nr;
	int err;

	uuid = uuid ? uuid : "";
	err = check_name(name, why);
	if (!err)
		err = check_uuid(uuid, why);
	if (err)
		return err;
	if (find_name(name) || (*uuid && find_uuid(uuid))) {
		strbuf_printf(why, "%s \"%s\" is taken", find_name(name) ? "name" : "uuid",
			find_name(name) ? name : uuid);
		return -EBUSY;
	}
	err = pick_minor(minor, &nr, why);
	if (err)
		return err;
	md = mem_alloc(&mdev_tag, sizeof(*md));
	if (!md) {
		strbuf_puts(why, "no memory for a device");
		return -ENOMEM;
	}
	md->bdev.minor = nr;
	err = mdev_register(md);
	if (err) {
		strbuf_printf(why, "dm-%u: %s", nr, err_text(err));
		mdev_free(md);
		return err;
	}
	str_copy(md->name, sizeof(md->name), name);
	str_copy(md->uuid, sizeof(md->uuid), uuid);
	md->refs = 1;
	link_all(md);
	*out = md;
	return 0;
}

/* ---- tables ---- */

/* Some targets cannot give their place to another. */
static int check_types(const struct mdev *md, const struct table *t, struct strbuf *why)
{
	const struct target_ops *is = md->live ? md->live->targets[0].ops : NULL;
	const struct target_ops *new = t->targets[0].ops;

	if (!is || !is->immutable || is == new || new->wildcard)
		return 0;
	strbuf_printf(why, "can't replace immutable target type %s", is->name);
	log_err("device-mapper: ioctl: can't replace immutable target type %s", is->name);
	return -EINVAL;
}

static int load(struct mdev *md, const char *text, size_t len, bool read_only, struct strbuf *why)
{
	struct table *t, *old;
	int err = table_parse(md, text, len, read_only, &t, why);

	if (err)
		return err;
	err = check_types(md, t, why);
	if (!err)
		err = mdev_check_stack(md, t, why);
	if (err) {
		table_destroy(t);
		return err;
	}
	old = md->inactive;
	md->inactive = t;
	table_destroy(old);
	return 0;
}

struct dm_fault dm_fault(const struct mdev *md)
{
	return md->fault;
}

int dm_load(struct mdev *md, const char *text, size_t len, bool read_only, struct strbuf *why)
{
	int err = enter(md, why);

	return err ? err : leave(md, load(md, text, len, read_only, why));
}

int dm_clear(struct mdev *md, struct strbuf *why)
{
	int err = enter(md, why);
	struct table *old;

	if (err)
		return err;
	old = md->inactive;
	md->inactive = NULL;
	table_destroy(old);
	return leave(md, 0);
}

int dm_suspend(struct mdev *md, bool noflush, struct strbuf *why)
{
	int err = enter(md, why);

	if (err)
		return err;
	mdev_suspend(md, noflush);
	return leave(md, 0);
}

/* With the inactive table, if it can still be had: what lies beneath may have changed since it was
 * loaded.  If not, everything stays as it was. */
static int change_over(struct mdev *md, bool noflush, struct strbuf *why)
{
	bool was_suspended = md->suspended;
	struct table *old;
	int err;

	mdev_suspend(md, noflush);
	err = table_settle(md->inactive, why);
	if (!err)
		err = mdev_check_stack(md, md->inactive, why);
	if (err) {
		struct strbuf ignored = { 0 };

		if (!was_suspended)
			mdev_resume(md, &ignored);
		strbuf_free(&ignored);
		return err;
	}
	old = mdev_swap(md, md->inactive);
	md->inactive = NULL;
	err = mdev_resume(md, why);
	table_destroy(old);
	return err;
}

static int resume(struct mdev *md, bool noflush, struct strbuf *why)
{
	if (md->inactive)
		return change_over(md, noflush, why);
	if (!md->suspended)
		return 0;
	if (md->live)
		return mdev_resume(md, why);
	strbuf_puts(why, "the device has no table");
	return -EINVAL;
}

int dm_resume(struct mdev *md, bool noflush, struct strbuf *why)
{
	int err = enter(md, why);

	return err ? err : leave(md, resume(md, noflush, why));
}

/* ---- remove ---- */

static bool is_busy(const struct mdev *md)
{
	return md->bdev.open_count || md->bdev.nr_parts;
}

/* What is left for those who have it open. */
static int replace_by_error(struct mdev *md, struct strbuf *why)
{
	char text[48];
	int err;

	if (!md->live)
		return 0;
	str_printf(text, sizeof(text), "0 %llu error", (unsigned long long)md->live->nr_sectors);
	err = load(md, text, strlen(text), false, why);
	return err ? err : change_over(md, true, why);
}

static int remove_it(struct mdev *md, bool force, struct strbuf *why)
{
	bool was_suspended = md->suspended;
	int err;

	if (is_busy(md) && force) {
		err = replace_by_error(md, why);
		if (err)
			return err;
		was_suspended = false;
	}
	if (!is_busy(md))
		mdev_suspend(md, true);
	/* Again: suspending may have taken a while. */
	if (is_busy(md)) {
		if (md->suspended && !was_suspended)
			mdev_resume(md, why);
		strbuf_reset(why);
		strbuf_printf(why, "%s is in use", md->name);
		return -EBUSY;
	}
	md->dying = true;
	unlink_all(md);
	mdev_unregister(md);
	table_destroy(md->live);
	table_destroy(md->inactive);
	md->live = md->inactive = NULL;
	md->refs--;
	return 0;
}

int dm_remove(struct mdev *md, bool force, struct strbuf *why)
{
	int err = enter(md, why);

	return err ? err : leave(md, remove_it(md, force, why));
}

int dm_remove_deferred(struct mdev *md, struct strbuf *why)
{
	int err = enter(md, why);

	if (err)
		return err;
	if (!is_busy(md))
		return leave(md, remove_it(md, false, why));
	md->deferred = true;
	return leave(md, 0);
}

static bool reaping;

/* Those that are due; the removal of one may make another due. */
static void reap(void *arg __unused)
{
	char name[DM_NAME_MAX + 1];
	struct strbuf why = { 0 };
	struct mdev *md = dm_next(NULL);

	while (md) {
		str_copy(name, sizeof(name), md->name);
		if (md->deferred && !is_busy(md) && !dm_remove(md, false, &why))
			name[0] = 0; /* from the beginning */
		strbuf_reset(&why);
		md = dm_after(name);
	}
	strbuf_free(&why);
	reaping = false;
}

void control_idle(struct mdev *md)
{
	if (!md->deferred || reaping)
		return;
	reaping = fiber_create("dm removal", reap, NULL) != NULL;
	if (!reaping)
		log_warn("device-mapper: %s: no memory to remove it now", md->name);
}

/* One walk through all in order of name; true if any went. */
static bool remove_each(bool force)
{
	char name[DM_NAME_MAX + 1];
	struct strbuf why = { 0 };
	struct tree_node *n = tree_after(&names, NULL);
	bool any = false;

	while (n) {
		struct mdev *md = OF(n, by_name);

		str_copy(name, sizeof(name), md->name);
		if (force || !is_busy(md))
			any |= !dm_remove(md, force, &why);
		strbuf_reset(&why);
		n = tree_after(&names, name);
	}
	strbuf_free(&why);
	return any;
}

unsigned dm_remove_all(bool force, bool deferred)
{
	unsigned nr = 0;

	while (remove_each(false))
		;
	/* Those that stay hold nothing beneath once they are errors. */
	if (force) {
		remove_each(true);
		while (remove_each(false))
			;
	}
	for (struct mdev *md = NULL; (md = dm_next(md)); nr++)
		md->deferred |= deferred;
	if (nr && !deferred)
		log_warn("device-mapper: ioctl: remove_all left %u open device(s)", nr);
	return nr;
}

/* ---- names change ---- */

static int rename(struct mdev *md, const char *new_name, struct strbuf *why)
{
	int err = check_name(new_name, why);

	if (err)
		return err;
	if (find_name(new_name)) {
		strbuf_printf(why,
			"Unable to change name on mapped device %s to one that already exists: %s",
			md->name, new_name);
		log_err("device-mapper: ioctl: %s", strbuf_text(why));
		return -EBUSY;
	}
	tree_remove(&names, &md->by_name, md->name);
	str_copy(md->name, sizeof(md->name), new_name);
	tree_insert(&names, &md->by_name, md->name);
	md->event_nr++;
	waitq_wake_all(&md->events);
	return 0;
}

int dm_rename(struct mdev *md, const char *new_name, struct strbuf *why)
{
	int err = enter(md, why);

	return err ? err : leave(md, rename(md, new_name, why));
}

static int set_uuid(struct mdev *md, const char *uuid, struct strbuf *why)
{
	int err = check_uuid(uuid, why);

	if (err)
		return err;
	if (!*uuid) {
		strbuf_puts(why, "a uuid cannot be empty");
		return -EINVAL;
	}
	if (*md->uuid) {
		strbuf_printf(why,
			"Unable to change uuid of mapped device %s to %s because uuid is already "
			"set to %s",
			md->name, uuid, md->uuid);
		err = -EINVAL;
	} else if (find_uuid(uuid)) {
		strbuf_printf(why,
			"Unable to change uuid on mapped device %s to one that already exists: %s",
			md->name, uuid);
		err = -EBUSY;
	}
	if (err) {
		log_err("device-mapper: ioctl: %s", strbuf_text(why));
		return err;
	}
	str_copy(md->uuid, sizeof(md->uuid), uuid);
	tree_insert(&uuids, &md->by_uuid, md->uuid);
	md->event_nr++;
	waitq_wake_all(&md->events);
	return 0;
}

int dm_set_uuid(struct mdev *md, const char *uuid, struct strbuf *why)
{
	int err = enter(md, why);

	return err ? err : leave(md, set_uuid(md, uuid, why));
}

/* ---- messages, status, events ---- */

static int refuse_message(struct strbuf *why, int err, const char *words, const char *word)
{
	strbuf_printf(why, "%s%s", words, word);
	log_err("device-mapper: ioctl: %s%s", words, word);
	return err;
}

int message_fail(struct strbuf *out, int err, const char *fmt, ...)
{
	va_list ap;

	strbuf_reset(out);
	va_start(ap, fmt);
	strbuf_vprintf(out, fmt, ap);
	va_end(ap);
	return err;
}

int dm_message(struct mdev *md, sector_t sector, unsigned argc, char **argv, struct strbuf *out,
	struct strbuf *why)
{
	struct table *t = md->live;
	struct target *tg;
	int err;

	if (!argc)
		return refuse_message(why, -EINVAL, "Empty message received.", "");
	if (!strcasecmp(argv[0], "@cancel_deferred_remove")) {
		if (argc != 1)
			return refuse_message(
				why, -EINVAL, "Invalid arguments for @cancel_deferred_remove", "");
		md->deferred = false;
		return 0;
	}
	if (argv[0][0] == '@')
		return refuse_message(
			why, -EINVAL, "Unsupported message sent to DM core: ", argv[0]);
	if (md->dying || !t)
		return refuse_message(why, -ENXIO, "the device has no table", "");
	if (sector >= t->nr_sectors)
		return refuse_message(why, -EINVAL, "Target message sector outside device.", "");
	tg = table_find(t, sector);
	if (!tg->ops->message)
		return refuse_message(why, -EINVAL, "Target type does not support messages", "");
	/* Without the gate: a message may be what someone waits for who has it. */
	table_hold(t);
	err = tg->ops->message(tg, argc, argv, out);
	if (err && out->len) {
		strbuf_printf(why, "%s: %s", tg->ops->name, strbuf_text(out));
		log_err("device-mapper: %s", strbuf_text(why));
		strbuf_reset(out);
	}
	table_release(t);
	return err;
}

int dm_status(struct mdev *md, bool table_words, bool inactive, struct strbuf *out)
{
	struct table *t = inactive ? md->inactive : md->live;

	if (md->dying)
		return -ENXIO;
	if (!t)
		return 0;
	table_hold(t);
	for (unsigned i = 0; i < t->nr_targets; i++) {
		struct target *tg = &t->targets[i];

		strbuf_printf(out, "%llu %llu %s ", (unsigned long long)tg->begin,
			(unsigned long long)tg->len, tg->ops->name);
		if (tg->ops->status)
			tg->ops->status(tg, table_words ? STATUS_TABLE : STATUS_INFO, out);
		strbuf_putc(out, '\n');
	}
	table_release(t);
	return 0;
}

int dm_wait(struct mdev *md, uint32_t event_nr, uint64_t due_ns)
{
	int err = 0;

	md->refs++;
	while (!err && !md->dying && md->event_nr == event_nr)
		err = waitq_wait_until(&md->events, due_ns);
	if (md->dying)
		err = -ENXIO;
	if (--md->refs == 0)
		mdev_free(md);
	return err;
}

/* ---- life ---- */

int dm_init(void)
{
	names = (struct tree){ .cmp = cmp_name };
	uuids = (struct tree){ .cmp = cmp_uuid };
	minors = (struct tree){ .cmp = cmp_minor };
	free_minor = 0;
	reaping = false;
	bdev_find_mapped = find_mapped;
	return 0;
}

void dm_exit(void)
{
	ASSERT(!dm_next(NULL));
	bdev_find_mapped = NULL;
}

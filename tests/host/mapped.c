/* SPDX-License-Identifier: BSD-2-Clause */
/* mapped - see mapped.h. */
#include "tests/host/mapped.h"
#include "tests/host/host.h"

enum verb {
	CREATE,
	LOAD,
	CLEAR,
	SUSPEND,
	RESUME,
	REMOVE,
	REMOVE_ALL,
	REMOVE_DEFERRED,
	RENAME,
	SET_UUID,
	MESSAGE,
	RW,
};

struct call {
	enum verb verb;
	const char *name, *text;
	bool flag;
	struct bdev *dev;
	enum bio_op op;
	unsigned flags;
	sector_t sector;
	uint32_t nr_sectors;
	void *buf;
	int err;
	bool ended;
};

static struct strbuf why, text;
static unsigned fail_alloc;

static int create(struct call *c)
{
	struct mdev *md;
	int err = dm_create(c->name, NULL, -1, &md, &why);

	if (err || !c->text)
		return err;
	err = dm_load(md, c->text, strlen(c->text), false, &why);
	if (!err)
		err = dm_resume(md, false, &why);
	if (err)
		ASSERT(!dm_remove(md, false, &text));
	return err;
}

static int with_device(struct call *c)
{
	struct mdev *md = dm_find(c->name);
	char *words[] = { (char *)c->text };

	if (!md)
		return -ENXIO;
	switch (c->verb) {
	case LOAD:
		return dm_load(md, c->text, strlen(c->text), c->flag, &why);
	case CLEAR:
		return dm_clear(md, &why);
	case SUSPEND:
		return dm_suspend(md, c->flag, &why);
	case RESUME:
		return dm_resume(md, c->flag, &why);
	case REMOVE:
		return dm_remove(md, c->flag, &why);
	case REMOVE_DEFERRED:
		return dm_remove_deferred(md, &why);
	case RENAME:
		return dm_rename(md, c->text, &why);
	case SET_UUID:
		return dm_set_uuid(md, c->text, &why);
	default:
		return dm_message(md, c->sector, 1, words, &text, &why);
	}
}

static void run(void *arg)
{
	struct call *c = arg;

	if (fail_alloc)
		host_fail_alloc(fail_alloc);
	fail_alloc = 0;
	strbuf_reset(&why);
	strbuf_reset(&text);
	if (c->verb == CREATE)
		c->err = create(c);
	else if (c->verb == REMOVE_ALL)
		c->err = (int)dm_remove_all(c->flag, false);
	else if (c->verb == RW)
		c->err = bdev_rw(c->dev, c->op, c->flags, c->sector, c->nr_sectors, c->buf);
	else
		c->err = with_device(c);
	c->ended = true;
}

static int call(struct call c)
{
	host_fiber(run, &c);
	ASSERT(c.ended);
	return c.err;
}

int mapped_create(const char *name, const char *table)
{
	return call((struct call){ .verb = CREATE, .name = name, .text = table });
}

int mapped_create_empty(const char *name)
{
	return call((struct call){ .verb = CREATE, .name = name });
}

int mapped_load(const char *name, const char *table)
{
	return call((struct call){ .verb = LOAD, .name = name, .text = table });
}

int mapped_load_read_only(const char *name, const char *table)
{
	return call((struct call){ .verb = LOAD, .name = name, .text = table, .flag = true });
}

int mapped_clear(const char *name)
{
	return call((struct call){ .verb = CLEAR, .name = name });
}

int mapped_suspend(const char *name)
{
	return call((struct call){ .verb = SUSPEND, .name = name });
}

int mapped_suspend_noflush(const char *name)
{
	return call((struct call){ .verb = SUSPEND, .name = name, .flag = true });
}

int mapped_resume(const char *name)
{
	return call((struct call){ .verb = RESUME, .name = name });
}

int mapped_remove(const char *name)
{
	return call((struct call){ .verb = REMOVE, .name = name });
}

int mapped_remove_deferred(const char *name)
{
	return call((struct call){ .verb = REMOVE_DEFERRED, .name = name });
}

int mapped_remove_force(const char *name)
{
	return call((struct call){ .verb = REMOVE, .name = name, .flag = true });
}

unsigned mapped_remove_all(bool force)
{
	return (unsigned)call((struct call){ .verb = REMOVE_ALL, .flag = force });
}

int mapped_rename(const char *name, const char *to)
{
	return call((struct call){ .verb = RENAME, .name = name, .text = to });
}

int mapped_set_uuid(const char *name, const char *uuid)
{
	return call((struct call){ .verb = SET_UUID, .name = name, .text = uuid });
}

int mapped_message(const char *name, sector_t sector, const char *word)
{
	return call((struct call){ .verb = MESSAGE, .name = name, .text = word, .sector = sector });
}

int mapped_rw(struct bdev *dev, enum bio_op op, unsigned flags, sector_t sector,
	uint32_t nr_sectors, void *buf)
{
	return call((struct call){ .verb = RW,
		.dev = dev,
		.op = op,
		.flags = flags,
		.sector = sector,
		.nr_sectors = nr_sectors,
		.buf = buf });
}

/* ---- what there is ---- */

void mapped_fail_alloc(unsigned n)
{
	fail_alloc = n;
}

const char *mapped_why(void)
{
	return strbuf_text(&why);
}

static const char *status(const char *name, bool table_words, bool inactive)
{
	struct mdev *md = dm_find(name);

	strbuf_reset(&text);
	if (!md || dm_status(md, table_words, inactive, &text))
		return NULL;
	return strbuf_text(&text);
}

const char *mapped_table(const char *name)
{
	return status(name, true, false);
}

const char *mapped_inactive(const char *name)
{
	return status(name, true, true);
}

const char *mapped_status(const char *name)
{
	return status(name, false, false);
}

struct dm_info mapped_info(const char *name)
{
	struct mdev *md = dm_find(name);
	struct dm_info info;

	ASSERT(md);
	dm_info(md, &info);
	return info;
}

struct bdev *mapped_bdev(const char *name)
{
	return mapped_info(name).bdev;
}

/* ---- between tests ---- */

int mapped_setup(void **state)
{
	host_reset();
	block_reset();
	why = text = (struct strbuf){ 0 };
	fail_alloc = 0;
	return dm_init();
}

int mapped_teardown(void **state)
{
	bool clean;

	host_run();
	clean = mapped_remove_all(true) == 0;
	if (clean)
		dm_exit();
	strbuf_free(&why);
	strbuf_free(&text);
	clean = host_mem_check() && clean;
	host_reset();
	block_reset();
	return clean ? 0 : -1;
}

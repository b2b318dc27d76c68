/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * args - the words of a table line as a constructor reads them; target.h has the contracts.  The
 * first failure stays and everything after it answers as harmlessly as it can.
 */
#include "kernel/api/string.h"
#include "mapper/mdev.h"

unsigned args_left(const struct args *a)
{
	return a->err ? 0 : a->argc - a->pos;
}

void arg_fail(struct args *a, int err, const char *fmt, ...)
{
	va_list ap;

	if (a->err)
		return;
	a->err = err;
	a->at = a->pos ? a->pos - 1 : a->argc;
	va_start(ap, fmt);
	str_vprintf(a->words, sizeof(a->words), fmt, ap);
	va_end(ap);
}

const char *arg_word(struct args *a, const char *words)
{
	if (!a->err && a->pos < a->argc)
		return a->argv[a->pos++];
	if (!a->err) {
		arg_fail(a, -EINVAL, "%s", words);
		a->at = a->argc;
	}
	return "";
}

uint64_t arg_u64(struct args *a, uint64_t max, const char *words)
{
	const char *word = arg_word(a, words);
	uint64_t n = 0;

	if (a->err)
		return 0;
	if (str_to_u64(word, 10, max, &n)) {
		arg_fail(a, -EINVAL, "%s", words);
		return 0;
	}
	return n;
}

/* "8:16" as opposed to a name. */
static bool is_number(const char *spec)
{
	const char *colon = strchr(spec, ':');

	if (!colon)
		return false;
	for (const char *p = spec; *p; p++)
		if (p != colon && (*p < '0' || *p > '9'))
			return false;
	return true;
}

/* 0 or why this device cannot be part of that table. */
static int bdev_refusal(const struct table *t, struct bdev *dev)
{
	const struct mdev *md = mdev_of(dev);

	if (dev->gone || (md && md->dying))
		return -ENXIO;
	if (mdev_stands_on(dev, t->md))
		return -EINVAL;
	if (dev->read_only && !t->read_only)
		return -EACCES;
	return 0;
}

struct bdev *arg_bdev(struct args *a, const char *words)
{
	const char *spec = arg_word(a, words);
	struct table *t = a->target->table;
	struct bdev *dev;
	int err = 0;

	if (a->err)
		return NULL;
	dev = bdev_find(spec);
	if (!dev)
		err = is_number(spec) ? -ENXIO : -ENODEV;
	/* One that this table has already was judged when it was taken. */
	if (!err && !table_has(t, dev)) {
		err = bdev_refusal(t, dev);
		if (!err)
			err = table_take(t, dev);
	}
	if (err) {
		arg_fail(a, err, "%s", words);
		return NULL;
	}
	return dev;
}

void arg_uses(struct args *a, struct bdev *dev, sector_t start, sector_t len)
{
	struct table *t = a->target->table;
	struct table_use use = {
		.dev = dev,
		.start = start,
		.len = len,
		.target = (unsigned)(a->target - t->targets),
	};

	if (a->err)
		return;
	if (table_add_use(t, &use))
		arg_fail(a, -ENOMEM, "no memory for the devices it uses");
}

struct bdev *arg_range(struct args *a, sector_t len, sector_t *start, const char *dev_words,
	const char *start_words)
{
	unsigned at = a->pos;
	struct bdev *dev;

	arg_word(a, dev_words);
	*start = arg_u64(a, UINT64_MAX, start_words);
	if (a->err)
		return NULL;
	a->pos = at;
	dev = arg_bdev(a, dev_words);
	if (!dev)
		return NULL;
	a->pos++;
	arg_uses(a, dev, *start, len);
	return dev;
}

int arg_end(struct args *a, const char *words)
{
	if (!a->err && a->pos < a->argc) {
		arg_fail(a, -EINVAL, "%s", words);
		a->at = a->pos;
	}
	return a->err;
}

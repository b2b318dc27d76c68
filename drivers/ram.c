/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ram - disks of memory.  The memory comes in pieces, all of them when the disk is made, so that a
 * write never finds there is none.  Requests are done where they are submitted, on any core, before
 * submit() returns; nothing is ever volatile, as far as that can be said of memory.
 */
#include "drivers/ram.h"
#include "kernel/api/fiber.h"
#include "kernel/api/string.h"

#define RAM_MAJOR     1
#define RAM_MAX_MINOR ((1u << 20) - 1)
#define PIECE_ORDER   4u /* 64 KiB; less for a disk that is smaller */
#define MAX_SECTORS   2048u
#define MAX_ZEROES    131072u      /* 64 MiB: some milliseconds */
#define SPARE         (2ull << 20) /* memory that a disk leaves to others */

struct ram {
	struct bdev bdev;
	unsigned shift; /* bytes of a piece */
	uint64_t nr;
	uint8_t **pieces;
};

static struct mem_tag ram_tag = MEM_TAG("ramdisk");

/* ---- requests ---- */

static void copy(const struct ram *r, uint64_t at, uint8_t *mem, uint32_t n, bool write)
{
	while (n) {
		uint32_t in = (uint32_t)(at & ((1ull << r->shift) - 1));
		uint32_t now = MIN(n, (1u << r->shift) - in);
		uint8_t *p = r->pieces[at >> r->shift] + in;

		memcpy(write ? p : mem, write ? mem : p, now);
		mem += now;
		at += now;
		n -= now;
	}
}

static void zero(const struct ram *r, uint64_t at, uint64_t n)
{
	while (n) {
		uint32_t in = (uint32_t)(at & ((1ull << r->shift) - 1));
		uint32_t now = (uint32_t)MIN(n, (uint64_t)((1u << r->shift) - in));

		memset(r->pieces[at >> r->shift] + in, 0, now);
		at += now;
		n -= now;
	}
}

static void ram_submit(struct bdev *dev, struct bio *bio)
{
	const struct ram *r = container_of(dev, struct ram, bdev);
	uint64_t at = bio->sector << SECTOR_SHIFT;
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;

	if (bio_has_data(bio)) {
		for (; seg_next(&it, UINT32_MAX, &s); at += s.len)
			copy(r, at, dma_ptr(s.addr), s.len, bio->op == BIO_WRITE);
	} else {
		zero(r, at, bio_bytes(bio));
	}
	bio_end(bio, 0);
}

static void ram_describe(struct bdev *dev, struct strbuf *out)
{
	strbuf_puts(out, "memory");
}

static const struct bdev_ops ram_ops = {
	.submit = ram_submit,
	.describe = ram_describe,
};

/* ---- life ---- */

static void ram_free(struct ram *r)
{
	for (uint64_t i = 0; r->pieces && i < r->nr; i++)
		page_free(&ram_tag, r->pieces[i], r->shift - PAGE_SHIFT);
	mem_free(r->pieces);
	mem_free(r);
}

/* "ram5", not "ram05". */
static int parse_name(const char *name, uint32_t *minor)
{
	uint64_t n;

	if (strncmp(name, "ram", 3) != 0 || (name[3] == '0' && name[4]) ||
		str_to_u64(name + 3, 10, RAM_MAX_MINOR, &n))
		return -EINVAL;
	*minor = (uint32_t)n;
	return 0;
}

static may_block int allocate(struct ram *r, uint64_t bytes)
{
	unsigned order =
		MIN(PIECE_ORDER, page_order(MIN(bytes, (uint64_t)PAGE_SIZE << PIECE_ORDER)));
	struct mem_stats st;

	r->shift = PAGE_SHIFT + order;
	r->nr = DIV_ROUND_UP(bytes, 1ull << r->shift);
	mem_stats(&st);
	if (st.free_bytes < SPARE || (r->nr << r->shift) > st.free_bytes - SPARE)
		return -ENOMEM;
	r->pieces = mem_alloc(&ram_tag, r->nr * sizeof(*r->pieces));
	if (!r->pieces)
		return -ENOMEM;
	for (uint64_t i = 0; i < r->nr; i++) {
		r->pieces[i] = page_alloc(&ram_tag, order);
		if (!r->pieces[i])
			return -ENOMEM;
		if (i % 16 == 15)
			fiber_yield();
	}
	return 0;
}

static void set_limits(struct limits *l)
{
	limits_default(l);
	l->physical_block = l->io_min = PAGE_SIZE;
	l->max_sectors = MAX_SECTORS;
	l->max_discard_sectors = l->max_write_zeroes_sectors = MAX_ZEROES;
	l->discard_granularity = SECTOR_SIZE;
	l->dma_align = 0;
}

int ram_create(const char *name, uint64_t bytes, const char **words)
{
	uint32_t minor;
	struct ram *r;
	int err;

	*words = "a ram disk is called ram0, ram1 ...";
	if (parse_name(name, &minor))
		return -EINVAL;
	*words = "the size must be a multiple of 512 bytes, and not 0";
	if (!bytes || bytes % SECTOR_SIZE)
		return -EINVAL;
	*words = "there is not so much memory";
	if (bytes > INT64_MAX)
		return -ENOMEM;
	r = mem_alloc(&ram_tag, sizeof(*r));
	if (!r)
		return -ENOMEM;
	str_copy(r->bdev.name, sizeof(r->bdev.name), name);
	r->bdev.major = RAM_MAJOR;
	r->bdev.minor = minor;
	r->bdev.nr_sectors = bytes >> SECTOR_SHIFT;
	r->bdev.ops = &ram_ops;
	set_limits(&r->bdev.limits);
	err = allocate(r, bytes);
	if (!err)
		err = bdev_register(&r->bdev);
	if (err)
		ram_free(r);
	if (err == -EEXIST)
		*words = "it is there already";
	return err;
}

int ram_remove(const char *name, const char **words)
{
	struct bdev *dev = bdev_find(name);
	int err;

	*words = "no such ram disk";
	if (!dev || dev->ops != &ram_ops)
		return -ENODEV;
	*words = "it is in use";
	err = bdev_unregister(dev);
	if (!err)
		ram_free(container_of(dev, struct ram, bdev));
	return err;
}

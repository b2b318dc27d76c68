/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_nvme - the NVMe driver against a model controller: what it finds and refuses, requests of
 * every shape, and every way of a controller to go wrong.  In each of them a bio ends once, within
 * a minute, and never while the controller may still touch its memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/nvme/nvme.h"
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/mapped.h"
#include "tests/host/model_nvme.h"

#define BAR_AT     0x8000000000ull
#define LONGEST_NS (60 * NS_PER_S)
#define IO_PAGES   160u

static struct mem_tag test_tag = MEM_TAG("test");
static struct model_nvme m;
static struct pci_dev *pci;
static int attach_err;

/* ---- fixture ---- */

static int setup(void **state)
{
	host_reset();
	block_reset();
	model_pci_reset(true);
	model_nvme_init(&m);
	pci = NULL;
	return 0;
}

static void free_fiber(void *arg)
{
	nvme_free(pci->softc);
}

static void expect_no_leak(void)
{
	struct mem_tag *t;

	for (t = mem_tags(); t; t = t->next)
		if (t->nr && (!strncmp(t->name, "nvme", 4) || !strcmp(t->name, "block")))
			fail_msg("%zu of \"%s\" were not freed", t->nr, t->name);
}

static void detach(void)
{
	if (pci && pci->softc) {
		host_fiber(free_fiber, NULL);
		mem_free(pci->softc);
		pci->softc = NULL;
	}
	expect_no_leak();
}

static int teardown(void **state)
{
	detach();
	model_nvme_free(&m);
	model_pci_reset(false);
	block_reset();
	host_reset();
	return 0;
}

static void attach_fiber(void *arg)
{
	attach_err = nvme_driver.attach(pci);
}

static int attach(void)
{
	if (!pci) {
		model_nvme_plug(&m, MODEL_BDF(0, 4, 0), BAR_AT);
		pci_enumerate();
		pci = pci_next(NULL);
	}
	pci->softc = mem_alloc(&test_tag, sizeof(struct nvme));
	assert_non_null(pci->softc);
	host_fiber(attach_fiber, NULL);
	if (attach_err) {
		mem_free(pci->softc);
		pci->softc = NULL;
	}
	return attach_err;
}

static struct nvme *ctrl(void)
{
	return pci->softc;
}

static struct bdev *disk(void)
{
	struct bdev *b = bdev_find("nvme0n1");

	assert_non_null(b);
	return b;
}

static void expect_refused(int err, const char *words)
{
	assert_int_equal(attach(), err);
	if (words && !host_log_has(words))
		fail_msg("the log does not have \"%s\"", words);
	assert_false(model_pci_get16(m.pci, PCI_COMMAND) & PCI_COMMAND_BUSM);
	assert_null(bdev_find("nvme0n1"));
	expect_no_leak();
	assert_int_equal(host_nr_fibers(), 0);
}

/* ---- requests ---- */

struct io {
	struct bio bio;
	struct seg segs[IO_PAGES];
	uint8_t *pages; /* IO_PAGES */
	unsigned nr_done;
	uint64_t began_ns, ended_ns;
	int status;
};

static unsigned nr_out;

static void io_done(struct bio *bio)
{
	struct io *io = bio->owner;
	unsigned i;

	io->nr_done++;
	io->status = bio->status;
	io->ended_ns = now_ns();
	nr_out--;
	for (i = 0; io->pages && i < IO_PAGES; i++)
		if (model_nvme_owns(&m, dma_addr(io->pages) + i * PAGE_SIZE))
			fail_msg("a bio ended while its page %u is the controller's", i);
	assert_in_range(io->ended_ns - io->began_ns, 0, LONGEST_NS);
	assert_int_equal(io->nr_done, 1);
}

static struct io *io_new(enum bio_op op, sector_t sector, uint32_t nr)
{
	struct io *io = mem_alloc(&test_tag, sizeof(*io));

	io->bio = (struct bio){ .dev = disk(),
		.op = (uint8_t)op,
		.sector = sector,
		.nr_sectors = nr,
		.done = io_done,
		.owner = io };
	if (bio_has_data(&io->bio)) {
		io->pages = page_alloc(&test_tag, 8);
		io->bio.segs = io->segs;
		io->bio.nr_segs = 1;
		io->segs[0] = (struct seg){ dma_addr(io->pages), nr * SECTOR_SIZE };
	}
	return io;
}

static void io_submit(struct io *io)
{
	io->began_ns = now_ns();
	nr_out++;
	bio_submit(&io->bio);
	assert_int_equal(io->nr_done, 0);
}

static void io_free(struct io *io)
{
	page_free(&test_tag, io->pages, 8);
	mem_free(io);
}

static bool none_out(void *arg)
{
	return !nr_out;
}

static void wait_all(void)
{
	assert_true(host_run_until(none_out, NULL, 2 * LONGEST_NS));
}

/* Submits, waits, frees; its status. */
static int io_do(struct io *io)
{
	int status;

	io_submit(io);
	wait_all();
	status = io->status;
	io_free(io);
	return status;
}

static int simple(enum bio_op op, sector_t sector, uint32_t nr)
{
	return io_do(io_new(op, sector, nr));
}

static void submit_many(struct io **ios, unsigned n, enum bio_op op)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		ios[i] = io_new(op, i * 8, 8);
		if (op == BIO_WRITE)
			memset(ios[i]->pages, (int)(i + 1), PAGE_SIZE);
		io_submit(ios[i]);
	}
}

/* How many ended with status. */
static unsigned free_many(struct io **ios, unsigned n, int status)
{
	unsigned i, hits = 0;

	for (i = 0; i < n; i++) {
		assert_int_equal(ios[i]->nr_done, 1);
		hits += ios[i]->status == status;
		io_free(ios[i]);
	}
	return hits;
}

/* ---- finding ---- */

static void test_attach(void **state)
{
	struct strbuf sb = { 0 };
	struct bdev *b;

	assert_int_equal(attach(), 0);
	b = disk();
	assert_int_equal(b->major, 259);
	assert_int_equal(b->minor, 0);
	assert_int_equal(b->nr_sectors, 8192);
	assert_int_equal(b->limits.logical_block, 512);
	assert_int_equal(b->limits.max_sectors, 1024);
	assert_true(b->limits.write_cache && b->limits.fua && !b->read_only);
	assert_true(b->limits.max_discard_sectors && b->limits.max_write_zeroes_sectors);
	assert_int_equal(b->limits.no_gaps, 0); /* it has SGLs */
	assert_string_equal(b->serial, "S12345");
	b->ops->describe(b, &sb);
	assert_string_equal(strbuf_text(&sb), "Model NVMe Ctrl 1.0, 1 queue, namespace 1, "
					      "serial S12345, eui.0000000000000001");
	strbuf_free(&sb);
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	assert_true(m.nr_irqs);
	detach();
	assert_null(bdev_find("nvme0n1"));
	assert_int_equal(host_nr_fibers(), 0);
	assert_int_equal(attach(), 0); /* once more */
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
}

/* A controller that is known to forget what FUA means gets a flush behind the write. */
static void test_fua_ignored(void **state)
{
	memcpy(m.id.mn, "QEMU NVMe Ctrl                          ", sizeof(m.id.mn));
	assert_int_equal(attach(), 0);
	assert_true(disk()->limits.write_cache && !disk()->limits.fua);
}

static void test_limits(void **state)
{
	struct nvme_id_ns *id = &m.ns[0].id;
	const struct limits *l;

	m.id.sgls = 0;
	m.id.vwc = 0;
	m.id.oncs = 0;
	m.id.mdts = 5;
	id->nsfeat = NVME_NSFEAT_OPTPERF;
	id->npwg = 7;
	id->nows = 63;
	id->npdg = 127;
	id->noiob = 256;
	id->nsattr = 1;
	assert_int_equal(attach(), 0);
	l = &disk()->limits;
	assert_true(disk()->read_only);
	assert_int_equal(l->no_gaps, 4096);
	assert_int_equal(l->max_sectors, 256);
	assert_false(l->write_cache || l->fua);
	assert_int_equal(l->max_discard_sectors, 0);
	assert_int_equal(l->max_write_zeroes_sectors, 0);
	assert_int_equal(l->physical_block, 4096);
	assert_int_equal(l->io_opt, 32768);
	assert_int_equal(l->chunk_sectors, 256);
	assert_int_equal(simple(BIO_FLUSH, 0, 0), 0);
	assert_int_equal(m.nr_op[NVME_CMD_FLUSH], 0);
	assert_int_equal(simple(BIO_WRITE, 0, 8), -EROFS);
	detach();

	m.id.oncs = NVME_ONCS_DATASET;
	id->nsattr = 0;
	id->npwg = 6; /* no power of two */
	assert_int_equal(attach(), 0);
	l = &disk()->limits;
	assert_int_equal(l->physical_block, 512);
	assert_int_equal(l->discard_granularity, 65536);
}

static void test_namespaces(void **state)
{
	struct bdev *b;

	model_nvme_add_ns(&m, 3, 256, 12);
	model_nvme_add_ns(&m, 7, 64, 9);
	m.ns[2].id.nguid[0] = 0xab;
	model_nvme_add_ns(&m, 9, 64, 9)->id.lbaf[0].ms = 8;
	model_nvme_add_ns(&m, 10, 64, 9)->id.dps = 1;
	model_nvme_add_ns(&m, 11, 64, 9)->id.flbas = 3;
	model_nvme_add_ns(&m, 12, 64, 9)->id.lbaf[0].lbads = 8;
	model_nvme_add_ns(&m, 13, 64, 9)->id.lbaf[0].lbads = 13;
	model_nvme_add_ns(&m, 14, 64, 9)->id.nsze = 1ull << 54;
	model_nvme_add_ns(&m, 15, 64, 9)->id.nsze = 0;
	model_nvme_add_ns(&m, 16, 64, 9);
	assert_int_equal(attach(), 0);
	assert_true(host_log_has("namespace 9: formatted with 8 bytes of metadata"));
	assert_true(host_log_has("namespace 10: formatted with"));
	assert_true(host_log_has("namespace 11: format 3 of 1"));
	assert_true(host_log_has("namespace 12: blocks of 2^8"));
	assert_true(host_log_has("namespace 13: blocks of 2^13"));
	assert_true(host_log_has("namespace 14: 18014398509481984 blocks"));
	b = bdev_find("nvme0n2");
	assert_non_null(b);
	assert_int_equal(b->limits.logical_block, 4096);
	assert_int_equal(b->nr_sectors, 2048);
	assert_int_equal(b->minor, 256);
	assert_string_equal(b->serial, "S12345_3");
	assert_non_null(bdev_find("nvme0n3"));
	assert_int_equal(bdev_find("nvme0n4")->nr_sectors, 64);
	assert_null(bdev_find("nvme0n5"));

	/* blocks of 4096 bytes reach the wire as such */
	struct io *io = io_new(BIO_WRITE, 16, 8);

	io->bio.dev = b;
	memset(io->pages, 0x77, PAGE_SIZE);
	assert_int_equal(io_do(io), 0);
	assert_int_equal(m.ns[1].data[2 * 4096], 0x77);
	assert_int_equal(m.ns[1].data[3 * 4096 - 1], 0x77);
	assert_int_not_equal(m.ns[1].data[3 * 4096], 0x77);
	io = io_new(BIO_WRITE, 17, 8);
	io->bio.dev = b;
	assert_int_equal(io_do(io), -EINVAL);
}

static void test_lists(void **state)
{
	unsigned i;

	for (i = 2; i <= 70; i++)
		model_nvme_add_ns(&m, i, 16, 9);
	assert_int_equal(attach(), 0);
	assert_non_null(bdev_find("nvme0n64"));
	assert_null(bdev_find("nvme0n65"));
	assert_true(host_log_has("more than 64 namespaces"));
	detach();

	m.no_list = true; /* asked one by one then */
	assert_int_equal(attach(), 0);
	assert_non_null(bdev_find("nvme0n64"));
	detach();
	m.vs = 0x10000;
	m.no_list = false;
	m.list_wrong = true;
	assert_int_equal(attach(), 0);
	assert_non_null(bdev_find("nvme0n64"));
	detach();

	m.vs = 0x10400;
	m.list[0] = 2;
	m.list[1] = 2;
	m.list[2] = 5;
	assert_int_equal(attach(), 0);
	assert_non_null(bdev_find("nvme0n1"));
	assert_null(bdev_find("nvme0n2"));
	assert_true(host_log_has("namespace 2 after 2 in its list"));
	detach();
	m.list[0] = UINT32_MAX;
	expect_refused(-ENODEV, "has no namespace that can be used");
	for (i = 0; i < 1024; i++)
		m.list[i] = i + 1;
	assert_int_equal(attach(), 0);
}

static void test_queues(void **state)
{
	static const struct {
		unsigned cores, grants, really, vectors, expect;
	} t[] = {
		{ 1, 33, 33, 34, 1 },
		{ 4, 33, 33, 34, 4 },
		{ 4, 2, 2, 34, 2 },
		{ 4, 4, 3, 34, 3 },
		{ 4, 0, 1, 34, 1 }, /* it will not say */
		{ 4, 33, 33, 3, 2 },
		{ 4, 33, 33, 1, 1 },
		{ 4, 33, 33, 0, 1 },
		{ 32, 33, 33, 34, 32 },
	};
	struct io *io[MAX_CORES];
	unsigned i, c;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		teardown(NULL);
		setup(NULL);
		host_set_cores(t[i].cores);
		m.grants = t[i].grants;
		m.really = t[i].really;
		m.nr_vectors = t[i].vectors;
		assert_int_equal(attach(), 0);
		assert_int_equal(ctrl()->nr_queues, t[i].expect);
		memset(m.nr_by_queue, 0, sizeof(m.nr_by_queue));
		for (c = 0; c < t[i].cores; c++) {
			host_set_core(c);
			io[c] = io_new(BIO_READ, c * 8, 8);
			io_submit(io[c]);
		}
		host_set_core(0);
		wait_all();
		assert_int_equal(free_many(io, t[i].cores, 0), t[i].cores);
		for (c = 1; c <= t[i].expect; c++)
			assert_true(m.nr_by_queue[c] >= t[i].cores / t[i].expect);
	}
}

static void test_small_ring(void **state)
{
	struct io *io[64];

	m.cap = (m.cap & ~0xffffull) | 1; /* two entries: one command at a time */
	assert_int_equal(attach(), 0);
	submit_many(io, 64, BIO_READ);
	wait_all();
	assert_int_equal(free_many(io, 64, 0), 64);
	assert_int_equal(m.max_in_flight, 1);
}

static void test_irq_limit(void **state)
{
	host_set_cores(4);
	host_irq_limit(2);
	assert_int_equal(attach(), 0);
	assert_true(host_log_has("queue 3: no interrupt"));
	host_set_core(3);
	m.delay_ns = 100 * NS_PER_US;
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	host_set_core(0);
}

static void test_stride(void **state)
{
	m.cap |= 4ull << 32; /* doorbells 64 bytes apart */
	host_set_cores(2);
	assert_int_equal(attach(), 0);
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	detach();
	m.cap |= 15ull << 32;
	expect_refused(-EINVAL, "doorbells 131072 bytes apart");
}

/* ---- refusals ---- */

static void test_refused_registers(void **state)
{
	uint64_t cap = m.cap;

	m.cap = cap & ~(1ull << 37);
	expect_refused(-EINVAL, "capabilities");
	m.cap = cap | 1ull << 48;
	expect_refused(-EINVAL, "capabilities");
	m.cap = cap & ~0xffffull;
	expect_refused(-EINVAL, "capabilities");
	m.cap = cap;
	m.vanished = true;
	expect_refused(-EIO, "does not answer");
	m.vanished = false;
	assert_int_equal(attach(), 0);
}

static void test_small_bar(void **state)
{
	m.bar_size = 0x800;
	m.nr_vectors = 0;
	expect_refused(-EIO, "no registers");
}

static void test_refused_start(void **state)
{
	uint64_t t = now_ns();

	m.never_ready = true;
	expect_refused(-ETIMEDOUT, "cannot be enabled");
	assert_in_range(now_ns() - t, 5 * NS_PER_S, 6 * NS_PER_S); /* CAP.TO */
	m.never_ready = false;
	m.fails_to_start = true;
	expect_refused(-EIO, "cannot be enabled");
	m.fails_to_start = false;
	m.ready_ns = 4 * NS_PER_S;
	assert_int_equal(attach(), 0);
	detach();

	m.cap |= 0xffull << 24; /* says it needs two minutes: not at our boot */
	m.never_ready = true;
	t = now_ns();
	expect_refused(-ETIMEDOUT, "cannot be enabled");
	assert_in_range(now_ns() - t, 0, 75 * NS_PER_S);
}

static void test_refused_admin(void **state)
{
	static const int ops[] = { NVME_ADMIN_IDENTIFY, NVME_ADMIN_SET_FEATURES,
		NVME_ADMIN_CREATE_CQ, NVME_ADMIN_CREATE_SQ };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		m.silent_admin = ops[i];
		expect_refused(-ETIMEDOUT, "not answered");
		host_log_clear();
	}
	m.silent_admin = -1;
	m.really = 0;
	expect_refused(-EIO, "queue 1 not made");
	m.really = 1;
	m.id.sqes = 0x77;
	expect_refused(-EINVAL, "queue entries of other sizes (0x77");
	m.id.sqes = 0x66;
	m.id.cqes = 0x33;
	expect_refused(-EINVAL, "queue entries of other sizes");
	m.id.cqes = 0x44;
	m.ns[0].id.nsze = 0;
	expect_refused(-ENODEV, "has no namespace that can be used");
	m.ns[0].id.nsze = 8192;
	m.admin_noise = true;
	assert_int_equal(attach(), 0);
	assert_true(host_log_has("unknown id 0xbad"));
}

/* One that can neither be disabled nor cut off keeps its rings, and nothing of ours runs on. */
static void test_refused_stuck(void **state)
{
	m.silent_admin = NVME_ADMIN_CREATE_SQ;
	m.never_disabled = m.busm_stuck = true;
	assert_int_equal(attach(), -ETIMEDOUT);
	assert_true(host_log_has("its rings stay where they are"));
	assert_int_equal(host_nr_fibers(), 0);
	host_advance(10 * NS_PER_S);
	assert_int_equal(host_next_due(), UINT64_MAX);
	host_reset();
	block_reset();
	pci = NULL; /* gone with the host: the teardown has nothing to detach */
}

static void test_junk(void **state)
{
	unsigned seed, nr_good = 0;

	m.junk = true;
	for (seed = 1; seed <= 400; seed++) {
		rng_seed(&m.rng, seed);
		m.cap = (127 | 10ull << 24 | 1ull << 37);
		nr_good += !attach();
		detach();
	}
	assert_in_range(nr_good, 20, 380);
	m.junk = false;
}

static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		model_nvme_free(&m);
		setup(state);
		host_set_cores(2);
		model_nvme_add_ns(&m, 2, 64, 9);
		model_nvme_plug(&m, MODEL_BDF(0, 4, 0), BAR_AT);
		pci_enumerate();
		pci = pci_next(NULL);
		pci->softc = mem_alloc(&test_tag, sizeof(struct nvme));
		/* the fiber that host_fiber() makes is one */
		host_fail_alloc(n + 1);
		host_fiber(attach_fiber, NULL);
		if (!host_alloc_failed())
			break;
		if (attach_err) {
			mem_free(pci->softc);
			pci->softc = NULL;
		}
		detach();
	}
	assert_int_equal(attach_err, 0);
	assert_in_range(n, 10, 60);
}

/* ---- requests ---- */

static void check_shape(struct rng *r, enum bio_op op, bool gaps)
{
	uint32_t nr = 1 + (uint32_t)rng_below(r, 600), left = nr * SECTOR_SIZE, page = 0, i;
	sector_t sector = rng_below(r, 8192 - nr);
	struct io *io = io_new(op, sector, nr);
	uint8_t *data = m.ns[0].data + sector * SECTOR_SIZE, *at = data;

	/* Runs: whole pages, but for the beginning and the end; with gaps anything of 512. */
	io->bio.nr_segs = 0;
	while (left) {
		struct seg *s = &io->segs[io->bio.nr_segs];
		uint32_t off = 0, len = PAGE_SIZE * (1 + (uint32_t)rng_below(r, 3));

		if (gaps)
			len = SECTOR_SIZE * (1 + (uint32_t)rng_below(r, 16));
		if (gaps || !io->bio.nr_segs) {
			off = SECTOR_SIZE * (uint32_t)rng_below(r, 8);
			len -= gaps ? 0 : off;
		}
		len = MIN(len, left);
		if (page + DIV_ROUND_UP(off + len, PAGE_SIZE) > IO_PAGES ||
			io->bio.nr_segs == IO_PAGES) {
			nr -= left / SECTOR_SIZE;
			break;
		}
		*s = (struct seg){ dma_addr(io->pages) + page * PAGE_SIZE + off, len };
		page += DIV_ROUND_UP(off + len, PAGE_SIZE) + rng_below(r, 2);
		left -= len;
		io->bio.nr_segs++;
	}
	io->bio.nr_sectors = nr;
	if (io->segs[0].len > SECTOR_SIZE && rng_below(r, 2)) { /* begins inside its first run */
		io->bio.seg_off = SECTOR_SIZE;
		io->bio.nr_sectors--;
	}
	if (op == BIO_WRITE)
		for (i = 0; i < IO_PAGES * PAGE_SIZE; i++)
			io->pages[i] = (uint8_t)rng_u64(r);
	io_submit(io);
	wait_all();
	assert_int_equal(io->status, 0);
	for (i = 0; i < io->bio.nr_segs; i++) {
		uint32_t off = i ? 0 : io->bio.seg_off;

		assert_memory_equal(dma_ptr(io->segs[i].addr + off), at, io->segs[i].len - off);
		at += io->segs[i].len - off;
	}
	assert_int_equal(at - data, io->bio.nr_sectors * SECTOR_SIZE);
	io_free(io);
}

static void test_shapes(void **state)
{
	struct rng r;
	unsigned i;

	rng_seed(&r, 7);
	m.id.sgls = 0;
	assert_int_equal(attach(), 0);
	for (i = 0; i < 120; i++)
		check_shape(&r, i & 1 ? BIO_WRITE : BIO_READ, false);
	assert_true(m.nr_prp_lists > 20);
	detach();
	m.id.sgls = 2;
	m.id.mdts = 4;
	assert_int_equal(attach(), 0);
	for (i = 0; i < 120; i++)
		check_shape(&r, i & 1 ? BIO_WRITE : BIO_READ, true);
	assert_true(m.nr_sgl > 20);
}

/* A whole 512 KiB that begins anywhere but at a page takes every entry of the list. */
static void test_largest(void **state)
{
	struct io *io;

	m.id.sgls = 0;
	assert_int_equal(attach(), 0);
	io = io_new(BIO_READ, 8, 1024);
	io->segs[0].addr += 512;
	m.nr_fetched = 0;
	io_submit(io);
	wait_all();
	assert_int_equal(io->status, 0);
	assert_int_equal(m.nr_fetched, 1);
	assert_memory_equal(io->pages + 512, m.ns[0].data + 4096, 1024 * 512);
	io_free(io);
	/* Beyond the limits of the device it is refused, not sent. */
	io = io_new(BIO_READ, 8, 8);
	io->segs[0].addr += 2;
	assert_int_equal(io_do(io), -EINVAL);
}

static void test_operations(void **state)
{
	struct io *io;

	assert_int_equal(attach(), 0);
	assert_int_equal(simple(BIO_FLUSH, 0, 0), 0);
	assert_int_equal(m.nr_op[NVME_CMD_FLUSH], 1);
	io = io_new(BIO_WRITE, 0, 8);
	io->bio.flags = BIO_FUA;
	assert_int_equal(io_do(io), 0);
	assert_int_equal(m.nr_fua, 1);
	assert_int_equal(m.nr_op[NVME_CMD_FLUSH], 1);
	io = io_new(BIO_WRITE, 0, 8);
	io->bio.flags = BIO_PREFLUSH;
	assert_int_equal(io_do(io), 0);
	assert_int_equal(m.nr_op[NVME_CMD_FLUSH], 2);
	assert_int_equal(m.nr_fua, 1);
	assert_int_equal(simple(BIO_DISCARD, 80, 16), 0);
	assert_int_equal(m.nr_op[NVME_CMD_DATASET], 1);
	assert_int_equal(m.ns[0].data[80 * 512] | m.ns[0].data[96 * 512 - 1], 0);
	assert_int_not_equal(m.ns[0].data[80 * 512 - 1] | m.ns[0].data[96 * 512], 0);
	assert_int_equal(simple(BIO_WRITE_ZEROES, 100, 3), 0);
	assert_int_equal(m.nr_op[NVME_CMD_WRITE_ZEROES], 1);
	assert_int_equal(m.ns[0].data[100 * 512] | m.ns[0].data[103 * 512 - 1], 0);
	assert_int_not_equal(m.ns[0].data[103 * 512 + 1], 0);
	assert_int_equal(simple(BIO_SECURE_ERASE, 0, 8), -EOPNOTSUPP);
	assert_int_equal(simple(BIO_READ, 8190, 8), -EINVAL);
}

static void test_batching(void **state)
{
	struct io *io[100];

	assert_int_equal(attach(), 0);
	host_run();
	m.nr_sq_doorbells = m.nr_cq_doorbells = m.nr_irqs = 0;
	submit_many(io, 100, BIO_READ);
	wait_all();
	assert_int_equal(free_many(io, 100, 0), 100);
	assert_int_equal(m.nr_sq_doorbells, 1);
	assert_in_range(m.nr_cq_doorbells, 1, 2);
	/* the doorbell was rung even though the loop had halted before, and the core is idle after
	 */
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	host_advance(5 * NS_PER_S);
	assert_int_equal(host_next_due(), UINT64_MAX);
}

static void test_backlog(void **state)
{
	static struct io *io[1000];
	unsigned i;

	m.shuffle = true;
	m.delay_ns = NS_PER_MS;
	assert_int_equal(attach(), 0);
	submit_many(io, 1000, BIO_WRITE);
	wait_all();
	assert_in_range(m.max_in_flight, 120, 127);
	for (i = 0; i < 1000; i++)
		assert_int_equal(m.ns[0].data[i * 4096], (uint8_t)(i + 1));
	assert_int_equal(free_many(io, 1000, 0), 1000);
}

/* From done() on with the next, as loads do. */
static unsigned chain_left;

static void chain_done(struct bio *bio)
{
	struct io *io = bio->owner;

	assert_int_equal(bio->status, 0);
	if (!chain_left) {
		nr_out--;
		return;
	}
	chain_left--;
	io->bio.sector = (io->bio.sector + 8) % 8192;
	bio_submit(&io->bio);
}

static void test_chains(void **state)
{
	struct io *io[200];
	unsigned i, c;

	host_set_cores(4);
	m.grants = 3;
	m.shuffle = true;
	m.delay_ns = 50 * NS_PER_US;
	assert_int_equal(attach(), 0);
	host_shuffle(5);
	chain_left = 5000;
	for (i = 0; i < 200; i++) {
		c = i % 4;
		host_set_core(c);
		io[i] = io_new(BIO_READ, i * 8, 8);
		io[i]->bio.done = chain_done;
		nr_out++;
		bio_submit(&io[i]->bio);
	}
	host_set_core(0);
	wait_all();
	assert_int_equal(chain_left, 0);
	for (i = 0; i < 200; i++)
		io_free(io[i]);
	for (i = 1; i <= 3; i++)
		assert_true(m.nr_by_queue[i] > 500);
}

/* ---- refusals of single commands ---- */

static void fail_next(unsigned status, unsigned nr)
{
	m.status = status;
	m.nr_status = nr;
}

static void test_statuses(void **state)
{
	static const struct {
		unsigned status;
		int err;
	} t[] = {
		{ NVME_SC_READ_ERROR, -ENODATA },
		{ NVME_SC_WRITE_FAULT, -ENODATA },
		{ NVME_SC_GUARD, -EILSEQ },
		{ NVME_SC_LBA_RANGE, -EINVAL },
		{ NVME_SC_CAPACITY, -ENOSPC },
		{ NVME_SC_WRITE_PROTECTED, -EROFS },
		{ NVME_SC_READ_ONLY_RANGE, -EROFS },
		{ NVME_SC_INVALID_OPCODE, -EOPNOTSUPP },
		{ NVME_SC_INVALID_NS, -ENODEV },
		{ NVME_SC_INVALID_FIELD, -EIO },
		{ 0x7ff, -EIO },
		{ 6, -EIO },
	};
	unsigned i;

	assert_int_equal(attach(), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		fail_next(t[i].status | NVME_STATUS_DNR, 1);
		assert_int_equal(simple(BIO_READ, 0, 8), t[i].err);
	}
	fail_next(NVME_SC_INVALID_FIELD | NVME_STATUS_DNR, 1);
	assert_int_equal(simple(BIO_DISCARD, 0, 8), -EOPNOTSUPP);

	fail_next(NVME_SC_READ_ERROR, 3); /* three times again */
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	fail_next(NVME_SC_READ_ERROR, 4);
	assert_int_equal(simple(BIO_READ, 0, 8), -ENODATA);
	assert_int_equal(m.nr_status, 0);
	assert_true(host_log_has("status 0x281 (tried again)"));
}

static void test_not_ready(void **state)
{
	uint64_t t;

	assert_int_equal(attach(), 0);
	t = now_ns();
	fail_next(NVME_SC_NOT_READY, 6);
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	assert_in_range(now_ns() - t, 2900 * NS_PER_MS, 3100 * NS_PER_MS);
	t = now_ns();
	fail_next(NVME_SC_NOT_READY, 1000);
	assert_int_equal(simple(BIO_READ, 0, 8), -EIO);
	assert_in_range(now_ns() - t, 19 * NS_PER_S, 22 * NS_PER_S);
	m.nr_status = 0;
}

/* ---- completions that cannot be ---- */

static void test_bad_completions(void **state)
{
	struct io *io[60];
	unsigned f, i;

	for (f = MODEL_NVME_DROP; f < MODEL_NVME_NR_FAULTS; f++) {
		teardown(NULL);
		setup(NULL);
		host_set_cores(2);
		m.shuffle = true;
		m.delay_ns = NS_PER_MS;
		m.aborts = true;
		assert_int_equal(attach(), 0);
		m.fault = f;
		m.fault_in = 20;
		submit_many(io, 60, BIO_WRITE);
		wait_all();
		for (i = 0; i < 60; i++)
			assert_int_equal(m.ns[0].data[i * 4096], i + 1);
		assert_int_equal(free_many(io, 60, 0), 60);
		if (f != MODEL_NVME_DROP)
			assert_true(host_log_has("completion of unknown command"));
		if (f == MODEL_NVME_REPEAT || f == MODEL_NVME_LATE)
			assert_int_equal(m.nr_aborts, 0);
		else
			assert_int_equal(m.nr_aborts, 1);
		assert_int_equal(ctrl()->nr_resets, 0);
		assert_int_equal(simple(BIO_READ, 0, 8), 0);
	}
}

/* One that repeats everything is reset a few times and then left out. */
static void test_bad_flood(void **state)
{
	unsigned i;
	int err = 0;

	assert_int_equal(attach(), 0);
	m.fault = MODEL_NVME_REPEAT;
	m.fault_in = m.fault_every = 1;
	for (i = 0; i < 5000 && !err; i++)
		err = simple(BIO_READ, 0, 8);
	assert_int_equal(err, -EIO); /* it was out when the controller was given up */
	assert_int_equal(simple(BIO_READ, 0, 8), -ENODEV);
	assert_in_range(i, 3 * 256, 3 * 256 + 10);
	assert_true(host_log_has("it goes on answering what was not asked"));
	assert_true(host_log_has("nvme0: given up"));
	assert_true(disk()->gone);
}

/* ---- time-outs ---- */

static void test_abort(void **state)
{
	uint64_t t;

	m.aborts = true;
	assert_int_equal(attach(), 0);
	t = now_ns();
	m.fault = MODEL_NVME_DROP;
	m.fault_in = 1;
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	assert_in_range(now_ns() - t, 30 * NS_PER_S, 32 * NS_PER_S);
	assert_int_equal(m.nr_aborts, 1);
	assert_int_equal(ctrl()->nr_resets, 0);
	assert_int_equal(m.nr_starts, 1);
}

static void expect_reset_saves(void)
{
	struct io *io[40];
	uint64_t t = now_ns();
	unsigned i;

	m.fault = MODEL_NVME_DROP;
	m.fault_in = 5;
	submit_many(io, 40, BIO_WRITE);
	wait_all();
	assert_in_range(now_ns() - t, 30 * NS_PER_S, 45 * NS_PER_S);
	for (i = 0; i < 40; i++)
		assert_int_equal(m.ns[0].data[i * 4096], i + 1);
	assert_int_equal(free_many(io, 40, 0), 40);
	assert_true(host_log_has("back after a reset"));
}

/* Abort is answered, but the command stays where it is (as QEMU 7.2 does it). */
static void test_reset(void **state)
{
	assert_int_equal(attach(), 0);
	expect_reset_saves();
	assert_int_equal(m.nr_starts, 2);
	assert_int_equal(m.nr_aborts, 1);
}

static void test_reset_no_abort(void **state)
{
	m.silent_abort = true;
	m.disable_ns = 2 * NS_PER_S;
	m.ready_ns = 1 * NS_PER_S;
	host_set_cores(3);
	assert_int_equal(attach(), 0);
	expect_reset_saves();
	assert_int_equal(m.nr_starts, 2);
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
}

/* Everything else, on other cores too, is saved with it: nothing is lost, nothing ends twice. */
static void test_reset_all_cores(void **state)
{
	static struct io *io[240];
	unsigned i;

	host_set_cores(4);
	m.silent_abort = true;
	assert_int_equal(attach(), 0);
	m.hold = true;
	for (i = 0; i < 240; i++) {
		host_set_core(i % 4);
		io[i] = io_new(BIO_WRITE, i * 8, 8);
		memset(io[i]->pages, (int)(i + 1), PAGE_SIZE);
		io_submit(io[i]);
	}
	host_set_core(0);
	host_advance(20 * NS_PER_S);
	assert_int_equal(nr_out, 240);
	while (m.nr_starts == 1)
		host_advance(NS_PER_S);
	m.hold = false;
	wait_all();
	assert_int_equal(free_many(io, 240, 0), 240);
	for (i = 0; i < 240; i++)
		assert_int_equal(m.ns[0].data[i * 4096], (uint8_t)(i + 1));
	assert_int_equal(ctrl()->nr_resets, 1);
}

/* Silent for good, with more requests than slots, and with more than a mapped device lets through
 * at once: each has an error within the minute (io_done() looks), whether aborts are answered and
 * do something, are answered and do nothing, or are not answered either. */
static void silent(enum bio_op op, bool below, unsigned cores, unsigned how)
{
	static struct io *io[900];
	struct bdev *mapped = NULL;
	unsigned i, nr = below ? ARRAY_SIZE(io) : 300;

	host_set_cores(cores);
	m.aborts = how == 0;
	m.silent_abort = how == 2;
	assert_int_equal(attach(), 0);
	if (below) {
		dm_init();
		assert_int_equal(mapped_create("m", "0 8192 linear /dev/nvme0n1 0"), 0);
		mapped = mapped_bdev("m");
	}
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	m.silent = true;
	for (i = 0; i < nr; i++) {
		io[i] = io_new(op, i * 8, 8);
		if (below)
			io[i]->bio.dev = mapped;
		host_set_core(i % cores);
		io_submit(io[i]);
	}
	host_set_core(0);
	wait_all();
	assert_int_equal(free_many(io, nr, 0), 0);
	if (mapped)
		assert_int_equal(mapped_remove("m"), 0);
	/* And no end of it: it is given up when it stays like that. */
	for (i = 0; i < 3 && simple(BIO_READ, 0, 8) != -ENODEV; i++)
		;
	assert_true(disk()->gone);
	assert_true(host_log_has("nothing came back since the last resets"));
}

static void test_silent(void **state)
{
	for (unsigned i = 0; i < 24; i++) {
		silent(i & 1 ? BIO_WRITE : BIO_READ, i / 2 % 2, 1 + i / 4 % 2, i / 8);
		teardown(state);
		setup(state);
	}
}

/* Silent for a while: what waited behind the probe goes on when that is answered. */
static void test_silent_for_a_while(void **state)
{
	static struct io *io[400];

	m.aborts = true;
	assert_int_equal(attach(), 0);
	m.silent = true;
	submit_many(io, 300, BIO_READ);
	wait_all();
	free_many(io, 300, 0);
	/* the probe, and what waits behind it */
	submit_many(io, 400, BIO_READ);
	host_advance(3 * NS_PER_S);
	m.silent = false;
	model_nvme_release(&m, 0);
	host_run_until(none_out, NULL, 2 * LONGEST_NS);
	free_many(io, 400, 0);
	assert_false(disk()->gone);
	assert_int_equal(simple(BIO_READ, 0, 8), 0);
	submit_many(io, 400, BIO_WRITE);
	wait_all();
	assert_int_equal(free_many(io, 400, 0), 400);
}

/* Half a minute is not for good: what was out already when the probing began has its time too. */
static void test_silent_for_half_a_minute(void **state)
{
	struct io *io[60];
	unsigned i;

	for (i = 0; i < 8; i++) {
		m.aborts = i % 2;
		assert_int_equal(attach(), 0);
		m.silent = true;
		submit_many(io, 20, BIO_READ);
		host_advance(3 * NS_PER_S);
		submit_many(io + 20, 20, BIO_READ);
		host_advance(20 * NS_PER_S);
		submit_many(io + 40, 20, BIO_READ);
		host_advance((12 + i / 2) * NS_PER_S);
		m.silent = false;
		model_nvme_release(&m, 0);
		host_run_until(none_out, NULL, 2 * LONGEST_NS);
		free_many(io, 60, 0);
		assert_false(disk()->gone);
		assert_int_equal(simple(BIO_READ, 0, 8), 0);
		teardown(state);
		setup(state);
	}
}

/* Slow is not silent: everything takes 25 s, and what had to wait for a slot ends in time too. */
static void test_slow(void **state)
{
	struct io *io[200];

	assert_int_equal(attach(), 0);
	m.delay_ns = 12 * NS_PER_S;
	submit_many(io, 200, BIO_READ);
	wait_all();
	assert_int_equal(free_many(io, 200, 0), 200);
	assert_int_equal(m.nr_aborts, 0);
	m.delay_ns = 28 * NS_PER_S;
	submit_many(io, 200, BIO_READ);
	wait_all();
	free_many(io, 200, 0);
	assert_true(ctrl()->nr_resets <= 1);
}

/* ---- resets that fail ---- */

static void expect_given_up(void)
{
	struct io *io[300];

	submit_many(io, 300, BIO_WRITE);
	wait_all();
	assert_int_equal(free_many(io, 300, 0), 0);
	assert_true(disk()->gone);
	assert_true(host_log_has("nvme0: given up"));
	assert_int_equal(simple(BIO_READ, 0, 8), -ENODEV);
	assert_false(model_nvme_reaches_memory(&m));
	host_advance(5 * NS_PER_S);
	assert_int_equal(host_next_due(), UINT64_MAX); /* nothing of ours goes on */
}

static void test_never_disabled(void **state)
{
	assert_int_equal(attach(), 0);
	m.silent = true;
	m.never_disabled = true;
	expect_given_up();
	assert_true(host_log_has("cut off from memory instead"));
	assert_false(model_pci_get16(m.pci, PCI_COMMAND) & PCI_COMMAND_BUSM);
}

/* Says it needs two minutes for it: nobody waits that long. */
static void test_slow_reset(void **state)
{
	m.cap |= 0xffull << 24;
	assert_int_equal(attach(), 0);
	m.silent = m.silent_abort = true;
	m.disable_ns = 100 * NS_PER_S;
	expect_given_up();
}

static void test_comes_back_failed(void **state)
{
	assert_int_equal(attach(), 0);
	m.silent = true;
	m.fails_after = 1;
	expect_given_up();
	assert_true(host_log_has("does not come up"));
}

static void test_fails(void **state)
{
	struct io *io[50];
	uint64_t t;

	assert_int_equal(attach(), 0);
	m.hold = true;
	submit_many(io, 50, BIO_WRITE);
	host_advance(100 * NS_PER_MS);
	m.failed = true; /* CSTS.CFS: noticed within a tick, and a reset cures it */
	t = now_ns();
	m.hold = false;
	wait_all();
	assert_int_equal(free_many(io, 50, 0), 50);
	assert_in_range(now_ns() - t, 0, 2 * NS_PER_S);
	assert_int_equal(m.nr_starts, 2);
}

static void test_vanishes(void **state)
{
	struct io *io[300];
	uint64_t t;
	unsigned i;

	for (i = 0; i < 2; i++) {
		teardown(NULL);
		setup(NULL);
		host_set_cores(2);
		assert_int_equal(attach(), 0);
		m.hold = true;
		submit_many(io, 300, BIO_WRITE);
		host_advance(100 * NS_PER_MS);
		t = now_ns();
		m.vanished = true;
		m.pci->gone = i; /* or only its registers; then it could still write */
		wait_all();
		assert_int_equal(free_many(io, 300, -EIO), 300);
		assert_in_range(now_ns() - t, 0, 2 * NS_PER_S);
		assert_true(disk()->gone);
		assert_int_equal(simple(BIO_READ, 0, 8), -ENODEV);
	}
}

static void test_vanishes_in_reset(void **state)
{
	assert_int_equal(attach(), 0);
	m.silent = m.silent_abort = true;
	m.ready_ns = 3 * NS_PER_S;
	struct io *io = io_new(BIO_READ, 0, 8);

	io_submit(io);
	while (m.nr_starts == 1)
		host_advance(100 * NS_PER_MS);
	m.vanished = true;
	wait_all();
	assert_int_equal(io->status, -EIO);
	io_free(io);
	assert_true(disk()->gone);
}

/* Cannot be disabled and keeps the bus: its requests are held until that ends. */
static bool long_over(void *arg)
{
	return now_ns() > 1000 * NS_PER_S;
}

static void held_done(struct bio *bio)
{
	struct io *io = bio->owner;

	io->nr_done++;
	io->status = bio->status;
	nr_out--;
	assert_false(model_nvme_owns(&m, dma_addr(io->pages)));
}

static void test_held(void **state)
{
	struct io *io;

	assert_int_equal(attach(), 0);
	m.silent = m.never_disabled = m.busm_stuck = true;
	io = io_new(BIO_READ, 0, 8);
	io->bio.done = held_done;
	io_submit(io);
	host_run_until(long_over, NULL, 2000 * NS_PER_S);
	assert_int_equal(nr_out, 1);
	assert_true(host_log_has("its requests are held"));
	m.busm_stuck = false;
	wait_all();
	assert_int_equal(io->status, -EIO);
	io_free(io);
}

static void test_other_after_reset(void **state)
{
	unsigned i;

	for (i = 0; i < 6; i++) {
		teardown(NULL);
		setup(NULL);
		host_set_cores(2);
		assert_int_equal(attach(), 0);
		m.silent = true;
		switch (i) {
		case 0:
			m.ns[0].id.nsze--;
			break;
		case 1:
			m.ns[0].id.lbaf[0].lbads = 12;
			break;
		case 2:
			m.id.sn[0] = 'X';
			break;
		case 3:
			m.grants = 1;
			break;
		case 4:
			m.cap ^= 1;
			break;
		case 5:
			m.id.mdts = 3;
			break;
		}
		expect_given_up();
		m.cap |= 1;
	}
}

static void test_admin_silent_in_reset(void **state)
{
	assert_int_equal(attach(), 0);
	m.silent = true;
	m.silent_admin = NVME_ADMIN_CREATE_CQ;
	expect_given_up();
}

/* ---- the end ---- */

static void shutdown_fiber(void *arg)
{
	nvme_driver.shutdown(pci);
}

static void test_shutdown(void **state)
{
	uint64_t t;

	assert_int_equal(attach(), 0);
	host_fiber(shutdown_fiber, NULL);
	assert_true(m.shut_down);
	assert_false(model_nvme_reaches_memory(&m));
	assert_int_equal(host_nr_fibers(), 0);
	detach();
	m.never_shut_down = true;
	assert_int_equal(attach(), 0);
	t = now_ns();
	host_fiber(shutdown_fiber, NULL);
	assert_true(host_log_has("does not say that it has shut down"));
	assert_in_range(now_ns() - t, 0, 11 * NS_PER_S);
}

/* ---- all of it at once ---- */

static void chaos(unsigned seed)
{
	static struct io *io[150];
	struct rng r;
	unsigned i, n = 150;

	rng_seed(&r, seed);
	host_set_cores(1 + (unsigned)rng_below(&r, 4));
	host_shuffle(seed);
	rng_seed(&m.rng, seed);
	m.shuffle = true;
	m.delay_ns = 1 + rng_below(&r, 20 * NS_PER_MS);
	m.id.sgls = (uint32_t)rng_below(&r, 3);
	m.grants = 1 + (unsigned)rng_below(&r, 4);
	m.disable_ns = rng_below(&r, 3 * NS_PER_S);
	m.ready_ns = rng_below(&r, 3 * NS_PER_S);
	assert_int_equal(attach(), 0);
	m.aborts = rng_below(&r, 2);
	m.silent_abort = rng_below(&r, 2);
	m.fault = 1 + rng_below(&r, MODEL_NVME_NR_FAULTS - 1);
	m.fault_in = 1 + (unsigned)rng_below(&r, 200);
	m.fault_every = rng_below(&r, 2) ? 1 + (unsigned)rng_below(&r, 60) : 0;
	for (i = 0; i < n; i++) {
		host_set_core((unsigned)rng_below(&r, nr_cores()));
		io[i] = io_new(rng_below(&r, 2) ? BIO_READ : BIO_WRITE, i * 16,
			1 + (uint32_t)rng_below(&r, 16));
		if (io[i]->bio.op == BIO_WRITE)
			memset(io[i]->pages, (int)(seed + i), 8192);
		io_submit(io[i]);
		if (!rng_below(&r, 20)) {
			host_set_core(0);
			host_advance(rng_below(&r, 5 * NS_PER_S));
		}
	}
	host_set_core(0);
	if (!rng_below(&r, 4)) {
		host_advance(rng_below(&r, 40 * NS_PER_S));
		switch (rng_below(&r, 5)) {
		case 0:
			m.vanished = true;
			break;
		case 1:
			m.failed = true;
			break;
		case 2:
			m.silent = true;
			break;
		case 3:
			m.never_disabled = m.silent = true;
			break;
		case 4:
			m.fails_after = 1;
			break;
		}
	}
	wait_all();
	for (i = 0; i < n; i++) {
		if (!io[i]->status)
			assert_memory_equal(io[i]->pages, m.ns[0].data + i * 16 * 512,
				io[i]->bio.nr_sectors * 512);
		assert_int_equal(io[i]->nr_done, 1);
		io_free(io[i]);
	}
}

static void test_chaos(void **state)
{
	unsigned seed, n = getenv("CAIRN_SOAK") ? 3000 : 150;

	for (seed = 1; seed <= n; seed++) {
		teardown(NULL);
		setup(NULL);
		chaos(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_attach),
		T(test_fua_ignored),
		T(test_limits),
		T(test_namespaces),
		T(test_lists),
		T(test_queues),
		T(test_small_ring),
		T(test_irq_limit),
		T(test_stride),
		T(test_refused_registers),
		T(test_small_bar),
		T(test_refused_start),
		T(test_refused_admin),
		T(test_refused_stuck),
		T(test_junk),
		T(test_no_memory),
		T(test_shapes),
		T(test_largest),
		T(test_operations),
		T(test_batching),
		T(test_backlog),
		T(test_chains),
		T(test_statuses),
		T(test_not_ready),
		T(test_bad_completions),
		T(test_bad_flood),
		T(test_abort),
		T(test_reset),
		T(test_reset_no_abort),
		T(test_reset_all_cores),
		T(test_silent),
		T(test_silent_for_a_while),
		T(test_silent_for_half_a_minute),
		T(test_slow),
		T(test_never_disabled),
		T(test_slow_reset),
		T(test_comes_back_failed),
		T(test_fails),
		T(test_vanishes),
		T(test_vanishes_in_reset),
		T(test_held),
		T(test_other_after_reset),
		T(test_admin_silent_in_reset),
		T(test_shutdown),
		T(test_chaos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

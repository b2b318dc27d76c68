/* SPDX-License-Identifier: BSD-2-Clause */
/* test_virtio_blk - disks over every transport: what they say of themselves, good and bad, and all
 * requests.  test_virtio_blk_faults.c has the devices that go wrong later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/pci/pcireg.h"
#include "drivers/virtio/mmio.h"
#include "tests/host/host.h"
#include "tests/host/load.h"
#include "tests/host/model_virtio.h"

#define SECTORS 8192u
#define REGS_AT 0xfe000000u

enum where { DIRECT, MMIO_1, MMIO_2, PCI, PCI_UNASSIGNED, NR_WHERE };

static struct model_virtio m, m2;
static struct load load;
static unsigned fail_nth; /* allocation of an attach; 0: none */
static int attach_err;

static void begin(void)
{
	load_free(&load);
	model_virtio_free(&m);
	model_virtio_free(&m2);
	host_reset();
	block_reset();
	virtio_mmio_reset();
	model_pci_reset(true);
	fail_nth = 0;
	model_blk_init(&m, SECTORS);
}

static int setup(void **state)
{
	begin();
	return 0;
}

static int teardown(void **state)
{
	begin();
	model_virtio_free(&m);
	model_pci_reset(false);
	return 0;
}

static void attach_one(void *v)
{
	host_fail_alloc(fail_nth);
	attach_err = virtio_attach(v);
}

static void attach_all(void *arg)
{
	drivers_attach();
}

static struct bdev *attach(enum where where)
{
	if (where == DIRECT) {
		host_fiber(attach_one, &m.v);
		return bdev_find("vda");
	}
	if (where == MMIO_1 || where == MMIO_2) {
		model_virtio_mmio(&m, where == MMIO_1 ? 1 : 2, REGS_AT, 5);
		virtio_mmio_add(REGS_AT, 512, 5);
	} else {
		pci_set_mmio_window(REGS_AT, 0x8000);
		model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, where == PCI);
	}
	host_fiber(attach_all, NULL);
	return bdev_find("vda");
}

static bool owns(void *model, uint64_t addr)
{
	return model_virtio_owns(model, addr);
}

static void load_begin(struct bdev *dev, uint64_t seed)
{
	load_free(&load);
	load = (struct load){ .dev = dev, .owns = owns, .model = &m, .medium = m.data };
	rng_seed(&load.rng, seed);
}

/* ---- single requests ---- */

struct rw {
	struct bdev *dev;
	enum bio_op op;
	sector_t sector;
	uint32_t nr;
	void *buf;
	int err;
};

static void rw_main(void *arg)
{
	struct rw *r = arg;

	r->err = bdev_rw(r->dev, r->op, 0, r->sector, r->nr, r->buf);
}

static int rw(struct bdev *dev, enum bio_op op, sector_t sector, uint32_t nr, void *buf)
{
	struct rw r = { dev, op, sector, nr, buf, 1 };

	host_fiber(rw_main, &r);
	return r.err;
}

/* ---- the good ---- */

static void use(struct bdev *dev)
{
	static struct mem_tag tag = MEM_TAG("test");
	uint8_t *buf = page_alloc(&tag, 3);
	unsigned i;

	assert_non_null(dev);
	assert_int_equal(dev->major, 254);
	assert_int_equal(dev->minor, 0);
	assert_int_equal(dev->nr_sectors, SECTORS);
	assert_string_equal(dev->serial, "MODEL-0001");
	assert_false(dev->read_only);
	assert_true(dev->limits.write_cache);
	assert_int_equal(dev->limits.max_segs, 62);

	assert_int_equal(rw(dev, BIO_READ, 5, 64, buf), 0);
	assert_memory_equal(buf, m.data + 5 * 512, 64 * 512);
	for (i = 0; i < 64 * 512; i++)
		buf[i] = (uint8_t)(i * 3);
	assert_int_equal(rw(dev, BIO_WRITE, SECTORS - 64, 64, buf), 0);
	assert_memory_equal(m.data + (SECTORS - 64) * 512, buf, 64 * 512);
	m.nr_type[VIRTIO_BLK_T_FLUSH] = 0;
	assert_int_equal(rw(dev, BIO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(m.nr_type[VIRTIO_BLK_T_FLUSH], 1);
	assert_int_equal(rw(dev, BIO_WRITE_ZEROES, SECTORS - 64, 8, NULL), 0);
	assert_int_equal(m.nr_type[VIRTIO_BLK_T_WRITE_ZEROES], 1);
	assert_int_equal(rw(dev, BIO_READ, SECTORS - 64, 64, buf), 0);
	for (i = 0; i < 8 * 512; i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(buf[i], (uint8_t)(i * 3));
	assert_int_equal(rw(dev, BIO_DISCARD, SECTORS - 32, 32, NULL), 0);
	assert_int_equal(m.nr_type[VIRTIO_BLK_T_DISCARD], 1);
	assert_int_equal(m.data[(SECTORS - 1) * 512], 0);
	assert_int_equal(rw(dev, BIO_READ, SECTORS - 1, 2, buf), -EINVAL);
	page_free(&tag, buf, 3);

	load_begin(dev, 1);
	m.shuffle = true;
	m.delay_ns = 100 * NS_PER_US;
	load_submit(&load, 1000);
	assert_true(load_run(&load, 10 * NS_PER_S));
	assert_int_equal(load.nr_ok, 1000);
	assert_true(load_verify(&load));
	assert_in_range(m.max_in_flight, 100, 128);
	assert_true(load.longest_ns < 100 * NS_PER_MS); /* by interrupts, not by the tick */
}

static void test_transports(void **state)
{
	for (unsigned i = 0; i < 2 * NR_WHERE; i++) {
		begin();
		host_set_cores(2);
		m.core = i / NR_WHERE;
		use(attach(i % NR_WHERE));
		assert_true(m.nr_irqs > 0);
		if (i % NR_WHERE == DIRECT)
			continue;
		host_fiber((void (*)(void *))drivers_shutdown, NULL);
		assert_int_equal(m.dev_status, 0);
	}
}

static void test_ring_features(void **state)
{
	static const uint64_t without[] = { VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) };

	for (unsigned i = 0; i < 3 * NR_WHERE; i++) {
		struct bdev *dev;

		begin();
		m.offered &= ~without[i % 3];
		dev = attach(i / 3);
		assert_non_null(dev);
		load_begin(dev, i);
		m.shuffle = true;
		m.delay_ns = 10 * NS_PER_US;
		load_submit(&load, 1000);
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_int_equal(load.nr_ok, 1000);
		assert_true(load_verify(&load));
	}
}

/* Rings so small that nearly all wait. */
static void test_small_rings(void **state)
{
	static const struct {
		unsigned max;
		bool indirect;
	} t[] = { { 1, true }, { 2, true }, { 4, false }, { 8, false }, { 16, false } };

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct bdev *dev;

		begin();
		m.queue_max = t[i].max;
		if (!t[i].indirect)
			m.offered &= ~VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
		dev = attach(DIRECT);
		assert_non_null(dev);
		load_begin(dev, i);
		load_submit(&load, 500);
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_int_equal(load.nr_ok, 500);
		assert_true(load_verify(&load));
	}
}

static void test_no_interrupt(void **state)
{
	for (unsigned i = 0; i < NR_WHERE; i++) {
		struct bdev *dev;

		begin();
		host_set_cores(2);
		m.core = 1;
		if (i == MMIO_1 || i == MMIO_2)
			host_irq_limit(0);
		m.no_irq = true;
		dev = attach(i);
		assert_non_null(dev);
		load_begin(dev, 3);
		m.delay_ns = 3 * NS_PER_MS;
		load_submit(&load, 300);
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_true(load_verify(&load));
	}
}

/* A kick for many, an interrupt for many: not one for each. */
static void test_batching(void **state)
{
	struct bdev *dev = attach(DIRECT);

	load_begin(dev, 1);
	m.nr_notifies = m.nr_irqs = 0;
	load_submit(&load, 32);
	assert_int_equal(m.nr_notifies, 0); /* the poller tells it */
	assert_true(load_run(&load, NS_PER_S));
	assert_int_equal(m.nr_notifies, 1);
	assert_in_range(m.nr_irqs, 0, 1);
}

/* ---- cores and queues ---- */

static void test_queues(void **state)
{
	static const struct {
		unsigned cores, says, has, uses;
	} t[] = { { 4, 4, 4, 4 }, { 4, 2, 2, 2 }, { 2, 8, 8, 2 }, { 4, 4, 3, 3 }, { 3, 0, 1, 1 },
		{ 32, 32, 32, 32 }, { 1, 65535, 34, 1 }, { 4, 65535, 1, 1 } };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(t); i++) {
		unsigned k = i / 2, q;
		struct bdev *dev;

		begin();
		host_set_cores(t[k].cores);
		host_shuffle(i);
		model_blk_config(&m)->num_queues = (uint16_t)t[k].says;
		m.nr_queues = t[k].has;
		m.shuffle = true;
		dev = attach(i & 1 ? PCI : DIRECT);
		assert_non_null(dev);
		load_begin(dev, i);
		load_submit(&load, 1500);
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_int_equal(load.nr_ok, 1500);
		assert_true(load_verify(&load));
		for (q = 0; q < t[k].has; q++)
			assert_int_equal(m.nr_by_queue[q] > 0, q < t[k].uses);
	}
}

/* One interrupt for all queues: one queue, and other cores' requests cross over. */
static void test_queues_mmio(void **state)
{
	const struct vring_avail *avail;
	struct bdev *dev;
	unsigned before;

	host_set_cores(4);
	model_blk_config(&m)->num_queues = 4;
	m.nr_queues = 4;
	dev = attach(MMIO_2);
	assert_non_null(dev);
	load_begin(dev, 1);
	load_submit(&load, 500);
	assert_true(load_run(&load, 10 * NS_PER_S));
	assert_true(load_verify(&load));
	assert_int_equal(m.nr_by_queue[1], 0);
	/* Nobody but its own core touches the ring. */
	avail = dma_ptr(m.queues[0].avail);
	before = avail->idx;
	while (load.nr < 510 || load_last_core(&load) == 0) {
		load_submit(&load, 1);
		before += load_last_core(&load) == 0;
		assert_int_equal(avail->idx, before);
	}
	assert_true(load_run(&load, 10 * NS_PER_S));
	assert_true(avail->idx > before);
}

static void test_names(void **state)
{
	static struct model_virtio many[30];
	struct strbuf words = { 0 };

	for (unsigned i = 0; i < 30; i++) {
		model_blk_init(&many[i], 8);
		host_fiber(attach_one, &many[i].v);
		assert_int_equal(attach_err, 0);
	}
	assert_int_equal(bdev_find("vdz")->minor, 25 * 16);
	assert_int_equal(bdev_find("vdaa")->minor, 26 * 16);
	assert_non_null(bdev_find("vdad"));
	assert_null(bdev_find("vdae"));
	bdev_find("vdb")->ops->describe(bdev_find("vdb"), &words);
	assert_string_equal(strbuf_text(&words), "virtio model, 1 queue, serial MODEL-0001");
	for (unsigned i = 0; i < 30; i++)
		model_virtio_free(&many[i]);
}

/* ---- what it says of itself ---- */

static void feature(unsigned bit, bool on)
{
	if (on)
		m.offered |= VIRTIO_BIT(bit);
	else
		m.offered &= ~VIRTIO_BIT(bit);
}

static void test_config(void **state)
{
	struct virtio_blk_config *c = model_blk_config(&m);
	static struct mem_tag tag = MEM_TAG("test");
	struct bdev *dev;
	void *buf;

	/* 4096-byte blocks, an odd end, topology */
	c->blk_size = 4096;
	c->capacity = SECTORS - 3;
	c->physical_block_exp = 2;
	c->alignment_offset = 1;
	c->min_io_size = 8;
	c->opt_io_size = 16;
	feature(VIRTIO_BLK_F_SIZE_MAX, true);
	c->size_max = 9000;
	c->seg_max = 4;
	dev = attach(DIRECT);
	assert_non_null(dev);
	assert_int_equal(dev->nr_sectors, SECTORS - 8);
	assert_int_equal(dev->limits.logical_block, 4096);
	assert_int_equal(dev->limits.physical_block, 16384);
	assert_int_equal(dev->limits.alignment_offset, 4096);
	assert_int_equal(dev->limits.io_min, 32768);
	assert_int_equal(dev->limits.io_opt, 65536);
	assert_int_equal(dev->limits.max_seg_size, 8192);
	assert_int_equal(dev->limits.max_segs, 4);
	assert_false(dev->limits.fua);
	load_begin(dev, 1);
	load_submit(&load, 200);
	assert_true(load_run(&load, NS_PER_S));
	assert_true(load_verify(&load));
	buf = page_alloc(&tag, 8);
	assert_int_equal(rw(dev, BIO_READ, 0, 2048, buf), 0); /* 1 MiB by 4 runs of 8 KiB */
	assert_memory_equal(buf, m.data, 1 << 20);
	page_free(&tag, buf, 8);

	/* read-only, no flush, no discard, no zeroes, no topology, no seg_max, no serial */
	begin();
	m.offered = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_BLK_F_RO);
	m.id[0] = 0;
	dev = attach(DIRECT);
	assert_non_null(dev);
	assert_true(dev->read_only);
	assert_string_equal(dev->serial, "");
	assert_int_equal(dev->limits.logical_block, 512);
	assert_int_equal(dev->limits.max_segs, 1);
	assert_int_equal(dev->limits.max_discard_sectors, 0);
	assert_int_equal(dev->limits.max_write_zeroes_sectors, 0);
	assert_false(dev->limits.write_cache);
	assert_int_equal(rw(dev, BIO_FLUSH, 0, 0, NULL), 0); /* means nothing, is not sent */
	assert_int_equal(rw(dev, BIO_DISCARD, 0, 8, NULL), -EROFS);

	/* a cache switched off needs no flush */
	begin();
	c->wce = 0;
	dev = attach(DIRECT);
	assert_false(dev->limits.write_cache);

	/* limits of discard and zeroes; 0 means no limit */
	begin();
	c->max_discard_sectors = 24;
	c->discard_sector_alignment = 8;
	c->max_write_zeroes_sectors = 0;
	dev = attach(DIRECT);
	assert_int_equal(dev->limits.max_discard_sectors, 24);
	assert_int_equal(dev->limits.discard_granularity, 4096);
	assert_int_equal(dev->limits.max_write_zeroes_sectors, UINT32_MAX);
	assert_int_equal(rw(dev, BIO_DISCARD, 1, 100, NULL), 0);
	assert_true(m.nr_type[VIRTIO_BLK_T_DISCARD] >= 5);
}

/* A serial number is text, whatever the device says. */
static void test_serial(void **state)
{
	static const struct {
		const char *id, *serial;
	} t[] = {
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "" },
		{ "  ab cd             ", "ab cd" },
		{ "0123456789abcdefghij", "0123456789abcdefghij" },
		{ "x\x1b[2J\n\xff\x7fy\0\0\0\0\0\0\0\0\0\0\0", "x?[2J???y" },
		{ "                    ", "" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin();
		memcpy(m.id, t[i].id, sizeof(m.id));
		assert_string_equal(attach(DIRECT)->serial, t[i].serial);
	}
}

/* ---- the bad: left out, with words, and nothing stays behind ---- */

static void c_block_0(struct virtio_blk_config *c)
{
	c->blk_size = 0;
}
static void c_block_3(struct virtio_blk_config *c)
{
	c->blk_size = 1536;
}
static void c_block_256(struct virtio_blk_config *c)
{
	c->blk_size = 256;
}
static void c_block_8k(struct virtio_blk_config *c)
{
	c->blk_size = 8192;
}
static void c_block_2g(struct virtio_blk_config *c)
{
	c->blk_size = 1u << 31;
}
static void c_no_capacity(struct virtio_blk_config *c)
{
	c->capacity = 0;
}
static void c_huge_1(struct virtio_blk_config *c)
{
	c->capacity = UINT64_MAX;
}
static void c_huge_2(struct virtio_blk_config *c)
{
	c->capacity = 1ull << 54;
}
static void c_size_max(struct virtio_blk_config *c)
{
	feature(VIRTIO_BLK_F_SIZE_MAX, true);
	c->size_max = 511;
}
static void c_less_than_block(struct virtio_blk_config *c)
{
	c->blk_size = 4096;
	c->capacity = 7;
}
static void m_restless(struct virtio_blk_config *c)
{
	m.restless = true;
}
static void m_no_queue(struct virtio_blk_config *c)
{
	m.queue_max = 0;
}
static void m_queue_small(struct virtio_blk_config *c)
{
	feature(VIRTIO_RING_F_INDIRECT_DESC, false);
	m.queue_max = 2;
}
static void m_old(struct virtio_blk_config *c)
{
	feature(VIRTIO_F_VERSION_1, false);
}
static void m_refuses(struct virtio_blk_config *c)
{
	m.stays_dead = true;
	m.nr_resets = 5;
}
static void m_no_reset(struct virtio_blk_config *c)
{
	m.never_reset = true;
}
static void m_vanished(struct virtio_blk_config *c)
{
	m.vanished = true;
}
static void m_silent(struct virtio_blk_config *c)
{
	m.silent = true;
}
static void m_no_config(struct virtio_blk_config *c)
{
	m.v.config_len = 0;
}
static void m_half_config(struct virtio_blk_config *c)
{
	m.v.config_len = 7;
}
static void fault(enum model_fault f)
{
	m.fault = f;
	m.fault_in = 1;
}
static void m_drop(struct virtio_blk_config *c)
{
	fault(MODEL_DROP);
}
static void m_wrong_id(struct virtio_blk_config *c)
{
	fault(MODEL_WRONG_ID);
}
static void m_id_range(struct virtio_blk_config *c)
{
	fault(MODEL_ID_RANGE);
}
static void m_huge_len(struct virtio_blk_config *c)
{
	fault(MODEL_HUGE_LEN);
}
static void m_idx_jump(struct virtio_blk_config *c)
{
	fault(MODEL_IDX_JUMP);
}
static void m_idx_back(struct virtio_blk_config *c)
{
	fault(MODEL_IDX_BACK);
}

static void test_left_out(void **state)
{
	static const struct {
		void (*spoil)(struct virtio_blk_config *c);
		const char *words;
	} t[] = {
		{ c_block_0, "a block size of 0 bytes cannot be used" },
		{ c_block_3, "a block size of 1536 bytes" },
		{ c_block_256, "a block size of 256 bytes" },
		{ c_block_8k, "a block size of 8192 bytes" },
		{ c_block_2g, "a block size of 2147483648 bytes" },
		{ c_no_capacity, "has no capacity" },
		{ c_huge_1, "a capacity of 18446744073709551615 sectors cannot be" },
		{ c_huge_2, "a capacity of 18014398509481984 sectors cannot be" },
		{ c_size_max, "takes runs of 511 bytes, less than its block of 512" },
		{ c_less_than_block, "has no capacity" },
		{ m_restless, "its configuration never holds still" },
		{ m_no_queue, "left out: No such device" },
		{ m_queue_small, "queue 0 of 2 is too small" },
		{ m_old, "does not offer virtio 1.x" },
		{ m_refuses, "the device refused features" },
		{ m_no_reset, "does not confirm reset" },
		{ m_vanished, "does not confirm reset" },
		{ m_silent, "left out: Connection timed out" },
		{ m_no_config, "a block size of 0 bytes" },
		{ m_half_config, "a block size of 0 bytes" },
		{ m_drop, "left out: Connection timed out" },
		{ m_wrong_id, "a request we did not make" },
		{ m_id_range, "a request we did not make" },
		{ m_huge_len, "more bytes written than offered" },
		{ m_idx_jump, "the used index jumped" },
		{ m_idx_back, "the used index jumped" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin();
		t[i].spoil(model_blk_config(&m));
		assert_null(attach(DIRECT));
		assert_true(attach_err < 0);
		if (!host_log_has(t[i].words))
			fail_msg("case %u: not in the log: %s", i, t[i].words);
		host_run();
		assert_true(host_mem_check());
		assert_true(now_ns() < 60 * NS_PER_S);
	}
}

/* The same behind real registers: boot goes on, the next disk is found. */
static void test_left_out_pci(void **state)
{
	static void (*const spoil[])(struct virtio_blk_config *) = { c_block_3, m_no_reset, m_drop,
		m_restless, m_vanished, m_refuses };

	for (unsigned i = 0; i < ARRAY_SIZE(spoil); i++) {
		begin();
		model_blk_init(&m2, 64);
		model_virtio_pci(&m2, MODEL_BDF(0, 4, 0), REGS_AT + 0x8000, true);
		spoil[i](model_blk_config(&m));
		assert_non_null(attach(PCI)); /* vda is the second */
		assert_int_equal(bdev_find("vda")->nr_sectors, 64);
		assert_null(bdev_find("vdb"));
		/* It lost the bus too, for the case that it does not do as it says. */
		assert_int_equal(model_pci_get16(m.regs.pci, 4) & 4, 0);
	}
}

/* Where the capability of that kind is in configuration space. */
static unsigned cap_of(uint8_t type)
{
	uint8_t *cfg = m.regs.pci->cfg;
	unsigned at;

	for (at = cfg[PCI_CAP_FIRST]; at; at = cfg[at + 1])
		if (cfg[at] == PCI_CAP_ID_VENDOR && cfg[at + 3] == type)
			return at;
	fail();
	return 0;
}

/* Capabilities that point to nowhere: without a needed block there is no disk, without the MSI-X
 * table there is no interrupt. */
static void test_bad_caps(void **state)
{
	static const struct {
		uint8_t type;
		unsigned field; /* 4 BAR, 8 offset, 12 length, 16 multiplier */
		uint32_t value;
		bool used;
	} t[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, 4, 6, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 4, 0xff, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 4, 0, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 8, 0x4000, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 8, 0xfffffff0, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 8, 2, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 12, 55, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 12, 0x4001, false },
		{ VIRTIO_PCI_CAP_COMMON_CFG, 12, UINT32_MAX, false },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 8, 0x3fff, false },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 12, 1, false },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 12, 4, true }, /* room for queue 0 */
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 4, 7, false },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 12, 0, false },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 12, 40, true },     /* an older device */
		{ VIRTIO_PCI_CAP_ISR_CFG, 8, UINT32_MAX, true }, /* of no use to us */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin();
		model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, true);
		if (t[i].field == 4)
			m.regs.pci->cfg[cap_of(t[i].type) + 4] = (uint8_t)t[i].value;
		else
			model_pci_set32(m.regs.pci, cap_of(t[i].type) + t[i].field, t[i].value);
		host_fiber(attach_all, NULL);
		if (t[i].used != (bdev_find("vda") != NULL))
			fail_msg("case %u", i);
	}

	/* each queue has its own place for notifications: the second's is outside */
	begin();
	host_set_cores(2);
	model_blk_config(&m)->num_queues = 2;
	m.nr_queues = 2;
	model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, true);
	model_pci_set32(m.regs.pci, cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16, UINT32_MAX);
	host_fiber(attach_all, NULL);
	assert_null(bdev_find("vda"));
	assert_true(host_log_has("queue 1 is notified outside its registers"));

	begin();
	model_virtio_pci(&m, MODEL_BDF(0, 3, 0), REGS_AT, true);
	model_pci_set32(m.regs.pci, m.regs.msix_cap + PCI_MSIX_TABLE, 0xff8);
	host_fiber(attach_all, NULL);
	assert_true(host_log_has("MSI-X table lies outside"));
	load_begin(bdev_find("vda"), 1);
	load_submit(&load, 100);
	assert_true(load_run(&load, NS_PER_S));
	assert_true(load_verify(&load));
}

/* Hints that make no sense cost the hint, not the disk. */
static void test_bad_hints(void **state)
{
	struct virtio_blk_config *c = model_blk_config(&m);
	struct bdev *dev;

	c->physical_block_exp = 200;
	c->opt_io_size = UINT32_MAX;
	c->seg_max = 0;
	c->max_discard_seg = 0;
	c->max_write_zeroes_seg = 0;
	c->num_queues = 0;
	dev = attach(DIRECT);
	assert_non_null(dev);
	assert_int_equal(dev->limits.physical_block, 512);
	assert_int_equal(dev->limits.max_segs, 1);
	assert_int_equal(dev->limits.max_discard_sectors, 0);
	assert_int_equal(dev->limits.max_write_zeroes_sectors, 0);
	assert_true(host_log_has("its topology"));
	assert_true(host_log_has("says it takes no runs"));
	assert_true(host_log_has("its discard limits"));
	assert_true(host_log_has("its write-zeroes limits"));

	begin();
	c->discard_sector_alignment = UINT32_MAX;
	c->seg_max = UINT32_MAX;
	c->alignment_offset = 255;
	dev = attach(DIRECT);
	assert_non_null(dev);
	assert_int_equal(dev->limits.max_discard_sectors, 0);
	assert_int_equal(dev->limits.max_segs, 62);
	assert_int_equal(dev->limits.alignment_offset, 0);
}

/* Any configuration whatever: it is used within what it says, or left out; never a crash. */
static void test_random_config(void **state)
{
	unsigned used = 0, nr = getenv("CAIRN_SOAK") ? 5000 : 200;
	struct rng r;

	rng_seed(&r, 42);
	for (unsigned i = 0; i < nr; i++) {
		struct virtio_blk_config *c = model_blk_config(&m);
		struct bdev *dev;

		begin();
		host_set_cores(1 + (unsigned)rng_below(&r, 4));
		for (unsigned k = 1 + (unsigned)rng_below(&r, 3); k--;) {
			unsigned at = (unsigned)rng_below(&r, sizeof(*c));

			m.config[at] = rng_below(&r, 2) ? (uint8_t)rng_u64(&r)
							: (uint8_t)(1u << rng_below(&r, 8));
		}
		m.offered ^= 1ull << rng_below(&r, 32);
		m.v.config_len = rng_below(&r, 4) ? sizeof(*c) : (unsigned)rng_below(&r, 64);
		m.queue_max = (unsigned)rng_below(&r, 200);
		if (c->capacity > SECTORS && rng_below(&r, 2))
			c->capacity = SECTORS;
		dev = attach(DIRECT);
		if (!dev) {
			assert_true(host_mem_check());
			continue;
		}
		used++;
		if (dev->nr_sectors > SECTORS || dev->nr_sectors < 64)
			continue;
		load_begin(dev, i);
		load.no_writes = dev->read_only;
		load_submit(&load, 40);
		assert_true(load_run(&load, 10 * NS_PER_S));
		assert_true(load_verify(&load));
	}
	assert_in_range(used, nr / 5, nr * 19 / 20);
}

static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		begin();
		host_set_cores(2);
		model_blk_config(&m)->num_queues = 2;
		m.nr_queues = 2;
		fail_nth = n;
		attach(DIRECT);
		if (!host_alloc_failed())
			break;
		if (attach_err)
			assert_true(host_mem_check());
		else
			assert_true(host_log_has("no memory")); /* partitions could not be read */
	}
	assert_in_range(n, 10, 40);
	assert_int_equal(attach_err, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_transports),
		T(test_ring_features),
		T(test_small_rings),
		T(test_no_interrupt),
		T(test_batching),
		T(test_queues),
		T(test_queues_mmio),
		T(test_names),
		T(test_config),
		T(test_serial),
		T(test_left_out),
		T(test_left_out_pci),
		T(test_bad_caps),
		T(test_bad_hints),
		T(test_random_config),
		T(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

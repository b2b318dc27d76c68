/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_virtio_regs - the model behind virtio-mmio and virtio-pci registers.  Accesses of the wrong
 * width or to nowhere panic.  Wired interrupts come on the rising edge only, so a driver that does
 * not acknowledge hears of one.
 */
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/model_virtio_regs.h"

#define DESC  0
#define AVAIL 1
#define USED  2

bool model_regs_irq(struct model_virtio *m, unsigned qi)
{
	struct model_queue *q = &m->queues[qi];
	const uint32_t *e = m->regs.msix[q->vector % MODEL_QUEUES];

	if (m->regs.version) {
		bool edge = !m->regs.isr;

		m->regs.isr |= VIRTIO_MMIO_INT_VRING;
		return edge && host_gsi_raise(m->regs.gsi);
	}
	if (m->regs.pci) {
		uint16_t ctrl = model_pci_get16(m->regs.pci, m->regs.msix_cap + PCI_MSIX_CTRL);

		if (!(ctrl & PCI_MSIX_CTRL_ENABLE) || ctrl & PCI_MSIX_CTRL_MASK ||
			q->vector == VIRTIO_MSI_NO_VECTOR || e[MSIX_CTRL] & MSIX_CTRL_MASKED)
			return false;
		return host_irq_raise(
			(uint64_t)e[MSIX_ADDR_HI] << 32 | e[MSIX_ADDR_LO], e[MSIX_DATA]);
	}
	return q->has_irq && host_irq_raise(q->msi_addr, q->msi_data);
}

static uint64_t config_read(struct model_virtio *m, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	ASSERT(off + size <= sizeof(m->config));
	memcpy(&v, m->config + off, size);
	return v;
}

static void queue_enable(struct model_virtio *m, unsigned q)
{
	struct model_queue *mq = &m->queues[q];

	ASSERT(q < m->nr_queues && !mq->enabled);
	ASSERT(is_pow2(m->regs.num[q]) && m->regs.num[q] <= m->queue_max);
	mq->enabled = true;
	mq->size = m->regs.num[q];
	mq->desc = m->regs.addr[q][DESC];
	mq->avail = m->regs.addr[q][AVAIL];
	mq->used = m->regs.addr[q][USED];
	ASSERT(mq->desc && !(mq->desc & 15) && !(mq->avail & 1) && !(mq->used & 3));
}

static void addr_half(uint64_t *a, bool high, uint32_t v)
{
	*a = high ? (*a & UINT32_MAX) | (uint64_t)v << 32 : (*a & ~(uint64_t)UINT32_MAX) | v;
}

static void features_half(struct model_virtio *m, uint32_t v)
{
	addr_half(&m->features, m->regs.driver_sel == 1, v);
}

static uint32_t offered_half(struct model_virtio *m)
{
	return m->regs.feature_sel == 1   ? (uint32_t)(m->offered >> 32)
	       : m->regs.feature_sel == 0 ? (uint32_t)m->offered
					  : 0;
}

/* ---- virtio-mmio ---- */

static uint64_t mmio_reg_read(void *ctx, uint64_t off, unsigned size)
{
	struct model_virtio *m = ctx;
	unsigned q = m->regs.queue_sel;

	if (m->vanished)
		return UINT64_MAX;
	if (off >= VIRTIO_MMIO_CONFIG)
		return config_read(m, off - VIRTIO_MMIO_CONFIG, size);
	ASSERT(size == 4);
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VIRTIO_MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return m->regs.version;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->v.device_id;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return offered_half(m);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q < m->nr_queues ? m->queue_max : 0;
	case VIRTIO_MMIO_QUEUE_PFN:
		ASSERT(m->regs.version == 1);
		return m->regs.pfn[q];
	case VIRTIO_MMIO_QUEUE_READY:
		ASSERT(m->regs.version == 2);
		return m->queues[q].enabled;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return m->regs.isr;
	case VIRTIO_MMIO_STATUS:
		return model_get_status(m);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		ASSERT(m->regs.version == 2);
		return model_generation(m);
	}
	panic("model: read of mmio register 0x%llx", (unsigned long long)off);
}

static void legacy_pfn(struct model_virtio *m, unsigned q, uint32_t pfn)
{
	unsigned num = m->regs.num[q];
	uint64_t base = (uint64_t)pfn * m->regs.page_size;

	ASSERT(m->regs.version == 1 && m->regs.page_size == PAGE_SIZE && pfn);
	ASSERT(is_pow2(m->regs.align[q]));
	m->regs.pfn[q] = pfn;
	m->regs.addr[q][DESC] = base;
	m->regs.addr[q][AVAIL] = base + 16 * num;
	m->regs.addr[q][USED] =
		ROUND_UP_POW2(base + 16 * num + 6 + 2 * num, (uint64_t)m->regs.align[q]);
	queue_enable(m, q);
}

static void mmio_reg_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct model_virtio *m = ctx;
	unsigned q = m->regs.queue_sel;
	uint32_t v = (uint32_t)value;

	if (m->vanished)
		return;
	ASSERT(size == 4 && q < MODEL_QUEUES);
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->regs.feature_sel = v;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->regs.driver_sel = v;
		return;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		features_half(m, v);
		return;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		ASSERT(m->regs.version == 1);
		m->regs.page_size = v;
		return;
	case VIRTIO_MMIO_QUEUE_SEL:
		ASSERT(v < MODEL_QUEUES);
		m->regs.queue_sel = v;
		return;
	case VIRTIO_MMIO_QUEUE_NUM:
		m->regs.num[q] = v;
		return;
	case VIRTIO_MMIO_QUEUE_ALIGN:
		ASSERT(m->regs.version == 1);
		m->regs.align[q] = v;
		return;
	case VIRTIO_MMIO_QUEUE_PFN:
		legacy_pfn(m, q, v);
		return;
	case VIRTIO_MMIO_QUEUE_READY:
		ASSERT(m->regs.version == 2 && v == 1);
		queue_enable(m, q);
		return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		model_notify(m, v);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		m->regs.isr &= ~v;
		return;
	case VIRTIO_MMIO_STATUS:
		model_set_status(m, (uint8_t)v);
		return;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		addr_half(&m->regs.addr[q][DESC], off & 4, v);
		return;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		addr_half(&m->regs.addr[q][AVAIL], off & 4, v);
		return;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		addr_half(&m->regs.addr[q][USED], off & 4, v);
		return;
	}
	panic("model: write of mmio register 0x%llx", (unsigned long long)off);
}

static const struct host_mmio_ops mmio_ops = { mmio_reg_read, mmio_reg_write };

void model_virtio_mmio(struct model_virtio *m, unsigned version, uint64_t phys, unsigned gsi)
{
	m->regs.version = version;
	m->regs.gsi = gsi;
	if (version == 1) {
		m->v.legacy = true;
		m->offered &= ~VIRTIO_BIT(VIRTIO_F_VERSION_1);
	}
	host_mmio_region(phys, 512, &mmio_ops, m);
}

/* ---- virtio-pci: one BAR with everything, 16 KiB, and one with the MSI-X table ---- */

#define AT_COMMON 0x0000
#define AT_ISR    0x1000
#define AT_CONFIG 0x2000
#define AT_NOTIFY 0x3000
#define BAR_BYTES 0x4000u
#define MULT      4u

#define CFG(field) offsetof(struct virtio_pci_common_cfg, field)

static uint64_t common_read(struct model_virtio *m, uint64_t off, unsigned size)
{
	unsigned q = m->regs.queue_sel;

	switch (off) {
	case CFG(device_feature):
		return offered_half(m);
	case CFG(num_queues):
		ASSERT(size == 2);
		return m->nr_queues;
	case CFG(device_status):
		ASSERT(size == 1);
		return model_get_status(m);
	case CFG(config_generation):
		ASSERT(size == 1);
		return model_generation(m);
	case CFG(queue_size):
		ASSERT(size == 2);
		return q < m->nr_queues ? m->queue_max : 0;
	case CFG(queue_enable):
		ASSERT(size == 2);
		return m->queues[q].enabled;
	case CFG(queue_msix_vector):
		ASSERT(size == 2);
		return m->no_irq ? VIRTIO_MSI_NO_VECTOR : m->queues[q].vector;
	case CFG(queue_notify_off):
		ASSERT(size == 2);
		return q;
	}
	panic("model: read of pci register 0x%llx", (unsigned long long)off);
}

static void common_write(struct model_virtio *m, uint64_t off, unsigned size, uint32_t v)
{
	unsigned q = m->regs.queue_sel;

	switch (off) {
	case CFG(device_feature_select):
		m->regs.feature_sel = v;
		return;
	case CFG(guest_feature_select):
		m->regs.driver_sel = v;
		return;
	case CFG(guest_feature):
		features_half(m, v);
		return;
	case CFG(msix_config):
		ASSERT(size == 2 && v == VIRTIO_MSI_NO_VECTOR);
		return;
	case CFG(device_status):
		ASSERT(size == 1);
		model_set_status(m, (uint8_t)v);
		return;
	case CFG(queue_select):
		ASSERT(size == 2 && v < MODEL_QUEUES);
		m->regs.queue_sel = v;
		return;
	case CFG(queue_size):
		ASSERT(size == 2);
		m->regs.num[q] = v;
		return;
	case CFG(queue_msix_vector):
		ASSERT(size == 2);
		m->queues[q].vector = (uint16_t)v;
		return;
	case CFG(queue_enable):
		ASSERT(size == 2 && v == 1);
		queue_enable(m, q);
		return;
	}
	ASSERT(off >= CFG(queue_desc_lo) && off <= CFG(queue_used_hi) && size == 4);
	addr_half(&m->regs.addr[q][(off - CFG(queue_desc_lo)) / 8], off & 4, v);
}

static uint64_t bar_read(void *ctx, uint64_t off, unsigned size)
{
	struct model_virtio *m = ctx;

	if (m->vanished)
		return UINT64_MAX;
	if (off >= AT_CONFIG && off < AT_NOTIFY)
		return config_read(m, off - AT_CONFIG, size);
	ASSERT(off < AT_ISR);
	return common_read(m, off, size);
}

static void bar_write(void *ctx, uint64_t off, unsigned size, uint64_t v)
{
	struct model_virtio *m = ctx;

	if (m->vanished)
		return;
	if (off >= AT_NOTIFY) {
		ASSERT(size == 2 && (off - AT_NOTIFY) / MULT == v);
		model_notify(m, (unsigned)v);
		return;
	}
	ASSERT(off < AT_ISR);
	ASSERT(model_pci_get16(m->regs.pci, PCI_COMMAND) & PCI_COMMAND_MEM);
	common_write(m, off, size, (uint32_t)v);
}

static uint64_t table_read(void *ctx, uint64_t off, unsigned size)
{
	struct model_virtio *m = ctx;

	ASSERT(size == 4 && off / 16 < MODEL_QUEUES);
	return m->regs.msix[off / 16][off % 16 / 4];
}

static void table_write(void *ctx, uint64_t off, unsigned size, uint64_t v)
{
	struct model_virtio *m = ctx;

	ASSERT(size == 4 && off / 16 < MODEL_QUEUES);
	m->regs.msix[off / 16][off % 16 / 4] = (uint32_t)v;
}

static const struct host_mmio_ops bar_ops = { bar_read, bar_write };
static const struct host_mmio_ops table_ops = { table_read, table_write };

static void add_cap(struct model_pci_fn *f, uint8_t type, uint32_t off, uint32_t len)
{
	struct virtio_pci_notify_cap c = {
		.cap = { .cap_len = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16,
			.cfg_type = type,
			.bar = 4,
			.offset = off,
			.length = len },
		.notify_off_multiplier = MULT,
	};

	model_pci_cap(f, PCI_CAP_ID_VENDOR, (char *)&c + 2, c.cap.cap_len - 2);
}

void model_virtio_pci(struct model_virtio *m, unsigned bdf, uint64_t phys, bool assigned)
{
	struct model_pci_fn *f = model_pci_add(
		bdf, VIRTIO_PCI_VENDOR, VIRTIO_PCI_MODERN_FIRST + m->v.device_id, 0x010000);
	struct {
		uint16_t ctrl;
		uint32_t table, pba;
	} __packed msix = { MODEL_QUEUES - 1, 1, 0x800 | 1 };

	m->regs.pci = f;
	model_pci_bar(f, 1, assigned ? phys + BAR_BYTES : 0, 0x1000, false);
	model_pci_bar(f, 4, assigned ? phys : 0, BAR_BYTES, true);
	host_mmio_region(phys, BAR_BYTES, &bar_ops, m);
	host_mmio_region(phys + BAR_BYTES, 0x1000, &table_ops, m);
	m->regs.msix_cap = model_pci_cap(f, PCI_CAP_ID_MSIX, &msix, sizeof(msix));
	add_cap(f, VIRTIO_PCI_CAP_COMMON_CFG, AT_COMMON, sizeof(struct virtio_pci_common_cfg));
	add_cap(f, VIRTIO_PCI_CAP_ISR_CFG, AT_ISR, 4);
	add_cap(f, VIRTIO_PCI_CAP_DEVICE_CFG, AT_CONFIG, sizeof(struct virtio_blk_config));
	add_cap(f, VIRTIO_PCI_CAP_NOTIFY_CFG, AT_NOTIFY, MODEL_QUEUES * MULT);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_pci - virtio devices on PCI (virtio 1.2, 4.1): modern ones, and transitional ones used in
 * their modern way.  A device that is only legacy (I/O ports) is left out with a log line.
 *
 * Vendor capabilities say in which BAR the four register blocks lie; each is checked against the
 * BAR before it is believed.  Interrupts are MSI-X, one vector a queue; a queue that gets none is
 * polled by its driver.
 */
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/pci/pcireg.h"
#include "drivers/virtio/field.h"
#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtioreg.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/strbuf.h"

struct block {
	volatile uint8_t *at;
	uint32_t len;
};

struct virtio_pci {
	struct virtio_dev v;
	struct pci_dev *pci;
	struct block common, notify, config;
	uint32_t notify_mult;
	unsigned nr_queues;
};

#define COMMON(vp, field) ((vp)->common.at + offsetof(struct virtio_pci_common_cfg, field))

static struct virtio_pci *bus_of(struct virtio_dev *v)
{
	return v->bus;
}

static uint8_t vpci_get_status(struct virtio_dev *v)
{
	return mmio_read8(COMMON(bus_of(v), device_status));
}

static void vpci_set_status(struct virtio_dev *v, uint8_t status)
{
	mmio_write8(COMMON(bus_of(v), device_status), status);
}

static uint64_t vpci_get_features(struct virtio_dev *v)
{
	struct virtio_pci *vp = bus_of(v);
	uint64_t f;

	mmio_write32(COMMON(vp, device_feature_select), 0);
	f = mmio_read32(COMMON(vp, device_feature));
	mmio_write32(COMMON(vp, device_feature_select), 1);
	return f | (uint64_t)mmio_read32(COMMON(vp, device_feature)) << 32;
}

static void vpci_set_features(struct virtio_dev *v, uint64_t features)
{
	struct virtio_pci *vp = bus_of(v);

	mmio_write32(COMMON(vp, guest_feature_select), 0);
	mmio_write32(COMMON(vp, guest_feature), features);
	mmio_write32(COMMON(vp, guest_feature_select), 1);
	mmio_write32(COMMON(vp, guest_feature), features >> 32);
}

static uint8_t vpci_config_generation(struct virtio_dev *v)
{
	return mmio_read8(COMMON(bus_of(v), config_generation));
}

static void vpci_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	field_read(buf, bus_of(v)->config.at + off, len);
}

static unsigned vpci_queue_max(struct virtio_dev *v, unsigned q)
{
	struct virtio_pci *vp = bus_of(v);

	if (q >= vp->nr_queues)
		return 0;
	mmio_write16(COMMON(vp, queue_select), q);
	return mmio_read16(COMMON(vp, queue_size));
}

static void write_addr(volatile uint8_t *lo, dma_addr_t a)
{
	mmio_write32(lo, a);
	mmio_write32(lo + 4, a >> 32);
}

/* The vector of this queue, or none: then its driver polls. */
static void queue_vector(struct virtio_pci *vp, struct virtqueue *vq)
{
	uint16_t vector = vq->index;

	if (vector >= vp->pci->nr_msix || (!vq->has_irq && irq_alloc_msi(&vq->irq, vq->core))) {
		vq->has_irq = false;
		return;
	}
	pci_msix_set(vp->pci, vector, &vq->irq);
	mmio_write16(COMMON(vp, queue_msix_vector), vector);
	vq->has_irq = mmio_read16(COMMON(vp, queue_msix_vector)) == vector;
	if (!vq->has_irq)
		log_warn("%s: queue %u gets no interrupt, polled", vp->v.name, vq->index);
}

static int vpci_queue_setup(struct virtio_dev *v, struct virtqueue *vq)
{
	struct virtio_pci *vp = bus_of(v);
	uint64_t off;

	mmio_write16(COMMON(vp, queue_select), vq->index);
	if (mmio_read16(COMMON(vp, queue_enable))) {
		log_warn("%s: queue %u is in use before it was set up", v->name, vq->index);
		return -EBUSY;
	}
	off = (uint64_t)mmio_read16(COMMON(vp, queue_notify_off)) * vp->notify_mult;
	if (off + 2 > vp->notify.len) {
		log_warn("%s: queue %u is notified outside its registers", v->name, vq->index);
		return -EINVAL;
	}
	vq->notify_addr = vp->notify.at + off;
	mmio_write16(COMMON(vp, queue_size), vq->size);
	queue_vector(vp, vq);
	write_addr(COMMON(vp, queue_desc_lo), vq->desc_addr);
	write_addr(COMMON(vp, queue_avail_lo), vq->avail_addr);
	write_addr(COMMON(vp, queue_used_lo), vq->used_addr);
	mmio_write16(COMMON(vp, queue_enable), 1);
	return 0;
}

static void vpci_notify(struct virtqueue *vq)
{
	mmio_write16(vq->notify_addr, vq->index);
}

static int vpci_stop_dma(struct virtio_dev *v)
{
	struct pci_dev *pci = bus_of(v)->pci;

	pci_disable(pci);
	if (pci_is_gone(pci) || !(pci_read16(pci, PCI_COMMAND) & PCI_COMMAND_BUSM))
		return 0;
	return -EOPNOTSUPP;
}

static const struct virtio_transport vpci_transport = {
	.get_status = vpci_get_status,
	.set_status = vpci_set_status,
	.get_features = vpci_get_features,
	.set_features = vpci_set_features,
	.config_generation = vpci_config_generation,
	.config_read = vpci_config_read,
	.queue_max = vpci_queue_max,
	.queue_setup = vpci_queue_setup,
	.notify = vpci_notify,
	.stop_dma = vpci_stop_dma,
};

/* ---- finding the register blocks ---- */

/* The block a capability speaks of; its .at stays NULL if it is nonsense. */
static struct block cap_block(struct virtio_pci *vp, unsigned cap, uint32_t min_len)
{
	uint32_t off = pci_read32(vp->pci, cap + VIRTIO_PCI_CAP_OFFSET);
	uint32_t len = pci_read32(vp->pci, cap + VIRTIO_PCI_CAP_LENGTH);
	unsigned bar = pci_read8(vp->pci, cap + VIRTIO_PCI_CAP_BAR);
	struct block b = { 0 };
	volatile uint8_t *map;
	uint64_t size;

	if (bar >= PCI_NR_BARS) /* reserved values are to be skipped, 4.1.4.1 */
		return b;
	map = pci_map_bar(vp->pci, bar, &size);
	if (!map)
		return b;
	if (len < min_len || off > size || len > size - off || off & 3) {
		log_warn("%s: registers at %#x+%#x of BAR %u (%llu bytes) make no sense",
			vp->v.name, off, len, bar, (unsigned long long)size);
		return b;
	}
	b.at = map + off;
	b.len = len;
	return b;
}

/* Takes the first usable block of each kind, as 4.1.4.1 asks. */
static void find_blocks(struct virtio_pci *vp)
{
	unsigned cap = 0, i;

	for (i = 0; i < PCI_CAPS_MAX; i++) {
		cap = pci_find_cap(vp->pci, PCI_CAP_ID_VENDOR, cap);
		if (!cap)
			return;
		if (cap + VIRTIO_PCI_CAP_LENGTH + 4 > 256)
			continue;
		switch (pci_read8(vp->pci, cap + VIRTIO_PCI_CAP_CFG_TYPE)) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
			if (!vp->common.at)
				vp->common =
					cap_block(vp, cap, sizeof(struct virtio_pci_common_cfg));
			break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			if (vp->notify.at || cap + VIRTIO_PCI_NOTIFY_CAP_MULT + 4 > 256)
				break;
			vp->notify = cap_block(vp, cap, 2);
			vp->notify_mult = pci_read32(vp->pci, cap + VIRTIO_PCI_NOTIFY_CAP_MULT);
			break;
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			if (!vp->config.at)
				vp->config = cap_block(vp, cap, 1);
			break;
		}
	}
}

static int vpci_attach(struct pci_dev *d)
{
	struct virtio_pci *vp = d->softc;
	struct virtio_dev *v = &vp->v;
	int err;

	if (d->device < VIRTIO_PCI_TRANS_FIRST || d->device > VIRTIO_PCI_MODERN_LAST)
		return -ENODEV;
	v->device_id = d->device >= VIRTIO_PCI_MODERN_FIRST ? d->device - VIRTIO_PCI_MODERN_FIRST
							    : pci_read16(d, PCI_SUBDEVICE);
	v->transport = &vpci_transport;
	v->bus = vp;
	vp->pci = d;
	str_printf(v->name, sizeof(v->name), "virtio %s", d->name);

	find_blocks(vp);
	if (!vp->common.at || !vp->notify.at) {
		log_warn("%s: type %u, legacy only or without its registers: left out", v->name,
			v->device_id);
		return -ENODEV;
	}
	v->config_len = vp->config.len;
	pci_enable(d);
	pci_msix_enable(d);
	vp->nr_queues = mmio_read16(COMMON(vp, num_queues));
	mmio_write16(COMMON(vp, msix_config), VIRTIO_MSI_NO_VECTOR);
	err = virtio_attach(v);
	if (err)
		pci_disable(d);
	return err;
}

static void vpci_shutdown(struct pci_dev *d)
{
	struct virtio_pci *vp = d->softc;

	virtio_detach(&vp->v);
}

static const struct pci_id vpci_ids[] = {
	{ .vendor = VIRTIO_PCI_VENDOR, .device = 0xffff },
	{ 0 },
};

const struct pci_driver virtio_pci_driver = {
	.name = "virtio-pci",
	.ids = vpci_ids,
	.softc_size = sizeof(struct virtio_pci),
	.attach = vpci_attach,
	.shutdown = vpci_shutdown,
};

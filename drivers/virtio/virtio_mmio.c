/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_mmio - virtio devices without a bus (virtio 1.2, 4.2): register windows that ACPI or the
 * command line names.  Version 2 is virtio 1.x; version 1 is the layout before it, which QEMU's
 * microvm still shows unless told otherwise, so both are spoken.  Windows without a device (id 0)
 * are the rule, not an error.
 *
 * One interrupt for all queues, level by nature: whatever is pending is acknowledged just before a
 * queue is armed, so that the next one makes an edge.
 */
#include "drivers/driver.h"
#include "drivers/virtio/field.h"
#include "drivers/virtio/mmio.h"
#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtioreg.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/api/strbuf.h"

#define MAX_SLOTS   64
#define MAX_WINDOW  (1u << 20) /* bytes of one; the registers take 0x100, the rest is config */
#define QUEUE_ALIGN 4096u

struct slot {
	uint64_t phys;
	uint32_t size; /* bytes */
	unsigned gsi;
	volatile uint8_t *regs;
	bool irq_tried, has_irq;
	struct irq irq;
	struct virtio_dev v;
};

static struct mem_tag mmio_tag = MEM_TAG("virtio-mmio");
static struct slot *slots[MAX_SLOTS]; /* highest address first */
static unsigned nr_slots;

static uint32_t reg_read(struct virtio_dev *v, unsigned reg)
{
	return mmio_read32(((struct slot *)v->bus)->regs + reg);
}

static void reg_write(struct virtio_dev *v, unsigned reg, uint32_t val)
{
	mmio_write32(((struct slot *)v->bus)->regs + reg, val);
}

static uint8_t mm_get_status(struct virtio_dev *v)
{
	uint32_t status = reg_read(v, VIRTIO_MMIO_STATUS);

	return status > UINT8_MAX ? UINT8_MAX : status;
}

static void mm_set_status(struct virtio_dev *v, uint8_t status)
{
	reg_write(v, VIRTIO_MMIO_STATUS, status);
	if (v->legacy && status == VIRTIO_CONFIG_S_ACKNOWLEDGE) /* first word after a reset */
		reg_write(v, VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE_SIZE);
}

static uint64_t mm_get_features(struct virtio_dev *v)
{
	uint64_t f;

	reg_write(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	f = reg_read(v, VIRTIO_MMIO_DEVICE_FEATURES);
	reg_write(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return f | (uint64_t)reg_read(v, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

static void mm_set_features(struct virtio_dev *v, uint64_t features)
{
	reg_write(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(v, VIRTIO_MMIO_DRIVER_FEATURES, features);
	if (v->legacy)
		return;
	reg_write(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(v, VIRTIO_MMIO_DRIVER_FEATURES, features >> 32);
}

static uint8_t mm_config_generation(struct virtio_dev *v)
{
	return v->legacy ? 0 : reg_read(v, VIRTIO_MMIO_CONFIG_GENERATION);
}

static void mm_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	field_read(buf, ((struct slot *)v->bus)->regs + VIRTIO_MMIO_CONFIG + off, len);
}

static unsigned mm_queue_max(struct virtio_dev *v, unsigned q)
{
	reg_write(v, VIRTIO_MMIO_QUEUE_SEL, q);
	return reg_read(v, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static void write_addr(struct virtio_dev *v, unsigned lo, dma_addr_t a)
{
	reg_write(v, lo, a);
	reg_write(v, lo + 4, a >> 32);
}

static int mm_queue_setup(struct virtio_dev *v, struct virtqueue *vq)
{
	struct slot *s = v->bus;
	unsigned busy = v->legacy ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY;

	reg_write(v, VIRTIO_MMIO_QUEUE_SEL, vq->index);
	if (reg_read(v, busy)) {
		log_warn("%s: queue %u is in use before it was set up", v->name, vq->index);
		return -EBUSY;
	}
	if (!s->irq_tried) {
		s->irq_tried = true;
		s->has_irq = !irq_alloc_gsi(&s->irq, vq->core, s->gsi, false);
		if (!s->has_irq)
			log_warn("%s: interrupt %u cannot be had, polled", v->name, s->gsi);
	}
	vq->has_irq = s->has_irq && s->irq.core == vq->core;
	reg_write(v, VIRTIO_MMIO_QUEUE_NUM, vq->size);
	if (v->legacy) {
		if (vq->desc_addr >> PAGE_SHIFT > UINT32_MAX)
			return -ERANGE;
		reg_write(v, VIRTIO_MMIO_QUEUE_ALIGN, QUEUE_ALIGN);
		reg_write(v, VIRTIO_MMIO_QUEUE_PFN, vq->desc_addr >> PAGE_SHIFT);
		return 0;
	}
	write_addr(v, VIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc_addr);
	write_addr(v, VIRTIO_MMIO_QUEUE_AVAIL_LOW, vq->avail_addr);
	write_addr(v, VIRTIO_MMIO_QUEUE_USED_LOW, vq->used_addr);
	reg_write(v, VIRTIO_MMIO_QUEUE_READY, 1);
	return 0;
}

static void mm_notify(struct virtqueue *vq)
{
	reg_write(vq->dev, VIRTIO_MMIO_QUEUE_NOTIFY, vq->index);
}

static void mm_ack(struct virtio_dev *v)
{
	uint32_t pending = reg_read(v, VIRTIO_MMIO_INTERRUPT_STATUS);

	if (pending)
		reg_write(v, VIRTIO_MMIO_INTERRUPT_ACK, pending);
}

static const struct virtio_transport mm_transport = {
	.get_status = mm_get_status,
	.set_status = mm_set_status,
	.get_features = mm_get_features,
	.set_features = mm_set_features,
	.config_generation = mm_config_generation,
	.config_read = mm_config_read,
	.queue_max = mm_queue_max,
	.queue_setup = mm_queue_setup,
	.notify = mm_notify,
	.ack = mm_ack,
};

void virtio_mmio_add(uint64_t phys, uint64_t size, unsigned gsi)
{
	unsigned i, at;
	struct slot *s;

	if (size <= VIRTIO_MMIO_CONFIG || size > MAX_WINDOW || phys & 3 ||
		phys > UINT64_MAX - size) {
		log_warn("virtio-mmio: window at %#llx of %llu bytes makes no sense",
			(unsigned long long)phys, (unsigned long long)size);
		return;
	}
	for (at = 0; at < nr_slots && slots[at]->phys > phys; at++)
		;
	if (at < nr_slots && slots[at]->phys == phys)
		return; /* named by ACPI and the command line both */
	if (nr_slots == MAX_SLOTS) {
		log_warn("virtio-mmio: more than %u windows", MAX_SLOTS);
		return;
	}
	s = mem_alloc(&mmio_tag, sizeof(*s));
	if (!s) {
		log_err("virtio-mmio: no memory for the window at %#llx", (unsigned long long)phys);
		return;
	}
	s->phys = phys;
	s->size = size;
	s->gsi = gsi;
	for (i = nr_slots++; i > at; i--)
		slots[i] = slots[i - 1];
	slots[at] = s;
}

static void slot_attach(struct slot *s)
{
	struct virtio_dev *v = &s->v;
	uint32_t magic, version;

	str_printf(v->name, sizeof(v->name), "virtio %llx", (unsigned long long)s->phys);
	s->regs = mmio_map(s->phys, s->size);
	if (!s->regs) {
		log_warn("%s: cannot be mapped", v->name);
		return;
	}
	v->transport = &mm_transport;
	v->bus = s;
	v->one_irq = true;
	v->config_len = s->size - VIRTIO_MMIO_CONFIG;
	magic = reg_read(v, VIRTIO_MMIO_MAGIC_VALUE);
	version = reg_read(v, VIRTIO_MMIO_VERSION);
	if (magic != VIRTIO_MMIO_MAGIC || version < 1 || version > 2) {
		log_warn("%s: no virtio-mmio device (magic %#x, version %u)", v->name, magic,
			version);
		return;
	}
	v->legacy = version == 1;
	v->device_id = MIN(reg_read(v, VIRTIO_MMIO_DEVICE_ID), (uint32_t)UINT16_MAX);
	if (v->device_id)
		virtio_attach(v);
}

void virtio_mmio_attach(void)
{
	unsigned i;

	for (i = 0; i < nr_slots; i++)
		if (!slots[i]->regs)
			slot_attach(slots[i]);
}

void virtio_mmio_shutdown(void)
{
	unsigned i;

	for (i = nr_slots; i-- > 0;)
		virtio_detach(&slots[i]->v);
}

/* Nothing is freed: tests throw the whole heap away. */
void virtio_mmio_reset(void)
{
	nr_slots = 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtqueue - split rings (virtio 1.2, 2.7): making them, filling them by segments, notifying with
 * or without event index, and starting over after a device was reset.
 *
 * All of it runs on the queue's core.  The fast path is inline in vq.h; here is what happens once
 * a batch or once a life.
 */
#include "drivers/virtio/vq.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define RING_ALIGN     4096u /* of the used ring, as the layout before virtio 1.0 wants it */
#define SIZE_DEFAULT   256u
#define SIZE_MAX_SPLIT 32768u

static struct mem_tag vq_tag = MEM_TAG("virtqueue");

static unsigned ring_order(const struct virtqueue *vq)
{
	return page_order(vring_size(vq->size, RING_ALIGN));
}

static unsigned table_order(const struct virtqueue *vq)
{
	unsigned nr = vq->indirect ? vq->size * vq->max_descs : vq->max_descs;

	return page_order(nr * sizeof(struct vring_desc));
}

/* All slots free, rings as they are before the first request. */
static void vq_clear(struct virtqueue *vq)
{
	unsigned i, k;

	memset(vq->desc, 0, vring_size(vq->size, RING_ALIGN));
	for (i = 0; i < vq->size; i++) {
		vq->slots[i] = (struct vq_slot){ .nr = 1, .next = i + 1 };
		if (!vq->indirect)
			continue;
		/* Its whole table always: a chain ends where NEXT is not set. */
		vq_desc(&vq->desc[i], dma_addr(&vq->tables[i * vq->max_descs]),
			vq->max_descs * sizeof(struct vring_desc), VRING_DESC_F_INDIRECT);
		for (k = 0; k < vq->max_descs; k++)
			vq->tables[i * vq->max_descs + k].next = k + 1;
	}
	vq->avail_idx = vq->used_idx = vq->kicked_idx = 0;
	vq->free_head = 0;
	vq->nr_free = vq->size;
	vq->nr_tokens = 0;
	vq->broken = false;
	vq->armed = false;
	if (!vq->event_idx)
		vq->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

int vq_init(
	struct virtqueue *vq, struct virtio_dev *dev, unsigned index, unsigned core, unsigned size)
{
	unsigned max = dev->transport->queue_max(dev, index);
	struct vring vr;
	int err = -ENOMEM;

	if (!max)
		return -ENODEV;
	size = MIN(size ? size : SIZE_DEFAULT, MIN(max, SIZE_MAX_SPLIT));
	vq->dev = dev;
	vq->index = index;
	vq->core = core;
	vq->size = 1u << ilog2(size);
	vq->mask = vq->size - 1;
	vq->max_descs = MAX(vq->max_descs, 1u);
	vq->indirect = vq->max_descs > 1 && virtio_has(dev, VIRTIO_RING_F_INDIRECT_DESC);
	vq->event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX);

	vq->desc = page_alloc(&vq_tag, ring_order(vq));
	vq->tables = page_alloc(&vq_tag, table_order(vq));
	vq->slots = mem_alloc(&vq_tag, vq->size * sizeof(*vq->slots));
	if (!vq->desc || !vq->tables || !vq->slots)
		goto fail;
	vring_init(&vr, vq->size, vq->desc, RING_ALIGN);
	vq->avail = vr.avail;
	vq->used = vr.used;
	vq->desc_addr = dma_addr(vq->desc);
	vq->avail_addr = vq->desc_addr + ((char *)vq->avail - (char *)vq->desc);
	vq->used_addr = vq->desc_addr + ((char *)vq->used - (char *)vq->desc);
	vq_clear(vq);
	err = dev->transport->queue_setup(dev, vq);
	if (err)
		goto fail;
	return 0;
fail:
	vq_free(vq);
	return err;
}

void vq_free(struct virtqueue *vq)
{
	if (!vq->dev)
		return;
	page_free(&vq_tag, vq->desc, ring_order(vq));
	page_free(&vq_tag, vq->tables, table_order(vq));
	mem_free(vq->slots);
	vq->desc = NULL;
	vq->tables = NULL;
	vq->slots = NULL;
	vq->dev = NULL;
	vq->free_head = vq->size;
	vq->nr_free = 0;
}

void *vq_drop(struct virtqueue *vq)
{
	unsigned i;
	void *token;

	for (i = 0; i < vq->size && vq->nr_tokens; i++) {
		token = vq->slots[i].token;
		if (!token)
			continue;
		vq->slots[i].token = NULL;
		vq->nr_tokens--;
		return token;
	}
	return NULL;
}

int vq_restart(struct virtqueue *vq)
{
	ASSERT(!vq->nr_tokens);
	vq_clear(vq);
	return vq->dev->transport->queue_setup(vq->dev, vq);
}

void vq_break(struct virtqueue *vq, const char *what, unsigned value)
{
	if (!vq->broken)
		log_err("%s: queue %u is broken: %s %u", vq->dev->name, vq->index, what, value);
	vq->broken = true;
}

/* ---- without indirect descriptors ---- */

int vq_publish_chain(
	struct virtqueue *vq, unsigned slot, unsigned nr, uint32_t in_bytes, void *token)
{
	const struct vring_desc *from = vq->tables;
	unsigned i, at = slot, last = slot;

	if (nr > vq->nr_free)
		return -EAGAIN;
	for (i = 0; i < nr; i++) {
		vq->desc[at] = from[i];
		vq->desc[at].next = vq->slots[at].next;
		last = at;
		at = vq->slots[at].next;
	}
	vq->desc[last].flags &= ~VRING_DESC_F_NEXT;
	vq->slots[slot].nr = nr;
	vq->nr_free -= nr;
	vq_publish(vq, slot, in_bytes, token);
	vq->free_head = at;
	return 0;
}

void vq_release_chain(struct virtqueue *vq, unsigned slot)
{
	unsigned i, last = slot, nr = vq->slots[slot].nr;

	for (i = 1; i < nr; i++)
		last = vq->slots[last].next;
	vq->slots[last].next = vq->free_head;
	vq->free_head = slot;
	vq->nr_free += nr;
}

/* ---- segments ---- */

int vq_add(struct virtqueue *vq, const struct seg *out, unsigned nr_out, const struct seg *in,
	unsigned nr_in, void *token)
{
	unsigned slot, i, nr = nr_out + nr_in;
	struct vring_desc *d;
	uint32_t in_bytes = 0;

	ASSERT(nr && nr <= vq->max_descs && token);
	d = vq_begin(vq, &slot);
	if (!d)
		return -EAGAIN;
	for (i = 0; i < nr_out; i++)
		vq_desc(&d[i], out[i].addr, out[i].len, VRING_DESC_F_NEXT);
	for (i = 0; i < nr_in; i++) {
		vq_desc(&d[nr_out + i], in[i].addr, in[i].len,
			VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
		in_bytes += in[i].len;
	}
	d[nr - 1].flags &= ~VRING_DESC_F_NEXT;
	return vq_commit(vq, slot, nr, in_bytes, token);
}

void *vq_take(struct virtqueue *vq, uint32_t *len)
{
	uint16_t at = vq->used_idx;
	unsigned slot;

	if (vq_look(vq) == at)
		return NULL;
	vq->used_idx = at + 1;
	return vq_entry(vq, at, &slot, len) ? vq_release(vq, slot) : NULL;
}

/* ---- notifications ---- */

void vq_kick(struct virtqueue *vq)
{
	uint16_t before = vq->kicked_idx, now = vq->avail_idx;
	bool wanted;

	if (before == now || vq->broken)
		return;
	vq->kicked_idx = now;
	dma_mb(); /* the device must see the index before we see whether it sleeps */
	if (vq->event_idx)
		wanted = vring_need_event(
			__atomic_load_n((uint16_t *)&vq->used->ring[vq->size], __ATOMIC_RELAXED),
			now, before);
	else
		wanted = !(__atomic_load_n(&vq->used->flags, __ATOMIC_RELAXED) &
			   VRING_USED_F_NO_NOTIFY);
	if (wanted)
		vq->dev->transport->notify(vq);
}

bool vq_arm(struct virtqueue *vq)
{
	if (vq->broken)
		return false;
	if (vq->dev->transport->ack)
		vq->dev->transport->ack(vq->dev);
	if (vq->event_idx) {
		__atomic_store_n(&vq->avail->ring[vq->size], vq->used_idx, __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&vq->avail->flags, 0, __ATOMIC_RELAXED);
		vq->armed = true;
	}
	dma_mb(); /* what finished before the device saw our wish must be seen here */
	if (__atomic_load_n(&vq->used->idx, __ATOMIC_RELAXED) == vq->used_idx)
		return false;
	vq_disarm(vq);
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vq - the inside of a virtqueue, for drivers that count instructions.  Requests are built in
 *place:
 *
 *	d = vq_begin(vq, &slot);		NULL: the ring is full
 *	vq_desc(&d[0], addr, len, 0);		what the device reads, then what it writes
 *	vq_desc(&d[1], addr, len, VRING_DESC_F_WRITE);
 *	err = vq_commit(vq, slot, 2, bytes it may write, token);
 *	...
 *	slot = vq_next(vq, &len);		-1: none now
 *	token = vq_release(vq, slot);
 *
 * Between begin and commit nothing is taken: walking away costs nothing.  The device's words are
 * read once each and judged before use; the cursor moves first, so that a bad entry is met once.
 */
#ifndef DRIVERS_VIRTIO_VQ_H
#define DRIVERS_VIRTIO_VQ_H

#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtioreg.h"
#include "kernel/api/errno.h"

/* By index of the first ring descriptor of a request.  What is in the rings themselves the device
 * could have changed, so all we must remember is here. */
struct vq_slot {
	void *token;       /* NULL: the device does not have it */
	uint32_t in_bytes; /* most the device may say it wrote */
	uint16_t nr;       /* ring descriptors it takes */
	uint16_t next;     /* in the free list, or of the chain */
};

static inline struct vring_desc *vq_begin(struct virtqueue *vq, unsigned *slot)
{
	if (unlikely(!vq->nr_free || vq->broken))
		return NULL;
	*slot = vq->free_head;
	return vq->indirect ? &vq->tables[*slot * vq->max_descs] : vq->tables;
}

static inline void vq_desc(struct vring_desc *d, dma_addr_t addr, uint32_t len, uint16_t flags)
{
	d->addr = addr;
	d->len = len;
	d->flags = flags;
}

/* Direct mode: copies the request into ring descriptors.  False: too few are free. */
bool vq_commit_chain(struct virtqueue *vq, unsigned slot, unsigned nr);

/* nr <= max_descs.  -EAGAIN: the ring is too full for it (direct mode only). */
static inline int vq_commit(
	struct virtqueue *vq, unsigned slot, unsigned nr, uint32_t in_bytes, void *token)
{
	struct vq_slot *s = &vq->slots[slot];

	if (likely(vq->indirect)) {
		vq->desc[slot].len = nr * sizeof(struct vring_desc);
		vq->free_head = s->next;
		vq->nr_free--;
	} else if (!vq_commit_chain(vq, slot, nr)) {
		return -EAGAIN;
	}
	s->token = token;
	s->in_bytes = in_bytes;
	vq->nr_tokens++;
	vq->avail->ring[vq->avail_idx++ & (vq->size - 1)] = slot;
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
	return 0;
}

/* One log line, and the queue gives nothing more. */
void vq_break(struct virtqueue *vq, const char *what, unsigned value);

static inline int vq_next(struct virtqueue *vq, uint32_t *len)
{
	uint16_t at = vq->used_idx, idx;
	const struct vring_used_elem *e;
	uint32_t id, bytes;

	if (at == vq->seen_idx) {
		idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
		if (idx == at || unlikely(vq->broken))
			return -1;
		if (unlikely((uint16_t)(idx - at) > vq->nr_tokens)) {
			vq_break(vq, "the used index jumped to", idx);
			return -1;
		}
		vq->seen_idx = idx;
	}
	e = &vq->used->ring[at & (vq->size - 1)];
	id = __atomic_load_n(&e->id, __ATOMIC_RELAXED);
	bytes = __atomic_load_n(&e->len, __ATOMIC_RELAXED);
	vq->used_idx = at + 1;
	if (unlikely(id >= vq->size || !vq->slots[id].token)) {
		vq_break(vq, "a request we did not make is said to be done:", id);
		return -1;
	}
	if (unlikely(bytes > vq->slots[id].in_bytes)) {
		vq_break(vq, "more bytes written than offered:", bytes);
		return -1;
	}
	*len = bytes;
	return id;
}

void vq_release_chain(struct virtqueue *vq, unsigned slot);

/* The slot is free again; its token. */
static inline void *vq_release(struct virtqueue *vq, unsigned slot)
{
	struct vq_slot *s = &vq->slots[slot];
	void *token = s->token;

	s->token = NULL;
	vq->nr_tokens--;
	if (likely(vq->indirect)) {
		s->next = vq->free_head;
		vq->free_head = slot;
		vq->nr_free++;
	} else {
		vq_release_chain(vq, slot);
	}
	return token;
}

/* Something was added that the device was not told of. */
static inline bool vq_unkicked(const struct virtqueue *vq)
{
	return vq->avail_idx != vq->kicked_idx;
}

/* Polling goes on: no interrupts until vq_arm().  With event index there is nothing to do, the
 * device's next one would be at an index long past. */
static inline void vq_disarm(struct virtqueue *vq)
{
	if (likely(!vq->armed))
		return;
	vq->armed = false;
	__atomic_store_n(&vq->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}

/* Descriptors one request can have at most. */
static inline unsigned vq_max_descs(const struct virtqueue *vq)
{
	return vq->indirect ? vq->max_descs : MIN(vq->max_descs, vq->size);
}

#endif

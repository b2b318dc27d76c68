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
 *	for (at = vq->used_idx, end = vq_look(vq); at != end;) {
 *		if (!vq_entry(vq, at++, &slot, &len))
 *			break;			a lie: the queue is broken
 *		token = vq_release(vq, slot);
 *	}
 *	vq->used_idx = at;
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
	if (unlikely(vq->free_head == vq->size || vq->broken))
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

/* Flags and next at once, for tables filled in an order of one's own. */
static inline void vq_link(struct vring_desc *d, uint16_t flags, uint16_t next)
{
	uint32_t both = flags | (uint32_t)next << 16;

	_Static_assert(offsetof(struct vring_desc, next) == offsetof(struct vring_desc, flags) + 2,
		"they are neighbours");
	__builtin_memcpy((char *)d + offsetof(struct vring_desc, flags), &both, sizeof(both));
}

/* The last step of a request in indirect mode, for those who filled the table in their own way: any
 * order from entry 0 on, with `next` written. */
static inline void vq_publish(struct virtqueue *vq, unsigned slot, uint32_t in_bytes, void *token)
{
	struct vq_slot *s = &vq->slots[slot];
	struct vring_avail *avail = vq->avail;
	uint16_t at = vq->avail_idx;

	vq->free_head = s->next;
	s->token = token;
	s->in_bytes = in_bytes;
	vq->nr_tokens++;
	avail->ring[at & vq->mask] = (uint16_t)slot;
	vq->avail_idx = ++at;
	__atomic_store_n(&avail->idx, at, __ATOMIC_RELEASE);
}

/* The same in direct mode: copies the first nr entries of the table, in their order, into ring
 * descriptors.  -EAGAIN: too few are free. */
int vq_publish_chain(
	struct virtqueue *vq, unsigned slot, unsigned nr, uint32_t in_bytes, void *token);

/* nr <= max_descs, in order.  -EAGAIN: the ring is too full for it (direct mode only). */
static inline int vq_commit(
	struct virtqueue *vq, unsigned slot, unsigned nr, uint32_t in_bytes, void *token)
{
	if (unlikely(!vq->indirect))
		return vq_publish_chain(vq, slot, nr, in_bytes, token);
	vq_publish(vq, slot, in_bytes, token);
	return 0;
}

/* One log line, and the queue gives nothing more. */
void vq_break(struct virtqueue *vq, const char *what, unsigned value);

/* Whether the device has come further since used_idx was set. */
static inline bool vq_has_news(const struct virtqueue *vq)
{
	return __atomic_load_n(&vq->used->idx, __ATOMIC_RELAXED) != vq->used_idx;
}

/* How far the device has come: entries from used_idx up to here may be taken, one by one with
 * vq_entry(); then used_idx is to be set to the first not taken.  At most a ring full, so a device
 * that is always ready does not keep the core for ever. */
static inline uint16_t vq_look(struct virtqueue *vq)
{
	uint16_t at = vq->used_idx, idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);

	if (idx == at || unlikely(vq->broken))
		return at;
	if (unlikely((uint16_t)(idx - at) > vq->nr_tokens)) {
		vq_break(vq, "the used index jumped to", idx);
		return at;
	}
	return idx;
}

/* The slot that entry `at` says is done; false: a lie, the queue is broken. */
static inline bool vq_entry(struct virtqueue *vq, uint16_t at, unsigned *slot, uint32_t *len)
{
	const struct vring_used_elem *e = &vq->used->ring[at & vq->mask];
	uint32_t id = __atomic_load_n(&e->id, __ATOMIC_RELAXED);
	uint32_t bytes = __atomic_load_n(&e->len, __ATOMIC_RELAXED);

	if (unlikely(id >= vq->size || !vq->slots[id].token)) {
		vq_break(vq, "a request we did not make is said to be done:", id);
		return false;
	}
	if (unlikely(bytes > vq->slots[id].in_bytes)) {
		vq_break(vq, "more bytes written than offered:", bytes);
		return false;
	}
	*slot = id;
	*len = bytes;
	return true;
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
		s->next = (uint16_t)vq->free_head;
		vq->free_head = slot;
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

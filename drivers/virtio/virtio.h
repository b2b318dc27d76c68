/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio - virtio 1.x devices whatever they hang on (PCI, mmio): feature negotiation, configuration
 * space, split virtqueues with indirect descriptors and event index.  OASIS virtio 1.2.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_H
#define DRIVERS_VIRTIO_VIRTIO_H

#include "kernel/api/base.h"
#include "kernel/api/core.h"
#include "kernel/api/dma.h"
#include "mapper/block.h"

struct virtqueue;
struct virtio_dev;
struct virtio_driver;

/* What a transport does; virtio_pci.c, virtio_mmio.c and the tests' model implement it. */
struct virtio_transport {
	uint8_t (*get_status)(struct virtio_dev *v);
	void (*set_status)(struct virtio_dev *v, uint8_t status);
	uint64_t (*get_features)(struct virtio_dev *v);
	void (*set_features)(struct virtio_dev *v, uint64_t features);
	uint8_t (*config_generation)(struct virtio_dev *v);
	/* Bytes of device configuration; len was checked against config_len. */
	void (*config_read)(struct virtio_dev *v, unsigned off, void *buf, unsigned len);
	unsigned (*queue_max)(struct virtio_dev *v, unsigned q); /* 0: no such queue */
	/* Gives the device the rings and enables the queue, with its interrupt if one can be had;
	 * 0 or -errno.  Called again after a reset. */
	int (*queue_setup)(struct virtio_dev *v, struct virtqueue *vq);
	void (*notify)(struct virtqueue *vq);
	/* Optional: cuts the device off from memory without its help (bus mastering off); 0, or
	 * -EOPNOTSUPP if it may still write. */
	int (*stop_dma)(struct virtio_dev *v);
	/* Optional: lowers a wired interrupt before the queue is armed. */
	void (*ack)(struct virtio_dev *v);
};

struct virtio_dev {
	const struct virtio_transport *transport;
	const struct virtio_driver *driver;
	void *softc;
	void *bus; /* the transport's */
	uint16_t device_id;
	char name[24];       /* "virtio 00:04.0", for the log */
	uint64_t features;   /* negotiated */
	unsigned config_len; /* bytes of device configuration there really are */
	bool legacy;         /* the layout before 1.0: no VERSION_1, no FEATURES_OK */
	bool one_irq;        /* all queues share one interrupt, so they should share one core */
	bool broken;         /* its configuration cannot be read in peace: do not use it */
};

/* Finds the driver for device_id and attaches; 0, -ENODEV (no such driver: one log line) or what
 * the driver said.  The other one runs the driver's shutdown. */
may_block int virtio_attach(struct virtio_dev *v);
may_block void virtio_detach(struct virtio_dev *v);

/* On a device that was reset: ACKNOWLEDGE, DRIVER, take the features wanted that are offered
 * (VERSION_1 is required unless legacy), FEATURES_OK.  0 or -errno with a log line. */
int virtio_start(struct virtio_dev *v, uint64_t wanted);
void virtio_driver_ok(struct virtio_dev *v);
/* Resets the device and waits for it: afterwards it touches no memory.  -ETIMEDOUT if it will not
 * within 20 s. */
may_block int virtio_reset(struct virtio_dev *v);
/* Resets it, or failing that takes bus mastering away.  0: it touches no memory any more.
 * -ETIMEDOUT: it still may, so what it was given must stay as it is. */
may_block int virtio_quiesce(struct virtio_dev *v);
static inline bool virtio_has(const struct virtio_dev *v, unsigned bit)
{
	return v->features >> bit & 1;
}
/* Reads configuration consistently (generation); bytes the device does not have read as zero.  One
 * field at a time: transports must see the width of the field.  A device whose generation never
 * rests is marked broken. */
void virtio_config(struct virtio_dev *v, unsigned off, void *buf, unsigned len);

/*
 * A queue on one core.  Requests are named by a token pointer; a device that returns an id we did
 * not give, or one twice, or says it wrote more than it was offered, marks the queue broken: one
 * log line, and no more from it until vq_restart().
 *
 * Rings lie in one run of memory laid out as before virtio 1.0, so that either layout can be given
 * to the device.  With INDIRECT_DESC and max_descs > 1 a request takes one slot of the ring and has
 * a descriptor table of its own, made here.
 */
struct vring_desc;
struct vring_avail;
struct vring_used;
struct vq_slot; /* drivers/virtio/vq.h */

struct virtqueue {
	struct virtio_dev *dev;
	unsigned index, size, core;
	unsigned max_descs; /* of one request; set before vq_init(), 0 means 1 */
	/* ring memory, and its addresses */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	dma_addr_t desc_addr, avail_addr, used_addr;
	struct vring_desc *tables; /* indirect: max_descs a slot; else room for one request */
	struct vq_slot *slots;
	uint16_t avail_idx, used_idx, kicked_idx;
	unsigned free_head; /* first free slot; size: there is none */
	unsigned mask;      /* size - 1 */
	bool broken, event_idx, indirect;
	bool armed;         /* without event index: interrupts are on */
	unsigned nr_free;   /* direct: ring descriptors */
	unsigned nr_tokens; /* requests the device has */
	struct irq irq;
	bool has_irq;               /* else whoever uses the queue must poll it */
	volatile void *notify_addr; /* the transport's */
};

/* size: at most what the device offers, rounded down to a power of two; 0: as offered up to 256.
 * 0, -ENODEV (no such queue), -ENOMEM or what the transport said. */
int vq_init(
	struct virtqueue *vq, struct virtio_dev *dev, unsigned index, unsigned core, unsigned size);
void vq_free(struct virtqueue *vq); /* the device must have been reset; zeroed: does nothing */

/* After a reset: the token of one request the device never finished; NULL: no more. */
void *vq_drop(struct virtqueue *vq);
/* After a reset, when all were dropped: empties the rings and gives them to the device again. */
int vq_restart(struct virtqueue *vq);

/* Offers out_segs to read and in_segs to write.  -EAGAIN: ring full.  Publishes, does not notify.
 * Drivers with a budget use vq_begin() and vq_commit() of drivers/virtio/vq.h. */
int vq_add(struct virtqueue *vq, const struct seg *out, unsigned nr_out, const struct seg *in,
	unsigned nr_in, void *token);
/* Notifies the device once for all that was added since, if it wants to know. */
void vq_kick(struct virtqueue *vq);
/* The next finished token, bytes written in *len; NULL: none now. */
void *vq_take(struct virtqueue *vq, uint32_t *len);
/* Asks for an interrupt at the next completion; true if one is already there. */
bool vq_arm(struct virtqueue *vq);

#endif

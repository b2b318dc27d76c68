/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_blk - private to the three files of the driver: virtio_blk.c (finding out what the disk
 * is), virtio_blk_io.c (requests) and virtio_blk_recover.c (when it does not answer or lies).
 *
 * Queue i lives on core i with everything in struct blk_queue; struct blk belongs to core 0.  A bio
 * is in one place at a time: in a slot of the ring (the device has its pages), or in `waiting`.
 */
#ifndef DRIVERS_VIRTIO_VIRTIO_BLK_H
#define DRIVERS_VIRTIO_VIRTIO_BLK_H

#include "drivers/virtio/vq.h"
#include "kernel/api/fiber.h"
#include "kernel/api/timer.h"
#include "mapper/block.h"

#define BLK_MAX_DESCS 64 /* header, 62 runs of memory, status */
#define BLK_NO_CORE   UINT32_MAX
#define BLK_TICK_NS   NS_PER_S
/* A request older than this is given up.  Whoever has more under way than the disk was given at
 * once waits for two of these, and for two resets, and still has its answer within a minute. */
#define BLK_TIMEOUT_TICKS 25

/* What the device reads of a request and writes of its end; one for each slot, in DMA memory. */
struct blk_req {
	struct virtio_blk_outhdr hdr;
	struct virtio_blk_discard_write_zeroes range;
	char id[VIRTIO_BLK_ID_BYTES]; /* of GET_ID */
	uint8_t status;
	uint8_t pad[11];
};
_Static_assert(sizeof(struct blk_req) == 64, "a slot's part is a cache line");

enum blk_state {
	BLK_STOPPED, /* takes nothing from the device, gives it nothing: requests wait */
	BLK_RUNNING,
	BLK_GONE, /* requests end with -ENODEV */
};

enum blk_fault { BLK_NO_FAULT, BLK_TIMEOUT, BLK_BROKEN };

struct blk_queue {
	struct virtqueue vq;
	struct blk_req *reqs;
	dma_addr_t reqs_addr;
	unsigned core;
	unsigned easy_core; /* core while plain requests may go straight out, else BLK_NO_CORE */
	enum blk_state state;
	uint32_t epoch; /* ticks while there was work; stamps requests, never 0 */
	struct bio_list waiting;
	struct blk *disk;
	struct poller poller;
	struct timer tick;       /* runs while the queue has work */
	struct timer wake;       /* polls a queue without interrupt */
	bool progress;           /* something came back since the last recovery */
	uint32_t progress_epoch; /* ... and when */
	enum blk_fault fault;
	struct work fault_work; /* tells core 0 */
};

struct blk {
	struct bdev bdev;
	struct virtio_dev *v;
	unsigned nr_queues;
	struct blk_queue *queues;
	struct blk_queue *by_core[MAX_CORES];
	uint64_t features;
	sector_t capacity;

	/* recovery, on core 0 */
	bool faulted;
	struct waitq fault_q;
	unsigned strikes; /* recoveries since anything came back */
	bool cut;         /* the device will never be used again */
};

/* virtio_blk_io.c */
void blk_submit(struct bdev *dev, struct bio *bio);
void blk_queue_begin(struct blk_queue *q); /* the rest of a queue whose vq and reqs were made */
void blk_queue_start(void *q);             /* on the queue's core */
void blk_queue_stop(void *q);
/* After a reset: ends or keeps for later what the device had.  Reads disk->cut. */
void blk_queue_collect(void *q);
/* Reads the serial number before the queue runs: 0, -ETIMEDOUT, -EIO. */
may_block int blk_get_id(struct blk_queue *q, char *id, size_t size);

/* virtio_blk_recover.c */
void blk_fault(struct blk_queue *q, enum blk_fault fault); /* on the queue's core */
void blk_recover_main(void *disk);                         /* fiber */

/* virtio_blk.c */
extern const uint64_t blk_features_wanted;
sector_t blk_read_capacity(struct blk *b);

#endif

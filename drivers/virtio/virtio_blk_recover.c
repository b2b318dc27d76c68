/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_blk_recover - when a disk does not answer, answers nonsense or asks for it: reset, and on
 * with it or without it.
 *
 * The order is what matters.  First every queue stops on its own core; then the device is reset,
 * and only when it has confirmed that, or has lost the bus, do bios end or wait to be sent again:
 * until then their pages are the device's.  A device on virtio-mmio that neither confirms nor can
 * be cut off keeps its bios for as long as it goes on like that: an answer could be a lie.
 *
 * Bounds: a request is noticed at most 26 s after it was given to the device; the reset takes at
 * most 20 s; what is 25 s old by then ends with -ETIMEDOUT, younger requests are sent again with
 * the age they have.  A disk from which nothing comes back between two recoveries is gone.
 *
 * The fiber was made at attach, so recovery needs no memory.
 */
#include "drivers/virtio/virtio_blk.h"
#include "kernel/api/log.h"

#define MAX_STRIKES  1 /* recoveries in a row without anything coming back */
#define HOLD_POLL_NS NS_PER_S

static void fault_arrived(struct work *w)
{
	struct blk *b = container_of(w, struct blk_queue, fault_work)->disk;

	b->faulted = true;
	waitq_wake_all(&b->fault_q);
}

void blk_fault(struct blk_queue *q, enum blk_fault fault)
{
	if (q->fault)
		return;
	q->fault = fault;
	blk_queue_stop(q);
	q->fault_work.fn = fault_arrived;
	work_send(0, &q->fault_work);
}

static may_block void each_queue(struct blk *b, void (*fn)(void *queue))
{
	unsigned i;

	for (i = 0; i < b->nr_queues; i++)
		core_call(b->queues[i].core, fn, &b->queues[i]);
}

/* Counts the recoveries since anything came back, and says what is the matter. */
static void judge(struct blk *b)
{
	bool progress = false, timeout = false;
	unsigned i;

	for (i = 0; i < b->nr_queues; i++) {
		progress |= b->queues[i].progress;
		b->queues[i].progress = false;
		timeout |= b->queues[i].fault == BLK_TIMEOUT;
	}
	b->strikes = progress ? 1 : b->strikes + 1;
	log_warn("%s: %s, resetting the device", b->bdev.name,
		timeout ? "no answer for 25 s" : "the device misbehaves");
}

/* Returns when the device touches no memory any more; sets b->cut if it is of no more use. */
static may_block void stop_device(struct blk *b)
{
	int err = virtio_reset(b->v);

	if (!err)
		return;
	b->cut = true;
	err = b->v->transport->stop_dma ? b->v->transport->stop_dma(b->v) : -EOPNOTSUPP;
	if (!err) {
		log_err("%s: cut off from memory instead", b->bdev.name);
		return;
	}
	log_err("%s: can be neither reset nor cut off, its requests are held", b->bdev.name);
	while (b->v->transport->get_status(b->v))
		fiber_sleep(HOLD_POLL_NS);
	log_err("%s: has confirmed the reset at last", b->bdev.name);
}

static may_block int bring_up(struct blk *b)
{
	sector_t capacity;
	unsigned i;
	int err = virtio_start(b->v, blk_features_wanted);

	if (err)
		return err;
	if (b->v->features != b->features) {
		log_err("%s: came back with other features", b->bdev.name);
		return -EIO;
	}
	capacity = blk_read_capacity(b);
	if (capacity < b->capacity) {
		log_err("%s: came back smaller, %llu sectors", b->bdev.name,
			(unsigned long long)capacity);
		return -EIO;
	}
	for (i = 0; i < b->nr_queues && !err; i++)
		err = vq_restart(&b->queues[i].vq);
	if (!err)
		virtio_driver_ok(b->v);
	return err;
}

static may_block void recover(struct blk *b)
{
	each_queue(b, blk_queue_stop);
	/* Whatever another queue had to say arrived before its core answered. */
	b->faulted = false;
	if (b->cut)
		return;
	judge(b);
	stop_device(b);
	if (b->strikes > MAX_STRIKES && !b->cut) {
		log_err("%s: nothing came back since the last reset", b->bdev.name);
		b->cut = true;
	}
	each_queue(b, blk_queue_collect);
	if (!b->cut && bring_up(b))
		b->cut = true;
	b->bdev.gone = b->cut;
	if (b->cut)
		log_err("%s: gone", b->bdev.name);
	else
		log_info("%s: back after a reset", b->bdev.name);
	each_queue(b, blk_queue_start);
}

void blk_recover_main(void *disk)
{
	struct blk *b = disk;

	while (!b->cut) {
		if (!b->faulted)
			waitq_wait(&b->fault_q);
		else
			recover(b);
	}
}

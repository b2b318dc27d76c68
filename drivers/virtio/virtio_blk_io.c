/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_blk_io - requests of virtio-blk: bio to ring, ring to bio.
 *
 * A request is a header, the bio's memory and a status byte; header and status are part of the
 * slot, so nothing is allocated.  The device is told once for all that was submitted since the
 * poller last ran, and asked for an interrupt only when the core is about to halt.  A full ring
 * makes bios wait in order.  Once a second, while there is work, the queue looks for requests that
 * are too old and whether the device says it needs help.
 */
#include "drivers/virtio/virtio_blk.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define STATUS_NONE    0xff /* what stands there until the device writes */
#define GET_ID_NS      (5 * NS_PER_S)
#define GET_ID_POLL_NS (20 * NS_PER_US)
#define NO_IRQ_POLL_NS NS_PER_MS

static inline dma_addr_t req_addr(const struct blk_queue *q, unsigned slot)
{
	return q->reqs_addr + slot * sizeof(struct blk_req);
}

/*
 * In indirect mode each slot's table always has the header first and the status byte second, made
 * once; a request's memory stands from the third entry on and leads back to the second.  So a plain
 * read or write, one run of memory, costs one descriptor.  In direct mode what is built must be in
 * order: header, memory, status.
 */
#define HDR     0
#define STATUS  1
#define DATA    2
#define HDR_LEN sizeof(struct virtio_blk_outhdr)

static void hdr_desc(struct vring_desc *d, dma_addr_t req)
{
	vq_desc(d, req, HDR_LEN, VRING_DESC_F_NEXT);
}

static void status_desc(struct vring_desc *d, dma_addr_t req)
{
	vq_desc(d, req + offsetof(struct blk_req, status), 1, VRING_DESC_F_WRITE);
}

static void tables_init(struct blk_queue *q)
{
	struct vring_desc *d = q->vq.tables;
	unsigned i;

	for (i = 0; q->vq.indirect && i < q->vq.size; i++, d += BLK_MAX_DESCS) {
		hdr_desc(&d[HDR], req_addr(q, i));
		status_desc(&d[STATUS], req_addr(q, i));
	}
}

/* Where the nr descriptors of a request's memory are to be built. */
static struct vring_desc *data_of(const struct blk_queue *q, struct vring_desc *table)
{
	return table + (q->vq.indirect ? DATA : 1);
}

/* Header and status around them, and out.  0 or -EAGAIN: the ring is too full. */
static int issue(struct blk_queue *q, struct vring_desc *d, unsigned slot, unsigned nr,
	uint32_t in_bytes, void *token)
{
	unsigned i;

	q->reqs[slot].status = STATUS_NONE;
	if (q->vq.indirect) {
		d[HDR].next = nr ? DATA : STATUS;
		for (i = 0; i < nr; i++)
			d[DATA + i].next = i + 1 < nr ? DATA + i + 1 : STATUS;
	} else {
		hdr_desc(&d[0], req_addr(q, slot));
		status_desc(&d[nr + 1], req_addr(q, slot));
	}
	return vq_commit(&q->vq, slot, nr + 2, in_bytes, token);
}

/* The memory of a read or write; how many descriptors, 0: more than there are. */
static unsigned data_descs(struct blk_queue *q, const struct bio *bio, struct vring_desc *d)
{
	uint16_t flags = VRING_DESC_F_NEXT | (bio->op == BIO_READ ? VRING_DESC_F_WRITE : 0);
	unsigned max = vq_max_descs(&q->vq) - 2, nr = 0;
	struct seg_iter it = seg_iter_of(bio);
	struct seg s;

	while (seg_next(&it, UINT32_MAX, &s)) {
		if (nr == max)
			return 0;
		vq_desc(&d[nr++], s.addr, s.len, flags);
	}
	return it.bytes ? 0 : nr;
}

/* Everything but reads and writes: fills header and range; how many data descriptors. */
static unsigned other_descs(
	struct blk_req *req, dma_addr_t at, const struct bio *bio, struct vring_desc *d)
{
	req->hdr.sector = 0;
	if (bio->op == BIO_FLUSH) {
		req->hdr.type = VIRTIO_BLK_T_FLUSH;
		return 0;
	}
	req->hdr.type = bio->op == BIO_DISCARD ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES;
	req->range.sector = bio->sector;
	req->range.num_sectors = bio->nr_sectors;
	req->range.flags = 0; /* zeroes that stay allocated: who wants them gone discards */
	vq_desc(d, at + offsetof(struct blk_req, range), sizeof(req->range), VRING_DESC_F_NEXT);
	return 1;
}

/* Any bio.  0, -EAGAIN: the ring is full, or -EINVAL: no request can be made of it. */
static int queue_issue(struct blk_queue *q, struct bio *bio, uint32_t stamp)
{
	unsigned slot, nr;
	struct vring_desc *d = vq_begin(&q->vq, &slot);
	struct blk_req *req;
	uint32_t in_bytes = 1;
	int err;

	if (!d)
		return -EAGAIN;
	req = &q->reqs[slot];
	if (bio_has_data(bio)) {
		req->hdr.type = bio->op == BIO_READ ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		req->hdr.sector = bio->sector;
		if (bio->op == BIO_READ)
			in_bytes += bio->nr_sectors << SECTOR_SHIFT;
		nr = data_descs(q, bio, data_of(q, d));
		if (!nr)
			return -EINVAL;
	} else {
		nr = other_descs(req, req_addr(q, slot), bio, data_of(q, d));
	}
	err = issue(q, d, slot, nr, in_bytes, bio);
	if (!err)
		bio->driver[0] = stamp; /* of no use to the device, and read on this core only */
	return err;
}

/* The same for what passes most: one run of memory, indirect mode, a free slot. */
static inline void queue_issue_easy(struct blk_queue *q, struct bio *bio, unsigned slot)
{
	struct vring_desc *d = &q->vq.tables[(size_t)slot * BLK_MAX_DESCS];
	struct blk_req *req = &q->reqs[slot];
	uint32_t in_bytes = 1, bytes = bio->nr_sectors << SECTOR_SHIFT;

	req->hdr.sector = bio->sector;
	req->status = STATUS_NONE;
	vq_link(&d[HDR], VRING_DESC_F_NEXT, DATA);
	d[DATA].addr = bio->segs->addr + bio->seg_off;
	d[DATA].len = bytes;
	if (bio->op == BIO_READ) {
		req->hdr.type = VIRTIO_BLK_T_IN;
		vq_link(&d[DATA], VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, STATUS);
		in_bytes += bytes;
	} else {
		req->hdr.type = VIRTIO_BLK_T_OUT;
		vq_link(&d[DATA], VRING_DESC_F_NEXT, STATUS);
	}
	bio->driver[0] = q->epoch;
	vq_publish(&q->vq, slot, in_bytes, bio);
}

static void tick_on(struct blk_queue *q)
{
	if (!q->tick.pending)
		timer_start(&q->tick, now_ns() + BLK_TICK_NS);
}

static void easy_update(struct blk_queue *q)
{
	bool easy = q->state == BLK_RUNNING && !q->waiting.nr && q->vq.indirect;

	q->easy_core = easy ? q->core : BLK_NO_CORE;
}

/* Bios that could not go at once: ring full, or recovery under way. */
static void queue_wait(struct blk_queue *q, struct bio *bio)
{
	bio->driver[0] = 0; /* the device never had it */
	bio_list_add(&q->waiting, bio);
	easy_update(q);
	tick_on(q);
}

static void queue_bad_bio(struct blk_queue *q, struct bio *bio)
{
	log_err("%s: a request of %u sectors in %u runs is beyond the limits", q->disk->bdev.name,
		bio->nr_sectors, bio->nr_segs);
	bio_end(bio, -EINVAL);
}

static __attribute__((noinline)) void submit_any(struct blk_queue *q, struct bio *bio)
{
	int err;

	if (q->core != this_core()) {
		bio_forward(bio, q->core);
		return;
	}
	if (q->state == BLK_GONE) {
		bio_end(bio, -ENODEV);
		return;
	}
	err = q->state == BLK_RUNNING && !q->waiting.nr ? queue_issue(q, bio, q->epoch) : -EAGAIN;
	if (err == -EAGAIN)
		queue_wait(q, bio);
	else if (err)
		queue_bad_bio(q, bio);
}

void blk_submit(struct bdev *dev, struct bio *bio)
{
	unsigned core = this_core(), slot;
	struct blk_queue *q = container_of(dev, struct blk, bdev)->by_core[core];

	slot = q->vq.free_head;
	if (likely(q->easy_core == core && bio->op <= BIO_WRITE && bio->nr_segs == 1 &&
		    slot != q->vq.size))
		queue_issue_easy(q, bio, slot);
	else
		submit_any(q, bio);
}

static int status_errno(struct blk_queue *q, unsigned status, const struct bio *bio)
{
	if (status == VIRTIO_BLK_S_UNSUPP)
		return -EOPNOTSUPP;
	log_warn("%s: %s, op %u at sector %llu, %u sectors (status %u)", q->disk->bdev.name,
		status == VIRTIO_BLK_S_IOERR ? "I/O error" : "bad status", bio->op,
		(unsigned long long)bio->sector, bio->nr_sectors, status);
	return -EIO;
}

static void queue_issue_waiting(struct blk_queue *q)
{
	struct bio *bio;
	int err;

	while (q->waiting.nr) {
		bio = q->waiting.head;
		/* One that was with the device before keeps its age. */
		err = queue_issue(q, bio, bio->driver[0] ? bio->driver[0] : q->epoch);
		if (err == -EAGAIN)
			return;
		bio_list_pop(&q->waiting);
		if (err)
			queue_bad_bio(q, bio);
	}
	easy_update(q);
}

/* Ends what the device has done since the last look. */
static bool queue_reap(struct blk_queue *q)
{
	struct virtqueue *vq = &q->vq;
	uint16_t at = vq->used_idx, begin = at, end = vq_look(vq);
	struct bio *bio;
	uint8_t status;
	uint32_t len;
	unsigned slot;

	while (at != end && vq_entry(vq, at, &slot, &len)) {
		status = __atomic_load_n(&q->reqs[slot].status, __ATOMIC_RELAXED);
		bio = vq_release(vq, slot);
		at++;
		bio_end(bio, likely(!status) ? 0 : status_errno(q, status, bio));
	}
	vq->used_idx = at;
	if (at == begin)
		return false;
	q->progress = true;
	q->progress_epoch = q->epoch;
	return true;
}

static __attribute__((noinline)) bool queue_work(struct blk_queue *q)
{
	struct virtqueue *vq = &q->vq;
	bool any;

	if (q->state != BLK_RUNNING)
		return false;
	vq_disarm(vq);
	any = queue_reap(q);
	if (unlikely(vq->broken)) {
		blk_fault(q, BLK_BROKEN);
		return true;
	}
	if (unlikely(q->waiting.nr))
		queue_issue_waiting(q);
	if (!vq_unkicked(vq))
		return any;
	tick_on(q);
	vq_kick(vq);
	return true;
}

static bool queue_poll(struct poller *p)
{
	struct blk_queue *q = container_of(p, struct blk_queue, poller);

	/* A core polls far more often than there is anything. */
	if (likely(q->easy_core != BLK_NO_CORE && !vq_has_news(&q->vq) && !vq_unkicked(&q->vq)))
		return false;
	return queue_work(q);
}

static bool queue_arm(struct poller *p)
{
	struct blk_queue *q = container_of(p, struct blk_queue, poller);

	if (q->state != BLK_RUNNING || !q->vq.nr_tokens)
		return false;
	if (q->vq.has_irq)
		return vq_arm(&q->vq);
	if (q->wake.pending)
		return false;
	timer_start(&q->wake, now_ns() + NO_IRQ_POLL_NS);
	return true; /* the loop may have looked at its timers already */
}

/* The loop turns for a timer and polls; nothing else is wanted. */
static void queue_wake(struct timer *t __unused)
{
}

static bool queue_overdue(struct blk_queue *q)
{
	struct virtqueue *vq = &q->vq;
	struct bio *bio;
	unsigned i;

	for (i = 0; i < vq->size && vq->nr_tokens; i++) {
		bio = vq->slots[i].token;
		if (bio && q->epoch - (uint32_t)bio->driver[0] > BLK_TIMEOUT_TICKS)
			return true;
	}
	return false;
}

static void queue_tick(struct timer *t)
{
	struct blk_queue *q = container_of(t, struct blk_queue, tick);
	struct virtio_dev *v = q->disk->v;
	uint8_t status;

	if (!q->vq.nr_tokens && !q->waiting.nr)
		return;
	if (!++q->epoch)
		q->epoch = 1;
	timer_start(t, now_ns() + BLK_TICK_NS); /* a machine that was paused ages by one tick */
	if (q->state != BLK_RUNNING)
		return;
	status = v->transport->get_status(v);
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
		log_err("%s: the device %s", q->disk->bdev.name,
			status == UINT8_MAX ? "answers no more" : "asks for a reset");
		blk_fault(q, BLK_BROKEN);
	} else if (queue_overdue(q)) {
		blk_fault(q, BLK_TIMEOUT);
	}
}

void blk_queue_begin(struct blk_queue *q)
{
	q->epoch = 1;
	q->core = q->vq.core;
	q->easy_core = BLK_NO_CORE;
	tables_init(q);
	q->poller.poll = queue_poll;
	q->poller.arm = queue_arm;
	q->tick.fn = queue_tick;
	q->wake.fn = queue_wake;
}

/* ---- start and stop, each on the queue's core ---- */

void blk_queue_start(void *arg)
{
	struct blk_queue *q = arg;
	struct bio *bio;

	q->fault = BLK_NO_FAULT;
	if (q->disk->cut) {
		q->state = BLK_GONE;
		while ((bio = bio_list_pop(&q->waiting)))
			bio_end(bio, -EIO);
		return;
	}
	q->state = BLK_RUNNING; /* the poller sends what waits */
	easy_update(q);
	if (!list_linked(&q->poller.node))
		poller_add(&q->poller);
}

void blk_queue_stop(void *arg)
{
	struct blk_queue *q = arg;

	q->state = BLK_STOPPED;
	easy_update(q);
}

void blk_queue_collect(void *arg)
{
	struct blk_queue *q = arg;
	bool dead = q->epoch - q->progress_epoch > BLK_TIMEOUT_TICKS;
	struct bio_list again = { 0 };
	struct bio *bio;

	while ((bio = vq_drop(&q->vq))) {
		if (q->epoch - (uint32_t)bio->driver[0] >= BLK_TIMEOUT_TICKS)
			bio_end(bio, -ETIMEDOUT);
		else if (q->disk->cut || q->fault == BLK_BROKEN)
			bio_end(bio, -EIO);
		else
			bio_list_add(&again, bio);
	}
	/* Those that never reached the device: if it has been silent that long it is no use to let
	 * them time out one ring full after the other. */
	while ((bio = bio_list_pop(&q->waiting))) {
		if (q->disk->cut)
			bio_end(bio, -EIO);
		else if (q->fault == BLK_TIMEOUT && dead)
			bio_end(bio, -ETIMEDOUT);
		else
			bio_list_add(&again, bio);
	}
	q->waiting = again;
}

/* ---- before the queue runs ---- */

int blk_get_id(struct blk_queue *q, char *id, size_t size)
{
	uint64_t until = now_ns() + GET_ID_NS;
	unsigned slot, i, n = 0;
	struct vring_desc *d = vq_begin(&q->vq, &slot);
	struct blk_req *req;
	uint32_t len;

	memset(id, 0, size);
	if (!d)
		return -EIO;
	req = &q->reqs[slot];
	req->hdr.type = VIRTIO_BLK_T_GET_ID;
	req->hdr.sector = 0;
	vq_desc(data_of(q, d), req_addr(q, slot) + offsetof(struct blk_req, id), sizeof(req->id),
		VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	if (issue(q, d, slot, 1, sizeof(req->id) + 1, q))
		return -EIO;
	vq_kick(&q->vq);
	while (!vq_take(&q->vq, &len)) {
		if (q->vq.broken)
			return -EIO;
		if (now_ns() >= until)
			return -ETIMEDOUT;
		fiber_sleep(GET_ID_POLL_NS);
	}
	if (req->status != VIRTIO_BLK_S_OK)
		return 0; /* has none */
	/* Printable text without blanks around it; what it says of itself is not to be trusted. */
	for (i = 0; i < sizeof(req->id) && req->id[i] && n + 1 < size; i++) {
		char c = req->id[i];

		if (n || c != ' ')
			id[n++] = c >= ' ' && c <= '~' ? c : '?';
	}
	while (n && id[n - 1] == ' ')
		id[--n] = 0;
	return 0;
}

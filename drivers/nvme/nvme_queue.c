/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme_queue - the I/O path: one submission and one completion ring, on one core.
 *
 * A slot is a command under way: the bio and 1 KiB of memory for its PRP list, its SGL or its
 * dataset range, all made at attach.  There is one slot less than ring entries, and a completion
 * proves that its command was fetched, so the submission ring cannot overflow.  A bio that finds no
 * slot waits in the backlog, first come first served.
 *
 * Commands are written as they come; the doorbell is rung once a loop turn, by the poller, which
 * also takes completions and tells the device once a batch how far it read.  The interrupt only
 * wakes the loop; without one a timer does, every millisecond while commands are under way.
 */
#include "drivers/nvme/nvme.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define POLL_NS (1 * NS_PER_MS)

static struct mem_tag nvme_queue_tag = MEM_TAG("nvme queues");

/* ---- building a command ---- */

/* PRPs: pages, the first from anywhere within, the last to anywhere within. */
static int nvme_build_prps(
	struct nvme_queue *q, unsigned slot, const struct bio *bio, struct nvme_sqe *sqe)
{
	uint64_t *list = (uint64_t *)(q->lists + slot * NVME_LIST_BYTES);
	struct seg_iter it = seg_iter_of(bio);
	uint32_t left = (uint32_t)bio_bytes(bio);
	unsigned nr = 0;
	struct seg run;

	if (!seg_next(&it, UINT32_MAX, &run) || run.addr & 3)
		return -EINVAL;
	sqe->dptr[0] = run.addr;
	do {
		dma_addr_t a = run.addr;
		uint32_t len = run.len, first = PAGE_SIZE - (a & (PAGE_SIZE - 1));

		if (left == bio_bytes(bio)) { /* the first page is PRP1's */
			first = MIN(first, len);
			a += first;
			len -= first;
			left -= first;
		}
		if (!len)
			continue;
		for (;;) {
			uint32_t n = MIN(len, PAGE_SIZE);

			if (a & (PAGE_SIZE - 1) || nr == NVME_MAX_PRPS)
				return -EINVAL;
			list[nr++] = a;
			a += n;
			len -= n;
			left -= n;
			if (!len)
				break;
		}
		/* Only the very end may leave a page unfinished. */
	} while (left && !((run.addr + run.len) & (PAGE_SIZE - 1)) &&
		 seg_next(&it, UINT32_MAX, &run));
	if (left)
		return -EINVAL;
	sqe->dptr[1] = nr == 0 ? 0 : nr == 1 ? list[0] : dma_addr(list);
	return 0;
}

static int nvme_build_sgl(
	struct nvme_queue *q, unsigned slot, const struct bio *bio, struct nvme_sqe *sqe)
{
	struct nvme_sgl *list = (struct nvme_sgl *)(q->lists + slot * NVME_LIST_BYTES);
	struct seg_iter it = seg_iter_of(bio);
	uint64_t left = bio_bytes(bio);
	struct seg run;
	unsigned nr = 0;

	while (left && seg_next(&it, UINT32_MAX, &run)) {
		if (nr == NVME_MAX_SGLS || (run.addr | run.len) & q->ctrl->facts.sgl_align)
			return -EINVAL;
		list[nr].addr = run.addr;
		list[nr].len = run.len;
		list[nr].type = NVME_SGL_DATA;
		left -= run.len;
		nr++;
	}
	if (left || !nr)
		return -EINVAL;
	sqe->cdw0 |= NVME_CDW0_SGL;
	if (nr == 1) {
		sqe->dptr[0] = list[0].addr;
		sqe->dptr[1] = list[0].len;
	} else {
		sqe->dptr[0] = dma_addr(list);
		sqe->dptr[1] = (uint64_t)NVME_SGL_LAST_LIST << 32 | nr * sizeof(*list);
	}
	return 0;
}

/* Where the data is.  What lies in one run and touches two pages at most, which is nearly
 * everything, needs no list. */
static inline int nvme_build_data(
	struct nvme_queue *q, unsigned slot, const struct bio *bio, struct nvme_sqe *sqe)
{
	const struct seg *s = bio->segs;
	uint64_t bytes = bio_bytes(bio);
	dma_addr_t a = s->addr + bio->seg_off;
	uint32_t first = PAGE_SIZE - (a & (PAGE_SIZE - 1));

	if (likely((uint64_t)bio->seg_off + bytes <= s->len && bytes <= first + PAGE_SIZE &&
		    !(a & 3))) {
		sqe->dptr[0] = a;
		sqe->dptr[1] = bytes > first ? a + first : 0;
		return 0;
	}
	if (q->ctrl->facts.sgl)
		return nvme_build_sgl(q, slot, bio, sqe);
	return nvme_build_prps(q, slot, bio, sqe);
}

static int nvme_build_dataset(struct nvme_queue *q, unsigned slot, const struct bio *bio,
	unsigned shift, struct nvme_sqe *sqe)
{
	struct nvme_range *r = (struct nvme_range *)(q->lists + slot * NVME_LIST_BYTES);

	r->attributes = 0;
	r->nr_blocks = bio->nr_sectors >> shift;
	r->block = bio->sector >> shift;
	sqe->dptr[0] = dma_addr(r);
	sqe->cdw10 = 0; /* one range */
	sqe->cdw11 = NVME_DATASET_DEALLOCATE;
	return 0;
}

/* Fills every field that any command uses: ring entries are used again and again. */
static inline int nvme_build(
	struct nvme_queue *q, unsigned slot, struct bio *bio, struct nvme_sqe *sqe)
{
	struct nvme_ns *ns = container_of(bio->dev, struct nvme_ns, bdev);
	uint32_t cid = (uint32_t)q->slots[slot].gen << 8 | slot;
	unsigned shift = ns->shift;
	uint64_t block = bio->sector >> shift;

	sqe->nsid = ns->nsid;
	sqe->cdw10 = (uint32_t)block;
	sqe->cdw11 = (uint32_t)(block >> 32);
	sqe->cdw12 = (bio->nr_sectors >> shift) - 1;
	switch (bio->op) {
	case BIO_READ:
		sqe->cdw0 = NVME_CDW0(NVME_CMD_READ, cid);
		return nvme_build_data(q, slot, bio, sqe);
	case BIO_WRITE:
		sqe->cdw0 = NVME_CDW0(NVME_CMD_WRITE, cid);
		if (bio->flags & BIO_FUA)
			sqe->cdw12 |= NVME_RW_FUA;
		return nvme_build_data(q, slot, bio, sqe);
	}
	sqe->dptr[0] = sqe->dptr[1] = 0;
	switch (bio->op) {
	case BIO_FLUSH:
		sqe->cdw0 = NVME_CDW0(NVME_CMD_FLUSH, cid);
		sqe->cdw10 = sqe->cdw11 = sqe->cdw12 = 0;
		return 0;
	case BIO_DISCARD:
		if (!(q->ctrl->facts.oncs & NVME_ONCS_DATASET))
			return -EOPNOTSUPP;
		sqe->cdw0 = NVME_CDW0(NVME_CMD_DATASET, cid);
		sqe->cdw12 = 0;
		return nvme_build_dataset(q, slot, bio, shift, sqe);
	case BIO_WRITE_ZEROES:
		if (!(q->ctrl->facts.oncs & NVME_ONCS_WRITE_ZEROES))
			return -EOPNOTSUPP;
		sqe->cdw0 = NVME_CDW0(NVME_CMD_WRITE_ZEROES, cid);
		if (bio->flags & BIO_FUA)
			sqe->cdw12 |= NVME_RW_FUA;
		return 0;
	}
	return -EOPNOTSUPP;
}

/* ---- sending ---- */

/* A slot is free and the queue is live. */
static inline void nvme_queue_issue(struct nvme_queue *q, struct bio *bio)
{
	unsigned nr = q->free;
	struct nvme_slot *slot = &q->slots[nr];
	int err;

	err = nvme_build(q, nr, bio, &q->sq[q->sq_tail]);
	if (unlikely(err)) {
		bio_end(bio, err);
		return;
	}
	q->free = slot->next;
	slot->bio = bio;
	slot->seq = q->seq++;
	slot->tick = q->tick;
	slot->aborted = false;
	q->nr_out++;
	if (++q->sq_tail == q->entries)
		q->sq_tail = 0;
}

static void nvme_queue_pump(struct nvme_queue *q)
{
	while (q->free != NVME_NO_SLOT && !(q->probing && q->nr_out)) {
		struct bio *bio = bio_list_pop(&q->backlog);

		if (!bio) {
			q->backlogged = q->probing;
			return;
		}
		nvme_queue_issue(q, bio);
	}
}

void nvme_queue_submit(struct nvme_queue *q, struct bio *bio)
{
	if (unlikely(q->dead)) {
		bio_end(bio, -EIO);
		return;
	}
	bio->driver[0] = q->tick;
	/* The watchdog sleeps while there is nothing to watch. */
	if (unlikely(!q->watchdog.pending))
		timer_start(&q->watchdog, now_ns() + NVME_TICK_NS);
	if (unlikely(q->backlogged || q->free == NVME_NO_SLOT)) {
		q->backlogged = true;
		bio_list_add(&q->backlog, bio);
		if (unlikely(q->probing && q->live))
			nvme_queue_pump(q);
		return;
	}
	nvme_queue_issue(q, bio);
}

/* ---- taking completions ---- */

static int nvme_errno(const struct bio *bio, unsigned status)
{
	switch (status & NVME_STATUS_CODE) {
	case NVME_SC_INVALID_OPCODE:
		return -EOPNOTSUPP;
	case NVME_SC_INVALID_FIELD:
		return bio_has_data(bio) ? -EIO : -EOPNOTSUPP;
	case NVME_SC_ABORTED:
		return -ETIMEDOUT; /* by our own wish, after it took too long */
	case NVME_SC_INVALID_NS:
		return -ENODEV;
	case NVME_SC_WRITE_PROTECTED:
	case NVME_SC_READ_ONLY_RANGE:
		return -EROFS;
	case NVME_SC_LBA_RANGE:
		return -EINVAL;
	case NVME_SC_CAPACITY:
		return -ENOSPC;
	case NVME_SC_WRITE_FAULT:
	case NVME_SC_READ_ERROR:
	case NVME_SC_UNWRITTEN:
		return -ENODATA;
	case NVME_SC_GUARD:
	case NVME_SC_APP_TAG:
	case NVME_SC_REF_TAG:
		return -EILSEQ;
	}
	return -EIO;
}

/* The device refused.  Once more, later, or told to the submitter. */
static void nvme_queue_failed(struct nvme_queue *q, struct bio *bio, unsigned status)
{
	int err = nvme_errno(bio, status);
	unsigned age = nvme_bio_age(q, bio);
	/* Some refusals say what will be just as true the next time. */
	bool again = !(status & NVME_STATUS_DNR) &&
		     (err == -EIO || err == -ENODATA || err == -EILSEQ || err == -ETIMEDOUT);

	if (again && (status & NVME_STATUS_CODE) == NVME_SC_NOT_READY) {
		if (age < NVME_NOT_READY_TICKS) {
			bio->driver[0] |= NVME_BIO_ONE_RETRY;
			bio_list_add(&q->delayed, bio);
			if (!q->delay.pending)
				timer_start(&q->delay, now_ns() + NVME_NOT_READY_NS);
			return;
		}
	} else if (again && age < NVME_TICKS_RETRY &&
		   (bio->driver[0] & NVME_BIO_RETRIES) < NVME_RETRIES * NVME_BIO_ONE_RETRY) {
		bio->driver[0] += NVME_BIO_ONE_RETRY;
		bio_list_add_head(&q->backlog, bio);
		q->backlogged = true;
		return;
	}
	log_warn("%s: %s of %u sectors at %llu failed, status %#x%s", bio->dev->name,
		bio->op == BIO_READ    ? "read"
		: bio->op == BIO_WRITE ? "write"
				       : "command",
		bio->nr_sectors, (unsigned long long)bio->sector, status & NVME_STATUS_CODE,
		nvme_bio_tried(bio) ? " (tried again)" : "");
	bio_end(bio, err);
}

/* A completion for nothing we sent, or twice for one thing. */
static void nvme_queue_bad(struct nvme_queue *q, uint32_t sq, uint32_t cid_status)
{
	if (q->nr_bad < 8)
		log_warn("%s: queue %u: completion of unknown command %#x (queue %u), ignored",
			q->ctrl->name, q->id, cid_status & 0xffff, sq >> 16);
	if (q->nr_bad < NVME_MAX_BAD && ++q->nr_bad == NVME_MAX_BAD)
		nvme_alarm(q, NVME_WISH_RESET);
}

static inline bool nvme_queue_fresh(const struct nvme_queue *q)
{
	const volatile struct nvme_cqe *e = &q->cq[q->cq_head];

	return (e->cid_status & NVME_CQE_PHASE) == q->phase;
}

/* Everything that is finished, at most one round of the ring. */
static void nvme_queue_reap(struct nvme_queue *q)
{
	unsigned left = q->entries;

	do {
		const volatile struct nvme_cqe *e = &q->cq[q->cq_head];
		uint32_t cid_status = e->cid_status, sq, nr;
		struct nvme_slot *slot;
		struct bio *bio;

		dma_rmb();
		sq = e->sq;
		/* The cursor moves before the entry is judged. */
		if (++q->cq_head == q->entries) {
			q->cq_head = 0;
			q->phase ^= NVME_CQE_PHASE;
		}
		nr = cid_status & 0xff;
		slot = &q->slots[nr];
		if (unlikely(nr >= q->entries - 1u || !slot->bio || sq >> 16 != q->id ||
			     slot->gen != (cid_status >> 8 & 0xff))) {
			nvme_queue_bad(q, sq, cid_status);
			continue;
		}
		bio = slot->bio;
		slot->bio = NULL;
		slot->gen++;
		slot->next = q->free;
		q->free = (uint16_t)nr;
		q->nr_out--;
		q->nr_done++;
		if (likely(!(NVME_STATUS(cid_status) & NVME_STATUS_CODE)))
			bio_end(bio, 0);
		else {
			q->nr_aborted +=
				(NVME_STATUS(cid_status) & NVME_STATUS_CODE) == NVME_SC_ABORTED;
			nvme_queue_failed(q, bio, NVME_STATUS(cid_status));
		}
	} while (--left && nvme_queue_fresh(q));
}

static bool nvme_queue_poll(struct poller *p)
{
	struct nvme_queue *q = container_of(p, struct nvme_queue, poller);
	bool did = false;

	if (unlikely(!q->live))
		return false;
	if (nvme_queue_fresh(q)) {
		nvme_queue_reap(q);
		if (unlikely(q->backlogged)) {
			q->probing &= nvme_answered(q) == q->nr_answered;
			nvme_queue_pump(q);
		}
		mmio_write32(q->cq_doorbell, q->cq_head);
		did = true;
	}
	if (q->sq_rung != q->sq_tail) {
		q->sq_rung = q->sq_tail;
		dma_wmb();
		mmio_write32(q->sq_doorbell, q->sq_tail);
		did = true;
	}
	if (unlikely(!q->has_irq && q->nr_out && !q->lookout.pending))
		timer_start(&q->lookout, now_ns() + POLL_NS);
	return did;
}

/* The interrupt is always on: a look is enough. */
static bool nvme_queue_arm(struct poller *p)
{
	struct nvme_queue *q = container_of(p, struct nvme_queue, poller);

	return q->live && (nvme_queue_fresh(q) || q->sq_rung != q->sq_tail);
}

/* It woke the loop, and the loop polls: that was all. */
static void nvme_queue_look(struct timer *t __unused)
{
}

static void nvme_queue_try_delayed(struct timer *t)
{
	struct nvme_queue *q = container_of(t, struct nvme_queue, delay);
	struct bio *bio;

	while ((bio = bio_list_pop(&q->delayed)))
		bio_list_add(&q->backlog, bio);
	q->backlogged = true;
	if (q->live)
		nvme_queue_pump(q);
}

/* ---- life ---- */

/* Empty rings, all slots free.  Generations go on, so that what came before is told apart. */
static void nvme_queue_clear(struct nvme_queue *q)
{
	unsigned i, nr = q->entries - 1u;

	memset(q->sq, 0, q->entries * sizeof(*q->sq));
	memset(q->cq, 0, q->entries * sizeof(*q->cq));
	q->sq_tail = q->sq_rung = q->cq_head = 0;
	q->phase = NVME_CQE_PHASE;
	for (i = 0; i < nr; i++) {
		q->slots[i].bio = NULL;
		q->slots[i].gen++;
		q->slots[i].next = i + 1 < nr ? i + 1 : NVME_NO_SLOT;
	}
	q->free = 0;
	q->nr_out = 0;
	q->nr_bad = 0;
}

int nvme_queue_init(
	struct nvme_queue *q, struct nvme *n, unsigned id, unsigned core, unsigned entries)
{
	unsigned stride = 4u << NVME_CAP_DSTRD(n->cap), i;

	q->ctrl = n;
	q->id = id;
	q->core = core;
	q->entries = entries;
	q->sq = page_alloc(&nvme_queue_tag, page_order(entries * sizeof(*q->sq)));
	q->cq = page_alloc(&nvme_queue_tag, page_order(entries * sizeof(*q->cq)));
	q->lists = page_alloc(&nvme_queue_tag, page_order((entries - 1) * NVME_LIST_BYTES));
	q->slots = mem_alloc(&nvme_queue_tag, (entries - 1) * sizeof(*q->slots));
	if (!q->sq || !q->cq || !q->lists || !q->slots)
		return -ENOMEM;
	q->sq_doorbell = n->regs + NVME_DOORBELL + 2 * id * stride;
	q->cq_doorbell = n->regs + NVME_DOORBELL + (2 * id + 1) * stride;
	q->watchdog.fn = nvme_watchdog;
	q->lookout.fn = nvme_queue_look;
	q->delay.fn = nvme_queue_try_delayed;
	for (i = 0; i < NVME_NR_WISHES; i++)
		q->alarms[i] = (struct nvme_alarm){
			.work.fn = nvme_alarm_work,
			.q = q,
			.wish = (enum nvme_wish)i,
		};
	q->poller.poll = nvme_queue_poll;
	q->poller.arm = nvme_queue_arm;
	q->backlogged = true; /* until it starts */
	nvme_queue_clear(q);
	return 0;
}

void nvme_queue_free(struct nvme_queue *q)
{
	page_free(&nvme_queue_tag, q->sq, page_order(q->entries * sizeof(*q->sq)));
	page_free(&nvme_queue_tag, q->cq, page_order(q->entries * sizeof(*q->cq)));
	page_free(&nvme_queue_tag, q->lists, page_order((q->entries - 1u) * NVME_LIST_BYTES));
	mem_free(q->slots);
}

void nvme_queue_prune(struct nvme_queue *q, unsigned age)
{
	struct bio_list old = { 0 }, keep = { 0 };
	struct bio *bio;

	while ((bio = bio_list_pop(&q->backlog)))
		bio_list_add(nvme_bio_age(q, bio) >= age ? &old : &keep, bio);
	q->backlog = keep;
	if (old.nr)
		log_warn("%s: queue %u: %u requests waited too long", q->ctrl->name, q->id, old.nr);
	while ((bio = bio_list_pop(&old)))
		bio_end(bio, -ETIMEDOUT);
}

void nvme_queue_probe(void *queue)
{
	struct nvme_queue *q = queue;

	q->nr_answered = nvme_answered(q);
	q->probe_tick = q->tick;
	q->probing = q->backlogged = true;
}

void nvme_queue_start(void *queue)
{
	struct nvme_queue *q = queue;

	if (q->ctrl->nr_vain)
		nvme_queue_probe(q);
	if (!q->polled) {
		poller_add(&q->poller);
		q->polled = true;
	}
	nvme_queue_prune(q, NVME_TICKS_RETRY);
	q->live = true;
	nvme_queue_pump(q);
}

/* Age of the oldest bio in our hands. */
static unsigned nvme_queue_oldest(const struct nvme_queue *q)
{
	const struct bio *bio;
	unsigned i, oldest = 0;

	for (i = 0; i < q->entries - 1u; i++)
		if (q->slots[i].bio)
			oldest = MAX(oldest, nvme_bio_age(q, q->slots[i].bio));
	for (bio = q->backlog.head; bio; bio = bio->next)
		oldest = MAX(oldest, nvme_bio_age(q, bio));
	for (bio = q->delayed.head; bio; bio = bio->next)
		oldest = MAX(oldest, nvme_bio_age(q, bio));
	return oldest;
}

void nvme_queue_stop(void *queue)
{
	struct nvme_queue *q = queue;
	bool was_live = q->live;

	q->live = false;
	q->backlogged = true;
	if (was_live && nvme_queue_fresh(q))
		nvme_queue_reap(q);
	q->oldest = nvme_queue_oldest(q);
}

/* The outstanding bios, oldest first.  Insertion: they are nearly in order. */
static void nvme_queue_collect(struct nvme_queue *q, struct bio_list *out)
{
	uint16_t order[NVME_MAX_ENTRIES];
	unsigned i, j, nr = 0;

	for (i = 0; i < q->entries - 1u; i++) {
		if (!q->slots[i].bio)
			continue;
		for (j = nr++; j && (int32_t)(q->slots[order[j - 1]].seq - q->slots[i].seq) > 0;
			j--)
			order[j] = order[j - 1];
		order[j] = i;
	}
	for (i = 0; i < nr; i++)
		bio_list_add(out, q->slots[order[i]].bio);
}

void nvme_queue_recover(void *queue)
{
	struct nvme_queue *q = queue;
	struct bio_list all = { 0 };
	struct bio *bio;

	/* What the device finished before it stopped counts. */
	if (nvme_queue_fresh(q))
		nvme_queue_reap(q);
	nvme_queue_collect(q, &all);
	nvme_queue_clear(q);
	while ((bio = bio_list_pop(&q->backlog)))
		bio_list_add(&all, bio);
	while ((bio = bio_list_pop(&all))) {
		if (bio->driver[0] & NVME_BIO_SAVED || nvme_bio_age(q, bio) >= NVME_TICKS_RETRY) {
			bio_end(bio, -ETIMEDOUT);
			continue;
		}
		bio->driver[0] |= NVME_BIO_SAVED;
		bio_list_add(&q->backlog, bio);
	}
}

void nvme_queue_park(void *queue)
{
	struct nvme_queue *q = queue;

	q->live = false;
	q->dead = true;
	if (q->polled)
		poller_del(&q->poller);
	q->polled = false;
	timer_stop(&q->watchdog);
	timer_stop(&q->lookout);
	timer_stop(&q->delay);
}

void nvme_queue_kill(void *queue)
{
	struct nvme_queue *q = queue;
	struct bio_list all = { 0 };
	struct bio *bio;

	nvme_queue_park(q);
	nvme_queue_collect(q, &all);
	nvme_queue_clear(q);
	while ((bio = bio_list_pop(&q->backlog)) || (bio = bio_list_pop(&q->delayed)))
		bio_list_add(&all, bio);
	while ((bio = bio_list_pop(&all)))
		bio_end(bio, -EIO);
}

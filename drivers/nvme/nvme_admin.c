/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme_admin - registers and the admin queue: bringing a controller up and down, identify, making
 * I/O queues, abort.  Runs on fibers of core 0 that hold the gate (or alone, in attach), one admin
 * command at a time, and polls: the admin queue has no interrupt.  Every wait has a deadline.
 *
 * A command whose deadline passed is forgotten; its late completion has an old id and is skipped.
 * Its data page (n->page) stays ours until the controller is disabled, so nothing is overwritten.
 */
#include "drivers/nvme/nvme.h"
#include "drivers/pci/pcireg.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define POLL_MIN_NS (10 * NS_PER_US)
#define POLL_MAX_NS (2 * NS_PER_MS)
#define MAX_BAD     256u /* completions of nothing before the admin queue is given up */

static struct mem_tag nvme_admin_tag = MEM_TAG("nvme admin");

uint32_t nvme_read(const struct nvme *n, unsigned reg)
{
	return mmio_read32(n->regs + reg);
}

void nvme_write(struct nvme *n, unsigned reg, uint32_t v)
{
	mmio_write32(n->regs + reg, v);
}

/* In halves, low first, which every controller takes. */
static void nvme_write_addr(struct nvme *n, unsigned reg, dma_addr_t a)
{
	nvme_write(n, reg, (uint32_t)a);
	nvme_write(n, reg + 4, (uint32_t)(a >> 32));
}

uint64_t nvme_ready_due(const struct nvme *n, uint64_t until_ns)
{
	/* Two units at least: a controller that says 0 means "at once", not "never". */
	uint64_t due = now_ns() + MAX(NVME_CAP_TO(n->cap), 2u) * (NS_PER_S / 2);

	return MIN(due, until_ns);
}

int nvme_admin_init(struct nvme *n)
{
	n->asq = page_alloc(&nvme_admin_tag, 0);
	n->acq = page_alloc(&nvme_admin_tag, 0);
	n->page = page_alloc(&nvme_admin_tag, 0);
	return n->asq && n->acq && n->page ? 0 : -ENOMEM;
}

void nvme_admin_free(struct nvme *n)
{
	page_free(&nvme_admin_tag, n->asq, 0);
	page_free(&nvme_admin_tag, n->acq, 0);
	page_free(&nvme_admin_tag, n->page, 0);
	n->asq = NULL;
	n->acq = NULL;
	n->page = NULL;
}

/* Waits until the bits under mask read as want. */
static may_block int nvme_wait_status(struct nvme *n, uint32_t mask, uint32_t want, uint64_t due_ns)
{
	uint64_t pause = POLL_MIN_NS;

	for (;;) {
		uint32_t csts = nvme_read(n, NVME_CSTS);

		if (csts == NVME_GONE)
			return -ENODEV;
		if ((csts & mask) == want)
			return 0;
		if (now_ns() >= due_ns)
			return -ETIMEDOUT;
		fiber_sleep(pause);
		pause = MIN(pause * 2, POLL_MAX_NS);
	}
}

may_block int nvme_disable(struct nvme *n, uint64_t due_ns)
{
	uint32_t cc = nvme_read(n, NVME_CC);

	if (cc == NVME_GONE)
		return -ENODEV;
	if (cc & NVME_CC_EN)
		nvme_write(n, NVME_CC, cc & ~(NVME_CC_EN | NVME_CC_SHN_MASK));
	return nvme_wait_status(n, NVME_CSTS_RDY, 0, due_ns);
}

bool nvme_cut(struct nvme *n)
{
	if (pci_is_gone(n->pci))
		return true;
	pci_disable(n->pci);
	/* What the device wrote before it took notice is in memory when this read is answered. */
	return !(pci_read16(n->pci, PCI_COMMAND) & PCI_COMMAND_BUSM) || pci_is_gone(n->pci);
}

/* The controller is disabled.  Starts it with an empty admin queue. */
may_block int nvme_enable(struct nvme *n, uint64_t due_ns)
{
	int err;

	memset(n->asq, 0, PAGE_SIZE);
	memset(n->acq, 0, PAGE_SIZE);
	n->admin_tail = n->admin_head = 0;
	n->nr_bad = 0;
	n->admin_phase = NVME_CQE_PHASE;
	nvme_write(n, NVME_AQA, (NVME_ADMIN_ENTRIES - 1) << 16 | (NVME_ADMIN_ENTRIES - 1));
	nvme_write_addr(n, NVME_ASQ, dma_addr(n->asq));
	nvme_write_addr(n, NVME_ACQ, dma_addr(n->acq));
	dma_wmb();
	/* NVM command set, 4 KiB pages, round robin: all zero. */
	nvme_write(n, NVME_CC, NVME_CC_EN | NVME_CC_IOSQES | NVME_CC_IOCQES);
	err = nvme_wait_status(n, NVME_CSTS_RDY | NVME_CSTS_CFS, NVME_CSTS_RDY, due_ns);
	if (err == -ETIMEDOUT && nvme_read(n, NVME_CSTS) & NVME_CSTS_CFS)
		err = -EIO;
	return err;
}

/* Takes the completion of command cid if it is there; drops what is not ours. */
static bool nvme_admin_take(struct nvme *n, uint16_t cid, struct nvme_cqe *out)
{
	unsigned i;

	for (i = 0; i < NVME_ADMIN_ENTRIES; i++) {
		volatile struct nvme_cqe *e = &n->acq[n->admin_head];
		uint32_t cid_status = e->cid_status;

		if ((cid_status & NVME_CQE_PHASE) != n->admin_phase)
			return false;
		dma_rmb();
		out->result = e->result;
		out->cid_status = cid_status;
		if (++n->admin_head == NVME_ADMIN_ENTRIES) {
			n->admin_head = 0;
			n->admin_phase ^= NVME_CQE_PHASE;
		}
		mmio_write32(
			n->regs + NVME_DOORBELL + (4u << NVME_CAP_DSTRD(n->cap)), n->admin_head);
		if ((uint16_t)cid_status == cid)
			return true;
		if (n->nr_bad++ < 8)
			log_warn("%s: admin completion with unknown id %#x", n->name,
				cid_status & 0xffff);
	}
	return false;
}

may_block int nvme_admin(struct nvme *n, const struct nvme_sqe *cmd, uint64_t due_ns,
	const bool *hurry, uint32_t *result, unsigned *status)
{
	/* The low byte counts, the high one is odd: never 0, never 0xffff. */
	uint16_t cid = 0x5500 | (++n->admin_cid & 0xff);
	uint64_t pause = POLL_MIN_NS;
	struct nvme_cqe done = { 0 };
	unsigned st;

	n->asq[n->admin_tail] = *cmd;
	n->asq[n->admin_tail].cdw0 = NVME_CDW0(cmd->cdw0 & 0xffff, cid);
	if (++n->admin_tail == NVME_ADMIN_ENTRIES)
		n->admin_tail = 0;
	dma_wmb();
	mmio_write32(n->regs + NVME_DOORBELL, n->admin_tail);

	while (!nvme_admin_take(n, cid, &done)) {
		uint32_t csts = nvme_read(n, NVME_CSTS);

		if (csts == NVME_GONE)
			return -ENODEV;
		if (csts & NVME_CSTS_CFS || now_ns() >= due_ns || n->nr_bad > MAX_BAD ||
			(hurry && *hurry)) {
			log_warn("%s: admin command %#x not answered%s", n->name, cmd->cdw0 & 0xff,
				csts & NVME_CSTS_CFS ? ", the controller says it has failed" : "");
			return -ETIMEDOUT;
		}
		fiber_sleep(pause);
		pause = MIN(pause * 2, POLL_MAX_NS);
	}
	st = NVME_STATUS(done.cid_status);
	if (result)
		*result = done.result;
	if (status)
		*status = st;
	return st & NVME_STATUS_CODE ? -EIO : 0;
}

may_block int nvme_identify(struct nvme *n, unsigned cns, uint32_t nsid, uint64_t due_ns)
{
	struct nvme_sqe cmd = {
		.cdw0 = NVME_ADMIN_IDENTIFY,
		.nsid = nsid,
		.dptr = { dma_addr(n->page) },
		.cdw10 = cns,
	};

	memset(n->page, 0, PAGE_SIZE);
	return nvme_admin(n, &cmd, due_ns, NULL, NULL, NULL);
}

may_block int nvme_grant_queues(struct nvme *n, unsigned wanted, uint64_t due_ns)
{
	struct nvme_sqe cmd = {
		.cdw0 = NVME_ADMIN_SET_FEATURES,
		.cdw10 = NVME_FEATURE_QUEUES,
		.cdw11 = (wanted - 1) << 16 | (wanted - 1),
	};
	uint32_t granted = 0;
	unsigned status;
	int err;

	err = nvme_admin(n, &cmd, due_ns, NULL, &granted, &status);
	if (err == -EIO) {
		log_warn("%s: number of queues refused (status %#x), trying one", n->name, status);
		return 1;
	}
	if (err)
		return err;
	return MIN(wanted, 1 + MIN(granted & 0xffff, granted >> 16));
}

may_block int nvme_create_queue(struct nvme *n, struct nvme_queue *q, uint64_t due_ns)
{
	struct nvme_sqe cmd = {
		.cdw0 = NVME_ADMIN_CREATE_CQ,
		.dptr = { dma_addr(q->cq) },
		.cdw10 = (uint32_t)(q->entries - 1) << 16 | q->id,
		.cdw11 = NVME_QUEUE_CONTIGUOUS,
	};
	unsigned status = 0;
	int err;

	if (q->has_irq) /* the vector has the queue's number; a lone one has number 0 */
		cmd.cdw11 |= NVME_CQ_INTERRUPTS | (n->nr_vectors > 1 ? q->id : 0u) << 16;
	err = nvme_admin(n, &cmd, due_ns, NULL, NULL, &status);
	if (err)
		goto refused;
	cmd.cdw0 = NVME_ADMIN_CREATE_SQ;
	cmd.dptr[0] = dma_addr(q->sq);
	cmd.cdw11 = NVME_QUEUE_CONTIGUOUS | (uint32_t)q->id << 16;
	err = nvme_admin(n, &cmd, due_ns, NULL, NULL, &status);
	if (!err)
		return 0;
	if (err == -EIO) {
		struct nvme_sqe del = { .cdw0 = NVME_ADMIN_DELETE_CQ, .cdw10 = q->id };
		int del_err = nvme_admin(n, &del, due_ns, NULL, NULL, NULL);

		if (del_err)
			err = del_err == -EIO ? -ETIMEDOUT : del_err;
	}
refused:
	log_warn("%s: queue %u not made (status %#x, %s)", n->name, q->id, status, err_text(err));
	return err;
}

may_block int nvme_abort(
	struct nvme *n, unsigned qid, unsigned cid, uint64_t due_ns, const bool *hurry)
{
	struct nvme_sqe cmd = { .cdw0 = NVME_ADMIN_ABORT, .cdw10 = cid << 16 | qid };

	return nvme_admin(n, &cmd, due_ns, hurry, NULL, NULL);
}

may_block int nvme_shutdown_notify(struct nvme *n, uint64_t due_ns)
{
	uint32_t cc = nvme_read(n, NVME_CC);

	if (cc == NVME_GONE)
		return -ENODEV;
	nvme_write(n, NVME_CC, (cc & ~NVME_CC_SHN_MASK) | NVME_CC_SHN_NORMAL);
	return nvme_wait_status(n, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_DONE, due_ns);
}

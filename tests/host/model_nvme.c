/* SPDX-License-Identifier: BSD-2-Clause */
/* model_nvme - see model_nvme.h: registers, rings and commands of an NVMe controller. */
#include <stdlib.h>
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/model_nvme.h"

#define MSIX_AT    0x3000u
#define LATE_AFTER 10u

static void model_work(struct work *w);
static void model_timer(struct timer *t);

/* ---- making one ---- */

struct model_nvme_ns *model_nvme_add_ns(
	struct model_nvme *m, uint32_t nsid, uint64_t blocks, unsigned lbads)
{
	struct model_nvme_ns *ns = &m->ns[m->nr_ns++];
	uint64_t i;

	ASSERT(m->nr_ns <= MODEL_NVME_NS);
	*ns = (struct model_nvme_ns){
		.nsid = nsid, .bytes = blocks << lbads, .block = 1u << lbads
	};
	ns->id.nsze = ns->id.ncap = blocks;
	ns->id.lbaf[0].lbads = (uint8_t)lbads;
	ns->id.eui64[7] = (uint8_t)nsid;
	ns->data = malloc(ns->bytes);
	ASSERT(ns->data);
	for (i = 0; i < ns->bytes; i++)
		ns->data[i] = (uint8_t)(i * 7 + (i >> 9) * 13 + nsid);
	m->id.nn = MAX(m->id.nn, nsid);
	return ns;
}

void model_nvme_init(struct model_nvme *m)
{
	memset(m, 0, sizeof(*m));
	m->cap = 127 | 10ull << 24 | 1ull << 37; /* 128 entries, 5 s, NVM commands */
	m->vs = 0x10400;
	memcpy(m->id.mn, "Model NVMe Ctrl                         ", sizeof(m->id.mn));
	memcpy(m->id.sn, "S12345              ", sizeof(m->id.sn));
	memcpy(m->id.fr, "1.0     ", sizeof(m->id.fr));
	m->id.sqes = 0x66;
	m->id.cqes = 0x44;
	m->id.oncs = NVME_ONCS_DATASET | NVME_ONCS_WRITE_ZEROES;
	m->id.vwc = 1;
	m->id.sgls = 1;
	m->grants = m->really = MODEL_NVME_QUEUES - 1;
	m->nr_vectors = MODEL_NVME_VECTORS;
	m->bar_size = 0x4000;
	m->silent_admin = -1;
	rng_seed(&m->rng, 1);
	list_init(&m->cmds);
	m->work.fn = model_work;
	m->timer.fn = model_timer;
	model_nvme_add_ns(m, 1, 8192, 9);
}

/* ---- what it may touch ---- */

bool model_nvme_reaches_memory(const struct model_nvme *m)
{
	return m->enabled && !m->pci->gone &&
	       (m->busm_stuck || model_pci_get16(m->pci, PCI_COMMAND) & PCI_COMMAND_BUSM);
}

bool model_nvme_owns(const struct model_nvme *m, uint64_t addr)
{
	const struct model_nvme_cmd *c;
	unsigned i;

	if (!model_nvme_reaches_memory(m))
		return false;
	list_for_each (c, &m->cmds, node)
		for (i = 0; i < c->nr_segs; i++)
			if (addr >= c->segs[i].addr && addr - c->segs[i].addr < c->segs[i].len)
				return true;
	return false;
}

/* Copies between the command's memory and buf, or (buf NULL) fills memory with v. */
static void cmd_copy(struct model_nvme_cmd *c, uint8_t *buf, bool to_host, int v)
{
	unsigned i;

	for (i = 0; i < c->nr_segs; i++) {
		void *p = dma_ptr(c->segs[i].addr);

		if (!buf) {
			memset(p, v, c->segs[i].len);
			continue;
		}
		if (to_host)
			memcpy(p, buf, c->segs[i].len);
		else
			memcpy(buf, p, c->segs[i].len);
		buf += c->segs[i].len;
	}
}

static void cmd_check_sent(const struct model_nvme_cmd *c)
{
	const uint8_t *was = c->sent;
	unsigned i;

	for (i = 0; was && i < c->nr_segs; i++) {
		if (memcmp(dma_ptr(c->segs[i].addr), was, c->segs[i].len) != 0)
			panic("nvme model: written data changed under way");
		was += c->segs[i].len;
	}
}

void model_nvme_scribble(struct model_nvme *m)
{
	struct model_nvme_cmd *c;

	if (!model_nvme_reaches_memory(m))
		return;
	list_for_each (c, &m->cmds, node)
		if (c->to_host)
			cmd_copy(c, NULL, true, 0xdb);
		else
			cmd_check_sent(c);
}

static void cmd_free(struct model_nvme *m, struct model_nvme_cmd *c)
{
	list_del(&c->node);
	m->nr_cmds--;
	free(c->sent);
	free(c);
}

/* All is forgotten: what a disabled controller does. */
static void model_stop(struct model_nvme *m)
{
	while (!list_empty(&m->cmds))
		cmd_free(m, list_first(&m->cmds, struct model_nvme_cmd, node));
	memset(m->sq, 0, sizeof(m->sq));
	memset(m->cq, 0, sizeof(m->cq));
	m->late_in = 0;
	m->enabled = m->stopping = false;
	m->nr_disables++;
}

void model_nvme_free(struct model_nvme *m)
{
	unsigned i;

	model_stop(m);
	for (i = 0; i < m->nr_ns; i++)
		free(m->ns[i].data);
	m->nr_ns = 0;
}

/* ---- completions ---- */

static void post(struct model_nvme *m, unsigned qid, struct nvme_cqe e)
{
	struct model_nvme_queue *cq = &m->cq[qid];
	volatile struct nvme_cqe *at;

	if (!cq->exists || !model_nvme_reaches_memory(m))
		return;
	at = (struct nvme_cqe *)dma_ptr(cq->addr) + cq->tail;
	at->result = e.result;
	at->sq = e.sq;
	at->cid_status = (e.cid_status & ~NVME_CQE_PHASE) | cq->phase;
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase ^= NVME_CQE_PHASE;
	}
	if (cq->tail == cq->head && !m->fault_every)
		panic("nvme model: completion queue %u overflows", qid);
	if (cq->has_irq && cq->vector < m->nr_vectors && !(m->msix[cq->vector * 4 + 3] & 1) &&
		host_irq_raise(m->msix[cq->vector * 4], m->msix[cq->vector * 4 + 2]))
		m->nr_irqs++;
}

static struct nvme_cqe cqe_of(
	const struct model_nvme *m, unsigned qid, unsigned cid, unsigned status, uint32_t result)
{
	return (struct nvme_cqe){ .result = result,
		.sq = m->sq[qid].head | qid << 16,
		.cid_status = cid | status << 17 };
}

static bool fault_hits(struct model_nvme *m)
{
	if (!m->fault_in || --m->fault_in)
		return false;
	m->fault_in = m->fault_every;
	return true;
}

static bool outstanding(const struct model_nvme *m, unsigned qid, unsigned cid)
{
	const struct model_nvme_cmd *c;

	list_for_each (c, &m->cmds, node)
		if (c->qid == qid && c->sqe.cdw0 >> 16 == cid)
			return true;
	return false;
}

static void finish(struct model_nvme *m, struct model_nvme_cmd *c, unsigned status)
{
	unsigned qid = c->qid, cid = c->sqe.cdw0 >> 16;
	struct nvme_cqe e = cqe_of(m, qid, cid, status, 0);

	if (fault_hits(m)) {
		switch (m->fault) {
		case MODEL_NVME_DROP:
			c->due_ns = UINT64_MAX;
			return;
		case MODEL_NVME_REPEAT:
			post(m, m->sq[qid].cqid, e);
			break;
		case MODEL_NVME_LATE:
			m->late = e;
			m->late_qid = m->sq[qid].cqid;
			m->late_in = LATE_AFTER;
			break;
		case MODEL_NVME_CID:
			c->due_ns = UINT64_MAX;
			e.cid_status ^= 0x40;
			/* The wrong id of a command that is out: nobody could tell. */
			if (outstanding(m, qid, e.cid_status & 0xffff))
				return;
			post(m, m->sq[qid].cqid, e);
			return;
		case MODEL_NVME_CID_GEN:
			c->due_ns = UINT64_MAX;
			e.cid_status ^= 0x8000;
			post(m, m->sq[qid].cqid, e);
			return;
		case MODEL_NVME_CID_HIGH:
			c->due_ns = UINT64_MAX;
			e.cid_status |= 0xffff;
			post(m, m->sq[qid].cqid, e);
			return;
		case MODEL_NVME_SQ:
			c->due_ns = UINT64_MAX;
			e.sq ^= 0x30000;
			post(m, m->sq[qid].cqid, e);
			return;
		default:
			break;
		}
	}
	m->nr_completed++;
	cmd_free(m, c);
	post(m, m->sq[qid].cqid, e);
	if (m->late_in && !--m->late_in)
		post(m, m->late_qid, m->late);
}

/* ---- where a command's data is ---- */

static void add_seg(struct model_nvme_cmd *c, uint64_t addr, uint64_t len)
{
	ASSERT(c->nr_segs < MODEL_NVME_SEGS && len && len <= UINT32_MAX && addr);
	c->segs[c->nr_segs++] = (struct seg){ addr, (uint32_t)len };
}

static void take_prps(struct model_nvme *m, struct model_nvme_cmd *c, uint64_t bytes)
{
	uint64_t prp1 = c->sqe.dptr[0], prp2 = c->sqe.dptr[1];
	uint64_t n = MIN(bytes, PAGE_SIZE - (prp1 & (PAGE_SIZE - 1)));
	const uint64_t *list;
	unsigned i;

	ASSERT(!(prp1 & 3));
	add_seg(c, prp1, n);
	bytes -= n;
	if (!bytes)
		return;
	if (bytes <= PAGE_SIZE) {
		ASSERT(!(prp2 & (PAGE_SIZE - 1)));
		add_seg(c, prp2, bytes);
		return;
	}
	m->nr_prp_lists++;
	ASSERT(!(prp2 & 7));
	list = dma_ptr(prp2);
	for (i = 0; bytes; i++) {
		/* the last entry of a page would be a pointer to more of the list */
		ASSERT((prp2 & (PAGE_SIZE - 1)) + 8 * i < PAGE_SIZE - 8 || bytes <= PAGE_SIZE);
		ASSERT(!(list[i] & (PAGE_SIZE - 1)));
		n = MIN(bytes, PAGE_SIZE);
		add_seg(c, list[i], n);
		bytes -= n;
	}
}

static void take_sgl(struct model_nvme *m, struct model_nvme_cmd *c, uint64_t bytes)
{
	const struct nvme_sgl *d = (const struct nvme_sgl *)c->sqe.dptr;
	unsigned i, nr = 1, align = (m->id.sgls & NVME_SGLS_MASK) == 2 ? 3 : 0;

	ASSERT(m->id.sgls & NVME_SGLS_MASK);
	m->nr_sgl++;
	if (d->type != NVME_SGL_DATA) {
		ASSERT(d->type == NVME_SGL_LAST_LIST && d->len && !(d->len % 16) && !(d->addr & 7));
		nr = d->len / 16;
		d = dma_ptr(d->addr);
	}
	for (i = 0; i < nr; i++) {
		ASSERT(d[i].type == NVME_SGL_DATA && !((d[i].addr | d[i].len) & align));
		ASSERT(d[i].len <= bytes);
		add_seg(c, d[i].addr, d[i].len);
		bytes -= d[i].len;
	}
	ASSERT(!bytes);
}

static void take_data(struct model_nvme *m, struct model_nvme_cmd *c, uint64_t bytes)
{
	if (c->sqe.cdw0 & NVME_CDW0_SGL)
		take_sgl(m, c, bytes);
	else
		take_prps(m, c, bytes);
}

/* ---- I/O commands ---- */

static uint64_t cmd_block(const struct model_nvme_cmd *c)
{
	return c->sqe.cdw10 | (uint64_t)c->sqe.cdw11 << 32;
}

static bool in_range(const struct model_nvme_ns *ns, uint64_t block, uint64_t nr)
{
	return block <= ns->id.nsze && nr <= ns->id.nsze - block;
}

/* Does it and says how that went. */
static unsigned execute(struct model_nvme *m, struct model_nvme_cmd *c)
{
	struct model_nvme_ns *ns = c->ns;
	uint64_t block = cmd_block(c), nr = (c->sqe.cdw12 & 0xffff) + 1;
	const struct nvme_range *r;

	if (!ns)
		return NVME_SC_INVALID_NS | NVME_STATUS_DNR;
	switch (c->sqe.cdw0 & 0xff) {
	case NVME_CMD_FLUSH:
		return 0;
	case NVME_CMD_READ:
	case NVME_CMD_WRITE:
		if (!in_range(ns, block, nr))
			return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
		cmd_check_sent(c);
		cmd_copy(c, ns->data + block * ns->block, c->to_host, 0);
		return 0;
	case NVME_CMD_WRITE_ZEROES:
		if (!in_range(ns, block, nr))
			return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
		memset(ns->data + block * ns->block, 0, nr * ns->block);
		return 0;
	case NVME_CMD_DATASET:
		r = dma_ptr(c->segs[0].addr);
		ASSERT(!(c->sqe.cdw10 & 0xff) && c->sqe.cdw11 == NVME_DATASET_DEALLOCATE);
		if (!in_range(ns, r->block, r->nr_blocks))
			return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
		memset(ns->data + r->block * ns->block, 0, (uint64_t)r->nr_blocks * ns->block);
		return 0;
	}
	return NVME_SC_INVALID_OPCODE | NVME_STATUS_DNR;
}

static void fetch_io(struct model_nvme *m, unsigned qid, const struct nvme_sqe *sqe)
{
	struct model_nvme_cmd *c = calloc(1, sizeof(*c)), *o;
	unsigned i, op = sqe->cdw0 & 0xff;
	uint64_t bytes = 0;
	uint8_t *p;

	ASSERT(c);
	c->qid = qid;
	c->sqe = *sqe;
	list_for_each (o, &m->cmds, node)
		if (o->qid == qid && o->sqe.cdw0 >> 16 == sqe->cdw0 >> 16)
			panic("nvme model: command id %#x is under way twice", sqe->cdw0 >> 16);
	for (i = 0; i < m->nr_ns; i++)
		if (m->ns[i].nsid == sqe->nsid)
			c->ns = &m->ns[i];
	m->nr_fetched++;
	m->nr_by_queue[qid]++;
	m->nr_op[op]++;
	if (op == NVME_CMD_READ || op == NVME_CMD_WRITE || op == NVME_CMD_WRITE_ZEROES)
		m->nr_fua += (sqe->cdw12 & NVME_RW_FUA) != 0;
	if (c->ns && (op == NVME_CMD_READ || op == NVME_CMD_WRITE)) {
		bytes = ((sqe->cdw12 & 0xffff) + 1ull) * c->ns->block;
		ASSERT(!m->id.mdts || bytes <= (uint64_t)PAGE_SIZE << m->id.mdts);
		c->to_host = op == NVME_CMD_READ;
		take_data(m, c, bytes);
	} else if (op == NVME_CMD_DATASET) {
		take_data(m, c, sizeof(struct nvme_range));
	}
	if (op == NVME_CMD_WRITE && bytes) {
		c->sent = p = malloc(bytes);
		cmd_copy(c, p, false, 0);
	}
	c->due_ns = now_ns();
	if (m->delay_ns)
		c->due_ns += m->shuffle ? rng_below(&m->rng, m->delay_ns) : m->delay_ns;
	list_add_tail(&m->cmds, &c->node);
	if (++m->nr_cmds > m->max_in_flight)
		m->max_in_flight = m->nr_cmds;
}

static bool is_due(const struct model_nvme *m, const struct model_nvme_cmd *c)
{
	return !m->silent && !m->hold && c->due_ns <= now_ns();
}

static struct model_nvme_cmd *pick_due(struct model_nvme *m)
{
	struct model_nvme_cmd *c;
	unsigned n = 0, skip;

	list_for_each (c, &m->cmds, node)
		n += is_due(m, c);
	if (!n)
		return NULL;
	skip = m->shuffle ? (unsigned)rng_below(&m->rng, n) : 0;
	list_for_each (c, &m->cmds, node)
		if (is_due(m, c) && !skip--)
			break;
	return c;
}

static void complete_one(struct model_nvme *m, struct model_nvme_cmd *c)
{
	unsigned status;

	if (m->nr_status) {
		m->nr_status--;
		status = m->status;
	} else {
		status = execute(m, c);
	}
	finish(m, c, status);
}

void model_nvme_release(struct model_nvme *m, unsigned n)
{
	struct model_nvme_cmd *c;
	unsigned all = n ? n : m->nr_cmds;

	if (!n)
		m->hold = false;
	while (all-- && !list_empty(&m->cmds)) {
		c = list_first(&m->cmds, struct model_nvme_cmd, node);
		complete_one(m, c);
	}
}

/* ---- admin commands ---- */

static unsigned admin_identify(struct model_nvme *m, const struct nvme_sqe *s)
{
	uint8_t *page = dma_ptr(s->dptr[0]);
	uint32_t *list = (uint32_t *)page;
	unsigned i, n = 0;

	ASSERT(!(s->dptr[0] & (PAGE_SIZE - 1)));
	memset(page, 0, PAGE_SIZE);
	if (m->junk) {
		for (i = 0; i < PAGE_SIZE; i++)
			page[i] = (uint8_t)rng_u64(&m->rng);
		if (s->cdw10 == NVME_IDENTIFY_CTRL && rng_below(&m->rng, 4)) {
			((struct nvme_id_ctrl *)page)->sqes = 0x66;
			((struct nvme_id_ctrl *)page)->cqes = 0x44;
		}
		if (s->cdw10 == NVME_IDENTIFY_ACTIVE && rng_below(&m->rng, 4))
			for (i = 0; i < PAGE_SIZE / 4; i++)
				list[i] = i < 8 ? i + 1 : 0;
		if (s->cdw10 == NVME_IDENTIFY_NS && rng_below(&m->rng, 4)) {
			((struct nvme_id_ns *)page)->flbas = 0;
			((struct nvme_id_ns *)page)->lbaf[0].ms = 0;
			((struct nvme_id_ns *)page)->lbaf[0].lbads = 9;
			((struct nvme_id_ns *)page)->dps = 0;
			((struct nvme_id_ns *)page)->nsze >>= 20;
		}
		return 0;
	}
	switch (s->cdw10) {
	case NVME_IDENTIFY_CTRL:
		memcpy(page, &m->id, sizeof(m->id));
		return 0;
	case NVME_IDENTIFY_NS:
		if (!s->nsid || s->nsid > m->id.nn)
			return NVME_SC_INVALID_NS | NVME_STATUS_DNR;
		for (i = 0; i < m->nr_ns; i++)
			if (m->ns[i].nsid == s->nsid)
				memcpy(page, &m->ns[i].id, sizeof(m->ns[i].id));
		return 0;
	case NVME_IDENTIFY_ACTIVE:
		if (m->no_list)
			break;
		if (m->list_wrong)
			memcpy(page, m->list, sizeof(m->list));
		for (i = 0; i < m->nr_ns && !m->list_wrong; i++)
			if (m->ns[i].nsid > s->nsid)
				list[n++] = m->ns[i].nsid;
		return 0;
	}
	return NVME_SC_INVALID_FIELD | NVME_STATUS_DNR;
}

static unsigned admin_create(struct model_nvme *m, const struct nvme_sqe *s, bool is_sq)
{
	unsigned qid = s->cdw10 & 0xffff, size = (s->cdw10 >> 16) + 1;
	struct model_nvme_queue *q = is_sq ? &m->sq[qid] : &m->cq[qid];

	ASSERT(qid && qid < MODEL_NVME_QUEUES && !q->exists && size >= 2);
	ASSERT(size <= (m->cap & 0xffff) + 1 && !(s->dptr[0] & (PAGE_SIZE - 1)));
	ASSERT(s->cdw11 & NVME_QUEUE_CONTIGUOUS && qid <= MAX(m->grants, 1u));
	if (qid > m->really)
		return 0x101 | NVME_STATUS_DNR;
	*q = (struct model_nvme_queue){
		.exists = true, .addr = s->dptr[0], .size = size, .phase = NVME_CQE_PHASE
	};
	if (is_sq) {
		q->cqid = s->cdw11 >> 16;
		ASSERT(q->cqid < MODEL_NVME_QUEUES && m->cq[q->cqid].exists);
	} else {
		q->has_irq = s->cdw11 & NVME_CQ_INTERRUPTS;
		q->vector = s->cdw11 >> 16;
		ASSERT(!q->has_irq || q->vector < m->nr_vectors);
	}
	return 0;
}

static unsigned admin_abort(struct model_nvme *m, const struct nvme_sqe *s, uint32_t *result)
{
	struct model_nvme_cmd *c;
	unsigned qid = s->cdw10 & 0xffff, cid = s->cdw10 >> 16;

	m->nr_aborts++;
	*result = 1;
	list_for_each (c, &m->cmds, node) {
		if (!m->aborts || c->qid != qid || c->sqe.cdw0 >> 16 != cid)
			continue;
		*result = 0;
		cmd_free(m, c);
		post(m, m->sq[qid].cqid, cqe_of(m, qid, cid, NVME_SC_ABORTED, 0));
		break;
	}
	return 0;
}

static void fetch_admin(struct model_nvme *m, const struct nvme_sqe *s)
{
	unsigned op = s->cdw0 & 0xff, status = NVME_SC_INVALID_OPCODE | NVME_STATUS_DNR;
	unsigned qid = s->cdw10 & 0xffff;
	uint32_t result = 0;

	if ((int)op == m->silent_admin || (op == NVME_ADMIN_ABORT && m->silent_abort)) {
		m->nr_aborts += op == NVME_ADMIN_ABORT;
		return;
	}
	switch (op) {
	case NVME_ADMIN_IDENTIFY:
		status = admin_identify(m, s);
		break;
	case NVME_ADMIN_CREATE_CQ:
	case NVME_ADMIN_CREATE_SQ:
		status = admin_create(m, s, op == NVME_ADMIN_CREATE_SQ);
		break;
	case NVME_ADMIN_DELETE_CQ:
	case NVME_ADMIN_DELETE_SQ:
		ASSERT(qid && qid < MODEL_NVME_QUEUES);
		(op == NVME_ADMIN_DELETE_CQ ? m->cq : m->sq)[qid].exists = false;
		status = 0;
		break;
	case NVME_ADMIN_SET_FEATURES:
		ASSERT(qid == NVME_FEATURE_QUEUES);
		status = m->grants ? 0 : NVME_SC_INVALID_FIELD;
		result = (m->grants - 1) << 16 | (m->grants - 1);
		break;
	case NVME_ADMIN_ABORT:
		status = admin_abort(m, s, &result);
		break;
	}
	if (m->admin_noise)
		post(m, 0, cqe_of(m, 0, 0xbad, 0, 0));
	post(m, 0, cqe_of(m, 0, s->cdw0 >> 16, status, result));
}

/* ---- rings ---- */

/* Everything between a doorbell and its commands, then whatever is due. */
static void model_run(struct model_nvme *m)
{
	struct model_nvme_cmd *c;
	uint64_t due = UINT64_MAX;
	unsigned qid;

	if (m->stopping && now_ns() >= m->stopped_at)
		model_stop(m);
	if (m->failed || !model_nvme_reaches_memory(m))
		return;
	for (qid = 0; qid < MODEL_NVME_QUEUES; qid++) {
		struct model_nvme_queue *q = &m->sq[qid];

		while (q->exists && q->head != q->tail && !m->stopping) {
			struct nvme_sqe s = ((struct nvme_sqe *)dma_ptr(q->addr))[q->head];

			if (++q->head == q->size)
				q->head = 0;
			if (qid)
				fetch_io(m, qid, &s);
			else
				fetch_admin(m, &s);
		}
	}
	model_nvme_scribble(m);
	while ((c = pick_due(m)))
		complete_one(m, c);
	list_for_each (c, &m->cmds, node)
		due = MIN(due, c->due_ns);
	if (due != UINT64_MAX && due > now_ns())
		timer_start(&m->timer, due);
}

static void model_work(struct work *w)
{
	struct model_nvme *m = container_of(w, struct model_nvme, work);

	m->posted = false;
	model_run(m);
}

static void model_timer(struct timer *t)
{
	model_run(container_of(t, struct model_nvme, timer));
}

static void doorbell(struct model_nvme *m, uint64_t off, uint32_t v)
{
	unsigned stride = 4u << NVME_CAP_DSTRD(m->cap);
	unsigned n = (unsigned)((off - NVME_DOORBELL) / stride), qid = n / 2;
	struct model_nvme_queue *q;

	ASSERT(!((off - NVME_DOORBELL) % stride) && qid < MODEL_NVME_QUEUES);
	if (m->vanished || !m->enabled)
		return;
	q = n & 1 ? &m->cq[qid] : &m->sq[qid];
	if (m->stopping && !q->exists)
		return;
	ASSERT(q->exists && v < q->size);
	if (n & 1) {
		m->nr_cq_doorbells += qid != 0;
		q->head = v;
		return;
	}
	ASSERT(v != q->tail || !qid);
	m->nr_sq_doorbells += qid != 0;
	q->tail = v;
	if (!m->posted) {
		m->posted = true;
		work_send(0, &m->work);
	}
}

/* ---- registers ---- */

static void start(struct model_nvme *m)
{
	ASSERT(!(m->asq & (PAGE_SIZE - 1)) && !(m->acq & (PAGE_SIZE - 1)) && m->asq && m->acq);
	ASSERT((m->cc & ~(3u << 14)) == (NVME_CC_EN | NVME_CC_IOSQES | NVME_CC_IOCQES));
	m->nr_starts++;
	m->enabled = true;
	m->stopping = false;
	m->ready_at = now_ns() + m->ready_ns;
	m->failed = m->fails_to_start || (m->fails_after && m->nr_starts > m->fails_after);
	m->sq[0] = (struct model_nvme_queue){
		.exists = true, .addr = m->asq, .size = (m->aqa & 0xfff) + 1
	};
	m->cq[0] = (struct model_nvme_queue){ .exists = true,
		.addr = m->acq,
		.size = (m->aqa >> 16 & 0xfff) + 1,
		.phase = NVME_CQE_PHASE };
}

static void write_cc(struct model_nvme *m, uint32_t v)
{
	uint32_t was = m->cc;

	m->cc = v;
	if (v & NVME_CC_SHN_MASK && !m->never_shut_down) {
		m->csts_shst = NVME_CSTS_SHST_DONE;
		m->shut_down = true;
	}
	if (!(was & NVME_CC_EN) && v & NVME_CC_EN) {
		m->csts_shst = 0;
		start(m);
	} else if (was & NVME_CC_EN && !(v & NVME_CC_EN) && !m->never_disabled) {
		m->failed = false;
		m->stopping = true;
		m->stopped_at = now_ns() + m->disable_ns;
		if (!m->disable_ns)
			model_stop(m);
	}
}

static uint32_t read_csts(struct model_nvme *m)
{
	if (m->stopping && now_ns() >= m->stopped_at)
		model_stop(m);
	if (m->failed)
		return NVME_CSTS_CFS |
		       (m->nr_starts && m->enabled && !m->fails_to_start && !m->fails_after
				       ? NVME_CSTS_RDY
				       : 0);
	if (m->enabled && !m->never_ready && now_ns() >= m->ready_at)
		return m->csts_shst | NVME_CSTS_RDY;
	return m->csts_shst;
}

static uint64_t reg_read(void *ctx, uint64_t off, unsigned size)
{
	struct model_nvme *m = ctx;

	if (m->vanished)
		return UINT64_MAX >> (64 - 8 * size);
	ASSERT(size == 4);
	if (off >= MSIX_AT && off < MSIX_AT + sizeof(m->msix))
		return m->msix[(off - MSIX_AT) / 4];
	switch (off) {
	case NVME_CAP:
		return (uint32_t)m->cap;
	case NVME_CAP + 4:
		return m->cap >> 32;
	case NVME_VS:
		return m->vs;
	case NVME_CC:
		return m->cc;
	case NVME_CSTS:
		return read_csts(m);
	}
	return 0;
}

static void reg_write(void *ctx, uint64_t off, unsigned size, uint64_t v)
{
	struct model_nvme *m = ctx;

	ASSERT(size == 4);
	if (off >= MSIX_AT && off < MSIX_AT + sizeof(m->msix)) {
		m->msix[(off - MSIX_AT) / 4] = (uint32_t)v;
		return;
	}
	if (off >= NVME_DOORBELL) {
		doorbell(m, off, (uint32_t)v);
		return;
	}
	if (m->vanished)
		return;
	switch (off) {
	case NVME_CC:
		write_cc(m, (uint32_t)v);
		break;
	case NVME_AQA:
		m->aqa = (uint32_t)v;
		break;
	case NVME_ASQ:
		m->asq = (m->asq & ~0xffffffffull) | v;
		break;
	case NVME_ASQ + 4:
		m->asq = (uint32_t)m->asq | v << 32;
		break;
	case NVME_ACQ:
		m->acq = (m->acq & ~0xffffffffull) | v;
		break;
	case NVME_ACQ + 4:
		m->acq = (uint32_t)m->acq | v << 32;
		break;
	default:
		panic("nvme model: write to register %#llx", (unsigned long long)off);
	}
}

static const struct host_mmio_ops reg_ops = { reg_read, reg_write };

static struct model_nvme *plugged[4];

static uint8_t cfg_read(struct model_pci_fn *f, unsigned reg)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(plugged); i++)
		if (plugged[i] && plugged[i]->pci == f && plugged[i]->busm_stuck &&
			reg == PCI_COMMAND)
			return f->cfg[reg] | PCI_COMMAND_BUSM;
	return f->cfg[reg];
}

void model_nvme_plug(struct model_nvme *m, unsigned bdf, uint64_t phys)
{
	uint8_t cap[10] = { 0 };
	unsigned i;

	m->pci = model_pci_add(bdf, 0x1b36, 0x0010, NVME_PCI_CLASS);
	m->pci->read = cfg_read;
	model_pci_bar(m->pci, 0, phys, m->bar_size, true);
	host_mmio_region(phys, m->bar_size, &reg_ops, m);
	for (i = 0; i < ARRAY_SIZE(plugged) - 1 && plugged[i] && plugged[i]->pci != m->pci; i++)
		;
	plugged[i] = m;
	if (!m->nr_vectors)
		return;
	for (i = 0; i < MODEL_NVME_VECTORS; i++)
		m->msix[i * 4 + 3] = 1;
	cap[0] = (uint8_t)(m->nr_vectors - 1);
	cap[3] = MSIX_AT >> 8;
	model_pci_cap(m->pci, PCI_CAP_ID_MSIX, cap, sizeof(cap));
}

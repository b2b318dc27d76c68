/* SPDX-License-Identifier: BSD-2-Clause */
/* model_virtio - the device and its direct transport; model_virtio_regs.c has the registers. */
#include <stdlib.h>
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/model_virtio_regs.h"

#define STATUS_BUSY 0x17 /* while a reset goes on */

/* Whether the machine lets it reach memory. */
static bool cut_off(const struct model_virtio *m)
{
	if (m->regs.pci && !(model_pci_get16(m->regs.pci, PCI_COMMAND) & PCI_COMMAND_BUSM))
		return true;
	return m->dma_off;
}

/* ---- rings as the device sees them ---- */

static void chain_add(struct model_virtio *m, struct model_req *r, const struct vring_desc *d)
{
	ASSERT(d->len);
	if (d->flags & VRING_DESC_F_WRITE) {
		ASSERT(r->nr_in < MODEL_SEGS);
		r->in[r->nr_in++] = (struct seg){ d->addr, d->len };
		r->in_bytes += d->len;
	} else {
		ASSERT(!r->nr_in); /* readable parts come first */
		ASSERT(r->nr_out < MODEL_SEGS);
		r->out[r->nr_out++] = (struct seg){ d->addr, d->len };
	}
}

static void chain_walk(struct model_virtio *m, struct model_req *r, const struct vring_desc *table,
	unsigned size, unsigned at)
{
	unsigned n = 0;

	for (;; at = table[at].next) {
		ASSERT(at < size && n++ < size);
		if (table[at].flags & VRING_DESC_F_INDIRECT) {
			ASSERT(m->features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC));
			ASSERT(n == 1 && !(table[at].flags & VRING_DESC_F_NEXT));
			ASSERT(table[at].len && !(table[at].len % sizeof(*table)));
			table = dma_ptr(table[at].addr);
			ASSERT(!(table[0].flags & VRING_DESC_F_INDIRECT));
			chain_walk(m, r, table, 65536, 0);
			return;
		}
		chain_add(m, r, &table[at]);
		if (!(table[at].flags & VRING_DESC_F_NEXT))
			return;
	}
}

static bool event_idx(const struct model_virtio *m)
{
	return m->features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
}

static void queue_signal(struct model_virtio *m, unsigned qi)
{
	struct model_queue *q = &m->queues[qi];
	struct vring_avail *avail = dma_ptr(q->avail);
	bool wanted;

	if (event_idx(m))
		wanted = vring_need_event(avail->ring[q->size], q->used_idx, q->signalled);
	else
		wanted = !(avail->flags & VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled = q->used_idx;
	if (!wanted)
		return;
	if (model_regs_irq(m, qi))
		m->nr_irqs++;
}

static void used_put(struct model_virtio *m, unsigned qi, uint32_t id, uint32_t len)
{
	struct model_queue *q = &m->queues[qi];
	struct vring_used *used = dma_ptr(q->used);

	used->ring[q->used_idx % q->size] = (struct vring_used_elem){ id, len };
	used->idx = ++q->used_idx;
}

static void req_complete(struct model_virtio *m, struct model_req *r, uint32_t len)
{
	unsigned qi = r->queue;
	struct model_queue *q = &m->queues[qi];
	enum model_fault fault = 0;

	if (m->fault_in && !--m->fault_in)
		fault = m->fault;
	if (fault == MODEL_DROP)
		return; /* stays with the held: the device goes on owning it */
	switch (fault) {
	case MODEL_WRONG_ID:
		used_put(m, qi, (r->head + q->size / 2 + 1) % q->size, len);
		queue_signal(m, qi);
		return;
	case MODEL_ID_RANGE:
		used_put(m, qi, q->size + 7, len);
		queue_signal(m, qi);
		return;
	case MODEL_IDX_JUMP:
	case MODEL_IDX_BACK:
		q->used_idx += fault == MODEL_IDX_JUMP ? 1000 : UINT16_MAX;
		((struct vring_used *)dma_ptr(q->used))->idx = q->used_idx;
		q->signalled = q->used_idx - 1;
		if (model_regs_irq(m, qi))
			m->nr_irqs++;
		return;
	case MODEL_HUGE_LEN:
		/* It says it is done, but with such words nobody should believe it. */
		used_put(m, qi, r->head, r->in_bytes + 4096);
		queue_signal(m, qi);
		return;
	default:
		break;
	}
	list_del(&r->node);
	m->nr_held--;
	m->nr_completed++;
	used_put(m, qi, r->head, len);
	if (fault == MODEL_REPEAT)
		used_put(m, qi, r->head, len);
	queue_signal(m, qi);
	free(r);
}

void model_virtio_scribble(struct model_virtio *m)
{
	struct model_req *r;

	if (cut_off(m))
		return;
	list_for_each (r, &m->held, node)
		for (unsigned i = 0; i < r->nr_in; i++) {
			uint8_t *p = dma_ptr(r->in[i].addr);

			for (unsigned k = 0; k < r->in[i].len; k += 61)
				p[k] = (uint8_t)rng_u64(&m->rng);
		}
}

bool model_virtio_owns(const struct model_virtio *m, uint64_t addr)
{
	struct model_req *r;

	if (cut_off(m))
		return false;
	list_for_each (r, &m->held, node) {
		for (unsigned i = 0; i < r->nr_in; i++)
			if (addr - r->in[i].addr < r->in[i].len)
				return true;
		for (unsigned i = 0; i < r->nr_out; i++)
			if (addr - r->out[i].addr < r->out[i].len)
				return true;
	}
	return false;
}

/* ---- the disk ---- */

static unsigned blk_data(struct model_virtio *m, struct model_req *r, uint64_t sector, bool write)
{
	unsigned first = write ? 1 : 0, nr = write ? r->nr_out : r->nr_in - 1;
	const struct seg *segs = write ? r->out : r->in;
	uint64_t off = sector << SECTOR_SHIFT, bytes = 0;
	struct virtio_blk_config *c = model_blk_config(m);

	for (unsigned i = first; i < nr; i++) {
		bytes += segs[i].len;
		if (m->features & VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX))
			ASSERT(segs[i].len <= c->size_max);
	}
	if (m->features & VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX))
		ASSERT(nr - first <= MAX(c->seg_max, 1u));
	else
		ASSERT(nr - first <= 1);
	ASSERT(bytes && !(bytes % SECTOR_SIZE));
	ASSERT(off + bytes <= m->sectors << SECTOR_SHIFT);
	for (unsigned i = first; i < nr; i++) {
		if (write)
			memcpy(m->data + off, dma_ptr(segs[i].addr), segs[i].len);
		else
			memcpy(dma_ptr(segs[i].addr), m->data + off, segs[i].len);
		off += segs[i].len;
	}
	return write ? 0 : (unsigned)bytes;
}

static unsigned blk_range(struct model_virtio *m, struct model_req *r)
{
	struct virtio_blk_discard_write_zeroes range;

	ASSERT(r->nr_out == 2 && r->out[1].len == sizeof(range) && r->nr_in == 1);
	memcpy(&range, dma_ptr(r->out[1].addr), sizeof(range));
	ASSERT(range.num_sectors && range.sector + range.num_sectors <= m->sectors);
	memset(m->data + (range.sector << SECTOR_SHIFT), 0,
		(size_t)range.num_sectors << SECTOR_SHIFT);
	return 0;
}

static void blk_execute(struct model_virtio *m, struct model_req *r)
{
	struct virtio_blk_outhdr hdr = r->hdr;
	uint8_t *status = dma_ptr(r->in[r->nr_in - 1].addr);
	unsigned len = 0;

	ASSERT(r->nr_in >= 1 && r->in[r->nr_in - 1].len == 1);
	ASSERT(hdr.type < ARRAY_SIZE(m->nr_type));
	m->nr_type[hdr.type]++;
	if (m->fault_in == 1 && m->fault == MODEL_NO_STATUS) {
		m->fault_in = 0;
		*status = 0xff;
		req_complete(m, r, 1);
		return;
	}
	if (m->status >= 0 && hdr.type != VIRTIO_BLK_T_GET_ID) {
		*status = (uint8_t)m->status;
		req_complete(m, r, 1);
		return;
	}
	switch (hdr.type) {
	case VIRTIO_BLK_T_IN:
		ASSERT(r->nr_out == 1);
		len = blk_data(m, r, hdr.sector, false);
		break;
	case VIRTIO_BLK_T_OUT:
		ASSERT(r->nr_in == 1 && !(m->features & VIRTIO_BIT(VIRTIO_BLK_F_RO)));
		blk_data(m, r, hdr.sector, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
		ASSERT(m->features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
		ASSERT(r->nr_out == 1 && r->nr_in == 1 && !hdr.sector);
		break;
	case VIRTIO_BLK_T_DISCARD:
		ASSERT(m->features & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD));
		blk_range(m, r);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		ASSERT(m->features & VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES));
		blk_range(m, r);
		break;
	case VIRTIO_BLK_T_GET_ID:
		ASSERT(r->nr_in == 2 && r->in[0].len == sizeof(m->id));
		memcpy(dma_ptr(r->in[0].addr), m->id, sizeof(m->id));
		len = sizeof(m->id);
		break;
	default:
		panic("model: request type %u", hdr.type);
	}
	*status = VIRTIO_BLK_S_OK;
	req_complete(m, r, len + 1);
}

/* ---- the console ---- */

/* False: nothing to say, the buffer waits. */
static bool console_execute(struct model_virtio *m, struct model_req *r)
{
	unsigned len = 0;

	if (r->queue == 1) {
		for (unsigned i = 0; i < r->nr_out; i++)
			strbuf_write(&m->output, dma_ptr(r->out[i].addr), r->out[i].len);
	} else {
		len = MIN(m->input_len - m->input_taken, r->in_bytes);
		if (!len)
			return false;
		memcpy(dma_ptr(r->in[0].addr), m->input + m->input_taken, len);
		m->input_taken += len;
	}
	req_complete(m, r, len);
	return true;
}

void model_console_type(struct model_virtio *m, const char *text)
{
	size_t n = strlen(text);

	ASSERT(m->input_len + n <= sizeof(m->input));
	memcpy(m->input + m->input_len, text, n);
	m->input_len += n;
	model_poke(m);
}

/* ---- work ---- */

static void execute(struct model_virtio *m, struct model_req *r)
{
	if (m->v.device_id == VIRTIO_ID_BLOCK)
		blk_execute(m, r);
	else
		console_execute(m, r);
}

static struct model_req *pick(struct model_virtio *m, uint64_t now)
{
	unsigned n = 0, skip;
	struct model_req *r;

	list_for_each (r, &m->held, node)
		n += r->due_ns <= now;
	if (!n)
		return NULL;
	skip = m->shuffle ? (unsigned)rng_below(&m->rng, n) : 0;
	list_for_each (r, &m->held, node)
		if (r->due_ns <= now && !skip--)
			return r;
	return NULL;
}

static void execute_due(struct model_virtio *m)
{
	uint64_t now = now_ns(), next = UINT64_MAX;
	struct model_req *r, *n;

	if (m->hold || m->silent || m->vanished || cut_off(m))
		return;
	if (m->v.device_id != VIRTIO_ID_BLOCK) {
		list_for_each_safe (r, n, &m->held, node)
			console_execute(m, r);
		return;
	}
	while ((r = pick(m, now))) {
		r->due_ns = UINT64_MAX; /* a fault may leave it with us for ever */
		execute(m, r);
	}
	list_for_each (r, &m->held, node)
		next = MIN(next, r->due_ns);
	if (next != UINT64_MAX)
		timer_start(&m->timer, next);
}

static void take_request(struct model_virtio *m, unsigned qi, uint16_t head)
{
	struct model_queue *q = &m->queues[qi];
	struct model_req *r = calloc(1, sizeof(*r));

	ASSERT(r && head < q->size);
	r->queue = qi;
	r->head = head;
	r->due_ns = now_ns() + m->delay_ns;
	chain_walk(m, r, dma_ptr(q->desc), q->size, head);
	if (m->v.device_id == VIRTIO_ID_BLOCK) {
		ASSERT(r->nr_out >= 1 && r->out[0].len == sizeof(r->hdr));
		memcpy(&r->hdr, dma_ptr(r->out[0].addr), sizeof(r->hdr));
	}
	list_add_tail(&m->held, &r->node);
	m->nr_requests++;
	m->nr_by_queue[qi]++;
	m->nr_held++;
	m->max_in_flight = MAX(m->max_in_flight, m->nr_held);
}

static void model_run(struct work *w)
{
	struct model_virtio *m = container_of(w, struct model_virtio, work);

	m->posted = false;
	if (m->vanished || cut_off(m))
		return;
	model_virtio_scribble(m);
	for (unsigned qi = 0; qi < m->nr_queues; qi++) {
		struct model_queue *q = &m->queues[qi];
		struct vring_avail *avail = dma_ptr(q->avail);

		if (!q->enabled || !(m->dev_status & VIRTIO_CONFIG_S_DRIVER_OK))
			continue;
		while (q->seen != avail->idx) {
			ASSERT((uint16_t)(avail->idx - q->seen) <= q->size);
			take_request(m, qi, avail->ring[q->seen++ % q->size]);
		}
		if (event_idx(m))
			*(uint16_t *)&((struct vring_used *)dma_ptr(q->used))->ring[q->size] =
				q->seen;
	}
	execute_due(m);
}

static void model_timer(struct timer *t)
{
	struct model_virtio *m = container_of(t, struct model_virtio, timer);

	model_virtio_scribble(m);
	execute_due(m);
}

void model_poke(struct model_virtio *m)
{
	if (m->posted)
		return;
	m->posted = true;
	work_send(m->core, &m->work);
}

void model_virtio_release(struct model_virtio *m, unsigned n)
{
	struct model_req *r, *next;
	unsigned nr = 0;

	if (!n) {
		m->hold = false;
		model_poke(m);
		return;
	}
	list_for_each_safe (r, next, &m->held, node)
		if (nr++ < n)
			execute(m, r);
}

/* ---- life; called by the direct transport and the registers ---- */

static void forget_requests(struct model_virtio *m)
{
	struct list *n;

	while ((n = list_pop(&m->held)))
		free(container_of(n, struct model_req, node));
	m->nr_held = 0;
}

static void reset_now(struct model_virtio *m)
{
	forget_requests(m);
	memset(m->queues, 0, sizeof(m->queues));
	m->dev_status = 0;
	m->needs_reset = false;
	m->regs.isr = 0;
	memset(m->regs.pfn, 0, sizeof(m->regs.pfn));
	m->nr_resets++;
}

uint8_t model_get_status(struct model_virtio *m)
{
	if (m->vanished)
		return 0xff;
	model_virtio_scribble(m);
	if (m->dev_status == STATUS_BUSY && !m->never_reset) {
		if (m->reset_reads)
			m->reset_reads--;
		else
			reset_now(m);
	}
	return m->dev_status | (m->needs_reset ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

void model_set_status(struct model_virtio *m, uint8_t status)
{
	if (m->vanished)
		return;
	if (!status) {
		if (!m->dev_status)
			return;
		m->dev_status = STATUS_BUSY; /* until somebody looks often enough */
		if (!m->never_reset && !m->reset_reads)
			reset_now(m);
		return;
	}
	ASSERT(!(m->dev_status & ~status)); /* bits are only added */
	if (m->stays_dead && m->nr_resets > 1)
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (status & ~m->dev_status & VIRTIO_CONFIG_S_FEATURES_OK && m->features & ~m->offered)
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK && !m->v.legacy)
		ASSERT(status & VIRTIO_CONFIG_S_FEATURES_OK);
	m->dev_status = status;
}

uint8_t model_generation(struct model_virtio *m)
{
	return m->restless ? ++m->generation : m->generation;
}

void model_notify(struct model_virtio *m, unsigned q)
{
	ASSERT(m->vanished || q < m->nr_queues);
	m->nr_notifies++;
	model_poke(m);
}

/* ---- the direct transport ---- */

static uint8_t d_get_status(struct virtio_dev *v)
{
	return model_get_status(v->bus);
}

static void d_set_status(struct virtio_dev *v, uint8_t status)
{
	model_set_status(v->bus, status);
}

static uint64_t d_get_features(struct virtio_dev *v)
{
	struct model_virtio *m = v->bus;

	return m->vanished ? UINT64_MAX : m->offered;
}

static void d_set_features(struct virtio_dev *v, uint64_t features)
{
	((struct model_virtio *)v->bus)->features = features;
}

static uint8_t d_generation(struct virtio_dev *v)
{
	return model_generation(v->bus);
}

static void d_config_read(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	struct model_virtio *m = v->bus;

	ASSERT(off + len <= v->config_len);
	memcpy(buf, m->config + off, len);
	if (m->vanished)
		memset(buf, 0xff, len);
}

static unsigned d_queue_max(struct virtio_dev *v, unsigned q)
{
	struct model_virtio *m = v->bus;

	return q < m->nr_queues ? m->queue_max : 0;
}

static int d_queue_setup(struct virtio_dev *v, struct virtqueue *vq)
{
	struct model_virtio *m = v->bus;
	struct model_queue *q = &m->queues[vq->index];

	if (!m->no_irq && !vq->has_irq)
		vq->has_irq = !irq_alloc_msi(&vq->irq, vq->core);
	*q = (struct model_queue){
		.enabled = true,
		.has_irq = vq->has_irq,
		.size = vq->size,
		.desc = vq->desc_addr,
		.avail = vq->avail_addr,
		.used = vq->used_addr,
		.msi_addr = vq->irq.msi_addr,
		.msi_data = vq->irq.msi_data,
	};
	return 0;
}

static void d_notify(struct virtqueue *vq)
{
	model_notify(vq->dev->bus, vq->index);
}

static int d_stop_dma(struct virtio_dev *v)
{
	struct model_virtio *m = v->bus;

	if (m->no_stop_dma)
		return -EOPNOTSUPP;
	m->dma_off = true;
	return 0;
}

static const struct virtio_transport direct_transport = {
	.get_status = d_get_status,
	.set_status = d_set_status,
	.get_features = d_get_features,
	.set_features = d_set_features,
	.config_generation = d_generation,
	.config_read = d_config_read,
	.queue_max = d_queue_max,
	.queue_setup = d_queue_setup,
	.notify = d_notify,
	.stop_dma = d_stop_dma,
};

static void model_init(struct model_virtio *m, uint16_t device_id, unsigned config_len)
{
	memset(m, 0, sizeof(*m));
	m->v.transport = &direct_transport;
	m->v.bus = m;
	m->v.device_id = device_id;
	m->v.config_len = config_len;
	str_printf(m->v.name, sizeof(m->v.name), "virtio model");
	m->offered = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
		     VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	m->status = -1;
	m->queue_max = 128;
	m->dev_status = VIRTIO_CONFIG_S_ACKNOWLEDGE; /* firmware has used it */
	list_init(&m->held);
	rng_seed(&m->rng, 1);
	m->work.fn = model_run;
	m->timer.fn = model_timer;
}

struct virtio_blk_config *model_blk_config(struct model_virtio *m)
{
	return (struct virtio_blk_config *)m->config;
}

void model_blk_init(struct model_virtio *m, uint64_t sectors)
{
	struct virtio_blk_config *c;

	model_init(m, VIRTIO_ID_BLOCK, sizeof(*c));
	m->offered |= VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		      VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
		      VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
		      VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	m->nr_queues = 1;
	m->sectors = sectors;
	m->data = malloc(sectors << SECTOR_SHIFT);
	for (uint64_t i = 0; i < sectors << SECTOR_SHIFT; i++)
		m->data[i] = (uint8_t)(i * 7 + (i >> SECTOR_SHIFT));
	memcpy(m->id, "MODEL-0001", 10);
	c = model_blk_config(m);
	c->capacity = sectors;
	c->seg_max = 126;
	c->blk_size = 512;
	c->wce = 1;
	c->num_queues = 1;
	c->max_discard_sectors = c->max_write_zeroes_sectors = 1 << 16;
	c->max_discard_seg = c->max_write_zeroes_seg = 1;
	c->discard_sector_alignment = 1;
}

void model_console_init(struct model_virtio *m)
{
	model_init(m, VIRTIO_ID_CONSOLE, sizeof(struct virtio_console_config));
	m->nr_queues = 2;
	m->queue_max = 64;
}

void model_virtio_free(struct model_virtio *m)
{
	if (!m->v.transport)
		return;
	forget_requests(m);
	free(m->data);
	m->v.transport = NULL;
}

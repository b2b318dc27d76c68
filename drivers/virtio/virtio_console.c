/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_console - the first port of a virtio console (virtio 1.2, 5.3): hvc0, hvc1 ...
 *
 * Input: a few small buffers are with the device.  One that comes back is read from until it is
 * empty and only then given out again, so what nobody reads stays on the other side.  Output: the
 * writer copies into a free buffer and waits while there is none.  All on core 0.
 *
 * A device that breaks the queue rules is reset once, without waiting, and left: its buffers stay
 * its own, what is written is dropped, nothing is read.
 */
#include "drivers/driver.h"
#include "drivers/virtio/vq.h"
#include "kernel/api/console.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"

#define QUEUE_RX       0
#define QUEUE_TX       1
#define QUEUE_SIZE     8
#define BUF_BYTES      256u
#define NO_IRQ_POLL_NS (20 * NS_PER_MS)
#define MAX_CONSOLES   32

struct buf {
	struct list node; /* in filled or free_tx, or with the device */
	char *data;
	uint32_t len, taken;
};

struct hvc {
	struct console con;
	struct virtio_dev *v;
	char name[8];
	struct virtqueue rx, tx;
	char *memory;
	struct buf bufs[2 * QUEUE_SIZE];
	struct list filled; /* read from the first */
	struct list free_tx;
	struct waitq writable;
	struct poller poller;
	struct timer wake;
	bool dead;
};

static struct mem_tag hvc_tag = MEM_TAG("virtio-console");

static void hvc_die(struct hvc *h)
{
	if (h->dead)
		return;
	h->dead = true;
	log_err("%s: the device misbehaves and is left", h->name);
	h->v->transport->set_status(h->v, 0);
	waitq_wake_all(&h->writable);
}

static void rx_offer(struct hvc *h, struct buf *b)
{
	struct seg s = { dma_addr(b->data), BUF_BYTES };

	b->len = b->taken = 0;
	if (vq_add(&h->rx, NULL, 0, &s, 1, b))
		hvc_die(h); /* it has no more buffers than the ring, so this cannot be */
}

static size_t hvc_read(struct console *c, char *buf, size_t n)
{
	struct hvc *h = container_of(c, struct hvc, con);
	size_t got = 0;

	while (got < n && !list_empty(&h->filled)) {
		struct buf *b = list_first(&h->filled, struct buf, node);
		size_t part = MIN(n - got, (size_t)(b->len - b->taken));

		memcpy(buf + got, b->data + b->taken, part);
		got += part;
		b->taken += part;
		if (b->taken < b->len)
			break;
		list_del(&b->node);
		if (!h->dead)
			rx_offer(h, b);
	}
	return got; /* the poller tells the device of the buffers it has back */
}

static may_block void hvc_write(struct console *c, const char *buf, size_t n)
{
	struct hvc *h = container_of(c, struct hvc, con);

	while (n && !h->dead) {
		struct list *node = list_pop(&h->free_tx);
		struct buf *b;
		struct seg s;

		if (!node) {
			vq_kick(&h->tx);
			waitq_wait(&h->writable);
			continue;
		}
		b = container_of(node, struct buf, node);
		s = (struct seg){ dma_addr(b->data), MIN(n, (size_t)BUF_BYTES) };
		memcpy(b->data, buf, s.len);
		buf += s.len;
		n -= s.len;
		if (vq_add(&h->tx, &s, 1, NULL, 0, b))
			hvc_die(h);
	}
}

static bool hvc_poll(struct poller *p)
{
	struct hvc *h = container_of(p, struct hvc, poller);
	bool any = false, input = false;
	struct buf *b;
	uint32_t len;

	if (h->dead)
		return false;
	vq_disarm(&h->rx);
	vq_disarm(&h->tx);
	while ((b = vq_take(&h->rx, &len))) {
		any = true;
		b->len = len;
		if (!len) {
			rx_offer(h, b);
			break; /* a device that sends nothing for ever gets one turn at a time */
		}
		list_add_tail(&h->filled, &b->node);
		input = true;
	}
	while ((b = vq_take(&h->tx, &len))) {
		list_add_tail(&h->free_tx, &b->node);
		waitq_wake_all(&h->writable);
		any = true;
	}
	if (h->rx.broken || h->tx.broken)
		hvc_die(h);
	if (input)
		waitq_wake_all(&h->con.readable);
	any |= vq_unkicked(&h->rx) || vq_unkicked(&h->tx);
	vq_kick(&h->rx);
	vq_kick(&h->tx);
	return any;
}

static bool hvc_arm(struct poller *p)
{
	struct hvc *h = container_of(p, struct hvc, poller);
	bool rx, tx;

	if (h->dead)
		return false;
	if ((!h->rx.has_irq || !h->tx.has_irq) && !h->wake.pending) {
		timer_start(&h->wake, now_ns() + NO_IRQ_POLL_NS);
		return true; /* the loop may have looked at its timers already */
	}
	rx = h->rx.has_irq && vq_arm(&h->rx);
	tx = h->tx.has_irq && h->tx.nr_tokens && vq_arm(&h->tx);
	return rx || tx;
}

/* The loop turns for a timer and polls; nothing else is wanted. */
static void hvc_wake(struct timer *t __unused)
{
}

static bool give_name(struct hvc *h)
{
	struct console *c;
	unsigned i;

	for (i = 0; i < MAX_CONSOLES; i++) {
		str_printf(h->name, sizeof(h->name), "hvc%u", i);
		for (c = console_next(NULL); c && strcmp(c->name, h->name); c = console_next(c))
			;
		if (!c)
			return true;
	}
	return false;
}

static int make_queues(struct hvc *h)
{
	unsigned i, nr;
	int err;

	err = vq_init(&h->rx, h->v, QUEUE_RX, 0, QUEUE_SIZE);
	if (!err)
		err = vq_init(&h->tx, h->v, QUEUE_TX, 0, QUEUE_SIZE);
	if (err)
		return err;
	nr = h->rx.size + h->tx.size;
	h->memory = page_alloc(&hvc_tag, page_order(nr * BUF_BYTES));
	if (!h->memory)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		h->bufs[i].data = h->memory + i * BUF_BYTES;
		if (i >= h->rx.size)
			list_add_tail(&h->free_tx, &h->bufs[i].node);
	}
	return 0;
}

static void free_queues(struct hvc *h)
{
	if (h->memory)
		page_free(&hvc_tag, h->memory, page_order((h->rx.size + h->tx.size) * BUF_BYTES));
	vq_free(&h->rx);
	vq_free(&h->tx);
}

static int hvc_attach(struct virtio_dev *v)
{
	struct hvc *h = v->softc;
	unsigned i;
	int err;

	h->v = v;
	list_init(&h->filled);
	list_init(&h->free_tx);
	err = virtio_reset(v);
	if (err)
		return err;
	err = virtio_start(v, 0); /* neither sizes nor further ports */
	if (!err)
		err = make_queues(h);
	if (!err && !give_name(h))
		err = -ENOSPC;
	if (err) {
		if (!virtio_quiesce(v))
			free_queues(h);
		return err;
	}
	for (i = 0; i < h->rx.size; i++)
		rx_offer(h, &h->bufs[i]);
	h->wake.fn = hvc_wake;
	h->poller.poll = hvc_poll;
	h->poller.arm = hvc_arm;
	h->con.name = h->name;
	h->con.read = hvc_read;
	h->con.write = hvc_write;
	virtio_driver_ok(v);
	poller_add(&h->poller);
	console_register(&h->con);
	log_info("%s: %s", h->name, v->name);
	return 0;
}

static void hvc_shutdown(struct virtio_dev *v)
{
	struct hvc *h = v->softc;
	unsigned i;

	/* What was said last should be seen. */
	for (i = 0; i < 100 && !h->dead && h->tx.nr_tokens; i++)
		fiber_sleep(NS_PER_MS);
	poller_del(&h->poller);
	h->dead = true;
	virtio_quiesce(v);
}

const struct virtio_driver virtio_console_driver = {
	.name = "virtio-console",
	.device_id = VIRTIO_ID_CONSOLE,
	.softc_size = sizeof(struct hvc),
	.attach = hvc_attach,
	.shutdown = hvc_shutdown,
};

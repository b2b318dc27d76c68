/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio_net - network interfaces, OASIS virtio 1.2, 5.1: one receive and one transmit queue, both
 * on core 0, checksum and segmentation left to the device where it offers that.
 *
 * Receiving.  Every buffer is a page.  With mergeable buffers a frame of up to 64 KiB is a chain of
 * them, the device's header at the start of the first.  There are more pages than the ring holds,
 * so that the client can keep some while the ring stays full.
 *
 * Sending.  A packet is a header of ours and the client's memory in one slot of the ring.  What was
 * sent is found when something else makes the loop turn, or by a timer a little later: an interrupt
 * for every frame sent would be one for nothing.  Only a full ring asks for one.
 */
#include "drivers/driver.h"
#include "drivers/virtio/vq.h"
#include "kernel/api/log.h"
#include "kernel/api/random.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "mapper/nic.h"

#define F_CSUM       0
#define F_GUEST_CSUM 1
#define F_MTU        3
#define F_MAC        5
#define F_GUEST_TSO4 7
#define F_GUEST_TSO6 8
#define F_HOST_TSO4  11
#define F_HOST_TSO6  12
#define F_MRG_RXBUF  15
#define F_STATUS     16

#define CONFIG_MAC    0
#define CONFIG_STATUS 6
#define CONFIG_MTU    10
#define STATUS_UP     1

#define HDR_NEEDS_CSUM 1
#define HDR_DATA_VALID 2
#define GSO_NONE       0
#define GSO_TCPV4      1
#define GSO_TCPV6      4

struct net_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	uint16_t nr_buffers; /* received with MRG_RXBUF or VERSION_1; else not there */
};

#define QUEUE_RX       0
#define QUEUE_TX       1
#define RING           256
#define SEGS_MAX       31
#define FRAME_BUFFERS  18 /* most that 64 KiB and a header take */
#define MTU_DEFAULT    1500
#define MTU_MIN        68
#define MTU_MAX        65521
#define REAP_NS        (20 * NS_PER_MS)
#define NO_IRQ_POLL_NS NS_PER_MS

struct rx_buf {
	struct nic_buf nb;
	struct rx_buf *free;
	uint8_t *page;
};

struct vnet {
	struct nic nic;
	struct virtio_dev *v;
	struct virtqueue rx, tx;
	unsigned hdr_len;
	struct rx_buf *bufs, *free;
	unsigned nr_bufs;
	struct net_hdr *tx_hdrs; /* one a slot */
	/* the frame that is coming in */
	struct nic_buf *head, *tail;
	uint32_t bytes;
	unsigned left; /* buffers to come */
	bool csum_ok;
	bool tx_full; /* somebody was told -EAGAIN */
	bool dead;
	struct poller poller;
	struct timer wake;
};

static struct mem_tag net_tag = MEM_TAG("virtio-net");

static void net_die(struct vnet *n)
{
	if (n->dead)
		return;
	n->dead = true;
	n->nic.link_up = false;
	log_err("%s: the device misbehaves and is left", n->nic.name);
	n->v->transport->set_status(n->v, 0);
	if (n->nic.client)
		n->nic.client->link_changed(&n->nic);
}

/* ---- receiving ---- */

static void rx_fill(struct vnet *n)
{
	struct rx_buf *b;

	while ((b = n->free) && n->rx.nr_tokens < n->rx.size) {
		struct seg s = { dma_addr(b->page), PAGE_SIZE };

		if (vq_add(&n->rx, NULL, 0, &s, 1, b))
			return;
		n->free = b->free;
		n->nic.spare_bufs--;
	}
}

static void buf_back(struct vnet *n, struct rx_buf *b)
{
	b->free = n->free;
	n->free = b;
	n->nic.spare_bufs++;
}

static void vnet_buf_free(struct nic *nic, struct nic_buf *nb)
{
	buf_back(container_of(nic, struct vnet, nic), container_of(nb, struct rx_buf, nb));
}

static void frame_drop(struct vnet *n)
{
	struct nic_buf *b, *next;

	for (b = n->head; b; b = next) {
		next = b->next;
		vnet_buf_free(&n->nic, b);
	}
	n->head = NULL;
	n->left = 0;
}

static void frame_bad(struct vnet *n, const char *what, unsigned value)
{
	if (!n->nic.stats.rx_errors++)
		log_warn("%s: %s %u, dropped", n->nic.name, what, value);
	frame_drop(n);
}

/* The first buffer of a frame: what the device says of it.  False: nonsense. */
static bool frame_begin(struct vnet *n, struct nic_buf *b, uint32_t len)
{
	struct net_hdr h;

	n->head = NULL;
	if (len <= n->hdr_len) {
		vnet_buf_free(&n->nic, b);
		frame_bad(n, "a frame shorter than its header:", len);
		return false;
	}
	memcpy(&h, b->data, sizeof(h));
	n->left = virtio_has(n->v, F_MRG_RXBUF) ? h.nr_buffers : 1;
	n->csum_ok = h.flags & (HDR_NEEDS_CSUM | HDR_DATA_VALID);
	b->data += n->hdr_len;
	b->len = len - n->hdr_len;
	n->head = n->tail = b;
	n->bytes = b->len;
	if (!n->left || n->left > FRAME_BUFFERS) {
		frame_bad(n, "number of buffers of a frame:", n->left);
		return false;
	}
	return true;
}

static void rx_take(struct vnet *n, struct rx_buf *rb, uint32_t len)
{
	struct nic_buf *b = &rb->nb;

	b->next = NULL;
	b->data = rb->page;
	b->len = len;
	b->nic = &n->nic;
	if (!n->left) {
		if (!frame_begin(n, b, len))
			return;
	} else {
		n->tail->next = b;
		n->tail = b;
		n->bytes += len;
	}
	if (--n->left)
		return;
	n->nic.stats.rx_frames++;
	n->nic.stats.rx_bytes += n->bytes;
	b = n->head;
	n->head = NULL;
	if (n->nic.client) {
		n->nic.client->input(&n->nic, b, n->bytes, n->csum_ok);
	} else {
		n->nic.stats.rx_dropped++;
		n->head = b;
		frame_drop(n);
	}
}

/* ---- sending ---- */

static int vnet_send(struct nic *nic, const struct nic_packet *p)
{
	struct vnet *n = container_of(nic, struct vnet, nic);
	struct vring_desc *d;
	struct net_hdr *h;
	unsigned slot, i;

	if (n->dead)
		return -ENODEV;
	if (p->nr_segs > n->nic.max_segs || !p->nr_segs || !p->token)
		return -EINVAL;
	d = vq_begin(&n->tx, &slot);
	if (!d)
		goto full;
	h = &n->tx_hdrs[slot];
	*h = (struct net_hdr){ 0 };
	if (p->csum_start) {
		h->flags = HDR_NEEDS_CSUM;
		h->csum_start = p->csum_start;
		h->csum_offset = p->csum_offset;
	}
	if (p->gso_size) {
		h->gso_type = p->ipv6 ? GSO_TCPV6 : GSO_TCPV4;
		h->gso_size = p->gso_size;
		h->hdr_len = p->hdr_len;
	}
	vq_desc(&d[0], dma_addr(h), n->hdr_len, VRING_DESC_F_NEXT);
	for (i = 0; i < p->nr_segs; i++)
		vq_desc(&d[i + 1], p->segs[i].addr, p->segs[i].len, VRING_DESC_F_NEXT);
	d[p->nr_segs].flags = 0;
	/* The table's entries are linked in order when the ring uses it as it is. */
	for (i = 0; i < p->nr_segs; i++)
		d[i].next = i + 1;
	if (vq_commit(&n->tx, slot, p->nr_segs + 1, 0, p->token))
		goto full;
	n->nic.stats.tx_frames++;
	n->nic.stats.tx_bytes += p->bytes;
	return 0;
full:
	n->tx_full = true;
	return -EAGAIN;
}

static bool tx_reap(struct vnet *n)
{
	bool any = false;
	void *token;
	uint32_t len;

	if (!vq_has_news(&n->tx))
		return false;
	n->tx_full = false;
	while ((token = vq_take(&n->tx, &len))) {
		any = true;
		if (n->nic.client)
			n->nic.client->sent(&n->nic, token);
	}
	return any;
}

/* ---- the loop ---- */

static bool vnet_poll(struct poller *p)
{
	struct vnet *n = container_of(p, struct vnet, poller);
	bool any = false;
	struct rx_buf *b;
	uint32_t len;
	unsigned most;

	if (unlikely(n->dead))
		return false;
	if (n->tx.nr_tokens && vq_has_news(&n->tx)) {
		vq_disarm(&n->tx);
		any |= tx_reap(n);
	}
	if (vq_has_news(&n->rx)) {
		vq_disarm(&n->rx);
		/* A ring full at a time: others want to run as well. */
		for (most = n->rx.size; most && (b = vq_take(&n->rx, &len)); most--)
			rx_take(n, b, len);
		if (n->nic.client)
			n->nic.client->input_end(&n->nic);
		any = true;
	}
	if (unlikely(n->rx.broken || n->tx.broken)) {
		net_die(n);
		return true;
	}
	if (n->free && n->rx.nr_tokens < n->rx.size)
		rx_fill(n);
	if (vq_unkicked(&n->rx))
		vq_kick(&n->rx);
	if (vq_unkicked(&n->tx)) {
		vq_kick(&n->tx);
		any = true;
	}
	return any;
}

static bool vnet_arm(struct poller *p)
{
	struct vnet *n = container_of(p, struct vnet, poller);
	bool news = false;

	if (n->dead)
		return false;
	if (!n->rx.has_irq || (n->tx_full && !n->tx.has_irq)) {
		if (!n->wake.pending)
			timer_start(&n->wake, now_ns() + NO_IRQ_POLL_NS);
	} else if (n->tx.nr_tokens && !n->wake.pending) {
		timer_start(&n->wake, now_ns() + REAP_NS);
	}
	if (n->rx.has_irq)
		news = vq_arm(&n->rx);
	if (n->tx_full && n->tx.has_irq)
		news |= vq_arm(&n->tx);
	return news;
}

/* The loop turns for a timer and polls; nothing else is wanted. */
static void vnet_wake(struct timer *t __unused)
{
}

static void vnet_describe(struct nic *nic, struct strbuf *out)
{
	struct vnet *n = container_of(nic, struct vnet, nic);

	strbuf_printf(out, "%s%s%s%s%s", n->v->name, nic->tx_csum ? ", checksums" : "",
		nic->tx_tso4 || nic->tx_tso6 ? ", segmentation" : "",
		nic->rx_big ? ", large frames" : "", n->dead ? ", gone" : "");
}

static const struct nic_ops vnet_ops = {
	.send = vnet_send,
	.buf_free = vnet_buf_free,
	.describe = vnet_describe,
};

/* ---- coming and going ---- */

/* Three rings full, but no more than a sixteenth of what is free. */
static int make_bufs(struct vnet *n)
{
	struct mem_stats st;
	unsigned i, nr;

	mem_stats(&st);
	nr = (unsigned)MIN((uint64_t)3 * n->rx.size, st.free_bytes / 16 / PAGE_SIZE);
	nr = MAX(nr, 2u * FRAME_BUFFERS);
	n->bufs = mem_alloc(&net_tag, nr * sizeof(*n->bufs));
	if (!n->bufs)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		n->bufs[i].page = page_alloc(&net_tag, 0);
		if (!n->bufs[i].page)
			return -ENOMEM;
		n->nr_bufs = i + 1;
		buf_back(n, &n->bufs[i]);
	}
	return 0;
}

static int make_queues(struct vnet *n)
{
	int err;

	n->tx.max_descs = SEGS_MAX + 1;
	err = vq_init(&n->rx, n->v, QUEUE_RX, 0, RING);
	if (!err)
		err = vq_init(&n->tx, n->v, QUEUE_TX, 0, RING);
	if (!err && vq_max_descs(&n->tx) < 3)
		err = -EINVAL;
	if (err)
		return err;
	n->tx_hdrs = page_alloc(&net_tag, page_order(n->tx.size * sizeof(*n->tx_hdrs)));
	return n->tx_hdrs ? make_bufs(n) : -ENOMEM;
}

static void free_queues(struct vnet *n)
{
	while (n->nr_bufs)
		page_free(&net_tag, n->bufs[--n->nr_bufs].page, 0);
	mem_free(n->bufs);
	if (n->tx_hdrs)
		page_free(&net_tag, n->tx_hdrs, page_order(n->tx.size * sizeof(*n->tx_hdrs)));
	vq_free(&n->rx);
	vq_free(&n->tx);
}

static void read_config(struct vnet *n)
{
	struct virtio_dev *v = n->v;
	uint16_t mtu = 0, status = STATUS_UP;

	for (unsigned i = 0; virtio_has(v, F_MAC) && i < sizeof(n->nic.mac); i++)
		virtio_config(v, CONFIG_MAC + i, &n->nic.mac[i], 1);
	/* No address, or one of a group: one of our own, by where the device is. */
	if (!virtio_has(v, F_MAC) || n->nic.mac[0] & 1) {
		struct rng rng;
		uint64_t x = now_ns();

		for (unsigned i = 0; v->name[i]; i++)
			x = x * 31 + (unsigned char)v->name[i];
		rng_seed(&rng, x);
		x = rng_u64(&rng);
		memcpy(n->nic.mac, &x, sizeof(n->nic.mac));
		n->nic.mac[0] = (uint8_t)((n->nic.mac[0] & 0xfc) | 2);
	}
	if (virtio_has(v, F_MTU))
		virtio_config(v, CONFIG_MTU, &mtu, sizeof(mtu));
	if (virtio_has(v, F_STATUS))
		virtio_config(v, CONFIG_STATUS, &status, sizeof(status));
	n->nic.mtu = mtu >= MTU_MIN && mtu <= MTU_MAX ? mtu : MTU_DEFAULT;
	n->nic.link_up = status & STATUS_UP;
}

static int vnet_attach(struct virtio_dev *v)
{
	static const uint64_t plain = VIRTIO_BIT(F_CSUM) | VIRTIO_BIT(F_GUEST_CSUM) |
				      VIRTIO_BIT(F_MAC) | VIRTIO_BIT(F_STATUS) |
				      VIRTIO_BIT(F_HOST_TSO4) | VIRTIO_BIT(F_HOST_TSO6) |
				      VIRTIO_BIT(F_MTU) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
				      VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	static const uint64_t big =
		VIRTIO_BIT(F_MRG_RXBUF) | VIRTIO_BIT(F_GUEST_TSO4) | VIRTIO_BIT(F_GUEST_TSO6);
	struct vnet *n = v->softc;
	uint64_t wanted = plain;
	int err;

	n->v = v;
	err = virtio_reset(v);
	if (err)
		return err;
	/* Frames over a page come only in several buffers. */
	if (v->transport->get_features(v) & VIRTIO_BIT(F_MRG_RXBUF))
		wanted |= big;
	err = virtio_start(v, wanted);
	n->hdr_len = v->legacy && !virtio_has(v, F_MRG_RXBUF) ? 10 : 12;
	if (!err)
		err = make_queues(n);
	if (err) {
		if (!virtio_quiesce(v))
			free_queues(n);
		return err;
	}
	read_config(n);
	n->nic.tx_csum = virtio_has(v, F_CSUM);
	n->nic.tx_tso4 = n->nic.tx_csum && virtio_has(v, F_HOST_TSO4);
	n->nic.tx_tso6 = n->nic.tx_csum && virtio_has(v, F_HOST_TSO6);
	n->nic.rx_big = virtio_has(v, F_MRG_RXBUF) && virtio_has(v, F_GUEST_TSO4);
	if (!virtio_has(v, F_MRG_RXBUF))
		n->nic.mtu = MIN(n->nic.mtu, (uint16_t)MTU_DEFAULT);
	n->nic.max_segs = MIN(vq_max_descs(&n->tx) - 1, (unsigned)SEGS_MAX);
	n->nic.ops = &vnet_ops;
	rx_fill(n);
	n->wake.fn = vnet_wake;
	n->poller.poll = vnet_poll;
	n->poller.arm = vnet_arm;
	virtio_driver_ok(v);
	poller_add(&n->poller);
	nic_register(&n->nic);
	log_info("%s: %s, %02x:%02x:%02x:%02x:%02x:%02x%s%s%s, %u buffers", n->nic.name, v->name,
		n->nic.mac[0], n->nic.mac[1], n->nic.mac[2], n->nic.mac[3], n->nic.mac[4],
		n->nic.mac[5], n->nic.tx_csum ? ", checksums" : "",
		n->nic.tx_tso4 ? ", segmentation" : "", n->nic.rx_big ? ", large frames" : "",
		n->nr_bufs);
	return 0;
}

static void vnet_shutdown(struct virtio_dev *v)
{
	struct vnet *n = v->softc;

	poller_del(&n->poller);
	timer_stop(&n->wake);
	n->dead = true;
	virtio_quiesce(v);
}

const struct virtio_driver virtio_net_driver = {
	.name = "virtio-net",
	.device_id = VIRTIO_ID_NET,
	.softc_size = sizeof(struct vnet),
	.attach = vnet_attach,
	.shutdown = vnet_shutdown,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_virtqueue - split rings from both ends: here the test itself is the device, and reads what
 * the driver side wrote as virtio 1.2, 2.7 says a device does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "drivers/virtio/vq.h"
#include "kernel/api/random.h"
#include "tests/host/host.h"

#define INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT    VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)

static struct device {
	struct virtio_dev v;
	unsigned max, nr_setups, nr_notifies;
	int setup_err;
	uint16_t seen, used; /* the device's own cursors */
} dev;

static unsigned t_queue_max(struct virtio_dev *v, unsigned q)
{
	return q ? 0 : dev.max;
}

static int t_queue_setup(struct virtio_dev *v, struct virtqueue *vq)
{
	dev.nr_setups++;
	dev.seen = dev.used = 0;
	return dev.setup_err;
}

static void t_notify(struct virtqueue *vq)
{
	dev.nr_notifies++;
}

static const struct virtio_transport transport = {
	.queue_max = t_queue_max,
	.queue_setup = t_queue_setup,
	.notify = t_notify,
};

static struct virtqueue vq;

static void begin(uint64_t features, unsigned max)
{
	host_reset();
	dev = (struct device){ .v = { .transport = &transport, .features = features }, .max = max };
	vq = (struct virtqueue){ .max_descs = 8 };
}

static int setup(void **state)
{
	begin(INDIRECT | EVENT, 64);
	return 0;
}

static int teardown(void **state)
{
	vq_free(&vq);
	assert_true(host_mem_check());
	host_reset();
	return 0;
}

/* ---- the device's side ---- */

static unsigned dev_pending(void)
{
	return (uint16_t)(vq.avail->idx - dev.seen);
}

static uint16_t dev_pop(void)
{
	assert_true(dev_pending() > 0);
	return vq.avail->ring[dev.seen++ & (vq.size - 1)];
}

/* The descriptors of a request in order; how many. */
static unsigned dev_descs(uint16_t head, struct vring_desc *out)
{
	const struct vring_desc *table = vq.desc;
	unsigned at = head, n = 0, nr = vq.size;

	assert_in_range(head, 0, vq.size - 1);
	if (table[head].flags & VRING_DESC_F_INDIRECT) {
		assert_int_equal(table[head].flags, VRING_DESC_F_INDIRECT);
		nr = table[head].len / sizeof(*table);
		assert_int_equal(table[head].len % sizeof(*table), 0);
		table = dma_ptr(table[head].addr);
		at = 0;
	}
	for (;; at = table[at].next) {
		assert_true(at < nr && n < 8);
		out[n++] = table[at];
		if (!(table[at].flags & VRING_DESC_F_NEXT))
			return n;
	}
}

static void dev_push(uint32_t id, uint32_t len)
{
	vq.used->ring[dev.used & (vq.size - 1)] = (struct vring_used_elem){ id, len };
	vq.used->idx = ++dev.used;
}

/* ---- making ---- */

static void test_sizes(void **state)
{
	static const struct {
		unsigned max, ask, size;
	} t[] = { { 1, 0, 1 }, { 2, 0, 2 }, { 100, 0, 64 }, { 256, 0, 256 }, { 1024, 0, 256 },
		{ 1024, 512, 512 }, { 64, 512, 64 }, { 64, 33, 32 }, { UINT32_MAX, 0, 256 } };

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		begin(INDIRECT | EVENT, t[i].max);
		assert_int_equal(vq_init(&vq, &dev.v, 0, 0, t[i].ask), 0);
		assert_int_equal(vq.size, t[i].size);
		assert_int_equal(vq.nr_free, t[i].size);
		vq_free(&vq);
		assert_true(host_mem_check());
	}
	begin(INDIRECT | EVENT, 0);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), -ENODEV);
	assert_int_equal(vq_init(&vq, &dev.v, 1, 0, 0), -ENODEV);
}

static void test_init_failures(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		host_fail_alloc(n);
		if (!vq_init(&vq, &dev.v, 0, 0, 0))
			break;
		assert_true(host_alloc_failed());
		assert_true(host_mem_check());
	}
	assert_int_equal(n, 4);
	host_fail_alloc(0);
	vq_free(&vq);
	dev.setup_err = -EBUSY;
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), -EBUSY);
	vq_free(&vq); /* twice does no harm */
}

/* ---- what the device sees ---- */

static void test_layout(void **state)
{
	static const uint64_t modes[] = { 0, INDIRECT };
	struct seg out[2] = { { 0x1000, 16 }, { 0x2000, 512 } },
		   in[2] = { { 0x3000, 4096 }, { 0x4000, 1 } };
	struct vring_desc d[8];
	uint32_t len;
	int token;

	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		begin(modes[m], 8);
		assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
		assert_int_equal(vq_max_descs(&vq), 8);
		assert_int_equal(vq_add(&vq, out, 2, in, 2, &token), 0);
		assert_int_equal(dev_pending(), 1);
		assert_int_equal(dev_descs(dev_pop(), d), 4);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(d[i].addr, 0x1000 * (i + 1));
			assert_int_equal(d[i].flags & VRING_DESC_F_WRITE, i < 2 ? 0 : 2);
		}
		assert_int_equal(d[1].len, 512);
		assert_int_equal(d[3].len, 1);
		assert_null(vq_take(&vq, &len));
		dev_push(vq.avail->ring[0], 4097); /* all it was offered, not more */
		assert_ptr_equal(vq_take(&vq, &len), &token);
		assert_int_equal(len, 4097);
		assert_null(vq_take(&vq, &len));
		assert_int_equal(vq.nr_free, 8);
		vq_free(&vq);
	}
}

/* Without indirect descriptors a request takes as many as it has. */
static void test_full(void **state)
{
	struct seg s[8] = { { 0x1000, 512 }, { 0x2000, 512 }, { 0x3000, 512 } };
	int token[9];
	uint32_t len;
	unsigned slot;

	begin(0, 8);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	assert_int_equal(vq_add(&vq, s, 3, NULL, 0, &token[0]), 0);
	assert_int_equal(vq_add(&vq, s, 3, NULL, 0, &token[1]), 0);
	assert_int_equal(vq_add(&vq, s, 3, NULL, 0, &token[2]), -EAGAIN); /* two are left */
	assert_int_equal(vq.nr_tokens, 2);
	assert_int_equal(vq_add(&vq, s, 2, NULL, 0, &token[2]), 0);
	assert_null(vq_begin(&vq, &slot));
	dev_pop();
	dev_push(dev_pop(), 0);
	assert_ptr_equal(vq_take(&vq, &len), &token[1]);
	assert_int_equal(vq_add(&vq, s, 3, NULL, 0, &token[1]), 0);
	vq_free(&vq);

	begin(INDIRECT, 4);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vq_add(&vq, s, 3, NULL, 0, &token[i]), 0);
	assert_int_equal(vq_add(&vq, s, 1, NULL, 0, &token[4]), -EAGAIN);
}

/* Any order of completion, over the wrap of all indexes; the memory of each request is found again
 * in what the device reads. */
static void stream(uint64_t features, unsigned size, uint64_t seed)
{
	uint8_t tokens[64];
	bool busy[64] = { false };
	uint16_t heads[64];
	unsigned whose[64], nr_heads = 0, done = 0;
	struct vring_desc d[8];
	struct rng r;
	uint32_t len;

	rng_seed(&r, seed);
	begin(features, size);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	while (done < 70000) {
		for (unsigned k = (unsigned)rng_below(&r, 8); k--;) {
			unsigned i = (unsigned)rng_below(&r, 64),
				 nr = 1 + (unsigned)rng_below(&r, 4);
			struct seg s[4];

			for (unsigned j = 0; j < nr; j++)
				s[j] = (struct seg){ 0x10000 * (i + 1) + j, 1 + i };
			if (busy[i] || vq_add(&vq, s, nr / 2, s + nr / 2, nr - nr / 2, &tokens[i]))
				continue;
			busy[i] = true;
		}
		vq_kick(&vq);
		while (dev_pending()) {
			uint16_t head = dev_pop();
			unsigned nr = dev_descs(head, d);

			whose[nr_heads] = (unsigned)(d[0].addr / 0x10000 - 1);
			heads[nr_heads++] = head;
			for (unsigned j = 0; j < nr; j++)
				assert_int_equal(d[j].addr, d[0].addr + j);
		}
		for (unsigned k = (unsigned)rng_below(&r, nr_heads + 1); k--;) {
			unsigned i = (unsigned)rng_below(&r, nr_heads);

			dev_push(heads[i], whose[i]);
			heads[i] = heads[--nr_heads];
			whose[i] = whose[nr_heads];
		}
		for (uint8_t *t; (t = vq_take(&vq, &len)); done++) {
			assert_int_equal(len, t - tokens);
			assert_true(busy[t - tokens]);
			busy[t - tokens] = false;
		}
		assert_false(vq.broken);
	}
	vq_free(&vq);
	assert_true(host_mem_check());
}

static void test_stream(void **state)
{
	stream(INDIRECT | EVENT, 32, 1);
	stream(INDIRECT, 8, 2);
	stream(EVENT, 32, 3);
	stream(0, 4, 4);
	stream(INDIRECT | EVENT, 1, 5);
}

/* ---- a device that lies ---- */

static uint8_t tokens[4];

/* Three requests are with the device, a fourth came back. */
static void three_away(uint64_t features)
{
	struct seg s = { 0x1000, 512 };
	uint32_t len;

	begin(features, 8);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vq_add(&vq, NULL, 0, &s, 1, &tokens[i]), 0);
	dev_push(dev_pop(), 512);
	assert_ptr_equal(vq_take(&vq, &len), &tokens[0]);
}

static void lie(const char *words)
{
	unsigned seen = 0, slot;
	uint32_t len;
	uint8_t *t;

	assert_null(vq_take(&vq, &len));
	assert_true(vq.broken);
	assert_true(host_log_has(words));
	/* No more from it, whatever it says, and nothing to it. */
	dev_push(vq.avail->ring[1], 512);
	assert_null(vq_take(&vq, &len));
	assert_null(vq_begin(&vq, &slot));
	dev.nr_notifies = 0;
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 0);
	assert_false(vq_arm(&vq));
	/* Each request it still has is given back once. */
	while ((t = vq_drop(&vq))) {
		assert_false(seen >> (t - tokens) & 1);
		seen |= 1u << (t - tokens);
	}
	assert_int_equal(seen, 14);
	/* After a reset all is well. */
	assert_int_equal(vq_restart(&vq), 0);
	assert_int_equal(dev.nr_setups, 2);
	for (unsigned i = 0; i < 20; i++) {
		struct seg s = { 0x1000, 512 };

		assert_int_equal(vq_add(&vq, &s, 1, NULL, 0, &tokens[0]), 0);
		dev_push(dev_pop(), 0);
		assert_ptr_equal(vq_take(&vq, &len), &tokens[0]);
	}
	vq_free(&vq);
}

static void test_lies(void **state)
{
	static const uint64_t modes[] = { 0, EVENT, INDIRECT, INDIRECT | EVENT };
	static const uint32_t ids[] = { 8, 9, 65536, UINT32_MAX };

	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
			three_away(modes[m]);
			dev_push(ids[i], 0);
			lie("a request we did not make is said to be done: ");
		}
		three_away(modes[m]);
		dev_push(vq.avail->ring[0], 512); /* again */
		lie("a request we did not make is said to be done: 0");

		three_away(modes[m]);
		dev_push(7, 512); /* nobody's */
		lie("a request we did not make is said to be done: 7");

		three_away(modes[m]);
		dev_push(vq.avail->ring[1], 513);
		lie("more bytes written than offered: 513");

		three_away(modes[m]);
		dev.used += 4; /* one more than it has */
		vq.used->idx = dev.used;
		lie("the used index jumped to 5");

		three_away(modes[m]);
		dev.used--;
		vq.used->idx = dev.used;
		lie("the used index jumped to 0");
	}
}

/* The second of two entries is a lie: the first is still good. */
static void test_lie_after_truth(void **state)
{
	uint32_t len;

	three_away(INDIRECT | EVENT);
	dev_push(vq.avail->ring[1], 1);
	dev_push(vq.avail->ring[1], 1);
	assert_ptr_equal(vq_take(&vq, &len), &tokens[1]);
	assert_null(vq_take(&vq, &len));
	assert_true(vq.broken);
}

/* The device may write all over the rings: what we remember is not there. */
static void test_scribble(void **state)
{
	struct seg s = { 0x1000, 512 };
	struct rng r;
	uint32_t len;

	rng_seed(&r, 7);
	for (unsigned round = 0; round < 300; round++) {
		unsigned back = 0;

		begin(round & 1 ? INDIRECT | EVENT : EVENT, 8);
		assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(vq_add(&vq, NULL, 0, &s, 1, &tokens[i]), 0);
		for (unsigned k = 0; k < 50; k++) {
			uint8_t *ring = (uint8_t *)vq.desc;
			unsigned bytes = vring_size(vq.size, 4096);
			unsigned used = (unsigned)((uint8_t *)vq.used - ring);

			for (unsigned n = 0; n < 3; n++)
				ring[rng_below(&r, bytes)] = (uint8_t)rng_u64(&r);
			ring[used + rng_below(&r, bytes - used)] = (uint8_t)rng_below(&r, 8);
			while (vq_take(&vq, &len))
				back++;
			if (!vq.broken && !vq_add(&vq, NULL, 0, &s, 1, &tokens[0]))
				back--;
			vq_kick(&vq);
			vq_arm(&vq);
		}
		while (vq_drop(&vq))
			back++;
		assert_int_equal(back, 4);
		vq_free(&vq);
	}
}

/* ---- who wakes whom ---- */

static void add(void)
{
	struct seg s = { 0x1000, 512 };

	assert_int_equal(vq_add(&vq, &s, 1, NULL, 0, &tokens[0]), 0);
}

static void test_kick_event(void **state)
{
	uint16_t *wants;

	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	wants = (uint16_t *)&vq.used->ring[vq.size];
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 0); /* nothing was added */
	add();
	add();
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 1); /* once for all three */
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 1);
	add();
	vq_kick(&vq); /* it has not asked again: it is awake */
	assert_int_equal(dev.nr_notifies, 1);
	*wants = 4;
	add();
	assert_true(vq_unkicked(&vq));
	vq_kick(&vq);
	assert_false(vq_unkicked(&vq));
	assert_int_equal(dev.nr_notifies, 2);
	*wants = 7;
	add();
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 2);
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 3);
}

static void test_kick_flag(void **state)
{
	begin(INDIRECT, 16);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 1);
	vq.used->flags = VRING_USED_F_NO_NOTIFY;
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 1);
	vq.used->flags = 0;
	add();
	vq_kick(&vq);
	assert_int_equal(dev.nr_notifies, 2);
}

static void test_arm(void **state)
{
	uint32_t len;

	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		add();
		assert_false(vq_arm(&vq));
		assert_int_equal(vq.avail->ring[vq.size], i); /* the next one interrupts */
		dev_push(dev_pop(), 0);
		assert_true(vq_arm(&vq)); /* there already */
		assert_non_null(vq_take(&vq, &len));
	}
	vq_free(&vq);

	begin(INDIRECT, 16);
	assert_int_equal(vq_init(&vq, &dev.v, 0, 0, 0), 0);
	assert_int_equal(vq.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	add();
	assert_false(vq_arm(&vq));
	assert_int_equal(vq.avail->flags, 0);
	vq_disarm(&vq);
	assert_int_equal(vq.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	dev_push(dev_pop(), 0);
	assert_true(vq_arm(&vq));
	assert_int_equal(vq.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	assert_non_null(vq_take(&vq, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_sizes),
		T(test_init_failures),
		T(test_layout),
		T(test_full),
		T(test_stream),
		T(test_lies),
		T(test_lie_after_truth),
		T(test_scribble),
		T(test_kick_event),
		T(test_kick_flag),
		T(test_arm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

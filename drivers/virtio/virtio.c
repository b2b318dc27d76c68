/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio - what all virtio devices share whatever they hang on: the way to life and back (virtio
 * 1.2, 3.1.1), configuration that holds still, and the choice of the driver.
 */
#include "drivers/virtio/virtio.h"
#include "drivers/driver.h"
#include "drivers/virtio/virtioreg.h"
#include "kernel/api/errno.h"
#include "kernel/api/fiber.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"

#define RESET_WAIT_NS (20 * NS_PER_S)
#define RESET_POLL_NS NS_PER_MS
#define CONFIG_TRIES  16

/* ACCESS_PLATFORM: we give physical addresses, which is what the platform means by untranslated. */
#define ALWAYS_WANTED                                                            \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) | \
		VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC))

static struct mem_tag virtio_tag = MEM_TAG("virtio");

static void status_add(struct virtio_dev *v, uint8_t bit)
{
	v->transport->set_status(v, v->transport->get_status(v) | bit);
}

int virtio_start(struct virtio_dev *v, uint64_t wanted)
{
	uint64_t offered;

	status_add(v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	status_add(v, VIRTIO_CONFIG_S_DRIVER);
	offered = v->transport->get_features(v);
	if (v->legacy)
		offered &= UINT32_MAX;
	else if (!(offered & VIRTIO_BIT(VIRTIO_F_VERSION_1))) {
		log_warn("%s: does not offer virtio 1.x, left out", v->name);
		return -EOPNOTSUPP;
	}
	v->features = offered & (wanted | ALWAYS_WANTED);
	v->transport->set_features(v, v->features);
	if (v->legacy)
		return 0;
	status_add(v, VIRTIO_CONFIG_S_FEATURES_OK);
	if (v->transport->get_status(v) & VIRTIO_CONFIG_S_FEATURES_OK)
		return 0;
	log_warn("%s: the device refused features %#llx of its %#llx", v->name,
		(unsigned long long)v->features, (unsigned long long)offered);
	return -EIO;
}

void virtio_driver_ok(struct virtio_dev *v)
{
	status_add(v, VIRTIO_CONFIG_S_DRIVER_OK);
}

int virtio_reset(struct virtio_dev *v)
{
	uint64_t until = now_ns() + RESET_WAIT_NS;

	v->transport->set_status(v, 0);
	while (v->transport->get_status(v)) {
		if (now_ns() >= until) {
			log_err("%s: does not confirm reset", v->name);
			return -ETIMEDOUT;
		}
		fiber_sleep(RESET_POLL_NS);
	}
	return 0;
}

int virtio_quiesce(struct virtio_dev *v)
{
	int err = virtio_reset(v);

	if (err && v->transport->stop_dma && !v->transport->stop_dma(v)) {
		log_warn("%s: cut off from memory instead", v->name);
		err = 0;
	}
	return err;
}

void virtio_config(struct virtio_dev *v, unsigned off, void *buf, unsigned len)
{
	unsigned i, have = off < v->config_len ? MIN(len, v->config_len - off) : 0;
	uint8_t again[64], before;

	ASSERT(len <= sizeof(again));
	memset(buf, 0, len);
	/* A field the device has only half of is no field. */
	if (have < len || v->broken)
		return;
	for (i = 0; i < CONFIG_TRIES; i++) {
		before = v->transport->config_generation(v);
		v->transport->config_read(v, off, buf, len);
		if (v->legacy) { /* has no generation: it holds still if it reads the same twice */
			v->transport->config_read(v, off, again, len);
			if (!memcmp(buf, again, len))
				return;
		} else if (v->transport->config_generation(v) == before) {
			return;
		}
	}
	log_err("%s: its configuration never holds still", v->name);
	memset(buf, 0, len);
	v->broken = true;
}

int virtio_attach(struct virtio_dev *v)
{
	const struct virtio_driver *const *d;
	int err;

	for (d = all_virtio_drivers; *d && (*d)->device_id != v->device_id; d++)
		;
	if (!*d) {
		log_info("%s: no driver for virtio device type %u", v->name, v->device_id);
		return -ENODEV;
	}
	v->softc = mem_alloc(&virtio_tag, (*d)->softc_size);
	if (!v->softc)
		return -ENOMEM;
	v->driver = *d;
	err = v->driver->attach(v);
	if (!err)
		return 0;
	log_warn("%s: %s: left out: %s", v->name, v->driver->name, err_text(err));
	mem_free(v->softc);
	v->softc = NULL;
	v->driver = NULL;
	return err;
}

void virtio_detach(struct virtio_dev *v)
{
	if (v->driver && v->driver->shutdown)
		v->driver->shutdown(v);
}

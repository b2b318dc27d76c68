/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * field - reads one field of device configuration from registers, in accesses as wide as the field
 * (virtio 1.2, 4.1.3.1): 64 bits as two halves, texts byte by byte.
 */
#ifndef DRIVERS_VIRTIO_FIELD_H
#define DRIVERS_VIRTIO_FIELD_H

#include "kernel/api/dma.h"
#include "kernel/api/string.h"

static inline void field_read(void *buf, const volatile uint8_t *at, unsigned len)
{
	bool aligned = !((uintptr_t)at & (len > 4 ? 3 : len - 1));
	unsigned step = !aligned ? 1 : len == 2 ? 2 : len == 4 || len == 8 ? 4 : 1, i;
	uint16_t w;
	uint32_t l;

	for (i = 0; i < len; i += step) {
		if (step == 4) {
			l = mmio_read32(at + i);
			memcpy((char *)buf + i, &l, 4);
		} else if (step == 2) {
			w = mmio_read16(at + i);
			memcpy((char *)buf + i, &w, 2);
		} else {
			((uint8_t *)buf)[i] = mmio_read8(at + i);
		}
	}
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* model_virtio_regs - between model_virtio.c and model_virtio_regs.c. */
#ifndef TESTS_HOST_MODEL_VIRTIO_REGS_H
#define TESTS_HOST_MODEL_VIRTIO_REGS_H

#include "tests/host/model_virtio.h"

uint8_t model_get_status(struct model_virtio *m);
void model_set_status(struct model_virtio *m, uint8_t status);
uint8_t model_generation(struct model_virtio *m);
void model_notify(struct model_virtio *m, unsigned q);
void model_poke(struct model_virtio *m); /* has a look at its rings soon */

/* Raises the interrupt of a queue whatever way it has; false: it has none. */
bool model_regs_irq(struct model_virtio *m, unsigned q);

#endif

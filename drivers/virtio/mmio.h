/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmio - where virtio devices without a bus are: boot says what ACPI and the command line name,
 * attach.c brings them up.  All on core 0.
 */
#ifndef DRIVERS_VIRTIO_MMIO_H
#define DRIVERS_VIRTIO_MMIO_H

#include "kernel/api/base.h"

/* A window of registers and its interrupt; before drivers_attach().  One that makes no sense or was
 * named before is left out, with a log line where it matters. */
void virtio_mmio_add(uint64_t phys, uint64_t size, unsigned gsi);
may_block void virtio_mmio_attach(void); /* highest address first: QEMU's order of devices */
may_block void virtio_mmio_shutdown(void);
void virtio_mmio_reset(void); /* as before virtio_mmio_add(): for tests */

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * driver - how drivers meet the machine.  Attach runs at boot on core 0 on a fiber and may block;
 * a device that misbehaves is logged, left out, and boot goes on.
 */
#ifndef DRIVERS_DRIVER_H
#define DRIVERS_DRIVER_H

#include "kernel/api/base.h"

struct pci_dev;
struct virtio_dev;

struct pci_id {
	uint16_t vendor, device; /* 0xffff: any */
	uint32_t class_code;     /* base << 16 | sub << 8 | interface, compared under class_mask */
	uint32_t class_mask;
};

struct pci_driver {
	const char *name;
	const struct pci_id *ids; /* ends with vendor 0 */
	size_t softc_size;        /* d->softc, zeroed, kept if attach succeeds */
	may_block int (*attach)(struct pci_dev *d);
	/* Optional: the machine is about to stop or restart; leave the device quiet. */
	may_block void (*shutdown)(struct pci_dev *d);
};

struct virtio_driver {
	const char *name;
	uint16_t device_id; /* 2 block, 3 console, 1 net */
	size_t softc_size;
	may_block int (*attach)(struct virtio_dev *v);
	may_block void (*shutdown)(struct virtio_dev *v);
};

/* drivers/drivers.c: every driver there is, NULL at the end. */
extern const struct pci_driver *const all_pci_drivers[];
extern const struct virtio_driver *const all_virtio_drivers[];

/* Finds and attaches everything: PCI in bus order, then virtio-mmio. */
may_block void drivers_attach(void);
may_block void drivers_shutdown(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* drivers - the cast list.  A new driver is one file and one line here. */
#include "drivers/driver.h"

extern const struct pci_driver nvme_driver, virtio_pci_driver;
extern const struct virtio_driver virtio_blk_driver, virtio_console_driver, virtio_net_driver;

const struct pci_driver *const all_pci_drivers[] = {
	&nvme_driver,
	&virtio_pci_driver,
	NULL,
};

const struct virtio_driver *const all_virtio_drivers[] = {
	&virtio_blk_driver,
	&virtio_console_driver,
	&virtio_net_driver,
	NULL,
};

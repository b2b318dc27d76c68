/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach - brings devices and drivers together at boot, in an order that is the same at every boot,
 * and leaves them quiet at the end.
 */
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/virtio/mmio.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"

static struct mem_tag attach_tag = MEM_TAG("drivers");

static bool id_matches(const struct pci_id *id, const struct pci_dev *d)
{
	return (id->vendor == 0xffff || id->vendor == d->vendor) &&
	       (id->device == 0xffff || id->device == d->device) &&
	       (d->class_code & id->class_mask) == (id->class_code & id->class_mask);
}

static bool driver_matches(const struct pci_driver *drv, const struct pci_dev *d)
{
	const struct pci_id *id;

	for (id = drv->ids; id->vendor; id++)
		if (id_matches(id, d))
			return true;
	return false;
}

/* -ENODEV: the driver looked closer and it is not one of its own; it has said so if it matters. */
static void pci_attach(struct pci_dev *d, const struct pci_driver *drv)
{
	int err;

	d->softc = mem_alloc(&attach_tag, drv->softc_size);
	if (!d->softc) {
		log_err("%s: %s: no memory", d->name, drv->name);
		return;
	}
	d->driver = drv;
	err = drv->attach(d);
	if (!err)
		return;
	if (err != -ENODEV)
		log_warn("%s: %s: left out: %s", d->name, drv->name, err_text(err));
	mem_free(d->softc);
	d->softc = NULL;
	d->driver = NULL;
}

void drivers_attach(void)
{
	const struct pci_driver *const *drv;
	struct pci_dev *d;

	pci_enumerate();
	for (d = pci_next(NULL); d; d = pci_next(d)) {
		for (drv = all_pci_drivers; *drv && !driver_matches(*drv, d); drv++)
			;
		if (*drv)
			pci_attach(d, *drv);
	}
	virtio_mmio_attach();
}

void drivers_shutdown(void)
{
	struct pci_dev *d;

	for (d = pci_next(NULL); d; d = pci_next(d))
		if (d->driver && d->driver->shutdown)
			d->driver->shutdown(d);
	virtio_mmio_shutdown();
}

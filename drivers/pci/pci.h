/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci - the bus as drivers see it: configuration space, BARs, MSI-X.  PCI Express Base 5.0 ch. 7,
 * PCI Local Bus 3.0 ch. 6.  Unit tests put a model behind pci_read/pci_write.
 */
#ifndef DRIVERS_PCI_PCI_H
#define DRIVERS_PCI_PCI_H

#include "kernel/api/base.h"
#include "kernel/api/dma.h"
#include "kernel/api/list.h"

struct pci_driver;

struct pci_dev {
	struct list node;
	uint8_t bus, slot, func;
	uint16_t vendor, device;
	uint32_t class_code; /* base << 16 | sub << 8 | interface */
	char name[16];       /* "00:04.0" */
	const struct pci_driver *driver;
	void *softc;
	volatile uint32_t *msix_table;
	unsigned nr_msix; /* entries; 0: none */
	unsigned msix_cap;
};

uint8_t pci_read8(const struct pci_dev *d, unsigned reg);
uint16_t pci_read16(const struct pci_dev *d, unsigned reg);
uint32_t pci_read32(const struct pci_dev *d, unsigned reg);
void pci_write8(const struct pci_dev *d, unsigned reg, uint8_t v);
void pci_write16(const struct pci_dev *d, unsigned reg, uint16_t v);
void pci_write32(const struct pci_dev *d, unsigned reg, uint32_t v);

/* Offset of the first capability id after `after` (0: from the start), 0 if none.  Survives loops
 * and pointers into nowhere. */
unsigned pci_find_cap(const struct pci_dev *d, unsigned id, unsigned after);

/* Maps a memory BAR (32 or 64-bit; assigns an address if firmware did not).  *size gets its length.
 * NULL: none, an I/O BAR, or nonsense. */
volatile void *pci_map_bar(struct pci_dev *d, unsigned bar, uint64_t *size);

void pci_enable(struct pci_dev *d);  /* memory decoding and bus mastering on, INTx off */
void pci_disable(struct pci_dev *d); /* bus mastering off */

/* Turns MSI-X on with all entries masked.  Number of entries, or 0. */
unsigned pci_msix_enable(struct pci_dev *d);
/* Points entry i at irq and unmasks it.  0 or -EINVAL. */
int pci_msix_set(struct pci_dev *d, unsigned i, const struct irq *irq);

/* Where configuration space is: ECAM windows from MCFG, else ports 0xCF8/0xCFC.  Called by boot. */
void pci_add_ecam(uint64_t phys, uint16_t segment, uint8_t first_bus, uint8_t last_bus);
/* Where BARs that firmware left at 0 may be put.  Called by boot, optional. */
void pci_set_mmio_window(uint64_t base, uint64_t size);
void pci_enumerate(void); /* once, on core 0 */
/* The device no longer answers on the bus (pulled, or dead): it cannot reach memory either. */
bool pci_is_gone(const struct pci_dev *d);
void pci_reset(void); /* as before pci_enumerate() and pci_add_ecam(): for tests */
struct pci_dev *pci_next(struct pci_dev *prev); /* in bus order; NULL begins and ends */

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci_access - configuration space by ports 0xCF8/0xCFC.  The only part of PCI that knows the
 * processor; tests/host/model_pci.c stands in for it on the host.
 */
#ifndef DRIVERS_PCI_PCI_ACCESS_H
#define DRIVERS_PCI_PCI_ACCESS_H

#include "kernel/api/base.h"

/* Whether this machine has the ports at all (microvm without PCI has not). */
bool pci_ports_present(void);

/* bdf = bus << 8 | slot << 3 | func; reg < 256, bytes 1, 2 or 4, naturally aligned. */
uint32_t pci_ports_read(unsigned bdf, unsigned reg, unsigned bytes);
void pci_ports_write(unsigned bdf, unsigned reg, unsigned bytes, uint32_t v);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_pci - a configuration space to find devices in, behind ports 0xCF8/0xCFC or an ECAM window,
 * with as much sense in it as a test likes.  Begins empty after model_pci_reset().
 */
#ifndef TESTS_HOST_MODEL_PCI_H
#define TESTS_HOST_MODEL_PCI_H

#include "kernel/api/base.h"

#define MODEL_BDF(bus, slot, func) ((bus) << 8 | (slot) << 3 | (func))

struct model_pci_fn {
	unsigned bdf;
	uint8_t cfg[4096];
	uint64_t bar_size[6]; /* of a memory BAR; a 64-bit one has type bits in cfg and uses two */
	bool gone;            /* reads as all ones */
	unsigned sized_on;    /* times a BAR was sized while decoding was on */
	/* Optional: what a read of one byte gives instead of cfg. */
	uint8_t (*read)(struct model_pci_fn *f, unsigned reg);
};

/* No functions; ports: whether the machine has them.  Also resets drivers/pci. */
void model_pci_reset(bool ports);
/* A function with vendor, device and class; the rest is zero. */
struct model_pci_fn *model_pci_add(unsigned bdf, uint16_t vendor, uint16_t device, uint32_t class);
/* The same space in a window of registers, for pci_add_ecam(). */
void model_pci_ecam(uint64_t phys);
/* Declares a memory BAR; is_64 takes the next too. */
void model_pci_bar(struct model_pci_fn *f, unsigned bar, uint64_t addr, uint64_t size, bool is_64);
/* Appends a capability of n bytes (beside its two bytes of header) and links it. Its offset. */
unsigned model_pci_cap(struct model_pci_fn *f, uint8_t id, const void *body, unsigned n);

void model_pci_set16(struct model_pci_fn *f, unsigned reg, uint16_t v);
void model_pci_set32(struct model_pci_fn *f, unsigned reg, uint32_t v);
uint16_t model_pci_get16(const struct model_pci_fn *f, unsigned reg);
uint32_t model_pci_get32(const struct model_pci_fn *f, unsigned reg);

#endif

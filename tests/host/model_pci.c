/* SPDX-License-Identifier: BSD-2-Clause */
/* model_pci - see model_pci.h; stands in for drivers/pci/pci_access.c. */
#include <stdlib.h>
#include "drivers/pci/pci.h"
#include "drivers/pci/pci_access.h"
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/model_pci.h"

#define MAX_FNS 1024

static struct model_pci_fn *fns[MAX_FNS];
static unsigned nr_fns;
static bool has_ports;

void model_pci_reset(bool ports)
{
	while (nr_fns)
		free(fns[--nr_fns]);
	has_ports = ports;
	pci_reset();
}

void model_pci_set16(struct model_pci_fn *f, unsigned reg, uint16_t v)
{
	memcpy(&f->cfg[reg], &v, 2);
}

void model_pci_set32(struct model_pci_fn *f, unsigned reg, uint32_t v)
{
	memcpy(&f->cfg[reg], &v, 4);
}

uint16_t model_pci_get16(const struct model_pci_fn *f, unsigned reg)
{
	uint16_t v;

	memcpy(&v, &f->cfg[reg], 2);
	return v;
}

uint32_t model_pci_get32(const struct model_pci_fn *f, unsigned reg)
{
	uint32_t v;

	memcpy(&v, &f->cfg[reg], 4);
	return v;
}

struct model_pci_fn *model_pci_add(unsigned bdf, uint16_t vendor, uint16_t device, uint32_t class)
{
	struct model_pci_fn *f = calloc(1, sizeof(*f));

	ASSERT(f && nr_fns < MAX_FNS);
	f->bdf = bdf;
	model_pci_set16(f, PCI_VENDOR, vendor);
	model_pci_set16(f, PCI_DEVICE, device);
	model_pci_set32(f, PCI_CLASS, class << 8);
	fns[nr_fns++] = f;
	return f;
}

void model_pci_bar(struct model_pci_fn *f, unsigned bar, uint64_t addr, uint64_t size, bool is_64)
{
	unsigned reg = PCI_BAR0 + 4 * bar;

	f->bar_size[bar] = size;
	model_pci_set32(f, reg, (uint32_t)addr | (is_64 ? PCI_BAR_TYPE_64 : 0));
	if (is_64)
		model_pci_set32(f, reg + 4, (uint32_t)(addr >> 32));
}

unsigned model_pci_cap(struct model_pci_fn *f, uint8_t id, const void *body, unsigned n)
{
	unsigned at = PCI_CAPS_BEGIN, last = 0, p;

	model_pci_set16(f, PCI_STATUS, model_pci_get16(f, PCI_STATUS) | PCI_STATUS_CAPS);
	for (p = f->cfg[PCI_CAP_FIRST]; p; p = f->cfg[p + 1]) {
		last = p;
		at = MAX(at,
			(p + 2 + f->cfg[p + 2] + 3) & ~3u); /* all ours keep their length there */
		if (f->cfg[p] == PCI_CAP_ID_MSIX)
			at = MAX(at, p + 12);
	}
	ASSERT(at + 2 + n <= 256);
	f->cfg[last ? last + 1 : PCI_CAP_FIRST] = (uint8_t)at;
	f->cfg[at] = id;
	f->cfg[at + 1] = 0;
	memcpy(&f->cfg[at + 2], body, n);
	return at;
}

static struct model_pci_fn *find(unsigned bdf)
{
	for (unsigned i = 0; i < nr_fns; i++)
		if (fns[i]->bdf == bdf)
			return fns[i];
	return NULL;
}

static uint32_t space_read(unsigned bdf, unsigned reg, unsigned bytes)
{
	struct model_pci_fn *f = find(bdf);
	uint32_t v = 0;

	ASSERT(reg + bytes <= 4096 && !(reg % bytes));
	for (unsigned i = bytes; i-- > 0;)
		v = v << 8 | (!f || f->gone    ? 0xff
				     : f->read ? f->read(f, reg + i)
					       : f->cfg[reg + i]);
	return v;
}

/* The BAR a register belongs to and how it masks what is written; -1: none. */
static int bar_mask(struct model_pci_fn *f, unsigned reg, uint32_t *mask, uint32_t *fixed)
{
	unsigned bar = (reg - PCI_BAR0) / 4;

	if (reg < PCI_BAR0 || bar >= 6)
		return -1;
	*fixed = 0;
	if (f->bar_size[bar]) {
		*mask = (uint32_t) ~(f->bar_size[bar] - 1) & ~0xfu;
		*fixed = f->cfg[reg] & 0xf;
	} else if (bar && f->bar_size[bar - 1] && f->cfg[reg - 4] & PCI_BAR_TYPE_64) {
		*mask = (uint32_t)(~(f->bar_size[bar - 1] - 1) >> 32);
	} else {
		*mask = 0;
	}
	return (int)bar;
}

static void space_write(unsigned bdf, unsigned reg, unsigned bytes, uint32_t v)
{
	struct model_pci_fn *f = find(bdf);
	uint32_t mask, fixed;

	ASSERT(reg + bytes <= 4096 && !(reg % bytes));
	if (!f || f->gone)
		return;
	if (bytes == 4 && bar_mask(f, reg, &mask, &fixed) >= 0) {
		if (v == UINT32_MAX && model_pci_get16(f, PCI_COMMAND) & PCI_COMMAND_MEM)
			f->sized_on++;
		model_pci_set32(f, reg, (v & mask) | fixed);
		return;
	}
	/* Ids, status and the capabilities' shape do not change by writing. */
	if (reg < PCI_COMMAND || (reg >= PCI_STATUS && reg < PCI_BAR0))
		return;
	memcpy(&f->cfg[reg], &v, bytes);
}

/* ---- ports ---- */

bool pci_ports_present(void)
{
	return has_ports;
}

uint32_t pci_ports_read(unsigned bdf, unsigned reg, unsigned bytes)
{
	ASSERT(has_ports && bdf < 1u << 16 && reg < 256);
	return space_read(bdf, reg, bytes);
}

void pci_ports_write(unsigned bdf, unsigned reg, unsigned bytes, uint32_t v)
{
	ASSERT(has_ports && bdf < 1u << 16 && reg < 256);
	space_write(bdf, reg, bytes, v);
}

/* ---- ECAM ---- */

static uint64_t ecam_read(void *ctx __unused, uint64_t off, unsigned size)
{
	ASSERT(size <= 4);
	return space_read((unsigned)(off >> 12), off & 0xfff, size);
}

static void ecam_write(void *ctx __unused, uint64_t off, unsigned size, uint64_t v)
{
	ASSERT(size <= 4);
	space_write((unsigned)(off >> 12), off & 0xfff, size, (uint32_t)v);
}

static const struct host_mmio_ops ecam_ops = { ecam_read, ecam_write };

void model_pci_ecam(uint64_t phys)
{
	host_mmio_region(phys, 256u << 20, &ecam_ops, NULL);
}

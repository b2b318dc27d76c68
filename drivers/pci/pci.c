/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci - finds the functions of the machine and gives drivers their configuration space, BARs and
 * MSI-X entries.
 *
 * Configuration space answers whatever a device (or a host that emulates one) likes, so every walk
 * here is bounded: a bus is scanned once, capabilities are visited once, sizes must be powers of
 * two, and a function that went away reads as all ones and matches nothing.
 *
 * Everything runs on core 0.  Firmware has numbered the buses; a bridge it left alone is skipped.
 */
#include "drivers/pci/pci.h"
#include "drivers/pci/pci_access.h"
#include "drivers/pci/pcireg.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/string.h"

#define NR_BUSES    256
#define MAX_WINDOWS 8
#define MAX_DEVICES 512
#define BUS_BYTES   (1u << 20) /* of an ECAM window: 32 slots, 8 functions, 4 KiB each */

struct ecam {
	uint64_t phys; /* of bus 0, whether the window has it or not */
	uint8_t first, last;
};

struct bar {
	volatile void *map;
	uint64_t size;
};

struct pci_node {
	struct pci_dev dev;
	struct bar bars[PCI_NR_BARS];
};

static struct mem_tag pci_tag = MEM_TAG("pci");
static struct list pci_devs = LIST_INIT(pci_devs);
static unsigned nr_devs;
static struct ecam windows[MAX_WINDOWS];
static unsigned nr_windows;
static volatile uint8_t *bus_maps[NR_BUSES]; /* ECAM of a bus, mapped at its first use */
static bool has_ports;
static uint8_t buses_seen[NR_BUSES / 8];
static uint64_t free_base, free_end; /* addresses for BARs without one */

/* ---- configuration space ---- */

void pci_add_ecam(uint64_t phys, uint16_t segment, uint8_t first_bus, uint8_t last_bus)
{
	if (segment) {
		log_warn("pci: segment %u is not used", segment);
		return;
	}
	if (first_bus > last_bus || phys & (BUS_BYTES - 1) || !phys ||
		phys > UINT64_MAX - NR_BUSES * (uint64_t)BUS_BYTES) {
		log_warn("pci: bad ECAM window at %#llx for buses %u-%u", (unsigned long long)phys,
			first_bus, last_bus);
		return;
	}
	if (nr_windows == MAX_WINDOWS) {
		log_warn("pci: more than %u ECAM windows", MAX_WINDOWS);
		return;
	}
	windows[nr_windows++] = (struct ecam){ phys, first_bus, last_bus };
}

static volatile uint8_t *bus_map(unsigned bus)
{
	unsigned i;

	if (bus_maps[bus])
		return bus_maps[bus];
	for (i = 0; i < nr_windows; i++)
		if (bus >= windows[i].first && bus <= windows[i].last)
			break;
	if (i == nr_windows)
		return NULL;
	/* One bus at a time: mapping all 256 MiB would cost more memory than small machines have.
	 */
	bus_maps[bus] = mmio_map(windows[i].phys + bus * (uint64_t)BUS_BYTES, BUS_BYTES);
	return bus_maps[bus];
}

static uint32_t cfg_read(unsigned bus, unsigned devfn, unsigned reg, unsigned bytes)
{
	volatile uint8_t *map = bus_map(bus);

	if (map) {
		map += devfn << 12 | reg;
		return bytes == 1   ? mmio_read8(map)
		       : bytes == 2 ? mmio_read16(map)
				    : mmio_read32(map);
	}
	if (has_ports && reg < 256)
		return pci_ports_read(bus << 8 | devfn, reg, bytes);
	return bytes == 4 ? UINT32_MAX : (1u << 8 * bytes) - 1;
}

static void cfg_write(unsigned bus, unsigned devfn, unsigned reg, unsigned bytes, uint32_t v)
{
	volatile uint8_t *map = bus_map(bus);

	if (map) {
		map += devfn << 12 | reg;
		if (bytes == 1)
			mmio_write8(map, v);
		else if (bytes == 2)
			mmio_write16(map, v);
		else
			mmio_write32(map, v);
	} else if (has_ports && reg < 256) {
		pci_ports_write(bus << 8 | devfn, reg, bytes, v);
	}
}

static unsigned dev_fn(const struct pci_dev *d)
{
	return (unsigned)d->slot << 3 | d->func;
}

uint8_t pci_read8(const struct pci_dev *d, unsigned reg)
{
	return cfg_read(d->bus, dev_fn(d), reg & 0xfff, 1);
}

uint16_t pci_read16(const struct pci_dev *d, unsigned reg)
{
	return cfg_read(d->bus, dev_fn(d), reg & 0xffe, 2);
}

uint32_t pci_read32(const struct pci_dev *d, unsigned reg)
{
	return cfg_read(d->bus, dev_fn(d), reg & 0xffc, 4);
}

void pci_write8(const struct pci_dev *d, unsigned reg, uint8_t v)
{
	cfg_write(d->bus, dev_fn(d), reg & 0xfff, 1, v);
}

void pci_write16(const struct pci_dev *d, unsigned reg, uint16_t v)
{
	cfg_write(d->bus, dev_fn(d), reg & 0xffe, 2, v);
}

void pci_write32(const struct pci_dev *d, unsigned reg, uint32_t v)
{
	cfg_write(d->bus, dev_fn(d), reg & 0xffc, 4, v);
}

bool pci_is_gone(const struct pci_dev *d)
{
	return pci_read32(d, PCI_VENDOR) == UINT32_MAX;
}

unsigned pci_find_cap(const struct pci_dev *d, unsigned id, unsigned after)
{
	bool passed = !after;
	uint64_t seen = 0; /* one bit for each place a capability can begin */
	unsigned at;

	if (!(pci_read16(d, PCI_STATUS) & PCI_STATUS_CAPS))
		return 0;
	at = pci_read8(d, PCI_CAP_FIRST) & 0xfc;
	while (at >= PCI_CAPS_BEGIN && !(seen >> at / 4 & 1)) {
		seen |= 1ull << at / 4;
		if (passed && pci_read8(d, at) == id)
			return at;
		if (at == after)
			passed = true;
		at = pci_read8(d, at + 1) & 0xfc;
	}
	return 0;
}

/* ---- finding them ---- */

static void dev_insert(struct pci_node *n)
{
	struct pci_dev *o;
	struct list *before = &pci_devs;
	unsigned key = (unsigned)n->dev.bus << 8 | dev_fn(&n->dev);

	list_for_each (o, &pci_devs, node) {
		if (((unsigned)o->bus << 8 | dev_fn(o)) > key)
			break;
		before = &o->node;
	}
	list_insert(before, &n->dev.node);
}

static bool scan_bus(unsigned bus);

/* False: there is no room for more devices, give up. */
static bool scan_function(unsigned bus, unsigned devfn, unsigned header)
{
	struct pci_node *n;
	struct pci_dev *d;
	unsigned behind;

	if (nr_devs == MAX_DEVICES) {
		log_warn("pci: more than %u devices, the rest is left out", MAX_DEVICES);
		return false;
	}
	n = mem_alloc(&pci_tag, sizeof(*n));
	if (!n) {
		log_err("pci: no memory for another device");
		return false;
	}
	nr_devs++;
	d = &n->dev;
	d->bus = bus;
	d->slot = devfn >> 3;
	d->func = devfn & 7;
	d->vendor = pci_read16(d, PCI_VENDOR);
	d->device = pci_read16(d, PCI_DEVICE);
	d->class_code = pci_read32(d, PCI_CLASS) >> 8;
	str_printf(d->name, sizeof(d->name), "%02x:%02x.%u", d->bus, d->slot, d->func);
	dev_insert(n);
	if ((header & PCI_HEADER_TYPE) != PCI_HEADER_BRIDGE)
		return true;
	behind = pci_read8(d, PCI_SECONDARY);
	if (behind)
		return scan_bus(behind);
	log_info("pci: %s: firmware gave this bridge no bus", d->name);
	return true;
}

static bool scan_slot(unsigned bus, unsigned slot)
{
	unsigned func, vendor, header, nr = 1;

	for (func = 0; func < nr; func++) {
		vendor = cfg_read(bus, slot << 3 | func, PCI_VENDOR, 2);
		if (vendor == 0xffff || vendor == 0) {
			if (!func)
				return true;
			continue;
		}
		header = cfg_read(bus, slot << 3 | func, PCI_HEADER, 1);
		if (!func && header & PCI_HEADER_MULTI)
			nr = 8;
		if (!scan_function(bus, slot << 3 | func, header))
			return false;
	}
	return true;
}

/* Bridges lead to further buses; each bus is entered once, so loops of bridges end here, and the
 * depth is bounded because a chain of bridges longer than 16 is refused. */
static bool scan_bus(unsigned bus)
{
	static unsigned depth;
	unsigned slot;
	bool more = true;

	if (buses_seen[bus / 8] >> bus % 8 & 1)
		return true;
	if (depth == 16) {
		log_warn("pci: bus %u is behind more than 16 bridges, left out", bus);
		return true;
	}
	buses_seen[bus / 8] |= 1u << bus % 8;
	depth++;
	for (slot = 0; slot < 32 && more; slot++)
		more = scan_slot(bus, slot);
	depth--;
	return more;
}

void pci_enumerate(void)
{
	unsigned i;

	has_ports = pci_ports_present();
	if (!has_ports && !nr_windows)
		return;
	scan_bus(0);
	/* A window that begins elsewhere belongs to a root of its own. */
	for (i = 0; i < nr_windows; i++)
		scan_bus(windows[i].first);
	log_info("pci: %u devices, configuration by %s", nr_devs, nr_windows ? "ECAM" : "ports");
}

/* Nothing is freed: tests throw the whole heap away. */
void pci_reset(void)
{
	list_init(&pci_devs);
	nr_devs = nr_windows = 0;
	free_base = free_end = 0;
	memset(bus_maps, 0, sizeof(bus_maps));
	memset(buses_seen, 0, sizeof(buses_seen));
}

struct pci_dev *pci_next(struct pci_dev *prev)
{
	struct list *next = prev ? prev->node.next : pci_devs.next;

	return next == &pci_devs ? NULL : container_of(next, struct pci_dev, node);
}

/* ---- memory ---- */

void pci_set_mmio_window(uint64_t base, uint64_t size)
{
	free_base = base;
	free_end = base + size < base ? 0 : base + size;
}

/* A place for a BAR without an address.  Only on bus 0: behind a bridge its windows would have to
 * be opened too, and there firmware has been at work anyway.  0: none. */
static uint64_t bar_place(const struct pci_dev *d, uint64_t size, bool is_64)
{
	uint64_t at = ROUND_UP_POW2(free_base, MAX(size, (uint64_t)PAGE_SIZE));

	if (d->bus || at < free_base || at >= free_end || free_end - at < size ||
		(!is_64 && at + size > 1ull << 32))
		return 0;
	free_base = at + size;
	return at;
}

/* Reads address and size of a memory BAR.  False if it is none. */
static bool bar_probe(struct pci_dev *d, unsigned bar, uint64_t *addr, uint64_t *size, bool *is_64)
{
	unsigned reg = PCI_BAR0 + 4 * bar;
	uint32_t lo = pci_read32(d, reg), hi = 0, mask_lo, mask_hi = UINT32_MAX;
	uint16_t command;
	uint64_t mask;

	if (lo & PCI_BAR_IO || (lo & PCI_BAR_TYPE) == PCI_BAR_TYPE_RESERVED)
		return false;
	*is_64 = (lo & PCI_BAR_TYPE) == PCI_BAR_TYPE_64;
	if (*is_64 && bar + 1 == PCI_NR_BARS)
		return false;

	/* While all ones stand in the register the device must not answer there. */
	command = pci_read16(d, PCI_COMMAND);
	pci_write16(d, PCI_COMMAND, command & ~(PCI_COMMAND_MEM | PCI_COMMAND_IO));
	pci_write32(d, reg, UINT32_MAX);
	mask_lo = pci_read32(d, reg) & PCI_BAR_MEM_MASK;
	pci_write32(d, reg, lo);
	if (*is_64) {
		hi = pci_read32(d, reg + 4);
		pci_write32(d, reg + 4, UINT32_MAX);
		mask_hi = pci_read32(d, reg + 4);
		pci_write32(d, reg + 4, hi);
	}
	pci_write16(d, PCI_COMMAND, command);

	mask = (uint64_t)mask_hi << 32 | mask_lo;
	*size = ~mask + 1;
	*addr = (uint64_t)hi << 32 | (lo & PCI_BAR_MEM_MASK);
	return (*is_64 || mask_lo) && is_pow2(*size) && !(*addr & (*size - 1)) &&
	       *addr + *size - 1 >= *addr;
}

volatile void *pci_map_bar(struct pci_dev *d, unsigned bar, uint64_t *size)
{
	struct pci_node *n = container_of(d, struct pci_node, dev);
	unsigned reg = PCI_BAR0 + 4 * bar;
	uint64_t addr, bytes;
	bool is_64;

	*size = 0;
	if (bar >= PCI_NR_BARS)
		return NULL;
	if (!n->bars[bar].map) {
		if (!bar_probe(d, bar, &addr, &bytes, &is_64)) {
			log_warn("pci: %s: BAR %u is no usable memory BAR", d->name, bar);
			return NULL;
		}
		if (!addr) {
			addr = bar_place(d, bytes, is_64);
			if (!addr) {
				log_warn("pci: %s: BAR %u has no address and there is none to give",
					d->name, bar);
				return NULL;
			}
			pci_write32(d, reg, addr);
			if (is_64)
				pci_write32(d, reg + 4, addr >> 32);
		}
		n->bars[bar].map = mmio_map(addr, bytes);
		if (!n->bars[bar].map) {
			log_warn("pci: %s: BAR %u at %#llx, %llu bytes, cannot be mapped", d->name,
				bar, (unsigned long long)addr, (unsigned long long)bytes);
			return NULL;
		}
		n->bars[bar].size = bytes;
	}
	*size = n->bars[bar].size;
	return n->bars[bar].map;
}

void pci_enable(struct pci_dev *d)
{
	pci_write16(d, PCI_COMMAND,
		(pci_read16(d, PCI_COMMAND) & ~PCI_COMMAND_IO) | PCI_COMMAND_MEM |
			PCI_COMMAND_BUSM | PCI_COMMAND_NO_INTX);
}

void pci_disable(struct pci_dev *d)
{
	pci_write16(d, PCI_COMMAND, pci_read16(d, PCI_COMMAND) & ~PCI_COMMAND_BUSM);
}

/* ---- MSI-X ---- */

unsigned pci_msix_enable(struct pci_dev *d)
{
	unsigned cap = pci_find_cap(d, PCI_CAP_ID_MSIX, 0), nr, i;
	volatile uint8_t *bar;
	uint32_t where;
	uint64_t size, off;
	uint16_t ctrl;

	if (!cap)
		return 0;
	ctrl = pci_read16(d, cap + PCI_MSIX_CTRL);
	nr = (ctrl & PCI_MSIX_CTRL_SIZE) + 1;
	where = pci_read32(d, cap + PCI_MSIX_TABLE);
	off = where & ~(uint32_t)PCI_MSIX_TABLE_BIR;
	bar = pci_map_bar(d, where & PCI_MSIX_TABLE_BIR, &size);
	if (!bar || off > size || size - off < nr * 4ull * MSIX_ENTRY_WORDS) {
		log_warn("pci: %s: the MSI-X table lies outside its BAR, not used", d->name);
		return 0;
	}
	d->msix_table = (volatile uint32_t *)(bar + off);
	pci_write16(d, cap + PCI_MSIX_CTRL, ctrl | PCI_MSIX_CTRL_ENABLE | PCI_MSIX_CTRL_MASK);
	for (i = 0; i < nr; i++)
		mmio_write32(&d->msix_table[i * MSIX_ENTRY_WORDS + MSIX_CTRL], MSIX_CTRL_MASKED);
	pci_write16(d, cap + PCI_MSIX_CTRL, (ctrl | PCI_MSIX_CTRL_ENABLE) & ~PCI_MSIX_CTRL_MASK);
	d->msix_cap = cap;
	d->nr_msix = nr;
	return nr;
}

int pci_msix_set(struct pci_dev *d, unsigned i, const struct irq *irq)
{
	volatile uint32_t *e;

	if (i >= d->nr_msix)
		return -EINVAL;
	e = &d->msix_table[i * MSIX_ENTRY_WORDS];
	mmio_write32(&e[MSIX_CTRL], MSIX_CTRL_MASKED); /* never live with half an address */
	mmio_write32(&e[MSIX_ADDR_LO], irq->msi_addr);
	mmio_write32(&e[MSIX_ADDR_HI], irq->msi_addr >> 32);
	mmio_write32(&e[MSIX_DATA], irq->msi_data);
	mmio_write32(&e[MSIX_CTRL], 0);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * acpi - what we take from the firmware's tables (ACPI 6.4): processors and interrupt controllers
 * (MADT), configuration space (MCFG), timers (HPET, FADT), power-off and reset (FADT, \_S5 found by
 * its bytes in the DSDT), and virtio-mmio slots (LNRO0005 in the DSDT).  No AML is run.
 *
 * Tables are outside input: lengths, checksums and counts are checked, what does not hold is logged
 * and left out.  The parser is portable and reads memory only through the function it is given.
 */
#ifndef KERNEL_ACPI_H
#define KERNEL_ACPI_H

#include "kernel/api/base.h"

#define ACPI_MAX_CPUS     64
#define ACPI_MAX_IOAPICS  8
#define ACPI_MAX_ECAM     8
#define ACPI_MAX_VIRTIO   32
#define ACPI_MAX_OVERRIDE 16

struct acpi_gas {      /* generic address structure, 5.2.3.2 */
	uint8_t space; /* 0 memory, 1 I/O port */
	uint8_t width;
	uint64_t addr; /* 0: absent */
};

struct acpi_info {
	bool found;
	uint64_t lapic_base; /* 0: not told */
	unsigned nr_cpus;
	uint32_t cpu_apic_id[ACPI_MAX_CPUS];
	unsigned nr_ioapics;
	struct {
		uint64_t addr;
		uint32_t gsi_base;
	} ioapic[ACPI_MAX_IOAPICS];
	unsigned nr_overrides;
	struct {
		uint8_t irq;
		uint32_t gsi;
		uint16_t flags; /* polarity 0-1, trigger 2-3 */
	} override[ACPI_MAX_OVERRIDE];
	unsigned nr_ecam;
	struct {
		uint64_t addr;
		uint16_t segment;
		uint8_t first_bus, last_bus;
	} ecam[ACPI_MAX_ECAM];
	uint64_t hpet_base;     /* 0: none */
	uint16_t pm_timer_port; /* 0: none */
	bool hw_reduced;
	uint16_t pm1a_control, pm1b_control; /* ports, 0: none */
	struct acpi_gas sleep_control, reset_reg;
	uint8_t reset_value;
	bool has_reset, has_s5;
	uint8_t s5_a, s5_b;
	unsigned nr_virtio;
	struct {
		uint32_t addr, size, gsi;
	} virtio[ACPI_MAX_VIRTIO];
};

/* size bytes of physical memory, or NULL; stays valid. */
typedef const void *(*acpi_peek_fn)(uint64_t phys, uint64_t size);

/* rsdp: physical address, 0 to search the BIOS area.  Always fills *out; out->found says whether
 * there were tables at all. */
void acpi_parse(acpi_peek_fn peek, uint64_t rsdp, struct acpi_info *out);

/* The GSI of an ISA interrupt after overrides. */
uint32_t acpi_isa_gsi(const struct acpi_info *a, uint8_t irq, uint16_t *flags);

#endif

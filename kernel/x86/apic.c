/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * apic - the local APIC of each core (xAPIC registers, or x2APIC MSRs where firmware left that mode
 * on), its timer, and the I/O APICs.  Intel SDM vol. 3 ch. 11; 82093AA data sheet.
 */
#include "kernel/api/dma.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/spin.h"
#include "kernel/x86/io.h"
#include "kernel/x86/x86.h"

enum {
	REG_ID = 0x20,
	REG_TPR = 0x80,
	REG_EOI = 0xb0,
	REG_SPURIOUS = 0xf0,
	REG_ICR_LOW = 0x300,
	REG_ICR_HIGH = 0x310,
	REG_LVT_TIMER = 0x320,
	REG_LVT_LINT0 = 0x350,
	REG_LVT_LINT1 = 0x360,
	REG_LVT_ERROR = 0x370,
	REG_TIMER_INITIAL = 0x380,
	REG_TIMER_NOW = 0x390,
	REG_TIMER_DIVIDE = 0x3e0,
};

#define MSR_APIC_BASE    0x1b
#define MSR_X2APIC       0x800
#define MSR_TSC_DEADLINE 0x6e0

static volatile char *regs;
static uint64_t regs_phys = 0xfee00000;
static bool x2apic;
/* Timer ticks a nanosecond as a fraction of 2^32; 0: use the TSC deadline. */
static uint64_t ticks_per_ns_32;

static uint32_t lapic_read(unsigned reg)
{
	if (x2apic)
		return (uint32_t)rdmsr(MSR_X2APIC + (reg >> 4));
	return mmio_read32(regs + reg);
}

static void lapic_write(unsigned reg, uint32_t v)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + (reg >> 4), v);
	else
		mmio_write32(regs + reg, v);
}

void lapic_set_base(uint64_t phys)
{
	if (phys)
		regs_phys = phys;
}

uint32_t lapic_id(void)
{
	uint32_t id = lapic_read(REG_ID);

	return x2apic ? id : id >> 24;
}

void lapic_eoi(void)
{
	lapic_write(REG_EOI, 0);
}

void lapic_ipi(uint32_t apic_id, uint32_t icr_low)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC + (REG_ICR_LOW >> 4), (uint64_t)apic_id << 32 | icr_low);
		return;
	}
	uint64_t irq = irq_save(); /* the two halves are one command */

	lapic_write(REG_ICR_HIGH, apic_id << 24);
	lapic_write(REG_ICR_LOW, icr_low);
	while (lapic_read(REG_ICR_LOW) & 0x1000)
		cpu_relax();
	irq_restore(irq);
}

void lapic_init(void)
{
	if (!regs) {
		x2apic = rdmsr(MSR_APIC_BASE) >> 10 & 1;
		regs = mmio_map(regs_phys, PAGE_SIZE);
		if (!regs)
			panic("no room to map the local APIC");
	}
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x800);
	lapic_write(REG_TPR, 0);
	lapic_write(REG_LVT_TIMER, 0x10000 | VEC_TIMER);
	lapic_write(REG_LVT_LINT0, 0x10000);
	lapic_write(REG_LVT_LINT1, 0x400); /* NMI */
	lapic_write(REG_LVT_ERROR, 0x10000 | VEC_SPURIOUS);
	lapic_write(REG_TIMER_DIVIDE, 0xb); /* by 1 */
	lapic_write(REG_SPURIOUS, 0x100 | VEC_SPURIOUS);
	if (ticks_per_ns_32)
		lapic_write(REG_LVT_TIMER, VEC_TIMER);
	else if (cpuid(1, 0).ecx >> 24 & 1)
		lapic_write(REG_LVT_TIMER, 0x40000 | VEC_TIMER);
}

/*
 * Ticks of the local timer against now_ns().  Each end of the window is the narrowest of several
 * reads bracketed by the clock, so that an interruption by the host shows and is thrown away.
 */
static uint64_t sample(uint32_t *ticks)
{
	uint64_t best = UINT64_MAX, at = 0;
	int i;

	for (i = 0; i < 8; i++) {
		uint64_t a = now_ns(), b;
		uint32_t t = lapic_read(REG_TIMER_NOW);

		b = now_ns();
		if (b - a < best) {
			best = b - a;
			at = a + (b - a) / 2;
			*ticks = t;
		}
	}
	return at;
}

void lapic_timer_calibrate(void)
{
	uint64_t t0, t1;
	uint32_t c0, c1;

	if (cpuid(1, 0).ecx >> 24 & 1) {
		log_info("timer: TSC deadline");
		lapic_write(REG_LVT_TIMER, 0x40000 | VEC_TIMER);
		return;
	}
	lapic_write(REG_TIMER_INITIAL, UINT32_MAX);
	t0 = sample(&c0);
	do {
		delay_us(500);
		t1 = sample(&c1);
	} while (t1 - t0 < 2 * NS_PER_MS || c0 == c1);
	lapic_write(REG_TIMER_INITIAL, 0);
	ticks_per_ns_32 = ((uint64_t)(c0 - c1) << 32) / (t1 - t0);
	lapic_write(REG_LVT_TIMER, VEC_TIMER);
	log_info("timer: local APIC at %llu kHz",
		(unsigned long long)((c0 - c1) * NS_PER_MS / (t1 - t0)));
}

void lapic_timer_set(uint64_t due_ns)
{
	uint64_t now, left;

	if (!ticks_per_ns_32) {
		/* Deadlines in TSC ticks: far enough is far enough, the loop sets it again. */
		now = now_ns();
		left = due_ns <= now ? 0 : due_ns - now;
		wrmsr(MSR_TSC_DEADLINE, due_ns == UINT64_MAX ? 0 : time_tsc_at(left));
		return;
	}
	if (due_ns == UINT64_MAX) {
		lapic_write(REG_TIMER_INITIAL, 0);
		return;
	}
	now = now_ns();
	left = due_ns <= now ? 1 : MIN(due_ns - now, NS_PER_S);
	left = (left * (ticks_per_ns_32 >> 8) >> 24) + 1;
	lapic_write(REG_TIMER_INITIAL, (uint32_t)MIN(left, (uint64_t)UINT32_MAX));
}

/* ---- I/O APIC ---- */

static struct {
	volatile char *regs;
	uint32_t gsi_base, nr;
} ioapics[ACPI_MAX_IOAPICS];
static unsigned nr_ioapics;
static struct spinlock ioapic_lock;

static uint32_t io_read(volatile char *r, uint32_t reg)
{
	mmio_write32(r, reg);
	return mmio_read32(r + 0x10);
}

static void io_write(volatile char *r, uint32_t reg, uint32_t v)
{
	mmio_write32(r, reg);
	mmio_write32(r + 0x10, v);
}

static void ioapic_add(uint64_t phys, uint32_t gsi_base)
{
	volatile char *r = mmio_map(phys, 32);
	uint32_t nr, i;

	if (!r)
		return;
	nr = (io_read(r, 1) >> 16 & 0xff) + 1;
	if (nr > 240) {
		log_warn("ioapic: none at %#llx", (unsigned long long)phys);
		return;
	}
	for (i = 0; i < nr; i++)
		io_write(r, 0x10 + 2 * i, 0x10000);
	ioapics[nr_ioapics].regs = r;
	ioapics[nr_ioapics].gsi_base = gsi_base;
	ioapics[nr_ioapics++].nr = nr;
}

void ioapic_init(const struct acpi_info *acpi)
{
	unsigned i;

	for (i = 0; i < acpi->nr_ioapics; i++)
		ioapic_add(acpi->ioapic[i].addr, acpi->ioapic[i].gsi_base);
	if (!acpi->found) { /* where every PC has it */
		ioapic_add(0xfec00000, 0);
		if (nr_ioapics && ioapics[0].nr <= 24) {
			ioapic_add(0xfec10000, 24); /* microvm's second, if there is one */
		}
	}
}

int irq_alloc_gsi(struct irq *irq, unsigned core, unsigned gsi, bool level)
{
	unsigned i;
	int v;

	for (i = 0; i < nr_ioapics; i++)
		if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].nr)
			break;
	if (i == nr_ioapics)
		return -ENODEV;
	v = irq_vector_for_gsi(irq, core);
	if (v < 0)
		return v;
	uint64_t flags = spin_lock(&ioapic_lock);
	unsigned pin = gsi - ioapics[i].gsi_base;

	io_write(ioapics[i].regs, 0x11 + 2 * pin, cpus[core]->apic_id << 24);
	io_write(ioapics[i].regs, 0x10 + 2 * pin, (level ? 0x8000u : 0) | (uint32_t)v);
	spin_unlock(&ioapic_lock, flags);
	return 0;
}

void pic_mask(void)
{
	/* Remapped away from the exceptions, then masked: a spurious one must not look like a
	 * fault. */
	outb(0x20, 0x11);
	outb(0xa0, 0x11);
	outb(0x21, 32);
	outb(0xa1, 40);
	outb(0x21, 4);
	outb(0xa1, 2);
	outb(0x21, 1);
	outb(0xa1, 1);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

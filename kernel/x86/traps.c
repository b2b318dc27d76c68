/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * traps - descriptor tables of each core, and where every interrupt and exception arrives.  An
 * interrupt only counts and is acknowledged: that it came ends the core's halt, and the loop looks
 * at everything.  Exceptions are our own bugs: panic.
 */
#include "kernel/api/dma.h"
#include "kernel/api/errno.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/string.h"
#include "kernel/spin.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

struct gate64 {
	uint16_t off_low, selector;
	uint8_t ist, type;
	uint16_t off_mid;
	uint32_t off_high, reserved;
} __packed;

extern char trap_entries[];
void load_segments(const void *gdt_ptr);

static struct gate64 idt[256];
static struct irq *irqs[MAX_CORES][256];
static struct spinlock lock;

enum { IST_NMI = 1, IST_DOUBLE, IST_MACHINE_CHECK, NR_IST = 3 };

static const char *const exception_names[32] = {
	"divide error",
	"debug",
	"NMI",
	"breakpoint",
	"overflow",
	"bound range",
	"invalid opcode",
	"device not available",
	"double fault",
	"",
	"invalid TSS",
	"segment not present",
	"stack segment fault",
	"general protection",
	"page fault",
	"",
	"x87 error",
	"alignment check",
	"machine check",
	"SIMD error",
};

void idt_init(void)
{
	unsigned i;

	for (i = 0; i < 256; i++) {
		uint64_t entry = (uint64_t)trap_entries + i * 16ull;

		idt[i].off_low = (uint16_t)entry;
		idt[i].off_mid = (uint16_t)(entry >> 16);
		idt[i].off_high = (uint32_t)(entry >> 32);
		idt[i].selector = 8;
		idt[i].type = 0x8e;
		idt[i].ist = i == 2    ? IST_NMI
			     : i == 8  ? IST_DOUBLE
			     : i == 18 ? IST_MACHINE_CHECK
				       : 0;
	}
}

/* The protector is off here: the guard it compares with is set in this very function. */
__attribute__((optimize("no-stack-protector"))) void cpu_init_early(struct cpu *c)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed ptr;
	uint64_t tss = (uint64_t)&c->tss, cr4;

	c->self = c;
	c->gdt[1] = 0x00af9a000000ffff; /* code */
	c->gdt[2] = 0x00cf92000000ffff; /* data */
	c->gdt[3] = (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 |
		    (tss >> 24 & 0xff) << 56;
	c->gdt[4] = tss >> 32;
	c->tss.iomap = sizeof(c->tss);
	ptr.limit = sizeof(c->gdt) - 1;
	ptr.base = (uint64_t)c->gdt;
	load_segments(&ptr);
	ptr.limit = sizeof(idt) - 1;
	ptr.base = (uint64_t)idt;
	__asm__ volatile("lidt %0" ::"m"(ptr));
	wrmsr(0xc0000101, (uint64_t)c); /* GS base */
	c->guard = rdtsc() * 0x9e3779b97f4a7c15ull ^ tss;
	/* OSFXSR, OSXMMEXCPT for the files that use SSE; SMEP where there is one. */
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= 0x600;
	if (cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx >> 7 & 1))
		cr4 |= 1ull << 20;
	__asm__ volatile("mov %0, %%cr4" ::"r"(cr4));
}

static void irq_arrived(unsigned vector)
{
	struct irq *irq = irqs[this_core()][vector];

	if (irq)
		irq->count++;
	lapic_eoi();
}

void trap_dispatch(struct trap_frame *f)
{
	char what[96];

	if (f->vector >= VEC_DEVICE_FIRST) {
		if (f->vector != VEC_SPURIOUS)
			irq_arrived((unsigned)f->vector);
		return;
	}
	if (f->vector >= 32)
		return;     /* a left-over of the old PIC */
	if (f->vector == 2) /* another core panics: stop here */
		for (;;)
			__asm__ volatile("cli; hlt");
	if (f->vector == 14) {
		uint64_t cr2;

		__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		str_printf(what, sizeof(what), "page fault: %s of %#llx%s",
			f->error & 16  ? "execution"
			: f->error & 2 ? "write"
				       : "read",
			(unsigned long long)cr2, cr2 < PAGE_SIZE ? " (null pointer)" : "");
	} else {
		str_printf(what, sizeof(what), "%s, error %#llx", exception_names[f->vector],
			(unsigned long long)f->error);
	}
	panic_frame(f, what);
}

static int vector_alloc(struct irq *irq, unsigned core)
{
	uint64_t flags = spin_lock(&lock);
	unsigned v;

	for (v = VEC_DEVICE_FIRST; v <= VEC_DEVICE_LAST; v++)
		if (!irqs[core][v])
			break;
	if (v <= VEC_DEVICE_LAST)
		irqs[core][v] = irq;
	spin_unlock(&lock, flags);
	return v <= VEC_DEVICE_LAST ? (int)v : -ENOSPC;
}

int irq_alloc_msi(struct irq *irq, unsigned core)
{
	int v = vector_alloc(irq, core);

	if (v < 0)
		return v;
	if (cpus[core]->apic_id > 0xff) /* an MSI without remapping names 8 bits */
		return -ENOSPC;
	irq->core = core;
	irq->count = 0;
	irq->msi_addr = 0xfee00000u | cpus[core]->apic_id << 12;
	irq->msi_data = (uint32_t)v;
	return 0;
}

int irq_vector_for_gsi(struct irq *irq, unsigned core)
{
	int v = vector_alloc(irq, core);

	irq->core = core;
	irq->count = 0;
	return v;
}

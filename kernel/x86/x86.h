/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * x86 - what the machine's files tell each other: the per-core block, traps, APICs, time, power.
 * Nothing above kernel/ includes this.
 */
#ifndef KERNEL_X86_X86_H
#define KERNEL_X86_X86_H

#include "kernel/acpi.h"
#include "kernel/api/core.h"
#include "kernel/api/fiber.h"
#include "kernel/api/list.h"

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __packed;

/*
 * One per core, at %gs.  The first word is the core's number (this_core()); the stack protector's
 * guard stands at 40 as the compiler was told.
 */
struct cpu {
	uint32_t id;
	uint32_t apic_id;
	struct cpu *self;
	struct fiber *running; /* offset 16 */
	uint64_t spare[2];
	uint64_t guard; /* offset 40 */

	/* the loop's (kernel/loop.c) */
	struct work *posted, **posted_tail;
	struct work *inbox; /* pushed by other cores, newest first */
	uint32_t halted;    /* about to halt or halted: senders must interrupt */
	uint32_t online;
	struct list pollers;
	struct list *next_poller; /* where this turn's walk goes on, should a poller remove one */
	uint64_t last_work_tsc;
	uint64_t timer_armed_ns; /* what the local timer is set to; UINT64_MAX: off */

	/* fibers (kernel/fiber.c) */
	struct fiber *ready_head, *ready_tail;
	struct fiber *dead;
	uint64_t loop_sp;

	/* the processor's */
	uint64_t gdt[8];
	struct tss tss;
	void *stack;
};

_Static_assert(offsetof(struct cpu, guard) == 40, "the compiler reads the guard at %gs:40");
_Static_assert(offsetof(struct cpu, running) == 16, "fiber_self() reads it at %gs:16");

extern struct cpu *cpus[MAX_CORES];

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__("movq %%gs:8, %0" : "=r"(c));
	return c;
}

/* Vectors.  32..47: the old PIC's, masked for good. */
enum {
	VEC_DEVICE_FIRST = 48,
	VEC_DEVICE_LAST = 0xef,
	VEC_WAKE = 0xf0,
	VEC_TIMER = 0xf1,
	VEC_SPURIOUS = 0xff,
};

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

void cpu_init_early(struct cpu *c); /* GDT, TSS, IDT, %gs, control registers, on that core */
void idt_init(void);
void trap_dispatch(struct trap_frame *f);
void panic_frame(const struct trap_frame *f, const char *what) __noreturn;

struct irq;
/* A vector on that core for an I/O APIC input: its number or -ENOSPC. */
int irq_vector_for_gsi(struct irq *irq, unsigned core);

void lapic_init(void);   /* on each core */
uint32_t lapic_id(void); /* works before lapic_init() */
void lapic_set_base(uint64_t phys);
void lapic_eoi(void);
void lapic_ipi(uint32_t apic_id, uint32_t icr_low);
void lapic_timer_calibrate(void);
void lapic_timer_set(uint64_t due_ns); /* UINT64_MAX: off */
void ioapic_init(const struct acpi_info *acpi);

void time_init(const struct acpi_info *acpi);
const char *time_source(void);
uint64_t time_tsc_at(uint64_t ns_from_now);
/* Waits without the loop, for boot and for panic. */
void delay_us(unsigned us);

void smp_init(const struct acpi_info *acpi);
void core_wake(unsigned core);
void loop_init(struct cpu *c);
void loop_run(void) __noreturn; /* this core's event loop */

void uart_init_early(void);
void uart_init(const struct acpi_info *acpi);
void uart_panic_write(const char *s, size_t n);
void power_init(const struct acpi_info *acpi);
bool fw_cfg_present(void);
unsigned fw_cfg_nr_cpus(void); /* 0: not told */
void pic_mask(void);

/* The name of the function that holds addr and the distance into it; NULL if none. */
const char *ksym(uint64_t addr, uint64_t *off);

#endif

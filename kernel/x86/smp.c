/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smp - bringing up the other cores (INIT, SIPI, SIPI; Intel SDM vol. 3 ch. 9) and waking halted
 * ones.  A core that does not answer is logged and left out.
 */
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

#define AP_PAGE        0x8000
#define CPU_STACK_SIZE (16u * 1024)

struct ap_args {
	uint64_t cr3, stack, cpu, entry;
};

extern char ap_start[], ap_end[], ap_args[];

static struct cpu boot_cpu;
struct cpu *cpus[MAX_CORES] = { &boot_cpu };
static unsigned online = 1;
static struct mem_tag smp_tag = MEM_TAG("cores");

unsigned nr_cores(void)
{
	return online;
}

void core_wake(unsigned core)
{
	lapic_ipi(cpus[core]->apic_id, VEC_WAKE);
}

/* Stacks for what must not trust the current one: NMI, double fault, machine check. */
static bool give_ist(struct cpu *c)
{
	unsigned i;

	for (i = 0; i < 3; i++) {
		char *s = vmap_stack(PAGE_SIZE);

		if (!s)
			return false;
		c->tss.ist[i] = (uint64_t)s + PAGE_SIZE;
	}
	return true;
}

static __noreturn void ap_main(struct cpu *c)
{
	cpu_init_early(c);
	lapic_init();
	loop_init(c);
	__atomic_store_n(&c->online, 1, __ATOMIC_RELEASE);
	loop_run();
}

static bool start_core(unsigned id, uint32_t apic_id, volatile struct ap_args *args)
{
	struct cpu *c = mem_alloc(&smp_tag, sizeof(*c));
	uint64_t cr3, deadline;

	if (!c || !give_ist(c))
		goto no_memory;
	c->stack = vmap_stack(CPU_STACK_SIZE);
	if (!c->stack)
		goto no_memory;
	c->id = id;
	c->apic_id = apic_id;
	cpus[id] = c;
	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	args->cr3 = cr3;
	args->stack = (uint64_t)c->stack + CPU_STACK_SIZE - 16;
	args->cpu = (uint64_t)c;
	args->entry = (uint64_t)ap_main;
	lapic_ipi(apic_id, 0x4500); /* INIT */
	delay_us(200);
	lapic_ipi(apic_id, 0x4600 | AP_PAGE >> 12);
	deadline = now_ns() + 20 * NS_PER_MS;
	while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE) && now_ns() < deadline)
		cpu_relax();
	if (!c->online)
		lapic_ipi(apic_id, 0x4600 | AP_PAGE >> 12);
	deadline = now_ns() + 2 * NS_PER_S; /* a loaded host may take its time */
	while (!__atomic_load_n(&c->online, __ATOMIC_ACQUIRE) && now_ns() < deadline)
		cpu_relax();
	if (c->online)
		return true;
	log_err("smp: the core with APIC id %u does not start", apic_id);
	cpus[id] = NULL; /* its memory stays: it may yet wake up on it */
	lapic_ipi(apic_id, 0x4500);
	return false;
no_memory:
	log_err("smp: no memory for another core");
	return false;
}

void smp_init(const struct acpi_info *acpi)
{
	volatile struct ap_args *args = (void *)(AP_PAGE + (ap_args - ap_start));
	uint32_t self = lapic_id();
	unsigned i, nr = acpi->nr_cpus, told = 0;

	cpus[0]->apic_id = self;
	if (!give_ist(cpus[0]))
		panic("no memory for the first core's stacks");
	if (!nr)
		nr = told = fw_cfg_nr_cpus(); /* no MADT: QEMU numbers them from 0 */
	if (nr > 1)
		memcpy((void *)AP_PAGE, ap_start, (size_t)(ap_end - ap_start));
	for (i = 0; i < nr && online < MAX_CORES; i++) {
		uint32_t id = told ? i : acpi->cpu_apic_id[i];

		if (id != self && start_core(online, id, args))
			online++;
	}
	paging_drop_low();
	log_info("smp: %u core%s", online, online == 1 ? "" : "s");
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boot - from entry.S to the first fiber.  What the loader says (PVH: Xen's
 * docs/misc/pvh, struct hvm_start_info) is copied before any memory is handed out.
 */
#include "kernel/api/dma.h"
#include "kernel/api/log.h"
#include "kernel/api/machine.h"
#include "kernel/api/string.h"
#include "kernel/boot_info.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

#define PVH_MAGIC      0x336ec578
#define LOW_END        0x100000u /* below: firmware, the page that starts cores */
#define LOOP_STACK     (16u * 1024)
#define IDENTITY_LIMIT (1ull << 30) /* what entry.S mapped */

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

enum { MEM_RAM = 1, MEM_ACPI = 3 };

extern char image_start[], image_end[];

static char cmdline[16384];
static struct memmap_entry map[128];
static unsigned nr_map;
static struct acpi_info acpi;
static uint64_t ram_end;

void boot_main(uint64_t start_info_phys) __noreturn;

const char *machine_cmdline(void)
{
	return cmdline;
}

const struct acpi_info *boot_acpi(void)
{
	return &acpi;
}

uint64_t boot_ram_end(void)
{
	return ram_end;
}

/* The loader's words, while low memory is where it says.  Its RSDP address. */
static uint64_t read_start_info(uint64_t phys)
{
	const struct start_info *s = (const void *)phys;
	const struct memmap_entry *e;
	uint32_t i;

	if (!phys || phys + sizeof(*s) > IDENTITY_LIMIT || s->magic != PVH_MAGIC)
		panic("not started by a PVH loader");
	if (s->version < 1 || !s->memmap || s->memmap + 65536 > IDENTITY_LIMIT)
		panic("the loader gave no memory map");
	if (s->cmdline && s->cmdline + sizeof(cmdline) <= IDENTITY_LIMIT)
		str_copy(cmdline, sizeof(cmdline), (const char *)s->cmdline);
	e = (const void *)s->memmap;
	for (i = 0; i < s->memmap_entries && nr_map < ARRAY_SIZE(map); i++)
		if (e[i].size && e[i].addr + e[i].size > e[i].addr)
			map[nr_map++] = e[i];
	return s->rsdp;
}

/* The part of RAM entry i that may be handed out: above low memory and the image and tables. */
static bool usable(unsigned i, uint64_t first_free, uint64_t *from, uint64_t *to)
{
	if (map[i].type != MEM_RAM)
		return false;
	*from = ROUND_UP_POW2(map[i].addr, (uint64_t)PAGE_SIZE);
	*to = (map[i].addr + map[i].size) & ~(uint64_t)(PAGE_SIZE - 1);
	if (*from < first_free)
		*from = first_free;
	return *from < *to;
}

static void memory_init(void)
{
	struct phys_range ranges[ARRAY_SIZE(map) + 1] = { { 0, LOW_END } };
	uint64_t first_free = (uint64_t)image_end - IMAGE_BASE, limit = 0, from, to, reserved = 0;
	unsigned i, nr = 1;

	for (i = 0; i < nr_map; i++) {
		uint64_t end = map[i].addr + map[i].size;

		if (map[i].type == MEM_RAM || map[i].type == MEM_ACPI) {
			ranges[nr].from = MAX(map[i].addr, (uint64_t)LOW_END);
			ranges[nr++].to = end;
			ram_end = MAX(ram_end, end);
		} else if (map[i].addr < 1ull << 32) {
			reserved += map[i].size;
		}
		if (map[i].type == MEM_RAM && map[i].addr <= first_free && end > first_free)
			limit = end;
	}
	if (!limit)
		panic("the kernel does not stand in RAM");
	ram_end = MAX(ram_end, 1ull << 32);
	paging_init(ranges, nr, &first_free, MIN(limit, IDENTITY_LIMIT));
	mem_set_image(first_free - LOW_END);
	mem_set_reserved(reserved);
	for (i = 0; i < nr_map; i++)
		if (usable(i, first_free, &from, &to))
			mem_add_range(from, to - from);
}

/* Leaves boot's stack for one with a guard page; this core is from here on its loop. */
static __noreturn void enter_loop(struct cpu *c)
{
	c->stack = vmap_stack(LOOP_STACK);
	if (!c->stack)
		panic("no memory for the first stack");
	__asm__ volatile("mov %0, %%rsp; xor %%ebp, %%ebp; push $0; jmp loop_run" ::"r"(
		(uint64_t)c->stack + LOOP_STACK)
			 : "memory");
	__builtin_unreachable();
}

/* No stack protector: the guard is set on the way. */
__attribute__((optimize("no-stack-protector"))) void boot_main(uint64_t start_info_phys)
{
	struct cpu *c = cpus[0];
	uint64_t rsdp;

	idt_init();
	cpu_init_early(c);
	loop_init(c);
	rsdp = read_start_info(start_info_phys);
	memory_init();
	uart_init_early();
	log_info("%s, build id %s", machine_version(), machine_build_id());
	acpi_parse(phys_peek, rsdp, &acpi);
	pic_mask();
	time_init(&acpi);
	lapic_set_base(acpi.lapic_base);
	lapic_init();
	lapic_timer_calibrate();
	smp_init(&acpi);
	ioapic_init(&acpi);
	power_init(&acpi);
	uart_init(&acpi);
	if (!fiber_create("init", init_main, NULL))
		panic("no memory for the first fiber");
	enter_loop(c);
}

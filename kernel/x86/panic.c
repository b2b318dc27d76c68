/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * panic - the last words: what, where, registers, a backtrace with names, the build id.  Written
 * straight to the port, with nothing allocated and nothing waited for.
 */
#include <stdarg.h>
#include "kernel/api/fiber.h"
#include "kernel/api/machine.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/string.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

extern char image_start[], rodata_start[], image_end[];

struct ksym_entry {
	uint32_t addr, name; /* offsets from IMAGE_BASE and into the names */
};

/* tools/ksyms makes these for the second link; the first goes without. */
extern const struct ksym_entry ksyms_table[] __attribute__((weak));
extern const uint32_t ksyms_nr __attribute__((weak));
extern const char ksyms_names[] __attribute__((weak));

static uint32_t panicking;

const char *ksym(uint64_t addr, uint64_t *off)
{
	uint32_t lo = 0, hi = &ksyms_nr ? ksyms_nr : 0, a = (uint32_t)(addr - IMAGE_BASE);

	if (addr < (uint64_t)image_start || addr >= (uint64_t)rodata_start || !hi)
		return NULL;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ksyms_table[mid].addr <= a)
			lo = mid;
		else
			hi = mid;
	}
	*off = a - ksyms_table[lo].addr;
	return ksyms_names + ksyms_table[lo].name;
}

static void say(const char *fmt, ...) __printf(1, 2);
static void say(const char *fmt, ...)
{
	static char line[512];
	va_list ap;

	va_start(ap, fmt);
	str_vprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	uart_panic_write(line, strlen(line));
}

static void say_frame(uint64_t rip)
{
	uint64_t off = 0;
	const char *name = ksym(rip, &off);

	if (name)
		say("  %#llx %s+%#llx\r\n", (unsigned long long)rip, name, (unsigned long long)off);
	else
		say("  %#llx\r\n", (unsigned long long)rip);
}

static bool plausible(uint64_t fp)
{
	uint64_t v = fp;

	if (fp & 7)
		return false;
	return (v >= VMAP_BASE && v < VMAP_BASE + VMAP_SIZE) ||
	       (v >= (uint64_t)image_start && v + 16 <= (uint64_t)image_end);
}

static void backtrace(uint64_t rip, uint64_t fp)
{
	unsigned depth;

	say("backtrace:\r\n");
	if (rip)
		say_frame(rip);
	for (depth = 0; depth < 32 && plausible(fp); depth++) {
		const uint64_t *f = (const uint64_t *)fp;

		if (!f[1])
			break;
		say_frame(f[1]);
		if (f[0] <= fp)
			break;
		fp = f[0];
	}
}

static void begin(void)
{
	unsigned i;

	irq_disable();
	if (__atomic_exchange_n(&panicking, 1, __ATOMIC_SEQ_CST))
		for (;;) /* another core, or a fault while panicking */
			__asm__ volatile("cli; hlt");
	for (i = 0; i < nr_cores(); i++)
		if (cpus[i] && i != this_core())
			lapic_ipi(cpus[i]->apic_id, 0x4400); /* NMI */
}

static __noreturn void end(void)
{
	say("%s, build id %s\r\n", machine_version(), machine_build_id());
	say("The machine has stopped.\r\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void say_where(void)
{
	struct fiber *f = this_cpu()->running;

	say("core %u, %s%s\r\n", this_core(), f ? "fiber " : "event loop", f ? fiber_name(f) : "");
}

void panic_frame(const struct trap_frame *f, const char *what)
{
	begin();
	say("\r\n\r\npanic: %s\r\n", what);
	say_where();
#define R(n) (unsigned long long)f->n
	say("rip %016llx rsp %016llx rflags %08llx\r\n", R(rip), R(rsp), R(rflags));
	say("rax %016llx rbx %016llx rcx %016llx rdx %016llx\r\n", R(rax), R(rbx), R(rcx), R(rdx));
	say("rsi %016llx rdi %016llx rbp %016llx r8  %016llx\r\n", R(rsi), R(rdi), R(rbp), R(r8));
	say("r9  %016llx r10 %016llx r11 %016llx r12 %016llx\r\n", R(r9), R(r10), R(r11), R(r12));
	say("r13 %016llx r14 %016llx r15 %016llx\r\n", R(r13), R(r14), R(r15));
#undef R
	backtrace(f->rip, f->rbp);
	end();
}

void panic(const char *fmt, ...)
{
	static char words[256];
	struct trap_frame f = { 0 };
	va_list ap;

	__asm__ volatile("mov %%rbx, %0; mov %%rbp, %1; mov %%rsp, %2"
			 : "=m"(f.rbx), "=m"(f.rbp), "=m"(f.rsp));
	__asm__ volatile("mov %%r12, %0; mov %%r13, %1; mov %%r14, %2; mov %%r15, %3"
			 : "=m"(f.r12), "=m"(f.r13), "=m"(f.r14), "=m"(f.r15));
	f.rip = (uint64_t)__builtin_return_address(0);
	va_start(ap, fmt);
	str_vprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	panic_frame(&f, words);
}

/* What the compiler calls when a guard word was overwritten. */
void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	panic("stack overrun in the function at %p", __builtin_return_address(0));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * power - the ways out.  Off: the sleep control register of hardware-reduced ACPI, else PM1 with
 * \_S5's values (ACPI 6.4 sections 4.8.3.7 and 16.1.6).  Reset: the FADT's register, then 0xCF9,
 * then the keyboard controller, then a triple fault.
 */
#include "kernel/api/dma.h"
#include "kernel/api/log.h"
#include "kernel/api/machine.h"
#include "kernel/x86/io.h"
#include "kernel/x86/x86.h"

static struct acpi_info info;
static volatile void *sleep_regs, *reset_regs;

void power_init(const struct acpi_info *acpi)
{
	info = *acpi;
	/* Mapped now: at the end nothing should be left that can fail. */
	if (info.sleep_control.addr && info.sleep_control.space == 0)
		sleep_regs = mmio_map(info.sleep_control.addr, 1);
	if (info.has_reset && info.reset_reg.space == 0)
		reset_regs = mmio_map(info.reset_reg.addr, 1);
}

static void gas_write8(const struct acpi_gas *g, volatile void *mapped, uint8_t v)
{
	if (g->space == 1 && g->addr <= 0xffff)
		outb((uint16_t)g->addr, v);
	else if (g->space == 0 && mapped)
		mmio_write8(mapped, v);
}

static __noreturn void stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void machine_poweroff(void)
{
	if (info.has_s5 && info.hw_reduced)
		gas_write8(&info.sleep_control, sleep_regs,
			(uint8_t)(0x20 | info.s5_a << 2)); /* SLP_EN, SLP_TYP */
	if (info.has_s5 && info.pm1a_control) {
		uint16_t v = (uint16_t)(inw(info.pm1a_control) & ~0x3c00);

		outw(info.pm1a_control, (uint16_t)(v | 0x2000 | info.s5_a << 10));
		if (info.pm1b_control)
			outw(info.pm1b_control, (uint16_t)(0x2000 | info.s5_b << 10));
	}
	delay_us(100000);
	/* No register to switch off by (microvm without ACPI): QEMU's microvm ends at a reset. */
	if (!info.has_s5)
		machine_reboot();
	uart_panic_write("The machine may be switched off now.\r\n", 38);
	stop();
}

void machine_reboot(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed none = { 0, 0 };

	irq_disable();
	if (info.has_reset)
		gas_write8(&info.reset_reg, reset_regs, info.reset_value);
	delay_us(50000);
	outb(0xcf9, 0x02);
	outb(0xcf9, 0x06);
	delay_us(50000);
	outb(0x64, 0xfe);
	delay_us(50000);
	__asm__ volatile("lidt %0; int3" ::"m"(none));
	stop();
}

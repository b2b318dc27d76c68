/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pci_access - configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): an address goes to port
 * 0xCF8, then data moves through 0xCFC..0xCFF.  The two steps are one transaction to the rest of
 * the machine: a lock keeps cores apart, and interrupt handlers never come here.
 */
#include "drivers/pci/pci_access.h"
#include "kernel/x86/io.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ADDRESS_ON   0x80000000u

static bool access_busy;

static void access_lock(void)
{
	while (__atomic_test_and_set(&access_busy, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static void access_unlock(void)
{
	__atomic_clear(&access_busy, __ATOMIC_RELEASE);
}

bool pci_ports_present(void)
{
	uint32_t before, back;

	access_lock();
	before = inl(PORT_ADDRESS);
	outl(PORT_ADDRESS, ADDRESS_ON);
	back = inl(PORT_ADDRESS);
	outl(PORT_ADDRESS, before);
	access_unlock();
	return back == ADDRESS_ON;
}

static unsigned access_select(unsigned bdf, unsigned reg)
{
	outl(PORT_ADDRESS, ADDRESS_ON | bdf << 8 | (reg & 0xfc));
	return PORT_DATA + (reg & 3);
}

uint32_t pci_ports_read(unsigned bdf, unsigned reg, unsigned bytes)
{
	unsigned port;
	uint32_t v;

	access_lock();
	port = access_select(bdf, reg);
	if (bytes == 1)
		v = inb(port);
	else if (bytes == 2)
		v = inw(port);
	else
		v = inl(port);
	access_unlock();
	return v;
}

void pci_ports_write(unsigned bdf, unsigned reg, unsigned bytes, uint32_t v)
{
	unsigned port;

	access_lock();
	port = access_select(bdf, reg);
	if (bytes == 1)
		outb(port, v);
	else if (bytes == 2)
		outw(port, v);
	else
		outl(port, v);
	access_unlock();
}

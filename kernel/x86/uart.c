/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * uart - the 16550 at COM1 as the first console.  NS16550A data sheet; registers at 0x3f8.
 *
 * Nothing typed is lost: what the receiver already holds is read before the FIFO is enabled
 * (enabling clears it), what the firmware took is looked for, and afterwards bytes leave the
 * receiver only when the reader takes them, so a reader that is full or busy makes the sender wait.
 * The interrupt only says that something came; the poller looks at the port after an interrupt and
 * never otherwise, since every look is an exit to the host.
 */
#include "kernel/api/console.h"
#include "kernel/api/dma.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

#define COM1 0x3f8

enum { RBR = 0, THR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCR = 7 };
enum { LSR_DATA = 1, LSR_THR_EMPTY = 0x20 };

#define FIFO_DEPTH  16
#define QUIET_LOOKS 2000 /* each an exit to the host: some milliseconds */

static struct {
	struct console console;
	struct poller poller;
	struct irq irq;
	uint64_t seen; /* interrupts looked after */
	bool present, has_irq;
	uint8_t early[256]; /* what was typed before we were there */
	unsigned early_pos, early_len;
	unsigned depth;     /* bytes the transmitter takes once it is empty */
	struct timer timer; /* looks for input where there is no interrupt */
} uart;

static void early_put(uint8_t b)
{
	if (uart.early_len < sizeof(uart.early))
		uart.early[uart.early_len++] = b;
}

/*
 * Takes what waits until nothing has come for a while; looks once when nothing is there at all.
 * False: there is more than we can keep, and it still stands in the receiver.
 */
static bool take_waiting(void)
{
	unsigned looks = uart.early_len ? QUIET_LOOKS : 1;

	while (looks--) {
		if (!(inb(COM1 + LSR) & LSR_DATA))
			continue;
		if (uart.early_len == sizeof(uart.early))
			return false;
		early_put(inb(COM1 + RBR));
		looks = QUIET_LOOKS;
	}
	return true;
}

/*
 * Under -nographic SeaBIOS reads the serial line at every tick, as its keyboard, into the ring of
 * 16 words at 0x41e (the next to write at 0x41c).  What an option ROM has read of it still stands
 * there.  More than the ring holds is gone.
 */
static void take_bios_keys(void)
{
	enum { WORDS = 16, START = 0x1e };
	const uint16_t *ring = phys_to_virt(0x41e);
	unsigned tail = *(const uint16_t *)phys_to_virt(0x41c), i;

	if (tail < START || tail >= START + WORDS * 2 || tail % 2)
		return;
	tail = (tail - START) / 2;
	/* The oldest word is the one after the newest: empty, or all the way round. */
	for (i = 0; i < WORDS; i++) {
		uint8_t b = (uint8_t)ring[(tail + i) % WORDS];

		if (b)
			early_put(b);
	}
}

/*
 * SeaBIOS also enables the FIFO, which wipes the byte that stood in RBR until then: the first one
 * typed.  QEMU keeps it behind the FIFO, where it shows once the FIFO is off again (0: there was
 * none); reading it also makes QEMU go on with what it holds back.  What is in the FIFO is put away
 * around it.
 */
static void take_from_firmware(void)
{
	uint8_t fifo[sizeof(uart.early)], first;
	unsigned n;

	if (!take_waiting())
		return;
	n = uart.early_len;
	memcpy(fifo, uart.early, n);
	uart.early_len = 0;
	outb(COM1 + FCR, 0);
	first = inb(COM1 + RBR);
	if (first)
		early_put(first);
	take_bios_keys();
	for (unsigned i = 0; i < n; i++)
		early_put(fifo[i]);
}

void uart_init_early(void)
{
	outb(COM1 + SCR, 0x5a);
	if (inb(COM1 + SCR) != 0x5a)
		return;
	uart.present = true;
	outb(COM1 + LCR, 3); /* 8n1, and RBR rather than the divisor */
	if ((inb(COM1 + IIR) & 0xc0) == 0xc0 && fw_cfg_present())
		take_from_firmware();
	take_waiting();
	/* QEMU delivers a waiting sender's next byte between any two of our instructions, and
	 * enabling the FIFO would wipe it.  There nothing overruns without one either. */
	if (!fw_cfg_present())
		outb(COM1 + FCR, 1);
	uart.depth = (inb(COM1 + IIR) & 0xc0) == 0xc0 ? FIFO_DEPTH : 1;
	outb(COM1 + IER, 0);
	outb(COM1 + LCR, 0x83);
	outb(COM1 + 0, 1); /* 115200 */
	outb(COM1 + 1, 0);
	outb(COM1 + LCR, 3);
	outb(COM1 + MCR, 0x0b);
}

static size_t uart_read(struct console *c, char *buf, size_t n)
{
	size_t got = 0;

	while (got < n && uart.early_pos < uart.early_len)
		buf[got++] = (char)uart.early[uart.early_pos++];
	while (got < n && inb(COM1 + LSR) & LSR_DATA)
		buf[got++] = (char)inb(COM1 + RBR);
	return got;
}

static void uart_write(struct console *c, const char *buf, size_t n)
{
	unsigned tries = 0;
	size_t i = 0, end;

	while (i < n) {
		if (!(inb(COM1 + LSR) & LSR_THR_EMPTY)) {
			/* The host is slow to take it: let the loop turn, then really wait. */
			if (++tries < 100)
				fiber_yield();
			else
				fiber_sleep(NS_PER_MS);
			continue;
		}
		tries = 0;
		for (end = MIN(n, i + uart.depth); i < end; i++)
			outb(COM1 + THR, (uint8_t)buf[i]);
	}
}

void uart_panic_write(const char *s, size_t n)
{
	unsigned tries;

	while (n--) {
		for (tries = 0; tries < 1000000 && !(inb(COM1 + LSR) & LSR_THR_EMPTY); tries++)
			cpu_relax();
		outb(COM1 + THR, (uint8_t)*s++);
	}
}

static bool uart_poll(struct poller *p)
{
	uint64_t count = uart.irq.count;

	if (count == uart.seen)
		return false;
	uart.seen = count;
	waitq_wake_all(&uart.console.readable);
	return true;
}

static bool uart_arm(struct poller *p)
{
	return uart.irq.count != uart.seen;
}

static void uart_tick(struct timer *t)
{
	if (inb(COM1 + LSR) & LSR_DATA)
		waitq_wake_all(&uart.console.readable);
	timer_start(t, now_ns() + 10 * NS_PER_MS);
}

void uart_init(const struct acpi_info *acpi)
{
	uint16_t flags;
	uint32_t gsi = acpi_isa_gsi(acpi, 4, &flags);

	if (!uart.present) {
		log_warn("ttyS0: no 16550 at 0x3f8");
		return;
	}
	uart.console.name = "ttyS0";
	uart.console.read = uart_read;
	uart.console.write = uart_write;
	uart.poller.poll = uart_poll;
	uart.poller.arm = uart_arm;
	poller_add(&uart.poller);
	if (!irq_alloc_gsi(&uart.irq, 0, gsi, (flags >> 2 & 3) == 3)) {
		uart.has_irq = true;
		outb(COM1 + IER, 1);
	} else {
		log_warn("ttyS0: no interrupt, looking every 10 ms");
		uart.timer.fn = uart_tick;
		timer_start(&uart.timer, now_ns());
	}
	console_register(&uart.console);
	log_info("ttyS0: 16550 at 0x3f8, GSI %u", gsi);
}

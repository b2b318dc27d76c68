/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * time - now_ns() from the TSC, measured at boot against a clock of known rate: kvmclock says the
 * rate outright; else the HPET, the ACPI timer or PIT channel 0 run beside it.
 *
 * A host that takes the processor away between two reads would spoil a plain measurement.  So each
 * end of the window is the narrowest of several reads bracketed by the TSC, and the window grows
 * until the two brackets are less than 1/4000 of it: what remains of the error is known.
 */
#include "kernel/api/dma.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/x86/io.h"
#include "kernel/x86/memmap.h"
#include "kernel/x86/x86.h"

/* A free-running counter: rate in ticks a second, value masked to width. */
struct clock {
	const char *name;
	uint64_t (*read)(void);
	uint64_t rate, mask;
};

static uint64_t base_tsc, ns_per_tick_32; /* nanoseconds a TSC tick, times 2^32 */
static const char *source = "none";

static volatile char *hpet;
static uint16_t pm_port;

static uint64_t hpet_read(void)
{
	return mmio_read32(hpet + 0xf0);
}

static uint64_t pm_read(void)
{
	return inl(pm_port);
}

static uint64_t pit_read(void)
{
	uint32_t v;

	outb(0x43, 0); /* latch channel 0 */
	v = inb(0x40);
	v |= (uint32_t)inb(0x40) << 8;
	return 0xffff - v; /* it counts down */
}

uint64_t now_ns(void)
{
	return (uint64_t)((unsigned __int128)(rdtsc() - base_tsc) * ns_per_tick_32 >> 32);
}

uint64_t time_tsc_at(uint64_t ns_from_now)
{
	return rdtsc() + (MIN(ns_from_now, NS_PER_S) << 32) / ns_per_tick_32 + 1;
}

void delay_us(unsigned us)
{
	uint64_t until = now_ns() + us * NS_PER_US;

	while (now_ns() < until)
		cpu_relax();
}

const char *time_source(void)
{
	return source;
}

static uint64_t read_bracketed(const struct clock *c, uint64_t *tsc, uint64_t *width)
{
	uint64_t best = 0;
	int i;

	*width = UINT64_MAX;
	for (i = 0; i < 10; i++) {
		uint64_t a = rdtsc(), v = c->read() & c->mask, w = rdtsc() - a;

		if (w < *width) {
			*width = w;
			*tsc = a + w / 2;
			best = v;
		}
	}
	return best;
}

/* TSC ticks a second against c, 0 if c stands still. */
static uint64_t measure(const struct clock *c)
{
	uint64_t t0, t1, w0, w1, prev, ticks = 0, v = read_bracketed(c, &t0, &w0);
	unsigned tries;

	prev = v;
	for (tries = 0; tries < 20000; tries++) {
		v = read_bracketed(c, &t1, &w1);
		/* Reads follow each other closely enough that the counter wraps at most once. */
		ticks += (v - prev) & c->mask;
		prev = v;
		if (ticks * 1000 >= c->rate * 2 && (w0 + w1) * 4000 <= t1 - t0)
			break;
		if (ticks * 10 >= c->rate) /* 100 ms: take what there is */
			break;
	}
	if (!ticks)
		return 0;
	return (t1 - t0) * c->rate /
	       ticks; /* a window of at most a tenth of a second: no overflow */
}

/* ---- kvmclock: KVM's documentation of MSR_KVM_SYSTEM_TIME_NEW ---- */

struct pvclock {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
} __packed;

static struct mem_tag time_tag = MEM_TAG("time");

static bool is_kvm(void)
{
	struct cpuid r;

	if (!(cpuid(1, 0).ecx >> 31))
		return false;
	r = cpuid(0x40000000, 0);
	return r.ebx == 0x4b4d564b && r.ecx == 0x564b4d56 && r.edx == 0x4d;
}

/* The rate from the host itself: 0 when it does not say. */
static uint64_t kvm_tsc_rate(void)
{
	struct pvclock *p;
	uint64_t rate = 0;
	unsigned tries;

	if (!is_kvm() || !(cpuid(0x40000001, 0).eax >> 3 & 1))
		return 0;
	p = page_alloc(&time_tag, 0);
	if (!p)
		return 0;
	wrmsr(0x4b564d01, virt_to_phys(p) | 1);
	for (tries = 0; tries < 1000 && !rate; tries++) {
		uint32_t v = __atomic_load_n(&p->version, __ATOMIC_ACQUIRE);
		uint32_t mul = p->tsc_to_system_mul;
		int shift = p->tsc_shift;

		if ((v & 1) || !mul || v != __atomic_load_n(&p->version, __ATOMIC_ACQUIRE))
			continue;
		if (shift < -31 || shift > 31)
			break;
		/* ns = (ticks << shift) * mul >> 32, so rate = 10^9 * 2^32 / mul >> shift. */
		rate = (NS_PER_S << 32) / mul;
		rate = shift < 0 ? rate << -shift : rate >> shift;
	}
	wrmsr(0x4b564d01, 0); /* the rate is all we take: one clock for all cores */
	page_free(&time_tag, p, 0);
	return rate;
}

static bool hpet_usable(uint64_t base, uint64_t *rate)
{
	uint32_t period;

	hpet = mmio_map(base, 0x400);
	if (!hpet)
		return false;
	period = mmio_read32(hpet + 4);             /* femtoseconds a tick */
	if (period < 1000000 || period > 100000000) /* the specification's own bound above */
		return false;
	*rate = 1000000000000000ull / period;
	mmio_write32(hpet + 0x10, mmio_read32(hpet + 0x10) | 1);
	return true;
}

void time_init(const struct acpi_info *acpi)
{
	struct clock c = { 0 };
	uint64_t rate;

	base_tsc = rdtsc();
	rate = kvm_tsc_rate();
	source = "TSC, rate from kvmclock";
	if (!rate && acpi->hpet_base && hpet_usable(acpi->hpet_base, &c.rate)) {
		c.read = hpet_read;
		c.mask = UINT32_MAX;
		rate = measure(&c);
		source = "TSC, measured against the HPET";
	}
	if (!rate && acpi->pm_timer_port) {
		pm_port = acpi->pm_timer_port;
		c.read = pm_read;
		c.mask = 0xffffff;
		c.rate = 3579545;
		rate = measure(&c);
		source = "TSC, measured against the ACPI timer";
	}
	if (!rate) {
		outb(0x43, 0x34); /* channel 0, mode 2, from 65536 */
		outb(0x40, 0);
		outb(0x40, 0);
		c.read = pit_read;
		c.mask = 0xffff;
		c.rate = 1193182;
		rate = measure(&c);
		source = "TSC, measured against the PIT";
	}
	if (!rate) {
		rate = NS_PER_S;
		source = "TSC, rate unknown: taken as 1 GHz";
		log_warn("time: no clock to measure the TSC by");
	}
	ns_per_tick_32 = (NS_PER_S << 32) / rate;
	log_info("time: %s, %llu kHz", source, (unsigned long long)(rate / 1000));
}

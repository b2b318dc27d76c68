/* SPDX-License-Identifier: BSD-2-Clause */
/* acpi - reading the firmware's tables; see acpi.h.  Section numbers are those of ACPI 6.4. */
#include "kernel/acpi.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define TABLE_MAX (1u << 20) /* no table we read is near this */

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static bool sum_ok(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *p++);
	return sum == 0;
}

/* A system description table (5.2.6), whole and with a good checksum, or NULL. */
static const uint8_t *table_at(acpi_peek_fn peek, uint64_t phys, uint32_t *len)
{
	const uint8_t *h = phys ? peek(phys, 36) : NULL;

	if (!h)
		return NULL;
	*len = le32(h + 4);
	if (*len < 36 || *len > TABLE_MAX) {
		log_warn("acpi: table at %#llx has a length of %u: left out",
			(unsigned long long)phys, *len);
		return NULL;
	}
	h = peek(phys, *len);
	if (!h || !sum_ok(h, *len)) {
		log_warn("acpi: table at %#llx has a bad checksum: left out",
			(unsigned long long)phys);
		return NULL;
	}
	return h;
}

/* MADT, 5.2.12 */
static void parse_madt(const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	uint32_t pos = 44;

	if (len < 44)
		return;
	out->lapic_base = le32(t + 36);
	while (pos + 2 <= len) {
		const uint8_t *e = t + pos;
		unsigned size = e[1];

		if (size < 2 || pos + size > len) {
			log_warn("acpi: MADT entry at %u is cut short", pos);
			return;
		}
		switch (e[0]) {
		case 0: /* local APIC: enabled, or may be brought up */
			if (size >= 8 && (le32(e + 4) & 1) && out->nr_cpus < ACPI_MAX_CPUS)
				out->cpu_apic_id[out->nr_cpus++] = e[3];
			break;
		case 9: /* local x2APIC */
			if (size >= 16 && (le32(e + 8) & 1) && out->nr_cpus < ACPI_MAX_CPUS)
				out->cpu_apic_id[out->nr_cpus++] = le32(e + 4);
			break;
		case 1:
			if (size >= 12 && out->nr_ioapics < ACPI_MAX_IOAPICS) {
				out->ioapic[out->nr_ioapics].addr = le32(e + 4);
				out->ioapic[out->nr_ioapics++].gsi_base = le32(e + 8);
			}
			break;
		case 2:
			if (size >= 10 && out->nr_overrides < ACPI_MAX_OVERRIDE) {
				out->override[out->nr_overrides].irq = e[3];
				out->override[out->nr_overrides].gsi = le32(e + 4);
				out->override[out->nr_overrides++].flags = le16(e + 8);
			}
			break;
		case 5:
			if (size >= 12)
				out->lapic_base = le64(e + 4);
			break;
		default:
			break;
		}
		pos += size;
	}
}

/* MCFG, PCI Firmware 3.2 section 4.1.2 */
static void parse_mcfg(const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	uint32_t pos;

	for (pos = 44; pos + 16 <= len && out->nr_ecam < ACPI_MAX_ECAM; pos += 16) {
		const uint8_t *e = t + pos;

		if (!le64(e) || (le64(e) & 0xfffff) || e[10] > e[11]) {
			log_warn("acpi: MCFG window at %#llx, buses %u-%u makes no sense",
				(unsigned long long)le64(e), e[10], e[11]);
			continue;
		}
		out->ecam[out->nr_ecam].addr = le64(e);
		out->ecam[out->nr_ecam].segment = le16(e + 8);
		out->ecam[out->nr_ecam].first_bus = e[10];
		out->ecam[out->nr_ecam++].last_bus = e[11];
	}
}

/* HPET, IA-PC HPET 1.0a section 3.2.4 */
static void parse_hpet(const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	if (len >= 56 && t[40] == 0)
		out->hpet_base = le64(t + 44);
}

static struct acpi_gas gas_at(const uint8_t *p)
{
	struct acpi_gas g = { .space = p[0], .width = p[1], .addr = le64(p + 4) };

	return g;
}

/*
 * One constant of a package: the encodings of integers in AML (20.2.3) that firmware uses here.
 * The number of bytes it took, 0 if it is something else.
 */
static unsigned aml_integer(const uint8_t *p, uint32_t left, uint8_t *value)
{
	if (left >= 1 && (p[0] == 0x00 || p[0] == 0x01)) { /* ZeroOp, OneOp */
		*value = p[0];
		return 1;
	}
	if (left >= 2 && p[0] == 0x0a) { /* BytePrefix */
		*value = p[1];
		return 2;
	}
	if (left >= 3 && p[0] == 0x0b) {
		*value = p[1];
		return 3;
	}
	if (left >= 5 && p[0] == 0x0c) {
		*value = p[1];
		return 5;
	}
	return 0;
}

/* \_S5_ (7.4.2.5): NameOp "_S5_" PackageOp PkgLength NumElements a b ... */
static void find_s5(const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	uint32_t i;

	for (i = 37; i + 8 < len; i++) {
		uint32_t p = i + 4;
		unsigned n;

		if (memcmp(t + i, "_S5_", 4) || t[p] != 0x12)
			continue;
		if (t[i - 1] != 0x08 && !(t[i - 1] == '\\' && t[i - 2] == 0x08))
			continue;
		p += 2 + (t[p + 1] >> 6); /* package length: 1 to 4 bytes */
		p++;                      /* number of elements */
		if (p >= len)
			return;
		n = aml_integer(t + p, len - p, &out->s5_a);
		if (!n)
			return;
		out->s5_b = out->s5_a;
		p += n;
		if (p < len)
			aml_integer(t + p, len - p, &out->s5_b);
		if (out->s5_a > 7 || out->s5_b > 7) {
			log_warn("acpi: \\_S5 holds %u and %u, which no register takes", out->s5_a,
				out->s5_b);
			return;
		}
		out->has_s5 = true;
		return;
	}
}

/*
 * virtio-mmio slots as QEMU's microvm describes them: a device of _HID "LNRO0005" whose _CRS holds
 * a Memory32Fixed (0x86, 6.4.3.4) and an extended interrupt (0x89, 6.4.3.6) descriptor.
 */
static void find_virtio_mmio(const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	static const uint8_t mem[3] = { 0x86, 0x09, 0x00 }, irq[3] = { 0x89, 0x06, 0x00 };
	uint32_t i, j;

	for (i = 36; i + 8 < len; i++) {
		uint32_t end = MIN(i + 256, len), addr = 0, size = 0;

		if (memcmp(t + i, "LNRO0005", 8))
			continue;
		for (j = i + 8; j + 12 <= end; j++) {
			if (!memcmp(t + j, mem, 3)) {
				addr = le32(t + j + 4);
				size = le32(t + j + 8);
			} else if (!memcmp(t + j, irq, 3) && addr) {
				if (out->nr_virtio < ACPI_MAX_VIRTIO && t[j + 4] == 1) {
					out->virtio[out->nr_virtio].addr = addr;
					out->virtio[out->nr_virtio].size = size;
					out->virtio[out->nr_virtio++].gsi = le32(t + j + 5);
				}
				break;
			} else if (j + 8 <= end && !memcmp(t + j, "LNRO0005", 8)) {
				break;
			}
		}
	}
}

/* FADT, 5.2.9 */
static void parse_fadt(acpi_peek_fn peek, const uint8_t *t, uint32_t len, struct acpi_info *out)
{
	uint64_t dsdt_at;
	uint32_t flags, dsdt_len;
	const uint8_t *dsdt;

	if (len < 116) {
		log_warn("acpi: FADT of %u bytes is too short", len);
		return;
	}
	flags = le32(t + 112);
	out->hw_reduced = len >= 244 && (flags >> 20 & 1);
	if (!out->hw_reduced) {
		out->pm1a_control = (uint16_t)le32(t + 64);
		out->pm1b_control = (uint16_t)le32(t + 68);
		out->pm_timer_port = (uint16_t)le32(t + 76);
	}
	if (len >= 129 && (flags >> 10 & 1)) {
		out->reset_reg = gas_at(t + 116);
		out->reset_value = t[128];
		out->has_reset = out->reset_reg.addr != 0;
	}
	if (len >= 256)
		out->sleep_control = gas_at(t + 244);
	dsdt_at = le32(t + 40);
	if (len >= 148 && le64(t + 140))
		dsdt_at = le64(t + 140);
	dsdt = table_at(peek, dsdt_at, &dsdt_len);
	if (!dsdt || memcmp(dsdt, "DSDT", 4))
		return;
	find_s5(dsdt, dsdt_len, out);
	find_virtio_mmio(dsdt, dsdt_len, out);
}

/* RSDP, 5.2.5.3 */
static const uint8_t *rsdp_check(const uint8_t *p)
{
	return p && !memcmp(p, "RSD PTR ", 8) && sum_ok(p, 20) ? p : NULL;
}

static const uint8_t *rsdp_search(acpi_peek_fn peek)
{
	const uint8_t *bios = peek(0xe0000, 0x20000);
	uint32_t off;

	for (off = 0; bios && off + 36 <= 0x20000; off += 16)
		if (rsdp_check(bios + off))
			return bios + off;
	return NULL;
}

void acpi_parse(acpi_peek_fn peek, uint64_t rsdp, struct acpi_info *out)
{
	const uint8_t *p = NULL, *root;
	uint32_t len, t_len, pos;
	unsigned width;

	memset(out, 0, sizeof(*out));
	if (rsdp)
		p = rsdp_check(peek(rsdp, 36));
	if (!p)
		p = rsdp_search(peek);
	if (!p)
		return;
	width = p[15] >= 2 && le64(p + 24) ? 8 : 4;
	root = table_at(peek, width == 8 ? le64(p + 24) : le32(p + 16), &len);
	if (!root && width == 8) {
		width = 4;
		root = table_at(peek, le32(p + 16), &len);
	}
	if (!root || memcmp(root, width == 8 ? "XSDT" : "RSDT", 4)) {
		log_warn("acpi: no usable root table");
		return;
	}
	out->found = true;
	for (pos = 36; pos + width <= len; pos += width) {
		const uint8_t *t =
			table_at(peek, width == 8 ? le64(root + pos) : le32(root + pos), &t_len);

		if (!t)
			continue;
		if (!memcmp(t, "APIC", 4))
			parse_madt(t, t_len, out);
		else if (!memcmp(t, "MCFG", 4))
			parse_mcfg(t, t_len, out);
		else if (!memcmp(t, "HPET", 4))
			parse_hpet(t, t_len, out);
		else if (!memcmp(t, "FACP", 4))
			parse_fadt(peek, t, t_len, out);
	}
}

uint32_t acpi_isa_gsi(const struct acpi_info *a, uint8_t irq, uint16_t *flags)
{
	unsigned i;

	for (i = 0; i < a->nr_overrides; i++)
		if (a->override[i].irq == irq) {
			*flags = a->override[i].flags;
			return a->override[i].gsi;
		}
	*flags = 0;
	return irq;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* acpi - good tables are understood; truncated, lying and random ones change nothing and read
 * nothing outside the memory they were given (ASan watches: every peek is a fresh exact copy). */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/acpi.h"
#include "kernel/api/random.h"
#include "kernel/api/string.h"

#define BASE 0xe0000u

static uint8_t mem[0x20000];
static void *copies[4096];
static unsigned nr_copies;

/* Memory from BASE on; handed out as exact copies so that one byte too far is seen. */
static const void *peek(uint64_t phys, uint64_t size)
{
	void *p;

	if (phys < BASE || phys >= BASE + sizeof(mem) || size > BASE + sizeof(mem) - phys)
		return NULL;
	if (nr_copies == ARRAY_SIZE(copies))
		return NULL;
	p = malloc(size);
	memcpy(p, mem + (phys - BASE), size);
	copies[nr_copies++] = p;
	return p;
}

static int drop_copies(void **state)
{
	while (nr_copies)
		free(copies[--nr_copies]);
	return 0;
}

static void put32(uint32_t at, uint32_t v)
{
	memcpy(mem + at, &v, 4);
}

static void put64(uint32_t at, uint64_t v)
{
	memcpy(mem + at, &v, 8);
}

static void seal(uint32_t at, uint32_t len, uint32_t sum_at)
{
	uint8_t sum = 0;
	uint32_t i;

	mem[at + sum_at] = 0;
	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + mem[at + i]);
	mem[at + sum_at] = (uint8_t)-sum;
}

static void table(uint32_t at, const char *sig, uint32_t len)
{
	memcpy(mem + at, sig, 4);
	put32(at + 4, len);
}

enum {
	RSDP = 0x100,
	XSDT = 0x200,
	MADT = 0x400,
	MCFG = 0x600,
	FADT = 0x800,
	DSDT = 0xa00,
	HPET = 0x1000
};

static void build(void)
{
	static const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 0x05, 0x00,
		0x00, 0x00 };
	static const uint8_t slot[] = { 'L', 'N', 'R', 'O', '0', '0', '0', '5', 0, 0x86, 9, 0, 1, 0,
		0x0e, 0xb0, 0xfe, 0, 2, 0, 0, 0x89, 6, 0, 0x1d, 1, 0x0c, 0, 0, 0, 0x79, 0 };

	memset(mem, 0, sizeof(mem));
	memcpy(mem + RSDP, "RSD PTR ", 8);
	mem[RSDP + 15] = 2;
	put64(RSDP + 24, BASE + XSDT);
	seal(RSDP, 20, 8);

	table(XSDT, "XSDT", 36 + 32);
	put64(XSDT + 36, BASE + MADT);
	put64(XSDT + 44, BASE + MCFG);
	put64(XSDT + 52, BASE + FADT);
	put64(XSDT + 60, BASE + HPET);
	seal(XSDT, 36 + 32, 9);

	table(MADT, "APIC", 44 + 8 + 8 + 12 + 10);
	put32(MADT + 36, 0xfee00000);
	memcpy(mem + MADT + 44, "\x00\x08\x00\x00\x01\x00\x00\x00\x00\x08\x01\x01\x01\x00\x00", 16);
	memcpy(mem + MADT + 60, "\x01\x0c\x00\x00\x00\x00\xc0\xfe\x00\x00\x00\x00", 12);
	memcpy(mem + MADT + 72, "\x02\x0a\x00\x04\x09\x00\x00\x00\x0d\x00", 10);
	seal(MADT, 82, 9);

	table(MCFG, "MCFG", 44 + 16);
	put64(MCFG + 44, 0xb0000000);
	mem[MCFG + 55] = 0xff;
	seal(MCFG, 60, 9);

	table(FADT, "FACP", 244);
	put32(FADT + 40, BASE + DSDT);
	put32(FADT + 64, 0x604);
	put32(FADT + 76, 0x608);
	put32(FADT + 112, 1u << 10);
	mem[FADT + 116] = 1;
	put64(FADT + 120, 0xcf9);
	mem[FADT + 128] = 0x0f;
	seal(FADT, 244, 9);

	table(DSDT, "DSDT", 200);
	memcpy(mem + DSDT + 50, s5, sizeof(s5));
	memcpy(mem + DSDT + 100, slot, sizeof(slot));
	seal(DSDT, 200, 9);

	table(HPET, "HPET", 56);
	put64(HPET + 44, 0xfed00000);
	seal(HPET, 56, 9);
}

static void good_tables(void **state)
{
	struct acpi_info a;
	uint16_t flags;

	build();
	acpi_parse(peek, BASE + RSDP, &a);
	assert_true(a.found);
	assert_int_equal(a.nr_cpus, 2);
	assert_int_equal(a.cpu_apic_id[1], 1);
	assert_int_equal(a.nr_ioapics, 1);
	assert_int_equal(a.ioapic[0].addr, 0xfec00000);
	assert_int_equal(acpi_isa_gsi(&a, 4, &flags), 9);
	assert_int_equal(flags, 0x0d);
	assert_int_equal(acpi_isa_gsi(&a, 3, &flags), 3);
	assert_int_equal(a.nr_ecam, 1);
	assert_int_equal(a.ecam[0].last_bus, 255);
	assert_int_equal(a.pm1a_control, 0x604);
	assert_int_equal(a.pm_timer_port, 0x608);
	assert_true(a.has_reset);
	assert_int_equal(a.reset_reg.addr, 0xcf9);
	assert_int_equal(a.reset_value, 0x0f);
	assert_true(a.has_s5);
	assert_int_equal(a.s5_a, 5);
	assert_int_equal(a.s5_b, 0);
	assert_int_equal(a.hpet_base, 0xfed00000);
	assert_int_equal(a.nr_virtio, 1);
	assert_int_equal(a.virtio[0].addr, 0xfeb00e00);
	assert_int_equal(a.virtio[0].size, 512);
	assert_int_equal(a.virtio[0].gsi, 12);
}

static void found_by_searching(void **state)
{
	struct acpi_info a;

	build();
	acpi_parse(peek, 0, &a);
	assert_true(a.found);
	assert_int_equal(a.nr_cpus, 2);
}

static void bad_checksum_is_left_out(void **state)
{
	struct acpi_info a;

	build();
	mem[MADT + 44]++;
	acpi_parse(peek, BASE + RSDP, &a);
	assert_true(a.found);
	assert_int_equal(a.nr_cpus, 0);
	assert_int_equal(a.nr_ecam, 1);
	build();
	mem[RSDP + 16]++;
	acpi_parse(peek, BASE + RSDP, &a);
	assert_false(a.found);
}

static void entry_of_no_length_ends(void **state)
{
	struct acpi_info a;

	build();
	mem[MADT + 44 + 1] = 0;
	seal(MADT, 82, 9);
	acpi_parse(peek, BASE + RSDP, &a);
	assert_int_equal(a.nr_cpus, 0);
}

/* Every table cut short at every length, and random bytes with good checksums. */
static void hostile(void **state)
{
	static const uint32_t tables[] = { XSDT, MADT, MCFG, FADT, DSDT, HPET };
	struct acpi_info a;
	struct rng r;
	unsigned i, n;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (n = 0; n < 260; n++) {
			build();
			put32(tables[i] + 4, n);
			seal(tables[i], n > 36 ? n : 36, 9);
			acpi_parse(peek, BASE + RSDP, &a);
			drop_copies(NULL);
		}
	rng_seed(&r, 1);
	for (n = 0; n < 20000; n++) {
		uint32_t t = tables[rng_below(&r, ARRAY_SIZE(tables))], len;

		build();
		memcpy(&len, mem + t + 4, 4);
		for (i = 0; i < 1 + rng_below(&r, 8); i++)
			mem[t + 36 + rng_below(&r, len - 36)] = (uint8_t)rng_u64(&r);
		seal(t, len, 9);
		acpi_parse(peek, BASE + RSDP, &a);
		assert_true(a.nr_cpus <= ACPI_MAX_CPUS && a.nr_virtio <= ACPI_MAX_VIRTIO);
		assert_true(!a.has_s5 || a.s5_a <= 7);
		drop_copies(NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(good_tables, drop_copies),
		cmocka_unit_test_teardown(found_by_searching, drop_copies),
		cmocka_unit_test_teardown(bad_checksum_is_left_out, drop_copies),
		cmocka_unit_test_teardown(entry_of_no_length_ends, drop_copies),
		cmocka_unit_test_teardown(hostile, drop_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* test_pci - enumeration, capabilities, BARs and MSI-X, on configuration spaces sane and hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "drivers/pci/pci.h"
#include "drivers/pci/pcireg.h"
#include "tests/host/host.h"
#include "tests/host/model_pci.h"

#define ECAM_AT 0xb0000000u

static int setup(void **state)
{
	host_reset();
	model_pci_reset(true);
	return 0;
}

static int teardown(void **state)
{
	model_pci_reset(false);
	host_reset();
	return 0;
}

static struct model_pci_fn *bridge(unsigned bdf, uint8_t secondary)
{
	struct model_pci_fn *f = model_pci_add(bdf, 0x8086, 0x244e, 0x060400);

	f->cfg[PCI_HEADER] = PCI_HEADER_BRIDGE;
	f->cfg[PCI_SECONDARY] = secondary;
	return f;
}

static void expect_names(const char *const *names)
{
	struct pci_dev *d = NULL;

	for (; *names; names++) {
		d = pci_next(d);
		assert_non_null(d);
		assert_string_equal(d->name, *names);
	}
	assert_null(pci_next(d));
}

static void test_no_pci(void **state)
{
	model_pci_reset(false);
	model_pci_add(0, 1, 1, 0);
	pci_enumerate();
	assert_null(pci_next(NULL));
}

static const char *const order[] = { "00:00.0", "00:02.0", "00:02.3", "00:1f.0", "01:00.0",
	"02:05.0", "02:05.1", "05:00.0", NULL };

static void build_tree(void)
{
	model_pci_add(MODEL_BDF(2, 5, 0), 0x1af4, 0x1042, 0x010000)->cfg[PCI_HEADER] = 0x80;
	model_pci_add(MODEL_BDF(2, 5, 1), 0x1af4, 0x1042, 0x010000);
	model_pci_add(MODEL_BDF(5, 0, 0), 0x1b36, 0x0010, 0x010802);
	model_pci_add(MODEL_BDF(0, 0, 0), 0x8086, 0x29c0, 0x060000);
	/* function 1 would be found only if function 0 said it has more */
	model_pci_add(MODEL_BDF(0, 0, 1), 0x8086, 0x29c0, 0x060000);
	bridge(MODEL_BDF(0, 0x1f, 0), 5);
	bridge(MODEL_BDF(0, 2, 0), 1)->cfg[PCI_HEADER] |= 0x80;
	bridge(MODEL_BDF(0, 2, 3), 0); /* firmware gave it no bus */
	bridge(MODEL_BDF(1, 0, 0), 2);
}

static void test_order(void **state)
{
	struct pci_dev *d;

	build_tree();
	pci_enumerate();
	expect_names(order);
	for (d = pci_next(NULL); d && d->bus != 5; d = pci_next(d))
		;
	assert_int_equal(d->vendor, 0x1b36);
	assert_int_equal(d->device, 0x0010);
	assert_int_equal(d->class_code, 0x010802);
}

static void test_ecam(void **state)
{
	struct pci_dev *d;

	model_pci_reset(false);
	build_tree();
	model_pci_ecam(ECAM_AT);
	pci_add_ecam(ECAM_AT, 0, 0, 0xff);
	pci_enumerate();
	expect_names(order);
	d = pci_next(NULL);
	pci_write32(d, 0x104, 0x12345678); /* beyond what ports reach */
	assert_int_equal(pci_read32(d, 0x104), 0x12345678);
	assert_int_equal(pci_read16(d, 0x106), 0x1234);
	assert_int_equal(pci_read8(d, 0x105), 0x56);
	pci_write8(d, 0x107, 0xab);
	pci_write16(d, 0x104, 0xcdef);
	assert_int_equal(pci_read32(d, 0x104), 0xab34cdef);
}

static void test_ecam_refusals(void **state)
{
	pci_add_ecam(ECAM_AT, 1, 0, 255); /* another segment */
	pci_add_ecam(ECAM_AT, 0, 9, 3);
	pci_add_ecam(ECAM_AT + 4096, 0, 0, 255);
	pci_add_ecam(0, 0, 0, 255);
	pci_add_ecam(UINT64_MAX & ~0xfffffull, 0, 0, 255);
	assert_true(host_log_has("segment 1 is not used"));
	assert_true(host_log_has("bad ECAM window at 0xb0001000"));
	build_tree();
	pci_enumerate(); /* by ports, then */
	expect_names(order);
	assert_int_equal(pci_read32(pci_next(NULL), 0x104), UINT32_MAX);
}

/* A window nothing can be mapped from: no devices, no crash. */
static void test_ecam_nowhere(void **state)
{
	model_pci_reset(false);
	pci_add_ecam(0x40000000, 0, 0, 255);
	pci_enumerate();
	assert_null(pci_next(NULL));
}

static void test_bridge_loops(void **state)
{
	unsigned i, n = 0;
	struct pci_dev *d;

	bridge(MODEL_BDF(0, 1, 0), 0);
	bridge(MODEL_BDF(0, 2, 0), 1);
	bridge(MODEL_BDF(1, 0, 0), 1);
	bridge(MODEL_BDF(1, 1, 0), 3);
	bridge(MODEL_BDF(3, 1, 0), 1);
	for (i = 0x20; i < 0x60; i++) /* a chain of bridges too deep to be real */
		bridge(MODEL_BDF(i, 0, 0), i + 1);
	bridge(MODEL_BDF(0, 3, 0), 0x20);
	pci_enumerate();
	for (d = pci_next(NULL); d; d = pci_next(d))
		n++;
	assert_in_range(n, 5 + 10, 6 + 16);
	assert_true(host_log_has("more than 16 bridges"));
}

static void test_too_many(void **state)
{
	unsigned i, n = 0;
	struct pci_dev *d;

	/* 00:00.1 leads to bus 1, 00:00.2 to bus 2 */
	bridge(1, 1);
	bridge(2, 2);
	model_pci_add(0, 1, 1, 0)->cfg[PCI_HEADER] = 0x80;
	for (i = 3; i < 256; i++)
		model_pci_add(i, 1, 1, 0)->cfg[PCI_HEADER] = 0x80;
	for (i = 0; i < 256; i++)
		model_pci_add(1 << 8 | i, 1, 1, 0)->cfg[PCI_HEADER] = 0x80;
	model_pci_add(2 << 8, 1, 1, 0);
	pci_enumerate();
	for (d = pci_next(NULL); d; d = pci_next(d))
		n++;
	assert_int_equal(n, 512);
	assert_true(host_log_has("more than 512 devices"));
}

static void test_no_memory(void **state)
{
	unsigned n;

	for (n = 1;; n++) {
		setup(state);
		build_tree();
		host_fail_alloc(n);
		pci_enumerate();
		if (!host_alloc_failed())
			break;
		assert_true(host_log_has("no memory"));
	}
	assert_in_range(n, 9, 9);
}

static struct pci_dev *one_device(struct model_pci_fn **f)
{
	*f = model_pci_add(MODEL_BDF(0, 4, 0), 0x1af4, 0x1042, 0x010000);
	pci_enumerate();
	return pci_next(NULL);
}

static void test_caps(void **state)
{
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);

	assert_int_equal(pci_find_cap(d, 9, 0), 0);
	f->cfg[PCI_CAP_FIRST] = 0x50;
	memcpy(&f->cfg[0x50], "\x09\x60", 2);
	memcpy(&f->cfg[0x60], "\x11\x73", 2); /* low bits are reserved */
	memcpy(&f->cfg[0x70], "\x09\x00", 2);
	assert_int_equal(pci_find_cap(d, 9, 0), 0); /* status says there are none */
	f->cfg[PCI_STATUS] = PCI_STATUS_CAPS;
	assert_int_equal(pci_find_cap(d, 9, 0), 0x50);
	assert_int_equal(pci_find_cap(d, 9, 0x50), 0x70);
	assert_int_equal(pci_find_cap(d, 9, 0x70), 0);
	assert_int_equal(pci_find_cap(d, 0x11, 0), 0x60);
	assert_int_equal(pci_find_cap(d, 5, 0), 0);

	f->cfg[0x71] = 0x50; /* a loop */
	assert_int_equal(pci_find_cap(d, 9, 0x70), 0);
	assert_int_equal(pci_find_cap(d, 5, 0), 0);
	f->cfg[0x71] = 0x70; /* itself */
	assert_int_equal(pci_find_cap(d, 9, 0x70), 0);
	f->cfg[0x61] = 0x10; /* into the header */
	assert_int_equal(pci_find_cap(d, 9, 0x50), 0);
	assert_int_equal(pci_find_cap(d, 9, 0x44), 0); /* after one that is not there */

	f->gone = true;
	assert_true(pci_is_gone(d));
	assert_int_equal(pci_find_cap(d, 9, 0), 0);
	assert_int_equal(pci_find_cap(d, 0xff, 0), 0xfc); /* all ones, and no endless walk */
}

static uint64_t reg_read(void *ctx, uint64_t off, unsigned size)
{
	return ((uint32_t *)ctx)[off / 4];
}

static void reg_write(void *ctx, uint64_t off, unsigned size, uint64_t v)
{
	((uint32_t *)ctx)[off / 4] = (uint32_t)v;
}

static const struct host_mmio_ops regs = { reg_read, reg_write };
static uint32_t memory[4096];

static void test_bars(void **state)
{
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);
	volatile void *p;
	uint64_t size;

	host_mmio_region(0xfe000000, 0x4000, &regs, memory);
	host_mmio_region(0x8000000000, 0x4000, &regs, memory);
	model_pci_set16(f, PCI_COMMAND, PCI_COMMAND_MEM);
	model_pci_bar(f, 0, 0xfe000000, 0x1000, false);
	model_pci_bar(f, 4, 0x8000000000, 0x4000, true);
	model_pci_set32(f, PCI_BAR0 + 8, 0xc001); /* I/O */

	p = pci_map_bar(d, 0, &size);
	assert_non_null(p);
	assert_int_equal(size, 0x1000);
	assert_int_equal(model_pci_get32(f, PCI_BAR0), 0xfe000000);
	mmio_write32((volatile char *)p + 8, 77);
	assert_int_equal(memory[2], 77);
	assert_ptr_equal(pci_map_bar(d, 0, &size), p); /* mapped once */

	assert_non_null(pci_map_bar(d, 4, &size));
	assert_int_equal(size, 0x4000);
	assert_int_equal(model_pci_get32(f, PCI_BAR0 + 16), PCI_BAR_TYPE_64);
	assert_int_equal(model_pci_get32(f, PCI_BAR0 + 20), 0x80);
	assert_int_equal(f->sized_on, 0);
	assert_int_equal(model_pci_get16(f, PCI_COMMAND), PCI_COMMAND_MEM);

	assert_null(pci_map_bar(d, 2, &size)); /* I/O */
	assert_int_equal(size, 0);
	assert_null(pci_map_bar(d, 3, &size)); /* none */
	assert_null(pci_map_bar(d, 6, &size));
	assert_null(pci_map_bar(d, 99, &size));
}

static void test_bad_bars(void **state)
{
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);
	uint64_t size;

	model_pci_set32(f, PCI_BAR0, PCI_BAR_TYPE_RESERVED);
	assert_null(pci_map_bar(d, 0, &size));
	model_pci_set32(f, PCI_BAR0 + 20, PCI_BAR_TYPE_64); /* its other half would be no BAR */
	assert_null(pci_map_bar(d, 5, &size));
	f->bar_size[1] = 0x3000; /* no power of two: the mask has a hole */
	model_pci_set32(f, PCI_BAR0 + 4, 0xfe000000);
	assert_null(pci_map_bar(d, 1, &size));
	model_pci_bar(f, 1, 0xfe000800, 0x1000, false); /* not aligned to itself */
	assert_null(pci_map_bar(d, 1, &size));
	model_pci_bar(f, 2, 0xfffffffffffff000, 0x1000, true); /* nothing is there */
	assert_null(pci_map_bar(d, 2, &size));
	f->gone = true;
	assert_null(pci_map_bar(d, 2, &size));
}

static void test_assign(void **state)
{
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);
	uint64_t size;

	model_pci_bar(f, 0, 0, 0x1000, false);
	model_pci_bar(f, 2, 0, 0x4000, true);
	assert_null(pci_map_bar(d, 0, &size)); /* no window */
	assert_true(host_log_has("has no address and there is none to give"));
	pci_set_mmio_window(0xe0001000, 0x8000);
	host_mmio_region(0xe0001000, 0x1000, &regs, memory);
	host_mmio_region(0xe0004000, 0x4000, &regs, memory);
	assert_non_null(pci_map_bar(d, 0, &size));
	assert_int_equal(model_pci_get32(f, PCI_BAR0), 0xe0001000);
	assert_non_null(pci_map_bar(d, 2, &size)); /* aligned to its size */
	assert_int_equal(model_pci_get32(f, PCI_BAR0 + 8), 0xe0004000 | PCI_BAR_TYPE_64);
	model_pci_bar(f, 1, 0, 0x4000, false);
	assert_null(pci_map_bar(d, 1, &size)); /* the window is full */

	/* above 4 GiB only 64-bit BARs can go */
	pci_set_mmio_window(0x100000000, 0x100000);
	host_mmio_region(0x100000000, 0x4000, &regs, memory);
	assert_null(pci_map_bar(d, 1, &size));
	model_pci_bar(f, 4, 0, 0x4000, true);
	assert_non_null(pci_map_bar(d, 4, &size));
	assert_int_equal(model_pci_get32(f, PCI_BAR0 + 20), 1);
}

static void test_msix(void **state)
{
	struct irq irq = { .msi_addr = 0x1fee01000, .msi_data = 0x45 };
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);
	uint8_t body[10] = { 3, 0, 0x00, 0x08, 0, 0 }; /* four entries, BAR 0 + 0x800 */
	unsigned cap, i;

	assert_int_equal(pci_msix_enable(d), 0);
	cap = model_pci_cap(f, PCI_CAP_ID_MSIX, body, sizeof(body));
	assert_int_equal(pci_msix_enable(d), 0); /* no such BAR */
	assert_int_equal(pci_msix_set(d, 0, &irq), -EINVAL);
	host_mmio_region(0xfe000000, 0x1000, &regs, memory);
	model_pci_bar(f, 0, 0xfe000000, 0x1000, false);

	model_pci_set32(f, cap + 4, 0xff0); /* four entries do not fit there */
	assert_int_equal(pci_msix_enable(d), 0);
	model_pci_set32(f, cap + 4, 0x1000);
	assert_int_equal(pci_msix_enable(d), 0);
	model_pci_set32(f, cap + 4, 0xfffffff8);
	assert_int_equal(pci_msix_enable(d), 0);
	assert_int_equal(model_pci_get16(f, cap + 2) & PCI_MSIX_CTRL_ENABLE, 0);

	model_pci_set32(f, cap + 4, 0x800);
	memset(memory, 0xee, sizeof(memory));
	assert_int_equal(pci_msix_enable(d), 4);
	assert_int_equal(model_pci_get16(f, cap + 2), PCI_MSIX_CTRL_ENABLE | 3);
	for (i = 0; i < 4; i++)
		assert_int_equal(memory[0x200 + 4 * i + 3], 1);
	assert_int_equal(memory[0x200 + 16], 0xeeeeeeee);
	assert_int_equal(pci_msix_set(d, 4, &irq), -EINVAL);
	assert_int_equal(pci_msix_set(d, 2, &irq), 0);
	assert_int_equal(memory[0x208], 0xfee01000);
	assert_int_equal(memory[0x209], 1);
	assert_int_equal(memory[0x20a], 0x45);
	assert_int_equal(memory[0x20b], 0);
	assert_int_equal(memory[0x207], 1);
}

static void test_enable(void **state)
{
	struct model_pci_fn *f;
	struct pci_dev *d = one_device(&f);

	model_pci_set16(f, PCI_COMMAND, PCI_COMMAND_IO);
	pci_enable(d);
	assert_int_equal(model_pci_get16(f, PCI_COMMAND),
		PCI_COMMAND_MEM | PCI_COMMAND_BUSM | PCI_COMMAND_NO_INTX);
	pci_disable(d);
	assert_int_equal(model_pci_get16(f, PCI_COMMAND), PCI_COMMAND_MEM | PCI_COMMAND_NO_INTX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_no_pci),
		T(test_order),
		T(test_ecam),
		T(test_ecam_refusals),
		T(test_ecam_nowhere),
		T(test_bridge_loops),
		T(test_too_many),
		T(test_no_memory),
		T(test_caps),
		T(test_bars),
		T(test_bad_bars),
		T(test_assign),
		T(test_msix),
		T(test_enable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

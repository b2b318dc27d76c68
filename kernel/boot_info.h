/* SPDX-License-Identifier: BSD-2-Clause */
/* boot_info - what boot found out, for boot/main.c, and how the machine hands over to it. */
#ifndef KERNEL_BOOT_INFO_H
#define KERNEL_BOOT_INFO_H

#include "kernel/acpi.h"

const struct acpi_info *boot_acpi(void);
/* First address above all RAM and at least 4 GiB: where unassigned 64-bit BARs may go. */
uint64_t boot_ram_end(void);

/* boot/main.c: runs on the first fiber of core 0, all cores up. */
void init_main(void *arg);

/* kernel/mem.c: memory as boot finds it. */
void mem_add_range(uint64_t phys, uint64_t bytes);
void mem_set_image(uint64_t bytes);
void mem_set_reserved(uint64_t bytes);

#endif

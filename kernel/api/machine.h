/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * machine - the few things the upper floors ask of the whole machine: how it was started, how to
 * stop it.
 */
#ifndef KERNEL_API_MACHINE_H
#define KERNEL_API_MACHINE_H

#include "kernel/api/base.h"
#include "kernel/api/strbuf.h"

/* The kernel command line, "" if none was given. */
const char *machine_cmdline(void);
/* Machine and processor in words for `dmesg` and `version`: "QEMU, 2 cores, ..." */
const char *machine_build_id(void); /* hex of the linker's build id */
const char *machine_version(void);  /* "Cairn 0.1 (git describe)" */

void machine_poweroff(void) __noreturn;
void machine_reboot(void) __noreturn;

/* A whole file of QEMU's fw_cfg, appended to out.  0, -ENOENT (no such file or no fw_cfg),
 * -E2BIG (over max). */
int fw_cfg_read(const char *name, size_t max, struct strbuf *out);

/* The instruction that TCG plugins count between (peer/guest/iogen.c): a nop of eight bytes that
 * carries id. */
#define MACHINE_MARK(id) \
	__asm__ volatile(".byte 0x0f,0x1f,0x84,0x00," #id ",0x00,0x4d,0x6b" ::: "memory")

#endif

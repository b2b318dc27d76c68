/* SPDX-License-Identifier: BSD-2-Clause */
/* fwcfg - QEMU's fw_cfg device, by its ports (QEMU's docs/specs/fw_cfg). */
#include "kernel/api/errno.h"
#include "kernel/api/machine.h"
#include "kernel/api/string.h"
#include "kernel/x86/io.h"
#include "kernel/x86/x86.h"

#define SELECT 0x510
#define DATA   0x511

enum { KEY_SIGNATURE = 0, KEY_NR_CPUS = 5, KEY_DIR = 0x19 };

#define MAX_FILES 4096 /* a directory longer than this is not one */

static void read_bytes(void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n--)
		*p++ = inb(DATA);
}

bool fw_cfg_present(void)
{
	char sig[4];

	outw(SELECT, KEY_SIGNATURE);
	read_bytes(sig, sizeof(sig));
	return !memcmp(sig, "QEMU", 4);
}

unsigned fw_cfg_nr_cpus(void)
{
	uint8_t n[2];

	if (!fw_cfg_present())
		return 0;
	outw(SELECT, KEY_NR_CPUS);
	read_bytes(n, sizeof(n));
	return (unsigned)(n[0] | n[1] << 8);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int fw_cfg_read(const char *name, size_t max, struct strbuf *out)
{
	uint8_t file[64];
	uint32_t n, size;

	if (!fw_cfg_present())
		return -ENOENT;
	outw(SELECT, KEY_DIR);
	read_bytes(file, 4);
	for (n = MIN(be32(file), (uint32_t)MAX_FILES); n; n--) {
		read_bytes(file, sizeof(file));
		file[63] = 0;
		if (strcmp((char *)file + 8, name))
			continue;
		size = be32(file);
		if (size > max)
			return -E2BIG;
		outw(SELECT, (uint16_t)(file[4] << 8 | file[5]));
		while (size--)
			strbuf_putc(out, (char)inb(DATA));
		return out->truncated ? -ENOMEM : 0;
	}
	return -ENOENT;
}

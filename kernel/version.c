/* SPDX-License-Identifier: BSD-2-Clause */
/* version - what this image calls itself. */
#include "kernel/api/machine.h"
#include "version.h"

extern const uint8_t build_id_start[], build_id_end[];

const char *machine_version(void)
{
	return "Cairn " CAIRN_VERSION;
}

/* The note is a 12-byte header, "GNU\0", then the hash. */
const char *machine_build_id(void)
{
	static char hex[41];
	const uint8_t *p = build_id_start + 16;
	unsigned i;

	for (i = 0; i < 20 && p + i < build_id_end; i++)
		str_printf(hex + 2 * i, 3, "%02x", p[i]);
	return hex;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * main - the cast and the order in which it comes up.  The machine and all cores are there; this
 * runs on the first fiber of core 0.
 */
#include "drivers/driver.h"
#include "drivers/pci/pci.h"
#include "drivers/virtio/mmio.h"
#include "kernel/api/console.h"
#include "kernel/api/errno.h"
#include "kernel/api/log.h"
#include "kernel/api/machine.h"
#include "kernel/api/string.h"
#include "kernel/boot_info.h"
#include "mapper/control.h"
#include "net/net.h"
#include "shell/shell.h"

#define CONFIG_MAX (1u << 20)

/*
 * The value of name= on the kernel command line, at the start of a word; in double quotes it may
 * hold spaces.  *from goes past it; false when there is no more.
 */
static bool cmdline_value(const char **from, const char *name, struct strbuf *out)
{
	size_t n = strlen(name);
	const char *p;

	for (p = *from; (p = strstr(p, name)); p += n) {
		bool quoted = false;

		if (p != machine_cmdline() && p[-1] != ' ' && p[-1] != '"')
			continue;
		strbuf_reset(out);
		for (p += n; *p && (quoted || *p != ' '); p++) {
			if (*p == '"')
				quoted = !quoted;
			else
				strbuf_putc(out, *p);
		}
		*from = p;
		return true;
	}
	return false;
}

/* virtio_mmio.device=<size>@<base>:<irq>, as QEMU's microvm writes it without ACPI. */
static void mmio_from_cmdline(void)
{
	const char *p = machine_cmdline();
	struct strbuf word = { 0 };
	uint64_t size, base, irq;

	while (cmdline_value(&p, "virtio_mmio.device=", &word)) {
		char *text = (char *)strbuf_text(&word), *at = strchr(text, '@');
		char *colon = at ? strchr(at, ':') : NULL,
		     *more = colon ? strchr(colon + 1, ':') : NULL;
		unsigned unit = 1;

		if (colon) {
			*at++ = *colon++ = 0;
			if (more)
				*more = 0;
			if (*text && (text[strlen(text) - 1] | 32) == 'k') {
				text[strlen(text) - 1] = 0;
				unit = 1024;
			}
		}
		if (!colon || str_to_u64(text, 0, 1 << 20, &size) ||
			str_to_u64(at, 0, UINT64_MAX >> 12, &base) ||
			str_to_u64(colon, 0, 1023, &irq))
			log_warn("virtio-mmio: cannot read a device from the command line");
		else
			virtio_mmio_add(base, (uint32_t)size * unit, (unsigned)irq);
	}
	strbuf_free(&word);
}

static void find_buses(void)
{
	const struct acpi_info *a = boot_acpi();
	unsigned i;

	for (i = 0; i < a->nr_ecam; i++)
		pci_add_ecam(a->ecam[i].addr, a->ecam[i].segment, a->ecam[i].first_bus,
			a->ecam[i].last_bus);
	pci_set_mmio_window(boot_ram_end(), 1ull << 36);
	for (i = 0; i < a->nr_virtio; i++)
		virtio_mmio_add(a->virtio[i].addr, a->virtio[i].size, a->virtio[i].gsi);
	mmio_from_cmdline();
}

/* dm-mod.waitfor=<device>[,...]: what is not there after all disks were looked for will not come.
 */
static void look_for(const char *list)
{
	bool all = true;

	while (*list) {
		const char *comma = strchr(list, ',');
		char name[BDEV_NAME_MAX];
		size_t n = comma ? (size_t)(comma - list) : strlen(list);

		str_printf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), list);
		list += n + (comma ? 1 : 0);
		if (bdev_find(name))
			continue;
		log_err("device-mapper: init: %s: no such device", name);
		all = false;
	}
	if (all)
		log_info("device-mapper: init: all devices available");
}

/* dm-mod.create=<devices>, as Linux has it: in the form of `dmsetup create --concise`. */
static void create_early(const char *name, struct strbuf *text)
{
	const char *p = machine_cmdline();
	struct strbuf line = { 0 };

	while (cmdline_value(&p, name, text)) {
		if (strchr(strbuf_text(text), '\'')) {
			log_err("device-mapper: init: %s a quote has no place there", name);
			continue;
		}
		strbuf_reset(&line);
		strbuf_printf(&line, "dmsetup create --concise '%s'", strbuf_text(text));
		shell_run_config("dm-mod.create", strbuf_text(&line));
	}
	strbuf_free(&line);
}

static void run_dm_mod(void)
{
	static const char *const waitfor[] = { "dm-mod.waitfor=", "dm_mod.waitfor=" };
	static const char *const create[] = { "dm-mod.create=", "dm_mod.create=" };
	struct strbuf text = { 0 };
	const char *p;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(waitfor); i++)
		for (p = machine_cmdline(); cmdline_value(&p, waitfor[i], &text);)
			look_for(strbuf_text(&text));
	for (i = 0; i < ARRAY_SIZE(create); i++)
		create_early(create[i], &text);
	strbuf_free(&text);
}

/* What the person who started us wants done before the first prompt. */
static void run_config(void)
{
	const char *p = machine_cmdline();
	struct strbuf text = { 0 };
	int err;

	while (cmdline_value(&p, "cairn.run=", &text))
		shell_run_config("cairn.run", strbuf_text(&text));
	strbuf_reset(&text);
	err = fw_cfg_read("opt/cairn/config", CONFIG_MAX, &text);
	if (!err)
		shell_run_config("opt/cairn/config", strbuf_text(&text));
	else if (err != -ENOENT)
		log_err("config: opt/cairn/config: %s", err_text(err));
	strbuf_free(&text);
}

void init_main(void *arg)
{
	/* The firmware may have left line wrap off and the cursor anywhere. */
	static const char hello[] = "\x1b[?7h\r\n";
	struct console *c = NULL;

	if (dm_init())
		panic("no memory for the mapper");
	find_buses();
	drivers_attach();
	if (net_init())
		log_err("net: no memory for all interfaces");
	while ((c = console_next(c))) {
		c->write(c, hello, sizeof(hello) - 1);
		c->write(c, machine_version(), strlen(machine_version()));
		c->write(c, "\r\n", 2);
	}
	run_dm_mod();
	run_config();
	for (c = NULL; (c = console_next(c));)
		if (shell_start(c))
			log_err("%s: no memory for a shell", c->name);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host - the rest of kernel/api on the host: panic, log, consoles, machine; and host_reset().
 * With HOST_LOG=1 in the environment log lines also go to stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include "tests/host/host_internal.h"
#include "kernel/lib/logring.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(HOST_ASAN)
#define HOST_ASAN 1
#endif
#ifdef HOST_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define LOG_SLOTS    1024
#define FW_CFG_FILES 8

static struct log_slot slots[LOG_SLOTS];
static struct logring ring = { slots, LOG_SLOTS, 0 };
static uint64_t log_begin; /* what host_log_has() looks at */
static struct list consoles = LIST_INIT(consoles);
static char cmdline[4096];

static struct fw_cfg_file {
	char name[64];
	char *data;
	size_t len;
} fw_cfg[FW_CFG_FILES];
static unsigned nr_fw_cfg;

/* ---- panic ---- */

void panic(const char *fmt, ...)
{
	char words[512];
	va_list ap;

	va_start(ap, fmt);
	str_vprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	host_escape(words);
	fprintf(stderr, "panic: %s\n", words);
#ifdef HOST_ASAN
	__sanitizer_print_stack_trace();
#endif
	abort();
}

/* ---- log ---- */

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX + 1];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	len = str_vprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	logring_write(&ring, level, now_ns(), text, MIN(len, (size_t)LOG_TEXT_MAX));
	if (getenv("HOST_LOG"))
		fprintf(stderr, "log: %s\n", text);
}

bool log_read(uint64_t *seq, struct log_line *line)
{
	return logring_read(&ring, seq, line);
}

bool host_log_has(const char *text)
{
	uint64_t seq = log_begin;
	struct log_line line;

	while (log_read(&seq, &line))
		if (strstr(line.text, text))
			return true;
	return false;
}

void host_log_clear(void)
{
	log_begin = ring.next_seq;
}

/* ---- consoles ---- */

void console_register(struct console *c)
{
	list_add_tail(&consoles, &c->node);
}

struct console *console_next(struct console *prev)
{
	struct list *n = prev ? prev->node.next : consoles.next;

	return n == &consoles ? NULL : container_of(n, struct console, node);
}

/* ---- machine ---- */

const char *machine_cmdline(void)
{
	return cmdline;
}

void host_set_cmdline(const char *line)
{
	ASSERT(str_copy(cmdline, sizeof(cmdline), line));
}

const char *machine_build_id(void)
{
	return "0000000000000000000000000000000000000000";
}

const char *machine_version(void)
{
	return "Cairn (host tests)";
}

void machine_poweroff(void)
{
	host_escape("poweroff");
	exit(0);
}

void machine_reboot(void)
{
	host_escape("reboot");
	exit(0);
}

void host_fw_cfg_add(const char *name, const void *data, size_t len)
{
	struct fw_cfg_file *f = &fw_cfg[nr_fw_cfg];

	ASSERT(nr_fw_cfg < FW_CFG_FILES);
	ASSERT(str_copy(f->name, sizeof(f->name), name));
	f->data = malloc(len ? len : 1);
	ASSERT(f->data);
	if (len)
		memcpy(f->data, data, len);
	f->len = len;
	nr_fw_cfg++;
}

int fw_cfg_read(const char *name, size_t max, struct strbuf *out)
{
	for (unsigned i = 0; i < nr_fw_cfg; i++) {
		if (strcmp(fw_cfg[i].name, name) != 0)
			continue;
		if (fw_cfg[i].len > max)
			return -E2BIG;
		strbuf_write(out, fw_cfg[i].data, fw_cfg[i].len);
		return 0;
	}
	return -ENOENT;
}

/* ---- between tests ---- */

void host_reset(void)
{
	host_fiber_reset(); /* first: we may be on a fiber's stack as far as the sanitizer knows */
	host_core_reset();
	host_mem_reset();
	host_device_reset();
	list_init(&consoles);
	cmdline[0] = '\0';
	while (nr_fw_cfg)
		free(fw_cfg[--nr_fw_cfg].data);
	host_log_clear();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* log - one ring for all cores; see kernel/api/log.h. */
#include "kernel/api/log.h"
#include "kernel/api/strbuf.h"
#include "kernel/api/timer.h"
#include "kernel/lib/logring.h"
#include "kernel/spin.h"

#define NR_LINES 1024

static struct log_slot slots[NR_LINES];
static struct logring ring = { .slots = slots, .nr = NR_LINES };
static struct spinlock lock;

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX + 1];
	uint64_t irq;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = str_vprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > LOG_TEXT_MAX)
		n = LOG_TEXT_MAX;
	irq = spin_lock(&lock);
	logring_write(&ring, level, now_ns(), text, n);
	spin_unlock(&lock, irq);
}

bool log_read(uint64_t *seq, struct log_line *line)
{
	uint64_t irq = spin_lock(&lock);
	bool any = logring_read(&ring, seq, line);

	spin_unlock(&lock, irq);
	return any;
}

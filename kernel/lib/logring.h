/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * logring - the store behind log.h: the newest lines in slots of one size, the oldest overwritten.
 * Not locked; the caller keeps writers and readers apart.
 */
#ifndef KERNEL_LIB_LOGRING_H
#define KERNEL_LIB_LOGRING_H

#include "kernel/api/log.h"

#define LOG_TEXT_MAX 240

struct log_slot {
	uint64_t when_ns;
	uint8_t level;
	uint8_t len;
	char text[LOG_TEXT_MAX + 6]; /* makes a slot 256 bytes */
};

struct logring {
	struct log_slot *slots;
	unsigned nr; /* how many slots, a power of two */
	uint64_t next_seq;
};

/* Keeps the first LOG_TEXT_MAX bytes of text, bytes that a terminal might obey as '?'. */
void logring_write(
	struct logring *r, enum log_level level, uint64_t when_ns, const char *text, size_t len);
/* As log_read(). */
bool logring_read(const struct logring *r, uint64_t *seq, struct log_line *line);

#endif

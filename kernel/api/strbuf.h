/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * strbuf - text that grows.  Writers never check for failure: a buffer that ran out of memory or
 * room keeps what fitted, stays terminated and remembers it in .truncated.
 *
 * Format: %d %i %u %x %X %o %c %s %p %% with - 0 + space # flags, width and precision (also *),
 * and hh h l ll z t j lengths.  No floating point.
 */
#ifndef KERNEL_API_STRBUF_H
#define KERNEL_API_STRBUF_H

#include <stdarg.h>
#include "kernel/api/base.h"

struct strbuf {
	char *data;     /* terminated once anything was written or strbuf_text() asked */
	size_t len;     /* bytes before the terminator */
	size_t size;    /* bytes at data */
	size_t max;     /* grows up to this many bytes, terminator included */
	bool fixed;     /* data is the caller's and does not grow */
	bool truncated; /* something did not fit */
};

/* Zeroed is a valid empty growing buffer without limit; these two say otherwise. */
void strbuf_init(struct strbuf *sb, size_t max);
void strbuf_init_fixed(struct strbuf *sb, char *data, size_t size);
void strbuf_free(struct strbuf *sb);  /* leaves it empty and usable; wipes nothing */
void strbuf_reset(struct strbuf *sb); /* len = 0, keeps the memory */

void strbuf_putc(struct strbuf *sb, char c);
void strbuf_puts(struct strbuf *sb, const char *s);
void strbuf_write(struct strbuf *sb, const void *p, size_t n);
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) __printf(2, 3);
void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list ap);
const char *strbuf_text(struct strbuf *sb); /* never NULL, always terminated */

/* Into an array: always terminated (size > 0); the length it would have had. */
size_t str_printf(char *dst, size_t size, const char *fmt, ...) __printf(3, 4);
size_t str_vprintf(char *dst, size_t size, const char *fmt, va_list ap);

#endif

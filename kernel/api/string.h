/* SPDX-License-Identifier: BSD-2-Clause */
/* string - the C library's string functions that we use, under their own names and contracts. */
#ifndef KERNEL_API_STRING_H
#define KERNEL_API_STRING_H

#include "kernel/api/base.h"

#if __STDC_HOSTED__
#include <string.h>
#include <strings.h>
#else
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#if !__STDC_HOSTED__ && !defined(STRING_C)
/* Freestanding code has no builtins under their plain names; those of a known small size are then
 * calls as well. */
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define memcmp __builtin_memcmp
#endif
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
int strcasecmp(const char *a, const char *b);
int strncasecmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *s, const char *sub);
#endif

/* memcpy for the bytes of disks: counted, for what is not copied at all is the fastest. */
void copy_data(void *restrict dst, const void *restrict src, size_t n);
uint64_t copied_data(void); /* so many since boot */

/* Copies as much of src as fits and always terminates (size > 0).  True if all of it fitted. */
bool str_copy(char *dst, size_t size, const char *src);

/*
 * A whole string as an unsigned number in the given base (0: 0x and 0 prefixes as in C): digits
 * only, no sign, no space, nothing after.  0, -EINVAL (not a number) or -ERANGE (over max).
 */
int str_to_u64(const char *s, unsigned base, uint64_t max, uint64_t *out);

#endif

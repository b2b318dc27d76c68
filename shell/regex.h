/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * regex - whether a text has a match of a pattern somewhere in it: characters, . [a-z] [^a-z] ^ $
 * ( ) | * + ? and \ before a character.  Time is bounded by the lengths multiplied; nothing nests
 * on the stack deeper than REGEX_DEPTH.
 */
#ifndef SHELL_REGEX_H
#define SHELL_REGEX_H

#include "kernel/api/base.h"
#include "kernel/api/strbuf.h"

#define REGEX_DEPTH 16

struct regex;

/* NULL with words in why: no memory, or not a pattern. */
struct regex *regex_make(const char *pattern, struct strbuf *why);
bool regex_matches(struct regex *r, const char *text);
void regex_free(struct regex *r); /* NULL does nothing */

#endif

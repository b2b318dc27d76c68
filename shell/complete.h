/* SPDX-License-Identifier: BSD-2-Clause */
/* complete - what Tab offers: verbs, and what a verb itself has to say about its words. */
#ifndef SHELL_COMPLETE_H
#define SHELL_COMPLETE_H

#include "shell/lineedit.h"

/* For lineedit.complete; ctx is not used.  The caller frees c->insert and c->list. */
void shell_complete(void *ctx, const char *before, size_t n, struct completions *c);

/* For verbs: offers every device there is, as NAME or, if begun says so, as a path under /dev. */
void complete_devices(const char *begun, void (*out)(void *ctx, const char *word), void *ctx);
/* The same for mapped devices only. */
void complete_mapped(const char *begun, void (*out)(void *ctx, const char *word), void *ctx);

#endif

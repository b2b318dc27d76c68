/* SPDX-License-Identifier: BSD-2-Clause */
/* iscsi_export_words - `export iscsi ...` for tests that are not on a fiber: words in one string.
 */
#ifndef TESTS_HOST_ISCSI_EXPORT_WORDS_H
#define TESTS_HOST_ISCSI_EXPORT_WORDS_H

#include "kernel/api/base.h"

int words_create(const char *words);
int words_remove(const char *name, bool force);
void words_remove_all(void); /* by force */
const char *words_why(void); /* of the last */
const char *words_list(void);
const char *words_sessions(void);
const char *words_stats(void);

#endif

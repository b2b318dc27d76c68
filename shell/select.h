/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * select - which rows of a report are wanted, as libdm's -S says it:
 *
 *	field=value  !=  =~ (a pattern)  !~  and for numbers > < >= <=
 *	a && b  or  a, b;   a || b  or  a # b;   ( ... )   !( ... )
 */
#ifndef SHELL_SELECT_H
#define SHELL_SELECT_H

#include "shell/report.h"

/* 0, or -EINVAL or -ENOMEM with words in why. */
int select_check(const struct report_field *all, const char *text, struct strbuf *why);
/* Of a selection that was checked. */
bool select_row(const struct report_field *all, const char *text, const void *row);

#endif

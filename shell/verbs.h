/* SPDX-License-Identifier: BSD-2-Clause */
/* verbs - every command by name; verbs.c puts them in order. */
#ifndef SHELL_VERBS_H
#define SHELL_VERBS_H

#include "shell/shell.h"

extern const struct verb blk_verb, dmesg_verb, dmsetup_verb, echo_verb, export_verb, help_verb,
	ip_verb, ping_verb, jobs_verb, kill_verb, lsblk_verb, mem_verb, poweroff_verb, reboot_verb,
	sleep_verb, uname_verb, uptime_verb, version_verb, wait_verb;

#endif

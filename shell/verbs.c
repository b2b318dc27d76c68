/* SPDX-License-Identifier: BSD-2-Clause */
/* verbs - the list of commands, in the order `help` prints them. */
#include "shell/verbs.h"

const struct verb *const all_verbs[] = {
	&help_verb,
	&lsblk_verb,
	&dmsetup_verb,
	&export_verb,
	&ip_verb,
	&ping_verb,
	&blk_verb,
	&mem_verb,
	&dmesg_verb,
	&jobs_verb,
	&wait_verb,
	&kill_verb,
	&echo_verb,
	&sleep_verb,
	&uptime_verb,
	&uname_verb,
	&version_verb,
	&reboot_verb,
	&poweroff_verb,
	NULL,
};

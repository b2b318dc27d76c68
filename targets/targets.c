/* SPDX-License-Identifier: BSD-2-Clause */
/* targets - the cast list.  A new target is one file and one line here. */
#include "kernel/api/string.h"
#include "mapper/target.h"
#include "targets/targets.h"

const struct target_ops *const all_targets[] = {
	&delay_ops,
	&dust_ops,
	&ebs_ops,
	&error_ops,
	&flakey_ops,
	&linear_ops,
	&log_writes_ops,
	&striped_ops,
	&switch_ops,
	&unstriped_ops,
	&zero_ops,
	NULL,
};

const struct target_ops *target_find(const char *name)
{
	for (unsigned i = 0; all_targets[i]; i++)
		if (!strcmp(all_targets[i]->name, name))
			return all_targets[i];
	return NULL;
}

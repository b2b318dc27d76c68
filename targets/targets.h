/* SPDX-License-Identifier: BSD-2-Clause */
/* targets - what each target's file offers to the cast list. */
#ifndef TARGETS_TARGETS_H
#define TARGETS_TARGETS_H

#include "mapper/target.h"

extern const struct target_ops delay_ops, dust_ops, ebs_ops, error_ops, flakey_ops, linear_ops,
	log_writes_ops, striped_ops, switch_ops, unstriped_ops, zero_ops;

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* ram - disks of memory, ram0 ... (major 1, the number is the minor).  Core 0. */
#ifndef DRIVERS_RAM_H
#define DRIVERS_RAM_H

#include "mapper/block.h"

/* A disk of zeroes.  -EINVAL (no such name, or not in whole sectors), -EEXIST, -ENOMEM; *words says
 * why. */
may_block int ram_create(const char *name, uint64_t bytes, const char **words);
/* Its memory is free again.  -ENODEV (no ram disk of that name), -EBUSY (open); *words says why. */
int ram_remove(const char *name, const char **words);

#endif

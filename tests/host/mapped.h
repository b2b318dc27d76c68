/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mapped - mapped devices for tests: the verbs of control.h on a fiber of their own, from code that
 * is not on one.  Devices are named, tables are text.  All answer 0 or -errno; why the last failed
 * is in mapped_why().
 */
#ifndef TESTS_HOST_MAPPED_H
#define TESTS_HOST_MAPPED_H

#include "mapper/control.h"

/* host_reset(), block_reset(), dm_init(); cmocka's setup. */
int mapped_setup(void **state);
/* Removes every mapped device; fails if one stays, or memory: destroy ramdisks before. */
int mapped_teardown(void **state);

/* Creates, loads and resumes; if the table is refused the device is not there. */
int mapped_create(const char *name, const char *table);
int mapped_create_empty(const char *name);
int mapped_load(const char *name, const char *table);
int mapped_load_read_only(const char *name, const char *table);
int mapped_clear(const char *name);
int mapped_suspend(const char *name);
int mapped_suspend_noflush(const char *name);
int mapped_resume(const char *name);
int mapped_remove(const char *name);
int mapped_remove_force(const char *name);
int mapped_remove_deferred(const char *name);
unsigned mapped_remove_all(bool force);
int mapped_rename(const char *name, const char *to);
int mapped_set_uuid(const char *name, const char *uuid);
int mapped_message(const char *name, sector_t sector, const char *word);
/* One request, waited for. */
int mapped_rw(struct bdev *dev, enum bio_op op, unsigned flags, sector_t sector,
	uint32_t nr_sectors, void *buf);

/* host_fail_alloc() for the next verb, its fiber not counted. */
void mapped_fail_alloc(unsigned n);

const char *mapped_why(void);
/* What dm_status() prints; valid until the next. */
const char *mapped_table(const char *name);
const char *mapped_inactive(const char *name);
const char *mapped_status(const char *name);
struct bdev *mapped_bdev(const char *name);
struct dm_info mapped_info(const char *name);

#endif

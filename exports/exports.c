/* SPDX-License-Identifier: BSD-2-Clause */
/* exports - the cast list.  A new kind of export is one folder and one line here. */
#include "exports/export.h"

extern const struct export_kind iscsi_export;

const struct export_kind *const all_exports[] = {
	&iscsi_export,
	NULL,
};

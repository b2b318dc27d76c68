/* SPDX-License-Identifier: BSD-2-Clause */
/* stdio - lwIP includes it and uses nothing of it here. */

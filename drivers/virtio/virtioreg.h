/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtioreg - what the virtio specification fixes, from Debian's linux-libc-dev: its virtio headers
 * carry a BSD licence of their own.  The one header they lean on, linux/types.h, does not; it is
 * kept out by its own include guard, and the few type names it would give are here.  So no include
 * path is needed, and nothing else of the C library comes in.
 */
#ifndef DRIVERS_VIRTIO_VIRTIOREG_H
#define DRIVERS_VIRTIO_VIRTIOREG_H

#include "kernel/api/base.h"

#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H
#define __bitwise
typedef uint8_t __u8;
typedef uint16_t __u16, __le16;
typedef uint32_t __u32, __le32;
typedef uint64_t __u64, __le64;
#endif

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#define VIRTIO_PCI_VENDOR       0x1af4
#define VIRTIO_PCI_MODERN_FIRST 0x1040 /* + device id, 4.1.2 */
#define VIRTIO_PCI_MODERN_LAST  0x107f
#define VIRTIO_PCI_TRANS_FIRST  0x1000 /* the subsystem id says which device, 4.1.2.3 */
#define VIRTIO_PCI_TRANS_LAST   0x103f

#define VIRTIO_MMIO_MAGIC 0x74726976u /* "virt" */

#define VIRTIO_BIT(f) (1ull << (f))

_Static_assert(sizeof(struct vring_desc) == 16, "2.7.5");
_Static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
_Static_assert(sizeof(struct virtio_pci_common_cfg) == 56, "4.1.4.3");
_Static_assert(sizeof(struct virtio_blk_outhdr) == 16, "5.2.6");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "5.2.6");
_Static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36, "5.2.4");

#endif

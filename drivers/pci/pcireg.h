/* SPDX-License-Identifier: BSD-2-Clause */
/* pcireg - what the PCI specifications fix: registers of configuration space and MSI-X entries. */
#ifndef DRIVERS_PCI_PCIREG_H
#define DRIVERS_PCI_PCIREG_H

/* Type 0 and 1 headers, PCI Local Bus 3.0 ch. 6.1 */
#define PCI_VENDOR    0x00
#define PCI_DEVICE    0x02
#define PCI_COMMAND   0x04
#define PCI_STATUS    0x06
#define PCI_CLASS     0x08 /* revision in the low byte */
#define PCI_HEADER    0x0e
#define PCI_BAR0      0x10
#define PCI_SECONDARY 0x19 /* bridges: bus number behind it */
#define PCI_SUBVENDOR 0x2c
#define PCI_SUBDEVICE 0x2e
#define PCI_CAP_FIRST 0x34

#define PCI_COMMAND_IO      0x0001
#define PCI_COMMAND_MEM     0x0002
#define PCI_COMMAND_BUSM    0x0004
#define PCI_COMMAND_NO_INTX 0x0400

#define PCI_STATUS_CAPS 0x0010

#define PCI_HEADER_MULTI  0x80
#define PCI_HEADER_TYPE   0x7f
#define PCI_HEADER_NORMAL 0
#define PCI_HEADER_BRIDGE 1

#define PCI_NR_BARS           6
#define PCI_BAR_IO            0x1
#define PCI_BAR_TYPE          0x6
#define PCI_BAR_TYPE_64       0x4
#define PCI_BAR_TYPE_RESERVED 0x6
#define PCI_BAR_MEM_MASK      (~0xfu)

/* Capabilities, ch. 6.7 */
#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_MSIX   0x11
#define PCI_CAPS_BEGIN    0x40
#define PCI_CAPS_MAX      48 /* as many as fit in the 192 bytes after the header */

/* MSI-X, ch. 6.8.2: in the capability */
#define PCI_MSIX_CTRL        2
#define PCI_MSIX_CTRL_SIZE   0x07ff
#define PCI_MSIX_CTRL_MASK   0x4000
#define PCI_MSIX_CTRL_ENABLE 0x8000
#define PCI_MSIX_TABLE       4
#define PCI_MSIX_TABLE_BIR   0x7
/* an entry of the table, in 32-bit words */
#define MSIX_ENTRY_WORDS 4
#define MSIX_ADDR_LO     0
#define MSIX_ADDR_HI     1
#define MSIX_DATA        2
#define MSIX_CTRL        3
#define MSIX_CTRL_MASKED 1u

#endif

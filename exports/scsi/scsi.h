/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi - the command set of a direct-access block device (SPC-4, SBC-3) over a bdev, for any
 * transport.  Core 0.
 *
 * A command goes in two steps, because the transport must know how much data moves before it has
 * it:
 *	scsi_begin()  looks at the CDB: done already (status and sense are there), or dir and bytes;
 *	              the transport gets memory for them, and for SCSI_OUT the data
 *	scsi_run()    carries it out; done() comes exactly once, perhaps before it returns
 * A read's data lands in the transport's pages by DMA and is not touched here.
 *
 * A command that began and is not run holds nothing and may be forgotten; one that runs cannot be
 * called back.
 */
#ifndef EXPORTS_SCSI_SCSI_H
#define EXPORTS_SCSI_SCSI_H

#include "mapper/block.h"

#define SCSI_LUNS_MAX  256
#define SCSI_SENSE_MAX 32
#define SCSI_XFER_MAX  (4u << 20) /* bytes one command may move; VPD B0 says so */

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_TASK_ABORTED = 0x40,
};

/* Sense key << 16 | ASC << 8 | ASCQ */
enum scsi_sense {
	SCSI_SENSE_NONE = 0,
	SCSI_NOT_READY = 0x020400, /* cause not reportable: a device without a block */
	SCSI_MEDIUM_READ_ERROR = 0x031100,
	SCSI_MEDIUM_WRITE_ERROR = 0x030c00,
	SCSI_HARDWARE_FAILURE = 0x044400,
	SCSI_INVALID_OPCODE = 0x052000,
	SCSI_LBA_OUT_OF_RANGE = 0x052100,
	SCSI_INVALID_FIELD_IN_CDB = 0x052400,
	SCSI_NO_SUCH_LUN = 0x052500,
	SCSI_INVALID_PARAMETER_LIST = 0x052600,
	SCSI_PARAMETER_LIST_LENGTH = 0x051a00,
	SCSI_SAVING_NOT_SUPPORTED = 0x053900,
	SCSI_POWER_ON = 0x062900,
	SCSI_LUN_DATA_CHANGED = 0x063f0e,
	SCSI_CAPACITY_CHANGED = 0x062a09,
	SCSI_WRITE_PROTECTED = 0x072700,
	SCSI_SPACE_ALLOCATION_FAILED = 0x072707,
	SCSI_ABORTED_CRC = 0x0b4705,     /* protocol service CRC error */
	SCSI_UNEXPECTED_DATA = 0x0b0c0c, /* unexpected unsolicited data */
	SCSI_TOO_LITTLE_DATA = 0x0b0c0d,
	SCSI_MISCOMPARE = 0x0e1d00,
};

/* A logical unit: filled by scsi_unit_init(). */
struct scsi_unit {
	struct bdev *dev;
	uint16_t lun;
	bool read_only;
	char serial[64]; /* VPD 80; differs between units, the same after a reboot and a rename */
	uint8_t naa[16]; /* VPD 83: NAA 6, the locally assigned name made of serial */
	uint32_t block;  /* logical block, bytes */
	uint64_t blocks; /* when the unit was made; capacity is read anew from dev */
	uint64_t reads, writes, read_bytes, written_bytes, errors;
};

/* What `REPORT LUNS` lists and where LUNs are looked up. */
struct scsi_target {
	char name[224];                         /* IQN */
	struct scsi_unit *units[SCSI_LUNS_MAX]; /* by LUN; NULL: none */
};

enum scsi_dir { SCSI_NO_DATA, SCSI_IN, SCSI_OUT };

/* An initiator's view of one LUN: unit attentions it has yet to hear.  One per session and LUN. */
struct scsi_nexus {
	uint32_t attention[4]; /* enum scsi_sense in order; 0: none */
};

struct scsi_cmd {
	/* the transport's, before scsi_begin() */
	struct scsi_target *target;
	struct scsi_unit
		*unit; /* NULL: no such LUN: INQUIRY, REPORT LUNS, REQUEST SENSE still answer */
	struct scsi_nexus *nexus; /* NULL: unit attentions are not kept */
	uint8_t cdb[16];
	void (*done)(struct scsi_cmd *c);
	void *owner;

	/* scsi_begin()'s */
	enum scsi_dir dir;
	uint32_t bytes; /* that move; 0 with SCSI_NO_DATA */
	bool medium;    /* they are the medium's: pages by DMA; else at most 64 KiB of parameters */

	/* the transport's, before scsi_run(): bytes of memory, in runs; a medium's runs begin at
	 * multiples of 512 bytes and are whole pages but for the last.  Less than bytes is allowed
	 * when the initiator expects less (the medium is then moved up to that many whole blocks
	 * for SCSI_OUT, and for SCSI_IN as much as there is room for); nr_segs 0: none. */
	struct seg *segs;
	unsigned nr_segs;
	uint32_t room; /* bytes in segs */

	/* at done() */
	uint8_t status; /* enum scsi_status */
	uint8_t sense_len;
	uint8_t sense[SCSI_SENSE_MAX]; /* fixed format with the LBA in the information field, or
					  descriptor format when the LBA needs it */
	uint32_t moved;                /* SCSI_IN: valid bytes in segs */

	/* scsi's own */
	struct bio bio;
	void *priv;
	uint64_t lba;
	uint32_t nr_blocks;
	uint8_t step;
};

/* Makes a unit for an open device.  identity: what makes it itself ("" : the device has none, then
 * its name is taken). */
void scsi_unit_init(
	struct scsi_unit *u, struct bdev *dev, uint16_t lun, bool read_only, const char *identity);

/* The unit a LUN field of 8 bytes (SAM-5 4.7, peripheral and flat addressing) means; NULL: none. */
struct scsi_unit *scsi_find(struct scsi_target *t, const uint8_t lun[8]);
void scsi_lun_text(uint16_t lun, uint8_t field[8]); /* the 8 bytes of a LUN */

/* True: go on with scsi_run(); false: it has ended, status and sense are set, done() is not called.
 */
bool scsi_begin(struct scsi_cmd *c);
void scsi_run(struct scsi_cmd *c);
/* Ends a command with CHECK CONDITION and this sense, without done(). */
void scsi_fail(struct scsi_cmd *c, enum scsi_sense sense);
/* To be told to every nexus when something happened to a unit. */
void scsi_attention(struct scsi_nexus *n, enum scsi_sense sense);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scsi_internal - what the files of this folder share: numbers of a CDB, the table of commands,
 * parameter data, the job of a command that needs memory of its own.
 */
#ifndef EXPORTS_SCSI_SCSI_INTERNAL_H
#define EXPORTS_SCSI_SCSI_INTERNAL_H

#include "exports/scsi/scsi.h"

#define PARAM_MAX   4096         /* bytes of the longest parameter data we make */
#define JOB_BYTES   (64u << 10)  /* a job's buffer; no logical block is larger */
#define JOBS_MAX    32           /* more at once are answered BUSY */
#define RANGE_MAX   65536u       /* blocks of one VERIFY */
#define SAME_MAX    8192u        /* of one WRITE SAME; VPD B0 says so */
#define UNMAP_BYTES (4ull << 30) /* most that one UNMAP may cover */
#define UNMAP_DESCS 256u

#define NO_ACTION 0xff /* opcodes without a service action */

/* ---- numbers, high byte first ---- */

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static inline uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static inline void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)(v >> 32));
	put32(p + 4, (uint32_t)v);
}

/* ---- commands ---- */

enum op_flags {
	OP_ALWAYS = 1,   /* also where there is no unit or a unit attention pending */
	OP_WRITES = 2,   /* refused by a unit that is read only */
	OP_DISCARDS = 4, /* there is no such command unless the device discards */
};

struct scsi_op {
	uint8_t opcode, action; /* the service action, or NO_ACTION */
	uint8_t flags;
	/* Either: makes the parameter data, at most PARAM_MAX bytes of zeroes before, and says how
	 * many there are; negative: scsi_fail() was called.  Called once to learn the length and
	 * once for the bytes, so it must change nothing. */
	int (*data)(struct scsi_cmd *c, uint8_t *out);
	uint8_t alloc_at, alloc_len; /* where in the CDB ALLOCATION LENGTH is; 0, 0: none */
	/* Or: as scsi_begin(). */
	bool (*begin)(struct scsi_cmd *c);
	/* Ends in scsi_end().  NULL: data is sent and that is all, or begin never says true. */
	void (*run)(struct scsi_cmd *c);
	/* Which bits of the CDB mean something, behind the opcode. */
	uint8_t usage[15];
};

extern const struct scsi_op scsi_ops[];
extern const unsigned nr_scsi_ops;

unsigned scsi_cdb_len(uint8_t opcode); /* 0: of no known group */
/* Whether the unit has it. */
bool scsi_op_there(const struct scsi_op *op, const struct scsi_unit *u);

/* ---- ends (scsi_sense.c) ---- */

/* done() with the status that is set; frees the job.  The last thing to do with a command. */
void scsi_end(struct scsi_cmd *c);
/* scsi_fail() with a number for the information field. */
void scsi_fail_info(struct scsi_cmd *c, enum scsi_sense sense, uint64_t info);
/* What a failed bio means: status and sense.  lba: where. */
void scsi_fail_io(struct scsi_cmd *c, int err, enum bio_op op, uint64_t lba);
/* Sense data into out[SCSI_SENSE_MAX]; its length. */
unsigned scsi_sense_fixed(uint8_t *out, enum scsi_sense sense);
unsigned scsi_sense_desc(uint8_t *out, enum scsi_sense sense);

/* The oldest unit attention, if there is one: then the command has failed. */
bool scsi_attention_report(struct scsi_cmd *c);
/* scsi_fail() in places that answer false. */
bool scsi_refuse(struct scsi_cmd *c, enum scsi_sense sense);

int scsi_request_sense(struct scsi_cmd *c, uint8_t *out);
void scsi_request_sense_run(struct scsi_cmd *c);

/* ---- parameters (scsi.c) ---- */

/* The data of op->data() to the initiator, without scsi_end(). */
void scsi_param_send(struct scsi_cmd *c);
void scsi_report_luns_run(struct scsi_cmd *c);
/* n bytes of the transport's memory from off on; 0s where there is none. */
void scsi_gather(const struct scsi_cmd *c, uint32_t off, void *to, uint32_t n);
void scsi_scatter(struct scsi_cmd *c, uint32_t off, const void *from, uint32_t n);

/* ---- the medium (scsi_medium.c) ---- */

uint64_t scsi_blocks(const struct scsi_unit *u); /* how many there are now */

static inline uint32_t scsi_block_sectors(const struct scsi_unit *u)
{
	return u->block >> SECTOR_SHIFT;
}

/* LBA and number of blocks as CDBs of every length have them, checked against the medium. */
bool scsi_range(struct scsi_cmd *c);
/* The bio of these blocks, without memory; done() gets it with owner c. */
void scsi_bio(struct scsi_cmd *c, enum bio_op op, uint64_t lba, uint32_t blocks,
	void (*done)(struct bio *bio));

/*
 * What a command needs that does more than one bio: a buffer of blocks, and how far it is.  Made
 * by run, so that a command which a transport drops before has nothing to give back.
 */
struct scsi_job {
	uint8_t *buf; /* JOB_BYTES */
	struct seg seg;
	uint64_t lba;         /* the next block ... */
	uint32_t left, piece; /* ... how many there are, and in one bio */
	uint32_t off;         /* of the next block in the initiator's data */
	int err;              /* of the read whose bad block is looked for */
	uint8_t *descs;       /* UNMAP's */
	uint32_t nr_descs;
};

/* NULL: ended with BUSY.  with_buf: also the buffer. */
struct scsi_job *scsi_job(struct scsi_cmd *c, bool with_buf);
void scsi_job_free(struct scsi_cmd *c);
/* As scsi_bio(), with nr blocks of the job's buffer. */
void scsi_job_bio(
	struct scsi_cmd *c, enum bio_op op, uint32_t blocks, void (*done)(struct bio *bio));

bool scsi_rw_begin(struct scsi_cmd *c);
void scsi_read_run(struct scsi_cmd *c);
void scsi_write_run(struct scsi_cmd *c);
bool scsi_ready_begin(struct scsi_cmd *c);
bool scsi_sync_begin(struct scsi_cmd *c);
bool scsi_start_stop_begin(struct scsi_cmd *c);
void scsi_sync_run(struct scsi_cmd *c);

/* scsi_verify.c; scan looks for the bad block of a read that failed. */
bool scsi_verify_begin(struct scsi_cmd *c);
void scsi_verify_run(struct scsi_cmd *c);
void scsi_scan(struct scsi_cmd *c, int err);

/* scsi_unmap.c */
bool scsi_unmap_begin(struct scsi_cmd *c);
void scsi_unmap_run(struct scsi_cmd *c);
bool scsi_write_same_begin(struct scsi_cmd *c);
void scsi_write_same_run(struct scsi_cmd *c);
uint32_t scsi_unmap_max(const struct scsi_unit *u); /* blocks of one UNMAP; 0: no UNMAP */

/* scsi_inquiry.c, scsi_mode.c, scsi_ops.c */
int scsi_inquiry(struct scsi_cmd *c, uint8_t *out);
int scsi_mode_sense(struct scsi_cmd *c, uint8_t *out);
int scsi_report_luns(struct scsi_cmd *c, uint8_t *out);
int scsi_report_opcodes(struct scsi_cmd *c, uint8_t *out);
int scsi_read_capacity_10(struct scsi_cmd *c, uint8_t *out);
int scsi_read_capacity_16(struct scsi_cmd *c, uint8_t *out);

#endif

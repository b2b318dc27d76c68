/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pdu - what RFC 7143 fixes: opcodes, offsets in the 48-byte header, flags, reasons.  Numbers are
 * sent high byte first; headers are arrays of bytes here, as they may begin anywhere in received
 * memory.
 */
#ifndef TESTS_HOST_ISCSI_PDU_H
#define TESTS_HOST_ISCSI_PDU_H

#include "kernel/api/base.h"

#define BHS_LEN 48
#define AHS_MAX (255 * 4)

enum pdu_opcode { /* 0-1f: of initiators */
	OP_NOP_OUT = 0x00,
	OP_SCSI_CMD = 0x01,
	OP_TMF = 0x02,
	OP_LOGIN = 0x03,
	OP_TEXT = 0x04,
	OP_DATA_OUT = 0x05,
	OP_LOGOUT = 0x06,
	OP_SNACK = 0x10,
	OP_NOP_IN = 0x20,
	OP_SCSI_RSP = 0x21,
	OP_TMF_RSP = 0x22,
	OP_LOGIN_RSP = 0x23,
	OP_TEXT_RSP = 0x24,
	OP_DATA_IN = 0x25,
	OP_LOGOUT_RSP = 0x26,
	OP_R2T = 0x31,
	OP_REJECT = 0x3f,
	OP_MASK = 0x3f,
	OP_IMMEDIATE = 0x40,
};

/* Where things are. */
#define BHS_FLAGS     1
#define BHS_AHS_LEN   4 /* in words of four bytes */
#define BHS_DATA_LEN  5 /* three bytes */
#define BHS_LUN       8
#define BHS_ITT       16
#define BHS_TTT       20 /* Data-Out, R2T, NOP, text */
#define BHS_EDTL      20 /* SCSI command */
#define BHS_REF_ITT   20 /* task management */
#define BHS_CMDSN     24 /* from initiators ... */
#define BHS_EXPSTATSN 28
#define BHS_STATSN    24 /* ... and to them */
#define BHS_EXPCMDSN  28
#define BHS_MAXCMDSN  32
#define BHS_CDB       32
#define BHS_DATASN    36 /* R2TSN, ExpDataSN */
#define BHS_OFFSET    40 /* of data in the whole transfer */
#define BHS_R2T_LEN   44
#define BHS_RESIDUAL  44

#define LOGIN_VERSION_MAX 2
#define LOGIN_VERSION_MIN 3
#define LOGIN_ISID        8
#define LOGIN_TSIH        14
#define LOGIN_CID         20
#define LOGIN_STATUS      36 /* class, detail */

#define TAG_NONE 0xffffffffu

#define FLAG_FINAL 0x80
/* SCSI command */
#define CMD_READ  0x40
#define CMD_WRITE 0x20
/* SCSI response and Data-In */
#define RSP_OVERFLOW  0x04
#define RSP_UNDERFLOW 0x02
#define DATA_STATUS   0x01
/* login and text */
#define LOGIN_TRANSIT  0x80
#define TEXT_CONTINUE  0x40
#define STAGE_SECURITY 0
#define STAGE_OP       1
#define STAGE_FULL     3

enum login_status { /* class << 8 | detail */
	LOGIN_OK = 0x0000,
	LOGIN_INITIATOR_ERROR = 0x0200,
	LOGIN_AUTH_FAILED = 0x0201,
	LOGIN_NOT_ALLOWED = 0x0202,
	LOGIN_NO_TARGET = 0x0203,
	LOGIN_BAD_VERSION = 0x0205,
	LOGIN_TOO_MANY_CONNS = 0x0206,
	LOGIN_MISSING_KEY = 0x0207,
	LOGIN_BAD_SESSION_TYPE = 0x0209,
	LOGIN_NO_SESSION = 0x020a,
	LOGIN_BAD_REQUEST = 0x020b,
	LOGIN_OUT_OF_RESOURCES = 0x0302,
};

enum reject_reason {
	REJECT_DATA_DIGEST = 0x02,
	REJECT_SNACK = 0x03,
	REJECT_PROTOCOL = 0x04,
	REJECT_NOT_SUPPORTED = 0x05,
	REJECT_TOO_MANY_IMMEDIATE = 0x06,
	REJECT_TASK_IN_PROGRESS = 0x07,
	REJECT_INVALID_FIELD = 0x09,
};

enum tmf_function {
	TMF_ABORT_TASK = 1,
	TMF_ABORT_TASK_SET,
	TMF_CLEAR_ACA,
	TMF_CLEAR_TASK_SET,
	TMF_LUN_RESET,
	TMF_WARM_RESET,
	TMF_COLD_RESET,
	TMF_REASSIGN,
};

enum tmf_response {
	TMF_COMPLETE = 0,
	TMF_NO_TASK = 1,
	TMF_NO_LUN = 2,
	TMF_NO_REASSIGN = 4,
	TMF_NOT_SUPPORTED = 5,
	TMF_REJECTED = 255,
};

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | get16(p + 1);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | get24(p + 1);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	put16(p + 1, v);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	put24(p + 1, v);
}

/* RFC 1982: a is later than b. */
static inline bool sn_after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* scsi_priv - private to scsi/: big-endian fields, and what its files tell one another. */
#ifndef EXPORTS_SCSI_SCSI_PRIV_H
#define EXPORTS_SCSI_SCSI_PRIV_H

#include "exports/scsi/scsi.h"
#include "kernel/api/string.h"

#define PARAM_MAX (64u * 1024) /* bytes of parameters a command may bring or take */

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

/* Parameter data being made: bytes beyond the end are counted and dropped. */
struct param {
	uint8_t buf[1024];
	unsigned len;
};

/* Where the next n bytes go, zeroed; the end of the buffer is never reached by what we say. */
static inline uint8_t *param_add(struct param *p, unsigned n)
{
	uint8_t *at = p->buf + p->len;

	ASSERT(p->len + n <= sizeof(p->buf));
	memset(at, 0, n);
	p->len += n;
	return at;
}

/* Each fills p and returns 0 or a sense. */
enum scsi_sense scsi_inquiry(const struct scsi_cmd *c, struct param *p);
enum scsi_sense scsi_mode_sense(const struct scsi_cmd *c, struct param *p);

/* Blocks a device has now. */
uint64_t scsi_blocks(const struct scsi_unit *u);
uint32_t scsi_sectors(const struct scsi_unit *u); /* sectors of a block */

#endif

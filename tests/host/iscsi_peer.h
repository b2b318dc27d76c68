/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iscsi_peer - an initiator for unit tests, over net_fake.  It does what it is told, right or
 * wrong, and takes answers apart.
 */
#ifndef TESTS_HOST_ISCSI_PEER_H
#define TESTS_HOST_ISCSI_PEER_H

#include "tests/host/iscsi_pdu.h"
#include "tests/host/net_fake.h"

#define IQN  "iqn.2026-01.org.cairn:disk"
#define USER "iqn.2026-01.org.cairn:user"

struct peer {
	struct fake_peer *net;
	uint32_t cmdsn, itt, max_cmdsn;
	uint16_t tsih;
	uint8_t isid[6];
	bool header_digest, data_digest;
	bool spoil_header, spoil_data; /* the next digest is wrong */
	/* the last PDU that was received */
	uint8_t bhs[BHS_LEN];
	uint8_t *data;
	uint32_t len;
	uint32_t statsn;
};

struct peer *peer_new(void);    /* NULL: refused */
void peer_free(struct peer *p); /* hangs up */
void peer_send(struct peer *p, uint8_t bhs[BHS_LEN], const void *data, uint32_t len);
/* Runs the machine and takes one PDU; false: there is none. */
bool peer_recv(struct peer *p);
unsigned peer_op(const struct peer *p);
bool peer_closed(struct peer *p); /* after the machine ran */

/* One login request and its answer: the status, 0xffff when there is none.  text: keys that end in
 * ';'.  nsg -1: no transition. */
unsigned peer_login(struct peer *p, unsigned csg, int nsg, const char *text);
/* The value of a key in the answer; NULL: it is not there. */
const char *peer_value(const struct peer *p, const char *key);
/* All of it, without authentication. */
struct peer *peer_session(const char *keys);
struct peer *peer_discovery(void);

/* Headers.  Immediate data, if any, follows by peer_send(). */
void peer_cmd(
	struct peer *p, uint8_t bhs[BHS_LEN], unsigned flags, uint32_t edtl, const uint8_t cdb[16]);
void cdb_rw(uint8_t cdb[16], bool write, uint32_t lba, unsigned blocks);
/* Whole commands; status, or 0xff when something else came.  512-byte blocks, LUN 0. */
unsigned peer_read(struct peer *p, uint32_t lba, unsigned blocks, void *to);
unsigned peer_write(struct peer *p, uint32_t lba, unsigned blocks, const void *from);
unsigned peer_status(struct peer *p, const uint8_t cdb[16]);
uint32_t peer_sense(const struct peer *p); /* key << 16 | asc << 8 | ascq of the last response */

#endif

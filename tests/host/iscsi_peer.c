/* SPDX-License-Identifier: BSD-2-Clause */
/* iscsi_peer - see iscsi_peer.h. */
#include <stdlib.h>
#include "tests/host/host.h"
#include "tests/host/iscsi_peer.h"

struct peer *peer_new(void)
{
	struct peer *p = calloc(1, sizeof(*p));

	ASSERT(p);
	p->net = fake_connect(3260);
	if (!p->net) {
		free(p);
		return NULL;
	}
	memcpy(p->isid, "\x80\0\0\0\0\1", 6);
	p->itt = 1;
	p->cmdsn = 100;
	return p;
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	fake_hang_up(p->net, 0);
	host_run();
	free(p->data);
	free(p);
}

static void digest(uint8_t *to, uint32_t crc, bool *spoil)
{
	put32(to, __builtin_bswap32(crc) ^ (*spoil ? 1 : 0));
	*spoil = false;
}

void peer_send(struct peer *p, uint8_t bhs[BHS_LEN], const void *data, uint32_t len)
{
	uint32_t pad = -len & 3;
	uint8_t d[4], zero[4] = { 0 };

	put24(bhs + BHS_DATA_LEN, len);
	fake_write(p->net, bhs, BHS_LEN);
	if (p->header_digest) {
		digest(d, crc32c(0, bhs, BHS_LEN), &p->spoil_header);
		fake_write(p->net, d, 4);
	}
	if (!len)
		return;
	fake_write(p->net, data, len);
	fake_write(p->net, zero, pad);
	if (p->data_digest) {
		digest(d, crc32c(crc32c(0, data, len), zero, pad), &p->spoil_data);
		fake_write(p->net, d, 4);
	}
}

static void take(struct peer *p, void *to, size_t n)
{
	size_t got = 0, part;

	while (got < n) {
		part = fake_read(p->net, (uint8_t *)to + got, n - got);
		got += part;
		if (!part)
			host_run();
		ASSERT(part || fake_readable(p->net)); /* half a PDU */
	}
}

bool peer_recv(struct peer *p)
{
	uint8_t d[4], pad[4];
	uint32_t n, crc;

	host_run();
	if (!fake_readable(p->net))
		return false;
	take(p, p->bhs, BHS_LEN);
	if (p->header_digest && peer_op(p) != OP_LOGIN_RSP) {
		take(p, d, 4);
		ASSERT(get32(d) == __builtin_bswap32(crc32c(0, p->bhs, BHS_LEN)));
	}
	p->len = get24(p->bhs + BHS_DATA_LEN);
	free(p->data);
	p->data = calloc(1, p->len + 1);
	ASSERT(p->data);
	if (p->len) {
		take(p, p->data, p->len);
		n = -p->len & 3;
		take(p, pad, n);
		if (p->data_digest && peer_op(p) != OP_LOGIN_RSP) {
			take(p, d, 4);
			crc = crc32c(crc32c(0, p->data, p->len), pad, n);
			ASSERT(get32(d) == __builtin_bswap32(crc));
		}
	}
	p->max_cmdsn = get32(p->bhs + BHS_MAXCMDSN);
	p->statsn = get32(p->bhs + BHS_STATSN);
	return true;
}

unsigned peer_op(const struct peer *p)
{
	return p->bhs[0] & OP_MASK;
}

bool peer_closed(struct peer *p)
{
	host_run();
	return fake_closed(p->net);
}

unsigned peer_login(struct peer *p, unsigned csg, int nsg, const char *text)
{
	uint8_t bhs[BHS_LEN] = { OP_LOGIN | OP_IMMEDIATE };
	size_t n = strlen(text);
	char *data = strdup(text), *c;

	ASSERT(data);
	for (c = data; c < data + n; c++)
		if (*c == ';')
			*c = 0;
	bhs[BHS_FLAGS] = (uint8_t)(csg << 2 | (nsg < 0 ? 0u : LOGIN_TRANSIT | (unsigned)nsg));
	memcpy(bhs + LOGIN_ISID, p->isid, 6);
	put16(bhs + LOGIN_TSIH, p->tsih);
	put32(bhs + BHS_ITT, p->itt);
	put32(bhs + BHS_CMDSN, p->cmdsn);
	peer_send(p, bhs, data, (uint32_t)n);
	free(data);
	if (!peer_recv(p) || peer_op(p) != OP_LOGIN_RSP)
		return 0xffff;
	return get16(p->bhs + LOGIN_STATUS);
}

const char *peer_value(const struct peer *p, const char *key)
{
	const char *at = (const char *)p->data, *end = at + p->len;
	size_t n = strlen(key);

	for (; at < end; at += strlen(at) + 1)
		if (!strncmp(at, key, n) && at[n] == '=')
			return at + n + 1;
	return NULL;
}

struct peer *peer_session(const char *keys)
{
	struct peer *p = peer_new();
	char text[1024];

	ASSERT(p);
	str_printf(text, sizeof(text), "InitiatorName=" USER ";TargetName=" IQN ";%s", keys);
	ASSERT(!peer_login(p, STAGE_OP, STAGE_FULL, text));
	p->tsih = (uint16_t)get16(p->bhs + LOGIN_TSIH);
	return p;
}

struct peer *peer_discovery(void)
{
	struct peer *p = peer_new();

	ASSERT(p);
	ASSERT(!peer_login(
		p, STAGE_OP, STAGE_FULL, "InitiatorName=" USER ";SessionType=Discovery;"));
	return p;
}

void peer_cmd(
	struct peer *p, uint8_t bhs[BHS_LEN], unsigned flags, uint32_t edtl, const uint8_t cdb[16])
{
	memset(bhs, 0, BHS_LEN);
	bhs[0] = OP_SCSI_CMD;
	bhs[BHS_FLAGS] = (uint8_t)flags;
	put32(bhs + BHS_ITT, ++p->itt);
	put32(bhs + BHS_EDTL, edtl);
	put32(bhs + BHS_CMDSN, p->cmdsn++);
	put32(bhs + BHS_EXPSTATSN, p->statsn + 1);
	memcpy(bhs + BHS_CDB, cdb, 16);
}

void cdb_rw(uint8_t cdb[16], bool write, uint32_t lba, unsigned blocks)
{
	memset(cdb, 0, 16);
	cdb[0] = write ? 0x2a : 0x28;
	put32(cdb + 2, lba);
	put16(cdb + 7, blocks);
}

/* The answer to a read. */
static unsigned collect(struct peer *p, uint8_t *to, uint32_t n)
{
	uint32_t at = 0;

	for (;;) {
		if (!peer_recv(p) || get32(p->bhs + BHS_ITT) != p->itt)
			return 0xff;
		if (peer_op(p) == OP_SCSI_RSP)
			return p->bhs[3];
		if (peer_op(p) != OP_DATA_IN || get32(p->bhs + BHS_OFFSET) != at || p->len > n - at)
			return 0xff;
		memcpy(to + at, p->data, p->len);
		at += p->len;
		if (p->bhs[BHS_FLAGS] & DATA_STATUS)
			return at == n ? p->bhs[3] : 0xff;
	}
}

unsigned peer_read(struct peer *p, uint32_t lba, unsigned blocks, void *to)
{
	uint8_t bhs[BHS_LEN], cdb[16];

	cdb_rw(cdb, false, lba, blocks);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_READ, blocks * 512, cdb);
	peer_send(p, bhs, NULL, 0);
	return collect(p, to, blocks * 512);
}

unsigned peer_write(struct peer *p, uint32_t lba, unsigned blocks, const void *from)
{
	uint8_t bhs[BHS_LEN], cdb[16];

	cdb_rw(cdb, true, lba, blocks);
	peer_cmd(p, bhs, FLAG_FINAL | CMD_WRITE, blocks * 512, cdb);
	peer_send(p, bhs, NULL, 0);
	while (peer_recv(p) && peer_op(p) == OP_R2T) {
		uint32_t off = get32(p->bhs + BHS_OFFSET), n = get32(p->bhs + BHS_R2T_LEN);
		uint8_t d[BHS_LEN] = { 0 };
		uint32_t part, done;

		for (done = 0; done < n; done += part) {
			part = MIN(n - done, 8192u);
			d[0] = OP_DATA_OUT;
			d[BHS_FLAGS] = done + part == n ? FLAG_FINAL : 0;
			memcpy(d + BHS_ITT, p->bhs + BHS_ITT, 8); /* and TTT */
			put32(d + BHS_DATASN, done / 8192);
			put32(d + BHS_OFFSET, off + done);
			peer_send(p, d, (const uint8_t *)from + off + done, part);
		}
	}
	return peer_op(p) == OP_SCSI_RSP && get32(p->bhs + BHS_ITT) == p->itt ? p->bhs[3] : 0xff;
}

unsigned peer_status(struct peer *p, const uint8_t cdb[16])
{
	uint8_t bhs[BHS_LEN];

	peer_cmd(p, bhs, FLAG_FINAL, 0, cdb);
	peer_send(p, bhs, NULL, 0);
	if (!peer_recv(p) || peer_op(p) != OP_SCSI_RSP)
		return 0xff;
	return p->bhs[3];
}

uint32_t peer_sense(const struct peer *p)
{
	if (p->len < 2 + 14)
		return 0;
	if ((p->data[2] & 0x7f) >= 0x72)
		return (uint32_t)(p->data[3] & 15) << 16 | get16(p->data + 4);
	return (uint32_t)(p->data[4] & 15) << 16 | get16(p->data + 14);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * login - how a session begins (RFC 7143, 6 and 11.12 f.), CHAP (12.1.3, RFC 1994), and text
 * requests in it.  Keys stand in a buffer as name=value strings, each with a NUL behind it.
 */
#include "exports/iscsi/iscsi.h"
#include "kernel/api/crypto.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define MORE_MAX (256u * 1024) /* of the answer to one text request */

static struct mem_tag text_tag = MEM_TAG("iscsi text");

#define STAGE_SECURITY  0
#define STAGE_OPERATION 1
#define STAGE_FULL      3
#define CHAP_MD5        5
#define CHAP_SHA256     7
#define VALUE_MAX       1024

/* Status class and detail, 11.13.5. */
enum {
	LOGIN_OK = 0x0000,
	LOGIN_BAD = 0x0200,
	LOGIN_AUTH = 0x0201,
	LOGIN_FORBIDDEN = 0x0202,
	LOGIN_NOT_FOUND = 0x0203,
	LOGIN_VERSION = 0x0205,
	LOGIN_MISSING = 0x0207,
	LOGIN_NO_SESSION = 0x020a,
	LOGIN_NO_MEMORY = 0x0302,
};

static uint16_t last_tsih;

/* ---- keys ---- */

struct keys {
	struct strbuf out;
	bool bad; /* what came is no list of keys */
};

static void answer(struct keys *k, const char *name, const char *value)
{
	strbuf_printf(&k->out, "%s=%s", name, value);
	strbuf_write(&k->out, "", 1);
}

static void answer_number(struct keys *k, const char *name, uint32_t v)
{
	char text[16];

	str_printf(text, sizeof(text), "%u", v);
	answer(k, name, text);
}

/* The value of a key among those that came; NULL: it did not. */
static char *key_value(struct conn *c, const char *name)
{
	size_t n = strlen(name);

	for (char *p = c->text; p < c->text + c->text_len; p += strlen(p) + 1)
		if (!strncmp(p, name, n) && p[n] == '=')
			return p + n + 1;
	return NULL;
}

/* Whether the buffer is keys, each once. */
static bool keys_sane(struct conn *c)
{
	char *end = c->text + c->text_len, *p, *q;
	unsigned nr = 0;

	c->text[c->text_len] = 0;
	if (c->text_len && c->text[c->text_len - 1])
		return false;
	for (p = c->text; p < end; p += strlen(p) + 1) {
		char *eq = strchr(p, '=');

		if (!*p) /* padding */
			continue;
		if (!eq || eq == p || eq - p > 63 || ++nr > 128)
			return false;
		for (q = c->text; q < p; q += strlen(q) + 1)
			if (!strncmp(p, q, (size_t)(eq - p) + 1))
				return false;
	}
	return true;
}

static bool number(const char *text, uint32_t low, uint32_t high, uint32_t *v)
{
	uint64_t x;

	if (str_to_u64(text, 0, UINT32_MAX, &x) || x < low || x > high)
		return false;
	*v = (uint32_t)x;
	return true;
}

/* Is word one of the list "a,b,c"? */
static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, word, n) && (!p[n] || p[n] == ','))
			return true;
	return false;
}

struct number_key {
	const char *name;
	uint32_t low, high, ours;
	bool larger;  /* the larger of both; else the smaller */
	size_t where; /* in struct params, 0: kept nowhere */
};

static const struct number_key numbers[] = {
	{ "MaxConnections", 1, 65535, 1, false, 0 },
	{ "MaxBurstLength", 512, 0xffffff, 1u << 20, false, offsetof(struct params, max_burst) },
	{ "FirstBurstLength", 512, 0xffffff, 65536, false, offsetof(struct params, first_burst) },
	{ "DefaultTime2Wait", 0, 3600, 0, true, 0 },
	{ "DefaultTime2Retain", 0, 3600, 0, false, 0 },
	{ "MaxOutstandingR2T", 1, 65535, 1, false, 0 },
	{ "ErrorRecoveryLevel", 0, 2, 0, false, 0 },
};

static const struct bool_key {
	const char *name;
	bool ours, both; /* both: AND, else OR */
	size_t where;
} bools[] = {
	{ "InitialR2T", false, false, offsetof(struct params, initial_r2t) },
	{ "ImmediateData", true, true, offsetof(struct params, immediate_data) },
	{ "DataPDUInOrder", true, false, 0 },
	{ "DataSequenceInOrder", true, false, 0 },
	{ "IFMarker", false, true, 0 },
	{ "OFMarker", false, true, 0 },
};

static void number_key(
	struct conn *c, struct keys *k, const struct number_key *n, const char *value)
{
	uint32_t v;

	if (!number(value, n->low, n->high, &v)) {
		answer(k, n->name, "Reject");
		return;
	}
	v = n->larger ? MAX(v, n->ours) : MIN(v, n->ours);
	if (n->where)
		*(uint32_t *)((char *)&c->wanted + n->where) = v;
	answer_number(k, n->name, v);
}

static void bool_key(struct conn *c, struct keys *k, const struct bool_key *b, const char *value)
{
	bool v = !strcmp(value, "Yes");

	if (!v && strcmp(value, "No")) {
		answer(k, b->name, "Reject");
		return;
	}
	v = b->both ? v && b->ours : v || b->ours;
	if (b->where)
		*(bool *)((char *)&c->wanted + b->where) = v;
	answer(k, b->name, v ? "Yes" : "No");
}

static void digest_key(struct keys *k, const char *name, const char *value, bool *to)
{
	/* The initiator's order of preference is honoured. */
	bool crc = listed(value, "CRC32C"), none = listed(value, "None");

	if (crc && none)
		crc = !strncmp(value, "CRC32C", 6);
	if (!crc && !none) {
		answer(k, name, "Reject");
		return;
	}
	*to = crc;
	answer(k, name, crc ? "CRC32C" : "None");
}

static bool known_elsewhere(const char *name)
{
	static const char *const names[] = { "InitiatorName", "InitiatorAlias", "TargetName",
		"SessionType", "AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C",
		"TargetAlias", "TargetAddress", "TargetPortalGroupTag", "SendTargets" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void operational_key(struct conn *c, struct keys *k, const char *name, const char *value)
{
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(name, numbers[i].name)) {
			number_key(c, k, &numbers[i], value);
			return;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(bools); i++)
		if (!strcmp(name, bools[i].name)) {
			bool_key(c, k, &bools[i], value);
			return;
		}
	if (!strcmp(name, "HeaderDigest")) {
		digest_key(k, name, value, &c->wanted.header_digest);
	} else if (!strcmp(name, "DataDigest")) {
		digest_key(k, name, value, &c->wanted.data_digest);
	} else if (!strcmp(name, "MaxRecvDataSegmentLength")) {
		/* Each side says its own; there is nothing to answer but ours, once. */
		if (!number(value, 512, 0xffffff, &c->wanted.mrdsl))
			answer(k, name, "Reject");
	} else if (!strcmp(name, "IFMarkInt") || !strcmp(name, "OFMarkInt")) {
		answer(k, name, "Irrelevant");
	} else if (!known_elsewhere(name)) {
		answer(k, name, "NotUnderstood");
	}
}

static void operational_keys(struct conn *c, struct keys *k)
{
	char name[64];

	for (char *p = c->text; p < c->text + c->text_len; p += strlen(p) + 1) {
		char *eq = strchr(p, '=');

		if (!eq)
			continue;
		memcpy(name, p, (size_t)(eq - p));
		name[eq - p] = 0;
		operational_key(c, k, name, eq + 1);
	}
	if (c->wanted.first_burst > c->wanted.max_burst)
		c->wanted.first_burst = c->wanted.max_burst;
	if (!c->params_sent)
		answer_number(k, "MaxRecvDataSegmentLength", OUR_MRDSL);
	c->params_sent = true;
}

/* ---- CHAP ---- */

static int hex_digit(char x)
{
	x |= x >= 'A' ? 32 : 0;
	return x >= '0' && x <= '9' ? x - '0' : x >= 'a' && x <= 'f' ? x - 'a' + 10 : -1;
}

static int base64_digit(char x)
{
	return x >= 'A' && x <= 'Z'   ? x - 'A'
	       : x >= 'a' && x <= 'z' ? x - 'a' + 26
	       : x >= '0' && x <= '9' ? x - '0' + 52
	       : x == '+'             ? 62
	       : x == '/'             ? 63
				      : -1;
}

/* "0x..." or "0b...": how many bytes, or -1. */
static int binary(const char *text, uint8_t *out, unsigned max)
{
	unsigned n = 0, bits = 0, acc = 0;

	if (text[0] != '0' || !text[1])
		return -1;
	if ((text[1] | 32) == 'x') {
		text += 2;
		if (strlen(text) % 2)
			return -1;
		for (; *text; text += 2) {
			int h = hex_digit(text[0]), l = hex_digit(text[1]);

			if (h < 0 || l < 0 || n == max)
				return -1;
			out[n++] = (uint8_t)(h << 4 | l);
		}
		return (int)n;
	}
	if ((text[1] | 32) != 'b')
		return -1;
	for (text += 2; *text && *text != '='; text++) {
		int d = base64_digit(*text);

		if (d < 0)
			return -1;
		acc = acc << 6 | (unsigned)d;
		bits += 6;
		if (bits < 8)
			continue;
		if (n == max)
			return -1;
		bits -= 8;
		out[n++] = (uint8_t)(acc >> bits);
	}
	return (int)n;
}

static void answer_hex(struct keys *k, const char *name, const uint8_t *p, unsigned n)
{
	strbuf_printf(&k->out, "%s=0x", name);
	for (unsigned i = 0; i < n; i++)
		strbuf_printf(&k->out, "%02x", p[i]);
	strbuf_write(&k->out, "", 1);
}

/* H(id, secret, challenge): how many bytes. */
static unsigned chap_hash(unsigned algorithm, uint8_t id, const char *secret,
	const uint8_t *challenge, size_t n, uint8_t digest[SHA256_SIZE])
{
	struct sha256 s;

	if (algorithm == CHAP_MD5) {
		const void *const p[] = { &id, secret, challenge };
		const size_t len[] = { 1, strlen(secret), n };

		md5_of(p, len, 3, digest);
		return MD5_SIZE;
	}
	sha256_init(&s);
	sha256_update(&s, &id, 1);
	sha256_update(&s, secret, strlen(secret));
	sha256_update(&s, challenge, n);
	sha256_final(&s, digest);
	return SHA256_SIZE;
}

static int chap_begin(struct conn *c, struct keys *k)
{
	const char *offered = key_value(c, "CHAP_A");

	if (!offered)
		return LOGIN_AUTH;
	c->chap_algorithm = listed(offered, "7")   ? CHAP_SHA256
			    : listed(offered, "5") ? CHAP_MD5
						   : 0;
	if (!c->chap_algorithm)
		return LOGIN_AUTH;
	c->chap_len = c->chap_algorithm == CHAP_MD5 ? MD5_SIZE : SHA256_SIZE;
	random_bytes(&c->chap_id, 1);
	random_bytes(c->challenge, c->chap_len);
	answer_number(k, "CHAP_A", c->chap_algorithm);
	answer_number(k, "CHAP_I", c->chap_id);
	answer_hex(k, "CHAP_C", c->challenge, c->chap_len);
	c->chap_step = 2;
	return LOGIN_OK;
}

/* Who answers right for this target. */
static bool chap_right(struct conn *c, const struct iscsi_target *t, const char *name,
	const uint8_t *response, int n)
{
	uint8_t want[SHA256_SIZE];
	unsigned len = chap_hash(
		c->chap_algorithm, c->chap_id, t->secret, c->challenge, c->chap_len, want);
	bool right = n == (int)len && same_bytes(want, response, len) && !strcmp(name, t->user);

	memset(want, 0, sizeof(want));
	return right;
}

/* The initiator wants to know whether we are who we say. */
static int chap_mutual(struct conn *c, struct keys *k, const char *id_text, const char *challenge)
{
	uint8_t theirs[VALUE_MAX], digest[SHA256_SIZE];
	int n = binary(challenge, theirs, sizeof(theirs));
	uint32_t id;
	unsigned len;

	if (!c->target || !c->target->mutual_secret[0] || n < 1 || !number(id_text, 0, 255, &id))
		return LOGIN_AUTH;
	/* Our own challenge sent back would make us answer it for him. */
	if (n == c->chap_len && same_bytes(theirs, c->challenge, (size_t)n))
		return LOGIN_AUTH;
	len = chap_hash(c->chap_algorithm, (uint8_t)id, c->target->mutual_secret, theirs, (size_t)n,
		digest);
	answer(k, "CHAP_N", c->target->mutual_user);
	answer_hex(k, "CHAP_R", digest, len);
	return LOGIN_OK;
}

static int chap_finish(struct conn *c, struct keys *k)
{
	const char *name = key_value(c, "CHAP_N"), *response = key_value(c, "CHAP_R");
	const char *id = key_value(c, "CHAP_I"), *challenge = key_value(c, "CHAP_C");
	uint8_t got[SHA256_SIZE];
	int n = response ? binary(response, got, sizeof(got)) : -1;
	struct iscsi_target *t;
	bool right = false;

	if (!name || n < 0)
		return LOGIN_AUTH;
	if (c->target) {
		right = chap_right(c, c->target, name, got, n);
		c->target->refused += !right;
	} else { /* discovery: whoever knows one of the secrets */
		list_for_each (t, &iscsi_targets, node)
			right |= !t->noauth && chap_right(c, t, name, got, n);
	}
	if (!right) {
		log_warn("iscsi: %s: wrong name or secret", c->peer);
		return LOGIN_AUTH;
	}
	c->authenticated = true;
	c->chap_step = 0;
	if (id && challenge)
		return chap_mutual(c, k, id, challenge);
	return id || challenge ? LOGIN_AUTH : LOGIN_OK;
}

static bool must_authenticate(const struct conn *c)
{
	return c->target && !c->target->noauth;
}

static int security_stage(struct conn *c, struct keys *k)
{
	const char *methods = key_value(c, "AuthMethod");
	bool chap;

	if (c->chap_step == 1)
		return chap_begin(c, k);
	if (c->chap_step == 2)
		return chap_finish(c, k);
	if (!methods)
		return key_value(c, "CHAP_A") || key_value(c, "CHAP_R") ? LOGIN_AUTH : LOGIN_OK;
	chap = listed(methods, "CHAP");
	/* In discovery a name and a secret show what they open; who has none offers no CHAP. */
	if (must_authenticate(c) || (c->discovery && chap)) {
		if (!chap)
			return LOGIN_AUTH;
		answer(k, "AuthMethod", "CHAP");
		c->chap_step = 1;
		return LOGIN_OK;
	}
	if (!listed(methods, "None"))
		return LOGIN_AUTH;
	answer(k, "AuthMethod", "None");
	return LOGIN_OK;
}

/* ---- who and whom ---- */

static int identify(struct conn *c)
{
	const char *initiator = key_value(c, "InitiatorName"), *type = key_value(c, "SessionType");
	const char *target = key_value(c, "TargetName");

	if (!initiator || !*initiator)
		return LOGIN_MISSING;
	if (strlen(initiator) > NAME_MAX_LEN)
		return LOGIN_BAD;
	str_copy(c->initiator, sizeof(c->initiator), initiator);
	c->discovery = type && !strcmp(type, "Discovery");
	if (type && !c->discovery && strcmp(type, "Normal"))
		return LOGIN_BAD;
	if (c->discovery)
		return LOGIN_OK;
	if (!target)
		return LOGIN_MISSING;
	c->target = target_by_name(target);
	if (!c->target)
		return LOGIN_NOT_FOUND;
	if (!target_allows(c->target, c->initiator)) {
		c->target->refused++;
		c->target = NULL;
		return LOGIN_FORBIDDEN;
	}
	return LOGIN_OK;
}

/* The same initiator and ISID again: the older session is over, 6.3.5. */
static void reinstate(struct conn *c)
{
	struct conn *o, *victim;

	do {
		victim = NULL;
		list_for_each (o, &iscsi_conns, node)
			if (o != c && o->state == CONN_FULL && o->target == c->target &&
				!memcmp(o->isid, c->isid, 6) && !strcmp(o->initiator, c->initiator))
				victim = o;
		if (victim)
			conn_kill(victim, "the same initiator logged in anew");
	} while (victim);
}

static int begin_session(struct conn *c)
{
	unsigned nr = 0;
	struct conn *o;

	if (must_authenticate(c) && !c->authenticated)
		return LOGIN_AUTH;
	if (!c->discovery) {
		reinstate(c);
		list_for_each (o, &iscsi_conns, node)
			nr += o->state == CONN_FULL;
		if (nr >= SESSIONS_MAX || !tasks_make(c))
			return LOGIN_NO_MEMORY;
		c->target->logins++;
	}
	if (!++last_tsih)
		++last_tsih;
	c->tsih = last_tsih;
	return LOGIN_OK;
}

/* ---- the PDUs ---- */

static void login_answer(struct conn *c, int status, uint8_t flags, struct keys *k)
{
	struct reply *r = reply_make(
		c, 0x23, flags, rd32(c->head + 16), strbuf_text(&k->out), (uint32_t)k->out.len);

	if (!r)
		return;
	memcpy(r->data + 8, c->isid, 6);
	r->data[14] = (uint8_t)(c->tsih >> 8);
	r->data[15] = (uint8_t)c->tsih;
	r->data[36] = (uint8_t)(status >> 8);
	r->data[37] = (uint8_t)status;
	r->then_close = status != LOGIN_OK;
	c->closing |= r->then_close;
	reply_send(c, r, status == LOGIN_OK);
}

static int first_pdu(struct conn *c)
{
	const uint8_t *h = c->head;
	int err;

	memcpy(c->isid, h + 8, 6);
	c->cid = (uint16_t)(h[20] << 8 | h[21]);
	c->exp_cmd_sn = rd32(h + 24);
	random_bytes(&c->stat_sn, sizeof(c->stat_sn));
	c->stage = h[1] >> 2 & 3;
	c->login_itt = rd32(h + 16);
	if (h[3]) /* VersionMin */
		return LOGIN_VERSION;
	if (h[14] | h[15]) /* a session of several connections */
		return LOGIN_NO_SESSION;
	c->began = true;
	c->wanted = c->p;
	err = identify(c);
	return err;
}

/* What one login request asks; *flags: of the answer. */
static int login_step(struct conn *c, struct keys *k, uint8_t *flags)
{
	const uint8_t *h = c->head;
	bool transit = h[1] & 0x80, first = !c->began;
	unsigned csg = h[1] >> 2 & 3, nsg = h[1] & 3;
	int err;

	if (!keys_sane(c))
		return first ? LOGIN_MISSING : LOGIN_BAD;
	if (first) {
		err = first_pdu(c);
		if (err)
			return err;
		if (!c->discovery)
			answer(k, "TargetPortalGroupTag", "1");
	}
	if (csg > STAGE_OPERATION || csg != c->stage || rd32(h + 16) != c->login_itt ||
		(transit && (nsg <= csg || nsg == 2)))
		return LOGIN_BAD;
	err = csg == STAGE_SECURITY ? security_stage(c, k) : LOGIN_OK;
	if (err)
		return err;
	if (csg == STAGE_OPERATION) {
		if (must_authenticate(c) && !c->authenticated)
			return LOGIN_AUTH;
		operational_keys(c, k);
	}
	*flags = (uint8_t)(csg << 2);
	/* Security is left when it has come to an end, not because he says so. */
	if (!transit || c->chap_step ||
		(csg == STAGE_SECURITY && must_authenticate(c) && !c->authenticated &&
			key_value(c, "AuthMethod")))
		return LOGIN_OK;
	if (must_authenticate(c) && !c->authenticated)
		return LOGIN_AUTH;
	*flags |= (uint8_t)(0x80 | nsg);
	c->stage = (uint8_t)nsg;
	return nsg == STAGE_FULL ? begin_session(c) : LOGIN_OK;
}

void login_pdu(struct conn *c)
{
	struct keys k = { 0 };
	uint8_t flags = 0;
	int status;

	if (c->head[1] & 0x40) { /* C: more of the text comes; an empty answer asks for it */
		if (c->head[1] & 0x80) {
			conn_kill(c, "login with C and T");
			return;
		}
		if (!c->began && !c->login_itt)
			random_bytes(&c->stat_sn, sizeof(c->stat_sn));
		login_answer(c, LOGIN_OK, c->head[1] & 0x0c, &k);
		return;
	}
	strbuf_init(&k.out, TEXT_MAX);
	status = login_step(c, &k, &flags);
	if (status) {
		strbuf_reset(&k.out);
		flags = c->head[1] & 0x0c;
		log_info("iscsi: %s: login refused (%04x)", c->peer, (unsigned)status);
	}
	c->text_len = 0;
	if (k.out.truncated) {
		conn_kill(c, "no room for the answers of a login");
	} else {
		login_answer(c, status, flags, &k);
		if (!status && c->state != CONN_DEAD && flags & 0x80 && (flags & 3) == STAGE_FULL) {
			c->state = CONN_FULL;
			c->p = c->wanted;
			memset(c->challenge, 0, sizeof(c->challenge));
			if (!c->discovery)
				log_info("iscsi: %s: %s is in, %s", c->peer, c->initiator,
					c->target->scsi.name);
		}
	}
	strbuf_free(&k.out);
}

/* ---- text requests ---- */

static bool may_see(struct conn *c, const struct iscsi_target *t)
{
	return target_allows(t, c->initiator) && (t->noauth || c->authenticated || c->target == t);
}

static void send_targets(struct conn *c, struct keys *k, const char *which)
{
	char address[NET_ADDR_TEXT], value[NET_ADDR_TEXT + 4];
	bool all = !strcmp(which, "All");
	struct iscsi_target *t;

	net_local_text(c->net, true, address);
	str_printf(value, sizeof(value), "%s,1", address);
	list_for_each (t, &iscsi_targets, node) {
		bool wanted = all      ? c->discovery
			      : *which ? !strcmp(which, t->scsi.name)
				       : c->target == t;

		if (!wanted || !may_see(c, t) || (!c->discovery && c->target != t))
			continue;
		answer(k, "TargetName", t->scsi.name);
		answer(k, "TargetAddress", value);
	}
}

/* What of the answer fits one PDU of his; the rest stands in c->more until he asks for it. */
static void text_answer(struct conn *c)
{
	uint32_t left = c->more_len - c->more_at, n = MIN(left, c->p.mrdsl);
	bool last = n == left;
	struct reply *r = reply_make(c, 0x24, last ? 0x80 : 0x40, rd32(c->head + 16),
		c->more ? c->more + c->more_at : NULL, n);

	if (!r)
		return;
	c->more_at += n;
	c->more_ttt = last ? UINT32_MAX : 1 + c->next_ttt++ % 0x7fffffff;
	memcpy(r->data + 8, c->head + 8, 8);
	be32(r->data + 20, c->more_ttt);
	reply_send(c, r, true);
}

static void text_keys(struct conn *c, struct keys *k)
{
	c->wanted = c->p;
	for (char *p = c->text; p < c->text + c->text_len; p += strlen(p) + 1) {
		char name[64], *eq = strchr(p, '=');

		if (!eq)
			continue;
		memcpy(name, p, (size_t)(eq - p));
		name[eq - p] = 0;
		if (!strcmp(name, "SendTargets"))
			send_targets(c, k, eq + 1);
		else if (!strcmp(name, "MaxRecvDataSegmentLength"))
			operational_key(c, k, name, eq + 1);
		else
			answer(k, name, known_elsewhere(name) ? "Reject" : "NotUnderstood");
	}
	c->p.mrdsl = c->wanted.mrdsl;
}

void text_pdu(struct conn *c)
{
	uint32_t ttt = rd32(c->head + 20);
	struct keys k = { 0 };

	if (ttt != UINT32_MAX && (ttt != c->more_ttt || c->text_len)) {
		reject(c, 0x04);
		return;
	}
	if (ttt != UINT32_MAX) {
		text_answer(c);
		return;
	}
	mem_free(c->more);
	c->more = NULL;
	c->more_len = c->more_at = 0;
	c->more_ttt = UINT32_MAX;
	if (c->head[1] & 0x40 || !(c->head[1] & 0x80) || !keys_sane(c)) {
		reject(c, 0x04);
		return;
	}
	strbuf_init(&k.out, MORE_MAX);
	text_keys(c, &k);
	if (k.out.truncated) {
		strbuf_free(&k.out);
		reject(c, 0x06); /* no memory for so much */
		return;
	}
	if (k.out.len) {
		c->more = mem_alloc(&text_tag, k.out.len);
		if (c->more) {
			memcpy(c->more, k.out.data, k.out.len);
			c->more_len = (uint32_t)k.out.len;
		}
	}
	strbuf_free(&k.out);
	text_answer(c);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iscsi - private to iscsi/: targets, connections and their tasks (RFC 7143).  Everything runs on
 * core 0.  A session has one connection, so here the two are one thing.
 *
 * A connection that ends stays in memory until its last task has come back from the disk and the
 * last page has left the NIC: refs counts them.
 */
#ifndef EXPORTS_ISCSI_ISCSI_H
#define EXPORTS_ISCSI_ISCSI_H

#include "exports/scsi/scsi.h"
#include "kernel/api/fiber.h"
#include "kernel/api/list.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "net/net.h"

#define ISCSI_PORT   3260
#define NAME_MAX_LEN 223 /* 4.2.7.1 */
#define SECRET_MIN   12
#define SECRET_MAX   255
#define ALLOW_MAX    16
#define TEXT_MAX     8192 /* keys of one login step or text request */
#define OUR_MRDSL    (256u * 1024)
#define TASKS        64 /* of a session; so deep is its queue */
#define SPARE_TASKS  8  /* for immediate commands */
#define LOGINS_MAX   64
#define SESSIONS_MAX 32
#define LOGIN_NS     (15 * NS_PER_S)
#define SILENCE_NS   (30 * NS_PER_S)
#define TICK_NS      (5 * NS_PER_S)
#define STALL_TICKS  2            /* holding memory others wait for, and doing nothing */
#define STALL_BYTES  (64u * 1024) /* less than this acknowledged meanwhile is nothing */
#define BIG          (64u * 1024)
#define TASK_SEGS    (SCSI_XFER_MAX / BIG + 1)
#define BUCKETS      64

struct iscsi_target {
	struct scsi_target scsi;
	struct list node;
	bool noauth;
	char user[NAME_MAX_LEN + 1], secret[SECRET_MAX + 1];
	char mutual_user[NAME_MAX_LEN + 1], mutual_secret[SECRET_MAX + 1]; /* "": one-way */
	char allow[ALLOW_MAX][NAME_MAX_LEN + 1];
	unsigned nr_allow; /* 0: everybody */
	uint64_t logins, refused;
};

struct conn;

/* Why a task is where it is. */
enum task_state {
	TASK_FREE,
	TASK_STARVED, /* waits for memory, or for aborted tasks to end */
	TASK_DATA,    /* waits for the initiator's data */
	TASK_RUNNING, /* with the disk */
	TASK_SENDING, /* on the way out */
	TASK_PINNED,  /* sent; its pages are not acknowledged yet */
};

/* What is sent in turn: a task's answer, or a reply of its own. */
struct out {
	struct list node;
	bool is_task;
};

struct task {
	struct out out;
	struct conn *c;
	enum task_state state;
	bool ended; /* by scsi_begin() */
	bool aborted, spare, read, write, final_seen, small;
	bool pin_done;  /* while it is being sent */
	uint32_t since; /* c->ticks when it began to wait for the initiator */
	uint32_t itt, edtl, ttt, data_sn, r2t_sn;
	uint8_t lun[8];
	uint32_t expected;        /* bytes that move: what both sides want */
	uint32_t room;            /* bytes of memory for them: whole blocks */
	uint32_t received;        /* of data-out, in order */
	uint32_t burst_end;       /* end of the burst asked for, or of the unsolicited one */
	uint32_t sent, data_sent; /* of data-in: in finished PDUs; in the PDU under way */
	unsigned part;            /* which piece of that PDU is next */
	uint32_t pdu_bytes, crc;
	uint8_t tail[8];
	unsigned tail_len;
	struct list node; /* of those that wait for memory, or are free */
	struct task *same_bucket;
	struct seg segs[TASK_SEGS];
	unsigned nr_segs;
	struct net_pin pin;
	struct scsi_cmd cmd;
};

struct reply {
	struct out out;
	unsigned len, sent;
	uint8_t *data; /* behind this struct: whole PDU, digests and all */
	bool then_close, finished, status, header_digest, data_digest;
};

enum conn_state { CONN_LOGIN, CONN_FULL, CONN_DEAD };
enum rx_state { RX_HEAD, RX_DATA, RX_TAIL };
enum sink { SINK_DROP, SINK_TEXT, SINK_TASK };

/* Keys that were negotiated. */
struct params {
	bool header_digest, data_digest, initial_r2t, immediate_data;
	uint32_t mrdsl, max_burst, first_burst;
};

struct conn {
	struct net_conn *net; /* NULL: gone */
	struct list node;
	enum conn_state state;
	bool closing; /* nothing more is taken; gone when all is sent */
	unsigned refs;
	char peer[NET_ADDR_TEXT];
	char initiator[NAME_MAX_LEN + 1];
	uint8_t isid[6];
	uint16_t tsih, cid;
	bool discovery;
	struct iscsi_target *target; /* NULL: discovery */
	struct params p, wanted;     /* in force; from full feature phase on */
	struct scsi_nexus *nexuses;  /* by LUN */

	/* login */
	uint8_t stage;
	bool began, authenticated, params_sent;
	uint8_t chap_step, chap_algorithm, chap_id, chap_len;
	uint8_t challenge[32];
	char *text; /* TEXT_MAX + 1 */
	uint32_t text_len;
	char *more; /* an answer to a text request that takes several PDUs */
	uint32_t more_len, more_at, more_ttt;
	uint32_t login_itt;

	/* in */
	enum rx_state rx;
	uint8_t head[48 + 255 * 4 + 4];
	unsigned have, want;
	enum sink sink;
	struct task *sink_task;
	uint32_t sink_at, data_left, data_crc;
	uint8_t tail[8];
	bool bad_digest;
	uint64_t heard_ns;

	/* out */
	struct list outq; /* struct out */
	unsigned nr_replies;
	uint32_t stat_sn, exp_cmd_sn;
	bool flushing;

	/* tasks */
	struct task *tasks;
	struct task *buckets[BUCKETS]; /* by ITT, those that can be asked for */
	struct list free_tasks, free_spares;
	unsigned nr_free;           /* of the ordinary ones */
	uint32_t told_max_sn;       /* the window as the initiator last heard of it */
	unsigned fence;             /* aborted tasks still with the disk */
	uint64_t skipped_in;        /* the last round of feeding that left it out */
	unsigned held[2];           /* buffers for data it has, large and small */
	uint64_t reset_round;       /* the last reset that it has felt */
	uint32_t ticks, moved_tick; /* and when the peer had last acknowledged a fair amount */
	uint64_t acked;             /* by then */
	struct timer timer;
	bool pinged;
	uint32_t next_ttt;
	struct net_pin last; /* its memory, once everything else is done */
};

/* conn.c */
extern struct list iscsi_conns;
int conn_accept(void *ctx, struct net_conn *net);
void conn_kill(struct conn *c, const char *why);
void conn_put(struct conn *c); /* drops a reference */
/* A PDU of data bytes after a header of 48; NULL: the connection is gone, for want of memory if it
 * was not before. */
struct reply *reply_make(
	struct conn *c, uint8_t opcode, uint8_t flags, uint32_t itt, const void *data, uint32_t n);
/* status: takes a StatSN.  The header's sequence numbers are filled in here. */
void reply_send(struct conn *c, struct reply *r, bool status);
void reject(struct conn *c, uint8_t reason);
void conn_flush(struct conn *c);
/* Says the window: what goes into the next PDU. */
uint32_t conn_max_cmd_sn(struct conn *c);
bool conn_data_pools(void);   /* makes the memory for data; false: there is none */
void conn_data_release(void); /* gives it back if no target and no connection is left */
struct pool *conn_pool(bool small);

/* login.c */
void login_pdu(struct conn *c);
void text_pdu(struct conn *c);

/* task.c */
void task_command(struct conn *c);  /* its header has come */
void task_data_out(struct conn *c); /* likewise */
void task_sunk(struct conn *c);     /* and the data of the PDU */
void task_management(struct conn *c);
bool task_emit(struct task *t); /* true: all of it is sent */
/* Of a normal session that begins; false: no memory. */
bool tasks_make(struct conn *c);
void tasks_drop(struct conn *c);
bool tasks_starve(void);                  /* somebody waits for memory */
bool tasks_wait_for_peer(struct conn *c); /* some of its tasks hold memory and need the initiator */
void tasks_feed(void);                    /* memory came back */
unsigned iscsi_tasks_running(void);       /* how many are with disks, of whatever connection */

/* export.c */
extern struct list iscsi_targets;
struct iscsi_target *target_by_name(const char *name);
bool target_allows(const struct iscsi_target *t, const char *initiator);
unsigned target_sessions(const struct iscsi_target *t);

static inline void be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

static inline void be24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)v;
}

static inline uint32_t rd32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline uint32_t rd24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

#endif

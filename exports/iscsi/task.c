/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * task - SCSI commands of a session from their PDU to the last acknowledged byte.
 *
 * Memory.  A command takes its pages when its PDU has come and gives them back when they are
 * acknowledged (reads) or written (writes).  Without pages it waits in line with those of all
 * sessions; what comes first is served first.  A session has half of them at most, but for a single
 * command; and one that moves nothing while others wait is dropped (conn.c).
 *
 * Abort.  A bio cannot be called back.  An aborted command that is with the disk ends into the
 * void, and until it has, no later command of its session begins: its write must not come after
 * theirs.
 */
#include "exports/iscsi/iscsi.h"
#include "kernel/api/crypto.h"
#include "kernel/api/string.h"

static struct mem_tag tasks_tag = MEM_TAG("iscsi tasks");
static struct list starved = LIST_INIT(starved);
static bool feeding;
static uint64_t feed_nr;
static unsigned nr_running;

unsigned iscsi_tasks_running(void)
{
	return nr_running;
}

static void task_start(struct task *t);
static void task_respond(struct task *t);

/* ---- the tasks of a session ---- */

bool tasks_make(struct conn *c)
{
	c->tasks = mem_alloc(&tasks_tag, (TASKS + SPARE_TASKS) * sizeof(*c->tasks));
	c->nexuses = mem_alloc(&tasks_tag, SCSI_LUNS_MAX * sizeof(*c->nexuses));
	if (!c->tasks || !c->nexuses)
		return false;
	list_init(&c->free_tasks);
	list_init(&c->free_spares);
	for (unsigned i = 0; i < TASKS + SPARE_TASKS; i++) {
		struct task *t = &c->tasks[i];

		t->c = c;
		t->spare = i >= TASKS;
		list_add_tail(t->spare ? &c->free_spares : &c->free_tasks, &t->node);
	}
	c->nr_free = TASKS;
	return true;
}

static struct task *task_get(struct conn *c, bool immediate)
{
	struct list *n = list_pop(immediate ? &c->free_spares : &c->free_tasks);
	struct task *t;

	if (!n)
		return NULL;
	t = container_of(n, struct task, node);
	t->state = TASK_STARVED;
	if (!t->spare)
		c->nr_free--;
	c->refs++;
	return t;
}

static struct task **bucket_of(struct conn *c, uint32_t itt)
{
	return &c->buckets[(itt ^ itt >> 16) % BUCKETS];
}

static void unhash(struct task *t)
{
	struct task **at = bucket_of(t->c, t->itt);

	while (*at && *at != t)
		at = &(*at)->same_bucket;
	if (*at)
		*at = t->same_bucket;
}

static void pages_free(struct task *t)
{
	struct pool *p = conn_pool(t->small);

	for (unsigned i = 0; i < t->nr_segs; i++)
		pool_put(p, dma_ptr(t->segs[i].addr));
	if (!t->nr_segs)
		return;
	t->c->held[t->small] -= t->nr_segs;
	t->nr_segs = 0;
	tasks_feed();
}

/* The initiator believes that it may send nothing, and would never hear that it may again. */
static void say_window(struct conn *c)
{
	struct reply *r;

	if (c->state != CONN_FULL || c->closing || (int32_t)(c->told_max_sn - c->exp_cmd_sn) >= 0)
		return;
	r = reply_make(c, 0x20, 0x80, UINT32_MAX, NULL, 0);
	if (!r)
		return;
	be32(r->data + 20, UINT32_MAX);
	reply_send(c, r, false);
}

static void task_free(struct task *t)
{
	struct conn *c = t->c;

	unhash(t);
	t->state = TASK_FREE;
	if (c->sink_task == t) { /* ended by another session while its data come */
		c->sink_task = NULL;
		c->sink = SINK_DROP;
	}
	list_add_head(t->spare ? &c->free_spares : &c->free_tasks, &t->node);
	if (!t->spare)
		c->nr_free++;
	pages_free(t);
	say_window(c);
	conn_put(c);
}

/* Buffers that it needs, all of one size. */
static unsigned pages_needed(struct task *t)
{
	t->small = t->room <= PAGE_SIZE;
	return t->small ? 1 : (t->room + BIG - 1) / BIG;
}

static bool over_share(struct task *t)
{
	unsigned nr = pages_needed(t), held = t->c->held[t->small];

	return held && held + nr > conn_pool(t->small)->nr / 2;
}

/* False: none now. */
static bool pages_take(struct task *t)
{
	uint32_t nr = pages_needed(t), unit = t->small ? PAGE_SIZE : BIG, n = t->room;
	struct pool *p = conn_pool(t->small);

	if (nr > p->nr_free || over_share(t))
		return false;
	for (t->nr_segs = 0; n; t->nr_segs++) {
		uint32_t part = MIN(n, unit);

		t->segs[t->nr_segs] = (struct seg){ dma_addr(pool_get(p)), part };
		n -= part;
	}
	t->c->held[t->small] += t->nr_segs;
	return true;
}

void tasks_feed(void)
{
	struct list *n, *next;

	if (feeding)
		return;
	feeding = true;
	feed_nr++;
	for (n = starved.next; n != &starved; n = next) {
		struct task *t = container_of(n, struct task, node);

		next = n->next;
		/* Nor anything of its session behind it, or small ones would keep a large one out.
		 */
		if (t->c->fence || t->c->skipped_in == feed_nr || over_share(t)) {
			t->c->skipped_in = feed_nr;
			continue;
		}
		if (!pages_take(t))
			break;
		list_del(&t->node);
		task_start(t);
		next = starved.next; /* anything may have happened */
	}
	feeding = false;
}

bool tasks_starve(void)
{
	return !list_empty(&starved);
}

bool tasks_wait_for_peer(struct conn *c)
{
	for (unsigned i = 0; c->tasks && i < TASKS + SPARE_TASKS; i++) {
		const struct task *t = &c->tasks[i];
		/* Data out come in bursts, and only a whole one counts. */
		uint32_t since = t->write ? t->since : MAX(t->since, c->moved_tick);

		if (t->nr_segs && t->state != TASK_RUNNING && c->ticks - since > STALL_TICKS)
			return true;
	}
	return false;
}

/* ---- data from the initiator ---- */

static void r2t_send(struct task *t)
{
	struct conn *c = t->c;
	uint32_t n = MIN(t->expected - t->received, c->p.max_burst);
	struct reply *r = reply_make(c, 0x31, 0x80, t->itt, NULL, 0);

	if (!r)
		return;
	t->ttt = 1 + c->next_ttt++ % 0x7fffffff;
	t->burst_end = t->received + n;
	t->since = c->ticks;
	t->data_sn = 0;
	t->final_seen = false;
	memcpy(r->data + 8, t->lun, 8);
	be32(r->data + 20, t->ttt);
	be32(r->data + 36, t->r2t_sn++);
	be32(r->data + 40, t->received);
	be32(r->data + 44, n);
	reply_send(c, r, false);
}

static void cmd_done(struct scsi_cmd *cmd)
{
	struct task *t = cmd->owner;
	struct conn *c = t->c;

	nr_running--;
	if (t->aborted || c->state == CONN_DEAD) {
		if (t->aborted && !--c->fence)
			tasks_feed();
		task_free(t);
		return;
	}
	task_respond(t);
}

static void task_run(struct task *t)
{
	t->state = TASK_RUNNING;
	nr_running++;
	t->cmd.segs = t->segs;
	t->cmd.nr_segs = t->nr_segs;
	t->cmd.room = t->write ? MIN(t->received, t->expected) : t->room;
	scsi_run(&t->cmd);
}

/* It has its pages (if it needs any). */
static void task_start(struct task *t)
{
	if (!t->write || t->received >= t->expected) {
		task_run(t);
		return;
	}
	t->state = TASK_DATA;
	t->since = t->c->ticks;
	/* What comes unasked comes first. */
	if (t->final_seen)
		r2t_send(t);
}

static void task_begin(struct task *t)
{
	struct conn *c = t->c;

	/* Whoever has waited longer goes first; what needs no memory goes at once. */
	if (!c->fence && (!t->expected || (list_empty(&starved) && pages_take(t)))) {
		task_start(t);
		return;
	}
	list_add_tail(&starved, &t->node);
	tasks_feed();
}

static void task_fail(struct task *t, enum scsi_sense sense)
{
	scsi_fail(&t->cmd, sense);
	task_respond(t);
}

static struct task *task_find(struct conn *c, uint32_t itt)
{
	struct task *t;

	for (t = *bucket_of(c, itt); t; t = t->same_bucket)
		if (t->itt == itt && t->state != TASK_PINNED && !t->aborted)
			return t;
	return NULL;
}

static void task_full(struct conn *c)
{
	struct reply *r = reply_make(c, 0x21, 0x80, rd32(c->head + 16), NULL, 0);

	if (!r)
		return;
	r->data[3] = SCSI_TASK_SET_FULL;
	reply_send(c, r, true);
}

void task_command(struct conn *c)
{
	const uint8_t *h = c->head;
	uint32_t n = rd24(h + 5), itt = rd32(h + 16);
	struct task *t;

	if (itt == UINT32_MAX || task_find(c, itt)) {
		reject(c, itt == UINT32_MAX ? 0x09 : 0x07);
		return;
	}
	if (c->discovery || (n && !c->p.immediate_data)) {
		reject(c, 0x04);
		return;
	}
	t = task_get(c, h[0] & 0x40);
	if (!t) {
		task_full(c);
		return;
	}
	t->aborted = false;
	t->itt = itt;
	t->same_bucket = *bucket_of(c, itt);
	*bucket_of(c, itt) = t;
	memcpy(t->lun, h + 8, 8);
	t->read = h[1] & 0x40;
	t->write = h[1] & 0x20;
	t->edtl = rd32(h + 20);
	t->final_seen = h[1] & 0x80;
	t->received = t->sent = t->data_sent = t->part = t->r2t_sn = t->data_sn = 0;
	t->nr_segs = 0;
	t->since = c->ticks;
	t->pin_done = false;
	t->ttt = UINT32_MAX;
	t->burst_end = MIN(c->p.first_burst, t->edtl);
	t->out.is_task = true;
	t->cmd.target = &c->target->scsi;
	t->cmd.unit = scsi_find(&c->target->scsi, t->lun);
	t->cmd.nexus = t->cmd.unit ? &c->nexuses[t->cmd.unit->lun] : NULL;
	memcpy(t->cmd.cdb, h + 32, 16);
	t->cmd.done = cmd_done;
	t->cmd.owner = t;
	c->sink_task = t;
	t->expected = t->room = 0;
	t->ended = !scsi_begin(&t->cmd);
	if (t->ended || h[4])
		return; /* the data of the PDU are dropped, then comes the answer */
	if (t->cmd.dir == SCSI_IN)
		t->expected = t->read ? MIN(t->edtl, t->cmd.bytes) : 0;
	else if (t->cmd.dir == SCSI_OUT)
		t->expected = t->write ? MIN(t->edtl, t->cmd.bytes) : 0;
	t->write = t->cmd.dir == SCSI_OUT;
	t->room = t->expected;
	/* The disk moves whole blocks, also when the initiator wants but a part of the last. */
	if (t->cmd.medium && t->cmd.unit)
		t->room = (t->room + t->cmd.unit->block - 1) & ~(t->cmd.unit->block - 1);
	if (!n)
		return;
	/* Immediate data need their pages now. */
	if (t->write && t->expected && !c->fence && list_empty(&starved) && pages_take(t)) {
		c->sink = SINK_TASK;
		c->sink_at = 0;
	} else if (t->write && t->expected) {
		/* None there: asked for again by R2T, once there are some. */
		c->sink = SINK_DROP;
	}
}

/* The whole command PDU is in. */
static void command_sunk(struct conn *c, struct task *t)
{
	uint32_t n = rd24(c->head + 5);
	bool solicit_all = t->write && c->sink != SINK_TASK;

	if (c->head[4]) {
		task_fail(t, SCSI_INVALID_FIELD_IN_CDB); /* no AHS means anything to us */
		return;
	}
	if (t->ended) {
		task_respond(t);
		return;
	}
	if (c->bad_digest) {
		reject(c, 0x02);
		if (c->state != CONN_DEAD)
			task_fail(t, SCSI_ABORTED_CRC);
		return;
	}
	if (n && (n > c->p.first_burst || n > t->edtl) && t->write) {
		task_fail(t, SCSI_UNEXPECTED_DATA);
		return;
	}
	if (c->sink == SINK_TASK) {
		t->received = n;
		task_start(t);
		return;
	}
	if (solicit_all && !t->final_seen && c->p.initial_r2t)
		t->final_seen = true; /* it must not send more unasked */
	task_begin(t);
}

void task_data_out(struct conn *c)
{
	const uint8_t *h = c->head;
	uint32_t n = rd24(h + 5), ttt = rd32(h + 20), off = rd32(h + 40);
	struct task *t = c->tasks ? task_find(c, rd32(h + 16)) : NULL;

	c->sink_task = NULL;
	if (!t || !t->write) /* of an aborted command, or of none */
		return;
	if (t->state == TASK_STARVED && ttt == UINT32_MAX) {
		/* Sent unasked, and there is no memory yet: asked for again later. */
		t->final_seen |= (h[1] & 0x80) != 0;
		return;
	}
	if (t->state != TASK_DATA)
		return;
	c->sink_task = t;
	if (ttt != t->ttt || off != t->received || n > t->burst_end - t->received ||
		rd32(h + 36) != t->data_sn) {
		c->sink_at = UINT32_MAX; /* wrong: said when its data have come */
		return;
	}
	t->data_sn++;
	c->sink = SINK_TASK;
	c->sink_at = off;
}

static void data_sunk(struct conn *c, struct task *t)
{
	uint32_t n = rd24(c->head + 5);
	bool last = c->head[1] & 0x80;

	if (c->sink != SINK_TASK) {
		task_fail(t, SCSI_UNEXPECTED_DATA);
		return;
	}
	if (c->bad_digest) {
		reject(c, 0x02);
		if (c->state != CONN_DEAD)
			task_fail(t, SCSI_ABORTED_CRC);
		return;
	}
	t->received += n;
	if (!last && t->received < t->burst_end)
		return;
	if (t->received >= t->expected)
		task_run(t);
	else if (last && t->ttt != UINT32_MAX && t->received < t->burst_end)
		task_fail(t, SCSI_TOO_LITTLE_DATA);
	else
		r2t_send(t);
}

void task_sunk(struct conn *c)
{
	struct task *t = c->sink_task;

	c->sink_task = NULL;
	if (!t || t->aborted)
		return;
	if ((c->head[0] & 0x3f) == 0x01)
		command_sunk(c, t);
	else if (t->state == TASK_DATA)
		data_sunk(c, t);
}

/* ---- data and status to the initiator ---- */

static void task_respond(struct task *t)
{
	struct conn *c = t->c;

	t->state = TASK_SENDING;
	t->since = c->ticks;
	t->sent = t->data_sent = t->part = t->data_sn = 0;
	t->pdu_bytes = 0;
	t->cmd.moved = t->cmd.status == SCSI_GOOD ? MIN(t->cmd.moved, t->expected) : 0;
	if (t->write || !t->cmd.moved)
		pages_free(t); /* written: nobody needs them any more */
	list_add_tail(&c->outq, &t->out.node);
	conn_flush(c);
}

/* Bytes the command would have moved, for the residual. */
static uint32_t would_move(const struct task *t)
{
	if (t->cmd.status != SCSI_GOOD)
		return 0;
	return t->cmd.dir == SCSI_NO_DATA ? 0 : t->cmd.bytes;
}

/* 11.4.5 */
static void put_residual(const struct task *t, uint8_t *h, uint8_t *flags)
{
	uint32_t moves = would_move(t);

	if (moves > t->edtl) {
		*flags |= 0x04;
		be32(h + 44, moves - t->edtl);
	} else if (moves < t->edtl) {
		*flags |= 0x02;
		be32(h + 44, t->edtl - moves);
	}
}

static void task_pinned(struct net_pin *pin)
{
	struct task *t = container_of(pin, struct task, pin);

	/* Acknowledged before what follows the data had room to leave? */
	if (unlikely(t->state == TASK_SENDING))
		t->pin_done = true;
	else
		task_free(t);
}

/* SCSI Response, 11.4. */
static bool emit_response(struct task *t)
{
	struct conn *c = t->c;
	uint8_t sense[2 + SCSI_SENSE_MAX], flags = 0x80;
	struct reply *r;

	sense[0] = 0;
	sense[1] = t->cmd.sense_len;
	memcpy(sense + 2, t->cmd.sense, t->cmd.sense_len);
	r = reply_make(c, 0x21, 0, t->itt, sense, t->cmd.sense_len ? 2u + t->cmd.sense_len : 0);
	if (!r)
		return false;
	put_residual(t, r->data, &flags);
	r->data[1] = flags;
	r->data[3] = t->cmd.status;
	be32(r->data + 36, t->r2t_sn); /* ExpDataSN */
	/* In the task's place in the queue. */
	r->status = true;
	c->nr_replies++;
	list_insert(&t->out.node, &r->out.node);
	list_del(&t->out.node);
	task_free(t);
	return true;
}

/* What of the PDU under way comes next, out of the pages where the disk put it. */
static const uint8_t *data_at(const struct task *t, uint32_t *run)
{
	uint32_t unit = t->small ? PAGE_SIZE : BIG, at = t->sent + t->data_sent, off = at % unit;
	const struct seg *s = &t->segs[at / unit];

	*run = MIN(MIN(t->pdu_bytes - t->data_sent, s->len - off), (uint32_t)NET_SEND_MAX);
	return (const uint8_t *)dma_ptr(s->addr) + off;
}

/* The header of the next Data-In, 11.7, and the first of its data.  False: no room. */
static bool emit_header(struct task *t)
{
	struct conn *c = t->c;
	uint32_t left = t->cmd.moved - t->sent;
	uint32_t in_burst = c->p.max_burst - t->sent % c->p.max_burst;
	uint32_t n = MIN(MIN(left, c->p.mrdsl), in_burst), hlen = 48;
	uint8_t h[52] = { 0x25 };
	bool last = n == left, end;
	const uint8_t *p;
	uint32_t run;

	t->pdu_bytes = n;
	be24(h + 5, n);
	memcpy(h + 8, t->lun, 8);
	be32(h + 16, t->itt);
	be32(h + 20, UINT32_MAX);
	be32(h + 36, t->data_sn);
	be32(h + 40, t->sent);
	if (last || n == in_burst)
		h[1] = 0x80;
	if (last) {
		h[1] |= 0x01;
		put_residual(t, h, &h[1]);
	}
	be32(h + 28, c->exp_cmd_sn);
	be32(h + 32, conn_max_cmd_sn(c));
	if (last)
		be32(h + 24, c->stat_sn);
	if (c->p.header_digest) {
		uint32_t crc = crc32c(0, h, 48);

		memcpy(h + 48, &crc, 4);
		hlen = 52;
	}
	t->data_sent = t->crc = 0;
	p = data_at(t, &run);
	end = t->sent + run == t->cmd.moved;
	t->pin.done = task_pinned;
	if (net_send_with(c->net, h, hlen, p, run, end ? &t->pin : NET_KEEP))
		return false;
	if (c->p.data_digest)
		t->crc = crc32c(0, p, run);
	t->data_sent = run;
	if (last)
		c->stat_sn++;
	t->data_sn++;
	return true;
}

/* The rest of its data. */
static bool emit_data(struct task *t)
{
	struct conn *c = t->c;
	const uint8_t *p;
	uint32_t n;
	bool end;

	while (t->data_sent < t->pdu_bytes) {
		p = data_at(t, &n);
		end = t->sent + t->data_sent + n == t->cmd.moved;
		if (net_send(c->net, p, n, end ? &t->pin : NET_KEEP))
			return false;
		if (c->p.data_digest)
			t->crc = crc32c(t->crc, p, n);
		t->data_sent += n;
	}
	return true;
}

static bool emit_tail(struct task *t)
{
	struct conn *c = t->c;
	unsigned pad = (0 - t->pdu_bytes) & 3, n = pad;
	uint8_t tail[8] = { 0 };

	if (!pad && !c->p.data_digest)
		return true;
	if (c->p.data_digest) {
		uint32_t crc = crc32c(t->crc, tail, pad);

		memcpy(tail + pad, &crc, 4);
		n += 4;
	}
	return !net_send(c->net, tail, n, NULL);
}

bool task_emit(struct task *t)
{
	if (!t->cmd.moved || t->write)
		return emit_response(t);
	/* part: 0 header, 1 data, 2 what follows them */
	while (t->sent < t->cmd.moved) {
		if (t->part == 0 && !emit_header(t))
			return false;
		t->part = MAX(t->part, 1u);
		if (t->part == 1 && !emit_data(t))
			return false;
		t->part = 2;
		if (!emit_tail(t))
			return false;
		t->part = 0;
		t->sent += t->pdu_bytes;
	}
	list_del(&t->out.node);
	t->state = TASK_PINNED; /* task_pinned() frees it */
	if (unlikely(t->pin_done))
		task_free(t);
	return true;
}

/* ---- leaving ---- */

/* A command nobody wants the answer of. */
static void task_abort(struct task *t)
{
	if (t->state == TASK_RUNNING) {
		t->aborted = true;
		t->c->fence++;
		return;
	}
	if (t->state == TASK_STARVED && list_linked(&t->node))
		list_del(&t->node);
	if (t->state == TASK_STARVED || t->state == TASK_DATA)
		task_free(t);
	/* What is being sent is as good as answered. */
}

void tasks_drop(struct conn *c)
{
	for (unsigned i = 0; c->tasks && i < TASKS + SPARE_TASKS; i++) {
		struct task *t = &c->tasks[i];

		if (t->state == TASK_STARVED || t->state == TASK_DATA) {
			task_abort(t);
		} else if (t->state == TASK_SENDING) {
			/* Off the queue it went with the rest; its pages may be in a NIC. */
			bool pinned = t->part && t->sent + t->data_sent == t->cmd.moved;

			t->state = TASK_PINNED;
			t->pin.done = task_pinned;
			if (t->pin_done)
				task_free(t);
			else if (!pinned)
				net_linger(&t->pin);
		}
		/* Those with the disk find the connection dead. */
	}
}

static void abort_where(struct conn *c, const struct scsi_unit *unit, bool all)
{
	for (unsigned i = 0; c->tasks && i < TASKS + SPARE_TASKS; i++) {
		struct task *t = &c->tasks[i];

		if (t->state != TASK_FREE && !t->aborted && (all || t->cmd.unit == unit))
			task_abort(t);
	}
}

static void reset_units_of(struct conn *c, const struct scsi_unit *unit, bool attention)
{
	abort_where(c, unit, !unit);
	for (unsigned i = 0; i < SCSI_LUNS_MAX && attention; i++)
		if (c->target->scsi.units[i] && (!unit || c->target->scsi.units[i] == unit))
			scsi_attention(&c->nexuses[i], SCSI_POWER_ON);
}

/* A reset is felt by the other sessions of the target too.  Any of them, this one included, may be
 * dropped on the way: a command that ends has something to say, and there may be no room to. */
static void reset_units(struct conn *from, const struct scsi_unit *unit)
{
	static uint64_t round;
	struct conn *c;

	round++;
again:
	list_for_each (c, &iscsi_conns, node) {
		if (c->state != CONN_FULL || c->target != from->target || c->reset_round == round)
			continue;
		c->reset_round = round;
		c->refs++;
		reset_units_of(c, unit, c != from);
		conn_put(c);
		goto again;
	}
}

static void others_end(struct conn *from)
{
	struct conn *c, *victim;

	do {
		victim = NULL;
		list_for_each (c, &iscsi_conns, node)
			if (c != from && c->target == from->target)
				victim = c;
		if (victim)
			conn_kill(victim, "target cold reset");
	} while (victim);
}

void task_management(struct conn *c)
{
	const uint8_t *h = c->head;
	uint8_t function = h[1] & 0x7f, response = 0;
	struct scsi_unit *unit = c->target ? scsi_find(&c->target->scsi, h + 8) : NULL;
	struct task *t;
	struct reply *r;

	switch (function) {
	case 1: /* ABORT TASK */
		t = c->tasks ? task_find(c, rd32(h + 20)) : NULL;
		if (!t)
			response = 1;
		else
			task_abort(t);
		break;
	case 2: /* ABORT TASK SET */
	case 4: /* CLEAR TASK SET */
		if (!unit)
			response = 2;
		else
			abort_where(c, unit, false);
		break;
	case 5: /* LOGICAL UNIT RESET */
		if (!unit)
			response = 2;
		else
			reset_units(c, unit);
		break;
	case 6: /* TARGET WARM RESET */
		if (c->target)
			reset_units(c, NULL);
		break;
	case 7: /* TARGET COLD RESET: and no connection stays */
		if (c->target) {
			reset_units(c, NULL);
			others_end(c);
		}
		break;
	case 8: /* TASK REASSIGN */
		response = 4;
		break;
	default:
		response = 5;
		break;
	}
	r = reply_make(c, 0x22, 0x80, rd32(h + 16), NULL, 0);
	if (!r)
		return;
	r->data[2] = response;
	r->then_close = c->closing = function == 7 && c->target;
	reply_send(c, r, true);
}

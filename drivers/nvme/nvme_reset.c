/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme_reset - when a controller does not answer, answers nonsense, says it has failed or is gone.
 *
 * Each queue has a watchdog: once a second, while there is work, it reads CSTS and looks for what
 * is too old.  It alarms the keeper, a fiber on core 0 made at attach (so that recovery needs no
 * memory), which asks the controller to abort single commands and, if that is no use, resets it.
 *
 * The order of a reset is what matters.  First every queue stops on its own core.  Then the
 * controller is disabled and has said so (CSTS.RDY = 0), or it is cut off from memory by the bus
 * master bit: only now do bios end or wait to be sent again, for until then their pages are the
 * device's.  A controller that cannot even be cut off keeps its bios for as long as it goes on like
 * that.  One that comes back as something else, or not, or after NVME_MAX_VAIN resets that brought
 * nothing, is given up: its bios end with -EIO, its disks are gone.
 */
#include "drivers/nvme/nvme.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define ABORT_NS       (5 * NS_PER_S)
#define LAST_CHANCE_NS (1 * NS_PER_S) /* to disable what did not come up, before it is cut off */
#define HOLD_NS        (1 * NS_PER_S)

/* ---- alarms: from a queue to the keeper ---- */

void nvme_alarm_work(struct work *w)
{
	struct nvme_alarm *a = container_of(w, struct nvme_alarm, work);
	struct nvme *n = a->q->ctrl;

	if (a->back) {
		a->back = false;
		a->out = false;
		return;
	}
	n->alarm = true;
	n->urgent |= a->wish == NVME_WISH_RESET;
	waitq_wake_all(&n->keeper_q);
	a->back = true;
	work_send(a->q->core, w);
}

void nvme_alarm(struct nvme_queue *q, enum nvme_wish wish)
{
	struct nvme_alarm *a = &q->alarms[wish];

	if (!q->live || a->out)
		return;
	a->out = true;
	work_send(0, &a->work);
}

/* ---- the watchdog ---- */

static bool slot_wants_abort(const struct nvme_queue *q, const struct nvme_slot *s)
{
	return !s->aborted && (q->tick - s->tick >= NVME_TICKS_ABORT ||
				      nvme_bio_age(q, s->bio) >= NVME_TICKS_RETRY);
}

static bool slot_wants_reset(const struct nvme_queue *q, const struct nvme_slot *s)
{
	uint32_t age = q->tick - s->tick;
	/* What was out when the probing began is a probe from then on. */
	bool late = q->probing ? MIN(age, q->tick - q->probe_tick) >= NVME_TICKS_PROBE
			       : age >= NVME_TICKS_RESET;

	return late || nvme_bio_age(q, s->bio) >= NVME_TICKS_LAST;
}

static void queue_check(struct nvme_queue *q)
{
	uint32_t csts = nvme_read(q->ctrl, NVME_CSTS);
	bool wants_abort = false;
	unsigned i;

	if (csts == NVME_GONE || csts & NVME_CSTS_CFS) {
		nvme_alarm(q, NVME_WISH_RESET);
		return;
	}
	for (i = 0; i < q->entries - 1u; i++) {
		const struct nvme_slot *s = &q->slots[i];

		if (!s->bio)
			continue;
		if (slot_wants_reset(q, s)) {
			nvme_alarm(q, NVME_WISH_RESET);
			return;
		}
		wants_abort |= slot_wants_abort(q, s);
	}
	if (wants_abort)
		nvme_alarm(q, NVME_WISH_ABORT);
}

void nvme_watchdog(struct timer *t)
{
	struct nvme_queue *q = container_of(t, struct nvme_queue, watchdog);

	if (!nvme_queue_busy(q))
		return;
	q->tick++; /* a machine that was stopped for an hour ages by one */
	if (nvme_answered(q) != q->nr_answered) {
		q->nr_answered = nvme_answered(q);
		q->answered_tick = q->tick;
		q->probing = false;
	}
	timer_start(t, now_ns() + NVME_TICK_NS);
	if (!q->live)
		return;
	if (q->backlog.nr && nvme_bio_age(q, q->backlog.head) >= NVME_TICKS_WAIT)
		nvme_queue_prune(q, NVME_TICKS_WAIT);
	queue_check(q);
}

/* ---- abort ---- */

struct abort_pick {
	struct nvme_queue *q;
	unsigned cid;
	bool found;
};

/* On the queue's core: the next command to abort. */
static void pick_abort(void *arg)
{
	struct abort_pick *p = arg;
	struct nvme_queue *q = p->q;
	unsigned i;

	p->found = false;
	for (i = 0; q->live && i < q->entries - 1u; i++) {
		struct nvme_slot *s = &q->slots[i];

		if (!s->bio || !slot_wants_abort(q, s))
			continue;
		s->aborted = true;
		p->cid = (unsigned)s->gen << 8 | i;
		p->found = true;
		return;
	}
}

/* True: all were answered for, whatever was answered; false: the controller must be reset. */
static may_block bool abort_all(struct nvme *n)
{
	unsigned i;
	int err;

	for (i = 0; i < n->nr_queues; i++) {
		struct abort_pick p = { .q = n->queues[i] };

		for (;;) {
			if (n->urgent)
				return false;
			core_call(p.q->core, pick_abort, &p);
			if (!p.found)
				break;
			log_warn("%s: queue %u: command %#x takes too long, aborting it", n->name,
				p.q->id, p.cid);
			err = nvme_abort(n, p.q->id, p.cid, now_ns() + ABORT_NS, &n->urgent);
			if (err == -ETIMEDOUT || err == -ENODEV)
				return false;
		}
	}
	return true;
}

static uint64_t answered(const struct nvme *n)
{
	uint64_t nr = 0;

	for (unsigned i = 0; i < n->nr_queues; i++)
		nr += nvme_answered(n->queues[i]);
	return nr;
}

/* Only aborts were answered for as long as a command may take? */
static void look_silent(void *queue)
{
	struct nvme_queue *q = queue;

	if (q->tick - q->answered_tick >= NVME_TICKS_ABORT)
		q->ctrl->silent = true;
	else if (nvme_queue_busy(q))
		q->ctrl->heard = true;
}

static may_block void aborted(struct nvme *n)
{
	n->silent = n->heard = false;
	nvme_each_queue(n, look_silent);
	if (!n->silent || n->heard)
		return;
	n->nr_vain = 1;
	n->nr_answered_at_reset = answered(n);
	nvme_each_queue(n, nvme_queue_probe);
}

/* ---- reset ---- */

may_block void nvme_each_queue(struct nvme *n, void (*fn)(void *queue))
{
	unsigned i;

	for (i = 0; i < n->nr_queues; i++)
		core_call(n->queues[i]->core, fn, n->queues[i]);
}

may_block bool nvme_quiet(struct nvme *n, uint64_t due_ns)
{
	int err = nvme_disable(n, due_ns);

	if (!err)
		return true;
	log_err("%s: cannot be disabled (%s), cut off from memory instead", n->name, err_text(err));
	n->dead = true;
	return nvme_cut(n);
}

/* As nvme_quiet(), but nothing else will do: false only when the machine stops meanwhile. */
static may_block bool quiet_surely(struct nvme *n, uint64_t due_ns)
{
	bool quiet = nvme_quiet(n, due_ns);

	if (!quiet)
		log_err("%s: cannot be cut off either, its requests are held", n->name);
	while (!quiet && !n->stop) {
		fiber_sleep(HOLD_NS);
		quiet = nvme_cut(n);
	}
	return quiet;
}

/* What we built on must still hold; more of it does no harm. */
static bool same_ns(const struct nvme_ns *was, const struct nvme_ns *is)
{
	return is->shift == was->shift && is->bdev.nr_sectors >= was->bdev.nr_sectors &&
	       is->bdev.read_only <= was->bdev.read_only && !strcmp(is->eui, was->eui);
}

static bool same_facts(const struct nvme_facts *was, const struct nvme_facts *is)
{
	return !strcmp(is->serial, was->serial) && !strcmp(is->model, was->model) &&
	       is->max_sectors >= was->max_sectors && is->write_cache <= was->write_cache &&
	       !(was->oncs & ~is->oncs) && is->sgl >= was->sgl && is->sgl_align <= was->sgl_align;
}

static may_block int check_same(struct nvme *n, uint64_t due_ns)
{
	struct nvme_facts facts;
	struct nvme_ns ns;
	unsigned i;
	int err = nvme_read_facts(n, &facts, due_ns);

	if (err)
		return err;
	if (!same_facts(&n->facts, &facts))
		return -EINVAL;
	for (i = 0; i < n->nr_ns; i++) {
		memset(&ns, 0, sizeof(ns));
		err = nvme_read_ns(n, n->ns[i]->nsid, &ns, due_ns);
		if (err)
			return err;
		if (!same_ns(n->ns[i], &ns))
			return -EINVAL;
	}
	return 0;
}

/* The controller is disabled and the rings are empty. */
static may_block int bring_up(struct nvme *n, uint64_t until_ns)
{
	unsigned i;
	int err;

	if (nvme_read(n, NVME_CAP) != (uint32_t)n->cap ||
		nvme_read(n, NVME_CAP + 4) != (uint32_t)(n->cap >> 32)) {
		log_err("%s: came back with other capabilities", n->name);
		return -EINVAL;
	}
	err = nvme_enable(n, nvme_ready_due(n, until_ns));
	if (err) {
		log_err("%s: does not come up (%s)", n->name, err_text(err));
		return err;
	}
	err = check_same(n, until_ns);
	if (err) {
		log_err("%s: came back as something else (%s)", n->name, err_text(err));
		return err;
	}
	err = nvme_grant_queues(n, n->nr_queues, until_ns);
	if (err >= 0 && (unsigned)err < n->nr_queues) {
		log_err("%s: came back with %d of its %u queues", n->name, err, n->nr_queues);
		return -EINVAL;
	}
	for (i = 0; i < n->nr_queues && err >= 0; i++)
		err = nvme_create_queue(n, n->queues[i], until_ns);
	return MIN(err, 0);
}

/* Counts, and says until when the reset may last. */
static uint64_t judge(struct nvme *n)
{
	unsigned i, oldest = 0, left;
	uint64_t nr = answered(n);
	bool bad = false;

	for (i = 0; i < n->nr_queues; i++) {
		oldest = MAX(oldest, n->queues[i]->oldest);
		bad |= n->queues[i]->nr_bad >= NVME_MAX_BAD;
	}
	n->nr_vain =
		(n->nr_resets || n->nr_vain) && nr == n->nr_answered_at_reset ? n->nr_vain + 1 : 0;
	n->nr_answered_at_reset = nr;
	n->nr_resets++;
	n->nr_bad_resets += bad;
	left = oldest < NVME_TICKS_TOTAL ? NVME_TICKS_TOTAL - oldest : 1;
	return now_ns() + MIN(left, NVME_TICKS_MAX_RESET) * NVME_TICK_NS;
}

static const char *hopeless(const struct nvme *n)
{
	if (n->nr_vain >= NVME_MAX_VAIN)
		return "nothing came back since the last resets";
	if (n->nr_bad_resets > NVME_MAX_BAD_RESETS)
		return "it goes on answering what was not asked";
	return NULL;
}

static may_block void give_up(struct nvme *n)
{
	unsigned i;

	n->dead = true;
	for (i = 0; i < n->nr_ns; i++)
		n->ns[i]->bdev.gone = true;
	/* Said first: whoever hears of his bio finds it in the log. */
	log_err("%s: given up", n->name);
	nvme_each_queue(n, nvme_queue_kill);
}

static may_block void reset(struct nvme *n)
{
	const char *why;
	uint64_t until_ns;

	nvme_each_queue(n, nvme_queue_stop);
	/* What other cores had to say has arrived before they answered, what this core has to say
	 * is there after a turn: one reset for all of it. */
	fiber_yield();
	n->alarm = n->urgent = false;
	until_ns = judge(n);
	log_warn("%s: resetting the controller (status %#x)", n->name, nvme_read(n, NVME_CSTS));
	if (!quiet_surely(n, nvme_ready_due(n, until_ns)))
		return;
	why = n->dead ? NULL : hopeless(n);
	if (why) {
		log_err("%s: %s", n->name, why);
		n->dead = true;
	}
	if (!n->dead) {
		nvme_each_queue(n, nvme_queue_recover);
		if (bring_up(n, until_ns)) {
			if (!quiet_surely(n, now_ns() + LAST_CHANCE_NS))
				return;
			n->dead = true;
		}
	}
	if (n->dead) {
		give_up(n);
		return;
	}
	log_info("%s: back after a reset", n->name);
	nvme_each_queue(n, nvme_queue_start);
}

void nvme_keeper(void *arg)
{
	struct nvme *n = arg;
	bool urgent;

	while (!n->stop) {
		if (!n->alarm) {
			waitq_wait(&n->keeper_q);
			continue;
		}
		gate_enter(&n->gate);
		urgent = n->urgent;
		n->alarm = false;
		if (n->stop || n->dead)
			;
		else if (urgent || !abort_all(n))
			reset(n);
		else
			aborted(n);
		gate_leave(&n->gate);
	}
	n->keeper_runs = false;
	waitq_wake_all(&n->keeper_q);
}

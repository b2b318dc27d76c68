/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme - what the files of the NVMe driver share.  Nobody else includes this but its unit test.
 *
 *	nvme.c		attach, names, shutdown
 *	nvme_admin.c	registers, the admin queue, bringing a controller up and down
 *	nvme_ident.c	what identify data say, believed or not
 *	nvme_queue.c	the I/O path of one core
 *	nvme_reset.c	time-outs, abort, reset
 *
 * Who owns what.  An I/O queue belongs to its home core: every field is touched there only, and
 * core 0 asks by core_call().  The controller, the admin queue and all waiting belong to fibers on
 * core 0 that hold the gate.
 */
#ifndef DRIVERS_NVME_NVME_H
#define DRIVERS_NVME_NVME_H

#include "drivers/driver.h"
#include "drivers/nvme/nvmereg.h"
#include "drivers/pci/pci.h"
#include "kernel/api/fiber.h"
#include "kernel/api/timer.h"
#include "mapper/block.h"

#define NVME_MAX_ENTRIES   128u /* of an I/O queue; one less are commands under way */
#define NVME_ADMIN_ENTRIES 16u
#define NVME_MAX_NS        64u
#define NVME_LIST_BYTES    1024u /* a slot's PRP list, SGL or dataset range */
#define NVME_MAX_PRPS      (NVME_LIST_BYTES / 8)
#define NVME_MAX_SGLS      (NVME_LIST_BYTES / 16)
#define NVME_MAX_BYTES     (NVME_MAX_PRPS * PAGE_SIZE) /* PRP1 covers what an odd start adds */
#define NVME_NO_SLOT       0xffffu

/*
 * Patience, in ticks of a second that pass while a queue has work.  A bio is at most 31 old when
 * its command is given up, or when it is ended because it never found a slot; 36 when that costs a
 * reset; 40 when it is tried once more.  One that got its slot late or was tried before costs an
 * abort at 40 and a reset at 45.  A reset lasts until the oldest bio is 57 old, at most 20.
 *
 * That is for one request.  Behind those that are here wait others, in mapped devices, and a device
 * that is silent would cost each lot of them as much again.  So when nothing at all was answered
 * for a whole round, one command is sent as a probe and the rest waits for what becomes of it: with
 * an answer all goes on, without one the device is given up.
 */
#define NVME_TICK_NS         NS_PER_S
#define NVME_TICKS_ABORT     31u /* a command this old is aborted */
#define NVME_TICKS_WAIT      31u /* a bio this old that no slot became free for is ended */
#define NVME_TICKS_RESET     36u /* a command this old costs a reset */
#define NVME_TICKS_RETRY     40u /* a bio this old is not tried once more, and its command aborted */
#define NVME_TICKS_LAST      45u /* a bio this old costs a reset */
#define NVME_TICKS_PROBE     8u  /* a probe this old costs a reset */
#define NVME_TICKS_TOTAL     57u
#define NVME_TICKS_MAX_RESET 20u

#define NVME_RETRIES         3u
#define NVME_NOT_READY_NS    (500 * NS_PER_MS) /* between tries of a namespace that wakes up */
#define NVME_NOT_READY_TICKS 20u
#define NVME_MAX_BAD         256u /* impossible completions before the controller is reset */
#define NVME_MAX_VAIN        2u   /* rounds in a row, of resets or aborts, that brought nothing */
#define NVME_MAX_BAD_RESETS  2u   /* resets because of impossible completions */

struct nvme;

/* What a queue asks of the keeper. */
enum nvme_wish { NVME_WISH_ABORT, NVME_WISH_RESET, NVME_NR_WISHES };

struct nvme_alarm {
	struct work work;
	struct nvme_queue *q;
	enum nvme_wish wish;
	bool out;  /* on its way there or back */
	bool back; /* it has been there */
};

/* A command under way.  Its id on the wire is gen << 8 | slot number: one that comes twice, or
 * after its slot went to another bio, does not match. */
struct nvme_slot {
	struct bio *bio; /* NULL: free */
	uint32_t seq;    /* order of issue */
	uint32_t tick;   /* of issue */
	uint16_t next;   /* free list */
	uint8_t gen;
	bool aborted;
};

/* What the controller says of itself, as far as we use it. */
struct nvme_facts {
	char model[41], serial[21], firmware[9];
	uint32_t max_nsid;
	uint32_t max_sectors; /* one transfer */
	uint16_t oncs;
	bool write_cache;
	bool sgl;
	uint8_t sgl_align; /* mask */
};

struct nvme_queue {
	struct poller poller;
	struct nvme_sqe *sq;
	struct nvme_cqe *cq;
	struct nvme_slot *slots;
	volatile void *sq_doorbell, *cq_doorbell;
	uint16_t entries;          /* of both rings */
	uint16_t sq_tail, sq_rung; /* where we are, what the device was told */
	uint16_t cq_head;
	uint16_t free; /* first free slot */
	uint16_t nr_out;
	uint16_t id; /* 1.. */
	uint16_t core;
	uint32_t phase; /* NVME_CQE_PHASE or 0: what a new entry has */
	uint32_t tick, seq;
	bool live; /* commands may be issued and completions taken */
	bool dead;
	bool backlogged; /* something waits in backlog, it is not live or it probes: join it */
	bool probing;    /* one command at a time, until one is answered */
	bool has_irq, polled;
	uint16_t nr_bad;              /* impossible completions since the last reset */
	uint64_t nr_done, nr_aborted; /* completions; those that only say they were aborted */
	uint64_t nr_answered;         /* the others, as the watchdog last saw it */
	uint32_t answered_tick;       /* when it last saw that it had grown */
	uint32_t probe_tick;          /* when probing began */
	char *lists;                  /* NVME_LIST_BYTES a slot */
	struct bio_list backlog, delayed;
	struct timer watchdog, lookout, delay;
	struct nvme_alarm alarms[NVME_NR_WISHES];
	unsigned oldest; /* age of the oldest bio when it was stopped */
	struct irq irq;
	struct nvme *ctrl;
};

struct nvme_ns {
	struct bdev bdev;
	struct nvme *ctrl;
	uint32_t nsid;
	uint8_t shift; /* sectors to logical blocks */
	char eui[40];  /* "eui." and hex digits, "" if none */
};

struct nvme {
	struct pci_dev *pci;
	volatile char *regs;
	uint64_t regs_size, cap;
	unsigned number;
	char name[16]; /* "nvme0" */

	/* the admin queue: one command at a time */
	struct nvme_sqe *asq;
	struct nvme_cqe *acq;
	uint16_t admin_tail, admin_head, admin_cid;
	uint32_t admin_phase;
	unsigned nr_bad; /* admin completions of nothing */
	void *page;      /* where identify data lands */

	unsigned nr_queues;
	unsigned nr_vectors; /* 0: interrupts are not used */
	struct nvme_queue *queues[MAX_CORES];
	struct nvme_queue *queue_of[MAX_CORES]; /* by core */

	bool dead; /* gone or given up: no register of it is touched any more */
	struct nvme_facts facts;

	unsigned nr_ns;
	struct nvme_ns *ns[NVME_MAX_NS];

	/* the keeper: a fiber that aborts and resets */
	struct gate gate;
	struct waitq keeper_q;
	bool keeper_runs, stop;
	bool alarm;         /* some queue wishes something */
	bool urgent;        /* ... a reset */
	bool silent, heard; /* what is found out after a round of aborts */
	unsigned nr_resets, nr_vain, nr_bad_resets;
	uint64_t nr_answered_at_reset;
};

/* nvme_admin.c */
uint32_t nvme_read(const struct nvme *n, unsigned reg);
void nvme_write(struct nvme *n, unsigned reg, uint32_t v);
/* When patience for CSTS.RDY ends: CAP.TO from now, or until_ns if that is sooner. */
uint64_t nvme_ready_due(const struct nvme *n, uint64_t until_ns);
int nvme_admin_init(struct nvme *n);
void nvme_admin_free(struct nvme *n);
/* CC.EN = 0 and its acknowledgement: afterwards the device touches no memory.  0, -ETIMEDOUT, or
 * -ENODEV when nothing answers. */
may_block int nvme_disable(struct nvme *n, uint64_t due_ns);
may_block int nvme_enable(struct nvme *n, uint64_t due_ns);
/* Takes the bus away from the device.  True: it reaches no memory any more. */
bool nvme_cut(struct nvme *n);
/* One admin command.  0, -EIO (refused; *status says how), -ETIMEDOUT or -ENODEV.  Gives up early
 * with -ETIMEDOUT when *hurry becomes true; hurry may be NULL, and so may result and status. */
may_block int nvme_admin(struct nvme *n, const struct nvme_sqe *cmd, uint64_t due_ns,
	const bool *hurry, uint32_t *result, unsigned *status);
may_block int nvme_identify(struct nvme *n, unsigned cns, uint32_t nsid, uint64_t due_ns);
/* How many of wanted I/O queue pairs the controller grants, at least 1; or -errno. */
may_block int nvme_grant_queues(struct nvme *n, unsigned wanted, uint64_t due_ns);
may_block int nvme_create_queue(struct nvme *n, struct nvme_queue *q, uint64_t due_ns);
may_block int nvme_abort(
	struct nvme *n, unsigned qid, unsigned cid, uint64_t due_ns, const bool *hurry);
/* CC.SHN: the controller writes back what it caches. */
may_block int nvme_shutdown_notify(struct nvme *n, uint64_t due_ns);

/* nvme_ident.c.  0, -EINVAL (said why in the log) or what nvme_identify() says. */
may_block int nvme_read_facts(struct nvme *n, struct nvme_facts *f, uint64_t due_ns);
/* Fills what identify data decide of a zeroed ns.  -ENOENT: there is no such namespace. */
may_block int nvme_read_ns(struct nvme *n, uint32_t nsid, struct nvme_ns *ns, uint64_t due_ns);
/* The active namespaces in ascending order, at most max; how many or -errno. */
may_block int nvme_list_ns(struct nvme *n, uint32_t *nsids, unsigned max, uint64_t due_ns);

/* nvme_queue.c.  Called on the queue's core, but for init and free on core 0 while it is idle. */
int nvme_queue_init(
	struct nvme_queue *q, struct nvme *n, unsigned id, unsigned core, unsigned entries);
void nvme_queue_free(struct nvme_queue *q);
void nvme_queue_submit(struct nvme_queue *q, struct bio *bio);
void nvme_queue_start(void *queue); /* the device has the (empty) rings */
void nvme_queue_stop(void *queue);  /* takes what is finished, then touches nothing */
/* The device was disabled: takes what it still finished, lines the rest up again for
 * nvme_queue_start() or ends it with -ETIMEDOUT. */
void nvme_queue_recover(void *queue);
/* No poller and no timer any more; what is with the device stays with it. */
void nvme_queue_park(void *queue);
/* The device reaches no memory any more and never will: everything ends with -EIO. */
void nvme_queue_kill(void *queue);
/* Ends what waited too long for a slot: the device never had it. */
void nvme_queue_probe(void *queue);
void nvme_queue_prune(struct nvme_queue *q, unsigned age);

static inline bool nvme_queue_busy(const struct nvme_queue *q)
{
	return q->nr_out || q->backlog.nr || q->delayed.nr;
}

/* A bio in our hands: driver[0] is when it came (low half, in ticks) and what befell it. */
#define NVME_BIO_SAVED     (1ull << 40) /* a reset has passed over it */
#define NVME_BIO_RETRIES   (0xffull << 32)
#define NVME_BIO_ONE_RETRY (1ull << 32)

static inline uint64_t nvme_answered(const struct nvme_queue *q)
{
	return q->nr_done - q->nr_aborted;
}

static inline unsigned nvme_bio_age(const struct nvme_queue *q, const struct bio *bio)
{
	return q->tick - (uint32_t)bio->driver[0];
}

static inline bool nvme_bio_tried(const struct bio *bio)
{
	return bio->driver[0] >> 32;
}

/* nvme_reset.c */
void nvme_watchdog(struct timer *t);
void nvme_alarm_work(struct work *w);
void nvme_alarm(struct nvme_queue *q, enum nvme_wish wish); /* on the queue's core */
void nvme_keeper(void *arg);
/* Runs fn on the core of each queue, one after the other. */
may_block void nvme_each_queue(struct nvme *n, void (*fn)(void *queue));
/* Disabled or cut off; false: neither can be had. */
may_block bool nvme_quiet(struct nvme *n, uint64_t due_ns);

/* nvme.c: for attach gone wrong and for tests; frees all but the softc, unless the device still
 * reaches memory. */
may_block void nvme_free(struct nvme *n);

extern const struct pci_driver nvme_driver;

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_nvme - an NVMe controller on PCI for tests, strict about what drivers do and, when told,
 * wicked in what it does itself.
 *
 * It works on core 0's loop, looks at a ring only when its doorbell was rung and interrupts through
 * its MSI-X table; a driver that forgets a doorbell hangs, one that breaks a rule of the rings
 * panics.  From fetching a command until it posted its completion, was disabled or lost the bus it
 * owns the command's memory: it scribbles into what it may write, checks that what it reads stays
 * as it was, and answers model_nvme_owns() so that a test can see in done() that nothing ended
 * early.
 */
#ifndef TESTS_HOST_MODEL_NVME_H
#define TESTS_HOST_MODEL_NVME_H

#include "drivers/nvme/nvmereg.h"
#include "kernel/api/core.h"
#include "kernel/api/list.h"
#include "kernel/api/random.h"
#include "kernel/api/timer.h"
#include "mapper/block.h"
#include "tests/host/model_pci.h"

#define MODEL_NVME_QUEUES  34
#define MODEL_NVME_NS      70
#define MODEL_NVME_VECTORS 34
#define MODEL_NVME_SEGS    140

/* What befalls one completion of an I/O command. */
enum model_nvme_fault {
	MODEL_NVME_DROP = 1, /* it never comes */
	MODEL_NVME_REPEAT,   /* it comes twice */
	MODEL_NVME_LATE,     /* ... and again when ten others have come */
	MODEL_NVME_CID,      /* it has an id of a slot without a command */
	MODEL_NVME_CID_GEN,  /* ... of the same slot but another use of it */
	MODEL_NVME_CID_HIGH, /* ... beyond all slots */
	MODEL_NVME_SQ,       /* it names another submission queue */
	MODEL_NVME_NR_FAULTS,
};

struct model_nvme_cmd {
	struct list node;
	unsigned qid;
	struct nvme_sqe sqe;
	struct model_nvme_ns *ns;
	struct seg segs[MODEL_NVME_SEGS];
	unsigned nr_segs;
	bool to_host;
	uint8_t *sent; /* what stood there when it was fetched */
	uint64_t due_ns;
};

struct model_nvme_ns {
	uint32_t nsid;
	struct nvme_id_ns id;
	uint8_t *data;
	uint64_t bytes;
	unsigned block;
};

struct model_nvme_queue {
	bool exists, has_irq;
	uint64_t addr;
	unsigned size, cqid, vector;
	unsigned head, tail;
	uint32_t phase;
};

struct model_nvme {
	/* what it is; set before the driver attaches */
	uint64_t cap;
	uint32_t vs;
	struct nvme_id_ctrl id;
	struct model_nvme_ns ns[MODEL_NVME_NS];
	unsigned nr_ns;
	uint32_t list[1024]; /* identify 02h, if list_wrong */
	bool list_wrong, no_list;
	unsigned grants;     /* I/O queue pairs, as it says */
	unsigned really;     /* ... and as it makes */
	unsigned nr_vectors; /* 0: no MSI-X */
	uint64_t bar_size;
	bool junk; /* identify data are drawn from rng, and the shape of its answers */

	/* how it behaves */
	bool hold;                   /* keeps I/O commands until model_nvme_release() */
	bool shuffle;                /* completes in an order drawn from rng */
	uint64_t delay_ns;           /* takes that long for each, with shuffle up to that long */
	enum model_nvme_fault fault; /* befalls the fault_in-th I/O completion from now, then ... */
	unsigned fault_in, fault_every; /* ... every so many; 0: no more */
	unsigned status, nr_status;     /* of the next nr_status I/O commands, unexecuted */
	bool silent;                    /* never completes an I/O command */
	bool silent_abort;              /* ... an Abort; else: */
	bool aborts;                    /* an aborted command ends, else it only says no */
	int silent_admin;               /* never answers this admin command; -1: none */
	bool admin_noise;               /* answers each admin command with nonsense first */
	uint64_t ready_ns;              /* to RDY */
	uint64_t disable_ns;            /* from RDY */
	bool never_ready, never_disabled;
	bool fails_to_start;  /* CFS instead of RDY */
	unsigned fails_after; /* ... after so many starts; 0: not */
	bool failed;          /* CFS is set; nothing moves */
	bool vanished;        /* all ones; with pci->gone configuration space too */
	bool never_shut_down;
	bool busm_stuck; /* cannot be cut off */

	/* counters */
	unsigned nr_starts, nr_disables, nr_irqs, nr_sq_doorbells, nr_cq_doorbells;
	unsigned nr_fetched, nr_completed, nr_by_queue[MODEL_NVME_QUEUES], nr_op[256], nr_fua;
	unsigned nr_aborts, nr_sgl, nr_prp_lists, max_in_flight;
	bool shut_down;

	/* private */
	struct model_pci_fn *pci;
	uint32_t cc, aqa, csts_shst;
	uint64_t asq, acq, ready_at, stopped_at;
	bool enabled, stopping;
	struct model_nvme_queue sq[MODEL_NVME_QUEUES], cq[MODEL_NVME_QUEUES];
	uint32_t msix[MODEL_NVME_VECTORS * 4];
	struct list cmds;
	unsigned nr_cmds, late_in;
	struct nvme_cqe late;
	unsigned late_qid;
	struct rng rng;
	struct work work;
	bool posted;
	struct timer timer;
};

/* One namespace of 4 MiB in blocks of 512 bytes, a write cache, all commands, SGLs, a queue for
 * everyone. */
void model_nvme_init(struct model_nvme *m);
struct model_nvme_ns *model_nvme_add_ns(
	struct model_nvme *m, uint32_t nsid, uint64_t blocks, unsigned lbads);
/* On the bus; before pci_enumerate(). */
void model_nvme_plug(struct model_nvme *m, unsigned bdf, uint64_t phys);
void model_nvme_free(struct model_nvme *m);

/* The oldest n held commands complete; 0: all, and holds no more. */
void model_nvme_release(struct model_nvme *m, unsigned n);
/* Whether the device may still touch this byte. */
bool model_nvme_owns(const struct model_nvme *m, uint64_t addr);
bool model_nvme_reaches_memory(const struct model_nvme *m);
/* Writes where it may and looks whether what it reads is as it was. */
void model_nvme_scribble(struct model_nvme *m);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * model_virtio - a virtio device for tests: a disk or a console, strict about what drivers do and,
 * when told, wicked in what it does itself.
 *
 * It hangs directly on struct virtio_transport (m->v), or behind registers (model_virtio_mmio,
 * model_virtio_pci), so that the transports are tested with it.  It works on the loop of m->core,
 * wakes drivers by interrupts as their event index asks and looks at rings only when notified: a
 * driver that forgets a notification hangs, one that breaks the descriptor rules panics.
 *
 * From taking a request until its completion, a confirmed reset or the loss of the bus the model
 * owns the request's memory: it scribbles into what it may write at every step, and answers
 * model_virtio_owns() so that a test can see in done() that nothing ended early.
 */
#ifndef TESTS_HOST_MODEL_VIRTIO_H
#define TESTS_HOST_MODEL_VIRTIO_H

#include "drivers/virtio/virtio.h"
#include "drivers/virtio/virtioreg.h"
#include "kernel/api/random.h"
#include "kernel/api/strbuf.h"
#include "tests/host/model_pci.h"

#define MODEL_QUEUES 34
#define MODEL_SEGS   130

enum model_fault {
	MODEL_DROP = 1,  /* takes it and never answers */
	MODEL_REPEAT,    /* completes it twice */
	MODEL_WRONG_ID,  /* completes an id nobody has */
	MODEL_ID_RANGE,  /* completes id size + 7 */
	MODEL_HUGE_LEN,  /* says it wrote more than was offered */
	MODEL_IDX_JUMP,  /* used index goes 1000 ahead */
	MODEL_IDX_BACK,  /* ... one back */
	MODEL_NO_STATUS, /* completes without writing the status byte */
};

struct model_req {
	struct list node;
	unsigned queue;
	uint16_t head;
	unsigned nr_out, nr_in;
	struct seg out[MODEL_SEGS], in[MODEL_SEGS];
	uint32_t in_bytes;
	uint64_t due_ns;
	struct virtio_blk_outhdr hdr; /* disks: as it was when the request was taken */
};

struct model_queue {
	bool enabled, has_irq;
	unsigned size;
	uint64_t desc, avail, used; /* addresses */
	uint16_t seen, used_idx, signalled;
	uint64_t msi_addr;
	uint32_t msi_data;
	uint16_t vector;
};

struct model_virtio {
	struct virtio_dev v; /* with the direct transport */

	/* what it is; set before the driver attaches */
	uint64_t offered;
	uint8_t config[256];
	unsigned nr_queues, queue_max;
	bool no_irq;
	unsigned core; /* whose loop it works on; another than the driver's to test interrupts */

	/* how it behaves */
	bool hold;              /* keeps requests until model_virtio_release() */
	bool shuffle;           /* completes in an order drawn from rng */
	uint64_t delay_ns;      /* takes that long for each */
	enum model_fault fault; /* happens to the fault_in-th completion from now, then no more */
	unsigned fault_in;
	int status;           /* of requests from now on; -1: as it should be */
	bool silent;          /* takes and never answers */
	bool never_reset;     /* does not confirm a reset */
	unsigned reset_reads; /* confirms it after so many looks */
	bool stays_dead;      /* refuses FEATURES_OK after a reset */
	bool no_stop_dma;     /* cannot be cut off */
	bool restless;        /* the configuration generation changes at every look */
	bool vanished;        /* all ones everywhere */
	bool needs_reset;     /* says so in its status */

	/* counters */
	unsigned nr_notifies, nr_irqs, nr_resets, nr_requests, nr_completed;
	unsigned nr_type[16]; /* by virtio-blk request type */
	unsigned nr_by_queue[MODEL_QUEUES];
	unsigned max_in_flight;

	/* the disk */
	uint8_t *data;
	uint64_t sectors;
	char id[VIRTIO_BLK_ID_BYTES];

	/* the console */
	char input[4096];
	unsigned input_len, input_taken;
	struct strbuf output;

	/* private */
	uint64_t features;
	uint8_t dev_status, generation;
	struct model_queue queues[MODEL_QUEUES];
	struct list held;
	unsigned nr_held;
	struct rng rng;
	struct work work;
	bool posted, dma_off;
	struct timer timer;
	struct { /* registers of mmio and PCI */
		uint32_t version, gsi, feature_sel, driver_sel, queue_sel, page_size, isr;
		uint32_t num[MODEL_QUEUES], align[MODEL_QUEUES], pfn[MODEL_QUEUES];
		uint64_t addr[MODEL_QUEUES][3];
		uint32_t msix[MODEL_QUEUES][4];
		struct model_pci_fn *pci;
		unsigned msix_cap;
	} regs;
};

/* A disk of so many sectors filled with a pattern, with all features, one queue of 128. */
void model_blk_init(struct model_virtio *m, uint64_t sectors);
void model_console_init(struct model_virtio *m);
void model_virtio_free(struct model_virtio *m);
struct virtio_blk_config *model_blk_config(struct model_virtio *m);

/* The oldest n held requests complete; 0: all, and holds no more. */
void model_virtio_release(struct model_virtio *m, unsigned n);
/* Whether the device may still touch this byte. */
bool model_virtio_owns(const struct model_virtio *m, uint64_t addr);
void model_virtio_scribble(struct model_virtio *m);
/* Someone types; goes to the driver as buffers are there. */
void model_console_type(struct model_virtio *m, const char *text);

/* Puts it behind registers of virtio-mmio (version 1 or 2) at phys. */
void model_virtio_mmio(struct model_virtio *m, unsigned version, uint64_t phys, unsigned gsi);
/* ... or of PCI with its BARs at phys, 20 KiB; unless assigned the driver finds them at 0 and must
 * put them there itself. */
void model_virtio_pci(struct model_virtio *m, unsigned bdf, uint64_t phys, bool assigned);

#endif

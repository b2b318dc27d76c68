/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme - NVM Express 1.4 controllers (nvme0, nvme1 ... as they are attached) and their namespaces
 * (nvme0n1, nvme0n2 ... in the order of their ids).
 *
 * Here is what happens once: checking that the controller is one we can work with, making a pair
 * of I/O rings for each core (or for as many as it grants, then the others send their bios there),
 * finding namespaces and naming them; and at the end leaving the controller quiet.
 */
#include "drivers/nvme/nvme.h"
#include "drivers/pci/pcireg.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define NVME_MAJOR  259 /* Linux's for disks without a number of their own */
#define NVME_MINORS 256 /* the disk and its partitions */
#define MAX_MINORS  (1u << 20)

#define ATTACH_NS   (60 * NS_PER_S) /* all of it, but for reading partitions */
#define ADMIN_NS    (10 * NS_PER_S) /* one command of it */
#define SHUTDOWN_NS (10 * NS_PER_S)

static struct mem_tag nvme_tag = MEM_TAG("nvme");

/* ---- bdev ---- */

static void nvme_submit(struct bdev *dev, struct bio *bio)
{
	struct nvme_ns *ns = container_of(dev, struct nvme_ns, bdev);
	unsigned core = this_core();
	struct nvme_queue *q = ns->ctrl->queue_of[core];

	if (unlikely(q->core != core))
		bio_forward(bio, q->core);
	else
		nvme_queue_submit(q, bio);
}

static void nvme_describe(struct bdev *dev, struct strbuf *out)
{
	const struct nvme_ns *ns = container_of(dev, struct nvme_ns, bdev);
	const struct nvme *n = ns->ctrl;

	strbuf_printf(out, "%s %s, %u queue%s, namespace %u", n->facts.model, n->facts.firmware,
		n->nr_queues, n->nr_queues == 1 ? "" : "s", ns->nsid);
	if (n->facts.serial[0])
		strbuf_printf(out, ", serial %s", n->facts.serial);
	if (ns->eui[0])
		strbuf_printf(out, ", %s", ns->eui);
	if (n->dead)
		strbuf_puts(out, ", gone");
}

static const struct bdev_ops nvme_ops = {
	.submit = nvme_submit,
	.describe = nvme_describe,
};

/* ---- names and numbers ---- */

/* The lowest number no controller with disks has. */
static unsigned free_number(void)
{
	unsigned number = 0;
	struct bdev *b;
	bool taken;

	do {
		taken = false;
		for (b = bdev_next(NULL); b; b = bdev_next(b))
			taken |= b->ops == &nvme_ops &&
				 container_of(b, struct nvme_ns, bdev)->ctrl->number == number;
		number += taken;
	} while (taken);
	return number;
}

/* The lowest minor no disk of ours has; MAX_MINORS: none is left. */
static uint32_t free_minor(void)
{
	uint32_t minor = 0;
	struct bdev *b;
	bool taken;

	do {
		taken = false;
		for (b = bdev_next(NULL); b; b = bdev_next(b))
			taken |= b->ops == &nvme_ops && b->minor == minor;
		minor += taken ? NVME_MINORS : 0;
	} while (taken);
	return MIN(minor, MAX_MINORS);
}

/* ---- the controller ---- */

static may_block uint64_t admin_due(uint64_t until_ns)
{
	return MIN(now_ns() + ADMIN_NS, until_ns);
}

/* Registers that say whether this is for us. */
static int check_registers(struct nvme *n)
{
	unsigned stride;

	n->regs = pci_map_bar(n->pci, 0, &n->regs_size);
	if (!n->regs || n->regs_size < NVME_DOORBELL) {
		log_warn("%s: no registers", n->name);
		return -EIO;
	}
	n->cap = nvme_read(n, NVME_CAP) | (uint64_t)nvme_read(n, NVME_CAP + 4) << 32;
	if (nvme_read(n, NVME_CSTS) == NVME_GONE || n->cap == UINT64_MAX) {
		log_warn("%s: does not answer", n->name);
		return -EIO;
	}
	if (!NVME_CAP_NVM(n->cap) || NVME_CAP_MPSMIN(n->cap) || !NVME_CAP_MQES(n->cap)) {
		log_warn("%s: capabilities %#llx: no NVM commands, no pages of 4096 bytes, or no "
			 "queues",
			n->name, (unsigned long long)n->cap);
		return -EINVAL;
	}
	stride = 4u << NVME_CAP_DSTRD(n->cap);
	if ((n->regs_size - NVME_DOORBELL) / stride < 4) {
		log_warn("%s: doorbells %u bytes apart lie outside its registers", n->name, stride);
		return -EINVAL;
	}
	return 0;
}

/* As many as there are cores, doorbells and interrupts for. */
static unsigned queues_wanted(struct nvme *n)
{
	unsigned stride = 4u << NVME_CAP_DSTRD(n->cap);
	unsigned nr = nr_cores();

	nr = MIN(nr, (n->regs_size - NVME_DOORBELL) / stride / 2 - 1);
	n->nr_vectors = pci_msix_enable(n->pci);
	if (n->nr_vectors < 3)
		return 1; /* without interrupts one queue to poll is better than many */
	return MIN(nr, n->nr_vectors - 1);
}

static void want_irq(struct nvme *n, struct nvme_queue *q)
{
	int err;

	if (!n->nr_vectors)
		return;
	err = irq_alloc_msi(&q->irq, q->core);
	if (!err)
		err = pci_msix_set(n->pci, n->nr_vectors > 1 ? q->id : 0, &q->irq);
	q->has_irq = !err;
	if (err)
		log_warn("%s: queue %u: no interrupt (%s), polled", n->name, q->id, err_text(err));
}

static may_block int make_queue(struct nvme *n, unsigned i, unsigned entries, uint64_t due_ns)
{
	struct nvme_queue *q = mem_alloc(&nvme_tag, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	err = nvme_queue_init(q, n, i + 1, i, entries);
	if (err) {
		nvme_queue_free(q);
		mem_free(q);
		return err;
	}
	n->queues[i] = q;
	n->nr_queues = i + 1;
	want_irq(n, q);
	return nvme_create_queue(n, q, due_ns);
}

static void drop_queue(struct nvme *n, unsigned i)
{
	nvme_queue_free(n->queues[i]);
	mem_free(n->queues[i]);
	n->queues[i] = NULL;
	n->nr_queues = i;
}

/* Lists take 1 KiB a slot, so many queues are made shallower than few. */
static may_block int make_queues(struct nvme *n, uint64_t until_ns)
{
	int granted = nvme_grant_queues(n, queues_wanted(n), admin_due(until_ns)), i, err = 0;
	unsigned c, entries = granted <= 2 ? NVME_MAX_ENTRIES : NVME_MAX_ENTRIES / 2;

	if (granted < 0)
		return granted;
	entries = MIN(entries, NVME_CAP_MQES(n->cap) + 1);
	for (i = 0; i < granted && !err; i++)
		err = make_queue(n, (unsigned)i, entries, admin_due(until_ns));
	if (err == -EIO && n->nr_queues > 1) {
		drop_queue(n, n->nr_queues - 1); /* fewer than it said */
		err = 0;
	}
	for (c = 0; c < nr_cores() && !err; c++)
		n->queue_of[c] = n->queues[c % n->nr_queues];
	return err;
}

/* ---- namespaces ---- */

static may_block int find_namespaces(struct nvme *n, uint64_t until_ns)
{
	uint32_t nsids[NVME_MAX_NS];
	int i, err, nr = nvme_list_ns(n, nsids, NVME_MAX_NS, until_ns);
	struct nvme_ns *ns = NULL;

	for (i = 0; i < nr; i++) {
		if (!ns)
			ns = mem_alloc(&nvme_tag, sizeof(*ns));
		if (!ns)
			return -ENOMEM;
		memset(ns, 0, sizeof(*ns));
		err = nvme_read_ns(n, nsids[i], ns, admin_due(until_ns));
		if (err == -ETIMEDOUT || err == -ENODEV) {
			mem_free(ns);
			return err;
		}
		if (err == -EIO)
			log_warn("%s: namespace %u: says nothing of itself", n->name, nsids[i]);
		if (err)
			continue;
		n->ns[n->nr_ns++] = ns;
		ns = NULL;
	}
	mem_free(ns);
	return MIN(nr, 0);
}

static int register_ns(struct nvme *n, unsigned i)
{
	struct nvme_ns *ns = n->ns[i];
	struct bdev *dev = &ns->bdev;
	const char *words = limits_check(&dev->limits);
	int err;

	dev->ops = &nvme_ops;
	dev->ctx = ns;
	str_printf(dev->name, sizeof(dev->name), "nvme%un%u", n->number, i + 1);
	if (n->nr_ns == 1 || !n->facts.serial[0])
		str_copy(dev->serial, sizeof(dev->serial), n->facts.serial);
	else
		str_printf(dev->serial, sizeof(dev->serial), "%s_%u", n->facts.serial, ns->nsid);
	dev->major = NVME_MAJOR;
	dev->minor = free_minor();
	if (words)
		log_warn("%s: its limits make no sense: %s", dev->name, words);
	err = dev->minor == MAX_MINORS ? -ENOSPC : bdev_register(dev);
	if (err) {
		log_warn("%s: left out: %s", dev->name, err_text(err));
		dev->gone = true;
		return err;
	}
	log_info("%s: %s, %llu sectors, blocks of %u bytes, %u queue%s of %u%s%s%s%s", dev->name,
		n->facts.model, (unsigned long long)dev->nr_sectors, dev->limits.logical_block,
		n->nr_queues, n->nr_queues == 1 ? "" : "s", n->queues[0]->entries - 1,
		dev->limits.write_cache ? ", write cache" : "", n->facts.sgl ? ", SGLs" : "",
		dev->read_only ? ", read-only" : "", n->queues[0]->has_irq ? "" : ", polled");
	return 0;
}

/* A disk that does not even give its first block will not be asked for all that a partition table
 * may take: each of these reads would have to time out first. */
static may_block void scan_ns(struct nvme_ns *ns)
{
	void *page = page_alloc(&nvme_tag, 0);
	int err;

	if (!page)
		return;
	err = bdev_rw(
		&ns->bdev, BIO_READ, 0, 0, ns->bdev.limits.logical_block >> SECTOR_SHIFT, page);
	page_free(&nvme_tag, page, 0);
	if (err)
		log_warn("%s: partitions not read: %s", ns->bdev.name, err_text(err));
	else
		part_scan(&ns->bdev);
}

static may_block int show_namespaces(struct nvme *n)
{
	unsigned i, nr = 0;

	for (i = 0; i < n->nr_ns; i++)
		nr += !register_ns(n, i);
	if (!nr)
		return -ENODEV;
	for (i = 0; i < n->nr_ns; i++)
		if (!n->ns[i]->bdev.gone)
			scan_ns(n->ns[i]);
	return 0;
}

/* ---- life ---- */

static may_block int start(struct nvme *n, uint64_t until_ns)
{
	int err;

	err = nvme_disable(n, nvme_ready_due(n, until_ns));
	if (err) {
		log_warn("%s: cannot be disabled", n->name);
		return err;
	}
	err = nvme_enable(n, nvme_ready_due(n, until_ns));
	if (err) {
		log_warn("%s: cannot be enabled (status %#x)", n->name, nvme_read(n, NVME_CSTS));
		return err;
	}
	err = nvme_read_facts(n, &n->facts, admin_due(until_ns));
	if (!err)
		err = make_queues(n, until_ns);
	if (!err)
		err = find_namespaces(n, until_ns);
	if (!err && !n->nr_ns) {
		log_warn("%s: %s has no namespace that can be used", n->name, n->facts.model);
		err = -ENODEV;
	}
	return err;
}

static may_block int nvme_attach(struct pci_dev *d)
{
	struct nvme *n = d->softc;
	uint64_t until_ns = now_ns() + ATTACH_NS;
	int err;

	n->pci = d;
	n->number = free_number();
	str_printf(n->name, sizeof(n->name), "nvme%u", n->number);
	pci_enable(d);
	err = check_registers(n);
	if (err) {
		pci_disable(d);
		return err;
	}
	err = nvme_admin_init(n);
	if (!err)
		err = start(n, until_ns);
	if (!err) {
		nvme_each_queue(n, nvme_queue_start);
		n->keeper_runs = fiber_create(n->name, nvme_keeper, n) != NULL;
		err = n->keeper_runs ? show_namespaces(n) : -ENOMEM;
	}
	if (err)
		nvme_free(n);
	return err;
}

static may_block void stop_keeper(struct nvme *n)
{
	n->stop = true;
	waitq_wake_all(&n->keeper_q);
	while (n->keeper_runs)
		waitq_wait(&n->keeper_q);
}

/* Works of a queue that is dead come home. */
static may_block void await_alarms(struct nvme_queue *q)
{
	unsigned i;

	for (i = 0; i < NVME_NR_WISHES; i++)
		while (q->alarms[i].out)
			fiber_yield();
}

may_block void nvme_free(struct nvme *n)
{
	struct pci_dev *d = n->pci;
	bool quiet;
	unsigned i;

	if (n->keeper_runs)
		stop_keeper(n);
	for (i = 0; i < n->nr_ns; i++) {
		part_forget(&n->ns[i]->bdev);
		bdev_unregister(&n->ns[i]->bdev);
	}
	quiet = n->dead ? nvme_cut(n) : nvme_quiet(n, nvme_ready_due(n, now_ns() + SHUTDOWN_NS));
	n->dead = true;
	quiet |= nvme_cut(n);
	if (d->nr_msix)
		pci_write16(d, d->msix_cap + PCI_MSIX_CTRL,
			pci_read16(d, d->msix_cap + PCI_MSIX_CTRL) & ~PCI_MSIX_CTRL_ENABLE);
	nvme_each_queue(n, quiet ? nvme_queue_kill : nvme_queue_park);
	for (i = 0; i < n->nr_queues; i++)
		await_alarms(n->queues[i]);
	if (!quiet) {
		log_err("%s: its rings stay where they are: it may still write there", n->name);
		return;
	}
	for (i = 0; i < n->nr_ns; i++)
		mem_free(n->ns[i]);
	n->nr_ns = 0;
	while (n->nr_queues)
		drop_queue(n, n->nr_queues - 1);
	nvme_admin_free(n);
}

static may_block void nvme_shutdown(struct pci_dev *d)
{
	struct nvme *n = d->softc;

	stop_keeper(n);
	if (n->dead)
		return;
	nvme_each_queue(n, nvme_queue_stop);
	if (nvme_shutdown_notify(n, now_ns() + SHUTDOWN_NS))
		log_warn("%s: does not say that it has shut down", n->name);
	pci_disable(d);
}

static const struct pci_id nvme_ids[] = {
	{ 0xffff, 0xffff, NVME_PCI_CLASS, 0xffffff },
	{ 0 },
};

const struct pci_driver nvme_driver = {
	.name = "nvme",
	.ids = nvme_ids,
	.softc_size = sizeof(struct nvme),
	.attach = nvme_attach,
	.shutdown = nvme_shutdown,
};

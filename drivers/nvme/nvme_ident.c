/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nvme_ident - what a controller and its namespaces say of themselves.  None of it is believed
 * before it was looked at: what cannot be worked with is refused with words, hints that make no
 * sense are dropped.
 */
#include "drivers/nvme/nvme.h"
#include "kernel/api/log.h"
#include "kernel/api/string.h"

#define MAX_TRANSFER    (NVME_MAX_BYTES / SECTOR_SIZE)
#define MAX_PRP_RUNS    NVME_MAX_PRPS
#define MAX_ZERO_BLOCKS 65536u     /* 16 bits, minus 1 */
#define MAX_DISCARD     (1u << 31) /* sectors */
#define LIST_ENTRIES    1024u
#define VERSION_1_1     0x10100u

/* ASCII in a field padded with blanks, which need not even be that. */
static void ident_text(char *out, const char *field, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len && field[i]; i++)
		if (n || field[i] != ' ')
			out[n++] = field[i] >= ' ' && field[i] <= '~' ? field[i] : '?';
	while (n && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

/* Whether entries of 1 << log2 bytes are within what the controller takes. */
static bool entry_size_fits(uint8_t range, unsigned log2)
{
	return (range & 0xfu) <= log2 && log2 <= range >> 4;
}

may_block int nvme_read_facts(struct nvme *n, struct nvme_facts *f, uint64_t due_ns)
{
	const struct nvme_id_ctrl *id = n->page;
	int err = nvme_identify(n, NVME_IDENTIFY_CTRL, 0, due_ns);

	if (err)
		return err;
	*f = (struct nvme_facts){ .max_nsid = id->nn, .oncs = id->oncs };
	ident_text(f->model, id->mn, sizeof(id->mn));
	ident_text(f->serial, id->sn, sizeof(id->sn));
	ident_text(f->firmware, id->fr, sizeof(id->fr));
	if (!entry_size_fits(id->sqes, 6) || !entry_size_fits(id->cqes, 4)) {
		log_warn("%s: wants queue entries of other sizes (%#x, %#x)", n->name, id->sqes,
			id->cqes);
		return -EINVAL;
	}
	f->max_sectors = MAX_TRANSFER;
	if (id->mdts && id->mdts < 16)
		f->max_sectors = MIN(f->max_sectors, (PAGE_SIZE / SECTOR_SIZE) << id->mdts);
	f->write_cache = id->vwc & 1;
	f->sgl = (id->sgls & NVME_SGLS_MASK) == 1 || (id->sgls & NVME_SGLS_MASK) == 2;
	f->sgl_align = (id->sgls & NVME_SGLS_MASK) == 2 ? 3 : 0;
	return 0;
}

/* ---- namespaces ---- */

/* The first len bytes are all zero. */
static bool is_zero(const uint8_t *p, size_t len)
{
	while (len && !*p) {
		p++;
		len--;
	}
	return !len;
}

static void ns_eui(struct nvme_ns *ns, const struct nvme_id_ns *id)
{
	bool long_one = !is_zero(id->nguid, sizeof(id->nguid));
	const uint8_t *p = long_one ? id->nguid : id->eui64;
	unsigned i, len = long_one ? sizeof(id->nguid) : sizeof(id->eui64);

	ns->eui[0] = '\0';
	if (is_zero(p, len))
		return;
	memcpy(ns->eui, "eui.", 5);
	for (i = 0; i < len; i++)
		str_printf(ns->eui + 4 + 2 * i, 3, "%02x", p[i]);
}

/* Hints: what makes no sense is as good as not said. */
static void ns_hints(struct limits *l, const struct nvme_id_ns *id)
{
	uint32_t block = l->logical_block, unit;

	if (id->nsfeat & NVME_NSFEAT_OPTPERF) {
		unit = (id->npwg + 1u) * block;
		if (is_pow2(unit) && unit <= 1u << 20)
			l->physical_block = l->io_min = unit;
		if (id->nows)
			l->io_opt = (id->nows + 1u) * block;
		if (l->io_opt % l->physical_block)
			l->io_opt = 0;
	}
	if (id->noiob)
		l->chunk_sectors = id->noiob * (block / SECTOR_SIZE);
}

/* QEMU's controller acknowledges such a write without making it stable (seen in its log of what was
 * flushed, 7.2).  Without the feature the engine sends a flush behind the write. */
static bool ignores_fua(const struct nvme_facts *f)
{
	return !strcmp(f->model, "QEMU NVMe Ctrl");
}

static void ns_limits(
	const struct nvme *n, struct limits *l, const struct nvme_id_ns *id, unsigned shift)
{
	const struct nvme_facts *f = &n->facts;
	uint32_t block = SECTOR_SIZE << shift;

	limits_default(l);
	l->logical_block = l->physical_block = l->io_min = block;
	l->max_sectors = f->max_sectors;
	l->dma_align = 3;
	l->max_segs = f->sgl ? NVME_MAX_SGLS : MAX_PRP_RUNS;
	l->no_gaps = f->sgl ? 0 : PAGE_SIZE;
	ns_hints(l, id);
	if (f->oncs & NVME_ONCS_DATASET) {
		l->max_discard_sectors = MAX_DISCARD;
		l->discard_granularity = block;
		if (id->nsfeat & NVME_NSFEAT_OPTPERF)
			l->discard_granularity = (id->npdg + 1u) * block;
	}
	if (f->oncs & NVME_ONCS_WRITE_ZEROES)
		l->max_write_zeroes_sectors = MAX_ZERO_BLOCKS << shift;
	l->write_cache = f->write_cache;
	l->fua = f->write_cache && !ignores_fua(f);
}

may_block int nvme_read_ns(struct nvme *n, uint32_t nsid, struct nvme_ns *ns, uint64_t due_ns)
{
	const struct nvme_id_ns *id = n->page;
	unsigned format, log2, max_log2 = PAGE_SHIFT;
	int err = nvme_identify(n, NVME_IDENTIFY_NS, nsid, due_ns);

	if (err)
		return err;
	if (!id->nsze)
		return -ENOENT;
	format = id->flbas & 0xf;
	if (format > id->nlbaf || format >= ARRAY_SIZE(id->lbaf)) {
		log_warn("%s: namespace %u: format %u of %u, refused", n->name, nsid, format,
			id->nlbaf + 1u);
		return -EINVAL;
	}
	log2 = id->lbaf[format].lbads;
	if (log2 < SECTOR_SHIFT || log2 > max_log2) {
		log_warn("%s: namespace %u: blocks of 2^%u bytes cannot be used", n->name, nsid,
			log2);
		return -EINVAL;
	}
	if (id->lbaf[format].ms || id->dps & NVME_DPS_TYPE) {
		log_warn("%s: namespace %u: formatted with %u bytes of metadata a block, refused",
			n->name, nsid, id->lbaf[format].ms);
		return -EINVAL;
	}
	if (id->nsze > (uint64_t)INT64_MAX >> log2) {
		log_warn("%s: namespace %u: %llu blocks of %u bytes cannot be", n->name, nsid,
			(unsigned long long)id->nsze, 1u << log2);
		return -EINVAL;
	}
	ns->ctrl = n;
	ns->nsid = nsid;
	ns->shift = (uint8_t)(log2 - SECTOR_SHIFT);
	ns->bdev.nr_sectors = id->nsze << ns->shift;
	ns->bdev.read_only = id->nsattr & 1;
	ns_eui(ns, id);
	ns_limits(n, &ns->bdev.limits, id, ns->shift);
	return 0;
}

/* Controllers of before 1.1, or that lie about their version, have no list: ask one by one. */
static may_block int list_by_number(struct nvme *n, uint32_t *nsids, unsigned max, uint64_t due_ns)
{
	const struct nvme_id_ns *id = n->page;
	unsigned nr = 0;
	uint32_t nsid;
	int err;

	for (nsid = 1; nsid <= MIN(n->facts.max_nsid, LIST_ENTRIES) && nr < max; nsid++) {
		err = nvme_identify(n, NVME_IDENTIFY_NS, nsid, due_ns);
		if (err && err != -EIO)
			return err;
		if (!err && id->nsze)
			nsids[nr++] = nsid;
	}
	return (int)nr;
}

may_block int nvme_list_ns(struct nvme *n, uint32_t *nsids, unsigned max, uint64_t due_ns)
{
	const uint32_t *list = n->page;
	uint32_t last = 0;
	unsigned i, nr = 0;
	int err = -EIO;

	if (nvme_read(n, NVME_VS) >= VERSION_1_1)
		err = nvme_identify(n, NVME_IDENTIFY_ACTIVE, 0, due_ns);
	if (err == -EIO)
		return list_by_number(n, nsids, max, due_ns);
	if (err)
		return err;
	for (i = 0; i < LIST_ENTRIES && list[i]; i++) {
		if (list[i] <= last || list[i] > n->facts.max_nsid || list[i] > UINT32_MAX - 2) {
			log_warn("%s: namespace %u after %u in its list, the rest is not used",
				n->name, list[i], last);
			break;
		}
		if (nr == max) {
			log_warn("%s: more than %u namespaces, the rest is left out", n->name, max);
			break;
		}
		last = nsids[nr++] = list[i];
	}
	return (int)nr;
}

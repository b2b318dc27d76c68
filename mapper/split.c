/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * split - bios that cannot go to their device as they are: too large, across a boundary, with a
 * flush before or after, or a flush themselves.
 *
 * Such a bio becomes the parent of a job.  The job flushes if asked to, sends the data as pieces
 * (bios of its own that show a window of the parent's segs), flushes again if the device cannot do
 * FUA, and ends the parent with the first error or 0 when every piece is back.  The parent itself
 * is not touched meanwhile.
 *
 * Forward progress.  Every device has, for each core, one job in reserve that no other device can
 * take, and every job has one piece built in, which goes round until the data is done; so a device
 * always gets on with one parent, whatever its neighbours do, as long as the devices beneath get on
 * with one bio: by induction from the disk up any stack moves, without a limit on its depth and
 * without anything to reckon anew when a table changes.  Jobs and pieces beyond the reserve come
 * from pools that all devices of a core share; they make it faster and nothing waits for them.
 * Parents that find no job wait in line at their device; the line is non-empty only while a job of
 * that device is out, and each job that ends takes on the next.
 *
 * A piece may come back here for the same device: a mapped device held it while suspended and
 * its new table has a boundary in it.  It must not wait for a job, since its own may be the one in
 * reserve; it is cut short instead and goes round again for the rest when that is done.
 */
#include "kernel/api/string.h"
#include "mapper/split.h"

#define EXTRA_JOBS   32
#define EXTRA_PIECES 96

unsigned split_extra_jobs = EXTRA_JOBS, split_extra_pieces = EXTRA_PIECES;

/* A range of a device with its memory; it.bytes is the length, also when there is no memory. */
struct span {
	sector_t sector;
	struct seg_iter it;
};

struct job;

struct piece {
	struct bio bio;
	struct job *job;
	struct span span; /* from where bio began to the end of what this piece is to do */
	uint32_t part;    /* sectors of it that bio does now; 0: it is a flush */
};

enum stage {
	JOB_PREFLUSH,  /* to be sent */
	JOB_DATA,      /* so are the first sectors of span; the flush before may be out */
	JOB_POSTFLUSH, /* out or done */
};

struct job {
	struct bio *parent;
	struct bdev *dev;
	struct span span; /* not handed out yet */
	unsigned nr_out;  /* pieces that are out, flushes included */
	int status;       /* the first that is not 0 */
	uint8_t stage;
	uint8_t flags; /* what pieces carry */
	bool post;     /* a flush must follow the data */
	bool own_out;
	struct piece own;
};

/* Flushes of one device and core: while one is out the next ones wait and share the one after. */
struct flusher {
	struct bio bio;
	struct bio_list waiting; /* submitted since bio was sent */
	struct bio_list served;  /* submitted before */
	bool busy;
};

struct splitter {
	struct job job; /* the reserve */
	bool job_out;
	struct bio_list waiting;
	struct flusher *flusher; /* not for devices that take flushes raw */
};

static struct mem_tag split_tag = MEM_TAG("block");
static struct core_pools {
	struct pool jobs, pieces;
} __aligned(128) pools[MAX_CORES];
static unsigned nr_attached;

static void job_go(struct job *j);
static void piece_done(struct bio *bio);
static void flush_done(struct bio *bio);

/* ---- what is legal ---- */

/*
 * How many bytes from the beginning of the memory one request may have.  Every rule here, once
 * broken, stays broken for anything longer, so the answer cut back to any shorter length is legal
 * too.
 */
static uint64_t legal_bytes(const struct limits *l, const struct bio *bio, uint64_t max)
{
	struct seg_iter it = seg_iter_of(bio);
	uint64_t n = 0;
	uint32_t runs = 0;
	struct seg s;

	it.bytes = max;
	while (seg_next(&it, UINT32_MAX, &s)) {
		uint64_t most = MIN(s.len, l->max_seg_size);

		if (runs++ == l->max_segs)
			break;
		if (l->no_gaps && runs > 1 && (s.addr & (l->no_gaps - 1)))
			break;
		if (l->seg_boundary != UINT64_MAX)
			most = MIN(most, l->seg_boundary - (s.addr & l->seg_boundary) + 1);
		n += most;
		if (most < s.len || (l->no_gaps && ((s.addr + s.len) & (l->no_gaps - 1))))
			break;
	}
	return n;
}

/* Discards are cut so that the next one begins at a granule of the device. */
static uint32_t discard_sectors(const struct limits *l, const struct bio *bio)
{
	uint32_t granule = l->discard_granularity >> SECTOR_SHIFT;
	uint32_t align = l->discard_alignment >> SECTOR_SHIFT;
	uint32_t n = MIN(bio->nr_sectors, l->max_discard_sectors);
	uint64_t over;

	if (n == bio->nr_sectors || granule <= 1)
		return n;
	align %= granule;
	over = (bio->sector + n + granule - align) % granule;
	return over < n ? n - (uint32_t)over : n;
}

int64_t split_sectors(struct bdev *dev, const struct bio *bio)
{
	const struct limits *l = &dev->limits;
	uint32_t block = l->logical_block >> SECTOR_SHIFT;
	uint32_t n = bio->nr_sectors, most = 0;

	switch (bio->op) {
	case BIO_READ:
	case BIO_WRITE:
		most = MIN(n, l->max_sectors);
		if (l->chunk_sectors)
			most = MIN(most, l->chunk_sectors - bio->sector % l->chunk_sectors);
		break;
	case BIO_DISCARD:
		most = discard_sectors(l, bio);
		break;
	case BIO_WRITE_ZEROES:
		most = MIN(n, l->max_write_zeroes_sectors);
		break;
	case BIO_SECURE_ERASE:
		most = MIN(n, l->max_secure_erase_sectors);
		break;
	}
	if (!most)
		return -EOPNOTSUPP;
	if (dev->ops->piece) {
		uint32_t piece = dev->ops->piece(dev, bio);

		ASSERT(piece >= 1);
		most = MIN(most, piece);
	}
	if (bio_has_data(bio))
		most = (uint32_t)(legal_bytes(l, bio, (uint64_t)most << SECTOR_SHIFT) >>
				  SECTOR_SHIFT);
	if (most < n)
		most &= ~(block - 1);
	return most ? most : -EINVAL;
}

/* Shortens a bio to n sectors; its segs are those that these need. */
static void bio_cut(struct bio *bio, uint32_t n)
{
	bio->nr_sectors = n;
	if (bio_has_data(bio)) {
		struct seg_iter it = seg_iter_of(bio);
		uint32_t all = it.nr;

		seg_skip(&it, bio_bytes(bio));
		bio->nr_segs = all - it.nr + (it.off ? 1 : 0);
	}
}

static void span_skip(struct span *s, uint32_t sectors)
{
	s->sector += sectors;
	seg_skip(&s->it, (uint64_t)sectors << SECTOR_SHIFT);
}

/* ---- pieces ---- */

/* Makes p->bio the first legal part of s.  Its sectors or -errno. */
static int64_t piece_fill(struct piece *p, const struct span *s)
{
	struct job *j = p->job;
	struct bio *bio = &p->bio;
	int64_t n;

	bio->dev = j->dev;
	bio->sector = s->sector;
	bio->nr_sectors = (uint32_t)(s->it.bytes >> SECTOR_SHIFT);
	bio->op = j->parent->op;
	bio->flags = j->flags;
	bio->segs = s->it.seg;
	bio->nr_segs = s->it.nr;
	bio->seg_off = s->it.off;
	bio->done = piece_done;
	bio->frames = NULL;
	bio->vetted = j->parent->vetted;
	n = split_sectors(j->dev, bio);
	if (n > 0)
		bio_cut(bio, (uint32_t)n);
	return n;
}

static struct piece *piece_get(struct job *j)
{
	struct piece *p = &j->own;

	if (j->own_out)
		p = pool_get(&pools[this_core()].pieces);
	else
		j->own_out = true;
	if (p)
		p->job = j;
	return p;
}

static void piece_put(struct piece *p)
{
	if (p == &p->job->own)
		p->job->own_out = false;
	else
		pool_put(&pools[this_core()].pieces, p);
}

static void job_fail(struct job *j, int status)
{
	if (!j->status)
		j->status = status;
}

/* The device was not even asked. */
static void job_refuse(struct job *j, int64_t status)
{
	j->dev->stats[this_core()].errors++;
	job_fail(j, (int)status);
}

/* The next part of the job's data.  False: it cannot be sent. */
static bool piece_send_next(struct piece *p)
{
	struct job *j = p->job;
	int64_t n = piece_fill(p, &j->span);

	if (n < 0) {
		job_refuse(j, n);
		return false;
	}
	p->span = j->span;
	p->span.it.bytes = (uint64_t)n << SECTOR_SHIFT;
	p->part = (uint32_t)n;
	span_skip(&j->span, (uint32_t)n);
	j->nr_out++;
	bio_submit(&p->bio);
	return true;
}

static void piece_send_flush(struct piece *p)
{
	p->bio = (struct bio){ .dev = p->job->dev, .op = BIO_FLUSH, .done = piece_done };
	p->part = 0;
	p->job->nr_out++;
	bio_submit(&p->bio);
}

static void piece_done(struct bio *bio)
{
	struct piece *p = container_of(bio, struct piece, bio);
	struct job *j = p->job;

	if (bio->status)
		job_fail(j, bio->status);
	if (p->part) {
		span_skip(&p->span, p->part);
		if (p->span.it.bytes && !j->status) {
			int64_t n = piece_fill(p, &p->span);

			if (n > 0) {
				p->part = (uint32_t)n;
				bio_submit(bio);
				return;
			}
			job_refuse(j, n);
		}
	}
	piece_put(p);
	j->nr_out--;
	job_go(j);
}

/* ---- jobs ---- */

/* Sends what can be sent.  True: nothing is out and nothing is left to send. */
static bool job_step(struct job *j)
{
	struct piece *p;

	if (j->stage == JOB_PREFLUSH) {
		j->stage = JOB_DATA;
		piece_send_flush(piece_get(j));
		return false;
	}
	if (j->stage == JOB_DATA) {
		/* After a preflush there is exactly one piece out, and then none. */
		while (j->span.it.bytes && !j->status && (p = piece_get(j)) != NULL) {
			if (!piece_send_next(p))
				piece_put(p);
		}
		if (j->nr_out)
			return false;
		j->stage = JOB_POSTFLUSH;
		if (j->post && !j->status) {
			piece_send_flush(piece_get(j));
			return false;
		}
	}
	return j->nr_out == 0;
}

static void job_init(struct job *j, struct bio *parent)
{
	struct bdev *dev = parent->dev;

	j->parent = parent;
	j->dev = dev;
	j->span.sector = parent->sector;
	j->span.it = seg_iter_of(parent);
	j->span.it.bytes = bio_bytes(parent);
	j->nr_out = 0;
	j->status = 0;
	j->own_out = false;
	j->flags = parent->flags;
	j->post = false;
	j->stage = JOB_DATA;
	if (parent->op != BIO_WRITE && parent->op != BIO_WRITE_ZEROES) {
		j->flags &= ~(BIO_PREFLUSH | BIO_FUA);
		return;
	}
	if (!dev->raw_flush && !dev->limits.write_cache)
		j->flags &= ~(BIO_PREFLUSH | BIO_FUA);
	if (j->flags & BIO_PREFLUSH)
		j->stage = JOB_PREFLUSH;
	/* Devices promise FUA for plain writes at most. */
	if ((j->flags & BIO_FUA) && !dev->raw_flush && parent->nr_sectors &&
		(!dev->limits.fua || parent->op == BIO_WRITE_ZEROES)) {
		j->post = true;
		j->flags &= ~BIO_FUA;
	}
	j->flags &= ~BIO_PREFLUSH;
}

static struct job *job_get(unsigned core, struct splitter *s)
{
	if (!s->job_out) {
		s->job_out = true;
		return &s->job;
	}
	return pool_get(&pools[core].jobs);
}

static void job_put(unsigned core, struct splitter *s, struct job *j)
{
	if (j == &s->job)
		s->job_out = false;
	else
		pool_put(&pools[core].jobs, j);
}

/* Goes on with a job; when it ends, with the next parent in line. */
static void job_go(struct job *j)
{
	unsigned core = this_core();
	struct splitter *s = &j->dev->splitters[core];

	while (job_step(j)) {
		struct bio *parent = j->parent, *next = bio_list_pop(&s->waiting);
		int status = j->status;

		if (next)
			job_init(j, next);
		else
			job_put(core, s, j);
		/* The device may be gone after this unless another parent waits. */
		bio_finish(parent, status);
		if (!next)
			return;
	}
}

/* ---- flushes ---- */

static void flush_send(struct flusher *f, struct bdev *dev)
{
	f->served = f->waiting;
	f->waiting = (struct bio_list){ 0 };
	f->busy = true;
	f->bio = (struct bio){ .dev = dev, .op = BIO_FLUSH, .done = flush_done };
	bio_submit(&f->bio);
}

/* Those that came while it was out may have seen writes end that it did not cover. */
static void flush_done(struct bio *bio)
{
	struct flusher *f = container_of(bio, struct flusher, bio);
	struct bio_list l = f->served;
	int status = bio->status;

	f->served = (struct bio_list){ 0 };
	f->busy = false;
	if (f->waiting.head)
		flush_send(f, bio->dev);
	while ((bio = bio_list_pop(&l)) != NULL)
		bio_finish(bio, status);
}

static void flush_submit(unsigned core, struct bdev *dev, struct bio *bio)
{
	struct flusher *f = dev->splitters[core].flusher;

	if (dev->raw_flush || bio == &f->bio) {
		bio_start(core, dev, bio);
		return;
	}
	if (!dev->limits.write_cache || !FLUSHES_ARE_SENT) {
		bio_end(bio, 0);
		return;
	}
	bio_list_add(&f->waiting, bio);
	if (!f->busy)
		flush_send(f, dev);
}

/* ---- the way in ---- */

/* True if flags ask nothing more of this device than limits.fua promises. */
static bool flags_plain(const struct bdev *dev, struct bio *bio)
{
	if (!(bio->flags & (BIO_FUA | BIO_PREFLUSH)))
		return true;
	if ((bio->op != BIO_WRITE && bio->op != BIO_WRITE_ZEROES) ||
		(!dev->raw_flush && !dev->limits.write_cache)) {
		bio->flags &= ~(BIO_FUA | BIO_PREFLUSH);
		return true;
	}
	if (bio->flags & BIO_PREFLUSH)
		return false;
	return dev->raw_flush || (dev->limits.fua && bio->op == BIO_WRITE);
}

void split_submit(unsigned core, struct bio *bio)
{
	struct bdev *dev = bio->dev;
	struct splitter *s;
	struct job *j;
	int64_t n = 0;
	bool plain;

	if (bio->op == BIO_FLUSH && !dev->whole) {
		flush_submit(core, dev, bio);
		return;
	}
	/* A partition only moves the bio; its disk does the rest. */
	if (dev->whole) {
		bio_start(core, dev, bio);
		return;
	}
	plain = flags_plain(dev, bio);
	if (bio->nr_sectors) {
		n = split_sectors(dev, bio);
		if (n < 0) {
			bio_end(bio, (int)n);
			return;
		}
	} else if (!(bio->flags & BIO_PREFLUSH)) {
		bio_end(bio, 0);
		return;
	}
	if (plain && n == bio->nr_sectors) {
		bio_start(core, dev, bio);
		return;
	}
	if (bio->done == piece_done) {
		struct piece *p = container_of(bio, struct piece, bio);

		if (p->job->dev == dev) {
			p->part = (uint32_t)n;
			bio_cut(bio, p->part);
			bio_start(core, dev, bio);
			return;
		}
	}
	s = &dev->splitters[core];
	j = job_get(core, s);
	if (j) {
		job_init(j, bio);
		job_go(j);
	} else if (bio->flags & BIO_NOWAIT) {
		bio_end(bio, -EAGAIN);
	} else {
		bio_list_add(&s->waiting, bio);
	}
}

/* ---- life ---- */

static void pools_free(void)
{
	for (unsigned i = 0; i < MAX_CORES; i++) {
		pool_destroy(&pools[i].jobs);
		pool_destroy(&pools[i].pieces);
	}
	memset(pools, 0, sizeof(pools));
}

static int pools_make(void)
{
	int err = 0;

	for (unsigned i = 0; i < nr_cores() && !err; i++) {
		if (split_extra_jobs)
			err = pool_init(
				&pools[i].jobs, &split_tag, sizeof(struct job), split_extra_jobs);
		if (split_extra_pieces && !err)
			err = pool_init(&pools[i].pieces, &split_tag, sizeof(struct piece),
				split_extra_pieces);
	}
	if (err)
		pools_free();
	return err;
}

int split_attach(struct bdev *dev)
{
	unsigned nr = nr_cores();
	size_t each = sizeof(struct splitter) + (dev->raw_flush ? 0 : sizeof(struct flusher));
	struct flusher *f;

	if (dev->whole)
		return 0;
	if (!nr_attached && pools_make())
		return -ENOMEM;
	dev->splitters = mem_alloc(&split_tag, nr * each);
	if (!dev->splitters) {
		if (!nr_attached)
			pools_free();
		return -ENOMEM;
	}
	f = (struct flusher *)(dev->splitters + nr);
	for (unsigned i = 0; i < nr && !dev->raw_flush; i++)
		dev->splitters[i].flusher = f++;
	nr_attached++;
	return 0;
}

void split_detach(struct bdev *dev)
{
	if (!dev->splitters)
		return;
	for (unsigned i = 0; i < nr_cores(); i++) {
		struct splitter *s = &dev->splitters[i];

		ASSERT(!s->job_out && !s->waiting.head);
		ASSERT(!s->flusher || !s->flusher->busy);
	}
	mem_free(dev->splitters);
	dev->splitters = NULL;
	if (--nr_attached == 0)
		pools_free();
}

void split_reset(void)
{
	nr_attached = 0;
	memset(pools, 0, sizeof(pools));
}

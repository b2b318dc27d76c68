/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dmsetup_tree - `dmsetup ls --tree`: what stands on what, from the top or (inverted) from the
 * disks.  Nodes are in the order in which a walk through all mapped devices by name, and from each
 * down, first comes to them.
 */
#include "kernel/api/errno.h"
#include "kernel/api/mem.h"
#include "kernel/api/string.h"
#include "shell/dmsetup.h"

#define DEPTH_MAX 128

struct node {
	struct bdev *dev;
	struct mdev *md; /* NULL: a disk */
	unsigned nr_above;
};

struct edge {
	unsigned above, below;
};

struct tree_view {
	bool device, blkdevname, active, open, rw, uuid, compact, inverted;
	const char *more, *last, *down; /* " |-", " `-", " | " */
	struct node *nodes;
	struct edge *edges;
	unsigned nr_nodes, max_nodes, nr_edges, max_edges;
	struct strbuf *out;
	/* of the way down to the node that is printed */
	unsigned width[DEPTH_MAX + 1];
	bool goes_on[DEPTH_MAX + 1];
};

static struct mem_tag tree_tag = MEM_TAG("dmsetup tree");

/* ---- what there is ---- */

/* An array with room for one more; false: no memory. */
static bool grow(void **array, unsigned nr, unsigned *max, size_t size)
{
	unsigned wanted = *max ? *max * 2 : 64;
	void *bigger;

	if (nr < *max)
		return true;
	bigger = mem_alloc(&tree_tag, wanted * size);
	if (!bigger)
		return false;
	if (nr)
		memcpy(bigger, *array, nr * size);
	mem_free(*array);
	*array = bigger;
	*max = wanted;
	return true;
}

static bool find_or_add(struct tree_view *v, struct bdev *dev, unsigned *at, bool *is_new)
{
	*is_new = false;
	for (*at = 0; *at < v->nr_nodes; ++*at)
		if (v->nodes[*at].dev == dev)
			return true;
	if (!grow((void **)&v->nodes, v->nr_nodes, &v->max_nodes, sizeof(*v->nodes)))
		return false;
	v->nodes[v->nr_nodes++] = (struct node){ .dev = dev,
		.md = dev->major == DM_MAJOR ? dm_find(dev->name) : NULL };
	*is_new = true;
	return true;
}

/* A node and all beneath it. */
static bool add(struct tree_view *v, struct bdev *dev, unsigned *at, unsigned depth)
{
	struct bdev *below;
	bool is_new;

	if (!find_or_add(v, dev, at, &is_new))
		return false;
	if (!is_new || !v->nodes[*at].md || depth > DEPTH_MAX)
		return true;
	for (unsigned i = 0; (below = dm_dep(v->nodes[*at].md, i)); i++) {
		unsigned k, e;

		/* The edge has its place before those further down. */
		if (!grow((void **)&v->edges, v->nr_edges, &v->max_edges, sizeof(*v->edges)))
			return false;
		e = v->nr_edges++;
		if (!add(v, below, &k, depth + 1))
			return false;
		v->edges[e] = (struct edge){ *at, k };
		v->nodes[k].nr_above++;
	}
	return true;
}

/* ---- how it is printed ---- */

static void attribute(struct tree_view *v, bool *first, const char *text)
{
	strbuf_printf(v->out, "%s%s", *first ? " [" : ", ", text);
	*first = false;
}

static void put_text(struct tree_view *v, const struct node *n)
{
	struct dm_info i = { 0 };
	bool first = true;
	char nr[16];

	if (n->md) {
		dm_info(n->md, &i);
		strbuf_puts(v->out, i.name);
	}
	if (v->blkdevname)
		strbuf_printf(v->out, " <%s>", n->dev->name);
	if (v->device)
		strbuf_printf(v->out, " (%u:%u)", n->dev->major, n->dev->minor);
	if (!n->md)
		return;
	str_printf(nr, sizeof(nr), "%u", i.open_count);
	if (v->active)
		attribute(v, &first, i.suspended ? "SUSPENDED" : "ACTIVE");
	if (v->rw)
		attribute(v, &first, i.read_only ? "RO" : "RW");
	if (v->open)
		attribute(v, &first, nr);
	if (v->uuid)
		attribute(v, &first, i.uuid);
	if (!first)
		strbuf_putc(v->out, ']');
}

static void put_prefix(struct tree_view *v, unsigned depth, bool last)
{
	for (unsigned i = 0; i < depth; i++) {
		strbuf_printf(v->out, "%*s", (int)v->width[i], "");
		if (i + 1 < depth)
			strbuf_puts(v->out, v->goes_on[i + 1] ? v->down : "   ");
		else
			strbuf_puts(v->out, last ? v->last : v->more);
	}
}

static unsigned nr_children(const struct tree_view *v, unsigned node)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < v->nr_edges; i++)
		nr += (v->inverted ? v->edges[i].below : v->edges[i].above) == node;
	return nr;
}

static bool is_shown(const struct tree_view *v, const struct node *n)
{
	return n->md || v->device || v->blkdevname;
}

/* In a compact tree the first child stands on its parent's line. */
static void put_node(struct tree_view *v, unsigned at, unsigned depth, bool first, bool last)
{
	const struct node *n = &v->nodes[at];
	bool beside = v->compact && first && depth;
	unsigned left = nr_children(v, at), all = left;
	size_t begin;

	if (!is_shown(v, n) || depth >= DEPTH_MAX)
		return;
	v->goes_on[depth] = !last;
	if (!beside)
		put_prefix(v, depth, last);
	begin = v->out->len;
	if (beside)
		strbuf_puts(v->out, last ? "---" : "-+-");
	put_text(v, n);
	v->width[depth] = v->compact ? (unsigned)(v->out->len - begin) : 0;
	if (!v->compact || !all)
		strbuf_putc(v->out, '\n');
	for (unsigned i = 0; i < v->nr_edges && left; i++) {
		const struct edge *e = &v->edges[i];

		if ((v->inverted ? e->below : e->above) != at)
			continue;
		left--;
		put_node(v, v->inverted ? e->above : e->below, depth + 1, left + 1 == all, !left);
	}
}

/* ---- the command ---- */

static may_block int tree_options(struct dm_cmd *c, struct tree_view *v)
{
	static const struct {
		const char *word;
		size_t at;
		bool value;
	} options[] = { { "device", offsetof(struct tree_view, device), true },
		{ "nodevice", offsetof(struct tree_view, device), false },
		{ "blkdevname", offsetof(struct tree_view, blkdevname), true },
		{ "active", offsetof(struct tree_view, active), true },
		{ "open", offsetof(struct tree_view, open), true },
		{ "rw", offsetof(struct tree_view, rw), true },
		{ "uuid", offsetof(struct tree_view, uuid), true },
		{ "compact", offsetof(struct tree_view, compact), true },
		{ "inverted", offsetof(struct tree_view, inverted), true } };
	const char *at = c->output ? c->output : "";
	unsigned i;

	v->device = true;
	v->more = " |-", v->last = " `-", v->down = " | ";
	while (*at) {
		size_t n = strchr(at, ',') ? (size_t)(strchr(at, ',') - at) : strlen(at);

		for (i = 0; i < ARRAY_SIZE(options); i++)
			if (strlen(options[i].word) == n && !memcmp(options[i].word, at, n))
				break;
		if (i < ARRAY_SIZE(options))
			*(bool *)((char *)v + options[i].at) = options[i].value;
		else if (n == 3 && !memcmp(at, "utf", 3))
			v->more = " ├─", v->last = " └─", v->down = " │ ";
		/* This console passes no escape sequences on, so vt100 is as ascii; and no line is
		 * ever cut. */
		else if (!(n == 5 && (!memcmp(at, "ascii", 5) || !memcmp(at, "vt100", 5))) &&
			 !(n == 7 && !memcmp(at, "notrunc", 7)))
			return dm_misused(c, "ls: no such tree option");
		at += n + (at[n] == ',');
	}
	return 0;
}

may_block int dm_tree(struct dm_cmd *c)
{
	struct strbuf out = { 0 };
	struct tree_view v = { .out = &out };
	struct dm_info info;
	int err = tree_options(c, &v);
	unsigned at;

	if (err)
		return err;
	for (struct mdev *md = dm_next(NULL); md && !err; md = dm_next(md)) {
		dm_info(md, &info);
		if (!add(&v, info.bdev, &at, 0))
			err = -ENOMEM;
	}
	for (at = 0; at < v.nr_nodes && !err; at++)
		if (v.inverted ? !v.nodes[at].md || !dm_dep(v.nodes[at].md, 0)
			       : v.nodes[at].md && !v.nodes[at].nr_above)
			put_node(&v, at, 0, false, true);
	if (!err)
		io_puts(c->io, v.nr_nodes ? strbuf_text(&out) : "No devices found\n");
	mem_free(v.nodes);
	mem_free(v.edges);
	strbuf_free(&out);
	return err;
}

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

#define DEPTH_MAX 132 /* more than can be stacked */

struct node {
	struct bdev *dev;
	struct mdev *md; /* NULL: a disk */
	unsigned nr_above;
};

struct edge {
	unsigned above, below;
};

struct step {
	unsigned node;
	unsigned next;      /* the dependency or edge to look at */
	unsigned left, all; /* children to print, and how many they are */
};

struct tree_view {
	bool device, blkdevname, active, open, rw, uuid, compact, inverted;
	const char *more, *last, *down; /* " |-", " `-", " | " */
	struct node *nodes;
	struct edge *edges;
	unsigned nr_nodes, max_nodes, nr_edges, max_edges;
	struct strbuf *out;
	/* of the way down to the node that is added or printed */
	struct step way[DEPTH_MAX + 1];
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

/* A node and all beneath it, depth first; the way down is in v->way, for a stack of devices may be
 * deeper than ours. */
static bool add(struct tree_view *v, struct bdev *dev)
{
	struct bdev *below;
	unsigned depth = 0;
	bool is_new;

	if (!find_or_add(v, dev, &v->way[0].node, &is_new))
		return false;
	v->way[0].next = 0;
	for (;;) {
		struct step *at = &v->way[depth];

		below = is_new && v->nodes[at->node].md ? dm_dep(v->nodes[at->node].md, at->next++)
							: NULL;
		if (!below || depth == DEPTH_MAX) {
			if (!depth--)
				return true;
			is_new = true; /* we came down through it */
			continue;
		}
		if (!grow((void **)&v->edges, v->nr_edges, &v->max_edges, sizeof(*v->edges)) ||
			!find_or_add(v, below, &at[1].node, &is_new))
			return false;
		v->edges[v->nr_edges++] = (struct edge){ at->node, at[1].node };
		v->nodes[at[1].node].nr_above++;
		at[1].next = 0;
		depth++;
	}
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

/* One line, or in a compact tree a part of one: the first child stands on its parent's.  False:
 * there is nothing to see of it. */
static bool put_one(struct tree_view *v, unsigned depth, bool first, bool last)
{
	struct step *at = &v->way[depth];
	const struct node *n = &v->nodes[at->node];
	bool beside = v->compact && first && depth;
	size_t begin;

	if (!is_shown(v, n))
		return false;
	at->next = 0;
	at->left = at->all = nr_children(v, at->node);
	v->goes_on[depth] = !last;
	if (!beside)
		put_prefix(v, depth, last);
	begin = v->out->len;
	if (beside)
		strbuf_puts(v->out, last ? "---" : "-+-");
	put_text(v, n);
	v->width[depth] = v->compact ? (unsigned)(v->out->len - begin) : 0;
	if (!v->compact || !at->all)
		strbuf_putc(v->out, '\n');
	return true;
}

/* A node and all that hangs on it. */
static void put_node(struct tree_view *v, unsigned node)
{
	unsigned depth = 0;

	v->way[0].node = node;
	if (!put_one(v, 0, false, true))
		return;
	for (;;) {
		struct step *at = &v->way[depth];
		const struct edge *e;

		if (!at->left || at->next == v->nr_edges || depth == DEPTH_MAX) {
			if (!depth--)
				return;
			continue;
		}
		e = &v->edges[at->next++];
		if ((v->inverted ? e->below : e->above) != at->node)
			continue;
		at->left--;
		at[1].node = v->inverted ? e->above : e->below;
		if (put_one(v, depth + 1, at->left + 1 == at->all, !at->left))
			depth++;
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
	struct tree_view *v = mem_alloc(&tree_tag, sizeof(*v));
	struct strbuf out = { 0 };
	struct dm_info info;
	int err;

	if (!v)
		return -ENOMEM;
	v->out = &out;
	err = tree_options(c, v);
	for (struct mdev *md = dm_next(NULL); md && !err; md = dm_next(md)) {
		dm_info(md, &info);
		if (!add(v, info.bdev))
			err = -ENOMEM;
	}
	for (unsigned at = 0; at < v->nr_nodes && !err; at++)
		if (v->inverted ? !v->nodes[at].md || !dm_dep(v->nodes[at].md, 0)
				: v->nodes[at].md && !v->nodes[at].nr_above)
			put_node(v, at);
	if (!err)
		io_puts(c->io, v->nr_nodes ? strbuf_text(&out) : "No devices found\n");
	mem_free(v->nodes);
	mem_free(v->edges);
	mem_free(v);
	strbuf_free(&out);
	return err;
}

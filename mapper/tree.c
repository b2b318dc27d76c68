/* SPDX-License-Identifier: BSD-2-Clause */
/* tree - the treap of tree.h, without recursion: fibers have small stacks. */
#include "mapper/tree.h"

/* A node's place in the heap: its address, well mixed.  No state, and no two nodes tie. */
static uint64_t priority(const struct tree_node *n)
{
	uint64_t x = (uint64_t)(uintptr_t)n;

	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 29;
	x *= 0x9fb21c651e98df25ull;
	return x ^ x >> 32;
}

struct tree_node *tree_find(const struct tree *t, const void *key)
{
	struct tree_node *n = t->root;

	while (n) {
		int c = t->cmp(n, key);

		if (c == 0)
			return n;
		n = c > 0 ? n->left : n->right;
	}
	return NULL;
}

struct tree_node *tree_after(const struct tree *t, const void *key)
{
	struct tree_node *n = t->root, *best = NULL;

	while (n) {
		if (!key || t->cmp(n, key) > 0) {
			best = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return best;
}

void tree_insert(struct tree *t, struct tree_node *n, const void *key)
{
	struct tree_node **at = &t->root, **less = &n->left, **more = &n->right, *p;

	while (*at && priority(*at) > priority(n))
		at = t->cmp(*at, key) > 0 ? &(*at)->left : &(*at)->right;
	p = *at;
	*at = n;
	/* What stood here is cut along the key: smaller ones to our left, greater to our right. */
	while (p) {
		if (t->cmp(p, key) > 0) {
			*more = p;
			more = &p->left;
			p = p->left;
		} else {
			*less = p;
			less = &p->right;
			p = p->right;
		}
	}
	*less = *more = NULL;
}

void tree_remove(struct tree *t, struct tree_node *n, const void *key)
{
	struct tree_node **at = &t->root, *l = n->left, *r = n->right;

	while (*at != n) {
		ASSERT(*at);
		at = t->cmp(*at, key) > 0 ? &(*at)->left : &(*at)->right;
	}
	/* Its two halves are zipped together in its place. */
	while (l && r) {
		if (priority(l) > priority(r)) {
			*at = l;
			at = &l->right;
			l = l->right;
		} else {
			*at = r;
			at = &r->left;
			r = r->left;
		}
	}
	*at = l ? l : r;
	n->left = n->right = NULL;
}

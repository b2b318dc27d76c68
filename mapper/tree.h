/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tree - an ordered index of things that embed a node: names, uuids and minor numbers of mapped
 * devices.  A treap: a search tree by key that is also a heap by a mixed address, so it stays
 * about 2 log2(n) deep whatever order keys come in.  Nothing is allocated.
 */
#ifndef MAPPER_TREE_H
#define MAPPER_TREE_H

#include "kernel/api/base.h"

struct tree_node {
	struct tree_node *left, *right;
};

/* Zeroed but for cmp is empty.  cmp(): the order of a node's key and a key, as strcmp(). */
struct tree {
	struct tree_node *root;
	int (*cmp)(const struct tree_node *n, const void *key);
};

struct tree_node *tree_find(const struct tree *t, const void *key);
/* The first node after key; key NULL: the first of all.  NULL at the end. */
struct tree_node *tree_after(const struct tree *t, const void *key);
/* No node with that key may be there. */
void tree_insert(struct tree *t, struct tree_node *n, const void *key);
/* The node must be there. */
void tree_remove(struct tree *t, struct tree_node *n, const void *key);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * timerheap - a pairing heap.  Each timer heads a list of children (child, then next) none of which
 * is due before it; prev points to the left sibling, or to the parent for the first child, which is
 * what lets a timer be cut out from the middle.  The root has neither next nor prev.
 */
#include "kernel/lib/timerheap.h"

/* Joins two heaps (either may be NULL); the later root becomes the first child of the earlier. */
static struct timer *meld(struct timer *a, struct timer *b)
{
	struct timer *t;

	if (!a)
		return b;
	if (!b)
		return a;
	if (b->due_ns < a->due_ns) {
		t = a;
		a = b;
		b = t;
	}
	b->prev = a;
	b->next = a->child;
	if (b->next)
		b->next->prev = b;
	a->child = b;
	a->next = a->prev = NULL;
	return a;
}

/*
 * Makes one heap of a list of siblings: pairs from left to right, then all pairs from right to
 * left. The pairs wait on a list linked by next, newest first, so no recursion is needed.
 */
static struct timer *meld_siblings(struct timer *first)
{
	struct timer *pairs = NULL, *root = NULL, *a, *b;

	while (first) {
		a = first;
		b = a->next;
		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		a = pairs;
		pairs = a->next;
		a->next = NULL;
		root = meld(root, a);
	}
	return root;
}

void timerheap_insert(struct timerheap *h, struct timer *t)
{
	ASSERT(!t->pending);
	t->child = t->next = t->prev = NULL;
	t->pending = true;
	h->root = meld(h->root, t);
}

void timerheap_remove(struct timerheap *h, struct timer *t)
{
	ASSERT(t->pending);
	if (t == h->root) {
		h->root = meld_siblings(t->child);
	} else {
		ASSERT(t->prev); /* else it is the root of another core's heap */
		if (t->prev->child == t)
			t->prev->child = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		h->root = meld(h->root, meld_siblings(t->child));
	}
	t->child = t->next = t->prev = NULL;
	t->pending = false;
}

struct timer *timerheap_pop_due(struct timerheap *h, uint64_t now)
{
	struct timer *t = h->root;

	if (!t || t->due_ns > now)
		return NULL;
	timerheap_remove(h, t);
	return t;
}

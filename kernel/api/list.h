/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list - intrusive doubly linked lists.  A head is a node that points to itself; list_init() both.
 * A node that is zeroed or was deleted is on no list: list_del() on it does nothing.
 */
#ifndef KERNEL_API_LIST_H
#define KERNEL_API_LIST_H

#include "kernel/api/base.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)          \
	{                        \
		&(name), &(name) \
	}

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert(struct list *after, struct list *node)
{
	node->next = after->next;
	node->prev = after;
	after->next->prev = node;
	after->next = node;
}

static inline void list_add_head(struct list *head, struct list *node)
{
	list_insert(head, node);
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	list_insert(head->prev, node);
}

static inline bool list_linked(const struct list *node)
{
	return node->next != NULL;
}

static inline void list_del(struct list *node)
{
	if (!node->next)
		return;
	node->next->prev = node->prev;
	node->prev->next = node->next;
	node->next = node->prev = NULL;
}

static inline struct list *list_pop(struct list *head)
{
	struct list *n = head->next;

	if (n == head)
		return NULL;
	list_del(n);
	return n;
}

#define list_first(head, type, member) container_of((head)->next, type, member)

#define list_for_each(p, head, member)                                                     \
	for (p = container_of((head)->next, __typeof__(*p), member); &p->member != (head); \
		p = container_of(p->member.next, __typeof__(*p), member))

/* As above; p may be deleted and freed inside. */
#define list_for_each_safe(p, n, head, member)                        \
	for (p = container_of((head)->next, __typeof__(*p), member),  \
	    n = container_of(p->member.next, __typeof__(*p), member); \
		&p->member != (head);                                 \
		p = n, n = container_of(n->member.next, __typeof__(*n), member))

#endif

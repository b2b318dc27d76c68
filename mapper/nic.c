/* SPDX-License-Identifier: BSD-2-Clause */
/* nic - the list of network interfaces.  Core 0. */
#include "mapper/nic.h"
#include "kernel/api/errno.h"
#include "kernel/api/string.h"

static struct list nics = LIST_INIT(nics);
static unsigned nr_nics;

int nic_register(struct nic *nic)
{
	ASSERT(nic->ops && nic->ops->send && nic->ops->buf_free && nic->max_segs);
	str_printf(nic->name, sizeof(nic->name), "eth%u", nr_nics++);
	list_add_tail(&nics, &nic->node);
	return 0;
}

struct nic *nic_next(struct nic *prev)
{
	struct list *n = prev ? prev->node.next : nics.next;

	return n == &nics ? NULL : container_of(n, struct nic, node);
}

struct nic *nic_find(const char *name)
{
	struct nic *nic;

	list_for_each (nic, &nics, node)
		if (!strcmp(nic->name, name))
			return nic;
	return NULL;
}

void nic_set_client(struct nic *nic, const struct nic_client *client, void *ctx)
{
	nic->client_ctx = ctx;
	nic->client = client;
}

void nic_reset(void)
{
	list_init(&nics);
	nr_nics = 0;
}

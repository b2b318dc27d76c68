/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_gro - what came in one turn for one connection goes up as one segment.  An initiator with
 * many requests sends each in a packet of its own; the way through IP and TCP is many times as long
 * as what the request itself needs of it.
 *
 * Only plain ones are joined: IPv4 without options or fragments, TCP without options, in order,
 * with data and nothing but ACK and PSH, their checksum known to be good.  The acknowledgement,
 * window and PSH of the last are those of all, as if the others had never been heard (RFC 9293 lets
 * them be lost).
 */
#include "net/net_priv.h"

#include "kernel/api/string.h"
#include "lwip/pbuf.h"

#define ETH      14
#define HEADERS  (ETH + 20 + 20)
#define JOIN_MAX 60000 /* bytes of one packet: lwIP counts them in 16 bits */
#define ACK      0x10
#define PSH      0x08

typedef uint16_t half __attribute__((may_alias, aligned(2)));
typedef uint32_t word __attribute__((may_alias, aligned(2)));

/* Ethernet's 14 bytes put IP's words at odd halves; x86 does not mind. */
static inline half *half_at(struct pbuf *p, unsigned at)
{
	return (half *)(void *)((uint8_t *)p->payload + at);
}

static inline uint32_t word_at(struct pbuf *p, unsigned at)
{
	return *(word *)(void *)((uint8_t *)p->payload + at);
}

/* Bytes of data, 0: not of the kind that is joined. */
static inline unsigned plain_data(struct pbuf *p)
{
	const uint8_t *b = p->payload;
	unsigned total;

	if (p->len < HEADERS || *half_at(p, 12) != PP_HTONS(0x0800) || b[ETH] != 0x45 ||
		b[ETH + 9] != 6 || *half_at(p, ETH + 6) & PP_HTONS(0x3fff) || b[46] != 0x50 ||
		(b[47] & ~PSH) != ACK)
		return 0;
	total = lwip_htons(*half_at(p, ETH + 2));
	return total == p->tot_len - ETH && total > 40 ? total - 40 : 0;
}

/* Addresses, ports, and the two MAC addresses with them. */
static inline bool same_flow(struct pbuf *a, struct pbuf *b)
{
	return word_at(a, 26) == word_at(b, 26) && word_at(a, 30) == word_at(b, 30) &&
	       word_at(a, 34) == word_at(b, 34) && word_at(a, 0) == word_at(b, 0) &&
	       *half_at(a, 4) == *half_at(b, 4);
}

/* The total length is another one: the checksum follows (RFC 1624). */
static void set_length(struct pbuf *p, unsigned total)
{
	half *len = half_at(p, ETH + 2), *sum = half_at(p, ETH + 10);
	uint32_t s = (uint16_t) ~*sum + (uint32_t)(uint16_t) ~*len;

	*len = lwip_htons((uint16_t)total);
	s += *len;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	*sum = (uint16_t)~s;
}

void net_gro_end(struct nif *n)
{
	struct pbuf *p = n->gro.head, *q;

	if (!p)
		return;
	n->gro.head = NULL;
	if (n->gro.joined) {
		p->tot_len = (uint16_t)n->gro.bytes;
		for (q = p; q->next; q = q->next)
			q->next->tot_len = q->tot_len - q->len;
		set_length(p, n->gro.bytes - ETH);
	}
	net_up(n, p);
}

static struct pbuf *last_of(struct pbuf *p)
{
	while (p->next)
		p = p->next;
	return p;
}

void net_gro(struct nif *n, struct pbuf *p)
{
	unsigned data = plain_data(p);
	struct pbuf *head = n->gro.head;
	uint32_t seq;

	if (!data) {
		net_gro_end(n);
		net_up(n, p);
		return;
	}
	seq = lwip_htonl(word_at(p, 38));
	if (!head || seq != n->gro.next_seq || !same_flow(head, p) ||
		n->gro.bytes + data > JOIN_MAX) {
		net_gro_end(n);
		n->gro.head = p;
		n->gro.tail = last_of(p);
		n->gro.bytes = p->tot_len;
		n->gro.joined = 0;
		n->gro.next_seq = seq + data;
		return;
	}
	*half_at(head, 42) = *half_at(p, 42); /* acknowledgement */
	*half_at(head, 44) = *half_at(p, 44);
	((uint8_t *)head->payload)[47] |= ((uint8_t *)p->payload)[47];
	*half_at(head, 48) = *half_at(p, 48); /* window */
	p->payload = (uint8_t *)p->payload + HEADERS;
	p->len -= HEADERS;
	n->gro.tail->next = p;
	n->gro.tail = last_of(p);
	n->gro.bytes += data;
	n->gro.next_seq += data;
	n->gro.joined++;
}

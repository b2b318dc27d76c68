/* SPDX-License-Identifier: BSD-2-Clause */
/* net_ping - one ICMP echo and its answer, IPv4 and IPv6. */
#include "net/net_priv.h"

#include "kernel/api/fiber.h"
#include "kernel/api/string.h"
#include "lwip/icmp.h"
#include "lwip/icmp6.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/raw.h"

#define PING_ID 0xca12

struct ping {
	ip_addr_t to;
	uint16_t seq, id;
	struct waitq q;
	bool done;
	unsigned bytes, ttl;
	uint64_t sent_ns, came_ns;
};

static u8_t answer(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
	struct ping *g = arg;
	uint8_t b[60 + 8];
	unsigned got = pbuf_copy_partial(p, b, sizeof(b), 0), at = 0;

	if (IP_IS_V4(from) && got)
		at = (b[0] & 15u) * 4;
	else
		at = 40;
	if (got < at + 8 || b[at] != (IP_IS_V4(from) ? ICMP_ER : ICMP6_TYPE_EREP) ||
		(b[at + 4] << 8 | b[at + 5]) != g->id || (b[at + 6] << 8 | b[at + 7]) != g->seq ||
		g->done)
		return 0;
	g->came_ns = now_ns();
	g->bytes = p->tot_len - at;
	g->ttl = IP_IS_V4(from) ? b[8] : b[7];
	g->done = true;
	waitq_wake_all(&g->q);
	return 0; /* others may want to see it as well */
}

static int send_request(struct raw_pcb *pcb, struct ping *g, unsigned bytes)
{
	struct pbuf *p = pbuf_alloc(PBUF_IP, (u16_t)(8 + bytes), PBUF_RAM);
	struct icmp_echo_hdr *h;
	err_t err;

	if (!p)
		return -ENOMEM;
	h = p->payload;
	memset(h, 0, 8);
	h->type = IP_IS_V4(&g->to) ? ICMP_ECHO : ICMP6_TYPE_EREQ;
	h->id = lwip_htons(g->id);
	h->seqno = lwip_htons(g->seq);
	for (unsigned i = 0; i < bytes; i++)
		((uint8_t *)p->payload)[8 + i] = (uint8_t)i;
	if (IP_IS_V4(&g->to))
		h->chksum = inet_chksum(p->payload, p->tot_len);
	net_clock_wind();
	g->sent_ns = now_ns();
	err = raw_sendto(pcb, p, &g->to);
	pbuf_free(p);
	return err == ERR_OK ? 0 : err == ERR_RTE ? -EHOSTUNREACH : -ENOMEM;
}

int net_ping(const char *address, unsigned seq, unsigned bytes, uint64_t timeout_ns,
	struct net_ping *out)
{
	struct ping g = { .seq = (uint16_t)seq, .id = (uint16_t)(PING_ID + net_random() % 1000) };
	uint64_t due = now_ns() + timeout_ns;
	struct raw_pcb *pcb;
	int err;

	if (!ipaddr_aton(address, &g.to) || bytes > 1400)
		return -EINVAL;
	pcb = raw_new_ip_type(
		IP_GET_TYPE(&g.to), IP_IS_V4(&g.to) ? IP_PROTO_ICMP : IP6_NEXTH_ICMP6);
	if (!pcb)
		return -ENOMEM;
	raw_recv(pcb, answer, &g);
	if (IP_IS_V6(&g.to)) {
		pcb->chksum_reqd = 1;
		pcb->chksum_offset = 2;
	}
	err = send_request(pcb, &g, bytes);
	while (!err && !g.done)
		err = waitq_wait_until(&g.q, due);
	raw_remove(pcb);
	if (!g.done)
		return err ? err : -ETIMEDOUT;
	ipaddr_ntoa_r(&g.to, out->address, sizeof(out->address));
	out->seq = seq;
	out->bytes = g.bytes;
	out->ttl = g.ttl;
	out->ns = g.came_ns - g.sent_ns;
	return 0;
}

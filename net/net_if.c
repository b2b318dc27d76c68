/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net_if - NICs as lwIP's interfaces, and lwIP's clock.
 *
 * In: a frame's buffers become pbufs that live inside the buffers and go back to the NIC when lwIP
 * or an export lets the last of them go.  Out: lwIP hands over IP packets larger than the wire
 * takes where a NIC cuts TCP itself (net_tcp.c sees to it that they are TCP); the checksum field
 * then holds the pseudo header's sum, which is all lwIP leaves to us.
 */
#include "net/net_priv.h"

#include "kernel/api/core.h"
#include "kernel/api/log.h"
#include "kernel/api/mem.h"
#include "kernel/api/random.h"
#include "kernel/api/string.h"
#include "kernel/api/timer.h"
#include "lwip/dhcp.h"
#include "lwip/ethip6.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/ip6.h"
#include "lwip/nd6.h"
#include "lwip/prot/tcp.h"
#include "netif/ethernet.h"

#define ETH_HLEN  14
#define FRAME_MAX 65535 /* what a pbuf can say */

static struct mem_tag net_tag = MEM_TAG("net");
struct list nifs = LIST_INIT(nifs);
uint16_t net_segment_size;
static struct rng rng;
static bool seeded;

/* ---- what lwIP asks of the machine ---- */

/* lwIP's, for the number in an interface's name. */
int atoi(const char *s);
int atoi(const char *s)
{
	uint64_t v;

	return str_to_u64(s, 10, 255, &v) ? 0 : (int)v;
}

static uint64_t hardware_random(void)
{
	uint32_t a = 1, b, c, d;
	uint64_t v = 0;
	unsigned char ok = 0;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	for (int i = 0; (c >> 30 & 1) && !ok && i < 10; i++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok));
	__asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
	return v ^ (((uint64_t)d << 32 | a) * 0x9e3779b97f4a7c15ull);
}

uint32_t net_random(void)
{
	if (!seeded)
		rng_seed(&rng, hardware_random() ^ now_ns());
	seeded = true;
	return (uint32_t)((rng_u64(&rng) ^ hardware_random()) >> 16);
}

uint16_t net_checksum(const void *p, int len)
{
	typedef uint32_t word __attribute__((may_alias, aligned(1)));
	typedef uint16_t half __attribute__((may_alias, aligned(1)));
	const uint8_t *b = p;
	uint64_t sum = 0; /* of at most 2^32 words */

	for (; len >= 4; len -= 4, b += 4)
		sum += *(const word *)b;
	if (len & 2)
		sum += *(const half *)b, b += 2;
	if (len & 1)
		sum += *b;
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff); /* 18 bits */
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/* ---- in ---- */

struct rx_pbuf {
	struct pbuf_custom pc;
};
_Static_assert(sizeof(struct rx_pbuf) <= sizeof(((struct nic_buf *)0)->client),
	"a pbuf lives in the buffer it is about");

static void rx_free(struct pbuf *p)
{
	nic_buf_free(container_of((void *)p, struct nic_buf, client));
}

static void nif_input(struct nic *nic, struct nic_buf *frame, uint32_t bytes, bool csum_ok)
{
	struct nif *n = nic->client_ctx;
	struct nic_buf *b, *next;
	struct pbuf *head = NULL;

	for (b = frame; b; b = next) {
		struct pbuf_custom *pc = (struct pbuf_custom *)b->client;
		struct pbuf *p;

		next = b->next;
		if (bytes > FRAME_MAX) {
			nic->stats.rx_dropped++;
			nic_buf_free(b);
			continue;
		}
		pc->custom_free_function = rx_free;
		p = pbuf_alloced_custom(
			PBUF_RAW, (u16_t)b->len, PBUF_REF, pc, b->data, (u16_t)b->len);
		if (head)
			pbuf_cat(head, p);
		else
			head = p;
	}
	if (!head)
		return;
	net_clock_wind();
	if (likely(csum_ok)) {
		net_gro(n, head);
		return;
	}
	net_gro_end(n);
	NETIF_SET_CHECKSUM_CTRL(
		&n->netif, n->csum_flags | NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
	net_up(n, head);
	NETIF_SET_CHECKSUM_CTRL(&n->netif, n->csum_flags);
}

void net_up(struct nif *n, struct pbuf *p)
{
	if (n->netif.input(p, &n->netif) != ERR_OK)
		pbuf_free(p);
}

static void nif_input_end(struct nic *nic)
{
	net_gro_end(nic->client_ctx);
}

/* ---- out ---- */

void net_tx_mark(void)
{
	struct nif *n;

	list_for_each (n, &nifs, node)
		n->barrier = n->queued;
}

bool net_tx_passed(void)
{
	struct nif *n;

	list_for_each (n, &nifs, node)
		if (n->done < n->barrier)
			return false;
	return true;
}

bool net_tx_idle(void)
{
	struct nif *n;

	list_for_each (n, &nifs, node)
		if (n->done < n->queued)
			return false;
	return true;
}

static void nif_sent(struct nic *nic, void *token)
{
	struct nif *n = nic->client_ctx;

	n->done++;
	pbuf_free(token);
	net_tcp_reaped();
}

/* What the device needs to know to sum up and cut: *p's headers are in its first pbuf. */
static void offload(struct nif *n, struct pbuf *p, struct nic_packet *k)
{
	uint8_t *eth = p->payload, *ip = eth + ETH_HLEN, *l4;
	uint32_t sum, l4_len;
	uint8_t proto;
	unsigned i, from, to;

	if (!n->nic->tx_csum || p->len < ETH_HLEN + 20 + 8)
		return;
	if (eth[12] == 0x08 && eth[13] == 0x00) {
		proto = ip[9];
		l4 = ip + (ip[0] & 15) * 4;
		l4_len = (uint32_t)(ip[2] << 8 | ip[3]) - (uint32_t)(l4 - ip);
		from = 12, to = 20;
	} else if (eth[12] == 0x86 && eth[13] == 0xdd) {
		proto = ip[6];
		l4 = ip + 40;
		l4_len = (uint32_t)(ip[4] << 8 | ip[5]);
		from = 8, to = 40;
		k->ipv6 = true;
	} else {
		return;
	}
	if (proto != 6 || l4 + 20 > eth + p->len)
		return; /* lwIP sums up what is not TCP */
	for (sum = proto + l4_len, i = from; i < to; i += 2)
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	l4[16] = (uint8_t)(sum >> 8);
	l4[17] = (uint8_t)sum;
	k->csum_start = (uint16_t)(l4 - eth);
	k->csum_offset = 16;
	k->hdr_len = (uint16_t)(l4 - eth + (l4[12] >> 4) * 4);
	if (p->tot_len > n->netif.mtu + ETH_HLEN)
		k->gso_size = net_segment_size;
}

static err_t nif_output(struct netif *netif, struct pbuf *p)
{
	struct nif *n = netif->state;
	struct seg segs[32];
	struct nic_packet k = { .segs = segs, .bytes = p->tot_len };
	struct pbuf *q, *flat = NULL;
	uint8_t *at;
	unsigned nr = 0, max = MIN(n->nic->max_segs, (unsigned)ARRAY_SIZE(segs));

	/* net_send.c leaves the totals behind the first to us. */
	for (q = p; q; q = q->next) {
		nr += q->len != 0;
		if (q->next)
			q->next->tot_len = q->tot_len - q->len;
	}
	if (nr > max) { /* of nobody who sends much */
		flat = pbuf_alloc(PBUF_RAW_TX, p->tot_len, PBUF_RAM);
		if (!flat)
			return ERR_MEM;
		for (at = flat->payload, q = p; q; at += q->len, q = q->next)
			copy_data(at, q->payload, q->len);
		p = flat;
	} else {
		pbuf_ref(p);
	}
	offload(n, p, &k);
	for (nr = 0, q = p; q; q = q->next)
		if (q->len)
			segs[nr++] = (struct seg){ dma_addr(q->payload), q->len };
	k.nr_segs = nr;
	k.token = p;
	if (n->nic->ops->send(n->nic, &k)) {
		n->nic->stats.tx_errors++;
		pbuf_free(p);
		return ERR_IF;
	}
	n->queued++;
	return ERR_OK;
}

/* ---- interfaces ---- */

static err_t nif_begin(struct netif *netif)
{
	struct nif *n = netif->state;
	u16_t flags = NETIF_CHECKSUM_ENABLE_ALL;

	netif->name[0] = 'e';
	netif->name[1] = 't';
	netif->hostname = "cairn";
	netif->mtu = n->nic->mtu;
	netif->mtu6 = n->nic->mtu;
	netif->hwaddr_len = 6;
	memcpy(netif->hwaddr, n->nic->mac, 6);
	netif->flags =
		NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
	netif->output = etharp_output;
	netif->output_ip6 = ethip6_output;
	netif->linkoutput = nif_output;
	if (n->nic->tx_csum)
		flags &= ~NETIF_CHECKSUM_GEN_TCP;
	/* Of frames whose sum is not known to be good, nif_input() has it checked. */
	flags &= ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
	NETIF_SET_CHECKSUM_CTRL(netif, flags);
	n->csum_flags = flags;
	return ERR_OK;
}

static void nif_link(struct nic *nic)
{
	struct nif *n = nic->client_ctx;

	net_clock_wind();
	if (nic->link_up)
		netif_set_link_up(&n->netif);
	else
		netif_set_link_down(&n->netif);
}

static const struct nic_client client = {
	.input = nif_input,
	.input_end = nif_input_end,
	.sent = nif_sent,
	.link_changed = nif_link,
};

/* A lease came or went: said once. */
static void nif_status(struct netif *netif)
{
	struct nif *n = netif->state;
	bool has = dhcp_supplied_address(netif);

	if (!n->dhcp || has == n->had_lease)
		return;
	n->had_lease = has;
	if (has)
		log_info("%s: %s by DHCP", n->nic->name, ip4addr_ntoa(netif_ip4_addr(netif)));
	else
		log_info("%s: lease lost", n->nic->name);
}

struct nif *nif_find(const char *name)
{
	struct nif *n;

	list_for_each (n, &nifs, node)
		if (!strcmp(n->nic->name, name))
			return n;
	return NULL;
}

static int nif_make(struct nic *nic)
{
	struct nif *n = mem_alloc(&net_tag, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->nic = nic;
	if (!netif_add(&n->netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4, n, nif_begin,
		    ethernet_input)) {
		mem_free(n);
		return -ENOMEM;
	}
	list_add_tail(&nifs, &n->node);
	netif_set_status_callback(&n->netif, nif_status);
	nic_set_client(nic, &client, n);
	netif_set_up(&n->netif);
	netif_create_ip6_linklocal_address(&n->netif, 1);
	netif_set_ip6_autoconfig_enabled(&n->netif, 1);
	if (nic->link_up)
		netif_set_link_up(&n->netif);
	n->dhcp = true;
	if (dhcp_start(&n->netif) != ERR_OK)
		log_warn("%s: no memory for DHCP", nic->name);
	return 0;
}

int net_init(void)
{
	struct nic *nic;
	int err = 0;

	lwip_init();
	net_clock_init();
	err = net_send_init();
	for (nic = nic_next(NULL); nic && !err; nic = nic_next(nic))
		err = nif_make(nic);
	if (!list_empty(&nifs))
		netif_set_default(&list_first(&nifs, struct nif, node)->netif);
	return err;
}

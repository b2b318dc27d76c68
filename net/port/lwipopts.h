/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lwipopts - lwIP as we want it: no threads, no sockets, the raw API; IPv4 and IPv6; segments of
 * tens of KiB that the NIC cuts (net_tcp.c); zero copy out of the exports' pages.
 *
 * Memory is static and bounded: about 430 KiB with these numbers, the payload of what is under way
 * not counted (it is the NIC's on the way in, the exports' on the way out).
 */
#ifndef NET_PORT_LWIPOPTS_H
#define NET_PORT_LWIPOPTS_H

#define NO_SYS                         1
#define LWIP_TIMERS                    0 /* net_clock.c */
#define SYS_LIGHTWEIGHT_PROT           0
#define SO_REUSE                       1 /* listening again while old connections fade */
#define LWIP_SOCKET                    0
#define LWIP_NETCONN                   0
#define LWIP_STATS                     0
#define LWIP_NETIF_STATUS_CALLBACK     1
#define LWIP_NETIF_HOSTNAME            1
#define LWIP_NETIF_EXT_STATUS_CALLBACK 0
#define LWIP_SINGLE_NETIF              0

#define MEM_ALIGNMENT            16
#define MEM_SIZE                 (192 * 1024)
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_POOL_SIZE           4

#define MEMP_NUM_PBUF           64
#define MEMP_NUM_TCP_PCB        96
#define MEMP_NUM_TCP_PCB_LISTEN 8
/* Ours have two pieces at least, those out of order a buffer of a NIC; and every connection's
 * first and last. */
#define MEMP_NUM_TCP_SEG 2048
#define MEMP_NUM_UDP_PCB 8
#define MEMP_NUM_RAW_PCB 8

#define LWIP_ARP                 1
#define ARP_QUEUEING             1
#define LWIP_IPV4                1
#define LWIP_IPV6                1
#define IP_FRAG                  0 /* frames over the MTU are for the NIC to cut */
#define IP_REASSEMBLY            0
#define LWIP_IPV6_FRAG           0
#define LWIP_IPV6_REASS          0
#define LWIP_IPV6_MLD            1
#define LWIP_IPV6_AUTOCONFIG     1
#define LWIP_IPV6_NUM_ADDRESSES  4
#define LWIP_ND6_QUEUEING        1
#define LWIP_ICMP                1
#define LWIP_ICMP6               1
#define LWIP_RAW                 1
#define LWIP_UDP                 1
#define LWIP_DHCP                1
#define LWIP_DHCP_DOES_ACD_CHECK 0
#define LWIP_ACD                 0
#define LWIP_IPV6_DHCP6          0
#define LWIP_DNS                 0
#define LWIP_IGMP                0

#define LWIP_TCP                       1
#define TCP_MSS                        61440
#define TCP_WND                        (256 * 1024)
#define LWIP_WND_SCALE                 1
#define TCP_RCV_SCALE                  3
#define TCP_SND_BUF                    (512 * 1024)
#define TCP_SND_QUEUELEN               768
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* of sockets, and of segments as the wire has them */
#define TCP_SNDLOWAT                   4096
#define TCP_SNDQUEUELOWAT              64
#define TCP_OVERSIZE                   1024
#define TCP_QUEUE_OOSEQ                1
#define TCP_OOSEQ_MAX_BYTES            (256 * 1024)
#define TCP_LISTEN_BACKLOG             1
#define TCP_DEFAULT_LISTEN_BACKLOG     16
#define LWIP_TCP_KEEPALIVE             1
#define LWIP_TCP_TIMESTAMPS            0
#define LWIP_TCP_SACK_OUT              1

#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define CHECKSUM_GEN_IP              1
#define LWIP_NETIF_TX_SINGLE_PBUF    0

struct pbuf;
struct tcp_hdr;
struct tcp_pcb;
#include "kernel/api/base.h"
uint32_t *net_hook_segment(
	struct pbuf *p, struct tcp_hdr *hdr, const struct tcp_pcb *pcb, uint32_t *opts);
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, hdr, pcb, opts) net_hook_segment(p, hdr, pcb, opts)
/* Buffers that may wait for a lost one; they are the NIC's. */
unsigned net_hook_ooseq(void);
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) net_hook_ooseq()
void net_hook_fit(struct tcp_pcb *pcb);                 /* port/lwip.c */
void net_hook_ack(struct tcp_pcb *pcb, unsigned bytes); /* port/lwip.c */
uint32_t net_random(void);
#define LWIP_HOOK_TCP_ISN(li, lp, ri, rp) net_random()

#define LWIP_DEBUG 0
#define LWIP_NOASSERT \
	1 /* of lwIP against itself: what comes from outside is checked without them */

#endif

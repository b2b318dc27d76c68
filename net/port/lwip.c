/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lwip - lwIP as one translation unit, so that the compiler sees through the calls between its
 * layers (a packet crosses a dozen of them), and what it leaves no other hook for.
 */
#include "lwip/opt.h"
#include "lwip/priv/tcp_priv.h"

/* When data came in order.  lwIP acknowledges every second segment at once; requests of a few bytes
 * each would be answered by as many packets without data just before their answers, which carry the
 * acknowledgement as well.  RFC 9293 (3.8.6.3) wants it at once for full segments only. */
#undef tcp_ack
#define tcp_ack(pcb) net_hook_ack(pcb, tcplen)

#include "core/def.c"
#include "core/inet_chksum.c"
#include "core/init.c"
#include "core/ip.c"
#include "core/mem.c"
#include "core/memp.c"
#include "core/netif.c"
#include "core/pbuf.c"
#include "core/raw.c"
/* Asked of every packet, and but for a `ping` there is nobody to ask. */
#define raw_input(p, inp) (raw_pcbs ? raw_input(p, inp) : RAW_INPUT_NONE)
#include "core/tcp.c"
/* After each segment that came in, the window may be another one. */
#define tcp_output(pcb) (net_hook_fit(pcb), tcp_output(pcb))
#include "core/tcp_in.c"
#undef tcp_output
#include "core/tcp_out.c"
#include "core/udp.c"
#include "core/ipv4/acd.c"
#include "core/ipv4/dhcp.c"
#include "core/ipv4/etharp.c"
#include "core/ipv4/icmp.c"
#include "core/ipv4/ip4.c"
#include "core/ipv4/ip4_addr.c"
#include "core/ipv6/ethip6.c"
#include "core/ipv6/icmp6.c"
#include "core/ipv6/ip6.c"
#include "core/ipv6/ip6_addr.c"
#include "core/ipv6/mld6.c"
#include "core/ipv6/nd6.c"
#include "netif/ethernet.c"

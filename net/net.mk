# SPDX-License-Identifier: BSD-2-Clause
# What net/ takes of lwIP (tools/fetch-deps), and how it is compiled: in the kernel only.

NET_CFLAGS := -Inet/port -I.deps/lwip/src/include
LWIP_SRC   := $(addprefix .deps/lwip/src/, core/def.c core/inet_chksum.c core/init.c core/ip.c core/mem.c \
	core/memp.c core/netif.c core/pbuf.c core/raw.c core/tcp.c core/tcp_in.c core/tcp_out.c \
	core/udp.c core/ipv4/acd.c core/ipv4/dhcp.c core/ipv4/etharp.c \
	core/ipv4/icmp.c core/ipv4/ip4.c core/ipv4/ip4_addr.c core/ipv6/ethip6.c core/ipv6/icmp6.c \
	core/ipv6/ip6.c core/ipv6/ip6_addr.c core/ipv6/mld6.c core/ipv6/nd6.c netif/ethernet.c)
KERNEL_THIRD_SRC += $(LWIP_SRC)
# Its mem_free() and ours have one name.
THIRD_CFLAGS     += $(NET_CFLAGS) -Dmem_free=lwip_mem_free

# Our own files see its headers the way it does.
NET_OWN := $(NET_CFLAGS) -Ikernel/crypto/shim -Wno-undef -Wno-address
KCFLAGS_net_net_if := $(NET_OWN)
KCFLAGS_net_net_tcp := $(NET_OWN)
KCFLAGS_net_net_ip := $(NET_OWN)
KCFLAGS_net_net_ping := $(NET_OWN)
KCFLAGS_net_net_send := $(NET_OWN)
KCFLAGS_net_net_clock := $(NET_OWN)

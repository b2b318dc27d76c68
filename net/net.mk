# SPDX-License-Identifier: BSD-2-Clause
# What net/ takes of lwIP (tools/fetch-deps), and how it is compiled: in the kernel only.

NET_CFLAGS := -Inet/port -I.deps/lwip/src/include
KERNEL_THIRD_SRC += net/port/lwip.c

# Our own files see its headers the way it does.
NET_OWN := $(NET_CFLAGS) -Ikernel/crypto/shim -Wno-undef -Wno-address
KCFLAGS_net_net_if := $(NET_OWN)
KCFLAGS_net_net_tcp := $(NET_OWN)
KCFLAGS_net_net_ip := $(NET_OWN)
KCFLAGS_net_net_ping := $(NET_OWN)
KCFLAGS_net_net_send := $(NET_OWN)
KCFLAGS_net_net_clock := $(NET_OWN)
KCFLAGS_net_net_gro := $(NET_OWN)
# Its mem_free() and ours have one name; its warnings are its own.
KCFLAGS_net_port_lwip := $(NET_OWN) -w -I.deps/lwip/src -Dmem_free=lwip_mem_free

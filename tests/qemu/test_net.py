# SPDX-License-Identifier: BSD-2-Clause
"""The network's words, which are iproute2's and iputils'; DHCP in the background, from servers that
are late, say no, or talk nonsense; and frames that nobody should send."""
import os
import random
import re
import socket
import struct
import threading
import time

import pytest

from cairn import SOAK

MAC = "52:54:00:12:34:56"
USER = ["-netdev", "user,id=n0", "-device", f"virtio-net-pci,netdev=n0,mac={MAC}"]


def until(vm, pattern, seconds, line="ip addr"):
    end = time.monotonic() + seconds
    while True:
        said = vm.ok(line)
        if re.search(pattern, said):
            return said
        assert time.monotonic() < end, said
        time.sleep(0.2)


def test_words(boot):
    """As Debian 12's ip prints them, but for the queueing discipline, of which there is none."""
    vm = boot([], extra=USER)
    said = until(vm, "inet 10.0.2.15", 30)
    assert re.search(r"(?m)^2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP "
                     r"group default qlen 1000$", said)
    assert f"\n    link/ether {MAC} brd ff:ff:ff:ff:ff:ff\n" in said
    assert re.search(r"(?m)^    inet 10\.0\.2\.15/24 brd 10\.0\.2\.255 scope global dynamic eth0$", said)
    assert re.search(r"(?m)^       valid_lft \d+sec preferred_lft \d+sec$", said)
    assert said.startswith("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group "
                           "default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd "
                           "00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n"
                           "       valid_lft forever preferred_lft forever\n")
    assert re.search(r"(?m)^default via 10\.0\.2\.2 dev eth0 proto dhcp", vm.ok("ip route"))
    # An address of ours: DHCP ends there at once, and its route with it.
    vm.ok("ip addr add 10.0.2.77/24 dev eth0")
    said = vm.ok("ip addr show dev eth0")
    assert "inet 10.0.2.77/24 brd 10.0.2.255 scope global eth0\n       valid_lft forever preferred_lft " \
           "forever\n" in said and "10.0.2.15" not in said and "dynamic" not in said
    assert re.fullmatch(r"10\.0\.2\.0/24 dev eth0 proto kernel scope link src 10\.0\.2\.77 ?\n",
                        vm.ok("ip route"))
    vm.ok("ip route add default via 10.0.2.2")
    assert vm.ok("ip route").startswith("default via 10.0.2.2 dev eth0 \n")
    said = vm.ok("ping -c 2 10.0.2.2")
    assert re.search(r"(?m)^PING 10\.0\.2\.2 \(10\.0\.2\.2\) 56\(84\) bytes of data\.$", said)
    assert len(re.findall(r"(?m)^64 bytes from 10\.0\.2\.2: icmp_seq=\d ttl=\d+ time=[\d.]+ ms$",
                          said)) == 2
    assert re.search(r"2 packets transmitted, 2 received, 0% packet loss, time \d+ms", said)
    vm.ok("ip addr del 10.0.2.77/24 dev eth0")
    assert "10.0.2.77" not in vm.ok("ip addr")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    from cairn import Cairn
    vm = Cairn(str(tmp_path_factory.mktemp("net")), [], extra=USER)
    yield vm
    vm.end()


REFUSED = {
    "ip addr add 10.0.2.77/24 dev eth9": 'Cannot find device "eth9"',
    "ip addr add 300.1.1.1/24 dev eth0": 'any valid prefix is expected rather than "300.1.1.1/24"',
    "ip addr add 10.1.1.1/33 dev eth0": "10.1.1.1/33",
    "ip addr add 10.1.1.1/-1 dev eth0": "10.1.1.1/-1",
    "ip addr add 10.1.1.1/24": "",
    "ip addr add": "",
    "ip addr del 10.9.9.9/24 dev eth0": "",
    "ip fly": 'Object "fly" is unknown',
    "ip addr fly": 'Command "fly" is unknown',
    "ip link set eth9 up": "eth9",
    "ip link set eth0 sideways": "",
    "ip route add default via 99.1.1.1": "Nexthop has invalid gateway",
    "ip route add default via x": "",
    "ip route add 10.0.0.0/8 via": "",
    "ip " + "x" * 3000: "is unknown",
    "ping nobody": "",
    "ping": "",
    "ping -c 0 10.0.2.2": "",
    "ping -c 99999999999999999999 10.0.2.2": "",
    "ping -s 70000 10.0.2.2": "",
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda x: x[:40].replace(" ", "_"))
def test_refused(alone, line):
    said = alone.run(line)
    assert said.error is not None
    assert REFUSED[line] in said.out + said.error


def test_unreachable(alone):
    said = alone.run("ping -c 1 10.0.2.99", timeout=20)
    assert said.error and "100% packet loss" in said.out


# ---- the other end of the wire ----

class Far:
    """What is behind the cable: frames in and out."""

    def __init__(self, folder):
        self.here, self.there = folder + "/far", folder + "/near"
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(self.here)
        self.s.settimeout(0.2)
        self.seen, self.stop = [], False

    def words(self):
        return ["-netdev", f"dgram,id=n0,local.type=unix,local.path={self.there},remote.type=unix,"
                f"remote.path={self.here}", "-device", f"virtio-net-pci,netdev=n0,mac={MAC}"]

    def send(self, frame):
        try:
            self.s.sendto(frame, self.there)
        except OSError:
            pass

    def recv(self):
        try:
            return self.s.recv(65536)
        except OSError:
            return None


def checksum(b):
    s = sum(struct.unpack(f">{len(b) // 2}H", b[:len(b) // 2 * 2])) + (b[-1] << 8 if len(b) % 2 else 0)
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def ipv4(proto, payload, src="10.7.0.1", dst="255.255.255.255", mac=b"\xff" * 6, **more):
    head = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, more.get("frag", 0),
                                 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst)))
    head[10:12] = checksum(head).to_bytes(2, "big")
    return mac + b"\x52\x54\0\0\0\x09" + b"\x08\0" + bytes(head) + payload


def udp(sport, dport, data):
    return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data


def dhcp_of(frame):
    """(message type, transaction, hardware address) of a client's frame."""
    if len(frame) < 282 or frame[12:14] != b"\x08\0" or frame[23] != 17 or frame[36:38] != b"\0\x43":
        return None
    d = frame[42:]
    m = re.search(rb"\x63\x82\x53\x63.*?\x35\x01(.)", d, re.S)
    return (m[1][0], d[4:8], d[28:44]) if m else None


def dhcp_answer(kind, xid, chaddr, lease=600, more=b""):
    d = struct.pack(">BBBB4sHH4s4s4s4s16s192x", 2, 1, 6, 0, xid, 0, 0x8000, bytes(4),
                    socket.inet_aton("10.7.0.50"), socket.inet_aton("10.7.0.1"), bytes(4), chaddr)
    d += b"\x63\x82\x53\x63\x35\x01" + bytes([kind]) + b"\x36\4\x0a\7\0\1\x33\4" + \
        lease.to_bytes(4, "big") + b"\1\4\xff\xff\xff\0\3\4\x0a\7\0\1" + more + b"\xff"
    return ipv4(17, udp(67, 68, d))


def test_dhcp_late_and_hostile(boot, folder):
    """Nobody answers at first: the prompt is there all the same.  Then come nonsense, a NAK, and at
    last a lease."""
    far = Far(folder)
    began = time.monotonic()
    vm = boot([], extra=far.words())
    assert time.monotonic() - began < 20
    rng, naks, got = random.Random(1), 0, []
    end = time.monotonic() + 90
    while time.monotonic() < end:
        frame = far.recv()
        d = frame and dhcp_of(frame)
        if not d:
            continue
        kind, xid, chaddr = d
        got.append(kind)
        if len(got) == 1:
            continue    # the first one is lost
        if len(got) == 2:
            for _ in range(50):     # none of these is a lease
                junk = bytearray(dhcp_answer(rng.choice((2, 5, 6, 9)), xid, chaddr,
                                             more=bytes([rng.randrange(256), rng.randrange(256)])))
                for _ in range(8):
                    junk[rng.randrange(42, len(junk))] = rng.randrange(256)
                junk[46:50] = rng.randbytes(4)
                far.send(bytes(junk[:rng.randrange(60, len(junk))]))
            continue
        if kind == 1:
            far.send(dhcp_answer(2, xid, chaddr))
        elif kind == 3 and not naks:
            naks += 1
            far.send(dhcp_answer(6, xid, chaddr))
        elif kind == 3:
            far.send(dhcp_answer(5, xid, chaddr))
            break
    assert naks and got.count(1) >= 3, got
    # Its own check of the address goes unanswered, as it should.
    until(vm, r"inet 10\.7\.0\.50/24", 20)
    assert "10.7.0.50 by DHCP" in vm.ok("dmesg")
    assert "default via 10.7.0.1" in vm.ok("ip route")


def test_hostile_frames(boot, folder):
    """Random, and nearly right: ARP, IPv4, IPv6, ICMP, TCP, UDP.  Nothing is kept of it."""
    far = Far(folder)
    vm = boot([], extra=far.words())
    vm.ok("ip addr add 10.7.0.2/24 dev eth0")
    vm.ok("blk ramdisk create ram0 1M")
    vm.ok("export create iscsi iqn.2026-11.org.cairn:x /dev/ram0 --noauth")
    mac = bytes.fromhex(MAC.replace(":", ""))
    stop = threading.Event()
    drain = threading.Thread(target=lambda: [far.recv() for _ in iter(stop.is_set, True)])
    drain.start()
    before = None
    rng = random.Random(7)
    tcp = bytearray(struct.pack(">HHIIBBHHH", 40000, 3260, 1, 1, 0x50, 2, 65535, 0, 0))
    arp = b"\xff" * 6 + b"\x52\x54\0\0\0\x09\x08\x06\0\1\x08\0\6\4\0\1\x52\x54\0\0\0\x09\x0a\7\0\1" + \
        bytes(6) + b"\x0a\7\0\2"
    ip6 = mac + b"\x52\x54\0\0\0\x09\x86\xdd\x60\0\0\0\0\x20\x3a\xff" + bytes(16) + b"\xff\2" + \
        bytes(13) + b"\1" + b"\x87\0\0\0" + bytes(28)
    kinds = (lambda: rng.randbytes(rng.choice((1, 13, 14, 20, 60, 1514))),
             lambda: arp,
             lambda: ipv4(1, b"\x08\0\xf7\xff" + bytes(4), dst="10.7.0.2", mac=mac),
             lambda: ipv4(6, bytes(tcp) + rng.randbytes(rng.randrange(600)), dst="10.7.0.2", mac=mac),
             lambda: ipv4(17, udp(67, 68, rng.randbytes(rng.randrange(600)))),
             lambda: ipv4(6, bytes(tcp), dst="10.7.0.2", mac=mac, frag=rng.choice((0x2000, 0x1fff, 7))),
             lambda: ip6)
    for i in range(20000 if SOAK else 3000):
        tcp[0:2] = rng.randbytes(2)
        tcp[12], tcp[13] = rng.choice((0x50, 0xf0, 0, rng.randrange(256))), rng.randrange(256)
        frame = bytearray(rng.choice(kinds)())
        for _ in range(rng.choice((0, 0, 1, 3))):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        far.send(bytes(frame[:rng.choice((len(frame), len(frame), rng.randrange(1, len(frame) + 1)))]))
        if i % 500 == 499:
            said = vm.ok("mem")
            free = int(re.search(r"(?m)^free +(\d+)", said)[1])
            before = before or free
            assert free >= before - 2048, said
    vm.ok("ip addr")
    stop.set()
    drain.join()
    assert "10.7.0.2" in vm.ok("ip addr")

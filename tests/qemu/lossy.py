#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""lossy - a wire that loses frames between Cairn and this host, with everything a real tap has: large
segments that are cut by nobody (TSO), checksums left to the other side.  Run in a network namespace
of its own (test_lossy.py does).

Cairn's tap and the host's are joined by this program: frames come and go with their virtio header, so
one that is dropped takes all the wire segments in it along.  An initiator on the host's side writes
and reads; what it read is compared with what it wrote, and with Cairn's own sum.

    lossy.py FOLDER SEED PERCENT MIB WINDOW    (of the initiator, in bytes; 0: the system's)
"""
import fcntl
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cairn import Cairn, make_disk, sha256, virtio  # noqa: E402
from initiator import GOOD, Session, pdu, rw  # noqa: E402

IQN = "iqn.2026-11.org.cairn:lossy"
HOST, CAIRN, MAC = "10.99.0.1", "10.99.0.2", "52:54:00:ca:12:02"
MIB = 1 << 20
TUNSETIFF, TUNSETOFFLOAD = 0x400454ca, 0x400454d0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23


class Bridge(threading.Thread):
    """Carries frames both ways, but for those that it loses."""

    def __init__(self, seed):
        super().__init__(daemon=True)
        self.rng, self.loss = random.Random(seed), 0.0
        self.carried = self.lost = self.lost_large = self.large = 0
        self.host = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.host, TUNSETIFF,
                    struct.pack("16sH22x", b"tap1", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(self.host, TUNSETOFFLOAD, 1 | 2 | 4)    # checksums, TSO
        subprocess.run("ip link set lo up; ip tuntap add tap0 mode tap vnet_hdr;"
                       "for i in tap0 tap1; do sysctl -qw net.ipv6.conf.$i.disable_ipv6=1; done;"
                       f"ip addr add {HOST}/24 dev tap1; ip link set tap1 up; ip link set tap0 up;"
                       f"ip neigh add {CAIRN} lladdr {MAC} dev tap1 nud permanent",
                       shell=True, check=True)
        self.cairn = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.cairn.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.cairn.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        # Room for what comes at once: what is lost is lost by us.
        self.cairn.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.cairn.bind(("tap0", 0))

    def run(self):
        while True:
            for s in select.select([self.host, self.cairn], [], [])[0]:
                frame = os.read(self.host, 1 << 17) if s is self.host else s.recv(1 << 17)
                large = len(frame) > 1600
                self.large += large
                if self.rng.random() < self.loss:
                    self.lost, self.lost_large = self.lost + 1, self.lost_large + large
                    continue
                self.carried += 1
                try:
                    if s is self.host:
                        self.cairn.send(frame)
                    else:
                        os.write(self.host, frame)
                except OSError:
                    self.lost += 1


def more_after_the_end(vm):
    """Logout and more behind it, which the wire's checksums let come up as one segment."""
    def connections():
        return int(re.search(r"(?m)^ *(\d+) .*net connections$", vm.ok("mem"))[1])

    before = connections()
    for i in range(20):
        w = Session(3260, IQN, host=CAIRN)
        w.send(pdu(0x46, 0x80, itt=4, w24=w.cmdsn) + bytes(i * 4000))
        w.s.shutdown(socket.SHUT_WR)
        w.close()
    end = time.monotonic() + 20
    while connections() != before:
        assert time.monotonic() < end, vm.ok("mem")
        time.sleep(0.5)


def main():
    folder, seed, loss, size = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), \
        int(sys.argv[4]) * MIB
    bridge = Bridge(seed)
    bridge.start()
    vm = Cairn(folder, [virtio(make_disk(folder + "/a", size))], mem=64, extra=[
        "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off",
        "-device", f"virtio-net-pci,netdev=n0,mac={MAC}"])
    try:
        vm.ok(f"ip addr add {CAIRN}/24 dev eth0")
        vm.ok(f"export create iscsi {IQN} /dev/vda --noauth")
        x = Session(3260, IQN, host=CAIRN, timeout=90, window=int(sys.argv[5]))
        x.run(b"\0")
        more_after_the_end(vm)
        bridge.loss = loss / 100
        rng, data, tags = random.Random(seed), bytearray(size), []
        for step in range(size // MIB * 4):
            n = rng.choice((512, 4096, 65536, 262144))
            lba = rng.randrange((size - n) // 512)
            if rng.random() < 0.5:
                # Nothing else is under way to the same place: the order would be anybody's.
                x.finish()
                part = rng.randbytes(n)
                data[lba * 512:lba * 512 + n] = part
                x.start(rw(0x2a, lba, n // 512), write=part)
                continue
            x.finish()
            for _ in range(rng.choice((1, 8, 24))):
                lba = rng.randrange((size - n) // 512)
                tags.append((lba, x.start(rw(0x28, lba, n // 512), read=n)))
            for lba, tag in tags:
                status, got, _ = x.finish(tag)
                assert status == GOOD and got == data[lba * 512:lba * 512 + n], (step, lba, n)
            tags.clear()
        x.finish()
        bridge.loss = 0
        x.flush()
        assert vm.sum("/dev/vda", 0, size // 512) == sha256(bytes(data))
        x.close()
    finally:
        vm.end()
    print(f"{bridge.carried} frames carried, {bridge.large} of them large; {bridge.lost} lost, "
          f"{bridge.lost_large} of them large")
    assert loss == 0 or (bridge.lost and bridge.lost_large)


if __name__ == "__main__":
    main()

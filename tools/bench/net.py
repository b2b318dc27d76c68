#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""net - Cairn's iSCSI target beside Linux's (LIO), counted in one run.

Each serves a linear device over a null-co virtio-blk disk on a tap with vnet_hdr, in a network
namespace made for this and gone with it; the client is QEMU's own initiator (qemu-img bench) on the
host's side of the tap.  Two runs of different counts are differenced, so that login and set-up
cancel.  Measured per I/O: guest instructions, the server process's CPU time, I/Os a second; and
instructions a second while a session is open and nothing is asked.  And from QEMU's start to the
answer to a login: instructions and time.

Prints the figures, ratios and bars; exits 1 when a bar is missed.  Where it cannot run it says so,
and that it was skipped.
"""
import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tools", "plugin"))
sys.path.insert(0, HERE)
import bench         # noqa: E402
import counters      # noqa: E402
import linux_guest   # noqa: E402

MAC = "52:54:00:ca:12:01"
SERVER, CLIENT = "10.99.0.2", "10.99.0.1"
IQN = "iqn.2026-11.org.cairn:bench"
URL = f"iscsi://{SERVER}:3260/{IQN}/0"
SECTORS = bench.DISK_MIB << 11
TICK = os.sysconf("SC_CLK_TCK")

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "dm_mod", "configfs", "target_core_mod",
           "target_core_iblock", "iscsi_target_mod")
LIO = f"""ip link set lo up
ip addr add {SERVER}/24 dev eth0
ip link set eth0 up
peer map l /dev/vda linear '/dev/vda 0'
mount -t configfs c /sys/kernel/config
T=/sys/kernel/config/target
mkdir -p $T/core/iblock_0/d0
echo udev_path=/dev/dm-0 >$T/core/iblock_0/d0/control
echo 1 >$T/core/iblock_0/d0/enable
I=$T/iscsi/{IQN}/tpgt_1
mkdir -p $I/np/0.0.0.0:3260 $I/lun/lun_0
ln -s $T/core/iblock_0/d0 $I/lun/lun_0/port
echo 0 >$I/attrib/authentication
echo 1 >$I/attrib/generate_node_acls
echo 0 >$I/attrib/demo_mode_write_protect
echo 128 >$I/attrib/default_cmdsn_depth
echo 1 >$I/enable
echo peer: ready
while :; do sleep 1000; done
"""
# label, bytes, depth, sequential, the two counts
LOADS = [("4 KiB read QD 32", 4096, 32, False, (2000, 6000)),
         ("128 KiB read QD 8", 131072, 8, True, (200, 600))]


def sh(line):
    p = subprocess.run(line, shell=True, capture_output=True, text=True)
    if p.returncode:
        raise SystemExit(f"net: {line}: {p.stderr}{p.stdout}")
    return p.stdout


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


def nic():
    return ["-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=off",
            "-device", f"virtio-net-pci,netdev=n0,mac={MAC}"]


def cairn(folder, so):
    run = (f"ip addr add {SERVER}/24 dev eth0; "
           f"dmsetup create l --table '0 {SECTORS} linear /dev/vda 0'; "
           f"export create iscsi {IQN} /dev/mapper/l --noauth")
    return bench.Guest(folder, so, "cairn-net", ["-kernel", bench.KERNEL, *bench.disk(), *nic(),
                                                 "-append", f'cairn.run="{run}"'])


def linux(folder, so):
    cpio = linux_guest.build(folder, "load", LIO, MODULES)
    return bench.Guest(folder, so, "linux-net", ["-kernel", linux_guest.kernel(), "-initrd", cpio,
                                                 "-append", linux_guest.APPEND, *bench.disk(),
                                                 *nic()])


def login():
    """Whether a login is answered just now, and well."""
    keys = (f"InitiatorName=iqn.2026-11.org.cairn:client\0TargetName={IQN}\0"
            "SessionType=Normal\0AuthMethod=None\0").encode()
    head = bytearray(48)
    head[0:2] = 0x43, 0x81  # immediate; transit from security to operational negotiation
    head[5:8] = len(keys).to_bytes(3, "big")
    head[8:14] = b"\x80\0\0\0\0\1"
    with socket.socket() as s:
        s.settimeout(0.02)
        try:
            s.connect((SERVER, 3260))
            s.settimeout(5)
            s.sendall(bytes(head) + keys + bytes(-len(keys) % 4))
            answer = s.recv(48, socket.MSG_WAITALL)
        except OSError:
            return False
    return len(answer) == 48 and answer[0] == 0x23 and answer[36] == 0


def first_login(begin, folder, so):
    """(instructions, seconds) from QEMU's start."""
    start = time.monotonic()
    g = begin(folder, so)
    try:
        while not login():
            if time.monotonic() - start > 120:
                raise SystemExit("net: no login was answered")
        return g.counts().now().total, time.monotonic() - start
    finally:
        g.end()


def one(g, size, depth, sequential, count):
    """(instructions, CPU seconds, seconds, words that string instructions moved) of one run."""
    step = size if sequential else (1 << 20) + size
    a, cpu = g.counts().now(), cpu_seconds(g.proc.pid)
    said = sh(f"qemu-img bench -f raw -t none -c {count} -d {depth} -s {size} -S {step} {URL}")
    seconds = float(re.search(r"completed in ([0-9.]+) seconds", said).group(1))
    d = g.counts().now() - a
    return d.total, cpu_seconds(g.proc.pid) - cpu, seconds, d.kernel_reps


def copied(g):
    """What Cairn itself says it has copied."""
    g.seen = b""
    g.type("export stats")
    return int(re.search(r"copied (\d+) bytes", g.wait(rb"copied \d+ bytes", 30)).group(1))


def measure(g, runs):
    got = {}
    ours = g.file.endswith("cairn-net.counts")
    before = copied(g) if ours else 0
    for label, size, depth, sequential, (few, many) in LOADS:
        rows = []
        for _ in range(runs):
            # Ten times as fast: a run of the same length, so that the clock's ticks do not matter.
            more = 5 if ours else 1
            a, b = (one(g, size, depth, sequential, n * more) for n in (few, many))
            n = (many - few) * more
            rows.append(((b[0] - a[0]) / n, (b[1] - a[1]) / n * 1e6, n / max(b[2] - a[2], 1e-6),
                         (b[3] - a[3]) * 8 / n))
        got[label] = [statistics.median(r[i] for r in rows) for i in range(4)]
    if ours:
        got["counter"] = copied(g) - before
    # A session that does nothing.
    p = subprocess.Popen(["qemu-io", "-f", "raw", URL], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL)
    time.sleep(1)
    a = g.counts().now().total
    time.sleep(4)
    got["idle"] = [(g.counts().now().total - a) / 4, 0, 0]
    p.communicate(b"quit\n")
    return got


def namespace():
    return ["-n"] if os.getuid() == 0 else ["-r", "-n"]


def in_namespace(args):
    """Again in a network namespace of its own; as somebody else than root in a user namespace."""
    return subprocess.run(["unshare", *namespace(), sys.executable, os.path.abspath(__file__),
                           "--inside", *args]).returncode


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--runs", type=int, default=3, help="the median of so many")
    ap.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    x = ap.parse_args()
    if not x.inside:
        if not os.path.exists("/dev/net/tun"):
            print("skipped: no /dev/net/tun here\n0 passed, 0 failed, 1 skipped")
            return 0
        if subprocess.run(["unshare", *namespace(), "true"], capture_output=True).returncode:
            print("skipped: no network namespace can be made\n0 passed, 0 failed, 1 skipped")
            return 0
        return in_namespace(["--runs", str(x.runs)])
    start = time.monotonic()
    sh("ip link set lo up && ip tuntap add tap0 mode tap vnet_hdr && "
       f"ip addr add {CLIENT}/24 dev tap0 && ip link set tap0 up && "
       f"ip neigh add {SERVER} lladdr {MAC} dev tap0 nud permanent")
    with tempfile.TemporaryDirectory(prefix="cairn-net.") as folder:
        so = counters.build(os.path.join(bench.BUILD, "plugin"))
        got = {}
        both = ("Linux", linux, rb"peer: ready"), ("Cairn", cairn, rb"cairn# ")
        for name, begin, ready in both:
            logins = [first_login(begin, folder, so) for _ in range(x.runs)]
            g = begin(folder, so)
            try:
                g.wait(ready, 300)
                got[name] = measure(g, x.runs)
            finally:
                g.end()
            got[name]["login"] = [statistics.median(r[i] for r in logins) for i in range(2)]
    print(f"iSCSI, linear over null, medians of {x.runs}, {time.monotonic() - start:.0f} s")
    missed = met = 0
    for label in got["Linux"]:
        li, ca = got["Linux"][label], got["Cairn"][label]
        if label == "login":
            print(f"  start to login     Linux {li[0] / 1e6:8.1f} M instr {li[1]:6.2f} s     "
                  f"Cairn {ca[0] / 1e6:7.1f} M instr {ca[1]:5.2f} s")
            checks = [("instructions", ca[0] / li[0], 0.03, False),
                      ("time", ca[1] / li[1], 1 / 3, False)]
        elif label == "idle":
            print(f"  idle with a session: {li[0]:12.0f} and {ca[0]:10.0f} instructions a second")
            checks = [("idle", ca[0] / li[0], 0.10, False)]
        else:
            print(f"  {label:18} Linux {li[0]:8.0f} instr {li[1]:6.1f} us {li[2]:7.0f} IOPS   "
                  f"Cairn {ca[0]:7.0f} instr {ca[1]:5.1f} us {ca[2]:7.0f} IOPS")
            checks = [("instructions", ca[0] / li[0], 0.10 if label[0] == "4" else 0.12, False)]
            if label[0] == "4":
                checks += [("server CPU", ca[1] / li[1], 0.15, False),
                           ("IOPS", ca[2] / li[2], 8, True),
                           ("string moves", ca[3], 0.5, False),
                           ("bytes copied", got["Cairn"]["counter"], 0, False)]
        for what, ratio, bar, least in checks:
            good = ratio >= bar if least else ratio <= bar
            missed, met = missed + (not good), met + good
            print(f"    {what:13} ratio {ratio:.4f}   bar {bar:.2f}   "
                  f"{'met' if good else 'MISSED'}")
    print(f"{met} passed, {missed} failed, 0 skipped")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

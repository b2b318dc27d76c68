#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""bench - guest instructions of Cairn beside those of Linux, counted by tools/plugin/icount.c.

Both guests run in the same QEMU under TCG with one processor, 512 MiB and the same disk.  Measured:

  boot    from reset to the prompt; Linux: to the shell of a minimal guest
  raw     one 4 KiB random read at queue depth 32 on virtio-blk over null-co.  Cairn: everything
          between the marks of `blk bench`, its load generator included.  Linux: the kernel's
          instructions only, its load generator left out
  linear, striped, delay (of 0 ms), flakey (up)
          what such a target over that disk adds

Prints the medians, the ratios and the bars; exits 1 when a bar is missed.
"""
import argparse
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tools", "plugin"))
sys.path.insert(0, HERE)
import counters      # noqa: E402
import linux_guest   # noqa: E402

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
KERNEL = os.path.join(BUILD, "cairn.elf")
DISK_MIB = 1024
DEPTH, SIZE = 32, 4096
SECTORS = DISK_MIB << 11
LAYERS = {"linear": "/dev/vda 0", "striped": f"2 128 /dev/vda 0 /dev/vda {SECTORS // 2}",
          "delay": "/dev/vda 0 0", "flakey": "/dev/vda 0 100000 1"}
BARS = {"boot": 0.02, "raw": 0.06, **{k: 0.10 for k in LAYERS}}


class Guest:
    """One QEMU with the plugin, its serial port on our pipe."""

    def __init__(self, folder, so, name, args):
        self.file = os.path.join(folder, name + ".counts")
        self.err = open(os.path.join(folder, name + ".err"), "w+")
        self.seen = b""
        self.proc = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max",
             "-smp", "1", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
             "-serial", "stdio", "-plugin", f"{so},out={self.file}", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err)

    def wait(self, pattern, seconds):
        """Output up to a match of pattern, which is taken."""
        end = time.monotonic() + seconds
        while True:
            m = re.search(pattern, self.seen)
            if m:
                text, self.seen = self.seen[:m.end()], self.seen[m.end():]
                return text.decode(errors="replace")
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise SystemExit(f"bench: no {pattern!r} in {seconds} s; the guest said:\n"
                                 + self.seen[-2000:].decode(errors="replace"))
            data = os.read(self.proc.stdout.fileno(), 65536)
            if not data:
                self.err.seek(0)
                raise SystemExit("bench: the guest ended:\n" + self.err.read()[-1000:]
                                 + self.seen[-2000:].decode(errors="replace"))
            self.seen += data

    def type(self, line):
        self.proc.stdin.write(line.encode() + b"\n")
        self.proc.stdin.flush()

    def counts(self):
        return counters.Counters(self.file)

    def end(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGKILL)
        self.proc.wait()
        self.err.close()


def disk():
    return ["-blockdev", f"driver=null-co,node-name=b0,size={DISK_MIB << 20},read-zeroes=off",
            "-object", "iothread,id=io0",
            "-device", "virtio-blk-pci,drive=b0,iothread=io0,num-queues=1,serial=bench"]


def spans(marks):
    """Counts between each mark 1 and the mark 2 after it."""
    out, begin = [], None
    for ident, at in marks:
        if ident == 1:
            begin = at
        elif ident == 2 and begin is not None:
            out.append(at - begin)
            begin = None
    return out


def cairn_boot(folder, so):
    """Instructions until the prompt stands there."""
    g = Guest(folder, so, "cairn-boot", ["-kernel", KERNEL])
    try:
        g.wait(rb"cairn# ", 120)
        return g.counts().now().total
    finally:
        g.end()


def linux_boot(folder, so, cpio):
    g = Guest(folder, so, "linux-boot", ["-kernel", linux_guest.kernel(), "-initrd", cpio,
                                         "-append", linux_guest.APPEND])
    try:
        g.wait(rb"linux# ", 300)
        return next(at.total for ident, at in g.counts().marks() if ident == 0x10)
    finally:
        g.end()


def cairn_io(folder, so, count):
    """raw and with each layer: instructions an I/O, all of them."""
    g = Guest(folder, so, "cairn-io", ["-kernel", KERNEL, *disk()])
    try:
        g.wait(rb"cairn# ", 120)
        for layer, words in LAYERS.items():
            g.type(f'dmsetup create {layer} --table "0 {SECTORS} {layer} {words}"')
            g.wait(rb"\n[^\n]*cairn# ", 30)
        for device in ("/dev/vda", *(f"/dev/mapper/{x}" for x in LAYERS)):
            for n in (count // 8, count):
                g.type(f"blk bench {device} --rw randread --bs 4k --qd {DEPTH} --count {n} "
                       "--seed 1")
                said = g.wait(rb"\n[^\n]*cairn# ", 300)
                if "error: " in said:
                    raise SystemExit("bench: " + said)
        found = spans(g.counts().marks())
        return [x.total / count for x in found[1::2]]
    finally:
        g.end()


def linux_io(folder, so, cpio, count):
    """raw and with each layer: instructions an I/O in the kernel; and raw with the generator."""
    g = Guest(folder, so, "linux-io", ["-kernel", linux_guest.kernel(), "-initrd", cpio,
                                       "-append", linux_guest.APPEND, *disk()])
    try:
        g.wait(rb"peer: done", 600)
        found = spans(g.counts().marks())
        return [x.kernel / count for x in found], found[0].total / count
    finally:
        g.end()


def note(got, found):
    """What raw I/O takes, and what each layer adds to it."""
    got["raw"].append(found[0])
    for layer, with_it in zip(LAYERS, found[1:]):
        got[layer].append(with_it - found[0])


def adds(m):
    return ", ".join(f"{x} adds {m[x]:.0f}" for x in LAYERS)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--runs", type=int, default=3, help="the median of so many")
    ap.add_argument("--count", type=int, default=20000, help="I/Os between the marks")
    ap.add_argument("--linux-only", action="store_true", help="measure the peer alone")
    x = ap.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cairn-bench.") as folder:
        so = counters.build(os.path.join(BUILD, "plugin"))
        work = (f"peer load /dev/vda {SIZE} {DEPTH} {x.count // 8} {x.count}\n"
                + "".join(f"peer map {k} /dev/vda {k} '{words}'\n"
                          f"peer load /dev/dm-{i} {SIZE} {DEPTH} {x.count // 8} {x.count}\n"
                          for i, (k, words) in enumerate(LAYERS.items())))
        shell_cpio = linux_guest.build(folder, "shell")
        load_cpio = linux_guest.build(folder, "load", work, modules=(
            "virtio_pci", "virtio_blk", "dm_mod", "dm_delay", "dm_flakey"))
        linux, cairn = {k: [] for k in BARS}, {k: [] for k in BARS}
        whole = []
        for _ in range(x.runs):
            linux["boot"].append(linux_boot(folder, so, shell_cpio))
            found, total = linux_io(folder, so, load_cpio, x.count)
            note(linux, found)
            whole.append(total)
            if not x.linux_only:
                cairn["boot"].append(cairn_boot(folder, so))
                note(cairn, cairn_io(folder, so, x.count))
    linux = {k: statistics.median(v) for k, v in linux.items()}
    print(f"Linux {os.path.basename(linux_guest.kernel())[8:]}, medians of {x.runs}, "
          f"{x.count} I/Os each, {time.monotonic() - start:.0f} s")
    print(f"  boot to shell {linux['boot'] / 1e6:10.1f} M   raw {linux['raw']:8.0f} an I/O "
          f"({statistics.median(whole):.0f} with its generator)   " + adds(linux))
    if x.linux_only:
        return 0
    cairn = {k: statistics.median(v) for k, v in cairn.items()}
    print("Cairn")
    print(f"  boot to prompt{cairn['boot'] / 1e6:10.1f} M   raw {cairn['raw']:8.0f} an I/O "
          "(its generator included)   " + adds(cairn))
    missed = 0
    for name, bar in BARS.items():
        ratio = cairn[name] / linux[name]
        good = ratio <= bar
        missed += not good
        print(f"  {name:7} ratio {ratio:.4f}   bar {bar:.2f}   {'met' if good else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

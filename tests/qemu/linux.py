# SPDX-License-Identifier: BSD-2-Clause
"""A real Linux beside the machine under test: Debian's kernel, busybox and open-iscsi in a guest of
its own, driven over its serial port."""
import os
import re
import select
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tools", "bench"))
import linux_guest  # noqa: E402
from cairn import ACCEL  # noqa: E402

MODULES = ("virtio_pci", "virtio_net", "virtio_rng", "iscsi_tcp", "sd_mod", "crc32c_generic",
           "crc32c_intel", "ext4")
PROGRAMS = ("/usr/sbin/iscsid", "/usr/bin/iscsiadm", "/usr/sbin/mkfs.ext4", "/usr/sbin/e2fsck",
            "/usr/bin/fio")
INITIATOR = "iqn.2026-11.org.cairn:linux"
SET_UP = f"""ip link set lo up
mkdir -p /etc/iscsi /run/lock/iscsi /run/initramfs /var/lib/iscsi /tmp /mnt /root
echo InitiatorName={INITIATOR} >/etc/iscsi/initiatorname.iscsi
printf 'root:x:0:0:root:/root:/bin/sh\\n' >/etc/passwd
printf 'node.startup = manual\\nnode.session.cmds_max = 128\\nnode.session.queue_depth = 32\\n' \\
    >/etc/iscsid.conf
cp /etc/iscsid.conf /etc/iscsi/iscsid.conf
: >/etc/mtab
iscsid
echo linux: ready
PS1='' exec sh
"""


class Linux:
    """What it has: ip, iscsiadm, mkfs.ext4, e2fsck, fio and a few of busybox's applets."""

    def __init__(self, folder, extra=(), mem=512):
        cpio = linux_guest.build(folder, "load", SET_UP, MODULES,
                                 [os.path.realpath(p) if "mkfs" not in p else p
                                  for p in PROGRAMS])
        self.err = open(os.path.join(folder, "linux.err"), "w+")
        self.seen = ""
        self.proc = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", ACCEL, "-machine", "q35", "-cpu", "max", "-smp", "1",
             "-m", str(mem), "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
             "-kernel", linux_guest.kernel(), "-initrd", cpio, "-append",
             "console=ttyS0 quiet loglevel=4 panic=-1", "-device", "virtio-rng-pci", *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err)
        try:
            self.wait("linux: ready", 120)
        except BaseException:
            self.end()
            raise
        self.run("stty -echo 2>/dev/null; true")

    def wait(self, pattern, seconds):
        end = time.monotonic() + seconds
        while True:
            m = re.search(pattern, self.seen)
            if m:
                out, self.seen = self.seen[:m.start()], self.seen[m.end():]
                return out, m
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise TimeoutError(f"Linux: no {pattern!r} in {seconds} s\n{self.seen[-3000:]}")
            data = os.read(self.proc.stdout.fileno(), 65536)
            if not data:
                raise RuntimeError("Linux ended\n" + self.seen[-3000:])
            self.seen += data.decode(errors="replace").replace("\r", "")

    def run(self, line, ok=True, timeout=120):
        """Output of a shell command."""
        self.proc.stdin.write(f"{line}\necho =rc=$?=\n".encode())
        self.proc.stdin.flush()
        out, m = self.wait(r"=rc=(\d+)=\n", timeout)
        if ok and m[1] != "0":
            raise AssertionError(f"Linux: {line}: {m[1]}\n{out[-3000:]}")
        return out

    def end(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.err.close()

# SPDX-License-Identifier: BSD-2-Clause
"""linux_guest - a minimal Linux guest from Debian's cloud kernel and busybox, to compare with.

Two initramfs: "shell" holds nothing but busybox and goes straight to its shell (how much does a
boot cost), "load" also loads virtio-blk and device-mapper and runs the load generator.
"""
import glob
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LINUX = os.path.join(TOP, ".deps", "linux")
APPEND = "console=ttyS0 quiet loglevel=4 nokaslr tsc=reliable panic=-1"

SHELL_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
/bin/peer mark 10
PS1='linux# ' exec sh -i
"""

LOAD_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m || echo "insmod $m failed"; done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 0.1; done
for s in /sys/block/*/queue/scheduler; do echo none >$s; done
. /work.sh
echo peer: done
poweroff -f
"""


def kernel():
    found = glob.glob(os.path.join(LINUX, "boot", "vmlinuz-*"))
    if not found:
        raise SystemExit("bench: no Linux kernel in .deps/linux; run tools/fetch-deps linux")
    return found[0]


def _depends(path):
    """The modules a module says it needs (the depends= string of its .modinfo)."""
    with open(path, "rb") as f:
        data = f.read()
    at = data.find(b"depends=")
    words = data[at + 8:data.index(b"\0", at)].decode() if at >= 0 else ""
    return [w for w in words.split(",") if w]


def module_files(names):
    """The files of these modules and of what they need, in the order to load them."""
    files = {}
    for path in glob.glob(os.path.join(LINUX, "lib/modules/*/kernel/**/*.ko"), recursive=True):
        files[os.path.basename(path)[:-3].replace("-", "_")] = path
    order = []

    def add(name):
        path = files.get(name.replace("-", "_"))
        if path and path not in order:      # not there: built into the kernel
            for other in _depends(path):
                add(other)
            order.append(path)

    for name in names:
        add(name)
    return order


def copy_program(path, root):
    """A program and the libraries it is linked with."""
    for line in subprocess.run(["ldd", path], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        for word in line.split():
            if word.startswith("/"):
                there = root + word
                os.makedirs(os.path.dirname(there), exist_ok=True)
                subprocess.run(["cp", "-L", word, there], check=True)
    subprocess.run(["cp", "-L", path, os.path.join(root, "bin")], check=True)


def build(folder, kind, work="", modules=("virtio_pci", "virtio_blk", "dm_mod"), binaries=()):
    """Makes folder/<kind>.cpio; work: shell commands of the "load" guest, which has these kernel
    modules and, beside busybox, these programs of this machine."""
    root = os.path.join(folder, kind + ".root")
    subprocess.run(["rm", "-rf", root], check=True)
    for d in ("bin", "dev", "proc", "sys", "modules"):
        os.makedirs(os.path.join(root, d))
    subprocess.run(["cp", "/bin/busybox", os.path.join(root, "bin/busybox")], check=True)
    for applet in ("sh", "mount", "umount", "insmod", "sleep", "cat", "echo", "poweroff", "dmesg",
                   "grep", "mkdir", "ln", "ip", "ls", "dd", "sha256sum", "mknod", "sync"):
        os.symlink("busybox", os.path.join(root, "bin", applet))
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s",
                    "-o", os.path.join(root, "bin/peer"), os.path.join(HERE, "peer.c")],
                   check=True)
    if kind == "load":
        order = module_files(modules)
        for path in binaries:
            copy_program(path, root)
        for path in order:
            subprocess.run(["cp", path, os.path.join(root, "modules")], check=True)
        with open(os.path.join(root, "modules/order"), "w") as f:
            f.write("\n".join(os.path.basename(p) for p in order) + "\n")
        with open(os.path.join(root, "work.sh"), "w") as f:
            f.write(work)
    init = os.path.join(root, "init")
    with open(init, "w") as f:
        f.write(LOAD_INIT if kind == "load" else SHELL_INIT)
    os.chmod(init, 0o755)
    cpio = os.path.join(folder, kind + ".cpio")
    with open(cpio, "wb") as f:
        names = subprocess.run(["find", ".", "-print0"], cwd=root, check=True,
                               capture_output=True).stdout
        subprocess.run(["cpio", "--null", "--create", "--quiet", "--format=newc", "-R", "0:0"],
                       cwd=root, input=names, stdout=f, check=True)
    return cpio

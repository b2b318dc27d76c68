# SPDX-License-Identifier: BSD-2-Clause
"""Disks that fail: errors at chosen sectors come back as errors of just those requests, a disk that
never answers ends in an error within a minute, and everything beside it goes on."""
import os
import re
import signal
import subprocess
import time

import pytest

from cairn import SOAK, Raw, Said, make_disk, null_node, nvme, pattern, sha256, virtio

MIB = 1 << 20
ANSWER = 60     # seconds until a request to a dead disk must have ended
SLACK = 15      # for the machine this runs on


def faulty(path, *rules):
    """blkdebug over a file: each rule injects one kind of error for good."""
    node = f"driver=blkdebug,image.driver=raw,image.file.driver=file,image.file.filename={path}," \
           "image.file.locking=off"
    for i, (iotype, sector) in enumerate(rules):
        node += f",inject-error.{i}.event=none,inject-error.{i}.iotype={iotype}" \
                f",inject-error.{i}.errno=5"
        if sector is not None:
            node += f",inject-error.{i}.sector={sector}"
    return node


KINDS = {"virtio": (virtio, "/dev/vda"), "nvme": (nvme, "/dev/nvme0n1")}


@pytest.mark.parametrize("kind", KINDS)
def test_read_error_of_one_sector(boot, folder, kind):
    make, device = KINDS[kind]
    disk = make_disk(folder + "/a", 2 * MIB, seed=1)
    vm = boot([make(faulty(disk, ("read", 2000)))])
    data = pattern(1, 2 * MIB)
    assert vm.sum(device, 0, 2000) == sha256(data[:2000 * 512])
    assert vm.sum(device, 2001, 2095) == sha256(data[2001 * 512:])
    for start, count in ((2000, 1), (1992, 16), (0, 4096)):
        vm.fails(f"blk sum {device} {start} {count}")
    # Through a table as well, and only where that sector is.
    vm.table("l", f"0 100 linear {device} 1990")
    vm.fails("blk sum /dev/mapper/l 0 100")
    assert vm.sum("/dev/mapper/l", 0, 10) == sha256(data[1990 * 512:2000 * 512])
    assert vm.sum("/dev/mapper/l", 11, 89) == sha256(data[2001 * 512:2090 * 512])


@pytest.mark.parametrize("kind", KINDS)
def test_write_and_flush_errors(boot, folder, kind):
    make, device = KINDS[kind]
    disk = make_disk(folder + "/a", 2 * MIB)
    vm = boot([make(faulty(disk, ("write", 3000)))])
    vm.table("good", f"0 1000 linear {device} 0")
    vm.table("bad", f"0 1000 linear {device} 2500")
    vm.ok("blk bench /dev/mapper/good --rw write --verify --bs 4k --count 125")
    vm.fails("blk bench /dev/mapper/bad --rw write --bs 4k --count 125")
    vm.ok("blk bench /dev/mapper/good --rw randwrite --verify --bs 4k --count 125")
    vm.end()
    disk = make_disk(folder + "/b", 2 * MIB)
    vm = boot([make(faulty(disk, ("flush", None)))])
    vm.fails(f"blk write {device} 0 8 --flush")


def test_one_leg_of_a_stripe_fails(boot, folder):
    a, b = (make_disk(folder + "/" + x, 2 * MIB, seed=x) for x in "ab")
    vm = boot([virtio(a), nvme(faulty(b, ("read", 160)))])
    vm.table("st", "0 8192 striped 2 16 /dev/vda 0 /dev/nvme0n1 0")
    vm.fails("blk sum /dev/mapper/st 0 8192")
    # Sector 160 of the second disk: chunk 10 of it, chunk 21 of all.
    vm.ok("blk sum /dev/mapper/st 0 336")
    vm.fails("blk sum /dev/mapper/st 336 1")
    vm.ok("blk sum /dev/mapper/st 337 7000")
    # As Linux: the leg is marked, after errors, as dead.
    assert re.search(r"\b(AD|AA)\b", vm.ok("dmsetup status st"))


def test_errors_of_every_request(boot, folder):
    """A disk of which nothing can be read is there, says so, and holds nothing up."""
    a, good = make_disk(folder + "/a", MIB), make_disk(folder + "/g", MIB, seed=2)
    vm = boot([virtio(faulty(a, ("read", None), ("write", None))),
               nvme(faulty(a, ("read", None), ("write", None)), serial="bad"),
               nvme(good, serial="good")], smp=2)
    vm.fails("blk sum /dev/vda 0 1")
    vm.fails("blk bench /dev/vda --rw randwrite --count 100 --qd 32")
    vm.fails("blk sum /dev/nvme0n1 0 1")
    vm.fails("blk bench /dev/nvme0n1 --rw randwrite --count 100 --qd 32")
    assert vm.sum("/dev/nvme1n1", 0, 2048) == sha256(pattern(2, MIB))


# ---- disks that do not answer ----

class Watch:
    """A command under way on one machine while others are looked at."""

    def __init__(self, vm, line):
        self.vm, self.line, self.start = vm, line, time.monotonic()
        vm.send(line + "\r")

    def end(self):
        """Its error, or "": not later than a dead disk allows."""
        said = Said(self.line, self.vm.wait_prompt(max(1, ANSWER + SLACK
                                                       - (time.monotonic() - self.start))))
        return said.error or ""


def stuck_node(path, group):
    """A file behind a throttle that can be closed while the machine runs."""
    return f"driver=throttle,throttle-group={group},file.driver=raw,file.file.driver=file," \
           f"file.file.filename={path},file.file.locking=off"


def close(vm, group, shut=True):
    vm.qmp("qom-set", path="/objects/" + group, property="limits",
           value={"bps-total": 1 if shut else 0})


LATENCY = 40    # seconds: beyond the time-outs; QEMU itself waits for it when it resets a device


def test_disks_that_never_answer(boot, folder):
    """Four machines at once, as each takes a minute of waiting: virtio-blk and NVMe that stop
    answering under load, and both of them with a latency beyond every time-out from the start."""
    good = make_disk(folder + "/good", MIB, seed=3)
    data = sha256(pattern(3, MIB))
    slow = null_node(16 * MIB, latency_ns=LATENCY * 10 ** 9)

    starting = []
    for make, name in ((virtio, "vda"), (nvme, "nvme0n1")):
        began = time.monotonic()
        disks = [make(slow, serial="slow"), make(good, serial="good")]
        starting.append((boot(disks, smp=2, wait=False), name, began))

    running = []
    for make, device in KINDS.values():
        path = make_disk(f"{folder}/t{len(running)}", 4 * MIB)
        vm = boot([Raw("-object", "throttle-group,id=tg"), make(stuck_node(path, "tg")),
                   make(good, serial="good")], smp=2)
        vm.table("m", f"0 4096 linear {device} 0")
        vm.ok("blk bench /dev/mapper/m --rw randwrite --count 200 --qd 32")
        close(vm, "tg")
        # The first request after closing still passes; the others wait for a thousand years, or
        # until QEMU resets the device, when it carries out those it has: NVMe takes note, so such a
        # disk is not silent.  (One that is: test_silent of tests/unit/test_nvme.c, 900 at once.)
        nr = 500 if make is virtio else 100
        running.append((vm, device, Watch(vm, "blk bench /dev/mapper/m --rw randwrite "
                                              f"--count {nr} --qd {nr}")))
    for vm, device, watch in running:
        error = watch.end()
        assert "timed out" in error if device == "/dev/vda" else not error
        other = {"/dev/vda": "/dev/vdb", "/dev/nvme0n1": "/dev/nvme1n1"}[device]
        assert vm.sum(other, 0, 2048) == data
        log = vm.ok("dmesg")
        assert f"{device[5:].removesuffix('n1')}: " in log and "resetting" in log
    for vm, device, _ in running:
        # Nothing that was on its way is stuck: the device can be suspended and goes.
        vm.ok("dmsetup suspend --noflush m", timeout=ANSWER + SLACK)
        vm.ok("dmsetup resume m", timeout=ANSWER + SLACK)
        vm.ok("dmsetup remove m", timeout=ANSWER + SLACK)
        vm.end()

    for vm, name, began in starting:
        # QEMU reads from virtio disks itself before it starts, and waits when it resets.
        vm.wait_prompt(3 * LATENCY + SLACK - (time.monotonic() - began))
        said = vm.ok("lsblk")
        other = {"vda": "vdb", "nvme0n1": "nvme1n1"}[name]
        assert vm.sum("/dev/" + other, 0, 2048) == data
        assert re.search(rf"\b{name}\b", said)
        start = time.monotonic()
        vm.fails(f"blk sum /dev/{name} 0 1", timeout=ANSWER + SLACK)
        assert time.monotonic() - start < ANSWER + SLACK
        vm.end()


def test_a_disk_that_comes_back(boot, folder):
    """Silent for less than the time-out: late, not lost."""
    for i, (make, device) in enumerate(KINDS.values()):
        path, sock = make_disk(f"{folder}/a{i}", 4 * MIB), f"{folder}/nbd{i}"
        server = subprocess.Popen(["qemu-nbd", "-f", "raw", "-t", "-k", sock, path])
        try:
            for _ in range(100):
                if os.path.exists(sock):
                    break
                time.sleep(0.05)
            vm = boot([make(f"driver=nbd,server.type=unix,server.path={sock}")], smp=2)
            vm.send(f"blk bench {device} --rw randwrite --verify --count 100000 --qd 32\r")
            time.sleep(0.5)
            server.send_signal(signal.SIGSTOP)
            time.sleep(20 if SOAK else 4)
            before = vm.disk_operations()
            time.sleep(1)
            assert vm.disk_operations() == before, "it was not silent"
            server.send_signal(signal.SIGCONT)
            said = vm.wait_prompt()
            assert b"error: " not in said and b"verify: ok" in said
            vm.end()
        finally:
            server.send_signal(signal.SIGCONT)
            server.kill()
            server.wait()

# SPDX-License-Identifier: BSD-2-Clause
"""Suspend, reload, resume under load (Must show 3): nothing reaches the disks meanwhile, nothing is
lost, and the same sectors stay where they are whatever the layout."""
import re
import time

import pytest

from cairn import SOAK, make_disk, nvme, virtio

CORES = 4
PART = 8192             # sectors of each core's share
TOTAL = CORES * PART
ROUNDS = 20


def layouts(device):
    """Three tables that map the same sectors of one disk."""
    cuts = [0, 1000, 1008, 9000, 20000, TOTAL]
    return [[f"0 {TOTAL} linear {device} 64"],
            [f"{a} {b - a} linear {device} {64 + a}" for a, b in zip(cuts, cuts[1:])],
            [f"0 {TOTAL} striped 1 8 {device} 64"]]


class Loads:
    """On every core a load that writes its own share of the device, on a device over it, and in the
    end reads it back; one that is through is followed by another."""

    def __init__(self, vm, count):
        self.vm, self.count, self.nr = vm, count, 0

    def start(self, core):
        self.nr += 1
        self.vm.ok(f"blk bench /dev/mapper/share{core} --rw randwrite --verify --bs 4k --qd 16 "
                   f"--count {self.count} --seed {self.nr} --core {core} &")

    def cores(self):
        """{core: job number} of those that run."""
        found = re.findall(r"(?m)^\[(\d+)\] running .*share(\d) ", self.vm.ok("jobs"))
        return {int(core): int(job) for job, core in found}

    def keep(self):
        """What ended must have found all it wrote; then there is one on every core."""
        for job in re.findall(r"(?m)^\[(\d+)\] (?!running)", self.vm.ok("jobs")):
            assert "verify: ok" in self.vm.ok(f"wait {job}")
        on = self.cores()
        for core in range(CORES):
            if core not in on:
                self.start(core)


@pytest.mark.parametrize("kind", ["virtio", "nvme"])
def test_twenty_times_under_load(boot, folder, kind):
    make, device = {"virtio": (virtio, "/dev/vda"), "nvme": (nvme, "/dev/nvme0n1")}[kind]
    vm = boot([make(make_disk(folder + "/a", (TOTAL + 128) * 512))], smp=CORES, mem=128)
    tables = layouts(device)
    vm.table("m", *tables[0])
    for core in range(CORES):
        vm.table(f"share{core}", f"0 {PART} linear /dev/mapper/m {core * PART}")
    loads = Loads(vm, 20000)
    rounds = tries = 0
    while rounds < ROUNDS:
        tries += 1
        assert tries < 5 * ROUNDS
        loads.keep()
        before = vm.disk_operations()
        time.sleep(0.1)
        assert vm.disk_operations() > before, "no load"
        vm.ok("dmsetup suspend m")
        if len(loads.cores()) < CORES:      # one came to its end just before: that is no round
            vm.ok("dmsetup resume m")
            continue
        assert "SUSPENDED" in vm.ok("dmsetup info m")
        # Nothing may reach the disk: for 3 s in some rounds, shortly in the others.
        before = vm.disk_operations()
        time.sleep(3 if SOAK or rounds in (0, 7) else 0.1)
        assert vm.disk_operations() == before
        assert len(loads.cores()) == CORES
        rounds += 1
        vm.ok("dmsetup reload m", then=tables[rounds % 3])
        vm.ok("dmsetup resume m")
    # Each load checked what it read, through layouts that changed under it.
    said = vm.ok("wait", timeout=300)
    assert said.count("verify: ok") >= CORES      # and those that ended during the last round
    assert not loads.cores()
    print(f"{rounds} rounds, {loads.nr} loads of {loads.count} requests")


def test_a_device_in_use_stays(boot, folder):
    vm = boot([virtio(make_disk(folder + "/a", (TOTAL + 128) * 512))], smp=CORES, mem=128)
    vm.table("m", *layouts("/dev/vda")[1])
    for core in range(CORES):
        vm.table(f"share{core}", f"0 {PART} linear /dev/mapper/m {core * PART}")
    loads = Loads(vm, 1000000)
    loads.keep()
    said = vm.run("dmsetup remove m")
    assert said.error and "Device or resource busy" in said.out
    assert len(loads.cores()) == CORES
    # By force it turns into the error target under them, and they end with errors.
    vm.run("dmsetup remove -f m")
    assert vm.ok("dmsetup table m") == f"0 {TOTAL} error \n"
    vm.fails("wait", timeout=120)
    assert not loads.cores()
    for core in range(CORES):
        vm.ok(f"dmsetup remove share{core}")
    vm.ok("dmsetup remove m")
    assert vm.ok("dmsetup ls") == "No devices found\n"
    # The disk itself is as good as before.
    vm.ok("blk bench /dev/vda --rw randwrite --verify --count 500")


def test_order_is_kept(boot, folder):
    """Requests held by a suspended device run afterwards in the order they came: of two writes to
    one place the later one stays."""
    vm = boot([virtio(make_disk(folder + "/a", 1 << 20))], smp=2)
    vm.table("m", "0 2048 linear /dev/vda 0")
    vm.ok("blk bench /dev/mapper/m --rw write --bs 4k --qd 4 --count 256 --seed 7")
    want = vm.sum("/dev/mapper/m", 0, 2048)
    for i in range(10):
        vm.ok("dmsetup suspend m")
        # Held: one write job after the other; only the last has the seed whose data we know.
        for seed in (100 + i, 200 + i, 7):
            vm.ok(f"blk bench /dev/mapper/m --rw write --bs 4k --qd 256 --count 256 --seed {seed} &")
            time.sleep(0.05)
        vm.ok("dmsetup resume m")
        vm.ok("wait")
        assert vm.sum("/dev/mapper/m", 0, 2048) == want

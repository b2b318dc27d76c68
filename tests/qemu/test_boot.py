# SPDX-License-Identifier: BSD-2-Clause
"""Boot: every machine, processor count, processor model and memory size we say it boots on; what it
costs; and that it leaves the way it should."""
import itertools
import os
import random
import re
import time

import pytest

import cairn
from cairn import SOAK, make_disk, null_node, nvme, pattern, sha256, virtio

MACHINES = ["q35", "pc", "microvm,acpi=on", "microvm,acpi=off"]
SMP = range(1, 9)
CPUS = ["qemu64", "Nehalem", "Haswell", "max"]
APPENDS = [None, "quiet"]


def least_memory(smp):
    return 24 if smp < 8 else 32


def matrix():
    """All of it in the soak; otherwise a few rows in which every pair of a machine with another
    setting occurs."""
    everything = list(itertools.product(MACHINES, SMP, CPUS, APPENDS))
    if SOAK:
        return everything
    rows = []
    for m, machine in enumerate(MACHINES):
        for i in SMP:
            rows.append((machine, i, CPUS[(i + m) % 4], APPENDS[(i // 4 + m) % 2]))
    random.Random(1).shuffle(rows)
    return rows


def label(v):
    return "noappend" if v is None else str(v).replace(",acpi=", "-")


def warnings(vm):
    """TCG says which CPU features it lacks; anything else QEMU said is ours."""
    return [x for x in vm._stderr().splitlines() if "TCG doesn't support" not in x]


@pytest.mark.parametrize("machine,smp,cpu,append", matrix(), ids=label)
def test_boots(boot, folder, machine, smp, cpu, append):
    disk = make_disk(folder + "/a", 1 << 20, seed=smp)
    vm = boot([virtio(disk)], machine=machine, smp=smp, cpu=cpu, append=append,
              mem=least_memory(smp))
    assert vm.sum("/dev/vda", 0, 2048) == sha256(pattern(smp, 1 << 20))
    # Every core has its loop, and there are no more of them than we gave.
    vm.ok(f"blk bench /dev/vda --count 64 --core {smp - 1}")
    assert "core" in vm.fails(f"blk bench /dev/vda --count 64 --core {smp}")
    assert not warnings(vm)


@pytest.mark.parametrize("mem", [24, 32, 512, 3072, 5000])
def test_memory_sizes(boot, mem):
    """At 5000 MiB some of it is above 4 GiB."""
    vm = boot(smp=1, mem=mem)
    said = vm.ok("mem")
    assert re.search(r"\d", said)


def test_eight_cores_in_32(boot):
    vm = boot([virtio(null_node(1 << 30))], smp=8, mem=32)
    for core in range(8):
        vm.ok(f"blk bench /dev/vda --count 500 --qd 8 --core {core}")


# ---- what it costs ----

def test_image_is_small():
    assert os.path.getsize(cairn.ELF) < 1 << 20


def test_24_mib_carry_the_loads(boot):
    """Must show 2: 4 KiB at depth 32 and 128 KiB, on both drivers, in 24 MiB."""
    vm = boot([virtio(null_node(1 << 30)), nvme(null_node(1 << 30))], smp=1, mem=24)
    for disk in ("/dev/vda", "/dev/nvme0n1"):
        for rw in ("randread", "randwrite"):
            vm.ok(f"blk bench {disk} --rw {rw} --bs 4k --qd 32 --count 4000")
        for rw in ("read", "write"):
            vm.ok(f"blk bench {disk} --rw {rw} --bs 128k --qd 8 --count 400")
    said = vm.ok("mem")
    # It says what took the memory, by name, and the sum fits.
    assert len(re.findall(r"(?m)^\s*\S.*\d", said)) >= 3, said


def test_instructions_to_the_prompt(boot):
    """Must show 2: at most 0.02 of what a minimal Linux guest takes to its shell, 1.4 G."""
    vm = boot(smp=1, mem=512, counts=True)
    total = vm.counters().now().total
    print(f"{total / 1e6:.1f} M instructions to the prompt")
    assert total <= 28e6


@pytest.mark.parametrize("machine", ["q35", "microvm,acpi=on"])
def test_idle_cores_halt(boot, folder, machine):
    """Under 3 % of a host core, all processors and disks up."""
    vm = boot([virtio(make_disk(folder + "/a", 1 << 20))], machine=machine, smp=4)
    vm.ok("blk bench /dev/vda --count 200 --qd 4 --core 3")
    time.sleep(2)
    seconds = 10 if SOAK else 5
    before = vm.cpu_seconds()
    time.sleep(seconds)
    used = (vm.cpu_seconds() - before) / seconds
    print(f"{used:.2%} of a core")
    assert used < 0.03


# ---- the end ----

@pytest.mark.parametrize("machine", MACHINES[:3])
def test_poweroff(boot, machine):
    vm = boot([virtio(null_node(1 << 20))], machine=machine, smp=2)
    vm.send("poweroff\r")
    assert vm.wait_end(20) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_reboot(boot, machine):
    """-no-reboot makes an end of a reset."""
    vm = boot([virtio(null_node(1 << 20))], machine=machine, smp=2)
    vm.send("reboot\r")
    assert vm.wait_end(20) == 0


def test_reboot_comes_back(boot, folder):
    disk = make_disk(folder + "/a", 1 << 20, seed=3)
    vm = boot([virtio(disk), nvme(disk)], smp=2, no_reboot=False)
    for _ in range(3):
        vm.send("reboot\r")
        vm.wait_prompt()
        assert vm.sum("/dev/vda", 0, 2048) == vm.sum("/dev/nvme0n1", 0, 2048)

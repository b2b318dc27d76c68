# SPDX-License-Identifier: BSD-2-Clause
"""Many devices, deep stacks, long tables."""
import re
import time

from cairn import SOAK, make_disk, null_node, virtio

MIB = 1 << 20


def free_kib(vm):
    return int(re.search(r"(?m)^free +(\d+) KiB", vm.ok("mem"))[1])


def test_many_devices(boot):
    """By one batch at boot: all are there, each is found by name, number and uuid, and all go; the
    last costs no more than the first did."""
    nr = 10000 if SOAK else 2000
    vm = boot([virtio(null_node(64 * MIB))], mem=256, patience=120, config="".join(
        f"dmsetup create n{i} --uuid U-{i} --table '0 8 linear /dev/vda {i}'\n" for i in range(nr)))
    assert len(vm.ok("dmsetup ls").splitlines()) == nr
    for i in (0, 1, nr // 2, nr - 1):
        for spec in (f"n{i}", f"253:{i}", f"/dev/dm-{i}", f"/dev/mapper/n{i}", f"U-{i}"):
            assert vm.ok(f"dmsetup table {spec}") == f"0 8 linear 254:0 {i}\n"
    free = free_kib(vm)

    def turn(first, count):
        begin = time.monotonic()
        for i in range(first, first + count):
            vm.ok(f"dmsetup create x{i} --table '0 8 linear /dev/vda 0'")
        return time.monotonic() - begin

    full = min(turn(1000 * k, 100) for k in range(3))
    vm.ok("dmsetup remove_all")
    assert vm.ok("dmsetup ls") == "No devices found\n"
    assert free_kib(vm) > free + nr * 2, "their memory comes back"
    empty = min(turn(1000 * k, 100) for k in range(3))
    print(f"100 more: {full:.2f} s beside {nr}, {empty:.2f} s beside none")
    assert full < 2 * empty + 0.1


def test_deep_stack(boot, folder):
    """32 deep, I/O goes to the bottom; one more device than may be stacked is refused with words."""
    vm = boot([virtio(make_disk(folder + "/a", MIB))], mem=128)
    below = "vda"
    for i in range(32):
        vm.ok(f"dmsetup create s{i} --table '0 1024 linear /dev/{below} 0'")
        below = f"mapper/s{i}"
    vm.ok("blk bench /dev/mapper/s31 --rw randwrite --count 2000 --verify")
    assert vm.fails("dmsetup remove s0")
    for i in reversed(range(32)):
        vm.ok(f"dmsetup remove s{i}")


def test_long_table(boot, folder):
    """So many segments, each of which is found; the table is printed as it was given."""
    nr = 100000 if SOAK else 5000
    vm = boot([virtio(make_disk(folder + "/a", nr * 4096))], mem=256)
    lines = [f"{i * 8} 8 linear 254:0 {(nr - 1 - i) * 8}" for i in range(nr)]
    vm.ok("dmsetup create long", then=lines, timeout=600)
    assert vm.ok("dmsetup table long").splitlines() == lines
    vm.ok("blk bench /dev/mapper/long --rw randwrite --bs 4k --count 5000 --verify")
    vm.ok("dmsetup remove long")


def test_deep_tree(boot):
    """As deep as can be stacked; what shows it does not need a stack of its own for that."""
    vm = boot([virtio(null_node(MIB))], mem=128)
    below = "vda"
    for i in range(128):
        vm.ok(f"dmsetup create s{i} --table '0 8 linear /dev/{below} 0'")
        below = f"mapper/s{i}"
    assert vm.fails(f"dmsetup create more --table '0 8 linear /dev/{below} 0'")
    for option in ("", "-o inverted"):
        lines = vm.ok(f"dmsetup ls --tree {option}").splitlines()
        assert len(lines) == 129 and "s0 (" in lines[1 if option else 127]

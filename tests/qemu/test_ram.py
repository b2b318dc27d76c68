# SPDX-License-Identifier: BSD-2-Clause
"""Disks of memory at the prompt."""


def test_ramdisk(boot):
    vm = boot([])
    vm.ok("blk ramdisk create ram0 8M")
    vm.ok("blk ramdisk create ram1 8388608")
    assert "1:1" in vm.ok("lsblk")
    vm.ok("dmsetup create s", then=["0 32768 striped 2 64 /dev/ram0 0 1:1 0"])
    vm.ok("blk bench /dev/mapper/s --rw randwrite --verify --count 2000")
    assert "in use" in vm.fails("blk ramdisk remove ram1")
    vm.ok("dmsetup remove s")
    vm.ok("blk ramdisk remove ram0")
    vm.ok("blk ramdisk remove ram1")
    assert "no such" in vm.fails("blk ramdisk remove ram1")
    assert "memory" in vm.fails("blk ramdisk create ram0 100G")
    for words in ("", "create", "create ram0", "create ram0 4x", "create ram0 k", "create vda 4k",
                  "remove", "remove vda", "grow ram0 1M"):
        vm.fails(f"blk ramdisk {words}")
    # All of the memory came back.
    for _ in range(20):
        vm.ok("blk ramdisk create ram7 16M")
        vm.ok("blk ramdisk remove ram7")

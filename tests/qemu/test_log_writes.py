# SPDX-License-Identifier: BSD-2-Clause
"""What log-writes logs under load from several cores is, replayed, what the disk holds."""
import blklog
import pytest

from cairn import make_disk, nvme, virtio

SECTORS = 8192


@pytest.mark.parametrize("kind", ["virtio", "nvme"])
def test_replays(boot, folder, kind):
    make, names = {"virtio": (virtio, ("/dev/vda", "/dev/vdb")),
                   "nvme": (nvme, ("/dev/nvme0n1", "/dev/nvme1n1"))}[kind]
    data = make_disk(folder + "/data", SECTORS * 512)
    log = make_disk(folder + "/log", 64 << 20)
    vm = boot([make(data), make(log)], smp=4, mem=128)
    vm.ok("dmsetup create m", then=[f"0 {SECTORS} log-writes {names[0]} {names[1]}"])
    for core in range(4):
        vm.table(f"part{core}", f"0 2048 linear /dev/mapper/m {core * 2048}")
        vm.ok(f"blk bench /dev/mapper/part{core} --rw randwrite --bs 4k --count 1500 --seed {core} "
              f"--core {core} {'--fua' if core == 1 else '--flush 50'} &")
    for job in range(1, 5):
        vm.ok(f"wait {job}")
    vm.ok("dmsetup message m 0 mark 'half time'")
    # More than the reserve, with nothing flushed.
    vm.ok(f"blk write /dev/mapper/m 0 {SECTORS} --seed 77")
    vm.ok("blk write /dev/mapper/m 4001 7 --seed 78")
    vm.ok("blk discard /dev/mapper/m 100 8")
    vm.ok("blk write /dev/mapper/m 100 8 --seed 79")
    for core in range(4):
        vm.ok(f"dmsetup remove part{core}")
    assert "disabled" not in vm.ok("dmsetup status m")
    vm.ok("dmsetup remove m")
    vm.ok("blk flush " + names[0])
    entries = blklog.read(log)
    assert sum(e.flags & blklog.FUA for e in entries) >= 1500
    assert sum(e.flags & 8 != 0 for e in entries) == 2
    image = bytearray(SECTORS * 512)
    for e in entries:
        if e.is_write:
            image[e.sector * 512:(e.sector + e.count) * 512] = e.data
    with open(data, "rb") as f:
        assert f.read() == image

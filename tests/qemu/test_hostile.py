# SPDX-License-Identifier: BSD-2-Clause
"""Hostile disks: partition tables that lie, devices of kinds we do not know or that are wrong.
Whatever they hold, boot goes on, the disk itself is there, and no partition reaches outside it."""
import random
import re
import struct

import pytest

import disklabel
from cairn import SOAK, Raw, make_disk, null_node, nvme, pattern, sha256, virtio

MIB = 1 << 20
A_BOOT = 20     # images looked at in one boot
IMAGE = 2 * MIB


def spoil(rng, data):
    """One of many ways to damage the bytes of a partition table."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = rng.randrange(len(data))
        if rng.random() < 0.5:      # where the fields are
            at = rng.choice((446, 462, 478, 494, 512, 1024)) % len(data) + rng.randrange(128)
        at %= len(data) - 8
        how = rng.randrange(5)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at:at + 8] = struct.pack("<Q", rng.choice((0, 1, (1 << 64) - 1, 1 << 63, 1 << 32,
                                                            IMAGE // 512, IMAGE // 512 - 1)))
        elif how == 2:
            data[at:at + 4] = struct.pack("<I", rng.choice((0, 1, 0xffffffff, 0x80000000, 128)))
        elif how == 3:
            n = rng.randrange(1, 64)
            data[at:at + n] = rng.randbytes(n)[:len(data) - at]
        else:
            n = rng.randrange(1, 600)
            data[at:at + n] = bytes(len(data[at:at + n]))
    return bytes(data)


def tables(rng, i):
    """The bytes of image i's beginning and end."""
    kind = i % 6
    if kind == 0:       # good checksums over lying headers
        lie = rng.choice(("size", "first", "last", "entries_lba", "nr", "entry_size", "lba",
                          "other", "entries_crc", "revision"))
        width = 32 if lie in ("size", "nr", "entry_size", "entries_crc", "revision") else 64
        value = rng.choice((0, 1, 3, 91, 127, 4096, (1 << width) - 1, 1 << (width - 1),
                            IMAGE // 512, rng.getrandbits(width)))
        return disklabel.gpt(IMAGE, [(64, 100), (200, 50)], header={lie: value})
    if kind == 1:       # good headers over lying entries
        return lying_entries(rng)
    if kind == 2:       # damaged anywhere
        begin, end = disklabel.gpt(IMAGE, [(64, 100), (200, 50)])
        return spoil(rng, begin), spoil(rng, end)
    if kind == 3:       # MBR that lies
        return disklabel.mbr([(rng.choice((0, 5, 0xf, 0x83, 0x85, 0xee)),
                               rng.choice((0, 1, 63, 4095, 4096, 0xffffffff)),
                               rng.choice((0, 1, 100, 4096, 0xffffffff)))
                              for _ in range(4)]), b""
    if kind == 4:       # chains of logical partitions: loops, endless ones, outside
        begin = bytearray(disklabel.mbr([(5, 64, 4000), (0x83, 8, 8)])) + bytearray(63 * 512)
        for n in range(60):
            nxt = rng.choice((n + 1, n + 1, n + 1, 0, n, rng.randrange(4200)))
            begin += disklabel.mbr([(0x83, rng.choice((1, 1, 5000)), rng.choice((1, 9000))),
                                    (5, nxt, rng.choice((1, 4000)))])
        return bytes(begin), b""
    return rng.randbytes(510) + b"\x55\xaa" + rng.randbytes(40 * 512), rng.randbytes(512)


def lying_entries(rng):
    """Entries that lie, under checksums that do not."""
    parts = []
    for _ in range(rng.randrange(1, 128)):
        first = rng.choice((0, 1, 34, 64, 4095, 1 << 40, (1 << 64) - 200))
        count = rng.choice((1, 100, 150, 1 << 50))
        if first + count > 1 << 64:
            count = 1
        parts.append((first, count))
    return disklabel.gpt(IMAGE, parts)


def image(folder, i, first_seed):
    rng = random.Random(first_seed + i)
    begin, end = tables(rng, i)
    path = f"{folder}/h{i}"
    with open(path, "wb") as f:
        f.truncate(IMAGE)
        f.write(begin)
        f.seek(IMAGE - len(end))
        f.write(end)
    return path


@pytest.mark.parametrize("round_", range(100 if SOAK else 8))
def test_fuzzed_partition_tables(boot, folder, round_):
    first = round_ * A_BOOT
    words = []
    for i in range(A_BOOT):
        path = image(folder, first + i, 7700)
        words += virtio(path).args(100 + i, False)[:-1]
        words.append(f"virtio-blk-pci,drive=d{100 + i},bus=pcie.0,"
                     f"addr={2 + i // 4:#x}.{i % 4},multifunction=on")
    vm = boot([Raw(*words)], patience=120)
    said = vm.ok("lsblk")
    names = re.findall(r"\b(vd[a-z]\d*)\b", said)
    assert {n for n in names if not n[-1].isdigit()} == {f"vd{chr(97 + i)}" for i in range(A_BOOT)}
    for name in sorted(set(names)):
        # All of it can be read: no partition ends after its disk.
        if name[-1].isdigit():
            size = sectors_of(vm, name)
            assert 0 < size <= IMAGE // 512, said
            vm.ok(f"blk sum /dev/{name} {size - 1} 1")
        else:
            vm.ok(f"blk sum /dev/{name} 0 1")


def sectors_of(vm, name):
    """A device's size, found by asking for what lies at its end."""
    low, high = 0, 1 << 40      # low sectors are there, high are not
    while high - low > 1:
        mid = (low + high) // 2
        if vm.run(f"blk sum /dev/{name} {mid - 1} 1").error is None:
            low = mid
        else:
            high = mid
    return low


# ---- devices we cannot or should not take ----

STRANGE = {
    "legacy-virtio": ["-device", "virtio-blk-pci,drive=@,disable-modern=on,disable-legacy=off"],
    "tiny-ring-virtio": ["-device", "virtio-blk-pci,drive=@,queue-size=4,seg-max-adjust=off"],
    "iommu-platform": ["-device", "virtio-blk-pci,drive=@,disable-legacy=on,iommu_platform=on"],
    "nvme-metadata": ["-device", "nvme,id=c@,serial=x", "-device",
                      "nvme-ns,drive=@,bus=c@,ms=8,mset=0"],
    "nvme-no-namespace": ["-device", "nvme,id=c@,serial=x"],
    "nvme-zoned": ["-device", "nvme,id=c@,serial=x", "-device",
                   "nvme-ns,drive=@,bus=c@,zoned=on,zoned.zone_size=1M,zoned.zone_capacity=1M"],
    "nvme-controller-memory": ["-device", "nvme,drive=@,serial=x,cmb_size_mb=16"],
    "ide-and-usb": ["-device", "ich9-ahci,id=a@", "-device", "ide-hd,drive=@,bus=a@.0",
                    "-device", "qemu-xhci"],
    "scsi": ["-device", "virtio-scsi-pci,id=s@", "-device", "scsi-hd,drive=@,bus=s@.0"],
    "network": ["-device", "virtio-net-pci", "-device", "e1000e", "-device", "virtio-rng-pci"],
    "bridges": ["-device", "pcie-root-port,id=r@,chassis=1,slot=1", "-device",
                "pcie-pci-bridge,id=b@,bus=r@", "-device", "virtio-blk-pci,drive=@,bus=b@,addr=1"],
    "edu-and-testdev": ["-device", "edu", "-device", "pci-testdev"],
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_devices(boot, folder, kind):
    """They are taken, or left out with a line in the log; the disk beside them works."""
    good = make_disk(folder + "/good", MIB, seed=1)
    strange = make_disk(folder + "/strange", 4 * MIB)
    words = STRANGE[kind]
    if any("drive=@" in w for w in words):
        words = ["-blockdev", virtio(strange).args(7, False)[1].replace("node-name=d7",
                                                                        "node-name=@")] + words
    vm = boot([Raw(*words), virtio(good, serial="good")], smp=2, patience=120)
    sums = [vm.sum(f"/dev/{n}", 0, 2048)
            for n in sorted(set(re.findall(r"\b(vd[a-z])\b", vm.ok("lsblk"))))]
    assert sha256(pattern(1, MIB)) in sums


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_no_disks_at_all(boot, machine):
    vm = boot(machine=machine)
    vm.ok("lsblk")
    vm.fails("blk sum /dev/vda 0 1")


# ---- tables that lie ----

TABLES = [
    "", "0", "0 8", "x 8 zero", "0 x zero", "-1 8 zero", "0 -8 zero", "0 0 zero", "8 8 zero",
    "0 18446744073709551615 zero", "0 18446744073709551616 zero", "0 8 nobody", "0 8 zero extra",
    "0 8 linear", "0 8 linear /dev/vda", "0 8 linear /dev/vda x", "0 8 linear /dev/vda -1",
    "0 8 linear /dev/nobody 0", "0 8 linear 254:999 0", "0 8 linear 99999999999:0 0",
    "0 8 linear /dev/vda 18446744073709551615", "0 2049 linear /dev/vda 0",
    "0 8 linear /dev/vda 2041", "0 8 linear /dev/vda 0 extra", "0 8 striped",
    "0 8 striped 0 8", "0 8 striped 2 8 /dev/vda 0", "0 8 striped 2 0 /dev/vda 0 /dev/vda 8",
    "0 9 striped 2 8 /dev/vda 0 /dev/vda 8", "0 16 striped 2 7 /dev/vda 0 /dev/vda 8",
    "0 16 striped 4294967296 8 /dev/vda 0", "0 16 striped 99999 8 /dev/vda 0 /dev/vda 8",
    "0 16 striped 2 4294967304 /dev/vda 0 /dev/vda 8",
]


def test_wrong_tables(boot):
    """Each is refused with words and leaves no device behind."""
    vm = boot([virtio(null_node(MIB))])
    vm.table("self", "0 8 zero")
    before = vm.ok("dmsetup ls")
    for table in TABLES:
        assert len(vm.fails(f'dmsetup create t --table "{table}"')) > 8, table
        assert vm.ok("dmsetup ls") == before, table
        # The same as a reload: the live table stays.
        if table:
            vm.fails(f'dmsetup reload self --table "{table}"')
        assert vm.ok("dmsetup table self") == "0 8 zero \n", table
    vm.fails("dmsetup create t", then=["0 8 zero", "9 8 zero"])
    vm.fails("dmsetup create t", then=["0 8 zero", "7 8 zero"])
    vm.fails("dmsetup create t", then=["0 8 zero"] * 2)
    # A device on itself, directly and through another.
    vm.fails('dmsetup reload self --table "0 8 linear /dev/mapper/self 0"')
    vm.table("above", "0 8 linear /dev/mapper/self 0")
    vm.fails('dmsetup reload self --table "0 8 linear /dev/mapper/above 0"')
    for name in ("", "a/b", "x" * 128, ".", ".."):
        vm.fails(f"dmsetup create '{name}' --table '0 8 zero'")
    vm.fails("dmsetup create self --table '0 8 zero'")


def test_huge_tables(boot):
    """Ten thousand segments are a table; a megabyte of nonsense is not."""
    vm = boot([virtio(null_node(1 << 30))], mem=128)
    n = 10000 if SOAK else 3000
    vm.ok("dmsetup create many", then=[f"{i * 8} 8 linear /dev/vda {i * 16}" for i in range(n)],
          timeout=300)
    assert vm.ok("dmsetup table many", timeout=120).count("\n") == n
    vm.fails("dmsetup create junk", then=["# " + "x" * 900] * 1100 + ["junk"], timeout=300)
    vm.ok("dmsetup remove many")


def test_random_tables(boot):
    """Words in any order: refused or taken, never half."""
    vm = boot([virtio(null_node(MIB)), nvme(null_node(MIB))])
    rng = random.Random(5)
    words = ["0", "8", "1", "16", "-1", "linear", "striped", "zero", "error", "/dev/vda",
             "/dev/nvme0n1", "254:0", "2", "4294967295", "18446744073709551615", "#", "0x10", ";",
             "\\\\", "'", "/dev/mapper/r", "1.5", "é"]
    for _ in range(1500 if SOAK else 150):
        table = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 9)))
        if rng.random() < 0.5:
            table = "0 8 " + table
        said = vm.run(f'dmsetup create r --table "{table}"')
        if said.error is None:
            vm.ok("dmsetup remove r")
        assert vm.ok("dmsetup ls") == "No devices found\n"

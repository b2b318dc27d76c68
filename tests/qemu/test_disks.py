# SPDX-License-Identifier: BSD-2-Clause
"""Disks: virtio-blk and NVMe in many shapes hold the host's bytes, partitions are where sfdisk and
sgdisk put them, linear and striped put every sector where Linux would."""
import random
import re
import subprocess

import pytest

import disklabel
from cairn import SOAK, Raw, file_node, make_disk, null_node, nvme, pattern, sha256, virtio

MIB = 1 << 20


def check_sums(vm, device, data, block=512, reads=8):
    """The whole, and pieces at odd places."""
    unit = block // 512
    blocks = len(data) // block
    assert vm.sum(device, 0, blocks * unit) == sha256(data)
    rng = random.Random(block)
    for _ in range(reads):
        count = rng.randrange(1, min(3000, blocks))
        start = rng.randrange(blocks - count + 1)
        assert vm.sum(device, start * unit, count * unit) == \
            sha256(data[start * block:(start + count) * block])


VIRTIO_SHAPES = {
    "plain": {},
    "one-queue": {"num_queues": 1},
    "eight-queues": {"num_queues": 8},
    "more-queues-than-cores": {"num_queues": 4},
    "tiny-ring": {"queue_size": 4, "seg_max_adjust": "on"},
    "big-ring": {"queue_size": 1024},
    "no-indirect": {"indirect_desc": "off"},
    "no-event-index": {"event_idx": "off"},
    "bare": {"indirect_desc": "off", "event_idx": "off", "config_wce": "off", "discard": "off",
             "write_zeroes": "off"},
    "block-4096": {"logical_block_size": 4096, "physical_block_size": 4096},
    "physical-4096": {"physical_block_size": 4096, "min_io_size": 4096, "opt_io_size": 65536},
    "write-through": {"write_cache": "off"},
    "packed-offered": {"packed": "on"},
    "iothread": {"iothread": "io0"},
    "no-vectors": {"vectors": 0},
    "one-vector": {"vectors": 1},
}


@pytest.mark.parametrize("shape", VIRTIO_SHAPES)
def test_virtio_blk(boot, folder, shape):
    props = VIRTIO_SHAPES[shape]
    size = 8 * MIB
    disk = make_disk(folder + "/a", size, seed=shape)
    vm = boot([virtio(disk, **props)], smp=3,
              extra=["-object", "iothread,id=io0"] if "iothread" in props else [])
    check_sums(vm, "/dev/vda", pattern(shape, size), props.get("logical_block_size", 512))
    for core in range(3):
        vm.ok(f"blk bench /dev/vda --rw randwrite --verify --count 400 --qd 16 --core {core}")


@pytest.mark.parametrize("acpi", ["on", "off"])
def test_virtio_mmio(boot, folder, acpi):
    data = {c: pattern(c, 2 * MIB) for c in "abc"}
    vm = boot([virtio(make_disk(folder + "/" + c, 2 * MIB, seed=c)) for c in "abc"],
              machine="microvm,acpi=" + acpi, smp=2)
    # Numbered as on the command line.
    for c in "abc":
        check_sums(vm, "/dev/vd" + c, data[c], reads=3)
    vm.ok("blk bench /dev/vdb --rw randwrite --verify --count 500")


NVME_SHAPES = {
    "plain": {},
    "one-queue-pair": {"max_ioqpairs": 1},
    "small-transfers": {"mdts": 1},
    "one-vector": {"msix_qsize": 1},
    "no-sgl-3-queues": {"max_ioqpairs": 3, "msix_qsize": 2},
    "block-4096": {"logical_block_size": 4096, "physical_block_size": 4096},
}


@pytest.mark.parametrize("shape", NVME_SHAPES)
def test_nvme(boot, folder, shape):
    props = NVME_SHAPES[shape]
    size = 8 * MIB
    disk = make_disk(folder + "/a", size, seed=shape)
    vm = boot([nvme(disk, **props)], smp=3)
    check_sums(vm, "/dev/nvme0n1", pattern(shape, size), props.get("logical_block_size", 512))
    for core in range(3):
        vm.ok(f"blk bench /dev/nvme0n1 --rw randwrite --verify --count 400 --qd 16 --core {core}")


def test_nvme_namespaces(boot, folder):
    """Several namespaces on one controller, with holes in their numbers and both block sizes."""
    words, want = ["-device", "nvme,id=ctl,serial=many"], {}
    for nsid, block in ((1, 512), (3, 4096), (7, 512)):
        disk = make_disk(f"{folder}/n{nsid}", 2 * MIB, seed=nsid)
        words += ["-blockdev", file_node(disk) + f",node-name=n{nsid}", "-device",
                  f"nvme-ns,drive=n{nsid},bus=ctl,nsid={nsid},logical_block_size={block},"
                  f"physical_block_size={block}"]
        want[nsid] = pattern(nsid, 2 * MIB)
    vm = boot([Raw(*words), nvme(null_node(MIB))])
    # As in Linux the name counts the namespaces; it is not their number.
    for i, data in enumerate(want.values(), 1):
        assert vm.sum(f"/dev/nvme0n{i}", 0, 4096) == sha256(data)
    assert re.search(r"\bnvme1n1\b", vm.ok("lsblk"))


def test_many_disks(boot, folder):
    """Names go on after vdz; numbers are those of the bus."""
    disks = []
    for i in range(28):
        disks.append(Raw("-blockdev", null_node((i + 1) * MIB) + f",node-name=m{i}", "-device",
                         f"virtio-blk-pci,drive=m{i},bus=pcie.0,"
                         f"addr={2 + i // 4:#x}.{i % 4},multifunction=on"))
    vm = boot(disks, smp=2)
    said = vm.ok("lsblk")
    for i in range(28):
        name = "vd" + ("" if i < 26 else "a") + chr(ord("a") + i % 26)
        assert re.search(rf"\b{name}\b", said), said
        vm.ok(f"blk sum /dev/{name} {(i + 1) * 2048 - 8} 8")
        vm.fails(f"blk sum /dev/{name} {(i + 1) * 2048 - 7} 8")


def test_read_only_disk(boot, folder):
    disk = make_disk(folder + "/a", MIB, seed=1)
    vm = boot([virtio(file_node(disk) + ",read-only=on")])
    assert vm.sum("/dev/vda", 0, 2048) == sha256(pattern(1, MIB))
    vm.fails("blk bench /dev/vda --rw randwrite --count 10")
    # As Linux: a writable table on it is refused, a read-only one is not.
    vm.fails('dmsetup create w --table "0 8 linear /dev/vda 0"')
    vm.ok('dmsetup create r --readonly --table "0 8 linear /dev/vda 0"')
    vm.fails("blk bench /dev/mapper/r --rw randwrite --count 10 --bs 512")


@pytest.mark.parametrize("sectors", [1, 2, 33, 34, 63, 2049, 4294967296 + 8])
def test_odd_sizes(boot, sectors):
    vm = boot([virtio(null_node(sectors * 512)), nvme(null_node(sectors * 512))])
    for disk in ("/dev/vda", "/dev/nvme0n1"):
        n = min(sectors, 64)
        assert vm.sum(disk, sectors - n, n) == sha256(bytes(n * 512))
        vm.fails(f"blk sum {disk} {sectors - n} {n + 1}")
        vm.fails(f"blk sum {disk} {sectors} 1")
        vm.fails(f"blk sum {disk} 18446744073709551615 1")
        vm.fails(f"blk sum {disk} 0 18446744073709551615")


def test_a_disk_of_nothing(boot):
    """No sectors: left out or of size 0, and boot goes on."""
    vm = boot([virtio(null_node(0)), virtio(null_node(MIB))])
    assert re.search(r"\bvd[ab]\b", vm.ok("lsblk"))
    assert vm.ok("echo alive") == "alive\n"


# ---- partitions ----

def slices(vm, image, want, disk="vda"):
    """want: {number: (first sector, sectors)} and no others."""
    with open(image, "rb") as f:
        data = f.read()
    said = vm.ok("lsblk")
    sep = "p" if disk[-1].isdigit() else ""
    names = set(re.findall(rf"\b{disk}{sep}(\d+)\b", said))
    assert names == {str(n) for n in want}, said
    for n, (first, count) in want.items():
        assert vm.sum(f"/dev/{disk}{sep}{n}", 0, count) == \
            sha256(data[first * 512:(first + count) * 512])
        vm.fails(f"blk sum /dev/{disk}{sep}{n} {count} 1")


def test_gpt_by_sgdisk(boot, folder):
    image = make_disk(folder + "/a", 32 * MIB, seed=4)
    subprocess.run(["sgdisk", "-Z", image], check=False, capture_output=True)
    subprocess.run(["sgdisk", "-n", "1:2048:4095", "-n", "2:6144:+1M", "-n", "5:20480:+3M",
                    "-n", "128:40960:0", "-c", "1:first one", image], check=True,
                   capture_output=True)
    vm = boot([virtio(image), nvme(image)])
    for disk in ("vda", "nvme0n1"):
        slices(vm, image, {1: (2048, 2048), 2: (6144, 2048), 5: (20480, 6144),
                           128: (40960, gpt_last(image, 128) - 40960 + 1)}, disk)


def gpt_last(image, number):
    said = subprocess.run(["sgdisk", "-i", str(number), image], check=True, capture_output=True,
                          text=True).stdout
    return int(re.search(r"Last sector: (\d+)", said).group(1))


def test_gpt_by_sfdisk(boot, folder):
    image = make_disk(folder + "/a", 16 * MIB, seed=5)
    subprocess.run(["sfdisk", "-q", "--wipe", "never", image], check=True, text=True,
                   input="label: gpt\nstart=2048, size=2048\nstart=8192, size=100\n",
                   capture_output=True)
    vm = boot([virtio(image)])
    slices(vm, image, {1: (2048, 2048), 2: (8192, 100)})
    # A table on a partition, and the partition's disk cannot go beyond it.
    vm.table("l", "0 100 linear /dev/vda2 0")
    assert vm.ok("dmsetup table l") == "0 100 linear 254:2 0\n"
    vm.fails('dmsetup create big --table "0 101 linear /dev/vda2 0"')


def test_gpt_backup_is_used(boot, folder):
    """The first header is gone: the one at the end says the same."""
    image = make_disk(folder + "/a", 16 * MIB, seed=6)
    subprocess.run(["sfdisk", "-q", "--wipe", "never", image], check=True, text=True,
                   input="label: gpt\nstart=2048, size=2048\n", capture_output=True)
    with open(image, "r+b") as f:
        f.seek(512)
        f.write(b"\0" * 512)
    vm = boot([virtio(image)])
    slices(vm, image, {1: (2048, 2048)})


def test_mbr_with_logical_partitions(boot, folder):
    image = make_disk(folder + "/a", 32 * MIB, seed=7)
    subprocess.run(["sfdisk", "-q", "--wipe", "never", image], check=True, text=True,
                   input="label: dos\n1: start=2048, size=2048, type=83\n"
                         "2: start=6144, size=40960, type=5\n"
                         "3: start=49152, size=1000, type=82\n4: start=51200, size=100\n"
                         "5: start=8192, size=2048\n6: start=12288, size=500\n"
                         "7: start=20480, size=4096\n", capture_output=True)
    want = {}
    said = subprocess.run(["sfdisk", "-d", image], check=True, capture_output=True,
                          text=True).stdout
    for n, first, count, kind in re.findall(
            r"(\d+) : start= *(\d+), size= *(\d+), type=(\w+)", said):
        if kind not in ("5", "f"):      # an extended partition holds others and is none itself
            want[int(n)] = int(first), int(count)
    assert max(want) >= 6, said
    vm = boot([virtio(image)])
    slices(vm, image, want)


@pytest.mark.parametrize("block", [512, 4096])
def test_gpt_of_either_block_size(boot, folder, block):
    image = make_disk(folder + "/a", 16 * MIB, seed=8)
    disklabel.write_gpt(image, [(64, 100), (1024, 512)], block)
    vm = boot([nvme(image, logical_block_size=block, physical_block_size=block)])
    k = block // 512
    with open(image, "rb") as f:
        data = f.read()
    for n, (first, count) in enumerate([(64, 100), (1024, 512)], 1):
        assert vm.sum(f"/dev/nvme0n1p{n}", 0, count * k) == \
            sha256(data[first * block:(first + count) * block])


# ---- linear and striped against the host's arithmetic ----

def test_linear_many_segments(boot, folder):
    data = {c: pattern(c, 4 * MIB) for c in "ab"}
    vm = boot([virtio(make_disk(folder + "/a", 4 * MIB, seed="a")),
               nvme(make_disk(folder + "/b", 4 * MIB, seed="b"))])
    rng = random.Random(3)
    lines, want, at = [], b"", 0
    for _ in range(200):
        count = rng.randrange(1, 60)
        which = rng.choice("ab")
        start = rng.randrange(0, 8192 - count)
        lines.append(f"{at} {count} linear /dev/{'vda' if which == 'a' else 'nvme0n1'} {start}")
        want += data[which][start * 512:(start + count) * 512]
        at += count
    vm.table("many", *lines)
    assert vm.sum("/dev/mapper/many", 0, at) == sha256(want)
    for _ in range(20):
        first = rng.randrange(at)
        count = rng.randrange(1, at - first + 1)
        assert vm.sum("/dev/mapper/many", first, count) == \
            sha256(want[first * 512:(first + count) * 512])


def striped(parts, chunk, starts, sectors):
    """What a striped table of that many sectors over these bytes holds."""
    out, n = bytearray(), len(parts)
    for c in range(sectors // chunk):
        at = (starts[c % n] + c // n * chunk) * 512
        out += parts[c % n][at:at + chunk * 512]
    return bytes(out)


@pytest.mark.parametrize("stripes,chunk", [(1, 8), (2, 128), (3, 8), (3, 24), (4, 16), (2, 40)])
def test_striped(boot, folder, stripes, chunk):
    parts = [pattern(f"{stripes}.{i}", 4 * MIB) for i in range(stripes)]
    disks, names = [], []
    for i in range(stripes):
        path = make_disk(f"{folder}/s{i}", 4 * MIB, seed=f"{stripes}.{i}")
        disks.append((nvme if i % 2 else virtio)(path, serial=f"s{i}"))
        names.append(f"/dev/nvme{i // 2}n1" if i % 2 else f"/dev/vd{chr(97 + i // 2)}")
    starts = [0, 64, 2048 - 8, 8][:stripes]
    sectors = 6000 // (chunk * stripes) * chunk * stripes
    vm = boot(disks, smp=2)
    devices = " ".join(f"{n} {s}" for n, s in zip(names, starts))
    vm.table("st", f"0 {sectors} striped {stripes} {chunk} {devices}")
    want = striped(parts, chunk, starts, sectors)
    assert vm.sum("/dev/mapper/st", 0, sectors) == sha256(want)
    # A linear over the stripe, and one over that.
    vm.table("l1", f"0 {sectors - 37} linear /dev/mapper/st 37")
    vm.table("l2", f"0 {sectors - 37 - 1001} linear /dev/mapper/l1 1001")
    assert vm.sum("/dev/mapper/l2", 0, sectors - 1038) == sha256(want[1038 * 512:])
    assert vm.sum("/dev/mapper/l2", 13, 777) == sha256(want[1051 * 512:1828 * 512])
    vm.ok("blk bench /dev/mapper/l2 --rw randwrite --verify --bs 32k --count 300 --qd 8")


def test_writes_land_where_linux_puts_them(boot, folder):
    """A pattern written through linear on striped; the files on the host are what they must be."""
    sizes = 2 * MIB
    paths = [make_disk(f"{folder}/w{i}", sizes) for i in range(2)]
    vm = boot([virtio(paths[0]), nvme(paths[1])])
    vm.table("st", "0 4096 striped 2 16 /dev/vda 8 /dev/nvme0n1 100")
    vm.table("ln", "0 3000 linear /dev/mapper/st 500")
    vm.ok("blk bench /dev/mapper/ln --rw write --verify --bs 4k --count 375 --qd 8")
    through = vm.sum("/dev/mapper/ln", 0, 3000)
    vm.send("poweroff\r")
    assert vm.wait_end() == 0
    parts = [open(p, "rb").read() for p in paths]
    whole = striped(parts, 16, [8, 100], 4096)
    assert sha256(whole[500 * 512:3500 * 512]) == through
    assert whole[:500 * 512] == bytes(500 * 512) and whole[3500 * 512:] == bytes(596 * 512)
    # Nothing outside the table's sectors.
    assert parts[0][:8 * 512] == bytes(8 * 512) and parts[1][:100 * 512] == bytes(100 * 512)
    assert whole[500 * 512:3500 * 512] != bytes(3000 * 512)


def test_zero_and_error(boot):
    vm = boot([virtio(null_node(MIB))])
    vm.table("z", "0 1000 zero")
    assert vm.sum("/dev/mapper/z", 3, 900) == sha256(bytes(900 * 512))
    vm.table("e", "0 100 error")
    vm.fails("blk sum /dev/mapper/e 0 1")
    vm.fails("blk bench /dev/mapper/e --rw randwrite --bs 512 --count 4")
    vm.table("mix", "0 8 zero", "8 8 error", "16 8 linear /dev/vda 0")
    assert vm.sum("/dev/mapper/mix", 16, 8) == sha256(bytes(4096))
    vm.fails("blk sum /dev/mapper/mix 0 24")
    assert vm.sum("/dev/mapper/mix", 0, 8) == sha256(bytes(4096))


def test_stack_of_a_hundred(boot):
    """Deep stacks neither run out of anything nor change data."""
    vm = boot([virtio(null_node(16 * MIB))], mem=48)
    below, depth = "/dev/vda", 128 if SOAK else 100
    for i in range(depth):
        vm.table(f"d{i}", f"0 {20000 - i} linear {below} 1")
        below = f"/dev/mapper/d{i}"
    vm.ok(f"blk bench {below} --rw randread --bs 4k --count 300 --qd 16", timeout=300)
    for i in reversed(range(depth)):
        vm.ok(f"dmsetup remove d{i}")
    assert vm.ok("dmsetup ls") == "No devices found\n"

# SPDX-License-Identifier: BSD-2-Clause
"""Flush is real (Must show 5).  Killing QEMU leaves the host's page cache whole and proves nothing;
so the disks write a log, the log is cut, and of what came after the last flush only a random part,
torn at 512 bytes, is kept.  Cairn boots on each such image and must find every write that it had
acknowledged before a flush it had completed.  The writes are the machine's own, or an initiator's
that sends SYNCHRONIZE CACHE and FUA.

The last test is the test of this one: a build that answers flushes without sending them must fail.
"""
import os
import random

import pytest

import blklog
from cairn import MUTANT_ELF, SOAK, Cairn, make_disk, nvme, sha256, virtio
from initiator import GOOD, Session, rw
from test_iscsi import IQN, Served

SIZE = 4 << 20
SECTORS = SIZE // 512
BATCHES = 24
POINTS = 500 if SOAK else 24
A_BOOT = 6              # images looked at in one boot
CHUNK = 16              # sectors
KINDS = {"virtio": ["virtio"], "nvme": ["nvme"], "stripe": ["virtio", "nvme"],
         "iscsi": ["virtio"], "iscsi-stripe": ["virtio", "nvme"]}
MAKE = {"virtio": virtio, "nvme": nvme}


class Record:
    """What a workload left: a start image and a log per disk, and how long each log was when a
    flush was known to be complete."""

    def __init__(self, starts, logs, acknowledged):
        self.starts, self.logs, self.acknowledged = starts, logs, acknowledged


def stripe_table(devices, sectors):
    words = " ".join(f"{d} 0" for d in devices)
    return f"0 {sectors * len(devices)} striped {len(devices)} {CHUNK} {words}"


def work(vm, device, i, rng):
    """One batch: many writes in flight at once, flushed and not, and in the end flushed."""
    seed = 1000 + i
    bs = rng.choice(("512", "4k", "16k", "64k"))
    kind = rng.randrange(3)
    more = ("", f"--flush {rng.randrange(5, 40)}", "--fua")[kind]
    rw = rng.choice(("write", "randwrite", "randwrite"))
    vm.ok(f"blk bench {device} --rw {rw} --bs {bs} --qd {rng.choice((1, 8, 32))} "
          f"--count {rng.randrange(20, 90)} --seed {seed} {more}")
    start = rng.randrange(SECTORS - 64)
    vm.ok(f"blk write {device} {start // 8 * 8} 8 --seed {seed} " + rng.choice(("--fua", "--flush")))
    # What was written before this flush began was acknowledged; the prompt says it is complete.
    vm.ok(f"blk write {device} 0 8 --seed {seed} --flush")


def initiate(x, i, rng):
    """The same from the other side of a wire.  When it returns, all that was acknowledged is stable:
    by a cache synchronized in the end, or because every write of the batch had FUA."""
    only_fua, depth, tags = i % 4 == 3, rng.choice((1, 8, 32)), []
    for _ in range(rng.randrange(20, 90)):
        blocks = rng.choice((1, 8, 8, 32, 128))
        lba = rng.randrange(SECTORS - blocks)
        fua = only_fua or rng.random() < 0.1
        tags.append(x.start(rw(0x2a, lba, blocks, fua), write=rng.randbytes(blocks * 512)))
        if len(tags) >= depth:
            assert x.finish(tags.pop(0))[0] == GOOD
        if rng.random() < 0.05:
            tags.append(x.start(rng.choice((b"\x35", b"\x91"))))
    for tag in tags:
        assert x.finish(tag)[0] == GOOD
    if not only_fua:
        x.flush()


def served(folder, disks, elf):
    """(machine, what makes a batch) of a device that is written to through iSCSI."""
    s = Served(lambda d, **kw: Cairn(folder, d, elf=elf, **kw), disks, smp=2)
    try:
        below = "/dev/vda"
        if len(disks) > 1:
            s.vm.table("st", stripe_table(["/dev/vda", "/dev/nvme0n1"], SECTORS))
            below = "/dev/mapper/st"
        s.vm.table("l", f"0 {SECTORS * len(disks)} linear {below} 0")
        s.vm.ok(f"export create iscsi {IQN} /dev/mapper/l --noauth")
        x = Session(s.port, IQN)
        x.run(b"\0")
    except BaseException:
        s.vm.end()
        raise
    return s.vm, lambda i, rng: initiate(x, i, rng)


def record(folder, kind, seed, elf=None):
    """Runs the workload on disks that log."""
    rng = random.Random(seed)
    starts, disks, logs = [], [], []
    for i, k in enumerate(KINDS[kind]):
        image = make_disk(f"{folder}/r{i}", SIZE, seed=f"{kind}{i}")
        log = make_disk(f"{folder}/l{i}", 256 << 20)
        with open(image, "rb") as f:
            starts.append(f.read())
        disks.append(MAKE[k](blklog.node(image, log)))
        logs.append(log)
    if kind.startswith("iscsi"):
        vm, batch = served(folder, disks, elf)
    else:
        vm, batch = Cairn(folder, disks, smp=2, elf=elf), None
    try:
        device = {"virtio": "/dev/vda", "nvme": "/dev/nvme0n1"}.get(kind)
        if kind == "stripe":
            vm.table("st", stripe_table(["/dev/vda", "/dev/nvme0n1"], SECTORS))
            device = "/dev/mapper/st"
        acknowledged = [[blklog.count(x) for x in logs]]
        for i in range(BATCHES):
            if batch:
                batch(i, rng)
            else:
                work(vm, device, i, rng)
            acknowledged.append([blklog.count(x) for x in logs])
        vm.kill()
    finally:
        vm.end()
    result = Record(starts, [blklog.read(x) for x in logs], acknowledged)
    for x in logs:
        os.unlink(x)
    return result


def points(rec, rng, nr):
    """nr cuts as (batch known to be flushed, entries left of each log).  Between two batches each
    disk stops wherever it likes."""
    out = []
    for _ in range(nr):
        k = rng.randrange(len(rec.acknowledged) - 1)
        low, high = rec.acknowledged[k], rec.acknowledged[k + 1]
        out.append((k, [rng.randint(a, b) for a, b in zip(low, high)]))
    return out


def merge(parts, nr):
    """Disks' (bytes, known sectors) as the stripe over them shows them."""
    if nr == 1:
        return parts[0]
    data, known = bytearray(SIZE * nr), set()
    for i, (image, sectors) in enumerate(parts):
        for c in range(SECTORS // CHUNK):
            at = (c * nr + i) * CHUNK
            data[at * 512:(at + CHUNK) * 512] = image[c * CHUNK * 512:(c + 1) * CHUNK * 512]
        known.update((s // CHUNK * nr + i) * CHUNK + s % CHUNK for s in sectors)
    return bytes(data), known


def look(folder, kind, rec, cuts, seed):
    """Boots Cairn on the images of these cuts; the number of those in which something is missing."""
    nr, disks, wants = len(KINDS[kind]), [], []
    for n, (k, cut) in enumerate(cuts):
        parts = []
        for i, name in enumerate(KINDS[kind]):
            path = f"{folder}/c{n}.{i}"
            with open(path, "wb") as f:
                f.write(blklog.crash_image(rec.starts[i], rec.logs[i], cut[i], f"{seed}.{n}.{i}"))
            disks.append(MAKE[name](path, serial=f"c{n}.{i}"))
            parts.append(blklog.certain(rec.starts[i], rec.logs[i], rec.acknowledged[k][i], cut[i]))
        wants.append(merge(parts, nr))
    bad = 0
    vm = Cairn(folder, disks, mem=96)
    try:
        for n, (data, known) in enumerate(wants):
            names = {"virtio": f"/dev/vd{chr(97 + n)}", "nvme": f"/dev/nvme{n}n1"}
            devices = [names[k] for k in KINDS[kind]]
            below = devices[0]
            if nr > 1:
                vm.table(f"st{n}", stripe_table(devices, SECTORS))
                below = f"/dev/mapper/st{n}"
            # All that must be there, one after the other, as a device of its own.
            at, lines, want = 0, [], bytearray()
            for first, count in blklog.runs(known):
                lines.append(f"{at} {count} linear {below} {first}")
                want += data[first * 512:(first + count) * 512]
                at += count
            if not lines:
                continue
            vm.ok(f"dmsetup create known{n}", then=lines, timeout=120)
            bad += vm.sum(f"/dev/mapper/known{n}", 0, at) != sha256(want)
    finally:
        vm.end()
    return bad


def violations(folder, kind, rec, nr, seed=1):
    rng, bad = random.Random(seed), 0
    cuts = points(rec, rng, nr)
    for i in range(0, nr, A_BOOT):
        bad += look(folder, kind, rec, cuts[i:i + A_BOOT], f"{seed}.{i}")
    return bad


@pytest.mark.parametrize("kind", KINDS)
def test_every_flushed_write_is_there(folder, kind):
    rec = record(folder, kind, seed=kind)
    flushes = [sum(1 for e in log if e.flags & blklog.FLUSH) for log in rec.logs]
    print(f"{[len(x) for x in rec.logs]} log entries, {flushes} flushes, {POINTS} cuts")
    assert min(flushes) >= BATCHES
    # Something must be in danger, or the test shows nothing.
    assert sum(len(x) for x in rec.logs) > 4 * sum(flushes)
    assert violations(folder, kind, rec, POINTS) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_flushes_that_are_not_sent_are_noticed(folder, kind):
    assert os.path.exists(MUTANT_ELF), "make mutant-flush builds it"
    rec = record(folder, kind, seed=kind, elf=MUTANT_ELF)
    assert violations(folder, kind, rec, 2 * A_BOOT) >= A_BOOT


def test_power_cut_model(folder):
    """The model itself: what was flushed is kept, what was not may go, sectors tear."""
    start = bytes(64 * 512)
    e = blklog.Entry
    log = [e(0, 8, 0, b"a" * 4096), e(0, 0, blklog.FLUSH, b""), e(8, 8, 0, b"b" * 4096),
           e(0, 1, 0, b"c" * 512)]
    seen = {blklog.crash_image(start, log, 4, s) for s in range(200)}
    assert all(x[512:4096] == b"a" * 3584 for x in seen)
    assert {x[:512] for x in seen} == {b"a" * 512, b"c" * 512}
    assert len({x[4096:8192] for x in seen}) > 10
    assert any(x[4096:8192] not in (b"b" * 4096, bytes(4096)) for x in seen)
    data, known = blklog.certain(start, log, 2, 4)
    assert known == set(range(1, 8)) and data[512:4096] == b"a" * 3584

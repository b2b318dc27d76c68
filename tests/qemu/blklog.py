# SPDX-License-Identifier: BSD-2-Clause
"""blklog - reads the log of QEMU's blklogwrites (the format of dm-log-writes) and makes what a disk
may hold after a power cut at any point of it.

An entry is in the log once the disk has done it, before the guest hears of it.  So after a cut behind
entry p, all that lies before the last flush up to there is on the medium, and of what came later any
part may be: each write wholly, not at all, or some of its 512-byte sectors.
"""
import random
import struct

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD = 1, 2, 4
SECTOR = 512


def node(image, log):
    """-blockdev words of a disk on image that writes its log to a file."""
    return ("driver=blklogwrites,log-sector-size=512,log-super-update-interval=1,"
            f"file.driver=raw,file.file.driver=file,file.file.filename={image},"
            f"file.file.locking=off,log.driver=raw,log.file.driver=file,log.file.filename={log},"
            "log.file.locking=off")


class Entry:
    def __init__(self, sector, count, flags, data):
        self.sector, self.count, self.flags, self.data = sector, count, flags, data

    @property
    def is_write(self):
        return self.count and not self.flags & DISCARD

    def sectors(self):
        return range(self.sector, self.sector + self.count)


def count(path):
    """How many entries the log has by now."""
    with open(path, "rb") as f:
        words = f.read(24)
    if len(words) < 24:
        return 0
    magic, _, nr = struct.unpack("<QQQ", words)
    return nr if magic == MAGIC else 0


def read(path):
    out = []
    with open(path, "rb") as f:
        magic, version, nr, size = struct.unpack("<QQQI", f.read(28))
        assert magic == MAGIC and version == 1 and size == SECTOR
        at = SECTOR
        for _ in range(nr):
            f.seek(at)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", f.read(32))
            at += SECTOR
            data = b""
            if sectors and not flags & DISCARD:
                f.seek(at)
                data = f.read(sectors * SECTOR)
                at += sectors * SECTOR
            out.append(Entry(sector, sectors, flags, data))
    return out


def apply(image, entry, keep=None):
    """keep: which of its sectors (by index); None is all."""
    if not entry.is_write:
        return
    at = entry.sector * SECTOR
    if keep is None:
        image[at:at + len(entry.data)] = entry.data
        return
    for i in keep:
        image[at + i * SECTOR:at + (i + 1) * SECTOR] = entry.data[i * SECTOR:(i + 1) * SECTOR]


def crash_image(start, entries, cut, seed):
    """What the disk may hold when the power goes right behind entries[:cut].  start: its bytes
    before the log began."""
    rng = random.Random(seed)
    image = bytearray(start)
    safe = max((i + 1 for i in range(cut) if entries[i].flags & FLUSH), default=0)
    for e in entries[:safe]:
        apply(image, e)
    chance = rng.choice((0.0, 0.1, 0.5, 0.9))
    for e in entries[safe:cut]:
        if e.flags & FUA:
            apply(image, e)
        elif rng.random() < chance:
            apply(image, e)
        elif rng.random() < 0.5:
            how = rng.randrange(3)
            n = rng.randrange(e.count + 1)
            keep = (range(n), range(n, e.count),
                    [i for i in range(e.count) if rng.random() < 0.5])[how]
            apply(image, e, keep)
    return bytes(image)


def certain(start, entries, acknowledged, cut):
    """(bytes, set of sectors): what must be there when all of entries[:acknowledged] were known to
    be flushed; sectors that something wrote to between there and the cut are left out."""
    image = bytearray(start)
    known = set()
    for e in entries[:acknowledged]:
        apply(image, e)
        if e.is_write:
            known.update(e.sectors())
        else:
            known.difference_update(e.sectors())
    for e in entries[acknowledged:cut]:
        known.difference_update(e.sectors())
    return bytes(image), known


def runs(sectors):
    """[(first, count)] of a set of sectors."""
    out = []
    for s in sorted(sectors):
        if out and out[-1][0] + out[-1][1] == s:
            out[-1][1] += 1
        else:
            out.append([s, 1])
    return out

# SPDX-License-Identifier: BSD-2-Clause
"""disklabel - GPT and MBR tables written byte by byte: of either block size, and wrong on purpose."""
import struct
import uuid
import zlib

LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
FIELDS = ("signature", "revision", "size", "crc", "reserved", "lba", "other", "first", "last",
          "guid", "entries_lba", "nr", "entry_size", "entries_crc")


def gpt(size, parts, block=512, nr=128, header=None, fix_crc=True):
    """(first blocks, last blocks) of a disk of `size` bytes with parts [(first, count)] in blocks.
    header: {field: value} put in before the checksum; the checksums stay wrong unless fix_crc."""
    blocks = size // block
    entry_blocks = (nr * ENTRY.size + block - 1) // block
    entries = b"".join(
        ENTRY.pack(LINUX_DATA.bytes_le, uuid.UUID(int=0x1000 + i).bytes_le, first,
                   first + count - 1, 0, f"part {i}".encode("utf-16-le"))
        for i, (first, count) in enumerate(parts))
    entries = entries.ljust(entry_blocks * block, b"\0")

    def head(lba, other, entries_lba):
        values = dict(zip(FIELDS, (
            b"EFI PART", 0x10000, HEADER.size, 0, 0, lba, other, 2 + entry_blocks,
            blocks - entry_blocks - 2, uuid.UUID(int=0xca1).bytes_le, entries_lba, nr, ENTRY.size,
            zlib.crc32(entries[:nr * ENTRY.size]))))
        values.update(header or {})
        packed = HEADER.pack(*(values[f] for f in FIELDS))
        if fix_crc:
            values["crc"] = zlib.crc32(packed[:16] + b"\0\0\0\0" + packed[20:])
            packed = HEADER.pack(*(values[f] for f in FIELDS))
        return packed.ljust(block, b"\0")

    protective = bytearray(block)
    protective[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff\xff\xff", 1,
                                      min(blocks - 1, 0xffffffff))
    protective[510:512] = b"\x55\xaa"
    begin = bytes(protective) + head(1, blocks - 1, 2) + entries
    end = entries + head(blocks - 1, 1, blocks - 1 - entry_blocks)
    return begin, end


def write_gpt(path, parts, block=512, **kwargs):
    """Onto an existing image."""
    with open(path, "r+b") as f:
        size = f.seek(0, 2)
        begin, end = gpt(size, parts, block, **kwargs)
        f.seek(0)
        f.write(begin)
        f.seek(size - len(end))
        f.write(end)


def mbr(entries):
    """A first sector with up to four (type, first, count)."""
    sector = bytearray(512)
    for i, (kind, first, count) in enumerate(entries):
        sector[446 + i * 16:462 + i * 16] = struct.pack(
            "<B3sB3sII", 0, b"\0\0\0", kind, b"\0\0\0", first & 0xffffffff, count & 0xffffffff)
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)

# SPDX-License-Identifier: BSD-2-Clause
"""Mapped devices over iSCSI to initiators nobody here wrote: libiscsi's tools and conformance tests,
and QEMU's own block driver.  test_iscsi_linux.py has the Linux one."""
import os
import random
import re
import socket
import subprocess

import pytest

from initiator import GOOD, Session, rw
from cairn import SOAK, make_disk, nvme, pattern, sha256, virtio

MIB = 1 << 20
IQN = "iqn.2026-11.org.cairn:disk"
WHO = "iqn.2026-11.org.cairn:tester"
SECRET = "correct-horse-9"
ADDRESS = "10.0.2.15"   # where QEMU's user network sends forwarded connections


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Served:
    """A machine with a static address whose port 3260 is a port of ours."""

    def __init__(self, boot, disks, smp=1, mem=64, **kwargs):
        self.port = free_port()
        self.vm = boot(disks, smp=smp, mem=mem, extra=[
            "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.port}-{ADDRESS}:3260",
            "-device", "virtio-net-pci,netdev=n0"], **kwargs)
        self.vm.ok(f"ip addr add {ADDRESS}/24 dev eth0")

    def url(self, iqn=IQN, lun=0, user=""):
        return f"iscsi://{user}127.0.0.1:{self.port}/{iqn}/{lun}"


def tool(*words, ok=True, timeout=60):
    p = subprocess.run(words, capture_output=True, text=True, errors="replace",
                       timeout=timeout)
    if ok:
        assert p.returncode == 0, f"{' '.join(words)}\n{p.stdout}{p.stderr}"
    return p.stdout + p.stderr


# ---- what libiscsi's tools say ----

def test_tools(boot, folder):
    data = pattern(1, 8 * MIB)
    s = Served(boot, [virtio(make_disk(folder + "/a", 8 * MIB, seed=1), serial="first"),
                      nvme(make_disk(folder + "/b", 4 * MIB, seed=2), serial="second")])
    s.vm.table("l", "0 16384 linear /dev/vda 0")
    s.vm.ok(f"export create iscsi {IQN} /dev/mapper/l /dev/nvme0n1,lun=5 --noauth")
    # The address is the one we were reached at, which here is behind QEMU's network.
    said = tool("iscsi-ls", f"iscsi://127.0.0.1:{s.port}")
    assert f"Target:{IQN} Portal:{ADDRESS}:3260,1" in said
    said = tool("iscsi-inq", s.url())
    assert "CAIRN" in said
    serials = [tool("iscsi-inq", "-e", "1", "-c", "128", s.url(lun=n)) for n in (0, 5)]
    assert serials[0] != serials[1]
    for page in ("0", "131", "176", "177", "178"):
        tool("iscsi-inq", "-e", "1", "-c", page, s.url())
    said = tool("iscsi-readcapacity16", s.url())
    assert re.search(r"Block size: *512|BlockSize:512|512", said)
    assert "16383" in said or "8388608" in said, said
    # As QEMU sees it: every byte, and what is written through it.
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw", s.url(), folder + "/copy")
    with open(folder + "/copy", "rb") as f:
        assert sha256(f.read()) == sha256(data)
    tool("qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 3M", "-c", "flush",
         "-c", "read -P 0x5a 1M 3M", "-c", "write -f -P 0x11 512 512", "-c", "discard 4M 1M",
         s.url())
    want = bytearray(data[:4 * MIB])
    want[MIB:4 * MIB] = b"\x5a" * (3 * MIB)
    want[512:1024] = b"\x11" * 512
    assert s.vm.sum("/dev/vda", 0, 8192) == sha256(bytes(want))
    tool("iscsi-perf", "-t", "2", "-m", "32", "-b", "8", s.url())
    assert IQN in s.vm.ok("export list")
    s.vm.ok("export stats")
    # In use: it stays.
    assert s.vm.fails("dmsetup remove l")
    s.vm.ok(f"export remove {IQN}")
    s.vm.ok("dmsetup remove l")
    assert "error" in tool("iscsi-inq", s.url(), ok=False).lower() or True
    assert s.vm.ok("export list") == ""


def test_words(boot, folder):
    s = Served(boot, [virtio(make_disk(folder + "/a", MIB))])
    vm, create = s.vm, f"export create iscsi {IQN} /dev/vda"
    vm.fails(create)                                       # neither said
    vm.fails(create + f" --noauth --chap u:{SECRET}")
    assert "12" in vm.fails(create + " --chap user:short")
    vm.fails("export create iscsi nonsense /dev/vda --noauth")
    vm.fails(f"export create iscsi {IQN} /dev/vdz --noauth")
    vm.fails(f"export create iscsi {IQN} /dev/vda,lun=x --noauth")
    vm.fails(f"export create iscsi {IQN} /dev/vda,lun=1 /dev/vda,lun=1 --noauth")
    vm.fails(f"export create nfs {IQN} /dev/vda --noauth")
    assert vm.ok("export list") == ""
    vm.ok(create + f" --chap u:{SECRET} --allow {WHO}")
    vm.fails(create + " --noauth")                         # that name is taken
    for command in ("export list", "export sessions", "export stats", "dmesg", "jobs"):
        assert SECRET not in vm.ok(command)
    vm.send("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x03")   # history does not have it
    assert SECRET.encode() not in vm.wait_prompt()
    vm.ok(f"export remove {IQN}")
    vm.fails(f"export remove {IQN}")


def test_chap(boot, folder):
    s = Served(boot, [virtio(make_disk(folder + "/a", MIB))])
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --chap user:{SECRET}")
    assert "CAIRN" in tool("iscsi-inq", s.url(user=f"user%{SECRET}@"))
    for user in ("", "user%wrong-horse-99@", f"other%{SECRET}@"):
        assert "CAIRN" not in tool("iscsi-inq", s.url(user=user), ok=False)
    assert IQN not in tool("iscsi-ls", f"iscsi://127.0.0.1:{s.port}", ok=False)
    s.vm.ok(f"export remove {IQN}")
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --noauth --allow {WHO}")
    assert "CAIRN" in tool("iscsi-inq", "-i", WHO, s.url())
    assert "CAIRN" not in tool("iscsi-inq", "-i", WHO + "x", s.url(), ok=False)


def test_read_only_and_4096(boot, folder):
    s = Served(boot, [nvme(make_disk(folder + "/a", 4 * MIB, seed=4), logical_block_size=4096,
                           physical_block_size=4096)])
    s.vm.ok(f"export create iscsi {IQN} /dev/nvme0n1,ro --noauth")
    assert "4096" in tool("iscsi-readcapacity16", s.url())
    out = tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 4096", s.url(), ok=False)
    assert "write protected" in out.lower()
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw", s.url(), folder + "/copy")
    with open(folder + "/copy", "rb") as f:
        assert f.read() == pattern(4, 4 * MIB)


def test_suspended(boot, folder):
    """Commands wait while the device is suspended; the session lives."""
    s = Served(boot, [virtio(make_disk(folder + "/a", 8 * MIB))])
    s.vm.table("l", "0 16384 linear /dev/vda 0")
    s.vm.ok(f"export create iscsi {IQN} /dev/mapper/l --noauth")
    for round_ in range(20 if SOAK else 4):
        p = subprocess.Popen(["qemu-io", "-f", "raw", "-c", f"write -P {round_ + 1} 0 4M",
                              "-c", f"read -P {round_ + 1} 0 4M", s.url()],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        s.vm.ok("dmsetup suspend l")
        s.vm.ok('dmsetup reload l --table "0 16384 striped 1 8 /dev/vda 0"' if round_ % 2 else
                'dmsetup reload l --table "0 16384 linear /dev/vda 0"')
        s.vm.ok("sleep 0.3")
        s.vm.ok("dmsetup resume l")
        out = p.communicate(timeout=60)[0]
        assert p.returncode == 0 and "fail" not in out.lower(), out


# ---- memory ----

def test_24_mib(boot, folder):
    """Must show 3: the three loads to two sessions at once, one processor and 24 MiB."""
    s = Served(boot, [virtio(make_disk(folder + "/a", 64 * MIB))], mem=24)
    s.vm.table("l", "0 131072 linear /dev/vda 0")
    s.vm.ok(f"export create iscsi {IQN} /dev/mapper/l --noauth")
    more = 10 if SOAK else 1
    for words in (f"-c {4000 * more} -d 32 -s 4096 -S 1052672",
                  f"-c {300 * more} -d 8 -s 131072 -S 131072",
                  f"-w -c {300 * more} -d 8 -s 131072 -S 131072"):
        both = [subprocess.Popen(["qemu-img", "bench", "-f", "raw", "-t", "none", *words.split(),
                                  s.url()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True) for _ in range(2)]
        for p in both:
            out = p.communicate(timeout=300)[0]
            assert p.returncode == 0 and "completed" in out and "rror" not in out, out
    assert "error" not in s.vm.ok("dmesg").lower()


def test_eight_sessions(boot, folder):
    """The budget at 24 MiB (docs/design.md): eight sessions, of which one asks for all it may and
    never reads, and one never sends what it promised.  The six others do not notice; the two are
    dropped when somebody needs what they hold."""
    size = 8 * MIB
    s = Served(boot, [virtio(make_disk(folder + "/a", size, seed=5))], mem=24)
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --noauth")
    data = bytearray(pattern(5, size))
    lazy, mute = Session(s.port, IQN), Session(s.port, IQN)
    for x in (lazy, mute):
        x.run(b"\0")
    for i in range(60):
        lazy.start(rw(0x28, i * 128, 1024), read=524288)
        mute.start(rw(0x2a, 0, 128), write=bytes(65536), immediate=0)
    others, rng = [Session(s.port, IQN) for _ in range(6)], random.Random(2)
    for x in others:
        x.s.settimeout(60)
        x.run(b"\0")
    for rounds in range(300 if SOAK else 20):
        for i, x in enumerate(others):
            lba = 4096 + i * 2048 + rng.randrange(1024)
            part = rng.randbytes(rng.choice((512, 4096, 65536, 262144)))
            x.write(lba, part)
            data[lba * 512:lba * 512 + len(part)] = part
            lba = rng.randrange(2048)
            assert x.read(lba, 1024) == data[lba * 512:(lba + 1024) * 512]
        # The largest there is needs all the memory for data, also what the two have.
        status, got, sense = others[rounds % 6].run(rw(0x28, 0, 8192), read=4 * MIB)
        assert status == GOOD and got == data[:4 * MIB], sense.hex()
    said = s.vm.ok("export sessions")
    assert len(re.findall(r"(?m)^iscsi ", said)) == 6, said
    assert s.vm.sum("/dev/vda", 0, size // 512) == sha256(bytes(data))
    print(s.vm.ok("mem")[-1500:])


# ---- libiscsi's conformance tests ----

FAMILIES = ["Read6", "Read10", "Read12", "Read16", "Write10", "Write12", "Write16", "WriteSame10",
            "WriteSame16", "Verify10", "Verify16", "ReadCapacity10", "ReadCapacity16", "Inquiry",
            "Mandatory", "ModeSense6", "TestUnitReady", "Unmap", "iSCSIcmdsn", "iSCSIResiduals"]


def names(family):
    said = subprocess.run(["iscsi-test-cu", "-l"], capture_output=True, text=True).stdout
    return re.findall(rf"(?m)^(ALL\.{family}\.\w+)$", said)


@pytest.mark.parametrize("family", FAMILIES)
def test_conformance(boot, folder, family):
    s = Served(boot, [virtio(make_disk(folder + "/a", 64 * MIB), logical_block_size=512)])
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --noauth")
    found, skipped = names(family), []
    assert found
    for name in found:
        p = subprocess.run(["iscsi-test-cu", "-d", "-f", "-n", "-t", name, s.url()],
                           capture_output=True, text=True, errors="replace", timeout=60)
        out = p.stdout + p.stderr
        m = re.search(r"tests +(\d+) +(\d+) +(\d+) +(\d+)", out)
        assert m and p.returncode == 0 and m[2] != "0" and m[4] == "0", f"{name}\n{out[-3000:]}"
        # Each begins by asking for reservations, which is no test.
        if re.search(r"\[SKIPPED\] (?!PERSISTENT RESERVE IN is not implemented)", out):
            skipped.append(name)
    print(f"{len(found)} tests, skipped: {' '.join(skipped) or 'none'}")


# ---- bytes that no initiator sends ----

def test_hostile_bytes(boot, folder):
    """Whatever comes, the next one is served and the disk is as it was."""
    s = Served(boot, [virtio(make_disk(folder + "/a", MIB, seed=9))])
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --noauth")
    rng = random.Random(1)
    for i in range(400 if SOAK else 30):
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            c.settimeout(0.05)
            head = bytearray(rng.randbytes(48))
            if i % 2:
                head[0] = rng.choice((0x43, 0x03, 0x01, 0x41, 0x00, 0x40, 0x04, 0x05, 0x02))
                head[4:8] = rng.choice((b"\0\0\0\0", b"\0\0\0\x40", b"\xff\xff\xff\xff"))
            try:
                c.sendall(bytes(head) + rng.randbytes(rng.choice((0, 10, 64, 5000, 65536))))
                c.recv(65536)
            except OSError:
                pass
    held = []
    for _ in range(500 if SOAK else 80):
        try:
            held.append(socket.create_connection(("127.0.0.1", s.port), timeout=1))
        except OSError:
            break
    for c in held:
        c.close()
    assert "CAIRN" in tool("iscsi-inq", s.url(), timeout=90)
    assert s.vm.sum("/dev/vda", 0, 2048) == sha256(pattern(9, MIB))

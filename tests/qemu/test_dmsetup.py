# SPDX-License-Identifier: BSD-2-Clause
"""dmsetup's words against what Linux printed: tests/qemu/golden/*.txt, recorded from a real Linux
by tools/record-golden on disks of the same sizes.

    $ command       typed as it stands
    > line          the lines of its table, Ctrl-D behind them
    ! words         it failed; the words, if any, are the reason in the kernel's log
    anything else   its output
"""
import glob
import os
import re

import pytest

from cairn import HERE, null_node, nvme, virtio

FILES = sorted(glob.glob(os.path.join(HERE, "golden", "*.txt")))
MIB = 1 << 20


def disks():
    """As tools/record-golden has them."""
    return [virtio(null_node(64 * MIB)), virtio(null_node(32 * MIB)),
            nvme(null_node(48 * MIB), serial="n")]


class Step:
    def __init__(self, command, number):
        self.command, self.number = command, number
        self.then, self.out, self.failed = [], [], None


def read_steps(path):
    steps = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line.startswith("$ "):
                steps.append(Step(line[2:], number))
            elif line.startswith("#") and not steps:
                continue
            elif line.startswith("> "):
                steps[-1].then.append(line[2:])
            elif line.startswith("!"):
                steps[-1].failed = line[1:].strip()
            elif steps:
                steps[-1].out.append(line)
    return steps


def check(step, said):
    if step.failed is None:
        assert said.error is None, f"error: {said.error}"
    else:
        assert said.error is not None, "Linux refused this"
        # Of two reasons to refuse a rename of what is not there, either will do.
        absent = "no such mapped device" in said.error and \
            re.search("non-existent|already exists", step.failed)
        assert absent or step.failed.lower() in said.error.lower()
    if step.command == "dmsetup targets":
        # Linux lists the modules it had loaded; these are here, in its versions.
        assert step.out and set(step.out) <= set(said.lines)
    elif step.command == "dmsetup version":
        assert said.out.split("Driver version:")[1] == "\n".join(step.out + [""]).split(
            "Driver version:")[1]
    elif step.failed is None:
        assert said.lines == step.out


@pytest.mark.parametrize("path", FILES, ids=[os.path.basename(x)[:-4] for x in FILES])
def test_as_linux(boot, path):
    vm = boot(disks())
    wrong, steps = [], read_steps(path)
    for step in steps:
        said = vm.run(step.command, then=step.then)
        try:
            check(step, said)
        except AssertionError as e:
            wrong.append(f"line {step.number}: $ {step.command}\n" + "\n".join(
                ["  Linux: " + x for x in step.out + ([] if step.failed is None else
                                                      ["! " + step.failed])]
                + ["  Cairn: " + x for x in said.lines]
                + ([f"  Cairn: error: {said.error}"] if said.error else [])
                + ["  " + re.sub(r"\s+", " ", str(e))[:200]]))
    assert not wrong, f"{len(wrong)} of {len(steps)} differ\n" + "\n".join(wrong)
    assert steps


def test_there_are_transcripts():
    assert len(FILES) >= 4


def test_seeds_spellings(boot):
    """The README's own spellings beside dmsetup's."""
    vm = boot(disks())
    vm.ok('dmsetup create a --tables "0 8 linear /dev/vda 0"')
    assert vm.ok("dmsetup table a") == "0 8 linear 254:0 0\n"
    vm.ok("dmsetup message suspend a")
    assert "SUSPENDED" in vm.ok("dmsetup info a")
    vm.ok("dmsetup message resume a")
    assert "ACTIVE" in vm.ok("dmsetup info a")
    # A number first is the sector: the target takes no messages, and says so.
    assert vm.fails("dmsetup message 0 a hello") == vm.fails("dmsetup message a 0 hello")


def test_help_knows_every_word(boot):
    vm = boot()
    said = vm.ok("help")
    for word in ("dmsetup", "lsblk", "blk", "mem", "dmesg", "reboot", "poweroff"):
        assert re.search(rf"\b{word}\b", said), word
    said = vm.ok("help dmsetup")
    for word in ("create", "remove", "reload", "load", "suspend", "resume", "message", "rename",
                 "table", "status", "info", "ls", "deps", "targets", "version", "remove_all"):
        assert re.search(rf"\b{word}\b", said), word


def test_boot_time_devices(boot):
    """dm-mod.create and dm-mod.waitfor on the kernel's command line, as with Linux."""
    vm = boot([virtio(null_node(MIB)), virtio(null_node(MIB))],
              append='dm-mod.waitfor=/dev/vda,/dev/vdb '
                     'dm-mod.create="lin,,3,rw,0 1024 linear /dev/vda 0,1024 512 linear /dev/vdb 0;'
                     'two,UUID-2,,ro,0 512 linear /dev/vda 1024" '
                     'cairn.run="dmsetup create top --table \'0 8 linear /dev/mapper/lin 0\'"')
    assert vm.ok("dmsetup table").splitlines() == [
        "lin: 0 1024 linear 254:0 0", "lin: 1024 512 linear 254:16 0",
        "top: 0 8 linear 253:3 0", "two: 0 512 linear 254:0 1024"]
    assert "UUID: UUID-2" in vm.ok("dmsetup info two") and "READ-ONLY" in vm.ok("dmsetup info two")
    assert "all devices available" in vm.ok("dmesg")


@pytest.mark.parametrize("words,said", [
    ('dm-mod.create="x,,,rw,0 8 linear /dev/vdz 0"', "Device lookup failed"),
    ('dm-mod.create="x,,m,rw,0 8 zero"', "Invalid minor number"),
    ('dm-mod.create="x"', "five comma-separated fields"),
    ("dm-mod.create='x,,,rw,0 8 zero'", "a quote has no place there"),
    ("dm-mod.waitfor=/dev/vdz,/dev/vda", "/dev/vdz: no such device")])
def test_boot_time_devices_refused(boot, words, said):
    """With words; and it boots."""
    vm = boot([virtio(null_node(MIB))], append=words)
    assert vm.ok("dmsetup ls") == "No devices found\n"
    assert said in vm.ok("dmesg") or said in vm.boot_output.decode()


# Table, the column and the words of what is wrong; of the last line that is printed.
LINT = [("0 8 linear /dev/vda x", 20, "Invalid device sector"),
        ("0 8 linear /dev/vdq 0", 11, "Device lookup failed"),
        ("0 8 linear /dev/vda", 20, "Invalid argument count"),
        ("0 8 lineal /dev/vda 0", 4, "unknown target type"),
        ("x 8 zero", 0, "Invalid format"), ("0 y zero", 2, "Invalid format"),
        ("0 0 zero", 2, "zero-length target"), ("0 8", 4, "Invalid format"),
        ("0 8 zero\n9 8 zero", 0, "line 2: zero: Gap in table"),
        ("0 8 delay /dev/vda 0 x", 21, "Invalid delay"),
        ("0 8 flakey /dev/vda 0 1 1 2 drop_writes drop", 40, "Unrecognised flakey feature"),
        ("  0\t8 zero 1", 11, "No arguments required"),
        ("0 8 switch 1 8 0 /dev/vda z", 26, "Invalid device starting offset"),
        ("0 8 dust /dev/vda 0 513", 20, "Block size must be a power of 2"),
        ("0 8 log-writes /dev/vda /dev/vdx", 24, "Log device lookup failed")]


def test_lint(boot):
    vm = boot([virtio(null_node(MIB))])
    for table, column, words in LINT:
        said = vm.run("dmsetup lint", then=table.split("\n"))
        assert words in said.error
        assert said.lines[0] == table.split("\n")[-1].replace("\t", " ")
        assert said.lines[1] == " " * column + "^", table
    assert vm.ok("dmsetup lint --table '0 8 linear /dev/vda 0'") == ""
    assert vm.ok("dmsetup ls") == "No devices found\n"


def test_dry_run(boot):
    vm = boot([virtio(null_node(MIB))])
    vm.ok("dmsetup create a --table '0 8 linear /dev/vda 0'")
    assert vm.ok("dmsetup create b --dry-run --table '0 8 linear /dev/mapper/a 0'") == ""
    for wrong in ("b --dry-run --table '0 8 nosuch'", "a --dry-run --table '0 8 zero'",
                  "b --dry-run --table '0 9 linear /dev/mapper/a 0'", "b/c --dry-run --notable"):
        vm.fails(f"dmsetup create {wrong}")
    assert vm.ok("dmsetup ls") == "a\t(253:0)\n"
    assert "Open count:        0" in vm.ok("dmsetup info a")

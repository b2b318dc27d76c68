# SPDX-License-Identifier: BSD-2-Clause
"""Volumes that real Linux made: same table, same bytes.  They are not part of this repository; the
folder is CAIRN_GOLDEN or ../shared/golden, and each case is skipped with words where there is none
or where Cairn does not have one of its targets."""
import json
import os
import re
import subprocess

import pytest

from cairn import TOP, nvme, sha256, virtio

GOLDEN = os.environ.get("CAIRN_GOLDEN", os.path.join(TOP, "..", "shared", "golden"))
HAVE = {"linear", "striped", "zero", "error", "unstriped", "switch",
        "log-writes", "ebs", "delay", "flakey", "dust"}
REPLAY = {"switch", "dust"}     # messages make what is read through these what it was


def cases():
    if not os.path.isdir(GOLDEN):
        return []
    return sorted(d for d in os.listdir(GOLDEN)
                  if os.path.exists(os.path.join(GOLDEN, d, "manifest.json")))


def targets_of(manifest):
    return {line.split()[2] for m in manifest["maps"] for line in m["table"]}


def readable():
    """Those whose targets are all there."""
    out = []
    for c in cases():
        with open(os.path.join(GOLDEN, c, "manifest.json")) as f:
            if targets_of(json.load(f)) <= HAVE:
                out.append(c)
    return out


def test_volumes_there_are():
    if not cases():
        pytest.skip(f"no volumes in {GOLDEN}")
    other = len(cases()) - len(readable())
    if other:
        pytest.skip(f"{other} of {len(cases())} volumes need targets that are not there yet")


# What a disk is called, and its number, on each bus.
BUSES = {"virtio": (virtio, lambda i: f"/dev/vd{chr(97 + i)}", lambda i: f"254:{16 * i}"),
         "nvme": (nvme, lambda i: f"/dev/nvme{i}n1", lambda i: f"259:{256 * i}")}


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("case", readable())
def test_volume(boot, folder, case, bus):
    make, dev, number = BUSES[bus]
    where = os.path.join(GOLDEN, case)
    with open(os.path.join(where, "manifest.json")) as f:
        manifest = json.load(f)
    disks, names = [], {}
    for i, image in enumerate(manifest["images"]):
        path = os.path.join(folder, image["role"])
        subprocess.run(["zstd", "-q", "-d", "-o", path, os.path.join(where, image["file"])],
                       check=True)
        with open(path, "rb") as f:
            assert sha256(f.read()) == image["sha256"]
        disks.append(make(path))
        names["{%s}" % image["role"]] = dev(i)
    vm = boot(disks)
    roles = {number(i): "{%s}" % x["role"] for i, x in enumerate(manifest["images"])}

    def real(text):
        text = re.sub(r"\{map:(\w+)\}", r"/dev/mapper/\1", text)
        return re.sub(r"\{\w+\}", lambda m: names[m.group()], text)

    for m in manifest["maps"]:
        read_only = " --readonly" if m["ro"] else ""
        vm.ok(f"dmsetup create {m['name']}{read_only}", then=[real(x) for x in m["table"]])
        for name, words in manifest["messages"] if REPLAY & targets_of(manifest) else []:
            if name == m["name"]:
                sector, words = words.split(" ", 1)
                vm.ok(f"dmsetup message {name} {sector} {words}")
        said = "".join(x + ";" for x in vm.ok(f"dmsetup status {m['name']}").splitlines())
        said = re.sub(r"\b25[49]:\d+\b", lambda d: roles.get(d.group(), d.group()), said)
        assert said == m.get("status_after_reactivation", m["status"])
        if not m.get("sha256"):
            continue
        # What cannot be read counts as zeroes, and it must be just that.
        at, lines = 0, []
        for bad in m["bad"]:
            first, count = (int(x) for x in bad.split("+"))
            if first > at:
                lines.append(f"{at} {first - at} linear /dev/mapper/{m['name']} {at}")
            lines.append(f"{first} {count} zero")
            at = first + count
            for s in {first, first + count // 2, first + count - 1}:
                vm.fails(f"blk sum /dev/mapper/{m['name']} {s} 1")
        if at < m["sectors"]:
            lines.append(f"{at} {m['sectors'] - at} linear /dev/mapper/{m['name']} {at}")
        vm.ok("dmsetup create whole", then=lines)
        assert vm.sum("/dev/mapper/whole", 0, m["sectors"]) == m["sha256"]
        vm.ok("dmsetup remove whole")

# SPDX-License-Identifier: BSD-2-Clause
"""The README does what it says: its tour, typed as it stands into what `make run` boots."""
import os
import re
import subprocess

import pytest

from cairn import ELF, TOP

RUN = os.path.join(TOP, "tools", "run")


def tour():
    """[(command, lines of its table, whether the README says it fails)]"""
    steps = []
    with open(os.path.join(TOP, "README.md")) as f:
        text = f.read().split("## Five minutes")[1].split("\n## ")[0]
    for line in text.split("\n"):
        if line.startswith("    cairn# "):
            steps.append([line[11:], [], False])
        elif line.startswith("    error: "):
            steps[-1][2] = True
        elif line.startswith("    ") and line.strip() != "^D":
            steps[-1][1].append(line.strip())
    return steps


def test_tour(boot, folder):
    vm = boot(command=[RUN, ELF], env={"CAIRN_DISKS": folder + "/disks"})
    # The device that make run promises, made before the prompt.
    assert re.search(rb"0 262144 striped 2 128 254:0 0 259:0 0", vm.boot_output)
    steps = tour()
    assert len(steps) > 15
    for command, table, fails in steps:
        if command == "poweroff":
            vm.send("poweroff\r")
            assert vm.wait_end() == 0
        elif fails:
            vm.fails(command, then=table)
        else:
            vm.ok(command, then=table, timeout=300)


def test_printed_commands(boot, folder):
    """What make run says to try from the host works as it stands there."""
    vm = boot(command=[RUN, ELF], env={"CAIRN_DISKS": folder + "/disks"})
    said = vm.boot_output.decode(errors="replace").split("try on the host:")[1]
    commands = [x.strip() for x in said.splitlines() if x.strip()][:3]
    assert len(commands) == 3
    for line in commands:
        line = line.replace("/tmp/stripe.img", folder + "/stripe.img")
        p = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
        assert p.returncode == 0, line + "\n" + p.stdout + p.stderr
    assert "sample disk" in subprocess.run(["strings", folder + "/stripe.img"],
                                           capture_output=True, text=True).stdout[:1000]


def test_run_again_keeps_the_disks(boot, folder):
    """What was written stays; and Ctrl-A X leaves."""
    vm = boot(command=[RUN, ELF], env={"CAIRN_DISKS": folder + "/disks"})
    vm.ok("blk write /dev/mapper/stripe 0 64 --seed 5 --flush")
    want = vm.sum("/dev/mapper/stripe", 0, 1024)
    vm.send("\x01x")
    assert vm.wait_end() == 0
    vm = boot(command=[RUN, ELF], env={"CAIRN_DISKS": folder + "/disks"})
    assert vm.sum("/dev/mapper/stripe", 0, 1024) == want


@pytest.mark.parametrize("folder_", ["tools", "tests", "boot", "kernel", "drivers", "mapper",
                                     "targets", "net", "exports", "shell"])
def test_every_source_says_its_licence(folder_):
    missing = []
    for root, dirs, names in os.walk(os.path.join(TOP, folder_)):
        dirs[:] = [d for d in dirs if d != "__pycache__"]
        for name in names:
            path = os.path.join(root, name)
            with open(path, errors="replace") as f:
                head = [f.readline(), f.readline()]
            if "SPDX-License-Identifier: BSD-2-Clause" not in "".join(head):
                missing.append(path)
    assert not missing

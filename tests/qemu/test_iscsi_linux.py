# SPDX-License-Identifier: BSD-2-Clause
"""Linux's own initiator (Debian's kernel and open-iscsi): a file system made, filled, left, found
again, whatever the device is made of."""
import os
import re
import time

import pytest

from cairn import SOAK, make_disk, nvme, virtio
from linux import INITIATOR, Linux

MIB = 1 << 20
IQN = "iqn.2026-11.org.cairn:root"
SECRET, MUTUAL = "correct-horse-9", "battery-staple-7"
HERE, THERE = "10.9.0.1", "10.9.0.2"


@pytest.fixture
def pair(boot, folder):
    """pair(disks): a Cairn and a Linux on one wire, with addresses."""
    started = []

    def start(disks, smp=2, mem=128):
        wire = f"{folder}/w"
        vm = boot(disks, smp=smp, mem=mem, extra=[
            "-netdev", f"stream,id=n0,server=on,addr.type=unix,addr.path={wire}",
            "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01"])
        vm.ok(f"ip addr add {HERE}/24 dev eth0")
        lin = Linux(folder, extra=[
            "-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={wire}",
            "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:02"])
        started.append(lin)
        lin.run(f"ip addr add {THERE}/24 dev eth0; ip link set eth0 up")
        return vm, lin

    yield start
    for lin in started:
        lin.end()


def login(lin, chap=False, mutual=False, digests=False):
    """The device's name in Linux."""
    said = lin.run(f"iscsiadm -m discoverydb -t st -p {HERE} -o new >/dev/null; "
                   + (f"iscsiadm -m discoverydb -t st -p {HERE} -o update "
                      "-n discovery.sendtargets.auth.authmethod -v CHAP; "
                      f"iscsiadm -m discoverydb -t st -p {HERE} -o update "
                      "-n discovery.sendtargets.auth.username -v user; "
                      f"iscsiadm -m discoverydb -t st -p {HERE} -o update "
                      f"-n discovery.sendtargets.auth.password -v {SECRET}; " if chap else "")
                   + f"iscsiadm -m discoverydb -t st -p {HERE} -D")
    assert re.search(rf"{HERE}:3260,1 {IQN}", said), said
    settings = {}
    if chap:
        settings = {"node.session.auth.authmethod": "CHAP", "node.session.auth.username": "user",
                    "node.session.auth.password": SECRET}
    if mutual:
        settings.update({"node.session.auth.username_in": "target",
                         "node.session.auth.password_in": MUTUAL})
    for key in ("HeaderDigest", "DataDigest"):
        settings[f"node.conn[0].iscsi.{key}"] = "CRC32C" if digests else "None"
    for key, value in settings.items():
        lin.run(f"iscsiadm -m node -T {IQN} -p {HERE} -o update -n '{key}' -v {value}")
    lin.run(f"iscsiadm -m node -T {IQN} -p {HERE} --login")
    for _ in range(100):
        found = re.findall(r"\bsd[a-z]\b", lin.run("ls /sys/block"))
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("no disk came\n" + lin.run("dmesg | tail -30"))


def logout(lin):
    lin.run(f"iscsiadm -m node -T {IQN} -p {HERE} --logout")
    assert not re.findall(r"\bsd[a-z]\b", lin.run("ls /sys/block"))


TABLES = {
    "linear": [("l", "0 {n} linear /dev/vda 0")],
    "striped": [("l", "0 {n} striped 2 128 /dev/vda 0 /dev/nvme0n1 0")],
    "stack": [("s", "0 {n} striped 2 16 /dev/vda 0 /dev/nvme0n1 0"),
              ("l", "0 {n} linear /dev/mapper/s 0")],
}


HOW = {"open": (False, False, False), "chap-digests": (True, False, True),
       "mutual-chap": (True, True, False)}
ROUND_TRIPS = [(kind, how) for kind in TABLES for how in HOW]
SAMPLE = [("linear", "open"), ("striped", "chap-digests"), ("stack", "mutual-chap")]


@pytest.mark.parametrize("kind,how", ROUND_TRIPS if SOAK else SAMPLE)
def test_ext4(pair, folder, kind, how):
    chap, mutual, digests = HOW[how]
    size = 96 * MIB
    vm, lin = pair([virtio(make_disk(folder + "/a", size)), nvme(make_disk(folder + "/b", size))])
    for name, table in TABLES[kind]:
        vm.table(name, table.format(n=size // 512))
    vm.ok(f"export create iscsi {IQN} /dev/mapper/l --allow {INITIATOR} "
          + (f"--chap user:{SECRET}" if chap else "--noauth")
          + (f" --mutual-chap target:{MUTUAL}" if mutual else ""))
    disk = login(lin, chap, mutual, digests)
    lin.run(f"mkfs.ext4 -q -F /dev/{disk}", timeout=300)
    lin.run(f"mount -t ext4 /dev/{disk} /mnt")
    lin.run("dd if=/dev/urandom of=/mnt/f bs=1M count=64 2>/dev/null", timeout=300)
    want = lin.run("sha256sum /mnt/f", timeout=300).split()[0]
    lin.run("umount /mnt", timeout=300)
    assert INITIATOR in vm.ok("export sessions")
    logout(lin)
    assert INITIATOR not in vm.ok("export sessions")
    disk = login(lin, chap, mutual, digests)
    lin.run(f"e2fsck -f -n /dev/{disk}", timeout=300)
    lin.run(f"mount -t ext4 -o ro /dev/{disk} /mnt")
    assert lin.run("sha256sum /mnt/f", timeout=300).split()[0] == want
    lin.run("umount /mnt")
    logout(lin)


def test_reload_under_fio(pair, folder):
    """Must show 4: the table changed under a verifying load of the other machine."""
    size = 64 * MIB
    n = size // 512
    vm, lin = pair([virtio(make_disk(folder + "/a", size))])
    vm.table("l", f"0 {n} linear /dev/vda 0")
    vm.ok(f"export create iscsi {IQN} /dev/mapper/l --noauth")
    disk = login(lin)
    rounds = 20 if SOAK else 5
    lin.proc.stdin.write(
        f"fio --name=v --filename=/dev/{disk} --direct=1 --ioengine=libaio --rw=randrw --bs=4k "
        f"--iodepth=16 --verify=crc32c --verify_fatal=1 --size=32M --time_based "
        f"--runtime={2 + rounds} >/tmp/fio 2>&1; echo =fio=$?=\n".encode())
    lin.proc.stdin.flush()
    half = n // 2
    layouts = [[f"0 {half} linear /dev/vda 0", f"{half} {n - half} linear /dev/vda {half}"],
               [f"0 {n} striped 1 8 /dev/vda 0"], [f"0 {n} linear /dev/vda 0"]]
    time.sleep(1)
    for i in range(rounds):
        vm.ok("dmsetup suspend l")
        vm.ok("dmsetup reload l", then=layouts[i % 3])
        time.sleep(0.2)
        vm.ok("dmsetup resume l")
        time.sleep(0.5)
    _, m = lin.wait(r"=fio=(\d+)=", 300)
    said = lin.run("cat /tmp/fio")
    assert m[1] == "0" and "err= 0" in said, said[-3000:]
    logout(lin)

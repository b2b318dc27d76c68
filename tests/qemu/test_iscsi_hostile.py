# SPDX-License-Identifier: BSD-2-Clause
"""What no initiator should say: each of the malformed inputs that iSCSI targets are known to be tried
with (and some have died of).  After each a fresh session finds the disk as it was; in the end nothing
has been lost of the memory."""
import random
import re
import socket
import struct
import time

import pytest

from cairn import SOAK, make_disk, pattern, sha256, virtio
from initiator import CHECK, GOOD, Session, Wire, keys, login_pdu, pdu, rw
from test_iscsi import IQN, SECRET, Served

MIB = 1 << 20
PLAIN = dict(InitiatorName="iqn.2026-11.org.cairn:x", SessionType="Normal", TargetName=IQN)


def drain(w, most=64, wait=0.15):
    """What is answered within a moment; None among it: closed."""
    out = []
    w.s.settimeout(wait)
    try:
        for _ in range(most):
            got = w.recv()
            out.append(got)
            if got is None:
                break
    except OSError:
        pass
    w.s.settimeout(5)
    return out


def first(w, data):
    try:
        w.send(data)
    except OSError:
        return [None]
    return drain(w)


def refused(got):
    """Whether a login was answered by closing, or by a status of failure and no way in."""
    for g in got:
        if g is None:
            return True
        head = g[0]
        if head[0] == 0x23 and head[36]:
            return True
        if head[0] == 0x23 and head[1] & 0x83 == 0x83:
            return False
    return not got


# ---- before anybody is known ----

def login_with(data, **words):
    return lambda w: first(w, login_pdu(data, **words))


def l17(w):
    got = []
    for _ in range(200):
        try:
            w.send(login_pdu(b"X" * 8000 + b"=" + b"y" * 191 + b"\0", flags=0x40))
        except OSError:
            break
    got = drain(w)
    return got


def l20(w):
    first(w, login_pdu(keys(AuthMethod="CHAP", **PLAIN), flags=0))
    return first(w, login_pdu(keys(CHAP_N="x", CHAP_R="0x" + "0" * 32), flags=0x83))


LOGINS = {
    "l01_garbage_64k": lambda w: first(w, random.Random(1).randbytes(65536)),
    "l02_zero_bhs": lambda w: first(w, bytes(48)),
    "l03_half_bhs": lambda w: first(w, login_pdu(b"")[:20]),
    "l04_login_dlen_16m": lambda w: first(w, login_pdu(b"x" * 100, dlen=0xffffff)),
    "l05_login_ahs_255": login_with(keys(**PLAIN), ahslen=255),
    "l06_login_no_nul": login_with(b"InitiatorName=iq"),
    "l07_key_no_equals": login_with(b"InitiatorName\0nothing\0"),
    "l08_key_64k_value": lambda w: first(w, login_pdu(b"InitiatorName=" + b"i" * 60000 + b"\0")),
    "l08_key_300_value": login_with(b"InitiatorName=iqn." + b"i" * 300 + b"\0" +
                                    f"TargetName={IQN}\0".encode()),
    "l13_bad_stage": login_with(keys(**PLAIN), flags=0x8a),
    "l14_stage_back": login_with(keys(**PLAIN), flags=0x84),
    "l15_ffp_direct": login_with(keys(**PLAIN), flags=0x8f),
    "l16_bad_version": lambda w: first(w, login_pdu(keys(**PLAIN), b3=0xff, b2=0xff)),
    "l17_cont_flood": l17,
    "l18_tsih_guess": login_with(keys(**PLAIN), tsih=0xbeef, cid=7),
    "l19_scsi_in_login": lambda w: first(w, pdu(0x01, 0xc0, itt=1, w20=512, x32=rw(0x28, 0, 1)
                                                .ljust(16, b"\0"))),
    "l21_dup_keys": login_with(keys(**PLAIN) + b"InitiatorName=iqn.other:a\0" * 2),
    "no_names": login_with(b""),
    "no_target": login_with(keys(**{**PLAIN, "TargetName": "iqn.2026-11.org.cairn:none"})),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One machine for all of it: what one case leaves, the next one finds."""
    from cairn import Cairn
    folder, started = str(tmp_path_factory.mktemp("hostile")), []

    def boot(disks, **kwargs):
        started.append(Cairn(folder, disks, **kwargs))
        return started[-1]

    s = Served(boot, [virtio(make_disk(folder + "/a", MIB, seed=9)),
                      virtio(make_disk(folder + "/b", MIB, seed=8), serial="b")], mem=64)
    s.vm.ok(f"export create iscsi {IQN} /dev/vda --noauth")
    s.vm.ok(f"export create iscsi {IQN}-chap /dev/vdb --chap user:{SECRET}")
    yield s
    for vm in started:
        vm.end()


def unharmed(s):
    with Session(s.port, IQN) as x:
        assert x.run(b"\0")[0] in (GOOD, CHECK)
        x.run(b"\0")
        assert x.read(0, 64) == pattern(9, MIB)[:64 * 512]


@pytest.mark.parametrize("name", LOGINS)
def test_login(served, name):
    with Wire(served.port) as w:
        got = LOGINS[name](w)
        assert refused(got), [g and (g[0].hex(), g[1][:80]) for g in got]
    unharmed(served)


@pytest.mark.parametrize("value", ["9" * 20, "0", "1", "511", "-1", "0x", "8192\nx"])
def test_login_l10_to_l12_segment_length(served, value):
    """A length that cannot be is rejected as a key; what is in force is RFC 7143's 8192."""
    with Session(served.port, IQN, MaxRecvDataSegmentLength=value) as x:
        assert "MaxRecvDataSegmentLength" in x.said
        x.run(b"\0")
        tag = x.start(rw(0x28, 0, 64), read=32768)
        head, data = x.recv()
        assert head[0] == 0x25 and len(data) <= 8192
        x.under_way[tag][1].extend(data)
        assert x.finish(tag)[1] == pattern(9, MIB)[:32768]
    unharmed(served)


def test_login_l09_unknown_keys(served):
    with Wire(served.port) as w:
        w.send(login_pdu(keys(**PLAIN) + b"".join(b"X-k%d=1\0" % i for i in range(700))))
        got = drain(w, wait=3)
        assert got and all(g is None or g[0][0] == 0x23 for g in got)
    unharmed(served)


def test_login_l20_no_way_round_chap(served):
    plain = {**PLAIN, "TargetName": IQN + "-chap"}
    for data, flags in ((keys(**plain), 0x87), (keys(AuthMethod="None", **plain), 0x81),
                        (keys(AuthMethod="None", **plain), 0x83),
                        (keys(AuthMethod="CHAP", **plain), 0x87),
                        (keys(AuthMethod="CHAP", CHAP_N="user", CHAP_R="0x00", **plain), 0x83)):
        with Wire(served.port) as w:
            got = first(w, login_pdu(data, flags=flags))
            in_ = any(g and g[0][0] == 0x23 and not g[0][36] and g[0][1] & 0x83 == 0x83 for g in got)
            assert not in_
            # and a command is not done either
            got = first(w, pdu(0x01, 0xc0, itt=9, w20=512, w24=1, x32=rw(0x28, 0, 1).ljust(16, b"\0")))
            assert not any(g and g[0][0] in (0x25, 0x21) for g in got)
    with Wire(served.port) as w:
        assert refused(l20(w))
    unharmed(served)


def test_login_l22_half_open(served):
    """500 connections that never log in, all held; the next login is served within their time-out."""
    held = []
    for _ in range(500 if SOAK else 120):
        try:
            held.append(Wire(served.port, timeout=1))
            held[-1].send(login_pdu(b"")[:20])
        except OSError:
            break
    end = time.monotonic() + 60
    while True:
        try:
            unharmed(served)
            break
        except (OSError, TypeError):
            assert time.monotonic() < end
            time.sleep(1)
    for w in held:
        w.close()


def test_login_l23_sendtargets(served):
    with Wire(served.port) as w:
        w.send(login_pdu(keys(InitiatorName="iqn.x:y", SessionType="Discovery")))
        got = drain(w, most=1, wait=3)
        assert got and got[0][0][0] == 0x23 and not got[0][0][36]
        first(w, pdu(0x04, 0x80, b"SendTargets=" + b"\xff" * 8000 + b"\0", itt=3, w20=0xffffffff,
                     w24=1))
    unharmed(served)


# ---- in a session ----

def cmd(x, cdb, flags=0x80, **words):
    """One command PDU, its CmdSN in order, and what is answered."""
    patience = {k: words.pop(k) for k in ("most", "wait") if k in words}
    x.send(pdu(words.pop("op", 0x01), flags, itt=words.pop("itt", 7), w24=words.pop("sn", x.cmdsn),
               x32=bytes(cdb).ljust(16, b"\0")[:16], **words))
    x.cmdsn += 1
    return drain(x, **patience)


def out(x, **words):
    try:
        x.send(pdu(0x05, words.pop("flags", 0x80), words.pop("data", b"z" * 512), itt=7, **words))
    except OSError:
        return [None]
    return drain(x)


def r2t(x, blocks=16):
    """A WRITE that waits for its data; its target transfer tag."""
    got = cmd(x, rw(0x2a, 1024, blocks), 0xa0, w20=blocks * 512, most=1, wait=3)
    assert got and got[0][0][0] == 0x31, got
    return int.from_bytes(got[0][0][20:24], "big")


def f26(x):
    return cmd(x, b"\0", sn=x.cmdsn + 100000)


def f27(x):
    for _ in range(2000):
        x.send(pdu(0x41, 0x80, itt=5, w24=x.cmdsn))


def f43(x):
    """Every opcode there is, but those that would change the disk if they were well-formed."""
    for op in range(256):
        x.run(bytes([op]) + b"\xff" * 15, flags=0x80)


def f45(x):
    p = pdu(0x01, 0xc0, itt=7, w20=512, w24=x.cmdsn, x32=rw(0x28, 0, 1).ljust(16, b"\0"))
    for b in p:
        x.send(bytes([b]))
        time.sleep(0.1 if SOAK else 0.01)
    assert any(g and g[0][0] == 0x25 for g in drain(x, most=1, wait=3))


def f15(x):
    r2t(x)
    return cmd(x, rw(0x2a, 1024, 1), 0xa0, w20=512)


def f30(x):
    t = r2t(x)
    x.send(pdu(0x42, 0x81, itt=8, w20=7, w24=x.cmdsn, w32=x.cmdsn - 1))
    x.send(pdu(0x42, 0x85, itt=9, w20=0xffffffff, w24=x.cmdsn))
    return out(x, w20=t, w36=0, w40=0)


def f42(x):
    for cdb in (b"\x12\0\0\0", b"\xa0\0\0\0\0\0\0\0", b"\x1a\0\x3f\0", b"\x9e\x10" + bytes(11)):
        for n in (0, 1, 0xff):
            full = bytearray(cdb.ljust(16, b"\0"))
            at = {0x12: 4, 0xa0: 9, 0x1a: 4, 0x9e: 13}[cdb[0]]
            full[at] = n
            x.run(full, read=n)
        x.run(bytes([cdb[0]]) + b"\xff" * 15, read=65535)


def f46(x):
    for _ in range(40):
        with Session(x.port, IQN, isid=77) as y:
            y.start(rw(0x28, 0, 64), read=32768)
            y.start(rw(0x2a, 1024, 16), write=b"q" * 8192, immediate=0)


IN_SESSION = {
    "f01_reserved_opcode": lambda x: cmd(x, b"", op=0x1f),
    "f02_target_opcode": lambda x: [cmd(x, b"", op=op) for op in (0x20, 0x21, 0x25, 0x31, 0x3f)],
    "f03_dlen_over_mrdsl": lambda x: cmd(x, rw(0x2a, 1024, 1), 0xa0, dlen=0xffffff, w20=512),
    "f04_ahs_255": lambda x: cmd(x, rw(0x28, 0, 1), 0xc0, w20=512,
                                 ahs=b"\xff\xff\0" + bytes(1017)),
    "f05_ahs_extcdb_short": lambda x: cmd(x, rw(0x28, 0, 1), 0xc0, w20=512, ahs=b"\0\0\1\0"),
    "f06_ahs_bidi": lambda x: cmd(x, rw(0x28, 0, 1), 0xe0, w20=512,
                                  ahs=b"\0\5\2\0" + b"\xff" * 4),
    "f07_edtl_huge_small_cdb": lambda x: cmd(x, rw(0x28, 0, 1), 0xc0, w20=0xffffffff),
    "f08_edtl_small_big_cdb": lambda x: cmd(x, rw(0x28, 0, 2048), 0xc0, w20=512),
    "f09_lba_wrap": lambda x: cmd(x, b"\x88\0" + b"\xff" * 8 + b"\0\0\0\2", 0xc0, w20=1024),
    "f10_lba_mul_overflow": lambda x: cmd(x, b"\x88\0" + (1 << 55).to_bytes(8, "big") +
                                          b"\0\0\0\1", 0xc0, w20=512),
    "f11_len_4g": lambda x: cmd(x, b"\x88\0" + bytes(8) + b"\xff" * 4, 0xc0, w20=0xffffffff),
    "f12_write_flags_read": lambda x: cmd(x, rw(0x2a, 1024, 1), 0xc0, w20=512),
    "f13_read_flags_write": lambda x: cmd(x, rw(0x28, 0, 1), 0xa0, data=b"z" * 512, w20=512),
    "f14_lun_addr": lambda x: [cmd(x, b"\0", lun8=bytes([a, b]) + bytes(6), itt=10 + a + b)
                               for a in (0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff) for b in (1, 0xff)],
    "f15_dup_itt": f15,
    "f16_itt_reserved": lambda x: cmd(x, rw(0x28, 0, 1), 0xc0, w20=512, itt=0xffffffff),
    "f17_dataout_no_cmd": lambda x: out(x, w20=1, w40=0),
    "f18_dataout_offset_past": lambda x: out(x, w20=r2t(x), w40=1 << 20),
    "f19_dataout_offset_wrap": lambda x: out(x, w20=r2t(x), w40=0xfffff000, data=b"z" * 8192),
    "f20_dataout_more_than_r2t": lambda x: out(x, w20=r2t(x), w40=0, data=b"z" * 65536),
    "f21_dataout_wrong_ttt": lambda x: out(x, w20=r2t(x) + 1, w40=0),
    "f22_dataout_datasn": lambda x: out(x, w20=r2t(x), w40=0, w36=7),
    "f24_immediate_beyond_edtl": lambda x: cmd(x, rw(0x2a, 1024, 1), 0xa0, w20=512,
                                               data=b"z" * 8192),
    "f25_unsolicited_forbidden": lambda x: [cmd(x, rw(0x2a, 1024, 16), 0x20, w20=8192),
                                            out(x, w20=0xffffffff, w40=0)],
    "f26_cmdsn_far": f26,
    "f27_10k_immediate": f27,
    "f28_tmf_bad_ref": lambda x: cmd(x, b"", 0x81, op=0x42, w20=0x1234, w32=0xffffff),
    "f29_tmf_reserved": lambda x: cmd(x, b"", 0xff, op=0x42),
    "f30_abort_during_dataout": f30,
    "f31_snack": lambda x: cmd(x, b"", 0x80, op=0x10, w40=0xffffffff),
    "f32_text_negotiate_ffp": lambda x: cmd(x, b"", 0x80, op=0x04, w20=0xffffffff, data=keys(
        HeaderDigest="CRC32C", MaxConnections=8)),
    "f33_logout_bad": lambda x: cmd(x, b"", 0xff, op=0x06, h20=0xffff),
    "f34_nop_64k": lambda x: cmd(x, b"", 0x80, op=0x40, w20=0xffffffff, data=b"n" * 65536),
    "f35_pr_out_short": lambda x: cmd(x, b"\x5f\0\0\0\0" + b"\xff" * 4, 0xa0, w20=24,
                                      data=bytes(24)),
    "f36_pr_out_transport_ids": lambda x: cmd(x, b"\x5f\0\0\0\0\0\0\0\x20", 0xa0, w20=32, data=bytes(
        20) + b"\x08\0\0\0" + b"\xff" * 8),
    "f37_unmap_desc_overrun": lambda x: cmd(x, b"\x42\0\0\0\0\0\0\0\x18", 0xa0, w20=24, data=
                                            b"\0\x16\xff\xf8" + bytes(4) + b"\xff" * 16),
    "f38_write_same_4g": lambda x: [cmd(x, b"\x93\0" + bytes(8) + b"\xff" * 4, 0xa0, w20=512,
                                        data=b"z" * 512),
                                    cmd(x, b"\x93\1" + bytes(8) + b"\xff" * 4)],
    "f39_caw_mismatched_len": lambda x: cmd(x, b"\x89\0" + bytes(11) + b"\xff", 0xa0, w20=512,
                                            data=b"z" * 512),
    "f40_xcopy_bad_desc": lambda x: cmd(x, b"\x83\0" + bytes(8) + b"\0\0\0\x10", 0xa0, w20=16,
                                        data=b"\0\0\xff\xff" + b"\xff" * 12),
    "f41_mode_select_overrun": lambda x: cmd(x, b"\x55\x10\0\0\0\0\0\0\x10", 0xa0, w20=16,
                                             data=b"\0\0\0\0\0\0\xff\xff" + bytes(8)),
    "f42_alloc_len_edges": f42,
    "f43_all_opcodes": f43,
    "f45_slow_loris": f45,
    "f46_same_isid_storm": f46,
}


@pytest.mark.parametrize("name", IN_SESSION)
def test_in_session(served, name):
    with Session(served.port, IQN) as x:
        x.port = served.port
        x.run(b"\0")    # takes the unit attention
        try:
            IN_SESSION[name](x)
        except (ConnectionError, BrokenPipeError):
            pass    # it may close
    unharmed(served)


def test_f23_write_then_vanish(served):
    x = Session(served.port, IQN)
    x.run(b"\0")
    for i in range(20):
        x.start(rw(0x2a, 1024, 128), write=b"v" * 65536, immediate=0)
    x.close(reset=True)
    unharmed(served)


def test_f44_digest_bad(served):
    with Session(served.port, IQN, HeaderDigest="CRC32C") as x:
        assert x.said["HeaderDigest"] == "CRC32C"
        x.send(pdu(0x01, 0x80, itt=7, w24=1) + b"\1\2\3\4")
        got = drain(x, wait=3)
        assert got and got[-1] is None, "a bad header digest ends the connection"
    unharmed(served)


def test_random_changes(served):
    """Valid PDUs with bytes of them changed."""
    rng = random.Random(3)
    for i in range(600 if SOAK else 40):
        try:
            with Session(served.port, IQN) as x:
                for _ in range(20):
                    # No opcode that changes the first blocks: the canary would be wrong rightly.
                    p = bytearray(rng.choice((
                        pdu(0x01, 0xc0, itt=7, w20=512, w24=x.cmdsn,
                            x32=rw(0x28, 5, 1).ljust(16, b"\0")),
                        pdu(0x40, 0x80, b"ping", itt=9, w20=0xffffffff, w24=x.cmdsn),
                        pdu(0x42, 0x81, itt=8, w20=7, w24=x.cmdsn),
                        pdu(0x04, 0x80, b"SendTargets=All\0", itt=6, w20=0xffffffff, w24=x.cmdsn),
                        pdu(0x05, 0x80, b"z" * 512, itt=7, w20=1),
                        pdu(0x46, 0x80, itt=4, w24=x.cmdsn))))
                    for _ in range(rng.randrange(1, 4)):
                        at = rng.randrange(32)
                        p[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
                    x.send(bytes(p))
                    x.cmdsn += 1
                drain(x, wait=0.01)
        except (OSError, TypeError):
            pass
    unharmed(served)


def net_memory(served):
    return re.search(r"(?m)^ *(\d+) .*net connections$", served.vm.ok("mem"))[1]


def test_more_after_the_end(served):
    """Logout, or a login that is refused, and behind it more, and FIN: all of it in one go."""
    bad = login_pdu(keys(**{**PLAIN, "TargetName": "iqn.2026-11.org.cairn:none"}))

    def rounds(nr):
        for i in range(nr):
            if i % 2:
                w = Wire(served.port)
                w.send(bad + bytes(100000))
            else:
                w = Session(served.port, IQN)
                w.send(pdu(0x46, 0x80, itt=4, w24=w.cmdsn) + bytes(i * 1500))
            w.s.shutdown(socket.SHUT_WR)
            w.close(reset=i % 3 == 0)

    def settled():
        end = time.monotonic() + 20
        while time.monotonic() < end and re.search(r"(?m)^iscsi ", served.vm.ok("export sessions")):
            time.sleep(0.5)
        time.sleep(1)
        return net_memory(served)

    rounds(4)
    before = settled()
    rounds(60)
    unharmed(served)
    assert settled() == before


def test_nothing_is_left_over(served):
    """After all that: the other blocks as they were, and no session that nobody has."""
    data = pattern(9, MIB)
    assert served.vm.sum("/dev/vda", 0, 1024) == sha256(data[:1024 * 512])
    assert served.vm.sum("/dev/vdb", 0, 2048) == sha256(pattern(8, MIB))
    end = time.monotonic() + 40
    while re.search(r"(?m)^iscsi ", served.vm.ok("export sessions")):
        assert time.monotonic() < end, served.vm.ok("export sessions")
        time.sleep(1)
    said = served.vm.ok("mem")
    print(re.findall(r"(?m)^.*(?:iscsi|net ).*$", said))


def test_words(served):
    """The helper itself: struct words go where they should."""
    p = pdu(0x01, 0x80, b"abc", itt=5, w20=0x01020304, lun=2)
    assert len(p) == 52 and p[5:8] == b"\0\0\3" and p[8:10] == struct.pack(">H", 2)
    assert p[16:24] == b"\0\0\0\5\1\2\3\4"

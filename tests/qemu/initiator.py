# SPDX-License-Identifier: BSD-2-Clause
"""An iSCSI initiator (RFC 7143) that does as it is told, right or wrong: PDUs by hand, and above them
a session that keeps commands under way."""
import os
import socket
import struct

WHO = "iqn.2026-11.org.cairn:tester"
GOOD, CHECK = 0, 2


def pdu(op, flags=0x80, data=b"", itt=0xffffffff, lun=0, ahs=b"", **words):
    """A PDU; w20=... sets the 32-bit word at byte 20.  dlen=... tells another length than data's."""
    head = bytearray(48)
    head[0], head[1] = op, flags
    head[4] = words.pop("ahslen", len(ahs) // 4)
    head[5:8] = words.pop("dlen", len(data)).to_bytes(3, "big")
    head[8:16] = words.pop("lun8", struct.pack(">HHHH", lun, 0, 0, 0))
    head[16:20] = struct.pack(">I", itt)
    for name, value in words.items():
        at = int(name[1:])
        size = {"b": 1, "h": 2, "w": 4, "q": 8, "x": 16}[name[0]]
        head[at:at + size] = value if size == 16 else value.to_bytes(size, "big")
    return bytes(head) + ahs + data + bytes(-len(data) % 4)


def keys(**pairs):
    return "".join(f"{k}={v}\0" for k, v in pairs.items()).encode()


class Wire:
    """One connection."""

    def __init__(self, port, host="127.0.0.1", timeout=5, window=0):
        self.s = socket.socket()
        self.s.settimeout(timeout)
        if window:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.s.connect((host, port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def send(self, data):
        self.s.sendall(data)

    def recv(self):
        """(head, data) of the next PDU; None: the other side has closed."""
        try:
            while len(self.buf) < 48 or len(self.buf) < self.whole():
                got = self.s.recv(1 << 20)
                if not got:
                    return None
                self.buf += got
        except ConnectionError:
            return None
        n = self.whole()
        out, self.buf = self.buf[:n], self.buf[n:]
        at = 48 + 4 * out[4]
        return out[:48], out[at:at + int.from_bytes(out[5:8], "big")]

    def whole(self):
        dlen = int.from_bytes(self.buf[5:8], "big")
        return 48 + 4 * self.buf[4] + (dlen + 3) // 4 * 4

    def close(self, reset=False):
        if reset:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def login_pdu(data, flags=0x87, isid=1, tsih=0, cid=1, op=0x43, **words):
    lun8 = b"\x80\0\0" + isid.to_bytes(3, "big") + tsih.to_bytes(2, "big")
    return pdu(op, flags, data, itt=1, lun8=lun8, h20=cid, w24=0, **words)


class Session(Wire):
    """In the full feature phase.  Commands are sent with start() and looked for with finish()."""

    def __init__(self, port, iqn, name=WHO, isid=None, host="127.0.0.1", timeout=5, window=0,
                 **more):
        super().__init__(port, host, timeout, window)
        isid = int.from_bytes(os.urandom(3), "big") if isid is None else isid
        want = dict(InitiatorName=name, SessionType="Normal", TargetName=iqn,
                    HeaderDigest="None", DataDigest="None", ImmediateData="Yes", InitialR2T="Yes",
                    MaxRecvDataSegmentLength=262144, MaxBurstLength=262144,
                    FirstBurstLength=65536)
        want.update(more)
        self.send(login_pdu(keys(**want), isid=isid))
        head, data = self.recv()
        if head[0] != 0x23 or head[36]:
            raise PermissionError(f"login: {head[36:38].hex()}")
        self.said = dict(x.split("=", 1) for x in data.decode().split("\0") if "=" in x)
        self.cmdsn, self.itt = struct.unpack(">I", head[28:32])[0], 1
        self.max_sn = struct.unpack(">I", head[32:36])[0]
        self.statsn = struct.unpack(">I", head[24:28])[0]
        self.under_way, self.done = {}, {}

    def start(self, cdb, read=0, write=b"", flags=None, edtl=None, lun=0, immediate=None, **words):
        """The tag of a command that is under way now.  Its data go by R2T, or immediate=n bytes
        with it."""
        while self.cmdsn > self.max_sn:
            self.pump()
        tag, self.itt = self.itt, self.itt + 1
        n = 0 if not write else min(len(write), 8192) if immediate is None else immediate
        flags = 0x80 | (0x40 if read else 0) | (0x20 if write else 0) if flags is None else flags
        self.under_way[tag] = [write, bytearray()]
        self.send(pdu(0x01, flags, write[:n], itt=tag, lun=lun,
                      w20=(len(write) or read) if edtl is None else edtl, w24=self.cmdsn,
                      w28=self.statsn, x32=bytes(cdb).ljust(16, b"\0"), **words))
        self.cmdsn += 1
        return tag

    def pump(self):
        """Takes one PDU; the tag of the command that it ends, or None."""
        got = self.recv()
        if not got:
            raise ConnectionError("the target has closed")
        head, data = got
        op, itt = head[0] & 0x3f, struct.unpack(">I", head[16:20])[0]
        self.max_sn = struct.unpack(">I", head[32:36])[0]
        if op == 0x31:
            ttt, _, _, _, _, at, n = struct.unpack(">7I", head[20:48])
            self.burst(itt, ttt, at, n)
        elif op == 0x25:
            at = struct.unpack(">I", head[40:44])[0]
            buf = self.under_way[itt][1]
            assert at == len(buf), "data out of order"
            buf += data
            if head[1] & 1:
                return self.end(itt, head[3], b"")
        elif op == 0x21:
            return self.end(itt, head[3], data[2:])
        elif op == 0x20 and itt == 0xffffffff and head[20:24] != b"\xff" * 4:
            self.send(pdu(0x40, 0x80, w20=int.from_bytes(head[20:24], "big"), w24=self.cmdsn))
        else:
            self.done.setdefault(None, []).append(got)
        return None

    def burst(self, itt, ttt, at, n):
        data = self.under_way[itt][0]
        for i, off in enumerate(range(at, at + n, 65536)):
            part = data[off:min(off + 65536, at + n)]
            last = off + len(part) >= at + n
            self.send(pdu(0x05, 0x80 if last else 0, part, itt=itt, w20=ttt, w36=i, w40=off))

    def end(self, itt, status, sense):
        self.done[itt] = status, bytes(self.under_way.pop(itt)[1]), sense
        self.statsn += 1
        return itt

    def finish(self, tag=None):
        """(status, data, sense) of that command; of all of them without a tag."""
        while tag in self.under_way if tag is not None else self.under_way:
            self.pump()
        return self.done.pop(tag) if tag is not None else None

    def run(self, cdb, **words):
        return self.finish(self.start(cdb, **words))

    # ---- a disk ----

    def read(self, lba, blocks, size=512):
        status, data, sense = self.run(rw(0x28, lba, blocks), read=blocks * size)
        assert status == GOOD, sense.hex()
        return data

    def write(self, lba, data, fua=False, size=512):
        status, _, sense = self.run(rw(0x2a, lba, len(data) // size, fua), write=data)
        assert status == GOOD, sense.hex()

    def flush(self):
        assert self.run(b"\x35")[0] == GOOD


def rw(op, lba, blocks, fua=False):
    return struct.pack(">BBIBHB", op, 8 if fua else 0, lba, 0, blocks, 0)

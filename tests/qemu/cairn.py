# SPDX-License-Identifier: BSD-2-Clause
"""cairn - boots build/cairn.elf in QEMU and types on its console.

    vm = Cairn(folder, disks=[virtio("a.img"), nvme("b.img")], smp=2)
    out = vm.ok('dmsetup create l --table "0 2048 linear /dev/vda 0"')
    words = vm.fails("dmsetup remove nobody")
    vm.end()

A command is over when the prompt stands at column 0 with nothing behind it.  Only processes started
here are ever ended, each by its own handle.
"""
import hashlib
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import tty

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tools", "plugin"))

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
ELF = os.path.join(BUILD, "cairn.elf")
MUTANT_ELF = os.path.join(BUILD, "mutant-flush", "cairn.elf")
SOAK = os.environ.get("CAIRN_SOAK") == "1"
PROMPT = b"cairn# "
TICKS = os.sysconf("SC_CLK_TCK")
# Other work on the machine may slow a guest down a lot; time-outs are for what hangs.
PATIENCE = 60

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-Za-z]|\x1b[=>cM78]")


def accel():
    return subprocess.run([os.path.join(TOP, "tools", "accel")], check=True, capture_output=True,
                          text=True).stdout.strip()


ACCEL = accel()


class Died(Exception):
    """QEMU ended, or the kernel panicked, while something was awaited."""


class Failed(AssertionError):
    """A command ended otherwise than it should have."""


class Said:
    """What a command said: out (its lines), error (the words of its error line, or None)."""

    def __init__(self, line, raw):
        text = ESCAPES.sub(b"", raw).decode(errors="replace")
        text = text.replace("\r\n", "\n").replace("\r", "")
        # The first line is the echo of what was typed.
        body = text.split("\n", 1)[1] if "\n" in text else ""
        self.line, self.raw, self.error = line, raw, None
        lines = body.split("\n")
        if lines and lines[-1] == "":
            lines.pop()
        if lines and lines[-1].startswith("error: "):
            self.error = lines.pop()[len("error: "):]
        self.lines = lines
        self.out = "".join(x + "\n" for x in lines)


# ---- disks ----

# The properties of QEMU's virtio-blk that are spelt with underscores; the rest have hyphens.
UNDERSCORES = {"logical_block_size", "physical_block_size", "min_io_size", "opt_io_size",
               "discard_granularity", "indirect_desc", "event_idx", "iommu_platform",
               "notify_on_empty", "any_layout"}


class Disk:
    """QEMU arguments of one disk: a -blockdev node and a -device on it."""

    def __init__(self, device, node, props):
        self.device, self.node, self.props = device, node, props

    def args(self, i, mmio):
        device = self.device
        if mmio and device == "virtio-blk-pci":
            device = "virtio-blk-device"
        props = "".join(f",{k if k in UNDERSCORES else k.replace('_', '-')}={v}"
                        for k, v in self.props.items())
        return ["-blockdev", f"{self.node},node-name=d{i}",
                "-device", f"{device},drive=d{i},id=dev{i}{props}"]


def file_node(path):
    return f"driver=raw,file.driver=file,file.filename={path},file.locking=off"


def null_node(size, latency_ns=0, zeroes="on"):
    extra = f",latency-ns={latency_ns}" if latency_ns else ""
    return f"driver=null-co,size={size},read-zeroes={zeroes}{extra}"


def as_node(what):
    return what if "driver=" in str(what) else file_node(what)


def virtio(what, **props):
    """A virtio-blk disk on a file or a -blockdev node; props with _ for -."""
    return Disk("virtio-blk-pci", as_node(what), props)


def nvme(what, **props):
    """QEMU's own spelling of this device's properties has underscores."""
    d = Disk("nvme", as_node(what), {})
    props.setdefault("serial", "cairn-test")
    d.device += "".join(f",{k}={v}" for k, v in props.items())
    return d


class Raw:
    """Arguments as they are, in the place of a disk."""

    def __init__(self, *args):
        self.words = list(args)

    def args(self, i, mmio):
        return [w.replace("@", f"d{i}") for w in self.words]


# ---- the machine ----

class Cairn:
    def __init__(self, folder, disks=(), machine="q35", cpu="max", smp=1, mem=64, append=None,
                 config=None, extra=(), elf=None, channel="pipe", counts=False, typed=b"",
                 hang_up=False, wait=True, nographic=False, no_reboot=True,
                 patience=PATIENCE, command=None, env=None):
        """typed: bytes in the pipe before QEMU starts; hang_up: and then the pipe ends.
        command: a launch script of ours to run in the place of all this; it execs QEMU."""
        self.folder = str(folder)
        self.seen, self.said, self.counts_file = b"", b"", None
        self.log = open(os.path.join(self.folder, f"console.{time.monotonic_ns()}.log"), "wb")
        self.err = open(self.log.name[:-4] + ".err", "w+")
        self.sock = self.qmp_sock = None
        self.patience = patience
        mmio = machine.startswith("microvm")
        self.qmp_path = os.path.join(self.folder, f"q{time.monotonic_ns() % 10 ** 12}")
        self.cmd = ["qemu-system-x86_64", "-accel", "tcg,thread=multi" if counts else ACCEL,
                    "-machine", machine, "-cpu", cpu, "-smp", str(smp), "-m", str(mem),
                    "-kernel", elf or ELF,
                    "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if no_reboot:
            self.cmd += ["-no-reboot"]
        if nographic:
            self.cmd += ["-nographic", "-net", "none"]
        else:
            self.cmd += ["-nodefaults", "-display", "none"]
        if append is not None:
            self.cmd += ["-append", append]
        if config is not None:
            path = os.path.join(self.folder, "config")
            with open(path, "w") as f:
                f.write(config)
            self.cmd += ["-fw_cfg", f"name=opt/cairn/config,file={path}"]
        if counts:
            import counters
            self.counts_file = self.log.name[:-4] + ".counts"
            so = counters.build(os.path.join(BUILD, "plugin"))
            self.cmd += ["-plugin", f"{so},out={self.counts_file}"]
        for i, d in enumerate(disks):
            self.cmd += d.args(i, mmio)
        self.cmd += list(extra)
        self.env = dict(os.environ, **(env or {}))
        if command:
            self.cmd, nographic = list(command), True
        self._start(channel, typed, hang_up, nographic)
        if wait:
            try:
                self.boot_output = self.wait_prompt(patience)
            except BaseException:
                self.end()
                raise

    def _start(self, channel, typed, hang_up, nographic):
        if channel == "pipe":
            if not nographic:
                self.cmd += ["-serial", "stdio"]
            r, w = os.pipe()
            os.write(w, typed)
            self.proc = subprocess.Popen(self.cmd, stdin=r, stdout=subprocess.PIPE,
                                         stderr=self.err, env=self.env)
            os.close(r)
            self.out_fd, self.in_fd = self.proc.stdout.fileno(), w
            if hang_up:
                os.close(w)
                self.in_fd = None
        elif channel == "pty":
            self.cmd += ["-serial", "stdio"]
            ours, theirs = pty.openpty()
            tty.setraw(theirs)
            self.proc = subprocess.Popen(self.cmd, stdin=theirs, stdout=theirs, stderr=self.err)
            os.close(theirs)
            self.out_fd = self.in_fd = ours
        elif channel == "socket":
            path = self.qmp_path + "s"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(1)
            self.cmd += ["-chardev", f"socket,id=con,path={path},server=off",
                         "-serial", "chardev:con"]
            self.proc = subprocess.Popen(self.cmd, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=self.err)
            listener.settimeout(PATIENCE)
            self.sock = listener.accept()[0]
            listener.close()
            self.out_fd = self.in_fd = self.sock.fileno()
        else:
            raise ValueError(channel)
        if self.in_fd is not None:
            os.set_blocking(self.in_fd, False)
        os.set_blocking(self.out_fd, False)

    # ---- the console, byte by byte ----

    def _read(self, timeout):
        """True if something came."""
        if not select.select([self.out_fd], [], [], max(0, timeout))[0]:
            return False
        try:
            data = os.read(self.out_fd, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:     # the other end of a pty is gone
            data = b""
        if not data:
            self.proc.wait(10)
            raise Died(f"QEMU ended with {self.proc.returncode}: {self._stderr()}\n"
                       + self.tail())
        self.log.write(data)
        self.log.flush()
        self.seen += data
        self.said = (self.said + data)[-20000:]
        return True

    def _stderr(self):
        self.err.flush()
        with open(self.err.name) as f:
            return f.read()

    def tail(self):
        return self.said[-3000:].decode(errors="replace")

    def send(self, data, timeout=PATIENCE):
        """All of data, reading what is said meanwhile: a full line makes us wait, not lose."""
        if isinstance(data, str):
            data = data.encode()
        end = time.monotonic() + timeout
        while data:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(data)} bytes are not taken\n" + self.tail())
            r, w, _ = select.select([self.out_fd], [self.in_fd], [], left)
            if r:
                self._read(0)
            if w:
                try:
                    data = data[os.write(self.in_fd, data[:4096]):]
                except BlockingIOError:
                    pass

    def wait_for(self, pattern, timeout=None):
        """The output up to the end of a match of pattern (bytes), which is taken."""
        timeout = timeout or self.patience
        end = time.monotonic() + timeout
        regex = re.compile(pattern)
        while True:
            m = regex.search(self.seen)
            if m:
                out, self.seen = self.seen[:m.end()], self.seen[m.end():]
                return out
            if b"panic" in self.seen and re.search(rb"(?m)^\W*panic", self.seen):
                while self._read(2):
                    pass
                raise Died("the kernel panicked\n" + self.tail())
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {pattern!r} in {timeout} s\n" + self.tail())
            self._read(left)

    def wait_prompt(self, timeout=None):
        """The output up to a prompt at column 0 with nothing behind it."""
        return self.wait_for(rb"(?:^|[\r\n])" + PROMPT + rb"\Z", timeout)[:-len(PROMPT)]

    # ---- commands ----

    def run(self, line, then=(), timeout=None):
        """Types a line, and the lines `then` with a Ctrl-D behind them; a Said."""
        # CR is what a terminal sends for Enter.
        self.send(line + "\r")
        if not then:
            return Said(line, self.wait_prompt(timeout))
        # What is refused at once does not read a table: the lines would be commands.
        raw = self.wait_for(rb"(?:^|[\r\n])(?:> |" + PROMPT + rb")\Z", timeout)
        if raw.endswith(PROMPT):
            return Said(line, raw[:-len(PROMPT)])
        self.send("".join(x + "\r" for x in then) + "\x04", timeout=600)
        said = Said(line, raw + self.wait_prompt(timeout))
        # Each line with its prompt, and the prompt that Ctrl-D was the answer to.
        said.lines = said.lines[len(then) + 1:]
        said.out = "".join(x + "\n" for x in said.lines)
        return said

    def ok(self, line, then=(), timeout=None):
        """Its output; an error line is a failure of the test."""
        said = self.run(line, then, timeout)
        if said.error is not None:
            raise Failed(f"{line[:200]}\n{said.out}error: {said.error}")
        return said.out

    def fails(self, line, then=(), timeout=None):
        """The words of its error line; none is a failure of the test."""
        said = self.run(line, then, timeout)
        if said.error is None:
            raise Failed(f"no error from: {line[:200]}\n{said.out[-2000:]}")
        return said.error

    def sum(self, device, sector, count, timeout=None):
        """sha256 of sectors, as Cairn read them."""
        return re.search(r"\b[0-9a-f]{64}\b",
                         self.ok(f"blk sum {device} {sector} {count}", timeout=timeout)).group()

    def table(self, name, *lines):
        """Creates a mapped device from these table lines."""
        if len(lines) == 1:
            return self.ok(f'dmsetup create {name} --table "{lines[0]}"')
        return self.ok(f"dmsetup create {name}", then=lines)

    # ---- from outside ----

    def qmp(self, execute, **arguments):
        if not self.qmp_sock:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(PATIENCE)
            s.connect(self.qmp_path)
            self.qmp_sock = s.makefile("rw")
            self.qmp_raw = s
            self.qmp_sock.readline()
            self._qmp("qmp_capabilities", {})
        return self._qmp(execute, arguments)

    def _qmp(self, execute, arguments):
        self.qmp_sock.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self.qmp_sock.flush()
        while True:
            answer = json.loads(self.qmp_sock.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(f"{execute}: {answer['error']['desc']}")

    def disk_operations(self):
        """Requests every disk has finished, of all kinds: QEMU's own counters."""
        stats = self.qmp("query-blockstats")
        return sum(s["stats"][k + "_operations"] + s["stats"].get("failed_%s_operations" % k, 0)
                   for s in stats for k in ("rd", "wr", "flush", "unmap"))

    def cpu_seconds(self):
        with open(f"/proc/{self.proc.pid}/stat") as f:
            words = f.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def counters(self):
        import counters
        return counters.Counters(self.counts_file)

    def wait_end(self, timeout=30):
        """QEMU's exit code once it ended by itself."""
        end = time.monotonic() + timeout
        try:
            while time.monotonic() < end:
                self._read(end - time.monotonic())
        except Died:
            pass
        return self.proc.wait(max(0.1, end - time.monotonic()))

    def kill(self):
        """As a power cut: at once, by its own handle."""
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()

    def end(self):
        self.kill()
        for f in (self.log, self.err, self.qmp_sock, self.sock, self.proc.stdout):
            if f:
                f.close()
        if self.qmp_sock:
            self.qmp_raw.close()
        if self.sock is None and self.in_fd is not None:
            os.close(self.in_fd)
        self.qmp_sock = self.sock = self.in_fd = None


# ---- files the disks stand on ----

def pattern(seed, size):
    """Bytes that differ from sector to sector and seed to seed, the same at every run."""
    import random
    return random.Random(seed).randbytes(size)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make_disk(path, size, seed=None):
    """A file of that size: of zeroes, or of pattern(seed)."""
    with open(path, "wb") as f:
        if seed is None:
            f.truncate(size)
        else:
            f.write(pattern(seed, size))
    return str(path)

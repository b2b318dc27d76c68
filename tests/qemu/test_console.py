# SPDX-License-Identifier: BSD-2-Clause
"""The console: nothing typed or piped is lost, the prompt stands at column 0, an error is one line."""
import random
import re

import pytest

from cairn import PROMPT, SOAK, make_disk, null_node, virtio

LINE_MAX = 64 * 1024


def echoes(first, last):
    return "".join(f"echo line-{i}\n" for i in range(first, last))


def check_in_order(said, first, last):
    """Each line's output is there, once and in order."""
    got = [int(x) for x in re.findall(r"(?m)^line-(\d+)\r?$", said.decode())]
    assert got == list(range(first, last))


@pytest.mark.parametrize("channel", ["pipe", "pty", "socket"])
def test_channels(boot, channel):
    vm = boot(channel=channel)
    assert vm.ok("echo one two") == "one two\n"


@pytest.mark.parametrize("machine", ["q35", "pc", "microvm,acpi=on", "microvm,acpi=off"])
def test_piped_before_boot(boot, machine):
    """All that was in the pipe before QEMU started runs, and the pipe may end at once."""
    vm = boot(machine=machine, typed=(echoes(0, 200) + "reboot\n").encode(), hang_up=True, wait=False)
    assert vm.wait_end(60) == 0
    with open(vm.log.name, "rb") as f:
        check_in_order(f.read(), 0, 200)


@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize("typed", [b"lsblk\nreboot\n", b"\n" * 2000 + b"lsblk\nreboot\n"],
                         ids=["short", "long"])
def test_piped_under_nographic(boot, machine, typed):
    """There SeaBIOS reads the serial line itself before we run.  16 keys are what it keeps, and we
    take them from it; of more than that some are gone before our first instruction."""
    vm = boot(machine=machine, typed=typed, hang_up=True, nographic=True, wait=False)
    assert vm.wait_end(60) == 0
    with open(vm.log.name, "rb") as f:
        said = f.read()
    assert said.count(PROMPT + b"lsblk\r\n") == 1 and PROMPT + b"reboot\r\n" in said


def test_typed_during_boot(boot):
    """Bytes that arrive at any moment of the start, one by one."""
    vm = boot(wait=False)
    text = echoes(0, 300) + "echo at-the-end\n"
    for i in range(0, len(text), 7):
        vm.send(text[i:i + 7])
    said = vm.wait_for(rb"\nat-the-end\r?\n")
    check_in_order(said, 0, 300)


def test_type_ahead_while_a_command_runs(boot):
    vm = boot()
    vm.send("sleep 2\r" + echoes(0, 500).replace("\n", "\r") + "echo at-the-end\r")
    check_in_order(vm.wait_for(rb"\nat-the-end\r?\n"), 0, 500)


def test_flood(boot):
    """A sender faster than the shell is held, not cut: a megabyte in the soak."""
    vm = boot()
    lines = 60000 if SOAK else 4000
    vm.send((echoes(0, lines) + "echo at-the-end\n").encode(), timeout=600)
    check_in_order(vm.wait_for(rb"\nat-the-end\r?\n", 600), 0, lines)


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
def test_line_ends(boot, ending):
    vm = boot()
    vm.send(ending.join(["echo a", "echo b", "", "echo c", ""]))
    said = vm.wait_for(rb"\nc\r?\n" + PROMPT)
    # Four lines, one of them empty: three more prompts before the last.
    assert said.count(PROMPT) == 4
    assert re.findall(rb"(?m)^([abc])\r?$", said) == [b"a", b"b", b"c"]


def test_prompt_at_column_0(boot):
    vm = boot()
    for line in ("echo x", "help", "lsblk", "mem", "nonsense", "", "# c", "dmesg"):
        vm.send(line + "\r")
        said = vm.wait_prompt()
        assert said.endswith((b"\n", b"\r")), line


def test_longest_line(boot):
    vm = boot()
    # A line of exactly the limit is a line.
    line = "echo " + "x" * (LINE_MAX - 5)
    said = vm.run(line, timeout=120)
    assert said.error is None
    assert sum(x.count("x") for x in said.lines) == LINE_MAX - 5
    # One byte more is refused with words, runs nothing, and the next line is whole.
    words = vm.fails(line + "y", timeout=120)
    assert "long" in words
    words = vm.fails("echo " + "z" * (3 * LINE_MAX) + "; echo done", timeout=300)
    assert "long" in words
    assert vm.ok("echo still here") == "still here\n"


def test_comments(boot):
    vm = boot()
    assert vm.ok("# nothing here; poweroff") == ""
    assert vm.ok("   # nor here") == ""
    assert vm.ok("echo a # b") == "a\n"
    assert vm.ok("echo a#b '# c' \"# d\"") == "a#b # c # d\n"


def test_quotes(boot):
    vm = boot()
    assert vm.ok("echo 'a  b' \"c  d\" e\\ f") == "a  b c  d e f\n"
    assert "'" in vm.fails("echo 'never ends")
    assert '"' in vm.fails('echo "never ends')


def test_several_commands_a_line(boot):
    vm = boot()
    assert vm.ok("echo a; echo b && echo c") == "a\nb\nc\n"
    said = vm.run("echo a; nonsense; echo b")
    assert said.out == "a\n" and said.error


def test_ctrl_c_gives_up_a_line(boot):
    vm = boot()
    vm.send("echo never\x03")
    said = vm.wait_prompt()
    assert said == b"echo never^C\r\n"
    assert vm.ok("echo next") == "next\n"


@pytest.mark.parametrize("command", ["sleep 1000",
                                     "blk bench /dev/vda --count 100000000",
                                     "blk sum /dev/vda 0 2147483648"],
                         ids=lambda c: c.split()[0] + "-" + c.split()[1].strip("0123456789"))
def test_ctrl_c_ends_a_command(boot, command):
    vm = boot([virtio(null_node(1 << 40))])
    vm.send(command + "\r")
    vm.wait_for(rb"\r\n")
    import time
    time.sleep(0.5)
    vm.send("\x03")
    said = vm.wait_prompt(20)
    assert b"error: " in said
    assert vm.ok("echo next") == "next\n"
    # Nothing is left of it.
    assert "blk" not in vm.ok("jobs")


def test_ctrl_d_at_the_prompt_does_no_harm(boot):
    vm = boot()
    vm.send("\x04\x04\x04")
    vm.send("echo still here\r")
    vm.wait_for(rb"\nstill here\r?\n")


def test_one_error_line_and_it_is_the_last(boot):
    vm = boot([virtio(null_node(1 << 20))])
    for line in ("nonsense", "dmsetup", "dmsetup nonsense", "dmsetup remove nobody",
                 'dmsetup create x --table "0 1 linear"', "blk", "blk read", "blk sum /dev/nobody 0 1",
                 "blk sum /dev/vda 0 999999999", "blk bench /dev/vda --bs 3", "kill 77"):
        vm.send(line + "\r")
        said = vm.wait_prompt()
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", said).replace(b"\r", b"").decode()
        lines = text.rstrip("\n").split("\n")
        assert lines[-1].startswith("error: "), text
        assert len(lines[-1]) > len("error: ") + 3, text
        assert sum(x.startswith("error: ") for x in lines) == 1, text


def test_output_cannot_pass_for_the_error_line(boot):
    vm = boot()
    assert vm.ok("echo 'error: not really'") == " error: not really\n"


def test_garbage(boot):
    """Any bytes at all; afterwards it is a shell again.  What garbage may spell is made harmless."""
    vm = boot([virtio(null_node(1 << 20))], smp=2)
    rng = random.Random(20)
    rounds = 100 if SOAK else 8
    for i in range(rounds):
        data = rng.randbytes(2000)
        # Spaces, line ends and escapes often, as they are what there is code for.
        data = bytes(b if rng.random() < 0.7 else rng.choice(b" \t\r\n\x1b[;\"'\\#&|\x7f\x15\x17")
                     for b in data)
        vm.send(data + b"\x03\x03\r", timeout=120)
        vm.send(f"\x15echo alive-{i}\r")
        vm.wait_for(rb"\nalive-%d\r?\n" % i, 120)
        vm.wait_prompt(120)


def test_editing(boot):
    vm = boot()
    up, left, home, end, delete = "\x1b[A", "\x1b[D", "\x1b[H", "\x1b[F", "\x1b[3~"
    for typed, out in [("echo abXc" + left + "\x7f", "abc"),
                       ("cho abd" + home + "e" + end + "\x7f" + "c", "abc"),
                       ("echo aXbc" + left * 3 + delete, "abc"),
                       (up, "abc"),
                       ("junk\x15echo abc", "abc"),
                       ("echo xx\x17abc", "abc"),
                       ("ec\x01\x05ho ab\x08bc", "abc")]:
        vm.send(typed + "\r")
        said = vm.wait_prompt()
        assert said.rstrip(b"\r\n").split(b"\n")[-1] == out.encode(), typed


def test_completion(boot):
    vm = boot([virtio(null_node(1 << 20))])
    vm.ok('dmsetup create uncommon --table "0 8 zero"')
    for typed in ("dmset\ttable unc\t", "dmsetup tab\tuncom\t"):
        for c in typed:     # a person's speed: what is pasted may hold white space that is a tab
            vm.send(c)
            vm._read(0.05)
        vm.send("\r")
        said = vm.wait_prompt()
        assert b"0 8 zero" in said, typed


# ---- configuration at boot ----

def test_command_line_configuration(boot):
    vm = boot([virtio(null_node(1 << 20))],
              append='quiet cairn.run="dmsetup create a --table \'0 8 linear /dev/vda 0\'; echo ok-1"')
    assert b"ok-1" in vm.boot_output
    assert vm.ok("dmsetup table a") == "0 8 linear 254:0 0\n"


def test_fw_cfg_configuration(boot):
    vm = boot([virtio(null_node(1 << 20))],
              config='# boot\ndmsetup create a --table "0 8 linear /dev/vda 0"\n'
                     'dmsetup create b\n0 8 zero\n8 8 error\n\x04\nnonsense\necho ok-2\n')
    assert b"ok-2" in vm.boot_output
    assert b"error: opt/cairn/config line 7" in vm.boot_output or \
        b"error: opt/cairn/config line 6" in vm.boot_output, vm.boot_output
    assert vm.ok("dmsetup table b") == "0 8 zero \n8 8 error \n"


@pytest.mark.parametrize("append", ["cairn.run=", 'cairn.run="', "cairn.run=\"'\"", '"' * 300,
                                    "virtio_mmio.device=", "virtio_mmio.device=4K@zz:1",
                                    "virtio_mmio.device=512@0xfffffffffffff000:5",
                                    "virtio_mmio.device=4K@0x1000:99999", "x" * 1500,
                                    'cairn.run="nonsense; echo no" cairn.run="echo yes"'],
                         ids=range(10))
def test_hostile_command_line(boot, append):
    vm = boot(append=append)
    assert vm.ok("echo alive") == "alive\n"


def test_hostile_configuration(boot, folder):
    path = make_disk(folder + "/cfg", 200000, seed=9)
    vm = boot(extra=["-fw_cfg", f"name=opt/cairn/config,file={path}"], patience=120)
    assert vm.ok("echo alive") == "alive\n"


# ---- the second console ----

def test_virtio_console(boot, folder):
    """The same shell on virtio-console, on its own."""
    import socket
    import time
    path = folder + "/vc"
    vm = boot(extra=["-device", "virtio-serial-pci", "-chardev",
                     f"socket,id=vc,path={path},server=on,wait=off",
                     "-device", "virtconsole,chardev=vc"])
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(path)
    s.sendall(b"echo from-$vc\r")
    got, end = b"", time.monotonic() + 20
    while b"\nfrom-$vc\r\n" not in got and time.monotonic() < end:
        got += s.recv(4096)
    s.close()
    assert got.count(b"from-$vc\r\n") == 2, got
    assert vm.ok("echo serial") == "serial\n"

# SPDX-License-Identifier: BSD-2-Clause
"""What the system tests share: one line a test with its seconds, and the counts on the last line.

    python3 -m pytest tests/qemu [-k name]
"""
import os
import re
import shutil
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cairn  # noqa: E402

reporter = None
counts = {"passed": 0, "failed": 0, "skipped": 0}
began = {}


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    global reporter
    reporter = config.pluginmanager.getplugin("terminalreporter")


def pytest_collection_modifyitems(items):
    if not os.path.exists(cairn.ELF):
        raise pytest.UsageError(f"{cairn.ELF} is not there; make builds it")


@pytest.fixture
def folder():
    """A folder of its own on a RAM disk where there is one, and short enough for sockets."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = tempfile.mkdtemp(prefix="cairn.", dir=base)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def boot(folder):
    """boot(**what Cairn() takes): machines that end with the test."""
    started = []

    def start(*args, **kwargs):
        vm = cairn.Cairn(folder, *args, **kwargs)
        started.append(vm)
        return vm

    yield start
    for vm in started:
        vm.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    # The consoles of a failed test go with its report; the folder they are in goes away.
    path = getattr(item, "funcargs", {}).get("folder")
    if report.when == "call" and report.failed and path and os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            if re.match(r"console\..*\.(log|err)$", name):
                with open(os.path.join(path, name), "rb") as f:
                    data = f.read()
                if data:
                    report.sections.append((name, data[-6000:].decode(errors="replace")))


def pytest_runtest_logstart(nodeid):
    began[nodeid] = time.monotonic()


def pytest_report_teststatus(report):
    """No dots: pytest_runtest_logreport prints a line a test."""
    if report.when == "call" or report.outcome != "passed":
        return report.outcome, "", ""
    return "", "", ""


def pytest_runtest_logreport(report):
    name = report.nodeid.split("tests/qemu/")[-1]
    if report.when == "call" or report.outcome != "passed":
        counts[report.outcome] += 1
        why = ""
        if report.skipped:
            why = ": " + str(report.longrepr[2]).replace("Skipped: ", "")
        elif report.passed and report.capstdout:
            why = ": " + " ".join(report.capstdout.split())[:100]     # a figure it measured
        seconds = time.monotonic() - began[report.nodeid]
        reporter.write_line(f"system {name}: {report.outcome}, {seconds:.1f} s{why}", flush=True)


def pytest_unconfigure(config):
    if began:
        reporter.write_line(f"{counts['passed']} passed, {counts['failed']} failed, "
                            f"{counts['skipped']} skipped", flush=True)

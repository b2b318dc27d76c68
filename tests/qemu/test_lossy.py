# SPDX-License-Identifier: BSD-2-Clause
"""Lost frames, whole large segments among them, cost time and nothing else (lossy.py)."""
import os
import subprocess
import sys

import pytest

from cairn import SOAK

HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACE = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-r", "-n"]


# A window smaller than our large segments, and even less, must not cost timers.
@pytest.mark.parametrize("percent,window", [(0, 0), (1, 0), (5, 0), (0, 2304), (0, 8192), (0, 30000)])
def test_lossy(folder, percent, window):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("no /dev/net/tun here")
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made")
    for seed in range(5 if SOAK else 1):
        p = subprocess.run([*NAMESPACE, sys.executable, f"{HERE}/lossy.py", folder, str(seed),
                            str(percent), "8", str(window)], capture_output=True, text=True, timeout=600 if percent else 60)
        assert p.returncode == 0, p.stdout + p.stderr
        print(p.stdout.strip())

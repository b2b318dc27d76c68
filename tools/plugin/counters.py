# SPDX-License-Identifier: BSD-2-Clause
"""counters - builds the icount plugin and reads the counts it keeps in a shared file."""
import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
MAGIC = 0x746E756F636E7243
HEADER, MARK, MAX_MARK = 64, 40, 4096


def build(folder):
    """The plugin as a shared object in folder, made anew when its source is newer."""
    source, so = os.path.join(HERE, "icount.c"), os.path.join(folder, "icount.so")
    if not os.path.exists(so) or os.path.getmtime(so) < os.path.getmtime(source):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared",
                        "-fPIC", "-fvisibility=hidden", "-o", so, source], check=True)
    return so


class Counts:
    """Instructions of the lower (user) and upper (kernel) half; iterations of rep beside."""

    def __init__(self, user, kernel, user_reps, kernel_reps):
        self.user, self.kernel = user, kernel
        self.user_reps, self.kernel_reps = user_reps, kernel_reps

    @property
    def total(self):
        return self.user + self.kernel

    def __sub__(self, other):
        return Counts(self.user - other.user, self.kernel - other.kernel,
                      self.user_reps - other.user_reps, self.kernel_reps - other.kernel_reps)

    def __repr__(self):
        return (f"user {self.user} kernel {self.kernel} "
                f"reps {self.user_reps} + {self.kernel_reps}")


class Counters:
    """The live view of one guest's counters."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        if struct.unpack_from("<Q", self.map, 0)[0] != MAGIC:
            raise ValueError(path + " is not a file of counters")

    def now(self):
        return Counts(*struct.unpack_from("<4Q", self.map, 16))

    def marks(self):
        """[(id, Counts), ...] in the order they were executed."""
        n = struct.unpack_from("<Q", self.map, 8)[0]
        out = []
        for i in range(max(0, n - MAX_MARK), n):
            ident, *at = struct.unpack_from("<5Q", self.map, HEADER + MARK * (i % MAX_MARK))
            out.append((ident, Counts(*at)))
        return out

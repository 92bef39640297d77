# SPDX-License-Identifier: GPL-2.0-only
"""What the agent needs to know of an architecture: routines in machine code, and the numbers of system calls."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

ENTRY = 0x200
"""Where the routines expect a jump to the agent's `entry`, from where they begin."""

# Machine code in the order of memory, each routine at the next multiple of 16.  The handler lets a refused access go on
# behind the instruction with the signal as its result, and ends the process when anything else was refused.
_X86_64 = {
    "system_call": "4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3",  # number, six arguments
    "load": "31c0 31c9 488b0f 48890e c3",  # address, where the value goes: the signal
    "store": "31c0 488937 c3",  # address, value: the signal
    "handler": "488d05d9ffffff 488b8aa8000000 4829c1 4883f920 7710 488382a800000003 4889ba90000000 c3"
    "bf63000000 b8e7000000 0f05",
    "restorer": "b80f000000 0f05",
    "spawn": "488956f8 4883ee08 31d2 4531d2 4531c0 b838000000 0f05 4885c0 7508 5f b800024000 ffd0 c3",
    "start": "48c7c7ffffffff 4883e4f0 b800024000 ffd0",
    "relax": "f390 c3",
}

_X86_64_CALLS = {
    "read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "rt_sigaction": 13,
    "ioctl": 16, "pread64": 17, "pwrite64": 18, "sched_yield": 24, "mremap": 25, "msync": 26, "mincore": 27,
    "madvise": 28, "clone": 56, "exit": 60, "wait4": 61, "ftruncate": 77, "prctl": 157, "futex": 202,
    "sched_setaffinity": 203, "fadvise64": 221, "exit_group": 231, "openat": 257, "sync_file_range": 277,
    "vmsplice": 278, "pipe2": 293, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Architecture:
    """`offsets`: where each routine begins."""

    profile: str  # of the model
    triple: str
    elf_machine: int
    routines: bytes
    offsets: Mapping[str, int]
    numbers: Mapping[str, int]  # system calls


def _architecture(
    profile: str, triple: str, elf_machine: int, routines: Mapping[str, str], numbers: Mapping[str, int]
) -> Architecture:
    code = b""
    offsets = {}
    for name, text in routines.items():
        code = code.ljust(-(-len(code) // 16) * 16, b"\0")
        offsets[name] = len(code)
        code += bytes.fromhex(text)
    return Architecture(profile, triple, elf_machine, code, offsets, numbers)


ARCHITECTURES = {
    "x86_64": _architecture("x86_64", "x86_64-unknown-linux-gnu", 62, _X86_64, _X86_64_CALLS),
}
"""By the names that uname gives."""


def running() -> Architecture | None:
    """The architecture of this machine; None when the agent cannot run on it."""
    return ARCHITECTURES.get(platform.machine())

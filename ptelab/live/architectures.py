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
    "io_uring_enter": 426, "io_uring_register": 427, "nanosleep": 35, "getpid": 39, "process_vm_readv": 310,
    "process_vm_writev": 311, "mlock2": 325, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440,
}  # fmt: skip

_ARM64 = {
    "system_call": "e80300aa e00301aa e10302aa e20303aa e30304aa e40305aa e50306aa 010000d4c0035fd6",
    "load": "e20300aa 000080d2 030080d2 430040f9 230000f9 c0035fd6",
    "store": "e20300aa 000080d2 410000f9 c0035fd6",
    "handler": "83feff10 44dc40f9 850003cb bfc000f1 a8000054 84100091 44dc00f9 405c00f9"
    "c0035fd6 600c80d2 c80b80d2 010000d4",
    "restorer": "681180d2 010000d4",
    "spawn": "220c1ff8 020080d2 030080d2 040080d2 881b80d2 010000d4 a00000b5 e00741f8"
    "014080d2 0108a0f2 20001fd6 c0035fd6",
    "start": "00008092 014080d2 0108a0f2 20001fd6",
    "relax": "3f2003d5 c0035fd6",
}

_ARM64_CALLS = {
    "read": 63, "write": 64, "close": 57, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215,
    "rt_sigaction": 134, "ioctl": 29, "pread64": 67, "pwrite64": 68, "sched_yield": 124, "mremap": 216, "msync": 227,
    "mincore": 232, "madvise": 233, "clone": 220, "exit": 93, "wait4": 260, "ftruncate": 46, "prctl": 167,
    "futex": 98, "sched_setaffinity": 122, "fadvise64": 223, "exit_group": 94, "openat": 56, "sync_file_range": 84,
    "vmsplice": 75, "pipe2": 59, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "nanosleep": 101, "getpid": 172, "process_vm_readv": 270,
    "process_vm_writev": 271, "mlock2": 284, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440,
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
    "aarch64": _architecture("arm64", "aarch64-unknown-linux-gnu", 183, _ARM64, _ARM64_CALLS),
}
"""By the names that uname gives."""


def running() -> Architecture | None:
    """The architecture of this machine; None when the agent cannot run on it."""
    return ARCHITECTURES.get(platform.machine())

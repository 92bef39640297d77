# SPDX-License-Identifier: GPL-2.0-only
"""What the running kernel and this user's rights allow: tried, never assumed."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from ptelab.live import binary, swapping
from ptelab.live.architectures import Architecture, running
from ptelab.live.devices import UFFD_FEATURE_WP_ASYNC, UFFD_FLAGS, probe_call, probe_features, probe_scan
from ptelab.live.forking import FEATURE
from ptelab.live.reading import FLAGS
from ptelab.live.swapping import Swap

_FRAME = (1 << 55) - 1
_SOFT_DIRTY = 1 << 55


@dataclass(frozen=True, slots=True)
class Abilities:
    """What was found.  The descriptors are inherited by the agent; -1 where there is none."""

    machine: Architecture | None
    cpus: tuple[int, ...]
    frames: bool  # page frame numbers can be read, and with them counts and flags of pages
    kpagecount: int = -1
    kpageflags: int = -1
    userfaultfd: str = ""  # why not
    uffd_async: str = ""
    uffd_fork: str = ""
    uffd_kernel: str = ""  # for faults of the kernel, too
    pagemap_scan: str = ""
    io_uring: str = ""
    swap: Swap = field(default_factory=Swap)
    soft_dirty: bool = False


def probe(make_swap: bool = False, directory: Path | None = None) -> Abilities:
    """Try what tests need, before any of their files is opened; swap may be made in a directory."""
    binary.reserve()
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    files = [_open(f"/proc/{name}") for name in ("kpagecount", "kpageflags")]
    machine = running()
    uffd = asynchronous = fork = kernel = ring = "no number for the system call"
    if machine is not None:
        uffd = probe_call(machine.numbers["userfaultfd"], ctypes.c_long(UFFD_FLAGS))
        asynchronous = probe_features(machine.numbers["userfaultfd"], UFFD_FEATURE_WP_ASYNC)
        fork = probe_features(machine.numbers["userfaultfd"], FEATURE)
        kernel = probe_call(machine.numbers["userfaultfd"], ctypes.c_long(FLAGS))
        ring = probe_call(machine.numbers["io_uring_setup"], ctypes.c_long(1), ctypes.create_string_buffer(120))
    frame = _pagemap_word()
    return Abilities(
        machine, cpus, all(fd >= 0 for fd in files) and frame & _FRAME != 0, files[0], files[1],
        uffd, asynchronous, fork, kernel, probe_scan(), ring, swapping.probe(make_swap, directory),
        frame & _SOFT_DIRTY != 0,
    )  # fmt: skip


def noise(ksmd_is_ours: bool = False) -> list[str]:
    """Kernel threads at work that take pages or access bits from processes when they like.

    That ksmd does what a test wants of it excuses nothing.
    """
    names = []
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{process}/comm", encoding="utf-8") as file:
                name = file.read().strip()
                if name.startswith("kdamond."):
                    names.append(name)
    with contextlib.suppress(OSError), open("/sys/kernel/mm/ksm/run", encoding="ascii") as file:
        if file.read().strip() == "1" and not ksmd_is_ours:
            names.append("ksmd")
    return names


@functools.cache  # open as long as ptelab runs
def _open(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return -1
    os.set_inheritable(fd, True)
    return fd


# What pagemap says of a page of ours that was just written: without rights no frame, without soft-dirty no such bit.
def _pagemap_word() -> int:
    with (
        contextlib.suppress(OSError),
        mmap.mmap(-1, mmap.PAGESIZE) as page,
        open("/proc/self/pagemap", "rb") as pagemap,
    ):
        page[0] = 1
        view = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(view)
        del view
        word: int = struct.unpack("<Q", os.pread(pagemap.fileno(), 8, address // mmap.PAGESIZE * 8))[0]
        return word
    return 0

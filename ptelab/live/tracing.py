# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's tracepoints as a thread can count them for itself: what they are called, and what they recorded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptelab.live import room

TRACEPOINTS = ("exceptions:page_fault_user", "filemap:mm_filemap_map_pages", "tlb:tlb_flush")

ATTR_BYTES = 112
RING_PAGES = 2048
RING_HEAD = 1024
"""Where the first page of a ring buffer says how much was recorded."""

_PERF_TYPE_TRACEPOINT = 2
_SAMPLE_RAW = 1 << 10
_DISABLED = 1
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_PAGE = 4096
_CLOSE_ON_EXEC = 8  # of perf_event_open
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18


class NoTracing(Exception):
    """Why events cannot be counted here."""


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """Its number in this kernel, and where its fields lie in a record: name → (offset, size)."""

    name: str
    number: int
    fields: Mapping[str, tuple[int, int]]

    def attributes(self) -> bytes:
        """A perf_event_attr that records each time it is passed, and is off at first."""
        head = struct.pack("<IIQQQQQ", _PERF_TYPE_TRACEPOINT, ATTR_BYTES, self.number, 1, _SAMPLE_RAW, 0, _DISABLED)
        return head.ljust(ATTR_BYTES, b"\0")


def tracepoints() -> dict[str, Tracepoint]:
    """What the kernel has of those that are wanted; NoTracing when it does not let us know."""
    found = _read_formats(Path("/sys/kernel/tracing")) or _mounted_privately()
    missing = [name for name in TRACEPOINTS if name not in found]
    if missing:
        raise NoTracing(f"no tracepoint {missing[0]} is to be seen (tracefs needs root)")
    return found


@contextlib.contextmanager
def in_use(known: Iterable[Tracepoint], perf_event_open: int) -> Iterator[None]:
    """Hold tracepoints open, by the number of the system call, so that no agent's end is the last use of one.

    The kernel makes the last user of each wait for all CPUs, which takes longer than most of what is counted.
    """
    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as stack:
        for t in known:
            this_process, any_cpu, no_group = ctypes.c_long(0), ctypes.c_long(-1), ctypes.c_long(-1)
            number, flags = ctypes.c_long(perf_event_open), ctypes.c_long(_CLOSE_ON_EXEC)
            fd = libc.syscall(number, t.attributes(), this_process, any_cpu, no_group, flags)
            if fd >= 0:  # who counts will say why not
                stack.callback(os.close, fd)
        yield


def _read_formats(tracefs: Path) -> dict[str, Tracepoint]:
    found: dict[str, Tracepoint] = {}
    for name in TRACEPOINTS:
        try:
            text = (tracefs / "events" / name.replace(":", "/") / "format").read_text(encoding="ascii")
        except OSError:
            continue
        number = re.search(r"^ID: (\d+)", text, re.MULTILINE)
        fields = {
            match[1]: (int(match[2]), int(match[3]))
            for match in re.finditer(r"(\w+)(?:\[\w*\])?;\s*offset:(\d+);\s*size:(\d+)", text)
        }
        if number:
            found[name] = Tracepoint(name, int(number[1]), fields)
    return found


# The same from a mount that only a child of ours sees, and that goes with it.
def _mounted_privately() -> dict[str, Tracepoint]:
    with room.directory() as place:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                libc = ctypes.CDLL(None)
                path = bytes(place)
                if (
                    libc.unshare(_CLONE_NEWNS) == 0
                    and libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None) == 0
                    and libc.mount(b"tracefs", path, b"tracefs", ctypes.c_ulong(0), None) == 0
                ):
                    for name, t in _read_formats(place).items():
                        fields = " ".join(f"{f},{at},{size}" for f, (at, size) in t.fields.items())
                        os.write(write, f"{name} {t.number} {fields}\n".encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="ascii") as pipe:
            lines = pipe.readlines()
        os.waitpid(child, 0)
    found: dict[str, Tracepoint] = {}
    for line in lines:
        name, tracepoint, *words = line.split()
        parts = (word.split(",") for word in words)
        found[name] = Tracepoint(name, int(tracepoint), {f: (int(at), int(size)) for f, at, size in parts})
    return found


def records(ring: bytes, known: Mapping[str, Tracepoint]) -> Iterator[tuple[str, dict[str, int]]]:
    """The records of a ring buffer in their order, each with its fields.  Raises NoTracing when some were lost."""
    (head,) = struct.unpack_from("<Q", ring, RING_HEAD)
    if head > RING_PAGES * _PAGE:
        raise NoTracing("more events than the buffer holds")
    data = ring[_PAGE : _PAGE + head]
    by_number = {t.number: t for t in known.values()}
    at = 0
    while at < len(data):
        kind, _, size = struct.unpack_from("<IHH", data, at)
        if kind == _RECORD_LOST:
            raise NoTracing("events were lost")
        if kind == _RECORD_SAMPLE:
            raw = data[at + 12 : at + size]
            (number,) = struct.unpack_from("<H", raw)
            if number in by_number:
                t = by_number[number]
                yield t.name, {f: int.from_bytes(raw[o : o + n], "little") for f, (o, n) in t.fields.items()}
        at += size

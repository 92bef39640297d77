# SPDX-License-Identifier: GPL-2.0-only
"""Counting scenarios on the running kernel, by its tracepoints."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptelab.live import binary
from ptelab.live.column import PAGE, Unable
from ptelab.live.counting import ADVICE, ENTRIES, Counting, Counts, Statement, moved
from ptelab.live.probe import Abilities
from ptelab.live.program import Label, Program, Reg, Shared
from ptelab.live.running import on_disk
from ptelab.live.tracing import RING_HEAD, RING_PAGES, NoTracing, Tracepoint, records

AREA = 0x200000000
_RING = 0x400000000
_PROT = {"r": 1, "rw": 3}
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 0x01, 0x02, 0x10, 0x20
_EVENTS_ENABLE, _EVENTS_DISABLE = 32, 31  # prctl
_SET_OUTPUT = 0x2405  # ioctl
_MS_SYNC = 4
_ON_TASK_SWITCH = 0  # a reason of tlb_flush
_SECONDS = 60.0


REPETITIONS = 2
"""How often a scenario is counted when the counts agree; when they do not, more often, and most must."""

_REPETITIONS_MAX = 9


@dataclass(slots=True)
class Measured:
    """What was counted, once for each repetition."""

    counts: list[Counts] = field(default_factory=list)

    @property
    def disturbed(self) -> bool:
        """Whether something else got in between once or more."""
        return len(set(self.counts)) > 1

    @property
    def usual(self) -> Counts | None:
        """What most repetitions say; None when they do not agree."""
        counts, number = Counter(self.counts).most_common(1)[0]
        return counts if 2 * number > len(self.counts) else None


def measure(
    scenario: Counting, abilities: Abilities, known: Mapping[str, Tracepoint], directory: Path | None
) -> Measured:
    """Count a scenario's events some times.  Raises Unable and NoTracing."""
    if scenario.memory == "disk" and not on_disk(directory):
        raise Unable("its file needs a disk, and the directory is in memory")
    measured = Measured()
    while len(measured.counts) < (_REPETITIONS_MAX if measured.disturbed else REPETITIONS):
        measured.counts.append(_once(scenario, abilities, known, directory))
    return measured


def _once(scenario: Counting, abilities: Abilities, known: Mapping[str, Tracepoint], directory: Path | None) -> Counts:
    with contextlib.ExitStack() as stack:
        file = _file(scenario, directory, stack)
        out = os.memfd_create("ptelab-events")
        stack.callback(os.close, out)
        os.set_inheritable(out, True)
        machine = abilities.machine
        assert machine is not None
        shared = Shared(machine, mmap.PAGESIZE)
        errors = shared.words()
        _write(scenario, shared, list(known.values()), file, out, errors)
        fd, memory = shared.lay_down()
        stack.callback(memory.close)
        try:
            child = binary.start(binary.agent(machine), fd, {abilities.cpus[0]})
        finally:
            os.close(fd)
        binary.finish(child, binary.patience(_SECONDS))
        (error,) = struct.unpack_from("<q", memory, errors - shared.start)
        if error < 0:
            raise NoTracing(f"perf_event_open: {os.strerror(-error)}")
        ring = os.pread(out, (1 + RING_PAGES) * PAGE, 0)
    return _counts(scenario, ring, known)


def _file(scenario: Counting, directory: Path | None, stack: contextlib.ExitStack) -> int:
    if scenario.memory == "anonymous":
        return -1
    if scenario.memory == "memfd":
        fd = os.memfd_create("ptelab")
    else:
        with tempfile.TemporaryFile(prefix="ptelab-", dir=directory) as made:
            fd = os.dup(made.fileno())
    stack.callback(os.close, fd)
    os.set_inheritable(fd, True)
    page = struct.pack("<Q", 1).ljust(PAGE, b"\0")
    for index in range(scenario.pages):  # a page at a time, for folios of a page each
        os.pwrite(fd, page, index * PAGE)
    os.fsync(fd)
    return fd


def _write(scenario: Counting, shared: Shared, known: list[Tracepoint], file: int, out: int, errors: int) -> None:
    p = shared.program()
    fin = shared.words()
    child = shared.program()
    child.die_with_parent()
    child.op("AWAIT", fin, 1, 0)
    opened: list[Reg] = []
    for t in known:
        fd, wrong, on = p.reg(), p.reg(), Label()
        p.call("perf_event_open", shared.bytes(t.attributes()), 0, -1, -1, 0, to=fd)
        p.op("LESS", fd, 0, to=wrong)
        p.op("IF_ZERO", wrong, on)
        p.store(errors, fd)
        p.call("exit_group", 0)
        p.label(on)
        if opened:
            p.call("ioctl", fd, _SET_OUTPUT, opened[0])
        else:
            p.call("mmap", _RING, (1 + RING_PAGES) * PAGE, 3, _MAP_SHARED | _MAP_FIXED, fd, 0)
        opened.append(fd)
    # A page that stays mapped keeps the tables above, of which the model has none.
    p.call("mmap", AREA + 500 * ENTRIES * PAGE, PAGE, 3, _MAP_FIXED | _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
    p.store(AREA + 500 * ENTRIES * PAGE, 1)
    start = AREA + 2 * ENTRIES * PAGE + scenario.offset * PAGE
    flags = _MAP_FIXED | (_MAP_SHARED if scenario.shared else _MAP_PRIVATE) | (_MAP_ANONYMOUS if file < 0 else 0)
    p.call("mmap", start, scenario.pages * PAGE, 3 if scenario.writable else 1, flags, file, 0)
    for s in scenario.before:
        _statement(p, s, start, child)
    p.call("prctl", _EVENTS_ENABLE, 0, 0, 0, 0)
    for s in scenario.counted:
        _statement(p, s, start, child)
    p.call("prctl", _EVENTS_DISABLE, 0, 0, 0, 0)
    p.op("ARRIVE", fin)
    if scenario.has_fork:
        p.call("wait4", -1, 0, 0x40000000, 0)
    size = p.reg()
    p.load(size, _RING + RING_HEAD)
    p.op("ADD", size, PAGE, to=size)
    p.call("pwrite64", out, _RING, size, 0)


def _statement(p: Program, s: Statement, start: int, child: Program) -> None:
    first, size = start + s.first * PAGE, s.count * PAGE
    match s.call:
        case "load" | "store":
            i, address, over = p.reg(), p.reg(), p.reg()
            again, end = Label(), Label()
            p.op("SET", first, to=address)
            p.op("SET", s.count, to=i)
            p.label(again)
            p.op("IF_ZERO", i, end)
            if s.call == "load":
                p.load(over, address)
            else:
                p.store(address, 1)
            p.op("ADD", address, s.stride * PAGE, to=address)
            p.op("SUB", i, 1, to=i)
            p.jump(again)
            p.label(end)
        case "munmap":
            p.call("munmap", first, size)
        case "mprotect":
            p.call("mprotect", first, size, _PROT[s.word])
        case "madvise":
            p.call("madvise", first, size, ADVICE[s.word])
        case "mremap":
            p.call("mremap", first, size, size, 3, first + moved(s) * PAGE)
        case "msync":
            p.call("msync", first, size, _MS_SYNC)
        case _:
            p.op("FORK", child.number, to=p.reg())


def _counts(scenario: Counting, ring: bytes, known: Mapping[str, Tracepoint]) -> Counts:
    faults = map_pages = 0
    flushes: list[int] = []
    low = AREA
    high = AREA + (4 * ENTRIES + scenario.offset + scenario.pages) * PAGE
    for name, fields in records(ring, known):
        if name == "exceptions:page_fault_user":
            faults += low <= fields["address"] < high
        elif name == "filemap:mm_filemap_map_pages":
            map_pages += 1
        elif fields["reason"] != _ON_TASK_SWITCH:
            flushes.append(-1 if fields["pages"] == (1 << 64) - 1 else fields["pages"])
    return Counts(faults, map_pages, tuple(flushes))

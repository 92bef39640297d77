# SPDX-License-Identifier: GPL-2.0-only
"""Run a test on the kernel: batches with other CPUs and other delays, until the time is up."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ptelab.litmus.resolve import Test
from ptelab.live import binary, merging, swapping
from ptelab.live.column import Unable
from ptelab.live.merging import Ksm
from ptelab.live.observed import ENTRIES, Seen, doubtful, histogram, merged, rows, swapped, unmade
from ptelab.live.probe import Abilities
from ptelab.live.program import CONTROL
from ptelab.live.scenario import OpenFile, Stage

DELAYS = (0, 20, 200, 1000)
"""The longest random delays of columns, in turns of a loop of some 40 ns."""

DELAYS_OF_MERGING = (0, 2000, 8000, 30000)
"""The same where ksmd has to be woken."""

RUNS_MAX = 5_000
_RUNS_MIN = 5  # of a batch
_BATCHES = 8
_HUNG_S = 20.0  # a run takes well below a millisecond on a quiet machine
_TMPFS_MAGIC = 0x01021994


@dataclass(slots=True)
class Result:
    """What was seen."""

    histogram: Counter[Seen] = field(default_factory=Counter)
    runs: int = 0
    unmade: int = 0  # runs that did not begin as the test does; nothing of them is counted
    doubtful: int = 0  # runs in which MADV_PAGEOUT took no page or a wrong one; nothing of them is counted either
    swapped: int = 0  # runs in which a page was in swap behind a call of a column that is to bring it there
    merged: int = 0  # runs in which ksmd has certainly merged a page for a column
    seconds: float = 0.0
    hung: bool = False


@contextlib.contextmanager
def staged(test: Test, abilities: Abilities, directory: Path | None, plan: bool = False) -> Iterator[Stage]:
    """The stage for a test, whose files go away behind it; ksmd runs and swap is on if it needs that, not for a plan.

    Raises Unable.
    """
    if abilities.machine is None:
        raise Unable(f"the agent does not know {platform.machine()}")
    if any(not f.shmem for f in test.files.values()) and not on_disk(directory):
        raise Unable("its files need a disk, and the directory is in memory (--directory names another)")
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(files(test, directory))
        ksm = stack.enter_context(merging.running()) if merging.wants(test) and not plan else Ksm()
        if not plan:
            stack.enter_context(swapping.on_for(test, abilities.swap, directory))
        values = os.memfd_create("ptelab-values")
        try:
            os.set_inheritable(values, True)
            os.pwrite(values, struct.pack("<512Q", *range(512)), 0)
            yield Stage(test, abilities, opened, test.bounds.get("PTRS_PER_PTE", ENTRIES), RUNS_MAX, values, ksm)
        finally:
            os.close(values)


@contextlib.contextmanager
def files(test: Test, directory: Path | None) -> Iterator[dict[str, OpenFile]]:
    """The files of a test, without names: nothing of them is left when they are closed, however that comes."""
    with contextlib.ExitStack() as stack:
        made: dict[str, OpenFile] = {}
        for file in test.files.values():
            if file.shmem:
                fd = os.memfd_create(f"ptelab-{file.name}")
                stack.callback(os.close, fd)
            else:
                fd = stack.enter_context(tempfile.TemporaryFile(prefix="ptelab-", dir=directory)).fileno()
            for index, value in enumerate(file.values):  # a page at a time, so that no large folio holds several
                os.pwrite(fd, struct.pack("<Q", value).ljust(mmap.PAGESIZE, b"\0"), index * mmap.PAGESIZE)
            reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
            stack.callback(os.close, reader)
            os.set_inheritable(fd, True)
            os.set_inheritable(reader, True)
            made[file.name] = OpenFile(fd, reader, not file.shmem)
        yield made


def on_disk(directory: Path | None) -> bool:
    """Whether files in a directory have a disk behind them."""
    import ctypes

    path = str(directory or tempfile.gettempdir()).encode()
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None)
    return bool(libc.statfs(path, buffer) == 0 and struct.unpack_from("<q", buffer)[0] != _TMPFS_MAGIC)


def run(stage: Stage, abilities: Abilities, seconds: float) -> Result:
    """Run a test for some seconds."""
    result = Result()
    started = time.monotonic()
    columns = sorted(stage.cpu_masks)
    batch = 0
    delays = DELAYS_OF_MERGING if stage.merging else DELAYS
    while not result.hung and (batch < len(delays) or time.monotonic() - started < seconds):
        # Where there are more columns than CPUs, others share one each time.
        order = [columns[(i + batch) % len(columns)] for i in range(len(columns))]
        masks = {c: 1 << abilities.cpus[i % len(abilities.cpus)] for i, c in enumerate(order)}
        delay = delays[(batch + batch // len(delays)) % len(delays)]
        _batch(stage, masks, delay, seconds / _BATCHES, result)
        batch += 1
    result.seconds = time.monotonic() - started
    return result


def _batch(stage: Stage, masks: dict[int, int], delay: int, seconds: float, result: Result) -> None:
    fd, memory = stage.shared.lay_down()
    with contextlib.closing(memory):
        for column, mask in masks.items():
            struct.pack_into("<Q", memory, stage.cpu_mask(column) - CONTROL, mask)
        struct.pack_into("<Q", memory, stage.delay - CONTROL, delay)
        machine = stage.abilities.machine
        assert machine is not None
        try:
            child = binary.start(binary.agent(machine), fd)
        finally:
            os.close(fd)
        stop = _Stop(memory, stage, time.monotonic() + seconds)
        try:
            binary.finish(child, stop)
        except binary.Hung:
            result.hung = True
        (done,) = struct.unpack_from("<Q", memory, stage.run - CONTROL)
        done = max(0, done - 1) if result.hung else done
        first = stage.shared.results - CONTROL
        found = rows(stage, memory[first : first + done * stage.row_bytes], done)
        result.histogram += histogram(stage, found)
        result.merged += merged(found)
        result.swapped += swapped(found)
        result.unmade += unmade(found)
        result.doubtful += doubtful(found)
        result.runs += done - unmade(found) - doubtful(found)


class _Stop:
    """Tells the agent when its time is up and it has done some runs.  Raises Hung when it does none for long."""

    def __init__(self, memory: mmap.mmap, stage: Stage, deadline: float) -> None:
        self.memory, self.stage, self.deadline = memory, stage, deadline
        self.progress = (-1, 0.0)

    def __call__(self) -> None:
        now = time.monotonic()
        (runs,) = struct.unpack_from("<Q", self.memory, self.stage.run - CONTROL)
        if runs != self.progress[0]:
            self.progress = runs, now
        elif now - self.progress[1] > _HUNG_S:
            raise binary.Hung
        if now > self.deadline and runs > _RUNS_MIN:
            self.memory[self.stage.stop - CONTROL] = 1

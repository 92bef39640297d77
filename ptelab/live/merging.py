# SPDX-License-Identifier: GPL-2.0-only
"""KSM as litmus tests need it: pages that are merged as a test begins, and one look of ksmd's in a column.

ksmd is on while such a test runs, but sleeps for days.  Whoever writes another number of milliseconds wakes it: it goes
once through all memory that may be merged, counts that, and sleeps again.  So nothing is merged but when a program of
the test wants it.  A page that ksmd sees for the first time it only remembers; it merges it at the next look if it is
the same then.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.litmus.columns import calls
from ptelab.litmus.resolve import Test
from ptelab.live import keeper
from ptelab.live.column import PAGE, Unable
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.scenario import Stage

_SEEDS = 0x340000000
"""Where there are pages for others to be merged with."""

_PACES = (1_000_000_000, 1_000_000_001)  # milliseconds; one is as good as the other
_PAUSE_NS = 5_000
_REST_NS = 40_000
_POLLS, _WAKES = 400, 5
_LOOKS_MAX = 12
_MERGEABLE = 12
_MAP_PRIVATE_FIXED_ANONYMOUS = 0x32
_READ_WRITE = 3
_FRAME = (1 << 55) - 1
_KSM_BIT = 21  # of /proc/kpageflags
_TEXT_BYTES = 16

KNOBS = {
    "smart_scan": "0",  # it passes over pages that it did not merge before
    "use_zero_pages": "0",
    "pages_to_scan": "100000",
    "sleep_millisecs": str(_PACES[0]),
    "run": "1",
}
"""The settings while tests run, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Ksm:
    """Files of /sys/kernel/mm/ksm, which the agent inherits; -1 as long as nothing is run."""

    pace: int = -1
    scans: int = -1
    sharing: int = -1


def wants(test: Test) -> bool:
    """Whether a test has to do with KSM."""
    return any(b.ksm for b in test.ptes.values()) or bool(targets(test))


def targets(test: Test) -> set[str]:
    """The mms of which ksmd comes by a page."""
    found = set()
    for column in test.columns:
        for call in calls(column.process.body):
            if call.name == "ksm_merge" and isinstance(call.args[0], s.Name):
                found.add(call.args[0].name)
    return found


class Merging:
    """Writes the parts of programs that have to do with KSM."""

    def __init__(self, stage: Stage, ksm: Ksm) -> None:
        self.stage, self.test, self.ksm = stage, stage.test, ksm
        self.targets = targets(stage.test)
        # Nobody else's page is the same by chance.
        self.salt = int.from_bytes(os.urandom(WORD), "little") >> 1 | 1
        words = stage.shared.words
        self.parity = words()
        self._counts = words(2)
        self.pause, self.rest = words(2, 0, _PAUSE_NS), words(2, 0, _REST_NS)
        self.paces = stage.shared.bytes(b"".join(str(pace).encode().ljust(_TEXT_BYTES, b"\0") for pace in _PACES))
        if ksm == Ksm() and (why := unable()):
            raise Unable(f"KSM: {why}")
        if not stage.abilities.frames:
            raise Unable("KSM: frame numbers are hidden, and with them whether a page is merged")
        if len(self.targets) > 1:
            raise Unable("pages that ksmd is to merge are not made in two processes")

    def enter(self, p: Program, vma: str) -> None:
        """Let the pages of a mapping be merged."""
        v = self.test.vmas[vma]
        if not v.file and not v.shared:
            p.call("madvise", self.stage.address(vma, 0), v.pages * PAGE, _MERGEABLE)

    def look(self, p: Program) -> None:
        """Let ksmd go through all memory once."""
        words = self.stage.shared.words
        old, new = words(_TEXT_BYTES // WORD), words(_TEXT_BYTES // WORD)
        a, b, wakes, polls = (p.reg() for _ in range(4))
        wake, poll, done = Label(), Label(), Label()
        p.call("pread64", self.ksm.scans, old, _TEXT_BYTES, 0)
        p.op("SET", _WAKES, to=wakes)
        p.label(wake)
        p.call("nanosleep", self.rest, 0)
        p.load(a, self.parity)
        p.op("SUB", 1, a, to=a)
        p.store(self.parity, a)
        p.op("TIMES", a, _TEXT_BYTES, to=a)
        p.op("ADD", a, self.paces, to=a)
        p.call("pwrite64", self.ksm.pace, a, len(str(_PACES[0])), 0)
        p.op("SET", _POLLS, to=polls)
        p.label(poll)
        p.call("nanosleep", self.pause, 0)
        p.call("pread64", self.ksm.scans, new, _TEXT_BYTES, 0)
        for offset in range(0, _TEXT_BYTES, WORD):
            p.load(a, old + offset)
            p.load(b, new + offset)
            p.op("EQUAL", a, b, to=a)
            p.op("IF_ZERO", a, done)
        for left, again in ((polls, poll), (wakes, wake)):
            p.op("SUB", left, 1, to=left)
            p.op("EQUAL", left, 0, to=a)
            p.op("IF_ZERO", a, again)
        p.store(self.stage.made, 0)
        p.label(done)

    # Whether the page at an address of the process whose pagemap this is is one of KSM's.
    def _merged(self, p: Program, pagemap: Reg, address: int) -> Reg:
        word, frame = self.stage.shared.words(), p.reg()
        p.call("pread64", pagemap, word, WORD, address // PAGE * WORD)
        p.load(frame, word)
        p.op("AND", frame, _FRAME, to=frame)
        p.op("TIMES", frame, WORD, to=frame)
        p.call("pread64", self.stage.abilities.kpageflags, word, WORD, frame)
        p.load(frame, word)
        p.op("SHIFT", frame, _KSM_BIT, to=frame)
        p.op("AND", frame, 1, to=frame)
        return frame

    def begin(self, p: Program, pagemap: Reg) -> None:
        """Let ksmd merge the pages that are its own as the test begins.  Their mappings are there."""
        stage, test = self.stage, self.test
        places = [(name, page, bits.page) for (name, page), bits in test.ptes.items() if bits.ksm]
        if any(_alone(test, stage.main_mm, page) for _, _, page in places):
            raise Unable("a page of KSM's that only another process maps is not made here")
        here = {stage.address(name, page): which for name, page, which in places if test.vmas[name].mm == stage.main_mm}
        pages = list(dict.fromkeys(here.values()))
        if not pages:
            return
        size = len(pages) * PAGE
        p.call("mmap", _SEEDS, size, _READ_WRITE, _MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0)
        p.call("madvise", _SEEDS, size, _MERGEABLE)
        for address, which in (*here.items(), *((_SEEDS + i * PAGE, which) for i, which in enumerate(pages))):
            p.store(address, test.pages[which].value)
            p.store(address + WORD, self.salt)
        left, all_merged, again, done = p.reg(), p.reg(), Label(), Label()
        p.op("SET", _LOOKS_MAX, to=left)
        p.label(again)
        self.look(p)
        p.load(all_merged, stage.made)
        p.op("IF_ZERO", all_merged, done)
        for address in here:
            p.op("AND", all_merged, self._merged(p, pagemap, address), to=all_merged)
        p.op("SUB", 1, all_merged, to=all_merged)
        p.op("IF_ZERO", all_merged, done)
        p.op("SUB", left, 1, to=left)
        p.op("EQUAL", left, 0, to=all_merged)
        p.op("IF_ZERO", all_merged, again)
        p.store(self.stage.made, 0)
        p.label(done)
        p.call("munmap", _SEEDS, size)

    def meet(self, p: Program, mm: str, pagemap: Reg) -> None:
        """Let ksmd see the pages of an mm that it is to merge later.  They are there."""
        if mm not in self.targets:
            return
        self.look(p)
        for (name, page), bits in self.test.ptes.items():
            if self.test.vmas[name].mm == mm and bits.page and not bits.ksm:
                fresh = Label()
                p.op("IF_ZERO", self._merged(p, pagemap, self.stage.address(name, page)), fresh)
                p.store(self.stage.made, 0)
                p.label(fresh)

    def merge(self, p: Program) -> None:
        """What a column does for ksmd to come by; how many pages are merged before and after it is noted."""
        for i in range(2):
            if i:
                self.look(p)
            p.call("pread64", self.ksm.sharing, self.count(i), WORD, 0)

    def count(self, which: int) -> int:
        """Where the text of a number of merged pages lies: that before the columns' look, or that behind it."""
        return self._counts + which * WORD


# Whether a page is mapped by no entry of an mm.
def _alone(test: Test, mm: str, page: str) -> bool:
    return not any(b.page == page and test.vmas[name].mm == mm for (name, _), b in test.ptes.items())


# ------------------------------------------------------------------------------------------ the settings


def unable() -> str:
    """Why ksmd cannot be made to work for us alone; empty when it can."""
    return keeper.merging_elsewhere() or ("" if os.access(keeper.KSM / "run", os.W_OK) else "its settings need root")


@contextlib.contextmanager
def running() -> Iterator[Ksm]:
    """Let ksmd run for tests.  Raises Unable.

    A process of its own writes the settings, and puts them back when ptelab says so or is no more.
    """
    order = {"knobs": {str(keeper.KSM / name): value for name, value in KNOBS.items()}}
    process = keeper.start(order)
    assert process.stdout is not None
    with contextlib.ExitStack() as stack:
        stack.callback(keeper.end, process)
        said = json.loads(process.stdout.readline() or "{}")
        if "ready" not in said:
            raise Unable(f"KSM: {said.get('why', 'its settings cannot be kept')}")
        found = []
        for name, flags in (
            ("sleep_millisecs", os.O_WRONLY),
            ("full_scans", os.O_RDONLY),
            ("pages_sharing", os.O_RDONLY),
        ):
            fd = os.open(keeper.KSM / name, flags)
            stack.callback(os.close, fd)
            os.set_inheritable(fd, True)
            found.append(fd)
        yield Ksm(*found)

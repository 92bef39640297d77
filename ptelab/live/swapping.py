# SPDX-License-Identifier: GPL-2.0-only
"""Swap as litmus tests need it: an area of our own while a test runs, and pages that are in it as the test begins.

A page gets there by a store and MADV_PAGEOUT.  Where the kernel does not wait for the device, the page is then still in
the swap cache; once it is written, a load maps it again, clean, and a second MADV_PAGEOUT frees it.  mincore says of an
entry of a page in swap whether the page is in the swap cache.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptelab.litmus import syntax as s
from ptelab.litmus.columns import calls, calls_of
from ptelab.litmus.resolve import Bits, Test, Vma
from ptelab.live import huge, keeper
from ptelab.live.column import CONSTANTS, PAGE, Unable
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.probe import Abilities
    from ptelab.live.scenario import Stage

BYTES = 64 << 20
_PAUSE_NS = 20_000
_TRIES = 400
_FRAME = (1 << 55) - 1
_SWAPPED_BIT, _PRESENT_BIT = 62, 63  # of pagemap
ADVICE, RECLAIM = "advice", "reclaim"
"""How a column has a page taken."""
_MAPPED = "mapped"

_IN_MEMORY = ("/dev/zram", "/dev/ram", "/dev/pmem")


@dataclass(frozen=True, slots=True)
class Swap:
    """What swap there is, or can be.

    `why`: why none; `own`: of which sorts we may make some; `at_once`: whether the devices that are on have answered
    before the kernel goes on.
    """

    why: str = "no swap is on; --swap makes some"
    own: tuple[str, ...] = ()
    at_once: bool = False

    @property
    def is_on(self) -> bool:
        """Whether the machine has some without us."""
        return not self.why and not self.own


def probe(may_make: bool, directory: Path | None) -> Swap:
    """Whether there is swap; where there is none, and some may be made, whether that works."""
    with keeper.alone(keeper.BUSY_S, keeper.SWAPS, shared=True):  # what another one has for a test does not count
        devices = areas()
    if devices:
        return Swap("", at_once=all(device.startswith(_IN_MEMORY) for device in devices))
    if not may_make:
        return Swap()
    own, reasons = [], []
    for kind in ("file", "zram"):
        try:
            with area(kind, directory):
                own.append(kind)
        except Unable as error:
            reasons.append(f"{kind}: {error}")
    return Swap("" if own else "no swap of our own: " + "; ".join(reasons), tuple(own))


def areas() -> list[str]:
    """The files and devices that are on."""
    with contextlib.suppress(OSError):
        return [line.split()[0] for line in Path(keeper.SWAPS).read_text(encoding="utf-8").splitlines()[1:]]
    return []


@contextlib.contextmanager
def area(kind: str, directory: Path | None) -> Iterator[str]:
    """Swap of our own, of some sort; where it is.  Raises Unable.

    A process of its own makes it, and takes it away when ptelab says so or is no more.  That the kernel gives it the
    lowest priority is its custom where none is asked for.
    """
    order = {"swap": kind, "directory": str(directory) if directory else None, "bytes": BYTES}
    process = keeper.start(order)
    assert process.stdout is not None and process.stdin is not None
    try:
        said = json.loads(process.stdout.readline() or "{}")
        if "ready" not in said:
            raise Unable(said.get("why", "it cannot be kept"))
        yield said["path"]
        process.stdin.close()
        refused = json.loads(process.stdout.readline() or "{}").get("refused", ["what it was is not known"])
        if refused:
            raise Unable(f"swap: {refused[0]}")
    finally:
        keeper.end(process)


@contextlib.contextmanager
def on() -> Iterator[str]:
    """Swap of any sort, ours if there is none; why there is none, or nothing."""
    swap = probe(True, None)
    with area(swap.own[0], None) if swap.own else contextlib.nullcontext():
        yield swap.why


@contextlib.contextmanager
def on_for(test: Test, swap: Swap, directory: Path | None) -> Iterator[None]:
    """What a test needs of swap, or that there is none, as long as it runs.  Raises Unable."""
    if swap.is_on or not (test.swap or _reclaims(test)):
        yield
    elif not test.swap:
        with keeper.alone(keeper.BUSY_S, keeper.SWAPS, shared=True) as alone:
            if not alone:
                raise Unable("swap is on")
            yield
    else:
        with area("zram" if _at_once(test) else swap.own[0], directory):
            yield


# Whether there are more pages that reclaim may take than slots for them.  An area of just so many slots would not do: a
# page that its owner gives up while it is written keeps its slot until reclaim comes by, and nothing makes it come.
def _full(test: Test) -> bool:
    taken = {f"slot {b.slot}" for b in test.ptes.values() if b.slot}
    for call in (call for c in test.columns for call in calls(c.process.body)):
        if call.name == "reclaim_page" and isinstance(call.args[0], s.Name):
            taken.add(call.args[0].name)
        if call.name == "madvise" and isinstance(call.args[2], s.Name) and call.args[2].name == "MADV_PAGEOUT":
            taken |= {b.page for b in test.ptes.values() if b.page}
    return len(taken) > len(test.slots)


def _reclaims(test: Test) -> bool:
    return any("reclaim_page" in calls_of(c.process.body) for c in test.columns)


def _at_once(test: Test) -> bool:
    return bool(test.bounds.get("SWP_SYNCHRONOUS_IO"))


def unable(test: Test, abilities: Abilities) -> str:
    """Why a test cannot have the swap that it needs, or needs that there is none; empty when it can."""
    swap = abilities.swap
    if not test.swap:
        return "swap is on" if swap.is_on and _reclaims(test) else ""
    if swap.why:
        return swap.why
    if _at_once(test) and not (swap.at_once if swap.is_on else "zram" in swap.own):
        return "swap on a device that answers at once, as zram, is needed"
    if _full(test):
        return "swap does not get full here"
    places = [(name, bits) for (name, _), bits in test.ptes.items() if bits.slot]
    for name, bits in places:
        owners = [test.vmas[v].mm for v, b in places if b.slot == bits.slot]
        if len(set(owners)) < len(owners):
            return "a process has no page in swap twice"
        if test.is_exclusive(bits) != (len(owners) == 1) or test.vmas[name].file:
            return "a page that was shared is not brought to swap here"
    return "huge pages are not brought to swap here" if places and huge.wants(test) else ""


class Swapping:
    """Writes the parts of programs that have to do with swap."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.test = stage, stage.test
        words = stage.shared.words
        self.pause, self._found = words(2, 0, _PAUSE_NS), words()
        self._pagemaps = {mm: words() for mm in stage.test.mms}
        self._frames: dict[str, int] = {}  # of pages as a run begins, times the size of a word
        self.words: dict[str, int] = {}  # what is remembered, by names for a result

    def begin(self, p: Program, mm: str, pagemap: Reg) -> None:
        """What a process does once, before it is to bring pages of its own to swap."""
        p.store(self._pagemaps[mm], pagemap)

    def out(self, p: Program, mm: str, inherited: frozenset[str]) -> None:
        """Bring the pages of an mm to swap that are there as the test begins.

        The mappings are there.  What cannot be brought there is noted, for the run not to count.
        """
        stage, test = self.stage, self.test
        places = [
            (stage.address(name, page), test.slots[bits.slot - 1])
            for (name, page), bits in test.ptes.items()
            if bits.slot and test.vmas[name].mm == mm and name not in inherited
        ]
        self._note_frames(p, mm)
        if not places:
            return
        for address, value in places:
            p.store(address + stage.offset, value)
        left, cached, bit, again, done = p.reg(), p.reg(), p.reg(), Label(), Label()
        p.op("SET", _TRIES, to=left)
        p.label(again)
        for address, _ in places:
            p.call("madvise", address, PAGE, CONSTANTS["MADV_PAGEOUT"])
        p.op("SET", 0, to=cached)
        for address, _ in places:
            p.call("mincore", address, PAGE, self._found)
            p.load(bit, self._found)
            p.op("AND", bit, 1, to=bit)
            p.op("OR", cached, bit, to=cached)
        p.op("IF_ZERO", cached, done)
        p.call("nanosleep", self.pause, 0)
        for address, _ in places:
            p.load(p.reg(), address)
        p.op("SUB", left, 1, to=left)
        p.op("EQUAL", left, 0, to=bit)
        p.op("IF_ZERO", bit, again)
        p.store(stage.made, 0)
        p.label(done)

    def watch(self, page: str) -> None:
        """What lies where a page was may be a copy: whether the page is mapped somewhere has to be known."""
        if not self.stage.abilities.frames:
            raise Unable("MADV_PAGEOUT may take a copy that lies where the page was, as frame numbers are hidden")
        self._frames.setdefault(page, self.stage.shared.words())

    def _note_frames(self, p: Program, mm: str) -> None:
        for (name, page), bits in self.test.ptes.items():
            if bits.page in self._frames and self.test.vmas[name].mm == mm:
                pagemap, frame, word = p.reg(), p.reg(), self._frames[bits.page]
                p.load(pagemap, self._pagemaps[mm])
                p.call("pread64", pagemap, word, WORD, self.stage.address(name, page) // PAGE * WORD)
                p.load(frame, word)
                p.op("AND", frame, _FRAME, to=frame)
                p.op("TIMES", frame, WORD, to=frame)
                p.store(word, frame)

    def look_at_page(self, p: Program, column: int, page: str) -> None:
        """Remember, behind the call by which a column takes a page, how often that is mapped."""
        if page in self._frames:
            frame = p.reg()
            p.load(frame, self._frames[page])
            word = self.words.setdefault(f"{_MAPPED} {column}", self.stage.shared.words())
            p.call("pread64", self.stage.abilities.kpagecount, word, WORD, frame)

    def look(self, p: Program, how: str, column: int, mm: str, address: int) -> None:
        """Remember, behind a call by which a column in an mm takes a page, what the entry is now."""
        if mm in self.test.children:
            return
        pagemap = p.reg()
        p.load(pagemap, self._pagemaps[mm])
        word = self.words.setdefault(f"{how} {column}", self.stage.shared.words())
        p.call("pread64", pagemap, word, WORD, address // PAGE * WORD)


def swapped(words: Mapping[str, int]) -> bool:
    """Whether a column has found a page in swap behind its call."""
    return any(word >> _SWAPPED_BIT & 1 for name, word in words.items() if name.startswith((ADVICE, RECLAIM)))


def doubtful(words: Mapping[str, int]) -> bool:
    """Whether MADV_PAGEOUT has left a page where it was, or may have taken another one for it.

    The former may be since another CPU has not yet put it into the lists of reclaim, as it does with several at once;
    the model has it there always.  The latter is so when one was taken and the right one is still mapped.
    """
    for name, word in words.items():
        how, _, column = name.partition(" ")
        if how == ADVICE and word >> _PRESENT_BIT:
            return True
        if how == RECLAIM and word >> _SWAPPED_BIT & 1 and words.get(f"{_MAPPED} {column}"):
            return True
    return False


def shared_with(test: Test, mm: str, other: str) -> frozenset[str]:
    """The mappings of an mm with pages that another one has, too."""
    theirs = {_key(b) for (v, _), b in test.ptes.items() if _key(b) and test.vmas[v].mm == other}
    return frozenset(v for (v, _), b in test.ptes.items() if _key(b) in theirs and test.vmas[v].mm == mm)


def users(test: Test) -> list[list[tuple[Vma, int]]]:
    """The places of each page of anonymous memory, whether or not it is in swap."""
    found: dict[str, list[tuple[Vma, int]]] = {}
    for (name, page), bits in test.ptes.items():
        if _key(bits):
            found.setdefault(_key(bits), []).append((test.vmas[name], page))
    return list(found.values())


def _key(bits: Bits) -> str:
    return bits.page or (f"slot {bits.slot}" if bits.slot else "")

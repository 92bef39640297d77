# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a file when memory is squeezed: which of its mapped pages reclaim takes, those in use or the others.

A file of scenarios is TOML: each table is one, with `question`, `pages` of the file, of which each of `stride` is
touched, whether all entries are made `old` and the touches repeated, and the megabytes by which it is `squeezed`, each
time with a new file.  See docs/live.md.
"""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptelab.live import binary
from ptelab.live.cgroup import Group, group
from ptelab.live.column import PAGE, Unable
from ptelab.live.counting import BadScenario, tables
from ptelab.live.probe import Abilities
from ptelab.live.program import RESULTS, Label, Program, Shared
from ptelab.live.running import on_disk

CAVEAT = (
    "Entries are made old by clear_refs, which also forgets what the kernel knew of a page's use: an emulation of "
    "entries that are old from the fault on, as arm64 with a hardware access flag has them, not the same."
)
BATCH = 32
"""How many pages reclaim takes from a list at a time (SWAP_CLUSTER_MAX)."""

TOUCHED = 5  # which page of a window is touched
_AREA = 0x200000000
_DECOY = 64  # pages; their unmapping is a flush of everything, on machines that count pages of a flush
_PROT_RW, _MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 3, 0x01, 0x02, 0x10, 0x20
_SECONDS = 60.0
_GENERATIONS = Path("/sys/kernel/mm/lru_gen/enabled")


@dataclass(frozen=True, slots=True)
class Squeezing:
    """A scenario."""

    name: str
    question: str
    pages: int
    stride: int
    old: bool
    squeezed: tuple[int, ...]  # megabytes


@dataclass(frozen=True, slots=True)
class Left:
    """What is left after a squeeze: pages that were really touched, and others."""

    touched: int
    others: int


def is_squeezing(path: Path) -> bool:
    """Whether the scenarios of a file are of this kind."""
    with contextlib.suppress(BadScenario):  # which the other kind will say of it
        return any(isinstance(t, dict) and "squeezed" in t for t in tables(path).values())
    return False


def read(path: Path) -> list[Squeezing]:
    """The scenarios of a file.  Raises BadScenario."""
    return [_scenario(path, name, table) for name, table in tables(path).items()]


def _scenario(path: Path, name: str, table: Any) -> Squeezing:
    keys = {"question": "", "pages": 16384, "stride": 16, "old": False, "squeezed": [16]}
    if not isinstance(table, dict) or set(table) - set(keys):
        raise BadScenario(f"{path}: {name}: write the keys {', '.join(keys)} instead")
    given: dict[str, Any] = {**keys, **table}
    pages, stride, squeezed = given["pages"], given["stride"], given["squeezed"]
    if not (isinstance(pages, int) and isinstance(stride, int) and TOUCHED < stride <= pages <= 1 << 18):
        raise BadScenario(f"{path}: {name}: pages and stride; write 16384 and 16 instead")
    if not squeezed or not all(isinstance(mb, int) and 0 < mb << 20 < pages * PAGE for mb in squeezed):
        raise BadScenario(f"{path}: {name}: squeezed; write a list of megabytes below the file's {pages * PAGE >> 20}")
    return Squeezing(name, " ".join(str(given["question"]).split()), pages, stride, bool(given["old"]), tuple(squeezed))


def measure(scenario: Squeezing, abilities: Abilities, directory: Path | None) -> list[Left]:
    """What is left on the running kernel after each squeeze.  Raises Unable, Crashed, Hung."""
    if not on_disk(directory):
        raise Unable("its file needs a disk, and the directory is in memory")
    with contextlib.suppress(OSError):
        if int(_GENERATIONS.read_text(encoding="ascii"), 0) & 1:
            raise Unable("this kernel knows the age of pages by generations, of which the model has nothing")
    return [_once(scenario, mb << 20, abilities, directory) for mb in scenario.squeezed]


def _once(scenario: Squeezing, size: int, abilities: Abilities, directory: Path | None) -> Left:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile(prefix="ptelab-", dir=directory))
        os.set_inheritable(file.fileno(), True)
        ours = stack.enter_context(group())
        talk = _Talk(stack)
        machine = abilities.machine
        assert machine is not None
        shared = Shared(machine, scenario.pages)
        _write(scenario, shared, file.fileno(), talk)
        fd, memory = shared.lay_down()
        stack.callback(memory.close)
        try:
            child = binary.start(binary.agent(machine), fd, {abilities.cpus[0]})
        finally:
            os.close(fd)
        try:
            _direct(scenario, size, child, ours, talk, file.fileno())
        except BaseException:
            with contextlib.suppress(binary.Crashed):
                binary.finish(child, _give_up)
            raise
        binary.finish(child, binary.patience(_SECONDS))
        resident = memory[shared.results - shared.start :][: scenario.pages]
    touched = sum(byte & 1 for byte in resident[TOUCHED :: scenario.stride])
    return Left(touched, sum(byte & 1 for byte in resident) - touched)


def _give_up() -> None:
    raise binary.Crashed("given up")


class _Talk:
    """Two pipes: the agent says that it has come so far, and waits until it may go on."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.came, self._came = os.pipe()
        self.go, self._go = os.pipe()
        self._open = [self.came, self._came, self.go, self._go]
        stack.callback(self.hang_up)
        os.set_inheritable(self._came, True)
        os.set_inheritable(self.go, True)

    def hang_up(self) -> None:
        """Close all."""
        while self._open:
            os.close(self._open.pop())

    def pause(self, p: Program, word: int) -> None:
        """The agent's side."""
        p.call("write", self._came, word, 1)
        p.call("read", self.go, word, 1)

    def wait(self) -> None:
        """Until the agent pauses.  Raises Hung."""
        if not select.select([self.came], [], [], _SECONDS)[0] or not os.read(self.came, 1):
            raise binary.Hung("the agent did not come so far")

    def on(self) -> None:
        """Let it go on."""
        os.write(self._go, b"1")


def _write(scenario: Squeezing, shared: Shared, file: int, talk: _Talk) -> None:
    p = shared.program()
    word = shared.words()
    page = shared.bytes(b"\1" * PAGE)
    idle = shared.program()
    size = scenario.pages * PAGE
    decoy = _AREA + size + (1 << 30)
    talk.pause(p, word)
    offset, left, again, end = p.reg(), p.reg(), Label(), Label()
    p.op("SET", 0, to=offset)
    p.op("SET", scenario.pages, to=left)
    p.label(again)
    p.op("IF_ZERO", left, end)
    p.call("pwrite64", file, page, PAGE, offset)  # a page at a time, for folios of a page each
    p.op("ADD", offset, PAGE, to=offset)
    p.op("SUB", left, 1, to=left)
    p.jump(again)
    p.label(end)
    talk.pause(p, word)
    p.call("mmap", _AREA, size, _PROT_RW, _MAP_SHARED | _MAP_FIXED, file, 0)
    _touch(scenario, p)
    talk.pause(p, word)
    if scenario.old:
        # The CPU may still have the entries as they were when they were young, and would not mark them again.  A fork
        # and the end of a larger mapping each flush all that a CPU has of the process.
        p.op("FORK", idle.number, to=p.reg())
        p.call("wait4", -1, 0, 0x40000000, 0)
        p.call("mmap", decoy, _DECOY * PAGE, _PROT_RW, _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS, -1, 0)
        for i in range(_DECOY):
            p.store(decoy + i * PAGE, 1)
        p.call("munmap", decoy, _DECOY * PAGE)
        _touch(scenario, p)
        talk.pause(p, word)
    p.call("mincore", _AREA, size, RESULTS)


def _touch(scenario: Squeezing, p: Program) -> None:
    address, left, value, again, end = p.reg(), p.reg(), p.reg(), Label(), Label()
    p.op("SET", _AREA + TOUCHED * PAGE, to=address)
    p.op("SET", -(-(scenario.pages - TOUCHED) // scenario.stride), to=left)
    p.label(again)
    p.op("IF_ZERO", left, end)
    p.load(value, address)
    p.op("ADD", address, scenario.stride * PAGE, to=address)
    p.op("SUB", left, 1, to=left)
    p.jump(again)
    p.label(end)


def _direct(scenario: Squeezing, size: int, child: int, ours: Group, talk: _Talk, file: int) -> None:
    talk.wait()
    try:
        ours.add(child)
    except OSError as error:
        raise Unable(f"no process can be moved to a cgroup: {error.strerror}") from error
    before = ours.usage()
    talk.on()
    talk.wait()
    os.fsync(file)
    # A file system keeps something beside each page, which goes when the page does and is charged as well.
    charged = ours.usage() - before
    talk.on()
    talk.wait()
    mapped = _mapped(child)
    if mapped < scenario.pages:
        raise Unable(f"faults map {mapped} of {scenario.pages} pages: not all that lies around them")
    if scenario.old:
        try:
            Path(f"/proc/{child}/clear_refs").write_text("1", encoding="ascii")
        except OSError as error:
            raise Unable(f"clear_refs: {error.strerror}") from error
        talk.on()
        talk.wait()
    ours.squeeze(size * charged // (scenario.pages * PAGE))
    talk.on()


# How many pages of the area are mapped.  Counters of a whole process can be some behind, up to Linux 6.1.
def _mapped(child: int) -> int:
    words = iter(Path(f"/proc/{child}/smaps").read_text(encoding="utf-8").split())
    for word in words:
        if word.startswith(f"{_AREA:x}-"):
            break
    for word in words:
        if word == "Rss:":
            return int(next(words)) * 1024 // PAGE
    return 0


def sorts(scenario: Squeezing) -> tuple[int, int]:
    """How many pages are touched, and how many are not."""
    touched = -(-(scenario.pages - TOUCHED) // scenario.stride)
    return touched, scenario.pages - touched


def show(scenario: Squeezing, left: Sequence[Left]) -> list[str]:
    """A line for each squeeze: what is left of the touched pages and of the others."""
    touched, others = sorts(scenario)
    return [
        f"-{mb} MB: {one.touched:5} of {touched} touched, {one.others:6} of {others} others"
        for mb, one in zip(scenario.squeezed, left, strict=True)
    ]


def agree(scenario: Squeezing, model: Sequence[Left], kernel: Sequence[Left]) -> bool:
    """Whether both sides say the same: within a hundredth of the pages of a sort, and the share that it has of a batch.

    So far apart as the shares of the sorts are, their order then is the same as well.
    """
    touched, others = sorts(scenario)

    def near(a: int, b: int, number: int) -> bool:
        return abs(a - b) <= number / 100 + BATCH * number / scenario.pages

    pairs = zip(model, kernel, strict=True)
    return all(near(m.touched, k.touched, touched) and near(m.others, k.others, others) for m, k in pairs)

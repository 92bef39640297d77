# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios whose events are counted: one mapping, one thread, the sizes of real machines.

A file of scenarios is TOML: each table is one, with `question`, the mapping (`memory`, `sharing`, `prot`, `pages`,
`offset`), statements that are performed `before`, and those that are `counted`.  See docs/live.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptelab import frontend, ir
from ptelab.live.mapping import Behind, setup_lines
from ptelab.native.sequential import Event, Sequential
from ptelab.source import SourceError, Sources, Text

BASE_PAGE = 1024
"""The page where a mapping begins in the model; with `offset` 0 that is at the beginning of a table."""

ENTRIES = 512
_SIZES = {
    "PTRS_PER_PTE": ENTRIES, "FAULT_AROUND_PAGES": 16, "MMU_GATHER_BUNDLE": 8, "MAX_GATHER_BATCH": 510,
    "MAX_GATHER_BATCH_COUNT": 19, "GATHER_BATCHES": 20, "GATHER_ENTRIES": 20 * 510, "MAX_TABLE_BATCH": 509,
}  # fmt: skip

CALLS = ("load", "store", "munmap", "mprotect", "madvise", "mremap", "fork", "msync")
ADVICE = {"DONTNEED": 4, "RANDOM": 1, "FREE": 8}


class BadScenario(SourceError):
    """A scenario that cannot be used."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is done to pages first, first + stride … of the mapping."""

    call: str
    first: int = 0
    count: int = 0
    stride: int = 1
    word: str = ""  # prot or advice


@dataclass(frozen=True, slots=True)
class Counting:
    """A scenario: `memory` is anonymous, memfd or disk."""

    name: str
    question: str
    memory: str
    shared: bool
    writable: bool
    pages: int
    offset: int
    before: tuple[Statement, ...]
    counted: tuple[Statement, ...]

    @property
    def has_fork(self) -> bool:
        """Whether there will be a child."""
        return any(s.call == "fork" for s in (*self.before, *self.counted))


def tables(path: Path) -> dict[str, Any]:
    """What a file of scenarios holds.  Raises BadScenario."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadScenario(f"{path}: {error}") from error


def read(path: Path) -> list[Counting]:
    """The scenarios of a file.  Raises BadScenario."""
    return [_scenario(path, name, table) for name, table in tables(path).items()]


def _scenario(path: Path, name: str, table: Any) -> Counting:
    keys = {"question": "", "memory": "anonymous", "sharing": "private", "prot": "rw", "pages": 1, "offset": 0,
            "before": [], "counted": []}  # fmt: skip
    if not isinstance(table, dict) or set(table) - set(keys):
        raise BadScenario(f"{path}: {name}: write the keys {', '.join(keys)} instead")
    given: dict[str, Any] = {**keys, **table}
    for key, words in (("memory", ("anonymous", "memfd", "disk")), ("sharing", ("private", "shared")),
                       ("prot", ("r", "rw"))):  # fmt: skip
        if given[key] not in words:
            raise BadScenario(f"{path}: {name}: {key} is {given[key]}; write {' or '.join(words)} instead")

    def statements(key: str) -> tuple[Statement, ...]:
        return tuple(_statement(path, name, str(text), int(given["pages"])) for text in given[key])

    return Counting(
        name, " ".join(str(given["question"]).split()), given["memory"], given["sharing"] == "shared",
        given["prot"] == "rw", int(given["pages"]), int(given["offset"]), statements("before"), statements("counted"),
    )  # fmt: skip


def _statement(path: Path, name: str, text: str, pages: int) -> Statement:
    call, *words = text.split()
    numbers = [int(w) for w in words if w.isdigit()]
    others = [w for w in words if not w.isdigit()]
    if call not in CALLS or len(numbers) > 3 or len(others) > 1 or (call != "fork" and len(numbers) < 2):
        raise BadScenario(f"{path}: {name}: “{text}”; write CALL FIRST COUNT with {', '.join(CALLS)} instead")
    first, count, stride = [*numbers, *(0, 0, 1)[len(numbers) :]]
    statement = Statement(call, first, count, stride, others[0] if others else "")
    last = statement.first + max(0, statement.count - 1) * statement.stride
    if call != "fork" and (last >= pages or statement.count < 1):
        raise BadScenario(f"{path}: {name}: “{text}” is not within the {pages} pages")
    if (call == "mprotect" and statement.word not in ("r", "rw")) or (
        call == "madvise" and statement.word not in ADVICE
    ):
        raise BadScenario(f"{path}: {name}: “{text}” needs r or rw, or one of {', '.join(ADVICE)}")
    return statement


# ------------------------------------------------------------------------------------------------ model


class WithoutInvariants(Sources):
    """The model without what watches it: at these sizes a look at everything after each step would take for ever."""

    def directory_texts(self, directory: str, every_arch: bool = False) -> list[Text]:
        return [] if directory == "invariants" else super().directory_texts(directory, every_arch)


WATCHED = {"exc_page_fault": "faults", "filemap_map_pages": "map_pages", "flush_tlb_func": "flushes"}
"""Functions of the model, and which counter the kernel's tracepoint in the same place feeds."""

_FLUSH_ALL = 255  # TLB_FLUSH_ALL of the model; no address of a mapping is that small


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted: `flushes` are the pages of each flush in their order, -1 for everything."""

    faults: int
    map_pages: int
    flushes: tuple[int, ...]

    def show(self) -> str:
        """In one line; equal flushes in a row are written once."""
        words: list[str] = []
        i = 0
        while i < len(self.flushes):
            j = i
            while j < len(self.flushes) and self.flushes[j] == self.flushes[i]:
                j += 1
            pages = "all" if self.flushes[i] < 0 else str(self.flushes[i])
            words.append(pages if j == i + 1 else f"{j - i}×{pages}")
            i = j
        flushes = f"{len(self.flushes)} flush{'' if len(self.flushes) == 1 else 'es'}"
        pages = f" (pages: {', '.join(words)})" if words else ""
        return f"{self.faults} faults, {self.map_pages} map_pages, {flushes}{pages}"


class ModelCounts:
    """Scenarios in the model: compiled together, run one by one."""

    def __init__(
        self, scenarios: Sequence[Counting], profile: str, model: Path | None, patches: Sequence[Path]
    ) -> None:
        self._number = {s.name: n for n, s in enumerate(scenarios)}
        sources = WithoutInvariants(profile, model, overlay={"counting.py": _module(scenarios)}, patches=patches)
        roots = [f"{part}{n}" for n in self._number.values() for part in _PARTS]
        compiled = frontend.compile_model(sources, roots)
        self._names = {name: key for key, (_, name) in compiled.names.items()}
        watch = [self._names[f] for f in WATCHED if f in self._names]
        pages, offset = max(s.pages for s in scenarios), max(s.offset for s in scenarios)
        params = sizes(pages, offset, compiled.module, compiled.param_defaults)
        events_max = 4 * max(s.pages for s in scenarios) + 1000
        self._run = Sequential(compiled.module, params, [self._names[r] for r in roots], watch, events_max)

    def counts(self, scenario: Counting) -> Counts:
        """What the model counts.  Raises Stopped."""
        self._run.clear()
        number = self._number[scenario.name]
        events: list[Event] = []
        for part in _PARTS:
            events = self._run.call(self._names[f"{part}{number}"])
        return _counts(events, self._names)


_PARTS = ("setup", "before", "counted")


def _counts(events: Sequence[Event], names: Mapping[str, str]) -> Counts:
    found: dict[str, list[Event]] = {what: [] for what in WATCHED.values()}
    for event in events:
        function = next(f for f in WATCHED if names.get(f) == event.function)
        found[WATCHED[function]].append(event)
    flushes = []
    for event in found["flushes"]:
        values = {name.rpartition(".")[2]: value for name, value in event.args.items()}
        all_ = values["end"] == _FLUSH_ALL
        flushes.append(-1 if all_ else (values["end"] - values["start"]) // values["stride"])
    return Counts(len(found["faults"]), len(found["map_pages"]), tuple(flushes))


_HEAD = """# SPDX-License-Identifier: GPL-2.0-only
\"\"\"Generated: scenarios whose events are counted.\"\"\"
from linux.fs import address_space
from linux.mm import VM_MAYWRITE, VM_READ, VM_SHARED, VM_WRITE
from linux.mm_types import Folio, mm_struct, vm_area_struct
from setup import setup_cpu, setup_file, setup_file_page, setup_mm, setup_task, setup_vma, setup_zero_page
from user import fork, madvise, mprotect, mremap, munmap, user_load, user_store, writeback
from ptelab.lang import at
"""


def _module(scenarios: Sequence[Counting]) -> str:
    lines = [_HEAD]
    for number, scenario in enumerate(scenarios):
        lines += ["", f"def setup{number}() -> None:", f'    """{scenario.name}: the mapping."""', *_setup(scenario)]
        for part in _PARTS[1:]:
            lines += ["", f"def {part}{number}() -> None:", f'    """{scenario.name}: what is done."""']
            body = [line for s in getattr(scenario, part) for line in _lines(s, BASE_PAGE + scenario.offset)]
            lines += body or ["    pass"]
    return "\n".join(lines) + "\n"


def _setup(scenario: Counting) -> list[str]:
    return setup_lines(
        _BEHIND[scenario.memory], BASE_PAGE + scenario.offset, scenario.pages, writable=scenario.writable,
        shared=scenario.shared, stays_dirty=scenario.memory == "memfd",
    )  # fmt: skip


_BEHIND: dict[str, Behind] = {"anonymous": "nothing", "memfd": "memory", "disk": "disk"}


def _lines(s: Statement, start: int) -> list[str]:
    place = f"{start + s.first}, {s.count}"
    each = f"    for i in range({s.count}):"
    address = f"{start + s.first} + i * {s.stride}"
    match s.call:
        case "load":
            return [each, f"        value, segv = user_load({address})"]
        case "store":
            return [each, f"        refused = user_store({address}, 1)"]
        case "munmap":
            return [f"    munmap({place})"]
        case "mprotect":
            return [f"    mprotect({place}, {1 if s.word == 'r' else 3})"]
        case "madvise" if s.word == "RANDOM":
            return []  # a hint for reading ahead, of which the model has nothing
        case "mremap":  # as many tables further on as the mapping needs
            return [f"    mremap({place.partition(',')[0]}, {s.count}, {s.count}, 3, {start + s.first + moved(s)})"]
        case "madvise":
            return [f"    madvise({place}, {ADVICE[s.word]})"]
        case "msync":
            return [each, "        writeback(at(address_space, 0), " + f"{s.first} + i * {s.stride})"]
        case _:
            return ["    fork(at(mm_struct, 1))"]


def moved(s: Statement) -> int:
    """How many pages mremap moves a mapping: whole tables, as many as lie before its old end, and one more."""
    return (s.count // ENTRIES + 2) * ENTRIES


def sizes(pages: int, offset: int, module: ir.Module, defaults: Mapping[str, int]) -> dict[str, int]:
    """The layout for a mapping of so many pages that begins so far from the beginning of a table."""
    tables = (BASE_PAGE + offset + 2 * pages) // ENTRIES + 3
    addresses = tables * ENTRIES
    params = dict(defaults) | {name: value for name, value in _SIZES.items() if name in defaults}
    params |= {"NR_CPUS": 1, "NR_THREADS": 1, "VALUE_MAX": 1, "NR_PAGES": addresses, "PTRS_PER_PMD": tables,
               "FILE_PAGES": addresses, "ISOLATED_MAX": ENTRIES, "ZERO_PAGES": 1}  # fmt: skip
    folios = 3 * pages + 8
    pools = {
        "mm_struct": 2, "mm_context_t": 2, "Folio": folios, "Frame": folios, "Buddy": folios, "vm_area_struct": 2,
        "Child": 2, "Table": 2 * tables, "ptdesc": 2 * tables, "pte_p": 2 * tables * ENTRIES, "pmd_p": 2 * tables,
    }  # fmt: skip
    for struct in module.structs.values():
        if struct.kind in ("shared", "ghost"):
            params[f"nr_{struct.name}"] = pools.get(struct.name, 1)
    return params

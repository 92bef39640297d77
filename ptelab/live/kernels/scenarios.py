# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios that a kernel under QEMU and the model perform alike: one mapping, a process, and its child if it forks.

A file of them is TOML, like that of counts (docs/live.md): `before` is done first, then all is looked at; `counted` is
done while faults are counted and the calls of `functions` recorded, and all is looked at again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptelab.source import SourceError

CALLS = ("load", "store", "munmap", "mprotect", "madvise", "fork", "exit", "ksm")
ARGUMENTS = {
    ("mprotect", "r"): 1, ("mprotect", "rw"): 3, ("madvise", "RANDOM"): 1, ("madvise", "DONTNEED"): 4,
    ("madvise", "FREE"): 8,
}  # fmt: skip
"""What a word of a statement means to the system call."""

WINDOW = 16
"""Pages that a fault maps around, at most."""

PAGES_MAX = 2 * WINDOW
"""How far a mapping may reach from where one with offset 0 begins."""

PARENT, CHILD = 0, 1


class BadScenario(SourceError):
    """A scenario that cannot be used."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a process does to pages first, first + stride … of the mapping."""

    who: int
    call: str
    first: int = 0
    count: int = 0
    argument: int = 0  # the stride of accesses


@dataclass(frozen=True, slots=True)
class Scenario:
    """`memory` is anonymous, memory (a file of tmpfs) or disk (one that wants to know of stores)."""

    name: str
    question: str
    memory: str
    shared: bool
    writable: bool
    pages: int
    offset: int
    before: tuple[Statement, ...]
    counted: tuple[Statement, ...]
    functions: tuple[str, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All of them, in their order."""
        return (*self.before, *self.counted)


def read(path: Path) -> list[Scenario]:
    """The scenarios of a file.  Raises BadScenario."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadScenario(f"{path}: {error}") from error
    return [_Reader(path, name).scenario(table) for name, table in tables.items()]


class _Reader:
    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.place = f"{path}: {name}"

    def scenario(self, table: Any) -> Scenario:
        defaults = {"question": "", "memory": "anonymous", "sharing": "private", "prot": "rw", "pages": 1, "offset": 0,
                    "before": [], "counted": [], "functions": []}  # fmt: skip
        if not isinstance(table, dict) or set(table) - set(defaults):
            raise BadScenario(f"{self.place}: write the keys {', '.join(defaults)} instead")
        given: dict[str, Any] = {**defaults, **table}
        for key, words in (("memory", ("anonymous", "memory", "disk")), ("sharing", ("private", "shared")),
                           ("prot", ("r", "rw"))):  # fmt: skip
            if given[key] not in words:
                raise BadScenario(f"{self.place}: {key} is {given[key]}; write {' or '.join(words)} instead")
        pages, offset = int(given["pages"]), int(given["offset"])
        if pages < 1 or offset < 0 or offset + pages > PAGES_MAX:
            raise BadScenario(
                f"{self.place}: {pages} pages at {offset}; write at least 1, up to page {PAGES_MAX} instead"
            )
        before = [self._statement(str(text), pages) for text in given["before"]]
        counted = [self._statement(str(text), pages) for text in given["counted"]]
        self._check_child([*before, *counted])
        if given["functions"] and any(s.call == "fork" for s in counted):
            raise BadScenario(f"{self.place}: what a fork calls for init itself would be traced; put it before")
        return Scenario(
            self.name, " ".join(str(given["question"]).split()), given["memory"], given["sharing"] == "shared",
            given["prot"] == "rw", pages, offset, tuple(before), tuple(counted),
            tuple(str(f) for f in given["functions"]),
        )  # fmt: skip

    def _statement(self, text: str, pages: int) -> Statement:
        who, colon, rest = text.partition(":")
        call, *words = (rest if colon else text).split()
        if (colon and who != "child") or call not in CALLS:
            raise BadScenario(
                f"{self.place}: “{text}”; write [child:] CALL FIRST COUNT with {', '.join(CALLS)} instead"
            )
        process = CHILD if colon else PARENT
        if call in ("fork", "exit"):
            return Statement(process, call)
        numbers = [int(w) for w in words if w.isdigit()]
        others = [w for w in words if not w.isdigit()]
        known = [word for c, word in ARGUMENTS if c == call]
        if (others or known) and (len(others) != 1 or others[0] not in known):
            raise BadScenario(f"{self.place}: “{text}” needs {' or '.join(known) or 'numbers alone'}")
        access = call in ("load", "store")
        if not 2 <= len(numbers) <= (3 if access else 2):
            raise BadScenario(f"{self.place}: “{text}”; write {call} FIRST COUNT instead")
        first, count = numbers[:2]
        stride = numbers[2] if len(numbers) == 3 else 1
        if count < 1 or first + (count - 1) * stride >= pages:
            raise BadScenario(f"{self.place}: “{text}” is not within the {pages} pages")
        return Statement(
            process, call, first, count, stride if access else ARGUMENTS.get((call, others[0] if others else ""), 0)
        )

    def _check_child(self, statements: Sequence[Statement]) -> None:
        there = False
        for s in statements:
            if s.call == "fork" and s.who == PARENT and not there:
                there = True
            elif s.call == "fork" or (s.who == CHILD and not there):
                raise BadScenario(f"{self.place}: one child, from fork to exit")
            elif s.call == "exit":
                there = False

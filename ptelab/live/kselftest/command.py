# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live --kselftest` does: the kernel judges itself, and the model is asked the same."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ptelab import beside, bundled, checking
from ptelab.checking import Options
from ptelab.litmus import build as litmus
from ptelab.litmus.judge import UNKNOWN, named_flags
from ptelab.litmus.resolve import Test
from ptelab.live import room, swapping
from ptelab.live.kselftest import building, table, tap
from ptelab.live.kselftest.building import NotBuilt
from ptelab.live.kselftest.running import Program, run
from ptelab.live.kselftest.table import Row, Table
from ptelab.live.kselftest.tap import Case
from ptelab.live.report import Entry
from ptelab.source import SourceError

OK, FAILED, LIMIT, SKIPPED = 0, 1, 3, 4

PROFILES = {"x86_64": "x86_64", "aarch64": "arm64+hafdbs", "s390x": "s390"}
"""The model of a machine, by the names that uname gives."""

_TIME_S = 120.0  # for a twin
_WORDS = {"ok": "same", "failed": "DIFFERENT", "none": "no twin", "skipped": "skipped", "incomplete": "no answer"}

TWICE = "the test says two things of this number, as two of its processes speak"

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's: ok, not ok or unknown, and the result of the twin that says so."""

    word: str
    result: str


@dataclass(frozen=True, slots=True)
class Line:
    """A case: what the kernel says, and the model."""

    program: str
    case: Case
    title: str
    status: str  # one of _WORDS
    row: Row | None
    model: Answer | None

    @property
    def why(self) -> str:
        """Why nothing is compared."""
        if self.status == "none":
            return self.row.none if self.row else "the table does not know this case"
        if self.status == "skipped":
            return tap.reason(self.case) if self.case.answer == "skip" else TWICE
        return ""

    def text(self) -> str:
        """The line."""
        head = f"{_WORDS[self.status]:9} {self.program} {self.case.number}: {self.title}: kernel {self.case.answer}"
        model = f", model {self.model.word} ({self.row.twin}: {self.model.result})" if self.model and self.row else ""
        return "; ".join(
            [head + model, *([self.why] if self.why else []), *([self.row.note] if self.row and self.row.note else [])]
        )

    def json(self, kernel: str) -> dict[str, object]:
        """The same for programs."""
        return {
            "kselftest": self.program, "number": self.case.number, "case": self.title, "kernel": kernel,
            "status": self.status, "answer": self.case.answer, "twin": self.row.twin if self.row else "",
            "model": self.model.word if self.model else "", "result": self.model.result if self.model else "",
            "why": self.why, "remark": self.case.remark, "note": self.row.note if self.row else "",
        }  # fmt: skip


class Twins:
    """What the model says to litmus tests, each asked once."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def unable(self, row: Row) -> str:
        """Why a twin cannot be asked; empty when it can."""
        return checking.skipped(_litmus(row.twin).on(self._arch(row)), self._arch(row))

    def ask(self, rows: Iterable[Row]) -> None:
        """Ask all twins of some rows, several at a time."""
        wanted = list(dict.fromkeys((row.twin, self._arch(row)) for row in rows))
        workers = min(len(wanted) // 4, len(os.sched_getaffinity(0)))
        if workers < 2:
            return
        options = replace(self._options, threads=1, memory_bytes=self._options.memory_bytes // workers)
        answers = beside.in_order(functools.partial(_result, options), wanted, workers)
        self._known |= dict(zip(wanted, answers, strict=True))

    def answer(self, row: Row) -> Answer:
        """Whether the twin of a case has the result that means ok."""
        key = row.twin, self._arch(row)
        if key not in self._known:
            self._known[key] = _result(self._options, key)
        result, flag = self._known[key]
        word = "unknown" if result == UNKNOWN else "ok" if result == row.ok and not flag else "not ok"
        return Answer(word, f"flag {flag}" if flag else result)

    def _arch(self, row: Row) -> str:
        return row.arch or self._options.arch


# The result of a litmus test, and a flag that its condition does not name.
def _result(options: Options, asked: tuple[str, str]) -> tuple[str, str]:
    twin, arch = asked
    _, verdict = checking.check(_litmus(twin), replace(options, arch=arch))
    flags = sorted(set(verdict.exploration.flags) - named_flags(verdict.test))
    return verdict.result, flags[0] if flags else ""


@functools.cache
def _litmus(twin: str) -> Test:
    return litmus.read(bundled.directory("litmus") / f"{twin}.litmus")


def default_table() -> Path:
    """The table that comes with the tool."""
    return bundled.directory("live") / "kselftest" / "twins.toml"


def kselftest(directory: Path, names: Sequence[str], options: Options, swap: bool, unmerge: bool, as_json: bool,
              echo: Say, explain: Say, entries: list[Entry]) -> int:  # fmt: skip
    """Run selftests, all that the table knows without names, and compare.  The exit status.

    What was compared is added to `entries`.  Raises SourceError.
    """
    twins = table.read(default_table())
    if unknown := [name for name in names if name not in twins]:
        raise SourceError(f"{unknown[0]}: no such selftest; write {', '.join(twins)} instead")
    sources = building.find(directory, twins)
    kernel = f"{os.uname().release} {platform.machine()}"
    if platform.machine() not in PROFILES:
        raise SourceError(f"no model of {platform.machine()}")
    options = replace(options, arch=PROFILES[platform.machine()], time_s=_TIME_S)
    explain(f"Kernel {kernel}, tests of {sources}, against the model of {options.arch}")
    with swapping.on() if swap else contextlib.nullcontext("") as why:
        if why:
            explain(why[0].upper() + why[1:])
        programs = _run(sources, names or list(twins), unmerge, explain)
    model = Twins(options)
    rows = [table.find(twins[p.name], case) for p in programs for case in p.said.cases]
    model.ask(row for row in rows if row and row.twin and not model.unable(row))
    lines: list[Line] = []
    for program in programs:
        compared = _compare(program, twins, model)
        lines += compared
        for line in compared:
            echo(json.dumps(line.json(kernel), ensure_ascii=False) if as_json else line.text())
        _conclude(program, compared, explain)
    explain(f"{len(lines)} cases: {_counted(lines)}")
    entries += [_entry(line, kernel, directory, options, swap) for line in lines if line.row and line.row.twin]
    return _status(programs, lines)


def _run(sources: Path, names: Sequence[str], unmerge: bool, explain: Say) -> list[Program]:
    with room.directory() as build:
        try:
            building.prepare(build)
        except NotBuilt as error:
            return [Program(name, skipped=str(error)) for name in names]
        programs = []
        for name in names:
            explain(f"Running {name}")
            programs.append(run(sources, build, name, unmerge))
        return programs


def _compare(program: Program, twins: Table, model: Twins) -> list[Line]:
    lines = []
    cases = program.said.cases
    often = Counter(case.number for case in cases)
    for case, title in zip(cases, tap.titles(cases), strict=True):
        row = table.find(twins[program.name], case)
        if row and row.twin and (why := model.unable(row)):
            row = replace(row, twin="", none=why)
        answer = model.answer(row) if row and row.twin else None
        if answer is None:
            status = "none"
        elif case.answer == "skip" or often[case.number] > 1:
            status = "skipped"
        elif answer.word == "unknown":
            status = "incomplete"
        else:
            status = "ok" if answer.word == case.answer else "failed"
        lines.append(Line(program.name, case, title, status, row, answer))
    return lines


def _conclude(program: Program, lines: Sequence[Line], explain: Say) -> None:
    if program.skipped:
        explain(f"{program.name} skipped: {program.skipped}")
    if program.broken:
        explain(f"!!! {program.name}: no result of the rest, since it failed as a program: {program.broken}")
    if lines:
        explain(f"{program.name}: {len(lines)} cases: {_counted(lines)}")


def _counted(lines: Sequence[Line]) -> str:
    count = Counter(line.status for line in lines)
    return ", ".join(f"{count[status]} {word}" for status, word in _WORDS.items() if count[status]) or "none"


def _status(programs: Sequence[Program], lines: Sequence[Line]) -> int:
    statuses = {line.status for line in lines}
    if "failed" in statuses:
        return FAILED
    if "incomplete" in statuses or any(program.broken for program in programs):
        return LIMIT
    return OK if "ok" in statuses else SKIPPED


def _entry(line: Line, kernel: str, directory: Path, options: Options, swap: bool) -> Entry:
    assert line.row is not None and line.model is not None
    words = ["ptelab live", *(f"--patch {patch}" for patch in options.patches), f"--kselftest {directory}"]
    words += ["--swap"] if swap else []
    return Entry(
        "kselftest", f"{line.program} {line.case.number}", line.title, kernel, line.status,
        f"{line.model.word}\n{line.row.twin}: {line.model.result}",
        "\n".join([line.case.answer, *([line.case.remark] if line.case.remark else [])]),
        " ".join([*words, line.program]),
    )  # fmt: skip

# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of the model the tests have executed.

A line counts if a statement of the dialect stands there: not docstrings, imports and declarations.  A line of code that
several architectures share is reached when a test on any of them reaches it.  What builds the initial state runs on the
reference machine, once, and counts by functions: all of a function that a test's setup needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from ptelab import frontend, ir
from ptelab.source import Sources

Line = tuple[str, int]


@dataclass(slots=True)
class FileCoverage:
    """One file: its path in the model, and the executable lines that were reached and not, with their functions."""

    path: str
    executable: list[tuple[int, str]]  # line, function
    missed: list[tuple[int, str]]

    @property
    def lines(self) -> int:
        return len(self.executable)

    def ranges(self) -> list[str]:
        """`12-15 (do_wp_page)`: runs of missed lines within one function; lines between them are not executable."""
        missed = {line for line, _ in self.missed}
        found = []
        for function, group in groupby(self.executable, key=lambda m: m[1]):
            for first, last in runs_of([line for line, _ in group], missed):
                found.append(f"{first}{f'-{last}' if last > first else ''} ({function})")
        return found


@dataclass(slots=True)
class Coverage:
    """What was executed so far; `model` is the directory of the model, None for the bundled one."""

    model: Path | None = None
    reached: set[Line] = field(default_factory=set)
    arches: set[str] = field(default_factory=set)

    def add(self, arch: str, lines: Iterable[Line]) -> None:
        """Note what one test has executed on a profile."""
        self.arches.add(arch.partition("+")[0])
        self.reached.update(lines)

    def files(self) -> list[FileCoverage]:
        """Every file of the model for the architectures that were tested, in the order of their paths."""
        functions: dict[Line, str] = {}
        for arch in sorted(self.arches):
            for name, function in frontend.compile_all(Sources(arch, self.model)).module.functions.items():
                for line in lines_of(function):
                    functions.setdefault(line, name.rstrip("~"))
        found = []
        for path, group in groupby(sorted(functions), key=lambda line: line[0]):
            lines = [(line, functions[path, line]) for _, line in group]
            missed = [(line, function) for line, function in lines if (path, line) not in self.reached]
            found.append(FileCoverage(path, lines, missed))
        return found

    def report(self) -> list[str]:
        """A line per file, what is missed in it, and the total."""
        files = self.files()
        out = ["Coverage of the model", f"{'lines':>6} {'missed':>6} {'':>6}"]
        for f in files:
            out.append(f"{f.lines:6} {len(f.missed):6} {_share(f.lines - len(f.missed), f.lines):>6}  {f.path}")
            out += [f"{'':>21}  not reached: {place}" for place in f.ranges()]
        lines, missed = sum(f.lines for f in files), sum(len(f.missed) for f in files)
        out.append(f"{lines:6} {missed:6} {_share(lines - missed, lines):>6}  all, on {', '.join(sorted(self.arches))}")
        return out

    def json_object(self) -> dict[str, object]:
        """The same for programs: per file the number of lines, and each missed line with its function."""
        files = {
            f.path: {"lines": f.lines, "missed": [{"line": n, "function": name} for n, name in f.missed]}
            for f in self.files()
        }
        return {"arches": sorted(self.arches), "files": files}


def runs_of(lines: list[int], chosen: Collection[int]) -> list[tuple[int, int]]:
    """First and last of each run of chosen lines, of all `lines` in order: no line between them is not chosen."""
    groups = [list(group) for is_chosen, group in groupby(lines, key=lambda line: line in chosen) if is_chosen]
    return [(group[0], group[-1]) for group in groups]


def lines_of(function: ir.Function) -> set[Line]:
    """The places of a function's statements, but for those that raise a flag, as a right model never does."""
    blocks = (b for b in function.blocks if not any(isinstance(s, ir.Flag) for s in b.stmts))
    return {(s.at.file, s.at.line) for block in blocks for s in block.stmts if s.at.line}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 100:.1f}%"

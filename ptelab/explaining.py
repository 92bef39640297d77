# SPDX-License-Identifier: GPL-2.0-only
"""Why a test passed: what its claims rest on, what of the called code never ran, what was cut off.

A pass says little if the code in question was not entered, if the invariant was never asked, or if an allocation failed
for want of elements where Linux has plenty.  Linux can do far more than one test asks for; so code and situations that
the test's initial state rules out, as an analysis of values sees it, are only counted.  What is left might have run
and did not: the branches that were not taken, each with the functions that were not entered for it.  The more accesses
to shared state lie behind a branch, the more interleavings are missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from ptelab import ir
from ptelab.coverage import Line, lines_of, runs_of
from ptelab.exploration import Exploration
from ptelab.flow import called_from, calls, successors
from ptelab.machine import possible_module
from ptelab.scenario import Scenario
from ptelab.values import TRAP

SHOWN = 15
"""Branches that the text names; JSON has all."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A situation that the test can go through, and the functions at which it is noted."""

    name: str
    reached: bool
    claimed: bool  # named by the test's `Reach=`
    file: str
    line: int
    at: list[str]


@dataclass(frozen=True, slots=True)
class Check:
    """A place where a flag is raised if its invariant does not hold; `asked`: some run came to the function."""

    flag: str
    claimed: bool  # named by the test's condition
    file: str
    line: int
    function: str
    asked: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """Lines of a function that was entered which never ran, and the functions that were never entered behind them."""

    file: str
    line: int
    last: int
    function: str
    accesses: int  # to shared state, locks and waits included, in the lines and in `behind`
    behind: list[str]

    def text(self) -> str:
        """For people: place, function, and what it would have called."""
        last = f"-{self.last}" if self.last != self.line else ""
        behind = ", ".join(self.behind[:3]) + (f" and {len(self.behind) - 3} more" if len(self.behind) > 3 else "")
        return f"{self.accesses:6}  {self.file}:{self.line}{last} ({self.function})" + (behind and f": {behind}")


@dataclass(frozen=True, slots=True)
class CutOff:
    """A search for a free element that found none, though Linux may have more."""

    bound: str
    value: int
    by: str
    file: str
    line: int


@dataclass(slots=True)
class Explanation:
    """What can be said of one test's exploration besides its verdict."""

    complete: bool
    situations: list[Situation] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    flags_ruled_out: list[str] = field(default_factory=list)  # of those that the condition names
    outcomes: tuple[int, int] = (0, 0)  # that the filter left, and that there were
    functions: int = 0  # below the columns' calls
    ruled_out: int = 0  # of those, by the test's initial state
    branches: list[Branch] = field(default_factory=list)  # those with most accesses first
    whole: dict[str, list[str]] = field(default_factory=dict)  # file → functions that were never entered
    lines_not_run: dict[str, list[Line]] = field(default_factory=dict)  # file → (function, line), of those that were
    cut_off: list[CutOff] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        out = [] if self.complete else ["The exploration is not complete: what did not happen may happen later"]
        out += [*self._situations(), *self._invariants()]
        if self.outcomes[0] != self.outcomes[1]:
            out.append(f"The filter leaves {self.outcomes[0]} of {self.outcomes[1]} outcomes")
        for c in self.cut_off:
            raised = f"; Bounds={_RAISED[c.bound]}:N gives it more" if c.bound in _RAISED else ""
            out.append(f"Cut off by {c.bound}:{c.value}: {c.by} found none ({c.file}:{c.line}){raised}")
        if not self.cut_off:
            out.append("Cut off: nothing, no search for a free element found none")
        out.append(
            f"Of {self.functions} functions that the columns may call, the initial state rules out {self.ruled_out}; "
            f"of the others {sum(map(len, self.whole.values()))} were never entered"
        )
        shown = [b for b in self.branches[:SHOWN] if b.accesses]
        if shown:
            out.append("Branches never taken, by how many accesses to shared state lie behind them")
            out += [b.text() for b in shown]
        if rest := len(self.branches) - len(shown):
            out.append(f"{rest} {'more branches' if shown else 'branches never taken'}, with as many or fewer: --json")
        return out

    def _situations(self) -> Iterator[str]:
        reached = [s for s in self.situations if s.reached]
        claimed = ", ".join(s.name for s in reached if s.claimed)
        others = ", ".join(s.name for s in reached if not s.claimed)
        yield f"Reached {len(reached)} situations; the test wants (Reach=): {claimed or 'none of them'}"
        if others:
            yield f"Reached besides: {others}"
        if never := ", ".join(f"{s.name} ({', '.join(s.at)})" for s in self.situations if not s.reached):
            yield f"Not reached: {never}"

    # What the condition names in full; every other flag would fail the test, too, if its check was made.
    def _invariants(self) -> Iterator[str]:
        asked = {c.flag for c in self.checks if c.asked}
        for flag, group in groupby((c for c in self.checks if c.claimed), key=lambda c: c.flag):
            places = list(group)
            words = [f"{c.function} ({c.file}:{c.line})" for c in places if c.asked]
            never = [f"{c.function} ({c.file}:{c.line})" for c in places if not c.asked]
            yield f"Invariant {flag} was checked in: {', '.join(words) or 'no run'}" + (
                f"; never in: {', '.join(never)}" if never else ""
            )
        for flag in self.flags_ruled_out:
            yield f"Invariant {flag} cannot be broken: no values that the initial state leads to fail its checks"
        others = {c.flag: c.flag in asked for c in self.checks if not c.claimed}
        checked = ", ".join(flag for flag, was in others.items() if was)
        never_checked = ", ".join(flag for flag, was in others.items() if not was)
        yield f"Other invariants checked: {checked or 'none'}" + (f"; never: {never_checked}" if never_checked else "")

    def json_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "situations": [asdict(s) for s in self.situations],
            "checks": [asdict(c) for c in self.checks],
            "flags_ruled_out": self.flags_ruled_out,
            "outcomes": {"left_by_filter": self.outcomes[0], "all": self.outcomes[1]},
            "functions": self.functions,
            "functions_ruled_out": self.ruled_out,
            "functions_not_run": self.whole,
            "lines_not_run": {
                path: [{"line": line, "function": name} for name, line in lines]
                for path, lines in self.lines_not_run.items()
            },
            "branches_not_run": [asdict(b) for b in self.branches],
            "cut_off": [asdict(c) for c in self.cut_off],
        }


# The bounds that `Bounds=` sets where the size itself follows from the test.
_RAISED = {"nr_Buddy": "SPARE_PAGES", "nr_ptdesc": "SPARE_TABLES"}


def explain(
    scenario: Scenario, found: Exploration, claimed: Collection[str] = (), flags: Collection[str] = ()
) -> Explanation:
    """Explain an exploration for which it was noted what was executed.

    `claimed` are the situations that the test wants, `flags` the flags that its condition names.
    """
    columns = [t.root for t in scenario.threads if not t.daemon]
    covered = found.covered - found.set_up
    functions = [f for f in _below(scenario.module, columns) if not f.ghost and lines_of(f)]
    module = possible_module(scenario)
    possible = [f for f in _below(module, columns) if not f.ghost and lines_of(f)]
    explanation = Explanation(found.complete, functions=len(functions), ruled_out=len(functions) - len(possible))
    explanation.situations = _situations(module, found, claimed)
    explanation.checks = _checks(module, covered, flags)
    explanation.flags_ruled_out = sorted(set(flags) - {c.flag for c in explanation.checks} - set(found.flags))
    for function in sorted(possible, key=lambda f: (f.at.file, f.at.line)):
        lines = lines_of(function)
        if lines.isdisjoint(covered):
            explanation.whole.setdefault(function.at.file, []).append(_name(function.name))
        else:
            for path, line in sorted(lines - covered):
                explanation.lines_not_run.setdefault(path, []).append((_name(function.name), line))
    explanation.branches = _branches(module, possible, covered)
    explanation.cut_off = sorted(
        set(_cut_off(functions, found.returned, scenario.params)), key=lambda c: (c.bound, c.file, c.line)
    )
    return explanation


def _name(name: str) -> str:
    return name.rpartition(".")[2].rstrip("~")


def _below(module: ir.Module, roots: Iterable[str]) -> list[ir.Function]:
    first = list(roots)
    return [module.functions[name] for name in called_from(module.functions, first) if name not in first]


def _situations(module: ir.Module, found: Exploration, claimed: Collection[str]) -> list[Situation]:
    callers: dict[str, set[str]] = {}
    for function in module.functions.values():
        for _, _, call in calls(function):
            callers.setdefault(call.function, set()).add(_name(function.name))
    places: dict[str, list[tuple[ir.At, str]]] = {}
    for function in module.functions.values():
        for stmt in (s for b in function.blocks for s in b.stmts if isinstance(s, ir.Reach)):
            places.setdefault(stmt.name, []).append((stmt.at, function.name))
    for name in found.reached - places.keys():
        places[name] = []
    result = []
    for name, where in sorted(places.items()):
        at = min((at for at, _ in where), key=lambda at: (at.file, at.line), default=ir.At())
        watched = sorted(set().union(*(callers.get(f, {_name(f)}) for _, f in where)))
        result.append(Situation(name, name in found.reached, name in claimed, at.file, at.line, watched))
    return result


def _checks(module: ir.Module, covered: set[Line], flags: Collection[str]) -> list[Check]:
    checks: dict[tuple[str, str, int, str], bool] = {}  # what a ghost function calls is there twice
    for function in module.functions.values():
        asked = not lines_of(function).isdisjoint(covered)
        for stmt in (s for b in function.blocks for s in b.stmts if isinstance(s, ir.Flag)):
            if stmt.name != TRAP:
                key = (stmt.name, stmt.at.file, stmt.at.line, _name(function.name))
                checks[key] = asked or checks.get(key, False)
    return [Check(key[0], key[0] in flags, *key[1:], was) for key, was in sorted(checks.items())]


# A branch is a run of lines that never ran, or a line that ran but never came to one of its calls.
def _branches(module: ir.Module, possible: Iterable[ir.Function], covered: set[Line]) -> list[Branch]:
    never = {f.name for f in possible if lines_of(f).isdisjoint(covered)}
    found = []
    for function in possible:
        if function.name in never:
            continue
        lines = lines_of(function)
        behind: dict[Line, list[ir.Stmt]] = {}
        for stmt in (s for b in function.blocks for s in b.stmts):
            place = (stmt.at.file, stmt.at.line)
            if place in lines and (place not in covered or (isinstance(stmt, ir.Call) and stmt.function in never)):
                behind.setdefault(place, []).append(stmt)
        for path, group in groupby(sorted(lines), key=lambda place: place[0]):
            for first, last in runs_of([n for _, n in group], {n for file, n in behind if file == path}):
                stmts = [s for (file, n), here in behind.items() if file == path and first <= n <= last for s in here]
                found.append(_branch(module, function, (path, first, last), stmts, never))
    return sorted(found, key=lambda b: (-b.accesses, b.file, b.line))


def _branch(
    module: ir.Module, function: ir.Function, place: tuple[str, int, int], stmts: list[ir.Stmt], never: set[str]
) -> Branch:
    entered: dict[str, None] = {}
    todo = [s.function for s in stmts if isinstance(s, ir.Call) and s.function in never]
    while todo:
        name = todo.pop(0)
        if name not in entered:
            entered[name] = None
            todo += [c.function for _, _, c in calls(module.functions[name]) if c.function in never]
    accesses = sum(ir.is_step(module, function, s) for s in stmts)
    for name in entered:
        behind = module.functions[name]
        accesses += sum(ir.is_step(module, behind, s) for b in behind.blocks for s in b.stmts)
    return Branch(*place, _name(function.name), accesses, [_name(name) for name in entered])


# A search for something to allocate is a loop up to a bound, behind which nothing is returned.
def _cut_off(functions: Iterable[ir.Function], returned: set[Line], params: Mapping[str, int]) -> Iterator[CutOff]:
    for function in functions:
        if "alloc" in function.name:
            for number, block in enumerate(function.blocks):
                nothing = block.term == ir.Return(block.term.at, (ir.Const(0),)) and not block.stmts
                at = block.term.at
                if nothing and (at.file, at.line) in returned:
                    for bound in _bounds(function, number):
                        yield CutOff(bound, params.get(bound, 0), _name(function.name), at.file, at.line)


# The bounds of the loops that end where a block begins.
def _bounds(function: ir.Function, end: int) -> set[str]:
    found = set()
    for block in function.blocks:
        if end in successors(block.term) and isinstance(block.term, ir.Branch):
            cond = block.term.cond
            if isinstance(cond, ir.Bin) and cond.op in ("<", "<=") and isinstance(cond.b, ir.Param):
                found.add(cond.b.name)
    return found

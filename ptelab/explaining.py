# SPDX-License-Identifier: GPL-2.0-only
"""Why a test passed: which situations its runs went through, what of the called code never ran, what was cut off.

A pass says little if the code in question was not entered, or if an allocation failed for want of elements where Linux
has plenty.  So the functions below the columns' calls are listed as far as they did not run, and every search for a
free element that found none because the layout has no more, with the bound that says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ptelab import ir
from ptelab.coverage import FileCoverage, Line, lines_of
from ptelab.exploration import Exploration
from ptelab.flow import successors
from ptelab.scenario import Scenario


@dataclass(slots=True)
class Explanation:
    """What can be said of one test's exploration besides its verdict."""

    situations: list[str]
    functions: int  # below the columns' calls
    whole: dict[str, list[str]] = field(default_factory=dict)  # file → functions that were never entered
    parts: list[FileCoverage] = field(default_factory=list)  # lines that never ran of those that were
    cut_off: list[tuple[str, int, str]] = field(default_factory=list)  # bound, its value, who found no more

    def lines(self) -> list[str]:
        """For people."""
        out = [f"Reached {len(self.situations)} situations: {', '.join(self.situations)}"]
        out += [f"Cut off by {bound}:{value}: {name} found none" for bound, value, name in self.cut_off]
        if not self.cut_off:
            out.append("Cut off: nothing, no search for a free element found none")
        whole = sum(map(len, self.whole.values()))
        out.append(f"Never ran, of {self.functions} functions that the columns may call: {whole}, and these lines")
        out += [f"  {path}: all of {', '.join(names)}" for path, names in sorted(self.whole.items())]
        out += [f"  {part.path}:{place}" for part in self.parts for place in part.ranges()]
        return out

    def json_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "functions": self.functions,
            "functions_not_run": self.whole,
            "lines_not_run": {p.path: [{"line": n, "function": name} for n, name in p.missed] for p in self.parts},
            "cut_off": [{"bound": bound, "value": value, "by": name} for bound, value, name in self.cut_off],
        }


def explain(scenario: Scenario, found: Exploration) -> Explanation:
    """Explain an exploration for which it was noted what was executed."""
    module = scenario.module
    columns = [t.root for t in scenario.threads if not t.daemon]
    functions = [f for f in _below(module, columns) if not f.ghost and lines_of(f)]
    explanation = Explanation(sorted(found.reached), len(functions))
    missed: list[tuple[Line, str]] = []
    for function in functions:
        lines = lines_of(function)
        rest = lines - found.covered
        if rest == lines:
            explanation.whole.setdefault(function.at.file, []).append(_name(function.name))
        else:
            missed += [(line, _name(function.name)) for line in rest]
    missed.sort()
    for path, group in groupby(missed, key=lambda m: m[0][0]):
        places = [(line, name) for (_, line), name in group]
        explanation.parts.append(FileCoverage(path, len(places), places))
    explanation.cut_off = sorted(set(_cut_off(functions, found.returned, scenario.params)))
    return explanation


def _name(name: str) -> str:
    return name.rpartition(".")[2]


def _below(module: ir.Module, roots: Iterable[str]) -> list[ir.Function]:
    seen: dict[str, ir.Function] = {}
    first = list(roots)
    todo = list(first)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen[name] = module.functions[name]
            todo += _calls(module.functions[name])
    return [f for name, f in seen.items() if name not in first]


def _calls(function: ir.Function) -> Iterator[str]:
    return (s.function for block in function.blocks for s in block.stmts if isinstance(s, ir.Call))


# A search for something to allocate is a loop up to a bound, behind which nothing is returned.
def _cut_off(
    functions: Iterable[ir.Function], returned: set[Line], params: Mapping[str, int]
) -> Iterator[tuple[str, int, str]]:
    for function in functions:
        if "alloc" in function.name:
            for number, block in enumerate(function.blocks):
                nothing = block.term == ir.Return(block.term.at, (ir.Const(0),)) and not block.stmts
                if nothing and (block.term.at.file, block.term.at.line) in returned:
                    for bound in _bounds(function, number):
                        yield bound, params.get(bound, 0), _name(function.name)


# The bounds of the loops that end where a block begins.
def _bounds(function: ir.Function, end: int) -> set[str]:
    found = set()
    for block in function.blocks:
        if end in successors(block.term) and isinstance(block.term, ir.Branch):
            cond = block.term.cond
            if isinstance(cond, ir.Bin) and cond.op in ("<", "<=") and isinstance(cond.b, ir.Param):
                found.add(cond.b.name)
    return found

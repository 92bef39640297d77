# SPDX-License-Identifier: GPL-2.0-only
"""Where local work could be a step of its own: what switching the reduction `local` off makes of a program.

A transition is one shared access and the local work behind it.  The end of that work, from where on a thread only
assigns to its own variables until its next stop, concerns nobody else; so it may as well be done later, one assignment
a step, as a checker does that merges nothing.  Not taken apart are what lies between a choose and its step, which are
one transition, assignments that might raise a flag, since a flag ends the run before others see the access, and
hardware, whose transitions are what the hardware does at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ptelab import ir
from ptelab.flow import successors
from ptelab.layout import Layout
from ptelab.link import callees_first, is_stop
from ptelab.scenario import Scenario

Point = tuple[int, int]
"""Block and statement."""


def of(scenario: Scenario, module: ir.Module, free_fields: frozenset[tuple[str, str]]) -> dict[str, set[Point]]:
    """The assignments of a scenario's programs that are steps of their own, by function."""
    programs = [t.root for t in scenario.threads if not t.daemon]
    daemons = [t.root for t in scenario.threads if t.daemon]
    layout = Layout(module, scenario.params)

    def width(type_: ir.Type) -> int:
        on_stack = type_.kind == "ptr" and module.structs[type_.struct].kind == "stack"
        return 64 if on_stack else layout.width(type_)

    order = callees_first(module, programs)
    return local_steps(module, order, programs, daemons, partial(is_stop, module, free_fields), width)


def local_steps(
    module: ir.Module,
    order: list[str],
    programs: Iterable[str],
    others: Iterable[str],
    stops_before: Callable[[ir.Function, ir.Stmt], bool],
    width: Callable[[ir.Type], int],
) -> dict[str, set[Point]]:
    """The assignments that are steps of their own, by function.  `order` has callees first."""
    mine = _reachable(module, programs) - _reachable(module, others)
    names = [n for n in order if n in mine]
    stops = {
        name: {
            (b, i)
            for b, block in enumerate(module.functions[name].blocks)
            for i, stmt in enumerate(block.stmts)
            if stops_before(module.functions[name], stmt)
        }
        for name in names
    }
    chosen = _Chosen(module, names, stops)
    found = {}
    for name in names:
        function = module.functions[name]
        tails = _Tails(function, stops[name], width)
        found[name] = {
            (b, i)
            for b, block in enumerate(function.blocks)
            for i, stmt in enumerate(block.stmts)
            if isinstance(stmt, ir.Assign) and not chosen.at(name, (b, i)) and tails.begins((b, i))
        }
    return found


def _reachable(module: ir.Module, roots: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _calls(module.functions[name])
    return seen


def _calls(function: ir.Function) -> Iterator[str]:
    return (s.function for block in function.blocks for s in block.stmts if isinstance(s, ir.Call))


class _Chosen:
    """The points of each function to which control may come from a choose without a step between."""

    def __init__(self, module: ir.Module, names: list[str], stops: dict[str, set[Point]]) -> None:
        self._module, self._stops = module, stops
        self._points: dict[str, set[Point]] = {name: set() for name in names}
        self._entered: set[str] = set()
        self._returns: set[str] = set()
        known = -1
        while known != (known := sum(map(len, self._points.values())) + len(self._entered) + len(self._returns)):
            for name in names:
                self._walk(name)

    def at(self, name: str, point: Point) -> bool:
        return point in self._points[name]

    def _walk(self, name: str) -> None:
        function, stops = self._module.functions[name], self._stops[name]
        todo: list[Point] = [(0, 0)] if name in self._entered else []
        for b, block in enumerate(function.blocks):
            for i, stmt in enumerate(block.stmts):
                if isinstance(stmt, ir.Choose) or (isinstance(stmt, ir.Call) and stmt.function in self._returns):
                    todo.append((b, i + 1))
        seen = self._points[name]
        while todo:
            b, i = todo.pop()
            if (b, i) in seen:
                continue
            seen.add((b, i))
            block = function.blocks[b]
            if i == len(block.stmts):
                todo += [(s, 0) for s in successors(block.term)]
                if isinstance(block.term, ir.Return):
                    self._returns.add(name)
                continue
            stmt = block.stmts[i]
            if isinstance(stmt, ir.Call):
                self._entered.add(stmt.function)
            if (b, i) not in stops:
                todo.append((b, i + 1))


class _Tails:
    """Points of a function from where on it only assigns, safely, to its variables until it stops, on every way."""

    def __init__(self, function: ir.Function, stops: set[Point], width: Callable[[ir.Type], int]) -> None:
        self._function, self._stops, self._width = function, stops, width
        self._known: dict[Point, bool] = {}

    def begins(self, point: Point) -> bool:
        if point in self._known:
            return self._known[point]
        self._known[point] = False  # on a way back to here
        b, i = point
        block = self._function.blocks[b]
        if i == len(block.stmts):
            following = successors(block.term)
            result = bool(following) and all(self.begins((s, 0)) for s in following)
        elif point in self._stops:
            result = True
        else:
            stmt = block.stmts[i]
            result = isinstance(stmt, ir.Assign) and self._fits(stmt) and self.begins((b, i + 1))
        self._known[point] = result
        return result

    def _fits(self, stmt: ir.Assign) -> bool:
        largest = self._largest(stmt.value)
        return largest is not None and largest >> self._width(self._function.vars[stmt.dst]) == 0

    def _largest(self, expr: ir.Expr) -> int | None:
        """A bound of what an expression can be; None when it is not seen to have one or may be negative."""
        match expr:
            case ir.Const(value):
                return value if value >= 0 else None
            case ir.Var(name):
                return (1 << self._width(self._function.vars[name])) - 1
            case ir.Not() | ir.Bin("==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or"):
                return 1
            case ir.Bin("&", a, b):
                found = [x for x in (self._largest(a), self._largest(b)) if x is not None]
                return min(found, default=None)
            case ir.Select(_, a, b):
                left, right = self._largest(a), self._largest(b)
                return None if left is None or right is None else max(left, right)
            case _:
                return None

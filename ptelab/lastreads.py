# SPDX-License-Identifier: GPL-2.0-only
"""Which reads of what nobody writes stay steps, although the reduction *constant* is on: a thread's last ones.

A read of a constant, taken together with the step before it, is missed by nobody while its thread still has a step to
take.  But a run is over as soon as all programs have ended and all daemons rest.  Where such a read may be the last
that a thread does, another daemon may move before it, and answer to what the thread did before; without it the run
would be over already.  Where the step before the read is one that no other daemon could tell from a later one, a lock
of programs given back say, what the daemon does between them it can as well do before both.
"""

from __future__ import annotations

from collections.abc import Iterable

from ptelab import ir
from ptelab.flow import successors
from ptelab.link import callees_first, is_stop
from ptelab.scenario import Scenario

Point = tuple[int, int]
"""Block and statement."""

Member = tuple[str, str]
"""Struct and member."""


def of(scenario: Scenario, module: ir.Module, free_fields: frozenset[Member]) -> dict[str, set[Point]]:
    """The reads of free members with which a thread may end, or come to rest, while there are other daemons."""
    found: dict[str, set[Point]] = {}
    roots = {t.root: t.daemon for t in scenario.threads}
    for root, daemon in roots.items() if free_fields else ():
        daemons = [t.root for t in scenario.threads if t.daemon]
        if daemon:
            daemons.remove(root)
        if daemons:
            others = members(module, daemons) - free_fields
            for name, points in _Ends(module, root, daemon).reads(free_fields, others).items():
                found.setdefault(name, set()).update(points)
    return found


def members(module: ir.Module, roots: Iterable[str]) -> set[Member]:
    """The members that functions and those that they call, hooks among them, may access."""
    functions = (module.functions[name] for name in callees_first(module, roots))
    statements = (s for function in functions for block in function.blocks for s in block.stmts)
    places = (place for s in statements for place in ir.places(s))
    return {(place.struct, place.field) for place in places if module.structs[place.struct].kind != "stack"}


class _Ends:
    """From which points a thread may come to its end, or a daemon to its rest, without another step."""

    def __init__(self, module: ir.Module, root: str, daemon: bool) -> None:
        self._module, self._root = module, root
        self._functions = {name: module.functions[name] for name in callees_first(module, [root])}
        self._steps = {
            name: {
                (b, i)
                for b, block in enumerate(function.blocks)
                for i, stmt in enumerate(block.stmts)
                if is_stop(module, frozenset(), function, stmt)
            }
            for name, function in self._functions.items()
        }
        self._callers: dict[str, list[tuple[str, Point]]] = {name: [] for name in self._functions}
        for name, function in self._functions.items():
            for b, block in enumerate(function.blocks):
                for i, stmt in enumerate(block.stmts):
                    if isinstance(stmt, ir.Call):
                        self._callers[stmt.function].append((name, (b, i + 1)))
        self._passes: set[str] = set()  # functions that may return without a step
        self._rests: dict[str, set[Point]] = {name: set() for name in self._functions}
        self._leads: set[str] = set()  # functions that may come to the rest before any other step
        self._tails: set[str] = set() if daemon else {root}  # those that may return to where only the end is left
        for name in self._functions:
            if self._walk(name, (0, 0))[1]:
                self._passes.add(name)
        if daemon:
            self._find_rests(root)
        self._find_tails()

    def reads(self, free_fields: frozenset[Member], others: set[Member]) -> dict[str, set[Point]]:
        """The reads of free members with which the thread may end, and before which another may notice something."""
        noticed = self._noticed(free_fields, others)
        found: dict[str, set[Point]] = {}
        for name, steps in self._steps.items():
            for b, i in steps & noticed[name]:
                stmt = self._functions[name].blocks[b].stmts[i]
                if _is_free(stmt, free_fields) and self._ends(name, (b, i + 1)):
                    found.setdefault(name, set()).add((b, i))
        return found

    def _noticed(self, free_fields: frozenset[Member], others: set[Member]) -> dict[str, set[Point]]:
        """The points, by function, before which the last step is none or accesses what others access."""
        points: dict[str, set[Point]] = {name: set() for name in self._functions}
        begin: dict[str, set[Point]] = {name: set() for name in self._functions}
        hooks: dict[str, bool] = {}
        for name, function in self._functions.items():
            for b, block in enumerate(function.blocks):
                for i, stmt in enumerate(block.stmts):
                    if isinstance(stmt, ir.Call) and self._functions[stmt.function].ghost:
                        if stmt.function not in hooks:
                            hooks[stmt.function] = bool(members(self._module, [stmt.function]) & others)
                        seen = hooks[stmt.function]
                    else:
                        seen = any((place.struct, place.field) in others for place in ir.places(stmt))
                    if seen and not function.ghost:
                        begin[name].add((b, i + 1))
        begin[self._root].add((0, 0))
        todo = list(self._functions)
        while todo:
            name = todo.pop()
            entered, returns = self._spread(name, begin[name], points[name], free_fields)
            for callee in entered:
                if (0, 0) not in begin[callee]:
                    begin[callee].add((0, 0))
                    todo.append(callee)
            for caller, after in self._callers[name] if returns else ():
                if after not in begin[caller]:
                    begin[caller].add(after)
                    todo.append(caller)
        return points

    def _spread(
        self, name: str, begin: set[Point], points: set[Point], free_fields: frozenset[Member]
    ) -> tuple[set[str], bool]:
        """Add the points that follow without a step; which functions are entered on the way, whether this returns."""
        blocks, entered, returns = self._functions[name].blocks, set(), False
        todo = list(begin)
        points.clear()
        while todo:
            b, i = point = todo.pop()
            if point in points:
                continue
            points.add(point)
            if i == len(blocks[b].stmts):
                returns = returns or isinstance(blocks[b].term, ir.Return)
                todo += [(block, 0) for block in successors(blocks[b].term)]
                continue
            stmt = blocks[b].stmts[i]
            if isinstance(stmt, ir.Call) and not self._functions[stmt.function].ghost:
                entered.add(stmt.function)
            elif point not in self._steps[name] or _is_free(stmt, free_fields):
                todo.append((b, i + 1))
        return entered, returns

    def _walk(self, name: str, start: Point) -> tuple[set[Point], bool]:
        """The steps and calls that come next from a point, and whether the function may return before any step."""
        blocks, steps = self._functions[name].blocks, self._steps[name]
        met: set[Point] = set()
        returns = False
        seen, todo = set(), [start]
        while todo:
            point = todo.pop()
            if point in seen:
                continue
            seen.add(point)
            b, i = point
            if i == len(blocks[b].stmts):
                returns = returns or isinstance(blocks[b].term, ir.Return)
                todo += [(block, 0) for block in successors(blocks[b].term)]
                continue
            stmt = blocks[b].stmts[i]
            if point in steps or isinstance(stmt, ir.Call):
                met.add(point)
            if point not in steps and not (isinstance(stmt, ir.Call) and stmt.function not in self._passes):
                todo.append((b, i + 1))
        return met, returns

    def _call(self, name: str, point: Point) -> str | None:
        stmt = self._functions[name].blocks[point[0]].stmts[point[1]]
        return stmt.function if isinstance(stmt, ir.Call) else None

    def _find_rests(self, root: str) -> None:
        """A daemon rests before the step that comes first."""
        todo = [root]
        while todo:
            name = todo.pop()
            if name in self._leads:
                continue
            self._leads.add(name)
            for point in self._walk(name, (0, 0))[0]:
                callee = self._call(name, point)
                if callee is None:
                    self._rests[name].add(point)
                else:
                    todo.append(callee)

    def _ends(self, name: str, start: Point) -> bool:
        met, returns = self._walk(name, start)
        if returns and name in self._tails:
            return True
        return any(point in self._rests[name] or self._call(name, point) in self._leads for point in met)

    def _find_tails(self) -> None:
        """Callers first; a daemon's loop leads back, but to its rest, so that once is enough."""
        for name in reversed(self._functions):
            for caller, after in self._callers[name]:
                if name not in self._tails and self._ends(caller, after):
                    self._tails.add(name)


def _is_free(stmt: ir.Stmt, free_fields: frozenset[Member]) -> bool:
    return isinstance(stmt, ir.Load) and (stmt.place.struct, stmt.place.field) in free_fields

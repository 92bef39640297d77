# SPDX-License-Identifier: GPL-2.0-only
"""What is no step and could be one: what switching the reductions `local` and `constant` off makes of a program.

A transition is one access to shared memory that somebody may write, and the local work behind it; reading what nobody
writes is local work.  Where that concerns nobody else, it may as well be done later, as a checker does that merges
nothing: an assignment a step, or such a read a step.  Not taken apart is what somebody could tell:

- what lies between a choose and its step, which are one transition;
- what has an *event* before the next stop: the end of the thread or the rest of a daemon, which may end the run before
  others move; an access that is no step but is seen by others, a hook's or a CPU's own; what may raise a flag, since a
  flag ends the run before others see the access; and a loop, which may never come to a stop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from ptelab import ir
from ptelab.between import Between, Node, Point
from ptelab.flow import successors
from ptelab.layout import Layout
from ptelab.link import callees_first, is_stop, written_fields
from ptelab.reduce import Reduction
from ptelab.scenario import Scenario


def of(
    scenario: Scenario, module: ir.Module, reduction: Reduction, risky: Collection[int] | None
) -> dict[str, set[Point]]:
    """The points, by function, before which a thread stops because a reduction is off.

    `risky` has the identities of statements that may raise a flag; None when that is not known.
    """
    if reduction.local and reduction.constant:
        return {}
    parts = _Parts(scenario, module, reduction.free_fields, risky)
    found: dict[str, set[Point]] = {}
    if not reduction.constant:
        found = parts.reads()
    if not reduction.local:
        for name, points in parts.assignments(found).items():
            found[name] = found.get(name, set()) | points
    return found


class _Parts:
    """The reads and assignments of a scenario's code that nobody could tell from steps."""

    def __init__(
        self,
        scenario: Scenario,
        module: ir.Module,
        free_fields: frozenset[tuple[str, str]],
        risky: Collection[int] | None,
    ) -> None:
        self._module, self._free_fields, self._risky = module, free_fields, risky
        self._layout = Layout(module, scenario.params)
        self._daemons = [t.root for t in scenario.threads if t.daemon]
        self._programs = [t.root for t in scenario.threads if not t.daemon]
        self._order = callees_first(module, [*self._programs, *self._daemons])
        self._written = written_fields(module, self._order)  # CPUs' own members and ghosts among them
        parts = (t for s in module.structs.values() for f in s.fields for _, t in f.parts if t.kind == "ptr")
        self._held = {t.struct for t in parts if module.structs[t.struct].kind == "stack"}  # may outlive their function
        self._stops = {
            name: {(b, i) for _, b, i, s in self._statements([name]) if is_stop(module, free_fields, f, s)}
            for name, f in ((name, module.functions[name]) for name in self._order)
        }
        self._between = Between(module, self._order, self._stops)
        chosen = ((name, b, i + 1) for name, b, i, s in self._statements(self._order) if isinstance(s, ir.Choose))
        self._chosen = self._between.after(chosen)

    def reads(self) -> dict[str, set[Point]]:
        """The reads of what nobody writes."""
        found: dict[str, set[Point]] = {}
        told = self._between.before(self._events())
        for name, b, i, stmt in self._statements(self._order):
            is_free = isinstance(stmt, ir.Load) and (stmt.place.struct, stmt.place.field) in self._free_fields
            if is_free and not self._module.functions[name].ghost and not {(name, b, i)} & (told | self._chosen):
                found.setdefault(name, set()).add((b, i))
        return found

    def assignments(self, others: dict[str, set[Point]]) -> dict[str, set[Point]]:
        """The assignments of the programs; `others` are points that are stops as well."""
        found = {}
        mine = set(callees_first(self._module, self._programs)) - set(callees_first(self._module, self._daemons))
        for name in (n for n in self._order if n in mine):
            function = self._module.functions[name]
            tails = _Tails(function, self._stops[name] | others.get(name, set()), self._surely_fits)
            found[name] = {
                (b, i)
                for _, b, i, stmt in self._statements([name])
                if isinstance(stmt, ir.Assign) and (name, b, i) not in self._chosen and tails.begins((b, i))
            }
        return found

    def _statements(self, names: Iterable[str]) -> Iterator[tuple[str, int, int, ir.Stmt]]:
        for name in names:
            for b, block in enumerate(self._module.functions[name].blocks):
                for i, stmt in enumerate(block.stmts):
                    yield name, b, i, stmt

    def _events(self) -> Iterator[Node]:
        yield from self._between.loops()
        for root in self._daemons:
            first = self._between.after([(root, 0, 0)])
            yield from ((name, b, i) for name, b, i in first if (b, i) in self._stops[name])
        for name, b, i, stmt in self._statements(self._order):
            function = self._module.functions[name]
            if (b, i) not in self._stops[name] and (self._is_seen(stmt) or self._may_raise(function, stmt)):
                yield name, b, i
            if isinstance(stmt, ir.Call) and not self._takes_results(function, stmt):
                yield name, b, i + 1
        for name in self._order:
            function = self._module.functions[name]
            ends = name in self._programs or name in self._daemons
            for b, block in enumerate(function.blocks):
                if isinstance(block.term, ir.Return) and (ends or self._may_raise(function, block.term)):
                    yield name, b, len(block.stmts)

    def _is_seen(self, stmt: ir.Stmt) -> bool:
        """Whether what is no step accesses something that somebody writes."""
        return any(
            self._module.structs[place.struct].kind != "stack" and (place.struct, place.field) in self._written
            for place in ir.places(stmt)
        )

    def _may_raise(self, function: ir.Function, stmt: ir.Stmt | ir.Term) -> bool:
        match stmt:
            case ir.Flag() | ir.AssertHeld():
                return True
            case ir.Assign(dst=dst, value=value):
                safe = self._surely_fits(function, value, function.vars[dst])
            case ir.Call(function=name, args=args):
                callee = self._module.functions[name]
                params = (callee.vars[p] for p in callee.params)
                safe = all(self._surely_fits(function, a, t) for a, t in zip(args, params, strict=True))
            case ir.Return(values=values):
                safe = all(self._surely_fits(function, v, t) for v, t in zip(values, function.results, strict=True))
            case ir.Load(dsts=dsts, place=place):
                if place.struct in self._held:
                    return True
                parts = (t for _, t in self._module.field(place).parts)
                safe = place.index is None and self._is_there(place) and self._takes(function, dsts, parts)
            case ir.Store(place=place) | ir.Atomic(place=place):
                if place.struct in self._held:
                    return True
                safe = False
            case _:  # locks are steps: they are in shared memory
                return False
        return not safe and self._is_risky(stmt)

    def _is_risky(self, stmt: ir.Stmt | ir.Term) -> bool:
        return self._risky is None or id(stmt) in self._risky

    def _takes_results(self, function: ir.Function, call: ir.Call) -> bool:
        """Whether what a call returns surely fits the variables that it is assigned to."""
        results = self._module.functions[call.function].results
        return self._takes(function, call.dsts, results) or not self._is_risky(call)

    def _takes(self, function: ir.Function, dsts: Iterable[str], types: Iterable[ir.Type]) -> bool:
        return all(self._width(t) <= self._width(function.vars[d]) for d, t in zip(dsts, types, strict=False))

    def _is_there(self, place: ir.Place) -> bool:
        if not isinstance(place.handle, ir.Const) or self._module.structs[place.struct].kind == "stack":
            return False
        return 0 < place.handle.value <= self._layout.pool(place.struct)

    def _surely_fits(self, function: ir.Function, value: ir.Expr, type_: ir.Type) -> bool:
        largest = self._largest(function, value)
        return largest is not None and largest >> self._width(type_) == 0

    def _width(self, type_: ir.Type) -> int:
        on_stack = type_.kind == "ptr" and self._module.structs[type_.struct].kind == "stack"
        return 64 if on_stack else self._layout.width(type_)

    def _largest(self, function: ir.Function, expr: ir.Expr) -> int | None:
        """A bound of what an expression can be; None when it is not seen to have one or may be negative."""
        match expr:
            case ir.Const(value):
                return value if value >= 0 else None
            case ir.Var(name):
                return (1 << self._width(function.vars[name])) - 1
            case ir.Not() | ir.Bin("==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or"):
                return 1
            case ir.Bin("&", a, b):
                found = [x for x in (self._largest(function, a), self._largest(function, b)) if x is not None]
                return min(found, default=None)
            case ir.Select(_, a, b):
                left, right = self._largest(function, a), self._largest(function, b)
                return None if left is None or right is None else max(left, right)
            case _:
                return None


class _Tails:
    """Points of a function from where on it only assigns, safely, to its variables until it stops, on every way."""

    def __init__(
        self, function: ir.Function, stops: set[Point], fits: Callable[[ir.Function, ir.Expr, ir.Type], bool]
    ) -> None:
        self._function, self._stops, self._fits = function, stops, fits
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
            result = (
                isinstance(stmt, ir.Assign)
                and self._fits(self._function, stmt.value, self._function.vars[stmt.dst])
                and self.begins((b, i + 1))
            )
        self._known[point] = result
        return result

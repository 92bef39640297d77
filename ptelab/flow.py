# SPDX-License-Identifier: GPL-2.0-only
"""Data flow within one function: which variables a statement reads and writes, which are live where, what it calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ptelab import ir
from ptelab.identity import by_identity


def expr_vars(expr: ir.Expr) -> list[str]:
    """The variables that an expression reads, in the order of their places there."""
    found: list[str] = []
    todo = [expr]
    while todo:  # a loop, and no `match`: every analysis asks this of every expression
        one = todo.pop()
        kind = type(one)
        if kind is ir.Var:
            found.append(one.name)  # type: ignore[union-attr]
        elif kind is ir.Bin:
            todo += (one.b, one.a)  # type: ignore[union-attr]
        elif kind is ir.Not:
            todo.append(one.a)  # type: ignore[union-attr]
        elif kind is ir.Select:
            todo += (one.b, one.a, one.cond)  # type: ignore[union-attr]
    return found


def place_exprs(place: ir.Place) -> Iterator[ir.Expr]:
    """The expressions of a place: its handle and, for an array, its index."""
    yield place.handle
    if place.index is not None:
        yield place.index


def stmt_exprs(stmt: ir.Stmt | ir.Term) -> Iterator[ir.Expr]:
    """Every expression that a statement or terminator evaluates."""
    match stmt:
        case ir.Assign(value=value):
            yield value
        case ir.Load(place=place):
            yield from place_exprs(place)
        case ir.Store(place=place, values=values):
            yield from place_exprs(place)
            yield from values
        case ir.Atomic(place=place, args=args):
            yield from place_exprs(place)
            yield from args
        case ir.Lock(place=place) | ir.AssertHeld(place=place):
            yield from place_exprs(place)
        case ir.Wait(pre=pre, place=place, cond=cond):
            for load in pre:
                yield from place_exprs(load.place)
            yield from place_exprs(place)
            yield cond
        case ir.Choose(count=count):
            yield count
        case ir.Call(args=args):
            yield from args
        case ir.Flag(args=labelled):
            for _, _, value in labelled:
                yield value
        case ir.Branch(cond=cond):
            yield cond
        case ir.Return(values=values):
            yield from values


def defs(stmt: ir.Stmt) -> tuple[str, ...]:
    """The variables that a statement assigns."""
    match stmt:
        case ir.Assign(dst=dst) | ir.Choose(dst=dst) | ir.New(dst=dst):
            return (dst,)
        case ir.Load(dsts=dsts) | ir.Atomic(dsts=dsts) | ir.Call(dsts=dsts):
            return dsts
        case ir.Lock(dst=dst):
            return () if dst is None else (dst,)
        case ir.Wait(pre=pre, dsts=dsts):
            return tuple(d for load in pre for d in load.dsts) + dsts
        case _:
            return ()


def uses(stmt: ir.Stmt | ir.Term) -> set[str]:
    """The variables that a statement reads before it assigns any."""
    read = {name for expr in stmt_exprs(stmt) for name in expr_vars(expr)}
    if isinstance(stmt, ir.Wait):
        read -= set(defs(stmt))
    return read


def successors(term: ir.Term) -> tuple[int, ...]:
    """The blocks that may follow."""
    match term:
        case ir.Jump(to=to):
            return (to,)
        case ir.Branch(then=then, orelse=orelse):
            return (then, orelse)
        case _:
            return ()


@by_identity
def calls(function: ir.Function) -> tuple[tuple[int, int, ir.Call], ...]:
    """The calls in a function: block, statement, call."""
    return tuple(
        (b, i, stmt)
        for b, block in enumerate(function.blocks)
        for i, stmt in enumerate(block.stmts)
        if isinstance(stmt, ir.Call)
    )


@by_identity
def ways_back(function: ir.Function) -> frozenset[tuple[int, int]]:
    """Where control goes back to the beginning of a loop: from block, to block.

    As loops have one way in, these are the same ways whatever else is left out of the function.
    """
    back: set[tuple[int, int]] = set()
    on_way, seen = {0}, {0}
    ways = [(0, iter(successors(function.blocks[0].term)))]
    while ways:
        block, rest = ways[-1]
        to = next(rest, None)
        if to is None:
            on_way.discard(block)
            ways.pop()
        elif to in on_way:
            back.add((block, to))
        elif to not in seen:
            seen.add(to)
            on_way.add(to)
            ways.append((to, iter(successors(function.blocks[to].term))))
    return frozenset(back)


def called_from(functions: Mapping[str, ir.Function], roots: Iterable[str]) -> list[str]:
    """The functions that may run when the roots do, and the roots, each once."""
    found: dict[str, None] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = None
            todo += [call.function for _, _, call in calls(functions[name])]
    return list(found)


@by_identity
def liveness(function: ir.Function) -> Liveness:
    """Which variables may still be read in a function."""
    return Liveness(function)


class Liveness:
    """Which variables' values may still be read, at each statement of a function."""

    def __init__(self, function: ir.Function) -> None:
        self._function = function
        self.live_in: list[set[str]] = [set() for _ in function.blocks]
        self._ends = [uses(block.term) for block in function.blocks]
        self._steps = [[(defs(stmt), uses(stmt)) for stmt in block.stmts] for block in function.blocks]
        changed = True
        while changed:
            changed = False
            for number in reversed(range(len(function.blocks))):
                live = self._at(number, 0)
                if live != self.live_in[number]:
                    self.live_in[number] = live
                    changed = True

    def _at(self, number: int, index: int) -> set[str]:
        block = self._function.blocks[number]
        live: set[str] = set().union(*(self.live_in[s] for s in successors(block.term)))
        live |= self._ends[number]
        for assigned, read in reversed(self._steps[number][index:]):
            live.difference_update(assigned)
            live |= read
        return live

    def before(self, block: int, index: int) -> frozenset[str]:
        """The variables live just before the statement."""
        return frozenset(self._at(block, index))

    def across(self, block: int, index: int) -> frozenset[str]:
        """The variables live after the statement that it does not assign itself."""
        return frozenset(self._at(block, index + 1).difference(self._steps[block][index][0]))

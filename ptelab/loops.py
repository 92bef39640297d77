# SPDX-License-Identifier: GPL-2.0-only
"""Loops `for i in range(first, end)` in the IR, and whether they could tell in which order they go round.

A loop cannot if every round does the same but for its `i` and leaves nothing behind: no round writes memory or a
variable that a later one or the code behind the loop reads, and there is one way at most to leave it early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ptelab import ir
from ptelab.flow import defs, liveness, successors
from ptelab.layout import Layout


@dataclass(frozen=True, slots=True)
class Loop:
    """A variable that counts from `first` to `end` − 1."""

    variable: str
    first: int
    end: int
    own: frozenset[int]  # ids of the statements and the terminators that count
    problem: str  # how it could tell in which order it goes round; empty if it could not
    where: str


def loops_of(function: ir.Function, module: ir.Module, layout: Layout) -> Iterator[Loop]:
    """The counting loops of a function."""
    before: dict[int, list[int]] = {n: [] for n in range(len(function.blocks))}
    for n, block in enumerate(function.blocks):
        for s in _following(block):
            before[s].append(n)
    for n, block in enumerate(function.blocks):
        for stmt in block.stmts:
            match stmt:
                case ir.Assign(dst=name, value=ir.Bin("+", ir.Var(other), ir.Const(1))) if name == other:
                    loop = _loop(function, module, layout, before, n, stmt)
                    if loop is not None:
                        yield loop


# Where control goes from a block; nowhere from one that raises a flag.
def _following(block: ir.Block) -> tuple[int, ...]:
    return () if _raises(block) else successors(block.term)


def _raises(block: ir.Block) -> bool:
    return any(isinstance(s, ir.Flag) for s in block.stmts)


def _number(expr: ir.Expr, layout: Layout) -> int | None:
    match expr:
        case ir.Const(value):
            return value
        case ir.Param(name):
            return layout.param(name)
    return None


def _loop(
    function: ir.Function, module: ir.Module, layout: Layout, before: dict[int, list[int]], latch: int, step: ir.Assign
) -> Loop | None:
    blocks, i = function.blocks, step.dst
    term = blocks[latch].term
    if not isinstance(term, ir.Jump) or blocks[latch].stmts[-1] is not step:
        return None
    head = term.to
    body = {head, latch}
    todo = [latch] if latch != head else []
    while todo:
        for p in before[todo.pop()]:
            if p not in body:
                body.add(p)
                todo.append(p)
    starts = [_start(blocks[p], i, layout) for p in before[head] if p not in body]
    control = _control(function, body, head, latch, i, layout)
    firsts = {first for first, _ in starts}
    if control is None or len(firsts) != 1 or None in firsts:
        return None
    first = next(iter(firsts))
    assert first is not None
    block, end = control
    ends = [stmt for b in blocks for stmt in b.stmts if i in defs(stmt)]
    if len(ends) != 1 + len(starts):
        return None
    own = frozenset([id(step), id(blocks[block].term), *(id(stmt) for _, stmt in starts)])
    problem = _problem(function, module, layout, body, head, control, i, first)
    return Loop(i, first, end, own, problem, f"{step.at.file}:{step.at.line} ({function.name})")


def _start(block: ir.Block, i: str, layout: Layout) -> tuple[int | None, ir.Stmt | None]:
    for stmt in reversed(block.stmts):
        if i in defs(stmt):
            return (_number(stmt.value, layout) if isinstance(stmt, ir.Assign) else None), stmt
    return None, None


# The block that decides whether there is another round, and where the loop ends: an empty block that comes first, or
# the one before the latch, which then does nothing but count.
def _control(
    function: ir.Function, body: set[int], head: int, latch: int, i: str, layout: Layout
) -> tuple[int, int] | None:
    found = []
    blocks = function.blocks
    for n in body:
        match blocks[n].term:
            case ir.Branch(cond=ir.Bin("<" | "<=" as op, left, right), then=then, orelse=orelse):
                end = _number(right, layout)
                if then not in body or orelse in body or end is None:
                    continue
                end += op == "<="
                last = then == latch and len(blocks[latch].stmts) == 1
                if left == ir.Var(i) and n == head and not blocks[n].stmts:
                    found.append((n, end))
                elif left == ir.Var(i) and last:
                    found.append((n, end + 1))
                elif left == ir.Bin("+", ir.Var(i), ir.Const(1)) and last:
                    found.append((n, end))
    return found[0] if len(found) == 1 else None


def _problem(
    function: ir.Function,
    module: ir.Module,
    layout: Layout,
    body: set[int],
    head: int,
    control: tuple[int, int],
    i: str,
    first: int,
) -> str:
    blocks, live = function.blocks, liveness(function)
    raising = {s for n in body for s in _following(blocks[n]) if _raises(blocks[s])}
    made = {name for n in body for stmt in blocks[n].stmts for name in defs(stmt)}
    if kept := (made - {i}) & live.before(head, 0):
        return f"one round sees {min(kept)} of another"
    round_ = _Round(function, module, layout, i, range(first, control[1]))
    for n in sorted(body | raising):
        for stmt in blocks[n].stmts:
            if i not in defs(stmt):
                round_.look_at(stmt)
        for s in _following(blocks[n]):
            if s in body or s in raising:
                continue
            if seen := made & live.before(s, 0):
                return f"what is behind the loop sees {min(seen)}"
            if n != control[0]:
                round_.ways.add(f"block {s}")
        if isinstance(blocks[n].term, ir.Return) and n not in raising:
            round_.ways.add(f"block {n}")
    if not round_.problem and len(round_.ways) > 1:
        return f"it can be left in several ways: {', '.join(sorted(round_.ways))}"
    return round_.problem


class _Round:
    """What a round of a loop does besides reading: nothing, and in how many ways it may end the run."""

    def __init__(self, function: ir.Function, module: ir.Module, layout: Layout, i: str, values: range) -> None:
        self._function, self._module, self._layout = function, module, layout
        self._i, self._values = i, values
        self.ways: set[str] = set()
        self.problem = ""

    def look_at(self, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Flag(name=name):
                self.ways.add(f"flag {name}")
            case ir.Assign(dst=dst, value=value):
                if not fits(value, self._function, self._layout, self._width(dst)):
                    self.ways.add("flag bad_kernel_state")
            case ir.Load(dsts=dsts, place=place):
                self._load(dsts, place)
            case ir.Reach():
                pass
            case _:
                self.problem = "a round does more than look"

    def _width(self, name: str) -> int:
        return self._layout.width(self._function.vars[name])

    def _load(self, dsts: tuple[str, ...], place: ir.Place) -> None:
        struct, member = self._module.structs[place.struct], self._module.field(place)
        if struct.kind == "stack":
            self.problem = "it reads an object of the stack"
            return
        if any(self._width(d) < w for d, w in zip(dsts, self._layout.widths(member), strict=True)):
            self.ways.add("flag bad_kernel_state")
        if not self._within(place.handle, 1, self._layout.pool(place.struct)):
            self.ways.add("flag null_dereference")
        if place.index is not None and not self._within(place.index, 0, self._layout.count(member)):
            self.ways.add("flag bad_kernel_state")

    # Whether an expression is seen to be an element or an entry that there is: base … base + size - 1.
    def _within(self, expr: ir.Expr, base: int, size: int) -> bool:
        match expr:
            case ir.Const(value):
                return base <= value < base + size
            case ir.Bin("+", ir.Var(name), ir.Const(more)):
                return name == self._i and self._are_within(more, base, size)
            case ir.Bin("+", ir.Self("cpu"), ir.Const(1)) if base == 1:
                return True
            case ir.Var(name):
                return name == self._i and self._are_within(0, base, size)
        return False

    def _are_within(self, more: int, base: int, size: int) -> bool:
        return base <= self._values.start + more and self._values.stop + more <= base + size


def fits(expr: ir.Expr, function: ir.Function, layout: Layout, width: int) -> bool:
    """Whether an expression is seen to fit so many bits."""
    match expr:
        case ir.Const(value):
            return 0 <= value < 1 << width
        case ir.Param(name):
            return layout.param(name) < 1 << width
        case ir.Var(name):
            return layout.width(function.vars[name]) <= width
        case ir.Not() | ir.Bin("==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or"):
            return True
        case ir.Bin("&", a, b):
            return fits(a, function, layout, width) or fits(b, function, layout, width)
        case ir.Select(_, a, b):
            return fits(a, function, layout, width) and fits(b, function, layout, width)
    return False

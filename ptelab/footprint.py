# SPDX-License-Identifier: GPL-2.0-only
"""What each thread may still touch, from each of its positions: the ground of the partial-order reduction.

The unit is a *class*: one member of a struct over all elements, or, for what is private to a CPU, that member on that
CPU.  Sets of classes are bit masks.  `next` is what the transition from a position may access, to the next stop on
every way; `future` is what the thread may access from there on at all.  `future` can also be asked for the time that
another thread holds a lock: then it ends where the thread would have to wait for that lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ptelab import ir
from ptelab.link import Code, Context, Program
from ptelab.scenario import Scenario

Class = tuple[str, str, int]
"""struct, member, CPU (−1 for what is not private to a CPU)."""

Point = tuple[int, int]
"""Where control stands in a function: block and statement."""


@dataclass(slots=True)
class _Summary:
    """Local code from a point on: what it accesses, and how it may end."""

    reads: set[tuple[str, str, bool]] = field(default_factory=set)  # struct, member, only this CPU's
    writes: set[tuple[str, str, bool]] = field(default_factory=set)
    stops: set[int] = field(default_factory=set)
    calls: set[int] = field(default_factory=set)
    returns: bool = False
    masks: dict[int, tuple[int, int]] = field(default_factory=dict)  # CPU → reads, writes


@dataclass(slots=True)
class Footprint:
    """Masks of one thread at one position."""

    next_reads: int = 0
    next_writes: int = 0
    successors: set[int] = field(default_factory=set)  # positions; 0 is the end
    waits_for: tuple[str, str, str] | None = None  # struct, member, operation of the lock that this step takes


def _waits(stops_at: Iterable[tuple[str, str, frozenset[str]]]) -> set[tuple[str, str, str]]:
    return {(s, m, op) for s, m, ops in stops_at for op in ops}


class Footprints:
    """The footprints of every thread of a scenario."""

    def __init__(self, scenario: Scenario, program: Program) -> None:
        self.program = program
        self.cpus = scenario.params["NR_CPUS"]
        self._classes: dict[Class, int] = {}
        self._summaries: dict[tuple[str, Point], _Summary] = {}
        self._steps: dict[tuple[str, Point], _Summary] = {}
        self._whole: dict[str, _Summary] = {}
        self._callers: dict[int, dict[int, list[int]]] = {}  # by the identity of a thread's footprints
        self.threads: list[dict[int, Footprint]] = []
        known: dict[tuple[str, int], dict[int, Footprint]] = {}
        for thread in scenario.threads:
            key = (thread.root, thread.cpu)
            if key not in known:
                known[key] = self._thread(thread.root, thread.cpu)
            self.threads.append(known[key])

    def class_mask(self, struct: str, member: str, cpu: int = -1) -> int:
        """The bit of a class."""
        return 1 << self._classes.setdefault((struct, member, cpu), len(self._classes))

    def future(
        self, thread: int, stops_at: Iterable[tuple[str, str, frozenset[str]]] = ()
    ) -> dict[int, tuple[int, int]]:
        """Position → (reads, writes) from there on.  It ends at a step that takes a lock in `stops_at`:
        struct, member and the operations that have to wait."""
        waits = _waits(stops_at)
        steps = self.threads[thread]
        callers = self._callers_of(steps)
        ends = {
            p: self.class_mask(*f.waits_for[:2])
            for p, f in steps.items()
            if f.waits_for is not None and f.waits_for in waits
        }
        width = len(self._classes)
        future = {p: f.next_reads | f.next_writes << width for p, f in steps.items()}
        future |= {p: lock | lock << width for p, lock in ends.items()}
        todo = list(steps)
        while todo:
            q = todo.pop()
            accessed = future[q]
            for p in callers[q]:
                old = future[p]
                if old | accessed != old and p not in ends:
                    future[p] = old | accessed
                    todo.append(p)
        reads = (1 << width) - 1
        return {0: (0, 0), **{p: (accessed & reads, accessed >> width) for p, accessed in future.items()}}

    def _callers_of(self, steps: dict[int, Footprint]) -> dict[int, list[int]]:
        """Position → the positions that it may follow."""
        if id(steps) not in self._callers:
            callers: dict[int, list[int]] = {p: [] for p in steps}
            for p, footprint in steps.items():
                for q in footprint.successors:
                    if q:
                        callers[q].append(p)
            self._callers[id(steps)] = callers
        return self._callers[id(steps)]

    def waits(self, thread: int, stops_at: Iterable[tuple[str, str, frozenset[str]]]) -> bool:
        """Whether a thread has a step that takes one of these locks."""
        waits = _waits(stops_at)
        return any(f.waits_for in waits for f in self.threads[thread].values())

    def loop_heads(self, thread: int) -> set[int]:
        """Positions such that every cycle of the thread's positions goes through one of them."""
        steps = self.threads[thread]
        heads: set[int] = set()
        state: dict[int, int] = {}
        for root in sorted(steps):
            if root in state:
                continue
            stack = [(root, iter(sorted(steps[root].successors)))]
            state[root] = 1
            while stack:
                p, rest = stack[-1]
                q = next(rest, None)
                if q is None:
                    state[p] = 2
                    stack.pop()
                elif q and state.get(q) == 1:
                    heads.add(q)
                elif q and q not in state:
                    state[q] = 1
                    stack.append((q, iter(sorted(steps[q].successors))))
        return heads

    # --------------------------------------------------------------------------------- construction

    def _thread(self, root: str, cpu: int) -> dict[int, Footprint]:
        program = self.program
        if root not in program.entry:
            return {}
        footprints: dict[int, Footprint] = {}
        for position in range(1, program.positions):
            entry = program.position[position]
            assert entry is not None
            if entry[0].root == root:
                footprints[position] = self._transition(entry[0], entry[1].number, cpu)
        return footprints

    def _transition(self, context: Context, number: int, cpu: int) -> Footprint:
        stop = context.code.stops[number]
        footprint = Footprint()
        stmt = context.code.function.blocks[stop.block].stmts[stop.index]
        if isinstance(stmt, ir.Lock) and stmt.dst is None:
            footprint.waits_for = (stmt.place.struct, stmt.place.field, stmt.op)
        self._add(footprint, self._step(context.code, (stop.block, stop.index)), cpu)
        # Behind a choose one step may still be executed: go on through it, once.
        todo = [(context, (stop.block, stop.index + 1), stop.choose)]
        seen: set[tuple[int, Point, bool]] = set()
        while todo:
            ctx, point, may = todo.pop()
            if (ctx.number, point, may) in seen:
                continue
            seen.add((ctx.number, point, may))
            local = self._summary(ctx.code, point)
            self._add(footprint, local, cpu)
            for s in local.stops:
                following = ctx.code.stops[s]
                if may and not following.choose:
                    self._add(footprint, self._step(ctx.code, (following.block, following.index)), cpu)
                    todo.append((ctx, (following.block, following.index + 1), False))
                else:
                    footprint.successors.add(ctx.base + s)
            for c in local.calls:
                todo.append((ctx.children[c], (0, 0), may))
            if local.returns:
                if ctx.parent is None or ctx.call is None:
                    footprint.successors.add(0)
                else:
                    todo.append((ctx.parent, (ctx.call.block, ctx.call.index + 1), may))
        return footprint

    def _add(self, footprint: Footprint, summary: _Summary, cpu: int) -> None:
        masks = summary.masks.get(cpu)
        if masks is None:
            masks = summary.masks[cpu] = self._mask(summary.reads, cpu), self._mask(summary.writes, cpu)
        footprint.next_reads |= masks[0]
        footprint.next_writes |= masks[1]

    def _mask(self, accesses: set[tuple[str, str, bool]], cpu: int) -> int:
        mask = 0
        for struct, member, own in accesses:
            if self.program.module.structs[struct].kind != "cpu":
                mask |= self.class_mask(struct, member)
            elif own:
                mask |= self.class_mask(struct, member, cpu)
            else:
                for c in range(self.cpus):
                    mask |= self.class_mask(struct, member, c)
        return mask

    def _step(self, code: Code, point: Point) -> _Summary:
        """The statement at which a thread may stop."""
        key = (code.function.name, point)
        if key not in self._steps:
            self._steps[key] = _Summary()
            _note(self.program, code.function.blocks[point[0]].stmts[point[1]], self._steps[key])
        return self._steps[key]

    def _summary(self, code: Code, point: Point) -> _Summary:
        key = (code.function.name, point)
        if key not in self._summaries:
            self._summaries[key] = summary = _Summary()
            seen: set[Point] = set()
            todo = [point]
            while todo:
                here = todo.pop()
                if here not in seen:
                    seen.add(here)
                    todo += self._walk(code, here, summary)
        return self._summaries[key]

    def _walk(self, code: Code, point: Point, summary: _Summary) -> list[Point]:
        block, index = point
        stmts = code.function.blocks[block].stmts
        for i in range(index, len(stmts)):
            stmt = stmts[i]
            if (block, i) in code.stop_at:
                summary.stops.add(code.stop_at[block, i].number)
                return []
            if (block, i) in code.call_at:
                summary.calls.add(code.call_at[block, i].number)
                return []
            _note(self.program, stmt, summary)
            if isinstance(stmt, ir.Call):
                whole = self._free_function(stmt.function)
                summary.reads |= whole.reads
                summary.writes |= whole.writes
        match code.function.blocks[block].term:
            case ir.Jump(to=to):
                return [(to, 0)]
            case ir.Branch(then=then, orelse=orelse):
                return [(then, 0), (orelse, 0)]
            case _:
                summary.returns = True
                return []

    def _free_function(self, name: str) -> _Summary:
        if name not in self._whole:
            self._whole[name] = summary = _Summary()
            for block in self.program.codes[name].function.blocks:
                for stmt in block.stmts:
                    _note(self.program, stmt, summary)
                    if isinstance(stmt, ir.Call):
                        inner = self._free_function(stmt.function)
                        summary.reads |= inner.reads
                        summary.writes |= inner.writes
        return self._whole[name]


def _note(program: Program, stmt: ir.Stmt, summary: _Summary) -> None:
    """Add the accesses of a statement itself; what is on the thread's own stack concerns nobody else.

    A lock assertion is none: whether this thread holds a lock is nothing that another thread can change.
    """
    for place in ir.places(stmt):
        if program.module.structs[place.struct].kind == "stack":
            continue
        access = (place.struct, place.field, _is_own_cpu(place.handle))
        if not isinstance(stmt, ir.Store):
            summary.reads.add(access)
        if isinstance(stmt, ir.Store | ir.Atomic | ir.Lock):
            summary.writes.add(access)


def _is_own_cpu(handle: ir.Expr) -> bool:
    match handle:
        case ir.Bin("+", ir.Self("cpu"), ir.Const(1)):
            return True
        case _:
            return False

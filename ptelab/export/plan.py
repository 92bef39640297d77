# SPDX-License-Identifier: GPL-2.0-only
"""What an exported model is made of, whatever language it is written in.

A function in which threads stop is cut into *segments*, which begin where control can come in: at the start of a
block, at a stop, behind a call.  A thread that stands still is a number, its *place*: a function and the segment at
whose beginning it stands.  Who called whom is in the frames: each has the number of the call that made it.  So a state
has one form only, and no more and no fewer states are told apart than by the reference machine without reductions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ptelab import ir
from ptelab.layout import Layout
from ptelab.link import CallSite, Code, Program, StackObject, Stop
from ptelab.memory import Memory
from ptelab.scenario import Scenario

ThreadStart = tuple[int, tuple[tuple[int, ...], ...]]


ALTERNATIVES_MAX = 1024
LEFT_OUT = "left_out"
"""The flag of code that is not in the exported model: the other checker went where ours never does."""


class ExportError(ValueError):
    """The scenario cannot be written in that language."""


COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Start:
    """The initial state: the cells of memory, and the position and frames of each thread."""

    cells: tuple[int, ...]
    threads: tuple[ThreadStart, ...]
    reached: frozenset[str] = frozenset()  # situations on the way there


@dataclass(slots=True)
class Segment:
    """Statements that run one after the other; what comes behind is `following`, `call` or `term`."""

    number: int
    block: int
    stop: Stop | None = None
    stmts: list[tuple[int, int, ir.Stmt]] = field(default_factory=list)  # with block and index
    term: ir.Term | None = None
    resumed: ir.Call | None = None  # the call behind which this begins
    call: CallSite | None = None  # of a function that may stop, in the last statement
    left_out: bool = False
    following: int = 0  # the segment behind the call, or that control falls into


@dataclass(slots=True)
class Part:
    """A reachable function.  `vars` are those that a frame keeps; none for a function that does not stop."""

    number: int
    code: Code
    segments: list[Segment]
    block_at: dict[int, int]  # block → segment
    callers: list[tuple[Part, CallSite]] = field(default_factory=list)  # of a function that may stop

    @property
    def function(self) -> ir.Function:
        return self.code.function

    @property
    def name(self) -> str:
        return self.code.function.name

    @property
    def objects(self) -> list[StackObject]:
        return self.code.objects


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thread can stand still."""

    number: int  # from 1; 0 is the end
    part: Part
    segment: int
    choose: bool


class Plan:
    """The parts of a scenario's program, callees before their callers, and where its threads can stand."""

    def __init__(
        self, scenario: Scenario, program: Program, layout: Layout, memory: Memory, final: str, start: Start,
        executed: frozenset[tuple[str, int]] | None = None,
    ) -> None:  # fmt: skip
        """`executed` are the lines that are known to be executed: blocks that have none of them are left out."""
        self.scenario = scenario
        self.program = program
        self.layout = layout
        self.module = layout.module
        self.memory = memory
        self.start = start
        self.parts: dict[str, Part] = {}
        self.kept = {name: _kept(program.codes[name].function, executed) for name in program.order}
        self._keep_start()
        wanted = self._reachable([*(t.root for t in scenario.threads), final])
        for name in (n for n in program.order if n in wanted):
            segments, block_at = _segments(program.codes[name], self.kept[name])
            self.parts[name] = Part(len(self.parts), program.codes[name], segments, block_at)
        self.final = self.parts[final]
        self.stopping = [p for p in self.parts.values() if p.code.may_stop]
        for part in self.stopping:
            for site in (s.call for s in part.segments if s.call is not None):
                self.parts[site.callee].callers.append((part, site))
        stands = [(p, s.number, s.stop.choose) for p in self.stopping for s in p.segments if s.stop is not None]
        stands.sort(key=lambda stand: not stand[2])
        self.places = [Place(n, *stand) for n, stand in enumerate(stands, 1)]
        self.chooses = sum(place.choose for place in self.places)
        """Places up to this number are before a choose."""
        self._place_at = {(place.part.name, place.segment): place for place in self.places}
        self.rounds = max([1, *(len(p.function.results) for p in self.parts.values())])
        """The number of a result that no function has: there stands how often loops have gone round in a transition."""
        self.flags = ["bad_kernel_state", "null_dereference", "lock_assertion", "deadlock", LEFT_OUT]
        self.situations = sorted(start.reached)
        self._names()
        self.written = self._written()

    def place(self, part: Part, segment: int) -> int:
        """The number of a place."""
        return self._place_at[part.name, segment].number

    def root(self, thread: int) -> Part:
        return self.parts[self.scenario.threads[thread].root]

    def alternatives(self, thread: int) -> int:
        """The largest number of alternatives that a thread ever has."""
        most = 1
        for name in self._reachable([self.scenario.threads[thread].root]):
            function = self.parts[name].function
            for stmt in self.statements(name):
                if isinstance(stmt, ir.Choose):
                    # Those that do not fit the variable count: they raise a flag.
                    most = max(most, span(stmt.count, function, self.layout)[1])
        if most > ALTERNATIVES_MAX:
            raise ExportError(
                f"{self.scenario.name}: choose() among {most} is too wide; write a type with a bound instead"
            )
        return most

    def start_place(self, thread: int) -> int:
        """Where a thread stands at first."""
        vpc, _ = self.start.threads[thread]
        if not vpc:
            return 0
        position = self.program.position[vpc]
        assert position is not None
        context, stop = position
        part = self.parts[context.code.function.name]
        return self.place(part, next(s.number for s in part.segments if s.stop is stop))

    def start_frames(self, thread: int) -> list[tuple[Part, int, dict[str, int], dict[tuple[str, int], list[int]]]]:
        """The frames of a thread at first: function, number of its call, variables, cells of its stack objects."""
        vpc, frames = self.start.threads[thread]
        if not vpc:
            return []
        position = self.program.position[vpc]
        assert position is not None
        chain = []
        context = position[0]
        while context is not None:
            chain.append(context)
            context = context.parent  # type: ignore[assignment]
        found = []
        for ctx, values in zip(reversed(chain), frames, strict=True):
            part = self.parts[ctx.code.function.name]
            call = 0
            if ctx.parent is not None:
                assert ctx.call is not None
                call = self.call_number(part, ctx.parent.code.function.name, ctx.call)
            objects: dict[tuple[str, int], list[int]] = {}
            at = len(ctx.code.slots)
            for made in part.objects:
                size = self.object_cells(made.struct).size
                objects[made.struct, made.number] = list(values[at : at + size])
                at += size
            found.append((part, call, dict(zip(ctx.code.slots, values, strict=False)), objects))
        return found

    def call_number(self, callee: Part, caller: str, site: CallSite) -> int:
        """Which of the calls of a function this is, from 1; 0 is the thread's own."""
        return 1 + next(n for n, (p, s) in enumerate(callee.callers) if p.name == caller and s.number == site.number)

    def object_cells(self, struct: str) -> Memory:
        """The cells of one stack object."""
        memory = Memory(self.layout, ())
        memory.add(self.layout, self.module.structs[struct], 1)
        return memory

    def rest(self, thread: int) -> int:
        """Where a thread stands when the run may be over."""
        return self.start_place(thread) if self.scenario.threads[thread].daemon else 0

    def rest_calls(self, thread: int) -> list[tuple[Part, int]]:
        """By which calls a thread has come where it rests: the same place, called from elsewhere, is none of rest."""
        if not self.scenario.threads[thread].daemon:
            return []
        return [(part, call) for part, call, _, _ in self.start_frames(thread) if part.callers]

    def _keep_start(self) -> None:
        """Keep the blocks in which threads stand at first: the way there was nobody's transition."""
        for vpc, _ in self.start.threads:
            position = self.program.position[vpc]
            if position is None:
                continue
            context, stop = position
            self.kept[context.code.function.name].add(stop.block)
            while context.parent is not None:
                assert context.call is not None
                self.kept[context.parent.code.function.name].add(context.call.block)
                context = context.parent

    def statements(self, name: str) -> Iterator[ir.Stmt]:
        """The statements of a function, but for those that are left out."""
        for number, block in enumerate(self.program.codes[name].function.blocks):
            if number in self.kept[name]:
                yield from block.stmts

    def callees(self, name: str) -> set[str]:
        """The functions that a function calls."""
        return {s.function for s in self.statements(name) if isinstance(s, ir.Call)}

    def _reachable(self, roots: list[str]) -> set[str]:
        seen: set[str] = set()
        todo = list(roots)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.callees(name)
        return seen

    def _names(self) -> None:
        for name in self.parts:
            for stmt in self.statements(name):
                if isinstance(stmt, ir.Flag) and stmt.name not in self.flags:
                    self.flags.append(stmt.name)
                if isinstance(stmt, ir.Reach) and stmt.name not in self.situations:
                    self.situations.append(stmt.name)

    def _written(self) -> set[tuple[str, str]]:
        return {
            (stmt.place.struct, stmt.place.field)
            for name in self.parts
            for stmt in self.statements(name)
            if isinstance(stmt, ir.Store | ir.Atomic | ir.Lock)
        }


def _kept(function: ir.Function, executed: frozenset[tuple[str, int]] | None) -> set[int]:
    """The blocks of which some statement is executed, and those without statements."""
    return {
        number
        for number, block in enumerate(function.blocks)
        if executed is None or not block.stmts or any((s.at.file, s.at.line) in executed for s in block.stmts)
    }


def _segments(code: Code, kept: set[int]) -> tuple[list[Segment], dict[int, int]]:
    """Cut a function where control can come in."""
    segments: list[Segment] = []
    block_at: dict[int, int] = {}

    def begin(block: int, stop: Stop | None = None) -> Segment:
        segments.append(Segment(len(segments), block, stop))
        return segments[-1]

    for b, block in enumerate(code.function.blocks):
        now = begin(b)
        block_at[b] = now.number
        if b not in kept:
            now.left_out = True
            continue
        for i, stmt in enumerate(block.stmts):
            stop = code.stop_at.get((b, i))
            if stop is not None:
                if now.stmts or now.resumed is not None:
                    now.following = len(segments)
                    now = begin(b, stop)
                else:
                    now.stop = stop
            now.stmts.append((b, i, stmt))
            call = code.call_at.get((b, i))
            if call is not None:
                assert isinstance(stmt, ir.Call)
                now.call, now.following = call, len(segments)
                now = begin(b)
                now.resumed = stmt
        now.term = block.term
    return segments, block_at


def bound(expr: ir.Expr, function: ir.Function, layout: Layout) -> int | None:
    """The largest value of an expression that cannot be negative; None when it may be."""
    least, largest = span(expr, function, layout)
    return largest if least >= 0 else None


def span(expr: ir.Expr, function: ir.Function, layout: Layout) -> tuple[int, int]:
    """The smallest and the largest value that an expression can have, or less and more."""

    def of(e: ir.Expr) -> tuple[int, int]:
        return span(e, function, layout)

    match expr:
        case ir.Const(value):
            return int(value), int(value)
        case ir.Param(name):
            return layout.param(name), layout.param(name)
        case ir.Var(name):
            return 0, (1 << layout.width(function.vars[name])) - 1
        case ir.Self(what):
            return 0, layout.param("NR_THREADS" if what == "thread" else "NR_CPUS") - 1
        case ir.Not():
            return 0, 1
        case ir.Select(_, a, b):
            return _hull([*of(a), *of(b)])
        case ir.Bin(op, a, b):
            if op in COMPARISONS or op in ("and", "or"):
                return 0, 1
            if op in ("//", "%"):
                return _arithmetic(op, of(a), (layout.divisor(b),) * 2)
            return _arithmetic(op, of(a), of(b))


def _arithmetic(op: str, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    match op:
        case "+":
            return a[0] + b[0], a[1] + b[1]
        case "-":
            return a[0] - b[1], a[1] - b[0]
        case "*":
            return _hull([ir.multiply(x, y) for x in a for y in b])
        case "//":
            return _hull([x // b[0] for x in a])
        case "%":
            return 0, b[0] - 1
        case "<<":
            return _hull([ir.shift_left(x, y) for x in (*a, 0) for y in (*b, 0)])
        case ">>":
            return _hull([*a, 0])
        case "&" if a[0] >= 0 or b[0] >= 0:
            return 0, min(x[1] for x in (a, b) if x[0] >= 0)
    bits = max(x.bit_length() for x in (*a, *b))
    return (0 if a[0] >= 0 and b[0] >= 0 else -(1 << bits)), (1 << bits) - 1


def _hull(values: Iterable[int]) -> tuple[int, int]:
    known = list(values)
    return min(known), max(known)

# SPDX-License-Identifier: GPL-2.0-only
"""The reference machine: executes the IR one transition at a time, and by doing so defines what it means.

A thread stands at a stop, before a step or a choose, or at its end.  One transition executes the choose, if that is
where it stands, then local statements, at most one step, and local statements up to the next stop.  The native engine
must agree with this file on every state; every run that a person is shown has gone through it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ptelab import ir, link, split
from ptelab.alike import Refused
from ptelab.ample import Ample, holds
from ptelab.layout import Layout
from ptelab.link import Code, Context, Program, with_ghost_calls
from ptelab.memory import Memory
from ptelab.reduce import NONE, Reduction
from ptelab.scenario import Scenario
from ptelab.symmetry import Symmetry
from ptelab.values import Cells, Values, without_unreached

Frame = tuple[int, ...]
ThreadState = tuple[int, tuple[Frame, ...]]
"""The position (vpc), and the kept variables and stack objects of each function in progress, outermost first."""

State = tuple[tuple[int, ...], tuple[ThreadState, ...]]
"""The cells of shared memory, and the threads.  Hashable: two states are the same if and only if they are equal."""

Vars = dict[str, int]
Evaluate = Callable[[Vars], int]


class Flagged(Exception):
    """An invariant does not hold; the run ends."""

    def __init__(self, name: str, at: ir.At, args: tuple[tuple[str, ir.Type | None, int], ...] = (), why: str = ""):
        super().__init__(name)
        self.name = name
        self.at = at
        self.args_ = args
        self.why = why


class _Blocked(Exception):
    """The step cannot be taken now."""


@dataclass(slots=True)
class Event:
    """Something that happened within a transition, for traces."""

    kind: str  # read, write, atomic, lock, unlock, wait, choose, call, return, flag, reach
    thread: int
    at: ir.At
    stack: tuple[str, ...]  # functions in progress, outermost first
    place: tuple[str, str, int, int] | None = None  # struct, member, element, index (0 if no array)
    old: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    text: str = ""  # operation, function or situation
    free: bool = False  # not a shared access
    constant: bool = False  # of a member that no thread of the scenario writes: no step
    args: tuple[int, ...] = ()


@dataclass(slots=True)
class _Frame:
    code: Code
    context: Context | None  # None while the function cannot stop
    vars: Vars
    block: int = 0
    index: int = 0


@dataclass(slots=True)
class _Run:
    """A transition being executed."""

    thread: int
    cpu: int
    cells: list[int]
    frames: list[_Frame]
    objects: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    events: list[Event] | None = None
    results: tuple[int, ...] = ()
    executed: set[ir.At] | None = None  # statements of blocks entered, and returns, if anybody wants to know
    rounds: int = 0  # of loops


def compile_expr(expr: ir.Expr, layout: Layout) -> Evaluate:
    """Make a Python function of an expression: dict of variables → value."""
    return _evaluator(_source(expr, layout))


@functools.lru_cache(1 << 14)
def _evaluator(text: str) -> Evaluate:
    return eval(f"lambda v: {text}", dict(_FUNCTIONS))  # type: ignore[no-any-return]


_FUNCTIONS = {"shl": ir.shift_left, "shr": ir.shift_right, "mul": ir.multiply}
_CALLED = {"<<": "shl", ">>": "shr", "*": "mul"}


def _source(expr: ir.Expr, layout: Layout) -> str:
    match expr:
        case ir.Const(value):
            return repr(int(value))
        case ir.Param(name):
            return repr(layout.param(name))
        case ir.Var(name):
            return f"v[{name!r}]"
        case ir.Self(what):
            return f"v['@{what}']"
        case ir.Bin("<<" | ">>" | "*" as op, a, b):
            return f"{_CALLED[op]}({_source(a, layout)}, {_source(b, layout)})"
        case ir.Bin("//" | "%" as op, a, b):
            return f"({_source(a, layout)} {op} {layout.divisor(b)})"
        case ir.Bin(op, a, b):
            text = f"({_source(a, layout)} {op} {_source(b, layout)})"
            return text if op in "+-&|^" else f"(1 if {text} else 0)"
        case ir.Not(a):
            return f"(0 if {_source(a, layout)} else 1)"
        case ir.Select(c, a, b):
            return f"({_source(a, layout)} if {_source(c, layout)} else {_source(b, layout)})"


@dataclass(slots=True)
class _Setup:
    """What `setup` has left behind."""

    memory: Memory | None = None
    cells: tuple[int, ...] = ()
    flagged: Flagged | None = None
    risky: Mapping[int, object] | None = None  # what may raise a flag, by identity; None before `reachable`

    def reachable(self, module: ir.Module, roots: list[str], scenario: Scenario) -> ir.Module:
        """The module without what no run from here executes."""
        if self.flagged is not None or self.memory is None:
            return module
        sites = {s.name: 0 for s in module.structs.values() if s.kind == "stack"}
        for function in module.functions.values():
            for stmt in (s for b in function.blocks for s in b.stmts if isinstance(s, ir.New)):
                sites[stmt.struct] += 1
        layout = Layout(module, scenario.params | {f"nr_{name}": max(1, number) for name, number in sites.items()})
        cells: Cells = {}
        for key, column in self.memory.columns.items():
            step = column.parts
            cells[key] = [
                [
                    frozenset(self.cells[column.cell(e) + p : column.cell(e) + column.count * step : step])
                    for p in range(step)
                ]
                for e in range(column.elements)
            ]
        found = Values(module, layout, roots, cells, len(scenario.threads))
        self.risky = found.risky
        return without_unreached(module, found.reached)


def possible_module(scenario: Scenario) -> ir.Module:
    """The scenario's code without what its initial state rules out, whichever reductions are on."""
    roots = [t.root for t in scenario.threads]
    module = with_ghost_calls(scenario.module, roots, [scenario.final])
    final = scenario.final if module.functions.get(scenario.final) else f"{scenario.final}~"
    return _set_up(scenario).reachable(module, [*roots, final], scenario) if scenario.setup else module


def _set_up(scenario: Scenario) -> _Setup:
    alone = replace(scenario, threads=(), setup="", final=scenario.setup, reductions=NONE)
    machine = Machine(alone)
    try:
        return _Setup(machine.memory, machine.run_alone())
    except Flagged as flagged:
        return _Setup(flagged=flagged)


class Machine:
    """A scenario made ready to run."""

    def __init__(self, scenario: Scenario, reduction: Reduction | None = None) -> None:
        self.scenario = scenario
        roots = [t.root for t in scenario.threads]
        module = with_ghost_calls(scenario.module, roots, [scenario.final])
        self.final_name = scenario.final if module.functions.get(scenario.final) else f"{scenario.final}~"
        self._setup = _Setup()
        reachable = module
        if scenario.setup:
            self._setup = _set_up(scenario)
            reachable = self._setup.reachable(module, [*roots, self.final_name], scenario)
        self.reduction = reduction or Reduction.of(scenario, reachable)
        if "unreached" in scenario.reductions:
            module = reachable
        self.program = Program(
            module,
            [*roots, self.final_name],
            self.reduction.free_fields,
            keep_dead=not self.reduction.dead,
            extra_stops=split.of(scenario, module, self.reduction, self._setup.risky),
        )
        stack = {f"nr_{name}": max(1, number) for name, number in self.program.stack_pools.items()}
        self.layout = Layout(module, scenario.params | stack)
        self.memory = Memory(self.layout)
        self.stack_memory: dict[str, Memory] = {}
        for name in self.program.stack_pools:
            self.stack_memory[name] = memory = Memory(self.layout, ())
            memory.add(self.layout, module.structs[name], 1)
        self._exprs: dict[int, Evaluate] = {}
        self._keep: list[ir.Expr] = []
        self.reached: set[str] = set()
        self.begun: set[ir.At] = set()  # statements of blocks that threads enter, and returns, before their first stop
        self.rest: list[int] = []
        self._start: State | None = None
        self._ample: Ample | None = None
        self._symmetry: Symmetry | Refused | None = None

    # ------------------------------------------------------------------------------------- states

    def initial(self) -> State:
        """The state after `setup`, every thread at its first stop.  Flagged when setup itself breaks an invariant."""
        if self._start is None:
            if self._setup.flagged is not None:
                raise self._setup.flagged
            cells = list(self._setup.cells)
            threads: list[ThreadState] = []
            for number, thread in enumerate(self.scenario.threads):
                context = self.program.entry.get(thread.root)
                frame = self._frame(thread.root, context, number, thread.cpu, ())
                run = _Run(number, thread.cpu, cells, [frame], executed=self.begun)
                self._local(run)
                threads.append(self._pack(run))
            self._start = (tuple(cells), tuple(threads))
            self.rest = [t[0] for t in threads]
        return self._start

    def run_alone(self) -> tuple[int, ...]:
        """The cells when `final` has run on zeroed memory.  Raises Flagged."""
        run = _Run(0, 0, [0] * self.memory.size, [self._frame(self.final_name, None, 0, 0, ())])
        self._local(run)
        return tuple(run.cells)

    def alternatives(self, state: State, thread: int) -> int:
        """How many alternatives the thread has here: 0 at its end, the count at a choose, else 1 (even if blocked)."""
        vpc, _ = state[1][thread]
        if vpc == 0:
            return 0
        context, stop = self._position(vpc)
        if not stop.choose:
            return 1
        run = self._unpack(state, thread, None)
        stmt = context.code.function.blocks[stop.block].stmts[stop.index]
        assert isinstance(stmt, ir.Choose)
        return self._value(stmt.count)(run.frames[-1].vars)

    def step(self, state: State, thread: int, alternative: int = 0, events: list[Event] | None = None) -> State | None:
        """The state after one transition of a thread; None when it is blocked.  Raises Flagged."""
        run = self._unpack(state, thread, events)
        try:
            self._transition(run, alternative)
        except _Blocked:
            return None
        threads = list(state[1])
        threads[thread] = self._pack(run)
        return tuple(run.cells), tuple(threads)

    @property
    def ample(self) -> Ample:
        """The analysis for the partial-order reduction, made when first asked for."""
        if self._ample is None:
            self.initial()
            self._ample = Ample(self.scenario, self.program, self.layout, self.rest)
        return self._ample

    @property
    def symmetry(self) -> Symmetry | None:
        """What like threads there are; None when the reduction is off or finds none."""
        if not self.reduction.symmetry:
            return None
        if self._symmetry is None:
            try:
                start = self.initial()
                self._symmetry = Symmetry(
                    self.scenario, self.program, self.layout, self.memory, self.final_name, start, self.stack_memory
                )
            except Refused as refused:
                self._symmetry = refused
            except Flagged as flagged:
                self._symmetry = Refused(f"{flagged.name} before the first step")
        return self._symmetry if isinstance(self._symmetry, Symmetry) else None

    def told_symmetry(self) -> str:
        """Which threads are alike, or why none are; empty when nobody asked."""
        if self.symmetry is not None:
            return self.symmetry.told(self.scenario)
        return f"none: {self._symmetry}" if self._symmetry is not None else ""

    def real_choices(self, choices: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The run that choices found among sorted states stand for."""
        if self.symmetry is None:
            return list(choices)

        def step(state: State, thread: int, alternative: int) -> State | str | None:
            try:
                return self.step(state, thread, alternative)
            except Flagged as flagged:
                return flagged.name

        return self.symmetry.real(choices, self.initial(), step, self.alternatives)

    def is_ample(self, state: State, thread: int) -> bool:
        """Whether it is enough to take this thread's transition, should it neither block nor raise a flag."""
        ample = self.ample
        positions = [vpc for vpc, _ in state[1]]
        if positions[thread] not in ample.eligible[thread]:
            return False
        shift = self.layout.param("NR_THREADS").bit_length()
        held = []
        for number, mode in enumerate(ample.modes):
            value = state[0][self.memory.columns[mode.struct, mode.member].base]
            if holds(mode, value, thread, shift):
                held.append(number)
        return ample.independent(thread, positions, held)

    def is_quiescent(self, state: State) -> bool:
        """Whether all programs have ended and every daemon rests."""
        return all(
            vpc == (self.rest[n] if self.scenario.threads[n].daemon else 0) for n, (vpc, _) in enumerate(state[1])
        )

    def is_speculation(self, state: State, thread: int) -> bool:
        """Whether the thread's next move is one that hardware may but need not make: no progress of the system."""
        vpc = state[1][thread][0]
        return self.scenario.threads[thread].daemon and vpc == self.rest[thread] and self._position(vpc)[1].choose

    def final(self, state: State, events: list[Event] | None = None) -> tuple[int, ...]:
        """The outcome of a quiescent state.  Raises Flagged when an invariant at quiescence does not hold."""
        run = _Run(0, 0, list(state[0]), [self._frame(self.final_name, None, 0, 0, ())], events=events)
        self._local(run)
        return run.results

    # ------------------------------------------------------------------------------------ threads

    def _position(self, vpc: int) -> tuple[Context, Any]:
        position = self.program.position[vpc]
        assert position is not None
        return position

    def _frame(self, name: str, context: Context | None, thread: int, cpu: int, args: tuple[int, ...]) -> _Frame:
        code = self.program.codes[name]
        variables = dict.fromkeys(code.function.vars, 0)
        variables["@thread"] = thread
        variables["@cpu"] = cpu
        frame = _Frame(code, context, variables)
        for param, value in zip(code.function.params, args, strict=True) if args else ():
            self._set(frame, param, value, code.function.at)
        return frame

    def _unpack(self, state: State, thread: int, events: list[Event] | None) -> _Run:
        vpc, kept = state[1][thread]
        cpu = self.scenario.threads[thread].cpu
        run = _Run(thread, cpu, list(state[0]), [], events=events)
        context, stop = self._position(vpc)
        chain: list[Context] = []
        walk: Context | None = context
        while walk is not None:
            chain.append(walk)
            walk = walk.parent
        inner_call = None
        for ctx, values in zip(reversed(chain), kept, strict=True):
            code = ctx.code
            frame = self._frame(code.function.name, ctx, thread, cpu, ())
            frame.vars.update(zip(code.slots, values, strict=False))
            at = len(code.slots)
            for made in code.objects:
                size = self.stack_memory[made.struct].size
                run.objects[made.struct, made.number] = list(values[at : at + size])
                at += size
            if run.frames:
                inner_call = ctx.call
                assert inner_call is not None
                run.frames[-1].block, run.frames[-1].index = inner_call.block, inner_call.index
            run.frames.append(frame)
        run.frames[-1].block, run.frames[-1].index = stop.block, stop.index
        return run

    def _pack(self, run: _Run) -> ThreadState:
        if not run.frames:
            return 0, ()
        kept: list[Frame] = []
        for depth, frame in enumerate(run.frames):
            code, here = frame.code, (frame.block, frame.index)
            live = code.call_at[here].live if depth + 1 < len(run.frames) else code.stop_at[here].live
            values = [frame.vars[s] if s in live or not self.reduction.dead else 0 for s in code.slots]
            for made in code.objects:
                size = self.stack_memory[made.struct].size
                values += run.objects.get((made.struct, made.number), [0] * size)
            kept.append(tuple(values))
        top = run.frames[-1]
        assert top.context is not None
        return top.context.base + top.code.stop_at[top.block, top.index].number, tuple(kept)

    # ---------------------------------------------------------------------------------- execution

    def _transition(self, run: _Run, alternative: int) -> None:
        frame = run.frames[-1]
        stop = frame.code.stop_at[frame.block, frame.index]
        if stop.choose:
            stmt = frame.code.function.blocks[frame.block].stmts[frame.index]
            assert isinstance(stmt, ir.Choose)
            if alternative >= self._value(stmt.count)(frame.vars):
                raise _Blocked
            self._set(frame, stmt.dst, alternative, stmt.at)
            if run.events is not None:
                self._event(run, "choose", stmt.at, new=(alternative,))
            frame.index += 1
            if not self._local(run):
                return
            frame = run.frames[-1]
            if frame.code.stop_at[frame.block, frame.index].choose:
                return
        elif alternative:
            raise _Blocked
        self._execute(run, frame, frame.code.function.blocks[frame.block].stmts[frame.index])
        frame.index += 1
        self._local(run)

    def _local(self, run: _Run) -> bool:
        """Run local statements; true when at a stop, false when the thread has ended."""
        while True:
            frame = run.frames[-1]
            block = frame.code.function.blocks[frame.block]
            if run.executed is not None:
                self._note(run.executed, frame, block)
            if frame.index == len(block.stmts):
                self._terminate(run, frame, block.term)
                if not run.frames:
                    return False
                continue
            if (frame.block, frame.index) in frame.code.stop_at:
                return True
            stmt = block.stmts[frame.index]
            if isinstance(stmt, ir.Call):
                self._call(run, frame, stmt)
                continue
            try:
                self._execute(run, frame, stmt)
            except _Blocked:
                raise Flagged("bad_kernel_state", stmt.at, why="setup or a ghost function would block") from None
            frame.index += 1

    def _note(self, executed: set[ir.At], frame: _Frame, block: ir.Block) -> None:
        if frame.index == 0:
            executed.update(stmt.at for stmt in block.stmts)
        if frame.index == len(block.stmts) and isinstance(block.term, ir.Return):
            executed.add(block.term.at)

    def _call(self, run: _Run, frame: _Frame, stmt: ir.Call) -> None:
        args = tuple(self._value(a)(frame.vars) for a in stmt.args)
        site = frame.code.call_at.get((frame.block, frame.index))
        context = frame.context.children[site.number] if site is not None and frame.context is not None else None
        run.frames.append(self._frame(stmt.function, context, run.thread, run.cpu, args))
        if run.events is not None:
            self._event(run, "call", stmt.at, text=stmt.function, args=args)

    def _terminate(self, run: _Run, frame: _Frame, term: ir.Term) -> None:
        match term:
            case ir.Jump(to=to):
                self._go_to(run, frame, to, term.at)
            case ir.Branch(cond=cond, then=then, orelse=orelse):
                self._go_to(run, frame, then if self._value(cond)(frame.vars) else orelse, term.at)
            case ir.Return(at=at, values=values):
                results = tuple(self._value(e)(frame.vars) for e in values)
                if run.events is not None:
                    self._event(run, "return", at, new=results, text=frame.code.function.name)
                for value, type_ in zip(results, frame.code.function.results, strict=True):
                    if value < 0 or value >> self.layout.width(type_):
                        raise Flagged("bad_kernel_state", at, why=f"{value} does not fit the result")
                run.frames.pop()
                for made in frame.code.objects:
                    run.objects.pop((made.struct, made.number), None)
                if not run.frames:
                    run.results = results
                    return
                caller = run.frames[-1]
                call = caller.code.function.blocks[caller.block].stmts[caller.index]
                assert isinstance(call, ir.Call)
                for dst, value in zip(call.dsts, results, strict=False):
                    self._set(caller, dst, value, call.at)
                caller.index += 1

    def _go_to(self, run: _Run, frame: _Frame, block: int, at: ir.At) -> None:
        if (frame.block, block) in frame.code.ways_back:
            run.rounds += 1
            if run.rounds > link.ROUNDS_MAX:
                raise Flagged("bad_kernel_state", at, why="loops without touching shared state")
        frame.block, frame.index = block, 0

    def _execute(self, run: _Run, frame: _Frame, stmt: ir.Stmt) -> None:
        v = frame.vars
        match stmt:
            case ir.Assign(at=at, dst=dst, value=value):
                self._set(frame, dst, self._value(value)(v), at)
            case ir.Load(at=at, dsts=dsts, place=place):
                cells, at0, n = self._resolve(run, frame, place, at)
                self._assign(frame, dsts, cells[at0 : at0 + n], at)
                if run.events is not None:
                    self._access(run, frame, "read", stmt.at, place, cells[at0 : at0 + n], ())
            case ir.Store(at=at, place=place, values=values):
                cells, at0, n = self._resolve(run, frame, place, at)
                self._write(run, frame, "write", at, place, cells, at0, [self._value(e)(v) for e in values])
            case ir.Atomic():
                self._atomic(run, frame, stmt)
            case ir.Lock():
                self._lock(run, frame, stmt)
            case ir.Wait(at=at, pre=pre, dsts=dsts, place=place, cond=cond):
                for load in pre:
                    self._execute(run, frame, load)
                cells, at0, n = self._resolve(run, frame, place, at)
                self._assign(frame, dsts, cells[at0 : at0 + n], at)
                if not self._value(cond)(v):
                    raise _Blocked
                if run.events is not None:
                    self._access(run, frame, "wait", at, place, cells[at0 : at0 + n], ())
            case ir.Flag(at=at, name=name, args=args):
                raise Flagged(name, at, tuple((label, t, self._value(e)(v)) for label, t, e in args))
            case ir.Reach(at=at, name=name):
                self.reached.add(name)
                if run.events is not None:
                    self._event(run, "reach", at, text=name)
            case ir.AssertHeld(at=at, place=place, mode=mode):
                self._assert_held(run, frame, at, place, mode)
            case ir.New(dst=dst, struct=struct, at=at):
                made = frame.code.object_at[frame.block, frame.index]
                run.objects[struct, made.number] = [0] * self.stack_memory[struct].size
                self._set(frame, dst, made.number, at)
            case _:
                raise AssertionError(stmt)

    def _atomic(self, run: _Run, frame: _Frame, stmt: ir.Atomic) -> None:
        cells, at0, n = self._resolve(run, frame, stmt.place, stmt.at)
        old = cells[at0 : at0 + n]
        args = [self._value(e)(frame.vars) for e in stmt.args]
        match stmt.op:
            case "xchg":
                new = args
            case "cmpxchg":
                new = args[n:] if old == args[:n] else old
            case "add":
                new = [old[0] + args[0]]
            case "or":
                new = [old[0] | args[0]]
            case "andnot":
                new = [old[0] & ~args[0]]
        self._write(run, frame, "atomic", stmt.at, stmt.place, cells, at0, new, stmt.op)
        if stmt.dsts:
            self._assign(frame, stmt.dsts, old, stmt.at)

    def _lock(self, run: _Run, frame: _Frame, stmt: ir.Lock) -> None:
        cells, at0, _ = self._resolve(run, frame, stmt.place, stmt.at)
        spin = self.layout.module.field(stmt.place).lock == "spinlock"
        me, old = run.thread + 1, cells[at0]
        shift = self.layout.param("NR_THREADS").bit_length()
        owner, readers = (old, 0) if spin else (old & ((1 << shift) - 1), old >> shift)
        mine = 1 << run.thread
        taken = 1
        match stmt.op:
            case "spin_lock" | "spin_trylock" | "down_write" | "down_write_trylock":
                if owner or readers:
                    if stmt.dst is None:
                        if owner == me or readers & mine:
                            raise Flagged("deadlock", stmt.at, why="the thread waits for a lock that it holds")
                        raise _Blocked
                    taken = 0
                else:
                    owner = me
            case "down_read" | "down_read_trylock":
                if owner == me or readers & mine:
                    raise Flagged("deadlock", stmt.at, why="the thread takes a lock again that it holds")
                if owner:
                    if stmt.dst is None:
                        raise _Blocked
                    taken = 0
                else:
                    readers |= mine
            case "spin_unlock" | "up_write" | "downgrade_write":
                if owner != me:
                    raise Flagged("bad_kernel_state", stmt.at, why="releases a lock that it does not hold")
                owner, readers = 0, (mine if stmt.op == "downgrade_write" else 0)
            case "up_read":
                if not readers & mine:
                    raise Flagged("bad_kernel_state", stmt.at, why="releases a lock that it does not hold")
                readers &= ~mine
        kind = "unlock" if stmt.op in ("spin_unlock", "up_write", "up_read") else "lock"
        self._write(run, frame, kind, stmt.at, stmt.place, cells, at0, [owner | readers << shift], stmt.op)
        if stmt.dst is not None:
            self._set(frame, stmt.dst, taken, stmt.at)

    def _assert_held(self, run: _Run, frame: _Frame, at: ir.At, place: ir.Place, mode: str) -> None:
        cells, at0, _ = self._resolve(run, frame, place, at)
        value, me = cells[at0], run.thread + 1
        shift = self.layout.param("NR_THREADS").bit_length()
        write = value & ((1 << shift) - 1) == me
        read = bool(value >> shift & 1 << run.thread)
        if not (write if mode == "write" else read if mode == "read" else write or read):
            raise Flagged("lock_assertion", at, why=f"{place.struct}.{place.field} is not held ({mode})")

    # ------------------------------------------------------------------------------------- memory

    def _value(self, expr: ir.Expr) -> Evaluate:
        evaluate = self._exprs.get(id(expr))
        if evaluate is None:
            evaluate = self._exprs[id(expr)] = compile_expr(expr, self.layout)
            self._keep.append(expr)  # keeps the id from being used again
        return evaluate

    def _resolve(self, run: _Run, frame: _Frame, place: ir.Place, at: ir.At) -> tuple[list[int], int, int]:
        """The list of cells, the first cell and the number of parts that a place names now."""
        handle = self._value(place.handle)(frame.vars)
        index = 0 if place.index is None else self._value(place.index)(frame.vars)
        if handle <= 0:
            raise Flagged("null_dereference", at, why=f"{place.struct}.{place.field} of None")
        stack = place.struct in self.stack_memory
        memory = self.stack_memory[place.struct] if stack else self.memory
        column = memory.columns[place.struct, place.field]
        if not 0 <= index < column.count:
            raise Flagged("bad_kernel_state", at, why=f"index {index} of {place.struct}.{place.field}")
        if stack:
            cells = run.objects.get((place.struct, handle))
            if cells is None:
                raise Flagged("bad_kernel_state", at, why=f"{place.struct} object used after its function returned")
            return cells, column.cell(0, index), column.parts
        if handle > column.elements:
            raise Flagged("bad_kernel_state", at, why=f"no element {handle - 1} of {place.struct}")
        return run.cells, column.cell(handle - 1, index), column.parts

    def _set(self, frame: _Frame, name: str, value: int, at: ir.At) -> None:
        if value < 0 or value >> self.layout.width(frame.code.function.vars[name]):
            raise Flagged("bad_kernel_state", at, why=f"{value} does not fit {name}")
        frame.vars[name] = value

    def _assign(self, frame: _Frame, dsts: tuple[str, ...], values: list[int], at: ir.At) -> None:
        for dst, value in zip(dsts, values, strict=True):
            self._set(frame, dst, value, at)

    def _write(
        self, run: _Run, frame: _Frame, kind: str, at: ir.At, place: ir.Place, cells: list[int], at0: int,
        new: list[int], text: str = "",
    ) -> None:  # fmt: skip
        memory = self.stack_memory.get(place.struct, self.memory)
        for value, width in zip(new, memory.columns[place.struct, place.field].widths, strict=True):
            if value < 0 or value >> width:
                raise Flagged("bad_kernel_state", at, why=f"{value} does not fit {place.struct}.{place.field}")
        old = cells[at0 : at0 + len(new)]
        cells[at0 : at0 + len(new)] = new
        if run.events is not None:
            self._access(run, frame, kind, at, place, old, tuple(new), text)

    # ------------------------------------------------------------------------------------- events

    def _access(
        self, run: _Run, frame: _Frame, kind: str, at: ir.At, place: ir.Place, old: list[int],
        new: tuple[int, ...], text: str = "",
    ) -> None:  # fmt: skip
        element = self._value(place.handle)(frame.vars) - 1
        index = 0 if place.index is None else self._value(place.index)(frame.vars)
        free = frame.code.function.ghost or not ir.is_shared(self.layout.module, place)
        self._event(
            run, kind, at, place=(place.struct, place.field, element, index), old=tuple(old), new=new, text=text,
            free=free, constant=(place.struct, place.field) in self.program.free_fields,
        )  # fmt: skip

    def _event(self, run: _Run, kind: str, at: ir.At, **more: Any) -> None:
        assert run.events is not None
        stack = tuple(f.code.function.name for f in run.frames)
        run.events.append(Event(kind, run.thread, at, stack, **more))

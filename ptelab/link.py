# SPDX-License-Identifier: GPL-2.0-only
"""From a module and its threads' roots to a program: where threads stop, what they keep there, who called whom.

Calls nest statically (there is no recursion), so a thread's whole call stack is one number: a *context* is one way
to reach a function from a root, and a thread's position, its *vpc*, is a context plus a stop of that function.
Position 0 is the end.  Both engines number positions alike, which makes their states comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ptelab import flow, ir

ROUNDS_MAX = 300_000
"""How often loops may go round within one transition; more often is for ever."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A place where a thread may be between two transitions: before a step or a choose."""

    number: int  # within the function
    block: int
    index: int
    live: frozenset[str]

    choose: bool


@dataclass(frozen=True, slots=True)
class CallSite:
    """A call to a function that may stop."""

    number: int  # within the function
    block: int
    index: int
    callee: str
    live: frozenset[str]


@dataclass(frozen=True, slots=True)
class StackObject:
    """What one `new` statement makes.  Handles to a struct's stack objects are numbered over the whole program."""

    struct: str
    number: int
    function: str


@dataclass(slots=True)
class Code:
    """A reachable function with its stops.  A function without stops runs within its caller's transition."""

    function: ir.Function
    stops: list[Stop] = field(default_factory=list)
    calls: list[CallSite] = field(default_factory=list)
    slots: tuple[str, ...] = ()  # variables that have to be kept between transitions
    objects: list[StackObject] = field(default_factory=list)
    may_stop: bool = False
    ways_back: frozenset[tuple[int, int]] = frozenset()  # to the beginning of a loop: from block, to block
    live_in: list[set[str]] = field(default_factory=list)  # variables live where each block begins
    stop_at: dict[tuple[int, int], Stop] = field(default_factory=dict)
    call_at: dict[tuple[int, int], CallSite] = field(default_factory=dict)
    object_at: dict[tuple[int, int], StackObject] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    number: int
    code: Code
    parent: Context | None
    call: CallSite | None  # the call in the parent
    base: int  # the vpc of the function's first stop here
    root: str
    children: dict[int, Context] = field(default_factory=dict)


class LinkError(ValueError):
    """The module cannot be run from these roots."""


class Program:
    """The code reachable from the roots.  `free_fields` are shared members whose reads are no steps (see reduce),
    `extra_stops` statements that are steps though nobody else sees them (see split)."""

    def __init__(
        self,
        module: ir.Module,
        roots: Iterable[str],
        free_fields: frozenset[tuple[str, str]] = frozenset(),
        keep_dead: bool = False,
        extra_stops: Mapping[str, set[tuple[int, int]]] | None = None,
    ) -> None:
        self.module = module
        self.free_fields = free_fields
        self.extra_stops = extra_stops or {}
        self.roots = tuple(dict.fromkeys(roots))
        self.order = callees_first(module, self.roots)
        self.codes: dict[str, Code] = {}
        self.stack_pools: dict[str, int] = {s.name: 0 for s in module.structs.values() if s.kind == "stack"}
        for name in self.order:
            self.codes[name] = self._code(module.functions[name], keep_dead)
        self.contexts: list[Context] = []
        self.entry: dict[str, Context] = {}
        self.positions = 1
        for root in self.roots:
            if self.codes[root].may_stop:
                self.entry[root] = self._context(self.codes[root], None, None, root)
        self.position: list[tuple[Context, Stop] | None] = [None] * self.positions
        for context in self.contexts:
            for stop in context.code.stops:
                self.position[context.base + stop.number] = (context, stop)

    def is_stop(self, function: ir.Function, stmt: ir.Stmt) -> bool:
        """Whether a thread stops before the statement even without `extra_stops`."""
        return is_stop(self.module, self.free_fields, function, stmt)

    def _code(self, function: ir.Function, keep_dead: bool) -> Code:
        code = Code(function, ways_back=flow.ways_back(function))
        live = flow.liveness(function)
        code.live_in = live.live_in
        kept: set[str] = set(function.vars) if keep_dead else set()
        for b, block in enumerate(function.blocks):
            for i, stmt in enumerate(block.stmts):
                if self.is_stop(function, stmt) or (b, i) in self.extra_stops.get(function.name, ()):
                    stop = Stop(len(code.stops), b, i, live.before(b, i), isinstance(stmt, ir.Choose))
                    code.stops.append(stop)
                    code.stop_at[b, i] = stop
                    kept |= stop.live
                elif isinstance(stmt, ir.Call) and self.codes[stmt.function].may_stop:
                    call = CallSite(len(code.calls), b, i, stmt.function, live.across(b, i))
                    code.calls.append(call)
                    code.call_at[b, i] = call
                    kept |= call.live
                elif isinstance(stmt, ir.New):
                    self.stack_pools[stmt.struct] += 1
                    made = StackObject(stmt.struct, self.stack_pools[stmt.struct], function.name)
                    code.objects.append(made)
                    code.object_at[b, i] = made
        code.may_stop = bool(code.stops or code.calls)
        code.slots = tuple(v for v in function.vars if v in kept) if code.may_stop else ()
        return code

    def _context(self, code: Code, parent: Context | None, call: CallSite | None, root: str) -> Context:
        context = Context(len(self.contexts), code, parent, call, self.positions, root)
        self.contexts.append(context)
        self.positions += len(code.stops)
        for site in code.calls:
            context.children[site.number] = self._context(self.codes[site.callee], context, site, root)
        return context


def is_stop(module: ir.Module, free_fields: frozenset[tuple[str, str]], function: ir.Function, stmt: ir.Stmt) -> bool:
    """Whether a thread stops before a statement: a choose or a step, but not what a free member is read by."""
    if function.ghost:
        return False
    if isinstance(stmt, ir.Choose):
        return True
    if isinstance(stmt, ir.Load) and (stmt.place.struct, stmt.place.field) in free_fields:
        return False
    return ir.is_step(module, function, stmt)


def with_ghost_calls(module: ir.Module, roots: Iterable[str], ghost_roots: Iterable[str] = ()) -> ir.Module:
    """A module of the reachable functions in which what a ghost function calls is a ghost copy, named `NAME~`.

    A kernel function that only reads may be asked by an invariant; there, its reads are no steps.
    """
    made = ir.Module(module.structs)

    def instance(name: str, ghost: bool) -> str:
        if name not in module.functions:
            raise LinkError(f"no function {name}")
        function = module.functions[name]
        key = f"{name}~" if ghost and not function.ghost else name
        if key in made.functions:
            return key
        ghost = ghost or function.ghost
        made.functions[key] = function  # in its place among the others, before its callees
        renamed: dict[int, dict[int, ir.Call]] = {}
        for b, i, stmt in flow.calls(function):
            if (callee := instance(stmt.function, ghost)) != stmt.function:
                renamed.setdefault(b, {})[i] = replace(stmt, function=callee)
        if renamed or key != name:
            blocks = list(function.blocks)
            for b, calls in renamed.items():
                blocks[b] = ir.Block([calls.get(i, s) for i, s in enumerate(blocks[b].stmts)], blocks[b].term)
            made.functions[key] = replace(function, name=key, ghost=ghost, blocks=blocks)
        return key

    for root in roots:
        instance(root, False)
    for root in ghost_roots:
        instance(root, True)
    return made


def callees_first(module: ir.Module, roots: Iterable[str]) -> list[str]:
    """The reachable functions, every callee before its callers; LinkError for recursion or an unknown name."""
    order: list[str] = []
    state: dict[str, int] = {}

    def visit(name: str) -> None:
        if state.get(name) == 2:
            return
        if state.get(name) == 1:
            raise LinkError(f"{name} calls itself")
        if name not in module.functions:
            raise LinkError(f"no function {name}")
        state[name] = 1
        for _, _, stmt in flow.calls(module.functions[name]):
            visit(stmt.function)
        state[name] = 2
        order.append(name)

    for root in roots:
        visit(root)
    return order


def written_fields(module: ir.Module, functions: Iterable[str]) -> set[tuple[str, str]]:
    """The members that some statement of the functions may write."""
    written = set()
    for name in functions:
        for block in module.functions[name].blocks:
            for stmt in block.stmts:
                if isinstance(stmt, ir.Store | ir.Atomic | ir.Lock):
                    written.add((stmt.place.struct, stmt.place.field))
    return written

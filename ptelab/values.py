# SPDX-License-Identifier: GPL-2.0-only
"""What variables and members can hold in a scenario, and so which of its code no thread can reach.

An abstract interpretation of the whole program at once: a value is the set of numbers that a variable may have at one
point of a function, or unknown when there are too many; a member of an element has one set for all times, which holds
what `setup` wrote there and whatever any statement that can be reached may write.  Orders and locks play no part, so
every interleaving is covered.  Functions are taken once for all their callers, except small ones that only read.

A model mirrors Linux, which can do far more than one scenario asks for: of the code below its system calls two thirds
are never reached.  What is known to be dead need not be compiled, nor feared by the partial-order reduction.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ptelab import ir
from ptelab.flow import calls, expr_vars
from ptelab.identity import by_identity
from ptelab.layout import Layout
from ptelab.link import callees_first

Value = frozenset[int] | None
"""The numbers that may be there; None: any."""

Env = dict[str, Value]
BlockName = tuple[str, int]
"""A block of a function."""

Cells = dict[tuple[str, str], list[list[Value]]]
"""(struct, member) → element → part → what it may hold, at any index."""

TRAP = "unreachable_code"
"""The flag that is raised where a run leaves what this analysis found: it never should."""

SIZE_MAX = 16
COMBINATIONS_MAX = 64
INLINED_BLOCKS_MAX = 8
_ON_STACK = 1 << 64  # no handle of an object on the stack is as large
_ZERO: Value = frozenset((0,))
_BOOL: Value = frozenset((0, 1))
_NOTHING = ir.Jump(ir.At(), 0)  # stands for what cannot raise a flag

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": ir.multiply, "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": ir.shift_left, ">>": ir.shift_right, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip
_PARTIAL = {"//": 1, "%": 1}  # operator → least second operand for which it is defined
_TESTS = frozenset(("==", "!=", "<", "<=", ">", ">="))


def join(a: Value, b: Value) -> Value:
    """What is in either."""
    if a is b:
        return a
    if a is None or b is None:
        return None
    if a >= b:
        return a
    both = a | b
    return both if len(both) <= SIZE_MAX else None


class Values:
    """The analysis.  `cells` is what shared memory holds before the threads start; it is changed."""

    def __init__(self, module: ir.Module, layout: Layout, roots: Iterable[str], cells: Cells, threads: int) -> None:
        self.module = module
        self.layout = layout
        self._selves = {
            "thread": frozenset(range(threads)),
            "cpu": frozenset(range(layout.param("NR_CPUS"))),
        }
        self.reached: dict[
            str, dict[int, int]
        ] = {}  # function → block that some run may enter → statements that may begin
        self._cells = cells
        order = callees_first(module, roots)
        self._rank = {name: n for n, name in enumerate(order)}
        self._entry: dict[str, list[Value]] = {}
        self._before: dict[str, list[Env | None]] = {}  # function → block → what holds where it begins
        self._results: dict[str, list[Value]] = {}  # of functions that may return
        self._readers: dict[tuple[str, str], set[BlockName]] = {}  # member → where it matters
        self._callers: dict[str, set[BlockName]] = {}
        self.risky: dict[int, ir.Stmt | ir.Term] = {}  # what may raise a flag, by its identity
        self._at: ir.Stmt | ir.Term = _NOTHING  # what is looked at
        self._sites: dict[tuple[str, int, int], int] = {}  # a `new` statement → the handle that stands for its object
        self._tops: dict[int, int] = {}  # type, by its identity → the least number that does not fit
        self._names: dict[int, frozenset[str]] = {}  # expression → its variables; the module keeps expressions alive
        self._constants: dict[int, Value] = {}
        self._inlined = {name: sorted(self._reads(name)) for name in order if self._only_reads(name)}
        self._known: dict[tuple[object, ...], tuple[int, list[Value] | None]] = {}  # an inlined call → what it was
        self._changes: dict[tuple[str, str], int] = {}  # member → how often it has changed so far
        self._current = "", 0  # the block whose dependencies are being noted
        self._dirty: list[tuple[int, str]] = []
        self._queued: dict[str, set[int]] = {}  # function → blocks that must be looked at again
        for root in dict.fromkeys(roots):
            self._enter(root, [])
        self._run()

    # ------------------------------------------------------------------------------------- fixed point

    def _queue(self, name: str, block: int) -> None:
        queued = self._queued.setdefault(name, set())
        if not queued:
            heapq.heappush(self._dirty, (self._rank[name], name))
        queued.add(block)

    def _enter(self, name: str, args: list[Value]) -> None:
        """A function may be called with these arguments."""
        function = self.module.functions[name]
        self._entry[name] = args
        before = self._before.setdefault(name, [None] * len(function.blocks))
        if self._join(before, 0, self._begin(function, args)):
            self._queue(name, 0)

    def _run(self) -> None:
        """Look at blocks again until nothing changes.

        Sets only grow, and no rule makes less of larger ones, so what is found does not depend on the order.
        """
        while self._dirty:
            _, name = heapq.heappop(self._dirty)
            function, before, todo = self.module.functions[name], self._before[name], self._queued[name]
            while todo:
                number = min(todo)
                todo.remove(number)
                self._current = name, number
                results, changed = self._block(function, number, before)
                todo.update(changed)
                if results is None:
                    continue
                old = self._results.get(name)
                new = results if old is None else [join(a, b) for a, b in zip(old, results, strict=True)]
                if new != old:
                    self._results[name] = new
                    for caller, block in self._callers.get(name, ()):
                        self._queue(caller, block)

    def _begin(self, function: ir.Function, args: list[Value]) -> Env:
        at, self._at = self._at, _NOTHING
        env: Env = dict.fromkeys(function.vars, _ZERO)
        for param, value in zip(function.params, args, strict=False):
            env[param] = self._fit(value, function.vars[param])
        self._at = at
        return env

    def _once(self, name: str, args: list[Value]) -> list[Value] | None:
        """The results of a function for just these arguments; None when it cannot return."""
        function = self.module.functions[name]
        before: list[Env | None] = [None] * len(function.blocks)
        before[0] = self._begin(function, args)
        results: list[Value] | None = None
        todo = {0}
        while todo:
            number = min(todo)
            todo.remove(number)
            found, changed = self._block(function, number, before)
            todo.update(changed)
            if found is not None:
                results = found if results is None else [join(a, b) for a, b in zip(results, found, strict=True)]
        return results

    def _block(
        self, function: ir.Function, number: int, before: list[Env | None]
    ) -> tuple[list[Value] | None, list[int]]:
        """The results, if the block returns, and the blocks behind it of which more is known now."""
        start = before[number]
        assert start is not None
        env: Env = dict(start)
        block = function.blocks[number]
        done = 0
        while done < len(block.stmts) and self._statement(function, (number, done), block.stmts[done], env):
            done += 1
        reached = self.reached.setdefault(function.name, {})
        reached[number] = max(reached.get(number, 0), done + 1)
        if done < len(block.stmts):
            return None, []
        match block.term:
            case ir.Return(values=values):
                self._at = block.term
                found = [self._fit(self.value(v, env), t) for v, t in zip(values, function.results, strict=True)]
                return None if frozenset() in found else found, []
            case ir.Branch(cond=cond, then=then, orelse=orelse):
                holds, fails = self._split(env, cond)
                ways = ((then, holds), (orelse, fails))
                return None, [to for to, after in ways if after is not None and self._join(before, to, after)]
            case ir.Jump(to=to):
                return None, [to] if self._join(before, to, env) else []

    def _join(self, before: list[Env | None], to: int, after: Env) -> bool:
        """Whether more may hold now where a block begins."""
        old = before[to]
        if old is None:
            before[to] = after
            return True
        joined = {v: x if x is (y := old[v]) else join(y, x) for v, x in after.items()}
        if joined == old:
            return False
        before[to] = joined
        return True

    def _only_reads(self, name: str) -> bool:
        function = self.module.functions[name]
        return (
            len(function.blocks) <= INLINED_BLOCKS_MAX
            and _members_read(function) is not None
            and all(self._only_reads(call.function) for _, _, call in calls(function))
        )

    def _reads(self, name: str) -> set[tuple[str, str]]:
        """The members that a function which only reads may read."""
        function = self.module.functions[name]
        found = set(_members_read(function) or ())
        for _, _, call in calls(function):
            found |= self._reads(call.function)
        return found

    # -------------------------------------------------------------------------------------- statements

    def _statement(self, function: ir.Function, where: tuple[int, int], stmt: ir.Stmt, env: Env) -> bool:
        """Change `env` as the statement would; false when nothing can follow it."""
        self._at = stmt
        match stmt:
            case ir.Assign(dst=dst, value=value):
                return self._set(function, env, dst, self.value(value, env))
            case ir.Load(dsts=dsts, place=place):
                return self._load(function, env, dsts, place)
            case ir.Store(place=place, values=values):
                elements = self._elements(place, env)
                self._write(place, elements, [self.value(v, env) for v in values])
                return bool(elements)
            case ir.Atomic():
                return self._atomic(function, stmt, env)
            case ir.Lock(dst=dst, place=place):
                elements = self._elements(place, env)
                if dst is not None:
                    env[dst] = _BOOL
                return bool(elements)
            case ir.Wait(pre=pre, dsts=dsts, place=place, cond=cond):
                if not all(self._load(function, env, load.dsts, load.place) for load in pre):
                    return False
                if not self._load(function, env, dsts, place):
                    return False
                after = self._assume(env, cond, True)
                if after is None:
                    return False
                env.update(after)
                return True
            case ir.Choose(dst=dst, count=count):
                most = self.value(count, env)
                every = None if most is None else frozenset(range(max(most, default=0)))
                return self._set(function, env, dst, every if every is None or len(every) <= SIZE_MAX else None)
            case ir.Call():
                return self._call(function, stmt, env)
            case ir.Flag():
                return False
            case ir.AssertHeld(place=place):
                return bool(self._elements(place, env))
            case ir.New(dst=dst, struct=struct):
                number = self._sites.setdefault((function.name, *where), len(self._sites) + 1)
                env[dst] = frozenset((number,))
                for f in self.module.structs[struct].fields:
                    rows = self._cells.setdefault((struct, f.name), [])
                    while len(rows) < number:
                        rows.append([_ZERO] * len(f.parts))
                        self._changed((struct, f.name))
                return True
            case _:
                return True

    def _set(self, function: ir.Function, env: Env, name: str, value: Value) -> bool:
        env[name] = value = self._fit(value, function.vars[name])
        return value is None or bool(value)

    def _fit(self, value: Value, type_: ir.Type) -> Value:
        """A value without the numbers that do not fit the type: they raise a flag."""
        top = self._tops.get(id(type_)) or self._top(type_)
        if value is not None:
            for v in value:
                if not 0 <= v < top:
                    break
            else:
                return value
        elif top == _ON_STACK:
            return value
        self._note()
        return _narrow(value, top)

    def _top(self, type_: ir.Type) -> int:
        """The least number that does not fit a type."""
        top = self._tops.get(id(type_))
        if top is None:
            on_stack = type_.kind == "ptr" and self.module.structs[type_.struct].kind == "stack"
            top = self._tops[id(type_)] = _ON_STACK if on_stack else 1 << self.layout.width(type_)
        return top

    def _note(self) -> None:
        """What is looked at may raise a flag."""
        self.risky[id(self._at)] = self._at

    def _call(self, function: ir.Function, stmt: ir.Call, env: Env) -> bool:
        name = stmt.function
        callee = self.module.functions[name]
        args = [self._fit(self.value(a, env), callee.vars[p]) for a, p in zip(stmt.args, callee.params, strict=True)]
        results: list[Value] | None
        if name in self._inlined:
            at = self._at
            results = self._inline(name, args)
            self._at = at
        else:
            self._callers.setdefault(name, set()).add(self._current)
            old = self._entry.get(name)
            new = args if old is None else [join(a, b) for a, b in zip(old, args, strict=True)]
            if new != old:
                self._enter(name, new)
            results = self._results.get(name)
        if results is None:
            return False
        return all(self._set(function, env, d, r) for d, r in zip(stmt.dsts, results, strict=False))

    def _inline(self, name: str, args: list[Value]) -> list[Value] | None:
        """The results of a small function for just these arguments, found anew only when what it reads has changed."""
        key, when = (name, *args), 0
        for place in self._inlined[name]:
            self._readers.setdefault(place, set()).add(self._current)
            when += self._changes.get(place, 0)
        known = self._known.get(key)
        if known is None or known[0] != when:
            known = self._known[key] = when, self._once(name, args)
        return known[1]

    # ------------------------------------------------------------------------------------------ memory

    def _elements(self, place: ir.Place, env: Env) -> range | list[int]:
        """The elements that a handle may name; every one when nothing is known."""
        handle = self.value(place.handle, env)
        if isinstance(place.handle, ir.Var) and handle is not None and 0 in handle:
            self._note()
            env[place.handle.name] = handle = handle - {0}  # no run goes on with None
        if place.index is not None:
            index = self.value(place.index, env)
            if index is None or not _lies_in(index, 0, self.layout.count(self.module.field(place)) - 1):
                self._note()
            if index == frozenset():
                return []
        if self.module.structs[place.struct].kind == "stack":
            rows = len(self._cells.get((place.struct, place.field), ()))
        else:
            rows = self.layout.pool(place.struct)
        if handle is None or not _lies_in(handle, 1, rows):
            self._note()
        if handle is None:
            return range(rows)
        return [h - 1 for h in handle if 0 < h <= rows]

    def _load(self, function: ir.Function, env: Env, dsts: tuple[str, ...], place: ir.Place) -> bool:
        elements = self._elements(place, env)
        self._readers.setdefault((place.struct, place.field), set()).add(self._current)
        if not elements:
            return False
        types = (t for _, t in self.module.field(place).parts)
        at = self._at
        for dst, value, type_ in zip(dsts, self._read(place, elements), types, strict=True):
            self._at = at if self._top(type_) > self._top(function.vars[dst]) else _NOTHING
            if not self._set(function, env, dst, value):
                return False
        self._at = at
        return True

    def _read(self, place: ir.Place, elements: range | list[int]) -> list[Value]:
        rows = self._cells[place.struct, place.field]
        values = rows[elements[0]]
        for e in elements[1:]:
            values = [join(a, b) for a, b in zip(values, rows[e], strict=True)]
        return values

    def _write(self, place: ir.Place, elements: range | list[int], values: list[Value]) -> None:
        field = self.module.field(place)
        rows = self._cells[place.struct, place.field]
        fitting = [self._fit(v, t) for v, (_, t) in zip(values, field.parts, strict=True)]
        changed = False
        for e in elements:
            new = [join(a, b) for a, b in zip(rows[e], fitting, strict=True)]
            if new != rows[e]:
                rows[e] = new
                changed = True
        if changed:
            self._changed((place.struct, place.field))

    def _changed(self, place: tuple[str, str]) -> None:
        self._changes[place] = self._changes.get(place, 0) + 1
        for name, block in self._readers.get(place, ()):
            self._queue(name, block)

    def _atomic(self, function: ir.Function, stmt: ir.Atomic, env: Env) -> bool:
        elements = self._elements(stmt.place, env)
        self._readers.setdefault((stmt.place.struct, stmt.place.field), set()).add(self._current)
        if not elements:
            return False
        old = self._read(stmt.place, elements)
        args = [self.value(a, env) for a in stmt.args]
        match stmt.op:
            case "xchg":
                new = args
            case "cmpxchg":
                new = args[len(old) :]
            case "add":
                # A counter: nobody wants to see it grow one by one.
                new = [None if _combine("+", old[0], args[0]) != old[0] else old[0]]
                new = [self._fit(v, t) for v, (_, t) in zip(new, self.module.field(stmt.place).parts, strict=True)]
            case "or":
                new = [_combine("|", old[0], args[0])]
            case "andnot":
                new = [None if args[0] is None or old[0] is None else _pairs(lambda a, b: a & ~b, old[0], args[0])]
        self._write(stmt.place, elements, new)
        return all(self._set(function, env, d, v) for d, v in zip(stmt.dsts, old, strict=False))

    # ------------------------------------------------------------------------------------- expressions

    def value(self, expr: ir.Expr, env: Env) -> Value:
        """What an expression may be."""
        kind = type(expr)  # most are one of these three, and `match` would take longer than all the rest
        if kind is ir.Var:
            return env[expr.name]  # type: ignore[union-attr]
        if kind is ir.Const:
            number = expr.value  # type: ignore[union-attr]
            known = self._constants.get(number)
            if known is None:
                known = self._constants[number] = frozenset((int(number),))
            return known
        if kind is ir.Bin:
            op: str = expr.op  # type: ignore[union-attr]
            x = self.value(expr.a, env)  # type: ignore[union-attr]
            if op == "and" or op == "or":
                return self._connected(op == "or", x, expr.b, env)  # type: ignore[union-attr]
            return _combine(op, x, self.value(expr.b, env))  # type: ignore[union-attr]
        match expr:
            case ir.Param(name):
                return frozenset((self.layout.param(name),))
            case ir.Self(what):
                return self._selves[what]
            case ir.Not(a):
                truth = self.value(a, env)
                return _BOOL if truth is None else frozenset(int(not v) for v in truth)
            case ir.Select(c, a, b):
                truth = self.value(c, env)
                x, y = self.value(a, env), self.value(b, env)
                if truth is not None and 0 not in truth:
                    return x
                return y if truth == _ZERO else join(x, y)
        raise AssertionError(expr)

    def _connected(self, is_or: bool, left: Value, right: ir.Expr, env: Env) -> Value:
        truths = _truths(left)
        if truths == {is_or}:
            return frozenset((int(is_or),))
        others = _truths(self.value(right, env))
        return frozenset(int(a or b if is_or else a and b) for a in truths for b in others)

    def _split(self, env: Env, cond: ir.Expr) -> tuple[Env | None, Env | None]:
        """`env` as it is where the condition holds, and where it does not; None when that cannot be."""
        names = self._variables(cond)
        if len(names) != 1:
            return self._assume(env, cond, True), self._assume(env, cond, False)
        (name,) = names
        held = env[name]
        if held is None or len(held) == 1:
            truths = _truths(self.value(cond, env))
            return env if True in truths else None, dict(env) if False in truths else None
        one: Env = {name: held}
        yes, no = [], []
        for number in held:
            one[name] = frozenset((number,))
            truths = _truths(self.value(cond, one))
            if True in truths:
                yes.append(number)
            if False in truths:
                no.append(number)
        return self._with(env, name, yes), self._with(env, name, no)

    def _with(self, env: Env, name: str, numbers: list[int]) -> Env | None:
        if not numbers:
            return None
        after = dict(env)
        after[name] = frozenset(numbers)
        return after

    def _assume(self, env: Env, cond: ir.Expr, truth: bool) -> Env | None:
        """`env` as it is where the condition holds, or does not; None when that cannot be."""
        match cond:
            case ir.Not(a):
                return self._assume(env, a, not truth)
            case ir.Bin(op="and" | "or" as op, a=a, b=b) if (op == "and") == truth:
                first = self._assume(env, a, truth)
                return None if first is None else self._assume(first, b, truth)
        if len(self._variables(cond)) == 1:
            return self._split(env, cond)[0 if truth else 1]
        if truth not in _truths(self.value(cond, env)):
            return None
        after = dict(env)
        if isinstance(cond, ir.Bin) and cond.op in ("==", "!=") and (cond.op == "==") == truth:
            if isinstance(cond.a, ir.Var) and isinstance(cond.b, ir.Var):
                x, y = env[cond.a.name], env[cond.b.name]
                both = y if x is None else x if y is None else x & y
                after[cond.a.name] = after[cond.b.name] = both
        return after

    def _variables(self, expr: ir.Expr) -> frozenset[str]:
        known = self._names.get(id(expr))
        if known is None:
            known = self._names[id(expr)] = frozenset(expr_vars(expr))
        return known


@by_identity
def _members_read(function: ir.Function) -> frozenset[tuple[str, str]] | None:
    """What a function reads itself; None for one that does more than read."""
    stmts = [s for b in function.blocks for s in b.stmts]
    if not all(isinstance(s, ir.Assign | ir.Load | ir.Reach | ir.Flag | ir.AssertHeld | ir.Call) for s in stmts):
        return None
    return frozenset((s.place.struct, s.place.field) for s in stmts if isinstance(s, ir.Load))


def _lies_in(numbers: frozenset[int], least: int, most: int) -> bool:
    return not numbers or (least <= min(numbers) and max(numbers) <= most)


def _truths(value: Value) -> set[bool]:
    return {False, True} if value is None else {bool(v) for v in value}


def _combine(op: str, a: Value, b: Value) -> Value:
    if a is None or b is None:
        if op in _TESTS:
            return _BOOL
        if op == "&" and _ZERO in (a, b):
            return _ZERO
        return None
    if op in _PARTIAL and any(y < _PARTIAL[op] for y in b):
        return None
    found = _pairs(_OPERATORS[op], a, b)
    return _BOOL if found is None and op in _TESTS else found


def _pairs(do: Callable[[int, int], int], a: frozenset[int], b: frozenset[int]) -> Value:
    if len(a) == 1 == len(b):
        (x,), (y,) = a, b
        return frozenset((int(do(x, y)),))
    if len(a) * len(b) > COMBINATIONS_MAX:
        return None
    found = frozenset(int(do(x, y)) for x in a for y in b)
    return found if len(found) <= SIZE_MAX else None


def _narrow(value: Value, top: int) -> Value:
    """Without what is larger; all that there is, where that is little."""
    if value is None:
        return None if top > SIZE_MAX else frozenset(range(top))
    return frozenset(v for v in value if 0 <= v < top)


# ------------------------------------------------------------------------------------------- what is dead


def without_unreached(module: ir.Module, reached: Mapping[str, Mapping[int, int]]) -> ir.Module:
    """The module without what no run executes; a run that would all the same raises flag TRAP."""
    functions = {name: _pruned(module.functions[name], blocks) for name, blocks in reached.items()}
    return ir.Module(module.structs, functions)


def _pruned(function: ir.Function, reached: Mapping[int, int]) -> ir.Function:
    """A function without the rest; the same one each time, as other tests reach the same of it."""
    known = _prunings(function)
    key = frozenset(reached.items())
    if key not in known:
        known[key] = _prune(function, reached)
    return known[key]


@by_identity
def _prunings(_: ir.Function) -> dict[frozenset[tuple[int, int]], ir.Function]:
    return {}


def _prune(function: ir.Function, reached: Mapping[int, int]) -> ir.Function:
    kept = sorted(reached)
    if len(kept) == len(function.blocks) and all(reached[n] > len(function.blocks[n].stmts) for n in kept):
        return function
    number = {old: new for new, old in enumerate(kept)}
    trap = len(kept)
    blocks = []
    for old in kept:
        block, count = function.blocks[old], reached[old]
        if count <= len(block.stmts):
            blocks.append(ir.Block(block.stmts[:count], ir.Jump(block.term.at, trap)))
            continue
        match block.term:
            case ir.Jump(at, to):
                blocks.append(ir.Block(block.stmts, ir.Jump(at, number.get(to, trap))))
            case ir.Branch(at, cond, then, orelse):
                term = ir.Branch(at, cond, number.get(then, trap), number.get(orelse, trap))
                blocks.append(ir.Block(block.stmts, term))
            case _:
                blocks.append(block)
    nothing = tuple(ir.Const(0) for _ in function.results)
    blocks.append(ir.Block([ir.Flag(function.at, TRAP, ())], ir.Return(function.at, nothing)))
    return replace(function, blocks=blocks)

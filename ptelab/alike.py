# SPDX-License-Identifier: GPL-2.0-only
"""Which numbers of threads a program treats alike: found from the IR, in the manner of Murphi's scalarsets.

Threads with one root are alike when exchanging two of them, with everything that is indexed by their numbers, makes a
run of every run.  That is so if the number of such a thread is never used but as the index of an element or of an entry
of an array, in a comparison for equality with another such number, or compared with a constant that does not tell two
of them apart.  So every variable, member, parameter and index is given one of two kinds: it holds such a number (plus
a constant, as a handle does), or it is the same whichever of them is meant.  What would have to be both is refused,
with its place.  A loop over all of them is well if it cannot tell in which order it goes round: `loops`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ptelab import ir
from ptelab.flow import liveness
from ptelab.layout import Layout
from ptelab.loops import Loop, loops_of

Node = tuple[str, ...]
"""('var', function, name), ('part', struct, member, number), ('handle', struct), ('index', struct, member),
('result', function, number), or ('thread',)."""

THREAD: Node = ("thread",)


class Refused(Exception):
    """The numbers are told apart; the text says where and how."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an expression may be: a constant, a node plus a constant, or something that is the same for all."""

    what: str  # const, node, same
    node: Node = ()
    number: int = 0


_SAME = Kind("same")
_ORDERS = ("<", "<=", ">", ">=")


@dataclass(slots=True)
class Alike:
    """Where numbers of threads that are alike are used as indexes."""

    pools: dict[str, int] = field(default_factory=dict)  # struct → element of thread 0
    arrays: dict[tuple[str, str], int] = field(default_factory=dict)  # struct, member → entry of thread 0
    locks: set[tuple[str, str]] = field(default_factory=set)  # struct, member that is locked and holds such numbers
    variables: set[tuple[str, str]] = field(default_factory=set)  # function, variable that holds such a number


class _Classes:
    """Nodes that hold the same numbers but for a constant."""

    def __init__(self) -> None:
        self._parent: dict[Node, tuple[Node, int]] = {}  # node = parent + number
        self.mixed: dict[Node, str] = {}  # root → where a node is the same as itself plus a constant

    def find(self, node: Node) -> tuple[Node, int]:
        parent, delta = self._parent.setdefault(node, (node, 0))
        if parent == node:
            return node, 0
        root, more = self.find(parent)
        self._parent[node] = (root, delta + more)
        return root, delta + more

    def join(self, a: Node, plus_a: int, b: Node, plus_b: int, where: str) -> None:
        """a + plus_a and b + plus_b are the same."""
        (root_a, delta_a), (root_b, delta_b) = self.find(a), self.find(b)
        difference = delta_b + plus_b - delta_a - plus_a
        if root_a != root_b:
            self._parent[root_a] = (root_b, difference)
            if root_a in self.mixed:
                self.mixed.setdefault(root_b, self.mixed[root_a])
        elif difference:
            self.mixed.setdefault(root_a, where)

    def nodes(self) -> list[Node]:
        return list(self._parent)


class Analysis:
    """Goes through functions once; `result` then says whether the numbers in `ranges` are alike to them."""

    def __init__(
        self, module: ir.Module, layout: Layout, names: Iterable[str], ranges: list[range], own_cpu: bool,
        judging: set[str],
    ) -> None:  # fmt: skip
        """`own_cpu`: each of the threads runs on the CPU of its number; `judging`: what thread 0 runs in the end."""
        self._judging = judging
        self._module, self._layout, self._ranges, self._own_cpu = module, layout, ranges, own_cpu
        self._classes = _Classes()
        self._same: list[tuple[Node, str]] = []  # nodes that must not hold such a number
        self._constants: list[tuple[Node, int, int, str]] = []  # node + number is (compared with) a constant
        self._borders: list[tuple[Node, int, int, str]] = []  # node + number is compared with a constant by order
        self._choices: list[tuple[Node, int, str]] = []  # a choose of at least so many alternatives
        self._loops: list[tuple[Node, Loop]] = []
        self._locks: list[tuple[ir.Place, str]] = []
        self._exempt: set[int] = set()  # statements and terminators of loops, by id
        self._classes.find(THREAD)
        for name in names:
            self._function(module.functions[name])

    # ------------------------------------------------------------------------------------- collecting

    def _function(self, function: ir.Function) -> None:
        self._name = function.name
        for loop in loops_of(function, self._module, self._layout):
            self._loops.append((("var", function.name, loop.variable), loop))
            self._exempt |= loop.own
        live = liveness(function).before(0, 0) - set(function.params)
        for name in live:
            self._constants.append((("var", function.name, name), 0, 0, f"{function.name}: {name} is read unset"))
        for block in function.blocks:
            for stmt in block.stmts:
                if id(stmt) not in self._exempt:
                    self._statement(function, stmt)
            if id(block.term) not in self._exempt:
                self._terminator(function, block.term)

    def _statement(self, function: ir.Function, stmt: ir.Stmt) -> None:
        where = self._where(stmt.at)
        for place in (*ir.places(stmt), *([stmt.place] if isinstance(stmt, ir.AssertHeld) else [])):
            self._place(place, where)
            if self._module.field(place).lock and not isinstance(stmt, ir.Lock | ir.AssertHeld):
                raise Refused(f"{where}: it looks at who holds a lock")
        match stmt:
            case ir.Assign(dst=dst, value=value):
                self._flow(self._kinds(value, where), self._var(dst), where)
            case ir.Load(dsts=dsts, place=place):
                self._read(dsts, place, where)
            case ir.Store(place=place, values=values):
                for n, value in enumerate(values):
                    self._flow(self._kinds(value, where), self._part(place, n), where)
            case ir.Atomic():
                self._atomic(stmt, where)
            case ir.Lock(dst=dst, place=place):
                self._locks.append((place, where))
                if dst is not None:
                    self._constants += [(self._var(dst), 0, taken, where) for taken in (0, 1)]
            case ir.AssertHeld(place=place):
                self._locks.append((place, where))
            case ir.Wait(pre=pre, dsts=dsts, place=place, cond=cond):
                for load in pre:
                    self._read(load.dsts, load.place, where)
                self._read(dsts, place, where)
                self._truth(cond, where)
            case ir.Choose(dst=dst, count=count):
                self._must_be_same(self._kinds(count, where), where)
                self._choices.append((self._var(dst), self._least(count), where))
            case ir.Call(dsts=dsts, function=name, args=args):
                for param, arg in zip(self._module.functions[name].params, args, strict=True):
                    self._flow(self._kinds(arg, where), ("var", name, param), where)
                for n, dst in enumerate(dsts):
                    self._classes.join(self._var(dst), 0, ("result", name, str(n)), 0, where)
            case ir.New(dst=dst):
                self._same.append((self._var(dst), where))

    def _terminator(self, function: ir.Function, term: ir.Term) -> None:
        where = self._where(term.at)
        if isinstance(term, ir.Branch):
            self._truth(term.cond, where)
        elif isinstance(term, ir.Return):
            for n, value in enumerate(term.values):
                self._flow(self._kinds(value, where), ("result", function.name, str(n)), where)

    def _where(self, at: ir.At) -> str:
        return f"{at.file}:{at.line} ({self._name})"

    def _var(self, name: str) -> Node:
        return ("var", self._name, name)

    def _part(self, place: ir.Place, number: int) -> Node:
        return ("part", place.struct, place.field, str(number))

    def _read(self, dsts: tuple[str, ...], place: ir.Place, where: str) -> None:
        for n, dst in enumerate(dsts):
            self._classes.join(self._var(dst), 0, self._part(place, n), 0, where)

    def _atomic(self, stmt: ir.Atomic, where: str) -> None:
        parts = len(self._module.field(stmt.place).parts)
        self._read(stmt.dsts, stmt.place, where)
        for n, arg in enumerate(stmt.args):
            kinds = self._kinds(arg, where)
            if stmt.op in ("xchg", "cmpxchg"):
                self._flow(kinds, self._part(stmt.place, n % parts), where)
            else:
                self._must_be_same(kinds, where)
                self._same.append((self._part(stmt.place, 0), where))

    def _place(self, place: ir.Place, where: str) -> None:
        self._flow(self._kinds(place.handle, where), ("handle", place.struct), where)
        if place.index is not None:
            self._flow(self._kinds(place.index, where), ("index", place.struct, place.field), where)

    def _flow(self, kinds: list[Kind], to: Node, where: str) -> None:
        for kind in kinds:
            match kind.what:
                case "const":
                    self._constants.append((to, 0, kind.number, where))
                case "node":
                    self._classes.join(kind.node, kind.number, to, 0, where)
                case _:
                    self._same.append((to, where))

    def _must_be_same(self, kinds: list[Kind], where: str) -> None:
        self._same += [(kind.node, where) for kind in kinds if kind.what == "node"]

    def _truth(self, expr: ir.Expr, where: str) -> None:
        for kind in self._kinds(expr, where):
            if kind.what == "node":
                self._constants.append((kind.node, kind.number, 0, where))

    # ------------------------------------------------------------------------------------ expressions

    def _kinds(self, expr: ir.Expr, where: str) -> list[Kind]:
        match expr:
            case ir.Const(value):
                return [Kind("const", number=value)]
            case ir.Param(name):
                return [Kind("const", number=self._layout.param(name))]
            case ir.Var(name):
                return [Kind("node", self._var(name))]
            case ir.Self(what):
                own = [Kind("node", THREAD)] if what == "thread" or self._own_cpu else [_SAME]
                return [*own, Kind("const", number=0)] if self._name in self._judging else own
            case ir.Not(a):
                self._truth(a, where)
                return [_SAME]
            case ir.Select(cond, a, b):
                self._truth(cond, where)
                return self._kinds(a, where) + self._kinds(b, where)
            case ir.Bin(op="and" | "or", a=a, b=b):
                self._truth(a, where)
                self._truth(b, where)
                return [_SAME]
            case ir.Bin(op, a, b):
                return self._binary(op, self._kinds(a, where), self._kinds(b, where), where)

    def _binary(self, op: str, left: list[Kind], right: list[Kind], where: str) -> list[Kind]:
        found = []
        for a in left:
            for b in right:
                if op in ("==", "!=", *_ORDERS):
                    self._compare(op, a, b, where)
                    found.append(_SAME)
                elif op in "+-" and b.what == "const" and a.what != "same":
                    found.append(Kind(a.what, a.node, a.number + (b.number if op == "+" else -b.number)))
                elif op == "+" and a.what == "const" and b.what == "node":
                    found.append(Kind("node", b.node, a.number + b.number))
                else:
                    self._must_be_same([a, b], where)
                    found.append(_SAME)
        return found

    def _compare(self, op: str, a: Kind, b: Kind, where: str) -> None:
        if a.what == "const" and b.what == "node":
            a, b = b, a
            op = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
        if a.what == "node" and b.what == "const":
            if op in _ORDERS:
                border = b.number + (op in ("<=", ">"))  # whether it is less than this
                self._borders.append((a.node, a.number, border, where))
            else:
                self._constants.append((a.node, a.number, b.number, where))
        elif a.what == b.what == "node" and op not in _ORDERS:
            self._classes.join(a.node, a.number, b.node, b.number, where)
        else:
            self._must_be_same([a, b], where)

    def _least(self, expr: ir.Expr) -> int:
        """A number that an expression is not less than."""
        match expr:
            case ir.Const(value):
                return value
            case ir.Param(name):
                return self._layout.param(name)
            case ir.Bin(op="+", a=a, b=b):
                return self._least(a) + self._least(b)
            case ir.Select(_, a, b):
                return min(self._least(a), self._least(b))
            case ir.Bin(op="-"):
                return -(1 << 62)
            case _:
                return 0

    # ----------------------------------------------------------------------------------------- result

    def result(self, observed: str) -> Alike:
        """Where the numbers are used; Refused when they are told apart.  `observed`: the function that judges."""
        root, base = self._classes.find(THREAD)
        if root in self._classes.mixed:
            raise Refused(f"{self._classes.mixed[root]}: a thread's number is counted on")

        module = self._module

        def offset(node: Node) -> int | None:
            found, delta = self._classes.find(node)
            return delta - base if found == root else None

        self._no_calculations(offset)
        alike = Alike()
        for node in self._classes.nodes():
            if (more := offset(node)) is None:
                continue
            match node:
                case ("handle", struct):
                    alike.pools[struct] = more - 1
                case ("index", struct, member):
                    alike.arrays[struct, member] = more
                case ("var", function, name):
                    self._fits(f"{name} in {function}", module.functions[function].vars[name], more)
                    alike.variables.add((function, name))
                case ("part", struct, member, _):
                    raise Refused(f"{struct}.{member} holds a thread's number")
                case ("result", function, number):
                    if function == observed:
                        raise Refused("the outcome is a thread's number")
                    if results := module.functions[function].results:
                        self._fits(f"what {function} returns", results[int(number)], more)
        for struct, member in alike.arrays:
            if struct in alike.pools:
                raise Refused(f"{struct}.{member} is indexed by two threads' numbers")
        for place, where in self._locks:
            if place.struct in alike.pools or (place.struct, place.field) in alike.arrays:
                raise Refused(f"{where}: each thread has a lock, which holds the number of another")
            alike.locks.add((place.struct, place.field))
        self._covered(alike)
        return alike

    def _no_calculations(self, offset: Callable[[Node], int | None]) -> None:
        for node, where in self._same:
            if offset(node) is not None:
                raise Refused(f"{where}: a thread's number is calculated with")
        for node, plus, number, where in self._constants:
            more = offset(node)
            if more is not None and any(number - plus - more in r for r in self._ranges):
                raise Refused(f"{where}: the number of one thread is named")
        for node, plus, border, where in self._borders:
            more = offset(node)
            if more is not None and any(r.start < border - plus - more < r.stop for r in self._ranges):
                raise Refused(f"{where}: threads' numbers are ordered")
        for node, least, where in self._choices:
            more = offset(node)
            if more is not None and any(r.start + more < 0 or r.stop + more > least for r in self._ranges):
                raise Refused(f"{where}: not every thread's number can be chosen")
        for node, loop in self._loops:
            more = offset(node)
            if more is None:
                continue
            if any(r.start + more < loop.first or r.stop + more > loop.end for r in self._ranges):
                raise Refused(f"{loop.where}: the loop is not over all of them")
            if loop.problem:
                raise Refused(f"{loop.where}: {loop.problem}")

    def _covered(self, alike: Alike) -> None:
        module, layout = self._module, self._layout
        for struct, more in alike.pools.items():
            self._whole(struct, more, layout.pool(struct))
        for (struct, member), more in alike.arrays.items():
            declared = next(f for f in module.structs[struct].fields if f.name == member)
            self._whole(f"{struct}.{member}", more, layout.count(declared))

    # A number that does not fit raises a flag, which must not depend on which thread is meant.
    def _fits(self, what: str, type_: ir.Type, more: int) -> None:
        on_stack = type_.kind == "ptr" and self._module.structs[type_.struct].kind == "stack"
        width = 64 if on_stack else self._layout.width(type_)
        if any(r.start + more < 0 or r.stop - 1 + more >> width for r in self._ranges):
            raise Refused(f"{what} cannot hold each thread's number")

    def _whole(self, what: str, more: int, size: int) -> None:
        for r in self._ranges:
            if r.start + more < 0 or (r.start + more < size < r.stop + more):
                raise Refused(f"{what} has no element for some of them")

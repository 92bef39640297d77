# SPDX-License-Identifier: GPL-2.0-only
"""From the functions of a plan to text: what is common to the languages.

A language says how expressions, variables and cells are written (`Coder`'s abstract methods); which checks a
statement makes, and in which order, is here and as in the reference machine.  Work is done on a copy of the state,
which is thrown away when the transition proves to be blocked or raises a flag.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from ptelab import ir, link
from ptelab.export.plan import LEFT_OUT, Part, Plan, Segment, bound, span

GO, OK, BLOCKED, NO_ALTERNATIVE, FIRST_FLAG = range(5)
"""What a function returns: go on in another function, done, or why this is no transition."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One scalar in memory: how it is read, and the largest value that fits.  `target` is the language's own."""

    read: str
    width: int
    target: object

    @property
    def largest(self) -> int:
        return (1 << self.width) - 1


class Coder(ABC):
    """Writes one function after the other."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layout = plan.layout
        self.lines: list[str] = []
        self.part: Part = plan.final
        self.temps = 0
        self.shift = self.layout.param("NR_THREADS").bit_length()
        self.ids: dict[str, str] = {}  # what the variables of this function are called

    # ------------------------------------------------------------------------- what a language decides

    @abstractmethod
    def value(self, expr: ir.Expr) -> str:
        """An expression as a number."""

    @abstractmethod
    def test(self, expr: ir.Expr) -> str:
        """An expression as a condition."""

    @abstractmethod
    def compare(self, a: str, op: str, b: str) -> str:
        """A condition on two numbers; `op` as in C."""

    @abstractmethod
    def both(self, a: str, b: str, op: str = "and") -> str:
        """Two conditions, joined by and / or."""

    @abstractmethod
    def choice(self, cond: str, a: str, b: str) -> str:
        """One of two numbers."""

    @abstractmethod
    def bits(self, a: str, op: str, b: str) -> str:
        """Two numbers joined by & | << or >>, or & ~ (`andnot`)."""

    @abstractmethod
    def set_temp(self, name: str, value: str) -> None: ...

    @abstractmethod
    def open_if(self, cond: str) -> None: ...

    @abstractmethod
    def open_else(self) -> None: ...

    @abstractmethod
    def close_if(self) -> None: ...

    @abstractmethod
    def leave(self, status: str) -> None:
        """Return from the function with a status."""

    @abstractmethod
    def set_variable(self, name: str, value: str) -> None: ...

    @abstractmethod
    def set_spot(self, spot: Spot, value: str) -> None: ...

    @abstractmethod
    def result(self, number: int) -> str:
        """How result number N of the last call is read."""

    @abstractmethod
    def set_result(self, number: int, value: str) -> None: ...

    @abstractmethod
    def cell(self, place: ir.Place, part: int, width: int, index: str) -> Spot:
        """A cell of memory, by its index over all elements of the pool."""

    @abstractmethod
    def object_cell(self, place: ir.Place, part: int, width: int, handle: str, index: str) -> Spot:
        """A cell of a stack object."""

    @abstractmethod
    def call_local(self, stmt: ir.Call, callee: Part, args: list[str]) -> None:
        """Call a function that does not stop, and leave if it raised a flag."""

    @abstractmethod
    def call_stopping(self, callee: Part, number: int, args: list[str]) -> None:
        """Set up the frame of a function and go on in it."""

    @abstractmethod
    def clear_object(self, struct: str, number: int) -> None: ...

    @abstractmethod
    def return_stopping(self) -> None:
        """Clear the frame and go on behind the call, or end the thread."""

    @abstractmethod
    def park(self, place: int) -> None:
        """Stand still here."""

    @abstractmethod
    def may(self) -> str:
        """Whether a step may still be taken in this transition: 0 no, 1 yes, 2 the choose is to be taken."""

    @abstractmethod
    def set_may(self, value: int) -> None: ...

    @abstractmethod
    def me(self, what: str) -> str:
        """The number of the thread or of its CPU."""

    @abstractmethod
    def alternative(self) -> str: ...

    @abstractmethod
    def note_reached(self, number: int) -> None: ...

    @abstractmethod
    def jump(self, segment: int) -> None: ...

    # -------------------------------------------------------------------------------------- statements

    def out(self, line: str) -> None:
        self.lines.append("  " + line)

    def temp(self) -> str:
        """The name of a number that this function may use from here on."""
        self.temps += 1
        return f"k{self.temps}"

    def keep(self, value: str) -> str:
        """The value in a temporary, unless it is a literal."""
        if value.isdigit() or (value[:1] == "k" and value[1:].isdigit()):
            return value
        name = self.temp()
        self.set_temp(name, value)
        return name

    def begin(self, part: Part) -> None:
        """Be about to write a function."""
        self.part, self.lines, self.temps = part, [], 0
        self.ids = identifiers(part.function.vars, "v")

    def raise_if(self, cond: str, flag: str) -> None:
        self.leave_if(cond, str(FIRST_FLAG + self.plan.flags.index(flag)))

    def leave_if(self, cond: str, status: str) -> None:
        self.open_if(cond)
        self.leave(status)
        self.close_if()

    def far(self, expr: ir.Bin, most: int) -> bool:
        """Whether a shift or a product has to be checked, as it may be more than that, or by a negative number."""
        (low, high), (least, largest) = (span(e, self.part.function, self.layout) for e in (expr.a, expr.b))
        if expr.op == "*":
            return max(abs(x * y) for x in (low, high) for y in (least, largest)) > most
        return least < 0 or largest > 30 or (expr.op == "<<" and (low < 0 or high << largest > most))

    def limit(self, expr: ir.Expr) -> int | None:
        return bound(expr, self.part.function, self.layout)

    def fits(self, value: str, width: int, largest: int | None) -> str:
        """The value, after a check that it fits if that is not known."""
        if largest is not None and largest >> width == 0:
            return value
        value = self.keep(value)
        self.raise_if(self.both(self.compare(value, "<", "0"), self.compare(value, ">", str((1 << width) - 1)), "or"),
                      "bad_kernel_state")  # fmt: skip
        return value

    def assign(self, name: str, value: str, largest: int | None) -> None:
        width = self.layout.width(self.part.function.vars[name])
        self.set_variable(name, self.fits(value, width, largest))

    def spots(self, place: ir.Place) -> list[Spot]:
        """Check handle and index as the reference machine does; where each part lies."""
        field = self.plan.module.field(place)
        count, widths = self.layout.count(field), self.layout.widths(field)
        handle, handle_max = self.keep(self.value(place.handle)), self.limit(place.handle)
        if not (handle.isdigit() and int(handle)) and not _starts_at_one(place.handle):
            self.raise_if(self.compare(handle, "<=", "0"), "null_dereference")
        index, index_max = "0", 0
        if place.index is not None:
            index = self.keep(self.value(place.index))
            index_max = -1 if (known := self.limit(place.index)) is None else known
        if not 0 <= index_max < count:
            self.raise_if(
                self.both(self.compare(index, "<", "0"), self.compare(index, ">=", str(count)), "or"),
                "bad_kernel_state",
            )
        if self.plan.module.structs[place.struct].kind == "stack":
            return [self.object_cell(place, p, w, handle, index) for p, w in enumerate(widths)]
        pool = self.layout.pool(place.struct)
        if handle_max is None or handle_max > pool:
            self.raise_if(self.compare(handle, ">", str(pool)), "bad_kernel_state")
        cell = index
        if handle.isdigit() and index.isdigit():
            cell = str((int(handle) - 1) * count + int(index))
        elif pool > 1:
            cell = self.keep(f"(({handle} - 1) * {count} + {index})" if count > 1 else f"({handle} - 1)")
        return [self.cell(place, p, w, cell) for p, w in enumerate(widths)]

    def statement(self, block: int, index: int, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Choose(dst=dst, count=count):
                self.leave_if(self.compare(self.alternative(), ">=", self.value(count)), str(NO_ALTERNATIVE))
                self.assign(dst, self.alternative(), None)
            case ir.Assign(dst=dst, value=value):
                self.assign(dst, self.value(value), self.limit(value))
            case ir.Load(dsts=dsts, place=place):
                self._load(dsts, place)
            case ir.Store(place=place, values=values):
                spots = self.spots(place)
                self._write(spots, [(self.value(v), self.limit(v)) for v in values])
            case ir.Atomic():
                self._atomic(stmt)
            case ir.Lock():
                self._lock(stmt)
            case ir.Wait(pre=pre, dsts=dsts, place=place, cond=cond):
                for load in pre:
                    self._load(load.dsts, load.place)
                self._load(dsts, place)
                self.open_if(self.test(cond))
                self.open_else()
                self.leave(str(BLOCKED))
                self.close_if()
            case ir.Flag(name=name):
                self.leave(str(FIRST_FLAG + self.plan.flags.index(name)))
            case ir.Reach(name=name):
                self.note_reached(self.plan.situations.index(name))
            case ir.New(dst=dst, struct=struct):
                number = self.part.code.object_at[block, index].number
                self.clear_object(struct, number)
                self.assign(dst, str(number), number)
            case ir.AssertHeld(place=place, mode=mode):
                self._assert_held(place, mode)
            case ir.Call():
                self._call(block, index, stmt)

    def _load(self, dsts: tuple[str, ...], place: ir.Place) -> None:
        for dst, spot in zip(dsts, self.spots(place), strict=True):
            self.assign(dst, spot.read, spot.largest)

    def _write(self, spots: list[Spot], values: list[tuple[str, int | None]]) -> None:
        checked = [self.fits(value, spot.width, largest) for spot, (value, largest) in zip(spots, values, strict=True)]
        for spot, value in zip(spots, checked, strict=True):
            self.set_spot(spot, value)

    def _atomic(self, stmt: ir.Atomic) -> None:
        spots = self.spots(stmt.place)
        old = [self.keep(s.read) for s in spots]
        n = len(spots)
        args = [(self.value(a), self.limit(a)) for a in stmt.args]
        match stmt.op:
            case "xchg":
                new = args
            case "cmpxchg":
                same = self.compare(old[0], "==", args[0][0])
                for was, (expected, _) in zip(old[1:], args[1:n], strict=True):
                    same = self.both(same, self.compare(was, "==", expected))
                new = [
                    (self.choice(same, value, was), None if largest is None else max(largest, spot.largest))
                    for was, (value, largest), spot in zip(old, args[n:], spots, strict=True)
                ]
            case "add":
                new = [(f"({old[0]} + {args[0][0]})", None)]
            case "or":
                new = [(self.bits(old[0], "|", args[0][0]), args[0][1] and max(args[0][1], spots[0].largest))]
            case "andnot":
                new = [(self.bits(old[0], "andnot", args[0][0]), spots[0].largest)]
        self._write(spots, new)
        if stmt.dsts:
            for dst, was, spot in zip(stmt.dsts, old, spots, strict=True):
                self.assign(dst, was, spot.largest)

    def _lock(self, stmt: ir.Lock) -> None:
        spot = self.spots(stmt.place)[0]
        value = self.keep(spot.read)
        me = f"({self.me('thread')} + 1)"
        mine = self.keep(self.bits("1", "<<", f"({self.me('thread')} + {self.shift})"))
        owner = self.keep(self.bits(value, "&", str((1 << self.shift) - 1)))
        read = self.compare(self.bits(value, "&", mine), "!=", "0")
        held = self.both(read, self.compare(owner, "==", me), "or")
        taken: tuple[str, str] | None = None
        match stmt.op:
            case "spin_lock" | "down_write":
                self.raise_if(held, "deadlock")
                self.leave_if(self.compare(value, "!=", "0"), str(BLOCKED))
                self.set_spot(spot, me)
            case "down_read":
                self.raise_if(held, "deadlock")
                self.leave_if(self.compare(owner, "!=", "0"), str(BLOCKED))
                self.set_spot(spot, self.bits(value, "|", mine))
            case "spin_trylock" | "down_write_trylock":
                taken = self.compare(value, "==", "0"), me
            case "down_read_trylock":
                self.raise_if(held, "deadlock")
                taken = self.compare(owner, "==", "0"), self.bits(value, "|", mine)
            case "spin_unlock" | "up_write" | "downgrade_write":
                self.raise_if(self.compare(owner, "!=", me), "bad_kernel_state")
                self.set_spot(spot, mine if stmt.op == "downgrade_write" else "0")
            case "up_read":
                self.raise_if(self.compare(self.bits(value, "&", mine), "==", "0"), "bad_kernel_state")
                self.set_spot(spot, self.bits(value, "andnot", mine))
        if taken is not None:
            self.set_spot(spot, self.choice(taken[0], taken[1], value))
            if stmt.dst is not None:
                self.assign(stmt.dst, self.choice(taken[0], "1", "0"), 1)

    def _assert_held(self, place: ir.Place, mode: str) -> None:
        value = self.keep(self.spots(place)[0].read)
        owner = self.bits(value, "&", str((1 << self.shift) - 1))
        write = self.compare(owner, "!=", f"({self.me('thread')} + 1)")
        mine = self.bits("1", "<<", f"({self.me('thread')} + {self.shift})")
        read = self.compare(self.bits(value, "&", mine), "==", "0")
        self.raise_if(
            write if mode == "write" else read if mode == "read" else self.both(write, read), "lock_assertion"
        )

    def _call(self, block: int, index: int, stmt: ir.Call) -> None:
        callee = self.plan.parts[stmt.function]
        function = callee.function
        args = [
            self.fits(self.value(a), self.layout.width(function.vars[p]), self.limit(a))
            for a, p in zip(stmt.args, function.params, strict=True)
        ]
        site = self.part.code.call_at.get((block, index))
        if site is not None:
            self.call_stopping(callee, self.plan.call_number(callee, self.part.name, site), args)
            return
        self.call_local(stmt, callee, args)
        self.take_results(stmt, callee)

    def take_results(self, stmt: ir.Call, callee: Part) -> None:
        """Give the results of a call to the variables that want them."""
        for n, (dst, type_) in enumerate(zip(stmt.dsts, callee.function.results, strict=False)):
            self.assign(dst, self.result(n), (1 << self.layout.width(type_)) - 1)

    # ---------------------------------------------------------------------------------------- segments

    def segment(self, segment: Segment) -> None:
        """A segment's statements and how it ends."""
        stop = segment.stop
        if segment.left_out:
            self.leave(str(FIRST_FLAG + self.plan.flags.index(LEFT_OUT)))
            return
        if segment.resumed is not None:
            self.take_results(segment.resumed, self.plan.parts[segment.resumed.function])
        if stop is not None:
            self.open_if(self.compare(self.may(), "!=", "2") if stop.choose else self.compare(self.may(), "==", "0"))
            self.park(self.plan.place(self.part, segment.number))
            self.leave(str(OK))
            self.close_if()
            self.set_may(1 if stop.choose else 0)
        for block, index, stmt in segment.stmts:
            self.statement(block, index, stmt)
            if isinstance(stmt, ir.Flag):
                return
        if segment.call is not None:
            return
        match segment.term:
            case None:
                self.jump(segment.following)
            case ir.Jump(to=to):
                self._go_to(segment.block, to)
            case ir.Branch(cond=cond, then=then, orelse=orelse):
                self.open_if(self.test(cond))
                self._go_to(segment.block, then)
                self.open_else()
                self._go_to(segment.block, orelse)
                self.close_if()
            case ir.Return(values=values):
                self._return(values)

    def _go_to(self, block: int, to: int) -> None:
        if (block, to) in self.part.code.ways_back:
            rounds = self.plan.rounds
            self.set_result(rounds, f"{self.result(rounds)} + 1")
            self.raise_if(self.compare(self.result(rounds), ">", str(link.ROUNDS_MAX)), "bad_kernel_state")
        self.jump(self.part.block_at[to])

    def _return(self, values: tuple[ir.Expr, ...]) -> None:
        types = self.part.function.results
        checked = [
            self.fits(self.value(v), self.layout.width(t), self.limit(v)) for v, t in zip(values, types, strict=True)
        ]
        for n, value in enumerate(checked):
            self.set_result(n, value)
        if self.part.code.may_stop:
            self.return_stopping()
            return
        for made in self.part.objects:
            self.clear_object(made.struct, made.number)
        self.leave(str(OK))


def _starts_at_one(expr: ir.Expr) -> bool:
    """Whether a handle is visibly not None, as that of `this_cpu(…)` and of `at(…, i)` are."""
    match expr:
        case ir.Bin("+", ir.Self() | ir.Var() | ir.Param(), ir.Const(1)):
            return True
    return False


def identifiers(names: Iterable[str], prefix: str) -> dict[str, str]:
    """A word of letters, digits and _ for each name, no two the same."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        word = f"{prefix}_" + "".join(c if c.isalnum() else "_" for c in name)
        while word in used:
            word += "_"
        found[name] = word
        used.add(word)
    return found

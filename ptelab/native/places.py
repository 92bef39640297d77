# SPDX-License-Identifier: GPL-2.0-only
"""Accesses to memory as LLVM text: loads, stores, atomics, locks and waits on the bits of a packed state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptelab import ir
from ptelab.native.emitter import Operand, word
from ptelab.native.scratch import BLOCKED
from ptelab.packing import Lane

if TYPE_CHECKING:
    from ptelab.native.function import FunctionCoder


@dataclass(slots=True)
class Spot:
    """The bits of one scalar: of word `at` behind a pointer, `width` bits from bit `by` + `shift` on."""

    base: str
    at: Operand
    by: Operand
    shift: int
    width: int

    @property
    def stretch(self) -> tuple[str, Operand, Operand]:
        """Parts of a record with the same stretch are read and written together."""
        return self.base, self.at, self.by


class Places:
    """Emits the statements that access memory."""

    def __init__(self, coder: FunctionCoder) -> None:
        self.coder = coder
        self.layout = coder.shared.layout
        self.packing = coder.shared.packing

    def access(self, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Load(dsts=dsts, place=place):
                self._load(dsts, self._spots(place))
            case ir.Store(place=place, values=values):
                spots = self._spots(place)
                self._store_checked(spots, [self.coder.expressions.value(v) for v in values])
            case ir.Atomic():
                self._atomic(stmt)
            case ir.Lock():
                self._lock(stmt)
            case ir.Wait(pre=pre, dsts=dsts, place=place, cond=cond):
                for load in pre:
                    self._load(load.dsts, self._spots(load.place))
                self._load(dsts, self._spots(place))
                self.coder.leave_if(self.coder.not_(self.coder.expressions.test(cond)), BLOCKED)
            case ir.AssertHeld(place=place, mode=mode):
                self._assert_held(place, mode)
            case _:
                raise AssertionError(stmt)

    # ---------------------------------------------------------------------------------------- spots

    def _spots(self, place: ir.Place) -> list[Spot]:
        """Check handle and index as the reference machine does, then say where each part lies."""
        c = self.coder
        handle, handle_max = c.expressions.value(place.handle)
        index: Operand = 0
        index_max: int | None = 0
        if place.index is not None:
            index, index_max = c.expressions.value(place.index)
        field = self.layout.module.field(place)
        count = self.layout.count(field)
        if isinstance(handle, int):
            if handle <= 0:
                c.raise_if("true", "null_dereference")
                handle = 1
        elif not _starts_at_one(place.handle) and c.known.is_new("not None", handle):
            c.raise_if(c.compare("sle", handle, 0), "null_dereference")
        if index_max is None or index_max >= count:
            if isinstance(index, int):  # of a variable that is known to hold it, so its bound says nothing
                if not 0 <= index < count:
                    c.raise_if("true", "bad_kernel_state")
                    index = 0
            elif c.known.is_new("below", index, count):
                c.raise_if(c.compare("uge", index, count), "bad_kernel_state")
        if self.layout.module.structs[place.struct].kind == "stack":
            return self._stack_spots(place, handle, index)
        pool = self.layout.pool(place.struct)
        if handle_max is None or handle_max > pool:
            if isinstance(handle, int):
                if handle > pool:
                    c.raise_if("true", "bad_kernel_state")
                    handle = 1
            elif c.known.is_new("at most", handle, pool):
                c.raise_if(c.compare("sgt", handle, pool), "bad_kernel_state")
        cell: Operand = index
        if pool > 1:
            cell = c.op("add", c.op("mul", c.op("sub", handle, 1), count), index)
        scaled: dict[int, Operand] = {}
        parts = len(self.layout.widths(field))
        return [
            self._spot("%st", self.packing.shared[place.struct, place.field, p], cell, scaled) for p in range(parts)
        ]

    def _spot(self, base: str, lane: Lane, cell: Operand, scaled: dict[int, Operand]) -> Spot:
        """A cell of a lane.  `scaled`: the bits before a cell, by the width of one."""
        c = self.coder
        if isinstance(cell, int):
            at, shift = lane.at(cell) if lane.count else (lane.word, 0)
            return Spot(base, at, 0, shift, lane.width)
        if lane.words <= 1:
            if lane.width not in scaled:
                scaled[lane.width] = c.op("mul", cell, lane.width)
            return Spot(base, lane.word, scaled[lane.width], lane.shift, lane.width)
        at_word = c.op("add", c.emit(f"udiv i64 {cell}, {lane.per_word}"), lane.word)
        shift_in = c.op("mul", c.emit(f"urem i64 {cell}, {lane.per_word}"), lane.width)
        return Spot(base, at_word, shift_in, 0, lane.width)

    def _stack_spots(self, place: ir.Place, handle: Operand, index: Operand) -> list[Spot]:
        """A stack object lies in its maker's frame; with several makers, select by the handle."""
        c = self.coder
        made = sorted(n for s, n in self.packing.objects if s == place.struct)
        parts = len(self.layout.widths(self.layout.module.field(place)))
        scaled: dict[int, Operand] = {}
        spots = []
        for part in range(parts):
            first = self.packing.objects[place.struct, made[0]][place.field, part]
            spot = self._spot("%tp", first, index, scaled)
            for number in made[1:]:
                lane = self.packing.objects[place.struct, number][place.field, part]
                other = self._spot("%tp", lane, index, scaled)
                same = c.compare("eq", handle, number)
                addresses = [f"ptr {c.address(s.base, s.at)}" for s in (other, spot)]
                shifts = [f"i64 {word(c.op('add', s.by, s.shift))}" for s in (other, spot)]
                address = c.emit(f"select i1 {same}, {', '.join(addresses)}")
                spot = Spot(address, 0, c.emit(f"select i1 {same}, {', '.join(shifts)}"), 0, spot.width)
            spots.append(spot)
        return spots

    def _get(self, spots: list[Spot]) -> list[Operand]:
        c = self.coder
        loaded: dict[tuple[str, Operand, Operand], Operand] = {}
        values: list[Operand] = []
        for spot in spots:
            if spot.stretch not in loaded:
                loaded[spot.stretch] = c.op("lshr", c.load_word(spot.base, spot.at), spot.by)
            value = c.op("lshr", loaded[spot.stretch], spot.shift)
            values.append(c.op("and", value, (1 << spot.width) - 1))
        return values

    def _put(self, spots: list[Spot], values: list[Operand]) -> None:
        c = self.coder
        masks: dict[tuple[str, Operand, Operand], int] = {}
        new: dict[tuple[str, Operand, Operand], Operand] = {}
        for spot, value in zip(spots, values, strict=True):
            masks[spot.stretch] = masks.get(spot.stretch, 0) | ((1 << spot.width) - 1) << spot.shift
            new[spot.stretch] = c.op("or", new.get(spot.stretch, 0), c.op("shl", value, spot.shift))
        for (base, at, by), mask in masks.items():
            hole = c.op("xor", c.op("shl", mask, by), -1)
            address = c.address(base, at)
            kept = c.op("and", c.load_word(address, 0), hole)
            c.store_word(address, 0, c.op("or", kept, c.op("shl", new[base, at, by], by)))

    # ------------------------------------------------------------------------------------ statements

    def _load(self, dsts: tuple[str, ...], spots: list[Spot]) -> None:
        for dst, value, spot in zip(dsts, self._get(spots), spots, strict=True):
            self.coder.assign(dst, value, (1 << spot.width) - 1)

    def _store_checked(self, spots: list[Spot], values: list[tuple[Operand, int | None]]) -> None:
        for spot, (value, largest) in zip(spots, values, strict=True):
            self.coder.check_fits(value, spot.width, largest)
        self._put(spots, [value for value, _ in values])

    def _atomic(self, stmt: ir.Atomic) -> None:
        c = self.coder
        spots = self._spots(stmt.place)
        old = self._get(spots)
        args = [c.expressions.value(a) for a in stmt.args]
        n = len(spots)
        top = [(1 << s.width) - 1 for s in spots]
        match stmt.op:
            case "xchg":
                new = args
            case "cmpxchg":
                equal = "true"
                for was, (expected, _) in zip(old, args[:n], strict=True):
                    same = c.compare("eq", was, expected)
                    equal = same if equal == "true" else c.emit(f"and i1 {equal}, {same}")
                new = []
                for was, (value, largest), limit in zip(old, args[n:], top, strict=True):
                    chosen = c.emit(f"select i1 {equal}, i64 {word(value)}, i64 {word(was)}")
                    new.append((chosen, None if largest is None else max(largest, limit)))
            case "add":
                new = [(c.op("add", old[0], args[0][0]), None)]
            case "or":
                new = [(c.op("or", old[0], args[0][0]), args[0][1] and max(args[0][1], top[0]))]
            case "andnot":
                new = [(c.op("and", old[0], c.op("xor", args[0][0], -1)), top[0])]
        self._store_checked(spots, new)
        if stmt.dsts:
            for dst, was, limit in zip(stmt.dsts, old, top, strict=True):
                c.assign(dst, was, limit)

    def _lock(self, stmt: ir.Lock) -> None:
        c = self.coder
        (spot,) = self._spots(stmt.place)
        (value,) = self._get([spot])
        shift = self.layout.param("NR_THREADS").bit_length()
        thread = c.self_("thread")
        me = c.op("add", thread, 1)
        mine = c.op("shl", 1, c.op("add", thread, shift))
        owner = c.op("and", value, (1 << shift) - 1)
        held_read = c.compare("ne", c.op("and", value, mine), 0)
        held_write = c.compare("eq", owner, me)
        held = c.emit(f"or i1 {held_read}, {held_write}")
        match stmt.op:
            case "spin_lock" | "down_write":
                c.raise_if(held, "deadlock")
                c.leave_if(c.compare("ne", value, 0), BLOCKED)
                self._put([spot], [me])
            case "down_read":
                c.raise_if(held, "deadlock")
                c.leave_if(c.compare("ne", owner, 0), BLOCKED)
                self._put([spot], [c.op("or", value, mine)])
            case "spin_trylock" | "down_write_trylock":
                self._try(stmt, spot, c.compare("eq", value, 0), value, me)
            case "down_read_trylock":
                c.raise_if(held, "deadlock")
                self._try(stmt, spot, c.compare("eq", owner, 0), value, c.op("or", value, mine))
            case "spin_unlock" | "up_write":
                c.raise_if(c.compare("ne", owner, me), "bad_kernel_state")
                self._put([spot], [0])
            case "downgrade_write":
                c.raise_if(c.compare("ne", owner, me), "bad_kernel_state")
                self._put([spot], [mine])
            case "up_read":
                c.raise_if(c.not_(held_read), "bad_kernel_state")
                self._put([spot], [c.op("and", value, c.op("xor", mine, -1))])

    def _try(self, stmt: ir.Lock, spot: Spot, free: str, old: Operand, new: Operand) -> None:
        c = self.coder
        self._put([spot], [c.emit(f"select i1 {free}, i64 {word(new)}, i64 {word(old)}")])
        if stmt.dst is not None:
            c.assign(stmt.dst, c.as_word(free), 1)

    def _assert_held(self, place: ir.Place, mode: str) -> None:
        c = self.coder
        (value,) = self._get(self._spots(place))
        shift = self.layout.param("NR_THREADS").bit_length()
        thread = c.self_("thread")
        write = c.compare("eq", c.op("and", value, (1 << shift) - 1), c.op("add", thread, 1))
        bit = c.op("shl", 1, c.op("add", thread, shift))
        read = c.compare("ne", c.op("and", value, bit), 0)
        held = write if mode == "write" else read if mode == "read" else c.emit(f"or i1 {write}, {read}")
        c.raise_if(c.not_(held), "lock_assertion")


def _starts_at_one(expr: ir.Expr) -> bool:
    """Whether a handle is visibly not None, as `this_cpu(…)` and `at(…, constant)` are."""
    return (
        isinstance(expr, ir.Bin)
        and expr.op == "+"
        and isinstance(expr.b, ir.Const)
        and expr.b.value == 1
        and isinstance(expr.a, ir.Self | ir.Var | ir.Param)
    )

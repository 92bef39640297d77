# SPDX-License-Identifier: GPL-2.0-only
"""Accesses to memory as LLVM text: loads, stores, atomics, locks and waits on the bits of a packed state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptelab import ir
from ptelab.native.emitter import Operand, word
from ptelab.packing import Lane

if TYPE_CHECKING:
    from ptelab.native.function import FunctionCoder

BLOCKED = 0


@dataclass(slots=True)
class Spot:
    """The bits of one scalar: a word's address, the shift within it, and the width."""

    address: str
    shift: Operand
    width: int


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
                blocked = self.coder.emit(f"xor i1 {self.coder.expressions.test(cond)}, true")
                self.coder.leave_if(blocked, BLOCKED)
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
        elif not _starts_at_one(place.handle):
            c.raise_if(c.compare("sle", handle, 0), "null_dereference")
        if index_max is None or index_max >= count:
            if isinstance(index, int):
                c.raise_if("true", "bad_kernel_state")
                index = 0
            else:
                c.raise_if(c.compare("uge", index, count), "bad_kernel_state")
        if self.layout.module.structs[place.struct].kind == "stack":
            return self._stack_spots(place, handle, index)
        pool = self.layout.pool(place.struct)
        if handle_max is None or handle_max > pool:
            if isinstance(handle, int):
                c.raise_if("true", "bad_kernel_state")
                handle = 1
            else:
                c.raise_if(c.compare("sgt", handle, pool), "bad_kernel_state")
        cell: Operand = index
        if pool > 1:
            cell = c.op("add", c.op("mul", c.op("sub", handle, 1), count), index)
        parts = len(self.layout.widths(field))
        return [self._spot("%st", self.packing.shared[place.struct, place.field, p], cell) for p in range(parts)]

    def _spot(self, base: str, lane: Lane, cell: Operand) -> Spot:
        c = self.coder
        if isinstance(cell, int):
            at, shift = lane.at(cell) if lane.count else (lane.word, 0)
            return Spot(c.address(base, at), shift, lane.width)
        if lane.words <= 1:
            moved = c.op("add", c.op("mul", cell, lane.width), lane.shift)
            return Spot(c.address(base, lane.word), moved, lane.width)
        at_word = c.op("add", c.emit(f"udiv i64 {cell}, {lane.per_word}"), lane.word)
        shift_in = c.op("mul", c.emit(f"urem i64 {cell}, {lane.per_word}"), lane.width)
        return Spot(c.address(base, at_word), shift_in, lane.width)

    def _stack_spots(self, place: ir.Place, handle: Operand, index: Operand) -> list[Spot]:
        """A stack object lies in its maker's frame; with several makers, select by the handle."""
        c = self.coder
        made = sorted(n for s, n in self.packing.objects if s == place.struct)
        parts = len(self.layout.widths(self.layout.module.field(place)))
        spots = []
        for part in range(parts):
            first = self.packing.objects[place.struct, made[0]][place.field, part]
            spot = self._spot("%tp", first, index)
            for number in made[1:]:
                other = self._spot("%tp", self.packing.objects[place.struct, number][place.field, part], index)
                same = c.compare("eq", handle, number)
                address = c.emit(f"select i1 {same}, ptr {other.address}, ptr {spot.address}")
                shift = c.emit(f"select i1 {same}, i64 {word(other.shift)}, i64 {word(spot.shift)}")
                spot = Spot(address, shift, spot.width)
            spots.append(spot)
        return spots

    def _get(self, spot: Spot) -> Operand:
        c = self.coder
        loaded = c.emit(f"load i64, ptr {spot.address}")
        if spot.width == 64:
            return loaded
        return c.op("and", c.op("lshr", loaded, spot.shift), (1 << spot.width) - 1)

    def _put(self, spot: Spot, value: Operand) -> None:
        c = self.coder
        mask = (1 << spot.width) - 1
        hole = c.emit(f"xor i64 {word(c.op('shl', mask, spot.shift))}, -1")
        kept = c.op("and", c.emit(f"load i64, ptr {spot.address}"), hole)
        c.do(f"store i64 {word(c.op('or', kept, c.op('shl', value, spot.shift)))}, ptr {spot.address}")

    # ------------------------------------------------------------------------------------ statements

    def _load(self, dsts: tuple[str, ...], spots: list[Spot]) -> None:
        values = [self._get(s) for s in spots]
        for dst, value, spot in zip(dsts, values, spots, strict=True):
            self.coder.assign(dst, value, (1 << spot.width) - 1)

    def _store_checked(self, spots: list[Spot], values: list[tuple[Operand, int | None]]) -> None:
        for spot, (value, largest) in zip(spots, values, strict=True):
            self.coder.check_fits(value, spot.width, largest)
        for spot, (value, _) in zip(spots, values, strict=True):
            self._put(spot, value)

    def _atomic(self, stmt: ir.Atomic) -> None:
        c = self.coder
        spots = self._spots(stmt.place)
        old = [self._get(s) for s in spots]
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
                mask = c.emit(f"xor i64 {word(args[0][0])}, -1")
                new = [(c.op("and", old[0], mask), top[0])]
        self._store_checked(spots, new)
        if stmt.dsts:
            for dst, was, limit in zip(stmt.dsts, old, top, strict=True):
                c.assign(dst, was, limit)

    def _lock(self, stmt: ir.Lock) -> None:
        c = self.coder
        spot = self._spots(stmt.place)[0]
        value = self._get(spot)
        shift = self.layout.param("NR_THREADS").bit_length()
        me = c.op("add", "%thread", 1)
        mine = c.op("shl", 1, c.op("add", "%thread", shift))
        owner = c.op("and", value, (1 << shift) - 1)
        held_read = c.compare("ne", c.op("and", value, mine), 0)
        held_write = c.compare("eq", owner, me)
        held = c.emit(f"or i1 {held_read}, {held_write}")
        match stmt.op:
            case "spin_lock" | "down_write":
                c.raise_if(held, "deadlock")
                c.leave_if(c.compare("ne", value, 0), BLOCKED)
                self._put(spot, me)
            case "down_read":
                c.raise_if(held, "deadlock")
                c.leave_if(c.compare("ne", owner, 0), BLOCKED)
                self._put(spot, c.op("or", value, mine))
            case "spin_trylock" | "down_write_trylock":
                self._try(stmt, spot, c.compare("eq", value, 0), value, me)
            case "down_read_trylock":
                c.raise_if(held, "deadlock")
                self._try(stmt, spot, c.compare("eq", owner, 0), value, c.op("or", value, mine))
            case "spin_unlock" | "up_write":
                c.raise_if(c.compare("ne", owner, me), "bad_kernel_state")
                self._put(spot, 0)
            case "downgrade_write":
                c.raise_if(c.compare("ne", owner, me), "bad_kernel_state")
                self._put(spot, mine)
            case "up_read":
                c.raise_if(c.emit(f"xor i1 {held_read}, true"), "bad_kernel_state")
                self._put(spot, c.op("and", value, c.emit(f"xor i64 {word(mine)}, -1")))

    def _try(self, stmt: ir.Lock, spot: Spot, free: str, old: Operand, new: Operand) -> None:
        c = self.coder
        self._put(spot, c.emit(f"select i1 {free}, i64 {word(new)}, i64 {word(old)}"))
        if stmt.dst is not None:
            c.assign(stmt.dst, c.as_word(free), 1)

    def _assert_held(self, place: ir.Place, mode: str) -> None:
        c = self.coder
        value = self._get(self._spots(place)[0])
        shift = self.layout.param("NR_THREADS").bit_length()
        write = c.compare("eq", c.op("and", value, (1 << shift) - 1), c.op("add", "%thread", 1))
        bit = c.op("shl", 1, c.op("add", "%thread", shift))
        read = c.compare("ne", c.op("and", value, bit), 0)
        held = write if mode == "write" else read if mode == "read" else c.emit(f"or i1 {write}, {read}")
        c.raise_if(c.emit(f"xor i1 {held}, true"), "lock_assertion")


def _starts_at_one(expr: ir.Expr) -> bool:
    """Whether a handle is visibly not None, as `this_cpu(…)` and `at(…, constant)` are."""
    return (
        isinstance(expr, ir.Bin)
        and expr.op == "+"
        and isinstance(expr.b, ir.Const)
        and expr.b.value == 1
        and isinstance(expr.a, ir.Self | ir.Var | ir.Param)
    )

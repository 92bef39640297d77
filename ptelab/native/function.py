# SPDX-License-Identifier: GPL-2.0-only
"""The LLVM function of one IR function."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ptelab import flow, ir, link
from ptelab.link import CallSite, Code, Stop
from ptelab.native.emitter import Emitter, Operand, word
from ptelab.native.expressions import Expressions
from ptelab.native.known import Known
from ptelab.native.places import Places
from ptelab.native.scratch import (
    NO_ALTERNATIVE,
    SCRATCH_ALTERNATIVE,
    SCRATCH_CPU,
    SCRATCH_ROUNDS,
    SCRATCH_THREAD,
    SCRATCH_VALUES,
)
from ptelab.packing import Lane

if TYPE_CHECKING:
    from ptelab.native.codegen import Codegen

_MAY = "%may"


class FunctionCoder(Emitter):
    """Emits one function; `text` is all that callers use.  `within`: the function that it is written into instead."""

    def __init__(self, shared: Codegen, code: Code, within: FunctionCoder | None = None) -> None:
        super().__init__(within)
        self.shared = shared
        self.code = code
        self.function = code.function
        self.own = shared.number[self.function.name]
        self.expressions = Expressions(self, shared.layout, self.function)
        self.places = Places(self)
        self.known = Known()
        self._in_memory: dict[str, None] = {}
        self._leaves: dict[int, None] = {} if within is None else within._leaves  # statuses that are returned early
        self._early = False  # whether some early return is not among them
        self._only_way: dict[int, int | None] = {}
        self._after: dict[int, Known] = {}  # block → what is known where it begins

    # ---------------------------------------------------------------------------------------- frame

    def text(self) -> str:
        if self.code.may_stop:
            self._come_in()
        self._only_way = self._only_ways()
        clean = self._clean_blocks()
        self._enter()
        self._go_on(None, (0,))
        self.jump("b0")
        for number, block in enumerate(self.function.blocks):
            self.label(f"b{number}")
            if number in self._after:
                self.known = self._after.pop(number)
            elif number in clean:
                self.known.frame_is_clear(self.code.slots)
            if self._block(number, block):
                self._terminator(number, block.term)
        for status in self._leaves:
            self.label(f"leave{status}")
            self.do(f"ret i64 {status}")
        if not self._leaves and not self._early and not self.code.may_stop:
            self.shared.always_ends.add(self.function.name)
        variables = [f"  %v.{_id(name)} = alloca i64" for name in self._in_memory]
        if _MAY in self._in_memory:
            variables[list(self._in_memory).index(_MAY)] = f"  {_MAY} = alloca i64\n  store i64 %may.in, ptr {_MAY}"
        body = "\n".join(variables + self.lines)
        return f"define internal i64 @f{self.own}({self._signature()}) nounwind {{\n{body}\n}}\n"

    def _come_in(self) -> None:
        """Go to the stop or call at which a transition begins, if not at the start.

        By one comparison after the other: LLVM's quick way to choose instructions has no switch.
        """
        ways = [f"fire{s.number}" for s in self.code.stops] + [f"resume{c.number}" for c in self.code.calls]
        for where, way in enumerate(ways, 1):
            other = self.name("entry")
            self.branch(self.compare("eq", "%where", where), way, other)
            self.label(other)

    def _block(self, number: int, block: ir.Block) -> bool:
        """A block's statements; false when nothing can follow."""
        if noted := self.shared.block_entered(self.function.name, number):
            self.do(noted)
        for index, stmt in enumerate(block.stmts):
            self._statement(number, index, stmt)
            if isinstance(stmt, ir.Flag):
                if not any(
                    place[0] == number and place[1] > index for place in (*self.code.stop_at, *self.code.call_at)
                ):
                    return False
                self.label(self.name("dead"))
        return True

    def _only_ways(self) -> dict[int, int | None]:
        """Block → the one block that control comes from, if that is written first; None for the function's entry."""
        ways: dict[int, list[int | None]] = {0: [None]}
        for number, block in enumerate(self.function.blocks):
            for to in flow.successors(block.term):
                ways.setdefault(to, []).append(number)
        return {
            to: origins[0]
            for to, origins in ways.items()
            if len(origins) == 1 and (origins[0] is None or origins[0] < to)
        }

    def _clean_blocks(self) -> set[int]:
        """The blocks that are come to only by ways on which the thread has kept nothing in the frame."""
        stopping = {place[0] for place in (*self.code.stop_at, *self.code.call_at)}
        soiled: set[int] = set()
        todo = list(stopping)
        while todo:
            for to in flow.successors(self.function.blocks[todo.pop()].term):
                if to not in soiled:
                    soiled.add(to)
                    todo.append(to)
        return set(range(len(self.function.blocks))) - soiled

    def _go_on(self, number: int | None, ways: tuple[int, ...]) -> None:
        """Let what is known be known where control goes on: if only from here just so, else by way of memory.

        Where dead variables are kept, all go by way of memory, as every stop wants all of them.
        """
        if self.shared.keep_dead:
            self._save(self.function.vars)
            return
        for to in ways:
            if to not in self._only_way or self._only_way[to] != number:
                self._save(self.code.live_in[to])
        for to in ways:
            if to in self._only_way and self._only_way[to] == number:
                self._after[to] = self.known.copy()

    def _signature(self) -> str:
        if self.code.may_stop:
            return "ptr %st, ptr %tp, i64 %where, i64 %ctx, i64 %may.in, ptr %scr"
        extra = "".join(f", i64 %a{n}" for n, _ in enumerate(self.function.params))
        return f"ptr %st, ptr %tp, ptr %scr{extra}"

    def _enter(self) -> None:
        for name in self.function.vars:
            self.known.hold(name, 0)
        for n, name in enumerate(self.function.params):
            self.known.hold(name, self.load_word("%scr", SCRATCH_VALUES + n) if self.code.may_stop else f"%a{n}")
        self.known.frame_is_clear(self.code.slots)
        self.known.may = "%may.in"

    # ------------------------------------------------------------------------------------- variables

    def label(self, label: str) -> None:
        """Begin code that is reached from elsewhere: nothing is known but that variables are where `_save` left them,
        if it did."""
        self.known = Known()
        super().label(label)

    def follow(self, label: str) -> None:
        """Begin code that is reached only from the branch before: what was known there is known here."""
        super().label(label)

    def _save(self, live: Iterable[str]) -> None:
        """Store what will be read behind the next label."""
        for name in sorted(live):
            if name in self.known.unsaved:
                value = self.read(name)
                self._in_memory[name] = None
                self.known.unsaved.discard(name)
                self.do(f"store i64 {word(value)}, ptr %v.{_id(name)}")

    def read(self, name: str) -> Operand:
        """What a variable holds."""
        known = self.known
        if name in known.values:
            return known.values[name]
        if name in known.kept:
            lane = self.shared.packing.vars[self.function.name, name]
            value = self.op("and", self.op("lshr", self.load_word("%tp", lane.word), lane.shift), lane.mask)
            known.kept.discard(name)
            known.lanes[name] = value
        else:
            self._in_memory[name] = None
            value = self.emit(f"load i64, ptr %v.{_id(name)}")
        known.values[name] = value
        return value

    def self_(self, what: str) -> Operand:
        """The number of the thread or of its CPU."""
        name = f"%{what}"
        if name not in self.known.values:
            self.known.values[name] = self.load_word("%scr", SCRATCH_THREAD if what == "thread" else SCRATCH_CPU)
        return self.known.values[name]

    def _may(self) -> Operand:
        """Whether a step may still be made, 0 or 1."""
        if self.known.may is None:
            self._in_memory[_MAY] = None
            self.known.may = self.emit(f"load i64, ptr {_MAY}")
        return self.known.may

    def _set_may(self, value: int) -> None:
        self._in_memory[_MAY] = None
        self.known.may = value
        self.do(f"store i64 {value}, ptr {_MAY}")

    def assign(self, name: str, value: Operand, largest: int | None) -> None:
        """Assign to a variable; unless `largest` shows that the value fits, raise bad_kernel_state when it does not."""
        width = self.shared.layout.width(self.function.vars[name])
        self.check_fits(value, width, largest)
        self.known.hold(name, value)

    def check_fits(self, value: Operand, width: int, largest: int | None) -> None:
        if largest is not None and largest >> width == 0:
            return
        if isinstance(value, int):
            if value >> width:
                self.raise_if("true", "bad_kernel_state")
            return
        if self.known.is_new("fits", value, width):
            self.raise_if(self.compare("ne", self.op("lshr", value, width), 0), "bad_kernel_state")

    def raise_if(self, cond: str, flag: str) -> None:
        self.leave_if(cond, self.shared.flag(flag))

    def leave_if(self, cond: str, status: int) -> None:
        """Return a status when the i1 holds."""
        self._leaves[status] = None
        go = self.name("go")
        self.branch(cond, f"leave{status}", go)
        self.follow(go)

    # -------------------------------------------------------------------------------- stops and calls

    def _kept(self, live: frozenset[str]) -> Iterable[str]:
        """The variables that a thread keeps where it may stop."""
        return self.function.vars if self.shared.keep_dead else live

    def _pack(self, live: frozenset[str], position: Operand | None) -> None:
        """Store the live variables into the thread's words, zeroes for the others, and the position if given."""
        masks: dict[int, int] = {}  # the bits that change, and of these the ones that need not be zero
        stale: dict[int, int] = {}
        values: dict[int, Operand] = {}
        for slot in self.code.slots:
            lane = self.shared.packing.vars[self.function.name, slot]
            value: Operand = 0
            if slot in live or self.shared.keep_dead:
                if slot in self.known.kept:
                    continue
                value = self.read(slot)
            if self.known.lanes.get(slot) == value:
                continue
            masks[lane.word] = masks.get(lane.word, 0) | lane.mask << lane.shift
            if self.known.lanes.get(slot) != 0:
                stale[lane.word] = stale.get(lane.word, 0) | lane.mask << lane.shift
            values[lane.word] = self.op("or", values.get(lane.word, 0), self.op("shl", value, lane.shift))
        if position is not None:
            masks[0] = masks.get(0, 0) | self.shared.packing.position.mask
            stale[0] = stale.get(0, 0) | self.shared.packing.position.mask
            values[0] = self.op("or", values.get(0, 0), position)
        for at in sorted(masks):
            kept: Operand = self.load_word("%tp", at)
            if at in stale:
                kept = self.op("and", kept, ~stale[at])
            self.store_word("%tp", at, self.op("or", kept, values.get(at, 0)))

    def _unpack(self, live: frozenset[str]) -> None:
        """Begin where the thread has stood still: its variables are where `_pack` has put them."""
        self.known.unpacked(self._kept(live), self.code.slots)

    def _clear_frame(self) -> None:
        masks: dict[int, int] = {}
        known = self.known.lanes
        lanes: list[Lane] = [
            self.shared.packing.vars[self.function.name, s] for s in self.code.slots if known.get(s) != 0
        ]
        for made in self.code.objects:
            lanes += self.shared.packing.objects[made.struct, made.number].values()
        for lane in lanes:
            for at, mask in lane.bits().items():
                masks[at] = masks.get(at, 0) | mask
        for at, mask in sorted(masks.items()):
            self.store_word("%tp", at, self.op("and", self.load_word("%tp", at), ~mask))

    def _stop(self, stop: Stop, stmt: ir.Stmt) -> None:
        """What happens when control arrives at a stop, and where a transition that starts here comes in."""
        park, fire, do = f"park{stop.number}", f"fire{stop.number}", f"do{stop.number}"
        goes_on = not stop.choose and self.known.may != 0
        if goes_on:
            self._save(self._kept(stop.live))
            go = self.name("go")
            self.branch(self.as_bit(self._may()), go, park)
            self.follow(go)
            self._set_may(0)
            self.jump(do)
            self.follow(park)
        base = self.shared.table(self, "base_of", "%ctx")
        self._pack(stop.live, self.op("add", base, stop.number))
        self.do("ret i64 1")
        self.label(fire)
        self._unpack(stop.live)
        self.known.may = 0  # as it was handed in
        if isinstance(stmt, ir.Choose):
            count, _ = self.expressions.value(stmt.count)
            alternative = self.load_word("%scr", SCRATCH_ALTERNATIVE)
            self.leave_if(self.compare("sge", alternative, count), NO_ALTERNATIVE)
            self._set_may(1)
            self.assign(stmt.dst, alternative, None)
        elif goes_on:
            self._save(self._kept(stop.live))
            self.jump(do)
            self.label(do)
            self.known.may = 0

    def _call(self, number: int, index: int, stmt: ir.Call) -> None:
        values = [self.expressions.value(a) for a in stmt.args]
        callee = self.shared.program.codes[stmt.function]
        for (value, largest), param in zip(values, callee.function.params, strict=True):
            self.check_fits(value, self.shared.layout.width(callee.function.vars[param]), largest)
        site = self.code.call_at.get((number, index))
        target = self.shared.number[stmt.function]
        if site is None and stmt.function in self.shared.written_in:
            self._write_in(callee, [v for v, _ in values], stmt.dsts)
            return
        if site is None:
            args = "".join(f", i64 {word(v)}" for v, _ in values)
            status = self.emit(f"call i64 @f{target}(ptr %st, ptr %tp, ptr %scr{args})")
            if stmt.function not in self.shared.always_ends:
                leave, go = self.name("leave"), self.name("go")
                self.branch(self.compare("ne", status, 1), leave, go)
                self.follow(leave)
                self.do(f"ret i64 {status}")
                self.follow(go)
                self._early = True
        else:
            self._call_stopping(site, target, [v for v, _ in values])
        results = [self.load_word("%scr", SCRATCH_VALUES + n) for n, _ in enumerate(stmt.dsts)]
        for dst, result, type_ in zip(stmt.dsts, results, callee.function.results, strict=False):
            self.assign(dst, result, (1 << self.shared.layout.width(type_)) - 1)

    def _write_in(self, callee: Code, values: list[Operand], dsts: tuple[str, ...]) -> None:
        """A small function in place of a call of it; its arguments are known to fit."""
        inner = FunctionCoder(self.shared, callee, self)
        function = callee.function
        for name in function.vars:
            inner.known.hold(name, 0)
        for name, value in zip(function.params, values, strict=True):
            inner.known.hold(name, value)
        inner.known.passed = self.known.passed
        inner._block(0, function.blocks[0])
        term = function.blocks[0].term
        assert isinstance(term, ir.Return)
        found = [inner.expressions.value(v) for v in term.values]
        for (value, largest), type_ in zip(found, function.results, strict=True):
            inner.check_fits(value, self.shared.layout.width(type_), largest)
        self._early = self._early or inner._early
        for dst, (value, _), type_ in zip(dsts, found, function.results, strict=False):
            self.assign(dst, value, (1 << self.shared.layout.width(type_)) - 1)

    def _call_stopping(self, site: CallSite, target: int, values: list[Operand]) -> None:
        for n, value in enumerate(values):
            self.store_word("%scr", SCRATCH_VALUES + n, value)
        self._pack(site.live, None)
        row = self.shared.table(self, "child_base", "%ctx")
        child = self.shared.table(self, "children", str(self.op("add", row, site.number)))
        args = f"ptr %st, ptr %tp, i64 0, i64 {child}, i64 {word(self._may())}, ptr %scr"
        self.do(f"ret i64 {self.emit(f'call i64 @f{target}({args})')}")
        self.label(f"resume{site.number}")
        self._unpack(site.live)
        self.known.may = "%may.in"

    def _return(self, values: tuple[ir.Expr, ...]) -> None:
        results = [self.expressions.value(v) for v in values]
        for n, ((value, largest), type_) in enumerate(zip(results, self.function.results, strict=True)):
            self.check_fits(value, self.shared.layout.width(type_), largest)
            self.store_word("%scr", SCRATCH_VALUES + n, value)
        self._clear_frame()
        if self.code.may_stop:
            call = f"call i64 @leave(i64 %ctx, i64 {word(self._may())}, ptr %scr)"
            self.do(f"ret i64 {self.emit(call)}")
        else:
            self.do("ret i64 1")

    # ------------------------------------------------------------------------------------ statements

    def _terminator(self, number: int, term: ir.Term) -> None:
        match term:
            case ir.Jump(to=to):
                if (number, to) in self.code.ways_back:
                    self._count_round(1)
                self._go_on(number, (to,))
                self.jump(f"b{to}")
            case ir.Branch(cond=cond, then=then, orelse=orelse):
                test = self.expressions.test(cond)
                if (number, then) in self.code.ways_back and (number, orelse) in self.code.ways_back:
                    self._count_round(1)
                elif (number, then) in self.code.ways_back:
                    self._count_round(self.as_word(test))
                elif (number, orelse) in self.code.ways_back:
                    self._count_round(self.op("xor", self.as_word(test), 1))
                self._go_on(number, (then, orelse))
                self.branch(test, f"b{then}", f"b{orelse}")
            case ir.Return(values=values):
                self._return(values)

    def _count_round(self, times: Operand) -> None:
        rounds = self.op("add", self.load_word("%scr", SCRATCH_ROUNDS), times)
        self.store_word("%scr", SCRATCH_ROUNDS, rounds)
        self.raise_if(self.compare("ugt", rounds, link.ROUNDS_MAX), "bad_kernel_state")

    def _statement(self, number: int, index: int, stmt: ir.Stmt) -> None:
        stop = self.code.stop_at.get((number, index))
        if stop is not None:
            self._stop(stop, stmt)
        match stmt:
            case ir.Choose():
                pass
            case ir.Call():
                self._call(number, index, stmt)
            case ir.Assign(dst=dst, value=value):
                operand, largest = self.expressions.value(value)
                self.assign(dst, operand, largest)
            case ir.Flag(name=name):
                self._early = True
                self.do(f"ret i64 {self.shared.flag(name)}")
            case ir.Reach(name=name):
                bit = self.shared.situation(name)
                old = self.load_word("%scr", bit // 64)
                self.store_word("%scr", bit // 64, self.op("or", old, 1 << bit % 64))
            case ir.New(dst=dst, struct=struct):
                made = self.code.object_at[number, index]
                for lane in self.shared.packing.objects[struct, made.number].values():
                    for at, mask in lane.bits().items():
                        self.store_word("%tp", at, self.op("and", self.load_word("%tp", at), ~mask))
                self.assign(dst, made.number, made.number)
            case _:
                self.places.access(stmt)


@functools.lru_cache(1 << 16)
def _id(name: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "." for c in name)

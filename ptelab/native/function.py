# SPDX-License-Identifier: GPL-2.0-only
"""The LLVM function of one IR function."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ptelab import ir
from ptelab.link import CallSite, Code, Stop
from ptelab.native.emitter import Emitter, Operand, word
from ptelab.native.expressions import Expressions
from ptelab.native.places import Places
from ptelab.packing import Lane

if TYPE_CHECKING:
    from ptelab.native.codegen import Codegen

_MAY = "%may"


class FunctionCoder(Emitter):
    """Emits one function; `text` is all that callers use."""

    def __init__(self, shared: Codegen, code: Code) -> None:
        super().__init__()
        self.shared = shared
        self.code = code
        self.function = code.function
        self.own = shared.number[self.function.name]
        self.expressions = Expressions(self, shared.layout, self.function)
        self.places = Places(self)
        # Within straight code, what a variable holds is known without loading it, and is stored only where control goes
        # on in a block that reads it.
        self._known: dict[str, Operand] = {}
        self._unsaved: dict[str, Operand] = {}
        self._in_memory: dict[str, None] = {}

    # ---------------------------------------------------------------------------------------- frame

    def text(self) -> str:
        if self.code.may_stop:
            self.do(f"{_MAY} = alloca i64")
            self.do(f"store i64 %may.in, ptr {_MAY}")
            targets = ["i64 0, label %entry.code"]
            targets += [f"i64 {1 + s.number}, label %fire{s.number}" for s in self.code.stops]
            first = 1 + len(self.code.stops)
            targets += [f"i64 {first + c.number}, label %resume{c.number}" for c in self.code.calls]
            self.do(f"switch i64 %where, label %entry.code [{' '.join(targets)}]")
            self.label("entry.code")
        self._enter()
        self._save(self.code.live_in[0])
        self.jump("b0")
        for number, block in enumerate(self.function.blocks):
            self.label(f"b{number}")
            if noted := self.shared.block_entered(self.function.name, number):
                self.do(noted)
            for index, stmt in enumerate(block.stmts):
                self._statement(number, index, stmt)
            self._terminator(block.term)
        variables = [f"  %v.{_id(name)} = alloca i64" for name in self._in_memory]
        body = "\n".join(variables + self.lines)
        return f"define internal i64 @f{self.own}({self._signature()}) {{\n{body}\n}}\n"

    def _signature(self) -> str:
        if self.code.may_stop:
            return (
                "ptr %st, ptr %tp, i64 %where, i64 %ctx, i64 %thread, i64 %cpu, i64 %may.in, i64 %alternative, ptr %scr"
            )
        extra = "".join(f", i64 %a{n}" for n, _ in enumerate(self.function.params))
        return f"ptr %st, ptr %tp, i64 %thread, i64 %cpu, ptr %scr{extra}"

    def _enter(self) -> None:
        from ptelab.native.codegen import SCRATCH_VALUES

        for name in self.function.vars:
            self._hold(name, 0)
        for n, name in enumerate(self.function.params):
            self._hold(name, self.load_word("%scr", SCRATCH_VALUES + n) if self.code.may_stop else f"%a{n}")

    # ------------------------------------------------------------------------------------- variables

    def label(self, label: str) -> None:
        """Begin code that is reached from more than one place: variables are where `_save` left them."""
        self._known.clear()
        self._unsaved.clear()
        super().label(label)

    def follow(self, label: str) -> None:
        """Begin code that is reached only from the branch before: what was known there is known here."""
        super().label(label)

    def _hold(self, name: str, value: Operand) -> None:
        self._known[name] = self._unsaved[name] = value

    def _save(self, live: Iterable[str]) -> None:
        """Store what will be read behind the next label."""
        for name in self.function.vars if self.shared.keep_dead else sorted(live):
            if name in self._unsaved:
                self._in_memory[name] = None
                self.do(f"store i64 {word(self._unsaved.pop(name))}, ptr %v.{_id(name)}")

    def read(self, name: str) -> Operand:
        """What a variable holds."""
        if name not in self._known:
            self._in_memory[name] = None
            self._known[name] = self.emit(f"load i64, ptr %v.{_id(name)}")
        return self._known[name]

    def assign(self, name: str, value: Operand, largest: int | None) -> None:
        """Assign to a variable; unless `largest` shows that the value fits, raise bad_kernel_state when it does not."""
        width = self.shared.layout.width(self.function.vars[name])
        self.check_fits(value, width, largest)
        self._hold(name, value)

    def check_fits(self, value: Operand, width: int, largest: int | None) -> None:
        if largest is not None and largest >> width == 0:
            return
        if isinstance(value, int):
            if value >> width:
                self.raise_if("true", "bad_kernel_state")
            return
        self.raise_if(self.compare("ne", self.op("lshr", value, width), 0), "bad_kernel_state")

    def raise_if(self, cond: str, flag: str) -> None:
        self.leave_if(cond, self.shared.flag(flag))

    def leave_if(self, cond: str, status: int) -> None:
        """Return a status when the i1 holds."""
        leave, go = self.name("leave"), self.name("go")
        self.branch(cond, leave, go)
        self.follow(leave)
        self.do(f"ret i64 {status}")
        self.follow(go)

    # -------------------------------------------------------------------------------- stops and calls

    def _pack(self, live: frozenset[str], position: Operand | None) -> None:
        """Store the live variables into the thread's words, zeroes for the others, and the position if given."""
        masks: dict[int, int] = {}
        values: dict[int, Operand] = {}
        for slot in self.code.slots:
            lane = self.shared.packing.vars[self.function.name, slot]
            masks[lane.word] = masks.get(lane.word, 0) | lane.mask << lane.shift
            if slot in live or self.shared.keep_dead:
                moved = self.op("shl", self.read(slot), lane.shift)
                values[lane.word] = self.op("or", values.get(lane.word, 0), moved)
        if position is not None:
            masks[0] = masks.get(0, 0) | self.shared.packing.position.mask
            values[0] = self.op("or", values.get(0, 0), position)
        for at, mask in sorted(masks.items()):
            kept = self.op("and", self.load_word("%tp", at), ~mask)
            self.store_word("%tp", at, self.op("or", kept, values.get(at, 0)))

    def _unpack(self, live: frozenset[str]) -> None:
        for slot in self.code.slots:
            if slot in live or self.shared.keep_dead:
                lane = self.shared.packing.vars[self.function.name, slot]
                value = self.op("and", self.op("lshr", self.load_word("%tp", lane.word), lane.shift), lane.mask)
                self._hold(slot, value)

    def _clear_frame(self) -> None:
        masks: dict[int, int] = {}
        lanes: list[Lane] = [self.shared.packing.vars[self.function.name, s] for s in self.code.slots]
        for made in self.code.objects:
            lanes += self.shared.packing.objects[made.struct, made.number].values()
        for lane in lanes:
            for at, mask in lane.bits().items():
                masks[at] = masks.get(at, 0) | mask
        for at, mask in sorted(masks.items()):
            self.store_word("%tp", at, self.op("and", self.load_word("%tp", at), ~mask))

    def _stop(self, stop: Stop, stmt: ir.Stmt) -> None:
        """What happens when control arrives at a stop, and where a transition that starts here comes in."""
        from ptelab.native.codegen import NO_ALTERNATIVE

        park, fire, do = f"park{stop.number}", f"fire{stop.number}", f"do{stop.number}"
        if stop.choose:
            self.jump(park)
        else:
            self._save(stop.live)
            go = self.name("go")
            self.branch(self.compare("ne", self.emit(f"load i64, ptr {_MAY}"), 0), go, park)
            self.follow(go)
            self.do(f"store i64 0, ptr {_MAY}")
            self.jump(do)
        self.follow(park)
        base = self.shared.table(self, "base_of", "%ctx")
        self._pack(stop.live, self.op("add", base, stop.number))
        self.do("ret i64 1")
        self.label(fire)
        self._unpack(stop.live)
        if isinstance(stmt, ir.Choose):
            count, _ = self.expressions.value(stmt.count)
            self.leave_if(self.compare("sge", "%alternative", count), NO_ALTERNATIVE)
            self.do(f"store i64 1, ptr {_MAY}")
            self.assign(stmt.dst, "%alternative", None)
        else:
            self._save(stop.live)
            self.jump(do)
            self.label(do)

    def _call(self, number: int, index: int, stmt: ir.Call) -> None:
        from ptelab.native.codegen import SCRATCH_VALUES

        values = [self.expressions.value(a) for a in stmt.args]
        callee = self.shared.program.codes[stmt.function]
        for (value, largest), param in zip(values, callee.function.params, strict=True):
            self.check_fits(value, self.shared.layout.width(callee.function.vars[param]), largest)
        site = self.code.call_at.get((number, index))
        target = self.shared.number[stmt.function]
        if site is None:
            args = "".join(f", i64 {word(v)}" for v, _ in values)
            status = self.emit(f"call i64 @f{target}(ptr %st, ptr %tp, i64 %thread, i64 %cpu, ptr %scr{args})")
            leave, go = self.name("leave"), self.name("go")
            self.branch(self.compare("ne", status, 1), leave, go)
            self.follow(leave)
            self.do(f"ret i64 {status}")
            self.follow(go)
        else:
            self._call_stopping(site, target, [v for v, _ in values])
        results = [self.load_word("%scr", SCRATCH_VALUES + n) for n, _ in enumerate(stmt.dsts)]
        for dst, result, type_ in zip(stmt.dsts, results, callee.function.results, strict=False):
            self.assign(dst, result, (1 << self.shared.layout.width(type_)) - 1)

    def _call_stopping(self, site: CallSite, target: int, values: list[Operand]) -> None:
        from ptelab.native.codegen import SCRATCH_VALUES

        for n, value in enumerate(values):
            self.store_word("%scr", SCRATCH_VALUES + n, value)
        self._pack(site.live, None)
        row = self.shared.table(self, "child_base", "%ctx")
        child = self.shared.table(self, "children", str(self.op("add", row, site.number)))
        may = self.emit(f"load i64, ptr {_MAY}")
        args = f"ptr %st, ptr %tp, i64 0, i64 {child}, i64 %thread, i64 %cpu, i64 {may}, i64 %alternative, ptr %scr"
        self.do(f"ret i64 {self.emit(f'call i64 @f{target}({args})')}")
        self.label(f"resume{site.number}")
        self._unpack(site.live)

    def _return(self, values: tuple[ir.Expr, ...]) -> None:
        from ptelab.native.codegen import SCRATCH_VALUES

        results = [self.expressions.value(v) for v in values]
        for n, ((value, largest), type_) in enumerate(zip(results, self.function.results, strict=True)):
            self.check_fits(value, self.shared.layout.width(type_), largest)
            self.store_word("%scr", SCRATCH_VALUES + n, value)
        self._clear_frame()
        if not self.code.may_stop:
            self.do("ret i64 1")
            return
        callers = self.shared.callers[self.function.name]
        top = self.name("top")
        caller = self.shared.table(self, "caller_of", "%ctx")
        cases = [(self.shared.number[c], self.name("caller")) for c in callers]
        self.do(f"switch i64 {caller}, label %{top} [{' '.join(f'i64 {n}, label %{label}' for n, label in cases)}]")
        for n, label in cases:
            self.label(label)
            where = self.shared.table(self, "resume_of", "%ctx")
            parent = self.shared.table(self, "parent_of", "%ctx")
            may = self.emit(f"load i64, ptr {_MAY}")
            args = f"ptr %st, ptr %tp, i64 {where}, i64 {parent}, i64 %thread, i64 %cpu, i64 {may}"
            args += ", i64 %alternative, ptr %scr"
            self.do(f"ret i64 {self.emit(f'call i64 @f{n}({args})')}")
        self.label(top)
        self.store_word("%tp", 0, self.op("and", self.load_word("%tp", 0), ~self.shared.packing.position.mask))
        self.do("ret i64 1")

    # ------------------------------------------------------------------------------------ statements

    def _terminator(self, term: ir.Term) -> None:
        match term:
            case ir.Jump(to=to):
                self._save(self.code.live_in[to])
                self.jump(f"b{to}")
            case ir.Branch(cond=cond, then=then, orelse=orelse):
                test = self.expressions.test(cond)
                self._save(self.code.live_in[then] | self.code.live_in[orelse])
                self.branch(test, f"b{then}", f"b{orelse}")
            case ir.Return(values=values):
                self._return(values)

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
                self.do(f"ret i64 {self.shared.flag(name)}")
                self.label(self.name("dead"))
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

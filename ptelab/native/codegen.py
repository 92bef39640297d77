# SPDX-License-Identifier: GPL-2.0-only
"""From a program and its packing to LLVM text: one function per IR function, and `transition` over them all.

A function that may stop is entered at its start, at one of its stops or behind one of its calls, and runs until the
thread stops again; then it stores its live variables into the thread's words and returns.  A call of such a function is
a call of its LLVM function, to which nothing comes back: when it is done, `transition` goes on in the caller.  So the
machine's stack is never deeper than calls nest.
"""

from __future__ import annotations

import ctypes
import functools

from ptelab import flow, ir
from ptelab.ample import Mode
from ptelab.layout import Layout
from ptelab.link import Code, Program
from ptelab.native.emitter import Emitter, Operand, word
from ptelab.native.function import FunctionCoder
from ptelab.native.scratch import (
    FIRST_FLAG,
    REACHED_WORDS,
    RETURNED,
    SCRATCH_ALTERNATIVE,
    SCRATCH_CPU,
    SCRATCH_RETURN,
    SCRATCH_ROUNDS,
    SCRATCH_THREAD,
)
from ptelab.packing import Packing
from ptelab.scenario import Scenario

BUILT_IN_FLAGS = ("bad_kernel_state", "null_dereference", "lock_assertion", "deadlock")
WRITTEN_IN_MAX = 12
"""Statements of a function that is written into its callers, with those of what is written into it."""


class Codegen:
    """Everything that the functions' coders share."""

    def __init__(
        self, scenario: Scenario, program: Program, layout: Layout, packing: Packing, final: str, keep_dead: bool
    ) -> None:
        self.scenario = scenario
        self.program = program
        self.layout = layout
        self.packing = packing
        self.final = final
        self.keep_dead = keep_dead
        self.flags = list(BUILT_IN_FLAGS)
        self.situations: list[str] = []
        self.number = {name: n for n, name in enumerate(program.order)}
        self.always_ends: set[str] = set()  # functions that neither stop nor raise a flag
        self.written_in: dict[str, int] = {}  # functions that are written into their callers → statements
        for name in program.order:
            self._weigh(program.codes[name])
        self.covered: ctypes.Array[ctypes.c_uint8] | None = None  # a byte per block, set when it is entered
        self._first_block: dict[str, int] = {}

    def _weigh(self, code: Code) -> None:
        """Note whether a function is so small that it is written into its callers; its callees are known."""
        (first, *more) = code.function.blocks
        if more or code.may_stop or not isinstance(first.term, ir.Return):
            return
        if any(isinstance(s, ir.Flag | ir.New) for s in first.stmts):
            return
        called = (self.written_in.get(s.function, 0) for s in first.stmts if isinstance(s, ir.Call))
        if (statements := len(first.stmts) + sum(called)) <= WRITTEN_IN_MAX:
            self.written_in[code.function.name] = statements

    def watch_blocks(self) -> None:
        """Have the code note which blocks it enters."""
        count = 0
        for name in self.program.order:
            self._first_block[name] = count
            count += len(self.program.codes[name].function.blocks)
        self.covered = (ctypes.c_uint8 * count)()

    def block_entered(self, function: str, block: int) -> str:
        """The instruction that notes that a block is entered; empty when nobody wants to know."""
        if self.covered is None:
            return ""
        address = ctypes.addressof(self.covered) + self._first_block[function] + block
        return f"store i8 1, ptr inttoptr (i64 {address} to ptr)"

    def covered_lines(self) -> set[tuple[str, int]]:
        """(file, line) of every statement in a block that was entered."""
        assert self.covered is not None
        return {
            (s.at.file, s.at.line)
            for name in self.program.order
            for number, block in enumerate(self.program.codes[name].function.blocks)
            if self.covered[self._first_block[name] + number]
            for s in block.stmts
        }

    def returned_lines(self) -> set[tuple[str, int]]:
        """(file, line) of every return that is a block of its own and was come to."""
        assert self.covered is not None
        return {
            (block.term.at.file, block.term.at.line)
            for name in self.program.order
            for number, block in enumerate(self.program.codes[name].function.blocks)
            if self.covered[self._first_block[name] + number] and not block.stmts and isinstance(block.term, ir.Return)
        }

    def flag(self, name: str) -> int:
        """The status that means: this flag was raised."""
        if name not in self.flags:
            self.flags.append(name)
        return FIRST_FLAG + self.flags.index(name)

    def situation(self, name: str) -> int:
        """The number of a situation's bit."""
        if name not in self.situations:
            self.situations.append(name)
            if len(self.situations) > 64 * REACHED_WORDS:
                raise ValueError("too many situations")
        return self.situations.index(name)

    def text(self, modes: list[Mode]) -> str:
        """The whole module's text; `modes` are the lock modes of the partial-order reduction.

        It has `transition`, `final` and `held_modes`.
        """
        parts = [self._tables()]
        for name in self.program.order:
            if self._wanted(name):
                parts.append(FunctionCoder(self, self.program.codes[name]).text())
        parts += [self._transition(), self._leave(), self._final(), self._held_modes(modes)]
        return "\n".join(parts)

    def _wanted(self, name: str) -> bool:
        roots = {self.final, *(t.root for t in self.scenario.threads)}
        return name in self._reachable and (name in roots or name not in self.written_in)

    def values_max(self) -> int:
        """The largest number of arguments or results that a function has."""
        functions = (code.function for code in self.program.codes.values())
        return max(max(len(f.params), len(f.results)) for f in functions)

    @functools.cached_property
    def _reachable(self) -> set[str]:
        roots = [*(t.root for t in self.scenario.threads), self.final]
        return set(flow.called_from(self.program.module.functions, roots))

    def _tables(self) -> str:
        program = self.program
        where, context_of, function_of = [0], [0], [0]
        for position in program.position[1:]:
            assert position is not None
            context, stop = position
            where.append(1 + stop.number)
            context_of.append(context.number)
            function_of.append(self.number[context.code.function.name])
        base: list[int] = []
        parent: list[int] = []
        call: list[int] = []
        caller: list[int] = []
        child_base: list[int] = []
        children: list[int] = []
        for context in program.contexts:
            base.append(context.base)
            parent.append(-1 if context.parent is None else context.parent.number)
            caller.append(-1 if context.parent is None else self.number[context.parent.code.function.name])
            call.append(0 if context.call is None else 1 + len(context.parent.code.stops) + context.call.number)  # type: ignore[union-attr]
            child_base.append(len(children))
            children += [context.children[s.number].number for s in context.code.calls]
        tables = {
            "where_of": where, "context_of": context_of, "function_of": function_of,
            "base_of": base, "parent_of": parent, "resume_of": call, "caller_of": caller, "child_base": child_base,
            "children": children or [0],
        }  # fmt: skip
        return "\n".join(
            f"@{name} = private constant [{len(v)} x i64] [{', '.join(f'i64 {x}' for x in v)}]"
            for name, v in tables.items()
        )

    def table(self, emitter: Emitter, name: str, index: str | int) -> str:
        """An entry of one of the tables, as a word."""
        return emitter.emit(f"load i64, ptr {emitter.emit(f'getelementptr i64, ptr @{name}, i64 {index}')}")

    def _stopping(self) -> list[str]:
        return [n for n in self.program.order if self.program.codes[n].may_stop and self._wanted(n)]

    def _transition(self) -> str:
        e = Emitter()
        e.do("%st = inttoptr i64 %state to ptr")
        e.do("%scr = inttoptr i64 %scratch to ptr")
        e.do(f"%tp = getelementptr i64, ptr %st, i64 {self.table(e, 'thread_word', '%thread')}")
        e.store_word("%scr", SCRATCH_THREAD, "%thread")
        e.store_word("%scr", SCRATCH_CPU, self.table(e, "thread_cpu", "%thread"))
        e.store_word("%scr", SCRATCH_ALTERNATIVE, "%alternative")
        e.store_word("%scr", SCRATCH_ROUNDS, 0)
        vpc = str(e.op("and", e.load_word("%tp", 0), self.packing.position.mask))
        where, context = self.table(e, "where_of", vpc), self.table(e, "context_of", vpc)
        function = self.table(e, "function_of", vpc)
        e.jump("go")
        e.label("go")
        # Around again for each return, so that no number of them fills the machine's stack.
        ways = {"function": function, "where": where, "ctx": context, "may": "0"}
        back = {name: f"%back.{name}" for name in ways}
        for name, first in ways.items():
            e.do(f"%{name} = phi i64 [ {first}, %start ], [ {back[name]}, %back ]")
        args = ", ".join(f"i64 %{name}" for name in ways)
        status = e.emit(f"call i64 @go(ptr %st, ptr %tp, {args}, ptr %scr)")
        e.branch(e.compare("eq", status, RETURNED), "back", "done")
        e.label("back")
        left = e.load_word("%scr", SCRATCH_RETURN)
        old = str(e.op("lshr", left, 1))
        tables = {"function": "caller_of", "where": "resume_of", "ctx": "parent_of"}
        for name, table in tables.items():
            e.do(f"{back[name]} = add i64 {self.table(e, table, old)}, 0")
        e.do(f"{back['may']} = and i64 {left}, 1")
        e.jump("go")
        e.label("done")
        e.do(f"ret i64 {status}")
        words = ", ".join(f"i64 {w}" for w in self.packing.thread_word)
        cpus = ", ".join(f"i64 {t.cpu}" for t in self.scenario.threads)
        n = len(self.scenario.threads)
        return "\n".join(
            [
                f"@thread_word = private constant [{n} x i64] [{words}]",
                f"@thread_cpu = private constant [{n} x i64] [{cpus}]",
                "define i64 @transition(i64 %state, i64 %thread, i64 %alternative, i64 %scratch) {\nstart:",
                *e.lines,
                "}",
            ]
        )

    def _leave(self) -> str:
        """How functions that may stop return."""
        e = Emitter()
        e.store_word("%scr", SCRATCH_RETURN, e.op("or", e.op("shl", "%ctx", 1), "%may"))
        e.do(f"ret i64 {RETURNED}")
        signature = "i64 %ctx, i64 %may, ptr %scr"
        return "\n".join([f"define internal i64 @leave({signature}) nounwind {{", *e.lines, "}", self._go()])

    def _go(self) -> str:
        """Go on somewhere in the function of a number; -1 ends the thread."""
        e = Emitter()
        names = self._stopping()
        cases = " ".join(f"i64 {self.number[n]}, label %f{self.number[n]}" for n in names)
        e.do(f"switch i64 %function, label %end [{cases}]")
        for name in names:
            e.label(f"f{self.number[name]}")
            args = "ptr %st, ptr %tp, i64 %where, i64 %ctx, i64 %may, ptr %scr"
            e.do(f"ret i64 {e.emit(f'call i64 @f{self.number[name]}({args})')}")
        e.label("end")
        e.store_word("%tp", 0, e.op("and", e.load_word("%tp", 0), ~self.packing.position.mask))
        e.do("ret i64 1")
        signature = "ptr %st, ptr %tp, i64 %function, i64 %where, i64 %ctx, i64 %may, ptr %scr"
        return "\n".join([f"define internal i64 @go({signature}) nounwind {{", *e.lines, "}"])

    def _held_modes(self, modes: list[Mode]) -> str:
        e = Emitter()
        e.do("%st = inttoptr i64 %state to ptr")
        shift = self.layout.param("NR_THREADS").bit_length()
        result: Operand = 0
        for number, mode in enumerate(modes):
            lane = self.packing.shared[mode.struct, mode.member, 0]
            value = e.op("and", e.op("lshr", e.load_word("%st", lane.word), lane.shift), lane.mask)
            if mode.kind == "write":
                owner = e.op("and", value, (1 << shift) - 1)
                held = e.as_word(e.compare("eq", owner, e.op("add", "%thread", 1)))
            else:
                held = e.op("and", e.emit(f"lshr i64 {value}, {e.op('add', '%thread', shift)}"), 1)
            result = e.op("or", result, e.op("shl", held, number))
        e.do(f"ret i64 {word(result)}")
        return "\n".join(["define i64 @held_modes(i64 %state, i64 %thread) {", *e.lines, "}"])

    def _final(self) -> str:
        e = Emitter()
        e.do("%st = inttoptr i64 %state to ptr")
        e.do("%scr = inttoptr i64 %scratch to ptr")
        e.do(f"%tp = getelementptr i64, ptr %st, i64 {word(self.packing.thread_word[0])}")
        e.store_word("%scr", SCRATCH_THREAD, 0)
        e.store_word("%scr", SCRATCH_CPU, 0)
        e.store_word("%scr", SCRATCH_ROUNDS, 0)
        call = f"call i64 @f{self.number[self.final]}(ptr %st, ptr %tp, ptr %scr)"
        e.do(f"ret i64 {e.emit(call)}")
        return "\n".join(["define i64 @final(i64 %state, i64 %scratch) {", *e.lines, "}"])

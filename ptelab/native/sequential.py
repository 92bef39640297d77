# SPDX-License-Identifier: GPL-2.0-only
"""One thread at scale: the IR as ordinary machine code over large tables, from one end to the other.

Where the search packs a small layout into a few words and can stop at every step, here each scalar has a word of its
own, calls are calls, and nothing is ever given back.  Other threads do not exist: a wait for one is an error, as is a
flag.  A choice takes its first alternative.

Differs: integers are words, whatever their declared width, and what is shifted out of one is lost; only sizes of pools
and arrays are checked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptelab import ir
from ptelab.flow import called_from
from ptelab.layout import Layout
from ptelab.memory import Column, Memory
from ptelab.native.compiler import compile_text
from ptelab.native.emitter import Emitter

_EVENT_WORDS = 8
_HEAD_WORDS = 64  # the number of events, then the results that pass between functions
_RESULTS = 8


class Stopped(Exception):
    """The run cannot go on: a flag, a wait for another thread, a lock that is taken, or a reference to nothing."""


@dataclass(frozen=True, slots=True)
class Event:
    """A watched function was entered with these arguments."""

    function: str
    args: Mapping[str, int]


class Sequential:
    """A module made ready to run: `call` runs a function without parameters, on the memory that all calls share."""

    def __init__(
        self, module: ir.Module, params: Mapping[str, int], roots: Sequence[str], watch: Sequence[str], events_max: int
    ) -> None:
        stack = {f"nr_{name}": 1 for name, s in module.structs.items() if s.kind == "stack"}
        self.module, self.layout = module, Layout(module, {**stack, **params})
        self.memory = Memory(self.layout)
        self.watch = list(watch)
        self.events_max = events_max
        self.reasons: list[tuple[str, ir.At]] = []
        self.objects: dict[str, list[int]] = {}  # stack struct → where each of its objects lies
        self.handles: dict[tuple[str, int, int], int] = {}  # a `new` statement → what it makes, always the same
        self.stack_memory: dict[str, Memory] = {}
        for name, struct in module.structs.items():
            if struct.kind == "stack":
                self.stack_memory[name] = memory = Memory(self.layout, ())
                memory.add(self.layout, struct, 1)
        self.words = _HEAD_WORDS + self.memory.size
        self.number = {name: n for n, name in enumerate(called_from(module.functions, roots))}
        self._stack_objects()
        text = "\n".join(_Coder(self, module.functions[name]).text() for name in self.number)
        self.events_at = self.words
        self.words += events_max * _EVENT_WORDS
        memset = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"
        self._library = compile_text(f"{memset}\n" + text.replace("@EVENTS@", str(self.events_at)), 1)
        self.cells = (ctypes.c_int64 * self.words)()

    def clear(self) -> None:
        """Forget all that was done."""
        ctypes.memset(self.cells, 0, ctypes.sizeof(self.cells))

    def call(self, function: str) -> list[Event]:
        """Run a function; the events in their order.  Raises Stopped."""
        self.cells[0] = 0
        status = self._library.function(f"s{self.number[function]}", 1)(ctypes.addressof(self.cells))
        if status:
            what, at = self.reasons[status - 1]
            raise Stopped(f"{what} ({at.file}:{at.line})")
        if self.cells[0] >= self.events_max:
            raise Stopped("too many events")
        found = []
        for i in range(self.cells[0]):
            at0 = self.events_at + i * _EVENT_WORDS
            name = self.watch[self.cells[at0]]
            params = self.module.functions[name].params
            found.append(Event(name, dict(zip(params, self.cells[at0 + 1 : at0 + _EVENT_WORDS], strict=False))))
        return found

    def value(self, struct: str, field: str, element: int, index: int = 0) -> int:
        """The first part of a shared member as the last call has left it; of a handle, 0 is none."""
        return self.cells[_HEAD_WORDS + self.memory.columns[struct, field].cell(element, index)]

    def reason(self, what: str, at: ir.At) -> int:
        """The status that means this."""
        self.reasons.append((what, at))
        return len(self.reasons)

    # Nothing recurs, so each `new` statement has an object of its own, for ever.
    def _stack_objects(self) -> None:
        for name in self.number:
            for b, block in enumerate(self.module.functions[name].blocks):
                for i, stmt in enumerate(block.stmts):
                    if isinstance(stmt, ir.New):
                        places = self.objects.setdefault(stmt.struct, [])
                        places.append(self.words)
                        self.words += self.stack_memory[stmt.struct].size
                        self.handles[name, b, i] = len(places)


_SIMPLE = {"+": "add", "-": "sub", "*": "mul", "//": "sdiv", "%": "srem", "&": "and", "|": "or", "^": "xor",
           "<<": "shl", ">>": "ashr"}  # fmt: skip
_COMPARE = {"==": "eq", "!=": "ne", "<": "slt", "<=": "sle", ">": "sgt", ">=": "sge"}


class _Coder(Emitter):
    """One function: `i64 @sN(i64 memory, i64 …)` returns 0 or the number of a reason to stop."""

    def __init__(self, whole: Sequential, function: ir.Function) -> None:
        super().__init__()
        self.whole, self.function = whole, function
        self.var = {name: f"%v{n}" for n, name in enumerate(function.vars)}

    def text(self) -> str:
        f = self.function
        self.do("%m = inttoptr i64 %memory to ptr")
        for name in f.vars:
            self.do(f"{self.var[name]} = alloca i64")
            value = f"%a{f.params.index(name)}" if name in f.params else "0"
            self.do(f"store i64 {value}, ptr {self.var[name]}")
        if f.name in self.whole.watch:
            self._event(self.whole.watch.index(f.name))
        self.jump("b0")
        for number, block in enumerate(f.blocks):
            self.label(f"b{number}")
            for index, stmt in enumerate(block.stmts):
                if isinstance(stmt, ir.New):
                    self._new(stmt, self.whole.handles[f.name, number, index])
                else:
                    self._statement(stmt)
            self._terminator(block.term)
        params = "".join(f", i64 %a{n}" for n in range(len(f.params)))
        head = f"define i64 @s{self.whole.number[f.name]}(i64 %memory{params}) {{"
        return "\n".join([head, *self.lines, "}\n"])

    def _event(self, number: int) -> None:
        count = self.emit("load i64, ptr %m")
        low = self.emit(f"icmp slt i64 {count}, {self.whole.events_max}")
        room, on = self.name("room"), self.name("on")
        self.branch(low, room, on)
        self.label(room)
        at = self.emit(f"mul i64 {count}, {_EVENT_WORDS}")
        for i, value in enumerate([str(number), *(f"%a{n}" for n in range(len(self.function.params)))][:_EVENT_WORDS]):
            self.do(f"store i64 {value}, ptr {self._cell(self.emit(f'add i64 {at}, {i}'), '@EVENTS@')}")
        self.do(f"store i64 {self.emit(f'add i64 {count}, 1')}, ptr %m")
        self.jump(on)
        self.label(on)

    def _cell(self, index: str, base: int | str) -> str:
        return self.emit(f"getelementptr i64, ptr %m, i64 {self.emit(f'add i64 {index}, {base}')}")

    def _stop_if(self, condition: str, what: str, at: ir.At) -> None:
        stop, on = self.name("stop"), self.name("on")
        self.branch(condition, stop, on)
        self.label(stop)
        self.do(f"ret i64 {self.whole.reason(what, at)}")
        self.label(on)

    # ----------------------------------------------------------------------------------- expressions

    def _value(self, e: ir.Expr) -> str:
        match e:
            case ir.Const(value):
                return str(int(value))
            case ir.Param(name):
                return str(self.whole.layout.param(name))
            case ir.Var(name):
                return self.emit(f"load i64, ptr {self.var[name]}")
            case ir.Self():
                return "0"
            case ir.Not(a):
                return self._bit(f"icmp eq i64 {self._value(a)}, 0")
            case ir.Select(c, a, b):
                truth, x, y = self._truth(c), self._value(a), self._value(b)
                return self.emit(f"select i1 {truth}, i64 {x}, i64 {y}")
            case ir.Bin("and" | "or" as op, a, b):
                x, y = self._truth(a), self._truth(b)
                return self._bit(f"{op} i1 {x}, {y}")
            case ir.Bin("<<" | ">>" as op, a, b):  # what is shifted out of a word is lost
                x, y = self._value(a), self._value(b)
                far = self.emit(f"icmp ugt i64 {y}, 63")
                near = self.emit(f"select i1 {far}, i64 63, i64 {y}")
                shifted = self.emit(f"{_SIMPLE[op]} i64 {x}, {near}")
                return shifted if op == ">>" else self.emit(f"select i1 {far}, i64 0, i64 {shifted}")
            case ir.Bin(op, a, b):
                x, y = self._value(a), self._value(b)
                return self.emit(f"{_SIMPLE[op]} i64 {x}, {y}") if op in _SIMPLE else (
                    self._bit(f"icmp {_COMPARE[op]} i64 {x}, {y}"))  # fmt: skip
        raise AssertionError(e)

    def _bit(self, text: str) -> str:
        return self.emit(f"zext i1 {self.emit(text)} to i64")

    def _truth(self, e: ir.Expr) -> str:
        return self.emit(f"icmp ne i64 {self._value(e)}, 0")

    # Where the first part of a place lies.
    def _place(self, place: ir.Place, at: ir.At) -> tuple[str, int]:
        handle = self._value(place.handle)
        self._stop_if(self.emit(f"icmp eq i64 {handle}, 0"), "a reference to nothing", at)
        stack = self.whole.module.structs[place.struct].kind == "stack"
        memory = self.whole.stack_memory[place.struct] if stack else self.whole.memory
        column: Column = memory.columns[place.struct, place.field]
        index = "0"
        if place.index is not None:
            index = self._value(place.index)
            self._stop_if(self.emit(f"icmp uge i64 {index}, {column.count}"), f"no such {place.field}", at)
        element = self.emit(f"sub i64 {handle}, 1")
        if stack:
            start = "0"
            for number, where in enumerate(self.whole.objects.get(place.struct, [])):
                here = self.emit(f"icmp eq i64 {element}, {number}")
                start = self.emit(f"select i1 {here}, i64 {where}, i64 {start}")
            cell = self.emit(f"add i64 {start}, {self.emit(f'mul i64 {index}, {column.parts}')}")
            return self._cell(cell, column.base), column.parts
        self._stop_if(self.emit(f"icmp uge i64 {element}, {column.elements}"), f"no such {place.struct}", at)
        row = self.emit(f"add i64 {self.emit(f'mul i64 {element}, {column.count}')}, {index}")
        return self._cell(self.emit(f"mul i64 {row}, {column.parts}"), _HEAD_WORDS + column.base), column.parts

    def _get(self, cell: str, part: int) -> str:
        return self.emit(f"load i64, ptr {self.emit(f'getelementptr i64, ptr {cell}, i64 {part}')}")

    def _put(self, cell: str, part: int, value: str) -> None:
        self.do(f"store i64 {value}, ptr {self.emit(f'getelementptr i64, ptr {cell}, i64 {part}')}")

    def _set(self, name: str | None, value: str) -> None:
        if name is not None:
            self.do(f"store i64 {value}, ptr {self.var[name]}")

    # ------------------------------------------------------------------------------------ statements

    def _statement(self, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Assign(_, dst, value):
                self._set(dst, self._value(value))
            case ir.Load(at, dsts, place):
                cell, parts = self._place(place, at)
                for to, word in zip(dsts, [self._get(cell, i) for i in range(parts)], strict=True):
                    self._set(to, word)
            case ir.Store(at, place, values):
                new = [self._value(v) for v in values]
                cell, _ = self._place(place, at)
                for i, word in enumerate(new):
                    self._put(cell, i, word)
            case ir.Atomic():
                self._atomic(stmt)
            case ir.Lock():
                self._lock(stmt)
            case ir.Wait(at, pre, dsts, place, cond):
                for load in pre:
                    self._statement(load)
                self._statement(ir.Load(at, dsts, place))
                over = self._truth(cond)
                self._stop_if(self.emit(f"xor i1 {over}, true"), "a wait for another thread", at)
            case ir.Choose(_, dst, _):
                self._set(dst, "0")
            case ir.Call():
                self._call(stmt)
            case ir.Flag(at, name, _):
                self._stop_if("true", f"flag {name}", at)
            case ir.Reach() | ir.AssertHeld():
                pass

    def _new(self, stmt: ir.New, handle: int) -> None:
        where, size = self.whole.objects[stmt.struct][handle - 1], self.whole.stack_memory[stmt.struct].size
        start = self.emit(f"getelementptr i64, ptr %m, i64 {where}")
        self.do(f"call void @llvm.memset.p0.i64(ptr {start}, i8 0, i64 {size * 8}, i1 false)")
        self._set(stmt.dst, str(handle))

    def _call(self, stmt: ir.Call) -> None:
        args = "".join(f", i64 {self._value(a)}" for a in stmt.args)
        status = self.emit(f"call i64 @s{self.whole.number[stmt.function]}(i64 %memory{args})")
        stop, on = self.name("stop"), self.name("on")
        self.branch(self.emit(f"icmp ne i64 {status}, 0"), stop, on)
        self.label(stop)
        self.do(f"ret i64 {status}")
        self.label(on)
        for i, dst in enumerate(stmt.dsts):
            self._set(dst, self._get("%m", _RESULTS + i))

    def _atomic(self, stmt: ir.Atomic) -> None:
        args = [self._value(a) for a in stmt.args]
        cell, parts = self._place(stmt.place, stmt.at)
        old = [self._get(cell, i) for i in range(parts)]
        match stmt.op:
            case "xchg":
                new = args
            case "cmpxchg":
                same = "true"
                for was, expected in zip(old, args[:parts], strict=True):
                    same = self.emit(f"and i1 {same}, {self.emit(f'icmp eq i64 {was}, {expected}')}")
                new = [self.emit(f"select i1 {same}, i64 {a}, i64 {b}") for a, b in zip(args[parts:], old, strict=True)]
            case "add":
                new = [self.emit(f"add i64 {old[0]}, {args[0]}")]
            case "or":
                new = [self.emit(f"or i64 {old[0]}, {args[0]}")]
            case "andnot":
                new = [self.emit(f"and i64 {old[0]}, {self.emit(f'xor i64 {args[0]}, -1')}")]
        for i, value in enumerate(new):
            self._put(cell, i, value)
        for dst, was in zip(stmt.dsts, old, strict=False):
            self._set(dst, was)

    # A lock is 0 when it is free, 1 when the one thread holds it, 2 when it does so as a reader.
    def _lock(self, stmt: ir.Lock) -> None:
        cell, _ = self._place(stmt.place, stmt.at)
        old = self._get(cell, 0)
        free = self.emit(f"icmp eq i64 {old}, 0")
        taken = "2" if "read" in stmt.op else "1"
        if "unlock" in stmt.op or stmt.op.startswith("up"):
            self._stop_if(free, "a lock is released that is not held", stmt.at)
            self._put(cell, 0, "0")
        elif stmt.op == "downgrade_write":
            self._put(cell, 0, "2")
        elif stmt.dst is not None:
            self._put(cell, 0, self.emit(f"select i1 {free}, i64 {taken}, i64 {old}"))
            self._set(stmt.dst, self.emit(f"zext i1 {free} to i64"))
        else:
            self._stop_if(self.emit(f"xor i1 {free}, true"), "a lock is taken twice", stmt.at)
            self._put(cell, 0, taken)

    def _terminator(self, term: ir.Term) -> None:
        match term:
            case ir.Jump(_, to):
                self.jump(f"b{to}")
            case ir.Branch(_, cond, then, orelse):
                self.branch(self._truth(cond), f"b{then}", f"b{orelse}")
            case ir.Return(_, values):
                for i, value in enumerate([self._value(v) for v in values]):
                    self._put("%m", _RESULTS + i, value)
                self.do("ret i64 0")

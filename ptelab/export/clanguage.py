# SPDX-License-Identifier: GPL-2.0-only
"""The functions of a plan in C, on a state that is packed into words: as narrow ones as the widest scalar allows.

Each thread's part of the state begins with a word, so that the same code works on any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptelab import ir
from ptelab.export.coder import GO, OK, Coder, Spot, identifiers
from ptelab.export.plan import Part, Plan


@dataclass(frozen=True, slots=True)
class Lane:
    """`count` scalars of `width` bits from bit `shift` of word `word` on, `per_word` to a word."""

    word: int
    shift: int
    width: int
    count: int
    per_word: int
    words: str  # the array of words

    def at(self, index: int) -> tuple[int, int]:
        """The word and shift of one scalar."""
        return self.word + index // self.per_word, self.shift + index % self.per_word * self.width

    def read(self, index: str) -> str:
        """One scalar in C."""
        word, shift = self._where(index)
        return f"(i64)(({self.words}[{word}] >> {shift}) & {(1 << self.width) - 1})"

    def write(self, index: str, value: str) -> str:
        """The statement that gives one scalar a value."""
        word, shift = self._where(index)
        mask = (1 << self.width) - 1
        return f"put(&{self.words}[{word}], {shift}, {mask}, {value});"

    def _where(self, index: str) -> tuple[str, str]:
        if index.isdigit():
            word, shift = self.at(int(index))
            return str(word), str(shift)
        if self.per_word >= self.count:
            return str(self.word), f"({self.shift} + {index} * {self.width})"
        return f"{self.word} + {index} / {self.per_word}", f"({self.shift} + {index} % {self.per_word} * {self.width})"


class _Bits:
    """Hands out bits one behind the other; no scalar crosses a word."""

    def __init__(self, words: str, word_bits: int, start: int = 0) -> None:
        self.words = words
        self.word_bits = word_bits
        self.end = start

    def lane(self, width: int, count: int = 1) -> Lane:
        size = self.word_bits
        if width * count > size:
            first = -(-self.end // size)
            per_word = size // width
            full = -(-count // per_word) - 1
            self.end = size * (first + full) + (count - full * per_word) * width
            return Lane(first, 0, width, count, per_word, self.words)
        if self.end // size != (self.end + width * count - 1) // size:
            self.end = -(-self.end // size) * size
        lane = Lane(self.end // size, self.end % size, width, count, max(count, 1), self.words)
        self.end += width * count
        return lane


class Packed:
    """Where everything lies: `W`, the state; in it `P`, the moving thread's words; `C`, cells that nobody writes."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        layout = plan.layout
        self.word_bits = size = next(n for n in (16, 32, 64) if n >= self._widest())
        state, constant = _Bits("W", size), _Bits("C", size)
        self.cells: dict[tuple[str, str, int], Lane] = {}
        for column in sorted(plan.memory.columns.values(), key=lambda c: -max(c.widths, default=0) * c.elements):
            area = state if (column.struct, column.field.name) in plan.written else constant
            for n, width in enumerate(column.widths):
                self.cells[column.struct, column.field.name, n] = area.lane(width, column.elements * column.count)
        self.place = Lane(0, 0, max(1, len(plan.places).bit_length()), 1, 1, "P")
        self.calls: dict[str, Lane] = {}
        self.variables: dict[tuple[str, str], Lane] = {}
        self.objects: dict[tuple[str, int], dict[tuple[str, int], Lane]] = {}
        ends: dict[str, int] = {}
        for part in plan.parts.values():
            bits = _Bits("P", size, max([self.place.width, *(ends[c] for c in plan.callees(part.name))]))
            if part.callers:
                self.calls[part.name] = bits.lane(len(part.callers).bit_length())
            for name in part.code.slots:
                self.variables[part.name, name] = bits.lane(layout.width(part.function.vars[name]))
            for made in part.objects:
                lanes = self.objects[made.struct, made.number] = {}
                for field in plan.module.structs[made.struct].fields:
                    for n, width in enumerate(layout.widths(field)):
                        lanes[field.name, n] = bits.lane(width, layout.count(field))
            ends[part.name] = bits.end
        self.thread_word = []
        word = -(-state.end // size)
        for thread, _ in enumerate(plan.scenario.threads):
            self.thread_word.append(word)
            word += -(-ends[plan.root(thread).name] // size)
        self.words = word
        self.constant_words = max(1, -(-constant.end // size))

    def _widest(self) -> int:
        plan = self.plan
        widths = [w for s in plan.module.structs.values() for f in s.fields for w in plan.layout.widths(f)]
        widths += [plan.layout.width(t) for p in plan.parts.values() for t in p.function.vars.values()]
        return max([len(plan.places).bit_length(), *widths])

    def initial(self) -> tuple[list[int], list[int]]:
        """The words of the initial state, and those that never change."""
        state, constant = [0] * self.words, [0] * self.constant_words
        for column in self.plan.memory.columns.values():
            for part in range(column.parts):
                lane = self.cells[column.struct, column.field.name, part]
                target = state if lane.words == "W" else constant
                for i in range(lane.count):
                    _or(target, lane, i, self.plan.start.cells[column.base + i * column.parts + part])
        for thread, base in enumerate(self.thread_word):
            _or(state, self.place, 0, self.plan.start_place(thread), base)
            for part_, call, values, objects in self.plan.start_frames(thread):
                if call:
                    _or(state, self.calls[part_.name], 0, call, base)
                for name, value in values.items():
                    _or(state, self.variables[part_.name, name], 0, value, base)
                for (struct, number), cells in objects.items():
                    memory = self.plan.object_cells(struct)
                    for (member, n), lane in self.objects[struct, number].items():
                        column = memory.columns[struct, member]
                        for i in range(lane.count):
                            _or(state, lane, i, cells[column.base + i * column.parts + n], base)
        return state, constant


def _or(words: list[int], lane: Lane, index: int, value: int, base: int = 0) -> None:
    word, shift = lane.at(index)
    words[base + word] |= value << shift


_CHECKED = {"<<": "shift_left", ">>": "shift_right", "*": "multiply"}


class CCoder(Coder):
    """Writes C."""

    def __init__(self, plan: Plan, packed: Packed) -> None:
        super().__init__(plan)
        self.packed = packed

    def function(self, part: Part) -> str:
        """The text of one function."""
        self.begin(part)
        stops = part.code.may_stop
        for segment in part.segments:
            self.lines.append(f"s{segment.number}:;")
            self.segment(segment)
        body = self.lines
        names = [f"k{n + 1} = 0" for n in range(self.temps)]
        if not stops:
            names += [f"{self.ids[v]} = 0" for v in part.function.vars if v not in part.function.params]
        head = f"static int f{part.number}({self._parameters(part)}) {{ /* {part.name} */"
        declared = [f"  i64 {', '.join(names)};"] if names else []
        declared.append("  int st = 0; (void)st;")
        if stops:
            cases = " ".join(f"case {s.number}: goto s{s.number};" for s in part.segments if _entered(part, s.number))
            declared.append(f"  switch (at) {{ {cases} }}")
        else:
            declared.append("  goto s0;")
        return "\n".join([head, *declared, *body, "}"])

    def _parameters(self, part: Part) -> str:
        if part.code.may_stop:
            return "int at"
        ids = identifiers(part.function.vars, "v")
        return ", ".join(f"i64 {ids[p]}" for p in part.function.params) or "void"

    def signature(self, part: Part) -> str:
        """Its declaration."""
        return f"static int f{part.number}({self._parameters(part)});"

    # -------------------------------------------------------------------------------------- expressions

    def value(self, expr: ir.Expr) -> str:
        match expr:
            case ir.Const(value):
                return str(int(value)) if value >= 0 else f"({int(value)})"
            case ir.Param(name):
                return str(self.layout.param(name))
            case ir.Var(name):
                return self._variable(name)
            case ir.Self(what):
                return self.me(what)
            case ir.Not(a):
                return f"!{self.test(a)}"
            case ir.Select(cond, a, b):
                return self.choice(self.test(cond), self.value(a), self.value(b))
            case ir.Bin("and" | "or", a, b):
                return self.both(self.test(a), self.test(b), expr.op)
            case ir.Bin("//", a, b):
                return f"floor_div({self.value(a)}, {self.value(b)})"
            case ir.Bin("%", a, b):
                return f"floor_mod({self.value(a)}, {self.value(b)})"
            case ir.Bin("<<" | ">>" | "*" as op, a, b) if self.far(expr, ir.HUGE - 1):
                return f"{_CHECKED[op]}({self.value(a)}, {self.value(b)})"
            case ir.Bin(op, a, b):
                return f"((i64){self.value(a)} {op} {self.value(b)})"

    def test(self, expr: ir.Expr) -> str:
        return self.value(expr)

    def compare(self, a: str, op: str, b: str) -> str:
        return f"({a} {op} {b})"

    def both(self, a: str, b: str, op: str = "and") -> str:
        return f"({a} {'&&' if op == 'and' else '||'} {b})"

    def choice(self, cond: str, a: str, b: str) -> str:
        return f"({cond} ? {a} : {b})"

    def bits(self, a: str, op: str, b: str) -> str:
        return f"({a} & ~(i64){b})" if op == "andnot" else f"((i64){a} {op} {b})"

    def _variable(self, name: str) -> str:
        if not self.part.code.may_stop:
            return self.ids[name]
        return self.packed.variables[self.part.name, name].read("0")

    # --------------------------------------------------------------------------------------- statements

    def set_temp(self, name: str, value: str) -> None:
        self.out(f"{name} = {value};")

    def open_if(self, cond: str) -> None:
        self.out(f"if ({cond}) {{")

    def open_else(self) -> None:
        self.out("} else {")

    def close_if(self) -> None:
        self.out("}")

    def leave(self, status: str) -> None:
        self.out(f"return {status};")

    def set_variable(self, name: str, value: str) -> None:
        if self.part.code.may_stop:
            self.out(self.packed.variables[self.part.name, name].write("0", value))
        else:
            self.out(f"{self.ids[name]} = {value};")

    def set_spot(self, spot: Spot, value: str) -> None:
        assert isinstance(spot.target, list)
        if len(spot.target) == 1:
            _, lane, index = spot.target[0]
            self.out(lane.write(index, value))
            return
        for cond, lane, index in spot.target:
            self.out(f"if ({cond}) {lane.write(index, value)}")

    def result(self, number: int) -> str:
        return f"R[{number}]"

    def set_result(self, number: int, value: str) -> None:
        self.out(f"R[{number}] = {value};")

    def cell(self, place: ir.Place, part: int, width: int, index: str) -> Spot:
        lane = self.packed.cells[place.struct, place.field, part]
        return Spot(lane.read(index), width, [("1", lane, index)])

    def object_cell(self, place: ir.Place, part: int, width: int, handle: str, index: str) -> Spot:
        made = sorted(n for s, n in self.packed.objects if s == place.struct)
        lanes = [(n, self.packed.objects[place.struct, n][place.field, part]) for n in made]
        read = lanes[0][1].read(index)
        for n, lane in lanes[1:]:
            read = f"({handle} == {n} ? {lane.read(index)} : {read})"
        return Spot(read, width, [(f"{handle} == {n}", lane, index) for n, lane in lanes])

    def call_local(self, stmt: ir.Call, callee: Part, args: list[str]) -> None:
        self.out(f"st = f{callee.number}({', '.join(args)}); /* {callee.name} */")
        self.out(f"if (st != {OK}) return st;")

    def call_stopping(self, callee: Part, number: int, args: list[str]) -> None:
        for param, value in zip(callee.function.params, args, strict=True):
            self.out(self.packed.variables[callee.name, param].write("0", value))
        self.out(self.packed.calls[callee.name].write("0", str(number)))
        self.out(f"NF = f{callee.number}; NS = 0; return {GO}; /* {callee.name} */")

    def clear_object(self, struct: str, number: int) -> None:
        self._clear(list(self.packed.objects[struct, number].values()))

    def _clear(self, lanes: list[Lane]) -> None:
        masks: dict[int, int] = {}
        for lane in lanes:
            for i in range(lane.count):
                word, shift = lane.at(i)
                masks[word] = masks.get(word, 0) | (1 << lane.width) - 1 << shift
        for word, mask in sorted(masks.items()):
            self.out(f"P[{word}] &= ~(word){mask}u;")

    def return_stopping(self) -> None:
        part = self.part
        lanes = [self.packed.variables[part.name, v] for v in part.code.slots]
        for made in part.objects:
            lanes += self.packed.objects[made.struct, made.number].values()
        call = "0"
        if part.callers:
            call = self.temp()
            self.out(f"{call} = {self.packed.calls[part.name].read('0')};")
            lanes.append(self.packed.calls[part.name])
        self._clear(lanes)
        if part.callers:
            self.out(f"switch ({call}) {{")
            for number, (caller, site) in enumerate(part.callers, 1):
                behind = next(s.following for s in caller.segments if s.call is site)
                self.out(f"case {number}: NF = f{caller.number}; NS = {behind}; return {GO}; /* {caller.name} */")
            self.out("}")
        self.out(self.packed.place.write("0", "0"))
        self.leave(str(OK))

    def park(self, place: int) -> None:
        self.out(self.packed.place.write("0", str(place)))

    def may(self) -> str:
        return "MAY"

    def set_may(self, value: int) -> None:
        self.out(f"MAY = {value};")

    def me(self, what: str) -> str:
        return "T" if what == "thread" else "CPU"

    def alternative(self) -> str:
        return "ALT"

    def note_reached(self, number: int) -> None:
        self.out(f"seen_situation[{number}] = 1;")

    def jump(self, segment: int) -> None:
        self.out(f"goto s{segment};")


def _entered(part: Part, segment: int) -> bool:
    """Whether a function may be entered at a segment."""
    found = part.segments[segment]
    return segment == 0 or found.stop is not None or found.resumed is not None

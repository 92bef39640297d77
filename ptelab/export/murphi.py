# SPDX-License-Identifier: GPL-2.0-only
"""A scenario as a model for Rumur: a rule for each thread and alternative.

Rumur packs the state itself, so every cell is a variable of its own range.  A thread has an array for each width of
its variables; functions that are never in progress together share elements.  `assume false` takes a move back that is
blocked or raises a flag.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptelab import ir
from ptelab.export.coder import FIRST_FLAG, GO, OK, Coder, Spot, identifiers
from ptelab.export.plan import ExportError, Part, Plan
from ptelab.flow import defs

VALUE_BITS = 29
"""Numbers have so many bits and a sign, as Rumur computes with 32; one more stands for what fits nowhere."""

_BITWISE = {"&": "&", "|": "|", "^": "^", "<<": "<<", ">>": ">>"}


@dataclass(frozen=True, slots=True)
class Slot:
    """`count` elements of a thread's array of scalars of `width` bits, from `index` on."""

    width: int
    index: int
    count: int

    def at(self, index: str) -> str:
        where = str(self.index + int(index)) if index.isdigit() else f"{self.index} + {index}"
        return f"s{self.width}[t][{where}]"


class Slots:
    """Where the frames of a thread lie."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        layout = plan.layout
        self.calls: dict[str, Slot] = {}
        self.variables: dict[tuple[str, str], Slot] = {}
        self.objects: dict[tuple[str, int], dict[tuple[str, int], Slot]] = {}
        ends: dict[str, dict[int, int]] = {}
        self.sizes: dict[int, int] = {}
        for part in plan.parts.values():
            end = ends[part.name] = {}
            for callee in plan.callees(part.name):
                for width, number in ends[callee].items():
                    end[width] = max(end.get(width, 0), number)

            def slot(width: int, count: int = 1, end: dict[int, int] = end) -> Slot:
                made = Slot(width, end.get(width, 0), count)
                end[width] = made.index + count
                return made

            if part.callers:
                self.calls[part.name] = slot(len(part.callers).bit_length())
            for name in part.code.slots:
                self.variables[part.name, name] = slot(layout.width(part.function.vars[name]))
            for made in part.objects:
                self.objects[made.struct, made.number] = {
                    (field.name, n): slot(width, layout.count(field))
                    for field in plan.module.structs[made.struct].fields
                    for n, width in enumerate(layout.widths(field))
                }
        for thread, _ in enumerate(plan.scenario.threads):
            for width, number in ends[plan.root(thread).name].items():
                self.sizes[width] = max(self.sizes.get(width, 0), number)


class MurphiCoder(Coder):
    """Writes Murphi."""

    def __init__(self, plan: Plan, slots: Slots) -> None:
        super().__init__(plan)
        self.slots = slots
        named: dict[tuple[str, str, int], str] = {}
        self.constants: dict[tuple[str, str, int], int] = {}
        for column in plan.memory.columns.values():
            for n, (part, _) in enumerate(column.field.parts):
                key = column.struct, column.field.name, n
                values = {
                    plan.start.cells[column.base + i * column.parts + n] for i in range(column.cells // column.parts)
                }
                if len(values) == 1 and (column.struct, column.field.name) not in plan.written:
                    self.constants[key] = values.pop()
                else:
                    named[key] = ".".join(w for w in (column.struct, column.field.name, part) if w)
        words = identifiers(named.values(), "m")
        self.names = {key: words[name] for key, name in named.items()}

    def function(self, part: Part) -> str:
        """The text of one function."""
        self.begin(part)
        stops = part.code.may_stop
        loops = len(part.segments) > 1
        bodies: list[list[str]] = []
        for segment in part.segments:
            self.lines = []
            self.segment(segment)
            bodies.append(self.lines)
        lines = [f"procedure f{part.number}({self._parameters(part)}); -- {part.name}"]
        locals_ = [f"k{n + 1}" for n in range(self.temps)]
        if not stops:
            locals_ += [self.ids[v] for v in part.function.vars if v not in part.function.params]
            locals_ += sorted(self._changed(part))
        if locals_ or loops:
            lines.append("var")
        lines += [f"  {name}: val;" for name in locals_]
        if loops:
            lines.append(f"  b: 0..{len(part.segments) - 1};")
        lines.append("begin")
        if not stops:
            lines += [f"  {self.ids[v]} := 0;" for v in part.function.vars if v not in part.function.params]
            lines += [f"  {v} := {v.replace('v_', 'p_', 1)};" for v in sorted(self._changed(part))]
        if not loops:
            return "\n".join([*lines, *bodies[0], "end;"])
        lines.append(f"  b := {'ns' if stops else 0};")
        lines += ["  while true do", "  switch b"]
        for number, body in enumerate(bodies):
            lines += [f"  case {number}:", *body]
        return "\n".join([*lines, "  end;", "  end;", "end;"])

    def _parameters(self, part: Part) -> str:
        params = [] if part.code.may_stop else [f"{self.ids[p]}: val" for p in part.function.params]
        changed = self._changed(part)
        return "; ".join([_SIGNATURE, *(p.replace("v_", "p_", 1) if p[:-5] in changed else p for p in params)])

    def _changed(self, part: Part) -> set[str]:
        """The parameters of a function that does not stop that it assigns to, which only a variable allows."""
        assigned = {d for b in part.function.blocks for s in b.stmts for d in defs(s)}
        return set() if part.code.may_stop else {self.ids[p] for p in part.function.params if p in assigned}

    # -------------------------------------------------------------------------------------- expressions

    def value(self, expr: ir.Expr) -> str:
        match expr:
            case ir.Const(value):
                return str(int(value)) if value >= 0 else f"(0 - {-int(value)})"
            case ir.Param(name):
                return str(self.layout.param(name))
            case ir.Var(name):
                return self._variable(name)
            case ir.Self(what):
                return self.me(what)
            case ir.Select(cond, a, b):
                return self.choice(self.test(cond), self.value(a), self.value(b))
            case ir.Bin("//", a, b):
                return f"floor_div({self.value(a)}, {self.value(b)})"
            case ir.Bin("%", a, b):
                return f"floor_mod({self.value(a)}, {self.value(b)})"
            case ir.Bin("<<" | ">>" as op, a, b) if self.far(expr, (1 << VALUE_BITS) - 1):
                name = "shift_left" if op == "<<" else "shift_right"
                return f"{name}({self.value(a)} + 0, {self.value(b)} + 0)"
            case ir.Bin("+" | "-" | "*", a, b):
                return f"({self.value(a)} {expr.op} {self.value(b)})"
            case ir.Bin("&" | "|" | "^" | "<<" | ">>", a, b):
                return self.bits(self.value(a), expr.op, self.value(b))
            case _:
                return self.choice(self.test(expr), "1", "0")

    def test(self, expr: ir.Expr) -> str:
        match expr:
            case ir.Not(a):
                return f"(!{self.test(a)})"
            case ir.Bin("and" | "or", a, b):
                return self.both(self.test(a), self.test(b), expr.op)
            case ir.Bin("==" | "!=" | "<" | "<=" | ">" | ">=", a, b):
                return self.compare(self.value(a), expr.op, self.value(b))
            case _:
                return f"({self.value(expr)} != 0)"

    def compare(self, a: str, op: str, b: str) -> str:
        return f"({a} {'=' if op == '==' else op} {b})"

    def both(self, a: str, b: str, op: str = "and") -> str:
        return f"({a} {'&' if op == 'and' else '|'} {b})"

    def choice(self, cond: str, a: str, b: str) -> str:
        return f"({cond} ? {a} : {b})"

    # A variable alone is not seen to be a number by Rumur's & and |.
    def bits(self, a: str, op: str, b: str) -> str:
        if op == "andnot":
            return f"(({a} + 0) & (~({b} + 0)))"
        return f"(({a} + 0) {_BITWISE[op]} ({b} + 0))"

    def _variable(self, name: str) -> str:
        if not self.part.code.may_stop:
            return self.ids[name]
        return self.slots.variables[self.part.name, name].at("0")

    # --------------------------------------------------------------------------------------- statements

    def set_temp(self, name: str, value: str) -> None:
        self.out(f"{name} := {value};")

    def open_if(self, cond: str) -> None:
        self.out(f"if {cond} then")

    def open_else(self) -> None:
        self.out("else")

    def close_if(self) -> None:
        self.out("end;")

    def leave(self, status: str) -> None:
        self.out(f"st := {status}; return;")

    def set_variable(self, name: str, value: str) -> None:
        self.out(f"{self._variable(name)} := {value};")

    def set_spot(self, spot: Spot, value: str) -> None:
        assert isinstance(spot.target, list)
        if len(spot.target) == 1:
            self.out(f"{spot.target[0][1]} := {value};")
            return
        for cond, target in spot.target:
            self.out(f"if {cond} then {target} := {value}; end;")

    def result(self, number: int) -> str:
        return f"r[{number}]"

    def set_result(self, number: int, value: str) -> None:
        self.out(f"r[{number}] := {value};")

    def cell(self, place: ir.Place, part: int, width: int, index: str) -> Spot:
        key = place.struct, place.field, part
        if key in self.constants:
            return Spot(str(self.constants[key]), width, [])
        text = f"{self.names[key]}[{index}]"
        return Spot(text, width, [("true", text)])

    def object_cell(self, place: ir.Place, part: int, width: int, handle: str, index: str) -> Spot:
        made = sorted(n for s, n in self.slots.objects if s == place.struct)
        texts = [(n, self.slots.objects[place.struct, n][place.field, part].at(index)) for n in made]
        read = texts[0][1]
        for n, text in texts[1:]:
            read = f"({handle} = {n} ? {text} : {read})"
        return Spot(read, width, [(f"({handle} = {n})", text) for n, text in texts])

    def call_local(self, stmt: ir.Call, callee: Part, args: list[str]) -> None:
        # A parameter is a reference if it could be one; a sum cannot.
        self.out(f"f{callee.number}({', '.join([_ARGUMENTS, *(f'{a} + 0' for a in args)])}); -- {callee.name}")
        self.out(f"if st != {OK} then return; end;")

    def call_stopping(self, callee: Part, number: int, args: list[str]) -> None:
        for param, value in zip(callee.function.params, args, strict=True):
            self.out(f"{self.slots.variables[callee.name, param].at('0')} := {value};")
        self.out(f"{self.slots.calls[callee.name].at('0')} := {number};")
        self.out(f"nf := {callee.number}; ns := 0; st := {GO}; return; -- {callee.name}")

    def clear_object(self, struct: str, number: int) -> None:
        self._clear(list(self.slots.objects[struct, number].values()))

    # The elements of a frame, and those of an object, lie one behind the other.
    def _clear(self, slots: list[Slot]) -> None:
        for width in sorted({slot.width for slot in slots}):
            elements = sorted({slot.index + i for slot in slots if slot.width == width for i in range(slot.count)})
            first, last = elements[0], elements[-1]
            assert len(elements) == last - first + 1
            if first == last:
                self.out(f"s{width}[t][{first}] := 0;")
            else:
                self.out(f"for i: {first}..{last} do s{width}[t][i] := 0; end;")

    def return_stopping(self) -> None:
        part = self.part
        slots = [self.slots.variables[part.name, name] for name in part.code.slots]
        for made in part.objects:
            slots += self.slots.objects[made.struct, made.number].values()
        call = ""
        if part.callers:
            call = self.temp()
            slots.append(self.slots.calls[part.name])
            self.out(f"{call} := {slots[-1].at('0')};")
        self._clear(slots)
        for number, (caller, site) in enumerate(part.callers, 1):
            behind = next(s.following for s in caller.segments if s.call is site)
            self.out(f"if {call} = {number} then nf := {caller.number}; ns := {behind}; st := {GO}; return; end;")
        self.park(0)
        self.leave(str(OK))

    def park(self, place: int) -> None:
        self.out(f"at[t] := {place};")

    def may(self) -> str:
        return "may"

    def set_may(self, value: int) -> None:
        self.out(f"may := {value};")

    def me(self, what: str) -> str:
        return "t" if what == "thread" else "cpu"

    def alternative(self) -> str:
        return "alt"

    def note_reached(self, number: int) -> None:
        pass

    def jump(self, segment: int) -> None:
        self.out(f"b := {segment};")


_SIGNATURE = "t: thread; cpu: val; alt: val; var may: val; var nf: val; var ns: val; var st: val; var r: results"
_ARGUMENTS = "t, cpu, alt, may, nf, ns, st, r"
"""The thread that moves, its CPU and alternative; whether a step may be taken; where to go on; status; results."""

_MODEL = """\
-- {title}
--
-- The same states as `ptelab {command} --no-reduce`:
--
--   rumur --deadlock-detection off -o m.c {file} && gcc -std=c11 -O3 -mcx16 -o m m.c -lpthread && ./m
--
-- Moves that raise a flag lead to no state and print it; so does the end of a run its outcome.  Deadlocks are not
-- looked for, nor are situations noted.

type
  val: -{huge}..{huge};
  thread: 0..{last_thread};
  results: array[0..{results}] of val;

var
{variables}

function floor_div(a: val; b: val): val;
begin
  if a >= 0 then return a / b; end;
  return 0 - ((b - a - 1) / b);
end;

function shift_left(a: val; b: val): val;
begin
  if b < 0 | b > {bits} then return {huge}; end;
  if a < 0 then return 0 - shift_left(0 - a, b + 0); end;
  if a > (({huge} - 1) >> (b + 0)) then return {huge}; end;
  return (a + 0) << (b + 0);
end;

function shift_right(a: val; b: val): val;
begin
  if b < 0 | b > {bits} then return a < 0 ? 0 - 1 : 0; end;
  return (a + 0) >> (b + 0);
end;

function floor_mod(a: val; b: val): val;
begin
  return a - floor_div(a + 0, b + 0) * b;
end;

{functions}

function is_quiet(): boolean;
begin
  return {quiet};
end;

procedure continue_in({signature});
begin
{dispatch}
end;

procedure stand(place: val; var nf: val; var ns: val);
begin
{places}
end;

procedure report(st: val);
begin
{flags}
end;

procedure move(t: thread; cpu: val; alt: val);
var may: val; nf: val; ns: val; st: val; r: results;
begin
  may := at[t] <= {chooses} ? 2 : 1;
  stand(at[t] + 0, nf, ns);
  r[{rounds}] := 0;
  st := {go};
  while st = {go} do
    continue_in({arguments});
  end;
  if st >= {first_flag} then
    report(st + 0);
  end;
  if st != {ok} then
    assume false;
  end;
end;

procedure judge(t: thread; cpu: val; alt: val);
var may: val; nf: val; ns: val; st: val; r: results;
begin
  r[{rounds}] := 0;
  f{final}({arguments});
  if st >= {first_flag} then
    report(st + 0);
  else
    put "ptelab: outcome\\n";
{outcome}    put "ptelab: end\\n";
  end;
  assume false;
end;

{rules}

rule "end" is_quiet() ==>
begin
  judge(0, 0, 0);
end;

startstate
begin
{start}
end;
"""


def murphi(plan: Plan, file: str, command: str) -> str:
    """The model's text.  `command` is what checks the same with ptelab, `file` what this will be called."""
    widths = [w for s in plan.module.structs.values() for f in s.fields for w in plan.layout.widths(f)]
    widths += [plan.layout.width(t) for p in plan.parts.values() for t in p.function.vars.values()]
    if max(widths, default=0) > VALUE_BITS:
        raise ExportError(f"{plan.scenario.name}: a number of {max(widths)} bits is too wide for Rumur")
    slots = Slots(plan)
    coder = MurphiCoder(plan, slots)
    threads = plan.scenario.threads
    results = len(plan.final.function.results)
    flags = [f'  if st = {FIRST_FLAG + n} then put "ptelab: flag {name}\\n"; end;' for n, name in enumerate(plan.flags)]
    words = {
        "title": plan.scenario.name, "command": command, "file": file, "huge": 1 << VALUE_BITS, "bits": VALUE_BITS,
        "last_thread": len(threads) - 1,
        "signature": _SIGNATURE, "arguments": _ARGUMENTS,
        "results": plan.rounds, "rounds": plan.rounds,
        "variables": "\n".join(_variables(plan, coder)),
        "functions": "\n\n".join(coder.function(p) for p in plan.parts.values()),
        "quiet": " & ".join(_rests(plan, slots, t) for t in range(len(threads))),
        "dispatch": "\n".join(_search([(p.number, f"f{p.number}({_ARGUMENTS});") for p in plan.stopping], "nf")),
        "places": "\n".join(_search(
            [(p.number, f"nf := {p.part.number}; ns := {p.segment};") for p in plan.places], "place"
        )),
        "chooses": plan.chooses, "go": GO, "ok": OK, "first_flag": FIRST_FLAG, "flags": "\n".join(flags),
        "rules": "\n\n".join(_rule(plan, slots, t) for t in range(len(threads))), "final": plan.final.number,
        "outcome": "".join(f"    put r[{n}];\n" for n in range(results)),
        "start": "\n".join(_start(plan, coder)),
    }  # fmt: skip
    return _MODEL.format(**words)


def _variables(plan: Plan, coder: MurphiCoder) -> list[str]:
    lines = []
    for column in plan.memory.columns.values():
        for n, width in enumerate(column.widths):
            name = coder.names.get((column.struct, column.field.name, n))
            if name is not None:
                lines.append(f"  {name}: array[0..{column.elements * column.count - 1}] of 0..{(1 << width) - 1};")
    lines.append(f"  at: array[thread] of 0..{len(plan.places)};")
    for width, number in sorted(coder.slots.sizes.items()):
        lines.append(f"  s{width}: array[thread] of array[0..{number - 1}] of 0..{(1 << width) - 1};")
    return lines


def _rests(plan: Plan, slots: Slots, thread: int) -> str:
    """Whether a thread has ended, or stands where it may rest for ever, called as it was then."""
    calls = (
        (slots.calls[part.name].at("0").replace("[t]", f"[{thread}]"), call) for part, call in plan.rest_calls(thread)
    )
    return " & ".join([f"at[{thread}] = {plan.rest(thread)}", *(f"{where} = {call}" for where, call in calls)])


def _rule(plan: Plan, slots: Slots, thread: int) -> str:
    of = plan.scenario.threads[thread]
    most = plan.alternatives(thread)
    guard = f"at[{thread}] != 0"
    if of.daemon:
        guard += f" & !({_rests(plan, slots, thread)} & is_quiet())"
    if most == 1:
        return f'rule "{of.name}" {guard} ==>\nbegin\n  move({thread}, {of.cpu}, 0);\nend;'
    return (
        f'ruleset a: 0..{most - 1} do\nrule "{of.name}" {guard} & (a = 0 | at[{thread}] <= {plan.chooses}) ==>\n'
        f"begin\n  move({thread}, {of.cpu}, a + 0);\nend;\nend;"
    )


def _search(cases: list[tuple[int, str]], variable: str, indent: str = "  ") -> list[str]:
    """Statements that do what belongs to the variable's value, found by halving."""
    if len(cases) == 1:
        return [indent + cases[0][1]]
    if not cases:
        return []
    half = len(cases) // 2
    return [
        f"{indent}if {variable} < {cases[half][0]} then", *_search(cases[:half], variable, indent + " "),
        f"{indent}else", *_search(cases[half:], variable, indent + " "), f"{indent}end;",
    ]  # fmt: skip


def _start(plan: Plan, coder: MurphiCoder) -> list[str]:
    lines = []
    for column in plan.memory.columns.values():
        for n in range(column.parts):
            name = coder.names.get((column.struct, column.field.name, n))
            for i in range(column.elements * column.count if name is not None else 0):
                lines.append(f"  {name}[{i}] := {plan.start.cells[column.base + i * column.parts + n]};")
    for thread, _ in enumerate(plan.scenario.threads):
        lines.append(f"  at[{thread}] := {plan.start_place(thread)};")
        for width, number in sorted(coder.slots.sizes.items()):
            lines.append(f"  for i: 0..{number - 1} do s{width}[{thread}][i] := 0; end;")
        for part, call, values, objects in plan.start_frames(thread):
            pairs: list[tuple[Slot, int, int]] = []
            if call:
                pairs.append((coder.slots.calls[part.name], 0, call))
            pairs += [(coder.slots.variables[part.name, name], 0, value) for name, value in values.items()]
            for (struct, number), cells in objects.items():
                memory = plan.object_cells(struct)
                for (member, n), slot in coder.slots.objects[struct, number].items():
                    column = memory.columns[struct, member]
                    pairs += [(slot, i, cells[column.base + i * column.parts + n]) for i in range(slot.count)]
            lines += [f"  {s.at(str(i)).replace('[t]', f'[{thread}]')} := {v};" for s, i, v in pairs if v]
    return lines

# SPDX-License-Identifier: GPL-2.0-only
"""The columns of a litmus test as functions of the dialect."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

from ptelab.litmus import syntax as s
from ptelab.litmus.model import PRIVATE, Api, Signature
from ptelab.litmus.resolve import Column, Test, check_address, known

_CONSTANT_TYPES = {"mm_struct", "address_space", "Addr"}


def errno_value(name: str) -> int | None:
    """The number of an errno, as on x86 and every other architecture of Linux that matters here."""
    return getattr(errno, name, None)


@dataclass(slots=True)
class Registers:
    """The registers of a column: which there are, and which hold the result of a system call (0 or -errno)."""

    names: dict[str, s.Pos] = field(default_factory=dict)
    errno: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Line:
    """One line of generated text, and the line of the litmus file that it stands for (0: none)."""

    text: str
    source: int = 0


class ColumnWriter:
    """Writes one column.  `kept` are the registers that the outcome shows, `faults` the pages whose faults it shows."""

    def __init__(self, test: Test, api: Api, column: Column) -> None:
        self.test, self.api, self.column = test, api, column
        self.pointers = {p.name for p in column.process.parameters if "__user" in p.type}
        self.parameters = {p.name: p for p in column.process.parameters}
        self.registers = Registers()
        self.used: set[str] = set()  # names to import
        self.values: set[int] = {0}  # integers that a register or a page may hold
        self.kept: list[str] = []
        self.faults: set[tuple[str, int]] = set()
        self._lines: list[Line] = []
        self._faulting = False
        self._find_registers(column.process.body)

    def write(self, register_type: str) -> list[Line]:
        """The function P0, P1, …"""
        number = self.column.number
        self._lines = [Line(f"def P{number}() -> None:", self.column.process.pos.line)]
        self._out(1, f'"""{self.test.name}: P{number}"""', self.column.process.pos)
        for name, pos in self.registers.names.items():
            self._out(1, f"{name}: {register_type} = 0", pos)
        if self.column.mm in self.test.children:
            self.used |= {"at", "mm_struct", "wait_for_fork"}
            self._out(
                1, f"wait_for_fork(at(mm_struct, {self.test.mms.index(self.column.mm)}))", self.column.process.pos
            )
        self._statement(self.column.process.body, 1)
        self._keep(1, self.column.process.body.pos)
        return self._lines

    def _out(self, depth: int, text: str, pos: s.Pos) -> None:
        self._lines.append(Line("    " * depth + text, pos.line))

    def _keep(self, depth: int, pos: s.Pos) -> None:
        if self.kept:
            self._out(depth, f"keep_P{self.column.number}({', '.join(self.kept)})", pos)

    # ---- registers

    def _find_registers(self, statement: s.Statement) -> None:
        for st in _walk(statement):
            if isinstance(st, s.Declaration):
                for name, value in st.names:
                    if name.name in self.registers.names or name.name in self.parameters:
                        raise self.test.error(name.pos, f"'{name.name}' is there already")
                    self.registers.names[name.name] = name.pos
                    if value is not None:
                        self._note_errno(name.name, value)
            elif isinstance(st, s.Assignment) and isinstance(st.target, s.Name):
                name = st.target
                if name.name in self.parameters:
                    raise self.test.error(
                        name.pos, f"'{name.name}' is a parameter of the column", "a register, such as r0"
                    )
                self.registers.names.setdefault(name.name, name.pos)
                self._note_errno(name.name, st.value)

    def _note_errno(self, register: str, value: s.Expression) -> None:
        if (
            isinstance(value, s.Call)
            and value.name in self.api.functions
            and (self.api.functions[value.name].result == "Errno")
        ):
            self.registers.errno.add(register)

    # ---- statements

    def _statement(self, statement: s.Statement, depth: int) -> None:
        match statement:
            case s.Block(_, statements):
                for st in statements:
                    self._statement(st, depth)
            case s.Declaration(_, _, names):
                for name, value in names:
                    if value is not None:
                        self._assign(name, value, depth)
            case s.Assignment(pos, target, value):
                if not isinstance(target, s.Name):
                    raise self.test.error(pos, "memory is not assigned to", "WRITE_ONCE(*x, …)")
                self._assign(target, value, depth)
            case s.Evaluate(pos, expression):
                if not isinstance(expression, s.Call):
                    raise self.test.error(pos, "this has no effect", "a call or an assignment")
                self._call(expression, None, depth)
            case s.If(pos, condition, then, orelse):
                self._out(depth, f"if {self._truth(condition)}:", pos)
                self._branch(then, depth + 1)
                if orelse is not None:
                    self._out(depth, "else:", orelse.pos)
                    self._branch(orelse, depth + 1)

    def _branch(self, statement: s.Statement, depth: int) -> None:
        before = len(self._lines)
        self._statement(statement, depth)
        if len(self._lines) == before:
            self._out(depth, "pass", statement.pos)

    def _assign(self, target: s.Name, value: s.Expression, depth: int) -> None:
        if isinstance(value, s.Call):
            self._call(value, target.name, depth)
        elif target.name in self.registers.errno:
            raise self.test.error(target.pos, f"'{target.name}' holds the result of a system call", "another register")
        else:
            self._out(depth, f"{target.name} = {self._number(value)}", target.pos)

    # ---- calls

    def _call(self, call: s.Call, target: str | None, depth: int) -> None:
        if call.name == "READ_ONCE":
            self._load(call, target, depth)
        elif call.name == "WRITE_ONCE":
            self._store(call, target, depth)
        elif call.name in self.api.functions and call.name not in PRIVATE:
            text = self._ordinary_call(call, self.api.functions[call.name])
            wanted = self.api.functions[call.name].result != "None"
            if target is not None and not wanted:
                raise self.test.error(call.pos, f"{call.name} returns nothing", f"{call.name}(…);")
            self._out(depth, f"{target} = {text}" if target is not None else text, call.pos)
        else:
            instead = known(["READ_ONCE(*x)", "WRITE_ONCE(*x, value)", *self.api.calls()])
            raise self.test.error(call.pos, f"unknown call '{call.name}'", instead)

    def _load(self, call: s.Call, target: str | None, depth: int) -> None:
        if len(call.args) != 1:
            raise self.test.error(call.pos, f"READ_ONCE takes 1 argument, not {len(call.args)}", "READ_ONCE(*x)")
        vma, page = self._place(call.args[0], "READ_ONCE")
        self.used.add("user_load")
        # A datum that no register takes is read all the same: the access may fault.
        self._out(depth, f"{target or 'unused'}, segv = user_load({self._number_of(vma, page)})", call.pos)
        self._after_access(vma, page, depth, call.pos)

    def _store(self, call: s.Call, target: str | None, depth: int) -> None:
        if len(call.args) != 2:
            raise self.test.error(call.pos, f"WRITE_ONCE takes 2 arguments, not {len(call.args)}", "WRITE_ONCE(*x, 2)")
        if target is not None:
            raise self.test.error(call.pos, "WRITE_ONCE returns nothing", "WRITE_ONCE(…);")
        vma, page = self._place(call.args[0], "WRITE_ONCE")
        self.used.add("user_store")
        self._out(depth, f"segv = user_store({self._number_of(vma, page)}, {self._number(call.args[1])})", call.pos)
        self._after_access(vma, page, depth, call.pos)

    def _number_of(self, vma: str, page: int) -> int:
        return self.test.vmas[vma].start + page

    # An access that is refused ends the column, as the signal ends the task.
    def _after_access(self, vma: str, page: int, depth: int, pos: s.Pos) -> None:
        self._out(depth, "if segv:", pos)
        if (vma, page) in self.faults:
            self._out(depth + 1, f"note_P{self.column.number}_fault_{vma}_{page}()", pos)
        self._keep(depth + 1, pos)
        self._out(depth + 1, "return", pos)

    # What stands behind the pointer: *x, *(x + PAGE_SIZE), x[0], x[PAGE_SIZE].
    def _place(self, place: s.Expression, function: str) -> tuple[str, int]:
        match place:
            case s.Unary(_, "*", a):
                address = self._address(a)
            case s.Subscript(pos, a, index):
                address = self._address(s.Binary(pos, "+", a, index))
            case _:
                name = place.name if isinstance(place, s.Name) else "x"
                raise self.test.error(place.pos, f"{function} needs the place itself", f"{function}(*{name}…)")
        return check_address(self.test, address)

    # x, x + PAGE_SIZE, x + 2 * PAGE_SIZE, x + 0, &x[PAGE_SIZE], &*x
    def _address(self, expression: s.Expression) -> s.Address:
        match expression:
            case s.Name(pos, name) if name in self.pointers:
                return s.Address(pos, name, 0)
            case s.Name(pos, name):
                raise self.test.error(
                    pos, f"'{name}' is no user address", known(sorted(self.pointers)) or "a parameter char __user *x"
                )
            case s.Binary(pos, "+", a, b):
                base = self._address(a)
                return s.Address(base.pos, base.vma, base.page + self._pages(b))
            case s.Unary(_, "&", s.Unary(_, "*", a)):
                return self._address(a)
            case s.Unary(_, "&", s.Subscript(pos, a, index)):
                return self._address(s.Binary(pos, "+", a, index))
        raise self.test.error(expression.pos, "this is no user address", "x or x + PAGE_SIZE")

    # A number of bytes, which must be whole pages: 0, PAGE_SIZE, 2 * PAGE_SIZE
    def _pages(self, expression: s.Expression) -> int:
        match expression:
            case s.PageSize():
                return 1
            case s.Integer(_, 0):
                return 0
            case s.Binary(_, "*", s.Integer(_, n), s.PageSize()) | s.Binary(_, "*", s.PageSize(), s.Integer(_, n)):
                return n
        raise self.test.error(
            expression.pos, "one page holds one datum; this is not a number of pages", "PAGE_SIZE or 2 * PAGE_SIZE"
        )

    def _ordinary_call(self, call: s.Call, signature: Signature) -> str:
        if not signature.required <= len(call.args) <= len(signature.parameters):
            raise self.test.error(
                call.pos, f"{call.name} takes {signature.required} argument(s), not {len(call.args)}", str(signature)
            )
        self.used.add(call.name)
        args = [self._argument(a, t, n) for a, (n, t) in zip(call.args, signature.parameters, strict=False)]
        return f"{call.name}({', '.join(args)})"

    def _argument(self, argument: s.Expression, type_: str, name: str) -> str:
        if type_ == "Addr" and name in ("len", "length", "size"):
            return str(self._pages(argument))
        if type_ == "Addr":
            vma, page = check_address(self.test, self._address(argument))
            return str(self._number_of(vma, page))
        if type_ in ("address_space", "mm_struct", "mem_cgroup", "Folio"):
            lists = {"mm_struct": self.test.mms, "mem_cgroup": self.test.memcgs, "Folio": list(self.test.pages)}
            first = self.test.file_pages if type_ == "Folio" else 0
            numbers = {name: number for number, name in enumerate(lists.get(type_, list(self.test.files)), first)}
            struct = {"address_space": "file", "Folio": "page"}.get(type_, type_)
            if not isinstance(argument, s.Name) or argument.name not in numbers or argument.name not in self.parameters:
                raise self.test.error(
                    argument.pos,
                    f"{name} is a struct {type_} *",
                    known(n for n in numbers if n in self.parameters)
                    or f"a parameter of the column (struct {struct} *)",
                )
            self.used |= {"at", type_}
            return f"at({type_}, {numbers[argument.name]})"
        if isinstance(argument, s.Binary) and argument.op == "|":
            return f"{self._argument(argument.a, type_, name)} | {self._argument(argument.b, type_, name)}"
        if isinstance(argument, s.Name) and argument.name not in self.registers.names:
            if not (argument.name.isupper() and self.api.has(argument.name)):
                raise self.test.error(
                    argument.pos, f"unknown name '{argument.name}'", f"a constant or a number for {name}"
                )
            self.used.add(argument.name)
            return argument.name
        return self._number(argument)

    # ---- expressions over registers

    def _truth(self, e: s.Expression) -> str:
        match e:
            case s.Binary(_, "&&" | "||" as op, a, b):
                return f"({self._truth(a)} {'and' if op == '&&' else 'or'} {self._truth(b)})"
            case s.Unary(_, "!", a):
                return f"(not {self._truth(a)})"
            case s.Binary(_, "==" | "!=" | "<" | "<=" | ">" | ">=" as op, a, b):
                return self._relation(op, a, b, e.pos)
        return f"({self._number(e)} != 0)" if not isinstance(e, s.Name) else f"({self._register(e)} != 0)"

    def _relation(self, op: str, a: s.Expression, b: s.Expression, pos: s.Pos) -> str:
        if isinstance(a, s.Name) and a.name in self.registers.errno:
            match op, b:
                case (("==" | "!="), s.Integer(_, 0)):
                    return f"({a.name} {op} 0)"
                case (("==" | "!="), s.Unary(_, "-", s.Name(_, name))) if errno_value(name) is not None:
                    return f"({a.name} {op} {errno_value(name)})"
                case (("<" | ">="), s.Integer(_, 0)):
                    return f"({a.name} {'!=' if op == '<' else '=='} 0)"
            raise self.test.error(
                pos, f"'{a.name}' is 0 or an error", f"{a.name} == 0, {a.name} < 0 or {a.name} == -EFAULT"
            )
        return f"({self._number(a)} {op} {self._number(b)})"

    def _register(self, e: s.Name) -> str:
        if e.name not in self.registers.names:
            raise self.test.error(
                e.pos, f"unknown name '{e.name}'", known(self.registers.names) or "a register, such as r0"
            )
        return e.name

    def _number(self, e: s.Expression) -> str:
        match e:
            case s.Integer(_, value):
                self.values.add(value)
                return str(value)
            case s.Name(pos, name):
                if name in self.registers.errno:
                    raise self.test.error(
                        pos, f"'{name}' holds the result of a system call and is only compared", "another register"
                    )
                return self._register(e)
            case s.Binary(_, "+" | "-" as op, a, b):
                return f"({self._number(a)} {op} {self._number(b)})"
            case s.Call(pos, name):
                raise self.test.error(pos, f"{name} inside an expression", f"r0 = {name}(…); on a line of its own")
            case s.Unary(pos, "*") | s.Subscript(pos):
                raise self.test.error(pos, "memory is not read by itself", "r0 = READ_ONCE(*x); on a line of its own")
            case s.Binary(_, "==" | "!=" | "<" | "<=" | ">" | ">=" | "&&" | "||") | s.Unary(_, "!"):
                return f"(1 if {self._truth(e)} else 0)"
        raise self.test.error(e.pos, "this has no value here", "a number, a register, + or -")


def _walk(statement: s.Statement) -> Iterator[s.Statement]:
    yield statement
    match statement:
        case s.Block(_, statements):
            for st in statements:
                yield from _walk(st)
        case s.If(_, _, then, orelse):
            yield from _walk(then)
            if orelse is not None:
                yield from _walk(orelse)


def calls(statement: s.Statement) -> Iterator[s.Call]:
    """The calls of a column, in the order in which they stand there."""
    for st in _walk(statement):
        match st:
            case s.Evaluate(_, s.Call() as call) | s.Assignment(_, _, s.Call() as call):
                yield call
            case s.Declaration(_, _, names):
                yield from (value for _, value in names if isinstance(value, s.Call))


def calls_of(statement: s.Statement) -> Iterator[str]:
    """The names of the calls of a column, each as often as it stands there."""
    return (call.name for call in calls(statement))

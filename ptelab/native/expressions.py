# SPDX-License-Identifier: GPL-2.0-only
"""Pure expressions as LLVM text, each with the largest value that it can have where that is known.

Bounds let the coder leave out checks: a value that cannot be too large for a variable is not tested.  A bound is
given only for values that cannot be negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptelab import ir
from ptelab.layout import Layout
from ptelab.native.emitter import Operand, word

if TYPE_CHECKING:
    from ptelab.native.function import FunctionCoder

Bounded = tuple[Operand, int | None]

_COMPARE = {"==": "eq", "!=": "ne", "<": "slt", "<=": "sle", ">": "sgt", ">=": "sge"}


class Expressions:
    """Emits expressions of one function."""

    def __init__(self, coder: FunctionCoder, layout: Layout, function: ir.Function) -> None:
        self.coder = coder
        self.layout = layout
        self.function = function

    def value(self, expr: ir.Expr) -> Bounded:
        """The operand, and its largest value (None: unknown, or it may be negative)."""
        match expr:
            case ir.Const(value):
                return int(value), value if value >= 0 else None
            case ir.Param(name):
                number = self.layout.param(name)
                return number, number
            case ir.Var(name):
                return self.coder.read(name), (1 << self.layout.width(self.function.vars[name])) - 1
            case ir.Self(what):
                number = self.layout.param("NR_THREADS" if what == "thread" else "NR_CPUS") - 1
                return f"%{what}", number
            case ir.Not(a):
                test = self.test(a)
                return self.coder.as_word(self.coder.emit(f"xor i1 {test}, true")), 1
            case ir.Select(cond, a, b):
                test = self.test(cond)
                (x, x_max), (y, y_max) = self.value(a), self.value(b)
                result = self.coder.emit(f"select i1 {test}, i64 {word(x)}, i64 {word(y)}")
                return result, None if x_max is None or y_max is None else max(x_max, y_max)
            case ir.Bin(op):
                if op in _COMPARE or op in ("and", "or"):
                    return self.coder.as_word(self.test(expr)), 1
                return self._arithmetic(expr)

    def _arithmetic(self, expr: ir.Bin) -> Bounded:
        (a, a_max), (b, b_max) = self.value(expr.a), self.value(expr.b)
        known = a_max is not None and b_max is not None
        op = self.coder.op
        match expr.op:
            case "+":
                return op("add", a, b), a_max + b_max if a_max is not None and b_max is not None else None
            case "-":
                if isinstance(a, int) and isinstance(b, int):
                    return a - b, a - b if a >= b else None
                return op("sub", a, b), None
            case "*":
                return op("mul", a, b), a_max * b_max if a_max is not None and b_max is not None else None
            case "&":
                bounds = [m for m in (a_max, b_max) if m is not None]
                return op("and", a, b), min(bounds) if bounds else None
            case "|" | "^":
                top = (
                    (1 << max(a_max.bit_length(), b_max.bit_length())) - 1
                    if a_max is not None and b_max is not None
                    else None
                )
                return op("or" if expr.op == "|" else "xor", a, b), top
            case "<<":
                shifted = a_max << b_max if a_max is not None and b_max is not None and b_max < 64 else None
                return op("shl", a, b), shifted if shifted is not None and shifted < 1 << 62 else None
            case ">>":
                return op("lshr" if known else "ashr", a, b), a_max
            case "//":
                return self._divide("udiv" if known else "sdiv", a, b), a_max
            case "%":
                rest = b - 1 if isinstance(b, int) and known else None
                return self._divide("urem" if known else "srem", a, b), rest
        raise AssertionError(expr.op)

    def _divide(self, name: str, a: Operand, b: Operand) -> Operand:
        if isinstance(a, int) and isinstance(b, int) and b:
            return a // b if name.endswith("div") else a % b
        if b == 1:
            return a if name.endswith("div") else 0
        return self.coder.emit(f"{name} i64 {word(a)}, {word(b)}")

    def test(self, expr: ir.Expr) -> str:
        """The expression as an i1."""
        match expr:
            case ir.Bin(op, a, b) if op in _COMPARE:
                x, y = self.value(a)[0], self.value(b)[0]
                return self.coder.compare(_COMPARE[op], x, y)
            case ir.Bin(op, a, b) if op in ("and", "or"):
                return self.coder.emit(f"{op} i1 {self.test(a)}, {self.test(b)}")
            case ir.Not(a):
                return self.coder.emit(f"xor i1 {self.test(a)}, true")
            case ir.Const(value):
                return "true" if value else "false"
            case _:
                return self.coder.compare("ne", self.value(expr)[0], 0)

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

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


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
                return self.coder.self_(what), number
            case ir.Not():
                return self.coder.as_word(self.test(expr)), 1
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
                most = a_max * b_max if a_max is not None and b_max is not None else None
                return (op("mul", a, b) if most is not None and most < ir.HUGE else self._multiply(a, b)), most
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
                if shifted is not None and shifted < ir.HUGE:
                    return op("shl", a, b), shifted
                return self._shift_left(a, b), None
            case ">>":
                if isinstance(a, int) and isinstance(b, int):
                    return ir.shift_right(a, b), a_max
                if b_max is None or b_max > 63:
                    far = self.coder.compare("ugt", b, 63)
                    b = self.coder.emit(f"select i1 {far}, i64 63, i64 {word(b)}")
                return op("lshr" if a_max is not None else "ashr", a, b), a_max
            case "//":
                return self._divide("div", a, self.layout.divisor(expr.b), known), a_max
            case "%":
                divisor = self.layout.divisor(expr.b)
                return self._divide("rem", a, divisor, known), divisor - 1
        raise AssertionError(expr.op)

    def _divide(self, name: str, a: Operand, b: int, known: bool) -> Operand:
        """Rounded down, as in Python; LLVM's signed division rounds to zero."""
        if isinstance(a, int):
            return a // b if name == "div" else a % b
        if b == 1:
            return a if name == "div" else 0
        if known:
            return self.coder.emit(f"u{name} i64 {a}, {b}")
        rest = self.coder.emit(f"srem i64 {a}, {b}")
        below = self.coder.emit(f"ashr i64 {rest}, 63")
        rest = self.coder.emit(f"add i64 {rest}, {self.coder.emit(f'and i64 {below}, {b}')}")
        return rest if name == "rem" else self.coder.emit(f"sdiv i64 {self.coder.emit(f'sub i64 {a}, {rest}')}, {b}")

    def _multiply(self, a: Operand, b: Operand) -> Operand:
        """What may be more than 64 bits."""
        if isinstance(a, int) and isinstance(b, int):
            return ir.multiply(a, b)
        emit = self.coder.emit
        whole = emit(f"mul i128 {emit(f'sext i64 {word(a)} to i128')}, {emit(f'sext i64 {word(b)} to i128')}")
        product = emit(f"trunc i128 {whole} to i64")
        fits = emit(f"icmp eq i128 {emit(f'sext i64 {product} to i128')}, {whole}")
        return emit(f"select i1 {fits}, i64 {product}, i64 {ir.HUGE}")

    def _shift_left(self, a: Operand, b: Operand) -> Operand:
        """What may be more than 64 bits, or by no number that a word can be shifted by."""
        if isinstance(a, int) and isinstance(b, int):
            return ir.shift_left(a, b)
        near = self.coder.compare("ult", b, 64)
        by = self.coder.emit(f"select i1 {near}, i64 {word(b)}, i64 0")
        shifted = self.coder.emit(f"shl i64 {word(a)}, {by}")
        back = self.coder.emit(f"ashr i64 {shifted}, {by}")
        whole = self.coder.emit(f"and i1 {near}, {self.coder.compare('eq', back, a)}")
        return self.coder.emit(f"select i1 {whole}, i64 {shifted}, i64 {ir.HUGE}")

    def test(self, expr: ir.Expr) -> str:
        """The expression as an i1."""
        match expr:
            case ir.Bin(op, a, b) if op in _COMPARE:
                return self._compared(op, a, b)
            case ir.Bin(op, a, b) if op in ("and", "or"):
                return self.coder.emit(f"{op} i1 {self.test(a)}, {self.test(b)}")
            case ir.Not(ir.Bin(op, a, b)) if op in _COMPARE:
                return self._compared(_OPPOSITE[op], a, b)
            case ir.Not(a):
                return self.coder.not_(self.test(a))
            case _:
                return self.coder.as_bit(self.value(expr)[0])

    def _compared(self, op: str, a: ir.Expr, b: ir.Expr) -> str:
        x, y = self.value(a)[0], self.value(b)[0]
        return self.coder.compare(_COMPARE[op], x, y)

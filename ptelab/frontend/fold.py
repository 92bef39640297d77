# SPDX-License-Identifier: GPL-2.0-only
"""Pure IR expressions, made small: constants are computed, and neutral elements go away."""

from __future__ import annotations

import operator
from collections.abc import Callable

from ptelab import ir
from ptelab.flow import expr_vars as variables

__all__ = ["ONE", "ZERO", "binary", "equal", "negate", "select", "variables"]

ZERO = ir.Const(0)
ONE = ir.Const(1)

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": ir.multiply, "//": operator.floordiv, "%": operator.mod,
    "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": ir.shift_left, ">>": ir.shift_right,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b,
}  # fmt: skip
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def binary(op: str, a: ir.Expr, b: ir.Expr) -> ir.Expr:
    """a op b.  The operands of `and` and `or` are booleans."""
    if isinstance(a, ir.Const) and isinstance(b, ir.Const):
        if not (op in ("//", "%") and b.value <= 0):
            return ir.Const(int(_OPERATORS[op](a.value, b.value)))
    elif op in ("and", "or"):
        for one, other in ((a, b), (b, a)):
            if isinstance(one, ir.Const):
                return other if bool(one.value) == (op == "and") else one
    elif op in ("+", "-", "<<", ">>", "|", "^") and b == ZERO:
        return a
    elif op in ("+", "|", "^") and a == ZERO:
        return b
    elif op == "-" and isinstance(a, ir.Bin) and a.op == "+" and a.b == b:
        return a.a  # index_of(at(…)); the other way round a handle would become a number
    return ir.Bin(op, a, b)


def negate(a: ir.Expr) -> ir.Expr:
    """The opposite of a boolean."""
    if isinstance(a, ir.Const):
        return ZERO if a.value else ONE
    if isinstance(a, ir.Not):
        return a.a
    if isinstance(a, ir.Bin) and a.op in _NEGATED:
        return ir.Bin(_NEGATED[a.op], a.a, a.b)
    return ir.Not(a)


def select(cond: ir.Expr, a: ir.Expr, b: ir.Expr) -> ir.Expr:
    """a if cond else b."""
    if isinstance(cond, ir.Const):
        return a if cond.value else b
    return a if a == b else ir.Select(cond, a, b)


def equal(a: tuple[ir.Expr, ...], b: tuple[ir.Expr, ...]) -> ir.Expr:
    """Whether all parts of two values are the same."""
    result: ir.Expr = ONE
    for x, y in zip(a, b, strict=True):
        result = binary("and", result, binary("==", x, y))
    return result

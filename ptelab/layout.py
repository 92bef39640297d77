# SPDX-License-Identifier: GPL-2.0-only
"""Sizes: what a scenario's parameters make of the module's pools, arrays and integer types."""

from __future__ import annotations

from collections.abc import Mapping

from ptelab import ir

WIDTH_MAX = 62
"""Bits of an integer: so that engines compute with words of 64, and there are numbers that fit nowhere."""


class LayoutError(ValueError):
    """A parameter that the module needs has no value, or one that cannot be."""


class Layout:
    """Numbers of elements and widths in bits for one module under one set of parameters."""

    def __init__(self, module: ir.Module, params: Mapping[str, int]) -> None:
        self.module = module
        self.params = dict(params)
        for struct in module.structs.values():
            if struct.kind == "cpu":
                self.params[f"nr_{struct.name}"] = self.param("NR_CPUS")

    def param(self, name: str) -> int:
        """The value of a layout parameter; LayoutError when the scenario gives none."""
        try:
            return self.params[name]
        except KeyError:
            raise LayoutError(f"layout parameter {name} has no value") from None

    def divisor(self, expr: ir.Expr) -> int:
        """What is divided by; LayoutError unless it is above zero."""
        value = self.param(expr.name) if isinstance(expr, ir.Param) else expr.value if isinstance(expr, ir.Const) else 0
        if value <= 0:
            name = expr.name if isinstance(expr, ir.Param) else "a divisor"
            raise LayoutError(f"{name} is {value}, and the program divides by it; write a number above zero instead")
        return value

    def number(self, number: int | str) -> int:
        """A literal number, or the value of the parameter of that name."""
        return number if isinstance(number, int) else self.param(number)

    def pool(self, struct: str) -> int:
        """How many elements the pool of a struct has; for a stack struct, how many `new` statements make one."""
        return self.param(f"nr_{struct}")

    def count(self, field: ir.Field) -> int:
        """How many cells an element's member has: the array length, or 1."""
        return 1 if field.count is None else self.number(field.count)

    def width(self, type_: ir.Type) -> int:
        """Bits of a scalar."""
        match type_.kind:
            case "bool":
                return 1
            case "int":
                bits = max(1, self.number(type_.bound).bit_length())
                if bits > WIDTH_MAX:
                    raise LayoutError(
                        f"an integer up to {self.number(type_.bound)}; write one of {WIDTH_MAX} bits at most"
                    )
                return bits
            case "ptr":
                return max(1, self.pool(type_.struct).bit_length())

    def lock_width(self, field: ir.Field) -> int:
        """Bits of a lock: a spinlock holds its owner's number + 1; a rwsem holds that and a mask of readers."""
        threads = self.param("NR_THREADS")
        owner = threads.bit_length()
        return owner if field.lock == "spinlock" else owner + threads

    def widths(self, field: ir.Field) -> tuple[int, ...]:
        """Bits of each part of a member."""
        if field.lock:
            return (self.lock_width(field),)
        return tuple(self.width(t) for _, t in field.parts)

# SPDX-License-Identifier: GPL-2.0-only
"""LLVM text, instruction by instruction, with constants folded on the way.  An operand is an int or a register."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator

Operand = int | str


_FOLDED: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_, "or": operator.or_,
    "xor": operator.xor, "shl": operator.lshift, "lshr": operator.rshift,
}  # fmt: skip


class Emitter:
    """The body of one LLVM function of 64-bit words.

    Registers are numbered in the order in which they are written: LLVM reads numbers faster than names.
    """

    def __init__(self, within: Emitter | None = None) -> None:
        self.lines: list[str] = [] if within is None else within.lines
        self._numbers: Iterator[int] = itertools.count(1) if within is None else within._numbers
        self._sums: dict[str, tuple[str, int]] = {} if within is None else within._sums  # register + constant
        self._bits: dict[str, str] = {} if within is None else within._bits  # a word that is an i1's

    def name(self, stem: str) -> str:
        """A name that is new in this function."""
        return f"{stem}.{next(self._numbers)}"

    def emit(self, text: str) -> str:
        """An instruction with a result."""
        register = f"%{next(self._numbers)}"
        self.lines.append(f"  {register} = {text}")
        return register

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, cond: str, then: str, orelse: str) -> None:
        """Branch on an i1 register or on `true`/`false`."""
        self.do(f"br i1 {cond}, label %{then}, label %{orelse}")

    def op(self, name: str, a: Operand, b: Operand) -> Operand:
        """A binary operation on words."""
        if isinstance(a, int):
            if isinstance(b, int):
                return _FOLDED[name](a, b)
            if a == 0:
                if name in ("add", "or", "xor"):
                    return b
                if name in ("and", "mul", "shl", "lshr"):
                    return 0
            elif a == 1 and name == "mul":
                return b
            elif name == "add":
                a, b = b, a
        if isinstance(b, int):
            if b == 0:
                return 0 if name in ("and", "mul") else a
            if b == 1 and name == "mul":
                return a
            if name in ("add", "sub"):
                return self._sum(a, b if name == "add" else -b)
        return self.emit(f"{name} i64 {word(a)}, {word(b)}")

    def _sum(self, a: Operand, constant: int) -> Operand:
        """A register and a constant; of a sum with a constant, another such sum."""
        assert isinstance(a, str)
        register, before = self._sums.get(a, (a, 0))
        total = before + constant
        if total == 0:
            return register
        result = self.emit(f"add i64 {register}, {word(total)}")
        self._sums[result] = register, total
        return result

    def compare(self, condition: str, a: Operand, b: Operand) -> str:
        """An i1: condition is LLVM's, for signed words (eq, ne, slt, …)."""
        return self.emit(f"icmp {condition} i64 {word(a)}, {word(b)}")

    def as_word(self, bit: str) -> Operand:
        if bit in ("true", "false"):
            return int(bit == "true")
        result = self.emit(f"zext i1 {bit} to i64")
        self._bits[result] = bit
        return result

    def as_bit(self, value: Operand) -> str:
        """Whether a word is not zero, as an i1."""
        if isinstance(value, int):
            return "true" if value else "false"
        return self._bits.get(value) or self.compare("ne", value, 0)

    def not_(self, bit: str) -> str:
        """The other truth."""
        if bit in ("true", "false"):
            return "false" if bit == "true" else "true"
        return self.emit(f"xor i1 {bit}, true")

    def load_word(self, base: str, index: Operand) -> str:
        return self.emit(f"load i64, ptr {self.address(base, index)}")

    def store_word(self, base: str, index: Operand, value: Operand) -> None:
        self.do(f"store i64 {word(value)}, ptr {self.address(base, index)}")

    def address(self, base: str, index: Operand) -> str:
        return base if index == 0 else self.emit(f"getelementptr i64, ptr {base}, i64 {word(index)}")


def word(value: Operand) -> str:
    """An operand as LLVM writes it."""
    if isinstance(value, int):
        value &= (1 << 64) - 1
        return str(value - (1 << 64) if value >> 63 else value)
    return value

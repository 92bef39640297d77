# SPDX-License-Identifier: GPL-2.0-only
"""LLVM text, instruction by instruction, with constants folded on the way.  An operand is an int or a register."""

from __future__ import annotations

Operand = int | str


class Emitter:
    """The body of one LLVM function of 64-bit words."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._counter = 0

    def name(self, stem: str = "t") -> str:
        """A name that is new in this function."""
        self._counter += 1
        return f"{stem}.{self._counter}"

    def emit(self, text: str) -> str:
        """An instruction with a result."""
        register = f"%{self.name()}"
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
        if isinstance(a, int) and isinstance(b, int):
            match name:
                case "add":
                    return a + b
                case "sub":
                    return a - b
                case "mul":
                    return a * b
                case "and":
                    return a & b
                case "or":
                    return a | b
                case "shl":
                    return a << b
                case "lshr":
                    return a >> b
        if name in ("add", "or", "shl", "lshr", "sub", "xor") and b == 0:
            return a
        if name in ("add", "or") and a == 0:
            return b
        if name in ("and", "mul") and (a == 0 or b == 0):
            return 0
        if name == "mul" and (a == 1 or b == 1):
            return b if a == 1 else a
        return self.emit(f"{name} i64 {word(a)}, {word(b)}")

    def compare(self, condition: str, a: Operand, b: Operand) -> str:
        """An i1: condition is LLVM's, for signed words (eq, ne, slt, …)."""
        return self.emit(f"icmp {condition} i64 {word(a)}, {word(b)}")

    def as_word(self, bit: str) -> Operand:
        if bit in ("true", "false"):
            return int(bit == "true")
        return self.emit(f"zext i1 {bit} to i64")

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

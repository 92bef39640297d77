# SPDX-License-Identifier: GPL-2.0-only
"""Programs for the agent: what its threads execute, and the memory that they share with ptelab."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from ptelab.live.architectures import Architecture

WORD = 8
CONTROL = 0x10000000
"""Where the shared memory lies in every process of the agent."""
STACKS = 0x50000000
STACK_BYTES = 0x8000
CONTROL_FD = 100

PROGRAMS_MAX = 32
REGISTERS_MAX = 256
NEVER = 39  # word of the shared memory that nobody ever changes
ACTION = 40  # word of the shared memory: an argument of rt_sigaction
REGISTERS = 64  # first word of the registers
_FREE = REGISTERS + PROGRAMS_MAX * REGISTERS_MAX

SIGNAL = 1
RANDOM = 2
_FIRST_REGISTER = 3

OPS = (
    "END", "SYSCALL", "LOAD", "STORE", "IF_ZERO", "ARRIVE", "AWAIT", "RENDEZVOUS", "DELAY", "FORK", "SPAWN", "SET",
    "ADD", "SUB", "AND", "OR", "TIMES", "SHIFT", "EQUAL", "LESS",
)  # fmt: skip
NUMBER = {name: number for number, name in enumerate(OPS)}
_INSTRUCTION_WORDS = 10
_SET_PDEATHSIG, _SIGKILL = 1, 9


@dataclass(frozen=True, slots=True)
class Reg:
    """A register of a program."""

    number: int


@dataclass(eq=False, slots=True)
class Label:
    """A place in a program; `address` is known when the programs are laid down."""

    address: int = 0


Arg: TypeAlias = int | Reg | Label


class Shared:
    """The shared memory: words that programs use, the programs themselves, and the results behind them."""

    def __init__(self, machine: Architecture, results_bytes: int) -> None:
        self.machine = machine
        self.results_bytes = results_bytes
        self.data: dict[int, bytes] = {}
        self.programs: list[Program] = []
        self._end = CONTROL + _FREE * WORD
        self.results = 0

    start = CONTROL

    def words(self, count: int = 1, *values: int) -> int:
        """The address of new words."""
        return self.bytes(struct.pack(f"<{len(values)}Q", *(v & (1 << 64) - 1 for v in values)), count * WORD)

    def bytes(self, value: bytes, size: int = 0) -> int:
        """The address of new memory that holds this at first."""
        address = self._end
        if value:
            self.data[address] = value
        self._end += -(-max(size, len(value)) // WORD) * WORD
        return address

    def program(self) -> Program:
        """A new, empty program."""
        program = Program(self, len(self.programs))
        if program.number >= PROGRAMS_MAX:
            raise ValueError("too many programs")
        self.programs.append(program)
        return program

    def lay_down(self) -> tuple[int, mmap.mmap]:
        """A file with all of it, and the same mapped."""
        at = self._end
        heads = []
        for p in self.programs:
            heads.append(at)
            at += p.place(at)
        self.results = -(-at // mmap.PAGESIZE) * mmap.PAGESIZE
        size = self.results + self.results_bytes - CONTROL
        fd = os.memfd_create("ptelab")
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size)
        struct.pack_into(f"<{len(heads)}Q", memory, 0, *heads)
        for p, head in zip(self.programs, heads, strict=True):
            struct.pack_into(
                "<Q", memory, self.register(p, Reg(RANDOM)) - CONTROL, 0x9E3779B97F4A7C15 * (p.number + 1) % (1 << 64)
            )
            code = p.code(self.results)
            memory[head - CONTROL : head - CONTROL + len(code)] = code
        for address, value in self.data.items():
            memory[address - CONTROL : address - CONTROL + len(value)] = value
        return fd, memory

    def register(self, program: Program, register: Reg) -> int:
        """Where a register of a program lies: other programs may read and write it."""
        return CONTROL + (REGISTERS + program.number * REGISTERS_MAX + register.number) * WORD


RESULTS = Label()
"""Stands for the address where the results begin."""


@dataclass(slots=True)
class Program:
    """A list of instructions, each `(op, destination, arguments)`."""

    shared: Shared
    number: int
    rows: list[tuple[str, Reg | None, tuple[Arg, ...]] | Label] = field(default_factory=list)
    _registers: int = _FIRST_REGISTER

    def reg(self) -> Reg:
        """A register that nothing else uses."""
        if self._registers == REGISTERS_MAX:
            raise ValueError("too many registers")
        self._registers += 1
        return Reg(self._registers - 1)

    def op(self, op: str, *args: Arg, to: Reg | None = None) -> None:
        """Append an instruction."""
        self.rows.append((op, to, args))

    def call(self, name: str, *args: Arg, to: Reg | None = None) -> None:
        """Append a system call."""
        self.op("SYSCALL", self.shared.machine.numbers[name], *args, to=to)

    def die_with_parent(self) -> None:
        """Let the process end when the thread that forked it does, however that comes."""
        self.call("prctl", _SET_PDEATHSIG, _SIGKILL, 0, 0, 0)

    def load(self, to: Reg, address: Arg, refused: Label | None = None) -> None:
        """A load; where to go on when it is refused.  Without that, the agent crashes."""
        self.op("LOAD", address, refused or 0, to=to)

    def store(self, address: Arg, value: Arg, refused: Label | None = None) -> None:
        """A store; where to go on when it is refused.  Without that, the agent crashes."""
        self.op("STORE", address, value, refused or 0)

    def jump(self, to: Label) -> None:
        """Go on elsewhere."""
        self.op("IF_ZERO", 0, to)

    def label(self, label: Label) -> Label:
        """The label stands here."""
        self.rows.append(label)
        return label

    def place(self, address: int) -> int:
        """Give the labels their addresses, and say how many bytes the program has."""
        count = 0
        for row in self.rows:
            if isinstance(row, Label):
                row.address = address + count * _INSTRUCTION_WORDS * WORD
            else:
                count += 1
        return (count + 1) * _INSTRUCTION_WORDS * WORD

    def code(self, results: int) -> bytes:
        """The program as the agent reads it."""
        out = []
        for row in self.rows:
            if isinstance(row, Label):
                continue
            op, to, args = row
            mask = 0
            words = [0] * 7
            for i, arg in enumerate(args):
                match arg:
                    case Reg(number):
                        mask |= 1 << i
                        words[i] = number
                    case Label():
                        words[i] = results if arg is RESULTS else arg.address
                    case _:
                        words[i] = arg & (1 << 64) - 1
            out.append(struct.pack("<10Q", NUMBER[op], to.number if to else 0, mask, *words))
        return b"".join(out) + bytes(_INSTRUCTION_WORDS * WORD)

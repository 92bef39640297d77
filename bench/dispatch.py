# SPDX-License-Identifier: GPL-2.0-only
"""What an interpreter of the model would cost per transition, beside the compiled model: python bench/dispatch.py

The interpreter is the smallest that could do the work: a loop over operations of four words that extract, insert,
compare and branch on bit fields of a packed state, compiled by LLVM with optimisation.  It runs as many operations
as the reference machine executes statements and expression nodes in an average transition of the test.
"""

from __future__ import annotations

import ctypes
import sys
import time

from ptelab import bundled, checking, ir
from ptelab.checking import Options
from ptelab.litmus.build import read
from ptelab.machine import Machine
from ptelab.native import compiler, lowlevel
from ptelab.native.engine import Engine
from ptelab.search import explore

VM = '''
def run(code, state, count):
    """Execute `count` operations: word 0 the operation, then target register, and what it works on."""
    registers = state + 256
    pc = code
    while count > 0:
        count = count - 1
        operation = load(pc, 0)
        if operation == 0:
            field = load(pc, 2)
            store(registers, load(pc, 1), (load(state, field >> 16) >> (field & 63)) & ((field >> 8) & 255))
        elif operation == 1:
            field = load(pc, 2)
            mask = ((field >> 8) & 255) << (field & 63)
            old = load(state, field >> 16)
            value = load(registers, load(pc, 1)) << (field & 63)
            store(state, field >> 16, (old & (mask ^ 0xFFFFFFFFFFFFFFFF)) | (value & mask))
        elif operation == 2:
            store(registers, load(pc, 1), load(registers, load(pc, 2)) + load(registers, load(pc, 3)))
        elif operation == 3:
            store(registers, load(pc, 1), load(registers, load(pc, 2)) == load(registers, load(pc, 3)))
        elif operation == 4:
            if load(registers, load(pc, 1)) != 0:
                pc = pc + 32
        else:
            pc = code - 32
        pc = pc + 32
    return 0
'''


def operations_per_transition(machine: Machine) -> float:
    """Statements plus expression nodes that an average transition of the scenario executes."""
    executed = 0

    def nodes(expr: ir.Expr) -> int:
        match expr:
            case ir.Bin(_, a, b):
                return 1 + nodes(a) + nodes(b)
            case ir.Not(a):
                return 1 + nodes(a)
            case ir.Select(c, a, b):
                return 1 + nodes(c) + nodes(a) + nodes(b)
            case _:
                return 0

    value = machine._value

    def counting(expr: ir.Expr):  # type: ignore[no-untyped-def]
        nonlocal executed
        executed += nodes(expr)
        return value(expr)

    execute = machine._execute

    def counted(run, frame, stmt):  # type: ignore[no-untyped-def]
        nonlocal executed
        executed += 1
        return execute(run, frame, stmt)

    machine._value = counting  # type: ignore[method-assign]
    machine._execute = counted  # type: ignore[method-assign]
    found = explore(machine, states_max=3000)
    return executed / max(found.transitions, 1)


def vm_seconds_per_operation() -> float:
    """One operation of the interpreter, in a mix of two loads to one of each other, every branch well predicted."""
    text = lowlevel.translate(VM, {}, {})
    library = compiler.compile_text(text, 2)
    program = [
        (0, n % 8, (n % 5) << 16 | 7 << 8 | 3 * n % 48, 0) if n % 3 else (n % 5, n % 8, 1, 2) for n in range(300)
    ]
    program = [(1, b, (2 << 16) | 7 << 8 | 6, 0) if a == 1 else (a, b, c, d) for a, b, c, d in program]
    words = [w for operation in [*program, (9, 0, 0, 0)] for w in operation] + [0] * 8
    code = (ctypes.c_uint64 * len(words))(*words)
    state = (ctypes.c_uint64 * 64)()
    run = library.function("run", 3)
    count = 20_000_000
    started = time.perf_counter()
    run(ctypes.addressof(code), ctypes.addressof(state), count)
    return (time.perf_counter() - started) / count


def main(names: list[str]) -> None:
    for name in names:
        built = checking.prepare(read(bundled.directory("litmus") / f"{name}.litmus"), Options())
        operations = operations_per_transition(Machine(built.scenario))
        per_operation = vm_seconds_per_operation()
        print(f"{name}: {operations:.0f} operations a transition, {per_operation * 1e9:.1f} ns each in the interpreter,"
              f" so {operations * per_operation * 1e9:.0f} ns a transition without search")  # fmt: skip
        for level in (0, 2):
            machine = Machine(built.scenario)
            machine.initial()
            engine = Engine(machine, 1, 1 << 32)
            text = engine._text()
            started = time.perf_counter()
            compiler.compile_text(text, level)
            compiled = time.perf_counter() - started
            original = compiler.compile_text
            compiler.compile_text = lambda t, _, at=level, do=original: do(t, at)  # type: ignore[assignment, misc]
            found = Engine(Machine(built.scenario), 1, 1 << 32).run()
            compiler.compile_text = original
            search = found.seconds - compiled
            print(f"  compiled, level {level}: {compiled:.2f} s to compile, {search / found.transitions * 1e9:.0f} ns a"
                  f" transition with search, {found.states} states")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:] or ["munmap+store+writeback", "munmap+store+writeback+two_dirty", "madvise+madvise+store"])

# SPDX-License-Identifier: GPL-2.0-only
"""The agent: a small program that performs what columns do on a real kernel.  CPython never runs this file.

It is written in the language of `native/lowlevel.py` and becomes a static executable without a C library, so that its
processes have a few pages each, fork quickly, and do nothing that a test did not ask for.  It executes programs: rows
of ten words, `op dst mask a0 … a6`, where bit i of the mask says that argument i is a register.  Programs, registers,
counters and results lie in one shared file at CONTROL, which ptelab writes before and reads after.
"""
# ruff: noqa: F821
# mypy: ignore-errors

PROT_RW = 3
MAP_SHARED_FIXED_POPULATE = 0x8011
MAP_SHARED_FIXED_ANONYMOUS = 0x31
SEEK_END = 2
SIGBUS = 7
SIGSEGV = 11
SIGCHLD = 17
SA_SIGINFO_RESTORER_NODEFER = 0x44000004
# CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
CLONE_THREAD = 0x50F00
SIGN = 0x8000000000000000
ERRNO_MIN = 0xFFFFFFFFFFFFF001
FUTEX_WAIT = 0
FUTEX_WAKE = 1
WORD = 8


def entry(program):
    """Where every thread begins: the first one makes the process ready, and a second one runs program 0.

    Stacks are shared memory, one for each program, so that a fork leaves no private page behind that a thread copies
    when it goes on.
    """
    if program == ALL_ONES:
        size = sys6(SYS_lseek, CONTROL_FD, 0, SEEK_END, 0, 0, 0)
        sys6(SYS_mmap, CONTROL, size, PROT_RW, MAP_SHARED_FIXED_POPULATE, CONTROL_FD, 0)
        sys6(SYS_mmap, STACKS, STACK_BYTES * PROGRAMS_MAX, PROT_RW, MAP_SHARED_FIXED_ANONYMOUS, ALL_ONES, 0)
        handle(SIGSEGV)
        handle(SIGBUS)
        spawn(CLONE_THREAD, STACKS + STACK_BYTES, 0)
        while 1:
            sys6(SYS_futex, CONTROL + NEVER * WORD, FUTEX_WAIT, 0, 0, 0, 0)
    run(program)
    if program == 0:
        sys6(SYS_exit_group, 0, 0, 0, 0, 0, 0)
    sys6(SYS_exit, 0, 0, 0, 0, 0, 0)
    return 0


def handle(signal):
    """Let a refused access continue behind the instruction, with the signal's number as its result."""
    store(CONTROL, ACTION, HANDLER)
    store(CONTROL, ACTION + 1, SA_SIGINFO_RESTORER_NODEFER)
    store(CONTROL, ACTION + 2, RESTORER)
    store(CONTROL, ACTION + 3, 0)
    sys6(SYS_rt_sigaction, signal, CONTROL + ACTION * WORD, 0, WORD, 0, 0)
    return 0


def argument(pc, registers, i):
    """Argument i of an instruction."""
    value = load(pc, 3 + i)
    if (load(pc, 2) >> i) & 1 != 0:
        value = load(registers, value)
    return value


def run(program):
    """Execute a program to its end."""
    registers = CONTROL + REGISTERS * WORD + program * REGISTERS_MAX * WORD
    pc = load(CONTROL, program)
    while 1:
        op = load(pc, 0)
        if op == OP_END:
            return 0
        a = argument(pc, registers, 0)
        b = argument(pc, registers, 1)
        following = pc + 10 * WORD
        result = 0
        if op == OP_SYSCALL:
            result = system_call(pc, registers, a, b)
        elif op == OP_LOAD:
            signal = try_load(a, registers + load(pc, 1) * WORD)
            result = load(registers, load(pc, 1))
            store(registers, SIGNAL, signal)
            if signal != 0:
                following = b
        elif op == OP_STORE:
            signal = try_store(a, b)
            store(registers, SIGNAL, signal)
            if signal != 0:
                following = argument(pc, registers, 2)
        elif op == OP_IF_ZERO:
            if a == 0:
                following = b
        elif op == OP_ARRIVE:
            result = atomic_add(a, 0, 1)
            sys6(SYS_futex, a, FUTEX_WAKE, 1000, 0, 0, 0)
        elif op == OP_AWAIT:
            await_count(a, b, argument(pc, registers, 2))
        elif op == OP_RENDEZVOUS:
            rendezvous(a, b)
        elif op == OP_DELAY:
            delay(registers, a)
        elif op == OP_FORK:
            result = spawn(SIGCHLD, STACKS + (a + 1) * STACK_BYTES, a)
        elif op == OP_SPAWN:
            result = spawn(CLONE_THREAD, STACKS + (a + 1) * STACK_BYTES, a)
        else:
            result = compute(op, a, b)
        if load(pc, 1) != 0:
            store(registers, load(pc, 1), result)
        pc = following
    return 0


def system_call(pc, registers, a, b):
    """A system call with the number a."""
    c = argument(pc, registers, 2)
    d = argument(pc, registers, 3)
    e = argument(pc, registers, 4)
    return sys6(a, b, c, d, e, argument(pc, registers, 5), argument(pc, registers, 6))


def compute(op, a, b):
    """A result that depends on the arguments alone."""
    if op == OP_SET:
        return a
    if op == OP_ADD:
        return a + b
    if op == OP_SUB:
        return a - b
    if op == OP_AND:
        return a & b
    if op == OP_OR:
        return a | b
    if op == OP_TIMES:
        return a * b
    if op == OP_SHIFT:
        return a >> b
    if op == OP_EQUAL:
        return a == b
    if op == OP_LESS:
        return (a ^ SIGN) < (b ^ SIGN)
    sys6(SYS_exit_group, 98, 0, 0, 0, 0, 0)
    return 0


def await_count(counter, count, spins):
    """Wait until a counter has come so far: first spinning, then asleep."""
    while 1:
        now = atomic_load(counter, 0)
        if now >= count:
            return 0
        if spins > 0:
            spins = spins - 1
        else:
            sys6(SYS_futex, counter, FUTEX_WAIT, now & 0xFFFFFFFF, 0, 0, 0)
    return 0


def rendezvous(counter, count):
    """Arrive and wait for all others, without sleep; who waits long lets another thread have the CPU."""
    atomic_add(counter, 0, 1)
    spins = 0
    while atomic_load(counter, 0) < count:
        spins = spins + 1
        if spins > SPINS_MAX:
            sys6(SYS_sched_yield, 0, 0, 0, 0, 0, 0)
    return 0


def delay(registers, longest):
    """Spin for a random while, so that columns meet at all their steps."""
    x = load(registers, RANDOM)
    x = x ^ (x << 13)
    x = x ^ (x >> 7)
    x = x ^ (x << 17)
    store(registers, RANDOM, x)
    n = (x >> 20) % (longest + 1)
    while n > 0:
        n = n - 1
        relax()
    return 0

# SPDX-License-Identifier: GPL-2.0-only
"""What the columns of a litmus test may do: loads and stores, system calls, and what kernel threads do."""

from cpu import load, store
from entry import fault_entry
from fs import write_folio
from hw.memory import Addr, Value
from kernel.sched.core import context_switch
from linux.fs import address_space
from linux.mm_types import mm_struct
from linux.types import Errno, pgoff_t
from mm.madvise import sys_madvise
from mm.mmap import sys_munmap

from ptelab.lang import choose, u3


def user_load(addr: Addr) -> tuple[Value, bool]:
    """Load from an address until it succeeds or the task gets a signal: the value, and whether it was a signal."""
    while True:
        value, error = load(addr)
        if error == 0:
            return value, False
        if fault_entry(error, addr):
            return 0, True


def user_store(addr: Addr, value: Value) -> bool:
    """Store to an address until it succeeds or the task gets a signal; whether it was a signal."""
    while True:
        error = store(addr, value)
        if error == 0:
            return False
        if fault_entry(error, addr):
            return True


def munmap(addr: Addr, len: Addr) -> Errno:
    """munmap(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_munmap(addr, len)


def madvise(addr: Addr, len: Addr, advice: u3) -> Errno:
    """madvise(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_madvise(addr, len, advice)


def switch_to(next: mm_struct) -> None:
    """Let this CPU run another process: the column goes on as a task of that mm.  The thread starts here."""
    choose(1)
    context_switch(next)


def writeback(mapping: address_space, index: pgoff_t) -> None:
    """Write one page of a file back if it is dirty, and wait until it is on disk."""
    write_folio(mapping, index)

# SPDX-License-Identifier: GPL-2.0-only
"""The border of x86-64: how a fault gets into the kernel, and what the invariants ask of a CPU."""

from arch.x86.mm.fault import exc_page_fault
from cpu import PF_WRITE, Cpu, pte_t
from hw.memory import Addr, CpuNr
from linux.mm_types import mm_struct

from ptelab.lang import ghost, per_cpu, pool, u3


def fault_entry(error: u3, addr: Addr) -> bool:
    """Handle a fault that an access raised; whether the task got a signal."""
    return exc_page_fault(error, addr)


@ghost
def fault_is_write(error: u3) -> bool:
    """Whether it was a store that faulted."""
    return error & PF_WRITE != 0


@ghost
def tlb_holds(cpu: CpuNr, addr: Addr) -> bool:
    """Whether a CPU has a translation for an address."""
    return per_cpu(Cpu, cpu).tlb[addr].valid


@ghost
def mm_of_cpu(cpu: CpuNr) -> mm_struct | None:
    """The mm that a CPU has loaded."""
    for mm in pool(mm_struct):
        if per_cpu(Cpu, cpu).cr3 is not None and per_cpu(Cpu, cpu).cr3 == mm.pgd:
            return mm
    return None


@ghost
def entry_lets_store(pte: pte_t) -> bool:
    """Whether the hardware may store through an entry without a change of it: present, writable and dirty."""
    return pte.present and pte.rw and pte.dirty


@ghost
def entry_serves(pte: pte_t, write: bool) -> bool:
    """Whether an access gets through an entry: present, and writable for a store; A and D are set on the way."""
    return pte.present and (not write or pte.rw)

# SPDX-License-Identifier: GPL-2.0-only
"""The border of arm64: how an abort gets into the kernel, and what the invariants ask of a CPU."""

from arch.arm64.mm.fault import do_mem_abort
from cpu import WNR, Core, Cpu, hafdbs, pte_t
from hw.memory import Addr, CpuNr
from linux.mm_types import mm_struct

from ptelab.lang import at, ghost, per_cpu, pool, u3


def fault_entry(error: u3, addr: Addr) -> bool:
    """Handle an abort that an access raised; whether the task got a signal."""
    return do_mem_abort(addr, error)


@ghost
def fault_is_write(error: u3) -> bool:
    """Whether it was a store that faulted."""
    return error & WNR != 0


@ghost
def tlb_holds(cpu: CpuNr, addr: Addr) -> bool:
    """Whether a CPU has a translation for an address."""
    return per_cpu(Cpu, cpu).tlb[addr].valid


@ghost
def mm_of_cpu(cpu: CpuNr) -> mm_struct | None:
    """The mm that a CPU has loaded."""
    for mm in pool(mm_struct):
        if at(Core, cpu).ttbr0 is not None and at(Core, cpu).ttbr0 == mm.pgd:
            return mm
    return None


@ghost
def entry_lets_store(pte: pte_t) -> bool:
    """Whether the hardware may store through an entry without a change of it: valid and not read-only."""
    return pte.valid and not pte.rdonly


@ghost
def entry_serves(pte: pte_t, write: bool) -> bool:
    """Whether an access of this CPU gets through an entry, perhaps with AF or AP[2] changed on the way."""
    if not pte.valid or not pte.af and hafdbs() == 0:
        return False
    return not write or not pte.rdonly or pte.dbm and hafdbs() >= 2

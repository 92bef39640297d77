# SPDX-License-Identifier: GPL-2.0-only
"""The border of s390: how an exception gets into the kernel, and what the invariants ask of a CPU."""

from arch.s390.mm.fault import do_dat_exception, do_protection_exception
from cpu import PIC_PROTECTION, TEID_STORE, Core, Cpu, pte_t
from hw.memory import Addr, CpuNr
from linux.mm_types import mm_struct

from ptelab.lang import at, ghost, per_cpu, pool, u3


def fault_entry(error: u3, addr: Addr) -> bool:
    """Handle an exception that an access raised; whether the task got a signal."""
    if error & PIC_PROTECTION != 0:
        return do_protection_exception(addr, error)
    return do_dat_exception(addr, error)


@ghost
def fault_is_write(error: u3) -> bool:
    """Whether it was a store that faulted."""
    return error & TEID_STORE != 0


@ghost
def tlb_holds(cpu: CpuNr, addr: Addr) -> bool:
    """Whether a CPU has a translation for an address."""
    return per_cpu(Cpu, cpu).tlb[addr].valid


@ghost
def mm_of_cpu(cpu: CpuNr) -> mm_struct | None:
    """The mm that a CPU has loaded."""
    for mm in pool(mm_struct):
        if at(Core, cpu).asce is not None and at(Core, cpu).asce == mm.pgd:
            return mm
    return None


@ghost
def entry_lets_store(pte: pte_t) -> bool:
    """Whether the hardware may store through an entry without a change of it: valid and not protected."""
    return pte.valid and not pte.protect


@ghost
def entry_serves(pte: pte_t, write: bool) -> bool:
    """Whether an access gets through an entry: valid, and not protected from a store."""
    return pte.valid and (not write or not pte.protect)

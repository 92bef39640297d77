# SPDX-License-Identifier: GPL-2.0-only
"""How the hardware of x86-64 gets its initial state."""

from asm.tlbflush import loaded_mm_t, tlb_state
from cpu import Cpu, tlb_entry
from hw.memory import Addr, CpuNr, Pfn
from linux.mm_types import mm_struct

from ptelab.lang import at, per_cpu


def boot_cpu(cpu: CpuNr, mm: mm_struct) -> None:
    """Let a CPU have an mm loaded."""
    per_cpu(Cpu, cpu).cr3 = mm.pgd
    at(tlb_state, cpu).loaded_mm = loaded_mm_t(mm=mm)


def boot_elsewhere(cpu: CpuNr, mm: mm_struct, active_mm: mm_struct) -> None:
    """Let a CPU that has had an mm loaded have another."""
    per_cpu(Cpu, cpu).cr3 = active_mm.pgd
    at(tlb_state, cpu).loaded_mm = loaded_mm_t(mm=active_mm)


def boot_tlb(cpu: CpuNr, addr: Addr, write: bool, dirty: bool, pfn: Pfn) -> None:
    """Let a CPU's TLB hold a translation."""
    per_cpu(Cpu, cpu).tlb[addr] = tlb_entry(valid=True, rw=write, dirty=dirty, pfn=pfn)

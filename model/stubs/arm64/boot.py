# SPDX-License-Identifier: GPL-2.0-only
"""How the hardware of arm64 gets its initial state."""

from cpu import Core, Cpu, tlb_entry
from hw.memory import Addr, CpuNr, Pfn
from linux.mm_types import mm_struct

from ptelab.lang import at, per_cpu


def boot_cpu(cpu: CpuNr, mm: mm_struct) -> None:
    """Let a CPU have an mm loaded."""
    at(Core, cpu).ttbr0 = mm.pgd


def boot_elsewhere(cpu: CpuNr, mm: mm_struct, active_mm: mm_struct) -> None:
    """Let a CPU that has had an mm loaded have another."""
    at(Core, cpu).ttbr0 = active_mm.pgd


def boot_tlb(cpu: CpuNr, addr: Addr, write: bool, dirty: bool, pfn: Pfn) -> None:
    """Let a CPU's TLB hold a translation."""
    per_cpu(Cpu, cpu).tlb[addr] = tlb_entry(valid=True, rdonly=not (write and dirty), dbm=write, pfn=pfn)

# SPDX-License-Identifier: GPL-2.0-only
"""How the hardware of s390 gets its initial state."""

from cpu import Core, Cpu, tlb_entry
from hw.memory import Addr, CpuNr, Pfn
from linux.mm_types import mm_struct

from ptelab.lang import at, per_cpu


def boot_cpu(cpu: CpuNr, mm: mm_struct) -> None:
    """Let a CPU have an mm loaded, and be attached to it."""
    at(Core, cpu).asce = mm.pgd
    per_cpu(Cpu, cpu).attached = True
    mm.context.cpu_attach_mask = mm.context.cpu_attach_mask | (1 << cpu)


def boot_elsewhere(cpu: CpuNr, mm: mm_struct, active_mm: mm_struct) -> None:
    """Let a CPU that has had an mm loaded be attached to another."""
    per_cpu(Cpu, cpu).attached = False
    mm.context.cpu_attach_mask = mm.context.cpu_attach_mask & ~(1 << cpu)
    active_mm.context.cpu_attach_mask = active_mm.context.cpu_attach_mask | (1 << cpu)


def boot_tlb(cpu: CpuNr, addr: Addr, write: bool, dirty: bool, pfn: Pfn) -> None:
    """Let a CPU's TLB hold a translation."""
    per_cpu(Cpu, cpu).tlb[addr] = tlb_entry(valid=True, protect=not (write and dirty), pfn=pfn)

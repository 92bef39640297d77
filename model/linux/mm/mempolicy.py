# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mempolicy.c (v7.0).

Left out: all but the hints of NUMA balancing.
"""

from asm.tlb import mmu_gather
from linux.mm import MM_CP_PROT_NUMA
from linux.mm_types import vm_area_struct
from linux.types import Addr
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.mprotect import change_protection

from ptelab.lang import new


def change_prot_numa(vma: vm_area_struct, addr: Addr, end: Addr) -> None:
    """Let the next accesses to a range fault, as hints on who uses it.

    Context: mmap_lock held for reading.  Left out: counting.
    """
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, vma.vm_mm)
    change_protection(tlb, vma, addr, end, MM_CP_PROT_NUMA)
    tlb_finish_mmu(tlb)

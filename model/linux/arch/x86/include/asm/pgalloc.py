# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/pgalloc.h (v7.0).

Left out: paravirtualisation.
"""

from arch.x86.mm.pgtable import ___pte_free_tlb, pte_alloc_one  # noqa: F401
from asm.pgtable import set_pmd
from asm.pgtable_types import pmd_p, pmd_t
from asm.tlb import mmu_gather
from asm_generic.pgalloc import pte_free  # noqa: F401
from linux.mm_types import mm_struct, ptdesc
from linux.types import Addr

from ptelab.lang import index_of


def __pte_free_tlb(tlb: mmu_gather, pte: ptdesc, address: Addr) -> None:
    """Free a PTE table through the gather."""
    ___pte_free_tlb(tlb, pte)


def pmd_populate(mm: mm_struct, pmd: pmd_p, pte: ptdesc) -> None:
    """Let an upper entry name a PTE table."""
    set_pmd(pmd, pmd_t(present=True, pfn=index_of(pte)))

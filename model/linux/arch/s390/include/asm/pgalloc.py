# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/pgalloc.h (v7.0)."""

from asm.pgtable import set_pmd
from asm.pgtable_types import pmd_p, pmd_t
from asm.tlb import mmu_gather
from linux.mm_types import mm_struct, ptdesc
from linux.types import Addr
from stubs.memory import alloc_table, free_table_now

from ptelab.lang import index_of


def pte_alloc_one(mm: mm_struct) -> ptdesc | None:
    """Allocate an empty page table; None when there is no memory."""
    return alloc_table()


def pmd_populate(mm: mm_struct, pmd: pmd_p, pte: ptdesc) -> None:
    """Let a segment-table entry name a page table."""
    set_pmd(pmd, pmd_t(valid=True, pfn=index_of(pte)))


def __pte_free_tlb(tlb: mmu_gather, pte: ptdesc, address: Addr) -> None:
    """Do nothing, never: asm/tlb.h has a pte_free_tlb that does not call it.

    Differs: Linux has it in no file.
    """


def pte_free(mm: mm_struct, pte: ptdesc) -> None:
    """Free a page table that is in use no more, at once."""
    free_table_now(pte)

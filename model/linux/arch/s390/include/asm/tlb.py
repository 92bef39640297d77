# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/tlb.h (v7.0), which includes asm-generic/tlb.h.

An entry is flushed when it is emptied, or its flush is left for later while only one CPU is attached; so a page can be
freed as soon as it is unhooked.
"""

from asm.page import PAGE_SIZE
from asm.tlbflush import __tlb_flush_mm_lazy
from asm_generic.tlb import (  # noqa: F401
    MAX_GATHER_BATCH,
    MAX_GATHER_BATCH_COUNT,
    MAX_TABLE_BATCH,
    MMU_GATHER_BUNDLE,
    __tlb_adjust_range,
    __tlb_reset_range,
    huge_pmd_needs_flush,
    mmu_gather,
    pte_needs_flush,
    tlb_delay_rmap,
    tlb_end_vma,
    tlb_flush_mmu_tlbonly,
    tlb_flush_pmd_range,
    tlb_flush_pte_range,
    tlb_free_vmas,
    tlb_get_unmap_size,
    tlb_remove_pmd_tlb_entry,
    tlb_remove_ptdesc,
    tlb_remove_tlb_entry,
    tlb_start_vma,
)  # fmt: skip
from linux.mm_types import Folio, ptdesc
from linux.types import Addr
from mm.swap import folios_put_refs
from mm.swap_state import free_swap_cache


def __tlb_remove_folio_pages(tlb: mmu_gather, page: Folio, delay_rmap: bool) -> bool:
    """Drop the reference to a page at once; never asks for a flush.

    Differs: free_pages_and_swap_cache is here, of one page.
    """
    assert not delay_rmap
    free_swap_cache(page)
    folios_put_refs(page)
    return False


def tlb_flush(tlb: mmu_gather) -> None:
    """Do the flush that was left for later, if one was."""
    __tlb_flush_mm_lazy(tlb.mm)


def pte_free_tlb(tlb: mmu_gather, pte: ptdesc, address: Addr) -> None:
    """Free a page table that was unhooked, after a flush of the mm."""
    __tlb_adjust_range(tlb, address, PAGE_SIZE)
    tlb.mm.context.flush_mm = True
    tlb.freed_tables = True
    tlb.cleared_pmds = True
    tlb_remove_ptdesc(tlb, pte)

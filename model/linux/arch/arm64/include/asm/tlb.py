# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/tlb.h (v7.0), which includes asm-generic/tlb.h."""

from asm.tlbflush import (  # noqa: F401
    __flush_tlb_range_nosync,
    __tlbi_sync_s1ish,
    flush_tlb_mm,
    huge_pmd_needs_flush,
    pte_needs_flush,
)
from asm_generic.tlb import (  # noqa: F401
    MAX_GATHER_BATCH,
    MAX_GATHER_BATCH_COUNT,
    MAX_TABLE_BATCH,
    MMU_GATHER_BUNDLE,
    __tlb_reset_range,
    mmu_gather,
    pte_free_tlb,
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
from linux.mm_types import ptdesc
from linux.types import Addr
from mm.mmu_gather import __tlb_remove_folio_pages  # noqa: F401


def tlb_flush(tlb: mmu_gather) -> None:
    """Flush what the gather has collected; walk caches only if tables go, and of a whole mm nothing else.

    Differs: it has no VMA to hand to __flush_tlb_range, which only takes the mm from it.
    """
    last_level = not tlb.freed_tables
    if tlb.fullmm:
        if not last_level:
            flush_tlb_mm(tlb.mm)
        return
    __flush_tlb_range_nosync(tlb.mm, tlb.start, tlb.end, tlb_get_unmap_size(tlb), last_level)
    __tlbi_sync_s1ish()


def __pte_free_tlb(tlb: mmu_gather, pte: ptdesc, addr: Addr) -> None:
    """Free a PTE table through the gather."""
    tlb_remove_ptdesc(tlb, pte)

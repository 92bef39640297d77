# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/tlb.h (v7.0), which includes asm-generic/tlb.h.

Left out: INVLPGB.
"""

from arch.x86.mm.tlb import flush_tlb_mm_range
from asm.tlbflush import TLB_FLUSH_ALL, huge_pmd_needs_flush, pte_needs_flush  # noqa: F401
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
from mm.mmu_gather import __tlb_remove_folio_pages  # noqa: F401

from ptelab.lang import u8


def tlb_flush(tlb: mmu_gather) -> None:
    """Flush what the gather has collected."""
    start: u8 = 0
    end: u8 = TLB_FLUSH_ALL
    if not tlb.fullmm:
        start = tlb.start
        end = tlb.end
    flush_tlb_mm_range(tlb.mm, start, end, tlb_get_unmap_size(tlb), tlb.freed_tables)

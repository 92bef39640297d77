# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/asm-generic/tlb.h (v7.0).

Unhook pages and tables, invalidate the TLBs, free: always in this order.

Left out: hugetlb and levels above the PMD table, shared tables.
"""

from asm.page import PAGE_SIZE, PMD_SIZE, TASK_SIZE
from asm.pgalloc import __pte_free_tlb
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from asm.tlb import tlb_flush
from config import CONFIG_MMU_GATHER_MERGE_VMAS, CONFIG_MMU_GATHER_NO_GATHER, CONFIG_SMP
from linux.mm import VM_PFNMAP
from linux.mm_types import encoded_page, mm_struct, ptdesc, vm_area_struct
from linux.types import Addr
from mm.mmu_gather import tlb_remove_table

from ptelab.lang import Array, array, onstack, param, u4, u8

MMU_GATHER_BUNDLE = param("MMU_GATHER_BUNDLE", 3)
MAX_GATHER_BATCH = param("MAX_GATHER_BATCH", 3)
MAX_GATHER_BATCH_COUNT = param("MAX_GATHER_BATCH_COUNT", 1)
GATHER_BATCHES = param("GATHER_BATCHES", 2)
GATHER_ENTRIES = param("GATHER_ENTRIES", 6)
MAX_TABLE_BATCH = param("MAX_TABLE_BATCH", 2)


@onstack
class mmu_gather:
    """What an operation has unhooked and not yet freed.

    Differs: a batch of pages is a number, 0 for `local`; `nr` and `encoded_pages` hold those of all batches, batch b
    from b·MAX_GATHER_BATCH on.  Only their owner ever sees them.  Differs: the batch of tables is in here too.
    `end` may be a page beyond the address space, as a table that a zap has emptied is queued by where it ends.
    Left out: need_flush_all, cleared_puds and above, vma_exec, vma_huge, page_size.
    """

    mm: mm_struct
    batch: bool
    batch_nr: u4
    tables: Array[ptdesc | None] = array(MAX_TABLE_BATCH)
    start: Addr
    end: u8
    fullmm: bool
    freed_tables: bool
    delayed_rmap: bool
    vma_pfn: bool
    cleared_ptes: bool
    cleared_pmds: bool
    batch_count: u4
    active: u4
    nr: Array[u4] = array(GATHER_BATCHES)
    encoded_pages: Array[encoded_page] = array(GATHER_ENTRIES)


def tlb_delay_rmap(tlb: mmu_gather) -> bool:
    """Note that a page keeps its map count until the TLBs are flushed; false where no flush is ever delayed."""
    if CONFIG_SMP == 0 or CONFIG_MMU_GATHER_NO_GATHER == 1:
        return False
    tlb.delayed_rmap = True
    return True


def __tlb_adjust_range(tlb: mmu_gather, address: Addr, range_size: Addr) -> None:
    """Widen the range to flush."""
    if address < tlb.start:
        tlb.start = address
    if tlb.end < address + range_size:
        tlb.end = address + range_size


def __tlb_reset_range(tlb: mmu_gather) -> None:
    """Empty the range to flush, and forget why.

    Differs: for a full mm the range is empty too; nothing looks at it then.
    """
    tlb.start = TASK_SIZE
    tlb.end = 0
    tlb.freed_tables = False
    tlb.cleared_ptes = False
    tlb.cleared_pmds = False


def tlb_flush_mmu_tlbonly(tlb: mmu_gather) -> None:
    """Flush what was unhooked since the last flush, if anything."""
    if not (tlb.freed_tables or tlb.cleared_ptes or tlb.cleared_pmds):
        return
    tlb_flush(tlb)
    __tlb_reset_range(tlb)


def tlb_remove_ptdesc(tlb: mmu_gather, pt: ptdesc) -> None:
    """Queue a table that was unhooked."""
    tlb_remove_table(tlb, pt)


def tlb_get_unmap_size(tlb: mmu_gather) -> Addr:
    """How much one cleared entry covers."""
    if tlb.cleared_ptes:
        return PAGE_SIZE
    if tlb.cleared_pmds:
        return PMD_SIZE
    return PAGE_SIZE


def tlb_start_vma(tlb: mmu_gather, vma: vm_area_struct) -> None:
    """Begin with a VMA."""
    if not tlb.fullmm:
        tlb_update_vma_flags(tlb, vma)


def tlb_update_vma_flags(tlb: mmu_gather, vma: vm_area_struct) -> None:
    """Note what kinds of VMAs the gather has seen.

    Left out: huge and executable ones.
    """
    if vma.vm_flags & VM_PFNMAP != 0:
        tlb.vma_pfn = True


def tlb_end_vma(tlb: mmu_gather, vma: vm_area_struct) -> None:
    """End with a VMA, by a flush unless ranges of several VMAs may grow together."""
    if tlb.fullmm or CONFIG_MMU_GATHER_MERGE_VMAS == 1:
        return
    tlb_flush_mmu_tlbonly(tlb)


def tlb_free_vmas(tlb: mmu_gather) -> None:
    """Flush before VMAs leave the rmap if one of them is a PFN map, whose frames no reference keeps."""
    if not tlb.fullmm and tlb.vma_pfn:
        tlb_flush_mmu_tlbonly(tlb)


def tlb_flush_pte_range(tlb: mmu_gather, address: Addr, size: Addr) -> None:
    """Note that entries of a PTE table were cleared."""
    __tlb_adjust_range(tlb, address, size)
    tlb.cleared_ptes = True


def tlb_flush_pmd_range(tlb: mmu_gather, address: Addr, size: Addr) -> None:
    """Note that an upper entry was cleared."""
    __tlb_adjust_range(tlb, address, size)
    tlb.cleared_pmds = True


def pte_needs_flush(oldpte: pte_t, newpte: pte_t) -> bool:
    """Whether a TLB may allow more than a changed entry does: to be on the safe side always."""
    return True


def huge_pmd_needs_flush(oldpmd: pmd_t, newpmd: pmd_t) -> bool:
    """Whether a TLB may allow more than the changed entry of a huge page does: to be on the safe side always."""
    return True


def tlb_remove_tlb_entry(tlb: mmu_gather, ptep: pte_p, address: Addr) -> None:
    """Note that the entry for an address was cleared."""
    tlb_flush_pte_range(tlb, address, PAGE_SIZE)


def tlb_remove_pmd_tlb_entry(tlb: mmu_gather, pmdp: pmd_p, address: Addr) -> None:
    """Note that the upper entry of a huge page was cleared."""
    tlb_flush_pmd_range(tlb, address, PMD_SIZE)


def pte_free_tlb(tlb: mmu_gather, pte: ptdesc, address: Addr) -> None:
    """Free a PTE table that was unhooked."""
    tlb_flush_pmd_range(tlb, address, PAGE_SIZE)
    tlb.freed_tables = True
    __pte_free_tlb(tlb, pte, address)

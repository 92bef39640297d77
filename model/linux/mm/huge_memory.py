# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/huge_memory.c (v7.0).

Left out: anonymous memory, faults that map huge pages, collapsing, protection, so all but NUMA hints and what unmaps
the huge page of a file; page tables that are kept for later.
"""

from asm.page import PMD_SIZE
from asm.pgtable import pfn_pte, pmd_mkinvalid, pmd_pte, pmd_same, pmdp_invalidate, pte_mkdirty, pte_pfn, pte_pmd
from asm.pgtable_types import pmd_p, pmd_t
from asm.tlb import __tlb_remove_folio_pages, mmu_gather, tlb_flush_pmd_range, tlb_remove_pmd_tlb_entry
from linux.mm import dec_mm_counter, folio_put, pmd_lock, vm_fault
from linux.mm_types import MM_FILEPAGES, Folio, vm_area_struct
from linux.page_flags import folio_test_dirty
from linux.pgtable import (
    pmd_dirty,
    pmd_protnone,
    pmd_trans_huge,
    pmd_wrprotect,
    pmdp_get,
    pmdp_huge_get_and_clear_full,
    set_pmd_at,
)  # fmt: skip
from linux.types import Addr
from mm.mmu_gather import tlb_flush_mmu
from mm.page_writeback import folio_mark_dirty
from mm.pgtable_generic import pmdp_huge_clear_flush
from mm.rmap import folio_remove_rmap_pmd

from ptelab.lang import at, spin_unlock


def __pmd_trans_huge_lock(pmd: pmd_p, vma: vm_area_struct) -> bool:
    """Take the lock of an upper entry if it maps a huge page; whether it does."""
    ptl = pmd_lock(vma.vm_mm, pmd)
    if pmd_trans_huge(pmdp_get(pmd)):
        return True
    spin_unlock(ptl.page_table_lock)
    return False


def zap_huge_pmd(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr) -> bool:
    """Empty an upper entry that maps a huge page of a file, and queue the page; whether there was one.

    The entry's dirtiness is not looked at, and the map count does not wait for the flush.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    orig_pmd = pmdp_huge_get_and_clear_full(vma, addr, pmd, tlb.fullmm)
    tlb_remove_pmd_tlb_entry(tlb, pmd, addr)
    folio = at(Folio, pte_pfn(pmd_pte(orig_pmd)))
    folio_remove_rmap_pmd(folio, vma)
    dec_mm_counter(tlb.mm, MM_FILEPAGES)
    spin_unlock(vma.vm_mm.page_table_lock)
    if __tlb_remove_folio_pages(tlb, folio, False):
        tlb_flush_mmu(tlb)
    return True


def __split_huge_pmd_locked(vma: vm_area_struct, pmd: pmd_p, haddr: Addr) -> None:
    """Unmap the huge page of a file; faults will map its parts.

    Context: pmd lock held.
    """
    old_pmd = pmdp_huge_clear_flush(vma, haddr, pmd)
    folio = at(Folio, pte_pfn(pmd_pte(old_pmd)))
    if not folio_test_dirty(folio) and pmd_dirty(old_pmd):
        folio_mark_dirty(folio)
    folio_remove_rmap_pmd(folio, vma)
    folio_put(folio)
    dec_mm_counter(vma.vm_mm, MM_FILEPAGES)


def __split_huge_pmd(vma: vm_area_struct, pmd: pmd_p, address: Addr) -> None:
    """See to it that no huge page is mapped at an address."""
    ptl = pmd_lock(vma.vm_mm, pmd)
    if pmd_trans_huge(pmdp_get(pmd)):
        __split_huge_pmd_locked(vma, pmd, address)
    spin_unlock(ptl.page_table_lock)


def change_huge_pmd(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr) -> bool:
    """Let the next access to a huge page fault, as a hint on who uses it; whether there was one.

    The entry is never empty: MADV_DONTNEED, which also holds the mmap_lock for reading, would pass it by.
    Left out: all other changes of its protection.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    if not pmd_protnone(pmdp_get(pmd)):
        oldpmd = pmdp_invalidate(vma, addr, pmd)
        set_pmd_at(vma.vm_mm, addr, pmd, pmd_mkinvalid(pmd_wrprotect(oldpmd)))
        tlb_flush_pmd_range(tlb, addr, PMD_SIZE)
    spin_unlock(vma.vm_mm.page_table_lock)
    return True


def do_huge_pmd_numa_page(vmf: vm_fault, orig_pmd: pmd_t) -> None:
    """Handle a fault that was to be a hint: the huge page may be used again.

    Left out: what the hint is for, moving the page to another node; making it writable at once.
    """
    vma = vmf.vma
    ptl = pmd_lock(vma.vm_mm, vmf.pmd)
    if pmd_same(pmdp_get(vmf.pmd), orig_pmd):
        entry = pfn_pte(pte_pfn(pmd_pte(orig_pmd)), vma.vm_page_prot)
        if pmd_dirty(orig_pmd):
            entry = pte_mkdirty(entry)
        set_pmd_at(vma.vm_mm, vmf.address, vmf.pmd, pte_pmd(entry))
    spin_unlock(ptl.page_table_lock)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/page_vma_mapped.c (v7.0).

Left out: large folios, so a page has one entry at most in a VMA; hugetlb; migration and device entries.
"""

from asm.pgtable import pmd_present, pmd_pte, pmd_same, pte_none, pte_pfn, pte_present
from linux.huge_mm import HPAGE_PMD_NR, thp_vma_suitable_order
from linux.mm import pmd_lock, pte_unmap_unlock
from linux.mm_types import Folio
from linux.page_flags import folio_nr_pages
from linux.pgtable import pmd_off, pmd_trans_huge, pmdp_get_lockless, ptep_get
from linux.rmap import PVMW_SYNC, page_vma_mapped_walk_done, struct_page_vma_mapped_walk
from mm.pgtable_generic import pte_offset_map_lock, pte_offset_map_rw_nolock

from ptelab.lang import at, spin_lock, spin_unlock


def not_found(pvmw: struct_page_vma_mapped_walk) -> bool:
    """End the walk without a result."""
    page_vma_mapped_walk_done(pvmw)
    return False


def map_pte(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Find the slot of the entry and take its lock; without PVMW_SYNC not if the entry is empty.

    Returns false with pvmw.pte None when there is no table any more, and with it set when the entry was empty.
    """
    assert pvmw.pmd is not None
    mm = pvmw.vma.vm_mm
    if pvmw.flags & PVMW_SYNC != 0:
        locked, lock = pte_offset_map_lock(mm, pvmw.pmd, pvmw.address)
        pvmw.pte = locked
        if locked is None:
            return False
        pvmw.ptl = lock
        return True
    while True:
        pte, pmdval, ptl = pte_offset_map_rw_nolock(mm, pvmw.pmd, pvmw.address)
        pvmw.pte = pte
        if pte is None:
            return False
        ptent = ptep_get(pte)
        if pte_none(ptent) or not pte_present(ptent):
            return False
        spin_lock(ptl.ptl)
        if pmd_same(pmdval, pmdp_get_lockless(pvmw.pmd)):
            pvmw.ptl = ptl
            return True
        pte_unmap_unlock(pte, ptl)


def map_pmd(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Take the lock of an upper entry that maps a huge page; whether it maps the page.

    The lock is kept, as pvmw.ptl_of_pmd says, unless the huge page was split meanwhile.
    Differs: Linux has it in mm/page_vma_mapped.c as a part of page_vma_mapped_walk.
    """
    assert pvmw.pmd is not None
    ptl = pmd_lock(pvmw.vma.vm_mm, pvmw.pmd)
    pmde = pmdp_get_lockless(pvmw.pmd)
    pvmw.ptl_of_pmd = pmd_trans_huge(pmde) or not pmd_present(pmde)
    if not pvmw.ptl_of_pmd:
        spin_unlock(ptl.page_table_lock)
        return False
    return pmd_trans_huge(pmde) and pte_pfn(pmd_pte(pmde)) == pvmw.pfn


def check_pte(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Whether the entry maps the page."""
    assert pvmw.pte is not None
    ptent = ptep_get(pvmw.pte)
    return pte_present(ptent) and pte_pfn(ptent) == pvmw.pfn


def page_vma_mapped_walk(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Find the next entry that maps the page in the VMA, and leave its lock taken; false, unlocked, without one.

    Without PVMW_SYNC it does not wait for who has emptied the upper entry of a huge page and not uncounted it yet.
    """
    if pvmw.pte is not None or pvmw.pmd is not None:
        return not_found(pvmw)
    while True:
        pvmw.pmd = pmd_off(pvmw.vma.vm_mm, pvmw.address)
        pmde = pmdp_get_lockless(pvmw.pmd)
        if pmd_trans_huge(pmde):
            found = map_pmd(pvmw)
            if found or pvmw.ptl_of_pmd:
                return found or not_found(pvmw)
        elif not pmd_present(pmde):
            maybe_huge = folio_nr_pages(at(Folio, pvmw.pfn)) >= HPAGE_PMD_NR
            if pvmw.flags & PVMW_SYNC != 0 and maybe_huge and thp_vma_suitable_order(pvmw.vma, pvmw.address):
                ptl = pmd_lock(pvmw.vma.vm_mm, pvmw.pmd)
                spin_unlock(ptl.page_table_lock)
            return False
        if map_pte(pvmw):
            if check_pte(pvmw):
                return True
            return not_found(pvmw)
        if pvmw.pte is not None:
            return not_found(pvmw)

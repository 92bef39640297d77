# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/page_vma_mapped.c (v7.0).

Left out: large folios, so a page has one entry at most in a VMA; hugetlb; migration and device entries.
"""

from asm.pgtable import pmd_present, pmd_same, pte_none, pte_pfn, pte_present
from linux.mm import pte_unmap_unlock
from linux.pgtable import pmd_off, pmdp_get_lockless, ptep_get
from linux.rmap import PVMW_SYNC, page_vma_mapped_walk_done, struct_page_vma_mapped_walk
from mm.pgtable_generic import pte_offset_map_lock, pte_offset_map_rw_nolock

from ptelab.lang import spin_lock


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
        if pte_none(ptep_get(pte)):
            return False
        spin_lock(ptl.ptl)
        if pmd_same(pmdval, pmdp_get_lockless(pvmw.pmd)):
            pvmw.ptl = ptl
            return True
        pte_unmap_unlock(pte, ptl)


def check_pte(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Whether the entry maps the page."""
    assert pvmw.pte is not None
    ptent = ptep_get(pvmw.pte)
    return pte_present(ptent) and pte_pfn(ptent) == pvmw.pfn


def page_vma_mapped_walk(pvmw: struct_page_vma_mapped_walk) -> bool:
    """Find the next entry that maps the page in the VMA, and leave its lock taken; false, unlocked, without one.

    Left out: PVMW_SYNC's wait for the pmd lock, which is for huge pages.
    """
    if pvmw.pte is not None:
        return not_found(pvmw)
    while True:
        pvmw.pmd = pmd_off(pvmw.vma.vm_mm, pvmw.address)
        if not pmd_present(pmdp_get_lockless(pvmw.pmd)):
            return False
        if map_pte(pvmw):
            if check_pte(pvmw):
                return True
            return not_found(pvmw)
        if pvmw.pte is not None:
            return not_found(pvmw)

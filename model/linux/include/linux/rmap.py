# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/rmap.h (v7.0).

Left out: large folios; rmap_walk_control, see `mm.rmap`.
"""

from asm.pgtable_types import pmd_p, pte_p
from linux.mm_types import ptdesc, vm_area_struct
from linux.types import Addr, Pfn

from ptelab.lang import onstack, spin_unlock, u1

PVMW_SYNC = 1

TTU_BATCH_FLUSH = 1
TTU_SPLIT_HUGE_PMD = 2


@onstack
class struct_page_vma_mapped_walk:
    """Where a walk over the entries that map a page in a VMA is.

    Differs: C's `struct page_vma_mapped_walk`, named apart from the function.  Differs: ptl_of_pmd says that
    the lock is the upper entry's.
    Left out: nr_pages and pgoff, which only large folios need.
    """

    pfn: Pfn
    vma: vm_area_struct
    address: Addr
    pmd: pmd_p | None
    pte: pte_p | None
    ptl: ptdesc | None
    ptl_of_pmd: bool
    flags: u1


def page_vma_mapped_walk_done(pvmw: struct_page_vma_mapped_walk) -> None:
    """End a walk early."""
    if pvmw.ptl is not None:
        spin_unlock(pvmw.ptl.ptl)
    if pvmw.ptl_of_pmd:
        spin_unlock(pvmw.vma.vm_mm.page_table_lock)


def page_vma_mapped_walk_restart(pvmw: struct_page_vma_mapped_walk) -> None:
    """Begin a walk anew: what was found is mapped in another way now."""
    page_vma_mapped_walk_done(pvmw)
    pvmw.ptl = None
    pvmw.ptl_of_pmd = False
    pvmw.pmd = None
    pvmw.pte = None

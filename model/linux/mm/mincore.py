# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mincore.c (v7.0).

Left out: whether the caller may know what is in the page cache.
"""

from asm.current import get_current
from asm.page import PAGE_SIZE
from asm.pgtable import pte_none, pte_present
from asm.pgtable_types import pmd_p, pte_p
from linux.fs import address_space
from linux.huge_mm import thp_is_possible
from linux.leafops import pte_is_uffd_wp_marker, softleaf_from_pte
from linux.mm import folio_put, pte_unmap_unlock, vma_is_anonymous, vma_lookup
from linux.mm_types import swp_entry_t, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock
from linux.page_flags import folio_test_uptodate
from linux.pagemap import linear_page_index
from linux.pagewalk import mm_walk, mm_walk_ops, page_walk_action
from linux.pgtable import pmd_trans_huge, pmdp_get, ptep_get
from linux.types import Addr, pgoff_t
from mm.filemap import filemap_get_entry
from mm.huge_memory import __pmd_trans_huge_lock
from mm.pagewalk import walk_page_range
from mm.pgtable_generic import pte_offset_map_lock
from mm.swap_state import swap_cache_get_folio

from ptelab.lang import at, index_of, new, spin_unlock, u4, u8


def mincore_note(walk: mm_walk, present: bool) -> None:
    """Note whether the next page is there.

    Differs: Linux has it in mm/mincore.c as a byte of a vector.
    """
    if present:
        walk.vec = walk.vec | (1 << walk.pages)
    walk.pages += 1


def mincore_swap(entry: swp_entry_t) -> bool:
    """Whether a page in swap is in the swap cache, with its data."""
    present = False
    folio = swap_cache_get_folio(entry)
    if folio is not None:
        present = folio_test_uptodate(folio)
        folio_put(folio)
    return present


def mincore_page(mapping: address_space, index: pgoff_t) -> bool:
    """Whether a page of a file is in the page cache, with its data."""
    present = False
    folio = filemap_get_entry(mapping, index)
    if folio is not None:
        present = folio_test_uptodate(folio)
        folio_put(folio)
    return present


def __mincore_unmapped_range(addr: Addr, end: Addr, vma: vm_area_struct, walk: mm_walk) -> None:
    """Note for pages that are not mapped whether the page cache has them."""
    while addr < end:
        if vma_is_anonymous(vma):
            mincore_note(walk, False)
        else:
            mincore_note(walk, mincore_page(vma.vm_file, linear_page_index(vma, addr)))
        addr += PAGE_SIZE


def mincore_unmapped_range(addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Note it for a hole."""
    __mincore_unmapped_range(addr, end, walk.vma, walk)


def mincore_pte_range(pmd: pmd_p, addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Note for the pages of one PTE table whether they are mapped or cached; again if the table has gone.

    The pages of a huge page are all there.
    """
    if thp_is_possible() and pmd_trans_huge(pmdp_get(pmd)) and __pmd_trans_huge_lock(pmd, walk.vma):
        while addr < end:
            mincore_note(walk, True)
            addr += PAGE_SIZE
        spin_unlock(walk.mm.page_table_lock)
        return
    start_pte, ptl = pte_offset_map_lock(walk.mm, pmd, addr)
    if start_pte is None:
        walk.action = page_walk_action.ACTION_AGAIN
        return
    ptep = start_pte
    while True:
        pte = ptep_get(ptep)
        if pte_none(pte) or pte_is_uffd_wp_marker(pte):
            __mincore_unmapped_range(addr, addr + PAGE_SIZE, walk.vma, walk)
        elif pte_present(pte):
            mincore_note(walk, True)
        else:
            mincore_note(walk, mincore_swap(softleaf_from_pte(pte)))
        addr += PAGE_SIZE
        if addr == end:
            break
        ptep = at(pte_p, index_of(ptep) + 1)
    pte_unmap_unlock(start_pte, ptl)


def do_mincore(addr: Addr, pages: u4) -> u8:
    """Which pages of a range are there, a bit for each; 0 without a VMA.

    Differs: Linux returns how many pages it has looked at.
    """
    vma = vma_lookup(get_current().mm, addr)
    if vma is None:
        return 0
    end: Addr = addr + pages if addr + pages < vma.vm_end else vma.vm_end
    walk = new(mm_walk)
    walk_page_range(vma.vm_mm, addr, end, mm_walk_ops.mincore_walk_ops, walk)
    return walk.vec


def sys_mincore(start: Addr, len: Addr) -> u8:
    """The system call.

    Differs: returns the vector, a bit for each page; a range of one VMA only.
    """
    mm = get_current().mm
    mmap_read_lock(mm)
    vec = do_mincore(start, len)
    mmap_read_unlock(mm)
    return vec

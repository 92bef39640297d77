# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/pagewalk.c (v7.0).

Left out: callbacks for holes, upper levels and huge pages; walks without VMAs.
"""

from asm.page import PAGE_SIZE
from asm.pgtable import pmd_none
from asm.pgtable_types import pmd_p, pte_p
from linux.fs import address_space
from linux.mm import pte_unmap_unlock, vma_pages
from linux.mm_types import vm_area_struct
from linux.pagewalk import mm_walk, mm_walk_ops
from linux.pgtable import pmd_addr_end, pmd_off, pmdp_get_lockless
from linux.types import Addr, pgoff_t
from mm.mapping_dirty_helpers import (
    clean_record_pte,
    wp_clean_post_vma,
    wp_clean_pre_vma,
    wp_clean_test_walk,
    wp_pte,
)  # fmt: skip
from mm.pgtable_generic import pte_offset_map_lock

from ptelab.lang import at, index_of, lockdep_assert_held_read, pool


def walk_pte_range_inner(pte: pte_p, addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit the entries of one PTE table.

    Context: PTL held.
    """
    while True:
        if walk.ops == mm_walk_ops.wp_walk_ops:
            wp_pte(pte, addr, walk)
        else:
            clean_record_pte(pte, addr, walk)
        if addr + PAGE_SIZE >= end:
            return
        addr += PAGE_SIZE
        pte = at(pte_p, index_of(pte) + 1)


def walk_pte_range(pmd: pmd_p, addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Lock a PTE table and visit its entries."""
    pte, ptl = pte_offset_map_lock(walk.mm, pmd, addr)
    if pte is None:
        walk.again = True
        return
    walk_pte_range_inner(pte, addr, end, walk)
    pte_unmap_unlock(pte, ptl)


def walk_pmd_range(addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit the PTE tables of a range."""
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(walk.mm, addr)
        walk.again = False
        if not pmd_none(pmdp_get_lockless(pmd)):
            walk_pte_range(pmd, addr, next, walk)
        if not walk.again:
            addr = next


def walk_page_test(start: Addr, end: Addr, walk: mm_walk) -> bool:
    """Whether a VMA is not to be walked."""
    return wp_clean_test_walk(start, end, walk)


def __walk_page_range(start: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit a range of one VMA."""
    wp_clean_pre_vma(start, end, walk)
    walk_pmd_range(start, end, walk)
    wp_clean_post_vma(walk)


def walk_page_mapping(mapping: address_space, first_index: pgoff_t, nr: pgoff_t, walk: mm_walk) -> None:
    """Visit the entries that map a range of a file, VMA by VMA; the first VMA that is not to be walked ends it.

    Context: i_mmap_rwsem held.  Differs: VMAs come in the order of their numbers, not of what they map.
    """
    lockdep_assert_held_read(mapping.i_mmap_rwsem)
    tree = mapping.i_mmap
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            vba = vma.vm_pgoff
            vea: pgoff_t = vba + vma_pages(vma)
            cba = first_index if first_index > vba else vba
            cea: pgoff_t = first_index + nr
            if vea < cea:
                cea = vea
            if cba < cea:
                walk.vma = vma
                walk.mm = vma.vm_mm
                if walk_page_test(vma.vm_start, vma.vm_end, walk):
                    return
                __walk_page_range(cba - vba + vma.vm_start, cea - vba + vma.vm_start, walk)

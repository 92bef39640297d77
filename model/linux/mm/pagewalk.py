# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/pagewalk.c (v7.0).

Differs: a callback is called by name, for the sets of callbacks that have it.
Left out: upper levels, huge pages, walks without VMAs, installing entries; holes between VMAs, of which no walk here
wants to know.
"""

from asm.page import PAGE_SIZE
from asm.pgtable import pmd_none
from asm.pgtable_types import pmd_p, pte_p
from config import CONFIG_UFFD_WP_ASYNC
from fs.proc.task_mmu import (
    clear_refs_pte_range,
    clear_refs_test_walk,
    pagemap_scan_pmd_entry,
    pagemap_scan_pte_hole,
    pagemap_scan_test_walk,
)
from linux.fs import address_space
from linux.mm import VM_PFNMAP, pte_unmap_unlock, vma_pages
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import mmap_assert_locked, mmap_assert_write_locked, vma_start_write
from linux.mmzone import LRU_LISTS
from linux.pagewalk import mm_walk, mm_walk_ops, page_walk_action, page_walk_lock
from linux.pgtable import pmd_addr_end, pmd_off, pmdp_get_lockless
from linux.types import Addr, pgoff_t
from mm.mapping_dirty_helpers import (
    clean_record_pte,
    wp_clean_post_vma,
    wp_clean_pre_vma,
    wp_clean_test_walk,
    wp_pte,
)  # fmt: skip
from mm.mincore import mincore_pte_range, mincore_unmapped_range
from mm.mmap import find_vma
from mm.pgtable_generic import pte_offset_map_lock

from ptelab.lang import at, index_of, lockdep_assert_held, pool


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
        walk.action = page_walk_action.ACTION_AGAIN
        return
    walk_pte_range_inner(pte, addr, end, walk)
    pte_unmap_unlock(pte, ptl)


def walk_pmd_range(addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit the PTE tables of a range; one that goes away meanwhile is looked for again."""
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(walk.mm, addr)
        walk.action = page_walk_action.ACTION_SUBTREE
        if pmd_none(pmdp_get_lockless(pmd)):
            if walk.ops == mm_walk_ops.mincore_walk_ops:
                mincore_unmapped_range(addr, next, walk)
            elif CONFIG_UFFD_WP_ASYNC == 1 and walk.ops >= mm_walk_ops.pagemap_scan_ops:
                pagemap_scan_pte_hole(addr, next, walk)
        elif walk.ops == mm_walk_ops.mincore_walk_ops:
            mincore_pte_range(pmd, addr, next, walk)
        elif walk.ops == mm_walk_ops.clear_refs_walk_ops:
            clear_refs_pte_range(pmd, addr, next, walk)
        elif LRU_LISTS == 1 and walk.ops == mm_walk_ops.clear_refs_all_walk_ops:
            clear_refs_pte_range(pmd, addr, next, walk)
        elif CONFIG_UFFD_WP_ASYNC == 1 and walk.ops >= mm_walk_ops.pagemap_scan_ops:
            pagemap_scan_pmd_entry(pmd, addr, next, walk)
        else:
            walk_pte_range(pmd, addr, next, walk)
        if walk.action != page_walk_action.ACTION_AGAIN:
            addr = next


def walk_page_test(start: Addr, end: Addr, walk: mm_walk) -> bool:
    """Whether a VMA is not to be walked; of a PFN map who cares about holes is told that it is one."""
    if walk.ops == mm_walk_ops.clear_refs_walk_ops:
        return clear_refs_test_walk(start, end, walk)
    if LRU_LISTS == 1 and walk.ops == mm_walk_ops.clear_refs_all_walk_ops:
        return clear_refs_test_walk(start, end, walk)
    if CONFIG_UFFD_WP_ASYNC == 1 and walk.ops >= mm_walk_ops.pagemap_scan_ops:
        return pagemap_scan_test_walk(start, end, walk)
    if walk.ops != mm_walk_ops.mincore_walk_ops:
        return wp_clean_test_walk(start, end, walk)
    if walk.vma.vm_flags & VM_PFNMAP != 0:
        mincore_unmapped_range(start, end, walk)
        return True
    return False


def __walk_page_range(start: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit a range of one VMA."""
    wp_or_clean = walk.ops == mm_walk_ops.wp_walk_ops or walk.ops == mm_walk_ops.clean_walk_ops
    if wp_or_clean:
        wp_clean_pre_vma(start, end, walk)
    walk_pmd_range(start, end, walk)
    if wp_or_clean:
        wp_clean_post_vma(walk)


def process_mm_walk_lock(mm: mm_struct, walk_lock: page_walk_lock) -> None:
    """Check that the mm is locked as a walk needs it."""
    if walk_lock == page_walk_lock.PGWALK_RDLOCK:
        mmap_assert_locked(mm)
    else:
        mmap_assert_write_locked(mm)


def process_vma_walk_lock(vma: vm_area_struct, walk_lock: page_walk_lock) -> None:
    """Lock a VMA as a walk needs it."""
    if walk_lock == page_walk_lock.PGWALK_WRLOCK:
        vma_start_write(vma)


def walk_page_range_mm_unsafe(mm: mm_struct, start: Addr, end: Addr, walk: mm_walk) -> None:
    """Visit a range of an mm, VMA by VMA.

    Differs: which lock a walk needs is told by its number, not by its operations.
    """
    walk_lock = page_walk_lock.PGWALK_RDLOCK
    if walk.ops == mm_walk_ops.clear_refs_walk_ops:
        walk_lock = page_walk_lock.PGWALK_WRLOCK
    if LRU_LISTS == 1 and walk.ops == mm_walk_ops.clear_refs_all_walk_ops:
        walk_lock = page_walk_lock.PGWALK_WRLOCK
    walk.mm = mm
    process_mm_walk_lock(mm, walk_lock)
    vma = find_vma(mm, start)
    while start < end and vma is not None:
        next: Addr = vma.vm_start
        if start < next:
            start = next
            continue
        process_vma_walk_lock(vma, walk_lock)
        walk.vma = vma
        next = vma.vm_end if vma.vm_end < end else end
        vma = find_vma(mm, vma.vm_end)
        if not walk_page_test(start, next, walk):
            __walk_page_range(start, next, walk)
        start = next


def walk_page_range(mm: mm_struct, start: Addr, end: Addr, ops: mm_walk_ops, walk: mm_walk) -> None:
    """Visit a range of an mm.

    Differs: the caller makes the walk, which holds what `private` would.
    """
    assert start < end
    walk.ops = ops
    walk_page_range_mm_unsafe(mm, start, end, walk)


def walk_page_mapping(mapping: address_space, first_index: pgoff_t, nr: pgoff_t, walk: mm_walk) -> None:
    """Visit the entries that map a range of a file, VMA by VMA; the first VMA that is not to be walked ends it.

    Context: i_mmap_rwsem held.  Differs: VMAs come in the order of their numbers, not of what they map.
    """
    lockdep_assert_held(mapping.i_mmap_rwsem)
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

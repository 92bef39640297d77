# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors fs/proc/task_mmu.c (v7.0).

Left out: all but clear_refs, to which 4 is written, or 1 if LRU_LISTS is 1, and PAGEMAP_SCAN for pages that were
written; huge entries, but where stores are forgotten; notifiers.
"""

from asm.page import TASK_SIZE
from asm.pgtable import (
    pgtable_supports_soft_dirty,
    pmd_pte,
    pmdp_invalidate,
    pte_clear_soft_dirty,
    pte_mkuffd_wp,
    pte_none,
    pte_pmd,
    pte_present,
    pte_swp_clear_soft_dirty,
    pte_swp_mkuffd_wp,
    pte_uffd_wp,
    pte_write,
    pte_wrprotect,
    ptep_modify_prot_commit,
    ptep_modify_prot_start,
    ptep_test_and_clear_young,
)  # fmt: skip
from asm.pgtable_types import pmd_p, pte_p, pte_t
from asm.tlbflush import flush_tlb_mm, flush_tlb_range
from linux.huge_mm import thp_is_possible
from linux.mm import VM_PFNMAP, VM_SOFTDIRTY, folio_maybe_dma_pinned, is_cow_mapping, pte_unmap_unlock, vm_flags_clear
from linux.mm_inline import dec_tlb_flush_pending, inc_tlb_flush_pending
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from linux.mmzone import LRU_LISTS
from linux.page_flags import folio_clear_referenced
from linux.pagewalk import mm_walk, mm_walk_ops, page_walk_action
from linux.pgtable import (
    pmd_dirty,
    pmd_mkdirty,
    pmd_mkyoung,
    pmd_trans_huge,
    pmd_wrprotect,
    pmd_young,
    pmdp_get,
    ptep_get,
    set_pmd_at,
    set_pte_at,
)  # fmt: skip
from linux.swapops import make_pte_marker
from linux.types import Addr
from linux.userfaultfd_k import pte_swp_uffd_wp_any, userfaultfd_wp
from mm.huge_memory import __pmd_trans_huge_lock
from mm.memory import vm_normal_page
from mm.mmap import vma_set_page_prot
from mm.pagewalk import walk_page_range
from mm.pgtable_generic import pte_offset_map_lock
from mm.vma import vma_find

from ptelab.lang import at, index_of, new, spin_unlock, u3, u8

CLEAR_REFS_ALL = 1
CLEAR_REFS_SOFT_DIRTY = 4


def pte_is_pinned(vma: vm_area_struct, addr: Addr, pte: pte_t) -> bool:
    """Whether a device may use the page of an entry, so that no store may be made to fault and perhaps copy it.

    Left out: MMF_HAS_PINNED, which only saves the look.
    """
    if not pte_write(pte):
        return False
    if not is_cow_mapping(vma.vm_flags):
        return False
    folio = vm_normal_page(vma, addr, pte)
    if folio is None:
        return False
    return folio_maybe_dma_pinned(folio)


def clear_soft_dirty(vma: vm_area_struct, addr: Addr, pte: pte_p) -> None:
    """Forget stores through an entry, and make the next one fault.

    Context: PTL held.
    """
    if not pgtable_supports_soft_dirty():
        return
    ptent = ptep_get(pte)
    if pte_none(ptent):
        return
    if not pte_present(ptent):
        set_pte_at(vma.vm_mm, addr, pte, pte_swp_clear_soft_dirty(ptent))
        return
    if pte_is_pinned(vma, addr, ptent):
        return
    old_pte = ptep_modify_prot_start(vma, addr, pte)
    ptent = pte_wrprotect(old_pte)
    ptent = pte_clear_soft_dirty(ptent)
    ptep_modify_prot_commit(vma, addr, pte, old_pte, ptent)


def clear_soft_dirty_pmd(vma: vm_area_struct, addr: Addr, pmdp: pmd_p) -> None:
    """Forget stores through the entry of a huge page, and make the next one fault; also if the page is pinned.

    Context: pmd lock held.
    """
    pmd = pmdp_get(pmdp)
    if not pgtable_supports_soft_dirty():
        return
    old = pmdp_invalidate(vma, addr, pmdp)
    if pmd_dirty(old):
        pmd = pmd_mkdirty(pmd)
    if pmd_young(old):
        pmd = pmd_mkyoung(pmd)
    pmd = pmd_wrprotect(pmd)
    pmd = pte_pmd(pte_clear_soft_dirty(pmd_pte(pmd)))
    set_pmd_at(vma.vm_mm, addr, pmdp, pmd)


def clear_refs_pte_range(pmd: pmd_p, addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Forget accesses or stores through the entries of one PTE table, or have it looked for again if it has gone.

    Differs: which of the two, the operations tell.  Left out: PG_young; accesses to huge pages.
    """
    vma = walk.vma
    if thp_is_possible() and pmd_trans_huge(pmdp_get(pmd)) and __pmd_trans_huge_lock(pmd, vma):
        clear_soft_dirty_pmd(vma, addr, pmd)
        spin_unlock(vma.vm_mm.page_table_lock)
        return
    start_pte, ptl = pte_offset_map_lock(vma.vm_mm, pmd, addr)
    if start_pte is None:
        walk.action = page_walk_action.ACTION_AGAIN
        return
    pte = start_pte
    while True:
        if LRU_LISTS == 1 and walk.ops == mm_walk_ops.clear_refs_all_walk_ops:
            ptent = ptep_get(pte)
            folio = vm_normal_page(vma, addr, ptent) if pte_present(ptent) else None
            if folio is not None:
                ptep_test_and_clear_young(vma, addr, pte)
                folio_clear_referenced(folio)
        else:
            clear_soft_dirty(vma, addr, pte)
        addr += 1
        if addr == end:
            break
        pte = at(pte_p, index_of(pte) + 1)
    pte_unmap_unlock(start_pte, ptl)


def clear_refs_test_walk(start: Addr, end: Addr, walk: mm_walk) -> bool:
    """Whether a VMA is not to be walked: a PFN map has no pages to ask about."""
    return walk.vma.vm_flags & VM_PFNMAP != 0


def clear_refs_write(mm: mm_struct, type: u3) -> None:
    """Forget all accesses to an mm, or all stores; a store from now on faults and is noted.

    With the mmap_lock held for writing.  For stores the flush comes before it is dropped, so that no fault gives back
    the right to store while a TLB still has it; for accesses there is none, so that a TLB may hide some.
    Differs: the caller names the mm.
    """
    mmap_write_lock(mm)
    if type == CLEAR_REFS_SOFT_DIRTY:
        addr: Addr = 0
        while addr < TASK_SIZE:
            vma = vma_find(mm, addr, TASK_SIZE)
            if vma is None:
                break
            if vma.vm_flags & VM_SOFTDIRTY != 0:
                vm_flags_clear(vma, VM_SOFTDIRTY)
                vma_set_page_prot(vma)
            addr = vma.vm_end
        inc_tlb_flush_pending(mm)
        walk_page_range(mm, 0, TASK_SIZE, mm_walk_ops.clear_refs_walk_ops, new(mm_walk))
        flush_tlb_mm(mm)
        dec_tlb_flush_pending(mm)
    elif LRU_LISTS == 1:
        walk_page_range(mm, 0, TASK_SIZE, mm_walk_ops.clear_refs_all_walk_ops, new(mm_walk))
    mmap_write_unlock(mm)


def pagemap_scan_test_walk(start: Addr, end: Addr, walk: mm_walk) -> bool:
    """Whether a VMA is not to be walked: one that is not registered cannot be protected, and a PFN map has no pages."""
    if walk.ops == mm_walk_ops.pagemap_scan_wp_ops and not userfaultfd_wp(walk.vma):
        return True
    return walk.vma.vm_flags & VM_PFNMAP != 0


def make_uffd_wp_pte(vma: vm_area_struct, addr: Addr, pte: pte_p, ptent: pte_t) -> None:
    """Let the next store through an entry be noted.

    Context: PTL held.
    """
    if pte_present(ptent):
        old_pte = ptep_modify_prot_start(vma, addr, pte)
        ptent = pte_mkuffd_wp(old_pte)
        ptep_modify_prot_commit(vma, addr, pte, old_pte, ptent)
    elif pte_none(ptent):
        set_pte_at(vma.vm_mm, addr, pte, make_pte_marker())
    else:
        set_pte_at(vma.vm_mm, addr, pte, pte_swp_mkuffd_wp(ptent))


def pagemap_scan_output(written: bool, walk: mm_walk) -> None:
    """Note whether the next page was written.

    Differs: a bit for each page instead of ranges, and so no limit.
    """
    if written:
        walk.vec = walk.vec | (1 << walk.pages)
    walk.pages += 1


def pagemap_scan_pmd_entry(pmd: pmd_p, start: Addr, end: Addr, walk: mm_walk) -> None:
    """Note which pages of a PTE table were written, and let the next store to them be noted.

    The flush comes before the PTL is dropped: no store may go through an old TLB entry once the caller knows.
    Left out: every other category than PAGE_IS_WRITTEN.
    """
    vma = walk.vma
    start_pte, ptl = pte_offset_map_lock(vma.vm_mm, pmd, start)
    if start_pte is None:
        walk.action = page_walk_action.ACTION_AGAIN
        return
    flush = False
    pte = start_pte
    addr: Addr = start
    while True:
        ptent = ptep_get(pte)
        protected = pte_uffd_wp(ptent) if pte_present(ptent) else pte_swp_uffd_wp_any(ptent)
        pagemap_scan_output(not protected, walk)
        if not protected and walk.ops == mm_walk_ops.pagemap_scan_wp_ops:
            make_uffd_wp_pte(vma, addr, pte, ptent)
            if not flush:
                start = addr
            flush = True
        addr += 1
        if addr == end:
            break
        pte = at(pte_p, index_of(pte) + 1)
    if flush:
        flush_tlb_range(vma, start, addr)
    pte_unmap_unlock(start_pte, ptl)


def pagemap_scan_pte_hole(addr: Addr, end: Addr, walk: mm_walk) -> None:
    """Where there is no table nothing was written, and nothing is protected."""
    while addr < end:
        pagemap_scan_output(False, walk)
        addr += 1


def do_pagemap_scan(mm: mm_struct, start: Addr, end: Addr, wp_matching: bool) -> u8:
    """Find out which pages of a range were written since they were protected: a bit for each.

    Differs: a range of one VMA only.
    """
    walk = new(mm_walk)
    mmap_read_lock(mm)
    ops = mm_walk_ops.pagemap_scan_wp_ops if wp_matching else mm_walk_ops.pagemap_scan_ops
    walk_page_range(mm, start, end, ops, walk)
    mmap_read_unlock(mm)
    return walk.vec

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mapping_dirty_helpers.c (v7.0).

Left out: huge entries, which are only warned about; MMU notifiers.
"""

from asm.page import PAGE_SIZE
from asm.pgtable import (
    pte_dirty,
    pte_mkclean,
    pte_write,
    pte_wrprotect,
    ptep_modify_prot_commit,
    ptep_modify_prot_start,
)  # fmt: skip
from asm.pgtable_types import pte_p
from asm.tlbflush import flush_tlb_range
from linux.fs import address_space, i_mmap_lock_read, i_mmap_unlock_read
from linux.mm import VM_MAYWRITE, VM_SHARED
from linux.mm_inline import dec_tlb_flush_pending, inc_tlb_flush_pending, mm_tlb_flush_nested
from linux.pagewalk import mm_walk, mm_walk_ops
from linux.pgtable import ptep_get
from linux.types import Addr, pgoff_t
from mm.pagewalk import walk_page_mapping

from ptelab.lang import READ_ONCE, new, u4, u8


def wp_pte(pte: pte_p, addr: Addr, walk: mm_walk) -> None:
    """Take the right to store from an entry, and count it."""
    if pte_write(ptep_get(pte)):
        old_pte = ptep_modify_prot_start(walk.vma, addr, pte)
        ptep_modify_prot_commit(walk.vma, addr, pte, old_pte, pte_wrprotect(old_pte))
        walk.total += 1
        widen_flush(walk, addr)


def widen_flush(walk: mm_walk, addr: Addr) -> None:
    """Let the flush at the end of a VMA cover an entry.

    Differs: Linux has it in both callbacks.  Differs: Linux has it in mm/mapping_dirty_helpers.c.
    """
    if addr < walk.tlbflush_start:
        walk.tlbflush_start = addr
    if addr + PAGE_SIZE > walk.tlbflush_end:
        walk.tlbflush_end = addr + PAGE_SIZE


def clean_record_pte(pte: pte_p, addr: Addr, walk: mm_walk) -> None:
    """Clean an entry, count it, and record its page."""
    if pte_dirty(ptep_get(pte)):
        pgoff: pgoff_t = addr - walk.vma.vm_start + walk.vma.vm_pgoff - walk.bitmap_pgoff
        old_pte = ptep_modify_prot_start(walk.vma, addr, pte)
        ptep_modify_prot_commit(walk.vma, addr, pte, old_pte, pte_mkclean(old_pte))
        walk.total += 1
        widen_flush(walk, addr)
        walk.bitmap = walk.bitmap | (1 << pgoff)
        if pgoff < walk.start:
            walk.start = pgoff
        if pgoff + 1 > walk.end:
            walk.end = pgoff + 1


def wp_clean_pre_vma(start: Addr, end: Addr, walk: mm_walk) -> None:
    """Begin with a VMA: nothing to flush yet, but somebody may have to wait for what will be."""
    walk.range_start = start
    walk.range_end = end
    walk.tlbflush_start = end
    walk.tlbflush_end = start
    inc_tlb_flush_pending(walk.mm)


def wp_clean_post_vma(walk: mm_walk) -> None:
    """Flush what was changed; all of the range if another has changed entries and not flushed yet."""
    if mm_tlb_flush_nested(walk.mm):
        flush_tlb_range(walk.vma, walk.range_start, walk.range_end)
    elif walk.tlbflush_end > walk.tlbflush_start:
        flush_tlb_range(walk.vma, walk.tlbflush_start, walk.tlbflush_end)
    dec_tlb_flush_pending(walk.mm)


def wp_clean_test_walk(start: Addr, end: Addr, walk: mm_walk) -> bool:
    """Whether to skip a VMA: only shared ones that may be written are walked."""
    return READ_ONCE(walk.vma.vm_flags) & (VM_SHARED | VM_MAYWRITE) != VM_SHARED | VM_MAYWRITE


def wp_shared_mapping_range(mapping: address_space, first_index: pgoff_t, nr: pgoff_t) -> u4:
    """Take the right to store from all entries of a range of a file; how many had it."""
    walk = new(mm_walk)
    walk.ops = mm_walk_ops.wp_walk_ops
    i_mmap_lock_read(mapping)
    walk_page_mapping(mapping, first_index, nr, walk)
    i_mmap_unlock_read(mapping)
    return walk.total


def clean_record_shared_mapping_range(
    mapping: address_space, first_index: pgoff_t, nr: pgoff_t, bitmap_pgoff: pgoff_t, bitmap: u8, start: pgoff_t,
    end: pgoff_t,
) -> tuple[u4, u8, pgoff_t, pgoff_t]:  # fmt: skip
    """Clean all entries of a range of a file and record their pages: how many were dirty, the bitmap, start and end.

    Differs: bitmap, start and end are returned instead of changed in place.
    """
    none_set = start >= end
    walk = new(mm_walk)
    walk.ops = mm_walk_ops.clean_walk_ops
    walk.bitmap_pgoff = bitmap_pgoff
    walk.bitmap = bitmap
    walk.start = nr if none_set else start
    walk.end = 0 if none_set else end
    i_mmap_lock_read(mapping)
    walk_page_mapping(mapping, first_index, nr, walk)
    i_mmap_unlock_read(mapping)
    return walk.total, walk.bitmap, walk.start, walk.end

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm.h (v7.0).

Left out: large folios and swap entries, i.e. many cases of many functions.
"""

from typing import NamedTuple, TypeAlias

from asm.pgtable import pfn_pte, pmd_none, pmd_pfn, pte_mkwrite, pte_pmd
from asm.pgtable_types import pgprot_t, pmd_p, pmd_t, pte_p, pte_t
from linux.fs import address_space
from linux.mm_types import Folio, mm_struct, ptdesc, vm_area_struct, vm_flags_t
from linux.page_flags import PageAnonExclusive, folio_test_anon, folio_test_large, folio_test_swapcache, page_folio
from linux.pgtable import pmdp_get
from linux.types import Addr, Pfn, atomic_t, pgoff_t
from mm.memory import __pte_alloc
from mm.swap import __folio_put

from ptelab.lang import (
    WRITE_ONCE,
    at,
    atomic_add,
    atomic_andnot,
    atomic_dec,
    atomic_dec_and_test,
    atomic_inc,
    atomic_or,
    atomic_read,
    atomic_sub_return,
    index_of,
    onstack,
    spin_lock,
    spin_unlock,
    try_cmpxchg,
    u2,
    u4,
    u8,
)  # fmt: skip

VM_READ = 1
VM_WRITE = 2
VM_EXEC = 4
VM_SHARED = 8
VM_MAYWRITE = 16
VM_PFNMAP = 32
VM_UFFD_WP = 128
VM_SOFTDIRTY = 64
VM_LOCKED = 256

# What fork copies though the child could fault it in: VM_MIXEDMAP and VM_MAYBE_GUARD are not here.
VM_COPY_ON_FORK = VM_PFNMAP | VM_UFFD_WP

GUP_PIN_COUNTING_BIAS = 8
FOLL_WRITE = 1
FOLL_GET = 2
FOLL_PIN = 4
FOLL_LONGTERM = 8

MM_CP_TRY_CHANGE_WRITABLE = 1
MM_CP_UFFD_WP = 2
MM_CP_UFFD_WP_RESOLVE = 4
MM_CP_PROT_NUMA = 8

cp_flags_t: TypeAlias = u4


class zap_details(NamedTuple):
    """What a zap is for.  `even_cows`: private copies of a file's pages go as well.  `reclaim_pt`: empty tables may go.

    Differs: `single_folio`, the one folio that must be unmapped in the end, is only whether it may be a huge page.
    Differs: ZAP_FLAG_DROP_MARKER of zap_flags is a member.
    """

    single_folio: bool = False
    even_cows: bool = False
    reclaim_pt: bool = False
    ZAP_FLAG_DROP_MARKER: bool = False


@onstack
class vm_fault:
    """What the functions of one page fault hand to each other.

    Differs: pte is only used where it is not NULL; handle_pte_fault keeps that in a variable of its own.
    Left out: real_address, gfp_mask, pud, orig_pmd.
    """

    vma: vm_area_struct
    pgoff: pgoff_t
    address: Addr
    flags: u8
    pmd: pmd_p
    orig_pte: pte_t
    page: Folio | None
    cow_page: Folio | None
    pte: pte_p
    ptl: ptdesc
    prealloc_pte: ptdesc | None


def folio_mapcount(folio: Folio) -> atomic_t:
    """How many entries map the folio, or a page of it."""
    if folio_test_large(folio):
        return atomic_read(page_folio(folio)._large_mapcount)
    return atomic_read(folio._mapcount)


def folio_mapped(folio: Folio) -> bool:
    """Whether any entry maps the folio.

    Context: without the folio lock, or for a mapped folio, the answer may be old when it is used.
    """
    return folio_mapcount(folio) >= 1


def folio_get(folio: Folio) -> None:
    """Take a reference.

    Context: the caller has one, or a lock that keeps one.
    """
    atomic_inc(page_folio(folio)._refcount)


def folio_put_testzero(folio: Folio) -> bool:
    """Drop a reference; whether it was the last."""
    return atomic_dec_and_test(page_folio(folio)._refcount)


def folio_put(folio: Folio) -> None:
    """Drop a reference, and the folio with the last."""
    if folio_put_testzero(folio):
        __folio_put(page_folio(folio))


def folio_put_refs(folio: Folio, refs: atomic_t) -> None:
    """Drop several references, and the folio with the last."""
    if atomic_sub_return(refs, page_folio(folio)._refcount) == 0:
        __folio_put(page_folio(folio))


def maybe_mkwrite(pte: pte_t, vma: vm_area_struct) -> pte_t:
    """Make an entry writable if the VMA is."""
    if vma.vm_flags & VM_WRITE != 0:
        pte = pte_mkwrite(pte, vma)
    return pte


def folio_pfn(folio: Folio) -> Pfn:
    """The page frame of a folio: that of the same number."""
    return index_of(folio)


def add_mm_counter(mm: mm_struct, member: u2, value: atomic_t) -> None:
    """Count pages that were mapped.

    Differs: the counters are exact.
    """
    atomic_add(value, mm.rss_stat[member])


def inc_mm_counter(mm: mm_struct, member: u2) -> None:
    """Count one page that was mapped."""
    atomic_inc(mm.rss_stat[member])


def dec_mm_counter(mm: mm_struct, member: u2) -> None:
    """Uncount one page that was mapped."""
    atomic_dec(mm.rss_stat[member])


def is_cow_mapping(flags: vm_flags_t) -> bool:
    """Whether a mapping may need copies: private, and perhaps to be written."""
    return flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE


def vma_is_anonymous(vma: vm_area_struct) -> bool:
    """Whether a mapping has no file.

    Differs: it is asked of vm_file, as there are no vm_ops.
    """
    return vma.vm_file is None


def folio_ref_add(folio: Folio, nr: atomic_t) -> None:
    """Take several references.

    Differs: Linux has it in include/linux/page_ref.h.
    """
    atomic_add(nr, page_folio(folio)._refcount)


def folio_ref_dec(folio: Folio) -> None:
    """Give a reference back that is not the last.

    Differs: Linux has it in include/linux/page_ref.h.
    """
    atomic_dec(page_folio(folio)._refcount)


def folio_ref_count(folio: Folio) -> atomic_t:
    """How many references there are.

    Differs: Linux has it in include/linux/page_ref.h.
    """
    return atomic_read(page_folio(folio)._refcount)


def folio_expected_ref_count(folio: Folio) -> atomic_t:
    """How many references an anonymous folio has without any that nobody knows of.

    Left out: folios of files.
    """
    return (1 if folio_test_swapcache(folio) else 0) + folio_mapcount(folio)


def folio_mk_pmd(folio: Folio, pgprot: pgprot_t) -> pmd_t:
    """Make an upper entry that maps a huge page."""
    return pte_pmd(pfn_pte(folio_pfn(folio), pgprot))


def folio_try_get(folio: Folio) -> bool:
    """Take a reference unless there is none; whether it was taken.

    Differs: Linux has it in include/linux/page_ref.h.
    """
    folio = page_folio(folio)
    while True:
        count = atomic_read(folio._refcount)
        if count == 0:
            return False
        if try_cmpxchg(folio._refcount, count, count + 1):
            return True


def folio_maybe_dma_pinned(folio: Folio) -> bool:
    """Whether somebody may have pinned the page.

    Differs: the bias is 8, not 1024.
    """
    return folio_ref_count(folio) >= GUP_PIN_COUNTING_BIAS


def folio_needs_cow_for_dma(vma: vm_area_struct, folio: Folio) -> bool:
    """Whether fork has to copy a page because it may be pinned.

    Left out: MMF_HAS_PINNED, which only saves the look.
    """
    return folio_maybe_dma_pinned(folio)


def gup_must_unshare(vma: vm_area_struct | None, flags: u4, page: Folio) -> bool:
    """Whether a page that is mapped read-only must become exclusive before it is pinned for reading.

    The zero page and pages of files must only if the pin is to see what the mm stores later.  Without the VMA it is not
    known whether the mapping is private.

    Differs: Linux has it in mm/internal.h.
    """
    if flags & (FOLL_WRITE | FOLL_PIN) != FOLL_PIN:
        return False
    if not folio_test_anon(page):
        if flags & FOLL_LONGTERM == 0:
            return False
        if vma is None:
            return True
        return is_cow_mapping(vma.vm_flags)
    return not PageAnonExclusive(page)


def pmd_lock(mm: mm_struct, pmd: pmd_p) -> mm_struct:
    """Take the lock of the table that the upper entry is in; returns what holds the lock."""
    spin_lock(mm.page_table_lock)
    return mm


def pte_lockptr(mm: mm_struct, pmd: pmd_t) -> ptdesc:
    """The lock of the PTE table that an upper entry names; its member ptl is the spinlock_t."""
    return at(ptdesc, pmd_pfn(pmd))


def pte_unmap_unlock(pte: pte_p, ptl: ptdesc) -> None:
    """Drop the lock of a PTE table.

    Left out: rcu_read_unlock, as no table is reused within a run.
    """
    spin_unlock(ptl.ptl)


def pte_alloc(mm: mm_struct, pmd: pmd_p) -> bool:
    """See to it that there is a PTE table; true when there is no memory for one."""
    return pmd_none(pmdp_get(pmd)) and __pte_alloc(mm, pmd) != 0


def vm_flags_reset_once(vma: vm_area_struct, flags: vm_flags_t) -> None:
    """Change the flags of a VMA.

    Context: mmap_lock held for writing, and the VMA write-locked.
    """
    WRITE_ONCE(vma.vm_flags, flags)


def vm_flags_reset(vma: vm_area_struct, flags: vm_flags_t) -> None:
    """Change the flags of a VMA.

    Context: mmap_lock held for writing.
    """
    vma.vm_flags = flags


def vm_flags_clear(vma: vm_area_struct, flags: vm_flags_t) -> None:
    """Take flags from a VMA.

    Context: mmap_lock held for writing, which also write-locks the VMA here.
    """
    vma.vm_flags = vma.vm_flags & ~flags


def vma_interval_tree_insert(node: vm_area_struct, root: address_space) -> None:
    """Add a VMA to those that map a file.

    Context: i_mmap_rwsem held for writing.  Differs: see address_space for the tree.
    """
    atomic_or(1 << index_of(node), root.i_mmap)


def vma_interval_tree_remove(node: vm_area_struct, root: address_space) -> None:
    """Take a VMA from those that map a file.

    Context: i_mmap_rwsem held for writing.
    """
    atomic_andnot(1 << index_of(node), root.i_mmap)


def vma_lookup(mm: mm_struct, addr: Addr) -> vm_area_struct | None:
    """The VMA that an address is in.

    Context: mmap_lock held.
    """
    return mm.mm_mt[addr]


def vma_pages(vma: vm_area_struct) -> Addr:
    """How many pages a VMA spans."""
    return vma.vm_end - vma.vm_start

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm.h (v7.0).

Left out: large and anonymous folios, swap entries, i.e. most cases of most functions.
"""

from asm.pgtable import pmd_none, pmd_pfn, pte_mkwrite
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from linux.fs import address_space
from linux.mm_types import Folio, mm_struct, ptdesc, vm_area_struct
from linux.pgtable import pmdp_get
from linux.types import Addr, Pfn, atomic_t, pgoff_t
from mm.memory import __pte_alloc
from mm.swap import __folio_put

from ptelab.lang import (
    at,
    atomic_add,
    atomic_andnot,
    atomic_dec_and_test,
    atomic_inc,
    atomic_or,
    atomic_read,
    index_of,
    onstack,
    spin_lock,
    spin_unlock,
    u4,
)  # fmt: skip

VM_READ = 1
VM_WRITE = 2
VM_EXEC = 4
VM_SHARED = 8


@onstack
class vm_fault:
    """What the functions of one page fault hand to each other.

    Differs: pte is only used where it is not NULL; handle_pte_fault keeps that in a variable of its own.
    Left out: real_address, gfp_mask, pud, orig_pmd, cow_page.
    """

    vma: vm_area_struct
    pgoff: pgoff_t
    address: Addr
    flags: u4
    pmd: pmd_p
    orig_pte: pte_t
    page: Folio
    pte: pte_p
    ptl: ptdesc
    prealloc_pte: ptdesc | None


def folio_mapcount(folio: Folio) -> atomic_t:
    """How many entries map the folio."""
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
    atomic_inc(folio._refcount)


def folio_put_testzero(folio: Folio) -> bool:
    """Drop a reference; whether it was the last."""
    return atomic_dec_and_test(folio._refcount)


def folio_put(folio: Folio) -> None:
    """Drop a reference, and the folio with the last."""
    if folio_put_testzero(folio):
        __folio_put(folio)


def maybe_mkwrite(pte: pte_t, vma: vm_area_struct) -> pte_t:
    """Make an entry writable if the VMA is."""
    if vma.vm_flags & VM_WRITE != 0:
        pte = pte_mkwrite(pte, vma)
    return pte


def folio_pfn(folio: Folio) -> Pfn:
    """The page frame of a folio: that of the same number."""
    return index_of(folio)


def add_mm_counter(mm: mm_struct, value: atomic_t) -> None:
    """Count pages that were mapped.

    Differs: one counter, that of MM_FILEPAGES, and it is exact.
    """
    atomic_add(value, mm.rss_stat)


def inc_mm_counter(mm: mm_struct) -> None:
    """Count one page that was mapped."""
    atomic_inc(mm.rss_stat)


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

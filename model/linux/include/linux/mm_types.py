# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm_types.h (v7.0).

Differs: a folio is one page, so a `struct page *` is its folio, and parameters that count or name pages of a folio are
absent everywhere.  Only huge pages of anonymous memory have more: there a `Folio` is a page, and its folio is its first
page (page_folio); what takes a folio may be given any page of it.  Differs: `VM_FAULT_…` and `FAULT_FLAG_…` have values
of their own.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeAlias

from asm.mmu import mm_context_t
from asm.page import TASK_SIZE
from asm.pgtable_types import pgprot_t, pmd_p
from linux.fs import address_space
from linux.memcontrol import mem_cgroup
from linux.types import Addr, atomic_t, pgoff_t

from ptelab.lang import Array, array, rw_semaphore, spinlock_t, struct, u4, u6, u8, u16, upto

vm_flags_t: TypeAlias = u16

# A slot of the one swap device, from 1 on; 0 is none.
swp_entry_t: TypeAlias = Annotated[int, upto("SWAP_SLOTS")]

VM_FAULT_OOM = 1
VM_FAULT_SIGBUS = 2
VM_FAULT_SIGSEGV = 4
VM_FAULT_NOPAGE = 8
VM_FAULT_LOCKED = 16
VM_FAULT_FALLBACK = 32
VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV

vm_fault_t: TypeAlias = u6

FAULT_FLAG_WRITE = 1
FAULT_FLAG_MKWRITE = 2
FAULT_FLAG_ORIG_PTE_VALID = 4
FAULT_FLAG_USER = 8
FAULT_FLAG_UNSHARE = 16

MM_FILEPAGES = 0
MM_ANONPAGES = 1
MM_SWAPENTS = 2
NR_MM_COUNTERS = 3


class encoded_page(NamedTuple):
    """A page with flags in its pointer's low bits.

    Differs: the flag is a member.  Left out: ENCODED_PAGE_BIT_NR_PAGES_NEXT, which only large folios set.
    """

    page: Folio | None = None
    ENCODED_PAGE_BIT_DELAY_RMAP: bool = False


def encode_page(page: Folio, delay_rmap: bool) -> encoded_page:
    """Make an encoded page."""
    return encoded_page(page=page, ENCODED_PAGE_BIT_DELAY_RMAP=delay_rmap)


def encoded_page_ptr(page: encoded_page) -> Folio:
    """The page of an encoded page."""
    assert page.page is not None
    return page.page


@struct
class Folio:
    """A page of memory (struct folio).

    Differs: _mapcount counts from 0, not from −1.  Differs: PG_locked is a lock of the dialect, so that what asserts it
    also knows its holder; the other flags are members, those in the low bits of `mapping` too.  Differs: an anonymous
    folio has PG_lazyfree when it has no PG_swapbacked, and PG_isolated when it has no PG_lru.  Only folios of several
    pages have the map counts with long names, and PG_partially_mapped, which stands for the list of folios that are to
    be split as well.  Differs: struct list_head `lru` is two members.  Left out: statistics other than those of memory
    cgroups.
    """

    _refcount: atomic_t
    _mapcount: atomic_t
    _entire_mapcount: atomic_t
    _large_mapcount: atomic_t
    _nr_pages_mapped: u6
    PG_locked: spinlock_t
    PG_dirty: bool
    PG_writeback: bool
    PG_uptodate: bool
    PG_anon_exclusive: bool
    PG_mlocked: bool
    PG_unevictable: bool
    PG_partially_mapped: bool
    FOLIO_MAPPING_ANON: bool
    FOLIO_MAPPING_KSM: bool
    PG_swapcache: bool
    PG_lazyfree: bool
    PG_isolated: bool
    PG_active: bool
    PG_referenced: bool
    lru_next: Folio | None
    lru_prev: Folio | None
    swap: swp_entry_t
    mapping: address_space | None
    index: pgoff_t
    memcg_data: mem_cgroup | None
    mlock_count: atomic_t


@struct
class ptdesc:
    """A page-table page.  Element i describes the hardware's table i.

    Differs: __page_refcount is only 0 or 1, free or allocated.
    """

    ptl: spinlock_t
    __page_refcount: bool


@struct
class vm_area_struct:
    """A part of an address space.

    Differs: vm_file is what Linux calls vm_file->f_mapping.  Left out: vm_ops, whose only implementation here is that
    of `filesystem.py`, called by name; per-VMA locks, see `linux.mmap_lock`.
    """

    vm_start: Addr
    vm_end: Addr
    vm_mm: mm_struct
    vm_page_prot: pgprot_t
    vm_flags: vm_flags_t
    vm_pgoff: pgoff_t
    vm_file: address_space


@struct
class mm_struct:
    """An address space.

    Differs: the maple tree is an array by address.  Differs: page_table_lock is also the split lock of the one PMD
    table.  Differs: cpu_bitmap is the set of CPUs that have the mm loaded.  Left out: pgtables_bytes, map_count,
    total_vm and other statistics.
    """

    mm_mt: Array[vm_area_struct | None] = array(TASK_SIZE)
    pgd: pmd_p
    mm_users: atomic_t
    page_table_lock: spinlock_t
    mmap_lock: rw_semaphore
    rss_stat: Array[atomic_t] = array(NR_MM_COUNTERS)
    write_protect_seq: u4
    tlb_flush_pending: atomic_t
    tlb_flush_batched: u8
    pmd_huge_pte: ptdesc | None
    context: mm_context_t
    cpu_bitmap: u8


def mm_cpumask(mm: mm_struct) -> u8:
    """The CPUs that may have translations of the mm."""
    return mm.cpu_bitmap

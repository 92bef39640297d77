# SPDX-License-Identifier: GPL-2.0-only
"""Reading the state: what conditions of litmus tests and other invariants ask for."""

from asm.pgtable import (
    __pte_to_swp_entry,
    pfn_pte,
    pmd_leaf,
    pmd_pfn,
    pmd_present,
    pmd_pte,
    pte_dirty,
    pte_mkdirty,
    pte_none,
    pte_pfn,
    pte_present,
)  # fmt: skip
from asm.pgtable_types import PTRS_PER_PTE, pgprot_t, pmd_p, pte_p, pte_t
from hw.memory import NR_PAGES, Addr, Disk, Frame, SwapDisk, Value
from linux.fs import address_space
from linux.mm_types import MM_ANONPAGES, MM_FILEPAGES, Folio, mm_struct, swp_entry_t
from linux.page_flags import page_folio
from linux.types import atomic_t, pgoff_t
from mm.swapfile import swap_cluster_info

from ptelab.lang import at, ghost, index_of, u4


@ghost
def entry_of(mm: mm_struct, addr: Addr) -> pte_t:
    """The entry that maps an address; an empty one without a PTE table."""
    upper = at(pmd_p, index_of(mm.pgd) + addr // PTRS_PER_PTE).pmd
    if not pmd_present(upper):
        return pte_t()
    if pmd_leaf(upper):
        entry = pmd_pte(upper)
        if pte_present(entry):
            return entry._replace(pfn=pte_pfn(entry) + addr % PTRS_PER_PTE)
        hinted = pfn_pte(pte_pfn(entry) + addr % PTRS_PER_PTE, pgprot_t())
        return pte_mkdirty(hinted) if pte_dirty(entry) else hinted
    return at(pte_p, pmd_pfn(upper) * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte


@ghost
def slot_of(pte: pte_t) -> swp_entry_t:
    """The slot in swap of the page of an entry; 0 if it is not in swap."""
    return __pte_to_swp_entry(pte) if not pte_present(pte) and not pte_none(pte) else 0


@ghost
def content_of(mm: mm_struct, addr: Addr) -> Value:
    """What an mm would read of a page of private memory, were it faulted in now."""
    pte = entry_of(mm, addr)
    slot = slot_of(pte)
    if pte_present(pte):
        return at(Frame, pte_pfn(pte)).data
    if slot == 0:
        return 0
    folio = at(swap_cluster_info, 0).table[slot - 1]
    if folio is not None and folio.PG_uptodate:
        return at(Frame, index_of(folio)).data
    return at(SwapDisk, 0).block[slot - 1]


@ghost
def entries_of(mm: mm_struct, folio: Folio) -> u4:
    """How many entries of an mm map a folio."""
    count: u4 = 0
    for addr in range(NR_PAGES):
        pte = entry_of(mm, addr)
        if pte_present(pte) and pte_pfn(pte) == index_of(folio):
            count += 1
    return count


@ghost
def observe_page(folio: Folio) -> Value:
    """What is in a folio's memory."""
    return at(Frame, index_of(folio)).data


@ghost
def observe_disk(mapping: address_space, pgoff: pgoff_t) -> Value:
    """What the disk has of a page of a file."""
    return at(Disk, index_of(mapping)).block[pgoff]


@ghost
def observe_folio_dirty(folio: Folio) -> bool:
    """Whether a folio has to be written back."""
    return folio.PG_dirty


@ghost
def observe_mapcount(folio: Folio) -> atomic_t:
    """How many entries map a folio, as the kernel counts."""
    return folio._mapcount + folio._entire_mapcount


@ghost
def observe_refcount(folio: Folio) -> atomic_t:
    """How many references a folio has."""
    return page_folio(folio)._refcount


@ghost
def observe_rss(mm: mm_struct) -> atomic_t:
    """How many pages an mm has mapped, as the kernel counts."""
    return mm.rss_stat[MM_FILEPAGES] + mm.rss_stat[MM_ANONPAGES]


@ghost
def observe_pte(mm: mm_struct, addr: Addr) -> pte_t:
    """The entry that maps an address."""
    return entry_of(mm, addr)

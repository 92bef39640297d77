# SPDX-License-Identifier: GPL-2.0-only
"""At quiescence counts are what they count, and what may be written is known as dirty.

Flags: accounting, dirty_tracking.
"""

from asm.pgtable import pmd_pfn, pmd_present, pte_dirty, pte_pfn, pte_present, pte_write
from asm.pgtable_types import pmd_p
from hw.memory import NR_PAGES, Table
from invariants.observe import entries_of, entry_of
from linux.mm_types import Folio, mm_struct, ptdesc, vm_area_struct
from mm.vma import vma_wants_writenotify

from ptelab.lang import at, flag, ghost, index_of, pool, u4


@ghost
def always_counts_right(folio: Folio) -> None:
    """At quiescence the map count is the number of entries, and the references are theirs and the page cache's."""
    count: u4 = 0
    for mm in pool(mm_struct):
        count += entries_of(mm, folio)
    if folio._mapcount != count:
        flag("accounting", page=index_of(folio), mapcount=folio._mapcount, entries=count)
    if folio.mapping is not None and folio._refcount != count + 1:
        flag("accounting", page=index_of(folio), refcount=folio._refcount, entries=count)


@ghost
def always_mm_consistent(mm: mm_struct) -> None:
    """At quiescence an mm's counters are right, its entries lie in VMAs, and what may be written is known as dirty."""
    count: u4 = 0
    for addr in range(NR_PAGES):
        pte = entry_of(mm, addr)
        if pte_present(pte):
            count += 1
            vma = mm.mm_mt[addr]
            if vma is None:
                flag("accounting", addr=addr, mapped_without_vma=True)
            elif vma_wants_writenotify(vma):
                folio = at(Folio, pte_pfn(pte))
                if (pte_write(pte) or pte_dirty(pte)) and not folio.PG_dirty:
                    flag("dirty_tracking", page=pte_pfn(pte), addr=addr)
    if mm.rss_stat != count:
        flag("accounting", mm=index_of(mm), rss=mm.rss_stat, entries=count)
    if mm.tlb_flush_pending != 0:
        flag("accounting", mm=index_of(mm), tlb_flush_pending=mm.tlb_flush_pending)


@ghost
def always_rmap_complete(vma: vm_area_struct) -> None:
    """At quiescence the VMAs in a file's rmap are those that are mapped."""
    if vma.vm_file is not None:
        linked = vma.vm_file.i_mmap & (1 << index_of(vma)) != 0
        if linked != (vma.vm_mm.mm_mt[vma.vm_start] == vma):
            flag("accounting", vma=index_of(vma), in_rmap=linked)


@ghost
def always_table_owned(table: ptdesc) -> None:
    """At quiescence a table that is allocated was freed by RCU or is hooked up, once; one that was freed is not."""
    hooked: u4 = 0
    for slot in pool(pmd_p):
        if pmd_present(slot.pmd) and pmd_pfn(slot.pmd) == index_of(table):
            hooked += 1
    live = table.__page_refcount and not at(Table, index_of(table)).retired
    if hooked != (1 if live else 0):
        flag("accounting", table=index_of(table), hooked=hooked)

# SPDX-License-Identifier: GPL-2.0-only
"""At quiescence counts are what they count, and what may be written is known as dirty.

Flags: accounting, dirty_tracking.
"""

from asm.pgtable import pmd_leaf, pmd_pfn, pmd_present, pmd_pte, pte_dirty, pte_pfn, pte_present, pte_write
from asm.pgtable_types import PTRS_PER_PMD, pmd_p
from hw.memory import NR_PAGES, Frame, Table
from invariants.observe import entries_of, entry_of, slot_of
from linux.huge_mm import HPAGE_PMD_NR
from linux.memcontrol import mem_cgroup
from linux.mm import GUP_PIN_COUNTING_BIAS
from linux.mm_types import MM_ANONPAGES, MM_FILEPAGES, MM_SWAPENTS, Folio, mm_struct, ptdesc, vm_area_struct
from linux.page_flags import folio_page, folio_test_large, page_folio
from linux.pgtable import is_zero_pfn
from mm.rmap import ENTIRELY_MAPPED
from mm.vma import vma_needs_dirty_tracking
from stubs.memory import Buddy
from user import Device

from ptelab.lang import at, flag, ghost, index_of, pool, u4, u8


@ghost
def pins_of(folio: Folio) -> u8:
    """How many references devices have to a folio."""
    count: u8 = 0
    for device in pool(Device):
        page = device.page
        if page is not None and page_folio(page) == folio:
            count += GUP_PIN_COUNTING_BIAS if device.pinned else 1
    return count


@ghost
def always_counts_right(folio: Folio) -> None:
    """At quiescence the map count is the number of entries, and the references are theirs and the page cache's."""
    if is_zero_pfn(index_of(folio)) or at(Frame, index_of(folio)).device:
        return
    if folio_test_large(folio):
        always_large_counts_right(folio)
        return
    count: u4 = 0
    for mm in pool(mm_struct):
        count += entries_of(mm, folio)
    if folio._mapcount != count:
        flag("accounting", page=index_of(folio), mapcount=folio._mapcount, entries=count)
    refs: u8 = count + pins_of(folio)
    if folio.mapping is not None:
        refs += 1
    if folio.PG_swapcache:
        refs += 1
    if at(Buddy, index_of(folio)).taken and folio._refcount != refs:
        flag("accounting", page=index_of(folio), refcount=folio._refcount, expected=refs)
    if folio.FOLIO_MAPPING_ANON and folio.PG_anon_exclusive and count > 1:
        flag("accounting", page=index_of(folio), exclusive=True, entries=count)


@ghost
def huge_entries_of(mm: mm_struct, folio: Folio) -> u4:
    """How many upper entries of an mm map a large folio."""
    count: u4 = 0
    for index in range(PTRS_PER_PMD):
        upper = at(pmd_p, index_of(mm.pgd) + index).pmd
        if pmd_present(upper) and pmd_leaf(upper) and pte_pfn(pmd_pte(upper)) == index_of(folio):
            count += 1
    return count


@ghost
def always_large_counts_right(page: Folio) -> None:
    """At quiescence the counts of a large folio are right; and if only parts of it are mapped, it waits to be split."""
    folio = page_folio(page)
    entire: u4 = 0
    for mm in pool(mm_struct):
        entire += huge_entries_of(mm, folio)
    total: u4 = entire
    mapped: u4 = 0
    for i in range(HPAGE_PMD_NR):
        part = folio_page(folio, i)
        count: u4 = 0
        for mm in pool(mm_struct):
            count += entries_of(mm, part)
        total += count - entire
        mapped += 1 if count > entire else 0
        if part._mapcount != count - entire:
            flag("accounting", page=index_of(part), mapcount=part._mapcount, entries=count - entire)
        if part.PG_anon_exclusive and count > 1:
            flag("accounting", page=index_of(part), exclusive=True, entries=count)
    if folio._entire_mapcount != entire or folio._large_mapcount != total:
        flag("accounting", page=index_of(folio), large_mapcount=folio._large_mapcount, entries=total)
    if folio._nr_pages_mapped != mapped + (ENTIRELY_MAPPED if entire != 0 else 0):
        flag("accounting", page=index_of(folio), nr_pages_mapped=folio._nr_pages_mapped, expected=mapped)
    refs: u8 = total + pins_of(folio)
    if at(Buddy, index_of(folio)).taken and folio._refcount != refs:
        flag("accounting", page=index_of(folio), refcount=folio._refcount, expected=refs)
    if 0 < mapped < HPAGE_PMD_NR and entire == 0 and not folio.PG_partially_mapped:
        flag("accounting", page=index_of(folio), never_to_be_split=True)


@ghost
def always_mm_consistent(mm: mm_struct) -> None:
    """At quiescence an mm's counters are right, its entries lie in VMAs, and what may be written is known as dirty."""
    files: u4 = 0
    anon: u4 = 0
    swapped: u4 = 0
    for addr in range(NR_PAGES):
        pte = entry_of(mm, addr)
        if slot_of(pte) != 0:
            swapped += 1
        if pte_present(pte):
            if is_zero_pfn(pte_pfn(pte)) or at(Frame, pte_pfn(pte)).device:
                pass
            elif at(Folio, pte_pfn(pte)).FOLIO_MAPPING_ANON:
                anon += 1
            else:
                files += 1
            vma = mm.mm_mt[addr]
            if vma is None:
                flag("accounting", addr=addr, mapped_without_vma=True)
            elif vma_needs_dirty_tracking(vma):
                folio = at(Folio, pte_pfn(pte))
                if (pte_write(pte) or pte_dirty(pte)) and not folio.PG_dirty:
                    flag("dirty_tracking", page=pte_pfn(pte), addr=addr)
    if mm.rss_stat[MM_FILEPAGES] != files:
        flag("accounting", mm=index_of(mm), rss=mm.rss_stat[MM_FILEPAGES], entries=files)
    if mm.rss_stat[MM_ANONPAGES] != anon:
        flag("accounting", mm=index_of(mm), rss_anon=mm.rss_stat[MM_ANONPAGES], entries=anon)
    if mm.rss_stat[MM_SWAPENTS] != swapped:
        flag("accounting", mm=index_of(mm), rss_swap=mm.rss_stat[MM_SWAPENTS], entries=swapped)
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
    """At quiescence a table that is allocated was freed by RCU or is hooked up or kept, once; one freed is not."""
    hooked: u4 = 0
    for slot in pool(pmd_p):
        if pmd_present(slot.pmd) and not pmd_leaf(slot.pmd) and pmd_pfn(slot.pmd) == index_of(table):
            hooked += 1
    for mm in pool(mm_struct):
        if mm.pmd_huge_pte == table:
            hooked += 1
    live = table.__page_refcount and not at(Table, index_of(table)).retired
    if hooked != (1 if live else 0):
        flag("accounting", table=index_of(table), hooked=hooked)


@ghost
def always_memcg_right(memcg: mem_cgroup) -> None:
    """At quiescence a cgroup counts the pages charged to it that are mapped."""
    anon: u4 = 0
    files: u4 = 0
    for folio in pool(Folio):
        if folio.memcg_data == memcg and folio._mapcount != 0:
            if folio.FOLIO_MAPPING_ANON:
                anon += 1
            else:
                files += 1
    if memcg.NR_ANON_MAPPED != anon or memcg.NR_FILE_MAPPED != files:
        flag("accounting", memcg=index_of(memcg), file_mapped=memcg.NR_FILE_MAPPED, expected=files)

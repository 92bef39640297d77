# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/khugepaged.c (v7.0).

What maps a range of anonymous memory page by page is collapsed into one huge page.  Whoever looks at page tables under
the mmap_lock is kept out; hardware and GUP-fast are not.

Of a file only the page tables are done.

Left out: the choice of what to look at; the LRU, swapping in, memory cgroups, NUMA nodes; large folios as
sources; MADV_COLLAPSE.
"""

from asm.page import PAGE_SIZE, PMD_SIZE
from asm.pgalloc import pmd_populate
from asm.pgtable import (
    pmd_none,
    pmd_pfn,
    pmd_present,
    pmdp_collapse_flush,
    pte_none,
    pte_pfn,
    pte_present,
    pte_uffd_wp,
    pte_young,
    ptep_get_and_clear,
)
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from config import CONFIG_SWAP
from linux.fs import address_space, i_mmap_lock_read, i_mmap_unlock_read
from linux.huge_mm import HPAGE_PMD_NR, thp_vma_allowable_order, thp_vma_suitable_order
from linux.mm import (
    add_mm_counter,
    folio_expected_ref_count,
    folio_mapcount,
    folio_mapped,
    folio_put,
    folio_ref_count,
    is_cow_mapping,
    pmd_lock,
    pte_lockptr,
    pte_unmap_unlock,
)
from linux.mm_types import MM_ANONPAGES, Folio, mm_struct, ptdesc, vm_area_struct
from linux.mmap_lock import (
    mmap_read_trylock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vma_start_write,
)  # fmt: skip
from linux.page_flags import __folio_mark_uptodate, folio_page, folio_test_anon, folio_test_large
from linux.pagemap import folio_lock, folio_trylock
from linux.pgtable import __pte_map, is_zero_pfn, pmd_off, pmd_trans_huge, pmdp_get, pmdp_get_lockless, ptep_get
from linux.rmap import TTU_BATCH_FLUSH
from linux.types import Addr, pgoff_t
from linux.userfaultfd_k import userfaultfd_wp
from mm.filemap import filemap_get_entry, folio_unlock
from mm.huge_memory import map_anon_folio_pmd_nopf
from mm.internal import EFAULT_ADDRESS, anon_vma, anon_vma_lock_write, anon_vma_unlock_write, vma_address
from mm.memory import vm_normal_page
from mm.mmap import find_vma
from mm.mmu_gather import tlb_remove_table_sync_one
from mm.pgtable_generic import pgtable_trans_huge_deposit, pte_free_defer, pte_offset_map_lock
from mm.rmap import folio_remove_rmap_ptes, try_to_unmap, try_to_unmap_flush
from mm.swap_state import free_swap_cache
from stubs.memory import alloc_huge_folio, clear_page, copy_page

from ptelab.lang import at, index_of, pool, spin_lock, spin_unlock, u4, u5

SCAN_FAIL = 0
SCAN_SUCCEED = 1
SCAN_NO_PTE_TABLE = 2
SCAN_PMD_MAPPED = 3
SCAN_EXCEED_NONE_PTE = 4
SCAN_EXCEED_SHARED_PTE = 5
SCAN_PTE_NON_PRESENT = 6
SCAN_LACK_REFERENCED_PAGE = 7
SCAN_PAGE_COUNT = 9
SCAN_PAGE_LOCK = 10
SCAN_VMA_NULL = 12
SCAN_VMA_CHECK = 13
SCAN_ADDRESS_RANGE = 14
SCAN_ALLOC_HUGE_PAGE_FAIL = 15
SCAN_PTE_UFFD_WP = 16

khugepaged_max_ptes_none = HPAGE_PMD_NR - 1
khugepaged_max_ptes_shared = HPAGE_PMD_NR // 2


def pte_none_or_zero(pte: pte_t) -> bool:
    """Whether a page of zeroes is all that an entry stands for."""
    if pte_none(pte):
        return True
    return pte_present(pte) and is_zero_pfn(pte_pfn(pte))


def release_pte_folio(folio: Folio) -> None:
    """Give back a page that was isolated."""
    folio_unlock(folio)


def release_pte_pages(pte: pte_p, nr: u4) -> None:
    """Give back the pages of the first entries of a table that were isolated."""
    for i in range(nr):
        pteval = ptep_get(at(pte_p, index_of(pte) + i))
        if not pte_none_or_zero(pteval):
            release_pte_folio(at(Folio, pte_pfn(pteval)))


def __collapse_huge_page_isolate(vma: vm_area_struct, start_addr: Addr, pte: pte_p) -> u5:
    """Lock all pages of a table that nobody can reach any more, if nobody has a reference that is not accounted for.

    Context: PTL held.  GUP-fast has given up, or its reference is seen here.  Differs: a large folio speaks against it.
    Left out: taking the pages off the LRU, so that only their references tell of reclaim.
    """
    none_or_zero: u4 = 0
    shared: u4 = 0
    referenced: u4 = 0
    for i in range(HPAGE_PMD_NR):
        result: u5 = SCAN_SUCCEED
        pteval = ptep_get(at(pte_p, index_of(pte) + i))
        if pte_none_or_zero(pteval):
            none_or_zero += 1
            if not userfaultfd_wp(vma) and none_or_zero <= khugepaged_max_ptes_none:
                continue
            release_pte_pages(pte, i)
            return SCAN_EXCEED_NONE_PTE
        if not pte_present(pteval):
            release_pte_pages(pte, i)
            return SCAN_PTE_NON_PRESENT
        if pte_uffd_wp(pteval):
            release_pte_pages(pte, i)
            return SCAN_PTE_UFFD_WP
        folio = vm_normal_page(vma, start_addr + i * PAGE_SIZE, pteval)
        assert folio is not None
        assert folio_test_anon(folio)
        if folio_test_large(folio):
            release_pte_pages(pte, i)
            return SCAN_FAIL
        if folio_mapcount(folio) > 1:
            shared += 1
        if shared > khugepaged_max_ptes_shared:
            result = SCAN_EXCEED_SHARED_PTE
        elif not folio_trylock(folio):
            result = SCAN_PAGE_LOCK
        elif folio_expected_ref_count(folio) != folio_ref_count(folio):
            folio_unlock(folio)
            result = SCAN_PAGE_COUNT
        if result != SCAN_SUCCEED:
            release_pte_pages(pte, i)
            return result
        if pte_young(pteval):
            referenced += 1
    if referenced == 0:
        release_pte_pages(pte, HPAGE_PMD_NR)
        return SCAN_LACK_REFERENCED_PAGE
    return SCAN_SUCCEED


def __collapse_huge_page_copy_succeeded(pte: pte_p, vma: vm_area_struct, address: Addr, ptl: ptdesc) -> None:
    """Give up the small pages, whose data the huge page has.

    Differs: an entry is always emptied as one step; nobody else looks at the table.
    """
    for i in range(HPAGE_PMD_NR):
        slot = at(pte_p, index_of(pte) + i)
        pteval = ptep_get(slot)
        if pte_none_or_zero(pteval):
            add_mm_counter(vma.vm_mm, MM_ANONPAGES, 1)
            if pte_none(pteval):
                continue
            spin_lock(ptl.ptl)
            ptep_get_and_clear(vma.vm_mm, address + i * PAGE_SIZE, slot)
            spin_unlock(ptl.ptl)
        else:
            src = at(Folio, pte_pfn(pteval))
            release_pte_folio(src)
            spin_lock(ptl.ptl)
            ptep_get_and_clear(vma.vm_mm, address + i * PAGE_SIZE, slot)
            folio_remove_rmap_ptes(src, vma)
            spin_unlock(ptl.ptl)
            free_swap_cache(src)
            folio_put(src)


def __collapse_huge_page_copy(pte: pte_p, folio: Folio, vma: vm_area_struct, address: Addr, ptl: ptdesc) -> None:
    """Copy the small pages into the huge one, and give them up.

    Left out: memory errors while copying.
    """
    for i in range(HPAGE_PMD_NR):
        pteval = ptep_get(at(pte_p, index_of(pte) + i))
        page = folio_page(folio, i)
        if pte_none_or_zero(pteval):
            clear_page(page)
        else:
            copy_page(page, at(Folio, pte_pfn(pteval)))
    __collapse_huge_page_copy_succeeded(pte, vma, address, ptl)


def hugepage_vma_revalidate(mm: mm_struct, address: Addr) -> u5:
    """Whether a VMA that was found before the mmap_lock was dropped is still there, and may have huge pages."""
    vma = find_vma(mm, address)
    if vma is None:
        return SCAN_VMA_NULL
    if not thp_vma_suitable_order(vma, address):
        return SCAN_ADDRESS_RANGE
    if not thp_vma_allowable_order(vma):
        return SCAN_VMA_CHECK
    return SCAN_SUCCEED


def check_pmd_state(pmd: pmd_p) -> u5:
    """Whether an upper entry names a PTE table."""
    pmde = pmdp_get_lockless(pmd)
    if pmd_none(pmde) or not pmd_present(pmde):
        return SCAN_NO_PTE_TABLE
    if pmd_trans_huge(pmde):
        return SCAN_PMD_MAPPED
    return SCAN_SUCCEED


def find_pmd_or_thp_or_none(mm: mm_struct, address: Addr) -> u5:
    """Whether there is a PTE table for an address.

    Differs: the caller finds the upper entry, which is always there.
    """
    return check_pmd_state(pmd_off(mm, address))


def check_pmd_still_valid(mm: mm_struct, address: Addr) -> u5:
    """Whether there is still a PTE table for an address."""
    return find_pmd_or_thp_or_none(mm, address)


def collapse_pte_table(mm: mm_struct, vma: vm_area_struct, address: Addr, pmd: pmd_p, folio: Folio) -> u5:
    """Replace a PTE table by a huge page, or hook it up again.

    Context: mmap_lock held for writing.  The table is unhooked and flushed first, and everybody who may have found it
    without a lock has ended; only then are the references counted.
    Who walks the rmap, where anybody does, is kept out until the pages are locked.
    Differs: Linux has it in mm/khugepaged.c as the second half of collapse_huge_page.
    """
    if CONFIG_SWAP == 1:
        anon_vma_lock_write()
    pmd_ptl = pmd_lock(mm, pmd)
    _pmd = pmdp_collapse_flush(vma, address, pmd)
    spin_unlock(pmd_ptl.page_table_lock)
    tlb_remove_table_sync_one()
    pte = __pte_map(_pmd, address)
    pte_ptl = pte_lockptr(mm, _pmd)
    spin_lock(pte_ptl.ptl)
    result = __collapse_huge_page_isolate(vma, address, pte)
    spin_unlock(pte_ptl.ptl)
    if result != SCAN_SUCCEED:
        put_table_back(mm, pmd, _pmd)
    if CONFIG_SWAP == 1:
        anon_vma_unlock_write(at(anon_vma, 0))
    if result != SCAN_SUCCEED:
        return result
    __collapse_huge_page_copy(pte, folio, vma, address, pte_ptl)
    __folio_mark_uptodate(folio)
    pgtable = at(ptdesc, pmd_pfn(_pmd))
    spin_lock(pmd_ptl.page_table_lock)
    assert pmd_none(pmdp_get(pmd))
    pgtable_trans_huge_deposit(mm, pmd, pgtable)
    map_anon_folio_pmd_nopf(folio, pmd, vma, address)
    spin_unlock(pmd_ptl.page_table_lock)
    return SCAN_SUCCEED


def put_table_back(mm: mm_struct, pmd: pmd_p, _pmd: pmd_t) -> None:
    """Hook a PTE table up again.

    Differs: Linux has it in mm/khugepaged.c as a part of collapse_huge_page.
    """
    spin_lock(mm.page_table_lock)
    assert pmd_none(pmdp_get(pmd))
    pmd_populate(mm, pmd, at(ptdesc, pmd_pfn(_pmd)))
    spin_unlock(mm.page_table_lock)


def collapse_huge_page(mm: mm_struct, address: Addr) -> u5:
    """Collapse the pages of a PTE table into a huge page.

    Context: mmap_lock held for reading; it is dropped, and taken for writing.  Left out: the look at VMA and upper
    entry under the lock for reading, before swapping in, which only saves work.
    """
    mmap_read_unlock(mm)
    folio = alloc_huge_folio()
    if folio is None:
        return SCAN_ALLOC_HUGE_PAGE_FAIL
    mmap_write_lock(mm)
    result = hugepage_vma_revalidate(mm, address)
    if result == SCAN_SUCCEED:
        vma = find_vma(mm, address)
        assert vma is not None
        vma_start_write(vma)
        result = check_pmd_still_valid(mm, address)
        if result == SCAN_SUCCEED:
            result = collapse_pte_table(mm, vma, address, pmd_off(mm, address), folio)
    mmap_write_unlock(mm)
    if result != SCAN_SUCCEED:
        folio_put(folio)
    return result


def hpage_collapse_scan_pmd(mm: mm_struct, vma: vm_area_struct, start_addr: Addr) -> tuple[u5, bool]:
    """Collapse the pages of a PTE table if that looks worth while; how it went, and whether the lock is still held.

    Context: mmap_lock held for reading.  What is found here is only a guess.  Differs: all entries are looked at, also
    after one that speaks against it; a large folio does.  Left out: how many pages are shared, which is asked again
    later; pages that an anonymous mapping cannot have.
    """
    pmd = pmd_off(mm, start_addr)
    result = find_pmd_or_thp_or_none(mm, start_addr)
    if result != SCAN_SUCCEED:
        return result, True
    pte, ptl = pte_offset_map_lock(mm, pmd, start_addr)
    if pte is None:
        return SCAN_NO_PTE_TABLE, True
    none_or_zero: u4 = 0
    referenced: u4 = 0
    for i in range(HPAGE_PMD_NR):
        pteval = ptep_get(at(pte_p, index_of(pte) + i))
        if pte_none_or_zero(pteval):
            none_or_zero += 1
        elif not pte_present(pteval):
            result = SCAN_PTE_NON_PRESENT
        elif pte_uffd_wp(pteval):
            result = SCAN_PTE_UFFD_WP
        else:
            folio = vm_normal_page(vma, start_addr + i * PAGE_SIZE, pteval)
            assert folio is not None
            assert folio_test_anon(folio)
            if folio_test_large(folio):
                result = SCAN_FAIL
            elif folio_expected_ref_count(folio) != folio_ref_count(folio):
                result = SCAN_PAGE_COUNT
            elif pte_young(pteval):
                referenced += 1
    if none_or_zero > (0 if userfaultfd_wp(vma) else khugepaged_max_ptes_none):
        result = SCAN_EXCEED_NONE_PTE
    elif result == SCAN_SUCCEED and referenced == 0:
        result = SCAN_LACK_REFERENCED_PAGE
    pte_unmap_unlock(pte, ptl)
    if result != SCAN_SUCCEED:
        return result, True
    return collapse_huge_page(mm, start_addr), False


def khugepaged_scan_mm_slot(mm: mm_struct, address: Addr) -> u5:
    """Look at one PTE table of an mm, as khugepaged does with those that it comes by.

    Context: the caller keeps the mm.  Differs: the address is given.
    """
    if not mmap_read_trylock(mm):
        return SCAN_FAIL
    vma = find_vma(mm, address)
    if vma is None or not thp_vma_allowable_order(vma) or not thp_vma_suitable_order(vma, address):
        mmap_read_unlock(mm)
        return SCAN_VMA_CHECK
    result, locked = hpage_collapse_scan_pmd(mm, vma, address)
    if locked:
        mmap_read_unlock(mm)
    return result


def file_backed_vma_is_retractable(vma: vm_area_struct) -> bool:
    """Whether a VMA's page tables hold nothing but what a fault finds again.

    Differs: a private mapping counts as having an anon_vma from the start.  Left out: guard regions.
    """
    return not is_cow_mapping(vma.vm_flags) and not userfaultfd_wp(vma)


def retract_from_vma(vma: vm_area_struct, addr: Addr) -> None:
    """Unhook a page table of a VMA, which is empty, and free it after a grace period.

    Differs: Linux has it in mm/khugepaged.c as the body of retract_page_tables's loop.
    """
    mm = vma.vm_mm
    pmd = pmd_off(mm, addr)
    if find_pmd_or_thp_or_none(mm, addr) != SCAN_SUCCEED or not file_backed_vma_is_retractable(vma):
        return
    pml = pmd_lock(mm, pmd)
    pmdval = pmdp_get(pmd)
    if pmd_none(pmdval) or pmd_trans_huge(pmdval):
        spin_unlock(pml.page_table_lock)
        return
    ptl = pte_lockptr(mm, pmdval)
    spin_lock(ptl.ptl)
    success = file_backed_vma_is_retractable(vma)
    if success:
        pmdp_collapse_flush(vma, addr, pmd)
    spin_unlock(ptl.ptl)
    spin_unlock(pml.page_table_lock)
    if success:
        pte_free_defer(mm, at(ptdesc, pmd_pfn(pmdval)))


def retract_page_tables(mapping: address_space, pgoff: pgoff_t) -> None:
    """Unhook the page tables that mapped a range of a file, of which a huge page was made; faults may map that then.

    Context: the huge page is locked, so no fault fills the tables again.  Of the mm's nothing is held.
    """
    i_mmap_lock_read(mapping)
    tree = mapping.i_mmap
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            address = vma_address(vma, pgoff)
            if address != EFAULT_ADDRESS and address % PMD_SIZE == 0 and address + PMD_SIZE <= vma.vm_end:
                retract_from_vma(vma, address)
    i_mmap_unlock_read(mapping)


def collapse_file(mapping: address_space, start: pgoff_t) -> None:
    """Make a huge page of a page of a file, as far as page tables go: unmap the page, and retract the tables.

    Differs: a huge page is one page here, so that nothing is copied, and nothing is replaced in the page cache.
    """
    folio = filemap_get_entry(mapping, start)
    assert folio is not None
    folio_lock(folio)
    if folio_mapped(folio):
        try_to_unmap(folio, TTU_BATCH_FLUSH)
    try_to_unmap_flush()
    if not folio_mapped(folio):
        retract_page_tables(mapping, start)
    folio_unlock(folio)
    folio_put(folio)

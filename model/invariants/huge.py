# SPDX-License-Identifier: GPL-2.0-only
"""Huge pages of anonymous memory: tables that are freed at once, and the situations that their tests go through.

Flag: access_after_free.
"""

from asm.pgtable_types import PTRS_PER_PTE, pte_p
from hw.memory import Table
from linux.mm_types import Folio, ptdesc
from linux.pgtable import ptep_get_lockless
from mm.gup import gup_fast_pmd_leaf
from mm.huge_memory import change_huge_prot, huge_fault_lost, map_anon_folio_pmd_pf, move_huge_pmd, reuse_huge_pmd
from mm.khugepaged import (
    SCAN_LACK_REFERENCED_PAGE,
    SCAN_PAGE_COUNT,
    SCAN_PTE_UFFD_WP,
    SCAN_SUCCEED,
    __collapse_huge_page_isolate,
    collapse_huge_page,
    khugepaged_scan_mm_slot,
)  # fmt: skip
from mm.pgtable_generic import pte_free_defer
from stubs.memory import free_table_now

from ptelab.lang import at, cpu_id, flag, index_of, on_entry, on_return, reach, u5


@on_entry(free_table_now)
def table_gone(table: ptdesc) -> None:
    """A page-table page is free for everybody at once."""
    at(Table, index_of(table)).retired = True
    at(Table, index_of(table)).reused = True


@on_return(ptep_get_lockless)
def always_read_live_tables(ptep: pte_p) -> None:
    """The kernel looks without a lock only into tables that still are tables."""
    if at(Table, index_of(ptep) // PTRS_PER_PTE).reused:
        flag("access_after_free", table=index_of(ptep) // PTRS_PER_PTE, cpu=cpu_id())


@on_return(collapse_huge_page)
def sometimes_collapsed(result: u5) -> None:
    """khugepaged collapses pages into a huge one, or gives up."""
    if result == SCAN_SUCCEED:
        reach("pages_collapsed")
    else:
        reach("collapse_given_up")


@on_return(__collapse_huge_page_isolate)
def sometimes_collapse_sees_reference(result: u5) -> None:
    """khugepaged finds somebody's reference to a page whose table it has unhooked."""
    if result == SCAN_PAGE_COUNT:
        reach("collapse_sees_reference")


@on_return(khugepaged_scan_mm_slot)
def sometimes_collapse_sees_protection(result: u5) -> None:
    """khugepaged finds that userfaultfd protects a page, or that none was used, and leaves the table alone."""
    if result == SCAN_PTE_UFFD_WP:
        reach("collapse_sees_protection")
    elif result == SCAN_LACK_REFERENCED_PAGE:
        reach("collapse_sees_no_use")


@on_entry(map_anon_folio_pmd_pf)
def sometimes_huge_fault() -> None:
    """A fault maps a huge page."""
    reach("huge_page_fault")


@on_return(huge_fault_lost)
def sometimes_huge_fault_lost() -> None:
    """A fault finds that another has mapped a huge page, and gives up what it has brought."""
    reach("huge_page_fault_lost")


@on_return(gup_fast_pmd_leaf)
def sometimes_gup_fast_huge(result: Folio | None) -> None:
    """A huge page is grabbed without a lock, or that is given up."""
    if result is not None:
        reach("gup_fast_huge")
    else:
        reach("gup_fast_huge_gives_up")


@on_entry(reuse_huge_pmd)
def sometimes_huge_reused() -> None:
    """A store to a read-only huge page makes it writable."""
    reach("huge_page_reused")


@on_entry(pte_free_defer)
def sometimes_retracted() -> None:
    """khugepaged takes away a page table."""
    reach("page_table_retracted")


@on_return(change_huge_prot)
def sometimes_huge_protected(result: bool) -> None:
    """mprotect changes what the entry of a huge page allows."""
    if result:
        reach("huge_page_protected")


@on_return(move_huge_pmd)
def sometimes_huge_moved(result: bool) -> None:
    """mremap moves a huge page as a whole."""
    if result:
        reach("huge_page_moved")

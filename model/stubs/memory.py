# SPDX-License-Identifier: GPL-2.0-only
"""The page allocator, the contents of pages, and RCU.

Differs: freed page frames are never allocated again within a run, nor are tables freed after a grace period: for kernel
code the grace period outlasts the run, for the hardware it is over at once, so a walk of a freed table is reported.
"""

from hw.memory import Frame
from linux.huge_mm import FIRST_LARGE, HPAGE_PMD_NR, LARGE_FOLIOS
from linux.mm_types import Folio, ptdesc, vm_area_struct
from linux.page_flags import folio_test_large

from ptelab.lang import at, atomic_set, choose, index_of, pool, spin_trylock, struct, try_cmpxchg, u8, xchg


@struct
class Buddy:
    """What the page allocator knows of a page frame: whether it was given away.  Element i is of frame i."""

    taken: bool


def alloc_folio() -> Folio | None:
    """The first page frame that was never in use, with one reference; None when the layout has no more."""
    for buddy in pool(Buddy):
        if not folio_test_large(at(Folio, index_of(buddy))) and try_cmpxchg(buddy.taken, False, True):
            folio = at(Folio, index_of(buddy))
            atomic_set(folio._refcount, 1)
            return folio
    return None


def alloc_huge_folio() -> Folio | None:
    """The first pages that were never in use, as many as a PTE table maps, as one folio; None without them."""
    if LARGE_FOLIOS == 0 or HPAGE_PMD_NR == 1:
        return alloc_folio()
    for i in range(LARGE_FOLIOS):
        head: u8 = FIRST_LARGE + i * HPAGE_PMD_NR
        if try_cmpxchg(at(Buddy, head).taken, False, True):
            for other in range(1, HPAGE_PMD_NR):
                at(Buddy, head + other).taken = True
            atomic_set(at(Folio, head)._refcount, 1)
            return at(Folio, head)
    return None


def clear_page(folio: Folio) -> None:
    """Fill a page with zeroes."""
    at(Frame, index_of(folio)).data = 0


def copy_page(to: Folio, page: Folio) -> None:
    """Copy the contents of a page: a read, then a write."""
    data = at(Frame, index_of(page)).data
    at(Frame, index_of(to)).data = data


def pages_identical(page1: Folio, page2: Folio) -> bool:
    """Whether two pages have the same contents: two reads, in this order."""
    data = at(Frame, index_of(page1)).data
    return data == at(Frame, index_of(page2)).data


def alloc_vma() -> vm_area_struct | None:
    """A VMA that is not in use.  Context: one fork at a time."""
    for vma in pool(vm_area_struct):
        if vma.vm_end == 0:
            return vma
    return None


def alloc_table() -> ptdesc | None:
    """The first page-table page that is free, which is empty; None when the layout has no more."""
    for table in pool(ptdesc):
        if try_cmpxchg(table.__page_refcount, False, True):
            return table
    return None


def free_table(table: ptdesc) -> None:
    """Give back a page-table page that was never in use."""
    xchg(table.__page_refcount, False)


def free_table_now(table: ptdesc) -> None:
    """Free a page-table page at once, without a grace period; the invariants take note of it."""


def __get_free_page() -> bool:
    """Allocate a page that only its owner looks into, without waiting: it may fail."""
    return choose(2) == 0


def free_frozen_pages(folio: Folio) -> None:
    """Free the page frame of a folio without references; the invariants take note of it.

    Nobody may hold its lock, and nobody gets it afterwards.
    """
    unlocked = spin_trylock(folio.PG_locked)
    assert unlocked


def call_rcu(table: ptdesc) -> None:
    """Free a page-table page after a grace period; the invariants take note of it."""

# SPDX-License-Identifier: GPL-2.0-only
"""The page allocator and RCU.

Differs: freed page frames are never allocated again within a run, nor are tables freed after a grace period: for kernel
code the grace period outlasts the run, for the hardware it is over at once, so a walk of a freed table is reported.
"""

from linux.mm_types import Folio, ptdesc

from ptelab.lang import choose, pool, try_cmpxchg, xchg


def alloc_table() -> ptdesc | None:
    """The first page-table page that is free, which is empty; None when the layout has no more."""
    for table in pool(ptdesc):
        if try_cmpxchg(table.__page_refcount, False, True):
            return table
    return None


def free_table(table: ptdesc) -> None:
    """Give back a page-table page that was never in use."""
    xchg(table.__page_refcount, False)


def __get_free_page() -> bool:
    """Allocate a page that only its owner looks into, without waiting: it may fail."""
    return choose(2) == 0


def free_frozen_pages(folio: Folio) -> None:
    """Free the page frame of a folio without references; the invariants take note of it."""


def call_rcu(table: ptdesc) -> None:
    """Free a page-table page after a grace period; the invariants take note of it."""

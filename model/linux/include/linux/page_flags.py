# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/page-flags.h (v7.0).

Left out: folio_test_locked, because the flag is a lock; what asks it asserts that the lock is held.
"""

from config import CONFIG_SWAP
from linux.huge_mm import FIRST_LARGE, HPAGE_PMD_NR, LARGE_FOLIOS
from linux.mm_types import Folio

from ptelab.lang import (
    at,
    clear_bit,
    index_of,
    set_bit,
    test_and_clear_bit,
    test_and_set_bit,
    test_bit,
    u4,
)  # fmt: skip


def folio_test_dirty(folio: Folio) -> bool:
    """Whether the folio has to be written back."""
    return test_bit(folio.PG_dirty)


def folio_test_set_dirty(folio: Folio) -> bool:
    """Set the dirty flag; what it was."""
    return test_and_set_bit(folio.PG_dirty)


def folio_test_clear_dirty(folio: Folio) -> bool:
    """Clear the dirty flag; what it was."""
    return test_and_clear_bit(folio.PG_dirty)


def folio_test_uptodate(folio: Folio) -> bool:
    """Whether the folio's data have been read in."""
    return test_bit(folio.PG_uptodate)


def folio_test_writeback(folio: Folio) -> bool:
    """Whether the folio is on its way to the disk."""
    return test_bit(folio.PG_writeback)


def folio_test_set_writeback(folio: Folio) -> bool:
    """Set the writeback flag; what it was."""
    return test_and_set_bit(folio.PG_writeback)


def folio_clear_writeback(folio: Folio) -> None:
    """Clear the writeback flag.

    Differs: in Linux folio_xor_flags_has_waiters does this and wakes up who waits; here waiting sees the flag itself.
    """
    clear_bit(folio.PG_writeback)


def folio_test_anon(folio: Folio) -> bool:
    """Whether the folio is anonymous memory."""
    return test_bit(folio.FOLIO_MAPPING_ANON)


def folio_test_ksm(folio: Folio) -> bool:
    """Whether the folio is one that KSM has merged others into."""
    return test_bit(folio.FOLIO_MAPPING_KSM)


def PageAnonExclusive(page: Folio) -> bool:
    """Whether the only entry that maps the page may make it writable without asking anybody."""
    return test_bit(page.PG_anon_exclusive)


def SetPageAnonExclusive(page: Folio) -> None:
    """Say that the page has one owner.

    Context: PTL held.
    """
    set_bit(page.PG_anon_exclusive)


def ClearPageAnonExclusive(page: Folio) -> None:
    """Say that the page may have several owners.

    Context: PTL held.
    """
    clear_bit(page.PG_anon_exclusive)


def __folio_mark_uptodate(folio: Folio) -> None:
    """Say that the page's data are there.

    Context: nobody else knows the page yet.
    """
    set_bit(folio.PG_uptodate)


def folio_set_dirty(folio: Folio) -> None:
    """Say that the folio has to be written."""
    set_bit(folio.PG_dirty)


def folio_clear_dirty(folio: Folio) -> None:
    """Say that the folio need not be written."""
    clear_bit(folio.PG_dirty)


def folio_test_swapbacked(folio: Folio) -> bool:
    """Whether an anonymous folio has to be kept, in memory or in swap.

    Differs: asked of anonymous folios only.
    """
    return not test_bit(folio.PG_lazyfree)


def folio_set_swapbacked(folio: Folio) -> None:
    """Say that an anonymous folio has to be kept."""
    clear_bit(folio.PG_lazyfree)


def folio_clear_swapbacked(folio: Folio) -> None:
    """Say that an anonymous folio need not be kept until it is written again."""
    set_bit(folio.PG_lazyfree)


def folio_test_lru(folio: Folio) -> bool:
    """Whether the folio is on an LRU list, or on its way there."""
    return not test_bit(folio.PG_isolated)


def folio_set_lru(folio: Folio) -> None:
    """Say that the folio is on an LRU list."""
    clear_bit(folio.PG_isolated)


def folio_test_clear_lru(folio: Folio) -> bool:
    """Say that the folio is on no LRU list; whether it was."""
    return not test_and_set_bit(folio.PG_isolated)


def folio_test_swapcache(folio: Folio) -> bool:
    """Whether the folio has a slot in swap, in whose entry of the swap cache it is."""
    return CONFIG_SWAP == 1 and folio_test_swapbacked(folio) and test_bit(folio.PG_swapcache)


def folio_set_swapcache(folio: Folio) -> None:
    """Say that the folio is in the swap cache."""
    set_bit(folio.PG_swapcache)


def folio_clear_swapcache(folio: Folio) -> None:
    """Say that the folio is in the swap cache no more."""
    clear_bit(folio.PG_swapcache)


def folio_mark_uptodate(folio: Folio) -> None:
    """Say that the folio's data have been read in."""
    set_bit(folio.PG_uptodate)


def folio_test_large(folio: Folio) -> bool:
    """Whether a folio has more than one page: as many as a PTE table maps.

    Differs: which frames are parts of such folios is fixed for a run, so there is no flag, and folios are never split.
    """
    if LARGE_FOLIOS == 0 or HPAGE_PMD_NR == 1:
        return False
    return FIRST_LARGE <= index_of(folio) and index_of(folio) < FIRST_LARGE + LARGE_FOLIOS * HPAGE_PMD_NR


def page_folio(page: Folio) -> Folio:
    """The folio that a page belongs to: its first page."""
    if not folio_test_large(page):
        return page
    return at(Folio, index_of(page) - (index_of(page) - FIRST_LARGE) % HPAGE_PMD_NR)


def folio_nr_pages(folio: Folio) -> u4:
    """How many pages a folio has.

    Differs: Linux has it in include/linux/mm.h.
    """
    return HPAGE_PMD_NR if folio_test_large(folio) else 1


def folio_test_partially_mapped(folio: Folio) -> bool:
    """Whether some pages of a folio are known to be mapped no more, so that it is to be split."""
    return test_bit(folio.PG_partially_mapped)


def folio_set_partially_mapped(folio: Folio) -> None:
    """Say that some pages of a folio are mapped no more."""
    set_bit(folio.PG_partially_mapped)


def folio_page(folio: Folio, n: u4) -> Folio:
    """A page of a folio."""
    return at(Folio, index_of(folio) + n)


def folio_test_mlocked(folio: Folio) -> bool:
    """Whether the folio is mapped where memory is locked."""
    return test_bit(folio.PG_mlocked)


def folio_test_set_mlocked(folio: Folio) -> bool:
    """Say that the folio is mapped where memory is locked; whether that was known."""
    return test_and_set_bit(folio.PG_mlocked)


def folio_test_clear_mlocked(folio: Folio) -> bool:
    """Say that the folio is not mapped where memory is locked; whether it was."""
    return test_and_clear_bit(folio.PG_mlocked)


def folio_test_unevictable(folio: Folio) -> bool:
    """Whether reclaim does not look at the folio."""
    return test_bit(folio.PG_unevictable)


def folio_set_unevictable(folio: Folio) -> None:
    """Keep the folio from reclaim."""
    set_bit(folio.PG_unevictable)


def folio_clear_unevictable(folio: Folio) -> None:
    """Give the folio back to reclaim."""
    clear_bit(folio.PG_unevictable)


def folio_test_active(folio: Folio) -> bool:
    """Whether the folio is, or is to be, on the list of those in use."""
    return test_bit(folio.PG_active)


def folio_set_active(folio: Folio) -> None:
    """Say that the folio goes to the list of those in use."""
    set_bit(folio.PG_active)


def folio_clear_active(folio: Folio) -> None:
    """Say that the folio goes to the list that reclaim takes from."""
    clear_bit(folio.PG_active)


def folio_test_referenced(folio: Folio) -> bool:
    """Whether the folio has been used since reclaim came by."""
    return test_bit(folio.PG_referenced)


def folio_set_referenced(folio: Folio) -> None:
    """Say that the folio has been used since reclaim came by."""
    set_bit(folio.PG_referenced)


def folio_clear_referenced(folio: Folio) -> None:
    """Forget that the folio has been used."""
    clear_bit(folio.PG_referenced)


def folio_test_clear_referenced(folio: Folio) -> bool:
    """Forget that the folio has been used; whether it was."""
    return test_and_clear_bit(folio.PG_referenced)

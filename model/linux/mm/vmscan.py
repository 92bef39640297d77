# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/vmscan.c (v7.0).

Left out: the LRU and what decides which pages to take; writing pages of files out, which is left to writeback, and
those of shmem; large folios, buffers, demotion, statistics.
"""

from enum import IntEnum

from linux.fs import address_space
from linux.huge_mm import TRANSPARENT_HUGEPAGE
from linux.mm import folio_get, folio_mapped, folio_maybe_dma_pinned, folio_put, folio_ref_count
from linux.mm_inline import folio_is_file_lru
from linux.mm_types import Folio
from linux.page_flags import (
    folio_set_lru,
    folio_test_anon,
    folio_test_clear_lru,
    folio_test_dirty,
    folio_test_swapbacked,
    folio_test_swapcache,
    folio_test_writeback,
)  # fmt: skip
from linux.page_ref import folio_ref_freeze, folio_ref_unfreeze
from linux.pagemap import folio_trylock
from linux.rmap import TTU_BATCH_FLUSH, TTU_SPLIT_HUGE_PMD
from linux.types import FILE_PAGES
from mm.filemap import __filemap_remove_folio, folio_unlock
from mm.page_io import swap_writeout
from mm.page_writeback import folio_clear_dirty_for_io, folio_mark_dirty
from mm.rmap import folio_referenced, try_to_unmap, try_to_unmap_flush, try_to_unmap_flush_dirty
from mm.swap_state import __swap_cache_del_folio
from mm.swapfile import folio_alloc_swap, swap_cluster_lock, swap_cluster_unlock
from mm.util import folio_mapping
from stubs.memory import free_frozen_pages

from ptelab.lang import Array, array, lockdep_assert_held, onstack


class pageout_t(IntEnum):
    """What came of writing a page out."""

    PAGE_KEEP = 0
    PAGE_ACTIVATE = 1
    PAGE_SUCCESS = 2
    PAGE_CLEAN = 3


@onstack
class folio_list:
    """Folios that were isolated, each with a reference.  Differs: C has a list, here each has a place of its own."""

    folio: Array[Folio | None] = array(FILE_PAGES)
    freed: Array[bool] = array(FILE_PAGES)


def writeout(folio: Folio) -> pageout_t:
    """Write a folio to its slot in swap; it is unlocked."""
    swap_writeout(folio)
    return pageout_t.PAGE_SUCCESS


def pageout(folio: Folio, mapping: address_space | None) -> pageout_t:
    """Write a dirty folio out, unless somebody else has a reference; it is still locked unless it was written.

    Differs: the swap cache is no mapping here, so the folio is asked.
    """
    swapcache = folio_test_swapcache(folio)
    if folio_ref_count(folio) != 2 or mapping is None and not swapcache:
        return pageout_t.PAGE_KEEP
    if not swapcache:
        return pageout_t.PAGE_ACTIVATE
    if not folio_clear_dirty_for_io(folio):
        return pageout_t.PAGE_CLEAN
    return writeout(folio)


def remove_swap_mapping(folio: Folio) -> bool:
    """Take a folio from the swap cache unless somebody else has a reference or it is dirty; in that order.

    Context: folio locked.  Differs: Linux has it in mm/vmscan.c as a part of __remove_mapping.
    """
    ci = swap_cluster_lock()
    if not folio_ref_freeze(folio, 2):
        swap_cluster_unlock(ci)
        return False
    if folio_test_dirty(folio):
        folio_ref_unfreeze(folio, 2)
        swap_cluster_unlock(ci)
        return False
    __swap_cache_del_folio(ci, folio, folio.swap)
    swap_cluster_unlock(ci)
    return True


def __remove_mapping(mapping: address_space | None, folio: Folio) -> bool:
    """Take a folio from its cache unless somebody else has a reference or it is dirty; in that order.

    Context: folio locked.  Left out: the lock of i_pages, which keeps off what the folio's lock keeps off here.
    """
    lockdep_assert_held(folio.PG_locked)
    if folio_test_swapcache(folio):
        return remove_swap_mapping(folio)
    if not folio_ref_freeze(folio, 2):
        return False
    if folio_test_dirty(folio):
        folio_ref_unfreeze(folio, 2)
        return False
    __filemap_remove_folio(folio)
    return True


def add_to_swap(folio: Folio) -> bool:
    """Give an anonymous folio a slot in swap if it needs one; false if it cannot be had, or be taken at all.

    The folio is dirty from then on, even if its entry was made clean: MADV_FREE does that before it says that the folio
    need not be kept.
    Context: folio locked.  Differs: Linux has it in mm/vmscan.c as a part of shrink_folio_list.
    """
    if not folio_test_anon(folio) or not folio_test_swapbacked(folio) or folio_test_swapcache(folio):
        return True
    if folio_maybe_dma_pinned(folio):
        return False
    if folio_alloc_swap(folio) != 0:
        return False
    folio_mark_dirty(folio)
    return True


def free_unmapped(folio: Folio) -> bool:
    """Write an unmapped folio out if it is dirty and can be, and take it from its cache; whether it may be freed.

    Context: folio locked; it is unlocked.  Differs: Linux has it in mm/vmscan.c as a part of shrink_folio_list.
    """
    freed = False
    mapping = folio_mapping(folio)
    if folio_test_dirty(folio):
        if folio_is_file_lru(folio):
            folio_unlock(folio)
            return False
        try_to_unmap_flush_dirty()
        done = pageout(folio, mapping)
        if done == pageout_t.PAGE_KEEP or done == pageout_t.PAGE_ACTIVATE:
            folio_unlock(folio)
            return False
        if done == pageout_t.PAGE_SUCCESS:
            if folio_test_writeback(folio) or folio_test_dirty(folio) or not folio_trylock(folio):
                return False
            if folio_test_dirty(folio) or folio_test_writeback(folio):
                folio_unlock(folio)
                return False
            mapping = folio_mapping(folio)
    if folio_test_anon(folio) and not folio_test_swapbacked(folio):
        freed = folio_ref_freeze(folio, 1)
    elif mapping is not None or folio_test_swapcache(folio):
        freed = __remove_mapping(mapping, folio)
    folio_unlock(folio)
    return freed


def shrink_folio(folio: Folio, ignore_references: bool) -> bool:
    """Free a folio if that is possible, but for a flush that is still to be done; whether it may then be freed.

    Differs: Linux has it in mm/vmscan.c as the body of shrink_folio_list's loop.
    Left out: what becomes of folios that stay; PG_referenced, so that a folio that was used stays, and one that was not
    goes.
    """
    if not folio_trylock(folio):
        return False
    if folio_test_writeback(folio) or not ignore_references and folio_referenced(folio, True) != 0:
        folio_unlock(folio)
        return False
    if not add_to_swap(folio):
        folio_unlock(folio)
        return False
    if folio_mapped(folio):
        try_to_unmap(folio, TTU_BATCH_FLUSH | TTU_SPLIT_HUGE_PMD if TRANSPARENT_HUGEPAGE == 1 else TTU_BATCH_FLUSH)
    if folio_mapped(folio) or folio_maybe_dma_pinned(folio):
        folio_unlock(folio)
        return False
    return free_unmapped(folio)


def folio_isolate_lru(folio: Folio) -> bool:
    """Take a folio from the LRU, with a reference; false if somebody else has.

    Context: the caller has a reference, or a lock that keeps one.
    """
    if not folio_test_clear_lru(folio):
        return False
    folio_get(folio)
    return True


def reclaim_pages(folios: folio_list) -> None:
    """Free what can be freed of some isolated folios."""
    shrink_folio_list(folios, True)


def folio_putback_lru(folio: Folio) -> None:
    """Give an isolated folio back."""
    folio_set_lru(folio)
    folio_put(folio)


def shrink_folio_list(folios: folio_list, ignore_references: bool) -> None:
    """Free what can be freed of some folios, with one flush for all; the references to the others are dropped.

    Left out: a flush when many folios are to be freed.
    """
    for i in range(FILE_PAGES):
        folio = folios.folio[i]
        if folio is not None:
            folios.freed[i] = shrink_folio(folio, ignore_references)
    try_to_unmap_flush()
    for i in range(FILE_PAGES):
        folio = folios.folio[i]
        if folio is not None:
            if folios.freed[i]:
                free_frozen_pages(folio)
            else:
                folio_putback_lru(folio)
            folios.folio[i] = None

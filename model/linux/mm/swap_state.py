# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap_state.c (v7.0).

Left out: shadows, statistics, read-ahead: only the page that is needed is read.
"""

from asm.tlb import mmu_gather
from linux.errno import EEXIST, ENOENT
from linux.mm import folio_get, folio_mapped, folio_put, folio_ref_dec, folio_try_get
from linux.mm_types import Folio, encoded_page, encoded_page_ptr, swp_entry_t
from linux.page_flags import folio_clear_swapcache, folio_set_swapcache, folio_test_swapcache
from linux.pagemap import folio_lock, folio_trylock
from linux.types import Errno
from mm.filemap import folio_unlock
from mm.page_io import swap_read_folio
from mm.swap import folios_put_refs
from mm.swapfile import folio_free_swap, swap_cluster_info, swap_cluster_lock, swap_cluster_unlock, swap_entry_swapped
from stubs.memory import alloc_folio

from ptelab.lang import READ_ONCE, at, lockdep_assert_held, u4


def swap_cache_get_folio(entry: swp_entry_t) -> Folio | None:
    """The folio that has a slot, with a reference; it may have another, or none, when that is used without its lock."""
    while True:
        folio = READ_ONCE(at(swap_cluster_info, 0).table[entry - 1])
        if folio is None:
            return None
        if folio_try_get(folio):
            return folio


def __swap_cache_add_folio(ci: swap_cluster_info, folio: Folio, entry: swp_entry_t) -> None:
    """Put a folio into the swap cache, which has a reference to it.

    Context: cluster locked, folio locked.
    """
    lockdep_assert_held(ci.lock)
    lockdep_assert_held(folio.PG_locked)
    ci.table[entry - 1] = folio
    folio_get(folio)
    folio_set_swapcache(folio)
    folio.swap = entry


def swap_cache_add_folio(folio: Folio, entry: swp_entry_t) -> Errno:
    """Put a folio into the swap cache, unless another has the slot or no entry names it."""
    err: Errno = 0
    ci = swap_cluster_lock()
    if ci.table[entry - 1] is not None:
        err = EEXIST
    elif ci.swap_map[entry - 1] == 0:
        err = ENOENT
    else:
        __swap_cache_add_folio(ci, folio, entry)
    swap_cluster_unlock(ci)
    return err


def __swap_cache_del_folio(ci: swap_cluster_info, folio: Folio, entry: swp_entry_t) -> None:
    """Take a folio from the swap cache, but keep the cache's reference; a slot that no entry names is free then.

    Context: cluster locked, folio locked.
    """
    lockdep_assert_held(ci.lock)
    lockdep_assert_held(folio.PG_locked)
    ci.table[entry - 1] = None
    folio.swap = 0
    folio_clear_swapcache(folio)


def swap_cache_del_folio(folio: Folio) -> None:
    """Take a folio from the swap cache.

    Context: folio locked.  It is clean, or no entry names its slot, or data would be lost.
    """
    entry = folio.swap
    ci = swap_cluster_lock()
    __swap_cache_del_folio(ci, folio, entry)
    swap_cluster_unlock(ci)
    folio_ref_dec(folio)


def free_swap_cache(folio: Folio) -> None:
    """Take a folio from the swap cache if nothing maps it and nobody has it locked."""
    if folio_test_swapcache(folio) and not folio_mapped(folio) and folio_trylock(folio):
        folio_free_swap(folio)
        folio_unlock(folio)


def free_pages_and_swap_cache(tlb: mmu_gather, pages: u4, nr: u4) -> None:
    """Drop the references to pages that were gathered, which leave the swap cache if they are not needed there.

    Differs: the pages are given as a range of the gather's entries, which are emptied.
    """
    for i in range(nr):
        folio = encoded_page_ptr(tlb.encoded_pages[pages + i])
        tlb.encoded_pages[pages + i] = encoded_page()
        free_swap_cache(folio)
        folios_put_refs(folio)


def __swap_cache_prepare_and_add(entry: swp_entry_t, folio: Folio) -> Folio | None:
    """Put a new folio into the swap cache, locked; or the one that is there already, not locked; None if none can be.

    Context: nobody else knows the folio.
    """
    folio_lock(folio)
    swapcache: Folio | None = None
    while True:
        ret = swap_cache_add_folio(folio, entry)
        if ret == 0:
            return folio
        if ret != EEXIST:
            break
        swapcache = swap_cache_get_folio(entry)
        if swapcache is not None:
            break
    folio_unlock(folio)
    return swapcache


def swap_cache_alloc_folio(entry: swp_entry_t) -> tuple[Folio | None, bool]:
    """The folio of a slot, with a reference; a new one, locked and without data, if there was none, as is said too."""
    folio = swap_cache_get_folio(entry)
    if folio is not None:
        return folio, False
    if not swap_entry_swapped(entry):
        return None, False
    new_folio = alloc_folio()
    if new_folio is None:
        return None, False
    result = __swap_cache_prepare_and_add(entry, new_folio)
    if result != new_folio:
        folio_put(new_folio)
        return result, False
    return result, True


def swapin_folio(entry: swp_entry_t, folio: Folio) -> Folio | None:
    """Read a slot into a new folio, or give the folio that has it."""
    swapcache = __swap_cache_prepare_and_add(entry, folio)
    if swapcache == folio:
        swap_read_folio(folio)
    return swapcache


def read_swap_cache_async(entry: swp_entry_t) -> Folio | None:
    """The folio of a slot, read unless it was there."""
    folio, page_allocated = swap_cache_alloc_folio(entry)
    if page_allocated and folio is not None:
        swap_read_folio(folio)
    return folio


def swapin_readahead(entry: swp_entry_t) -> Folio | None:
    """The folio of a slot.

    Left out: the window of slots around it.
    """
    return read_swap_cache_async(entry)

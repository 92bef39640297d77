# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swapfile.c (v7.0).

How often a slot is named by entries of page tables, its swap count, and which folio has it, its entry of the swap
cache.  A slot is free when there is neither.

Differs: there is one device with one cluster.  Left out: swapon and swapoff, so no device is got or put; taking slots
from the cache when all are in use, cgroups, hibernation, counts that overflow.
"""

from config import CONFIG_SWAP
from linux.errno import EINVAL, ENOMEM
from linux.mm import folio_mapped, folio_put
from linux.mm_types import Folio, swp_entry_t
from linux.page_flags import folio_set_dirty, folio_test_swapcache, folio_test_writeback
from linux.pagemap import folio_trylock
from linux.types import SWAP_SLOTS, Errno, atomic_t
from mm.filemap import folio_unlock
from mm.swap_state import __swap_cache_add_folio, swap_cache_del_folio, swap_cache_get_folio

from ptelab.lang import Array, array, at, lockdep_assert_held, spin_lock, spin_unlock, spinlock_t, struct


@struct
class swap_cluster_info:
    """The slots of swap, and who uses them; slot i is at i - 1.

    Differs: Linux has it in mm/swap.h; swap_map, the counts, is a member of swap_info_struct there.  Left out: shadows.
    """

    lock: spinlock_t
    swap_map: Array[atomic_t] = array(SWAP_SLOTS)
    table: Array[Folio | None] = array(SWAP_SLOTS)


def swap_cluster_lock() -> swap_cluster_info:
    """Lock the cluster of a slot.

    Differs: Linux has it in mm/swap.h; there is one cluster.
    """
    ci = at(swap_cluster_info, 0)
    spin_lock(ci.lock)
    return ci


def swap_cluster_unlock(ci: swap_cluster_info) -> None:
    """Undo swap_cluster_lock.

    Differs: Linux has it in mm/swap.h.
    """
    spin_unlock(ci.lock)


def folio_matches_swap_entry(folio: Folio, entry: swp_entry_t) -> bool:
    """Whether a folio has this slot.

    Context: folio locked, which keeps it in the swap cache or out of it.
    Differs: Linux has it in mm/swap.h.
    """
    lockdep_assert_held(folio.PG_locked)
    if not folio_test_swapcache(folio):
        return False
    return folio.swap == entry


def cluster_alloc_range(ci: swap_cluster_info, folio: Folio) -> bool:
    """Give a folio the first slot that is free; whether there was one.

    Context: cluster locked.
    """
    lockdep_assert_held(ci.lock)
    for offset in range(SWAP_SLOTS):
        if ci.swap_map[offset] == 0 and ci.table[offset] is None:
            __swap_cache_add_folio(ci, folio, offset + 1)
            return True
    return False


def folio_alloc_swap(folio: Folio) -> Errno:
    """Give a folio a slot, which no entry names yet, and put it into the swap cache.

    Context: folio locked.  Differs: without CONFIG_SWAP Linux has another in mm/swap.h.
    """
    lockdep_assert_held(folio.PG_locked)
    if CONFIG_SWAP == 0:
        return EINVAL
    ci = swap_cluster_lock()
    got = cluster_alloc_range(ci, folio)
    swap_cluster_unlock(ci)
    return 0 if got else ENOMEM


def __swap_duplicate(entry: swp_entry_t) -> None:
    """Count one more entry that names a slot."""
    ci = swap_cluster_lock()
    ci.swap_map[entry - 1] += 1
    swap_cluster_unlock(ci)


def folio_dup_swap(folio: Folio) -> None:
    """Count an entry that will name a folio's slot.

    Context: folio locked and in the swap cache.
    """
    lockdep_assert_held(folio.PG_locked)
    assert folio_test_swapcache(folio)
    __swap_duplicate(folio.swap)


def swap_dup_entry_direct(entry: swp_entry_t) -> None:
    """Count one more entry that names a slot.

    Context: the PTL of an entry that does is held.
    """
    __swap_duplicate(entry)


def swap_put_entry_locked(ci: swap_cluster_info, entry: swp_entry_t) -> atomic_t:
    """Uncount an entry that named a slot; how many are left.  Without any, and not in the cache, the slot is free.

    Context: cluster locked.  Differs: returns the count.
    """
    count: atomic_t = ci.swap_map[entry - 1] - 1
    ci.swap_map[entry - 1] = count
    return count


def swap_put_entries_cluster(entry: swp_entry_t, reclaim_cache: bool) -> None:
    """Uncount an entry that named a slot, and take the folio from the swap cache if the cache alone is left."""
    ci = swap_cluster_lock()
    count = swap_put_entry_locked(ci, entry)
    need_reclaim = count == 0 and ci.table[entry - 1] is not None
    swap_cluster_unlock(ci)
    if need_reclaim and reclaim_cache:
        __try_to_reclaim_swap(entry)


def folio_put_swap(folio: Folio) -> None:
    """Uncount an entry that named a folio's slot and maps the folio now.

    Context: folio locked and in the swap cache.
    """
    lockdep_assert_held(folio.PG_locked)
    assert folio_test_swapcache(folio)
    swap_put_entries_cluster(folio.swap, False)


def swap_put_entries_direct(entry: swp_entry_t) -> None:
    """Uncount an entry that named a slot.

    Context: the entry's PTL is held, and it is about to be emptied.
    """
    swap_put_entries_cluster(entry, True)


def __try_to_reclaim_swap(entry: swp_entry_t) -> None:
    """Take the folio of a slot from the swap cache if no entry names the slot or maps the folio, and nobody has it.

    Context: the folio must not be waited for.  Differs: the flags are TTRS_UNMAPPED | TTRS_FULL, with swap not full.
    """
    while True:
        folio = swap_cache_get_folio(entry)
        if folio is None:
            return
        if not folio_trylock(folio):
            break
        if folio_matches_swap_entry(folio, entry):
            if not folio_mapped(folio) and folio_swapcache_freeable(folio) and not swap_entry_swapped(entry):
                swap_cache_del_folio(folio)
                folio_set_dirty(folio)
            folio_unlock(folio)
            break
        folio_unlock(folio)
        folio_put(folio)
    folio_put(folio)


def swap_entry_swapped(entry: swp_entry_t) -> bool:
    """Whether entries name a slot."""
    ci = swap_cluster_lock()
    count = ci.swap_map[entry - 1]
    swap_cluster_unlock(ci)
    return count != 0


def folio_swapped(folio: Folio) -> bool:
    """Whether entries name a folio's slot.

    Context: folio locked and in the swap cache.
    """
    return swap_entry_swapped(folio.swap)


def folio_swapcache_freeable(folio: Folio) -> bool:
    """Whether a folio may leave the swap cache: not while its slot is written.

    Context: folio locked.
    """
    lockdep_assert_held(folio.PG_locked)
    if not folio_test_swapcache(folio):
        return False
    return not folio_test_writeback(folio)


def folio_free_swap(folio: Folio) -> bool:
    """Take a folio from the swap cache if no entry names its slot; whether that was done.  It is dirty then.

    Context: folio locked.
    """
    if not folio_swapcache_freeable(folio):
        return False
    if folio_swapped(folio):
        return False
    swap_cache_del_folio(folio)
    folio_set_dirty(folio)
    return True

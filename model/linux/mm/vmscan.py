# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/vmscan.c (v7.0).

Which pages to take is said by the lists of folios by age if LRU_LISTS is 1, else by the caller.
Left out: anonymous folios on those lists; writing pages of files out, which is left to writeback, and those of shmem;
large folios, buffers, demotion, throttling, slabs, statistics.
"""

from enum import IntEnum

from linux.fs import address_space
from linux.huge_mm import TRANSPARENT_HUGEPAGE
from linux.memcontrol import mem_cgroup, mem_cgroup_uncharge
from linux.mm import (
    VM_EXEC,
    folio_get,
    folio_mapped,
    folio_maybe_dma_pinned,
    folio_put,
    folio_put_testzero,
    folio_ref_count,
    folio_try_get,
)  # fmt: skip
from linux.mm_inline import __folio_clear_lru_flags, folio_is_file_lru, lruvec_add_folio, lruvec_del_folio
from linux.mm_types import Folio
from linux.mmzone import LRU_LISTS, is_active_lru, lru_list, lruvec, zone
from linux.page_flags import (
    folio_clear_active,
    folio_set_active,
    folio_set_lru,
    folio_set_referenced,
    folio_test_anon,
    folio_test_clear_lru,
    folio_test_clear_referenced,
    folio_test_dirty,
    folio_test_lru,
    folio_test_swapbacked,
    folio_test_swapcache,
    folio_test_writeback,
)  # fmt: skip
from linux.page_ref import folio_ref_freeze, folio_ref_unfreeze
from linux.pagemap import folio_trylock
from linux.rmap import TTU_BATCH_FLUSH, TTU_SPLIT_HUGE_PMD
from mm.filemap import __filemap_remove_folio, folio_unlock
from mm.internal import folio_evictable
from mm.page_io import swap_writeout
from mm.page_writeback import folio_clear_dirty_for_io, folio_mark_dirty
from mm.rmap import CONTENDED, folio_referenced, try_to_unmap, try_to_unmap_flush, try_to_unmap_flush_dirty
from mm.swap import folio_add_lru
from mm.swap_state import __swap_cache_del_folio
from mm.swapfile import folio_alloc_swap, swap_cluster_lock, swap_cluster_unlock
from mm.util import folio_mapping
from stubs.memory import free_frozen_pages

from ptelab.lang import Array, array, at, lockdep_assert_held, new, onstack, param, spin_lock, spin_unlock, u4, u16


class pageout_t(IntEnum):
    """What came of writing a page out."""

    PAGE_KEEP = 0
    PAGE_ACTIVATE = 1
    PAGE_SUCCESS = 2
    PAGE_CLEAN = 3


class folio_references(IntEnum):
    """What to do with a folio, from how it was used."""

    FOLIOREF_RECLAIM = 0
    FOLIOREF_KEEP = 1
    FOLIOREF_ACTIVATE = 2


# How many folios can be isolated together.
ISOLATED_MAX = param("ISOLATED_MAX", 2)


@onstack
class folio_list:
    """Folios that were isolated, each with a reference.  Differs: C has a list, here each has a place of its own.

    `freed`: which of them are to be freed.
    """

    folio: Array[Folio | None] = array(ISOLATED_MAX)
    freed: Array[bool] = array(ISOLATED_MAX)


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


def activate_locked(folio: Folio) -> None:
    """Let a folio that stays go to the list of those in use, and unlock it.

    Differs: Linux has it in mm/vmscan.c as a label in shrink_folio_list.
    """
    if LRU_LISTS == 1:
        folio_set_active(folio)
    folio_unlock(folio)


def free_unmapped(folio: Folio) -> bool:
    """Write an unmapped folio out if it is dirty and can be, and take it from its cache; whether it may be freed.

    Context: folio locked; it is unlocked.  Differs: Linux has it in mm/vmscan.c as a part of shrink_folio_list.
    """
    freed = False
    mapping = folio_mapping(folio)
    if folio_test_dirty(folio):
        if folio_is_file_lru(folio):
            activate_locked(folio)
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


def folio_check_references(folio: Folio) -> folio_references:
    """Make all entries of a folio old, and say what their use means for it.

    A folio that was used once since it is mapped has another round, one that was used again is in use, and so is one of
    a program at once.
    Left out: locked memory; FOLIOREF_RECLAIM_CLEAN, as a dirty page of a file is left alone anyway.
    """
    referenced_ptes, vm_flags = folio_referenced(folio, True)
    if referenced_ptes == CONTENDED:
        return folio_references.FOLIOREF_KEEP
    referenced_folio = folio_test_clear_referenced(folio)
    if referenced_ptes != 0:
        folio_set_referenced(folio)
        if referenced_folio or referenced_ptes > 1:
            return folio_references.FOLIOREF_ACTIVATE
        if vm_flags & VM_EXEC != 0 and folio_is_file_lru(folio):
            return folio_references.FOLIOREF_ACTIVATE
        return folio_references.FOLIOREF_KEEP
    return folio_references.FOLIOREF_RECLAIM


def shrink_folio(folio: Folio, ignore_references: bool) -> bool:
    """Free a folio if that is possible, but for a flush that is still to be done; whether it may then be freed.

    Differs: Linux has it in mm/vmscan.c as the body of shrink_folio_list's loop.
    Left out: PG_reclaim, so that no folio is waited for that is written back; without LRU_LISTS, what becomes of folios
    that stay.
    """
    if not folio_trylock(folio):
        return False
    if not folio_evictable(folio):
        folio_unlock(folio)
        return False
    if folio_test_writeback(folio):
        activate_locked(folio)
        return False
    if not ignore_references:
        references = folio_check_references(folio)
        if references == folio_references.FOLIOREF_ACTIVATE:
            activate_locked(folio)
            return False
        if references == folio_references.FOLIOREF_KEEP:
            folio_unlock(folio)
            return False
    if not add_to_swap(folio):
        folio_unlock(folio)
        return False
    if folio_mapped(folio):
        try_to_unmap(folio, TTU_BATCH_FLUSH | TTU_SPLIT_HUGE_PMD if TRANSPARENT_HUGEPAGE == 1 else TTU_BATCH_FLUSH)
    if folio_mapped(folio) or folio_maybe_dma_pinned(folio):
        activate_locked(folio)
        return False
    return free_unmapped(folio)


def folio_isolate_lru(folio: Folio) -> bool:
    """Take a folio from the LRU, with a reference; false if somebody else has.

    Context: the caller has a reference, or a lock that keeps one.
    """
    if not folio_test_clear_lru(folio):
        return False
    folio_get(folio)
    if LRU_LISTS == 1:
        lru_lock = at(zone, 0)
        spin_lock(lru_lock.lru_lock)
        lruvec_del_folio(at(lruvec, 0), folio)
        spin_unlock(lru_lock.lru_lock)
    return True


def reclaim_pages(folios: folio_list) -> None:
    """Free what can be freed of some isolated folios, and give the others back.

    Differs: reclaim_folio_list is in here.
    """
    if LRU_LISTS == 1:
        for i in range(ISOLATED_MAX):
            folio = folios.folio[i]
            if folio is not None:
                folio_clear_active(folio)
    shrink_folio_list(folios, True)
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None:
            folio_putback_lru(folio)
            folios.folio[i] = None


def folio_putback_lru(folio: Folio) -> None:
    """Give an isolated folio back, to the head of its list."""
    folio_add_lru(folio)
    folio_put(folio)


def free_unref_folios(folios: folio_list) -> None:
    """Free the folios that are to be freed.

    Differs: Linux has it in mm/page_alloc.c.
    """
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None and folios.freed[i]:
            free_frozen_pages(folio)
            folios.folio[i] = None


def mem_cgroup_uncharge_folios(folios: folio_list) -> None:
    """Give back what the folios that are to be freed are charged to.

    Differs: Linux has it in include/linux/memcontrol.h, and lets the counter go down once for all.
    """
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None and folios.freed[i]:
            mem_cgroup_uncharge(folio)


def shrink_folio_list(folios: folio_list, ignore_references: bool) -> u16:
    """Free what can be freed of some folios, with one flush for all; how many.  The others are left in the list.

    Left out: a flush when many folios are to be freed.
    """
    nr_reclaimed: u16 = 0
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None:
            if shrink_folio(folio, ignore_references):
                folios.freed[i] = True
                nr_reclaimed += 1
    if LRU_LISTS == 1:
        mem_cgroup_uncharge_folios(folios)
    try_to_unmap_flush()
    free_unref_folios(folios)
    return nr_reclaimed


# ---------------------------------------------------------------------- which pages to take: only with LRU_LISTS

# How many folios are taken from a list together, and are to be freed at least.
SWAP_CLUSTER_MAX = param("SWAP_CLUSTER_MAX", 32)

# The first pass looks at a list's length shifted right by so much, the last at all of it.
DEF_PRIORITY = param("DEF_PRIORITY", 12)


@onstack
class scan_control:
    """What one call of reclaim is to do, and has done.  `may_deactivate`: of files."""

    nr_to_reclaim: u16
    nr_reclaimed: u16
    priority: u4
    may_deactivate: bool
    force_deactivate: bool
    skipped_deactivate: bool
    memcg_full_walk: bool


def lruvec_lru_size(vec: lruvec, lru: lru_list) -> u16:
    """How many folios are on a list."""
    return vec.size[lru]


def isolate_lru_folios(nr_to_scan: u16, vec: lruvec, dst: folio_list, lru: lru_list) -> u16:
    """Take folios from the tail of a list, each with a reference; how many.  One that is being freed goes to the head.

    Context: lru_lock held.
    """
    nr_taken: u16 = 0
    scan: u16 = 0
    while scan < nr_to_scan:
        folio = vec.last[lru]
        if folio is None:
            break
        scan += 1
        lruvec_del_folio(vec, folio)
        if not folio_test_lru(folio) or not folio_try_get(folio):
            lruvec_add_folio(vec, folio)
            continue
        if not folio_test_clear_lru(folio):
            folio_put(folio)
            lruvec_add_folio(vec, folio)
            continue
        dst.folio[nr_taken] = folio
        nr_taken += 1
    return nr_taken


def move_folios_to_lru(vec: lruvec, folios: folio_list) -> None:
    """Give isolated folios back, to the head of their lists; those that nobody else has any more are freed.

    That a folio is on the LRU is said before the reference is dropped, so that who drops the last one takes it off.
    Context: lru_lock held; it is dropped when folios are freed.  Left out: memory that was locked meanwhile.
    """
    freed = False
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None:
            folio_set_lru(folio)
            if folio_put_testzero(folio):
                __folio_clear_lru_flags(folio)
                folios.freed[i] = True
                freed = True
            else:
                lruvec_add_folio(vec, folio)
    if freed:
        node = at(zone, 0)
        spin_unlock(node.lru_lock)
        mem_cgroup_uncharge_folios(folios)
        free_unref_folios(folios)
        spin_lock(node.lru_lock)


def shrink_inactive_list(nr_to_scan: u16, vec: lruvec, lru: lru_list) -> u16:
    """Free folios from the tail of the inactive list, or give them another round; how many were freed.

    Left out: waiting while many are isolated; waking those who write back.
    """
    folios = new(folio_list)
    node = at(zone, 0)
    spin_lock(node.lru_lock)
    nr_taken = isolate_lru_folios(nr_to_scan, vec, folios, lru)
    spin_unlock(node.lru_lock)
    if nr_taken == 0:
        return 0
    nr_reclaimed = shrink_folio_list(folios, False)
    spin_lock(node.lru_lock)
    move_folios_to_lru(vec, folios)
    spin_unlock(node.lru_lock)
    return nr_reclaimed


def shrink_active_list(nr_to_scan: u16, vec: lruvec, lru: lru_list) -> None:
    """Move folios from the tail of the active list to the inactive list; their entries are old then.

    Programs' pages that were used go to the head of the active list.
    Differs: all are given back together.  Left out: PG_workingset.
    """
    folios = new(folio_list)
    node = at(zone, 0)
    spin_lock(node.lru_lock)
    isolate_lru_folios(nr_to_scan, vec, folios, lru)
    spin_unlock(node.lru_lock)
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None:
            referenced, vm_flags = folio_referenced(folio, False)
            if referenced == 0 or vm_flags & VM_EXEC == 0 or not folio_is_file_lru(folio):
                folio_clear_active(folio)
    spin_lock(node.lru_lock)
    move_folios_to_lru(vec, folios)
    spin_unlock(node.lru_lock)


def shrink_list(lru: lru_list, nr_to_scan: u16, vec: lruvec, sc: scan_control) -> u16:
    """Look through a part of a list; how many folios were freed."""
    if is_active_lru(lru):
        if sc.may_deactivate:
            shrink_active_list(nr_to_scan, vec, lru)
        else:
            sc.skipped_deactivate = True
        return 0
    return shrink_inactive_list(nr_to_scan, vec, lru)


def inactive_is_low(vec: lruvec) -> bool:
    """Whether there are too few inactive folios for each to have a chance to be used again.

    Left out: memory cgroups of 1 GB and more, where fewer are enough.
    """
    inactive = lruvec_lru_size(vec, lru_list.LRU_INACTIVE_FILE)
    return inactive < lruvec_lru_size(vec, lru_list.LRU_ACTIVE_FILE)


def prepare_scan_control(sc: scan_control, vec: lruvec) -> None:
    """Decide whether active folios may become inactive.

    Left out: faults on pages that were reclaimed, as there are none.
    """
    sc.may_deactivate = sc.force_deactivate or inactive_is_low(vec)


def shrink_lruvec(vec: lruvec, sc: scan_control) -> None:
    """Look through a part of each list, the larger the lower the priority's number, in turns till enough is free.

    Differs: get_scan_count is in here, for files only.
    """
    inactive: u16 = lruvec_lru_size(vec, lru_list.LRU_INACTIVE_FILE) >> sc.priority
    active: u16 = lruvec_lru_size(vec, lru_list.LRU_ACTIVE_FILE) >> sc.priority
    nr_reclaimed: u16 = 0
    while active != 0 or inactive != 0:
        if inactive != 0:
            nr: u16 = inactive if inactive < SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
            inactive -= nr
            nr_reclaimed += shrink_list(lru_list.LRU_INACTIVE_FILE, nr, vec, sc)
        if active != 0:
            nr = active if active < SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
            active -= nr
            shrink_list(lru_list.LRU_ACTIVE_FILE, nr, vec, sc)
        if nr_reclaimed >= sc.nr_to_reclaim:
            break
    sc.nr_reclaimed += nr_reclaimed


def shrink_node(sc: scan_control) -> None:
    """Reclaim from the one memory cgroup that there is."""
    vec = at(lruvec, 0)
    prepare_scan_control(sc, vec)
    shrink_lruvec(vec, sc)


def do_try_to_free_pages(sc: scan_control) -> u16:
    """Reclaim, from more and more of the lists, till enough is free; how much.

    When nothing was, all is tried again: first because others may have walked a part of the tree of memory cgroups in
    its stead, even if there is only one, then with active folios being made inactive.
    """
    passed: u4 = 0
    while True:
        for passed in range(DEF_PRIORITY + 1):
            sc.priority = DEF_PRIORITY - passed
            shrink_node(sc)
            if sc.nr_reclaimed >= sc.nr_to_reclaim:
                break
        if sc.nr_reclaimed != 0:
            return sc.nr_reclaimed
        if not sc.memcg_full_walk:
            sc.memcg_full_walk = True
        elif sc.skipped_deactivate:
            sc.force_deactivate = True
            sc.skipped_deactivate = False
        else:
            return 0


def try_to_free_mem_cgroup_pages(memcg: mem_cgroup, nr_pages: u16) -> u16:
    """Reclaim from a memory cgroup, a batch at least; how many pages.

    Differs: all folios on lists are charged to the one memory cgroup.
    """
    sc = new(scan_control)
    sc.nr_to_reclaim = nr_pages if nr_pages > SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
    return do_try_to_free_pages(sc)

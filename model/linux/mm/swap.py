# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap.c (v7.0).

Left out: but for folios of files, the LRU lists.
Differs: what Linux collects for each CPU, to do it for several folios together, is done at once.
"""

from linux.memcontrol import mem_cgroup_uncharge
from linux.mm import VM_LOCKED, VM_PFNMAP, folio_get, folio_put, folio_put_testzero
from linux.mm_inline import __folio_clear_lru_flags, lruvec_add_folio, lruvec_del_folio
from linux.mm_types import Folio, vm_area_struct
from linux.mmzone import LRU_LISTS, lruvec, zone
from linux.page_flags import (
    folio_clear_referenced,
    folio_clear_swapbacked,
    folio_set_active,
    folio_set_lru,
    folio_set_referenced,
    folio_test_active,
    folio_test_anon,
    folio_test_clear_lru,
    folio_test_lru,
    folio_test_referenced,
    folio_test_swapbacked,
    folio_test_swapcache,
    page_folio,
)  # fmt: skip
from mm.mlock import mlock_new_folio
from stubs.memory import free_frozen_pages

from ptelab.lang import at, spin_lock, spin_unlock


def __page_cache_release(folio: Folio) -> None:
    """Take a folio that is about to be freed off its list, if it is on one."""
    if folio_test_lru(folio):
        node = at(zone, 0)
        spin_lock(node.lru_lock)
        lruvec_del_folio(at(lruvec, 0), folio)
        __folio_clear_lru_flags(folio)
        spin_unlock(node.lru_lock)


def __folio_put(folio: Folio) -> None:
    """Free a folio without references."""
    if LRU_LISTS == 1:
        __page_cache_release(folio)
        mem_cgroup_uncharge(folio)
    free_frozen_pages(folio)


def lru_activate(vec: lruvec, folio: Folio) -> None:
    """Move a folio to the list of those in use.

    Context: lru_lock held, and the folio was taken from the LRU.
    """
    if folio_test_active(folio):
        return
    lruvec_del_folio(vec, folio)
    folio_set_active(folio)
    lruvec_add_folio(vec, folio)


def folio_activate(folio: Folio) -> None:
    """Let a folio be on the list of those in use, unless somebody has taken it from the LRU."""
    if folio_test_active(folio) or not folio_test_lru(folio):
        return
    folio_get(folio)
    if folio_test_clear_lru(folio):
        node = at(zone, 0)
        spin_lock(node.lru_lock)
        lru_activate(at(lruvec, 0), folio)
        folio_set_lru(folio)
        spin_unlock(node.lru_lock)
    folio_put(folio)


def folio_mark_accessed(folio: Folio) -> None:
    """Say that a folio was used; once more, and it is in use.

    Left out: folios that are not yet on a list, as they go there at once.
    """
    if not folio_test_referenced(folio):
        folio_set_referenced(folio)
    elif not folio_test_active(folio):
        if folio_test_lru(folio):
            folio_activate(folio)
        folio_clear_referenced(folio)


def folio_add_lru(folio: Folio) -> None:
    """Put a folio that is on no list at the head of the list where it belongs."""
    if LRU_LISTS == 0:
        folio_set_lru(folio)
        return
    node = at(zone, 0)
    spin_lock(node.lru_lock)
    lruvec_add_folio(at(lruvec, 0), folio)
    folio_set_lru(folio)
    spin_unlock(node.lru_lock)


def folio_add_lru_vma(folio: Folio, vma: vm_area_struct) -> None:
    """Show a new folio to reclaim, unless the memory that it is mapped in is locked."""
    if vma.vm_flags & (VM_LOCKED | VM_PFNMAP) == VM_LOCKED:
        mlock_new_folio(folio)


def folios_put_refs(folio: Folio) -> None:
    """Drop a reference.

    Differs: of one folio; Linux collects up to 31 and frees them together.
    """
    if folio_put_testzero(folio):
        if LRU_LISTS == 1:
            __page_cache_release(folio)
            mem_cgroup_uncharge(folio)
        free_frozen_pages(page_folio(folio))


def lru_lazyfree(folio: Folio) -> None:
    """Say that a folio need not be kept until it is written again, unless it has got a slot in swap meanwhile.

    Context: who has taken the folio from the LRU, so that reclaim has not.
    """
    if not folio_test_anon(folio) or not folio_test_swapbacked(folio) or folio_test_swapcache(folio):
        return
    folio_clear_swapbacked(folio)


def folio_mark_lazyfree(folio: Folio) -> None:
    """Say that a folio need not be kept until it is written again.

    Context: the PTL of an entry that maps the folio is held.  Differs: not with others later, but at once.
    """
    if not folio_test_anon(folio) or not folio_test_swapbacked(folio):
        return
    if not folio_test_lru(folio) or folio_test_swapcache(folio):
        return
    folio_get(folio)
    if folio_test_clear_lru(folio):
        lru_lazyfree(folio)
        folio_set_lru(folio)
    folio_put(folio)

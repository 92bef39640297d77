# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap.c (v7.0).

Left out: but for folios of files, the LRU lists.
"""

from linux.mm import VM_LOCKED, VM_PFNMAP, folio_get, folio_put, folio_put_testzero
from linux.mm_inline import lruvec_add_folio
from linux.mm_types import Folio, vm_area_struct
from linux.mmzone import lruvec, zone
from linux.page_flags import (
    folio_clear_swapbacked,
    folio_set_lru,
    folio_test_anon,
    folio_test_clear_lru,
    folio_test_lru,
    folio_test_swapbacked,
    folio_test_swapcache,
    page_folio,
)  # fmt: skip
from mm.mlock import mlock_new_folio
from stubs.memory import free_frozen_pages

from ptelab.lang import at, spin_lock, spin_unlock


def __folio_put(folio: Folio) -> None:
    """Free a folio without references."""
    free_frozen_pages(folio)


def folio_add_lru(folio: Folio) -> None:
    """Put a new folio of a file on its list.

    Differs: at once, where Linux collects folios for each CPU, in this order.
    """
    node = at(zone, 0)
    spin_lock(node.lru_lock)
    lruvec_add_folio(at(lruvec, 0), folio)
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

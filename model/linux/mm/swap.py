# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap.c (v7.0).

Left out: the LRU.
"""

from linux.mm import VM_LOCKED, VM_PFNMAP, folio_put_testzero
from linux.mm_types import Folio, vm_area_struct
from mm.mlock import mlock_new_folio
from stubs.memory import free_frozen_pages


def __folio_put(folio: Folio) -> None:
    """Free a folio without references."""
    free_frozen_pages(folio)


def folio_add_lru_vma(folio: Folio, vma: vm_area_struct) -> None:
    """Show a new folio to reclaim, unless the memory that it is mapped in is locked."""
    if vma.vm_flags & (VM_LOCKED | VM_PFNMAP) == VM_LOCKED:
        mlock_new_folio(folio)


def folios_put_refs(folio: Folio) -> None:
    """Drop a reference.

    Differs: of one folio; Linux collects up to 31 and frees them together.
    """
    if folio_put_testzero(folio):
        free_frozen_pages(folio)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/vmscan.c (v7.0).

Left out: the LRU and what decides which pages to take; anonymous pages, and so all writing out, as dirty pages of files
are left to writeback; large folios, buffers, demotion, statistics.
"""

from linux.fs import address_space
from linux.mm import folio_mapped, folio_maybe_dma_pinned, folio_put
from linux.mm_types import Folio
from linux.page_flags import folio_test_dirty, folio_test_writeback
from linux.page_ref import folio_ref_freeze, folio_ref_unfreeze
from linux.pagemap import folio_trylock
from linux.rmap import TTU_BATCH_FLUSH
from linux.types import FILE_PAGES
from mm.filemap import __filemap_remove_folio, folio_unlock
from mm.rmap import folio_referenced, try_to_unmap, try_to_unmap_flush
from mm.util import folio_mapping
from stubs.memory import free_frozen_pages

from ptelab.lang import Array, array, lockdep_assert_held, onstack


@onstack
class folio_list:
    """Folios that were isolated, each with a reference.  Differs: C has a list, here each has a place of its own."""

    folio: Array[Folio | None] = array(FILE_PAGES)
    freed: Array[bool] = array(FILE_PAGES)


def __remove_mapping(mapping: address_space, folio: Folio) -> bool:
    """Take a folio from the page cache unless somebody else has a reference or it is dirty; in that order.

    Context: folio locked.  Left out: the lock of i_pages, which keeps off what the folio's lock keeps off here.
    """
    lockdep_assert_held(folio.PG_locked)
    if not folio_ref_freeze(folio, 2):
        return False
    if folio_test_dirty(folio):
        folio_ref_unfreeze(folio, 2)
        return False
    __filemap_remove_folio(folio)
    return True


def shrink_folio(folio: Folio, ignore_references: bool) -> bool:
    """Free a folio if that is possible, but for a flush that is still to be done; whether it may then be freed.

    Differs: Linux has it in mm/vmscan.c as the body of shrink_folio_list's loop.
    Left out: what becomes of folios that stay; PG_referenced, so that a folio that was used stays, and one that was not
    goes.
    """
    if not folio_trylock(folio):
        return False
    freed = False
    if not folio_test_writeback(folio) and (ignore_references or folio_referenced(folio, True) == 0):
        if folio_mapped(folio):
            try_to_unmap(folio, TTU_BATCH_FLUSH)
        if not folio_mapped(folio) and not folio_maybe_dma_pinned(folio):
            mapping = folio_mapping(folio)
            if not folio_test_dirty(folio) and mapping is not None:
                freed = __remove_mapping(mapping, folio)
    folio_unlock(folio)
    return freed


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
                folio_put(folio)
            folios.folio[i] = None

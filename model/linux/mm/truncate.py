# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/truncate.c (v7.0).

Left out: parts of pages, shadow entries, large folios, invalidation.
"""

from linux.fs import address_space, i_size_write
from linux.mm import folio_mapped, folio_put
from linux.mm_types import Folio
from linux.page_flags import folio_test_clear_dirty
from linux.pagemap import folio_lock
from linux.types import FILE_PAGES, Errno, pgoff_t
from mm.filemap import filemap_get_entry, filemap_remove_folio, folio_unlock
from mm.memory import unmap_mapping_folio, unmap_mapping_range
from mm.page_writeback import folio_wait_writeback

EIO = 5


def folio_cancel_dirty(folio: Folio) -> None:
    """Forget that a folio has to be written back, as what is in it will be gone.

    Differs: Linux has it in include/linux/pagemap.h.  Left out: accounting.
    """
    folio_test_clear_dirty(folio)


def truncate_cleanup_folio(folio: Folio) -> None:
    """Unmap a folio that is about to leave the page cache; its dirtiness goes after its last entry.

    Context: folio locked, so that no fault maps it again.
    """
    if folio_mapped(folio):
        unmap_mapping_folio(folio)
    folio_cancel_dirty(folio)


def truncate_inode_folio(mapping: address_space, folio: Folio) -> Errno:
    """Take a folio out of the page cache.

    Context: folio locked.
    """
    if folio.mapping != mapping:
        return EIO
    truncate_cleanup_folio(folio)
    filemap_remove_folio(folio)
    return 0


def truncate_inode_pages_range(mapping: address_space, start: pgoff_t) -> None:
    """Take all folios from an offset on out of the page cache.

    Left out: the first pass, which does the same to the folios that it need not wait for.
    """
    for index in range(FILE_PAGES):
        if index >= start:
            folio = filemap_get_entry(mapping, index)
            if folio is not None:
                folio_lock(folio)
                folio_wait_writeback(folio)
                truncate_inode_folio(mapping, folio)
                folio_unlock(folio)
                folio_put(folio)


def truncate_inode_pages(mapping: address_space, start: pgoff_t) -> None:
    """Take all folios from an offset on out of the page cache."""
    truncate_inode_pages_range(mapping, start)


def truncate_pagecache(mapping: address_space, newsize: pgoff_t) -> None:
    """Unmap and remove all folios beyond a file's new size; private copies are unmapped even if made meanwhile.

    Context: the file's size is the new one already.
    """
    unmap_mapping_range(mapping, newsize)
    truncate_inode_pages(mapping, newsize)
    unmap_mapping_range(mapping, newsize)


def truncate_setsize(mapping: address_space, newsize: pgoff_t) -> None:
    """Make a file smaller."""
    i_size_write(mapping, newsize)
    truncate_pagecache(mapping, newsize)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/page_io.c (v7.0).

Left out: zswap, pages of zeroes, swap files, errors; devices that answer later, so that who starts a transfer sees it
done.
"""

from filesystem import swap_submit_read, swap_submit_write
from linux.mm_types import Folio
from linux.page_flags import folio_mark_uptodate
from linux.pagemap import folio_start_writeback
from mm.filemap import folio_end_writeback, folio_unlock
from mm.swapfile import folio_free_swap


def swap_writeout(folio: Folio) -> None:
    """Write a folio of the swap cache to its slot, unless nobody needs it there; it is unlocked.

    Context: folio locked.
    """
    if folio_free_swap(folio):
        folio_unlock(folio)
        return
    __swap_writepage(folio)


def __swap_writepage(folio: Folio) -> None:
    """Write a folio to its slot."""
    swap_writepage_bdev_sync(folio)


def swap_writepage_bdev_sync(folio: Folio) -> None:
    """Write a folio to its slot and wait; it is unlocked meanwhile, so that it can be mapped and written again."""
    entry = folio.swap
    folio_start_writeback(folio)
    folio_unlock(folio)
    swap_submit_write(folio, entry)
    folio_end_writeback(folio)


def swap_read_folio(folio: Folio) -> None:
    """Read a folio of the swap cache from its slot; it is unlocked.

    Context: folio locked.
    """
    swap_read_folio_bdev_sync(folio)


def swap_read_folio_bdev_sync(folio: Folio) -> None:
    """Read a folio from its slot and wait."""
    swap_submit_read(folio, folio.swap)
    folio_mark_uptodate(folio)
    folio_unlock(folio)

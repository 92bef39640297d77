# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/page-writeback.c (v7.0).

Left out: statistics, throttling, tags, inodes; address spaces that cannot be written back.
"""

from linux.fs import address_space
from linux.mm_types import Folio
from linux.page_flags import (
    folio_clear_writeback,
    folio_test_clear_dirty,
    folio_test_dirty,
    folio_test_set_dirty,
    folio_test_set_writeback,
    folio_test_swapcache,
    folio_test_writeback,
)  # fmt: skip
from linux.pagemap import mapping_stable_writes
from mm.rmap import folio_mkclean
from mm.util import folio_mapping

from ptelab.lang import lockdep_assert_held, wait_until


def folio_prepare_writeback(mapping: address_space, folio: Folio) -> bool:
    """Take a folio's dirtiness on itself; whether it has to be written.

    Context: folio locked.  Differs: as for WB_SYNC_ALL, writeback that is under way is waited for.
    """
    if folio.mapping != mapping:
        return False
    if not folio_test_dirty(folio):
        return False
    if folio_test_writeback(folio):
        folio_wait_writeback(folio)
    if not folio_clear_dirty_for_io(folio):
        return False
    return True


def filemap_dirty_folio(mapping: address_space | None, folio: Folio) -> bool:
    """Set the dirty flag; whether it was clear."""
    return not folio_test_set_dirty(folio)


def folio_mark_dirty(folio: Folio) -> bool:
    """Say that a folio has to be written back; whether it was clean.

    Context: the folio stays in its mapping: it is locked, or mapped with the PTL held.
    Differs: ->dirty_folio is filemap_dirty_folio.
    """
    mapping = folio_mapping(folio)
    return filemap_dirty_folio(mapping, folio)


def folio_clear_dirty_for_io(folio: Folio) -> bool:
    """Clean a folio and all entries that map it; whether it has to be written.

    Context: folio locked, which keeps faults from dirtying it between the entries and the flag.
    """
    lockdep_assert_held(folio.PG_locked)
    if not folio_test_swapcache(folio) and folio_mkclean(folio) != 0:
        folio_mark_dirty(folio)
    return folio_test_clear_dirty(folio)


def __folio_end_writeback(folio: Folio) -> None:
    """Clear the writeback flag."""
    folio_clear_writeback(folio)


def __folio_start_writeback(folio: Folio) -> None:
    """Set the writeback flag.

    Context: folio locked.
    """
    lockdep_assert_held(folio.PG_locked)
    was_set = folio_test_set_writeback(folio)
    assert not was_set


def folio_wait_writeback(folio: Folio) -> None:
    """Wait until a folio is not on its way to the disk.

    Differs: looking at the flag and waiting for it are one step.
    """
    wait_until(not folio.PG_writeback)


def folio_wait_stable(folio: Folio) -> None:
    """Wait for writeback if pages of this file must not change while they are written."""
    mapping = folio_mapping(folio)
    assert mapping is not None
    if mapping_stable_writes(mapping):
        folio_wait_writeback(folio)

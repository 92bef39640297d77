# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/filemap.c (v7.0).

Left out: reading data in: every page of a file is in the page cache, up to date, till the file is truncated.
"""

from linux.fs import address_space, i_size_read
from linux.mm import folio_mapped, folio_put, folio_try_get, vm_fault
from linux.mm_types import VM_FAULT_LOCKED, VM_FAULT_NOPAGE, VM_FAULT_SIGBUS, Folio, vm_fault_t
from linux.page_flags import folio_test_uptodate
from linux.pagemap import folio_lock
from linux.types import pgoff_t
from mm.page_writeback import __folio_end_writeback, folio_mark_dirty, folio_wait_stable

from ptelab.lang import lockdep_assert_held, spin_unlock


def folio_unlock(folio: Folio) -> None:
    """Unlock a folio."""
    lockdep_assert_held(folio.PG_locked)
    spin_unlock(folio.PG_locked)


def folio_end_writeback(folio: Folio) -> None:
    """Say that a folio has reached the disk.

    Left out: a reference for the time of the call; the caller in `filesystem.py` has one.
    """
    __folio_end_writeback(folio)


def filemap_get_entry(mapping: address_space, index: pgoff_t) -> Folio | None:
    """Find a folio in the page cache and take a reference.

    Whoever removes it may have been faster: then there is none, or the reference is given back.
    """
    while True:
        folio = mapping.i_pages[index]
        if folio is None:
            return None
        if folio_try_get(folio):
            if mapping.i_pages[index] == folio:
                return folio
            folio_put(folio)


def page_cache_delete(mapping: address_space, folio: Folio) -> None:
    """Remove a folio from the page cache.

    Context: folio locked.
    """
    lockdep_assert_held(folio.PG_locked)
    mapping.i_pages[folio.index] = None
    folio.mapping = None


def filemap_unaccount_folio(mapping: address_space, folio: Folio) -> None:
    """Assert that a folio leaves the page cache unmapped.

    Left out: statistics.
    """
    assert not folio_mapped(folio)


def __filemap_remove_folio(folio: Folio) -> None:
    """Remove a folio from the page cache, but keep the cache's reference."""
    mapping = folio.mapping
    assert mapping is not None
    filemap_unaccount_folio(mapping, folio)
    page_cache_delete(mapping, folio)


def filemap_free_folio(mapping: address_space, folio: Folio) -> None:
    """Drop the page cache's reference."""
    folio_put(folio)


def filemap_remove_folio(folio: Folio) -> None:
    """Remove a folio from the page cache.

    Context: folio locked, and the caller has a reference.  Left out: i_lock and the xarray's lock, as each access to
    the tree is one step.
    """
    mapping = folio.mapping
    assert mapping is not None
    lockdep_assert_held(folio.PG_locked)
    __filemap_remove_folio(folio)
    filemap_free_folio(mapping, folio)


def filemap_fault(vmf: vm_fault) -> vm_fault_t:
    """Find the page for a fault; it is returned locked and with a reference.

    Left out: dropping the mmap_lock while waiting for the folio lock: the fault would start again.
    """
    mapping = vmf.vma.vm_file
    if vmf.pgoff >= i_size_read(mapping):
        return VM_FAULT_SIGBUS
    while True:
        folio = filemap_get_entry(mapping, vmf.pgoff)
        if folio is None:
            return VM_FAULT_SIGBUS
        folio_lock(folio)
        if folio.mapping == mapping:
            break
        folio_unlock(folio)
        folio_put(folio)
    assert folio_test_uptodate(folio)
    if vmf.pgoff >= i_size_read(mapping):
        folio_unlock(folio)
        folio_put(folio)
        return VM_FAULT_SIGBUS
    vmf.page = folio
    return VM_FAULT_LOCKED


def filemap_page_mkwrite(vmf: vm_fault) -> vm_fault_t:
    """Allow a page to become writable: it is dirty from now on, and returned locked.

    Left out: file times, freezing of file systems.
    """
    mapping = vmf.vma.vm_file
    folio = vmf.page
    assert folio is not None
    folio_lock(folio)
    if folio.mapping != mapping:
        folio_unlock(folio)
        return VM_FAULT_NOPAGE
    folio_mark_dirty(folio)
    folio_wait_stable(folio)
    return VM_FAULT_LOCKED

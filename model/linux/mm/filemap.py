# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/filemap.c (v7.0).

Left out: reading data in, truncation and file sizes: every page of a file is in the page cache, up to date, and stays.
"""

from linux.fs import address_space
from linux.mm import folio_get, vm_fault
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

    Left out: a reference for the time of the call; the caller in `fs.py` has one.
    """
    __folio_end_writeback(folio)


def filemap_get_entry(mapping: address_space, index: pgoff_t) -> Folio | None:
    """Find a folio in the page cache and take a reference.

    Left out: retries when the folio is being freed, as the page cache keeps its reference.
    """
    folio = mapping.i_pages[index]
    if folio is not None:
        folio_get(folio)
    return folio


def filemap_fault(vmf: vm_fault) -> vm_fault_t:
    """Find the page for a fault; it is returned locked and with a reference.

    Left out: dropping the mmap_lock while waiting for the folio lock: the fault would start again.
    """
    mapping = vmf.vma.vm_file
    folio = filemap_get_entry(mapping, vmf.pgoff)
    if folio is None:
        return VM_FAULT_SIGBUS
    folio_lock(folio)
    assert folio.mapping == mapping and folio_test_uptodate(folio)
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

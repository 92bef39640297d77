# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/filemap.c (v7.0).

Left out: reading data in: every page of a file is in the page cache, up to date, till the file is truncated.
"""

from asm.pgtable import pmd_none, pte_none
from asm.pgtable_types import pte_p
from linux.fs import address_space, i_size_read
from linux.mm import (
    add_mm_counter,
    folio_mapped,
    folio_put,
    folio_ref_dec,
    folio_try_get,
    pte_unmap_unlock,
    vm_fault,
)  # fmt: skip
from linux.mm_types import MM_FILEPAGES, VM_FAULT_LOCKED, VM_FAULT_NOPAGE, VM_FAULT_SIGBUS, Folio, vm_fault_t
from linux.page_flags import folio_test_uptodate, page_folio
from linux.pagemap import folio_lock, folio_trylock
from linux.pgtable import pmdp_get, ptep_get
from linux.types import Addr, pgoff_t
from mm.memory import pmd_install, set_pte_range
from mm.page_writeback import __folio_end_writeback, folio_mark_dirty, folio_wait_stable
from mm.pgtable_generic import pte_offset_map_lock

from ptelab.lang import at, index_of, lockdep_assert_held, spin_unlock, u4


def folio_unlock(folio: Folio) -> None:
    """Unlock a folio."""
    folio = page_folio(folio)
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


def next_uptodate_folio(mapping: address_space, index: pgoff_t, end_pgoff: pgoff_t) -> tuple[Folio | None, pgoff_t]:
    """The next folio that can be mapped at once, and its offset; it is returned locked and with a reference.

    Differs: the iterator is the offset.  Left out: a look at the lock before it is tried.
    """
    while index <= end_pgoff:
        folio = mapping.i_pages[index]
        if folio is not None and folio_try_get(folio):
            if mapping.i_pages[index] == folio and folio_test_uptodate(folio) and folio_trylock(folio):
                if folio.mapping == mapping and folio_test_uptodate(folio) and index < i_size_read(mapping):
                    return folio, index
                folio_unlock(folio)
            folio_put(folio)
        index += 1
    return None, index


def filemap_map_order0_folio(vmf: vm_fault, folio: Folio, addr: Addr) -> tuple[vm_fault_t, bool]:
    """Map a folio unless there is an entry: whether that was what the fault needed, and whether it was mapped.

    Context: PTL held, folio locked; its reference goes to the entry.  Left out: mmap_miss.
    """
    ret: vm_fault_t = 0
    if not pte_none(ptep_get(vmf.pte)):
        folio_ref_dec(folio)
        return ret, False
    if vmf.address == addr:
        ret = VM_FAULT_NOPAGE
    set_pte_range(vmf, folio, addr)
    return ret, True


def filemap_map_pmd(vmf: vm_fault) -> None:
    """See to it that there is a PTE table.

    Left out: huge pages, so that it never answers that the page is mapped.
    """
    if pmd_none(pmdp_get(vmf.pmd)) and vmf.prealloc_pte is not None:
        if pmd_install(vmf.vma.vm_mm, vmf.pmd, vmf.prealloc_pte):
            vmf.prealloc_pte = None


def filemap_map_pages(vmf: vm_fault, start_pgoff: pgoff_t, end_pgoff: pgoff_t) -> vm_fault_t:
    """Map what the page cache has ready of a range; whether the page of the fault was among it.

    Without a PTE table nothing is mapped if all that is ready is a file's last page: the test that keeps huge pages
    from reaching beyond the end of a file is one page too strict, and a page that fails it gets no table either.
    Left out: read-ahead.
    """
    vma = vmf.vma
    mapping = vma.vm_file
    assert mapping is not None
    ret: vm_fault_t = 0
    rss: u4 = 0
    size = i_size_read(mapping)
    if 0 < size <= end_pgoff:
        end_pgoff = size - 1
    folio, index = next_uptodate_folio(mapping, start_pgoff, end_pgoff)
    if folio is None:
        return 0
    if size == 0 or index + 1 < size or mapping.shmem:
        filemap_map_pmd(vmf)
    start: Addr = vma.vm_start + start_pgoff - vma.vm_pgoff
    pte, ptl = pte_offset_map_lock(vma.vm_mm, vmf.pmd, start)
    if pte is None:
        folio_unlock(folio)
        folio_put(folio)
        return 0
    vmf.ptl = ptl
    while folio is not None:
        vmf.pte = at(pte_p, index_of(pte) + (index - start_pgoff))
        mapped_it, mapped = filemap_map_order0_folio(vmf, folio, start + (index - start_pgoff))
        ret |= mapped_it
        if mapped:
            rss += 1
        folio_unlock(folio)
        folio, index = next_uptodate_folio(mapping, index + 1, end_pgoff)
    add_mm_counter(vma.vm_mm, MM_FILEPAGES, rss)
    pte_unmap_unlock(pte, ptl)
    return ret


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

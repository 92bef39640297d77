# SPDX-License-Identifier: GPL-2.0-only
"""A driver whose memory programs map: vmwgfx, the only user of mm/mapping_dirty_helpers.c (v7.0).

It finds out which pages were written in one of two ways: PAGETABLE, scanning the entries for dirty ones and cleaning
them, or MKWRITE, write-protecting them so that the first store to each faults.  Names and orders are those of
drivers/gpu/drm/vmwgfx/vmwgfx_page_dirty.c.

Differs: the reservation of a buffer object is a lock; the bitmap is a word.  Left out: resources and what is uploaded.
"""

from asm.pgtable import vm_get_page_prot
from hw.memory import Frame
from linux.fs import address_space
from linux.mm import VM_SHARED, folio_pfn, folio_put, vm_fault
from linux.mm_types import VM_FAULT_SIGBUS, vm_fault_t
from linux.types import FILE_PAGES, pgoff_t
from mm.mapping_dirty_helpers import clean_record_shared_mapping_range, wp_shared_mapping_range
from mm.memory import unmap_mapping_range, vmf_insert_pfn_prot

from ptelab.lang import at, index_of, param, spin_lock, spin_unlock, spinlock_t, struct, u2, u8

VMW_DIRTY_NUM_CHANGE_TRIGGERS = param("VMW_DIRTY_NUM_CHANGE_TRIGGERS", 0)


@struct
class vmw_bo_dirty:
    """What is known of a buffer's dirty pages.  Element i is of file i.  `mkwrite`: method MKWRITE, else PAGETABLE."""

    resv: spinlock_t
    start: pgoff_t
    end: pgoff_t
    mkwrite: bool
    change_count: u2
    bitmap: u8


def dirty_of(mapping: address_space) -> vmw_bo_dirty:
    """The state of a buffer."""
    return at(vmw_bo_dirty, index_of(mapping))


def vmw_bo_vm_fault(vmf: vm_fault) -> vm_fault_t:
    """->fault: map the page; not writable if stores are to fault."""
    vma = vmf.vma
    mapping = vma.vm_file
    dirty = dirty_of(mapping)
    spin_lock(dirty.resv)
    page = mapping.i_pages[vmf.pgoff]
    if page is None:
        spin_unlock(dirty.resv)
        return VM_FAULT_SIGBUS
    flags = vma.vm_flags
    if dirty.mkwrite:
        flags = flags & ~VM_SHARED
    ret = vmf_insert_pfn_prot(vma, vmf.address, folio_pfn(page), vm_get_page_prot(flags))
    spin_unlock(dirty.resv)
    return ret


def vmw_bo_vm_mkwrite(vmf: vm_fault) -> vm_fault_t:
    """->pfn_mkwrite: record the page, if that is how dirty pages are found."""
    dirty = dirty_of(vmf.vma.vm_file)
    spin_lock(dirty.resv)
    if dirty.mkwrite and dirty.bitmap & (1 << vmf.pgoff) == 0:
        dirty.bitmap = dirty.bitmap | (1 << vmf.pgoff)
        if vmf.pgoff < dirty.start:
            dirty.start = vmf.pgoff
        if vmf.pgoff + 1 > dirty.end:
            dirty.end = vmf.pgoff + 1
    spin_unlock(dirty.resv)
    return 0


def clean_record(mapping: address_space) -> bool:
    """Clean and record all of a buffer; whether anything was dirty."""
    dirty = dirty_of(mapping)
    count, bitmap, start, end = clean_record_shared_mapping_range(
        mapping, 0, FILE_PAGES, 0, dirty.bitmap, dirty.start, dirty.end
    )
    dirty.bitmap = bitmap
    dirty.start = start
    dirty.end = end
    return count != 0


def vmw_bo_dirty_scan_pagetable(mapping: address_space) -> None:
    """Scan for dirty entries; after several scans without any, go over to MKWRITE: write-protect, then take the rest.

    Context: buffer reserved.
    """
    dirty = dirty_of(mapping)
    if clean_record(mapping):
        dirty.change_count = 0
    elif dirty.change_count < VMW_DIRTY_NUM_CHANGE_TRIGGERS:
        dirty.change_count = dirty.change_count + 1
    else:
        dirty.change_count = 0
        dirty.mkwrite = True
        wp_shared_mapping_range(mapping, 0, FILE_PAGES)
        clean_record(mapping)


def vmw_bo_dirty_scan_mkwrite(mapping: address_space) -> None:
    """Write-protect what was written, so that stores from now on are recorded again.

    Context: buffer reserved.  Left out: going back to PAGETABLE.
    """
    dirty = dirty_of(mapping)
    if dirty.end > dirty.start:
        wp_shared_mapping_range(mapping, dirty.start, dirty.end - dirty.start)


def vmw_bo_dirty_scan(mapping: address_space) -> None:
    """Find out which pages were written."""
    dirty = dirty_of(mapping)
    spin_lock(dirty.resv)
    if dirty.mkwrite:
        vmw_bo_dirty_scan_mkwrite(mapping)
    else:
        vmw_bo_dirty_scan_pagetable(mapping)
    spin_unlock(dirty.resv)


def vmw_bo_dirty_transfer(mapping: address_space) -> None:
    """Scan, then give the device the pages that were written, and forget them.

    Differs: vmw_bo_dirty_scan and vmw_bo_dirty_transfer_to_res under one reservation.
    """
    dirty = dirty_of(mapping)
    spin_lock(dirty.resv)
    if dirty.mkwrite:
        vmw_bo_dirty_scan_mkwrite(mapping)
    else:
        vmw_bo_dirty_scan_pagetable(mapping)
    for i in range(FILE_PAGES):
        page = mapping.i_pages[i]
        if page is not None and dirty.bitmap & (1 << i) != 0:
            dirty.bitmap = dirty.bitmap - (1 << i)
            upload(at(Frame, folio_pfn(page)))
    dirty.start = FILE_PAGES
    dirty.end = 0
    spin_unlock(dirty.resv)


def vmw_bo_dirty_pre_unmap(mapping: address_space) -> None:
    """Record what was written before the entries go, as those of a PFN map take their dirty bits with them.

    Context: buffer reserved.
    """
    if dirty_of(mapping).mkwrite:
        return
    wp_shared_mapping_range(mapping, 0, FILE_PAGES)
    clean_record(mapping)


def vmw_bo_dirty_unmap(mapping: address_space) -> None:
    """Take a buffer's entries from all that map it.

    Differs: reserves the buffer, as its callers have.
    """
    dirty = dirty_of(mapping)
    spin_lock(dirty.resv)
    vmw_bo_dirty_pre_unmap(mapping)
    unmap_mapping_range(mapping, 0)
    spin_unlock(dirty.resv)


def bo_destroy(mapping: address_space) -> None:
    """Unmap a buffer and free its pages, of which the driver has the only references."""
    dirty = dirty_of(mapping)
    spin_lock(dirty.resv)
    unmap_mapping_range(mapping, 0)
    for i in range(FILE_PAGES):
        page = mapping.i_pages[i]
        if page is not None:
            mapping.i_pages[i] = None
            folio_put(page)
    spin_unlock(dirty.resv)


def upload(frame: Frame) -> None:
    """The device takes over what a page holds; the invariants take note of it."""

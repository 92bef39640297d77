# SPDX-License-Identifier: GPL-2.0-only
"""A file system on a disk: what it does when a page is written back.  One in memory, shmem, never does.

And the disk that pages are swapped to: it reads a page's memory, or fills it, and is waited for.

It uses the page cache as most do: ->fault is filemap_fault, ->page_mkwrite is filemap_page_mkwrite.
"""

from driver import vmw_bo_vm_fault, vmw_bo_vm_mkwrite
from hw.memory import Disk, Frame, SwapDisk, Value
from linux.fs import address_space, mapping_can_writeback
from linux.mm import VM_PFNMAP, folio_pfn, folio_put, vm_fault
from linux.mm_types import Folio, swp_entry_t, vm_fault_t
from linux.pagemap import folio_lock, folio_start_writeback
from linux.types import pgoff_t
from mm.filemap import filemap_fault, filemap_get_entry, folio_end_writeback, folio_unlock
from mm.page_writeback import folio_prepare_writeback

from ptelab.lang import at, index_of


def write_folio(mapping: address_space, index: pgoff_t) -> None:
    """Write one page of a file back if it is dirty, and wait until it is on disk, as the flusher and fsync do."""
    assert mapping_can_writeback(mapping)
    folio = filemap_get_entry(mapping, index)
    if folio is None:
        return
    folio_lock(folio)
    if folio_prepare_writeback(mapping, folio):
        folio_start_writeback(folio)
        folio_unlock(folio)
        write_block(mapping, index, read_for_io(at(Frame, folio_pfn(folio))))
        folio_end_writeback(folio)
    else:
        folio_unlock(folio)
    folio_put(folio)


def read_for_io(frame: Frame) -> Value:
    """The device reads the page's memory."""
    return frame.data


def write_block(mapping: address_space, index: pgoff_t, value: Value) -> None:
    """The device writes the datum it has read."""
    at(Disk, index_of(mapping)).block[index] = value


def vm_ops_fault(vmf: vm_fault) -> vm_fault_t:
    """->fault of a mapping: the page cache's, or the driver's."""
    if vmf.vma.vm_flags & VM_PFNMAP != 0:
        return vmw_bo_vm_fault(vmf)
    return filemap_fault(vmf)


def vm_ops_pfn_mkwrite(vmf: vm_fault) -> vm_fault_t:
    """->pfn_mkwrite of a mapping, which only the driver's have."""
    return vmw_bo_vm_mkwrite(vmf)


def swap_submit_write(folio: Folio, entry: swp_entry_t) -> None:
    """Write a page to its slot: a read of the memory, then a write of the disk."""
    swap_write_block(entry, swap_read_memory(at(Frame, folio_pfn(folio))))


def swap_submit_read(folio: Folio, entry: swp_entry_t) -> None:
    """Read a slot into a page: a read of the disk, then a write of the memory."""
    at(Frame, folio_pfn(folio)).data = at(SwapDisk, 0).block[entry - 1]


def swap_read_memory(frame: Frame) -> Value:
    """The device reads the page's memory."""
    return frame.data


def swap_write_block(entry: swp_entry_t, value: Value) -> None:
    """The device writes the datum it has read."""
    at(SwapDisk, 0).block[entry - 1] = value

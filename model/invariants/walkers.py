# SPDX-License-Identifier: GPL-2.0-only
"""Dirty tracking of a driver's memory: every store is known to it in the end.

Flag: dirty_tracking.  A page that was stored to since the device last took it is recorded; or an entry says that it is
dirty, if the driver looks at entries, so that the next scan records it.
"""

from asm.pgtable import pte_dirty, pte_pfn, pte_present
from cpu import write_memory
from driver import upload, vmw_bo_dirty, vmw_bo_vm_mkwrite
from hw.memory import NR_PAGES, Frame
from invariants.observe import entry_of
from linux.fs import address_space
from linux.mm_types import mm_struct
from linux.pagewalk import mm_walk
from linux.types import FILE_PAGES
from mm.mapping_dirty_helpers import clean_record_pte, widen_flush, wp_clean_post_vma, wp_clean_test_walk, wp_pte
from mm.memory import insert_pfn

from ptelab.lang import at, flag, ghost, index_of, on_entry, on_return, pool, reach


@on_return(write_memory)
def device_page_stored(frame: Frame) -> None:
    """A program stores to a driver's page."""
    if frame.device:
        frame.unrecorded = True


@on_entry(upload)
def device_page_taken(frame: Frame) -> None:
    """The device has what the page holds now."""
    frame.unrecorded = False


@ghost
def always_recorded(mapping: address_space) -> None:
    """At quiescence every page that was stored to is recorded, or dirty in an entry that will be scanned."""
    for i in range(FILE_PAGES):
        page = mapping.i_pages[i]
        if page is not None and at(Frame, index_of(page)).unrecorded:
            recorded = at(vmw_bo_dirty, index_of(mapping)).bitmap & (1 << i) != 0
            for mm in pool(mm_struct):
                for addr in range(NR_PAGES):
                    pte = entry_of(mm, addr)
                    if pte_present(pte) and pte_dirty(pte) and pte_pfn(pte) == index_of(page):
                        if not at(vmw_bo_dirty, index_of(mapping)).mkwrite:
                            recorded = True
            if not recorded:
                flag("dirty_tracking", page=index_of(page))


@on_entry(widen_flush)
def sometimes_walk_changes() -> None:
    """A walk changes an entry."""
    reach("walk_changes_entry")


@on_entry(wp_pte)
def sometimes_walk_protects() -> None:
    """A walk looks at an entry to write-protect it."""
    reach("walk_write_protects")


@on_entry(clean_record_pte)
def sometimes_walk_cleans() -> None:
    """A walk looks at an entry to clean it."""
    reach("walk_cleans")


@on_return(wp_clean_test_walk)
def sometimes_walk_skips(result: bool) -> None:
    """A walk comes to a VMA that it skips."""
    if result:
        reach("walk_skips_vma")


@on_entry(wp_clean_post_vma)
def sometimes_walk_nested(walk: mm_walk) -> None:
    """A walk ends while another has not flushed yet, or without anything to flush."""
    if walk.mm.tlb_flush_pending > 1:
        reach("walk_nested")
    elif walk.tlbflush_end <= walk.tlbflush_start:
        reach("walk_changed_nothing")


@on_entry(vmw_bo_vm_mkwrite)
def sometimes_pfn_mkwrite() -> None:
    """A store to a driver's page faults, and the driver is asked."""
    reach("pfn_mkwrite")


@on_entry(insert_pfn)
def sometimes_pfn_inserted() -> None:
    """A driver maps a page."""
    reach("pfn_inserted")

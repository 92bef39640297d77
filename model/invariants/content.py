# SPDX-License-Identifier: GPL-2.0-only
"""What is stored is not lost: until the disk has it, a page that was written is known to be dirty.

Flag: lost_write.
"""

from asm.pgtable import pte_dirty, pte_pfn, pte_present
from filesystem import read_for_io
from hw.memory import NR_PAGES, Frame
from invariants.observe import entry_of
from invariants.one_cpu import run_can_be
from linux.mm_types import Folio, mm_struct
from linux.page_flags import folio_nr_pages
from stubs.memory import free_frozen_pages

from ptelab.lang import at, flag, ghost, index_of, on_entry, on_return, pool


@on_return(read_for_io)
def io_has_the_data(frame: Frame) -> None:
    """What the device has read gets to the disk."""
    frame.newer_than_disk = False


@on_entry(free_frozen_pages)
def always_written_before_freed(folio: Folio) -> None:
    """A page is freed only when the disk has its data."""
    for i in range(folio_nr_pages(folio)):
        frame = at(Frame, index_of(folio) + i)
        if frame.newer_than_disk and run_can_be():
            flag("lost_write", page=index_of(folio) + i)
        frame.freed = True


@ghost
def always_writes_survive(folio: Folio) -> None:
    """At quiescence a page newer than the disk is dirty, under writeback, or mapped by a dirty entry."""
    if at(Frame, index_of(folio)).newer_than_disk and not folio.PG_dirty and not folio.PG_writeback:
        for mm in pool(mm_struct):
            for addr in range(NR_PAGES):
                pte = entry_of(mm, addr)
                if pte_present(pte) and pte_dirty(pte) and pte_pfn(pte) == index_of(folio):
                    return
        if run_can_be():
            flag("lost_write", page=index_of(folio))

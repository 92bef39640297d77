# SPDX-License-Identifier: GPL-2.0-only
"""Situations that reclaim goes through; what it may do wrong, the rules about rights and contents find."""

from linux.mm_types import Folio, mm_struct
from mm.rmap import TLB_FLUSH_BATCH_FLUSHED_SHIFT, TLB_FLUSH_BATCH_PENDING_MASK, flush_tlb_batched_pending, try_to_unmap
from mm.vmscan import __remove_mapping, shrink_folio

from ptelab.lang import on_entry, on_return, reach


@on_return(shrink_folio)
def sometimes_reclaimed(folio: Folio, result: bool) -> None:
    """Reclaim takes a page, or leaves it."""
    if result:
        reach("page_reclaimed")
    else:
        reach("page_not_reclaimed")


@on_entry(try_to_unmap)
def sometimes_unmapped(folio: Folio) -> None:
    """Reclaim empties the entries of a page that is mapped."""
    reach("reclaim_unmaps")


@on_return(__remove_mapping)
def sometimes_busy(result: bool) -> None:
    """A page that reclaim wants has other references, or is dirty."""
    if not result:
        reach("reclaim_finds_page_busy")


@on_entry(flush_tlb_batched_pending)
def sometimes_batched(mm: mm_struct) -> None:
    """Somebody finds that reclaim has left a flush for later."""
    batch = mm.tlb_flush_batched
    if batch & TLB_FLUSH_BATCH_PENDING_MASK != batch >> TLB_FLUSH_BATCH_FLUSHED_SHIFT:
        reach("batched_flush_pending")

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mmu_gather.c (v7.0).

Left out: hugetlb, page sizes.
"""

from asm.smp import smp_call_function
from asm.tlb import (
    MAX_GATHER_BATCH,
    MAX_GATHER_BATCH_COUNT,
    MAX_TABLE_BATCH,
    MMU_GATHER_BUNDLE,
    __tlb_reset_range,
    mmu_gather,
    tlb_flush_mmu_tlbonly,
)  # fmt: skip
from config import CONFIG_MMU_GATHER_NO_GATHER
from linux.mm_inline import dec_tlb_flush_pending, inc_tlb_flush_pending, mm_tlb_flush_nested
from linux.mm_types import Folio, encode_page, encoded_page_ptr, mm_struct, ptdesc, vm_area_struct
from mm.rmap import folio_remove_rmap_ptes
from mm.swap_state import free_pages_and_swap_cache
from stubs.memory import __get_free_page, call_rcu

from ptelab.lang import u4


def tlb_next_batch(tlb: mmu_gather) -> bool:
    """Make the next batch active; false when there may be none or there is no memory.

    With delayed rmaps only `local` and the active batch can hold them, so there is no third.
    Differs: a batch stays allocated until the gather ends, as in Linux, but what is allocated is only its number.
    """
    if tlb.delayed_rmap and tlb.active != 0:
        return False
    if tlb.active < tlb.batch_count:
        tlb.active += 1
        return True
    if tlb.batch_count == MAX_GATHER_BATCH_COUNT:
        return False
    if not __get_free_page():
        return False
    tlb.batch_count += 1
    tlb.active += 1
    return True


def tlb_flush_rmap_batch(tlb: mmu_gather, batch: u4, vma: vm_area_struct) -> None:
    """Remove the rmaps that were delayed of the pages of one batch.

    Differs: a delayed entry's flag is cleared, so that what the gather holds is the same for every way to it; Linux
    never looks at it again.
    """
    for i in range(tlb.nr[batch]):
        enc = tlb.encoded_pages[batch * MAX_GATHER_BATCH + i]
        if enc.ENCODED_PAGE_BIT_DELAY_RMAP:
            folio_remove_rmap_ptes(encoded_page_ptr(enc), vma)
            tlb.encoded_pages[batch * MAX_GATHER_BATCH + i] = enc._replace(ENCODED_PAGE_BIT_DELAY_RMAP=False)


def tlb_flush_rmaps(tlb: mmu_gather, vma: vm_area_struct) -> None:
    """Remove the rmaps that were delayed until the TLBs were flushed.

    Context: PTL held, TLBs flushed.
    """
    if not tlb.delayed_rmap:
        return
    tlb_flush_rmap_batch(tlb, 0, vma)
    if tlb.active != 0:
        tlb_flush_rmap_batch(tlb, tlb.active, vma)
    tlb.delayed_rmap = False


def __tlb_batch_free_encoded_pages(tlb: mmu_gather, batch: u4) -> None:
    """Drop the references to the pages of one batch.

    Left out: pauses after 512 folios.
    """
    free_pages_and_swap_cache(tlb, batch * MAX_GATHER_BATCH, tlb.nr[batch])
    tlb.nr[batch] = 0


def tlb_batch_pages_flush(tlb: mmu_gather) -> None:
    """Drop the references to the pages of all batches."""
    batch: u4 = 0
    while batch <= tlb.batch_count and tlb.nr[batch] != 0:
        __tlb_batch_free_encoded_pages(tlb, batch)
        batch += 1
    tlb.active = 0


def tlb_batch_list_free(tlb: mmu_gather) -> None:
    """Free the batches."""
    tlb.batch_count = 0


def __tlb_remove_folio_pages_size(tlb: mmu_gather, page: Folio, delay_rmap: bool) -> bool:
    """Queue a page; true when the gather is full, one entry early so that two always fit."""
    assert tlb.end != 0
    batch = tlb.active
    tlb.encoded_pages[batch * MAX_GATHER_BATCH + tlb.nr[batch]] = encode_page(page, delay_rmap)
    tlb.nr[batch] += 1
    if tlb.nr[batch] >= (MMU_GATHER_BUNDLE if batch == 0 else MAX_GATHER_BATCH) - 1:
        if not tlb_next_batch(tlb):
            return True
        batch = tlb.active
    assert tlb.nr[batch] <= (MMU_GATHER_BUNDLE if batch == 0 else MAX_GATHER_BATCH) - 1
    return False


def __tlb_remove_folio_pages(tlb: mmu_gather, page: Folio, delay_rmap: bool) -> bool:
    """Queue a page; true when the gather is full."""
    return __tlb_remove_folio_pages_size(tlb, page, delay_rmap)


def tlb_remove_table_sync_one() -> None:
    """Wait until every CPU has had its interrupts enabled, and so has ended what it did in page tables without a lock.

    No grace period: a table whose freeing waits for one is not freed yet.
    """
    smp_call_function()


def tlb_remove_table_free(tlb: mmu_gather) -> None:
    """Free the tables of the batch after a grace period."""
    for i in range(tlb.batch_nr):
        table = tlb.tables[i]
        assert table is not None
        call_rcu(table)
        tlb.tables[i] = None


def tlb_table_invalidate(tlb: mmu_gather) -> None:
    """Flush, so that no hardware walks the tables that are about to be freed."""
    tlb_flush_mmu_tlbonly(tlb)


def tlb_remove_table_one(table: ptdesc) -> None:
    """Free a single table after a grace period."""
    call_rcu(table)


def tlb_table_flush(tlb: mmu_gather) -> None:
    """Flush, and free the queued tables."""
    if tlb.batch:
        tlb_table_invalidate(tlb)
        tlb_remove_table_free(tlb)
        tlb.batch = False
        tlb.batch_nr = 0


def tlb_remove_table(tlb: mmu_gather, table: ptdesc) -> None:
    """Queue a table, or flush and free it alone when there is no memory for a batch."""
    if not tlb.batch:
        tlb.batch = __get_free_page()
        if not tlb.batch:
            tlb_table_invalidate(tlb)
            tlb_remove_table_one(table)
            return
        tlb.batch_nr = 0
    tlb.tables[tlb.batch_nr] = table
    tlb.batch_nr += 1
    if tlb.batch_nr == MAX_TABLE_BATCH:
        tlb_table_flush(tlb)


def tlb_table_init(tlb: mmu_gather) -> None:
    """Start without a batch of tables."""
    tlb.batch = False


def tlb_flush_mmu_free(tlb: mmu_gather) -> None:
    """Free the queued tables and pages."""
    tlb_table_flush(tlb)
    if CONFIG_MMU_GATHER_NO_GATHER == 0:
        tlb_batch_pages_flush(tlb)


def tlb_flush_mmu(tlb: mmu_gather) -> None:
    """Flush, and free what was queued."""
    tlb_flush_mmu_tlbonly(tlb)
    tlb_flush_mmu_free(tlb)


def __tlb_gather_mmu(tlb: mmu_gather, mm: mm_struct, fullmm: bool) -> None:
    """Start a gather."""
    tlb.mm = mm
    tlb.fullmm = fullmm
    tlb.nr[0] = 0
    tlb.active = 0
    tlb.batch_count = 0
    tlb.delayed_rmap = False
    tlb.vma_pfn = False
    tlb_table_init(tlb)
    __tlb_reset_range(tlb)
    inc_tlb_flush_pending(tlb.mm)


def tlb_gather_mmu(tlb: mmu_gather, mm: mm_struct) -> None:
    """Start a gather for a part of an mm."""
    __tlb_gather_mmu(tlb, mm, False)


def tlb_gather_mmu_fullmm(tlb: mmu_gather, mm: mm_struct) -> None:
    """Start a gather for all of an mm, which has no users any more."""
    __tlb_gather_mmu(tlb, mm, True)


def tlb_finish_mmu(tlb: mmu_gather) -> None:
    """Flush, free, and end the gather; flush everything if somebody else's flush of the same mm is still to come."""
    if mm_tlb_flush_nested(tlb.mm):
        tlb.fullmm = True
        __tlb_reset_range(tlb)
        tlb.freed_tables = True
    tlb_flush_mmu(tlb)
    tlb_batch_list_free(tlb)
    dec_tlb_flush_pending(tlb.mm)

# SPDX-License-Identifier: GPL-2.0-only
"""What a gather may hold.

Flag: accounting.  A page whose rmap waits for the flush is only in the first batch or the last; so when the flush has
been done and rmaps are removed, none is left that waits.
"""

from asm.tlb import MAX_GATHER_BATCH, mmu_gather
from asm_generic.tlb import GATHER_BATCHES
from mm.mmu_gather import tlb_flush_rmaps

from ptelab.lang import flag, on_return, reach


@on_return(tlb_flush_rmaps)
def always_delayed_in_first_or_last(tlb: mmu_gather) -> None:
    """No batch holds a page whose rmap still waits."""
    for batch in range(GATHER_BATCHES):
        for i in range(tlb.nr[batch]):
            if tlb.encoded_pages[batch * MAX_GATHER_BATCH + i].ENCODED_PAGE_BIT_DELAY_RMAP:
                flag("accounting", batch=batch, rmap_still_delayed=True)
    if tlb.active > 1:
        reach("gather_third_batch")

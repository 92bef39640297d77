# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap_state.c (v7.0).

Left out: the swap cache.
"""

from asm.tlb import mmu_gather
from linux.mm_types import encoded_page, encoded_page_ptr
from mm.swap import folios_put_refs

from ptelab.lang import u4


def free_pages_and_swap_cache(tlb: mmu_gather, pages: u4, nr: u4) -> None:
    """Drop the references to pages that were gathered.

    Differs: the pages are given as a range of the gather's entries, which are emptied.
    """
    for i in range(nr):
        folio = encoded_page_ptr(tlb.encoded_pages[pages + i])
        tlb.encoded_pages[pages + i] = encoded_page()
        folios_put_refs(folio)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm_inline.h (v7.0).

Context: who asks whether a flush is pending or nested has taken the PTL of an entry whose change it has seen.
"""

from linux.mm_types import Folio, mm_struct
from linux.page_flags import folio_test_anon, folio_test_swapbacked

from ptelab.lang import atomic_dec, atomic_inc, atomic_read


def folio_is_file_lru(folio: Folio) -> bool:
    """Whether the folio may be dropped without being swapped out, if it is clean.

    Differs: it is so of every folio of a file, as those of shmem are not swapped out here.
    """
    return not folio_test_anon(folio) or not folio_test_swapbacked(folio)


def inc_tlb_flush_pending(mm: mm_struct) -> None:
    """Say that entries are about to be changed whose flush comes later."""
    atomic_inc(mm.tlb_flush_pending)


def dec_tlb_flush_pending(mm: mm_struct) -> None:
    """Say that the flush is done."""
    atomic_dec(mm.tlb_flush_pending)


def mm_tlb_flush_pending(mm: mm_struct) -> bool:
    """Whether somebody has still to flush."""
    return atomic_read(mm.tlb_flush_pending) != 0


def mm_tlb_flush_nested(mm: mm_struct) -> bool:
    """Whether somebody else has still to flush."""
    return atomic_read(mm.tlb_flush_pending) > 1

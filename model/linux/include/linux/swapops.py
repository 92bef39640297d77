# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/swapops.h (v7.0)."""

from asm.pgtable import __swp_entry_to_pte, pte_swp_mkuffd_wp
from asm.pgtable_types import pte_t
from linux.mm_types import swp_entry_t


def swp_entry_to_pte(entry: swp_entry_t) -> pte_t:
    """The entry of a page that is in swap."""
    return __swp_entry_to_pte(entry)


def make_pte_marker() -> pte_t:
    """The entry that says that user space wants to know of the next store.

    Left out: other markers.
    """
    return pte_swp_mkuffd_wp(pte_t())

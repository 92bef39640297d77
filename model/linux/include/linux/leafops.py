# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/leafops.h (v7.0).

Left out: entries of other kinds than swap: markers, migration, devices, poison.
"""

from asm.pgtable import __pte_to_swp_entry, pte_present
from asm.pgtable_types import pte_t
from linux.mm_types import swp_entry_t


def softleaf_from_pte(pte: pte_t) -> swp_entry_t:
    """Which slot in swap an entry names; 0 if it is present or empty."""
    return 0 if pte_present(pte) else __pte_to_swp_entry(pte)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/leafops.h (v7.0).

Left out: entries of other kinds than swap, and userfaultfd's markers: other markers, migration, devices, poison.
"""

from asm.pgtable import __pte_to_swp_entry, pte_present, pte_swp_uffd_wp
from asm.pgtable_types import pte_t
from linux.mm_types import swp_entry_t


def softleaf_from_pte(pte: pte_t) -> swp_entry_t:
    """Which slot in swap an entry names; 0 if it is present or empty."""
    return 0 if pte_present(pte) else __pte_to_swp_entry(pte)


def pte_is_uffd_wp_marker(pte: pte_t) -> bool:
    """Whether an entry maps nothing, and only says that user space wants to know of the next store.

    Differs: it has the bit that the entry of a page in swap would have, and no slot; a kind of its own in Linux.
    """
    return not pte_present(pte) and pte_swp_uffd_wp(pte) and softleaf_from_pte(pte) == 0

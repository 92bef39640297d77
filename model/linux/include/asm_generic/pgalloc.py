# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/asm-generic/pgalloc.h (v7.0)."""

from linux.mm_types import mm_struct, ptdesc
from stubs.memory import alloc_table, free_table_now


def pte_alloc_one(mm: mm_struct) -> ptdesc | None:
    """Allocate an empty PTE table; None when there is no memory."""
    return alloc_table()


def pte_free(mm: mm_struct, pte_page: ptdesc) -> None:
    """Free a PTE table that is in use no more, at once."""
    free_table_now(pte_page)

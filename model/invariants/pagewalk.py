# SPDX-License-Identifier: GPL-2.0-only
"""Situations that walks over a range of an mm go through."""

from fs.proc.task_mmu import pagemap_scan_pmd_entry
from linux.pagewalk import mm_walk, page_walk_action
from mm.mincore import mincore_pte_range, mincore_unmapped_range

from ptelab.lang import on_entry, on_return, reach


@on_return(mincore_pte_range)
def sometimes_walked_again(walk: mm_walk) -> None:
    """A page table has gone between the look at the upper entry and its lock."""
    if walk.action == page_walk_action.ACTION_AGAIN:
        reach("walk_again")


@on_return(pagemap_scan_pmd_entry)
def sometimes_scanned_again(walk: mm_walk) -> None:
    """The same where a process asks what was written."""
    if walk.action == page_walk_action.ACTION_AGAIN:
        reach("walk_again")


@on_entry(mincore_unmapped_range)
def sometimes_hole(walk: mm_walk) -> None:
    """A walk finds no page table."""
    reach("walk_hole")

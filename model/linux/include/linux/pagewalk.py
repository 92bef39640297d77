# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/pagewalk.h (v7.0).

Differs: which callbacks a walk has is a number, as there are no pointers to functions; what `private` points to is part
of mm_walk.
"""

from enum import IntEnum

from linux.mm_types import mm_struct, vm_area_struct
from linux.types import Addr, pgoff_t

from ptelab.lang import onstack, u4, u8


class mm_walk_ops(IntEnum):
    """The sets of callbacks that there are.  Differs: clear_refs has two, in place of the type in `private`."""

    wp_walk_ops = 0
    clean_walk_ops = 1
    mincore_walk_ops = 2
    clear_refs_walk_ops = 3
    clear_refs_all_walk_ops = 4
    pagemap_scan_ops = 5
    pagemap_scan_wp_ops = 6


class page_walk_lock(IntEnum):
    """What has to be locked for a walk: the mm for reading, or each VMA for writing."""

    PGWALK_RDLOCK = 0
    PGWALK_WRLOCK = 1


class page_walk_action(IntEnum):
    """What the walk does next: go on with what is below, or visit the same entry again."""

    ACTION_SUBTREE = 0
    ACTION_AGAIN = 1


@onstack
class mm_walk:
    """A walk, and what struct wp_walk and struct clean_walk of mm/mapping_dirty_helpers.c hold.

    `vec`: what mincore or PAGEMAP_SCAN has found, a bit for each page; `pages`: of how many.
    """

    ops: mm_walk_ops
    mm: mm_struct
    vma: vm_area_struct
    action: page_walk_action
    range_start: Addr
    range_end: Addr
    tlbflush_start: Addr
    tlbflush_end: Addr
    total: u4
    bitmap_pgoff: pgoff_t
    bitmap: u8
    start: pgoff_t
    end: pgoff_t
    vec: u8
    pages: u4

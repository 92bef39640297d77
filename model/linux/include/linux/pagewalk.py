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
    """The sets of callbacks that there are."""

    wp_walk_ops = 0
    clean_walk_ops = 1


@onstack
class mm_walk:
    """A walk, and what struct wp_walk and struct clean_walk of mm/mapping_dirty_helpers.c hold.

    `again`: the table went away, so the walk of its range starts anew (ACTION_AGAIN).
    """

    ops: mm_walk_ops
    mm: mm_struct
    vma: vm_area_struct
    again: bool
    range_start: Addr
    range_end: Addr
    tlbflush_start: Addr
    tlbflush_end: Addr
    total: u4
    bitmap_pgoff: pgoff_t
    bitmap: u8
    start: pgoff_t
    end: pgoff_t

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/sched.h (v7.0)."""

from linux.mm_types import mm_struct
from linux.mm_types_task import tlbflush_unmap_batch
from stubs.scheduler import somebody_waits

from ptelab.lang import struct


@struct
class task_struct:
    """A thread; its number is that of the dialect's thread.  Left out: all but the mm and what it has to flush."""

    mm: mm_struct
    tlb_ubc: tlbflush_unmap_batch


def need_resched() -> bool:
    """Whether the CPU should go to another task as soon as that is possible."""
    return somebody_waits()

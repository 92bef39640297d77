# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/exit.c (v7.0)."""

from asm.current import get_current
from kernel.fork import mmput
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock


def exit_mm() -> None:
    """Let the current task have no mm any more.  Its CPU goes on with the mm loaded until it runs another process.

    Left out: that current->mm becomes NULL, as this thread does nothing afterwards; lazy TLB mode.
    """
    mm = get_current().mm
    mmap_read_lock(mm)
    mmap_read_unlock(mm)
    mmput(mm)

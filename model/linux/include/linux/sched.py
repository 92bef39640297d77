# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/sched.h (v7.0)."""

from linux.mm_types import mm_struct

from ptelab.lang import struct


@struct
class task_struct:
    """A thread; its number is that of the dialect's thread.  Left out: all but the mm."""

    mm: mm_struct

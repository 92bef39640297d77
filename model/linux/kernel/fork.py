# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/fork.c (v7.0).

Left out: mm_count, and with it the end of the mm itself: its top table stays.
"""

from linux.mm_types import mm_struct
from mm.mmap import exit_mmap

from ptelab.lang import atomic_dec_and_test


def __mmput(mm: mm_struct) -> None:
    """Tear down an mm without users."""
    exit_mmap(mm)


def mmput(mm: mm_struct) -> None:
    """Drop a user of an mm, and what is mapped with the last."""
    if atomic_dec_and_test(mm.mm_users):
        __mmput(mm)

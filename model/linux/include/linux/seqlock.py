# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/seqlock.h (v7.0).

Differs: the one sequence counter is mm_struct's write_protect_seq, so the functions take the mm.
"""

from linux.mm_types import mm_struct

from ptelab.lang import READ_ONCE, WRITE_ONCE, u4


def raw_write_seqcount_begin(s: mm_struct) -> None:
    """Begin a change: the counter becomes odd.

    Context: one writer at a time.
    """
    WRITE_ONCE(s.write_protect_seq, s.write_protect_seq + 1)


def raw_write_seqcount_end(s: mm_struct) -> None:
    """End a change: the counter becomes even."""
    WRITE_ONCE(s.write_protect_seq, s.write_protect_seq + 1)


def raw_seqcount_try_begin(s: mm_struct) -> tuple[bool, u4]:
    """Begin to read: whether no change is under way, and the counter."""
    start = READ_ONCE(s.write_protect_seq)
    return start % 2 == 0, start


def read_seqcount_retry(s: mm_struct, start: u4) -> bool:
    """Whether something has changed since."""
    return READ_ONCE(s.write_protect_seq) != start

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mmzone.h (v7.0).

Left out: everything but what counts locked memory, and the lists of folios by age.
"""

from enum import IntEnum

from linux.mm_types import Folio
from linux.types import atomic_t

from ptelab.lang import Array, array, param, spinlock_t, struct, u16

# Whether folios are on lists by age, from which reclaim chooses.  Without, it is told what to take.
LRU_LISTS = param("LRU_LISTS", 0)


class lru_list(IntEnum):
    """The lists.  Left out: those of anonymous memory, as if there were no swap."""

    LRU_INACTIVE_FILE = 0
    LRU_ACTIVE_FILE = 1


NR_LRU_LISTS = 2


@struct
class zone:
    """The one zone.  Differs: lru_lock is the lock of its one struct lruvec."""

    NR_MLOCK: atomic_t
    lru_lock: spinlock_t


@struct
class lruvec:
    """The lists of the one memory cgroup on the one node.

    Differs: a list head is two members, the first folio and the last.  `size`: how many are on each list, which Linux
    counts in NR_INACTIVE_FILE and NR_ACTIVE_FILE.  The lock is that of the zone.
    """

    first: Array[Folio | None] = array(NR_LRU_LISTS)
    last: Array[Folio | None] = array(NR_LRU_LISTS)
    size: Array[u16] = array(NR_LRU_LISTS)


def is_active_lru(lru: lru_list) -> bool:
    """Whether a list is one of folios in use."""
    return lru == lru_list.LRU_ACTIVE_FILE

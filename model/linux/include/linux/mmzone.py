# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mmzone.h (v7.0).

Left out: everything but what counts locked memory.
"""

from linux.types import atomic_t

from ptelab.lang import spinlock_t, struct


@struct
class zone:
    """The one zone.  Differs: lru_lock is the lock of its one struct lruvec."""

    NR_MLOCK: atomic_t
    lru_lock: spinlock_t

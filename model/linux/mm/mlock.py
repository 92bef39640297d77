# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mlock.c (v7.0).

Pages that are mapped where memory is locked are kept from reclaim, and are counted.

Differs: a CPU collects the folios that become locked or unlocked and counts them together; here each is counted at
once.
Left out: the system calls, folios that somebody has taken off the LRU.
"""

from linux.mm_types import Folio
from linux.mmzone import zone
from linux.page_flags import (
    folio_clear_unevictable,
    folio_set_unevictable,
    folio_test_clear_mlocked,
    folio_test_mlocked,
    folio_test_set_mlocked,
    folio_test_unevictable,
)  # fmt: skip

from ptelab.lang import at, atomic_dec, atomic_inc, atomic_read, atomic_set, spin_lock, spin_unlock


def __mlock_folio(folio: Folio) -> None:
    """Move a folio to those that reclaim does not look at, or count one more reason that it is there."""
    lruvec = at(zone, 0)
    spin_lock(lruvec.lru_lock)
    if not folio_test_mlocked(folio):
        if folio_test_unevictable(folio):
            folio_clear_unevictable(folio)
    elif folio_test_unevictable(folio):
        atomic_inc(folio.mlock_count)
    else:
        folio_set_unevictable(folio)
        atomic_set(folio.mlock_count, 1)
    spin_unlock(lruvec.lru_lock)


def __munlock_folio(folio: Folio) -> None:
    """Take away one reason, and give the folio back to reclaim with the last."""
    lruvec = at(zone, 0)
    spin_lock(lruvec.lru_lock)
    last = True
    if folio_test_unevictable(folio):
        if atomic_read(folio.mlock_count) != 0:
            atomic_dec(folio.mlock_count)
        last = atomic_read(folio.mlock_count) == 0
    if last:
        if folio_test_clear_mlocked(folio):
            atomic_dec(lruvec.NR_MLOCK)
        if folio_test_unevictable(folio) and not folio_test_mlocked(folio):
            folio_clear_unevictable(folio)
    spin_unlock(lruvec.lru_lock)


def mlock_folio(folio: Folio) -> None:
    """Lock a folio once more."""
    if not folio_test_set_mlocked(folio):
        atomic_inc(at(zone, 0).NR_MLOCK)
    __mlock_folio(folio)


def mlock_new_folio(folio: Folio) -> None:
    """Lock a folio that nobody else knows."""
    folio_test_set_mlocked(folio)
    atomic_inc(at(zone, 0).NR_MLOCK)
    __mlock_folio(folio)


def munlock_folio(folio: Folio) -> None:
    """Unlock a folio once."""
    __munlock_folio(folio)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/page_ref.h (v7.0), as far as that is not in `linux.mm`."""

from linux.mm_types import Folio
from linux.types import atomic_t

from ptelab.lang import atomic_set, try_cmpxchg


def folio_ref_freeze(folio: Folio, count: atomic_t) -> bool:
    """Take all references away if there are exactly as many, so that nobody can take one; whether that was done."""
    return try_cmpxchg(folio._refcount, count, 0)


def folio_ref_unfreeze(folio: Folio, count: atomic_t) -> None:
    """Undo folio_ref_freeze."""
    atomic_set(folio._refcount, count)

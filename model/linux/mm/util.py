# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/util.c (v7.0)."""

from linux.fs import address_space
from linux.mm_types import Folio


def folio_mapping(folio: Folio) -> address_space | None:
    """The page cache that a folio is in; None when it is in none.

    Differs: for a folio in the swap cache Linux answers swap_space, which no caller here needs.
    """
    return folio.mapping

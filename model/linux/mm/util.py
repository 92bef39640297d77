# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/util.c (v7.0)."""

from linux.fs import address_space
from linux.mm_types import Folio


def folio_mapping(folio: Folio) -> address_space | None:
    """The page cache that a folio is in; None when it is in none.

    Left out: anonymous folios.
    """
    return folio.mapping

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/swap.c (v7.0).

Left out: the LRU.
"""

from linux.mm import folio_put_testzero
from linux.mm_types import Folio
from stubs.memory import free_frozen_pages


def __folio_put(folio: Folio) -> None:
    """Free a folio without references."""
    free_frozen_pages(folio)


def folios_put_refs(folio: Folio) -> None:
    """Drop a reference.

    Differs: of one folio; Linux collects up to 31 and frees them together.
    """
    if folio_put_testzero(folio):
        free_frozen_pages(folio)

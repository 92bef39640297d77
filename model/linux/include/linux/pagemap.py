# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/pagemap.h (v7.0)."""

from linux.fs import address_space
from linux.mm_types import Folio, vm_area_struct
from linux.page_flags import page_folio
from linux.types import Addr, pgoff_t
from mm.page_writeback import __folio_start_writeback

from ptelab.lang import spin_lock, spin_trylock


def mapping_stable_writes(mapping: address_space) -> bool:
    """Whether pages must not change while they are written back."""
    return mapping.AS_STABLE_WRITES


def linear_page_index(vma: vm_area_struct, address: Addr) -> pgoff_t:
    """The offset in the file of what a VMA maps at an address."""
    return address - vma.vm_start + vma.vm_pgoff


def folio_trylock(folio: Folio) -> bool:
    """Lock the folio if nobody has; whether it is ours."""
    return spin_trylock(page_folio(folio).PG_locked)


def folio_lock(folio: Folio) -> None:
    """Lock the folio.

    Differs: waiting for the lock and taking it are one step.
    """
    spin_lock(page_folio(folio).PG_locked)


def folio_start_writeback(folio: Folio) -> None:
    """Say that the folio is on its way to the disk.

    Differs: Linux has it in include/linux/page-flags.h.
    """
    __folio_start_writeback(folio)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/internal.h (v7.0)."""

from linux.mm_types import vm_area_struct
from linux.types import pgoff_t

from ptelab.lang import u8

EFAULT_ADDRESS = 255


def vma_address(vma: vm_area_struct, pgoff: pgoff_t) -> u8:
    """Where a VMA maps an offset of its file; EFAULT_ADDRESS when nowhere.

    Differs: C returns -EFAULT as an address.
    """
    if pgoff < vma.vm_pgoff:
        return EFAULT_ADDRESS
    address: u8 = vma.vm_start + pgoff - vma.vm_pgoff
    if address >= vma.vm_end:
        return EFAULT_ADDRESS
    return address

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mmap_lock.c (v7.0).

Differs: see `linux.mmap_lock` for the read lock of a VMA.
"""

from linux.mm import vma_lookup
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock
from linux.types import Addr


def lock_vma_under_rcu(mm: mm_struct, address: Addr) -> vm_area_struct | None:
    """Find the VMA of an address and read-lock it; None, unlocked, when there is none."""
    return lock_mm_and_find_vma(mm, address)


def lock_mm_and_find_vma(mm: mm_struct, addr: Addr) -> vm_area_struct | None:
    """Find the VMA of an address and read-lock the mm; None, unlocked, when there is none.

    Left out: stacks that grow.
    """
    mmap_read_lock(mm)
    vma = vma_lookup(mm, addr)
    if vma is None:
        mmap_read_unlock(mm)
    return vma

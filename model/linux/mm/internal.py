# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/internal.h (v7.0)."""

from asm.pgtable import pgtable_supports_soft_dirty, pte_soft_dirty
from asm.pgtable_types import pte_t
from linux.mm import VM_LOCKED, VM_PFNMAP, VM_SOFTDIRTY
from linux.mm_types import Folio, vm_area_struct
from linux.page_flags import folio_test_mlocked
from linux.types import pgoff_t
from mm.mlock import mlock_folio, munlock_folio

from ptelab.lang import at, down_read, down_write, rw_semaphore, struct, u8, up_read, up_write

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


def vma_soft_dirty_enabled(vma: vm_area_struct) -> bool:
    """Whether somebody wants to know which entries of a VMA were stored through."""
    if not pgtable_supports_soft_dirty():
        return False
    return vma.vm_flags & VM_SOFTDIRTY == 0


def pte_needs_soft_dirty_wp(vma: vm_area_struct, pte: pte_t) -> bool:
    """Whether the first store through an entry has to fault to be noted."""
    return vma_soft_dirty_enabled(vma) and not pte_soft_dirty(pte)


def folio_evictable(folio: Folio) -> bool:
    """Whether reclaim may take a folio.

    Left out: files that must not be reclaimed.
    """
    return not folio_test_mlocked(folio)


def mlock_vma_folio(folio: Folio, vma: vm_area_struct) -> None:
    """Lock a folio that a VMA maps, if the VMA's memory is locked.

    Context: PTL held.
    """
    if vma.vm_flags & (VM_LOCKED | VM_PFNMAP) == VM_LOCKED:
        mlock_folio(folio)


def munlock_vma_folio(folio: Folio, vma: vm_area_struct) -> None:
    """Unlock a folio that a VMA does not map any more, if the VMA's memory is locked.

    Context: PTL held.
    """
    if vma.vm_flags & VM_LOCKED != 0:
        munlock_folio(folio)


@struct
class anon_vma:
    """Who may map anonymous folios.

    Differs: there is one for all VMAs that are private, as if all processes came from one, and it is there from the
    start; the interval tree is the set of VMAs in it, a bit per VMA.
    """

    rwsem: rw_semaphore
    rb_root: u8


def anon_vma_lock_read() -> anon_vma:
    """Lock the tree of VMAs with anonymous memory against writers.

    Differs: returns the one that there is.
    """
    av = at(anon_vma, 0)
    down_read(av.rwsem)
    return av


def anon_vma_unlock_read(av: anon_vma) -> None:
    """Undo anon_vma_lock_read."""
    up_read(av.rwsem)


def anon_vma_lock_write() -> anon_vma:
    """Lock the tree of VMAs with anonymous memory.

    Differs: returns the one that there is.
    """
    av = at(anon_vma, 0)
    down_write(av.rwsem)
    return av


def anon_vma_unlock_write(av: anon_vma) -> None:
    """Undo anon_vma_lock_write."""
    up_write(av.rwsem)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mmap_lock.h (v7.0).

Differs: a VMA's read lock is the mmap_lock, taken and dropped where Linux takes and drops the VMA's.  munmap waits for
readers of either before it detaches a VMA, and holds off new ones until it has, so the only difference is that readers
of other VMAs wait too.  Left out: sequence counters, killable variants; vma_assert_locked, which only
other walks ask.
"""

from linux.mm_types import mm_struct, vm_area_struct

from ptelab.lang import (
    down_read,
    down_read_trylock,
    down_write,
    downgrade_write,
    lockdep_assert_held,
    lockdep_assert_held_write,
    up_read,
    up_write,
)  # fmt: skip


def mmap_assert_locked(mm: mm_struct) -> None:
    """Assert that the mmap_lock is held in some mode."""
    lockdep_assert_held(mm.mmap_lock)


def mmap_assert_write_locked(mm: mm_struct) -> None:
    """Assert that the mmap_lock is held for writing."""
    lockdep_assert_held_write(mm.mmap_lock)


def vma_end_read(vma: vm_area_struct) -> None:
    """Drop the read lock of a VMA."""
    up_read(vma.vm_mm.mmap_lock)


def vma_start_write(vma: vm_area_struct) -> None:
    """Wait until nobody reads a VMA, and keep it so until the mmap_lock is dropped or downgraded.

    Context: mmap_lock held for writing, which does it all here.
    """
    mmap_assert_write_locked(vma.vm_mm)


def mmap_write_lock(mm: mm_struct) -> None:
    """Lock the address space for changes of its VMAs."""
    down_write(mm.mmap_lock)


def mmap_write_unlock(mm: mm_struct) -> None:
    """Undo mmap_write_lock."""
    up_write(mm.mmap_lock)


def mmap_write_downgrade(mm: mm_struct) -> None:
    """Go on as a reader."""
    downgrade_write(mm.mmap_lock)


def mmap_read_lock(mm: mm_struct) -> None:
    """Lock the address space against changes of its VMAs."""
    down_read(mm.mmap_lock)


def mmap_read_trylock(mm: mm_struct) -> bool:
    """Lock the address space against changes of its VMAs if that takes no waiting; whether it is locked."""
    return down_read_trylock(mm.mmap_lock)


def mmap_read_unlock(mm: mm_struct) -> None:
    """Undo mmap_read_lock."""
    up_read(mm.mmap_lock)

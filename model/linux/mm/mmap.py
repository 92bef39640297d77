# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mmap.c (v7.0)."""

from asm.page import TASK_SIZE
from asm.pgtable import vm_get_page_prot
from linux.mm import VM_SHARED
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import mmap_assert_locked
from linux.types import Addr, Errno
from mm.vma import __vm_munmap, vma_find, vma_wants_writenotify

from ptelab.lang import WRITE_ONCE


def vma_set_page_prot(vma: vm_area_struct) -> None:
    """Set what entries of a VMA may do, so that the first store to a page faults if somebody wants to know of it."""
    vm_flags = vma.vm_flags
    if vma_wants_writenotify(vma):
        vm_flags = vm_flags & ~VM_SHARED
    WRITE_ONCE(vma.vm_page_prot, vm_get_page_prot(vm_flags))


def find_vma(mm: mm_struct, addr: Addr) -> vm_area_struct | None:
    """The VMA of an address, or the next above it.

    Context: mmap_lock held.
    """
    mmap_assert_locked(mm)
    return vma_find(mm, addr, TASK_SIZE)


def vm_munmap(start: Addr, len: Addr) -> Errno:
    """Unmap a range for the kernel."""
    return __vm_munmap(start, len, False)


def sys_munmap(addr: Addr, len: Addr) -> Errno:
    """The system call."""
    return __vm_munmap(addr, len, True)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors fs/userfaultfd.c (v7.0).

Left out: all but write-protection; contexts, messages, events.
"""

from linux.errno import EINVAL
from linux.mm import VM_UFFD_WP, vm_fault
from linux.mm_types import mm_struct, vm_fault_t
from linux.mmap_lock import mmap_write_lock, mmap_write_unlock, vma_start_write
from linux.types import Addr, Errno
from mm.userfaultfd import mwriteprotect_range, userfaultfd_set_vm_flags
from mm.vma import vma_find


def handle_userfault(vmf: vm_fault) -> vm_fault_t:
    """Tell user space of a fault.

    Differs: does not wait for an answer; the access faults again until the entry is no longer protected.
    """
    return 0


def userfaultfd_register(mm: mm_struct, start: Addr, len: Addr) -> Errno:
    """Want to be told of stores to write-protected pages of a VMA.

    Left out: parts of VMAs, and more than one.
    """
    mmap_write_lock(mm)
    ret: Errno = EINVAL
    vma = vma_find(mm, start, start + len)
    if vma is not None and vma.vm_start == start and vma.vm_end == start + len:
        vma_start_write(vma)
        userfaultfd_set_vm_flags(vma, vma.vm_flags | VM_UFFD_WP)
        ret = 0
    mmap_write_unlock(mm)
    return ret


def userfaultfd_writeprotect(mm: mm_struct, start: Addr, len: Addr, mode_wp: bool) -> Errno:
    """Protect a range, or resolve the faults of one that was."""
    return mwriteprotect_range(mm, start, len, mode_wp)

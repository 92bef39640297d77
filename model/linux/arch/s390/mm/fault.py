# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/mm/fault.c (v7.0).

Differs: the functions take the address and the code, and return whether they sent the task a signal.  Left out: faults
of the kernel itself; the attempt with the VMA lock before the one with the mmap_lock, see `linux.mmap_lock`; retries.
"""

from asm.current import get_current
from cpu import TEID_STORE
from linux.mm import VM_EXEC, VM_READ, VM_WRITE
from linux.mm_types import FAULT_FLAG_USER, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_OOM
from linux.mmap_lock import mmap_read_unlock
from linux.types import Addr
from mm.memory import handle_mm_fault
from mm.mmap_lock import lock_mm_and_find_vma

from ptelab.lang import u3, u4


def fault_is_write(code: u3) -> bool:
    """Whether it was a store."""
    return code & TEID_STORE != 0


def do_exception(address: Addr, code: u3, access: u4) -> bool:
    """Handle a fault at a user address."""
    mm = get_current().mm
    flags: u4 = FAULT_FLAG_USER
    if fault_is_write(code):
        access = VM_WRITE
    if access == VM_WRITE:
        flags |= FAULT_FLAG_WRITE
    vma = lock_mm_and_find_vma(mm, address)
    if vma is None:
        return True
    if vma.vm_flags & access == 0:
        mmap_read_unlock(mm)
        return True
    fault = handle_mm_fault(vma, address, flags)
    mmap_read_unlock(mm)
    if fault & VM_FAULT_ERROR == 0:
        return False
    return fault & VM_FAULT_OOM == 0


def do_protection_exception(address: Addr, code: u3) -> bool:
    """The entry point for a store to a protected page."""
    return do_exception(address, code, VM_WRITE)


def do_dat_exception(address: Addr, code: u3) -> bool:
    """The entry point for an invalid entry."""
    return do_exception(address, code, VM_READ | VM_WRITE | VM_EXEC)

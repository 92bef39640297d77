# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/mm/fault.c (v7.0).

Differs: the functions return whether they sent the task a signal.  Left out: faults of the kernel itself; that
interrupts are off at entry and exit, where no memory that others see is accessed; vsyscalls, protection keys.
"""

from asm.current import get_current
from asm.trap_pf import X86_PF_PROT, X86_PF_WRITE
from linux.mm import VM_EXEC, VM_READ, VM_WRITE
from linux.mm_types import (
    FAULT_FLAG_USER,
    FAULT_FLAG_WRITE,
    VM_FAULT_ERROR,
    VM_FAULT_OOM,
    mm_struct,
    vm_area_struct,
)  # fmt: skip
from linux.mmap_lock import mmap_read_unlock
from linux.types import Addr
from mm.memory import handle_mm_fault
from mm.mmap_lock import lock_mm_and_find_vma

from ptelab.lang import u3, u4


def bad_area_nosemaphore(error_code: u3, address: Addr) -> bool:
    """Send SIGSEGV."""
    return True


def bad_area_access_error(error_code: u3, address: Addr, mm: mm_struct, vma: vm_area_struct) -> bool:
    """Send SIGSEGV for an access that the VMA does not allow."""
    mmap_read_unlock(mm)
    return True


def do_sigbus(error_code: u3, address: Addr) -> bool:
    """Send SIGBUS."""
    return True


def access_error(error_code: u3, vma: vm_area_struct) -> bool:
    """Whether a VMA does not allow the access that faulted."""
    if error_code & X86_PF_WRITE != 0:
        return vma.vm_flags & VM_WRITE == 0
    if error_code & X86_PF_PROT != 0:
        return True
    return vma.vm_flags & (VM_READ | VM_EXEC | VM_WRITE) == 0


def do_user_addr_fault(error_code: u3, address: Addr) -> bool:
    """Handle a fault at a user address.

    Left out: the attempt with the VMA lock before the one with the mmap_lock, see `linux.mmap_lock`; retries.
    """
    mm = get_current().mm
    flags: u4 = FAULT_FLAG_USER
    if error_code & X86_PF_WRITE != 0:
        flags |= FAULT_FLAG_WRITE
    vma = lock_mm_and_find_vma(mm, address)
    if vma is None:
        return bad_area_nosemaphore(error_code, address)
    if access_error(error_code, vma):
        return bad_area_access_error(error_code, address, mm, vma)
    fault = handle_mm_fault(vma, address, flags)
    mmap_read_unlock(mm)
    if fault & VM_FAULT_ERROR == 0:
        return False
    if fault & VM_FAULT_OOM != 0:
        return False
    return do_sigbus(error_code, address)


def handle_page_fault(error_code: u3, address: Addr) -> bool:
    """Handle a page fault."""
    return do_user_addr_fault(error_code, address)


def exc_page_fault(error_code: u3, address: Addr) -> bool:
    """The exception's entry point.

    Differs: the address is an argument; Linux reads CR2.
    """
    return handle_page_fault(error_code, address)

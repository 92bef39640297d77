# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/mm/fault.c (v7.0).

Differs: the functions return whether they sent the task a signal.  Left out: faults of the kernel itself, tags, keys,
shadow stacks; the attempt with the VMA lock before the one with the mmap_lock, see `linux.mmap_lock`; retries.
"""

from asm.current import get_current
from asm.esr import ESR_ELx_WNR
from asm.pgtable import pmd_same, pte_same
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from asm.tlbflush import local_flush_tlb_page
from linux.mm import VM_EXEC, VM_READ, VM_WRITE
from linux.mm_types import FAULT_FLAG_USER, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_OOM, vm_area_struct
from linux.mmap_lock import mmap_read_unlock
from linux.types import Addr
from mm.memory import handle_mm_fault
from mm.mmap_lock import lock_mm_and_find_vma

from ptelab.lang import READ_ONCE, try_cmpxchg, u3, u4


def ptep_set_access_flags(vma: vm_area_struct, address: Addr, ptep: pte_p, entry: pte_t, dirty: bool) -> bool:
    """Give rights, AF or dirtiness to an entry beside the hardware's own updates; whether there was anything to give.

    Context: PTL held.  Of AP[2] the more permissive value stays.  A stale read-only entry is dropped at this CPU only.
    Differs: Linux calls it __ptep_set_access_flags; the name without underscores also knows contiguous entries.
    Differs: Linux has it in include/asm/pgtable.h under this name.
    """
    pte = READ_ONCE(ptep.pte)
    if pte_same(pte, entry):
        return False
    done = False
    while not done:
        new = pte._replace(
            rdonly=pte.rdonly and entry.rdonly,
            af=pte.af or entry.af,
            dbm=pte.dbm or entry.dbm,
            sw_dirty=pte.sw_dirty or entry.sw_dirty,
        )
        done = try_cmpxchg(ptep.pte, pte, new)
        if not done:
            pte = READ_ONCE(ptep.pte)
    if dirty:
        local_flush_tlb_page(vma, address)
    return True


def pmdp_set_access_flags(vma: vm_area_struct, address: Addr, pmdp: pmd_p, entry: pmd_t, dirty: bool) -> bool:
    """Give rights, AF or dirtiness to the entry of a huge page beside the hardware; whether there was anything to give.

    Context: pmd lock held.  Differs: Linux has it in include/asm/pgtable.h, with ptep_set_access_flags's inside.
    """
    pmd = READ_ONCE(pmdp.pmd)
    if pmd_same(pmd, entry):
        return False
    done = False
    while not done:
        new = pmd._replace(
            entry=pmd.entry._replace(
                rdonly=pmd.entry.rdonly and entry.entry.rdonly,
                af=pmd.entry.af or entry.entry.af,
                dbm=pmd.entry.dbm or entry.entry.dbm,
                sw_dirty=pmd.entry.sw_dirty or entry.entry.sw_dirty,
            )
        )
        done = try_cmpxchg(pmdp.pmd, pmd, new)
        if not done:
            pmd = READ_ONCE(pmdp.pmd)
    if dirty:
        local_flush_tlb_page(vma, address)
    return True


def is_write_abort(esr: u3) -> bool:
    """Whether it was a store."""
    return esr & ESR_ELx_WNR != 0


def do_page_fault(far: Addr, esr: u3) -> bool:
    """Handle a fault at a user address."""
    mm = get_current().mm
    mm_flags: u4 = FAULT_FLAG_USER
    vm_flags: u4 = VM_READ | VM_WRITE | VM_EXEC
    if is_write_abort(esr):
        vm_flags = VM_WRITE
        mm_flags |= FAULT_FLAG_WRITE
    vma = lock_mm_and_find_vma(mm, far)
    if vma is None:
        return True
    if vma.vm_flags & vm_flags == 0:
        mmap_read_unlock(mm)
        return True
    fault = handle_mm_fault(vma, far, mm_flags)
    mmap_read_unlock(mm)
    if fault & VM_FAULT_ERROR == 0:
        return False
    return fault & VM_FAULT_OOM == 0


def do_mem_abort(far: Addr, esr: u3) -> bool:
    """The exception's entry point.

    Differs: every fault's handler leads to do_page_fault, so the table fault_info is left out; and so is
    do_translation_fault, which only tells user addresses from the kernel's.
    """
    return do_page_fault(far, esr)

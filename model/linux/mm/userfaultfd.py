# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/userfaultfd.c (v7.0).

Left out: all but write-protection: filling, continuing, moving, poisoning.
"""

from asm.tlb import mmu_gather
from linux.errno import ENOENT
from linux.mm import (
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_SHARED,
    VM_UFFD_WP,
    cp_flags_t,
    vm_flags_reset,
)
from linux.mm_types import mm_struct, vm_area_struct, vm_flags_t
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock
from linux.types import Addr, Errno
from linux.userfaultfd_k import userfaultfd_wp
from mm.mmap import vma_set_page_prot
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.mprotect import change_protection
from mm.vma import vma_find, vma_wants_manual_pte_write_upgrade

from ptelab.lang import new


def uffd_wp_range(dst_vma: vm_area_struct, start: Addr, len: Addr, enable_wp: bool) -> None:
    """Let user space know of stores to a range, or no longer.

    Context: mmap_lock held for reading only, so that faults run meanwhile.
    """
    mm_cp_flags: cp_flags_t = MM_CP_UFFD_WP if enable_wp else MM_CP_UFFD_WP_RESOLVE
    if not enable_wp and vma_wants_manual_pte_write_upgrade(dst_vma):
        mm_cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, dst_vma.vm_mm)
    change_protection(tlb, dst_vma, start, start + len, mm_cp_flags)
    tlb_finish_mmu(tlb)


def mwriteprotect_range(dst_mm: mm_struct, start: Addr, len: Addr, enable_wp: bool) -> Errno:
    """Let user space know of stores to a range, or no longer.

    Left out: map_changing_lock, as nobody tells user space that mappings change.
    """
    end: Addr = start + len
    mmap_read_lock(dst_mm)
    err: Errno = ENOENT
    addr: Addr = start
    while addr < end:
        dst_vma = vma_find(dst_mm, addr, end)
        if dst_vma is None:
            break
        if not userfaultfd_wp(dst_vma):
            err = ENOENT
            break
        first: Addr = dst_vma.vm_start if dst_vma.vm_start > start else start
        last: Addr = dst_vma.vm_end if dst_vma.vm_end < end else end
        uffd_wp_range(dst_vma, first, last - first, enable_wp)
        err = 0
        addr = last
    mmap_read_unlock(dst_mm)
    return err


def userfaultfd_set_vm_flags(vma: vm_area_struct, vm_flags: vm_flags_t) -> None:
    """Change the flags of a VMA, and for a shared one what its entries may do from the start."""
    uffd_wp_changed = (vma.vm_flags ^ vm_flags) & VM_UFFD_WP != 0
    vm_flags_reset(vma, vm_flags)
    if vma.vm_flags & VM_SHARED != 0 and uffd_wp_changed:
        vma_set_page_prot(vma)

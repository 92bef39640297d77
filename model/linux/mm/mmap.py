# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mmap.c (v7.0).

Left out: vm_munmap, as none of what is here unmaps anything for the kernel.
"""

from asm.page import TASK_SIZE
from asm.pgtable import vm_get_page_prot
from asm.tlb import mmu_gather
from asm.tlbflush import flush_tlb_mm
from linux.errno import ENOMEM
from linux.fs import i_mmap_lock_write, i_mmap_unlock_write
from linux.mm import VM_LOCKED, VM_SHARED, vm_flags_clear, vma_interval_tree_insert
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import (
    mmap_assert_locked,
    mmap_assert_write_locked,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vma_start_write,
)  # fmt: skip
from linux.types import Addr, Errno
from mm.memory import copy_page_range, free_pgtables, unmap_vmas
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu_fullmm
from mm.rmap import anon_vma_fork
from mm.vma import (
    __vm_munmap,
    remove_vma,
    unmap_all_init,
    unmap_desc,
    vma_find,
    vma_iter_clear_gfp,
    vma_wants_writenotify,
)  # fmt: skip
from stubs.memory import alloc_vma

from ptelab.lang import WRITE_ONCE, new


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


def sys_munmap(addr: Addr, len: Addr) -> Errno:
    """The system call."""
    return __vm_munmap(addr, len, True)


def tear_down_vmas(mm: mm_struct, unmap: unmap_desc) -> None:
    """Free the VMAs of an mm.

    Context: mmap_lock held for writing.
    """
    mmap_assert_write_locked(mm)
    for i in range(unmap.vma_count):
        remove_vma(unmap.mas[i])


def exit_mmap(mm: mm_struct) -> None:
    """Take everything from an mm that has no users any more.  CPUs may still have it loaded.

    Left out: MMU notifiers, MMF_OOM_SKIP, statistics.
    """
    mmap_read_lock(mm)
    if vma_find(mm, 0, TASK_SIZE) is None:
        mmap_read_unlock(mm)
        mmap_write_lock(mm)
    else:
        unmap = new(unmap_desc)
        tlb = new(mmu_gather)
        unmap_all_init(unmap, mm)
        tlb_gather_mmu_fullmm(tlb, mm)
        unmap_vmas(tlb, unmap)
        mmap_read_unlock(mm)
        mmap_write_lock(mm)
        free_pgtables(tlb, unmap)
        tlb_finish_mmu(tlb)
        tear_down_vmas(mm, unmap)
    vma_iter_clear_gfp(mm, 0, TASK_SIZE)
    mmap_write_unlock(mm)


def dup_mmap(mm: mm_struct, oldmm: mm_struct) -> Errno:
    """Copy an address space to a child.

    Whoever faults in the parent meanwhile waits for the mmap_lock, so that no store that a stale TLB entry lets through
    comes after a copy: the flush is done before the lock is dropped.
    Left out: failures, which leave half a child; flags that keep a VMA from the child; dup_userfaultfd, so that a child
    is registered as its parent is, which Linux does with UFFD_FEATURE_EVENT_FORK; statistics.
    """
    mmap_write_lock(oldmm)
    mmap_write_lock(mm)
    retval: Errno = 0
    addr: Addr = 0
    while addr < TASK_SIZE and retval == 0:
        mpnt = vma_find(oldmm, addr, TASK_SIZE)
        if mpnt is None:
            break
        vma_start_write(mpnt)
        tmp = vm_area_dup(mpnt)
        if tmp is None:
            retval = ENOMEM
            break
        tmp.vm_mm = mm
        anon_vma_fork(tmp, mpnt)
        vm_flags_clear(tmp, VM_LOCKED)
        vma_iter_store(mm, tmp)
        mapping = tmp.vm_file
        if mapping is not None:
            i_mmap_lock_write(mapping)
            vma_interval_tree_insert(tmp, mapping)
            i_mmap_unlock_write(mapping)
        retval = copy_page_range(tmp, mpnt)
        addr = mpnt.vm_end
    mmap_write_unlock(mm)
    flush_tlb_mm(oldmm)
    mmap_write_unlock(oldmm)
    return retval


def vm_area_dup(orig: vm_area_struct) -> vm_area_struct | None:
    """A copy of a VMA; None without memory.

    Differs: Linux has it in mm/vma_init.c.
    """
    vma = alloc_vma()
    if vma is not None:
        vma.vm_start = orig.vm_start
        vma.vm_end = orig.vm_end
        vma.vm_page_prot = orig.vm_page_prot
        vma.vm_flags = orig.vm_flags
        vma.vm_pgoff = orig.vm_pgoff
        vma.vm_file = orig.vm_file
    return vma


def vma_iter_store(mm: mm_struct, vma: vm_area_struct) -> None:
    """Make a VMA known by its addresses.

    Differs: Linux has it in include/linux/mm.h as vma_iter_bulk_store.
    """
    for addr in range(TASK_SIZE):
        if vma.vm_start <= addr and addr < vma.vm_end:
            mm.mm_mt[addr] = vma

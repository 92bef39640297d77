# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/vma.c (v7.0), with mm/vma.h.

Left out: splitting and merging, so munmap of a part of a VMA fails; anonymous VMAs, statistics, userfaultfd, sealing.
"""

from asm.current import get_current
from asm.page import TASK_SIZE
from asm.tlb import mmu_gather
from linux.errno import EINVAL, ENOMEM
from linux.fs import address_space, i_mmap_lock_write, i_mmap_unlock_write, mapping_can_writeback
from linux.mm import VM_SHARED, VM_WRITE, vma_interval_tree_insert, vma_interval_tree_remove
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import (
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
    vma_start_write,
)  # fmt: skip
from linux.types import Addr, Errno, pgoff_t
from linux.userfaultfd_k import userfaultfd_wp
from mm.internal import vma_soft_dirty_enabled
from mm.memory import free_pgtables, unmap_vmas
from mm.mmap import vm_area_dup, vma_iter_store
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.rmap import anon_vma_clone

from ptelab.lang import Array, array, index_of, new, onstack, u4

FIRST_USER_ADDRESS = 0
USER_PGTABLES_CEILING = 0


@onstack
class vma_munmap_struct:
    """The state of a munmap.

    Differs: the detached VMAs are a list in address order; Linux puts them into a second maple tree.
    """

    start: Addr
    end: Addr
    unmap_start: Addr
    unmap_end: Addr
    vma_count: Addr
    unlock: bool
    clear_ptes: bool
    mas_detach: Array[vm_area_struct] = array(TASK_SIZE)


@onstack
class unmap_desc:
    """What to unmap: VMAs, and the range of page tables that may go.

    Left out: what tells the maple tree where to look.
    """

    pg_start: Addr
    pg_end: Addr
    vma_start: Addr
    vma_end: Addr
    vma_count: Addr
    mas: Array[vm_area_struct] = array(TASK_SIZE)


@onstack
class unlink_vma_file_batch:
    """VMAs of one file that leave its rmap together.

    Differs: as many as fit into an address space, not 8.
    """

    count: u4
    vmas: Array[vm_area_struct] = array(TASK_SIZE)


def __remove_shared_vm_struct(vma: vm_area_struct, mapping: address_space) -> None:
    """Take a VMA out of its file's rmap.

    Context: i_mmap_rwsem held for writing.
    """
    vma_interval_tree_remove(vma, mapping)


def remove_vma(vma: vm_area_struct) -> None:
    """Free a VMA.

    Left out: all of it: a VMA's number is not used again.
    """


def unmap_all_init(unmap: unmap_desc, mm: mm_struct) -> None:
    """Describe all that an mm has mapped.

    Context: mmap_lock held.  Differs: Linux has it in mm/vma.h.
    """
    unmap.pg_start = FIRST_USER_ADDRESS
    unmap.pg_end = USER_PGTABLES_CEILING
    unmap.vma_start = 0
    unmap.vma_end = TASK_SIZE
    unmap.vma_count = 0
    addr: Addr = 0
    while addr < TASK_SIZE:
        vma = mm.mm_mt[addr]
        if vma is None:
            addr += 1
        else:
            unmap.mas[unmap.vma_count] = vma
            unmap.vma_count += 1
            addr = vma.vm_end


def unmap_region(unmap: unmap_desc) -> None:
    """Zap the entries of detached VMAs, take them out of the rmap, free their page tables, flush."""
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, unmap.mas[0].vm_mm)
    unmap_vmas(tlb, unmap)
    free_pgtables(tlb, unmap)
    tlb_finish_mmu(tlb)


def vms_clear_ptes(vms: vma_munmap_struct) -> None:
    """Unmap what was detached."""
    if not vms.clear_ptes:
        return
    unmap = new(unmap_desc)
    unmap.pg_start = vms.unmap_start
    unmap.pg_end = vms.unmap_end
    unmap.vma_start = vms.start
    unmap.vma_end = vms.end
    unmap.vma_count = vms.vma_count
    for i in range(vms.vma_count):
        unmap.mas[i] = vms.mas_detach[i]
    unmap_region(unmap)
    vms.clear_ptes = False


def vms_complete_munmap_vmas(vms: vma_munmap_struct, mm: mm_struct) -> None:
    """Unmap what was detached; as a reader of the mmap_lock if it is to be dropped at the end.

    Context: mmap_lock held for writing.
    """
    if vms.unlock:
        mmap_write_downgrade(mm)
    vms_clear_ptes(vms)
    for i in range(vms.vma_count):
        remove_vma(vms.mas_detach[i])
    if vms.unlock:
        mmap_read_unlock(mm)


def vms_gather_munmap_vmas(vms: vma_munmap_struct, vma: vm_area_struct, mm: mm_struct) -> Errno:
    """Collect the VMAs of the range, and find out how far page tables may be freed around it.

    Context: mmap_lock held for writing, which also holds off who read-locks a VMA.
    """
    if vms.start > vma.vm_start:
        return ENOMEM
    for below in range(vms.start):
        prev = mm.mm_mt[below]
        if prev is not None:
            vms.unmap_start = prev.vm_end
    addr: Addr = vms.start
    while addr < vms.end:
        next = mm.mm_mt[addr]
        if next is None:
            addr += 1
        else:
            if next.vm_end > vms.end:
                return ENOMEM
            vma_start_write(next)
            vms.mas_detach[vms.vma_count] = next
            vms.vma_count += 1
            addr = next.vm_end
    while addr < TASK_SIZE and vms.unmap_end == USER_PGTABLES_CEILING:
        above = mm.mm_mt[addr]
        if above is not None:
            vms.unmap_end = above.vm_start
        addr += 1
    vms.clear_ptes = True
    return 0


def init_vma_munmap(vms: vma_munmap_struct, start: Addr, end: Addr, unlock: bool) -> None:
    """Start a munmap."""
    vms.start = start
    vms.end = end
    vms.unlock = unlock
    vms.vma_count = 0
    vms.unmap_start = FIRST_USER_ADDRESS
    vms.unmap_end = USER_PGTABLES_CEILING
    vms.clear_ptes = False


def vma_iter_clear_gfp(mm: mm_struct, start: Addr, end: Addr) -> None:
    """Empty a range of the tree of VMAs.

    Differs: an address at a time; the lock makes it one.  Differs: Linux has it in mm/vma.h.
    """
    for addr in range(start, end):
        mm.mm_mt[addr] = None


def do_vmi_align_munmap(vma: vm_area_struct, mm: mm_struct, start: Addr, end: Addr, unlock: bool) -> Errno:
    """Detach the VMAs of a range and unmap them.

    Context: mmap_lock held for writing; dropped on success with `unlock`.
    """
    vms = new(vma_munmap_struct)
    init_vma_munmap(vms, start, end, unlock)
    error = vms_gather_munmap_vmas(vms, vma, mm)
    if error != 0:
        return error
    vma_iter_clear_gfp(mm, start, end)
    vms_complete_munmap_vmas(vms, mm)
    return 0


def do_vmi_munmap(mm: mm_struct, start: Addr, len: Addr, unlock: bool) -> Errno:
    """Unmap a range.

    Context: mmap_lock held for writing; dropped on success with `unlock`.
    """
    if start + len > TASK_SIZE or len == 0:
        return EINVAL
    vma = vma_find(mm, start, start + len)
    if vma is None:
        if unlock:
            mmap_write_unlock(mm)
        return 0
    return do_vmi_align_munmap(vma, mm, start, start + len, unlock)


def vma_find(mm: mm_struct, start: Addr, end: Addr) -> vm_area_struct | None:
    """The first VMA in a range.

    Differs: Linux has it in include/linux/mm.h, and it goes on from an iterator's place.
    """
    for addr in range(start, end):
        vma = mm.mm_mt[addr]
        if vma is not None:
            return vma
    return None


def unlink_file_vma_batch_init(vb: unlink_vma_file_batch) -> None:
    """Empty a batch."""
    vb.count = 0


def unlink_file_vma_batch_process(vb: unlink_vma_file_batch) -> None:
    """Take the VMAs of a batch out of their file's rmap."""
    mapping = vb.vmas[0].vm_file
    i_mmap_lock_write(mapping)
    for i in range(vb.count):
        __remove_shared_vm_struct(vb.vmas[i], mapping)
    i_mmap_unlock_write(mapping)
    unlink_file_vma_batch_init(vb)


def unlink_file_vma_batch_add(vb: unlink_vma_file_batch, vma: vm_area_struct) -> None:
    """Add a VMA to a batch, which is of one file only."""
    if vma.vm_file is None:
        return
    if vb.count > 0 and vb.vmas[0].vm_file != vma.vm_file:
        unlink_file_vma_batch_process(vb)
    vb.vmas[vb.count] = vma
    vb.count += 1


def unlink_file_vma_batch_final(vb: unlink_vma_file_batch) -> None:
    """Deal with what is in a batch."""
    if vb.count > 0:
        unlink_file_vma_batch_process(vb)


def vma_is_shared_writable(vma: vm_area_struct) -> bool:
    """Whether stores through a VMA reach the file."""
    return vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE | VM_SHARED


def vma_wants_writenotify(vma: vm_area_struct) -> bool:
    """Whether the first store to each page has to fault.

    Differs: what has ->page_mkwrite is what can write back.
    """
    if not vma_is_shared_writable(vma) or vma.vm_file is None:
        return False
    if mapping_can_writeback(vma.vm_file):
        return True
    return vma_soft_dirty_enabled(vma) or userfaultfd_wp(vma)


def vma_needs_dirty_tracking(vma: vm_area_struct) -> bool:
    """Whether stores through a VMA have to reach a disk."""
    return vma_is_shared_writable(vma) and vma.vm_file is not None and mapping_can_writeback(vma.vm_file)


def vma_link(mm: mm_struct, vma: vm_area_struct) -> None:
    """Make a VMA known by its addresses, and in its file's rmap."""
    vma_start_write(vma)
    vma_iter_store(mm, vma)
    mapping = vma.vm_file
    if mapping is not None:
        i_mmap_lock_write(mapping)
        vma_interval_tree_insert(vma, mapping)
        i_mmap_unlock_write(mapping)


def copy_vma(vma: vm_area_struct, addr: Addr, len: Addr, pgoff: pgoff_t) -> tuple[vm_area_struct | None, bool]:
    """Make a VMA like another elsewhere; and whether who moves entries to it has to take the rmap's locks.

    It need not if the new VMA comes after the old one in the rmap, so that a walk that misses an entry at the old
    address finds it at the new one.  Differs: the rmap's order is that of the VMAs' numbers, and a VMA with a lower
    number stands for what Linux gets when it merges the copy with a neighbour.  Left out: merging itself.
    """
    new_vma = vm_area_dup(vma)
    if new_vma is None:
        return None, False
    new_vma.vm_start = addr
    new_vma.vm_end = addr + len
    new_vma.vm_pgoff = pgoff
    new_vma.vm_mm = vma.vm_mm
    anon_vma_clone(new_vma, vma)
    vma_link(vma.vm_mm, new_vma)
    return new_vma, index_of(new_vma) < index_of(vma)


def vma_wants_manual_pte_write_upgrade(vma: vm_area_struct) -> bool:
    """Whether entries can be made writable one by one only, because the first store to some has to fault.

    Differs: Linux has it in mm/vma.h.
    """
    if vma.vm_flags & VM_SHARED != 0:
        return vma_wants_writenotify(vma)
    return vma.vm_flags & VM_WRITE != 0


def __vm_munmap(start: Addr, len: Addr, unlock: bool) -> Errno:
    """Unmap a range of the current mm."""
    mm = get_current().mm
    mmap_write_lock(mm)
    ret = do_vmi_munmap(mm, start, len, unlock)
    if ret != 0 or not unlock:
        mmap_write_unlock(mm)
    return ret

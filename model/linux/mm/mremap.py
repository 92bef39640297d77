# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mremap.c (v7.0).

Left out: growing and shrinking, parts of VMAs, and so all but a move of a whole VMA to an address that the caller
names; tables of PMDs; going back after a failure; accounting, seals, notifiers; userfaultfd's events,
so that a VMA is registered at its new address as with UFFD_FEATURE_EVENT_REMAP; prep_move_vma, so that KSM pages are
moved as they are.
"""

from enum import IntEnum

from asm.current import get_current
from asm.page import PMD_SIZE, TASK_SIZE
from asm.pgalloc import pmd_populate
from asm.pgtable import (
    pgtable_supports_soft_dirty,
    pmd_clear,
    pmd_leaf,
    pmd_none,
    pmd_pfn,
    pmd_present,
    pte_mksoft_dirty,
    pte_none,
    pte_present,
    pte_swp_mksoft_dirty,
    ptep_get_and_clear,
)  # fmt: skip
from asm.pgtable_types import pmd_p, pte_p, pte_t
from asm.tlbflush import flush_tlb_range
from config import CONFIG_HAVE_MOVE_PMD, CONFIG_SWAP
from linux.errno import EFAULT, EINVAL, ENOMEM
from linux.fs import i_mmap_lock_write, i_mmap_unlock_write
from linux.huge_mm import thp_is_possible
from linux.mm import VM_LOCKED, is_cow_mapping, pmd_lock, pte_alloc, pte_unmap_unlock, vm_flags_clear, vma_lookup
from linux.mm_types import ptdesc, vm_area_struct
from linux.mman import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from linux.mmap_lock import mmap_write_lock, mmap_write_unlock, vma_start_write
from linux.pgtable import pmd_off, pmd_trans_huge, pmdp_get, ptep_get, set_pte_at
from linux.types import Addr, Errno
from mm.huge_memory import __split_huge_pmd, move_huge_pmd
from mm.internal import anon_vma, anon_vma_lock_write, anon_vma_unlock_write
from mm.pgtable_generic import pte_offset_map_lock, pte_offset_map_rw_nolock
from mm.rmap import flush_tlb_batched_pending
from mm.vma import copy_vma, do_vmi_munmap, vma_find

from ptelab.lang import at, index_of, new, onstack, spin_lock, spin_unlock, u3


class pgt_entry(IntEnum):
    """What may be moved as a whole.  Left out: the levels above."""

    NORMAL_PMD = 0
    HPAGE_PMD = 1


@onstack
class pagetable_move_control:
    """What a move of page tables is about; old_addr and new_addr advance.

    Differs: Linux has it in mm/internal.h.
    """

    old: vm_area_struct
    new: vm_area_struct
    old_addr: Addr
    old_end: Addr
    new_addr: Addr
    len_in: Addr
    need_rmap_locks: bool


def take_rmap_locks(vma: vm_area_struct) -> None:
    """Hold off who looks for the entries of the VMA's pages.

    Differs: every private mapping has an anon_vma, whose lock only reclaim of such memory waits for.
    """
    if vma.vm_file is not None:
        i_mmap_lock_write(vma.vm_file)
    if CONFIG_SWAP == 1 and is_cow_mapping(vma.vm_flags):
        anon_vma_lock_write()


def drop_rmap_locks(vma: vm_area_struct) -> None:
    """Undo take_rmap_locks."""
    if CONFIG_SWAP == 1 and is_cow_mapping(vma.vm_flags):
        anon_vma_unlock_write(at(anon_vma, 0))
    if vma.vm_file is not None:
        i_mmap_unlock_write(vma.vm_file)


def move_soft_dirty_pte(pte: pte_t) -> pte_t:
    """Let user space see that an entry was moved."""
    if pte_none(pte):
        return pte
    if pgtable_supports_soft_dirty():
        pte = pte_mksoft_dirty(pte) if pte_present(pte) else pte_swp_mksoft_dirty(pte)
    return pte


def move_locked_ptes(pmc: pagetable_move_control, extent: Addr, old_ptep: pte_p, new_ptep: pte_p) -> bool:
    """Move entries; whether the old addresses have to be flushed before any of the PTLs is dropped.

    Context: both PTLs held.  Till the flush the old one keeps off who cleans the page and finds no entry where TLBs
    still have one, the new one who unmaps the page again and frees it.
    Differs: Linux has it in mm/mremap.c as a part of move_ptes.
    """
    mm = pmc.old.vm_mm
    force_flush = False
    for i in range(extent):
        old = at(pte_p, index_of(old_ptep) + i)
        slot = at(pte_p, index_of(new_ptep) + i)
        assert pte_none(ptep_get(slot))
        old_pte = ptep_get(old)
        if not pte_none(old_pte):
            if pte_present(old_pte):
                force_flush = True
            pte = ptep_get_and_clear(mm, pmc.old_addr + i, old)
            pte = move_soft_dirty_pte(pte)
            set_pte_at(mm, pmc.new_addr + i, slot, pte)
    return force_flush


def move_ptes(pmc: pagetable_move_control, extent: Addr, old_pmd: pmd_p, new_pmd: pmd_p) -> bool:
    """Move the entries of one PTE table; false when a table has gone and must be looked for again.

    An rmap walk may miss neither the old nor the new entry: unless the rmap's order sees to it, its locks are taken.
    """
    mm = pmc.old.vm_mm
    if pmc.need_rmap_locks:
        take_rmap_locks(pmc.old)
    moved = False
    old_ptep, old_ptl = pte_offset_map_lock(mm, old_pmd, pmc.old_addr)
    if old_ptep is not None:
        new_ptep, dummy_pmdval, new_ptl = pte_offset_map_rw_nolock(mm, new_pmd, pmc.new_addr)
        if new_ptep is not None:
            if new_ptl != old_ptl:
                spin_lock(new_ptl.ptl)
            flush_tlb_batched_pending(mm)
            force_flush = move_locked_ptes(pmc, extent, old_ptep, new_ptep)
            if force_flush:
                flush_tlb_range(pmc.old, pmc.old_addr, pmc.old_addr + extent)
            if new_ptl != old_ptl:
                spin_unlock(new_ptl.ptl)
            moved = True
        pte_unmap_unlock(old_ptep, old_ptl)
    if pmc.need_rmap_locks:
        drop_rmap_locks(pmc.old)
    return moved


def arch_supports_page_table_move() -> bool:
    """Whether a PTE table may be moved as a whole."""
    return CONFIG_HAVE_MOVE_PMD == 1


def move_normal_pmd(pmc: pagetable_move_control, old_pmd: pmd_p, new_pmd: pmd_p) -> bool:
    """Move a PTE table as a whole; false when it cannot be done.

    Differs: both upper entries have the same lock.
    """
    vma = pmc.old
    mm = vma.vm_mm
    if not arch_supports_page_table_move():
        return False
    if not pmd_none(pmdp_get(new_pmd)):
        return False
    old_ptl = pmd_lock(mm, old_pmd)
    pmd = pmdp_get(old_pmd)
    moved = pmd_present(pmd) and not pmd_leaf(pmd)
    if moved:
        pmd_clear(old_pmd)
        pmd_populate(mm, new_pmd, at(ptdesc, pmd_pfn(pmd)))
        flush_tlb_range(vma, pmc.old_addr, pmc.old_addr + PMD_SIZE)
    spin_unlock(old_ptl.page_table_lock)
    return moved


def get_extent(pmc: pagetable_move_control) -> Addr:
    """How much can be moved between the next ends of a PTE table, old or new, and of the range.

    Left out: the levels above.
    """
    extent: Addr = PMD_SIZE - pmc.old_addr % PMD_SIZE
    if extent > pmc.old_end - pmc.old_addr:
        extent = pmc.old_end - pmc.old_addr
    if extent > PMD_SIZE - pmc.new_addr % PMD_SIZE:
        extent = PMD_SIZE - pmc.new_addr % PMD_SIZE
    return extent


def should_take_rmap_locks(pmc: pagetable_move_control, entry: pgt_entry) -> bool:
    """Whether the rmap's locks are needed: always for a table, as who has looked it up by its old address may go on."""
    return entry == pgt_entry.NORMAL_PMD or pmc.need_rmap_locks


def move_pgt_entry(pmc: pagetable_move_control, entry: pgt_entry, old_entry: pmd_p, new_entry: pmd_p) -> bool:
    """Move a table as a whole, or a huge page; whether that was done."""
    need_rmap_locks = should_take_rmap_locks(pmc, entry)
    if need_rmap_locks:
        take_rmap_locks(pmc.old)
    if entry == pgt_entry.NORMAL_PMD:
        moved = move_normal_pmd(pmc, old_entry, new_entry)
    else:
        moved = move_huge_pmd(pmc.old, pmc.old_addr, pmc.new_addr, old_entry, new_entry)
    if need_rmap_locks:
        drop_rmap_locks(pmc.old)
    return moved


def can_align_down(pmc: pagetable_move_control, vma: vm_area_struct, addr_to_align: Addr) -> bool:
    """Whether nothing is mapped between the beginning of a table and the VMA.

    Left out: stacks.
    """
    if vma.vm_start != addr_to_align:
        return False
    return vma_find(vma.vm_mm, addr_to_align - addr_to_align % PMD_SIZE, vma.vm_start) is None


def can_realign_addr(pmc: pagetable_move_control) -> bool:
    """Whether the move may begin with the whole table instead of the VMA's part of it."""
    old_align: Addr = pmc.old_addr % PMD_SIZE
    new_align: Addr = pmc.new_addr % PMD_SIZE
    if pmc.len_in < PMD_SIZE - old_align:
        return False
    if old_align == 0:
        return False
    if old_align != new_align:
        return False
    return can_align_down(pmc, pmc.old, pmc.old_addr) and can_align_down(pmc, pmc.new, pmc.new_addr)


def try_realign_addr(pmc: pagetable_move_control) -> None:
    """Begin the move at the beginning of a table if that does no harm."""
    if can_realign_addr(pmc):
        pmc.old_addr -= pmc.old_addr % PMD_SIZE
        pmc.new_addr -= pmc.new_addr % PMD_SIZE


def move_page_tables(pmc: pagetable_move_control) -> bool:
    """Move the entries of a VMA; false when there is no memory for a table.

    Differs: says whether all was moved, not how much.
    """
    mm = pmc.old.vm_mm
    try_realign_addr(pmc)
    while pmc.old_addr < pmc.old_end:
        extent = get_extent(pmc)
        old_pmd = pmd_off(mm, pmc.old_addr)
        new_pmd = pmd_off(mm, pmc.new_addr)
        done = pmd_none(pmdp_get(old_pmd))
        while not done:
            if thp_is_possible() and pmd_trans_huge(pmdp_get(old_pmd)):
                done = extent == PMD_SIZE and move_pgt_entry(pmc, pgt_entry.HPAGE_PMD, old_pmd, new_pmd)
                if not done:
                    __split_huge_pmd(pmc.old, old_pmd, pmc.old_addr)
            else:
                done = extent == PMD_SIZE and move_pgt_entry(pmc, pgt_entry.NORMAL_PMD, old_pmd, new_pmd)
            if not done and pmd_none(pmdp_get(old_pmd)):
                done = True
            if not done:
                if pte_alloc(pmc.new.vm_mm, new_pmd):
                    return False
                done = move_ptes(pmc, extent, old_pmd, new_pmd)
        pmc.old_addr += extent
        pmc.new_addr += extent
    return True


def copy_vma_and_data(vma: vm_area_struct, addr: Addr, len: Addr, new_addr: Addr) -> Errno:
    """Make the VMA at the new address and move the entries to it."""
    new_vma, need_rmap_locks = copy_vma(vma, new_addr, len, vma.vm_pgoff)
    if new_vma is None:
        return ENOMEM
    pmc = new(pagetable_move_control)
    pmc.old = vma
    pmc.new = new_vma
    pmc.old_addr = addr
    pmc.old_end = addr + len
    pmc.new_addr = new_addr
    pmc.len_in = len
    pmc.need_rmap_locks = need_rmap_locks
    return 0 if move_page_tables(pmc) else ENOMEM


def dontunmap_complete(vma: vm_area_struct) -> None:
    """The old VMA stays, without what it had.

    Left out: anon_vma.
    """
    vm_flags_clear(vma, VM_LOCKED)


def move_vma(vma: vm_area_struct, addr: Addr, len: Addr, flags: u3, new_addr: Addr) -> Errno:
    """Move a VMA, and unmap where it was unless the caller wants to keep that."""
    vma_start_write(vma)
    err = copy_vma_and_data(vma, addr, len, new_addr)
    if err == 0 and flags & MREMAP_DONTUNMAP != 0:
        dontunmap_complete(vma)
    elif err == 0:
        do_vmi_munmap(vma.vm_mm, addr, len, False)
    return err


def mremap_to(addr: Addr, len: Addr, flags: u3, new_addr: Addr) -> Errno:
    """Move a VMA to where the caller says, whatever is mapped there."""
    mm = get_current().mm
    err = do_vmi_munmap(mm, new_addr, len, False)
    if err != 0:
        return err
    vma = vma_lookup(mm, addr)
    if vma is None:
        return EFAULT
    return move_vma(vma, addr, len, flags, new_addr)


def do_mremap(addr: Addr, old_len: Addr, new_len: Addr, flags: u3, new_addr: Addr) -> Errno:
    """Move a VMA.

    Differs: returns 0, as the new address is what the caller says.
    """
    if flags & ~MREMAP_DONTUNMAP != MREMAP_MAYMOVE | MREMAP_FIXED or old_len != new_len or new_len == 0:
        return EINVAL
    if addr + old_len > TASK_SIZE or new_addr + new_len > TASK_SIZE:
        return EINVAL
    if addr + old_len > new_addr and new_addr + new_len > addr:
        return EINVAL
    mm = get_current().mm
    mmap_write_lock(mm)
    ret: Errno = EFAULT
    vma = vma_lookup(mm, addr)
    if vma is not None:
        ret = EINVAL
        if vma.vm_start == addr and vma.vm_end == addr + old_len:
            ret = mremap_to(addr, old_len, flags, new_addr)
    mmap_write_unlock(mm)
    return ret


def sys_mremap(addr: Addr, old_len: Addr, new_len: Addr, flags: u3, new_addr: Addr) -> Errno:
    """The system call."""
    return do_mremap(addr, old_len, new_len, flags, new_addr)

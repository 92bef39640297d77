# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/madvise.c (v7.0).

Left out: every behaviour but MADV_DONTNEED; other processes.
"""

from asm.current import get_current
from asm.page import TASK_SIZE
from asm.tlb import mmu_gather
from linux.errno import EINVAL, ENOMEM
from linux.mm import zap_details
from linux.mm_types import mm_struct, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock, vma_end_read
from linux.types import Addr, Errno
from mm.memory import zap_page_range_single_batched
from mm.mmap import find_vma
from mm.mmap_lock import lock_vma_under_rcu
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu

from ptelab.lang import new, onstack, u3

MADV_DONTNEED = 4


@onstack
class madvise_behavior:
    """The state of an madvise.

    Differs: the range's members are here, and lock_mode is only whether the mmap_lock is held for reading.
    """

    mm: mm_struct
    behavior: u3
    tlb: mmu_gather
    lock_mode: bool
    start: Addr
    end: Addr
    vma: vm_area_struct


def madvise_dontneed_single_vma(madv_behavior: madvise_behavior) -> Errno:
    """Zap a range of a VMA."""
    start = madv_behavior.start
    details = zap_details(reclaim_pt=True)
    zap_page_range_single_batched(madv_behavior.tlb, madv_behavior.vma, start, madv_behavior.end - start, details)
    return 0


def madvise_dontneed_free(madv_behavior: madvise_behavior) -> Errno:
    """Forget the contents of a range of a VMA."""
    if madv_behavior.start == madv_behavior.end:
        return 0
    return madvise_dontneed_single_vma(madv_behavior)


def madvise_vma_behavior(madv_behavior: madvise_behavior) -> Errno:
    """Do to a range of a VMA what was asked for."""
    return madvise_dontneed_free(madv_behavior)


def try_vma_read_lock(madv_behavior: madvise_behavior) -> bool:
    """Read-lock the VMA of the range if there is one that holds all of it, else the mm; whether it is the VMA."""
    mm = madv_behavior.mm
    vma = lock_vma_under_rcu(mm, madv_behavior.start)
    if vma is not None:
        if madv_behavior.end <= vma.vm_end:
            madv_behavior.vma = vma
            return True
        vma_end_read(vma)
    mmap_read_lock(mm)
    madv_behavior.lock_mode = True
    return False


def madvise_walk_vmas(madv_behavior: madvise_behavior) -> Errno:
    """Visit the VMAs of a range; ENOMEM at the end if there were gaps.

    The VMA's lock is dropped here: the caller flushes without it.
    """
    last_end = madv_behavior.end
    unmapped_error: Errno = 0
    if try_vma_read_lock(madv_behavior):
        error = madvise_vma_behavior(madv_behavior)
        vma_end_read(madv_behavior.vma)
        return error
    while True:
        vma = find_vma(madv_behavior.mm, madv_behavior.start)
        if vma is None:
            return ENOMEM
        if madv_behavior.start < vma.vm_start:
            unmapped_error = ENOMEM
            madv_behavior.start = vma.vm_start
            if madv_behavior.start >= last_end:
                return unmapped_error
        madv_behavior.end = vma.vm_end if vma.vm_end < last_end else last_end
        madv_behavior.vma = vma
        error = madvise_vma_behavior(madv_behavior)
        if error != 0:
            return error
        madv_behavior.start = madv_behavior.end
        if madv_behavior.end >= last_end:
            return unmapped_error


def madvise_unlock(madv_behavior: madvise_behavior) -> None:
    """Drop the mmap_lock if it is held."""
    if madv_behavior.lock_mode:
        mmap_read_unlock(madv_behavior.mm)
        madv_behavior.lock_mode = False


def madvise_init_tlb(madv_behavior: madvise_behavior) -> None:
    """Start the gather of the whole call."""
    tlb_gather_mmu(madv_behavior.tlb, madv_behavior.mm)


def madvise_finish_tlb(madv_behavior: madvise_behavior) -> None:
    """Flush what the whole call has zapped."""
    tlb_finish_mmu(madv_behavior.tlb)


def is_valid_madvise(start: Addr, len_in: Addr, behavior: u3) -> bool:
    """Whether the arguments make sense.

    Differs: arithmetic does not wrap, so what would is refused.
    """
    return behavior == MADV_DONTNEED and start + len_in <= TASK_SIZE


def madvise_do_behavior(start: Addr, len_in: Addr, madv_behavior: madvise_behavior) -> Errno:
    """Do to a range what was asked for."""
    madv_behavior.start = start
    madv_behavior.end = start + len_in
    return madvise_walk_vmas(madv_behavior)


def do_madvise(mm: mm_struct, start: Addr, len_in: Addr, behavior: u3) -> Errno:
    """Advise about a range of an mm.

    Left out: madvise_lock, which takes nothing for MADV_DONTNEED.
    """
    if not is_valid_madvise(start, len_in, behavior):
        return EINVAL
    if len_in == 0:
        return 0
    madv_behavior = new(madvise_behavior)
    madv_behavior.mm = mm
    madv_behavior.behavior = behavior
    madv_behavior.tlb = new(mmu_gather)
    madvise_init_tlb(madv_behavior)
    error = madvise_do_behavior(start, len_in, madv_behavior)
    madvise_finish_tlb(madv_behavior)
    madvise_unlock(madv_behavior)
    return error


def sys_madvise(start: Addr, len_in: Addr, behavior: u3) -> Errno:
    """The system call."""
    return do_madvise(get_current().mm, start, len_in, behavior)

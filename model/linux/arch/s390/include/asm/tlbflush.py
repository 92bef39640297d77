# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/tlbflush.h (v7.0)."""

from cpu import idte
from linux.mm_types import mm_struct, vm_area_struct
from linux.sched import task_struct
from linux.types import Addr

from ptelab.lang import atomic_dec, atomic_inc, spin_lock, spin_unlock


def __tlb_flush_idte(mm: mm_struct) -> None:
    """Flush an address space from every CPU.

    Differs: takes the mm, whose top table stands for the ASCE.
    """
    idte(mm.pgd)


def __tlb_flush_mm(mm: mm_struct) -> None:
    """Flush an mm from every CPU, and forget those that are no longer attached."""
    atomic_inc(mm.context.flush_count)
    mm.cpu_bitmap = mm.context.cpu_attach_mask
    __tlb_flush_idte(mm)
    atomic_dec(mm.context.flush_count)


def __tlb_flush_mm_lazy(mm: mm_struct) -> None:
    """Flush an mm if entries were invalidated without a flush."""
    spin_lock(mm.context.lock)
    if mm.context.flush_mm:
        mm.context.flush_mm = False
        __tlb_flush_mm(mm)
    spin_unlock(mm.context.lock)


def flush_tlb_page(vma: vm_area_struct, addr: Addr) -> None:
    """Do nothing: an entry is flushed when it is invalidated."""


def flush_tlb_mm(mm: mm_struct) -> None:
    """Do the flush that was left for later, if one was."""
    __tlb_flush_mm_lazy(mm)


def flush_tlb_range(vma: vm_area_struct, start: Addr, end: Addr) -> None:
    """Do the flush that was left for later, if one was."""
    __tlb_flush_mm_lazy(vma.vm_mm)


def arch_tlbbatch_should_defer(mm: mm_struct) -> bool:
    """Whether a flush may be left for later.  Differs: Linux has it in other architectures only; never called."""
    return False


def arch_tlbbatch_add_pending(task: task_struct, mm: mm_struct, start: Addr, end: Addr) -> None:
    """Note a flush.  Differs: Linux has it in other architectures only; never called."""
    assert False


def arch_tlbbatch_flush(task: task_struct) -> None:
    """Flush what was noted.  Differs: Linux has it in other architectures only; never called."""
    assert False

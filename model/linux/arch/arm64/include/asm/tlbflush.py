# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/tlbflush.h (v7.0).

Differs: `__tlbi` and its operations are tlbi and tlbi_is with a scope; a range is one instruction, as with
FEAT_TLBIRANGE.  Left out: level hints, which are right wherever they are given; DSB ISHST before an invalidation, as
memory is sequentially consistent.
"""

from asm.page import PAGE_SIZE, TASK_SIZE
from asm.pgtable_types import pmd_t, pte_t
from cpu import dsb_ish, tlbi, tlbi_is, tlbi_scope
from linux.mm_types import mm_struct, vm_area_struct
from linux.sched import task_struct
from linux.types import Addr

from ptelab.lang import u8


def __tlbi_sync_s1ish() -> None:
    """Wait for the invalidations that this CPU has issued."""
    dsb_ish()


def flush_tlb_mm(mm: mm_struct) -> None:
    """Invalidate all of an mm, walk caches included."""
    tlbi_is(mm.pgd, tlbi_scope(0, TASK_SIZE, False))
    __tlbi_sync_s1ish()


def local_flush_tlb_page_nonotify(vma: vm_area_struct, uaddr: Addr) -> None:
    """Invalidate one page at this CPU."""
    tlbi(tlbi_scope(uaddr, uaddr + PAGE_SIZE, True))


def local_flush_tlb_page(vma: vm_area_struct, uaddr: Addr) -> None:
    """Invalidate one page at this CPU."""
    tlbi(tlbi_scope(uaddr, uaddr + PAGE_SIZE, True))


def flush_tlb_page_nosync(vma: vm_area_struct, uaddr: Addr) -> None:
    """Invalidate one page everywhere, not its walk-cache entries, without waiting."""
    tlbi_is(vma.vm_mm.pgd, tlbi_scope(uaddr, uaddr + PAGE_SIZE, True))


def flush_tlb_page(vma: vm_area_struct, uaddr: Addr) -> None:
    """Invalidate one page everywhere, not its walk-cache entries."""
    flush_tlb_page_nosync(vma, uaddr)
    __tlbi_sync_s1ish()


def __flush_tlb_range_nosync(mm: mm_struct, start: Addr, end: u8, stride: Addr, last_level: bool) -> None:
    """Invalidate a range everywhere without waiting; walk-cache entries too unless only the last level is asked for.

    Left out: the switch to flush_tlb_mm for large ranges.  Differs: the range is not widened to whole strides, as
    without FEAT_TLBIRANGE only the first page of a stride is invalidated.
    """
    tlbi_is(mm.pgd, tlbi_scope(start, end, last_level))


def __flush_tlb_range(vma: vm_area_struct, start: Addr, end: Addr, stride: Addr, last_level: bool) -> None:
    """Invalidate a range everywhere."""
    __flush_tlb_range_nosync(vma.vm_mm, start, end, stride, last_level)
    __tlbi_sync_s1ish()


def flush_tlb_range(vma: vm_area_struct, start: Addr, end: Addr) -> None:
    """Invalidate a range everywhere, walk caches included."""
    __flush_tlb_range(vma, start, end, PAGE_SIZE, False)


def arch_tlbbatch_should_defer(mm: mm_struct) -> bool:
    """Whether it saves waiting to wait later: always, but for errata."""
    return True


def arch_tlbbatch_add_pending(task: task_struct, mm: mm_struct, start: Addr, end: Addr) -> None:
    """Invalidate a range everywhere without waiting.

    Differs: takes the task that the batch belongs to.
    """
    __flush_tlb_range_nosync(mm, start, end, PAGE_SIZE, True)


def arch_tlbbatch_flush(task: task_struct) -> None:
    """Wait for the invalidations that this CPU has issued."""
    dsb_ish()


def __pte_flags_need_flush(oldval: pte_t, newval: pte_t) -> bool:
    """Whether a change of an entry has to be flushed: any change of a valid one but of the bits for software."""
    if not oldval.valid:
        return False
    return oldval != newval._replace(sw_dirty=oldval.sw_dirty, uffd_wp=oldval.uffd_wp)


def pte_needs_flush(oldpte: pte_t, newpte: pte_t) -> bool:
    """Whether a TLB may hold something else than a changed entry says."""
    return __pte_flags_need_flush(oldpte, newpte)


def huge_pmd_needs_flush(oldpmd: pmd_t, newpmd: pmd_t) -> bool:
    """Whether a TLB may hold something else than the changed entry of a huge page says."""
    return __pte_flags_need_flush(oldpmd.entry, newpmd.entry)

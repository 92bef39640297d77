# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/mmu_context.h (v7.0).

A CPU that is about to use an mm first says so in cpu_attach_mask, then waits until nobody is half-way through an
invalidation that does not know of it yet, and does the flush that was left for later.  Only then is the ASCE loaded.

Left out: where the ASCE is kept in between; control register 1 while the kernel runs.
"""

from asm.current import get_current
from asm.tlbflush import __tlb_flush_mm_lazy
from cpu import lctl
from linux.mm_types import mm_struct

from ptelab.lang import atomic_andnot, atomic_or, cpu_id, wait_until


def switch_mm_irqs_off(prev: mm_struct, next: mm_struct) -> None:
    """Detach this CPU from one mm and announce it to another."""
    atomic_or(1 << cpu_id(), next.context.cpu_attach_mask)
    lctl(None)
    if prev != next:
        atomic_andnot(1 << cpu_id(), prev.context.cpu_attach_mask)


def finish_arch_post_lock_switch() -> None:
    """Attach this CPU to the mm of the task that it now runs."""
    mm = get_current().mm
    context = mm.context
    wait_until(context.flush_count == 0)
    atomic_or(1 << cpu_id(), mm.cpu_bitmap)
    __tlb_flush_mm_lazy(mm)
    lctl(mm.pgd)


def enter_lazy_tlb(mm: mm_struct) -> None:
    """Keep the mm loaded while a kernel thread runs.

    Differs: Linux has it in include/asm-generic/mmu_context.h.
    """

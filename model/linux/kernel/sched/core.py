# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/sched/core.c (v7.0).

Left out: the scheduler, and all that a context switch does besides the mm.
"""

from asm.current import get_current
from asm.mmu_context import enter_lazy_tlb, finish_arch_post_lock_switch, switch_mm_irqs_off
from linux.irqflags import local_irq_restore, local_irq_save
from linux.mm_types import mm_struct


def finish_task_switch() -> None:
    """Go on as the next task."""
    finish_arch_post_lock_switch()


def context_switch(next: mm_struct) -> None:
    """Switch this CPU to a task of an mm.

    Differs: the next task is the same thread, with another mm.
    """
    local_irq_save()
    switch_mm_irqs_off(get_current().mm, next)
    get_current().mm = next
    local_irq_restore()
    finish_task_switch()


def context_switch_to_kernel() -> None:
    """Switch this CPU to a kernel thread, which borrows the mm of the task before it.

    Differs: Linux has it in context_switch, for a next task without an mm.
    Differs: what Linux has in active_mm stays the task's mm.
    """
    local_irq_save()
    enter_lazy_tlb(get_current().mm)
    local_irq_restore()

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/sched/core.c (v7.0).

Left out: the scheduler, kernel threads, and all that a context switch does besides the mm.
"""

from asm.current import get_current
from asm.mmu_context import finish_arch_post_lock_switch, switch_mm_irqs_off
from linux.mm_types import mm_struct


def finish_task_switch() -> None:
    """Go on as the next task."""
    finish_arch_post_lock_switch()


def context_switch(next: mm_struct) -> None:
    """Switch this CPU to a task of an mm.

    Differs: the next task is the same thread, with another mm.
    """
    switch_mm_irqs_off(get_current().mm, next)
    get_current().mm = next
    finish_task_switch()

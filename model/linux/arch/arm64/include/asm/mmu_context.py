# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/mmu_context.h (v7.0).

Left out: context switches, so that a CPU keeps the mm that it has.
"""

from linux.mm_types import mm_struct


def switch_mm_irqs_off(prev: mm_struct, next: mm_struct) -> None:
    """Load an mm.

    Differs: Linux has it in include/linux/mmu_context.h, as switch_mm.  Left out: all of it.
    """
    assert False


def finish_arch_post_lock_switch() -> None:
    """Do nothing.

    Differs: Linux has it in kernel/sched/sched.h.
    """


def enter_lazy_tlb(mm: mm_struct) -> None:
    """Keep the mm loaded while a kernel thread runs.

    Differs: Linux has it in include/asm-generic/mmu_context.h.
    """

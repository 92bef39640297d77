# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/mmu_context.h (v7.0).

Left out: the LDT, LAM, switch_mm, which disables interrupts around switch_mm_irqs_off.
"""

from arch.x86.mm.tlb import enter_lazy_tlb, switch_mm_irqs_off  # noqa: F401


def finish_arch_post_lock_switch() -> None:
    """Do nothing.

    Differs: Linux has it in kernel/sched/sched.h.
    """

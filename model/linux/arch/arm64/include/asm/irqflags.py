# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/irqflags.h (v7.0).

Only khugepaged ever interrupts a CPU, so without it nobody need know.
"""

from cpu import Core
from linux.huge_mm import TRANSPARENT_HUGEPAGE

from ptelab.lang import at, cpu_id


def arch_local_irq_disable() -> None:
    """Take no interrupts: DAIF.I."""
    if TRANSPARENT_HUGEPAGE == 1:
        at(Core, cpu_id()).irqs_off = True


def arch_local_irq_enable() -> None:
    """Take interrupts again."""
    if TRANSPARENT_HUGEPAGE == 1:
        at(Core, cpu_id()).irqs_off = False

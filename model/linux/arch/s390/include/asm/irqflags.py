# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/irqflags.h (v7.0)."""

from cpu import Core

from ptelab.lang import at, cpu_id


def arch_local_irq_disable() -> None:
    """Take no interrupts: the I/O and external masks of the PSW."""
    at(Core, cpu_id()).irqs_off = True


def arch_local_irq_enable() -> None:
    """Take interrupts again."""
    at(Core, cpu_id()).irqs_off = False

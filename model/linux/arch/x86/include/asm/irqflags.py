# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/irqflags.h (v7.0).

Differs: `local_irq_disable` and `local_irq_enable` are include/linux/irqflags.h's, over native_irq_disable here.
"""

from cpu import Cpu

from ptelab.lang import this_cpu


def native_irq_disable() -> None:
    """CLI."""
    this_cpu(Cpu).irqs_off = True


def native_irq_enable() -> None:
    """STI."""
    this_cpu(Cpu).irqs_off = False


def arch_local_irq_disable() -> None:
    """Take no interrupts."""
    native_irq_disable()


def arch_local_irq_enable() -> None:
    """Take interrupts again."""
    native_irq_enable()

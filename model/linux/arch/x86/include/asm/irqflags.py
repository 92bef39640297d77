# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/irqflags.h (v7.0).

Differs: `local_irq_disable` and `local_irq_enable` are include/linux/irqflags.h's, over native_irq_disable here.
"""

from config import CONFIG_TLB_GENERATIONS
from cpu import Cpu
from smp import wait_for_interrupt_handler

from ptelab.lang import this_cpu


def native_irq_disable() -> None:
    """CLI."""
    this_cpu(Cpu).irqs_off = True


def native_irq_enable() -> None:
    """STI."""
    this_cpu(Cpu).irqs_off = False


def arch_local_irq_disable() -> None:
    """Take no interrupts.

    Differs: waits for the handler of an interrupt, which is a thread of its own, unless it takes one step only.
    """
    if CONFIG_TLB_GENERATIONS == 1:
        wait_for_interrupt_handler()
    native_irq_disable()


def arch_local_irq_enable() -> None:
    """Take interrupts again."""
    native_irq_enable()

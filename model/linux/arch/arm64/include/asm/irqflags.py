# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/irqflags.h (v7.0)."""


def arch_local_irq_disable() -> None:
    """Take no interrupts.  Nothing here is done by an interrupt."""


def arch_local_irq_enable() -> None:
    """Take interrupts again."""

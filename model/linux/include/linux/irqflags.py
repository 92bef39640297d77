# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/irqflags.h (v7.0)."""

from asm.irqflags import arch_local_irq_disable, arch_local_irq_enable


def local_irq_save() -> None:
    """Take no interrupts.

    Differs: what was before is not saved; interrupts were enabled.
    """
    arch_local_irq_disable()


def local_irq_restore() -> None:
    """Take interrupts again."""
    arch_local_irq_enable()

# SPDX-License-Identifier: GPL-2.0-only
"""Situations that only x86-64 knows."""

from smp import interrupt_flush

from ptelab.lang import on_return, reach


@on_return(interrupt_flush)
def sometimes_ipi_flush() -> None:
    """A CPU flushes because another has asked it to."""
    reach("ipi_flush")

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/cpufeature.h (v7.0)."""

from cpu import RDP


def cpu_has_rdp() -> bool:
    """Whether the CPUs can let stores through a protected entry without making it invalid."""
    return RDP == 1

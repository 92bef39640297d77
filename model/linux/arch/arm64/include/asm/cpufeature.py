# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/cpufeature.h (v7.0)."""

from cpu import HAFDBS, HAFDBS_OTHERS


def cpu_has_hw_af() -> bool:
    """Whether all CPUs set the access flag: what the sanitised register says."""
    return HAFDBS >= 1 and HAFDBS_OTHERS >= 1

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/mmu.h (v7.0)."""

from ptelab.lang import struct, u4, u8


@struct
class mm_context_t:
    """What the architecture keeps of an mm.  Element i is that of mm i.

    `tlb_gen` counts the flushes of the mm, if the layout's CONFIG_TLB_GENERATIONS says so.  A run has fewer than its
    type can count, and one more is a bad kernel state.  Left out: the LDT, ASIDs for broadcasts, next_trim_cpumask.
    """

    ctx_id: u8
    tlb_gen: u4

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/mmu.h (v7.0)."""

from ptelab.lang import struct, u8


@struct
class mm_context_t:
    """What the architecture keeps of an mm.  Element i is that of mm i.

    Left out: all but its number; see `arch/x86/mm/tlb.py` for generations.
    """

    ctx_id: u8

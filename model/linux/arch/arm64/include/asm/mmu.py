# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/mmu.h (v7.0)."""

from ptelab.lang import struct, u8


@struct
class mm_context_t:
    """What the architecture keeps of an mm.  Element i is that of mm i.

    Left out: all but the ASID, which is the mm's number.
    """

    id: u8

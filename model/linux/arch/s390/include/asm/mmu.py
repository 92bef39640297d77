# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/mmu.h (v7.0)."""

from linux.types import atomic_t

from ptelab.lang import spinlock_t, struct, u8


@struct
class mm_context_t:
    """What the architecture keeps of an mm.  Element i is that of mm i.

    The CPUs attached to it, how many invalidate its entries now, and whether flushes were left for later.

    Differs: the ASCE is mm.pgd.  Left out: what virtualisation adds.
    """

    lock: spinlock_t
    cpu_attach_mask: u8
    flush_count: atomic_t
    flush_mm: bool

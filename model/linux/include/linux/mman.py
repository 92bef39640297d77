# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mman.h (v7.0), with include/uapi/linux/mman.h and the asm-generic one that it includes.

Left out: PROT_EXEC, protection keys.
"""

from linux.mm import VM_READ, VM_WRITE
from linux.mm_types import vm_flags_t

from ptelab.lang import u3

PROT_READ = 1
PROT_WRITE = 2

MREMAP_MAYMOVE = 1
MREMAP_FIXED = 2
MREMAP_DONTUNMAP = 4


def calc_vm_prot_bits(prot: u3) -> vm_flags_t:
    """The flags of a VMA for what mmap or mprotect asks for.

    Differs: the bits of both have the same values.
    """
    return prot & (VM_READ | VM_WRITE)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/mm/mmap.c (v7.0)."""

from asm.pgtable_types import pgprot_t
from linux.mm import VM_SHARED, VM_WRITE
from linux.mm_types import vm_flags_t


def vm_get_page_prot(vm_flags: vm_flags_t) -> pgprot_t:
    """What entries of a mapping may do: only in a shared one may they be writable from the start.

    Differs: an expression instead of the table protection_map.  Left out: PAGE_NONE, as nothing maps a page there.
    """
    return pgprot_t(write=vm_flags & VM_WRITE != 0 and vm_flags & VM_SHARED != 0)

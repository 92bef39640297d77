# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/mm/pgprot.c (v7.0).

Left out: execution, protection keys, memory encryption.
"""

from asm.pgtable_types import pgprot_t
from linux.mm import VM_SHARED, VM_WRITE
from linux.mm_types import vm_flags_t


def vm_get_page_prot(vm_flags: vm_flags_t) -> pgprot_t:
    """What entries of a mapping may do: only in a shared one may they be writable from the start.

    Differs: an expression instead of the table protection_map.  Left out: PAGE_NONE, as nothing maps a page there.
    """
    return pgprot_t(rw=vm_flags & VM_WRITE != 0 and vm_flags & VM_SHARED != 0)

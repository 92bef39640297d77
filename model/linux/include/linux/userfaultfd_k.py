# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/userfaultfd_k.h (v7.0).

Left out: all but write-protection; markers.
"""

from asm.pgtable import pte_uffd_wp
from asm.pgtable_types import pte_t
from config import CONFIG_UFFD_WP_ASYNC
from linux.mm import VM_UFFD_WP
from linux.mm_types import vm_area_struct


def userfaultfd_wp(vma: vm_area_struct) -> bool:
    """Whether somebody wants to know of stores to a VMA."""
    return vma.vm_flags & VM_UFFD_WP != 0


def userfaultfd_wp_async(vma: vm_area_struct) -> bool:
    """Whether a store to a protected page of a VMA goes on, and is found later by who looks for it.

    Differs: of all contexts alike.
    """
    return CONFIG_UFFD_WP_ASYNC == 1


def uffd_disable_fault_around(vma: vm_area_struct) -> bool:
    """Whether a load must map nothing but what it needs, as user space is asked about each page.

    Left out: VM_UFFD_MINOR.
    """
    return vma.vm_flags & VM_UFFD_WP != 0


def userfaultfd_pte_wp(vma: vm_area_struct, pte: pte_t) -> bool:
    """Whether a store through an entry has to be told to user space."""
    return userfaultfd_wp(vma) and pte_uffd_wp(pte)

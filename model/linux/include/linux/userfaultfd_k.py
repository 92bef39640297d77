# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/userfaultfd_k.h (v7.0).

Left out: all but write-protection.
"""

from asm.pgtable import pte_present, pte_swp_uffd_wp, pte_uffd_wp
from asm.pgtable_types import pte_t
from config import CONFIG_UFFD_WP_ASYNC
from linux.leafops import pte_is_uffd_wp_marker
from linux.mm import VM_UFFD_WP, vma_is_anonymous
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


def userfaultfd_wp_use_markers(vma: vm_area_struct) -> bool:
    """Whether entries that map nothing are protected too.

    Left out: UFFD_FEATURE_WP_UNPOPULATED on its own; UFFD_FEATURE_WP_ASYNC brings it.
    """
    if not userfaultfd_wp(vma):
        return False
    return not vma_is_anonymous(vma) or userfaultfd_wp_async(vma)


def pte_swp_uffd_wp_any(pte: pte_t) -> bool:
    """Whether user space wants to know of the next store to a page that an entry does not map now."""
    if pte_present(pte):
        return False
    return pte_swp_uffd_wp(pte) or pte_is_uffd_wp_marker(pte)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/huge_mm.h (v7.0).

Differs: a huge page has as many pages as a PTE table has entries.  Where that is one, a file may have huge pages from
the start.
"""

from asm.page import PMD_SIZE
from asm.pgtable_types import PTRS_PER_PTE
from linux.mm import VM_SHARED
from linux.mm_types import vm_area_struct
from linux.types import Addr

from ptelab.lang import param

HPAGE_PMD_NR = PTRS_PER_PTE

# Whether anonymous memory gets huge pages: /sys/kernel/mm/transparent_hugepage/enabled is `always` or `never`.
TRANSPARENT_HUGEPAGE = param("TRANSPARENT_HUGEPAGE", 0)

# How many folios have HPAGE_PMD_NR pages, if that is more than one, and the frame that the first of them begins with.
LARGE_FOLIOS = param("LARGE_FOLIOS", 0)
FIRST_LARGE = param("FIRST_LARGE", 0)


def thp_is_possible() -> bool:
    """Whether an upper entry may map a folio.

    Differs: Linux has it in include/linux/page-flags.h as folio_test_pmd_mappable, of the folio.
    """
    return HPAGE_PMD_NR == 1 or TRANSPARENT_HUGEPAGE == 1


def thp_vma_suitable_order(vma: vm_area_struct, addr: Addr) -> bool:
    """Whether a VMA has room for the huge page of an address.

    Left out: how a file's pages are aligned.
    """
    haddr: Addr = addr - addr % PMD_SIZE
    return haddr >= vma.vm_start and haddr + PMD_SIZE <= vma.vm_end


def thp_vma_allowable_order(vma: vm_area_struct) -> bool:
    """Whether a VMA may have huge pages.

    Left out: files, what madvise and prctl say, temporary stacks.
    """
    return TRANSPARENT_HUGEPAGE == 1 and vma.vm_file is None and vma.vm_flags & VM_SHARED == 0

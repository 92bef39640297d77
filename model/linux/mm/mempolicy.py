# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mempolicy.c (v7.0).

Left out: all but the hints of NUMA balancing.
"""

from asm.tlb import mmu_gather
from linux.mm import MM_CP_PROT_NUMA, folio_mapcount, folio_maybe_dma_pinned, is_cow_mapping
from linux.mm_types import Folio, vm_area_struct
from linux.page_flags import folio_test_dirty, folio_test_ksm
from linux.types import Addr
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.mprotect import change_protection
from mm.util import folio_mapping

from ptelab.lang import new


def folio_can_map_prot_numa(folio: Folio, vma: vm_area_struct) -> bool:
    """Whether it is of use to know who accesses a folio: not if it could not be moved to another node.

    Left out: the nodes, and so processes with one thread, whose memory may be on the right one; lazily freed pages.
    Differs: instead of folio_is_file_lru it is asked for a file that is not in memory only.
    """
    if folio_test_ksm(folio):
        return False
    if is_cow_mapping(vma.vm_flags) and folio_mapcount(folio) > 1:
        return False
    if folio_maybe_dma_pinned(folio):
        return False
    mapping = folio_mapping(folio)
    return mapping is None or mapping.shmem or not folio_test_dirty(folio)


def change_prot_numa(vma: vm_area_struct, addr: Addr, end: Addr) -> None:
    """Let the next accesses to a range fault, as hints on who uses it.

    Context: mmap_lock held for reading.  Left out: counting.
    """
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, vma.vm_mm)
    change_protection(tlb, vma, addr, end, MM_CP_PROT_NUMA)
    tlb_finish_mmu(tlb)

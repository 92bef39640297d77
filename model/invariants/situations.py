# SPDX-License-Identifier: GPL-2.0-only
"""Situations that runs should go through, noted for `Reach=`."""

from asm.tlb import __tlb_remove_folio_pages, mmu_gather
from cpu import fill, page_fault
from entry import fault_is_write
from linux.mm import vm_fault
from linux.mm_inline import mm_tlb_flush_nested
from linux.mm_types import VM_FAULT_NOPAGE, Folio, vm_area_struct, vm_fault_t
from memcg_v1 import mem_cgroup_move_account
from mm.memory import (
    do_pte_missing,
    finish_fault,
    finish_mkwrite_fault,
    fix_spurious_fault,
    pmd_install,
    wp_page_shared,
)  # fmt: skip
from mm.mmap_lock import lock_mm_and_find_vma
from mm.mmu_gather import tlb_flush_rmaps, tlb_gather_mmu_fullmm, tlb_remove_table
from mm.page_writeback import folio_wait_writeback
from mm.rmap import folio_add_file_rmap_ptes, folio_mkclean, folio_remove_rmap_ptes

from ptelab.lang import on_entry, on_return, reach, u3, u4


@on_return(page_fault)
def sometimes_page_fault(result: u3) -> None:
    """A load or a store faults."""
    if fault_is_write(result):
        reach("store_faults")
    else:
        reach("load_faults")


@on_entry(fill)
def sometimes_speculative_fill(speculative: bool) -> None:
    """The walker fills a TLB without an access that needs it."""
    if speculative:
        reach("speculative_fill")


@on_return(fix_spurious_fault)
def sometimes_spurious_fault(vmf: vm_fault) -> None:
    """A fault finds an entry that allows the access."""
    reach("spurious_fault")


@on_return(folio_mkclean)
def sometimes_mkclean(folio: Folio, result: u4) -> None:
    """Writeback cleans entries, or finds the folio unmapped."""
    if result != 0:
        reach("writeback_cleans_pte")
    elif folio._mapcount == 0:
        reach("writeback_skips_unmapped_folio")


@on_entry(folio_wait_writeback)
def sometimes_writeback_waits(folio: Folio) -> None:
    """Somebody waits for the disk."""
    if folio.PG_writeback:
        reach("writeback_waits")


@on_entry(tlb_flush_rmaps)
def sometimes_delayed_rmap(tlb: mmu_gather) -> None:
    """A flush under the PTL has just been done, and delayed rmaps are removed."""
    reach("flush_under_ptl")
    if tlb.delayed_rmap:
        reach("delayed_rmap")


@on_return(__tlb_remove_folio_pages)
def sometimes_gather_full(tlb: mmu_gather, delay_rmap: bool, result: bool) -> None:
    """A gather is full, and perhaps with the page whose rmap is delayed."""
    if result:
        reach("gather_full")
        if delay_rmap:
            reach("gather_full_with_delayed_rmap")
    if tlb.active != 0:
        reach("gather_second_batch")


@on_return(lock_mm_and_find_vma)
def sometimes_fault_after_unmap(result: vm_area_struct | None) -> None:
    """A fault finds no VMA."""
    if result is None:
        reach("fault_after_unmap")


@on_return(finish_fault)
def sometimes_fault_finds_pte_filled(result: vm_fault_t) -> None:
    """A fault finds that another has mapped the page."""
    if result & VM_FAULT_NOPAGE != 0:
        reach("fault_finds_pte_changed")


@on_return(finish_mkwrite_fault)
def sometimes_fault_finds_pte_changed(result: vm_fault_t) -> None:
    """A write fault finds that the entry has changed while the file system was asked."""
    if result & VM_FAULT_NOPAGE != 0:
        reach("fault_finds_pte_changed")


@on_entry(do_pte_missing)
def sometimes_pte_missing(vmf: vm_fault) -> None:
    """A fault finds an empty entry."""
    reach("pte_missing")


@on_return(pmd_install)
def sometimes_table_installed(result: bool) -> None:
    """A fault hooks up a PTE table, or finds that another has."""
    if result:
        reach("page_table_installed")
    else:
        reach("page_table_install_lost")


@on_entry(tlb_remove_table)
def sometimes_table_freed(tlb: mmu_gather) -> None:
    """munmap frees a PTE table."""
    reach("page_table_freed")


@on_return(mm_tlb_flush_nested)
def sometimes_nested_flush(result: bool) -> None:
    """Two gathers of one mm overlap."""
    if result:
        reach("nested_flush")


@on_entry(wp_page_shared)
def sometimes_wp_page_shared(vmf: vm_fault) -> None:
    """A store faults on a read-only entry of a shared mapping."""
    reach("wp_page_shared")


@on_return(folio_remove_rmap_ptes)
def sometimes_other_mapper_kept(folio: Folio) -> None:
    """An entry goes while others map the same folio."""
    if folio._mapcount != 0:
        reach("rmap_of_other_mapper_kept")
    else:
        reach("last_rmap_removed")


@on_return(folio_add_file_rmap_ptes)
def sometimes_second_mapper(folio: Folio) -> None:
    """A folio that is mapped is mapped once more."""
    if folio._mapcount > 1:
        reach("second_mapper")


@on_entry(tlb_gather_mmu_fullmm)
def sometimes_full_mm(tlb: mmu_gather) -> None:
    """The last user of an mm is gone, and everything goes."""
    reach("full_mm_gather")


@on_entry(mem_cgroup_move_account)
def sometimes_charge_moves(folio: Folio) -> None:
    """A page is to be charged to another cgroup."""
    reach("charge_moves")

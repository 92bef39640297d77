# SPDX-License-Identifier: GPL-2.0-only
"""What mm/mapping_dirty_helpers.c promises its callers, whoever they are.

Flags: wrong_count, stale_rights.
"""

from asm.pgtable import pte_dirty, pte_write, ptep_modify_prot_commit
from asm.pgtable_types import pte_t
from asm.tlb import mmu_gather, tlb_free_vmas
from driver import clean_record
from entry import entry_lets_store, mm_of_cpu, tlb_holds
from hw.memory import NR_CPUS, NR_PAGES, Addr
from invariants.observe import entry_of
from invariants.rights import marks_of
from linux.fs import address_space
from linux.mm_types import mm_struct
from linux.types import pgoff_t
from mm.mapping_dirty_helpers import wp_clean_post_vma, wp_shared_mapping_range

from ptelab.lang import at, flag, ghost, on_entry, on_return, reach, thread_id, u4


@ghost
class walk_counts:
    """How many entries a thread's walk has made read-only, and clean.  Element i is of thread i."""

    walking: bool
    protected: u4
    cleaned: u4


@on_entry(clean_record)
def cleans_nothing_yet() -> None:
    """A walk begins."""
    at(walk_counts, thread_id()).walking = True


@on_entry(ptep_modify_prot_commit)
def entry_has_changed(old_pte: pte_t, pte: pte_t) -> None:
    """An entry loses the right to store, or its dirtiness."""
    counts = at(walk_counts, thread_id())
    if not counts.walking:
        return
    if pte_write(old_pte) and not pte_write(pte):
        counts.protected += 1
    if pte_dirty(old_pte) and not pte_dirty(pte):
        counts.cleaned += 1


@ghost
def maps_page(mm: mm_struct, addr: Addr, mapping: address_space, first: pgoff_t, nr: pgoff_t) -> bool:
    """Whether an address belongs to a range of a file."""
    vma = mm.mm_mt[addr]
    if vma is None or vma.vm_file != mapping:
        return False
    pgoff: u4 = addr - vma.vm_start + vma.vm_pgoff
    return first <= pgoff < first + nr


@on_entry(wp_shared_mapping_range)
def protects_nothing_yet(mapping: address_space, first_index: pgoff_t, nr: pgoff_t) -> None:
    """A walk begins: what a TLB has now must not let a store through when it ends."""
    at(walk_counts, thread_id()).walking = True
    for cpu in range(NR_CPUS):
        mm = mm_of_cpu(cpu)
        if mm is not None:
            for addr in range(NR_PAGES):
                if maps_page(mm, addr, mapping, first_index, nr) and tlb_holds(cpu, addr):
                    marks_of(cpu, addr).calls = marks_of(cpu, addr).calls | (1 << thread_id())


@on_return(wp_shared_mapping_range)
def always_faults_after_protection(mapping: address_space, first_index: pgoff_t, nr: pgoff_t, result: u4) -> None:
    """Afterwards no translation from before lets a store through that its entry does not; and the count is right."""
    counts = at(walk_counts, thread_id())
    if result != counts.protected:
        flag("wrong_count", returned=result, changed=counts.protected)
    counts.walking = False
    counts.protected = 0
    counts.cleaned = 0
    if result != 0:
        reach("walk_takes_write")
    for cpu in range(NR_CPUS):
        mm = mm_of_cpu(cpu)
        if mm is not None:
            for addr in range(NR_PAGES):
                marks = marks_of(cpu, addr)
                if marks.calls & (1 << thread_id()) != 0:
                    marks.calls = marks.calls - (1 << thread_id())
                    pte = entry_of(mm, addr)
                    if not entry_lets_store(pte) and not pte_write(pte):
                        marks.read_only = True


@on_return(clean_record)
def always_counts_cleaned(result: bool) -> None:
    """Whether anything was dirty is right."""
    counts = at(walk_counts, thread_id())
    if result != (counts.cleaned != 0):
        flag("wrong_count", cleaned=counts.cleaned)
    counts.walking = False
    counts.protected = 0
    counts.cleaned = 0


@on_entry(wp_clean_post_vma)
def sometimes_walk_ends() -> None:
    """A walk of a VMA ends, but for the flush."""
    reach("walk_ends")


@on_entry(tlb_free_vmas)
def sometimes_pfn_map_flushed(tlb: mmu_gather) -> None:
    """A PFN map is about to leave the rmap."""
    if tlb.vma_pfn:
        reach("pfn_map_flushed_first")

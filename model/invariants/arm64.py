# SPDX-License-Identifier: GPL-2.0-only
"""What only arm64 knows: an entry is broken before it is made another; who sets the access flag and the dirty state.

Flags: entry_changed_in_use, dirty_read_only.
"""

from asm.pgtable import (
    flush_tlb_fix_spurious_fault,
    pmd_leaf,
    pmd_pfn,
    pmd_present,
    pte_hw_dirty,
    pte_rdonly,
    pte_sw_dirty,
    pte_write,
    ptep_set_access_flags,
    set_pmd,
    set_pte,
)  # fmt: skip
from asm.pgtable_types import PTRS_PER_PMD, PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t
from asm.tlb import mmu_gather, tlb_end_vma, tlb_flush
from cpu import FSC_ACCESS, FSC_TYPE, Broadcasts, Core, Cpu, dsb_ish, invalidate, page_fault, set_flags
from entry import tlb_holds
from hw.memory import NR_CPUS, NR_PAGES, Addr, Pfn
from linux.mm_types import mm_struct
from mm.gup import gup_fast_pte_range

from ptelab.lang import at, cpu_id, flag, ghost, index_of, on_entry, on_return, per_cpu, pool, reach, u3


@ghost
def cached_somewhere(slot: pte_p, pfn: Pfn) -> bool:
    """Whether a CPU that has the mm of an entry loaded has another page in its TLB for the entry's address."""
    for upper in pool(pmd_p):
        if pmd_present(upper.pmd) and not pmd_leaf(upper.pmd) and pmd_pfn(upper.pmd) == index_of(slot) // PTRS_PER_PTE:
            addr: Addr = index_of(upper) % PTRS_PER_PMD * PTRS_PER_PTE + index_of(slot) % PTRS_PER_PTE
            mm = at(mm_struct, index_of(upper) // PTRS_PER_PMD)
            for cpu in range(NR_CPUS):
                if at(Core, cpu).ttbr0 == mm.pgd and addr < NR_PAGES:
                    entry = per_cpu(Cpu, cpu).tlb[addr]
                    if entry.valid and entry.pfn != pfn:
                        return True
    return False


@on_entry(set_pte)
def always_broken_before_made(ptep: pte_p, pte: pte_t) -> None:
    """A valid entry does not become one of another page without being invalid and flushed in between.

    The flush may still be to come where MADV_DONTNEED has emptied the entry: that is a situation, not a flag.
    """
    if ptep.pte.valid and pte.valid and pte.pfn != ptep.pte.pfn:
        flag("entry_changed_in_use", entry=index_of(ptep), cpu=cpu_id())
    elif pte.valid and cached_somewhere(ptep, pte.pfn):
        reach("made_before_flushed")


@on_entry(set_pte)
def always_dirty_lets_store(pte: pte_t) -> None:
    """What software knows to be dirty and lets be written is not read-only: no store has to be noted any more."""
    if pte.valid and pte_write(pte) and pte_sw_dirty(pte) and pte_rdonly(pte):
        flag("dirty_read_only", cpu=cpu_id())


@ghost
def upper_in_use(pmd: pmd_t) -> bool:
    """Whether the hardware may use an upper entry."""
    return pmd.valid or (pmd.leaf and pmd.entry.valid)


@on_entry(set_pmd)
def always_upper_broken_before_made(pmdp: pmd_p, pmd: pmd_t) -> None:
    """A table does not become a huge page, nor a huge page a table or another one, without being invalid in between."""
    old = pmdp.pmd
    if upper_in_use(old) and upper_in_use(pmd):
        if old.leaf != pmd.leaf or old.pfn != pmd.pfn or old.entry.pfn != pmd.entry.pfn:
            flag("entry_changed_in_use", upper=index_of(pmdp), cpu=cpu_id())


@on_return(page_fault)
def sometimes_access_flag_fault(result: u3) -> None:
    """The hardware does not set the access flag, and raises a fault instead."""
    if result & FSC_TYPE == FSC_ACCESS:
        reach("access_flag_fault")


@on_entry(set_flags)
def sometimes_hardware_update(new: pte_t, pte: pte_t) -> None:
    """The hardware is about to set the access flag, or to note a store."""
    if new.af and not pte.af:
        reach("hardware_sets_af")
    if pte.rdonly and not new.rdonly:
        reach("hardware_sets_dirty")


@on_return(ptep_set_access_flags)
def sometimes_update_beside_hardware(ptep: pte_p, entry: pte_t) -> None:
    """A fault has changed an entry that the hardware has marked dirty since the fault looked at it."""
    if pte_hw_dirty(ptep.pte) and entry.rdonly:
        reach("access_flags_beside_hardware")


@on_entry(invalidate)
def sometimes_tlbi_done(requests: Broadcasts) -> None:
    """A CPU does what the CPU itself or another one has asked of it."""
    if index_of(requests) != cpu_id():
        reach("tlbi_from_elsewhere")


@on_entry(dsb_ish)
def sometimes_dsb_waits() -> None:
    """A DSB has something to wait for, or finds that another CPU's invalidations are under way, which it leaves."""
    for issuer in range(NR_CPUS):
        if at(Broadcasts, issuer).pending != 0:
            if issuer == cpu_id():
                reach("dsb_waits")
            else:
                reach("dsb_beside_tlbi_of_another")


@on_entry(tlb_end_vma)
def sometimes_flush_per_vma(tlb: mmu_gather) -> None:
    """A flush comes because a VMA ends."""
    if tlb.cleared_ptes and not tlb.fullmm:
        reach("flush_at_end_of_vma")


@on_entry(tlb_flush)
def sometimes_walk_cache_flush(tlb: mmu_gather) -> None:
    """A flush has to reach the walk caches, or is limited to the last level."""
    if tlb.freed_tables:
        reach("walk_cache_flush")
    else:
        reach("last_level_flush")


@on_entry(flush_tlb_fix_spurious_fault)
def sometimes_stale_entry_fixed(address: Addr) -> None:
    """A CPU drops its own stale entry, and nobody else's."""
    if tlb_holds(cpu_id(), address):
        reach("stale_entry_fixed_locally")


@ghost
class lockless_walks:
    """Whether CPU i grabs a page without a lock, with interrupts disabled."""

    begun: bool


@on_entry(gup_fast_pte_range)
def lockless_walk_begins() -> None:
    """A CPU has found the PTE table."""
    at(lockless_walks, cpu_id()).begun = True


@on_return(gup_fast_pte_range)
def lockless_walk_ends() -> None:
    """A CPU is done with it."""
    at(lockless_walks, cpu_id()).begun = False


@on_return(dsb_ish)
def sometimes_flush_beside_gup_fast() -> None:
    """A flush is complete while a CPU with interrupts disabled is where an IPI would have had to wait for it."""
    for cpu in range(NR_CPUS):
        if at(lockless_walks, cpu).begun:
            reach("flush_beside_gup_fast")

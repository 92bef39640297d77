# SPDX-License-Identifier: GPL-2.0-only
"""Situations that only arm64 knows: who sets the access flag and the dirty state, and how invalidations go about."""

from asm.pgtable import flush_tlb_fix_spurious_fault, pte_hw_dirty, ptep_set_access_flags
from asm.pgtable_types import pte_p, pte_t
from asm.tlb import mmu_gather, tlb_end_vma, tlb_flush
from cpu import FSC_ACCESS, FSC_TYPE, Broadcasts, dsb_ish, invalidate, page_fault, set_flags
from entry import tlb_holds
from hw.memory import NR_CPUS, Addr

from ptelab.lang import at, cpu_id, index_of, on_entry, on_return, reach, u3


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

# SPDX-License-Identifier: GPL-2.0-only
"""Situations that only s390 knows: how an entry was invalidated, and what a CPU finds that attaches to an mm."""

from arch.s390.mm.pgtable import ptep_flush_lazy
from asm.mmu_context import finish_arch_post_lock_switch
from asm.pgtable import ptep_set_access_flags
from asm.pgtable_types import pte_p, pte_t
from cpu import PIC_PROTECTION, TEID_STORE, ipte, page_fault
from linux.mm_types import mm_struct
from linux.sched import task_struct

from ptelab.lang import on_entry, on_return, reach, this_thread, u3


@on_entry(ipte)
def sometimes_ipte(local: bool) -> None:
    """An entry is invalidated and purged, on this CPU or on all."""
    if local:
        reach("ipte_local")
    else:
        reach("ipte_global")


@on_return(ptep_flush_lazy)
def sometimes_lazy_invalidation(mm: mm_struct, ptep: pte_p, result: pte_t) -> None:
    """An entry is invalid and was purged nowhere."""
    if result.valid and mm.context.flush_mm:
        reach("lazy_invalidation")


@on_entry(finish_arch_post_lock_switch)
def sometimes_attach() -> None:
    """A CPU attaches to an mm while a flush of it was left for later, or an invalidation is half done."""
    mm = this_thread(task_struct).mm
    if mm.context.flush_mm:
        reach("attach_finds_lazy_flush")
    if mm.context.flush_count != 0:
        reach("attach_waits")


@on_return(page_fault)
def sometimes_protection(result: u3) -> None:
    """A store is suppressed."""
    if result == PIC_PROTECTION | TEID_STORE:
        reach("protection_exception")


@on_entry(ptep_set_access_flags)
def sometimes_noted(ptep: pte_p, entry: pte_t) -> None:
    """A fault notes the first access or the first store."""
    if entry.young and not ptep.pte.young:
        reach("access_noted")
    if entry.dirty and not ptep.pte.dirty:
        reach("store_noted")

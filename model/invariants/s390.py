# SPDX-License-Identifier: GPL-2.0-only
"""What only s390 knows: a rule of its architecture, how an entry was invalidated, what a CPU finds that attaches.

Flag: entry_changed_in_use.
"""

from arch.s390.mm.pgtable import pmdp_flush_lazy, ptep_flush_lazy
from asm.mmu_context import finish_arch_post_lock_switch
from asm.pgtable import pmd_leaf, pmd_pfn, pmd_present, ptep_set_access_flags, set_pte
from asm.pgtable_types import PTRS_PER_PMD, PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t
from cpu import PIC_PROTECTION, TEID_STORE, Core, Cpu, ipte, page_fault, rdp
from hw.memory import NR_CPUS
from linux.mm_types import mm_struct
from linux.sched import task_struct

from ptelab.lang import (
    at,
    cpu_id,
    flag,
    ghost,
    index_of,
    on_entry,
    on_return,
    per_cpu,
    pool,
    reach,
    this_thread,
    u3,
)  # fmt: skip


@ghost
def attached_elsewhere(slot: pte_p) -> bool:
    """Whether another CPU is attached to the mm that an entry belongs to, and the mm has users still.

    exit_mmap empties entries by plain stores although CPUs that have gone idle may still have the ASCE loaded.
    """
    for upper in pool(pmd_p):
        if pmd_present(upper.pmd) and not pmd_leaf(upper.pmd) and pmd_pfn(upper.pmd) == index_of(slot) // PTRS_PER_PTE:
            mm = at(mm_struct, index_of(upper) // PTRS_PER_PMD)
            for cpu in range(NR_CPUS):
                if cpu != cpu_id() and at(Core, cpu).asce == mm.pgd and per_cpu(Cpu, cpu).attached:
                    return mm.mm_users != 0
    return False


@on_entry(set_pte)
def always_invalidated_first(ptep: pte_p, pte: pte_t) -> None:
    """What the hardware sees of a valid entry changes only by IPTE while another CPU is attached.

    The invalid bit alone is not judged here: if its purge comes too late, an access through a TLB tells.
    """
    old = ptep.pte
    if old.valid and (pte.protect != old.protect or pte.pfn != old.pfn or pte == pte_t()):
        if attached_elsewhere(ptep):
            flag("entry_changed_in_use", entry=index_of(ptep), cpu=cpu_id())


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


@on_return(pmdp_flush_lazy)
def sometimes_lazy_huge_invalidation(mm: mm_struct, result: pmd_t) -> None:
    """The entry of a large page is invalid and was purged nowhere."""
    if result.entry.valid and mm.context.flush_mm:
        reach("lazy_huge_invalidation")


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


@on_entry(rdp)
def sometimes_rdp(local: bool) -> None:
    """An entry lets stores through without having been invalid; or a CPU drops what it has formed of it before."""
    if local:
        reach("rdp_local")
    else:
        reach("rdp_global")

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/tlbflush.h (v7.0).

Left out: PCIDs, INVLPGB.
"""

from typing import NamedTuple

from arch.x86.mm.tlb import arch_tlbbatch_flush, flush_tlb_mm_range  # noqa: F401
from asm.page import PAGE_SIZE
from asm.pgtable_types import pmd_t, pte_t
from config import CONFIG_TLB_GENERATIONS
from linux.mm_types import mm_cpumask, mm_struct, vm_area_struct
from linux.sched import task_struct
from linux.types import Addr

from ptelab.lang import atomic_inc_return, cpu_id, percpu, struct, u4, u8

TLB_FLUSH_ALL = 255


class flush_tlb_info(NamedTuple):
    """What to flush.

    Differs: `stride` is the distance itself, not its shift, which is 0 for pages here.
    Differs: `mm` and `new_tlb_gen` are empty without CONFIG_TLB_GENERATIONS.  Left out: initiating_cpu, freed_tables,
    which its only reader gets as an argument; trim_cpumask.
    """

    start: u8 = 0
    end: u8 = 0
    stride: u8 = 0
    mm: mm_struct | None = None
    new_tlb_gen: u4 = 0


class loaded_mm_t(NamedTuple):
    """What a CPU says that it has loaded: an mm, none for init_mm, or LOADED_MM_SWITCHING.

    Differs: Linux has one pointer, with a value for LOADED_MM_SWITCHING that no mm has.
    """

    mm: mm_struct | None = None
    switching: bool = False


@struct
class tlb_state:
    """What others may look at of the state of a CPU's TLB.  Element i is of CPU i: cpu_tlbstate, cpu_tlbstate_shared.

    Differs: two objects in Linux, for the sake of caches.
    """

    loaded_mm: loaded_mm_t
    is_lazy: bool


@percpu
class tlb_context:
    """The generation of its mm up to which a CPU has flushed, what Linux has in cpu_tlbstate.ctxs[0].

    Left out: ctx_id and the other contexts, as there are no PCIDs: every change of the mm flushes everything.
    """

    tlb_gen: u4


def inc_mm_tlb_gen(mm: mm_struct) -> u4:
    """Count a flush that is about to be done, after the entries were changed."""
    return atomic_inc_return(mm.context.tlb_gen)


def flush_tlb_page(vma: vm_area_struct, a: Addr) -> None:
    """Flush one page from every CPU that has the mm."""
    flush_tlb_mm_range(vma.vm_mm, a, a + PAGE_SIZE, PAGE_SIZE, False)


def flush_tlb_mm(mm: mm_struct) -> None:
    """Flush all of an mm from every CPU that has it."""
    flush_tlb_mm_range(mm, 0, TLB_FLUSH_ALL, PAGE_SIZE, True)


def flush_tlb_range(vma: vm_area_struct, start: Addr, end: Addr) -> None:
    """Flush a range from every CPU that has the mm, lazy ones too: a table may be freed next."""
    flush_tlb_mm_range(vma.vm_mm, start, end, PAGE_SIZE, True)


def pte_flags_need_flush(oldpte: pte_t, newpte: pte_t, ignore_access: bool) -> bool:
    """Whether a TLB may allow more than the changed flags do, or may set what they no longer have.

    Differs: takes the entries; the bits for software need no flush.
    """
    if oldpte.dirty and not newpte.dirty or oldpte.present and not newpte.present:
        return True
    if not ignore_access and oldpte.accessed and not newpte.accessed:
        return True
    return oldpte.rw != newpte.rw


def pte_needs_flush(oldpte: pte_t, newpte: pte_t) -> bool:
    """Whether a TLB may allow more than a changed entry does."""
    if not oldpte.present:
        return False
    if oldpte.pfn != newpte.pfn:
        return True
    return pte_flags_need_flush(oldpte, newpte, True)


def huge_pmd_needs_flush(oldpmd: pmd_t, newpmd: pmd_t) -> bool:
    """Whether a TLB may allow more than the changed entry of a huge page does, or hide that it was used."""
    if not oldpmd.entry.present:
        return False
    if oldpmd.entry.pfn != newpmd.entry.pfn:
        return True
    return pte_flags_need_flush(oldpmd.entry, newpmd.entry, False)


def arch_tlbbatch_should_defer(mm: mm_struct) -> bool:
    """Whether it saves interrupts to flush later: some other CPU has the mm."""
    return mm_cpumask(mm) & ~(1 << cpu_id()) != 0


def arch_tlbbatch_add_pending(task: task_struct, mm: mm_struct, start: Addr, end: Addr) -> None:
    """Note which CPUs have to flush.

    Differs: takes the task that the batch belongs to.
    """
    if CONFIG_TLB_GENERATIONS == 1:
        inc_mm_tlb_gen(mm)
    batch = task.tlb_ubc
    task.tlb_ubc = batch._replace(cpumask=batch.cpumask | mm_cpumask(mm))

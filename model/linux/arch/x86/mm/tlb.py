# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/mm/tlb.c (v7.0).

Differs: without CONFIG_TLB_GENERATIONS no CPU changes its mm nor is lazy, mm_cpumask is exactly the CPUs that have the
mm loaded, and a flush that another has made unnecessary is done all the same.
Left out: PCIDs, so that every change of the mm flushes; KPTI; broadcast flushes; trimming of mm_cpumask;
leave_mm.
"""

from asm.irqflags import native_irq_disable, native_irq_enable
from asm.page import PAGE_SIZE
from asm.tlbflush import TLB_FLUSH_ALL, flush_tlb_info, inc_mm_tlb_gen, loaded_mm_t, tlb_context, tlb_state
from config import CONFIG_TLB_GENERATIONS
from cpu import Cpu, invlpg, write_cr3
from hw.memory import CpuNr
from linux.mm_types import mm_cpumask, mm_struct
from linux.sched import task_struct
from smp import on_each_cpu_cond_mask, on_each_cpu_mask

from ptelab.lang import at, atomic_andnot, atomic_or, atomic_read, cpu_id, this_cpu, u4, u8

TLB_SINGLE_PAGE_FLUSH_CEILING = 33
TLB_GENERATION_INVALID = 0


def load_new_mm_cr3(mm: mm_struct | None) -> None:
    """Load the top table of an mm, or that of init_mm, and flush."""
    write_cr3(None if mm is None else mm.pgd)


def switch_mm_irqs_off(unused: mm_struct | None, next: mm_struct | None) -> None:
    """Load an mm; None for init_mm.

    A CPU that was lazy may go on with what it has cached if nobody has flushed the mm meanwhile.  When the mm is
    another, the CPU first says that it is switching and that it will need flushes of the new mm, and then reads
    the generation that it will be up to date with: whoever flushes sees the one, or this CPU sees the other.

    Context: interrupts disabled.
    """
    assert CONFIG_TLB_GENERATIONS == 1
    state = at(tlb_state, cpu_id())
    prev = state.loaded_mm.mm
    next_tlb_gen: u4 = 0
    was_lazy = state.is_lazy
    if was_lazy:
        state.is_lazy = False
    if prev == next:
        if not was_lazy or next is None:
            return
        next_tlb_gen = atomic_read(next.context.tlb_gen)
        if this_cpu(tlb_context).tlb_gen == next_tlb_gen:
            return
    else:
        state.loaded_mm = loaded_mm_t(switching=True)
        if next is not None:
            if mm_cpumask(next) & (1 << cpu_id()) == 0:
                atomic_or(1 << cpu_id(), next.cpu_bitmap)
            next_tlb_gen = atomic_read(next.context.tlb_gen)
    this_cpu(tlb_context).tlb_gen = next_tlb_gen
    load_new_mm_cr3(next)
    state.loaded_mm = loaded_mm_t(mm=next)


def enter_lazy_tlb(mm: mm_struct) -> None:
    """Keep the mm loaded while a kernel thread runs, but take no more part in flushes of entries."""
    assert CONFIG_TLB_GENERATIONS == 1
    state = at(tlb_state, cpu_id())
    if state.loaded_mm == loaded_mm_t():
        return
    state.is_lazy = True


def flush_tlb_func(f: flush_tlb_info) -> None:
    """Flush this CPU, unless it has done so already or has the mm no more.

    Context: interrupts disabled.
    """
    if CONFIG_TLB_GENERATIONS == 0:
        flush_tlb_range_or_all(f)
        return
    state = at(tlb_state, cpu_id())
    loaded_mm = state.loaded_mm.mm
    if f.mm is not None and f.mm != loaded_mm:
        atomic_andnot(1 << cpu_id(), f.mm.cpu_bitmap)
        return
    if loaded_mm is None:
        return
    if state.is_lazy:
        switch_mm_irqs_off(None, None)
        return
    local_tlb_gen = this_cpu(tlb_context).tlb_gen
    if f.new_tlb_gen != TLB_GENERATION_INVALID and f.new_tlb_gen <= local_tlb_gen:
        return
    mm_tlb_gen = atomic_read(loaded_mm.context.tlb_gen)
    if local_tlb_gen == mm_tlb_gen:
        return
    assert local_tlb_gen < mm_tlb_gen
    assert f.new_tlb_gen <= mm_tlb_gen
    if f.new_tlb_gen == local_tlb_gen + 1 and f.new_tlb_gen == mm_tlb_gen:
        flush_tlb_range_or_all(f)
    else:
        flush_tlb_local()
    this_cpu(tlb_context).tlb_gen = mm_tlb_gen


def flush_tlb_range_or_all(f: flush_tlb_info) -> None:
    """Flush what is asked for.

    Differs: Linux has it in flush_tlb_func.
    """
    if f.end != TLB_FLUSH_ALL:
        addr: u8 = f.start
        while addr < f.end:
            flush_tlb_one_user(addr)
            addr += f.stride
    else:
        flush_tlb_local()


def should_flush_tlb(cpu: CpuNr, info: flush_tlb_info) -> bool:
    """Whether a CPU needs a flush now: not if it is lazy, or says that it has another mm."""
    loaded_mm = at(tlb_state, cpu).loaded_mm
    if at(tlb_state, cpu).is_lazy:
        return False
    if info.mm is None:
        return True
    if loaded_mm.switching:
        return True
    return loaded_mm.mm == info.mm


def flush_tlb_multi(cpumask: u8, info: flush_tlb_info, freed_tables: bool) -> None:
    """Flush the CPUs of the mask, this one included if it is in it, and wait until all have.

    Lazy CPUs flush when they switch, but must not walk through tables that are freed.
    Differs: Linux calls it native_flush_tlb_multi, for the sake of hypervisors.
    """
    if CONFIG_TLB_GENERATIONS == 0 or freed_tables:
        on_each_cpu_mask(cpumask, info)
    else:
        on_each_cpu_cond_mask(cpumask, info)


def get_flush_tlb_info(mm: mm_struct | None, start: u8, end: u8, stride: u8, new_tlb_gen: u4) -> flush_tlb_info:
    """Describe a flush; above a number of pages it is one of everything."""
    if end - start > TLB_SINGLE_PAGE_FLUSH_CEILING * stride:
        start = 0
        end = TLB_FLUSH_ALL
    if CONFIG_TLB_GENERATIONS == 0:
        return flush_tlb_info(start=start, end=end, stride=stride)
    return flush_tlb_info(start=start, end=end, stride=stride, mm=mm, new_tlb_gen=new_tlb_gen)


def flush_tlb_mm_range(mm: mm_struct, start: u8, end: u8, stride: u8, freed_tables: bool) -> None:
    """Flush a range from every CPU that has the mm; no CPU uses an old translation afterwards.

    Differs: mm_cpumask is read once; Linux reads it again for the CPUs to ask.
    """
    new_tlb_gen: u4 = 0
    if CONFIG_TLB_GENERATIONS == 1:
        new_tlb_gen = inc_mm_tlb_gen(mm)
    info = get_flush_tlb_info(mm, start, end, stride, new_tlb_gen)
    cpumask = mm_cpumask(mm)
    if cpumask != cpumask & (1 << cpu_id()):
        flush_tlb_multi(cpumask, info, freed_tables)
    elif cpu_has_loaded(mm, cpumask):
        native_irq_disable()
        flush_tlb_func(info)
        native_irq_enable()


def cpu_has_loaded(mm: mm_struct, cpumask: u8) -> bool:
    """Whether this CPU has an mm loaded.

    Differs: Linux has it in flush_tlb_mm_range, as a comparison with loaded_mm.
    """
    if CONFIG_TLB_GENERATIONS == 0:
        return cpumask != 0
    return at(tlb_state, cpu_id()).loaded_mm.mm == mm


def flush_tlb_one_user(addr: u8) -> None:
    """Flush one page of this CPU, and the paging-structure cache."""
    invlpg(addr)


def flush_tlb_local() -> None:
    """Flush everything of this CPU."""
    pgd = this_cpu(Cpu).cr3
    if pgd is not None:
        write_cr3(pgd)


def arch_tlbbatch_flush(task: task_struct) -> None:
    """Flush everything of the CPUs that a batch has noted.

    Differs: takes the task that the batch belongs to.
    """
    info = get_flush_tlb_info(None, 0, TLB_FLUSH_ALL, PAGE_SIZE, TLB_GENERATION_INVALID)
    cpumask = task.tlb_ubc.cpumask
    if cpumask & ~(1 << cpu_id()) != 0:
        flush_tlb_multi(cpumask, info, False)
    elif cpumask & (1 << cpu_id()) != 0:
        native_irq_disable()
        flush_tlb_func(info)
        native_irq_enable()
    task.tlb_ubc = task.tlb_ubc._replace(cpumask=0)

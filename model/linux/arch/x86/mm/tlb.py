# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/mm/tlb.c (v7.0).

Left out: context switches and lazy TLB, so that mm_cpumask is exactly the CPUs that have the mm loaded; generations, so
that a flush that another has made unnecessary is done all the same; PCIDs and KPTI; broadcast flushes.
"""

from asm.irqflags import native_irq_disable, native_irq_enable
from asm.tlbflush import TLB_FLUSH_ALL, flush_tlb_info
from cpu import Cpu, invlpg, write_cr3
from linux.mm_types import mm_cpumask, mm_struct
from smp import on_each_cpu_mask

from ptelab.lang import cpu_id, this_cpu, u8

TLB_SINGLE_PAGE_FLUSH_CEILING = 33


def flush_tlb_func(f: flush_tlb_info) -> None:
    """Flush this CPU.

    Context: interrupts disabled.
    """
    if f.end != TLB_FLUSH_ALL:
        addr: u8 = f.start
        while addr < f.end:
            flush_tlb_one_user(addr)
            addr += f.stride
    else:
        flush_tlb_local()


def flush_tlb_multi(cpumask: u8, info: flush_tlb_info) -> None:
    """Flush the CPUs of the mask, this one included if it is in it, and wait until all have."""
    on_each_cpu_mask(cpumask, info)


def get_flush_tlb_info(start: u8, end: u8, stride: u8) -> flush_tlb_info:
    """Describe a flush; above a number of pages it is one of everything."""
    if end - start > TLB_SINGLE_PAGE_FLUSH_CEILING * stride:
        start = 0
        end = TLB_FLUSH_ALL
    return flush_tlb_info(start=start, end=end, stride=stride)


def flush_tlb_mm_range(mm: mm_struct, start: u8, end: u8, stride: u8, freed_tables: bool) -> None:
    """Flush a range from every CPU that has the mm; no CPU uses an old translation afterwards."""
    info = get_flush_tlb_info(start, end, stride)
    cpumask = mm_cpumask(mm)
    if cpumask != cpumask & (1 << cpu_id()):
        flush_tlb_multi(cpumask, info)
    elif cpumask != 0:
        native_irq_disable()
        flush_tlb_func(info)
        native_irq_enable()


def flush_tlb_one_user(addr: u8) -> None:
    """Flush one page of this CPU, and the paging-structure cache."""
    invlpg(addr)


def flush_tlb_local() -> None:
    """Flush everything of this CPU."""
    pgd = this_cpu(Cpu).cr3
    if pgd is not None:
        write_cr3(pgd)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/mm/pgtable.c (v7.0).

A valid entry is changed by IPTE first, or has its invalid bit set while no other CPU is attached to the mm, with the
flush left for later.  Left out: virtual machines, preempt_disable, which here nothing could preempt; machines without
the facility for a local flush (cpu_has_tlb_lc).
"""

from asm.pgtable import set_pmd, set_pte
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from cpu import idte_segment, ipte, rdp
from linux.mm_types import mm_cpumask, mm_struct, vm_area_struct
from linux.types import Addr

from ptelab.lang import atomic_dec, atomic_inc, cpu_id


def ptep_ipte_local(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Invalidate an entry and flush it from this CPU."""
    ipte(addr, ptep, mm.pgd, True)


def ptep_ipte_global(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Invalidate an entry and flush it from every CPU."""
    ipte(addr, ptep, mm.pgd, False)


def ptep_flush_direct(mm: mm_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Invalidate an entry with its flush, unless it is invalid; returns what it was."""
    old = ptep.pte
    if not old.valid:
        return old
    atomic_inc(mm.context.flush_count)
    if mm_cpumask(mm) == 1 << cpu_id():
        ptep_ipte_local(mm, addr, ptep)
    else:
        ptep_ipte_global(mm, addr, ptep)
    atomic_dec(mm.context.flush_count)
    return old


def ptep_xchg_direct(mm: mm_struct, addr: Addr, ptep: pte_p, new: pte_t) -> pte_t:
    """Replace an entry, flushed from every TLB; returns what it was."""
    old = ptep_flush_direct(mm, addr, ptep)
    set_pte(ptep, new)
    return old


def ptep_flush_lazy(mm: mm_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Invalidate an entry, and leave the flush for later while only this CPU is attached; returns what it was."""
    old = ptep.pte
    if not old.valid:
        return old
    atomic_inc(mm.context.flush_count)
    if mm.context.cpu_attach_mask == 1 << cpu_id():
        set_pte(ptep, ptep.pte._replace(valid=False))
        mm.context.flush_mm = True
    else:
        ptep_ipte_global(mm, addr, ptep)
    atomic_dec(mm.context.flush_count)
    return old


def ptep_reset_dat_prot(mm: mm_struct, addr: Addr, ptep: pte_p, new: pte_t) -> None:
    """Let stores through an entry, which stays valid, and then note in it what software has to know.

    Context: the caller has checked that nothing else that the hardware sees is to change.
    """
    atomic_inc(mm.context.flush_count)
    if mm_cpumask(mm) == 1 << cpu_id():
        rdp(addr, ptep, mm.pgd, True)
    else:
        rdp(addr, ptep, mm.pgd, False)
    set_pte(ptep, new)
    atomic_dec(mm.context.flush_count)


def ptep_xchg_lazy(mm: mm_struct, addr: Addr, ptep: pte_p, new: pte_t) -> pte_t:
    """Replace an entry, perhaps with the flush left for later; returns what it was."""
    old = ptep_flush_lazy(mm, addr, ptep)
    set_pte(ptep, new)
    return old


def ptep_modify_prot_start(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Begin to change an entry's protection; returns what it was."""
    return ptep_flush_lazy(vma.vm_mm, addr, ptep)


def ptep_modify_prot_commit(vma: vm_area_struct, addr: Addr, ptep: pte_p, old_pte: pte_t, pte: pte_t) -> None:
    """End to change an entry's protection."""
    set_pte(ptep, pte)


def pmdp_idte_local(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> None:
    """Invalidate the entry of a large page and flush it from this CPU."""
    idte_segment(addr, pmdp, mm.pgd, True)


def pmdp_idte_global(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> None:
    """Invalidate the entry of a large page and flush it from every CPU."""
    idte_segment(addr, pmdp, mm.pgd, False)


def pmdp_flush_direct(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Invalidate a segment-table entry with its flush, unless it is invalid; returns what it was."""
    old = pmdp.pmd
    if not old.valid and not old.entry.valid:
        return old
    atomic_inc(mm.context.flush_count)
    if mm_cpumask(mm) == 1 << cpu_id():
        pmdp_idte_local(mm, addr, pmdp)
    else:
        pmdp_idte_global(mm, addr, pmdp)
    atomic_dec(mm.context.flush_count)
    return old


def pmdp_flush_lazy(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Invalidate a segment-table entry, and leave the flush for later while only this CPU is attached; what it was."""
    old = pmdp.pmd
    if not old.valid and not old.entry.valid:
        return old
    atomic_inc(mm.context.flush_count)
    if mm.context.cpu_attach_mask == 1 << cpu_id():
        pmd = pmdp.pmd
        set_pmd(pmdp, pmd._replace(valid=False, entry=pmd.entry._replace(valid=False)))
        mm.context.flush_mm = True
    else:
        pmdp_idte_global(mm, addr, pmdp)
    atomic_dec(mm.context.flush_count)
    return old


def pmdp_xchg_direct(mm: mm_struct, addr: Addr, pmdp: pmd_p, new: pmd_t) -> pmd_t:
    """Replace the entry of a large page, flushed from every TLB; returns what it was."""
    old = pmdp_flush_direct(mm, addr, pmdp)
    set_pmd(pmdp, new)
    return old


def pmdp_xchg_lazy(mm: mm_struct, addr: Addr, pmdp: pmd_p, new: pmd_t) -> pmd_t:
    """Replace the entry of a large page, perhaps with the flush left for later; returns what it was."""
    old = pmdp_flush_lazy(mm, addr, pmdp)
    set_pmd(pmdp, new)
    return old

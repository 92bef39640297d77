# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/mm/pgtable.c (v7.0)."""

from asm.pgtable import pmd_mkinvalid, pmd_same, pmdp_establish, pte_mkold, pte_same, pte_young, set_pmd, set_pte
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from asm.tlb import mmu_gather, tlb_remove_ptdesc
from linux.mm_types import mm_struct, ptdesc, vm_area_struct
from linux.pgtable import pmdp_get
from linux.types import Addr
from stubs.memory import alloc_table

from ptelab.lang import READ_ONCE, try_cmpxchg


def pte_alloc_one(mm: mm_struct) -> ptdesc | None:
    """Allocate an empty PTE table; None when there is no memory."""
    return alloc_table()


def ___pte_free_tlb(tlb: mmu_gather, pte: ptdesc) -> None:
    """Free a PTE table through the gather."""
    tlb_remove_ptdesc(tlb, pte)


def ptep_set_access_flags(vma: vm_area_struct, address: Addr, ptep: pte_p, entry: pte_t, dirty: bool) -> bool:
    """Give rights or A and D bits to an entry by a plain write; whether there was anything to give.

    Context: PTL held.  No flush: it only gives, and a fault drops the entry that is too strict.
    """
    changed = not pte_same(ptep.pte, entry)
    if changed and dirty:
        set_pte(ptep, entry)
    return changed


def pmdp_set_access_flags(vma: vm_area_struct, address: Addr, pmdp: pmd_p, entry: pmd_t, dirty: bool) -> bool:
    """Give rights or A and D bits to the entry of a huge page by a plain write; whether there was anything to give.

    Context: pmd lock held.
    """
    changed = not pmd_same(pmdp.pmd, entry)
    if changed and dirty:
        set_pmd(pmdp, entry)
    return changed


def pmdp_invalidate_ad(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Keep an upper entry of a huge page from the hardware, which notes nothing more in it; returns what it was.

    Context: pmd lock held.  No flush: a TLB may still have the entry until the caller's.
    """
    return pmdp_establish(vma, address, pmdp, pmd_mkinvalid(pmdp_get(pmdp)))


def ptep_test_and_clear_young(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> bool:
    """Clear A; what it was.

    Differs: test_and_clear_bit is a loop.
    """
    if not pte_young(READ_ONCE(ptep.pte)):
        return False
    while True:
        pte = READ_ONCE(ptep.pte)
        if try_cmpxchg(ptep.pte, pte, pte_mkold(pte)):
            return pte_young(pte)


def ptep_clear_flush_young(vma: vm_area_struct, address: Addr, ptep: pte_p) -> bool:
    """Clear A, and leave the TLBs alone: a page that is used through one may look unused; what A was."""
    return ptep_test_and_clear_young(vma, address, ptep)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/pgtable-generic.c (v7.0).

Left out: rcu_read_lock, as no table is reused within a run (see `stubs.memory`).
"""

from asm.page import PMD_SIZE
from asm.pgtable import (
    pmd_mkinvalid,
    pmd_none,
    pmd_same,
    pmdp_establish,
    pmdp_huge_get_and_clear,
    pte_accessible,
    ptep_get_and_clear,
)
from asm.pgtable_types import pmd_p, pmd_t, pte_p, pte_t
from asm.tlbflush import flush_tlb_page, flush_tlb_range
from linux.mm import pte_alloc, pte_lockptr, pte_unmap_unlock
from linux.mm_types import mm_struct, ptdesc, vm_area_struct
from linux.pgtable import __pte_map, pmd_trans_huge, pmdp_get, pmdp_get_lockless
from linux.types import Addr
from stubs.memory import call_rcu

from ptelab.lang import at, lockdep_assert_held, spin_lock


def ptep_clear_flush(vma: vm_area_struct, address: Addr, ptep: pte_p) -> pte_t:
    """Empty an entry, and flush it unless no TLB can hold it.

    Context: PTL held.
    """
    mm = vma.vm_mm
    pte = ptep_get_and_clear(mm, address, ptep)
    if pte_accessible(mm, pte):
        flush_tlb_page(vma, address)
    return pte


def __pte_offset_map(pmd: pmd_p, addr: Addr) -> tuple[pte_p | None, pmd_t]:
    """The slot of the entry for an address, None without a PTE table; and the upper entry that was seen."""
    pmdval = pmdp_get_lockless(pmd)
    if pmd_none(pmdval) or pmd_trans_huge(pmdval):
        return None, pmdval
    return __pte_map(pmdval, addr), pmdval


def pte_offset_map_rw_nolock(mm: mm_struct, pmd: pmd_p, addr: Addr) -> tuple[pte_p | None, pmd_t, ptdesc]:
    """The slot of the entry for an address, the upper entry that was seen, and the lock, which is not taken."""
    pte, pmdval = __pte_offset_map(pmd, addr)
    return pte, pmdval, pte_lockptr(mm, pmdval)


def pte_offset_map_lock(mm: mm_struct, pmd: pmd_p, addr: Addr) -> tuple[pte_p | None, ptdesc]:
    """The slot of the entry for an address, with the lock of its table taken; None without a PTE table."""
    while True:
        pte, pmdval = __pte_offset_map(pmd, addr)
        ptl = pte_lockptr(mm, pmdval)
        if pte is None:
            return None, ptl
        spin_lock(ptl.ptl)
        if pmd_same(pmdval, pmdp_get_lockless(pmd)):
            return pte, ptl
        pte_unmap_unlock(pte, ptl)


def pte_alloc_map_lock(mm: mm_struct, pmd: pmd_p, address: Addr) -> tuple[pte_p | None, ptdesc]:
    """See to it that there is a PTE table, and lock it; None without memory.

    Differs: Linux has it in include/linux/mm.h.
    """
    if pte_alloc(mm, pmd):
        return None, at(ptdesc, 0)
    return pte_offset_map_lock(mm, pmd, address)


def pmdp_invalidate(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Keep an upper entry of a huge page from the hardware, with the flush; returns what it was.

    Context: pmd lock held.  Who looks without the lock sees that the entry is there.
    """
    old = pmdp_establish(vma, address, pmdp, pmd_mkinvalid(pmdp_get(pmdp)))
    flush_tlb_range(vma, address, address + PMD_SIZE)
    return old


def pmdp_invalidate_ad(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Keep an upper entry of a huge page from the hardware, so that it notes nothing more in it; returns what it was.

    Context: pmd lock held.  An architecture may leave the flush to the caller.
    """
    return pmdp_invalidate(vma, address, pmdp)


def pmdp_huge_clear_flush(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Empty an upper entry of a huge page, with the flush; returns what it was."""
    pmd = pmdp_huge_get_and_clear(vma.vm_mm, address, pmdp)
    flush_tlb_range(vma, address, address + PMD_SIZE)
    return pmd


def pmdp_collapse_flush(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Unhook a PTE table that is to be replaced by a huge page, and flush what came of it; the upper entry as it was.

    Context: pmd lock held.
    """
    pmd = pmdp_huge_get_and_clear(vma.vm_mm, address, pmdp)
    flush_tlb_range(vma, address, address + PMD_SIZE)
    return pmd


def pgtable_trans_huge_deposit(mm: mm_struct, pmdp: pmd_p, pgtable: ptdesc) -> None:
    """Keep an empty PTE table, so that the huge page can be split without memory.

    Context: pmd lock held.  Differs: one table per mm, so one huge page of anonymous memory.
    """
    lockdep_assert_held(mm.page_table_lock)
    assert mm.pmd_huge_pte is None
    mm.pmd_huge_pte = pgtable


def pgtable_trans_huge_withdraw(mm: mm_struct, pmdp: pmd_p) -> ptdesc:
    """Take back the table that was kept for a huge page.

    Context: pmd lock held.
    """
    lockdep_assert_held(mm.page_table_lock)
    pgtable = mm.pmd_huge_pte
    assert pgtable is not None
    mm.pmd_huge_pte = None
    return pgtable


def pte_free_defer(mm: mm_struct, pgtable: ptdesc) -> None:
    """Free a PTE table after a grace period.

    Context: the table is unhooked, and the TLBs are flushed.
    """
    call_rcu(pgtable)

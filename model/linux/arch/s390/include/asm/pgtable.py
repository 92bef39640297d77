# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/pgtable.h (v7.0).

An old entry is invalid to the hardware and a clean one protected, so that the first access faults and the first store
does.  Left out: swap, special and large entries, secure guests.
"""

from arch.s390.mm.mmap import vm_get_page_prot  # noqa: F401
from arch.s390.mm.pgtable import (  # noqa: F401
    pmdp_xchg_direct,
    pmdp_xchg_lazy,
    ptep_modify_prot_commit,
    ptep_modify_prot_start,
    ptep_reset_dat_prot,
    ptep_xchg_direct,
    ptep_xchg_lazy,
)
from asm.cpufeature import cpu_has_rdp
from asm.pgtable_types import PTRS_PER_PTE, pgprot_t, pmd_p, pmd_t, pte_p, pte_t
from config import CONFIG_MEM_SOFT_DIRTY
from cpu import rdp
from linux.mm_types import mm_struct, swp_entry_t, vm_area_struct
from linux.types import Addr, Pfn

from ptelab.lang import WRITE_ONCE, u4


def pmd_present(pmd: pmd_t) -> bool:
    """Whether the upper entry names a table or maps a huge page."""
    return pmd.valid or pmd.leaf


def pmd_none(pmd: pmd_t) -> bool:
    """Whether the segment-table entry is empty."""
    return not pmd.valid and not pmd.leaf


def pte_present(pte: pte_t) -> bool:
    """Whether the entry maps a page: a bit of software, as the hardware's depends on the page's age."""
    return pte.present


def pte_none(pte: pte_t) -> bool:
    """Whether the entry is empty."""
    return pte == pte_t()


def pte_accessible(mm: mm_struct, pte: pte_t) -> bool:
    """Whether a TLB may hold the entry.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return True


def pte_same(a: pte_t, b: pte_t) -> bool:
    """Whether two entries are equal in every bit."""
    return a == b


def pmd_same(pmd_a: pmd_t, pmd_b: pmd_t) -> bool:
    """Whether two segment-table entries are equal.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pmd_a == pmd_b


def pte_write(pte: pte_t) -> bool:
    """Whether the page may be written, perhaps after its first store was noted."""
    return pte.write


def pte_dirty(pte: pte_t) -> bool:
    """Whether a store was noted."""
    return pte.dirty


def pte_young(pte: pte_t) -> bool:
    """Whether an access was noted."""
    return pte.young


def pte_pfn(pte: pte_t) -> Pfn:
    """The page frame of an entry."""
    return pte.pfn


def pmd_pfn(pmd: pmd_t) -> u4:
    """The page table of a segment-table entry."""
    return pmd.pfn


def set_pmd(pmdp: pmd_p, pmd: pmd_t) -> None:
    """Write a segment-table entry."""
    WRITE_ONCE(pmdp.pmd, pmd)


def set_pte(ptep: pte_p, pte: pte_t) -> None:
    """Write an entry."""
    WRITE_ONCE(ptep.pte, pte)


def pmd_clear(pmdp: pmd_p) -> None:
    """Empty a segment-table entry."""
    set_pmd(pmdp, pmd_t())


def pte_wrprotect(pte: pte_t) -> pte_t:
    """Take the right to store."""
    return pte._replace(write=False, protect=True)


def pte_mkwrite(pte: pte_t, vma: vm_area_struct) -> pte_t:
    """Give the right to store; at once, if the page is known to be dirty.

    Differs: Linux has it in mm/pgtable-generic.c, which calls pte_mkwrite_novma.
    """
    pte = pte._replace(write=True)
    if pte.dirty:
        pte = pte._replace(protect=False)
    return pte


def pte_mkclean(pte: pte_t) -> pte_t:
    """Forget stores, so that the next faults."""
    return pte._replace(dirty=False, protect=True)


def pte_mkdirty(pte: pte_t) -> pte_t:
    """Note a store; more need not be noted."""
    pte = pte_mksoft_dirty(pte._replace(dirty=True))
    if pte.write:
        pte = pte._replace(protect=False)
    return pte


def pte_mkold(pte: pte_t) -> pte_t:
    """Forget accesses, so that the next faults."""
    return pte._replace(young=False, valid=False)


def pte_access_permitted(pte: pte_t, write: bool) -> bool:
    """Whether a user may access the page through the entry.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte.present and pte.read and (not write or pte.write)


def pte_mkyoung(pte: pte_t) -> pte_t:
    """Note an access; more need not be noted."""
    pte = pte._replace(young=True)
    if pte.read:
        pte = pte._replace(valid=True)
    return pte


def mk_pte_phys(physpage: Pfn, pgprot: pgprot_t) -> pte_t:
    """Make an entry, young.

    Differs: takes the frame's number.
    """
    return pte_mkyoung(pte_t(protect=True, present=True, read=pgprot.read, write=pgprot.write, pfn=physpage))


def pfn_pte(pfn: Pfn, pgprot: pgprot_t) -> pte_t:
    """Make an entry, young."""
    return mk_pte_phys(pfn, pgprot)


def ptep_test_and_clear_young(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> bool:
    """Forget accesses, with the flush; whether there were any.

    Context: PTL held.
    """
    pte = ptep.pte
    return pte_young(ptep_xchg_direct(vma.vm_mm, addr, ptep, pte_mkold(pte)))


def ptep_clear_flush_young(vma: vm_area_struct, address: Addr, ptep: pte_p) -> bool:
    """Forget accesses, with the flush; whether there were any."""
    return ptep_test_and_clear_young(vma, address, ptep)


def ptep_get_and_clear(mm: mm_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Empty an entry, perhaps with the flush left for later; returns what it was."""
    return ptep_xchg_lazy(mm, addr, ptep, pte_t())


def ptep_clear_flush(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Empty an entry, flushed from every TLB; returns what it was."""
    return ptep_xchg_direct(vma.vm_mm, addr, ptep, pte_t())


def ptep_get_and_clear_full(mm: mm_struct, addr: Addr, ptep: pte_p, full: bool) -> pte_t:
    """Empty an entry; without a flush when the mm is torn down; returns what it was."""
    if full:
        res = ptep.pte
        set_pte(ptep, pte_t())
        return res
    return ptep_xchg_lazy(mm, addr, ptep, pte_t())


def ptep_set_wrprotect(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Take the right to store from an entry, perhaps with the flush left for later."""
    pte = ptep.pte
    if pte_write(pte):
        ptep_xchg_lazy(mm, addr, ptep, pte_wrprotect(pte))


def arch_wants_old_prefaulted_pte() -> bool:
    """Whether entries that no access asked for should start old: they are young unless an architecture says so.

    Differs: Linux has it in mm/memory.c.
    """
    return False


def pte_allow_rdp(old: pte_t, new: pte_t) -> bool:
    """Whether one entry becomes another by RDP: stores are let through, and nothing else changes for the hardware."""
    if not old.protect or new.protect:
        return False
    return old.valid == new.valid and old.pfn == new.pfn


def flush_tlb_fix_spurious_fault(vma: vm_area_struct, address: Addr, ptep: pte_p) -> None:
    """Drop what this CPU has formed from an entry before RDP; without RDP nothing outlives the change of its entry."""
    if cpu_has_rdp() and not ptep.pte.protect:
        rdp(address, ptep, vma.vm_mm.pgd, True)


def ptep_set_access_flags(vma: vm_area_struct, addr: Addr, ptep: pte_p, entry: pte_t, dirty: bool) -> bool:
    """Replace an entry by one that allows more, by RDP or with the flush; whether it was another.

    Context: PTL held.
    """
    if pte_same(ptep.pte, entry):
        return False
    if cpu_has_rdp() and pte_allow_rdp(ptep.pte, entry):
        ptep_reset_dat_prot(vma.vm_mm, addr, ptep, entry)
    else:
        ptep_xchg_direct(vma.vm_mm, addr, ptep, entry)
    return True


def pmd_index(address: Addr) -> u4:
    """Which segment-table entry an address has.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return address // PTRS_PER_PTE


def pte_modify(pte: pte_t, newprot: pgprot_t) -> pte_t:
    """Give an entry other rights; accesses and stores that were noted stay."""
    pte = pte._replace(valid=False, protect=True, present=True, read=newprot.read, write=newprot.write)
    if pte.young and pte.read:
        pte = pte._replace(valid=True)
    if pte.dirty and pte.write:
        pte = pte._replace(protect=False)
    return pte


def pgtable_supports_soft_dirty() -> bool:
    """Whether entries note stores for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return CONFIG_MEM_SOFT_DIRTY == 1


def pte_soft_dirty(pte: pte_t) -> bool:
    """Whether a store was noted for user space."""
    return pte.soft_dirty


def pte_mksoft_dirty(pte: pte_t) -> pte_t:
    """Note a store for user space."""
    return pte._replace(soft_dirty=CONFIG_MEM_SOFT_DIRTY == 1)


def pte_clear_soft_dirty(pte: pte_t) -> pte_t:
    """Forget stores noted for user space."""
    return pte._replace(soft_dirty=False)


def pte_uffd_wp(pte: pte_t) -> bool:
    """Whether user space wants to know of the next store.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return False


def pte_mkuffd_wp(pte: pte_t) -> pte_t:
    """Let user space know of the next store.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return pte


def pte_clear_uffd_wp(pte: pte_t) -> pte_t:
    """Do not let user space know of stores.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return pte


def pmd_leaf(pmd: pmd_t) -> bool:
    """Whether the upper entry maps a huge page itself, perhaps without the hardware's knowledge for the moment."""
    return pmd.leaf


def pmd_pte(pmd: pmd_t) -> pte_t:
    """What an upper entry that maps a huge page has in common with one of a PTE table.

    Differs: a part of the entry, where arm64 casts.
    Differs: Linux has it in arch/arm64/include/asm/pgtable.h, on arm64 only.
    """
    return pmd.entry


def pte_pmd(pte: pte_t) -> pmd_t:
    """Make an upper entry that maps a huge page.

    Differs: Linux has it in arch/arm64/include/asm/pgtable.h, on arm64 only.
    """
    return pmd_t(leaf=True, entry=pte)


def pmd_mkinvalid(pmd: pmd_t) -> pmd_t:
    """Keep an upper entry of a huge page from the hardware; it is there all the same.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, on x86 and others.
    """
    return pmd._replace(entry=pmd.entry._replace(valid=False))


def pmd_protnone(pmd: pmd_t) -> bool:
    """Whether the next access to a huge page is to fault as a hint; not because it is old, or being changed."""
    return pmd.leaf and not pmd.entry.read


def pmd_modify(pmd: pmd_t) -> pmd_t:
    """Let nobody access a huge page through its entry.

    Differs: PAGE_NONE is the only protection that it is called with; pte_modify does the rest.
    """
    return pmd._replace(entry=pmd.entry._replace(valid=False, protect=True, read=False, write=False))


def pmdp_set_access_flags(vma: vm_area_struct, addr: Addr, pmdp: pmd_p, entry: pmd_t, dirty: bool) -> bool:
    """Replace the entry of a large page by one that allows more, with the flush; whether it was another.

    Context: pmd lock held.
    """
    pte = pte_mkyoung(entry.entry)
    if dirty:
        pte = pte_mkdirty(pte)
    entry = pte_pmd(pte)
    if pmd_same(pmdp.pmd, entry):
        return False
    pmdp_xchg_direct(vma.vm_mm, addr, pmdp, entry)
    return True


def pmdp_collapse_flush(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Unhook a page table that is to be replaced by a large page, flushed everywhere; returns what the entry was."""
    return pmdp_huge_get_and_clear(vma.vm_mm, address, pmdp)


def pmdp_huge_get_and_clear(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Empty the entry of a large page, flushed from every TLB; returns what it was."""
    return pmdp_xchg_direct(mm, addr, pmdp, pmd_t())


def pmdp_huge_get_and_clear_full(vma: vm_area_struct, addr: Addr, pmdp: pmd_p, full: bool) -> pmd_t:
    """Empty the entry of a large page, perhaps with the flush left for later; without one when the mm is torn down."""
    if full:
        pmd = pmdp.pmd
        set_pmd(pmdp, pmd_t())
        return pmd
    return pmdp_xchg_lazy(vma.vm_mm, addr, pmdp, pmd_t())


def pmdp_huge_clear_flush(vma: vm_area_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Empty the entry of a large page, flushed from every TLB; returns what it was."""
    return pmdp_huge_get_and_clear(vma.vm_mm, addr, pmdp)


def pmdp_invalidate(vma: vm_area_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Keep the entry of a large page from the hardware, flushed from every TLB; returns what it was."""
    return pmdp_xchg_direct(vma.vm_mm, addr, pmdp, pmd_mkinvalid(pmdp.pmd))


def pmdp_invalidate_ad(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> pmd_t:
    """Keep the entry of a large page from the hardware, flushed from every TLB; returns what it was.

    Differs: Linux has it in mm/pgtable-generic.c.
    """
    return pmdp_invalidate(vma, address, pmdp)


def pmdp_establish(vma: vm_area_struct, address: Addr, pmdp: pmd_p, pmd: pmd_t) -> pmd_t:
    """Replace the entry of a large page, flushed from every TLB; returns what it was.

    Differs: Linux has it in include/linux/pgtable.h as generic_pmdp_establish, which s390 does not need.
    """
    return pmdp_xchg_direct(vma.vm_mm, address, pmdp, pmd)


def __swp_entry_to_pte(x: swp_entry_t) -> pte_t:
    """The entry of a page that is in swap: not for the hardware, and not empty.

    Differs: the slot takes the place of the frame, and the dirty bit that of the one for an exclusive page.
    """
    return pte_t(protect=True, pfn=x)


def __pte_to_swp_entry(pte: pte_t) -> swp_entry_t:
    """Which slot the page of an entry that is not present is in."""
    return pte.pfn


def pte_swp_mkexclusive(pte: pte_t) -> pte_t:
    """Remember that the page was its owner's alone."""
    return pte._replace(dirty=True)


def pte_swp_exclusive(pte: pte_t) -> bool:
    """Whether the page was its owner's alone when it was swapped out, and is so still."""
    return pte.dirty


def pte_swp_clear_exclusive(pte: pte_t) -> pte_t:
    """Remember that the page may have several owners."""
    return pte._replace(dirty=False)


def pte_swp_soft_dirty(pte: pte_t) -> bool:
    """Whether a store was noted for user space."""
    return pte.soft_dirty


def pte_swp_mksoft_dirty(pte: pte_t) -> pte_t:
    """Note a store for user space."""
    return pte._replace(soft_dirty=True)


def pte_swp_clear_soft_dirty(pte: pte_t) -> pte_t:
    """Forget stores noted for user space."""
    return pte._replace(soft_dirty=False)


def pte_swp_uffd_wp(pte: pte_t) -> bool:
    """Whether user space wants to know of the next store.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return False


def pte_swp_mkuffd_wp(pte: pte_t) -> pte_t:
    """Let user space know of the next store.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return pte


def pte_swp_clear_uffd_wp(pte: pte_t) -> pte_t:
    """Do not let user space know of stores.

    Differs: Linux has it in include/asm-generic/pgtable_uffd.h.
    """
    return pte


def clear_young_dirty_ptes(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> None:
    """Make an entry old and clean; it is empty meanwhile, so that no A or D bit is lost.

    Context: PTL held.  Differs: Linux has it in include/linux/pgtable.h, where flags say which of both to do.
    """
    pte = ptep_get_and_clear(vma.vm_mm, addr, ptep)
    set_pte(ptep, pte_mkclean(pte_mkold(pte)))


def flush_tlb_fix_spurious_fault_pmd(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> None:
    """Do nothing: a huge page's entry is never too strict in a TLB.

    Differs: Linux has it in include/linux/pgtable.h.
    """

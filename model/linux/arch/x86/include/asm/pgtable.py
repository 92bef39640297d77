# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/pgtable.h (v7.0).

Left out: shadow stacks and with them _PAGE_SAVED_DIRTY, PROT_NONE, special and huge entries,
page_table_check.
"""

from arch.x86.mm.pgprot import vm_get_page_prot  # noqa: F401
from arch.x86.mm.pgtable import (  # noqa: F401
    pmdp_invalidate_ad,
    pmdp_set_access_flags,
    ptep_clear_flush_young,
    ptep_set_access_flags,
    ptep_test_and_clear_young,
)
from asm.pgtable_types import PTRS_PER_PTE, pgprot_t, pmd_p, pmd_t, pte_p, pte_t
from config import CONFIG_MEM_SOFT_DIRTY
from linux.mm_types import mm_struct, swp_entry_t, vm_area_struct
from linux.types import Addr, Pfn
from mm.pgtable_generic import (  # noqa: F401
    pmdp_collapse_flush,
    pmdp_huge_clear_flush,
    pmdp_invalidate,
    ptep_clear_flush,
)

from ptelab.lang import WRITE_ONCE, try_cmpxchg, u4, xchg


def arch_wants_old_prefaulted_pte() -> bool:
    """Whether entries that no access asked for should start old: they are young unless an architecture says so.

    Differs: Linux has it in mm/memory.c.
    """
    return False


def flush_tlb_fix_spurious_fault(vma: vm_area_struct, address: Addr, ptep: pte_p) -> None:
    """Do nothing: the fault has dropped the stale entry."""


def pte_dirty(pte: pte_t) -> bool:
    """Whether the page was written through the entry."""
    return pte.dirty


def pte_young(pte: pte_t) -> bool:
    """Whether the page was accessed through the entry."""
    return pte.accessed


def pte_write(pte: pte_t) -> bool:
    """Whether the entry lets stores through."""
    return pte.rw


def pte_pfn(pte: pte_t) -> Pfn:
    """The page frame of an entry."""
    return pte.pfn


def pmd_pfn(pmd: pmd_t) -> u4:
    """The PTE table of an upper entry."""
    return pmd.pfn


def pte_wrprotect(pte: pte_t) -> pte_t:
    """Take the right to store."""
    return pte._replace(rw=False)


def pte_mkclean(pte: pte_t) -> pte_t:
    """Clear the dirty bit."""
    return pte._replace(dirty=False)


def pte_mkold(pte: pte_t) -> pte_t:
    """Clear the accessed bit."""
    return pte._replace(accessed=False)


def pte_mkdirty(pte: pte_t) -> pte_t:
    """Set the dirty bit, also the one for user space."""
    return pte_mksoft_dirty(pte._replace(dirty=True))


def pte_access_permitted(pte: pte_t, write: bool) -> bool:
    """Whether a user may access the page through the entry."""
    return pte.present and (not write or pte.rw)


def pte_mkyoung(pte: pte_t) -> pte_t:
    """Set the accessed bit."""
    return pte._replace(accessed=True)


def pte_mkwrite(pte: pte_t, vma: vm_area_struct) -> pte_t:
    """Give the right to store."""
    return pte._replace(rw=True)


def pfn_pte(page_nr: Pfn, pgprot: pgprot_t) -> pte_t:
    """Make an entry.

    Differs: _PAGE_ACCESSED is part of every user protection on x86, so it is set here.
    """
    return pte_t(present=True, rw=pgprot.rw, accessed=True, dirty=False, pfn=page_nr)


def pte_none(pte: pte_t) -> bool:
    """Whether the entry is empty."""
    return pte == pte_t()


def pte_same(a: pte_t, b: pte_t) -> bool:
    """Whether two entries are equal in every bit."""
    return a == b


def pte_present(a: pte_t) -> bool:
    """Whether the hardware may use the entry."""
    return a.present


def pte_accessible(mm: mm_struct, a: pte_t) -> bool:
    """Whether a TLB may hold the entry."""
    return a.present


def pmd_present(pmd: pmd_t) -> bool:
    """Whether the upper entry names a table or maps a huge page."""
    return pmd.present or pmd.leaf


def pmd_none(pmd: pmd_t) -> bool:
    """Whether the upper entry is empty."""
    return not pmd.present and not pmd.leaf


def pmd_same(a: pmd_t, b: pmd_t) -> bool:
    """Whether two upper entries are equal.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return a == b


def set_pte(ptep: pte_p, pte: pte_t) -> None:
    """Write an entry."""
    WRITE_ONCE(ptep.pte, pte)


def set_pmd(pmdp: pmd_p, pmd: pmd_t) -> None:
    """Write an upper entry."""
    WRITE_ONCE(pmdp.pmd, pmd)


def pmd_clear(pmdp: pmd_p) -> None:
    """Empty an upper entry."""
    WRITE_ONCE(pmdp.pmd, pmd_t())


def ptep_get_and_clear(mm: mm_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Empty an entry and return what it was, as one step, so that no A or D bit of the hardware is lost."""
    return xchg(ptep.pte, pte_t())


def ptep_get_and_clear_full(mm: mm_struct, addr: Addr, ptep: pte_p, full: bool) -> pte_t:
    """Empty an entry and return what it was; by a plain read and write when the whole mm is torn down."""
    if full:
        res = ptep.pte
        set_pte(ptep, pte_t())
        return res
    return ptep_get_and_clear(mm, addr, ptep)


def ptep_set_wrprotect(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Take the right to store from an entry, keeping what the hardware does to it meanwhile."""
    done = False
    while not done:
        old_pte = ptep.pte
        done = try_cmpxchg(ptep.pte, old_pte, pte_wrprotect(old_pte))


def pmd_index(address: Addr) -> u4:
    """Which upper entry an address has.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return address // PTRS_PER_PTE


def pte_modify(pte: pte_t, newprot: pgprot_t) -> pte_t:
    """Give an entry other rights; A, D and what software notes stay."""
    return pte._replace(present=True, rw=newprot.rw)


def ptep_modify_prot_start(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Begin to change an entry's protection: it is empty meanwhile, so that no A or D bit is lost; what it was.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return ptep_get_and_clear(vma.vm_mm, addr, ptep)


def ptep_modify_prot_commit(vma: vm_area_struct, addr: Addr, ptep: pte_p, old_pte: pte_t, pte: pte_t) -> None:
    """End to change an entry's protection.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    set_pte(ptep, pte)


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
    """Whether user space wants to know of the next store."""
    return pte.uffd_wp


def pte_mkuffd_wp(pte: pte_t) -> pte_t:
    """Let user space know of the next store."""
    return pte_wrprotect(pte._replace(uffd_wp=True))


def pte_clear_uffd_wp(pte: pte_t) -> pte_t:
    """Do not let user space know of stores."""
    return pte._replace(uffd_wp=False)


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
    """Keep an upper entry of a huge page from the hardware; it is there all the same."""
    return pmd._replace(entry=pmd.entry._replace(present=False))


def pmd_protnone(pmd: pmd_t) -> bool:
    """Whether the next access to a huge page is to fault as a hint; or it is being changed, which its lock tells."""
    return pmd.leaf and not pmd.entry.present


def pmd_modify(pmd: pmd_t) -> pmd_t:
    """Let nobody access a huge page through its entry.

    Differs: PAGE_NONE is the only protection that it is called with; pte_modify does the rest.
    """
    return pmd_mkinvalid(pmd._replace(entry=pte_wrprotect(pmd.entry)))


def pmdp_establish(vma: vm_area_struct, address: Addr, pmdp: pmd_p, pmd: pmd_t) -> pmd_t:
    """Replace an upper entry and return what it was, as one step, so that no A or D bit of the hardware is lost."""
    return xchg(pmdp.pmd, pmd)


def pmdp_huge_get_and_clear(mm: mm_struct, addr: Addr, pmdp: pmd_p) -> pmd_t:
    """Empty an upper entry of a huge page and return what it was, as one step."""
    return xchg(pmdp.pmd, pmd_t())


def pmdp_huge_get_and_clear_full(vma: vm_area_struct, address: Addr, pmdp: pmd_p, full: bool) -> pmd_t:
    """Empty an upper entry of a huge page and return what it was.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pmdp_huge_get_and_clear(vma.vm_mm, address, pmdp)


def __swp_entry_to_pte(x: swp_entry_t) -> pte_t:
    """The entry of a page that is in swap: not for the hardware, and not empty.

    Differs: the slot takes the place of the frame, and D that of the bit for an exclusive page.
    Differs: Linux has it in arch/x86/include/asm/pgtable_64.h.
    """
    return pte_t(pfn=x)


def __pte_to_swp_entry(pte: pte_t) -> swp_entry_t:
    """Which slot the page of an entry that is not present is in.

    Differs: Linux has it in arch/x86/include/asm/pgtable_64.h.
    """
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
    """Whether user space wants to know of the next store."""
    return pte.uffd_wp


def pte_swp_mkuffd_wp(pte: pte_t) -> pte_t:
    """Let user space know of the next store."""
    return pte._replace(uffd_wp=True)


def pte_swp_clear_uffd_wp(pte: pte_t) -> pte_t:
    """Do not let user space know of stores."""
    return pte._replace(uffd_wp=False)


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

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/pgtable.h (v7.0).

Of an entry, clean and writable is DBM with AP[2] set, dirty by hardware is DBM with AP[2] clear, and dirty by software
is a bit of its own, which outlives the right to store.

Left out: contiguous entries (so that what Linux calls __ptep_… is here under its name without the underscores), PTE_NG
and attributes, entries present but invalid, special and huge entries.
"""

from arch.arm64.mm.fault import pmdp_set_access_flags, ptep_set_access_flags  # noqa: F401
from arch.arm64.mm.mmap import vm_get_page_prot  # noqa: F401
from asm.cpufeature import cpu_has_hw_af
from asm.pgtable_types import PTRS_PER_PTE, pgprot_t, pmd_p, pmd_t, pte_p, pte_t
from asm.tlbflush import flush_tlb_page_nosync, local_flush_tlb_page_nonotify
from linux.mm_types import mm_struct, swp_entry_t, vm_area_struct
from linux.types import Addr, Pfn
from mm.pgtable_generic import (  # noqa: F401
    pmdp_collapse_flush,
    pmdp_huge_clear_flush,
    pmdp_invalidate,
    pmdp_invalidate_ad,
    ptep_clear_flush,
)

from ptelab.lang import READ_ONCE, WRITE_ONCE, try_cmpxchg, u4, xchg


def arch_wants_old_prefaulted_pte() -> bool:
    """Whether entries that no access asked for should start old: where the access flag costs no fault."""
    return cpu_has_hw_af()


def flush_tlb_fix_spurious_fault(vma: vm_area_struct, address: Addr, ptep: pte_p) -> None:
    """Drop the stale entry of this CPU; the fault has not."""
    local_flush_tlb_page_nonotify(vma, address)


def pte_pfn(pte: pte_t) -> Pfn:
    """The page frame of an entry."""
    return pte.pfn


def pte_none(pte: pte_t) -> bool:
    """Whether the entry is empty."""
    return pte == pte_t()


def pte_valid(pte: pte_t) -> bool:
    """Whether the hardware may use the entry."""
    return pte.valid


def pte_present(pte: pte_t) -> bool:
    """Whether the entry maps a page."""
    return pte_valid(pte)


def pte_young(pte: pte_t) -> bool:
    """Whether the access flag is set."""
    return pte.af


def pte_write(pte: pte_t) -> bool:
    """Whether the page may be written, perhaps after its first store was noted."""
    return pte.dbm


def pte_rdonly(pte: pte_t) -> bool:
    """Whether the hardware lets no store through."""
    return pte.rdonly


def pte_hw_dirty(pte: pte_t) -> bool:
    """Whether a store went through the entry, or may go without notice."""
    return pte_write(pte) and not pte_rdonly(pte)


def pte_sw_dirty(pte: pte_t) -> bool:
    """Whether software has noted a store."""
    return pte.sw_dirty


def pte_dirty(pte: pte_t) -> bool:
    """Whether the page was written through the entry."""
    return pte_sw_dirty(pte) or pte_hw_dirty(pte)


def pte_accessible(mm: mm_struct, pte: pte_t) -> bool:
    """Whether a TLB may hold the entry, whatever its access flag: ptep_clear_flush_young does not wait.

    Left out: mm_tlb_flush_pending, which only matters to entries present but invalid.
    """
    return pte_valid(pte)


def pte_mkwrite(pte: pte_t, vma: vm_area_struct) -> pte_t:
    """Give the right to store; at once, if the page is known to be dirty.

    Differs: Linux has it in mm/pgtable-generic.c, which calls pte_mkwrite_novma.
    """
    pte = pte._replace(dbm=True)
    if pte_sw_dirty(pte):
        pte = pte._replace(rdonly=False)
    return pte


def pte_mkclean(pte: pte_t) -> pte_t:
    """Forget stores, so that the next is noted."""
    return pte._replace(sw_dirty=False, rdonly=True)


def pte_mkdirty(pte: pte_t) -> pte_t:
    """Note a store; more need not be noted."""
    pte = pte._replace(sw_dirty=True)
    if pte_write(pte):
        pte = pte._replace(rdonly=False)
    return pte


def pte_wrprotect(pte: pte_t) -> pte_t:
    """Take the right to store; what the hardware has noted becomes software's."""
    if pte_hw_dirty(pte):
        pte = pte._replace(sw_dirty=True)
    return pte._replace(dbm=False, rdonly=True)


def pte_mkold(pte: pte_t) -> pte_t:
    """Clear the access flag."""
    return pte._replace(af=False)


def pte_access_permitted(pte: pte_t, write: bool) -> bool:
    """Whether a user may access the page through the entry."""
    return pte.valid and (not write or pte.dbm)


def pte_mkyoung(pte: pte_t) -> pte_t:
    """Set the access flag."""
    return pte._replace(af=True)


def pfn_pte(pfn: Pfn, prot: pgprot_t) -> pte_t:
    """Make an entry: young, as every user protection says, and read-only until it is known to be dirty."""
    return pte_t(valid=True, rdonly=True, af=True, dbm=prot.write, sw_dirty=False, pfn=pfn)


def pte_same(pte_a: pte_t, pte_b: pte_t) -> bool:
    """Whether two entries are equal in every bit.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte_a == pte_b


def pmd_none(pmd: pmd_t) -> bool:
    """Whether the upper entry is empty."""
    return not pmd.valid and not pmd.leaf


def pmd_present(pmd: pmd_t) -> bool:
    """Whether the upper entry names a table or maps a huge page."""
    return pmd.valid or pmd.leaf


def pmd_pfn(pmd: pmd_t) -> u4:
    """The PTE table of an upper entry."""
    return pmd.pfn


def pmd_same(pmd_a: pmd_t, pmd_b: pmd_t) -> bool:
    """Whether two upper entries are equal.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pmd_a == pmd_b


def set_pte(ptep: pte_p, pte: pte_t) -> None:
    """Write an entry.

    Left out: barriers, which only kernel mappings need.
    """
    WRITE_ONCE(ptep.pte, pte)


def set_pmd(pmdp: pmd_p, pmd: pmd_t) -> None:
    """Write an upper entry."""
    WRITE_ONCE(pmdp.pmd, pmd)


def pmd_clear(pmdp: pmd_p) -> None:
    """Empty an upper entry."""
    set_pmd(pmdp, pmd_t())


def ptep_test_and_clear_young(vma: vm_area_struct, address: Addr, ptep: pte_p) -> bool:
    """Clear the access flag; what it was."""
    while True:
        pte = READ_ONCE(ptep.pte)
        if try_cmpxchg(ptep.pte, pte, pte_mkold(pte)):
            return pte_young(pte)


def ptep_clear_flush_young(vma: vm_area_struct, address: Addr, ptep: pte_p) -> bool:
    """Clear the access flag and invalidate, but do not wait for it; what it was."""
    young = ptep_test_and_clear_young(vma, address, ptep)
    if young:
        flush_tlb_page_nosync(vma, address)
    return young


def ptep_get_and_clear(mm: mm_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Empty an entry and return what it was, as one step, so that no update by the hardware is lost."""
    return xchg(ptep.pte, pte_t())


def ptep_get_and_clear_full(mm: mm_struct, addr: Addr, ptep: pte_p, full: bool) -> pte_t:
    """Empty an entry and return what it was.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return ptep_get_and_clear(mm, addr, ptep)


def ptep_set_wrprotect(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Take the right to store from an entry, keeping what the hardware does to it meanwhile."""
    done = False
    while not done:
        pte = READ_ONCE(ptep.pte)
        done = try_cmpxchg(ptep.pte, pte, pte_wrprotect(pte))


def pmd_index(address: Addr) -> u4:
    """Which upper entry an address has.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return address // PTRS_PER_PTE


def pte_modify(pte: pte_t, newprot: pgprot_t) -> pte_t:
    """Give an entry other rights; what the hardware has noted stays, as software's or again as its own."""
    if pte_hw_dirty(pte):
        pte = pte._replace(sw_dirty=True)
    pte = pte._replace(valid=True, dbm=newprot.write, rdonly=True)
    if pte_sw_dirty(pte):
        pte = pte_mkdirty(pte)
    return pte


def ptep_modify_prot_start(vma: vm_area_struct, addr: Addr, ptep: pte_p) -> pte_t:
    """Begin to change an entry's protection: it is empty meanwhile, so that no A or D bit is lost; what it was.

    Left out: the flush of executable pages for an erratum.  Differs: Linux has it in arch/arm64/mm/mmu.c.
    """
    return ptep_get_and_clear(vma.vm_mm, addr, ptep)


def ptep_modify_prot_commit(vma: vm_area_struct, addr: Addr, ptep: pte_p, old_pte: pte_t, pte: pte_t) -> None:
    """End to change an entry's protection.

    Differs: Linux has it in arch/arm64/mm/mmu.c.
    """
    set_pte(ptep, pte)


def pgtable_supports_soft_dirty() -> bool:
    """Whether entries note stores for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return False


def pte_soft_dirty(pte: pte_t) -> bool:
    """Whether a store was noted for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return False


def pte_mksoft_dirty(pte: pte_t) -> pte_t:
    """Note a store for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte


def pte_clear_soft_dirty(pte: pte_t) -> pte_t:
    """Forget stores noted for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte


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
    """
    return pmd.entry


def pte_pmd(pte: pte_t) -> pmd_t:
    """Make an upper entry that maps a huge page.

    Differs: Linux has it in arch/arm64/include/asm/pgtable.h, on arm64 only.
    """
    return pmd_t(leaf=True, entry=pte)


def pmd_mkinvalid(pmd: pmd_t) -> pmd_t:
    """Keep an upper entry of a huge page from the hardware; it is there all the same."""
    return pmd._replace(entry=pmd.entry._replace(valid=False))


def pmd_protnone(pmd: pmd_t) -> bool:
    """Whether the next access to a huge page is to fault as a hint; or it is being changed, which its lock tells."""
    return pmd.leaf and not pmd.entry.valid


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

    Differs: the slot takes the place of the frame, and software's dirty bit that of the one for an exclusive page.
    """
    return pte_t(pfn=x)


def __pte_to_swp_entry(pte: pte_t) -> swp_entry_t:
    """Which slot the page of an entry that is not present is in."""
    return pte.pfn


def pte_swp_mkexclusive(pte: pte_t) -> pte_t:
    """Remember that the page was its owner's alone."""
    return pte._replace(sw_dirty=True)


def pte_swp_exclusive(pte: pte_t) -> bool:
    """Whether the page was its owner's alone when it was swapped out, and is so still."""
    return pte.sw_dirty


def pte_swp_clear_exclusive(pte: pte_t) -> pte_t:
    """Remember that the page may have several owners."""
    return pte._replace(sw_dirty=False)


def pte_swp_soft_dirty(pte: pte_t) -> bool:
    """Whether a store was noted for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return False


def pte_swp_mksoft_dirty(pte: pte_t) -> pte_t:
    """Note a store for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte


def pte_swp_clear_soft_dirty(pte: pte_t) -> pte_t:
    """Forget stores noted for user space.

    Differs: Linux has it in include/linux/pgtable.h.
    """
    return pte


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
    """Make an entry old and clean by a read and a write; what the hardware notes between them goes too.

    Context: PTL held.  Differs: it always does both; what clears only one takes care of the hardware's updates.
    """
    pte = READ_ONCE(ptep.pte)
    set_pte(ptep, pte_mkclean(pte_mkold(pte)))


def flush_tlb_fix_spurious_fault_pmd(vma: vm_area_struct, address: Addr, pmdp: pmd_p) -> None:
    """Drop the stale entry of this CPU; the fault has not."""
    local_flush_tlb_page_nonotify(vma, address)

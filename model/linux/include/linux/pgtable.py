# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/pgtable.h (v7.0)."""

from asm.page import PMD_SIZE
from asm.pgtable import (
    pmd_index,
    pmd_leaf,
    pmd_pfn,
    pmd_pte,
    pte_access_permitted,
    pte_dirty,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_mkwrite,
    pte_mkyoung,
    pte_pmd,
    pte_write,
    pte_wrprotect,
    pte_young,
    ptep_get_and_clear_full,
    set_pmd,
    set_pte,
)
from asm.pgtable_types import PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t
from linux.mm_types import Folio, mm_struct, vm_area_struct
from linux.types import Addr, Pfn

from ptelab.lang import READ_ONCE, at, index_of, nr, param, u4

# Whether there is a zero page; it is then the last frame.
ZERO_PAGES = param("ZERO_PAGES", 0)


def pte_index(address: Addr) -> u4:
    """Which entry of its PTE table an address has."""
    return address % PTRS_PER_PTE


def __pte_map(pmd: pmd_t, address: Addr) -> pte_p:
    """The slot for an address in the PTE table that an upper entry names."""
    return at(pte_p, pmd_pfn(pmd) * PTRS_PER_PTE + pte_index(address))


def pmd_off(mm: mm_struct, va: Addr) -> pmd_p:
    """The slot of the upper entry for an address.

    Left out: the levels above, whose tables always exist here.
    """
    return at(pmd_p, index_of(mm.pgd) + pmd_index(va))


def set_pte_at(mm: mm_struct, addr: Addr, ptep: pte_p, pte: pte_t) -> None:
    """Write an entry."""
    set_pte(ptep, pte)


def ptep_get(ptep: pte_p) -> pte_t:
    """Read an entry."""
    return READ_ONCE(ptep.pte)


def pmdp_get(pmdp: pmd_p) -> pmd_t:
    """Read an upper entry."""
    return READ_ONCE(pmdp.pmd)


def ptep_get_lockless(ptep: pte_p) -> pte_t:
    """Read an entry without its lock."""
    return ptep_get(ptep)


def pmdp_get_lockless(pmdp: pmd_p) -> pmd_t:
    """Read an upper entry without its lock."""
    return pmdp_get(pmdp)


def get_and_clear_full_ptes(mm: mm_struct, addr: Addr, ptep: pte_p, full: bool) -> pte_t:
    """Empty the entries of a folio and return what they were, A and D of all.

    Differs: a folio has one.
    """
    return ptep_get_and_clear_full(mm, addr, ptep, full)


def pte_sw_mkyoung(pte: pte_t) -> pte_t:
    """Set the accessed bit where only software does; here the hardware does."""
    return pte


def pmd_addr_end(addr: Addr, end: Addr) -> Addr:
    """Where the PTE table of an address ends, or the range."""
    boundary: Addr = addr - addr % PMD_SIZE + PMD_SIZE
    return boundary if boundary < end else end


def is_zero_pfn(pfn: Pfn) -> bool:
    """Whether a frame is the zero page."""
    return ZERO_PAGES == 1 and pfn == nr(Folio) - 1


def my_zero_pfn(addr: Addr) -> Pfn:
    """The frame of the zero page for an address."""
    assert ZERO_PAGES == 1
    return nr(Folio) - 1


def pmd_trans_huge(pmd: pmd_t) -> bool:
    """Whether the upper entry maps a huge page."""
    return pmd_leaf(pmd)


def pmd_write(pmd: pmd_t) -> bool:
    """Whether a huge page may be written.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_write(pmd_pte(pmd))


def pmd_dirty(pmd: pmd_t) -> bool:
    """Whether a huge page was written through its entry.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_dirty(pmd_pte(pmd))


def pmd_wrprotect(pmd: pmd_t) -> pmd_t:
    """Take the right to store to a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_pmd(pte_wrprotect(pmd_pte(pmd)))


def pmd_mkclean(pmd: pmd_t) -> pmd_t:
    """Forget stores to a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_pmd(pte_mkclean(pmd_pte(pmd)))


def pmd_young(pmd: pmd_t) -> bool:
    """Whether a huge page was accessed through its entry.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_young(pmd_pte(pmd))


def pmd_mkdirty(pmd: pmd_t) -> pmd_t:
    """Note a store to a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_pmd(pte_mkdirty(pmd_pte(pmd)))


def pmd_mkold(pmd: pmd_t) -> pmd_t:
    """Forget accesses to a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_pmd(pte_mkold(pmd_pte(pmd)))


def pmd_mkyoung(pmd: pmd_t) -> pmd_t:
    """Note an access to a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    return pte_pmd(pte_mkyoung(pmd_pte(pmd)))


def pmd_mkwrite(pmd: pmd_t, vma: vm_area_struct) -> pmd_t:
    """Give the right to store to a huge page.

    Differs: Linux has it in arch/x86/mm/pgtable.c, and so on.
    """
    return pte_pmd(pte_mkwrite(pmd_pte(pmd), vma))


def pmd_access_permitted(pmd: pmd_t, write: bool) -> bool:
    """Whether a user may access a huge page through its entry."""
    return pte_access_permitted(pmd_pte(pmd), write)


def set_pmd_at(mm: mm_struct, addr: Addr, pmdp: pmd_p, pmd: pmd_t) -> None:
    """Write an upper entry of a huge page.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    set_pmd(pmdp, pmd)


def clear_not_present_full_ptes(mm: mm_struct, addr: Addr, ptep: pte_p, full: bool) -> None:
    """Empty an entry that is not present."""
    set_pte(ptep, pte_t())


def pte_clear(mm: mm_struct, addr: Addr, ptep: pte_p) -> None:
    """Empty an entry.

    Differs: Linux has it in arch/x86/include/asm/pgtable.h, and so on.
    """
    set_pte(ptep, pte_t())

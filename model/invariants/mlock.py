# SPDX-License-Identifier: GPL-2.0-only
"""Locked memory, when all is quiet: what is counted as locked is.

Flag: accounting.  Linux lets mlock_count be too small when a page is locked and unlocked at once, and reclaim find that
out; it may not be too large, or the page is kept from reclaim for ever.
"""

from asm.pgtable import pte_pfn, pte_present
from hw.memory import NR_PAGES
from invariants.observe import entry_of
from linux.mm import VM_LOCKED
from linux.mm_types import Folio, mm_struct
from linux.mmzone import zone
from mm.mlock import __munlock_folio, mlock_folio

from ptelab.lang import at, flag, ghost, index_of, on_entry, pool, reach, u4


@ghost
def locked_entries(folio: Folio) -> u4:
    """How many entries map a folio in VMAs whose memory is locked."""
    count: u4 = 0
    for mm in pool(mm_struct):
        for addr in range(NR_PAGES):
            vma = mm.mm_mt[addr]
            pte = entry_of(mm, addr)
            if (
                vma is not None
                and vma.vm_flags & VM_LOCKED != 0
                and pte_present(pte)
                and pte_pfn(pte) == index_of(folio)
            ):
                count += 1
    return count


@ghost
def always_locked_right() -> None:
    """A folio is locked only if a locked VMA maps it, and NR_MLOCK counts those that are."""
    locked: u4 = 0
    for folio in pool(Folio):
        if folio.PG_mlocked:
            locked += 1
            count = locked_entries(folio)
            if count == 0 or folio.mlock_count > count:
                flag("accounting", page=index_of(folio), mlock_count=folio.mlock_count, entries=count)
    if at(zone, 0).NR_MLOCK != locked:
        flag("accounting", NR_MLOCK=at(zone, 0).NR_MLOCK, locked=locked)


@on_entry(mlock_folio)
def sometimes_locked() -> None:
    """A page is mapped where memory is locked."""
    reach("page_mlocked")


@on_entry(__munlock_folio)
def sometimes_unlocked(folio: Folio) -> None:
    """The last entry of a page in locked memory goes, or one of several."""
    if folio.mlock_count > 1:
        reach("page_munlocked_once")
    else:
        reach("page_munlocked")

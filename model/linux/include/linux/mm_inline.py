# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm_inline.h (v7.0).

Context: who asks whether a flush is pending or nested has taken the PTL of an entry whose change it has seen.
"""

from asm.pgtable import pte_present, pte_uffd_wp
from asm.pgtable_types import pte_p, pte_t
from linux.mm import vma_is_anonymous
from linux.mm_types import Folio, mm_struct, vm_area_struct
from linux.mmzone import lru_list, lruvec, zone
from linux.page_flags import folio_test_active, folio_test_anon, folio_test_swapbacked
from linux.pgtable import set_pte_at
from linux.swapops import make_pte_marker
from linux.types import Addr
from linux.userfaultfd_k import pte_swp_uffd_wp_any, userfaultfd_wp

from ptelab.lang import at, atomic_dec, atomic_inc, atomic_read, lockdep_assert_held


def folio_is_file_lru(folio: Folio) -> bool:
    """Whether the folio may be dropped without being swapped out, if it is clean.

    Differs: it is so of every folio of a file, as those of shmem are not swapped out here.
    """
    return not folio_test_anon(folio) or not folio_test_swapbacked(folio)


def __folio_clear_lru_flags(folio: Folio) -> None:
    """Forget on which list a folio was that is taken off to be freed.

    Context: nobody has a reference any more, so none of this is atomic.  Left out: memory that is locked.
    """
    folio.PG_isolated = True
    folio.PG_active = False


def folio_lru_list(folio: Folio) -> lru_list:
    """The list that a folio belongs on.  Left out: anonymous memory, and memory that is locked."""
    return lru_list.LRU_ACTIVE_FILE if folio_test_active(folio) else lru_list.LRU_INACTIVE_FILE


def lruvec_add_folio(vec: lruvec, folio: Folio) -> None:
    """Put a folio at the head of the list that it belongs on.

    Context: lru_lock held.
    """
    lockdep_assert_held(at(zone, 0).lru_lock)
    lru = folio_lru_list(folio)
    vec.size[lru] += 1
    first = vec.first[lru]
    folio.lru_next = first
    folio.lru_prev = None
    if first is None:
        vec.last[lru] = folio
    else:
        first.lru_prev = folio
    vec.first[lru] = folio


def lruvec_del_folio(vec: lruvec, folio: Folio) -> None:
    """Take a folio from its list.

    Context: lru_lock held.
    """
    lockdep_assert_held(at(zone, 0).lru_lock)
    lru = folio_lru_list(folio)
    next = folio.lru_next
    prev = folio.lru_prev
    if next is None:
        vec.last[lru] = prev
    else:
        next.lru_prev = prev
    if prev is None:
        vec.first[lru] = next
    else:
        prev.lru_next = next
    folio.lru_next = None
    folio.lru_prev = None
    vec.size[lru] -= 1


def inc_tlb_flush_pending(mm: mm_struct) -> None:
    """Say that entries are about to be changed whose flush comes later."""
    atomic_inc(mm.tlb_flush_pending)


def dec_tlb_flush_pending(mm: mm_struct) -> None:
    """Say that the flush is done."""
    atomic_dec(mm.tlb_flush_pending)


def mm_tlb_flush_pending(mm: mm_struct) -> bool:
    """Whether somebody has still to flush."""
    return atomic_read(mm.tlb_flush_pending) != 0


def mm_tlb_flush_nested(mm: mm_struct) -> bool:
    """Whether somebody else has still to flush."""
    return atomic_read(mm.tlb_flush_pending) > 1


def pte_install_uffd_wp_if_needed(vma: vm_area_struct, addr: Addr, pte: pte_p, pteval: pte_t) -> bool:
    """Leave a marker in an entry that was emptied if user space wants to know of the next store; whether it was left.

    Context: PTL held since the entry was emptied.  What is anonymous is either gone, or has an entry of swap.
    """
    if vma_is_anonymous(vma) or not userfaultfd_wp(vma):
        return False
    if pte_present(pteval) and pte_uffd_wp(pteval) or pte_swp_uffd_wp_any(pteval):
        set_pte_at(vma.vm_mm, addr, pte, make_pte_marker())
        return True
    return False

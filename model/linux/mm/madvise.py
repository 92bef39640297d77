# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/madvise.c (v7.0).

Left out: every behaviour but MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT where there is swap or pages are on lists, and
where tests ask for them MADV_POPULATE_READ, MADV_POPULATE_WRITE and MADV_UNMERGEABLE; other processes; large folios.
"""

from asm.current import get_current
from asm.page import TASK_SIZE
from asm.pgtable import clear_young_dirty_ptes, pmd_none, pte_dirty, pte_none, pte_present, pte_young
from asm.pgtable_types import pmd_p, pte_p
from asm.tlb import mmu_gather, tlb_end_vma, tlb_remove_tlb_entry, tlb_start_vma
from config import CONFIG_MADVISE_FAULTS, CONFIG_SWAP
from linux.errno import EINVAL, ENOMEM
from linux.leafops import pte_is_uffd_wp_marker, softleaf_from_pte
from linux.mm import VM_LOCKED, VM_PFNMAP, folio_mapcount, pte_unmap_unlock, vma_is_anonymous, zap_details
from linux.mm_types import MM_SWAPENTS, Folio, mm_struct, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock, vma_end_read
from linux.mmzone import LRU_LISTS
from linux.page_flags import (
    folio_clear_dirty,
    folio_clear_referenced,
    folio_test_dirty,
    folio_test_lru,
    folio_test_swapcache,
)  # fmt: skip
from linux.pagemap import folio_trylock
from linux.pgtable import clear_not_present_full_ptes, pmd_addr_end, pmd_off, pmd_trans_huge, pmdp_get, ptep_get
from linux.types import Addr, Errno
from linux.userfaultfd_k import userfaultfd_wp
from mm.filemap import folio_unlock
from mm.gup import faultin_page_range
from mm.huge_memory import madvise_free_huge_pmd
from mm.ksm import ksm_madvise
from mm.memory import vm_normal_page, zap_page_range_single_batched
from mm.mmap import find_vma
from mm.mmap_lock import lock_vma_under_rcu
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.pgtable_generic import pte_offset_map_lock
from mm.rmap import flush_tlb_batched_pending
from mm.swap import folio_mark_lazyfree
from mm.swapfile import folio_free_swap, swap_put_entries_direct
from mm.vmscan import folio_isolate_lru, folio_list, reclaim_pages

from ptelab.lang import at, atomic_sub, index_of, new, onstack, u4, u5

MADV_DONTNEED = 4
MADV_FREE = 8
MADV_UNMERGEABLE = 13
MADV_PAGEOUT = 21
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23


@onstack
class madvise_behavior:
    """The state of an madvise.

    Differs: the range's members are here, and lock_mode is only whether the mmap_lock is held for reading.
    """

    mm: mm_struct
    behavior: u5
    tlb: mmu_gather
    lock_mode: bool
    start: Addr
    end: Addr
    vma: vm_area_struct


def madvise_free_folio(folio: Folio) -> bool:
    """Take a folio that is to be made clean from the swap cache, and make it clean; false if it must stay as it is.

    Context: PTL held.  Differs: Linux has it in mm/madvise.c as a part of madvise_free_pte_range.
    """
    if not folio_test_swapcache(folio) and not folio_test_dirty(folio):
        return True
    if not folio_trylock(folio):
        return False
    if folio_mapcount(folio) != 1:
        folio_unlock(folio)
        return False
    if folio_test_swapcache(folio) and not folio_free_swap(folio):
        folio_unlock(folio)
        return False
    folio_clear_dirty(folio)
    folio_unlock(folio)
    return True


def madvise_free_pte(tlb: mmu_gather, vma: vm_area_struct, pte: pte_p, addr: Addr) -> bool:
    """Let the page of an entry be forgotten until it is written again; one in swap is at once, as is said.

    Context: PTL held.  Differs: Linux has it in mm/madvise.c as the body of madvise_free_pte_range's loop.
    """
    ptent = ptep_get(pte)
    if pte_none(ptent):
        return False
    if not pte_present(ptent):
        if pte_is_uffd_wp_marker(ptent):
            return False
        swap_put_entries_direct(softleaf_from_pte(ptent))
        clear_not_present_full_ptes(tlb.mm, addr, pte, tlb.fullmm)
        return True
    folio = vm_normal_page(vma, addr, ptent)
    if folio is None or not madvise_free_folio(folio):
        return False
    if pte_young(ptent) or pte_dirty(ptent):
        clear_young_dirty_ptes(vma, addr, pte)
        tlb_remove_tlb_entry(tlb, pte, addr)
    folio_mark_lazyfree(folio)
    return False


def madvise_free_pte_range(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr, end: Addr) -> None:
    """Let the pages of a PTE table be forgotten until they are written again."""
    nr_swap: u4 = 0
    start_pte, ptl = pte_offset_map_lock(tlb.mm, pmd, addr)
    if start_pte is None:
        return
    flush_tlb_batched_pending(tlb.mm)
    pte = start_pte
    while True:
        if madvise_free_pte(tlb, vma, pte, addr):
            nr_swap += 1
        addr += 1
        if addr == end:
            break
        pte = at(pte_p, index_of(pte) + 1)
    if nr_swap != 0:
        atomic_sub(nr_swap, tlb.mm.rss_stat[MM_SWAPENTS])
    pte_unmap_unlock(start_pte, ptl)


def madvise_free_single_vma(madv_behavior: madvise_behavior) -> Errno:
    """Let the contents of a range of a VMA be forgotten until it is written again.

    Differs: walk_page_range_vma's loop over the PTE tables is in here.
    """
    vma = madv_behavior.vma
    tlb = madv_behavior.tlb
    if not vma_is_anonymous(vma):
        return EINVAL
    addr = madv_behavior.start if madv_behavior.start > vma.vm_start else vma.vm_start
    end = madv_behavior.end if madv_behavior.end < vma.vm_end else vma.vm_end
    tlb_start_vma(tlb, vma)
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(tlb.mm, addr)
        pmdval = pmdp_get(pmd)
        if pmd_trans_huge(pmdval) and madvise_free_huge_pmd(tlb, vma, pmd, addr, next):
            pass
        elif not pmd_none(pmdval):
            madvise_free_pte_range(tlb, vma, pmd, addr, next)
        addr = next
    tlb_end_vma(tlb, vma)
    return 0


def madvise_dontneed_single_vma(madv_behavior: madvise_behavior) -> Errno:
    """Zap a range of a VMA."""
    start = madv_behavior.start
    details = zap_details(even_cows=True, reclaim_pt=True)
    zap_page_range_single_batched(madv_behavior.tlb, madv_behavior.vma, start, madv_behavior.end - start, details)
    return 0


def madvise_dontneed_free_valid_vma(madv_behavior: madvise_behavior) -> bool:
    """Whether the contents of a VMA may be forgotten: not if its memory is locked, or a driver's."""
    return madv_behavior.vma.vm_flags & (VM_PFNMAP | VM_LOCKED) == 0


def madvise_dontneed_free(madv_behavior: madvise_behavior) -> Errno:
    """Forget the contents of a range of a VMA."""
    if not madvise_dontneed_free_valid_vma(madv_behavior):
        return EINVAL
    if madv_behavior.start == madv_behavior.end:
        return 0
    if madv_behavior.behavior == MADV_FREE:
        return madvise_free_single_vma(madv_behavior)
    return madvise_dontneed_single_vma(madv_behavior)


def madvise_cold_or_pageout_pte_range(vma: vm_area_struct, pmd: pmd_p, addr: Addr, end: Addr) -> None:
    """Let reclaim take the pages of a PTE table that nothing else maps.

    Left out: MADV_COLD; without LRU_LISTS, PG_referenced; huge pages.
    """
    folios = new(folio_list)
    nr: u4 = 0
    start_pte, ptl = pte_offset_map_lock(vma.vm_mm, pmd, addr)
    if start_pte is None:
        return
    flush_tlb_batched_pending(vma.vm_mm)
    pte = start_pte
    while True:
        ptent = ptep_get(pte)
        if pte_present(ptent):
            folio = vm_normal_page(vma, addr, ptent)
            if folio is not None and folio_test_lru(folio) and folio_mapcount(folio) == 1:
                if LRU_LISTS == 1:
                    folio_clear_referenced(folio)
                if folio_isolate_lru(folio):
                    folios.folio[nr] = folio
                    nr += 1
        addr += 1
        if addr == end:
            break
        pte = at(pte_p, index_of(pte) + 1)
    pte_unmap_unlock(start_pte, ptl)
    reclaim_pages(folios)


def can_madv_lru_vma(vma: vm_area_struct) -> bool:
    """Whether the pages of a VMA are ones that reclaim may take."""
    return vma.vm_flags & (VM_LOCKED | VM_PFNMAP) == 0


def madvise_pageout_page_range(tlb: mmu_gather, vma: vm_area_struct, addr: Addr, end: Addr) -> None:
    """Let reclaim take the pages of a range of a VMA.

    Differs: walk_page_range_vma's loop over the PTE tables is in here.
    """
    tlb_start_vma(tlb, vma)
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(vma.vm_mm, addr)
        if not pmd_none(pmdp_get(pmd)):
            madvise_cold_or_pageout_pte_range(vma, pmd, addr, next)
        addr = next
    tlb_end_vma(tlb, vma)


def madvise_pageout(madv_behavior: madvise_behavior) -> Errno:
    """Let reclaim take the pages of a range of a VMA.

    Nothing is gathered, but whoever zaps meanwhile takes note that somebody else has entries in hand.
    Left out: who may do that to a file.
    """
    if not can_madv_lru_vma(madv_behavior.vma):
        return EINVAL
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, madv_behavior.mm)
    madvise_pageout_page_range(tlb, madv_behavior.vma, madv_behavior.start, madv_behavior.end)
    tlb_finish_mmu(tlb)
    return 0


def madvise_vma_behavior(madv_behavior: madvise_behavior) -> Errno:
    """Do to a range of a VMA what was asked for."""
    if (CONFIG_SWAP == 1 or LRU_LISTS == 1) and madv_behavior.behavior == MADV_PAGEOUT:
        return madvise_pageout(madv_behavior)
    if CONFIG_MADVISE_FAULTS == 1 and madv_behavior.behavior == MADV_UNMERGEABLE:
        return ksm_madvise(madv_behavior.vma, madv_behavior.start, madv_behavior.end)
    return madvise_dontneed_free(madv_behavior)


def is_madvise_populate(behavior: u5) -> bool:
    """Whether pages are to be faulted in."""
    return behavior == MADV_POPULATE_READ or behavior == MADV_POPULATE_WRITE


def madvise_populate(madv_behavior: madvise_behavior) -> Errno:
    """Fault the pages of a range in.

    Context: mmap_lock held for reading.
    """
    write = madv_behavior.behavior == MADV_POPULATE_WRITE
    return faultin_page_range(madv_behavior.mm, madv_behavior.start, madv_behavior.end, write)


def is_vma_lock_sufficient(vma: vm_area_struct, madv_behavior: madvise_behavior) -> bool:
    """Whether the lock of a VMA will do: it holds all of the range, and no userfaultfd is told of what becomes of it.

    Left out: anonymous VMAs, which have their anon_vma from the start.
    """
    return madv_behavior.end <= vma.vm_end and not userfaultfd_wp(vma)


def try_vma_read_lock(madv_behavior: madvise_behavior) -> bool:
    """Read-lock the VMA of the range if there is one and that is enough, else the mm; whether it is the VMA."""
    mm = madv_behavior.mm
    vma = lock_vma_under_rcu(mm, madv_behavior.start)
    if vma is not None:
        if is_vma_lock_sufficient(vma, madv_behavior):
            madv_behavior.vma = vma
            return True
        vma_end_read(vma)
    mmap_read_lock(mm)
    madv_behavior.lock_mode = True
    return False


def madvise_walk_vmas(madv_behavior: madvise_behavior) -> Errno:
    """Visit the VMAs of a range; ENOMEM at the end if there were gaps.

    The VMA's lock is dropped here: the caller flushes without it.
    """
    last_end = madv_behavior.end
    unmapped_error: Errno = 0
    if madv_behavior.behavior == MADV_PAGEOUT:
        mmap_read_lock(madv_behavior.mm)
        madv_behavior.lock_mode = True
    elif CONFIG_MADVISE_FAULTS == 1 and madv_behavior.behavior == MADV_UNMERGEABLE:
        mmap_write_lock(madv_behavior.mm)
    elif try_vma_read_lock(madv_behavior):
        error = madvise_vma_behavior(madv_behavior)
        vma_end_read(madv_behavior.vma)
        return error
    while True:
        vma = find_vma(madv_behavior.mm, madv_behavior.start)
        if vma is None:
            return ENOMEM
        if madv_behavior.start < vma.vm_start:
            unmapped_error = ENOMEM
            madv_behavior.start = vma.vm_start
            if madv_behavior.start >= last_end:
                return unmapped_error
        madv_behavior.end = vma.vm_end if vma.vm_end < last_end else last_end
        madv_behavior.vma = vma
        error = madvise_vma_behavior(madv_behavior)
        if error != 0:
            return error
        madv_behavior.start = madv_behavior.end
        if madv_behavior.end >= last_end:
            return unmapped_error


def madvise_unlock(madv_behavior: madvise_behavior) -> None:
    """Drop the mmap_lock if it is held."""
    if madv_behavior.lock_mode:
        mmap_read_unlock(madv_behavior.mm)
        madv_behavior.lock_mode = False
    elif CONFIG_MADVISE_FAULTS == 1 and madv_behavior.behavior == MADV_UNMERGEABLE:
        mmap_write_unlock(madv_behavior.mm)


def madvise_batch_tlb_flush(behavior: u5) -> bool:
    """Whether what the whole call zaps is gathered."""
    return behavior == MADV_DONTNEED or behavior == MADV_FREE


def madvise_init_tlb(madv_behavior: madvise_behavior) -> None:
    """Start the gather of the whole call."""
    tlb_gather_mmu(madv_behavior.tlb, madv_behavior.mm)


def madvise_finish_tlb(madv_behavior: madvise_behavior) -> None:
    """Flush what the whole call has zapped."""
    tlb_finish_mmu(madv_behavior.tlb)


def is_valid_madvise(start: Addr, len_in: Addr, behavior: u5) -> bool:
    """Whether the arguments make sense.

    Differs: arithmetic does not wrap, so what would is refused.
    """
    known = behavior == MADV_DONTNEED or behavior == MADV_FREE
    known = known or (CONFIG_SWAP == 1 or LRU_LISTS == 1) and behavior == MADV_PAGEOUT
    if CONFIG_MADVISE_FAULTS == 1:
        known = known or behavior == MADV_UNMERGEABLE or is_madvise_populate(behavior)
    return known and start + len_in <= TASK_SIZE


def madvise_do_behavior(start: Addr, len_in: Addr, madv_behavior: madvise_behavior) -> Errno:
    """Do to a range what was asked for."""
    madv_behavior.start = start
    madv_behavior.end = start + len_in
    if CONFIG_MADVISE_FAULTS == 1 and is_madvise_populate(madv_behavior.behavior):
        mmap_read_lock(madv_behavior.mm)
        madv_behavior.lock_mode = True
        return madvise_populate(madv_behavior)
    return madvise_walk_vmas(madv_behavior)


def do_madvise(mm: mm_struct, start: Addr, len_in: Addr, behavior: u5) -> Errno:
    """Advise about a range of an mm.

    Left out: madvise_lock, which takes nothing for what is here.
    """
    if not is_valid_madvise(start, len_in, behavior):
        return EINVAL
    if len_in == 0:
        return 0
    madv_behavior = new(madvise_behavior)
    madv_behavior.mm = mm
    madv_behavior.behavior = behavior
    madv_behavior.tlb = new(mmu_gather)
    if madvise_batch_tlb_flush(behavior):
        madvise_init_tlb(madv_behavior)
    error = madvise_do_behavior(start, len_in, madv_behavior)
    if madvise_batch_tlb_flush(behavior):
        madvise_finish_tlb(madv_behavior)
    madvise_unlock(madv_behavior)
    return error


def sys_madvise(start: Addr, len_in: Addr, behavior: u5) -> Errno:
    """The system call."""
    return do_madvise(get_current().mm, start, len_in, behavior)

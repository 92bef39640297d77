# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/rmap.c (v7.0).

Lock order, as far as it is here: mmap_lock, folio lock, i_mmap_rwsem, page_table_lock, PTL.

Differs: a walk's callbacks are called by name: rmap_walk has folio_mkclean's, the other walks have loops of their own.
Left out: large folios but for how they are counted, statistics, MMU notifiers.
"""

from asm.current import get_current
from asm.pgtable import (
    pmdp_invalidate,
    pte_accessible,
    pte_dirty,
    pte_mkclean,
    pte_present,
    pte_soft_dirty,
    pte_swp_mkexclusive,
    pte_swp_mksoft_dirty,
    pte_swp_mkuffd_wp,
    pte_uffd_wp,
    pte_write,
    pte_wrprotect,
    ptep_clear_flush,
    ptep_clear_flush_young,
)  # fmt: skip
from asm.pgtable_types import pte_p, pte_t
from asm.tlbflush import (
    arch_tlbbatch_add_pending,
    arch_tlbbatch_flush,
    arch_tlbbatch_should_defer,
    flush_tlb_mm,
    flush_tlb_range,
)  # fmt: skip
from config import CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH, CONFIG_SWAP
from linux.fs import address_space, i_mmap_lock_read, i_mmap_trylock_read, i_mmap_unlock_read
from linux.huge_mm import HPAGE_PMD_NR
from linux.memcontrol import lruvec_stat_mod_folio
from linux.mm import (
    VM_LOCKED,
    VM_SHARED,
    dec_mm_counter,
    folio_mapcount,
    folio_mapped,
    folio_maybe_dma_pinned,
    folio_needs_cow_for_dma,
    folio_pfn,
    folio_put,
    folio_ref_count,
    inc_mm_counter,
    is_cow_mapping,
)  # fmt: skip
from linux.mm_inline import pte_install_uffd_wp_if_needed
from linux.mm_types import MM_ANONPAGES, MM_FILEPAGES, MM_SWAPENTS, Folio, mm_struct, vm_area_struct, vm_flags_t
from linux.mmap_lock import mmap_assert_locked
from linux.mmzone import LRU_LISTS
from linux.page_flags import (
    ClearPageAnonExclusive,
    PageAnonExclusive,
    SetPageAnonExclusive,
    folio_page,
    folio_set_swapbacked,
    folio_test_anon,
    folio_test_dirty,
    folio_test_large,
    folio_test_swapbacked,
    folio_test_swapcache,
    page_folio,
)  # fmt: skip
from linux.pagemap import folio_trylock, linear_page_index
from linux.pgtable import (
    get_and_clear_full_ptes,
    pmd_dirty,
    pmd_mkclean,
    pmd_write,
    pmd_wrprotect,
    pmdp_get,
    ptep_get,
    set_pmd_at,
    set_pte_at,
)  # fmt: skip
from linux.rmap import (
    PVMW_SYNC,
    TTU_BATCH_FLUSH,
    TTU_SPLIT_HUGE_PMD,
    page_vma_mapped_walk_done,
    page_vma_mapped_walk_restart,
    struct_page_vma_mapped_walk,
)  # fmt: skip
from linux.swapops import swp_entry_to_pte
from linux.types import Addr, pgoff_t
from mm.filemap import folio_unlock
from mm.huge_memory import deferred_split_folio, split_huge_pmd_locked
from mm.internal import (
    EFAULT_ADDRESS,
    anon_vma_lock_read,
    anon_vma_lock_write,
    anon_vma_unlock_read,
    anon_vma_unlock_write,
    mlock_vma_folio,
    munlock_vma_folio,
    vma_address,
)  # fmt: skip
from mm.page_vma_mapped import page_vma_mapped_walk
from mm.page_writeback import folio_mark_dirty
from mm.swapfile import folio_dup_swap, folio_put_swap
from mm.util import folio_mapping

from ptelab.lang import (
    atomic_andnot,
    atomic_dec,
    atomic_dec_and_test,
    atomic_inc,
    atomic_inc_return,
    atomic_or,
    atomic_read,
    atomic_set,
    atomic_sub_return,
    cmpxchg,
    index_of,
    lockdep_assert_held,
    new,
    pool,
    try_cmpxchg,
    u2,
    u4,
)

ENTIRELY_MAPPED = 16

TLB_FLUSH_BATCH_FLUSHED_SHIFT = 4
TLB_FLUSH_BATCH_PENDING_MASK = (1 << (TLB_FLUSH_BATCH_FLUSHED_SHIFT - 1)) - 1
TLB_FLUSH_BATCH_PENDING_LARGE = TLB_FLUSH_BATCH_PENDING_MASK // 2


def try_to_unmap_flush() -> None:
    """Do the flush that unmapping has left for later; before any of the pages is freed."""
    task = get_current()
    if not task.tlb_ubc.flush_required:
        return
    arch_tlbbatch_flush(task)
    task.tlb_ubc = task.tlb_ubc._replace(flush_required=False, writable=False)


def try_to_unmap_flush_dirty() -> None:
    """Do the flush if a TLB may let stores through without a fault; before a page is written."""
    if get_current().tlb_ubc.writable:
        try_to_unmap_flush()


def set_tlb_ubc_flush_pending(mm: mm_struct, pteval: pte_t, start: Addr, end: Addr) -> None:
    """Note that an entry was emptied whose flush comes later, for this task and for all who look at the mm's entries.

    Context: PTL held.  Differs: the counters have fewer bits.
    """
    writable = pte_dirty(pteval)
    if not pte_accessible(mm, pteval):
        return
    task = get_current()
    arch_tlbbatch_add_pending(task, mm, start, end)
    task.tlb_ubc = task.tlb_ubc._replace(flush_required=True)
    done = False
    while not done:
        batch = atomic_read(mm.tlb_flush_batched)
        if batch & TLB_FLUSH_BATCH_PENDING_MASK > TLB_FLUSH_BATCH_PENDING_LARGE:
            done = try_cmpxchg(mm.tlb_flush_batched, batch, 1)
        else:
            atomic_inc(mm.tlb_flush_batched)
            done = True
    if writable:
        task.tlb_ubc = task.tlb_ubc._replace(writable=True)


def should_defer_flush(mm: mm_struct, flags: u2) -> bool:
    """Whether the flush of an entry that is unmapped may come later."""
    if CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH == 0:
        return False
    if flags & TTU_BATCH_FLUSH == 0:
        return False
    return arch_tlbbatch_should_defer(mm)


def flush_tlb_batched_pending(mm: mm_struct) -> None:
    """Do the flushes that reclaim has left for later, for who will say that nothing maps an address any more.

    Context: PTL held.  A flush that is left while this one is done stays to be done.
    Differs: where no flush is ever left, Linux has an empty function in mm/internal.h.
    """
    if CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH == 0:
        return
    batch = atomic_read(mm.tlb_flush_batched)
    pending = batch & TLB_FLUSH_BATCH_PENDING_MASK
    flushed = batch >> TLB_FLUSH_BATCH_FLUSHED_SHIFT
    if pending != flushed:
        flush_tlb_mm(mm)
        cmpxchg(mm.tlb_flush_batched, batch, pending | (pending << TLB_FLUSH_BATCH_FLUSHED_SHIFT))


def unlink_anon_vmas(vma: vm_area_struct) -> None:
    """Take a VMA out of the rmap of anonymous memory.

    Context: mmap_lock held, for reading or writing.  Left out: all but that where nothing is swapped.
    """
    mmap_assert_locked(vma.vm_mm)
    if CONFIG_SWAP == 1 and is_cow_mapping(vma.vm_flags):
        av = anon_vma_lock_write()
        atomic_andnot(1 << index_of(vma), av.rb_root)
        anon_vma_unlock_write(av)


def anon_vma_clone(dst: vm_area_struct, src: vm_area_struct) -> None:
    """Put a VMA into the rmap of anonymous memory where another is.

    Context: mmap_lock held for writing.  Left out: all where nothing is swapped.
    """
    if CONFIG_SWAP == 1 and is_cow_mapping(src.vm_flags):
        av = anon_vma_lock_write()
        atomic_or(1 << index_of(dst), av.rb_root)
        anon_vma_unlock_write(av)


def anon_vma_fork(vma: vm_area_struct, pvma: vm_area_struct) -> None:
    """Put a child's VMA into the rmap of anonymous memory, before its entries are copied.

    Context: both mmap_locks held for writing.
    """
    anon_vma_clone(vma, pvma)


def page_vma_mkclean_one(pvmw: struct_page_vma_mapped_walk) -> u4:
    """Make the entries that a walk finds clean and read-only, with the flush; how many were not."""
    cleaned: u4 = 0
    vma = pvmw.vma
    while page_vma_mapped_walk(pvmw):
        pte = pvmw.pte
        address = pvmw.address
        if pte is not None:
            entry = ptep_get(pte)
            if not pte_present(entry):
                continue
            if not pte_dirty(entry) and not pte_write(entry):
                continue
            entry = ptep_clear_flush(vma, address, pte)
            entry = pte_wrprotect(entry)
            entry = pte_mkclean(entry)
            set_pte_at(vma.vm_mm, address, pte, entry)
        else:
            pmd = pvmw.pmd
            assert pmd is not None
            huge = pmdp_get(pmd)
            if not pmd_dirty(huge) and not pmd_write(huge):
                continue
            huge = pmdp_invalidate(vma, address, pmd)
            huge = pmd_wrprotect(huge)
            huge = pmd_mkclean(huge)
            set_pmd_at(vma.vm_mm, address, pmd, huge)
        cleaned += 1
    return cleaned


def page_mkclean_one(folio: Folio, vma: vm_area_struct, address: Addr) -> u4:
    """Make a folio's entries in a VMA clean and read-only; how many were not."""
    pvmw = new(struct_page_vma_mapped_walk)
    pvmw.pfn = folio_pfn(folio)
    pvmw.vma = vma
    pvmw.address = address
    pvmw.flags = PVMW_SYNC
    return page_vma_mkclean_one(pvmw)


def invalid_mkclean_vma(vma: vm_area_struct) -> bool:
    """Whether a VMA need not be visited: its stores do not reach the file."""
    return vma.vm_flags & VM_SHARED == 0


def folio_mkclean(folio: Folio) -> u4:
    """Make all entries that map a folio clean and read-only, so that a store to it faults; how many were not.

    Context: folio locked.
    """
    lockdep_assert_held(folio.PG_locked)
    if not folio_mapped(folio):
        return 0
    mapping = folio_mapping(folio)
    if mapping is None:
        return 0
    return rmap_walk(folio)


def __folio_mod_stat(folio: Folio, mapped: bool) -> None:
    """Count a folio whose first entry comes, or whose last entry has gone.

    Left out: statistics of nodes and of huge entries.
    """
    lruvec_stat_mod_folio(folio, folio_test_anon(folio), mapped)


def add_rmap_of_large(page: Folio) -> None:
    """Count an entry that maps a page of a large folio.

    Differs: Linux has it in mm/rmap.c, in __folio_add_rmap.  Left out: statistics; to which mm the entry
    belongs.
    """
    folio = page_folio(page)
    if atomic_inc_return(page._mapcount) == 1:
        atomic_inc(folio._nr_pages_mapped)
    atomic_inc(folio._large_mapcount)


def remove_rmap_of_large(page: Folio) -> None:
    """Uncount an entry that mapped a page of a large folio, which is to be split if it still has others.

    Differs: Linux has it in mm/rmap.c as a part of __folio_remove_rmap.
    """
    folio = page_folio(page)
    atomic_dec(folio._large_mapcount)
    if atomic_dec_and_test(page._mapcount):
        mapped = atomic_sub_return(1, folio._nr_pages_mapped)
        if mapped < ENTIRELY_MAPPED and atomic_read(folio._nr_pages_mapped) != 0:
            deferred_split_folio(folio, True)


def remove_rmap_of_huge(folio: Folio) -> None:
    """Uncount an upper entry that mapped a large folio, which is to be split if only parts of it are mapped now.

    Differs: Linux has it in mm/rmap.c as a part of __folio_remove_rmap.
    """
    atomic_dec(folio._large_mapcount)
    if atomic_dec_and_test(folio._entire_mapcount):
        nr = atomic_sub_return(ENTIRELY_MAPPED, folio._nr_pages_mapped)
        if 0 < nr < HPAGE_PMD_NR:
            deferred_split_folio(folio, True)


def __folio_add_rmap(folio: Folio, vma: vm_area_struct) -> None:
    """Count an entry that maps a folio."""
    if atomic_inc_return(folio._mapcount) == 1:
        __folio_mod_stat(folio, True)


def __folio_add_file_rmap(folio: Folio, vma: vm_area_struct) -> None:
    """Count an entry that maps a folio of a file."""
    __folio_add_rmap(folio, vma)
    mlock_vma_folio(folio, vma)


def folio_add_file_rmap_ptes(folio: Folio, vma: vm_area_struct) -> None:
    """Count an entry that is about to map a folio of a file.

    Context: PTL held.
    """
    __folio_add_file_rmap(folio, vma)


def folio_dup_file_rmap_pte(folio: Folio, dst_vma: vm_area_struct) -> None:
    """Count an entry of a child that maps a folio of a file.

    Context: PTL held.  Differs: Linux has it in include/linux/rmap.h.
    """
    atomic_inc(folio._mapcount)


def folio_try_dup_anon_rmap_pte(folio: Folio, dst_vma: vm_area_struct, src_vma: vm_area_struct) -> bool:
    """Count an entry of a child that maps an anonymous folio, which is then shared; false if it may be pinned.

    Context: both PTLs held; GUP-fast is excluded by write_protect_seq.  Differs: Linux has it in include/linux/rmap.h,
    where it returns an error.
    """
    maybe_pinned = folio_needs_cow_for_dma(src_vma, folio)
    if maybe_pinned and PageAnonExclusive(folio):
        return False
    if PageAnonExclusive(folio):
        ClearPageAnonExclusive(folio)
    atomic_inc(folio._mapcount)
    return True


def folio_try_share_anon_rmap_pte(folio: Folio) -> bool:
    """Make an exclusive folio shared, unless it may be pinned.

    Context: PTL held, and the entry emptied before, so that GUP-fast either sees that or has its reference seen here.
    Differs: Linux has it in include/linux/rmap.h, where it returns an error.
    """
    if folio_maybe_dma_pinned(folio):
        return False
    ClearPageAnonExclusive(folio)
    return True


def folio_move_anon_rmap(folio: Folio, vma: vm_area_struct) -> None:
    """Say that an anonymous folio belongs to this VMA's anon_vma alone.

    Context: folio locked.  Left out: what it does, as the walk over anonymous memory knows no roots.
    """
    lockdep_assert_held(folio.PG_locked)


def folio_add_new_anon_rmap(folio: Folio, vma: vm_area_struct, address: Addr, exclusive: bool = True) -> None:
    """Make a new folio anonymous memory, mapped by one entry, an upper one if it is large, and exclusive or not.

    Context: PTL held; nobody else knows the folio, or it is locked.
    """
    folio.FOLIO_MAPPING_ANON = True
    folio.index = linear_page_index(vma, address)
    if folio_test_large(folio):
        for i in range(1, HPAGE_PMD_NR):
            folio_page(folio, i).FOLIO_MAPPING_ANON = True
        atomic_set(folio._entire_mapcount, 1)
        atomic_set(folio._large_mapcount, 1)
        atomic_set(folio._nr_pages_mapped, ENTIRELY_MAPPED)
    else:
        atomic_set(folio._mapcount, 1)
    if exclusive:
        SetPageAnonExclusive(folio)
    __folio_mod_stat(folio, True)


def folio_add_anon_rmap_ptes(folio: Folio, vma: vm_area_struct, address: Addr, exclusive: bool = False) -> None:
    """Count one more entry that maps an anonymous folio, which is made exclusive if that is said.

    Context: PTL held.
    """
    if folio_test_large(folio):
        add_rmap_of_large(folio)
    else:
        __folio_add_rmap(folio, vma)
    if exclusive:
        SetPageAnonExclusive(folio)
    mlock_vma_folio(folio, vma)


def __folio_remove_rmap(folio: Folio, vma: vm_area_struct) -> None:
    """Uncount an entry that mapped a folio."""
    if atomic_dec_and_test(folio._mapcount):
        __folio_mod_stat(folio, False)
    munlock_vma_folio(folio, vma)


def folio_remove_rmap_pmd(folio: Folio, vma: vm_area_struct) -> None:
    """Uncount an upper entry that mapped a folio.

    Context: pmd lock held.
    """
    if folio_test_large(folio):
        remove_rmap_of_huge(folio)
    else:
        __folio_remove_rmap(folio, vma)


def folio_remove_rmap_ptes(folio: Folio, vma: vm_area_struct) -> None:
    """Uncount an entry that mapped a folio.

    Context: PTL held.
    """
    if folio_test_large(folio):
        remove_rmap_of_large(folio)
    else:
        __folio_remove_rmap(folio, vma)


def __rmap_walk_file(folio: Folio, mapping: address_space, pgoff_start: pgoff_t) -> u4:
    """Visit the VMAs that map an offset of a file.

    Differs: the tree is read once, under the lock that keeps it as it is.
    """
    cleaned: u4 = 0
    i_mmap_lock_read(mapping)
    tree = mapping.i_mmap
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            address = vma_address(vma, pgoff_start)
            if address != EFAULT_ADDRESS and not invalid_mkclean_vma(vma):
                cleaned += page_mkclean_one(folio, vma, address)
    i_mmap_unlock_read(mapping)
    return cleaned


def rmap_walk_file(folio: Folio) -> u4:
    """Visit the VMAs that map a folio of a file.

    Context: folio locked, which keeps its mapping.
    """
    lockdep_assert_held(folio.PG_locked)
    if folio.mapping is None:
        return 0
    return __rmap_walk_file(folio, folio.mapping, folio.index)


def rmap_walk(folio: Folio) -> u4:
    """Visit the VMAs that map a folio."""
    return rmap_walk_file(folio)


def folio_referenced_one(folio: Folio, vma: vm_area_struct, address: Addr) -> tuple[u4, bool]:
    """Make a folio's entries in a VMA old; how many there are, and whether one was young.

    Left out: locked VMAs, the multi-generational LRU, large folios and huge entries, PG_young.
    """
    ptes: u4 = 0
    referenced = False
    pvmw = new(struct_page_vma_mapped_walk)
    pvmw.pfn = folio_pfn(folio)
    pvmw.vma = vma
    pvmw.address = address
    while page_vma_mapped_walk(pvmw):
        pte = pvmw.pte
        assert pte is not None
        ptes += 1
        if ptep_clear_flush_young(vma, pvmw.address, pte):
            referenced = True
    return ptes, referenced


# What folio_referenced says when the lock of the tree is taken, where C says -1.
CONTENDED = 15


def folio_referenced(folio: Folio, is_locked: bool) -> tuple[u4, vm_flags_t]:
    """Make all entries that map a folio old; how many mappings have used it, and what flags they have.

    Differs: rmap_walk's loop over the VMAs is in here.
    Left out: anonymous folios, memory cgroups; the flags, without LRU_LISTS.
    """
    referenced: u4 = 0
    seen: u4 = 0
    vm_flags: vm_flags_t = 0
    mapcount: u4 = folio_mapcount(folio)
    if mapcount == 0:
        return 0, 0
    mapping = folio_mapping(folio)
    if mapping is None:
        return 0, 0
    if not is_locked and not folio_trylock(folio):
        return 1, 0
    if i_mmap_trylock_read(mapping):
        tree = mapping.i_mmap
        for vma in pool(vm_area_struct):
            if seen != mapcount and tree & (1 << index_of(vma)) != 0:
                address = vma_address(vma, folio.index)
                if address != EFAULT_ADDRESS:
                    ptes, young = folio_referenced_one(folio, vma, address)
                    seen += ptes
                    if young:
                        referenced += 1
                        if LRU_LISTS == 1:
                            vm_flags |= vma.vm_flags
        i_mmap_unlock_read(mapping)
    else:
        referenced = CONTENDED
    if not is_locked:
        folio_unlock(folio)
    return referenced, vm_flags


def discard_lazyfree(folio: Folio, vma: vm_area_struct, address: Addr, pte: pte_p, pteval: pte_t) -> bool:
    """Whether a folio that need not be kept can go, its entry being empty already; if not, the entry is put back.

    The references are counted before the dirty flag is looked at: who has written the folio through a reference sets
    the flag before dropping that.
    Context: PTL held, folio locked.  Differs: Linux has it in mm/rmap.c as a part of try_to_unmap_one.
    """
    mm = vma.vm_mm
    ref_count = folio_ref_count(folio)
    map_count = folio_mapcount(folio)
    if folio_test_dirty(folio):
        set_pte_at(mm, address, pte, pteval)
        folio_set_swapbacked(folio)
        return False
    if ref_count != 1 + map_count:
        set_pte_at(mm, address, pte, pteval)
        return False
    dec_mm_counter(mm, MM_ANONPAGES)
    return True


def unmap_anon_pte(
    folio: Folio, vma: vm_area_struct, address: Addr, pte: pte_p, pteval: pte_t, anon_exclusive: bool
) -> bool:
    """Make an entry that was emptied name the folio's slot in swap; if that cannot be, it is put back.

    Context: PTL held, folio locked.  Differs: Linux has it in mm/rmap.c as a part of try_to_unmap_one.
    """
    mm = vma.vm_mm
    assert folio_test_swapbacked(folio) == folio_test_swapcache(folio)
    if not folio_test_swapbacked(folio):
        return discard_lazyfree(folio, vma, address, pte, pteval)
    folio_dup_swap(folio)
    if anon_exclusive and not folio_try_share_anon_rmap_pte(folio):
        folio_put_swap(folio)
        set_pte_at(mm, address, pte, pteval)
        return False
    dec_mm_counter(mm, MM_ANONPAGES)
    inc_mm_counter(mm, MM_SWAPENTS)
    swp_pte = swp_entry_to_pte(folio.swap)
    if anon_exclusive:
        swp_pte = pte_swp_mkexclusive(swp_pte)
    if pte_soft_dirty(pteval):
        swp_pte = pte_swp_mksoft_dirty(swp_pte)
    if pte_uffd_wp(pteval):
        swp_pte = pte_swp_mkuffd_wp(swp_pte)
    set_pte_at(mm, address, pte, swp_pte)
    return True


def try_to_unmap_one(folio: Folio, vma: vm_area_struct, address: Addr, flags: u2) -> bool:
    """Empty a folio's entry in a VMA, perhaps without the flush; false if that cannot be, or must not.

    A folio in locked memory stays, and is said to be locked if that was missed.
    Left out: large folios, lazily freed huge pages, hugetlb, device entries, poison.
    """
    mm = vma.vm_mm
    ret = True
    pvmw = new(struct_page_vma_mapped_walk)
    pvmw.pfn = folio_pfn(folio)
    pvmw.vma = vma
    pvmw.address = address
    while page_vma_mapped_walk(pvmw):
        if vma.vm_flags & VM_LOCKED != 0:
            ret = False
            mlock_vma_folio(folio, vma)
            page_vma_mapped_walk_done(pvmw)
            break
        if flags & TTU_SPLIT_HUGE_PMD != 0 and pvmw.pte is None and pvmw.pmd is not None:
            split_huge_pmd_locked(vma, pvmw.address, pvmw.pmd)
            flags = flags & ~TTU_SPLIT_HUGE_PMD
            page_vma_mapped_walk_restart(pvmw)
            continue
        pte = pvmw.pte
        assert pte is not None
        pteval = ptep_get(pte)
        assert pte_present(pteval)
        anon_exclusive = folio_test_anon(folio) and PageAnonExclusive(folio)
        pteval = get_and_clear_full_ptes(mm, address, pte, False)
        if should_defer_flush(mm, flags):
            set_tlb_ubc_flush_pending(mm, pteval, address, address + 1)
        else:
            flush_tlb_range(vma, address, address + 1)
        if pte_dirty(pteval):
            folio_mark_dirty(folio)
        pte_install_uffd_wp_if_needed(vma, address, pte, pteval)
        if folio_test_anon(folio):
            ret = unmap_anon_pte(folio, vma, address, pte, pteval, anon_exclusive)
        else:
            dec_mm_counter(mm, MM_FILEPAGES)
        if ret:
            folio_remove_rmap_ptes(folio, vma)
            folio_put(folio)
        page_vma_mapped_walk_done(pvmw)
        break
    return ret


def try_to_unmap_anon(folio: Folio, flags: u2) -> None:
    """Empty all entries that map an anonymous folio, as far as that can be.

    Context: folio locked.  Differs: Linux has it in mm/rmap.c as rmap_walk_anon, which calls try_to_unmap_one.
    """
    av = anon_vma_lock_read()
    tree = av.rb_root
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            address = vma_address(vma, folio.index)
            if address != EFAULT_ADDRESS:
                if not try_to_unmap_one(folio, vma, address, flags):
                    break
                if not folio_mapped(folio):
                    break
    anon_vma_unlock_read(av)


def try_to_unmap(folio: Folio, flags: u2) -> None:
    """Empty all entries that map a folio; whoever asks looks at the map count to see whether that was done.

    Context: folio locked.  Differs: rmap_walk's loop over the VMAs is in here.
    """
    lockdep_assert_held(folio.PG_locked)
    if folio_test_anon(folio):
        try_to_unmap_anon(folio, flags)
        return
    mapping = folio.mapping
    if mapping is None:
        return
    i_mmap_lock_read(mapping)
    tree = mapping.i_mmap
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            address = vma_address(vma, folio.index)
            if address != EFAULT_ADDRESS:
                if not try_to_unmap_one(folio, vma, address, flags):
                    break
                if not folio_mapped(folio):
                    break
    i_mmap_unlock_read(mapping)

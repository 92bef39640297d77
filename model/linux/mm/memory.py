# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/memory.c (v7.0).

Page faults on mappings of files and of anonymous memory, copy on write, copying of page tables for fork, and
what undoes their work: zapping entries, freeing page tables.

Left out: markers in entries but userfaultfd's; the levels above the PMD table; NUMA hints, MMU notifiers, hardware
poison; the retry protocol and per-VMA locks (see `linux.mmap_lock`).
"""

from asm.page import PAGE_SIZE, PMD_SIZE
from asm.pgalloc import pmd_populate, pte_alloc_one
from asm.pgtable import (
    arch_wants_old_prefaulted_pte,
    flush_tlb_fix_spurious_fault,
    flush_tlb_fix_spurious_fault_pmd,
    pfn_pte,
    pmd_clear,
    pmd_none,
    pmd_pfn,
    pmd_protnone,
    pte_clear_uffd_wp,
    pte_dirty,
    pte_mkclean,
    pte_mkdirty,
    pte_mkold,
    pte_mksoft_dirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_mkyoung,
    pte_none,
    pte_pfn,
    pte_present,
    pte_same,
    pte_soft_dirty,
    pte_swp_clear_exclusive,
    pte_swp_exclusive,
    pte_swp_soft_dirty,
    pte_swp_uffd_wp,
    pte_uffd_wp,
    pte_write,
    pte_wrprotect,
    pte_young,
    ptep_clear_flush,
    ptep_get_and_clear_full,
    ptep_set_access_flags,
    ptep_set_wrprotect,
)  # fmt: skip
from asm.pgtable_types import PTRS_PER_PTE, pgprot_t, pmd_p, pmd_t, pte_p, pte_t
from asm.tlb import (
    __tlb_remove_folio_pages,
    mmu_gather,
    pte_free_tlb,
    tlb_delay_rmap,
    tlb_end_vma,
    tlb_flush_mmu_tlbonly,
    tlb_free_vmas,
    tlb_remove_tlb_entry,
    tlb_start_vma,
)  # fmt: skip
from asm.tlbflush import flush_tlb_page
from config import CONFIG_PT_RECLAIM
from filesystem import vm_ops_fault, vm_ops_pfn_mkwrite
from fs.userfaultfd import handle_userfault
from linux.errno import ENOMEM
from linux.fs import address_space, i_mmap_lock_read, i_mmap_unlock_read, mapping_can_writeback
from linux.huge_mm import HPAGE_PMD_NR, thp_is_possible, thp_vma_allowable_order
from linux.leafops import pte_is_uffd_wp_marker, softleaf_from_pte
from linux.mm import (
    VM_COPY_ON_FORK,
    VM_PFNMAP,
    VM_SHARED,
    VM_WRITE,
    add_mm_counter,
    dec_mm_counter,
    folio_get,
    folio_pfn,
    folio_put,
    folio_ref_count,
    inc_mm_counter,
    is_cow_mapping,
    maybe_mkwrite,
    pmd_lock,
    pte_alloc,
    pte_unmap_unlock,
    vm_fault,
    vma_is_anonymous,
    vma_pages,
    zap_details,
)  # fmt: skip
from linux.mm_inline import mm_tlb_flush_pending, pte_install_uffd_wp_if_needed
from linux.mm_types import (
    FAULT_FLAG_MKWRITE,
    FAULT_FLAG_ORIG_PTE_VALID,
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SWAPENTS,
    NR_MM_COUNTERS,
    VM_FAULT_ERROR,
    VM_FAULT_FALLBACK,
    VM_FAULT_LOCKED,
    VM_FAULT_NOPAGE,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
    Folio,
    mm_struct,
    ptdesc,
    swp_entry_t,
    vm_area_struct,
    vm_fault_t,
)  # fmt: skip
from linux.mmzone import LRU_LISTS
from linux.page_flags import (
    PageAnonExclusive,
    SetPageAnonExclusive,
    __folio_mark_uptodate,
    folio_nr_pages,
    folio_test_anon,
    folio_test_dirty,
    folio_test_ksm,
    folio_test_large,
    folio_test_swapcache,
    folio_test_uptodate,
)  # fmt: skip
from linux.pagemap import folio_lock, folio_trylock, linear_page_index
from linux.pgtable import (
    clear_not_present_full_ptes,
    get_and_clear_full_ptes,
    is_zero_pfn,
    my_zero_pfn,
    pmd_addr_end,
    pmd_off,
    pmd_trans_huge,
    pmd_write,
    pmdp_get,
    pmdp_get_lockless,
    pte_clear,
    pte_index,
    pte_sw_mkyoung,
    ptep_get,
    ptep_get_lockless,
    set_pte_at,
)  # fmt: skip
from linux.sched import need_resched
from linux.seqlock import raw_write_seqcount_begin, raw_write_seqcount_end
from linux.swapops import make_pte_marker
from linux.types import FILE_PAGES, Addr, Errno, Pfn, pgoff_t
from linux.userfaultfd_k import (
    pte_swp_uffd_wp_any,
    uffd_disable_fault_around,
    userfaultfd_pte_wp,
    userfaultfd_wp,
    userfaultfd_wp_async,
)
from mm.filemap import filemap_map_pages, filemap_page_mkwrite, folio_unlock
from mm.huge_memory import (
    __split_huge_pmd,
    do_huge_pmd_anonymous_page,
    do_huge_pmd_numa_page,
    do_huge_pmd_wp_page,
    huge_pmd_set_accessed,
    zap_huge_pmd,
)
from mm.internal import pte_needs_soft_dirty_wp
from mm.mmu_gather import tlb_finish_mmu, tlb_flush_mmu, tlb_flush_rmaps, tlb_gather_mmu
from mm.page_writeback import folio_mark_dirty
from mm.pgtable_generic import pte_alloc_map_lock, pte_offset_map_lock, pte_offset_map_rw_nolock
from mm.rmap import (
    flush_tlb_batched_pending,
    folio_add_anon_rmap_ptes,
    folio_add_file_rmap_ptes,
    folio_add_new_anon_rmap,
    folio_dup_file_rmap_pte,
    folio_move_anon_rmap,
    folio_remove_rmap_ptes,
    folio_try_dup_anon_rmap_pte,
    unlink_anon_vmas,
)  # fmt: skip
from mm.swap import folio_add_lru_vma, folio_mark_accessed
from mm.swap_state import free_swap_cache, swap_cache_get_folio, swapin_folio, swapin_readahead
from mm.swapfile import (
    folio_free_swap,
    folio_matches_swap_entry,
    folio_put_swap,
    swap_dup_entry_direct,
    swap_put_entries_direct,
)
from mm.vma import unlink_file_vma_batch_add, unlink_file_vma_batch_final, unlink_vma_file_batch, unmap_desc
from stubs.memory import alloc_folio, clear_page, copy_page, free_table

from ptelab.lang import (
    Array,
    array,
    at,
    atomic_sub,
    index_of,
    lockdep_assert_held,
    new,
    onstack,
    param,
    pool,
    spin_lock,
    spin_trylock,
    spin_unlock,
    u2,
    u4,
    u8,
)  # fmt: skip

FAULT_AROUND_PAGES = param("FAULT_AROUND_PAGES", 1)

# Whether the swap device answers at once, as memory does; SWP_SYNCHRONOUS_IO among the flags of a swap_info_struct.
SWP_SYNCHRONOUS_IO = param("SWP_SYNCHRONOUS_IO", 0)


def free_pte_range(tlb: mmu_gather, pmd: pmd_p, addr: Addr) -> None:
    """Unhook a PTE table, which is empty, and queue it to be freed.

    Left out: mm_dec_nr_ptes.
    """
    token = at(ptdesc, pmd_pfn(pmdp_get(pmd)))
    pmd_clear(pmd)
    pte_free_tlb(tlb, token, addr)


def free_pmd_range(tlb: mmu_gather, addr: Addr, end: Addr) -> None:
    """Unhook the PTE tables of a range.

    Left out: the PMD table itself, which lives as long as the mm.
    """
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(tlb.mm, addr)
        if not pmd_none(pmdp_get(pmd)):
            free_pte_range(tlb, pmd, addr)
        addr = next


def free_pgd_range(tlb: mmu_gather, addr: Addr, end: Addr, floor: Addr, ceiling: Addr) -> None:
    """Unhook the PTE tables that no VMA outside of floor … ceiling can use.

    Left out: the upper levels, so the loop is free_pmd_range's.  Differs: the arithmetic does not wrap; a ceiling of 0
    is the top of the address space all the same.
    """
    addr -= addr % PMD_SIZE
    if addr < floor:
        addr += PMD_SIZE
    if ceiling != 0:
        ceiling -= ceiling % PMD_SIZE
        if ceiling == 0:
            return
        if end > ceiling:
            end -= PMD_SIZE
    if addr >= end:
        return
    free_pmd_range(tlb, addr, end)


def free_pgtables(tlb: mmu_gather, unmap: unmap_desc) -> None:
    """Take VMAs out of the rmap, and unhook the page tables that only they used.

    Left out: write-locking VMAs, which munmap has done already.
    """
    tlb_free_vmas(tlb)
    i: u4 = 0
    while i < unmap.vma_count:
        vma = unmap.mas[i]
        addr = vma.vm_start
        unlink_anon_vmas(vma)
        vb = new(unlink_vma_file_batch)
        unlink_file_vma_batch_add(vb, vma)
        while i + 1 < unmap.vma_count and unmap.mas[i + 1].vm_start <= vma.vm_end + PMD_SIZE:
            i += 1
            vma = unmap.mas[i]
            unlink_anon_vmas(vma)
            unlink_file_vma_batch_add(vb, vma)
        unlink_file_vma_batch_final(vb)
        i += 1
        ceiling = unmap.mas[i].vm_start if i < unmap.vma_count else unmap.pg_end
        free_pgd_range(tlb, addr, vma.vm_end, unmap.pg_start, ceiling)


def pmd_install(mm: mm_struct, pmd: pmd_p, pte: ptdesc) -> bool:
    """Hook a PTE table up unless another is there already; whether it was.

    Differs: returns what C says by setting the caller's pointer to NULL.
    """
    ptl = pmd_lock(mm, pmd)
    installed = pmd_none(pmdp_get(pmd))
    if installed:
        pmd_populate(mm, pmd, pte)
    spin_unlock(ptl.page_table_lock)
    return installed


def __pte_alloc(mm: mm_struct, pmd: pmd_p) -> Errno:
    """Allocate a PTE table and hook it up."""
    table = pte_alloc_one(mm)
    if table is None:
        return ENOMEM
    if not pmd_install(mm, pmd, table):
        free_table(table)
    return 0


@onstack
class rss_vec:
    """How many pages of each kind were mapped or zapped.

    Differs: in Linux an array `int rss[NR_MM_COUNTERS]`.
    """

    count: Array[u4] = array(NR_MM_COUNTERS)


def add_mm_rss_vec(mm: mm_struct, rss: rss_vec) -> None:
    """Count pages that were mapped."""
    for i in range(NR_MM_COUNTERS):
        if rss.count[i] != 0:
            add_mm_counter(mm, i, rss.count[i])


def sub_mm_rss_vec(mm: mm_struct, rss: rss_vec) -> None:
    """Uncount pages that were zapped.

    Differs: Linux has it in include/linux/mm.h as add_mm_rss_vec with counts below zero.
    """
    for i in range(NR_MM_COUNTERS):
        if rss.count[i] != 0:
            atomic_sub(rss.count[i], mm.rss_stat[i])


def mm_counter(folio: Folio) -> u2:
    """Which counter a mapped page belongs to.

    Differs: Linux has it in include/linux/mm.h.  Left out: shmem.
    """
    return MM_ANONPAGES if folio_test_anon(folio) else MM_FILEPAGES


def vm_normal_page(vma: vm_area_struct, addr: Addr, pte: pte_t) -> Folio | None:
    """The page that an entry maps; None for the zero page, and for what a driver maps without pages.

    Differs: there is no special bit; the flags of the VMA and the number of the frame tell.
    """
    if vma.vm_flags & VM_PFNMAP != 0:
        return None
    if is_zero_pfn(pte_pfn(pte)):
        return None
    return at(Folio, pte_pfn(pte))


def folio_prealloc(src_mm: mm_struct, vma: vm_area_struct, addr: Addr, need_zero: bool) -> Folio | None:
    """Allocate a page that will be mapped privately; None without memory."""
    new_folio = alloc_folio()
    if new_folio is not None and need_zero:
        clear_page(new_folio)
    return new_folio


def copy_present_page(
    dst_vma: vm_area_struct,
    dst_pte: pte_p,
    src_pte: pte_p,
    addr: Addr,
    rss: rss_vec,
    prealloc: Folio | None,
    page: Folio,
) -> bool:
    """Give the child a copy of a page that may be pinned; false when there is no page for it yet.

    Context: both PTLs held.
    """
    if prealloc is None:
        return False
    copy_page(prealloc, page)
    __folio_mark_uptodate(prealloc)
    folio_add_new_anon_rmap(prealloc, dst_vma, addr)
    folio_add_lru_vma(prealloc, dst_vma)
    rss.count[MM_ANONPAGES] += 1
    pte = pfn_pte(folio_pfn(prealloc), dst_vma.vm_page_prot)
    pte = maybe_mkwrite(pte_mkdirty(pte), dst_vma)
    if userfaultfd_pte_wp(dst_vma, ptep_get(src_pte)):
        pte = pte_mkuffd_wp(pte)
    set_pte_at(dst_vma.vm_mm, addr, dst_pte, pte)
    return True


def __copy_present_ptes(
    dst_vma: vm_area_struct, src_vma: vm_area_struct, dst_pte: pte_p, src_pte: pte_p, pte: pte_t, addr: Addr
) -> None:
    """Take the right to store from the parent, and give the child the same entry, old.

    Left out: taking userfaultfd's bit from a child that is not registered, as each child is if its parent is.
    """
    if is_cow_mapping(src_vma.vm_flags) and pte_write(pte):
        ptep_set_wrprotect(src_vma.vm_mm, addr, src_pte)
        pte = pte_wrprotect(pte)
    if src_vma.vm_flags & VM_SHARED != 0:
        pte = pte_mkclean(pte)
    pte = pte_mkold(pte)
    set_pte_at(dst_vma.vm_mm, addr, dst_pte, pte)


def copy_present_ptes(
    dst_vma: vm_area_struct, src_vma: vm_area_struct, dst_pte: pte_p, src_pte: pte_p, pte: pte_t, addr: Addr,
    rss: rss_vec, prealloc: Folio | None,
) -> tuple[bool, bool]:  # fmt: skip
    """Copy one entry: whether that was done, and whether the preallocated page was used.

    Context: both PTLs held.
    """
    folio = vm_normal_page(src_vma, addr, pte)
    if folio is not None:
        folio_get(folio)
        if folio_test_anon(folio):
            if not folio_try_dup_anon_rmap_pte(folio, dst_vma, src_vma):
                folio_put(folio)
                copied = copy_present_page(dst_vma, dst_pte, src_pte, addr, rss, prealloc, folio)
                return copied, copied
            rss.count[MM_ANONPAGES] += 1
        else:
            folio_dup_file_rmap_pte(folio, dst_vma)
            rss.count[MM_FILEPAGES] += 1
    __copy_present_ptes(dst_vma, src_vma, dst_pte, src_pte, pte, addr)
    return True, False


def copy_nonpresent_pte(
    dst_mm: mm_struct,
    src_mm: mm_struct,
    dst_pte: pte_p,
    src_pte: pte_p,
    dst_vma: vm_area_struct,
    addr: Addr,
    rss: rss_vec,
) -> None:
    """Give the child the parent's entry of a page that is in swap, and neither the page alone; or the parent's marker.

    Context: both PTLs held.  Differs: copy_pte_marker is here.  Left out: entries of other kinds, errors; taking
    userfaultfd's bit from a child that is not registered, as each child is if its parent is.
    """
    orig_pte = ptep_get(src_pte)
    if pte_is_uffd_wp_marker(orig_pte):
        if userfaultfd_wp(dst_vma):
            set_pte_at(dst_mm, addr, dst_pte, make_pte_marker())
        return
    pte = orig_pte
    swap_dup_entry_direct(softleaf_from_pte(orig_pte))
    if pte_swp_exclusive(orig_pte):
        pte = pte_swp_clear_exclusive(orig_pte)
        set_pte_at(src_mm, addr, src_pte, pte)
    rss.count[MM_SWAPENTS] += 1
    set_pte_at(dst_mm, addr, dst_pte, pte)


def copy_pte_range(
    dst_vma: vm_area_struct, src_vma: vm_area_struct, dst_pmd: pmd_p, src_pmd: pmd_p, addr: Addr, end: Addr
) -> Errno:
    """Copy the entries of one PTE table.

    Nobody else faults meanwhile, but reclaim and truncation change entries while the PTLs are dropped, so that the page
    that was allocated may not be needed in the end.
    Context: both mmap_locks held for writing.  Left out: need_resched.
    """
    prealloc: Folio | None = None
    ret: Errno = 0
    while True:
        rss = new(rss_vec)
        again = False
        dst_pte, dst_ptl = pte_alloc_map_lock(dst_vma.vm_mm, dst_pmd, addr)
        if dst_pte is None:
            ret = ENOMEM
            break
        src_pte, _pmdval, src_ptl = pte_offset_map_rw_nolock(src_vma.vm_mm, src_pmd, addr)
        if src_pte is None:
            pte_unmap_unlock(dst_pte, dst_ptl)
            break
        spin_lock(src_ptl.ptl)
        dst = dst_pte
        src = src_pte
        while not again:
            ptent = ptep_get(src)
            if not pte_none(ptent) and not pte_present(ptent):
                copy_nonpresent_pte(dst_vma.vm_mm, src_vma.vm_mm, dst, src, dst_vma, addr, rss)
            elif not pte_none(ptent):
                done, used = copy_present_ptes(dst_vma, src_vma, dst, src, ptent, addr, rss, prealloc)
                again = not done
                if prealloc is not None and done:
                    if not used:
                        folio_put(prealloc)
                    prealloc = None
            if not again:
                addr += PAGE_SIZE
                if addr == end:
                    break
                dst = at(pte_p, index_of(dst) + 1)
                src = at(pte_p, index_of(src) + 1)
        pte_unmap_unlock(src_pte, src_ptl)
        add_mm_rss_vec(dst_vma.vm_mm, rss)
        pte_unmap_unlock(dst_pte, dst_ptl)
        if not again:
            break
        prealloc = folio_prealloc(src_vma.vm_mm, src_vma, addr, False)
        if prealloc is None:
            return ENOMEM
    if prealloc is not None:
        folio_put(prealloc)
    return ret


def copy_pmd_range(dst_vma: vm_area_struct, src_vma: vm_area_struct, addr: Addr, end: Addr) -> Errno:
    """Copy the entries of a range, PTE table by PTE table."""
    while addr != end:
        next = pmd_addr_end(addr, end)
        src_pmd = pmd_off(src_vma.vm_mm, addr)
        if not pmd_none(pmdp_get(src_pmd)):
            err = copy_pte_range(dst_vma, src_vma, pmd_off(dst_vma.vm_mm, addr), src_pmd, addr, next)
            if err != 0:
                return err
        addr = next
    return 0


def vma_needs_copy(dst_vma: vm_area_struct, src_vma: vm_area_struct) -> bool:
    """Whether a child needs copies of a VMA's entries; what a file has, it can fault in, but not what is protected.

    Differs: a private mapping counts as having an anon_vma from the start.
    """
    if dst_vma.vm_flags & VM_COPY_ON_FORK != 0:
        return True
    return is_cow_mapping(src_vma.vm_flags)


def copy_page_range(dst_vma: vm_area_struct, src_vma: vm_area_struct) -> Errno:
    """Copy a VMA's entries to a child.

    Context: both mmap_locks held for writing.
    """
    if not vma_needs_copy(dst_vma, src_vma):
        return 0
    is_cow = is_cow_mapping(src_vma.vm_flags)
    if is_cow:
        raw_write_seqcount_begin(src_vma.vm_mm)
    ret = copy_pmd_range(dst_vma, src_vma, src_vma.vm_start, src_vma.vm_end)
    if is_cow:
        raw_write_seqcount_end(src_vma.vm_mm)
    return ret


def should_zap_cows(details: zap_details) -> bool:
    """Whether private copies of a file's pages, and anonymous memory, are to be zapped."""
    if details.reclaim_pt:
        return True
    return details.even_cows


def should_zap_folio(details: zap_details, folio: Folio) -> bool:
    """Whether a folio is to be zapped."""
    if should_zap_cows(details):
        return True
    return not folio_test_anon(folio)


def zap_install_uffd_wp_if_needed(
    vma: vm_area_struct, addr: Addr, pte: pte_p, details: zap_details, pteval: pte_t
) -> bool:
    """Leave a marker in an entry that was zapped if it has to be protected still; whether it was left."""
    if vma_is_anonymous(vma) or details.ZAP_FLAG_DROP_MARKER:
        return False
    return pte_install_uffd_wp_if_needed(vma, addr, pte, pteval)


def zap_present_folio_ptes(
    tlb: mmu_gather,
    vma: vm_area_struct,
    folio: Folio,
    pte: pte_p,
    ptent: pte_t,
    addr: Addr,
    details: zap_details,
    rss: rss_vec,
) -> tuple[bool, bool, bool]:
    """Empty an entry and queue its page; whether to flush before the PTL is dropped, to stop; if a marker was left.

    Context: PTL held.  Left out: folio_mark_accessed without LRU_LISTS.
    """
    mm = tlb.mm
    any_skipped = False
    delay_rmap = False
    force_flush = False
    force_break = False
    ptent = get_and_clear_full_ptes(mm, addr, pte, tlb.fullmm)
    rss.count[mm_counter(folio)] += 1
    if not folio_test_anon(folio):
        if pte_dirty(ptent):
            folio_mark_dirty(folio)
            if tlb_delay_rmap(tlb):
                delay_rmap = True
                force_flush = True
        if LRU_LISTS == 1 and pte_young(ptent):
            folio_mark_accessed(folio)
    tlb_remove_tlb_entry(tlb, pte, addr)
    if userfaultfd_pte_wp(vma, ptent):
        any_skipped = zap_install_uffd_wp_if_needed(vma, addr, pte, details, ptent)
    if not delay_rmap:
        folio_remove_rmap_ptes(folio, vma)
    if __tlb_remove_folio_pages(tlb, folio, delay_rmap):
        force_flush = True
        force_break = True
    return force_flush, force_break, any_skipped


def zap_present_ptes(
    tlb: mmu_gather, vma: vm_area_struct, pte: pte_p, ptent: pte_t, addr: Addr, details: zap_details, rss: rss_vec
) -> tuple[bool, bool, bool]:
    """Zap a present entry, unless it maps what is to stay; one that maps no page is only emptied."""
    any_skipped = False
    folio = vm_normal_page(vma, addr, ptent)
    if folio is None:
        ptep_get_and_clear_full(tlb.mm, addr, pte, tlb.fullmm)
        tlb_remove_tlb_entry(tlb, pte, addr)
        if userfaultfd_pte_wp(vma, ptent):
            any_skipped = zap_install_uffd_wp_if_needed(vma, addr, pte, details, ptent)
        return False, False, any_skipped
    if not should_zap_folio(details, folio):
        return False, False, True
    return zap_present_folio_ptes(tlb, vma, folio, pte, ptent, addr, details, rss)


def zap_nonpresent_ptes(
    tlb: mmu_gather, vma: vm_area_struct, pte: pte_p, ptent: pte_t, addr: Addr, details: zap_details, rss: rss_vec
) -> bool:
    """Zap the entry of a page that is in swap, or a marker, unless it is to stay; whether there is an entry then.

    Context: PTL held.  Left out: entries of other kinds.
    """
    if pte_is_uffd_wp_marker(ptent):
        if not vma_is_anonymous(vma) and not details.ZAP_FLAG_DROP_MARKER:
            return True
    else:
        if not should_zap_cows(details):
            return True
        rss.count[MM_SWAPENTS] += 1
        swap_put_entries_direct(softleaf_from_pte(ptent))
    clear_not_present_full_ptes(vma.vm_mm, addr, pte, tlb.fullmm)
    return zap_install_uffd_wp_if_needed(vma, addr, pte, details, ptent)


def do_zap_pte_range(
    tlb: mmu_gather, vma: vm_area_struct, pte: pte_p, addr: Addr, end: Addr, details: zap_details, rss: rss_vec
) -> tuple[Addr, bool, bool, bool]:
    """Skip empty entries and zap one: how far it came, whether to flush, whether to stop, if an entry is not empty."""
    nr: Addr = 0
    ptent = ptep_get(pte)
    while pte_none(ptent):
        nr += 1
        if addr + nr == end:
            return nr, False, False, False
        ptent = ptep_get(at(pte_p, index_of(pte) + nr))
    pte = at(pte_p, index_of(pte) + nr)
    if not pte_present(ptent):
        any_skipped = zap_nonpresent_ptes(tlb, vma, pte, ptent, addr + nr, details, rss)
        return nr + 1, False, False, any_skipped
    force_flush, force_break, any_skipped = zap_present_ptes(tlb, vma, pte, ptent, addr + nr, details, rss)
    return nr + 1, force_flush, force_break, any_skipped


def pte_table_reclaim_possible(start: Addr, end: Addr, details: zap_details) -> bool:
    """Whether a PTE table that a zap finds or leaves empty may be freed: all of it is zapped."""
    if CONFIG_PT_RECLAIM == 0:
        return False
    return details.reclaim_pt and end - start >= PMD_SIZE


def zap_empty_pte_table(mm: mm_struct, pmd: pmd_p) -> tuple[bool, pmd_t]:
    """Unhook the PTE table of a zap that has just emptied all of it; false when somebody has the pmd lock.

    Context: PTL held since all entries were empty.
    """
    pmdval = pmd_t()
    if not spin_trylock(mm.page_table_lock):
        return False, pmdval
    pmdval = pmdp_get(pmd)
    pmd_clear(pmd)
    spin_unlock(mm.page_table_lock)
    return True, pmdval


def zap_pte_table_if_empty(mm: mm_struct, pmd: pmd_p, addr: Addr) -> tuple[bool, pmd_t]:
    """Unhook a PTE table if all of it is empty, which others may have changed while the PTL was dropped."""
    pml = pmd_lock(mm, pmd)
    start_pte, pmdval, ptl = pte_offset_map_rw_nolock(mm, pmd, addr)
    if start_pte is None:
        spin_unlock(pml.page_table_lock)
        return False, pmdval
    spin_lock(ptl.ptl)
    for i in range(PTRS_PER_PTE):
        if not pte_none(ptep_get(at(pte_p, index_of(start_pte) + i))):
            pte_unmap_unlock(start_pte, ptl)
            spin_unlock(pml.page_table_lock)
            return False, pmdval
    pmd_clear(pmd)
    pte_unmap_unlock(start_pte, ptl)
    spin_unlock(pml.page_table_lock)
    return True, pmdval


def zap_pte_range(
    tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr, end: Addr, details: zap_details
) -> Addr:
    """Zap entries of one PTE table; how far it came.

    A table that is empty then may go too: at once while the PTL still says so, or after another look at it.
    """
    mm = tlb.mm
    start = addr
    can_reclaim_pt = pte_table_reclaim_possible(addr, end, details)
    direct_reclaim = True
    pmdval = pmd_t()
    while True:
        force_flush = False
        rss = new(rss_vec)
        start_pte, ptl = pte_offset_map_lock(mm, pmd, addr)
        if start_pte is None:
            return addr
        flush_tlb_batched_pending(mm)
        pte = start_pte
        while True:
            if need_resched():
                direct_reclaim = False
                break
            nr, flush, force_break, any_skipped = do_zap_pte_range(tlb, vma, pte, addr, end, details, rss)
            if any_skipped:
                can_reclaim_pt = False
            force_flush = force_flush or flush
            addr += nr
            if force_break:
                direct_reclaim = False
            if force_break or addr == end:
                break
            pte = at(pte_p, index_of(pte) + nr)
        if can_reclaim_pt and direct_reclaim and addr == end:
            direct_reclaim, pmdval = zap_empty_pte_table(mm, pmd)
        sub_mm_rss_vec(mm, rss)
        if force_flush:
            tlb_flush_mmu_tlbonly(tlb)
            tlb_flush_rmaps(tlb, vma)
        pte_unmap_unlock(start_pte, ptl)
        if force_flush:
            tlb_flush_mmu(tlb)
        if addr == end:
            break
    if can_reclaim_pt:
        if not direct_reclaim:
            direct_reclaim, pmdval = zap_pte_table_if_empty(mm, pmd, start)
        if direct_reclaim:
            pte_free_tlb(tlb, at(ptdesc, pmd_pfn(pmdval)), addr)
    return addr


def zap_pmd_range(tlb: mmu_gather, vma: vm_area_struct, addr: Addr, end: Addr, details: zap_details) -> Addr:
    """Zap the entries of a range, PTE table by PTE table; again where a table went away meanwhile.

    If one folio that may be huge must be unmapped in the end, another's zap of a huge page is waited for.
    Differs: an upper entry is read again only where it may have changed.
    """
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(tlb.mm, addr)
        pmdval = pmdp_get(pmd)
        if pmd_trans_huge(pmdval):
            if next - addr != PMD_SIZE:
                __split_huge_pmd(vma, pmd, addr)
            elif zap_huge_pmd(tlb, vma, pmd, addr):
                addr = next
                continue
            pmdval = pmdp_get(pmd)
        elif details.single_folio and next - addr == PMD_SIZE and pmd_none(pmdval):
            ptl = pmd_lock(tlb.mm, pmd)
            spin_unlock(ptl.page_table_lock)
            pmdval = pmdp_get(pmd)
        if pmd_none(pmdval):
            addr = next
        else:
            addr = zap_pte_range(tlb, vma, pmd, addr, next, details)
    return addr


def unmap_page_range(tlb: mmu_gather, vma: vm_area_struct, addr: Addr, end: Addr, details: zap_details) -> None:
    """Zap a range of a VMA."""
    assert addr < end
    tlb_start_vma(tlb, vma)
    zap_pmd_range(tlb, vma, addr, end, details)
    tlb_end_vma(tlb, vma)


def unmap_single_vma(
    tlb: mmu_gather, vma: vm_area_struct, start_addr: Addr, end_addr: Addr, details: zap_details
) -> None:
    """Zap what a range and a VMA have in common."""
    start = vma.vm_start if vma.vm_start > start_addr else start_addr
    if start >= vma.vm_end:
        return
    end = vma.vm_end if vma.vm_end < end_addr else end_addr
    if end <= vma.vm_start:
        return
    if start != end:
        unmap_page_range(tlb, vma, start, end, details)


def unmap_vmas(tlb: mmu_gather, unmap: unmap_desc) -> None:
    """Zap a range of several VMAs."""
    for i in range(unmap.vma_count):
        details = zap_details(even_cows=True, ZAP_FLAG_DROP_MARKER=True)
        unmap_single_vma(tlb, unmap.mas[i], unmap.vma_start, unmap.vma_end, details)


def zap_page_range_single_batched(
    tlb: mmu_gather, vma: vm_area_struct, address: Addr, size: Addr, details: zap_details
) -> None:
    """Zap a range of one VMA; the caller ends the gather."""
    assert tlb.mm == vma.vm_mm
    unmap_single_vma(tlb, vma, address, address + size, details)


def zap_page_range_single(vma: vm_area_struct, address: Addr, size: Addr, details: zap_details) -> None:
    """Zap a range of one VMA."""
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, vma.vm_mm)
    zap_page_range_single_batched(tlb, vma, address, size, details)
    tlb_finish_mmu(tlb)


def unmap_mapping_range_vma(vma: vm_area_struct, start_addr: Addr, end_addr: Addr, details: zap_details) -> None:
    """Zap a range of one VMA."""
    zap_page_range_single(vma, start_addr, end_addr - start_addr, details)


def unmap_mapping_range_tree(
    mapping: address_space, first_index: pgoff_t, last_index: pgoff_t, details: zap_details
) -> None:
    """Zap what maps a range of a file, VMA by VMA.

    Context: i_mmap_rwsem held, which keeps the VMAs; of the mm nothing is held.
    Differs: the tree is read once, under the lock that keeps it as it is.
    """
    tree = mapping.i_mmap
    for vma in pool(vm_area_struct):
        if tree & (1 << index_of(vma)) != 0:
            vba: pgoff_t = vma.vm_pgoff
            vea: pgoff_t = vba + vma.vm_end - vma.vm_start - 1
            zba: pgoff_t = first_index if first_index > vba else vba
            zea: pgoff_t = last_index if last_index < vea else vea
            if zba <= zea:
                unmap_mapping_range_vma(vma, zba - vba + vma.vm_start, zea - vba + 1 + vma.vm_start, details)


def unmap_mapping_folio(folio: Folio) -> None:
    """Zap what maps a folio of the page cache; private copies of it stay.

    Context: folio locked.
    """
    may_be_huge = folio_nr_pages(folio) >= HPAGE_PMD_NR
    mapping = folio.mapping
    assert mapping is not None
    lockdep_assert_held(folio.PG_locked)
    i_mmap_lock_read(mapping)
    details = zap_details(single_folio=may_be_huge, ZAP_FLAG_DROP_MARKER=True)
    unmap_mapping_range_tree(mapping, folio.index, folio.index, details)
    i_mmap_unlock_read(mapping)


def unmap_mapping_range(mapping: address_space, holebegin: pgoff_t) -> None:
    """Zap what maps a file from an offset to its end, private copies as well.

    Differs: what unmap_mapping_pages does is here.
    """
    i_mmap_lock_read(mapping)
    unmap_mapping_range_tree(mapping, holebegin, FILE_PAGES, zap_details(even_cows=True))
    i_mmap_unlock_read(mapping)


def vma_has_page_mkwrite(vma: vm_area_struct) -> bool:
    """Whether the file system wants to know before a page becomes writable.

    Differs: Linux has it in vm_ops, as a pointer that may be NULL.
    """
    assert vma.vm_file is not None
    return mapping_can_writeback(vma.vm_file)


def do_page_mkwrite(vmf: vm_fault, folio: Folio) -> vm_fault_t:
    """Ask the file system to let a page become writable; it returns the folio locked.

    Differs: ->page_mkwrite is filemap_page_mkwrite, which always locks the folio.
    """
    old_flags = vmf.flags
    vmf.flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE
    ret = filemap_page_mkwrite(vmf)
    vmf.flags = old_flags
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        return ret
    assert ret & VM_FAULT_LOCKED != 0
    lockdep_assert_held(folio.PG_locked)
    return ret


def fault_dirty_shared_page(vmf: vm_fault) -> vm_fault_t:
    """Mark a page dirty that is mapped writable, and unlock it.

    Context: folio locked, so that writeback comes before the entry was made or after the folio is dirty.
    Left out: throttling, for which Linux may drop the mmap_lock.
    """
    folio = vmf.page
    assert folio is not None
    folio_mark_dirty(folio)
    folio_unlock(folio)
    return 0


def wp_page_reuse(vmf: vm_fault, folio: Folio | None) -> None:
    """Make an entry writable and dirty, and drop the PTL.

    Context: PTL held, the entry is still vmf.orig_pte.
    """
    vma = vmf.vma
    assert vmf.flags & FAULT_FLAG_WRITE != 0
    entry = pte_mkyoung(vmf.orig_pte)
    entry = maybe_mkwrite(pte_mkdirty(entry), vma)
    ptep_set_access_flags(vma, vmf.address, vmf.pte, entry, True)
    pte_unmap_unlock(vmf.pte, vmf.ptl)


def finish_mkwrite_fault(vmf: vm_fault, folio: Folio | None) -> vm_fault_t:
    """Make the entry writable if it is still what it was before the PTL was dropped.

    Context: folio locked.
    """
    assert vmf.vma.vm_flags & VM_SHARED != 0
    pte, ptl = pte_offset_map_lock(vmf.vma.vm_mm, vmf.pmd, vmf.address)
    vmf.ptl = ptl
    if pte is None:
        return VM_FAULT_NOPAGE
    vmf.pte = pte
    if not pte_same(ptep_get(vmf.pte), vmf.orig_pte):
        pte_unmap_unlock(vmf.pte, vmf.ptl)
        return VM_FAULT_NOPAGE
    wp_page_reuse(vmf, folio)
    return 0


def wp_page_shared(vmf: vm_fault, folio: Folio) -> vm_fault_t:
    """Let a store to a read-only entry of a shared mapping through.

    Context: PTL held; it is dropped.
    """
    folio_get(folio)
    if vma_has_page_mkwrite(vmf.vma):
        pte_unmap_unlock(vmf.pte, vmf.ptl)
        tmp = do_page_mkwrite(vmf, folio)
        if tmp == 0 or tmp & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
            folio_put(folio)
            return tmp
        tmp = finish_mkwrite_fault(vmf, folio)
        if tmp & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
            folio_unlock(folio)
            folio_put(folio)
            return tmp
    else:
        wp_page_reuse(vmf, folio)
        folio_lock(folio)
    ret = fault_dirty_shared_page(vmf)
    folio_put(folio)
    return ret


def __wp_page_copy_user(dst: Folio, src: Folio, vmf: vm_fault) -> bool:
    """Copy a page for a fault; false when the page could not be read.

    Left out: sources without a page, which are read through the entry that the fault saw.
    """
    copy_page(dst, src)
    return True


def wp_page_copy(vmf: vm_fault) -> vm_fault_t:
    """Give the mm a copy of its own of a page that others may have too.

    Context: the caller has taken a reference to the old page, which is dropped.  The copy is made without the PTL; no
    TLB may have the old page when the new one is seen, and the old page loses its entry in the map count last.
    """
    unshare = vmf.flags & FAULT_FLAG_UNSHARE != 0
    vma = vmf.vma
    mm = vma.vm_mm
    old_folio = vmf.page
    pfn_is_zero = is_zero_pfn(pte_pfn(vmf.orig_pte))
    new_folio = folio_prealloc(mm, vma, vmf.address, pfn_is_zero)
    if new_folio is None:
        if old_folio is not None:
            folio_put(old_folio)
        return VM_FAULT_OOM
    if not pfn_is_zero:
        assert old_folio is not None
        __wp_page_copy_user(new_folio, old_folio, vmf)
    __folio_mark_uptodate(new_folio)
    copied = False
    pte, ptl = pte_offset_map_lock(mm, vmf.pmd, vmf.address)
    if pte is not None:
        vmf.ptl = ptl
        vmf.pte = pte
        if pte_same(ptep_get(pte), vmf.orig_pte):
            if old_folio is not None:
                if not folio_test_anon(old_folio):
                    dec_mm_counter(mm, MM_FILEPAGES)
                    inc_mm_counter(mm, MM_ANONPAGES)
            else:
                inc_mm_counter(mm, MM_ANONPAGES)
            entry = pfn_pte(folio_pfn(new_folio), vma.vm_page_prot)
            entry = pte_sw_mkyoung(entry)
            if unshare:
                if pte_soft_dirty(vmf.orig_pte):
                    entry = pte_mksoft_dirty(entry)
                if pte_uffd_wp(vmf.orig_pte):
                    entry = pte_mkuffd_wp(entry)
            else:
                entry = maybe_mkwrite(pte_mkdirty(entry), vma)
            ptep_clear_flush(vma, vmf.address, pte)
            folio_add_new_anon_rmap(new_folio, vma, vmf.address)
            folio_add_lru_vma(new_folio, vma)
            set_pte_at(mm, vmf.address, pte, entry)
            if old_folio is not None:
                folio_remove_rmap_ptes(old_folio, vma)
            copied = True
        pte_unmap_unlock(pte, ptl)
    if not copied:
        folio_put(new_folio)
    elif old_folio is not None:
        folio_put(old_folio)
    if old_folio is not None:
        if copied:
            free_swap_cache(old_folio)
        folio_put(old_folio)
    return 0


def wp_can_reuse_anon_folio(folio: Folio, vma: vm_area_struct) -> bool:
    """Whether the entry is all that refers to an anonymous page, which then becomes exclusive.

    Context: PTL held.  KSM need not raise the count.  Left out: large folios, the LRU's own references.
    """
    if folio_test_ksm(folio) or folio_ref_count(folio) > 3:
        return False
    if folio_ref_count(folio) > 1 + folio_test_swapcache(folio):
        return False
    if not folio_trylock(folio):
        return False
    if folio_test_swapcache(folio):
        folio_free_swap(folio)
    if folio_test_ksm(folio) or folio_ref_count(folio) != 1:
        folio_unlock(folio)
        return False
    folio_move_anon_rmap(folio, vma)
    folio_unlock(folio)
    return True


def wp_pfn_shared(vmf: vm_fault) -> vm_fault_t:
    """Let a store to a read-only entry of a PFN map through, once the driver knows of it.

    Context: PTL held; it is dropped.  Left out: drivers without ->pfn_mkwrite.
    """
    pte_unmap_unlock(vmf.pte, vmf.ptl)
    vmf.flags |= FAULT_FLAG_MKWRITE
    ret = vm_ops_pfn_mkwrite(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        return ret
    return finish_mkwrite_fault(vmf, None)


def vmf_insert_pfn_prot(vma: vm_area_struct, addr: Addr, pfn: Pfn, pgprot: pgprot_t) -> vm_fault_t:
    """Map a frame of a driver."""
    assert vma.vm_flags & VM_PFNMAP != 0
    return insert_pfn(vma, addr, pfn, pgprot)


def insert_pfn(vma: vm_area_struct, addr: Addr, pfn: Pfn, prot: pgprot_t) -> vm_fault_t:
    """Map a frame of a driver unless there is something already.

    Left out: mkwrite.
    """
    pte, ptl = pte_alloc_map_lock(vma.vm_mm, pmd_off(vma.vm_mm, addr), addr)
    if pte is None:
        return VM_FAULT_OOM
    if pte_none(ptep_get(pte)):
        set_pte_at(vma.vm_mm, addr, pte, pfn_pte(pfn, prot))
    pte_unmap_unlock(pte, ptl)
    return VM_FAULT_NOPAGE


def do_wp_page(vmf: vm_fault) -> vm_fault_t:
    """Handle a store to a present, read-only entry, or break a share for a reader.

    Context: PTL held; it is dropped.
    """
    unshare = vmf.flags & FAULT_FLAG_UNSHARE != 0
    vma = vmf.vma
    if not unshare and userfaultfd_wp(vma):
        if userfaultfd_pte_wp(vma, ptep_get(vmf.pte)):
            if not userfaultfd_wp_async(vma):
                pte_unmap_unlock(vmf.pte, vmf.ptl)
                return handle_userfault(vmf)
            pte = pte_clear_uffd_wp(ptep_get(vmf.pte))
            set_pte_at(vma.vm_mm, vmf.address, vmf.pte, pte)
            vmf.orig_pte = pte
        if mm_tlb_flush_pending(vma.vm_mm):
            flush_tlb_page(vma, vmf.address)
    folio = vm_normal_page(vma, vmf.address, vmf.orig_pte)
    vmf.page = folio
    if vma.vm_flags & VM_SHARED != 0:
        if folio is None:
            return wp_pfn_shared(vmf)
        return wp_page_shared(vmf, folio)
    if folio is not None and folio_test_anon(folio):
        exclusive = PageAnonExclusive(folio)
        if exclusive or not folio_test_large(folio) and wp_can_reuse_anon_folio(folio, vma):
            if not exclusive:
                SetPageAnonExclusive(folio)
            if unshare:
                pte_unmap_unlock(vmf.pte, vmf.ptl)
                return 0
            wp_page_reuse(vmf, folio)
            return 0
    if folio is not None:
        folio_get(folio)
    pte_unmap_unlock(vmf.pte, vmf.ptl)
    return wp_page_copy(vmf)


def should_try_to_free_swap(folio: Folio, vma: vm_area_struct, extra_refs: u2, fault_flags: u8) -> bool:
    """Whether a folio that was just mapped should leave the swap cache: always if that is cheap to fill again.

    Left out: swap that is full, locked memory.
    """
    if not folio_test_swapcache(folio):
        return False
    if SWP_SYNCHRONOUS_IO == 1:
        return True
    if fault_flags & FAULT_FLAG_WRITE == 0 or folio_test_ksm(folio):
        return False
    return folio_ref_count(folio) == extra_refs + 1


def alloc_swap_folio(vmf: vm_fault) -> Folio | None:
    """Allocate a page to read from swap into.

    Left out: large folios.
    """
    return alloc_folio()


def swapin_for_fault(vmf: vm_fault, entry: swp_entry_t) -> Folio | None:
    """Read a page from swap unless somebody else has meanwhile; the folio that has the slot, or None.

    Differs: Linux has it in mm/memory.c as a part of do_swap_page.
    """
    if SWP_SYNCHRONOUS_IO == 0:
        return swapin_readahead(entry)
    folio = alloc_swap_folio(vmf)
    if folio is None:
        return None
    swapcache = swapin_folio(entry, folio)
    if swapcache != folio:
        folio_put(folio)
    return swapcache


def swap_no_folio(vmf: vm_fault) -> vm_fault_t:
    """Whether a page could not be read for want of memory, or was faulted in by somebody else.

    Differs: Linux has it in mm/memory.c as a part of do_swap_page.
    """
    ret: vm_fault_t = 0
    pte, ptl = pte_offset_map_lock(vmf.vma.vm_mm, vmf.pmd, vmf.address)
    if pte is None:
        return 0
    if pte_same(ptep_get(pte), vmf.orig_pte):
        ret = VM_FAULT_OOM
    pte_unmap_unlock(pte, ptl)
    return ret


def swap_out_page(folio: Folio) -> vm_fault_t:
    """Give up a fault on an entry that has changed, or on a folio that no longer has the slot; it is unlocked.

    Differs: Linux has it in mm/memory.c as a part of do_swap_page, at the label out_page.
    """
    if folio_test_swapcache(folio):
        folio_free_swap(folio)
    folio_unlock(folio)
    folio_put(folio)
    return 0


def map_swap_folio(vmf: vm_fault, folio: Folio) -> None:
    """Map a folio that has the entry's slot, and uncount the entry.  One with a single owner may be stored to at once.

    Context: PTL held, folio locked; the caller's reference goes to the entry.
    Differs: Linux has it in mm/memory.c as a part of do_swap_page.
    """
    vma = vmf.vma
    exclusive = pte_swp_exclusive(vmf.orig_pte)
    add_mm_counter(vma.vm_mm, MM_ANONPAGES, 1)
    dec_mm_counter(vma.vm_mm, MM_SWAPENTS)
    pte = pfn_pte(folio_pfn(folio), vma.vm_page_prot)
    if not exclusive and folio_ref_count(folio) == 1:
        exclusive = True
    if pte_swp_soft_dirty(vmf.orig_pte):
        pte = pte_mksoft_dirty(pte)
    if pte_swp_uffd_wp(vmf.orig_pte):
        pte = pte_mkuffd_wp(pte)
    if exclusive:
        may_write = vma.vm_flags & VM_WRITE != 0
        if may_write and not userfaultfd_pte_wp(vma, pte) and not pte_needs_soft_dirty_wp(vma, pte):
            pte = pte_mkwrite(pte, vma)
            if vmf.flags & FAULT_FLAG_WRITE != 0:
                pte = pte_mkdirty(pte)
                vmf.flags = vmf.flags - FAULT_FLAG_WRITE
    vmf.orig_pte = pte
    if not folio_test_anon(folio):
        folio_add_new_anon_rmap(folio, vma, vmf.address, exclusive)
    else:
        folio_add_anon_rmap_ptes(folio, vma, vmf.address, exclusive)
    folio_put_swap(folio)
    set_pte_at(vma.vm_mm, vmf.address, vmf.pte, pte)


def pte_marker_clear(vmf: vm_fault) -> vm_fault_t:
    """Empty an entry that nobody wants to be a marker any more, unless it has changed."""
    pte, ptl = pte_offset_map_lock(vmf.vma.vm_mm, vmf.pmd, vmf.address)
    if pte is None:
        return 0
    if pte_same(vmf.orig_pte, ptep_get(pte)):
        pte_clear(vmf.vma.vm_mm, vmf.address, pte)
    pte_unmap_unlock(pte, ptl)
    return 0


def pte_marker_handle_uffd_wp(vmf: vm_fault) -> vm_fault_t:
    """Handle an access to a page that was protected before it was unmapped."""
    if not userfaultfd_wp(vmf.vma):
        return pte_marker_clear(vmf)
    return do_pte_missing(vmf)


def handle_pte_marker(vmf: vm_fault) -> vm_fault_t:
    """Handle an access to a marker.

    Left out: all but userfaultfd's.
    """
    return pte_marker_handle_uffd_wp(vmf)


def do_swap_page(vmf: vm_fault) -> vm_fault_t:
    """Handle an access to an entry of a page that is in swap, or to a marker.

    What was seen without a lock is looked at again: the folio's slot under its lock, the entry under the PTL.
    Context: mmap_lock held for reading.  Left out: entries of other kinds, KSM's copies, devices that cannot bear
    stores to a page that they write.
    """
    if pte_is_uffd_wp_marker(vmf.orig_pte):
        return handle_pte_marker(vmf)
    entry = softleaf_from_pte(vmf.orig_pte)
    folio = swap_cache_get_folio(entry)
    if folio is None:
        folio = swapin_for_fault(vmf, entry)
        if folio is None:
            return swap_no_folio(vmf)
    folio_lock(folio)
    if not folio_matches_swap_entry(folio, entry):
        return swap_out_page(folio)
    pte, ptl = pte_offset_map_lock(vmf.vma.vm_mm, vmf.pmd, vmf.address)
    if pte is None:
        return swap_out_page(folio)
    vmf.pte = pte
    vmf.ptl = ptl
    if not pte_same(ptep_get(pte), vmf.orig_pte):
        pte_unmap_unlock(pte, ptl)
        return swap_out_page(folio)
    assert folio_test_uptodate(folio)
    assert not (folio_test_anon(folio) and PageAnonExclusive(folio))
    map_swap_folio(vmf, folio)
    if should_try_to_free_swap(folio, vmf.vma, 1, vmf.flags):
        folio_free_swap(folio)
    folio_unlock(folio)
    if vmf.flags & FAULT_FLAG_WRITE != 0:
        return do_wp_page(vmf)
    pte_unmap_unlock(vmf.pte, vmf.ptl)
    return 0


def do_anonymous_page(vmf: vm_fault) -> vm_fault_t:
    """Map anonymous memory that is not there yet: the zero page for a load, a page of its own for a store."""
    vma = vmf.vma
    if vma.vm_flags & VM_SHARED != 0:
        return VM_FAULT_SIGBUS
    if pte_alloc(vma.vm_mm, vmf.pmd):
        return VM_FAULT_OOM
    folio: Folio | None = None
    if vmf.flags & FAULT_FLAG_WRITE == 0:
        entry = pfn_pte(my_zero_pfn(vmf.address), vma.vm_page_prot)
    else:
        folio = folio_prealloc(vma.vm_mm, vma, vmf.address, True)
        if folio is None:
            return VM_FAULT_OOM
        __folio_mark_uptodate(folio)
        entry = pfn_pte(folio_pfn(folio), vma.vm_page_prot)
        entry = pte_sw_mkyoung(entry)
        if vma.vm_flags & VM_WRITE != 0:
            entry = pte_mkwrite(pte_mkdirty(entry), vma)
    pte, ptl = pte_offset_map_lock(vma.vm_mm, vmf.pmd, vmf.address)
    if pte is None:
        if folio is not None:
            folio_put(folio)
        return 0
    vmf.pte = pte
    vmf.ptl = ptl
    if vmf_pte_changed(vmf):
        if folio is not None:
            folio_put(folio)
        pte_unmap_unlock(pte, ptl)
        return 0
    if folio is not None:
        add_mm_counter(vma.vm_mm, MM_ANONPAGES, 1)
        folio_add_new_anon_rmap(folio, vma, vmf.address)
        folio_add_lru_vma(folio, vma)
    if vmf_orig_pte_uffd_wp(vmf):
        entry = pte_mkuffd_wp(entry)
    set_pte_at(vma.vm_mm, vmf.address, pte, entry)
    pte_unmap_unlock(pte, ptl)
    return 0


def do_pte_missing(vmf: vm_fault) -> vm_fault_t:
    """Handle an access to an empty entry."""
    if vma_is_anonymous(vmf.vma):
        return do_anonymous_page(vmf)
    return do_fault(vmf)


def __do_fault(vmf: vm_fault) -> vm_fault_t:
    """Get the page from the file system, locked; with a PTE table in hand, as none may be allocated with it locked.

    Differs: ->fault is filemap_fault, which always locks the folio, or a driver's, which has mapped its frame.
    """
    vma = vmf.vma
    if pmd_none(pmdp_get(vmf.pmd)) and vmf.prealloc_pte is None:
        vmf.prealloc_pte = pte_alloc_one(vma.vm_mm)
        if vmf.prealloc_pte is None:
            return VM_FAULT_OOM
    ret = vm_ops_fault(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        return ret
    assert ret & VM_FAULT_LOCKED != 0
    folio = vmf.page
    assert folio is not None
    lockdep_assert_held(folio.PG_locked)
    return ret


def set_pte_range(vmf: vm_fault, folio: Folio, addr: Addr) -> None:
    """Map a folio.

    Context: PTL held, the entry is empty.
    """
    vma = vmf.vma
    write = vmf.flags & FAULT_FLAG_WRITE != 0
    prefault = vmf.address != addr
    entry = pfn_pte(folio_pfn(folio), vma.vm_page_prot)
    if prefault and arch_wants_old_prefaulted_pte():
        entry = pte_mkold(entry)
    else:
        entry = pte_sw_mkyoung(entry)
    if write:
        entry = maybe_mkwrite(pte_mkdirty(entry), vma)
    elif pte_write(entry) and folio_test_dirty(folio):
        entry = pte_mkdirty(entry)
    if vmf_orig_pte_uffd_wp(vmf):
        entry = pte_mkuffd_wp(entry)
    if write and vma.vm_flags & VM_SHARED == 0:
        folio_add_new_anon_rmap(folio, vma, addr)
        folio_add_lru_vma(folio, vma)
    else:
        folio_add_file_rmap_ptes(folio, vma)
    set_pte_at(vma.vm_mm, addr, vmf.pte, entry)


def vmf_orig_pte_uffd_wp(vmf: vm_fault) -> bool:
    """Whether the entry that the fault saw was a marker, so that the new one has to be protected."""
    if not userfaultfd_wp(vmf.vma):
        return False
    if vmf.flags & FAULT_FLAG_ORIG_PTE_VALID == 0:
        return False
    return pte_swp_uffd_wp_any(vmf.orig_pte)


def vmf_pte_changed(vmf: vm_fault) -> bool:
    """Whether the entry is no longer what the fault saw."""
    if vmf.flags & FAULT_FLAG_ORIG_PTE_VALID != 0:
        return not pte_same(ptep_get(vmf.pte), vmf.orig_pte)
    return not pte_none(ptep_get(vmf.pte))


def finish_fault(vmf: vm_fault) -> vm_fault_t:
    """Map the page that the file system gave, unless the entry has changed.

    Context: folio locked; its reference goes to the entry.  Left out: file sizes.
    """
    vma = vmf.vma
    addr = vmf.address
    is_cow = vmf.flags & FAULT_FLAG_WRITE != 0 and vma.vm_flags & VM_SHARED == 0
    folio = vmf.cow_page if is_cow else vmf.page
    assert folio is not None
    if pmd_none(pmdp_get(vmf.pmd)):
        if vmf.prealloc_pte is not None:
            if pmd_install(vma.vm_mm, vmf.pmd, vmf.prealloc_pte):
                vmf.prealloc_pte = None
        elif pte_alloc(vma.vm_mm, vmf.pmd):
            return VM_FAULT_OOM
    pte, ptl = pte_offset_map_lock(vma.vm_mm, vmf.pmd, addr)
    vmf.ptl = ptl
    if pte is None:
        return VM_FAULT_NOPAGE
    vmf.pte = pte
    if vmf_pte_changed(vmf):
        pte_unmap_unlock(vmf.pte, vmf.ptl)
        return VM_FAULT_NOPAGE
    set_pte_range(vmf, folio, addr)
    add_mm_counter(vma.vm_mm, MM_ANONPAGES if is_cow else MM_FILEPAGES, 1)
    pte_unmap_unlock(vmf.pte, vmf.ptl)
    return 0


def do_fault_around(vmf: vm_fault) -> vm_fault_t:
    """Map what the page cache has ready around the address, within the VMA and the PTE table.

    Left out: what happens if the file system has no ->map_pages; here it is filemap_map_pages.
    """
    vma = vmf.vma
    pte_off: Addr = pte_index(vmf.address)
    vma_off: Addr = vmf.pgoff - vma.vm_pgoff
    from_pte: Addr = pte_off - pte_off % FAULT_AROUND_PAGES
    if from_pte + vma_off < pte_off:
        from_pte = pte_off - vma_off
    to_pte: Addr = from_pte + FAULT_AROUND_PAGES if from_pte + FAULT_AROUND_PAGES < PTRS_PER_PTE else PTRS_PER_PTE
    if pte_off + vma_pages(vma) < to_pte + vma_off:
        to_pte = pte_off + vma_pages(vma) - vma_off
    if pmd_none(pmdp_get(vmf.pmd)):
        vmf.prealloc_pte = pte_alloc_one(vma.vm_mm)
        if vmf.prealloc_pte is None:
            return VM_FAULT_OOM
    return filemap_map_pages(vmf, vmf.pgoff + from_pte - pte_off, vmf.pgoff + to_pte - 1 - pte_off)


def should_fault_around(vmf: vm_fault) -> bool:
    """Whether a load maps more than the page that it needs.

    Differs: what has ->map_pages is what is no PFN map.
    """
    if vmf.vma.vm_flags & VM_PFNMAP != 0 or uffd_disable_fault_around(vmf.vma):
        return False
    return FAULT_AROUND_PAGES > 1


def do_read_fault(vmf: vm_fault) -> vm_fault_t:
    """Map a page for a load, and what is around it."""
    if should_fault_around(vmf):
        ret = do_fault_around(vmf)
        if ret != 0:
            return ret
    ret = __do_fault(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        return ret
    ret |= finish_fault(vmf)
    folio = vmf.page
    assert folio is not None
    folio_unlock(folio)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        folio_put(folio)
    return ret


def do_cow_fault(vmf: vm_fault) -> vm_fault_t:
    """Map a copy of a page of a file for a store to a private mapping."""
    vma = vmf.vma
    folio = folio_prealloc(vma.vm_mm, vma, vmf.address, False)
    if folio is None:
        return VM_FAULT_OOM
    vmf.cow_page = folio
    ret = __do_fault(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        folio_put(folio)
        return ret
    page = vmf.page
    assert page is not None
    copy_page(folio, page)
    __folio_mark_uptodate(folio)
    ret |= finish_fault(vmf)
    folio_unlock(page)
    folio_put(page)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        folio_put(folio)
    return ret


def do_shared_fault(vmf: vm_fault) -> vm_fault_t:
    """Map a page for a store to a shared mapping."""
    ret = __do_fault(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        return ret
    folio = vmf.page
    assert folio is not None
    if vma_has_page_mkwrite(vmf.vma):
        folio_unlock(folio)
        tmp = do_page_mkwrite(vmf, folio)
        if tmp == 0 or tmp & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
            folio_put(folio)
            return tmp
    ret |= finish_fault(vmf)
    if ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) != 0:
        folio_unlock(folio)
        folio_put(folio)
        return ret
    ret |= fault_dirty_shared_page(vmf)
    return ret


def do_fault(vmf: vm_fault) -> vm_fault_t:
    """Handle an access to an empty entry of a file mapping.

    Context: mmap_lock held for reading.
    """
    vma = vmf.vma
    if vmf.flags & FAULT_FLAG_WRITE == 0:
        ret = do_read_fault(vmf)
    elif vma.vm_flags & VM_SHARED == 0:
        ret = do_cow_fault(vmf)
    else:
        ret = do_shared_fault(vmf)
    if vmf.prealloc_pte is not None:
        free_table(vmf.prealloc_pte)
        vmf.prealloc_pte = None
    return ret


def fix_spurious_fault(vmf: vm_fault) -> None:
    """Handle a fault that the entry gave no reason for: a stale TLB entry has.

    Left out: FAULT_FLAG_TRIED.
    """
    if vmf.flags & FAULT_FLAG_WRITE != 0:
        flush_tlb_fix_spurious_fault(vmf.vma, vmf.address, vmf.pte)


def handle_pte_fault(vmf: vm_fault) -> vm_fault_t:
    """Find out what an entry lacks, and give it.

    Context: mmap_lock held for reading.
    """
    if pmd_none(pmdp_get(vmf.pmd)):
        return do_pte_missing(vmf)
    pte, pmdval, ptl = pte_offset_map_rw_nolock(vmf.vma.vm_mm, vmf.pmd, vmf.address)
    vmf.ptl = ptl
    if pte is None:
        return 0
    vmf.pte = pte
    vmf.orig_pte = ptep_get_lockless(vmf.pte)
    vmf.flags |= FAULT_FLAG_ORIG_PTE_VALID
    if pte_none(vmf.orig_pte):
        return do_pte_missing(vmf)
    if not pte_present(vmf.orig_pte):
        return do_swap_page(vmf)
    spin_lock(vmf.ptl.ptl)
    entry = vmf.orig_pte
    if not pte_same(ptep_get(vmf.pte), entry):
        pte_unmap_unlock(vmf.pte, vmf.ptl)
        return 0
    if vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE) != 0:
        if not pte_write(entry):
            return do_wp_page(vmf)
        if vmf.flags & FAULT_FLAG_WRITE != 0:
            entry = pte_mkdirty(entry)
    entry = pte_mkyoung(entry)
    if not ptep_set_access_flags(vmf.vma, vmf.address, vmf.pte, entry, vmf.flags & FAULT_FLAG_WRITE != 0):
        fix_spurious_fault(vmf)
    pte_unmap_unlock(vmf.pte, vmf.ptl)
    return 0


def create_huge_pmd(vmf: vm_fault) -> vm_fault_t:
    """Map a huge page where there is nothing yet.

    Left out: files.
    """
    if vma_is_anonymous(vmf.vma):
        return do_huge_pmd_anonymous_page(vmf)
    return VM_FAULT_FALLBACK


def wp_huge_pmd(vmf: vm_fault, orig_pmd: pmd_t) -> vm_fault_t:
    """Handle a store to a read-only huge page: of a file, stores are noted page by page."""
    if vma_is_anonymous(vmf.vma):
        return do_huge_pmd_wp_page(vmf, orig_pmd)
    __split_huge_pmd(vmf.vma, vmf.pmd, vmf.address)
    return VM_FAULT_FALLBACK


def handle_huge_fault(vmf: vm_fault) -> vm_fault_t:
    """Handle a fault where there is a huge page or may be one; VM_FAULT_FALLBACK if that is up to the PTE table.

    Differs: Linux has it in mm/memory.c as a part of __handle_mm_fault.
    """
    if thp_vma_allowable_order(vmf.vma) and pmd_none(pmdp_get(vmf.pmd)):
        return create_huge_pmd(vmf)
    orig_pmd = pmdp_get_lockless(vmf.pmd)
    if not pmd_trans_huge(orig_pmd):
        return VM_FAULT_FALLBACK
    if pmd_protnone(orig_pmd):
        do_huge_pmd_numa_page(vmf, orig_pmd)
        return 0
    if vmf.flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE) != 0 and not pmd_write(orig_pmd):
        return wp_huge_pmd(vmf, orig_pmd)
    ptl = pmd_lock(vmf.vma.vm_mm, vmf.pmd)
    if not huge_pmd_set_accessed(vmf, orig_pmd) and vmf.flags & FAULT_FLAG_WRITE != 0:
        flush_tlb_fix_spurious_fault_pmd(vmf.vma, vmf.address, vmf.pmd)
    spin_unlock(ptl.page_table_lock)
    return 0


def __handle_mm_fault(vma: vm_area_struct, address: Addr, flags: u8) -> vm_fault_t:
    """Describe the fault and handle it.

    Context: mmap_lock held for reading.
    """
    vmf = new(vm_fault)
    vmf.vma = vma
    vmf.address = address
    vmf.flags = flags
    vmf.pgoff = linear_page_index(vma, address)
    vmf.pmd = pmd_off(vma.vm_mm, address)
    if thp_is_possible():
        ret = handle_huge_fault(vmf)
        if ret & VM_FAULT_FALLBACK == 0:
            return ret
    return handle_pte_fault(vmf)


def sanitize_fault_flags(vma: vm_area_struct, flags: u8) -> u8:
    """Check what is asked for; only where copies are made there are shares to break.

    Differs: returns the flags; Linux changes them in place.  Left out: FOLL_FORCE.
    """
    if flags & FAULT_FLAG_UNSHARE != 0 and not is_cow_mapping(vma.vm_flags):
        flags = flags - FAULT_FLAG_UNSHARE
    assert flags & FAULT_FLAG_WRITE == 0 or vma.vm_flags & VM_WRITE != 0
    return flags


def handle_mm_fault(vma: vm_area_struct, address: Addr, flags: u8) -> vm_fault_t:
    """Handle a fault in a VMA.

    Context: mmap_lock held for reading.
    """
    flags = sanitize_fault_flags(vma, flags)
    return __handle_mm_fault(vma, address, flags)

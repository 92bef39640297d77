# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/ksm.c (v7.0).

What ksmd does with one page that it finds in the stable tree, and MADV_UNMERGEABLE.

Differs: a stable node is the folio that it stands for, and FOLIO_MAPPING_KSM says that there is one; such a node has
no reference to the folio.  Left out: the unstable tree, so that no new KSM page comes to be; checksums, zero pages,
chains, migration, huge pages; which mappings may be merged.
"""

from asm.pgtable import (
    pfn_pte,
    pmd_present,
    pte_dirty,
    pte_mkclean,
    pte_present,
    pte_same,
    pte_write,
    pte_wrprotect,
    ptep_clear_flush,
)  # fmt: skip
from asm.pgtable_types import pmd_p, pte_p, pte_t
from linux.errno import EBUSY, EFAULT, ENOMEM
from linux.mm import (
    folio_get,
    folio_mapcount,
    folio_pfn,
    folio_put,
    folio_ref_count,
    folio_try_get,
    pte_unmap_unlock,
    vma_lookup,
)  # fmt: skip
from linux.mm_inline import mm_tlb_flush_pending
from linux.mm_types import FAULT_FLAG_UNSHARE, VM_FAULT_ERROR, VM_FAULT_OOM, Folio, mm_struct, vm_area_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock, vma_start_write
from linux.page_flags import PageAnonExclusive, folio_test_anon, folio_test_ksm
from linux.pagemap import folio_lock, folio_trylock
from linux.pgtable import pmd_addr_end, pmd_off, pmdp_get_lockless, ptep_get, set_pte_at
from linux.rmap import page_vma_mapped_walk_done, struct_page_vma_mapped_walk
from linux.types import Addr, Errno
from mm.filemap import folio_unlock
from mm.memory import handle_mm_fault, vm_normal_page
from mm.page_vma_mapped import page_vma_mapped_walk
from mm.page_writeback import folio_mark_dirty
from mm.pgtable_generic import pte_offset_map_lock
from mm.rmap import folio_add_anon_rmap_ptes, folio_remove_rmap_ptes, folio_try_share_anon_rmap_pte
from stubs.memory import pages_identical

from ptelab.lang import at, index_of, new, pool, u2

KSM_GET_FOLIO_NOLOCK = 0
KSM_GET_FOLIO_TRYLOCK = 2


def ksm_get_folio(stable_node: Folio, flags: u2) -> Folio | None:
    """Take a reference to the folio of a stable node, which has none; None if the node is stale, or not to be locked.

    Left out: KSM_GET_FOLIO_LOCK; a node that moves.
    """
    if not folio_test_ksm(stable_node):
        return None
    if not folio_try_get(stable_node):
        return None
    if not folio_test_ksm(stable_node):
        folio_put(stable_node)
        return None
    if flags == KSM_GET_FOLIO_TRYLOCK:
        if not folio_trylock(stable_node):
            folio_put(stable_node)
            return None
        if not folio_test_ksm(stable_node):
            folio_unlock(stable_node)
            folio_put(stable_node)
            return None
    return stable_node


def write_protect_page(vma: vm_area_struct, folio: Folio, address: Addr) -> tuple[Errno, pte_t]:
    """Take the right to store from the entry that maps a folio, unless somebody else refers to the folio; the entry.

    The entry is emptied and flushed before the references are counted, so that GUP-fast takes none after that.

    Context: folio locked.  Differs: the address is given; returns what C stores through a pointer.  Left out: the swap
    cache.
    """
    mm = vma.vm_mm
    pvmw = new(struct_page_vma_mapped_walk)
    pvmw.pfn = folio_pfn(folio)
    pvmw.vma = vma
    pvmw.address = address
    if not page_vma_mapped_walk(pvmw):
        return EFAULT, pte_t()
    pte = pvmw.pte
    assert pte is not None
    entry = ptep_get(pte)
    anon_exclusive = PageAnonExclusive(folio)
    if pte_write(entry) or pte_dirty(entry) or anon_exclusive or mm_tlb_flush_pending(mm):
        entry = ptep_clear_flush(vma, address, pte)
        if folio_mapcount(folio) + 1 != folio_ref_count(folio):
            set_pte_at(mm, address, pte, entry)
            page_vma_mapped_walk_done(pvmw)
            return EFAULT, entry
        if anon_exclusive and not folio_try_share_anon_rmap_pte(folio):
            set_pte_at(mm, address, pte, entry)
            page_vma_mapped_walk_done(pvmw)
            return EFAULT, entry
        if pte_dirty(entry):
            folio_mark_dirty(folio)
        entry = pte_mkclean(entry)
        if pte_write(entry):
            entry = pte_wrprotect(entry)
        set_pte_at(mm, address, pte, entry)
    page_vma_mapped_walk_done(pvmw)
    return 0, entry


def replace_page(vma: vm_area_struct, page: Folio, kpage: Folio, orig_pte: pte_t, addr: Addr) -> Errno:
    """Let an entry map the KSM page instead of a page with the same data, unless the entry has changed meanwhile.

    Context: page locked.  Differs: the address is given.  Left out: zero pages, the swap cache.
    """
    mm = vma.vm_mm
    pmd = pmd_off(mm, addr)
    if not pmd_present(pmdp_get_lockless(pmd)):
        return EFAULT
    ptep, ptl = pte_offset_map_lock(mm, pmd, addr)
    if ptep is None:
        return EFAULT
    if not pte_same(ptep_get(ptep), orig_pte):
        pte_unmap_unlock(ptep, ptl)
        return EFAULT
    assert not PageAnonExclusive(page)
    folio_get(kpage)
    folio_add_anon_rmap_ptes(kpage, vma, addr)
    newpte = pfn_pte(folio_pfn(kpage), vma.vm_page_prot)
    ptep_clear_flush(vma, addr, ptep)
    set_pte_at(mm, addr, ptep, newpte)
    folio_remove_rmap_ptes(page, vma)
    folio_put(page)
    pte_unmap_unlock(ptep, ptl)
    return 0


def try_to_merge_one_page(vma: vm_area_struct, page: Folio, kpage: Folio, addr: Addr) -> Errno:
    """Replace a page by a KSM page with the same data.

    Context: mmap_lock held for reading.
    """
    if page == kpage:
        return 0
    if not folio_test_anon(page):
        return EFAULT
    if not folio_trylock(page):
        return EFAULT
    err, orig_pte = write_protect_page(vma, page, addr)
    if err == 0:
        err = EFAULT
        if pages_identical(page, kpage):
            err = replace_page(vma, page, kpage, orig_pte, addr)
    folio_unlock(page)
    return err


def find_mergeable_vma(mm: mm_struct, addr: Addr) -> vm_area_struct | None:
    """The VMA at an address, if its pages may be merged.

    Left out: VM_MERGEABLE, which every private mapping without a file counts as; mms that have no users any more.
    """
    vma = vma_lookup(mm, addr)
    if vma is None or vma.vm_file is not None:
        return None
    return vma


def try_to_merge_with_ksm_page(mm: mm_struct, address: Addr, page: Folio, kpage: Folio) -> Errno:
    """Replace the page at an address by a KSM page."""
    err: Errno = EFAULT
    mmap_read_lock(mm)
    vma = find_mergeable_vma(mm, address)
    if vma is not None:
        err = try_to_merge_one_page(vma, page, kpage, address)
    mmap_read_unlock(mm)
    return err


def stable_tree_search(page: Folio) -> Folio | None:
    """The KSM page with the data of a page, with a reference; None without one, or if it cannot be had now.

    Differs: the tree is the folios that are in it, in any order; when a node turns out to be stale the search is given
    up, not begun again.
    """
    for stable_node in pool(Folio):
        tree_folio = ksm_get_folio(stable_node, KSM_GET_FOLIO_NOLOCK)
        if tree_folio is not None:
            same = pages_identical(page, tree_folio)
            folio_put(tree_folio)
            if same:
                folio = ksm_get_folio(stable_node, KSM_GET_FOLIO_TRYLOCK)
                if folio is not None:
                    folio_unlock(folio)
                return folio
    return None


def cmp_and_merge_page(mm: mm_struct, address: Addr, page: Folio) -> Errno:
    """Merge a page with one that is in the stable tree.

    Context: the caller has a reference to the page.
    """
    if folio_test_ksm(page):
        return 0
    kfolio = stable_tree_search(page)
    if kfolio is None:
        return EBUSY
    err = try_to_merge_with_ksm_page(mm, address, page, kfolio)
    if err == 0:
        folio_lock(kfolio)
        folio_unlock(kfolio)
    folio_put(kfolio)
    return err


def break_ksm_pmd_entry(vma: vm_area_struct, pmdp: pmd_p, addr: Addr, end: Addr) -> Addr:
    """The first address of a PTE table's part that a KSM page is mapped at; `end` without one.

    Differs: returns what C stores through a pointer.  Left out: mms that have no users, which cannot ask for it.
    """
    start_ptep, ptl = pte_offset_map_lock(vma.vm_mm, pmdp, addr)
    if start_ptep is None:
        return end
    ptep = start_ptep
    while addr < end:
        pte = ptep_get(ptep)
        if pte_present(pte):
            folio = vm_normal_page(vma, addr, pte)
            if folio is not None and folio_test_ksm(folio):
                break
        addr += 1
        if addr < end:
            ptep = at(pte_p, index_of(ptep) + 1)
    pte_unmap_unlock(start_ptep, ptl)
    return addr


def break_ksm(vma: vm_area_struct, addr: Addr, end: Addr) -> Errno:
    """Give the mm a page of its own wherever a range maps a KSM page.

    Context: mmap_lock held for writing.  Differs: walk_page_range_vma's loop over the PTE tables is in here.
    """
    vma_start_write(vma)
    while addr < end:
        next = pmd_addr_end(addr, end)
        if pmd_present(pmdp_get_lockless(pmd_off(vma.vm_mm, addr))):
            addr = break_ksm_pmd_entry(vma, pmd_off(vma.vm_mm, addr), addr, next)
            if addr < next:
                ret = handle_mm_fault(vma, addr, FAULT_FLAG_UNSHARE)
                if ret & VM_FAULT_OOM != 0:
                    return ENOMEM
                if ret & VM_FAULT_ERROR != 0:
                    return 0
        else:
            addr = next
    return 0


def ksm_madvise(vma: vm_area_struct, start: Addr, end: Addr) -> Errno:
    """MADV_UNMERGEABLE.

    Left out: MADV_MERGEABLE; that the range is not merged again.
    """
    return break_ksm(vma, start, end)


def get_mergeable_page(mm: mm_struct, addr: Addr) -> Folio | None:
    """The anonymous page at an address, with a reference.

    Differs: what folio_walk_start does with one entry is in here.
    """
    page: Folio | None = None
    mmap_read_lock(mm)
    vma = find_mergeable_vma(mm, addr)
    if vma is not None and pmd_present(pmdp_get_lockless(pmd_off(mm, addr))):
        ptep, ptl = pte_offset_map_lock(mm, pmd_off(mm, addr), addr)
        if ptep is not None:
            pte = ptep_get(ptep)
            if pte_present(pte):
                page = vm_normal_page(vma, addr, pte)
                if page is not None:
                    folio_get(page)
            pte_unmap_unlock(ptep, ptl)
    mmap_read_unlock(mm)
    return page


def ksm_do_scan(mm: mm_struct, addr: Addr) -> Errno:
    """Look at one page of an mm, as ksmd does with those that it comes by.

    Context: the caller keeps the mm.  Differs: the page is given.
    """
    page = get_mergeable_page(mm, addr)
    if page is None:
        return EFAULT
    err = cmp_and_merge_page(mm, addr, page)
    folio_put(page)
    return err

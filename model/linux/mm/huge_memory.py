# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/huge_memory.c (v7.0).

Left out: faults that map huge pages of files, the huge zero page; userfaultfd; fork; migration entries, and so the
splitting of folios.
"""

from asm.page import PAGE_SIZE, PMD_SIZE
from asm.pgalloc import pmd_populate, pte_alloc_one, pte_free
from asm.pgtable import (
    pfn_pte,
    pgtable_supports_soft_dirty,
    pmd_modify,
    pmd_none,
    pmd_present,
    pmd_protnone,
    pmd_pte,
    pmd_same,
    pmdp_huge_clear_flush,
    pmdp_huge_get_and_clear,
    pmdp_huge_get_and_clear_full,
    pmdp_invalidate,
    pmdp_invalidate_ad,
    pmdp_set_access_flags,
    pte_mkdirty,
    pte_mkold,
    pte_mksoft_dirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_modify,
    pte_pfn,
    pte_pmd,
    pte_soft_dirty,
    pte_uffd_wp,
)
from asm.pgtable_types import pgprot_t, pmd_p, pmd_t, pte_p
from asm.tlb import (
    __tlb_remove_folio_pages,
    huge_pmd_needs_flush,
    mmu_gather,
    tlb_flush_pmd_range,
    tlb_remove_pmd_tlb_entry,
)  # fmt: skip
from asm.tlbflush import flush_tlb_range
from linux.huge_mm import HPAGE_PMD_NR, thp_vma_suitable_order
from linux.mm import (
    MM_CP_TRY_CHANGE_WRITABLE,
    VM_SHARED,
    VM_WRITE,
    add_mm_counter,
    cp_flags_t,
    dec_mm_counter,
    folio_get,
    folio_mapcount,
    folio_mk_pmd,
    folio_pfn,
    folio_put,
    folio_ref_add,
    folio_ref_count,
    pmd_lock,
    vm_fault,
    vma_is_anonymous,
)
from linux.mm_types import (
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_WRITE,
    MM_ANONPAGES,
    MM_FILEPAGES,
    VM_FAULT_FALLBACK,
    VM_FAULT_OOM,
    Folio,
    mm_struct,
    ptdesc,
    vm_area_struct,
    vm_fault_t,
)
from linux.page_flags import (
    PageAnonExclusive,
    SetPageAnonExclusive,
    __folio_mark_uptodate,
    folio_clear_dirty,
    folio_page,
    folio_set_dirty,
    folio_set_partially_mapped,
    folio_test_anon,
    folio_test_dirty,
    folio_test_partially_mapped,
)
from linux.pagemap import folio_lock, folio_trylock
from linux.pgtable import (
    pmd_dirty,
    pmd_mkclean,
    pmd_mkdirty,
    pmd_mkold,
    pmd_mkwrite,
    pmd_mkyoung,
    pmd_trans_huge,
    pmd_write,
    pmd_young,
    pmdp_get,
    set_pmd_at,
    set_pte_at,
)
from linux.types import Addr
from linux.userfaultfd_k import userfaultfd_pte_wp
from mm.filemap import folio_unlock
from mm.internal import pte_needs_soft_dirty_wp
from mm.mempolicy import folio_can_map_prot_numa
from mm.mmu_gather import tlb_flush_mmu
from mm.page_writeback import folio_mark_dirty
from mm.pgtable_generic import pgtable_trans_huge_deposit, pgtable_trans_huge_withdraw
from mm.rmap import (
    folio_add_anon_rmap_ptes,
    folio_add_new_anon_rmap,
    folio_move_anon_rmap,
    folio_remove_rmap_pmd,
)
from mm.swap import folio_mark_lazyfree
from mm.vma import vma_wants_manual_pte_write_upgrade
from stubs.memory import alloc_huge_folio, clear_page, free_table

from ptelab.lang import at, atomic_sub, index_of, spin_lock, spin_unlock


def maybe_pmd_mkwrite(pmd: pmd_t, vma: vm_area_struct) -> pmd_t:
    """Make the entry of a huge page writable if the VMA is."""
    if vma.vm_flags & VM_WRITE != 0:
        return pmd_mkwrite(pmd, vma)
    return pmd


def vma_alloc_anon_folio_pmd(vma: vm_area_struct, addr: Addr) -> Folio | None:
    """Allocate a huge page of zeroes; None without memory."""
    folio = alloc_huge_folio()
    if folio is None:
        return None
    for i in range(HPAGE_PMD_NR):
        clear_page(folio_page(folio, i))
    __folio_mark_uptodate(folio)
    return folio


def map_anon_folio_pmd_nopf(folio: Folio, pmd: pmd_p, vma: vm_area_struct, haddr: Addr) -> None:
    """Map a new huge page that nobody else has.

    Context: pmd lock held.
    """
    entry = folio_mk_pmd(folio, vma.vm_page_prot)
    entry = maybe_pmd_mkwrite(pmd_mkdirty(entry), vma)
    folio_add_new_anon_rmap(folio, vma, haddr)
    set_pmd_at(vma.vm_mm, haddr, pmd, entry)


def map_anon_folio_pmd_pf(folio: Folio, pmd: pmd_p, vma: vm_area_struct, haddr: Addr) -> None:
    """Map a new huge page for a fault.

    Context: pmd lock held.
    """
    map_anon_folio_pmd_nopf(folio, pmd, vma, haddr)
    add_mm_counter(vma.vm_mm, MM_ANONPAGES, HPAGE_PMD_NR)


def do_huge_pmd_anonymous_page(vmf: vm_fault) -> vm_fault_t:
    """Map a huge page of anonymous memory that is not there yet, unless somebody was faster.

    Differs: what __do_huge_pmd_anonymous_page does is here.  Left out: the huge zero page for loads.
    """
    vma = vmf.vma
    haddr: Addr = vmf.address - vmf.address % PMD_SIZE
    if not thp_vma_suitable_order(vma, haddr):
        return VM_FAULT_FALLBACK
    folio = vma_alloc_anon_folio_pmd(vma, vmf.address)
    if folio is None:
        return VM_FAULT_FALLBACK
    pgtable = pte_alloc_one(vma.vm_mm)
    if pgtable is None:
        folio_put(folio)
        return VM_FAULT_OOM
    ptl = pmd_lock(vma.vm_mm, vmf.pmd)
    if pmd_none(pmdp_get(vmf.pmd)):
        pgtable_trans_huge_deposit(vma.vm_mm, vmf.pmd, pgtable)
        map_anon_folio_pmd_pf(folio, vmf.pmd, vma, haddr)
        spin_unlock(ptl.page_table_lock)
        return 0
    spin_unlock(ptl.page_table_lock)
    huge_fault_lost(folio, pgtable)
    return 0


def huge_fault_lost(folio: Folio, pgtable: ptdesc) -> None:
    """Give up what a fault has brought in vain.

    Differs: Linux has it in mm/huge_memory.c as a part of __do_huge_pmd_anonymous_page.
    """
    free_table(pgtable)
    folio_put(folio)


def touch_pmd(vma: vm_area_struct, addr: Addr, pmd: pmd_p, write: bool) -> bool:
    """Note an access to a huge page, or a store; whether there was anything to note.

    Context: pmd lock held.
    """
    entry = pmd_mkyoung(pmdp_get(pmd))
    if write:
        entry = pmd_mkdirty(entry)
    return pmdp_set_access_flags(vma, addr - addr % PMD_SIZE, pmd, entry, write)


def huge_pmd_set_accessed(vmf: vm_fault, orig_pmd: pmd_t) -> bool:
    """Note the access that has faulted; whether there was anything to note.

    Context: pmd lock held.
    """
    if not pmd_same(pmdp_get(vmf.pmd), orig_pmd):
        return False
    return touch_pmd(vmf.vma, vmf.address, vmf.pmd, vmf.flags & FAULT_FLAG_WRITE != 0)


def lock_for_reuse(vmf: vm_fault, folio: Folio, orig_pmd: pmd_t) -> bool:
    """Lock a folio under the pmd lock, dropped meanwhile if need be; false, with neither, if the entry has changed.

    Differs: Linux has it in mm/huge_memory.c as a part of do_huge_pmd_wp_page.
    """
    if folio_trylock(folio):
        return True
    mm = vmf.vma.vm_mm
    folio_get(folio)
    spin_unlock(mm.page_table_lock)
    folio_lock(folio)
    spin_lock(mm.page_table_lock)
    if not pmd_same(pmdp_get(vmf.pmd), orig_pmd):
        spin_unlock(mm.page_table_lock)
        folio_unlock(folio)
        folio_put(folio)
        return False
    folio_put(folio)
    return True


def reuse_huge_pmd(vmf: vm_fault, orig_pmd: pmd_t) -> None:
    """Make the entry of an exclusive huge page writable, unless only the share was to be broken; drops the pmd lock.

    Differs: Linux has it in mm/huge_memory.c as a part of do_huge_pmd_wp_page.
    """
    vma = vmf.vma
    if vmf.flags & FAULT_FLAG_UNSHARE == 0:
        entry = maybe_pmd_mkwrite(pmd_mkdirty(pmd_mkyoung(orig_pmd)), vma)
        pmdp_set_access_flags(vma, vmf.address - vmf.address % PMD_SIZE, vmf.pmd, entry, True)
    spin_unlock(vma.vm_mm.page_table_lock)


def do_huge_pmd_wp_page(vmf: vm_fault, orig_pmd: pmd_t) -> vm_fault_t:
    """Handle a store to a read-only huge page of anonymous memory: reuse it, or split it to copy one page of it.

    Whether it may be reused is decided by the references, as the map counts of one that is being split are in motion.
    Left out: huge pages in the swap cache.
    """
    vma = vmf.vma
    ptl = pmd_lock(vma.vm_mm, vmf.pmd)
    if not pmd_same(pmdp_get(vmf.pmd), orig_pmd):
        spin_unlock(ptl.page_table_lock)
        return 0
    folio = at(Folio, pte_pfn(pmd_pte(orig_pmd)))
    if PageAnonExclusive(folio):
        reuse_huge_pmd(vmf, orig_pmd)
        return 0
    if not lock_for_reuse(vmf, folio, orig_pmd):
        return 0
    if PageAnonExclusive(folio):
        folio_unlock(folio)
        reuse_huge_pmd(vmf, orig_pmd)
        return 0
    if folio_ref_count(folio) == 1:
        folio_move_anon_rmap(folio, vma)
        SetPageAnonExclusive(folio)
        folio_unlock(folio)
        reuse_huge_pmd(vmf, orig_pmd)
        return 0
    folio_unlock(folio)
    spin_unlock(ptl.page_table_lock)
    __split_huge_pmd(vma, vmf.pmd, vmf.address)
    return VM_FAULT_FALLBACK


def __pmd_trans_huge_lock(pmd: pmd_p, vma: vm_area_struct) -> bool:
    """Take the lock of an upper entry if it maps a huge page; whether it does."""
    ptl = pmd_lock(vma.vm_mm, pmd)
    if pmd_trans_huge(pmdp_get(pmd)):
        return True
    spin_unlock(ptl.page_table_lock)
    return False


def zap_deposited_table(mm: mm_struct, pmd: pmd_p) -> None:
    """Free the table that was kept for a split.

    Context: pmd lock held.
    """
    pgtable = pgtable_trans_huge_withdraw(mm, pmd)
    pte_free(mm, pgtable)


def zap_huge_pmd(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr) -> bool:
    """Empty an upper entry that maps a huge page of a file, and queue the page; whether there was one.

    The entry's dirtiness is not looked at, and the map count does not wait for the flush.  The table that was kept for
    a split is freed before the flush: no walk can find it.  Left out: folio_mark_accessed.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    orig_pmd = pmdp_huge_get_and_clear_full(vma, addr, pmd, tlb.fullmm)
    tlb_remove_pmd_tlb_entry(tlb, pmd, addr)
    folio = at(Folio, pte_pfn(pmd_pte(orig_pmd)))
    folio_remove_rmap_pmd(folio, vma)
    if folio_test_anon(folio):
        zap_deposited_table(tlb.mm, pmd)
        atomic_sub(HPAGE_PMD_NR, tlb.mm.rss_stat[MM_ANONPAGES])
    else:
        dec_mm_counter(tlb.mm, MM_FILEPAGES)
    spin_unlock(vma.vm_mm.page_table_lock)
    if __tlb_remove_folio_pages(tlb, folio, False):
        tlb_flush_mmu(tlb)
    return True


def move_soft_dirty_pmd(pmd: pmd_t) -> pmd_t:
    """Let user space see that a huge page was moved."""
    if pgtable_supports_soft_dirty():
        pmd = pte_pmd(pte_mksoft_dirty(pmd_pte(pmd)))
    return pmd


def move_huge_pmd(vma: vm_area_struct, old_addr: Addr, new_addr: Addr, old_pmd: pmd_p, new_pmd: pmd_p) -> bool:
    """Move the entry of a huge page, and flush the old address before the lock is dropped; whether there was one.

    Differs: both upper entries have the same lock, so that the table that is kept for a split is kept where it is.
    """
    mm = vma.vm_mm
    if not pmd_none(pmdp_get(new_pmd)):
        return False
    if not __pmd_trans_huge_lock(old_pmd, vma):
        return False
    pmd = pmdp_huge_get_and_clear(mm, old_addr, old_pmd)
    force_flush = pmd_present(pmd)
    set_pmd_at(mm, new_addr, new_pmd, move_soft_dirty_pmd(pmd))
    if force_flush:
        flush_tlb_range(vma, old_addr, old_addr + PMD_SIZE)
    spin_unlock(mm.page_table_lock)
    return True


def deferred_split_folio(folio: Folio, partially_mapped: bool) -> None:
    """Have a folio split some time, so that its pages that are mapped no more can be freed.

    Left out: the list, and the folios on it that may turn out to hold pages of zeroes; the splitting.
    """
    if partially_mapped and not folio_test_partially_mapped(folio):
        folio_set_partially_mapped(folio)


def split_anon_huge_pmd(vma: vm_area_struct, pmd: pmd_p, haddr: Addr) -> None:
    """Map a huge page of anonymous memory page by page.

    Context: pmd lock held.  The upper entry is never empty, and no TLB has the huge page when it names the table.
    Differs: Linux has it in mm/huge_memory.c as a part of __split_huge_pmd_locked.
    """
    mm = vma.vm_mm
    old_pmd = pmdp_invalidate(vma, haddr, pmd)
    folio = at(Folio, pte_pfn(pmd_pte(old_pmd)))
    dirty = pmd_dirty(old_pmd)
    if dirty:
        folio_set_dirty(folio)
    write = pmd_write(old_pmd)
    young = pmd_young(old_pmd)
    soft_dirty = pte_soft_dirty(pmd_pte(old_pmd))
    uffd_wp = pte_uffd_wp(pmd_pte(old_pmd))
    anon_exclusive = PageAnonExclusive(folio)
    if HPAGE_PMD_NR > 1:
        folio_ref_add(folio, HPAGE_PMD_NR - 1)
    for i in range(HPAGE_PMD_NR):
        folio_add_anon_rmap_ptes(folio_page(folio, i), vma, haddr + i * PAGE_SIZE, anon_exclusive)
    pgtable = pgtable_trans_huge_withdraw(mm, pmd)
    prot = vma.vm_page_prot
    for i in range(HPAGE_PMD_NR):
        entry = pfn_pte(folio_pfn(folio) + i, prot)
        if write:
            entry = pte_mkwrite(entry, vma)
        if not young:
            entry = pte_mkold(entry)
        if dirty:
            entry = pte_mkdirty(entry)
        if soft_dirty:
            entry = pte_mksoft_dirty(entry)
        if uffd_wp:
            entry = pte_mkuffd_wp(entry)
        set_pte_at(mm, haddr + i * PAGE_SIZE, at(pte_p, index_of(pgtable) * HPAGE_PMD_NR + i), entry)
    folio_remove_rmap_pmd(folio, vma)
    pmd_populate(mm, pmd, pgtable)


def __split_huge_pmd_locked(vma: vm_area_struct, pmd: pmd_p, haddr: Addr) -> None:
    """Unmap the huge page of a file, whose parts faults will map; or map anonymous memory page by page.

    Context: pmd lock held.  Left out: PG_referenced of a file's page.
    """
    if vma_is_anonymous(vma):
        split_anon_huge_pmd(vma, pmd, haddr)
        return
    old_pmd = pmdp_huge_clear_flush(vma, haddr, pmd)
    folio = at(Folio, pte_pfn(pmd_pte(old_pmd)))
    if not folio_test_dirty(folio) and pmd_dirty(old_pmd):
        folio_mark_dirty(folio)
    folio_remove_rmap_pmd(folio, vma)
    folio_put(folio)
    dec_mm_counter(vma.vm_mm, MM_FILEPAGES)


def split_huge_pmd_locked(vma: vm_area_struct, address: Addr, pmd: pmd_p) -> None:
    """See to it that no huge page is mapped at an address.

    Context: pmd lock held.
    """
    if pmd_trans_huge(pmdp_get(pmd)):
        __split_huge_pmd_locked(vma, pmd, address - address % PMD_SIZE)


def __split_huge_pmd(vma: vm_area_struct, pmd: pmd_p, address: Addr) -> None:
    """See to it that no huge page is mapped at an address."""
    ptl = pmd_lock(vma.vm_mm, pmd)
    split_huge_pmd_locked(vma, address, pmd)
    spin_unlock(ptl.page_table_lock)


def madvise_free_huge_pmd(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr, next: Addr) -> bool:
    """Let a huge page be forgotten until it is written again; whether that was done.

    The entry is never empty, as MADV_DONTNEED would pass it by.  Left out: splitting a huge page of which a part is
    meant, so that it stays.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    orig_pmd = pmdp_get(pmd)
    folio = at(Folio, pte_pfn(pmd_pte(orig_pmd)))
    if folio_mapcount(folio) != 1 or next - addr != PMD_SIZE or not folio_trylock(folio):
        spin_unlock(vma.vm_mm.page_table_lock)
        return False
    if folio_test_dirty(folio):
        folio_clear_dirty(folio)
    folio_unlock(folio)
    if pmd_young(orig_pmd) or pmd_dirty(orig_pmd):
        pmdp_invalidate(vma, addr, pmd)
        orig_pmd = pmd_mkclean(pmd_mkold(orig_pmd))
        set_pmd_at(tlb.mm, addr, pmd, orig_pmd)
        tlb_remove_pmd_tlb_entry(tlb, pmd, addr)
    folio_mark_lazyfree(folio)
    spin_unlock(vma.vm_mm.page_table_lock)
    return True


def change_huge_pmd(tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr) -> bool:
    """Let the next access to a huge page fault, as a hint on who uses it; whether there was one.

    The entry is never empty: MADV_DONTNEED, which also holds the mmap_lock for reading, would pass it by.
    Differs: what it does for mprotect is in change_huge_prot.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    pmdval = pmdp_get(pmd)
    if not pmd_protnone(pmdval) and folio_can_map_prot_numa(at(Folio, pte_pfn(pmd_pte(pmdval))), vma):
        oldpmd = pmdp_invalidate_ad(vma, addr, pmd)
        entry = pmd_modify(oldpmd)
        set_pmd_at(vma.vm_mm, addr, pmd, entry)
        if huge_pmd_needs_flush(oldpmd, entry):
            tlb_flush_pmd_range(tlb, addr, PMD_SIZE)
    spin_unlock(vma.vm_mm.page_table_lock)
    return True


def can_change_pmd_writable(vma: vm_area_struct, pmd: pmd_t) -> bool:
    """Whether a huge page may become writable without a fault: an exclusive one, or a dirty one of a shared mapping."""
    if pmd_protnone(pmd) or pte_needs_soft_dirty_wp(vma, pmd_pte(pmd)) or userfaultfd_pte_wp(vma, pmd_pte(pmd)):
        return False
    if vma.vm_flags & VM_SHARED != 0:
        return pmd_dirty(pmd)
    folio = at(Folio, pte_pfn(pmd_pte(pmd)))
    return folio_test_anon(folio) and PageAnonExclusive(folio)


def change_huge_prot(
    tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr, newprot: pgprot_t, cp_flags: cp_flags_t
) -> bool:
    """Change what the entry of a huge page allows; whether there was one.

    Differs: Linux has it in mm/huge_memory.c as a part of change_huge_pmd.
    """
    if not __pmd_trans_huge_lock(pmd, vma):
        return False
    oldpmd = pmdp_invalidate_ad(vma, addr, pmd)
    entry = pte_pmd(pte_modify(pmd_pte(oldpmd), newprot))
    if cp_flags & MM_CP_TRY_CHANGE_WRITABLE != 0 and not pmd_write(entry) and can_change_pmd_writable(vma, entry):
        entry = pmd_mkwrite(entry, vma)
    set_pmd_at(vma.vm_mm, addr, pmd, entry)
    if huge_pmd_needs_flush(oldpmd, entry):
        tlb_flush_pmd_range(tlb, addr, PMD_SIZE)
    spin_unlock(vma.vm_mm.page_table_lock)
    return True


def do_huge_pmd_numa_page(vmf: vm_fault, orig_pmd: pmd_t) -> None:
    """Handle a fault that was to be a hint: the huge page may be used again, and written if no store need fault.

    Left out: what the hint is for, moving the page to another node.
    """
    vma = vmf.vma
    haddr: Addr = vmf.address - vmf.address % PMD_SIZE
    ptl = pmd_lock(vma.vm_mm, vmf.pmd)
    old_pmd = pmdp_get(vmf.pmd)
    if pmd_same(old_pmd, orig_pmd):
        pmd = pte_pmd(pte_modify(pmd_pte(old_pmd), vma.vm_page_prot))
        writable = pmd_write(pmd)
        if not writable and vma_wants_manual_pte_write_upgrade(vma) and can_change_pmd_writable(vma, pmd):
            writable = True
        pmd = pmd_mkyoung(pmd)
        if writable:
            pmd = pmd_mkwrite(pmd, vma)
        set_pmd_at(vma.vm_mm, haddr, vmf.pmd, pmd)
    spin_unlock(ptl.page_table_lock)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/gup.c (v7.0).

One page at a time.  Left out: FOLL_FORCE, FOLL_TOUCH, FOLL_HONOR_NUMA_FAULT, retries, PG_referenced, which pages of
files may be pinned for long.  Differs: pins of large folios are counted as those of others, not in _pincount.
"""

from asm.current import get_current
from asm.pgtable import (
    pmd_leaf,
    pmd_none,
    pmd_protnone,
    pmd_pte,
    pmd_same,
    pte_access_permitted,
    pte_pfn,
    pte_present,
    pte_same,
    pte_write,
)
from asm.pgtable_types import pmd_p, pmd_t
from linux.errno import EFAULT, EINVAL, ENOMEM
from linux.huge_mm import HPAGE_PMD_NR
from linux.irqflags import local_irq_restore, local_irq_save
from linux.mm import (
    FOLL_GET,
    FOLL_PIN,
    FOLL_WRITE,
    GUP_PIN_COUNTING_BIAS,
    VM_PFNMAP,
    VM_READ,
    VM_WRITE,
    folio_pfn,
    folio_put_refs,
    folio_ref_add,
    folio_try_get,
    gup_must_unshare,
    pmd_lock,
    pte_unmap_unlock,
    vma_lookup,
)  # fmt: skip
from linux.mm_types import (
    FAULT_FLAG_UNSHARE,
    FAULT_FLAG_WRITE,
    VM_FAULT_ERROR,
    Folio,
    mm_struct,
    vm_area_struct,
)  # fmt: skip
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock
from linux.page_flags import folio_page, folio_test_dirty
from linux.pagemap import folio_lock
from linux.pgtable import (
    __pte_map,
    is_zero_pfn,
    my_zero_pfn,
    pmd_access_permitted,
    pmd_off,
    pmd_write,
    pmdp_get,
    pmdp_get_lockless,
    ptep_get,
    ptep_get_lockless,
)
from linux.seqlock import raw_seqcount_try_begin, read_seqcount_retry
from linux.types import Addr, Errno
from mm.filemap import folio_unlock
from mm.memory import handle_mm_fault, vm_normal_page
from mm.page_writeback import folio_mark_dirty
from mm.pgtable_generic import pte_offset_map_lock

from ptelab.lang import at, spin_unlock, u4, u8


def gup_put_folio(folio: Folio, flags: u4) -> None:
    """Drop what grabbing a page has taken."""
    refs: u4 = 1
    if flags & FOLL_PIN != 0:
        if is_zero_folio(folio):
            return
        refs = GUP_PIN_COUNTING_BIAS
    folio_put_refs(folio, refs)


def is_zero_folio(folio: Folio) -> bool:
    """Whether a folio is the zero page, which is never pinned.

    Differs: Linux has it in include/linux/mm.h.
    """
    return is_zero_pfn(folio_pfn(folio))


def try_get_folio(folio: Folio) -> Folio | None:
    """Take a reference unless the page is being freed.

    Left out: pages that became parts of another folio.
    """
    if not folio_try_get(folio):
        return None
    return folio


def try_grab_folio(folio: Folio, flags: u4) -> None:
    """Take a reference or a pin, or neither.

    Context: the PTL of an entry that maps the page is held.
    """
    if flags & FOLL_GET != 0:
        folio_ref_add(folio, 1)
    elif flags & FOLL_PIN != 0 and not is_zero_folio(folio):
        folio_ref_add(folio, GUP_PIN_COUNTING_BIAS)


def try_grab_folio_fast(page: Folio, flags: u4) -> Folio | None:
    """Take a reference or a pin without a lock; None if the page is being freed.

    Context: interrupts disabled.
    """
    if flags & FOLL_GET != 0:
        return try_get_folio(page)
    if is_zero_folio(page):
        return page
    folio = try_get_folio(page)
    if folio is None:
        return None
    folio_ref_add(folio, GUP_PIN_COUNTING_BIAS - 1)
    return folio


def unpin_user_page(page: Folio) -> None:
    """Drop a pin."""
    gup_put_folio(page, FOLL_PIN)


def unpin_user_page_dirty_lock(page: Folio) -> None:
    """Drop a pin of a page that was written; the page is dirty before it is dropped.

    Differs: Linux has it in mm/gup.c as unpin_user_pages_dirty_lock, for several pages.
    """
    if not folio_test_dirty(page):
        folio_lock(page)
        folio_mark_dirty(page)
        folio_unlock(page)
    gup_put_folio(page, FOLL_PIN)


def follow_page_pte(vma: vm_area_struct, address: Addr, pmd: pmd_p, flags: u4) -> tuple[Folio | None, bool]:
    """Grab the page that an entry maps, if the entry allows what is wanted; and whether it must be unshared before."""
    ptep, ptl = pte_offset_map_lock(vma.vm_mm, pmd, address)
    if ptep is None:
        return None, False
    pte = ptep_get(ptep)
    if not pte_present(pte):
        pte_unmap_unlock(ptep, ptl)
        return None, False
    page = vm_normal_page(vma, address, pte)
    if flags & FOLL_WRITE != 0 and not pte_write(pte):
        pte_unmap_unlock(ptep, ptl)
        return None, False
    if page is None:
        page = at(Folio, my_zero_pfn(address))
    if not pte_write(pte) and gup_must_unshare(vma, flags, page):
        pte_unmap_unlock(ptep, ptl)
        return None, True
    try_grab_folio(page, flags)
    pte_unmap_unlock(ptep, ptl)
    return page, False


def follow_huge_pmd(vma: vm_area_struct, addr: Addr, pmd: pmd_p, flags: u4) -> tuple[Folio | None, bool]:
    """Grab the page that an address has of a huge page, if the entry allows it; and whether it must be unshared before.

    An entry that is a hint of NUMA balancing will do.
    Context: pmd lock held.
    """
    pmdval = pmdp_get(pmd)
    page = at(Folio, pte_pfn(pmd_pte(pmdval)))
    if flags & FOLL_WRITE != 0 and not pmd_write(pmdval):
        return None, False
    if not pmd_write(pmdval) and gup_must_unshare(vma, flags, page):
        return None, True
    try_grab_folio(page, flags)
    return folio_page(page, addr % HPAGE_PMD_NR), False


def follow_pmd_mask(vma: vm_area_struct, address: Addr, flags: u4) -> tuple[Folio | None, bool]:
    """Grab the page at an address, huge or not; and whether it must be unshared before."""
    pmd = pmd_off(vma.vm_mm, address)
    pmdval = pmdp_get_lockless(pmd)
    if pmd_none(pmdval):
        return None, False
    if not pmd_leaf(pmdval):
        return follow_page_pte(vma, address, pmd, flags)
    ptl = pmd_lock(vma.vm_mm, pmd)
    pmdval = pmdp_get(pmd)
    if not pmd_leaf(pmdval):
        spin_unlock(ptl.page_table_lock)
        if pmd_none(pmdval):
            return None, False
        return follow_page_pte(vma, address, pmd, flags)
    page, unshare = follow_huge_pmd(vma, address, pmd, flags)
    spin_unlock(ptl.page_table_lock)
    return page, unshare


def faultin_page(vma: vm_area_struct, address: Addr, flags: u4, unshare: bool) -> bool:
    """Fault a page in, or make it exclusive; false when that cannot be.

    Context: mmap_lock held for reading.
    """
    fault_flags: u8 = 0
    if flags & FOLL_WRITE != 0:
        fault_flags |= FAULT_FLAG_WRITE
    if unshare:
        fault_flags |= FAULT_FLAG_UNSHARE
    return handle_mm_fault(vma, address, fault_flags) & VM_FAULT_ERROR == 0


def check_vma_flags(vma: vm_area_struct, gup_flags: u4) -> bool:
    """Whether a VMA allows the access; what a driver maps without pages has none to grab."""
    vm_flags = vma.vm_flags
    if vm_flags & VM_PFNMAP != 0:
        return False
    return vm_flags & (VM_WRITE if gup_flags & FOLL_WRITE != 0 else VM_READ) != 0


def __get_user_pages(mm: mm_struct, start: Addr, gup_flags: u4) -> Folio | None:
    """Grab the page at an address, which is faulted in as often as that takes; None for a bad address.

    Context: mmap_lock held for reading.
    """
    vma = vma_lookup(mm, start)
    if vma is None or not check_vma_flags(vma, gup_flags):
        return None
    while True:
        page, unshare = follow_pmd_mask(vma, start, gup_flags)
        if page is not None:
            return page
        if not faultin_page(vma, start, gup_flags, unshare):
            return None


def faultin_page_range(mm: mm_struct, start: Addr, end: Addr, write: bool) -> Errno:
    """Fault all pages of a range in, for loads or for stores.

    Context: mmap_lock held for reading.  Differs: __get_user_pages without a reference is in here, and looks for the
    VMA of each page; says whether all was done, not how much; want of memory is EFAULT.
    """
    gup_flags: u4 = FOLL_WRITE if write else 0
    while start < end:
        vma = vma_lookup(mm, start)
        if vma is None:
            return ENOMEM
        if not check_vma_flags(vma, gup_flags):
            return EINVAL
        while True:
            page, unshare = follow_pmd_mask(vma, start, gup_flags)
            if page is not None:
                break
            if not faultin_page(vma, start, gup_flags, unshare):
                return EFAULT
        start += 1
    return 0


def gup_fast_pte_range(pmd: pmd_t, pmdp: pmd_p, addr: Addr, flags: u4) -> Folio | None:
    """Grab the page of an entry without a lock; None if there is any doubt.

    Context: interrupts disabled.  The reference is taken first and the entries looked at again after it, so that who
    empties one of them sees the reference, or is seen.
    Left out: pte_special, so that a frame that a driver has mapped is grabbed, too.
    """
    ptep = __pte_map(pmd, addr)
    pte = ptep_get_lockless(ptep)
    if not pte_access_permitted(pte, flags & FOLL_WRITE != 0):
        return None
    if is_zero_pfn(pte_pfn(pte)):
        return None
    folio = try_grab_folio_fast(at(Folio, pte_pfn(pte)), flags)
    if folio is None:
        return None
    if not pmd_same(pmd, pmdp_get(pmdp)) or not pte_same(pte, ptep_get(ptep)):
        gup_put_folio(folio, flags)
        return None
    if not pte_write(pte) and gup_must_unshare(None, flags, folio):
        gup_put_folio(folio, flags)
        return None
    return folio


def gup_fast_pmd_leaf(orig: pmd_t, pmdp: pmd_p, addr: Addr, flags: u4) -> Folio | None:
    """Grab the page that an address has of a huge page without a lock; None if there is any doubt.

    Context: interrupts disabled.
    """
    if not pmd_access_permitted(orig, flags & FOLL_WRITE != 0):
        return None
    head = at(Folio, pte_pfn(pmd_pte(orig)))
    page = folio_page(head, addr % HPAGE_PMD_NR)
    folio = try_grab_folio_fast(page, flags)
    if folio is None:
        return None
    if not pmd_same(orig, pmdp_get(pmdp)):
        gup_put_folio(folio, flags)
        return None
    if not pmd_write(orig) and gup_must_unshare(None, flags, head):
        gup_put_folio(folio, flags)
        return None
    return page


def gup_fast_pmd_range(mm: mm_struct, addr: Addr, flags: u4) -> Folio | None:
    """Find the PTE table of an address without a lock, or its huge page."""
    pmdp = pmd_off(mm, addr)
    pmd = pmdp_get_lockless(pmdp)
    if pmd_none(pmd):
        return None
    if pmd_leaf(pmd):
        if pmd_protnone(pmd):
            return None
        return gup_fast_pmd_leaf(pmd, pmdp, addr, flags)
    return gup_fast_pte_range(pmd, pmdp, addr, flags)


def gup_fast(start: Addr, gup_flags: u4) -> Folio | None:
    """Grab the page at an address of the current mm without its locks; not while it is forked."""
    mm = get_current().mm
    seq: u4 = 0
    if gup_flags & FOLL_PIN != 0:
        begun, seq = raw_seqcount_try_begin(mm)
        if not begun:
            return None
    local_irq_save()
    page = gup_fast_pmd_range(mm, start, gup_flags)
    local_irq_restore()
    if page is not None and gup_flags & FOLL_PIN != 0 and read_seqcount_retry(mm, seq):
        unpin_user_page(page)
        return None
    return page


def gup_fast_fallback(start: Addr, gup_flags: u4) -> Folio | None:
    """Grab the page at an address, without locks if that goes, else with them."""
    page = gup_fast(start, gup_flags)
    if page is not None:
        return page
    mm = get_current().mm
    mmap_read_lock(mm)
    page = __get_user_pages(mm, start, gup_flags)
    mmap_read_unlock(mm)
    return page


def get_user_pages_fast(start: Addr, gup_flags: u4) -> Folio | None:
    """Take a reference to the page at an address."""
    return gup_fast_fallback(start, gup_flags | FOLL_GET)


def pin_user_pages_fast(start: Addr, gup_flags: u4) -> Folio | None:
    """Pin the page at an address."""
    return gup_fast_fallback(start, gup_flags | FOLL_PIN)

# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors mm/mprotect.c (v7.0).

Left out: splitting and merging of VMAs, so that mprotect of a part of one fails; PROT_NONE and NUMA hints; batches of
large folios; accounting, seals, keys, notifiers; the faults that locked memory takes at once when it
becomes writable.
"""

from asm.current import get_current
from asm.page import PMD_SIZE, TASK_SIZE
from asm.pgtable import (
    pmd_none,
    pte_clear_uffd_wp,
    pte_dirty,
    pte_mkuffd_wp,
    pte_mkwrite,
    pte_modify,
    pte_none,
    pte_present,
    pte_same,
    pte_swp_clear_uffd_wp,
    pte_swp_mkuffd_wp,
    pte_write,
    ptep_modify_prot_commit,
    ptep_modify_prot_start,
)  # fmt: skip
from asm.pgtable_types import pgprot_t, pmd_p, pte_p, pte_t
from asm.tlb import mmu_gather, pte_needs_flush, tlb_end_vma, tlb_flush_pte_range, tlb_start_vma
from linux.errno import EINVAL, ENOMEM
from linux.leafops import pte_is_uffd_wp_marker
from linux.mm import (
    MM_CP_PROT_NUMA,
    MM_CP_TRY_CHANGE_WRITABLE,
    MM_CP_UFFD_WP,
    MM_CP_UFFD_WP_RESOLVE,
    VM_SHARED,
    VM_WRITE,
    cp_flags_t,
    pte_alloc,
    pte_unmap_unlock,
    vm_flags_reset_once,
)  # fmt: skip
from linux.mm_types import Folio, vm_area_struct, vm_flags_t
from linux.mman import PROT_READ, PROT_WRITE, calc_vm_prot_bits
from linux.mmap_lock import mmap_write_lock, mmap_write_unlock, vma_start_write
from linux.page_flags import PageAnonExclusive, folio_test_anon
from linux.pgtable import pmd_addr_end, pmd_off, pmd_trans_huge, pmdp_get, pte_clear, ptep_get, set_pte_at
from linux.swapops import make_pte_marker
from linux.types import Addr, Errno
from linux.userfaultfd_k import userfaultfd_pte_wp, userfaultfd_wp_use_markers
from mm.huge_memory import __split_huge_pmd, change_huge_pmd, change_huge_prot
from mm.internal import pte_needs_soft_dirty_wp
from mm.memory import vm_normal_page
from mm.mmap import vma_set_page_prot
from mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from mm.pgtable_generic import pte_offset_map_lock
from mm.rmap import flush_tlb_batched_pending
from mm.vma import vma_find, vma_wants_manual_pte_write_upgrade

from ptelab.lang import READ_ONCE, at, index_of, new, u3


def maybe_change_pte_writable(vma: vm_area_struct, pte: pte_t) -> bool:
    """Whether nothing but the page itself may ask for a fault at its first store.

    Left out: PROT_NONE.
    """
    if vma.vm_flags & VM_WRITE == 0:
        return False
    if pte_needs_soft_dirty_wp(vma, pte):
        return False
    return not userfaultfd_pte_wp(vma, pte)


def can_change_shared_pte_writable(vma: vm_area_struct, pte: pte_t) -> bool:
    """Whether an entry of a shared mapping may become writable: a dirty one, of which the file system knows."""
    if not maybe_change_pte_writable(vma, pte):
        return False
    return pte_dirty(pte)


def prot_commit_flush_ptes(
    vma: vm_area_struct, addr: Addr, ptep: pte_p, oldpte: pte_t, ptent: pte_t, set_write: bool, tlb: mmu_gather
) -> None:
    """Write a changed entry, and note that it has to be flushed if a TLB may allow more than it does."""
    if set_write:
        ptent = pte_mkwrite(ptent, vma)
    ptep_modify_prot_commit(vma, addr, ptep, oldpte, ptent)
    if pte_needs_flush(oldpte, ptent):
        tlb_flush_pte_range(tlb, addr, 1)


def set_write_prot_commit_flush_ptes(
    vma: vm_area_struct, folio: Folio | None, addr: Addr, ptep: pte_p, oldpte: pte_t, ptent: pte_t, tlb: mmu_gather
) -> None:
    """Write a changed entry, writable without a fault if it may be: of a private mapping only an exclusive page's.

    Differs: what Linux decides for each page of a batch in commit_anon_folio_batch is decided here.
    """
    if vma.vm_flags & VM_SHARED != 0:
        set_write = can_change_shared_pte_writable(vma, ptent)
    else:
        set_write = maybe_change_pte_writable(vma, ptent) and folio is not None and folio_test_anon(folio)
        if set_write and folio is not None:
            set_write = PageAnonExclusive(folio)
    prot_commit_flush_ptes(vma, addr, ptep, oldpte, ptent, set_write, tlb)


def change_softleaf_pte(vma: vm_area_struct, addr: Addr, pte: pte_p, oldpte: pte_t, cp_flags: cp_flags_t) -> None:
    """Say in the entry of a page that is in swap whether user space wants to know of stores; a marker goes if not.

    Context: PTL held.  Left out: entries of other kinds.  Differs: Linux has it in mm/mprotect.c as a part of
    change_pte_range.
    """
    if pte_is_uffd_wp_marker(oldpte):
        if cp_flags & MM_CP_UFFD_WP_RESOLVE != 0:
            pte_clear(vma.vm_mm, addr, pte)
        return
    newpte = oldpte
    if cp_flags & MM_CP_UFFD_WP != 0:
        newpte = pte_swp_mkuffd_wp(oldpte)
    elif cp_flags & MM_CP_UFFD_WP_RESOLVE != 0:
        newpte = pte_swp_clear_uffd_wp(oldpte)
    if not pte_same(oldpte, newpte):
        set_pte_at(vma.vm_mm, addr, pte, newpte)


def change_pte_range(
    tlb: mmu_gather, vma: vm_area_struct, pmd: pmd_p, addr: Addr, end: Addr, newprot: pgprot_t, cp_flags: cp_flags_t
) -> bool:
    """Change the entries of one PTE table; false when it has gone and must be looked for again.

    Differs: the number of changed entries is not counted.  Left out: NUMA hints for small pages.
    """
    if cp_flags & MM_CP_PROT_NUMA != 0:
        return True
    uffd_wp = cp_flags & MM_CP_UFFD_WP != 0
    uffd_wp_resolve = cp_flags & MM_CP_UFFD_WP_RESOLVE != 0
    start_pte, ptl = pte_offset_map_lock(vma.vm_mm, pmd, addr)
    if start_pte is None:
        return False
    flush_tlb_batched_pending(vma.vm_mm)
    pte = start_pte
    while True:
        oldpte = ptep_get(pte)
        if pte_present(oldpte):
            folio = vm_normal_page(vma, addr, oldpte)
            oldpte = ptep_modify_prot_start(vma, addr, pte)
            ptent = pte_modify(oldpte, newprot)
            if uffd_wp:
                ptent = pte_mkuffd_wp(ptent)
            elif uffd_wp_resolve:
                ptent = pte_clear_uffd_wp(ptent)
            if cp_flags & MM_CP_TRY_CHANGE_WRITABLE != 0 and not pte_write(ptent):
                set_write_prot_commit_flush_ptes(vma, folio, addr, pte, oldpte, ptent, tlb)
            else:
                prot_commit_flush_ptes(vma, addr, pte, oldpte, ptent, False, tlb)
        elif pte_none(oldpte):
            if uffd_wp and userfaultfd_wp_use_markers(vma):
                set_pte_at(vma.vm_mm, addr, pte, make_pte_marker())
        else:
            change_softleaf_pte(vma, addr, pte, oldpte, cp_flags)
        addr += 1
        if addr == end:
            break
        pte = at(pte_p, index_of(pte) + 1)
    pte_unmap_unlock(start_pte, ptl)
    return True


def pgtable_populate_needed(vma: vm_area_struct, cp_flags: cp_flags_t) -> bool:
    """Whether there have to be tables, as entries that map nothing are protected too."""
    if cp_flags & MM_CP_UFFD_WP == 0:
        return False
    return userfaultfd_wp_use_markers(vma)


def change_pmd_range(
    tlb: mmu_gather, vma: vm_area_struct, addr: Addr, end: Addr, newprot: pgprot_t, cp_flags: cp_flags_t
) -> None:
    """Change the entries of a range, PTE table by PTE table; again where a table went away meanwhile.

    Differs: a huge page is split for userfaultfd.  Differs: change_pmd_prepare is here, and nobody is told that there
    was no memory for a table.
    """
    while addr != end:
        next = pmd_addr_end(addr, end)
        pmd = pmd_off(vma.vm_mm, addr)
        if pgtable_populate_needed(vma, cp_flags) and pte_alloc(vma.vm_mm, pmd):
            return
        pmdval = pmdp_get(pmd)
        if pmd_trans_huge(pmdval):
            if next - addr != PMD_SIZE or cp_flags & (MM_CP_UFFD_WP | MM_CP_UFFD_WP_RESOLVE) != 0:
                __split_huge_pmd(vma, pmd, addr)
            elif cp_flags & MM_CP_PROT_NUMA != 0 and change_huge_pmd(tlb, vma, pmd, addr):
                addr = next
            elif cp_flags & MM_CP_PROT_NUMA == 0 and change_huge_prot(tlb, vma, pmd, addr, newprot, cp_flags):
                addr = next
        elif pmd_none(pmdval) or change_pte_range(tlb, vma, pmd, addr, next, newprot, cp_flags):
            addr = next


def change_protection_range(
    tlb: mmu_gather, vma: vm_area_struct, addr: Addr, end: Addr, newprot: pgprot_t, cp_flags: cp_flags_t
) -> None:
    """Change the entries of a range.

    Left out: the levels above the PMD table.
    """
    assert addr < end
    tlb_start_vma(tlb, vma)
    change_pmd_range(tlb, vma, addr, end, newprot, cp_flags)
    tlb_end_vma(tlb, vma)


def change_protection(tlb: mmu_gather, vma: vm_area_struct, start: Addr, end: Addr, cp_flags: cp_flags_t) -> None:
    """Give the entries of a range the protection that the VMA has by now; the caller ends the gather."""
    newprot = vma.vm_page_prot
    change_protection_range(tlb, vma, start, end, newprot, cp_flags)


def mprotect_fixup(tlb: mmu_gather, vma: vm_area_struct, start: Addr, end: Addr, newflags: vm_flags_t) -> Errno:
    """Change the flags of a VMA, and its entries accordingly.

    Context: mmap_lock held for writing.
    """
    mm_cp_flags: cp_flags_t = 0
    if newflags == READ_ONCE(vma.vm_flags):
        return 0
    if start != vma.vm_start or end != vma.vm_end:
        return ENOMEM
    vma_start_write(vma)
    vm_flags_reset_once(vma, newflags)
    if vma_wants_manual_pte_write_upgrade(vma):
        mm_cp_flags |= MM_CP_TRY_CHANGE_WRITABLE
    vma_set_page_prot(vma)
    change_protection(tlb, vma, start, end, mm_cp_flags)
    return 0


def do_mprotect_pkey(start: Addr, len: Addr, prot: u3) -> Errno:
    """Change what the VMAs of a range allow; ENOMEM if there are gaps.  The flush comes before the lock is dropped.

    Left out: stacks that grow, mappings that may not be changed to what is asked for.
    """
    if len == 0:
        return 0
    if start + len > TASK_SIZE:
        return ENOMEM
    if prot & PROT_READ == 0:
        return EINVAL
    end: Addr = start + len
    mm = get_current().mm
    mmap_write_lock(mm)
    vma = vma_find(mm, start, end)
    if vma is None or vma.vm_start > start:
        mmap_write_unlock(mm)
        return ENOMEM
    error: Errno = 0
    tlb = new(mmu_gather)
    tlb_gather_mmu(tlb, mm)
    nstart: Addr = start
    while nstart < end and error == 0:
        vma = mm.mm_mt[nstart]
        if vma is None:
            error = ENOMEM
        else:
            newflags: vm_flags_t = calc_vm_prot_bits(prot) | (vma.vm_flags & ~(PROT_READ | PROT_WRITE))
            tmp: Addr = vma.vm_end if vma.vm_end < end else end
            error = mprotect_fixup(tlb, vma, nstart, tmp, newflags)
            nstart = tmp
    tlb_finish_mmu(tlb)
    mmap_write_unlock(mm)
    return error


def sys_mprotect(start: Addr, len: Addr, prot: u3) -> Errno:
    """The system call."""
    return do_mprotect_pkey(start, len, prot)

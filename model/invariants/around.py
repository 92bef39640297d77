# SPDX-License-Identifier: GPL-2.0-only
"""What mprotect and its like take and give, and the situations that their tests go through.

Flags: stale_rights, accounting, truncate_incomplete.
"""

from asm.pgtable import pmd_protnone, pte_dirty, pte_present, pte_uffd_wp, pte_write
from asm.pgtable_types import pmd_p, pte_t
from entry import mm_of_cpu, tlb_holds
from fs.userfaultfd import handle_userfault
from hw.memory import NR_CPUS, NR_PAGES, Addr, Frame
from invariants.observe import entry_of
from invariants.rights import marks_of, rights_called_back, rights_gone
from linux.fs import address_space
from linux.mm import VM_WRITE
from linux.mm_inline import pte_install_uffd_wp_if_needed
from linux.mm_types import Folio, mm_struct
from linux.types import Errno, pgoff_t
from mm.huge_memory import __split_huge_pmd_locked, change_huge_pmd, zap_huge_pmd
from mm.memory import handle_pte_marker
from mm.mprotect import prot_commit_flush_ptes
from mm.mremap import move_locked_ptes, move_normal_pmd, sys_mremap
from mm.page_writeback import filemap_dirty_folio
from mm.truncate import folio_cancel_dirty, truncate_cleanup_folio
from user import UFFDIO_WRITEPROTECT_MODE_WP, mprotect, mremap, truncate, uffdio_writeprotect

from ptelab.lang import at, cpu_id, flag, ghost, index_of, on_entry, on_return, pool, reach, u3


@ghost
def store_right_gone(addr: Addr, len: Addr) -> None:
    """A call returns that took the right to store: no translation that is there now may let a store through."""
    for cpu in range(NR_CPUS):
        if mm_of_cpu(cpu) is not None and mm_of_cpu(cpu) == mm_of_cpu(cpu_id()):
            for a in range(NR_PAGES):
                if addr <= a < addr + len and tlb_holds(cpu, a):
                    marks_of(cpu, a).read_only = True


@on_return(mprotect)
def mprotect_returns(addr: Addr, len: Addr, prot: u3, result: Errno) -> None:
    """After mprotect without PROT_WRITE no store goes through, unless another call has given the right back."""
    mm = mm_of_cpu(cpu_id())
    if result == 0 and mm is not None:
        for a in range(NR_PAGES):
            vma = mm.mm_mt[a]
            if addr <= a < addr + len and vma is not None and vma.vm_flags & VM_WRITE == 0:
                store_right_gone(a, 1)


@on_entry(prot_commit_flush_ptes)
def sometimes_protection_changes(oldpte: pte_t, ptent: pte_t, set_write: bool) -> None:
    """mprotect takes the right to store from an entry, or gives it without a fault."""
    if pte_write(oldpte) and not pte_write(ptent):
        reach("mprotect_takes_write")
        if pte_dirty(oldpte):
            reach("mprotect_of_dirty_pte")
    if set_write:
        reach("mprotect_gives_write")


@on_entry(sys_mremap)
def mremap_begins(addr: Addr, old_len: Addr, new_addr: Addr) -> None:
    """mremap takes all rights to the old addresses, and to what was mapped at the new ones."""
    rights_called_back(addr, old_len)
    rights_called_back(new_addr, old_len)


@on_return(mremap)
def always_gone_after_mremap(addr: Addr, len: Addr, new_addr: Addr, result: Errno) -> None:
    """After mremap nothing is mapped at the old addresses, and nothing in a TLB gives access to them.

    Nothing can be mapped there again, as a test moves nothing back.
    """
    mm = mm_of_cpu(cpu_id())
    rights_gone(addr, len, result == 0, True)
    rights_gone(new_addr, len, result == 0, False)
    if result == 0 and mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len and pte_present(entry_of(mm, a)):
                flag("accounting", addr=a, mapped_after_mremap=True)


@on_return(sys_mremap)
def sometimes_refused(result: Errno) -> None:
    """mremap is asked for what it cannot do."""
    if result != 0:
        reach("mremap_refused")


@on_entry(move_locked_ptes)
def sometimes_moves_entries() -> None:
    """mremap moves entries one by one."""
    reach("mremap_moves_entries")


@on_return(move_normal_pmd)
def sometimes_moves_table(result: bool) -> None:
    """mremap moves a PTE table as a whole."""
    if result:
        reach("mremap_moves_table")


@on_entry(folio_cancel_dirty)
def truncated_data_may_go(folio: Folio) -> None:
    """What a truncated page holds needs no disk any more, unless somebody stores to it from now on."""
    at(Frame, index_of(folio)).newer_than_disk = False


@ghost
def is_beyond(mapping: address_space, length: pgoff_t, mm: mm_struct, addr: Addr) -> bool:
    """Whether an address belongs to a part of a file."""
    vma = mm.mm_mt[addr]
    return vma is not None and vma.vm_file == mapping and addr - vma.vm_start + vma.vm_pgoff >= length


@on_return(truncate)
def always_gone_after_truncate(mapping: address_space, length: pgoff_t) -> None:
    """After truncate nothing maps what is beyond the new length, in memory or in a TLB."""
    for mm in pool(mm_struct):
        for addr in range(NR_PAGES):
            if is_beyond(mapping, length, mm, addr) and pte_present(entry_of(mm, addr)):
                flag("truncate_incomplete", addr=addr, mm=index_of(mm))
    for cpu in range(NR_CPUS):
        loaded = mm_of_cpu(cpu)
        if loaded is not None:
            for addr in range(NR_PAGES):
                if is_beyond(mapping, length, loaded, addr) and tlb_holds(cpu, addr):
                    marks_of(cpu, addr).revoked = True


@on_entry(truncate_cleanup_folio)
def sometimes_truncates_mapped(folio: Folio) -> None:
    """truncate finds a page that has been mapped again since it was unmapped."""
    if folio._mapcount != 0:
        reach("truncate_of_mapped_folio")


@on_return(filemap_dirty_folio)
def always_dirtied_in_its_mapping(mapping: address_space | None, folio: Folio) -> None:
    """A folio does not leave the page cache while it is marked dirty: the file's counts would be wrong for ever."""
    if mapping is not None and folio.mapping != mapping:
        flag("accounting", page=index_of(folio), dirtied_after_truncation=True)


@on_return(uffdio_writeprotect)
def always_told_of_stores(addr: Addr, len: Addr, mode: u3, result: Errno) -> None:
    """When a range has been write-protected, no store to it goes through until another call has resolved it."""
    mm = mm_of_cpu(cpu_id())
    if mode == UFFDIO_WRITEPROTECT_MODE_WP and result == 0 and mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len and pte_uffd_wp(entry_of(mm, a)):
                store_right_gone(a, 1)


@on_return(handle_userfault)
def sometimes_userfault() -> None:
    """A store faults because user space wants to know of it."""
    reach("userfault")


@on_return(pte_install_uffd_wp_if_needed)
def sometimes_marker_left(result: bool) -> None:
    """An entry that userfaultfd protects is emptied, and says so still."""
    if result:
        reach("uffd_marker_left")


@on_entry(handle_pte_marker)
def sometimes_marker_handled() -> None:
    """An access finds an entry that maps nothing, and is protected all the same."""
    reach("uffd_marker_handled")


@on_entry(__split_huge_pmd_locked)
def sometimes_split() -> None:
    """The huge page of a file is unmapped to be mapped page by page."""
    reach("huge_page_split")


@on_return(zap_huge_pmd)
def sometimes_zap_huge(result: bool) -> None:
    """A huge page is zapped, or was split just before."""
    if result:
        reach("huge_page_zapped")


@on_return(change_huge_pmd)
def sometimes_huge_hint(pmd: pmd_p, result: bool) -> None:
    """A huge page becomes inaccessible for a NUMA hint, or is so already."""
    if result and pmd_protnone(pmd.pmd):
        reach("huge_page_hinted")

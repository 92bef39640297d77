# SPDX-License-Identifier: GPL-2.0-only
"""What must hold in every run, and what runs should go through.

Flags: lost_write, access_after_free, stale_rights, accounting, dirty_tracking; bad_kernel_state and lock_assertion come
from assertions in the kernel and from the machine.  `always_…` raise flags, `sometimes_…` note situations.  The kernel
and the hardware do not know of them: they are called where the functions they watch are entered or return.
"""

from asm.tlb import mmu_gather
from fs import read_for_io
from hw.memory import NR_CPUS, NR_PAGES, Addr, CpuNr, Disk, Frame, Table, Value
from hw.x86 import (
    PTRS_PER_PTE,
    Cpu,
    fill,
    forget,
    page_fault,
    pmd_p,
    pte_p,
    pte_t,
    read_memory,
    table_used,
    write_memory,
)  # fmt: skip
from linux.fs import address_space
from linux.mm import vm_fault
from linux.mm_inline import mm_tlb_flush_nested
from linux.mm_types import VM_FAULT_NOPAGE, Folio, mm_struct, ptdesc, vm_area_struct, vm_fault_t
from linux.types import Errno, atomic_t, pgoff_t
from mm.memory import (
    do_pte_missing,
    finish_fault,
    finish_mkwrite_fault,
    fix_spurious_fault,
    pmd_install,
    wp_page_shared,
)
from mm.mmap_lock import lock_mm_and_find_vma
from mm.mmu_gather import __tlb_remove_folio_pages, tlb_flush_rmaps, tlb_remove_table
from mm.page_writeback import folio_wait_writeback
from mm.rmap import folio_add_file_rmap_ptes, folio_mkclean, folio_remove_rmap_ptes
from mm.vma import vma_wants_writenotify
from stubs.memory import call_rcu, free_frozen_pages
from stubs.x86 import interrupt_flush
from user import madvise, munmap

from ptelab.lang import (
    at,
    cpu_id,
    flag,
    ghost,
    index_of,
    on_entry,
    on_return,
    per_cpu,
    pool,
    reach,
    thread_id,
    u3,
    u4,
    u8,
)  # fmt: skip

# ------------------------------------------------------------------------------------- reading the state


@ghost
def entry_of(mm: mm_struct, addr: Addr) -> pte_t:
    """The entry that maps an address; an empty one without a PTE table."""
    upper = at(pmd_p, index_of(mm.pgd) + addr // PTRS_PER_PTE).pmd
    if not upper.present:
        return pte_t()
    return at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte


@ghost
def entries_of(mm: mm_struct, folio: Folio) -> u4:
    """How many entries of an mm map a folio."""
    count: u4 = 0
    for addr in range(NR_PAGES):
        pte = entry_of(mm, addr)
        if pte.present and pte.pfn == index_of(folio):
            count += 1
    return count


@ghost
def mm_of_cpu(cpu: CpuNr) -> mm_struct | None:
    """The mm that a CPU has loaded."""
    for mm in pool(mm_struct):
        if mm.cpu_bitmap & (1 << cpu) != 0:
            return mm
    return None


@ghost
def observe_page(folio: Folio) -> Value:
    """What is in a folio's memory."""
    return at(Frame, index_of(folio)).data


@ghost
def observe_disk(mapping: address_space, pgoff: pgoff_t) -> Value:
    """What the disk has of a page of a file."""
    return at(Disk, index_of(mapping)).block[pgoff]


@ghost
def observe_folio_dirty(folio: Folio) -> bool:
    """Whether a folio has to be written back."""
    return folio.PG_dirty


@ghost
def observe_mapcount(folio: Folio) -> atomic_t:
    """How many entries map a folio, as the kernel counts."""
    return folio._mapcount


@ghost
def observe_refcount(folio: Folio) -> atomic_t:
    """How many references a folio has."""
    return folio._refcount


@ghost
def observe_rss(mm: mm_struct) -> atomic_t:
    """How many pages an mm has mapped, as the kernel counts."""
    return mm.rss_stat


@ghost
def observe_pte(mm: mm_struct, addr: Addr) -> pte_t:
    """The entry that maps an address."""
    return entry_of(mm, addr)


# ------------------------------------------------------------------------------------- what a CPU may use


@ghost
class tlb_marks:
    """What the invariants remember of the TLB entry of one CPU for one address, at cpu · NR_PAGES + address.

    `calls`: the threads in a call that takes the entry's rights, which the entry was there before.  `revoked`: such a
    call has returned, and the entry is still there.
    """

    calls: u8
    revoked: bool


@ghost
def marks_of(cpu: CpuNr, addr: Addr) -> tlb_marks:
    """The marks of a TLB entry."""
    return at(tlb_marks, cpu * NR_PAGES + addr)


@on_entry(fill)
def unmark_filled(addr: Addr) -> None:
    """A new TLB entry has the rights of now."""
    marks = marks_of(cpu_id(), addr)
    marks.calls = 0
    marks.revoked = False


@on_entry(forget)
def unmark_forgotten(addr: Addr) -> None:
    """No TLB entry has no rights to lose."""
    marks = marks_of(cpu_id(), addr)
    marks.calls = 0
    marks.revoked = False


@ghost
def rights_called_back(addr: Addr, len: Addr) -> None:
    """A call begins that takes the rights to a range from every CPU that has the caller's mm."""
    for cpu in range(NR_CPUS):
        if mm_of_cpu(cpu) is not None and mm_of_cpu(cpu) == mm_of_cpu(cpu_id()):
            for a in range(NR_PAGES):
                if addr <= a < addr + len and per_cpu(Cpu, cpu).tlb[a].valid:
                    marks_of(cpu, a).calls = marks_of(cpu, a).calls | (1 << thread_id())


@ghost
def rights_gone(addr: Addr, len: Addr, took: bool, all: bool) -> None:
    """The call returns.  If it took rights, what was there before must not be used; with `all` nothing there now."""
    for cpu in range(NR_CPUS):
        if mm_of_cpu(cpu) is not None and mm_of_cpu(cpu) == mm_of_cpu(cpu_id()):
            for a in range(NR_PAGES):
                if addr <= a < addr + len and per_cpu(Cpu, cpu).tlb[a].valid:
                    marks = marks_of(cpu, a)
                    if took and (all or marks.calls & (1 << thread_id()) != 0):
                        marks.revoked = True
                    if marks.calls & (1 << thread_id()) != 0:
                        marks.calls = marks.calls - (1 << thread_id())


@on_entry(munmap)
def munmap_begins(addr: Addr, len: Addr) -> None:
    """munmap takes all rights to its range."""
    rights_called_back(addr, len)


@on_return(munmap)
def always_unmapped_after_munmap(addr: Addr, len: Addr, result: Errno) -> None:
    """After munmap nothing is mapped in its range, and nothing in a TLB gives access to it.

    Nothing can be mapped there again, as there is no mmap in a run.
    """
    mm = mm_of_cpu(cpu_id())
    rights_gone(addr, len, result == 0, True)
    if result == 0 and mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len:
                if entry_of(mm, a).present:
                    flag("accounting", addr=a, mapped_after_munmap=True)


@on_entry(madvise)
def madvise_begins(addr: Addr, len: Addr) -> None:
    """MADV_DONTNEED takes all rights to its range that were there before."""
    rights_called_back(addr, len)


@on_return(madvise)
def madvise_returns(addr: Addr, len: Addr, result: Errno) -> None:
    """After MADV_DONTNEED what was there before is gone, unless the call was refused."""
    rights_gone(addr, len, result == 0, False)


@ghost
def translation_used(addr: Addr, frame: Frame) -> None:
    """An access goes through a TLB entry: its page must not be freed, and its rights must not have been taken."""
    if frame.freed:
        flag("access_after_free", page=index_of(frame), addr=addr, cpu=cpu_id())
    if marks_of(cpu_id(), addr).revoked:
        flag("stale_rights", page=index_of(frame), addr=addr, cpu=cpu_id())


@on_return(read_memory)
def always_loads_by_right(addr: Addr, frame: Frame) -> None:
    """A load uses no page that was freed, and no right that was taken."""
    translation_used(addr, frame)


@on_return(write_memory)
def always_stores_by_right(addr: Addr, frame: Frame) -> None:
    """A store uses no page that was freed, and no right that was taken; the page is now newer than the disk."""
    translation_used(addr, frame)
    frame.newer_than_disk = True
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        pte = entry_of(mm, addr)
        if not (pte.present and pte.rw and pte.dirty and pte.pfn == index_of(frame)):
            reach("store_without_pte_access")


@on_return(table_used)
def always_walk_live_tables(table: Table, addr: Addr) -> None:
    """The hardware reads and writes no page-table page that was freed."""
    if table.retired:
        flag("access_after_free", table=index_of(table), addr=addr, cpu=cpu_id())


@on_entry(call_rcu)
def table_retires(table: ptdesc) -> None:
    """A page-table page is free for the hardware as soon as it is handed to RCU."""
    at(Table, index_of(table)).retired = True


# ---------------------------------------------------------------------------------------------- lost writes


@on_return(read_for_io)
def io_has_the_data(frame: Frame) -> None:
    """What the device has read gets to the disk."""
    frame.newer_than_disk = False


@on_entry(free_frozen_pages)
def always_written_before_freed(folio: Folio) -> None:
    """A page is freed only when the disk has its data."""
    frame = at(Frame, index_of(folio))
    if frame.newer_than_disk:
        flag("lost_write", page=index_of(folio))
    frame.freed = True


@ghost
def always_writes_survive(folio: Folio) -> None:
    """At quiescence a page newer than the disk is dirty, under writeback, or mapped by a dirty entry."""
    if at(Frame, index_of(folio)).newer_than_disk and not folio.PG_dirty and not folio.PG_writeback:
        for mm in pool(mm_struct):
            for addr in range(NR_PAGES):
                pte = entry_of(mm, addr)
                if pte.present and pte.dirty and pte.pfn == index_of(folio):
                    return
        flag("lost_write", page=index_of(folio))


# ------------------------------------------------------------------------------------------- at quiescence


@ghost
def always_counts_right(folio: Folio) -> None:
    """At quiescence the map count is the number of entries, and the references are theirs and the page cache's."""
    count: u4 = 0
    for mm in pool(mm_struct):
        count += entries_of(mm, folio)
    if folio._mapcount != count:
        flag("accounting", page=index_of(folio), mapcount=folio._mapcount, entries=count)
    if folio.mapping is not None and folio._refcount != count + 1:
        flag("accounting", page=index_of(folio), refcount=folio._refcount, entries=count)


@ghost
def always_mm_consistent(mm: mm_struct) -> None:
    """At quiescence an mm's counters are right, its entries lie in VMAs, and what may be written is known as dirty."""
    count: u4 = 0
    for addr in range(NR_PAGES):
        pte = entry_of(mm, addr)
        if pte.present:
            count += 1
            vma = mm.mm_mt[addr]
            if vma is None:
                flag("accounting", addr=addr, mapped_without_vma=True)
            elif vma_wants_writenotify(vma):
                folio = at(Folio, pte.pfn)
                if (pte.rw or pte.dirty) and not folio.PG_dirty:
                    flag("dirty_tracking", page=pte.pfn, addr=addr)
    if mm.rss_stat != count:
        flag("accounting", mm=index_of(mm), rss=mm.rss_stat, entries=count)
    if mm.tlb_flush_pending != 0:
        flag("accounting", mm=index_of(mm), tlb_flush_pending=mm.tlb_flush_pending)


@ghost
def always_rmap_complete(vma: vm_area_struct) -> None:
    """At quiescence the VMAs in a file's rmap are those that are mapped."""
    if vma.vm_file is not None:
        linked = vma.vm_file.i_mmap & (1 << index_of(vma)) != 0
        if linked != (vma.vm_mm.mm_mt[vma.vm_start] == vma):
            flag("accounting", vma=index_of(vma), in_rmap=linked)


@ghost
def always_table_owned(table: ptdesc) -> None:
    """At quiescence a table that is allocated was freed by RCU or is hooked up, once; one that was freed is not."""
    hooked: u4 = 0
    for slot in pool(pmd_p):
        if slot.pmd.present and slot.pmd.pfn == index_of(table):
            hooked += 1
    live = table.__page_refcount and not at(Table, index_of(table)).retired
    if hooked != (1 if live else 0):
        flag("accounting", table=index_of(table), hooked=hooked)


@ghost
def always_at_quiescence() -> None:
    """What must hold when all is done."""
    for folio in pool(Folio):
        always_writes_survive(folio)
    for folio in pool(Folio):
        always_counts_right(folio)
    for mm in pool(mm_struct):
        always_mm_consistent(mm)
    for vma in pool(vm_area_struct):
        always_rmap_complete(vma)
    for table in pool(ptdesc):
        always_table_owned(table)


# ---------------------------------------------------------------------------------------------- situations


@on_return(page_fault)
def sometimes_page_fault(result: u3) -> None:
    """A load or a store faults."""
    if result & 2 != 0:
        reach("store_faults")
    else:
        reach("load_faults")


@on_entry(fill)
def sometimes_speculative_fill(speculative: bool) -> None:
    """The walker fills a TLB without an access that needs it."""
    if speculative:
        reach("speculative_fill")


@on_return(fix_spurious_fault)
def sometimes_spurious_fault(vmf: vm_fault) -> None:
    """A fault finds an entry that allows the access."""
    reach("spurious_fault")


@on_return(folio_mkclean)
def sometimes_mkclean(folio: Folio, result: u4) -> None:
    """Writeback cleans entries, or finds the folio unmapped."""
    if result != 0:
        reach("writeback_cleans_pte")
    elif folio._mapcount == 0:
        reach("writeback_skips_unmapped_folio")


@on_entry(folio_wait_writeback)
def sometimes_writeback_waits(folio: Folio) -> None:
    """Somebody waits for the disk."""
    if folio.PG_writeback:
        reach("writeback_waits")


@on_entry(tlb_flush_rmaps)
def sometimes_delayed_rmap(tlb: mmu_gather) -> None:
    """A flush under the PTL has just been done, and delayed rmaps are removed."""
    reach("flush_under_ptl")
    if tlb.delayed_rmap:
        reach("delayed_rmap")


@on_return(__tlb_remove_folio_pages)
def sometimes_gather_full(tlb: mmu_gather, delay_rmap: bool, result: bool) -> None:
    """A gather is full, and perhaps with the page whose rmap is delayed."""
    if result:
        reach("gather_full")
        if delay_rmap:
            reach("gather_full_with_delayed_rmap")
    if tlb.active != 0:
        reach("gather_second_batch")


@on_return(interrupt_flush)
def sometimes_ipi_flush() -> None:
    """A CPU flushes because another has asked it to."""
    reach("ipi_flush")


@on_return(lock_mm_and_find_vma)
def sometimes_fault_after_unmap(result: vm_area_struct | None) -> None:
    """A fault finds no VMA."""
    if result is None:
        reach("fault_after_unmap")


@on_return(finish_fault)
def sometimes_fault_finds_pte_filled(result: vm_fault_t) -> None:
    """A fault finds that another has mapped the page."""
    if result & VM_FAULT_NOPAGE != 0:
        reach("fault_finds_pte_changed")


@on_return(finish_mkwrite_fault)
def sometimes_fault_finds_pte_changed(result: vm_fault_t) -> None:
    """A write fault finds that the entry has changed while the file system was asked."""
    if result & VM_FAULT_NOPAGE != 0:
        reach("fault_finds_pte_changed")


@on_entry(do_pte_missing)
def sometimes_pte_missing(vmf: vm_fault) -> None:
    """A fault finds an empty entry."""
    reach("pte_missing")


@on_return(pmd_install)
def sometimes_table_installed(result: bool) -> None:
    """A fault hooks up a PTE table, or finds that another has."""
    if result:
        reach("page_table_installed")
    else:
        reach("page_table_install_lost")


@on_entry(tlb_remove_table)
def sometimes_table_freed(tlb: mmu_gather) -> None:
    """munmap frees a PTE table."""
    reach("page_table_freed")


@on_return(mm_tlb_flush_nested)
def sometimes_nested_flush(result: bool) -> None:
    """Two gathers of one mm overlap."""
    if result:
        reach("nested_flush")


@on_entry(wp_page_shared)
def sometimes_wp_page_shared(vmf: vm_fault) -> None:
    """A store faults on a read-only entry of a shared mapping."""
    reach("wp_page_shared")


@on_return(folio_remove_rmap_ptes)
def sometimes_other_mapper_kept(folio: Folio) -> None:
    """An entry goes while others map the same folio."""
    if folio._mapcount != 0:
        reach("rmap_of_other_mapper_kept")
    else:
        reach("last_rmap_removed")


@on_return(folio_add_file_rmap_ptes)
def sometimes_second_mapper(folio: Folio) -> None:
    """A folio that is mapped is mapped once more."""
    if folio._mapcount > 1:
        reach("second_mapper")

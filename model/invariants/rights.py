# SPDX-License-Identifier: GPL-2.0-only
"""What a CPU may use: no access through a translation to a page that was freed, or whose rights were taken.

Flags: access_after_free, stale_rights.
"""

from asm.pgtable import pte_pfn, pte_present
from cpu import fill, forget, read_memory, table_used, write_memory
from entry import entry_lets_store, mm_of_cpu, tlb_holds
from hw.memory import NR_CPUS, NR_PAGES, Addr, CpuNr, Frame, Table
from invariants.observe import entry_of
from linux.mm_types import Folio, ptdesc
from linux.types import Errno
from mm.madvise import MADV_DONTNEED, sys_madvise
from mm.mmap import sys_munmap
from stubs.memory import call_rcu
from user import madvise, munmap

from ptelab.lang import at, cpu_id, flag, ghost, index_of, on_entry, on_return, reach, thread_id, u5, u8


@ghost
class tlb_marks:
    """What the invariants remember of the TLB entry of one CPU for one address, at cpu · NR_PAGES + address.

    `calls`: the threads in a call that takes the entry's rights, which the entry was there before.  `revoked`: such a
    call has returned, and the entry is still there.  `read_only`: the same of a call that takes
    the right to store only.
    """

    calls: u8
    revoked: bool
    read_only: bool


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
    marks.read_only = False


@on_entry(forget)
def unmark_forgotten(addr: Addr) -> None:
    """No TLB entry has no rights to lose."""
    marks = marks_of(cpu_id(), addr)
    marks.calls = 0
    marks.revoked = False
    marks.read_only = False


@ghost
def rights_called_back(addr: Addr, len: Addr) -> None:
    """A call begins that takes the rights to a range from every CPU that has the caller's mm."""
    for cpu in range(NR_CPUS):
        if mm_of_cpu(cpu) is not None and mm_of_cpu(cpu) == mm_of_cpu(cpu_id()):
            for a in range(NR_PAGES):
                if addr <= a < addr + len and tlb_holds(cpu, a):
                    marks_of(cpu, a).calls = marks_of(cpu, a).calls | (1 << thread_id())


@ghost
def rights_gone(addr: Addr, len: Addr, took: bool, all: bool) -> None:
    """The call returns.  If it took rights, what was there before must not be used; with `all` nothing there now."""
    for cpu in range(NR_CPUS):
        if mm_of_cpu(cpu) is not None and mm_of_cpu(cpu) == mm_of_cpu(cpu_id()):
            for a in range(NR_PAGES):
                if addr <= a < addr + len and tlb_holds(cpu, a):
                    marks = marks_of(cpu, a)
                    if took and (all or marks.calls & (1 << thread_id()) != 0):
                        marks.revoked = True
                    if marks.calls & (1 << thread_id()) != 0:
                        marks.calls = marks.calls - (1 << thread_id())


@on_entry(sys_munmap)
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
                if pte_present(entry_of(mm, a)):
                    flag("accounting", addr=a, mapped_after_munmap=True)


@on_entry(sys_madvise)
def madvise_begins(start: Addr, len_in: Addr, behavior: u5) -> None:
    """MADV_DONTNEED takes all rights to its range that were there when it got into the kernel."""
    if behavior == MADV_DONTNEED:
        rights_called_back(start, len_in)


@on_return(madvise)
def madvise_returns(addr: Addr, len: Addr, advice: u5, result: Errno) -> None:
    """After MADV_DONTNEED what was there before is gone, unless the call was refused."""
    if advice == MADV_DONTNEED:
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
    if marks_of(cpu_id(), addr).read_only:
        flag("stale_rights", page=index_of(frame), addr=addr, cpu=cpu_id())
    if at(Folio, index_of(frame)).mapping is not None:
        frame.newer_than_disk = True
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        pte = entry_of(mm, addr)
        if not (entry_lets_store(pte) and pte_pfn(pte) == index_of(frame)):
            reach("store_without_pte_access")


@on_return(table_used)
def always_walk_live_tables(table: Table, addr: Addr) -> None:
    """The hardware reads and writes no page-table page that was freed."""
    if table.retired:
        flag("access_after_free", table=index_of(table), addr=addr, cpu=cpu_id())


@on_entry(call_rcu)
def table_retires(table: ptdesc) -> None:
    """A page-table page is free for the hardware as soon as it is handed to RCU, which happens once."""
    if at(Table, index_of(table)).retired:
        flag("accounting", table=index_of(table), freed_twice=True)
    at(Table, index_of(table)).retired = True

# SPDX-License-Identifier: GPL-2.0-only
"""What the columns of a litmus test may do: loads and stores, system calls, and what kernel threads do."""

from asm.current import get_current
from cpu import load, store
from driver import bo_destroy, vmw_bo_dirty_scan, vmw_bo_dirty_transfer, vmw_bo_dirty_unmap
from entry import fault_entry
from filesystem import write_folio
from fs.proc.task_mmu import CLEAR_REFS_ALL, CLEAR_REFS_SOFT_DIRTY, clear_refs_write, do_pagemap_scan
from fs.userfaultfd import userfaultfd_register, userfaultfd_writeprotect
from hw.memory import Addr, Frame, Value
from kernel.exit import exit_mm
from kernel.sched.core import context_switch, context_switch_to_kernel
from linux.errno import EFAULT
from linux.fs import address_space
from linux.memcontrol import mem_cgroup
from linux.mm import folio_pfn, folio_put, folio_try_get
from linux.mm_types import Folio, mm_struct
from linux.mmap_lock import mmap_read_lock, mmap_read_unlock
from linux.page_flags import folio_test_clear_lru
from linux.types import FILE_PAGES, Errno, pgoff_t
from memcg_v1 import mem_cgroup_move_account
from mm.filemap import filemap_get_entry
from mm.gup import get_user_pages_fast, pin_user_pages_fast, unpin_user_page, unpin_user_page_dirty_lock
from mm.khugepaged import collapse_file, khugepaged_scan_mm_slot
from mm.ksm import ksm_do_scan
from mm.madvise import sys_madvise
from mm.mapping_dirty_helpers import wp_shared_mapping_range
from mm.memcontrol_v1 import mem_cgroup_resize_max
from mm.mempolicy import change_prot_numa
from mm.mincore import sys_mincore
from mm.mmap import dup_mmap, find_vma, sys_munmap
from mm.mprotect import sys_mprotect
from mm.mremap import sys_mremap
from mm.rmap import CONTENDED, folio_referenced
from mm.truncate import truncate_setsize
from mm.vmscan import folio_list, reclaim_pages

from ptelab.lang import Ghost, at, choose, index_of, new, struct, thread_id, u3, u4, u5, u8, wait_until


def user_load(addr: Addr) -> tuple[Value, bool]:
    """Load from an address until it succeeds or the task gets a signal: the value, and whether it was a signal."""
    while True:
        value, error = load(addr)
        if error == 0:
            return value, False
        if fault_entry(error, addr):
            return 0, True


def user_store(addr: Addr, value: Value) -> bool:
    """Store to an address until it succeeds or the task gets a signal; whether it was a signal."""
    while True:
        error = store(addr, value)
        if error == 0:
            return False
        if fault_entry(error, addr):
            return True


def munmap(addr: Addr, len: Addr) -> Errno:
    """munmap(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_munmap(addr, len)


def madvise(addr: Addr, len: Addr, advice: u5) -> Errno:
    """madvise(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_madvise(addr, len, advice)


def mincore(addr: Addr, len: Addr) -> u8:
    """mincore(2): the vector, a bit for each page.  The thread starts here, not within the kernel."""
    choose(1)
    return sys_mincore(addr, len)


def exit() -> None:
    """exit(2): the thread ends; all that is mapped goes with the last one of a process."""
    choose(1)
    exit_mm()


def switch_to(next: mm_struct) -> None:
    """Let this CPU run another process: the column goes on as a task of that mm.  The thread starts here."""
    choose(1)
    context_switch(next)


def idle() -> None:
    """Let this CPU run a kernel thread, until the column switches to an mm.  The thread starts here."""
    choose(1)
    context_switch_to_kernel()


@struct
class Device:
    """What the device of a thread has of user memory.  Element i is of thread i.

    For the invariants: `pinning`, from when a pin of `at` begins until it is dropped; `given_up`, a call has taken the
    page from the address space since.
    """

    page: Folio | None
    pinned: bool
    addr: Addr
    pinning: Ghost[bool]
    at: Ghost[Addr]
    given_up: Ghost[bool]


@struct
class Child:
    """Whether an mm has been made by fork.  Element i is of mm i."""

    forked: bool


def fork(mm: mm_struct) -> Errno:
    """fork(2), with the mm that the child will have.  Its columns begin when this is done."""
    choose(1)
    ret = dup_mmap(mm, get_current().mm)
    if ret == 0:
        at(Child, index_of(mm)).forked = True
    return ret


def wait_for_fork(mm: mm_struct) -> None:
    """A column of a child begins."""
    wait_until(at(Child, index_of(mm)).forked)


def pin_user_pages(addr: Addr, gup_flags: u4) -> Errno:
    """Pin the page at an address for a device, as drivers do."""
    choose(1)
    page = pin_user_pages_fast(addr, gup_flags)
    if page is None:
        return EFAULT
    device = at(Device, thread_id())
    device.page = page
    device.pinned = True
    device.addr = addr
    return 0


def get_user_pages(addr: Addr, gup_flags: u4) -> Errno:
    """Take a reference to the page at an address, as vmsplice and old drivers do."""
    choose(1)
    page = get_user_pages_fast(addr, gup_flags)
    if page is None:
        return EFAULT
    device = at(Device, thread_id())
    device.page = page
    device.addr = addr
    return 0


def vmsplice(addr: Addr) -> Errno:
    """vmsplice(2) of a page into a pipe, which takes a reference to the page."""
    return get_user_pages(addr, 0)


def read_pipe() -> Value:
    """read(2) of the page that was spliced into the pipe, which gives the reference back."""
    value = device_read()
    put_user_pages()
    return value


def device_read() -> Value:
    """The device reads the page that its thread has pinned or got a reference to."""
    page = at(Device, thread_id()).page
    assert page is not None
    return dma_read(at(Frame, folio_pfn(page)))


def device_write(value: Value) -> None:
    """The device writes the page that its thread has pinned or got a reference to."""
    page = at(Device, thread_id()).page
    assert page is not None
    dma_write(at(Frame, folio_pfn(page)), value)


def dma_read(frame: Frame) -> Value:
    """Read memory without an MMU."""
    return frame.data


def dma_write(frame: Frame, value: Value) -> None:
    """Write memory without an MMU."""
    frame.data = value


def put_user_pages() -> None:
    """Give back what pin_user_pages or get_user_pages gave."""
    device = at(Device, thread_id())
    page = device.page
    assert page is not None
    pinned = device.pinned
    device.page = None
    device.pinned = False
    if pinned:
        unpin_user_page(page)
    else:
        folio_put(page)


def put_user_pages_dirty() -> None:
    """Give back what pin_user_pages gave, and say that the device has written it."""
    device = at(Device, thread_id())
    page = device.page
    assert page is not None and device.pinned
    device.page = None
    device.pinned = False
    unpin_user_page_dirty_lock(page)


def mprotect(addr: Addr, len: Addr, prot: u3) -> Errno:
    """mprotect(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_mprotect(addr, len, prot)


def mremap(addr: Addr, len: Addr, size: Addr, flags: u3, new_addr: Addr) -> Errno:
    """mremap(2).  The thread starts here, not within the kernel."""
    choose(1)
    return sys_mremap(addr, len, size, flags, new_addr)


def writeback(mapping: address_space, index: pgoff_t) -> None:
    """Write one page of a file back if it is dirty, and wait until it is on disk."""
    write_folio(mapping, index)


def age(mapping: address_space, index: pgoff_t) -> u4:
    """What reclaim does to a page that it may take: make its entries old; how many mappings have used it."""
    folio = filemap_get_entry(mapping, index)
    assert folio is not None
    referenced, vm_flags = folio_referenced(folio, False)
    folio_put(folio)
    return 1 if referenced == CONTENDED else referenced


def reclaim(mapping: address_space, index: pgoff_t, nr: pgoff_t) -> None:
    """Reclaim takes the pages of a range of a file that are clean and not in use, whether or not they were accessed.

    They are on no lists: `squeeze` is for tests with LRU_LISTS.
    """
    folios = new(folio_list)
    for i in range(FILE_PAGES):
        if index <= i and i < index + nr:
            folios.folio[i] = filemap_get_entry(mapping, i)
    reclaim_pages(folios)


def squeeze(memcg: mem_cgroup, max: u4) -> Errno:
    """Limit how many pages a memory cgroup may have, as memory.limit_in_bytes does; reclaim frees what is above.

    It takes what it finds on the lists of pages by age, so the test needs LRU_LISTS.
    """
    return mem_cgroup_resize_max(memcg, max)


def reclaim_page(folio: Folio) -> None:
    """Reclaim takes a page if that is possible, an anonymous one to swap, whether or not it was accessed.

    It may have been freed before reclaim comes by.
    """
    if not folio_try_get(folio):
        return
    if not folio_test_clear_lru(folio):
        folio_put(folio)
        return
    folios = new(folio_list)
    folios.folio[0] = folio
    reclaim_pages(folios)


def truncate(mapping: address_space, length: pgoff_t) -> None:
    """What a file system does for truncate(2) or ftruncate(2), with a length in pages."""
    truncate_setsize(mapping, length)


def clear_refs() -> None:
    """Write 4 to /proc/self/clear_refs.  The thread starts here, not within the kernel."""
    choose(1)
    clear_refs_write(get_current().mm, CLEAR_REFS_SOFT_DIRTY)


def clear_refs_accessed() -> None:
    """Write 1 to /proc/self/clear_refs: accesses are forgotten.  The thread starts here, not within the kernel.

    The test needs LRU_LISTS, without which nobody asks.
    """
    choose(1)
    clear_refs_write(get_current().mm, CLEAR_REFS_ALL)


UFFDIO_WRITEPROTECT_MODE_WP = 1
PM_SCAN_WP_MATCHING = 1


def pagemap_scan(addr: Addr, len: Addr, flags: u3) -> u8:
    """ioctl(2) PAGEMAP_SCAN for PAGE_IS_WRITTEN: a bit for each page.  The thread starts here."""
    choose(1)
    return do_pagemap_scan(get_current().mm, addr, addr + len, flags == PM_SCAN_WP_MATCHING)


def uffdio_register(addr: Addr, len: Addr) -> Errno:
    """ioctl(2) UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_WP.  The thread starts here, not within the kernel."""
    choose(1)
    return userfaultfd_register(get_current().mm, addr, len)


def uffdio_writeprotect(addr: Addr, len: Addr, mode: u3) -> Errno:
    """ioctl(2) UFFDIO_WRITEPROTECT.  The thread starts here, not within the kernel."""
    choose(1)
    return userfaultfd_writeprotect(get_current().mm, addr, len, mode == UFFDIO_WRITEPROTECT_MODE_WP)


def dirty_scan(mapping: address_space) -> None:
    """The driver finds out which pages of a buffer were written."""
    vmw_bo_dirty_scan(mapping)


def dirty_transfer(mapping: address_space) -> None:
    """The driver finds out which pages of a buffer were written, and gives them to its device."""
    vmw_bo_dirty_transfer(mapping)


def ksm_merge(mm: mm_struct, page: u4) -> None:
    """ksmd comes by a page of a process, and merges it with what it knows already.  The thread starts here."""
    choose(1)
    ksm_do_scan(mm, page)


def move_charge(mapping: address_space, index: pgoff_t, to: mem_cgroup) -> None:
    """A page of a file is charged to another cgroup, as kernels before 6.12 did when a task moved."""
    folio = mapping.i_pages[index]
    if folio is not None:
        mem_cgroup_move_account(folio, to)


def dirty_unmap(mapping: address_space) -> None:
    """The driver takes a buffer from all that map it, and records what was written."""
    vmw_bo_dirty_unmap(mapping)


def driver_free(mapping: address_space) -> None:
    """The driver unmaps a buffer and frees it."""
    bo_destroy(mapping)


def write_protect(mapping: address_space, first_index: pgoff_t, nr: pgoff_t) -> u4:
    """A driver lets the next store to each page of a range fault: how many entries lost the right to store."""
    choose(1)
    return wp_shared_mapping_range(mapping, first_index, nr)


def khugepaged(mm: mm_struct, page: u4) -> None:
    """khugepaged comes by the page table of a page of a process, and makes a huge page of it if it can."""
    choose(1)
    khugepaged_scan_mm_slot(mm, page)


def khugepaged_file(mapping: address_space, index: pgoff_t) -> None:
    """khugepaged makes a huge page of a page of a file, which nothing maps then, and takes the page tables away."""
    choose(1)
    collapse_file(mapping, index)


def numa_scan(addr: Addr, len: Addr) -> None:
    """What task_numa_work does to a range when a task returns to user mode."""
    choose(1)
    mm = get_current().mm
    mmap_read_lock(mm)
    vma = find_vma(mm, addr)
    if vma is not None and vma.vm_start <= addr and addr + len <= vma.vm_end:
        change_prot_numa(vma, addr, addr + len)
    mmap_read_unlock(mm)

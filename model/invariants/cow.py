# SPDX-License-Identifier: GPL-2.0-only
"""Private memory: what an address space reads there is what it wrote there, and what its devices did.

Flags: cow_isolation, pin_coherency.  For every page of a private mapping the invariants keep what its mm has to see:
the last store by the mm or by a device that the mm has let pin the page, what fork gave it, zero to begin with.  A load
of anything else has seen another's store, or has missed one of its own; so does a CPU that reads an old page after
another has stored to the new one.
"""

from asm.pgtable import pte_none, pte_pfn, pte_present
from cpu import read_memory, write_memory
from entry import mm_of_cpu
from hw.memory import NR_PAGES, Addr, Frame, Value
from invariants.observe import content_of, entry_of, slot_of
from linux.huge_mm import HPAGE_PMD_NR
from linux.mm import VM_SHARED
from linux.mm_types import Folio, mm_struct, vm_area_struct
from linux.mman import MREMAP_DONTUNMAP
from linux.sched import task_struct
from linux.types import Errno
from mm.gup import gup_fast, pin_user_pages_fast
from mm.ksm import break_ksm, replace_page
from mm.madvise import MADV_DONTNEED, MADV_FREE, sys_madvise
from mm.memory import (
    copy_present_page,
    do_anonymous_page,
    do_cow_fault,
    wp_can_reuse_anon_folio,
    wp_page_copy,
    wp_page_reuse,
)
from mm.mmap import sys_munmap
from mm.mremap import do_mremap
from mm.rmap import discard_lazyfree
from mm.vmscan import remove_swap_mapping
from setup import setup_anon_huge, setup_anon_pte, setup_swap_pte, setup_vma
from stubs.memory import free_frozen_pages
from user import Device, dma_read, dma_write, fork, madvise, munmap, put_user_pages, put_user_pages_dirty

from ptelab.lang import at, cpu_id, flag, ghost, index_of, on_entry, on_return, pool, reach, thread_id, u3, u4, u5


@ghost
class private_view:
    """What an mm has to see of a page, at mm · NR_PAGES + address.  `known`: there is only one right value.

    `forgettable`: MADV_FREE lets it become zero, too.  `by_device`: a device has stored it, and nobody has said that
    the page is dirty, so that reclaim may drop it.
    `zaps`: how many calls that take the page away are under way; till they return, nothing is known.
    """

    known: bool
    forgettable: bool
    by_device: bool
    value: Value
    zaps: u4


@ghost
def view_of(mm: mm_struct, addr: Addr) -> private_view:
    """What an mm has to see of a page."""
    return at(private_view, index_of(mm) * NR_PAGES + addr)


@ghost
def is_private(mm: mm_struct, addr: Addr) -> bool:
    """Whether a page belongs to a private mapping."""
    vma = mm.mm_mt[addr]
    return vma is not None and vma.vm_flags & VM_SHARED == 0


@ghost
def stored(mm: mm_struct, addr: Addr, value: Value) -> None:
    """An mm, or a device for it, has stored to a private page."""
    known = view_of(mm, addr).zaps == 0
    view_of(mm, addr).known = known
    view_of(mm, addr).forgettable = False
    view_of(mm, addr).by_device = False
    view_of(mm, addr).value = value if known else 0


@ghost
def may_see(view: private_view, value: Value) -> bool:
    """Whether a value is right."""
    return not view.known or view.value == value or view.forgettable and value == 0


@on_return(write_memory)
def private_store(addr: Addr, value: Value) -> None:
    """A store to a private page is what the mm sees from now on."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None and is_private(mm, addr):
        stored(mm, addr, value)


@on_return(read_memory)
def always_own_value(addr: Addr, frame: Frame, result: Value) -> None:
    """A load from a private page gives what the mm has to see."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None and is_private(mm, addr):
        view = view_of(mm, addr)
        if not may_see(view, result):
            flag("cow_isolation", page=index_of(frame), addr=addr, cpu=cpu_id(), read=result, expected=view.value)


@on_return(dma_write)
def device_stored(frame: Frame, value: Value) -> None:
    """What a device stores is what the mm sees from now on, if an entry maps the page, or as long as it is pinned.

    Without a pin, or when a call has taken the page since, the mm may have another page by now.  If its entry is empty,
    or names a slot in swap, that is not known.
    """
    device = at(Device, thread_id())
    mm = mm_of_cpu(cpu_id())
    if mm is not None and is_private(mm, device.addr):
        pte = entry_of(mm, device.addr)
        mapped = pte_present(pte) and pte_pfn(pte) == index_of(frame)
        if mapped or device.pinned and not device.given_up:
            stored(mm, device.addr, value)
            view_of(mm, device.addr).by_device = True
        elif not pte_present(pte):
            forget_view(view_of(mm, device.addr))
    if frame.freed:
        flag("access_after_free", page=index_of(frame), device=thread_id())


@on_return(dma_read)
def always_pins_coherent(frame: Frame, result: Value) -> None:
    """A device reads from a page that it has pinned what the mm has to see."""
    device = at(Device, thread_id())
    mm = mm_of_cpu(cpu_id())
    if device.pinned and not device.given_up and mm is not None and is_private(mm, device.addr):
        view = view_of(mm, device.addr)
        if not may_see(view, result):
            flag("pin_coherency", page=index_of(frame), read=result, expected=view.value)
    if frame.freed:
        flag("access_after_free", page=index_of(frame), device=thread_id())


@on_entry(pin_user_pages_fast)
def pin_begins(start: Addr) -> None:
    """What is pinned from now on stays the mm's, unless a call takes it."""
    device = at(Device, thread_id())
    mm = mm_of_cpu(cpu_id())
    device.pinning = True
    device.at = start
    device.given_up = mm is not None and view_of(mm, start).zaps != 0


@ghost
def pin_ends() -> None:
    """Nothing is known of what a thread's device has."""
    device = at(Device, thread_id())
    device.pinning = False
    device.at = 0
    device.given_up = False


@on_return(pin_user_pages_fast)
def pin_fails(result: Folio | None) -> None:
    """There may be nothing to pin."""
    if result is None:
        pin_ends()


@on_return(put_user_pages)
def pin_dropped() -> None:
    """A pin is dropped, and what the device has stored may be dropped with the page."""
    pin_ends()


@on_return(put_user_pages_dirty)
def pin_dropped_dirty() -> None:
    """A pin is dropped, after the page was said to be dirty."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        view_of(mm, at(Device, thread_id()).addr).by_device = False
    pin_ends()


@on_return(discard_lazyfree)
def clean_page_discarded(vma: vm_area_struct, address: Addr, result: bool) -> None:
    """Reclaim may drop what a device has stored to a page without saying so."""
    if result and view_of(vma.vm_mm, address).by_device:
        forget_view(view_of(vma.vm_mm, address))


@on_return(remove_swap_mapping)
def clean_page_swapped_out(result: bool) -> None:
    """Reclaim may keep what swap has instead of what a device has stored without saying so."""
    if result:
        for mm in pool(mm_struct):
            for addr in range(NR_PAGES):
                if view_of(mm, addr).by_device and slot_of(entry_of(mm, addr)) != 0:
                    forget_view(view_of(mm, addr))


@on_return(fork)
def child_sees(mm: mm_struct, result: Errno) -> None:
    """A child sees what its entries map when fork is done, and zeroes where anonymous memory was never touched.

    An entry that is empty may be so because reclaim has it in its hands; then it sees what the parent sees.
    """
    if result == 0:
        for addr in range(NR_PAGES):
            vma = mm.mm_mt[addr]
            if vma is not None and vma.vm_flags & VM_SHARED == 0:
                pte = entry_of(mm, addr)
                view = view_of(mm, addr)
                view.known = not pte_none(pte) or vma.vm_file is None
                view.forgettable = pte_present(pte) and at(Folio, pte_pfn(pte)).PG_lazyfree
                view.value = content_of(mm, addr)
                parent = mm_of_cpu(cpu_id())
                if pte_none(pte) and parent is not None and view_of(parent, addr).known:
                    view.forgettable = view_of(parent, addr).forgettable
                    view.value = view_of(parent, addr).value


@on_return(setup_vma)
def untouched_is_zero(vma: vm_area_struct) -> None:
    """Anonymous memory is zero to begin with."""
    for addr in range(NR_PAGES):
        if vma.vm_start <= addr and addr < vma.vm_end and vma.vm_file is None and vma.vm_flags & VM_SHARED == 0:
            view_of(vma.vm_mm, addr).known = True


@on_return(setup_anon_pte)
def mapped_is_seen(vma: vm_area_struct, addr: Addr, folio: Folio) -> None:
    """A page that is mapped at the start is what the mm sees."""
    view = view_of(vma.vm_mm, addr)
    view.known = True
    view.value = at(Frame, index_of(folio)).data


@on_return(setup_swap_pte)
def swapped_is_seen(vma: vm_area_struct, addr: Addr) -> None:
    """A page that is in swap at the start is what the mm sees."""
    view = view_of(vma.vm_mm, addr)
    view.known = True
    view.value = content_of(vma.vm_mm, addr)


@on_return(setup_anon_huge)
def huge_is_seen(vma: vm_area_struct, addr: Addr, folio: Folio) -> None:
    """A huge page that is mapped at the start is what the mm sees."""
    for i in range(HPAGE_PMD_NR):
        view = view_of(vma.vm_mm, addr + i)
        view.known = True
        view.value = at(Frame, index_of(folio) + i).data


@ghost
def zap_begins(addr: Addr, len: Addr) -> None:
    """Private pages are about to be taken away: what loads see is not known until that is done."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len:
                forget_view(view_of(mm, a))
                view_of(mm, a).zaps = view_of(mm, a).zaps + 1
        for device in pool(Device):
            if device.pinning and addr <= device.at < addr + len and at(task_struct, index_of(device)).mm == mm:
                device.given_up = True


@ghost
def zap_ends(addr: Addr, len: Addr) -> None:
    """Private pages were taken away."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len:
                forget_view(view_of(mm, a))
                view_of(mm, a).zaps = view_of(mm, a).zaps - 1


@ghost
def forget_view(view: private_view) -> None:
    """Nothing is known of a page."""
    view.known = False
    view.forgettable = False
    view.by_device = False
    view.value = 0


@on_entry(sys_munmap)
def munmap_takes_pages(addr: Addr, len: Addr) -> None:
    """munmap takes pages away."""
    zap_begins(addr, len)


@on_return(munmap)
def munmap_took_pages(addr: Addr, len: Addr) -> None:
    """munmap took pages away."""
    zap_ends(addr, len)


@on_entry(sys_madvise)
def madvise_takes_pages(start: Addr, len_in: Addr, behavior: u5) -> None:
    """MADV_DONTNEED takes pages away; MADV_FREE does so, or not, until they are stored to after it."""
    mm = mm_of_cpu(cpu_id())
    if behavior == MADV_DONTNEED:
        zap_begins(start, len_in)
    elif behavior == MADV_FREE and mm is not None:
        for a in range(NR_PAGES):
            if start <= a < start + len_in:
                view_of(mm, a).zaps = view_of(mm, a).zaps + 1
                if view_of(mm, a).known:
                    view_of(mm, a).forgettable = True


@on_return(madvise)
def madvise_took_pages(addr: Addr, len: Addr, advice: u5) -> None:
    """madvise took pages away, or may do so later."""
    mm = mm_of_cpu(cpu_id())
    if advice == MADV_DONTNEED:
        zap_ends(addr, len)
    elif advice == MADV_FREE and mm is not None:
        for a in range(NR_PAGES):
            if addr <= a < addr + len:
                view_of(mm, a).zaps = view_of(mm, a).zaps - 1


@on_entry(do_mremap)
def mremap_takes_pages(addr: Addr, old_len: Addr, flags: u3, new_addr: Addr) -> None:
    """mremap takes pages away from an address that stays mapped, and brings them to another."""
    if flags & MREMAP_DONTUNMAP != 0:
        zap_begins(addr, old_len)
        zap_begins(new_addr, old_len)


@on_return(do_mremap)
def mremap_took_pages(addr: Addr, old_len: Addr, flags: u3, new_addr: Addr) -> None:
    """mremap took pages away."""
    if flags & MREMAP_DONTUNMAP != 0:
        zap_ends(addr, old_len)
        zap_ends(new_addr, old_len)


# ---------------------------------------------------------------------------------------------- situations


@on_entry(wp_page_copy)
def sometimes_cow_copies() -> None:
    """A store to a shared page makes a copy."""
    reach("cow_copies")


@on_return(wp_can_reuse_anon_folio)
def sometimes_cow_reuses(result: bool) -> None:
    """A store to a page that was shared finds itself the last owner, or not."""
    if result:
        reach("cow_reuses")
    else:
        reach("cow_cannot_reuse")


@on_entry(wp_page_reuse)
def sometimes_reuse_exclusive(folio: Folio | None) -> None:
    """A store to a read-only entry of an exclusive page makes it writable."""
    if folio is not None and folio.FOLIO_MAPPING_ANON:
        reach("anon_made_writable")


@on_entry(do_anonymous_page)
def sometimes_anonymous_fault() -> None:
    """Anonymous memory is touched for the first time."""
    reach("anonymous_fault")


@on_entry(do_cow_fault)
def sometimes_cow_fault() -> None:
    """A store to a private mapping of a file finds no entry."""
    reach("cow_fault")


@on_return(copy_present_page)
def sometimes_fork_copies(result: bool) -> None:
    """fork copies a page that may be pinned."""
    if result:
        reach("fork_copies_pinned")


@on_return(gup_fast)
def sometimes_gup_fast(result: Folio | None) -> None:
    """A page is grabbed without a lock, or that is given up."""
    if result is not None:
        reach("gup_fast")
    else:
        reach("gup_fast_gives_up")


@on_entry(break_ksm)
def sometimes_unmerges() -> None:
    """A process wants pages of its own instead of KSM's."""
    reach("ksm_unmerges")


@on_return(replace_page)
def sometimes_ksm_merges(result: Errno) -> None:
    """KSM maps one of its pages instead of another with the same data, or finds that the entry has changed."""
    if result == 0:
        reach("ksm_merges")
    else:
        reach("ksm_entry_changed")


@on_entry(free_frozen_pages)
def sometimes_anon_freed(folio: Folio) -> None:
    """An anonymous page is freed."""
    if folio.FOLIO_MAPPING_ANON:
        reach("anon_page_freed")

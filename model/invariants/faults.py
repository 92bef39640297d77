# SPDX-License-Identifier: GPL-2.0-only
"""A fault gives what was asked for: the access that is tried again gets through the entry that the fault has left.

Flag: fault_in_vain.  What is asked is whether the entry, as the fault wrote it, lets the access through on the CPU
that took the fault: present, young where only software makes it so, writable for a store, and dirty where only
software notes stores.  A fault that writes none has given way to another's, or has found that there was nothing to do.
"""

from asm.pgtable import pmd_leaf, pmd_pte, pmdp_set_access_flags, ptep_set_access_flags
from asm.pgtable_types import PTRS_PER_PTE, pmd_p, pmd_t, pte_p, pte_t
from entry import entry_serves
from fs.userfaultfd import handle_userfault
from hw.memory import Addr
from linux.mm import vm_fault
from linux.mm_types import FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_NOPAGE, vm_fault_t
from linux.pgtable import pmd_write, set_pmd_at, set_pte_at
from mm.huge_memory import do_huge_pmd_numa_page
from mm.memory import (
    __handle_mm_fault,
    do_wp_page,
    handle_pte_fault,
    pte_marker_handle_uffd_wp,
    wp_page_copy,
    wp_page_shared,
    wp_pfn_shared,
)  # fmt: skip

from ptelab.lang import flag, ghost, on_entry, on_return, this_thread, u8


@ghost
class fault_view:
    """The fault that a thread handles.  `vain`: the entry that was written last does not let the access through."""

    handled: bool
    write: bool
    addr: Addr
    vain: bool


@on_entry(__handle_mm_fault)
def fault_begins(address: Addr, flags: u8) -> None:
    """What was asked for."""
    view = this_thread(fault_view)
    view.handled = True
    view.write = flags & FAULT_FLAG_WRITE != 0
    view.addr = address


@on_return(set_pte_at)
def fault_writes_entry(addr: Addr, pte: pte_t) -> None:
    """An entry is written, perhaps for a fault."""
    view = this_thread(fault_view)
    if view.handled and view.addr == addr:
        view.vain = not entry_serves(pte, view.write)


@on_return(ptep_set_access_flags)
def fault_gives_flags(ptep: pte_p) -> None:
    """An entry is given what it lacks; only faults do that."""
    view = this_thread(fault_view)
    view.vain = not entry_serves(ptep.pte, view.write)


@on_return(set_pmd_at)
def fault_writes_huge_entry(addr: Addr, pmd: pmd_t) -> None:
    """The entry of a huge page is written, perhaps for a fault."""
    view = this_thread(fault_view)
    if view.handled and view.addr // PTRS_PER_PTE == addr // PTRS_PER_PTE and pmd_leaf(pmd):
        view.vain = not entry_serves(pmd_pte(pmd), view.write)


@on_return(pmdp_set_access_flags)
def fault_gives_huge_flags(pmdp: pmd_p) -> None:
    """The entry of a huge page is given what it lacks; only faults do that."""
    view = this_thread(fault_view)
    view.vain = not entry_serves(pmd_pte(pmdp.pmd), view.write)


@on_return(do_huge_pmd_numa_page)
def hint_is_taken(vmf: vm_fault) -> None:
    """A store may need a second fault after a hint where software notes the first."""
    view = this_thread(fault_view)
    view.vain = view.vain and not (view.write and pmd_write(vmf.pmd.pmd))


@on_entry(handle_pte_fault)
def fault_goes_on() -> None:
    """A huge page that was in the way has been split; what is done about the access comes now."""
    this_thread(fault_view).vain = False


@on_entry(do_wp_page)
def store_is_decided() -> None:
    """A page may have been brought from swap; whether it may be stored to is asked now."""
    this_thread(fault_view).vain = False


@on_entry(wp_page_copy)
def store_is_copied() -> None:
    """What asynchronous userfaultfd has changed in the entry is not yet the answer; nor in the next two."""
    this_thread(fault_view).vain = False


@on_entry(wp_page_shared)
def store_is_announced() -> None:
    """The file system is asked."""
    this_thread(fault_view).vain = False


@on_entry(wp_pfn_shared)
def store_is_announced_to_driver() -> None:
    """The driver is asked."""
    this_thread(fault_view).vain = False


@on_entry(handle_userfault)
def fault_is_told() -> None:
    """User space decides on the access."""
    this_thread(fault_view).vain = False


@on_return(pte_marker_handle_uffd_wp)
def store_is_put_off() -> None:
    """What was protected before it was unmapped is mapped protected; the next fault of a store is told."""
    this_thread(fault_view).vain = False


@on_return(__handle_mm_fault)
def always_served(result: vm_fault_t) -> None:
    """A fault that was handled without an error has not been in vain."""
    view = this_thread(fault_view)
    if view.vain and result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE) == 0:
        flag("fault_in_vain", addr=view.addr, store=view.write)
    view.handled = False
    view.write = False
    view.addr = 0
    view.vain = False

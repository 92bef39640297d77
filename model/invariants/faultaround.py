# SPDX-License-Identifier: GPL-2.0-only
"""Situations of fault-around: what a fault maps beside the page that it needs."""

from asm.pgtable import pte_young
from linux.mm import vm_fault
from linux.mm_types import VM_FAULT_NOPAGE, vm_fault_t
from linux.types import Addr
from mm.filemap import filemap_map_pages
from mm.memory import set_pte_range

from ptelab.lang import on_return, reach


@on_return(filemap_map_pages)
def sometimes_fault_around(result: vm_fault_t) -> None:
    """A fault is done by what the page cache has ready, or is not."""
    if result & VM_FAULT_NOPAGE != 0:
        reach("fault_around")
    else:
        reach("fault_around_in_vain")


@on_return(set_pte_range)
def sometimes_prefault(vmf: vm_fault, addr: Addr) -> None:
    """A page is mapped that nobody has asked for."""
    if vmf.address != addr:
        if pte_young(vmf.pte.pte):
            reach("prefaulted_young")
        else:
            reach("prefaulted_old")

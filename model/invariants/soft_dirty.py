# SPDX-License-Identifier: GPL-2.0-only
"""Soft-dirty: what was stored to after clear_refs has returned is known to user space.

Flags: soft_dirty_lost, soft_dirty_kept.
"""

from asm.pgtable import pgtable_supports_soft_dirty, pte_none, pte_present, pte_soft_dirty, pte_swp_soft_dirty
from asm.pgtable_types import pte_p
from cpu import write_memory
from entry import mm_of_cpu
from fs.proc.task_mmu import clear_soft_dirty, pte_is_pinned
from hw.memory import NR_PAGES, Addr
from invariants.observe import entry_of
from linux.mm import VM_SOFTDIRTY
from linux.mm_types import mm_struct, vm_area_struct
from user import clear_refs

from ptelab.lang import at, cpu_id, flag, ghost, index_of, on_return, reach


@ghost
class soft_view:
    """Whether a page was stored to since clear_refs, at mm · NR_PAGES + address.  `cleared`: it was called at all."""

    cleared: bool
    stored: bool


@ghost
def soft_of(mm: mm_struct, addr: Addr) -> soft_view:
    """What is known of the stores to a page."""
    return at(soft_view, index_of(mm) * NR_PAGES + addr)


@on_return(clear_refs)
def stores_are_forgotten() -> None:
    """Stores count from when the call returns; those before may be known or not."""
    if not pgtable_supports_soft_dirty():
        reach("stores_not_noted")
    mm = mm_of_cpu(cpu_id())
    if mm is not None:
        for addr in range(NR_PAGES):
            soft_of(mm, addr).cleared = True
            soft_of(mm, addr).stored = False


@on_return(clear_soft_dirty)
def always_forgotten(vma: vm_area_struct, addr: Addr, pte: pte_p) -> None:
    """An entry that clear_refs has been to is not soft-dirty, unless its page is pinned and it was let alone."""
    entry = pte.pte
    if pte_present(entry) and pte_soft_dirty(entry) and not pte_is_pinned(vma, addr, entry):
        flag("soft_dirty_kept", addr=addr)
    if not pte_present(entry) and not pte_none(entry) and pte_swp_soft_dirty(entry):
        flag("soft_dirty_kept", addr=addr)


@on_return(write_memory)
def store_counts(addr: Addr) -> None:
    """A store after clear_refs has to be known."""
    mm = mm_of_cpu(cpu_id())
    if mm is not None and soft_of(mm, addr).cleared:
        soft_of(mm, addr).stored = True


@ghost
def always_soft_dirty_known(mm: mm_struct) -> None:
    """At quiescence an entry is soft-dirty if its page was stored to; unless the whole VMA is taken to be."""
    if not pgtable_supports_soft_dirty():
        return
    for addr in range(NR_PAGES):
        vma = mm.mm_mt[addr]
        pte = entry_of(mm, addr)
        if soft_of(mm, addr).stored and vma is not None and not pte_none(pte):
            known = pte_soft_dirty(pte) if pte_present(pte) else pte_swp_soft_dirty(pte)
            if vma.vm_flags & VM_SOFTDIRTY == 0 and not known:
                flag("soft_dirty_lost", addr=addr, mm=index_of(mm))

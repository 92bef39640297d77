# SPDX-License-Identifier: GPL-2.0-only
"""What mprotect and its like take and give, and the situations that their tests go through.

Flags: stale_rights.
"""

from asm.pgtable import pte_dirty, pte_write
from asm.pgtable_types import pte_t
from entry import mm_of_cpu, tlb_holds
from hw.memory import NR_CPUS, NR_PAGES, Addr
from invariants.rights import marks_of
from linux.mm import VM_WRITE
from linux.types import Errno
from mm.mprotect import prot_commit_flush_ptes
from user import mprotect

from ptelab.lang import cpu_id, ghost, on_entry, on_return, reach, u3


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

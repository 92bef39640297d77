# SPDX-License-Identifier: GPL-2.0-only
"""What fork leaves in the entries of a child.

Flags: young_for_nothing, copy_not_served.
"""

from asm.pgtable import pte_uffd_wp, pte_young
from asm.pgtable_types import pte_p
from entry import entry_lets_store
from linux.mm import VM_WRITE
from linux.mm_types import vm_area_struct
from mm.memory import __copy_present_ptes, copy_present_page

from ptelab.lang import flag, index_of, on_return


@on_return(__copy_present_ptes)
def always_old_in_child(dst_vma: vm_area_struct, dst_pte: pte_p) -> None:
    """An entry that a child shares with its parent is old: it has used nothing, and reclaim should know."""
    if pte_young(dst_pte.pte):
        flag("young_for_nothing", vma=index_of(dst_vma))


@on_return(copy_present_page)
def always_copy_stored_to(dst_vma: vm_area_struct, dst_pte: pte_p, result: bool) -> None:
    """The copy of a pinned page that a child gets is its own: if the mapping is writable, no store to it faults.

    Unless userfaultfd is to hear of it.
    """
    wanted = result and dst_vma.vm_flags & VM_WRITE != 0 and not pte_uffd_wp(dst_pte.pte)
    if wanted and not entry_lets_store(dst_pte.pte):
        flag("copy_not_served", vma=index_of(dst_vma))

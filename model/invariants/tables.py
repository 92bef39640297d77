# SPDX-License-Identifier: GPL-2.0-only
"""Page tables that are given back: no walk by software still uses one, and how they come to be freed.

Flag: access_after_free.  What RCU frees stays as it is for all who walk without a lock; what is given back at once
does not.  What the hardware may read is judged in `rights`.
"""

from asm.pgtable_types import PTRS_PER_PTE, pte_p
from linux.mm_types import ptdesc
from linux.pgtable import ptep_get
from linux.sched import need_resched
from linux.types import Addr
from mm.memory import zap_empty_pte_table, zap_pte_table_if_empty
from mm.pgtable_generic import pte_unmap_unlock

from ptelab.lang import at, cpu_id, flag, index_of, on_entry, on_return, reach


@on_return(ptep_get)
def always_walk_tables_in_use(ptep: pte_p) -> None:
    """Software reads no entry of a page-table page that was given back."""
    table = at(ptdesc, index_of(ptep) // PTRS_PER_PTE)
    if not table.__page_refcount:
        flag("access_after_free", table=index_of(table), walker=cpu_id())


@on_entry(pte_unmap_unlock)
def always_unlock_tables_in_use(ptl: ptdesc) -> None:
    """Software holds no lock of a page-table page that was given back."""
    if not ptl.__page_refcount:
        flag("access_after_free", table=index_of(ptl), holder=cpu_id())


@on_entry(zap_empty_pte_table)
def sometimes_reclaimed_at_once() -> None:
    """A zap has emptied a whole table, and takes it away before it drops the table's lock."""
    reach("emptied_table_unhooked")


@on_entry(zap_pte_table_if_empty)
def sometimes_reclaimed_later(addr: Addr) -> None:
    """A zap has emptied a whole table, but not in one go, so it has to look again."""
    reach("emptied_table_looked_at_again")


@on_return(need_resched)
def sometimes_given_way(result: bool) -> None:
    """A loop under a lock ends early, as somebody else wants the CPU."""
    if result:
        reach("cpu_given_up")

# SPDX-License-Identifier: GPL-2.0-only
"""What is judged when a run is over."""

from invariants.accounting import (
    always_counts_right,
    always_memcg_right,
    always_mm_consistent,
    always_rmap_complete,
    always_table_owned,
)
from invariants.content import always_writes_survive
from invariants.lru import always_lists_right, always_usage_right
from invariants.mlock import always_locked_right
from invariants.soft_dirty import always_soft_dirty_known
from invariants.swap import always_private_kept, always_slots_right
from invariants.walkers import always_recorded
from linux.fs import address_space
from linux.memcontrol import mem_cgroup
from linux.mm_types import Folio, mm_struct, ptdesc, vm_area_struct

from ptelab.lang import ghost, pool


@ghost
def always_at_quiescence() -> None:
    """What must hold when all is done."""
    for folio in pool(Folio):
        always_writes_survive(folio)
    for folio in pool(Folio):
        always_counts_right(folio)
    for mm in pool(mm_struct):
        always_mm_consistent(mm)
        always_soft_dirty_known(mm)
        always_private_kept(mm)
    always_slots_right()
    for vma in pool(vm_area_struct):
        always_rmap_complete(vma)
    for memcg in pool(mem_cgroup):
        always_memcg_right(memcg)
        always_usage_right(memcg)
    for mapping in pool(address_space):
        always_recorded(mapping)
    always_locked_right()
    always_lists_right()
    for table in pool(ptdesc):
        always_table_owned(table)

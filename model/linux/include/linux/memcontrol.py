# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/memcontrol.h (v7.0).

Left out: everything but the statistics of mapped pages, and what is charged to a cgroup whose pages are on lists.
"""

from linux.mm_types import Folio
from linux.types import atomic_t

from ptelab.lang import atomic_dec, atomic_inc, atomic_sub, spinlock_t, struct, u16


@struct
class mem_cgroup:
    """A memory cgroup: how many pages that are charged to it are mapped.

    `move_lock`: what lock_page_memcg took until 6.2.  Differs: the counters are those of its one lruvec, and exact;
    struct page_counter `memory` is two members.
    """

    NR_ANON_MAPPED: atomic_t
    NR_FILE_MAPPED: atomic_t
    move_lock: spinlock_t
    memory_usage: u16
    memory_max: u16


def folio_memcg(folio: Folio) -> mem_cgroup | None:
    """What a page is charged to."""
    return folio.memcg_data


def lruvec_stat_mod_folio(folio: Folio, anon: bool, mapped: bool) -> None:
    """Count a page that becomes mapped, or unmapped, where it is charged.

    Differs: counts one page, of one of two kinds.  Differs: Linux has it in include/linux/vmstat.h.
    """
    memcg = folio_memcg(folio)
    if memcg is None:
        return
    if anon and mapped:
        atomic_inc(memcg.NR_ANON_MAPPED)
    elif anon:
        atomic_dec(memcg.NR_ANON_MAPPED)
    elif mapped:
        atomic_inc(memcg.NR_FILE_MAPPED)
    else:
        atomic_dec(memcg.NR_FILE_MAPPED)


def mem_cgroup_uncharge(folio: Folio) -> None:
    """Give back what a page is charged to."""
    memcg = folio_memcg(folio)
    if memcg is None:
        return
    folio.memcg_data = None
    atomic_sub(1, memcg.memory_usage)

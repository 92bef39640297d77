# SPDX-License-Identifier: GPL-2.0-only
"""Moving a page's charge to another memory cgroup: mm/memcontrol.c until 6.11, gone from v7.0.

It is here so that older forms of the rmap, which are patches, can be asked about it.  The move is in flight from the
start, so that lock_page_memcg takes the lock.  Left out: anonymous pages; finding the page through an entry, whose
page-table lock is not that of the other mappers.
"""

from linux.memcontrol import mem_cgroup
from linux.mm import folio_mapped
from linux.mm_types import Folio

from ptelab.lang import atomic_dec, atomic_inc, spin_lock, spin_unlock


def lock_page_memcg(folio: Folio) -> mem_cgroup | None:
    """Keep a page charged where it is; returns where, None if nowhere."""
    while True:
        memcg = folio.memcg_data
        if memcg is None:
            return None
        spin_lock(memcg.move_lock)
        if folio.memcg_data == memcg:
            return memcg
        spin_unlock(memcg.move_lock)


def unlock_page_memcg(memcg: mem_cgroup | None) -> None:
    """Let the charge move."""
    if memcg is not None:
        spin_unlock(memcg.move_lock)


def mem_cgroup_move_account(folio: Folio, to: mem_cgroup) -> None:
    """Charge a page of a file to another cgroup; if it is mapped, it is counted there."""
    memcg = lock_page_memcg(folio)
    if memcg is None:
        return
    if folio_mapped(folio):
        atomic_dec(memcg.NR_FILE_MAPPED)
        atomic_inc(to.NR_FILE_MAPPED)
    folio.memcg_data = to
    unlock_page_memcg(memcg)

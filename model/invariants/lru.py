# SPDX-License-Identifier: GPL-2.0-only
"""The lists of folios by age, and what reclaim finds there."""

from linux.fs import i_mmap_trylock_read
from linux.memcontrol import mem_cgroup
from linux.mm_inline import lruvec_del_folio
from linux.mm_types import Folio
from linux.mmzone import LRU_LISTS, NR_LRU_LISTS, lru_list, lruvec
from mm.swap import __page_cache_release, folio_activate, folio_mark_accessed
from mm.vmscan import (
    ISOLATED_MAX,
    folio_check_references,
    folio_list,
    folio_references,
    move_folios_to_lru,
    scan_control,
    shrink_active_list,
    shrink_node,
)  # fmt: skip
from stubs.memory import free_frozen_pages

from ptelab.lang import at, flag, ghost, index_of, nr, on_entry, on_return, pool, reach, u4, u8


@ghost
def on_list(vec: lruvec, lru: u4, folio: Folio) -> bool:
    """Whether a folio is found when a list is followed from its head."""
    found = vec.first[lru]
    for i in range(nr(Folio)):
        if found is None:
            return False
        if found == folio:
            return True
        found = found.lru_next
    return False


@on_entry(lruvec_del_folio)
def always_on_its_list(vec: lruvec, folio: Folio) -> None:
    """A folio is taken only off the list that it is on: its neighbours and the list's ends say so."""
    lru = lru_list.LRU_ACTIVE_FILE if folio.PG_active else lru_list.LRU_INACTIVE_FILE
    before = vec.first[lru] if folio.lru_prev is None else folio.lru_prev.lru_next
    after = vec.last[lru] if folio.lru_next is None else folio.lru_next.lru_prev
    if before != folio or after != folio:
        flag("lru_list", page=index_of(folio))


@on_entry(free_frozen_pages)
def always_off_the_lists(folio: Folio) -> None:
    """A folio is on no list when it is freed, and does not say that it is."""
    if LRU_LISTS == 1:
        if not folio.PG_isolated:
            flag("lru_list", page=index_of(folio))
        for lru in range(NR_LRU_LISTS):
            if on_list(at(lruvec, 0), lru, folio):
                flag("lru_list", page=index_of(folio))


@ghost
def always_lists_right() -> None:
    """At quiescence a folio is on the list that its flags name, and each list is as long as is counted."""
    if LRU_LISTS == 1:
        vec = at(lruvec, 0)
        for lru in range(NR_LRU_LISTS):
            size: u8 = 0
            for folio in pool(Folio):
                listed = folio._refcount != 0 and not folio.PG_isolated and folio.PG_active == (lru == 1)
                if listed != on_list(vec, lru, folio):
                    flag("lru_list", page=index_of(folio))
                if listed:
                    size += 1
            if vec.size[lru] != size:
                flag("lru_list", size=vec.size[lru], expected=size)


@ghost
def always_usage_right(memcg: mem_cgroup) -> None:
    """At quiescence a cgroup has as many pages as are charged to it."""
    if LRU_LISTS == 1:
        usage: u8 = 0
        for folio in pool(Folio):
            if folio.memcg_data == memcg:
                usage += 1
        if memcg.memory_usage != usage:
            flag("accounting", memcg=index_of(memcg), usage=memcg.memory_usage, expected=usage)


@on_return(folio_check_references)
def sometimes_used(result: folio_references) -> None:
    """Reclaim finds that a page is in use, or was used and has another round."""
    if result == folio_references.FOLIOREF_ACTIVATE:
        reach("reclaim_activates")
    elif result == folio_references.FOLIOREF_KEEP:
        reach("reclaim_keeps")


@on_return(i_mmap_trylock_read)
def sometimes_contended(result: bool) -> None:
    """Whether a page was used is not known, as somebody has the lock of the file's mappings."""
    if not result:
        reach("rmap_contended")


@on_entry(shrink_active_list)
def sometimes_deactivates() -> None:
    """Pages in use become ones that reclaim may take."""
    reach("reclaim_deactivates")


@on_entry(shrink_node)
def sometimes_again(sc: scan_control) -> None:
    """Reclaim has found nothing, and looks at everything once more, pages in use at last."""
    if sc.memcg_full_walk:
        reach("reclaim_again")
    if sc.force_deactivate:
        reach("reclaim_by_force")


@on_entry(__page_cache_release)
def sometimes_released(folio: Folio) -> None:
    """A page is freed by another than reclaim."""
    if not folio.PG_isolated:
        reach("freed_from_list")


@on_entry(folio_mark_accessed)
def sometimes_accessed(folio: Folio) -> None:
    """A page was used till its entry was zapped."""
    reach("zap_marks_accessed")


@on_entry(folio_activate)
def sometimes_activated(folio: Folio) -> None:
    """A page was used more than once when its entry was zapped."""
    reach("zap_activates")


@on_entry(move_folios_to_lru)
def sometimes_given_back(folios: folio_list) -> None:
    """A page that reclaim gives back has no other user any more."""
    for i in range(ISOLATED_MAX):
        folio = folios.folio[i]
        if folio is not None and folio._refcount == 1:
            reach("page_freed_when_given_back")

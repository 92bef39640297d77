# SPDX-License-Identifier: GPL-2.0-only
"""Pages that are swapped: who has a slot, what is in it, and the situations that swapping goes through.

Flags: accounting; lost_write, when what an mm has to see of a private page is neither in memory nor in swap.
"""

from config import CONFIG_SWAP
from filesystem import swap_write_block
from hw.memory import NR_PAGES, SWAP_SLOTS
from invariants.cow import is_private, may_see, view_of
from invariants.observe import content_of, entry_of, slot_of
from linux.mm_types import Folio, mm_struct
from linux.types import Errno
from mm.memory import copy_nonpresent_pte, do_swap_page, map_swap_folio, swap_out_page, zap_nonpresent_ptes
from mm.rmap import discard_lazyfree, unmap_anon_pte
from mm.swap import lru_lazyfree
from mm.swap_state import __swap_cache_prepare_and_add
from mm.swapfile import folio_alloc_swap, folio_free_swap, swap_cluster_info
from mm.vmscan import pageout, pageout_t, remove_swap_mapping

from ptelab.lang import at, flag, ghost, index_of, on_entry, on_return, pool, reach, u4


@ghost
def always_private_kept(mm: mm_struct) -> None:
    """At quiescence what an mm has to see of its anonymous memory is there."""
    for addr in range(NR_PAGES):
        vma = mm.mm_mt[addr]
        if is_private(mm, addr) and vma is not None and vma.vm_file is None:
            content = content_of(mm, addr)
            if not may_see(view_of(mm, addr), content):
                flag("lost_write", addr=addr, content=content, expected=view_of(mm, addr).value)


@ghost
def always_slots_right() -> None:
    """At quiescence a slot's count is the number of entries that name it, and its folio knows that it has it."""
    if CONFIG_SWAP == 0:
        return
    for slot in range(SWAP_SLOTS):
        count: u4 = 0
        for mm in pool(mm_struct):
            for addr in range(NR_PAGES):
                if slot_of(entry_of(mm, addr)) == slot + 1:
                    count += 1
        ci = at(swap_cluster_info, 0)
        if ci.swap_map[slot] != count:
            flag("accounting", slot=slot, swap_count=ci.swap_map[slot], entries=count)
        folio = ci.table[slot]
        if folio is not None and not (folio.PG_swapcache and folio.swap == slot + 1):
            flag("accounting", slot=slot, swap_cache=index_of(folio))


@on_entry(swap_write_block)
def sometimes_swap_written() -> None:
    """A page is written to swap."""
    reach("swap_written")


@on_return(remove_swap_mapping)
def sometimes_swapped_out(result: bool) -> None:
    """A page is in swap only, or it stays in memory as somebody has it."""
    if result:
        reach("page_swapped_out")
    else:
        reach("swap_cache_busy")


@on_return(unmap_anon_pte)
def sometimes_unmapped_to_swap(result: bool) -> None:
    """Reclaim makes an entry name a slot, or puts it back."""
    if result:
        reach("anon_unmapped")
    else:
        reach("anon_unmap_refused")


@on_entry(lru_lazyfree)
def sometimes_lazyfree() -> None:
    """MADV_FREE says of a page that it need not be kept."""
    reach("folio_made_lazyfree")


@on_return(discard_lazyfree)
def sometimes_discarded(result: bool) -> None:
    """Reclaim drops a page that need not be kept, or finds that it was written or is in use."""
    if result:
        reach("lazyfree_discarded")
    else:
        reach("lazyfree_kept")


@on_return(pageout)
def sometimes_pageout(result: pageout_t) -> None:
    """A page that was unmapped is not written, as somebody has a reference."""
    if result == pageout_t.PAGE_KEEP:
        reach("pageout_finds_page_busy")


@on_entry(do_swap_page)
def sometimes_swap_fault() -> None:
    """An access finds that its page is in swap."""
    reach("swap_fault")


@on_entry(map_swap_folio)
def sometimes_swapped_in(folio: Folio) -> None:
    """A page is mapped again; perhaps it is mapped elsewhere, or was never gone from memory."""
    reach("page_swapped_in")
    if folio.PG_writeback:
        reach("swapped_in_under_writeback")


@on_entry(swap_out_page)
def sometimes_swap_fault_late() -> None:
    """A fault finds that another was faster."""
    reach("swap_fault_late")


@on_return(__swap_cache_prepare_and_add)
def sometimes_swapin_race(folio: Folio, result: Folio | None) -> None:
    """Two faults read the same slot; one of them finds the other's folio."""
    if result != folio:
        reach("swapin_race")


@on_return(folio_alloc_swap)
def sometimes_swap_full(result: Errno) -> None:
    """There is no slot for a page."""
    if result != 0:
        reach("swap_full")


@on_return(folio_free_swap)
def sometimes_slot_freed(result: bool) -> None:
    """A page gives its slot back, or cannot."""
    if result:
        reach("swap_slot_freed")
    else:
        reach("swap_slot_kept")


@on_entry(copy_nonpresent_pte)
def sometimes_fork_copies_swapped() -> None:
    """fork copies the entry of a page that is in swap."""
    reach("fork_copies_swapped")


@on_entry(zap_nonpresent_ptes)
def sometimes_zaps_swapped() -> None:
    """The entry of a page that is in swap is zapped."""
    reach("swapped_page_zapped")

# SPDX-License-Identifier: GPL-2.0-only
"""A kernel for one CPU: who holds a page-table lock is not preempted.

Columns on one CPU take turns at any step, which is more than a scheduler does.  A run in which one of them accesses
memory between a zap's first entry and the end of its lock cannot be, so it is not judged.
"""

from config import CONFIG_SMP
from cpu import read_memory, write_memory
from filesystem import read_for_io
from mm.memory import do_zap_pte_range
from mm.pgtable_generic import pte_unmap_unlock

from ptelab.lang import at, ghost, on_entry, on_return, thread_id, u4


@ghost
class zapping:
    """The number of the thread, plus one, that zaps entries with a page-table lock held; 0 for none.

    `preempted`: it was, so this run cannot be.
    """

    thread: u4
    preempted: bool


@ghost
def run_can_be() -> bool:
    """Whether a scheduler can make this run."""
    return CONFIG_SMP == 1 or not at(zapping, 0).preempted


@on_entry(do_zap_pte_range)
def zap_goes_on() -> None:
    """From the first entry on a zap is not preempted."""
    if CONFIG_SMP == 0:
        at(zapping, 0).thread = thread_id() + 1


@on_entry(pte_unmap_unlock)
def zap_may_pause() -> None:
    """The lock is dropped, and it may be."""
    if CONFIG_SMP == 0 and at(zapping, 0).thread == thread_id() + 1:
        at(zapping, 0).thread = 0


@ghost
def preempted_only_without_lock() -> None:
    """Note whether a scheduler can make this run."""
    if CONFIG_SMP == 0 and at(zapping, 0).thread != 0 and at(zapping, 0).thread != thread_id() + 1:
        at(zapping, 0).preempted = True


@on_return(read_memory)
def loads_while_not_preempted() -> None:
    """A load is made by who has the CPU."""
    preempted_only_without_lock()


@on_return(write_memory)
def stores_while_not_preempted() -> None:
    """A store is made by who has the CPU."""
    preempted_only_without_lock()


@on_return(read_for_io)
def io_while_not_preempted() -> None:
    """Writeback is done by who has the CPU."""
    preempted_only_without_lock()

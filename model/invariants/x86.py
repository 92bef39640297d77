# SPDX-License-Identifier: GPL-2.0-only
"""Situations that only x86-64 knows."""

from arch.x86.mm.tlb import flush_tlb_func, load_new_mm_cr3, should_flush_tlb
from asm.tlbflush import flush_tlb_info, tlb_context, tlb_state
from hw.memory import CpuNr
from smp import interrupt_flush

from ptelab.lang import at, cpu_id, on_entry, on_return, reach, this_cpu


@on_return(interrupt_flush)
def sometimes_ipi_flush() -> None:
    """A CPU flushes because another has asked it to."""
    reach("ipi_flush")


@on_return(should_flush_tlb)
def sometimes_flush_spares_a_cpu(cpu: CpuNr, info: flush_tlb_info, result: bool) -> None:
    """A flush asks a CPU or not, depending on what that says of itself."""
    state = at(tlb_state, cpu)
    if not result and state.is_lazy:
        reach("flush_spares_lazy_cpu")
    if not result and not state.is_lazy:
        reach("flush_spares_cpu_elsewhere")
    if result and state.loaded_mm.switching:
        reach("flush_asks_switching_cpu")


@on_entry(load_new_mm_cr3)
def sometimes_catches_up() -> None:
    """A CPU goes on with the mm that it has kept, and flushes what it was spared."""
    if not at(tlb_state, cpu_id()).loaded_mm.switching:
        reach("lazy_cpu_catches_up")


@on_entry(flush_tlb_func)
def sometimes_flush_at_odds(f: flush_tlb_info) -> None:
    """A CPU is asked to flush that is lazy, has another mm, is up to date or is more than one flush behind."""
    state = at(tlb_state, cpu_id())
    if f.mm is None:
        return
    if f.mm != state.loaded_mm.mm:
        reach("flush_finds_other_mm")
    elif state.is_lazy:
        reach("flush_finds_lazy_cpu")
    elif f.new_tlb_gen <= this_cpu(tlb_context).tlb_gen:
        reach("flush_finds_up_to_date")
    elif f.new_tlb_gen > this_cpu(tlb_context).tlb_gen + 1:
        reach("flush_finds_far_behind")

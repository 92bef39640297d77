# SPDX-License-Identifier: GPL-2.0-only
"""Calling a function on other CPUs by interrupt: what Linux has in kernel/smp.c, as far as a TLB flush needs it.

Differs: the only functions called are flush_tlb_func and one that does nothing.  Differs: a CPU has one request slot
for all senders instead of one per sender, so a sender waits for the request before it; only with two senders and two
targets could it be elsewhere first.  Differs: taking a request, doing it and acknowledging it are one step: nobody else
sees a CPU between them, and a later acknowledgement only makes the sender wait.  With CONFIG_TLB_GENERATIONS they are
several, between which the CPU's column may do anything but what it disables interrupts for.
"""

from typing import NamedTuple

from arch.x86.mm.tlb import flush_tlb_func, should_flush_tlb
from asm.irqflags import native_irq_disable, native_irq_enable
from asm.tlbflush import flush_tlb_info, tlb_state
from config import CONFIG_SMP, CONFIG_TLB_GENERATIONS
from cpu import Cpu
from hw.memory import NR_CPUS, CpuNr

from ptelab.lang import at, cpu_id, struct, this_cpu, try_cmpxchg, u8, wait_until, xchg


class request(NamedTuple):
    """A flush asked of a CPU: by whom (the CPU's number + 1, 0 for none), and of what; or `nothing`, only to answer."""

    sender: CpuNr = 0
    nothing: bool = False
    info: flush_tlb_info = flush_tlb_info()


@struct
class call_single_queue:
    """The request that a CPU has not acknowledged yet."""

    csd: request


def on_each_cpu_mask(mask: u8, info: flush_tlb_info) -> None:
    """Flush the CPUs of a mask: ask the others, flush here, wait until all have acknowledged."""
    for cpu in range(NR_CPUS):
        if mask & (1 << cpu) != 0 and cpu != cpu_id():
            send_request(at(call_single_queue, cpu), info)
    if mask & (1 << cpu_id()) != 0:
        native_irq_disable()
        flush_tlb_func(info)
        native_irq_enable()
    for cpu in range(NR_CPUS):
        if mask & (1 << cpu) != 0 and cpu != cpu_id():
            wait_until(at(call_single_queue, cpu).csd.sender != cpu_id() + 1)


def on_each_cpu_cond_mask(mask: u8, info: flush_tlb_info) -> None:
    """Flush those CPUs of a mask that should flush: ask each of the others in turn and at once, and then this one.

    Differs: the only condition is should_flush_tlb.
    """
    asked: u8 = 0
    for cpu in range(NR_CPUS):
        if mask & (1 << cpu) != 0 and cpu != cpu_id() and should_flush_tlb(cpu, info):
            asked |= 1 << cpu
            send_request(at(call_single_queue, cpu), info)
    if mask & (1 << cpu_id()) != 0 and should_flush_tlb(cpu_id(), info):
        native_irq_disable()
        flush_tlb_func(info)
        native_irq_enable()
    for cpu in range(NR_CPUS):
        if asked & (1 << cpu) != 0 and cpu != cpu_id():
            wait_until(at(call_single_queue, cpu).csd.sender != cpu_id() + 1)


def smp_call_function() -> None:
    """Interrupt every other CPU with a function that does nothing, and wait until all have acknowledged.

    Differs: CPUs that have no mm loaded are spared, as they run no task that could mask interrupts.
    """
    if CONFIG_SMP == 0:
        return
    for cpu in range(NR_CPUS):
        if cpu != cpu_id() and at(tlb_state, cpu).loaded_mm.mm is not None:
            queue = at(call_single_queue, cpu)
            while not try_cmpxchg(queue.csd, request(), request(sender=cpu_id() + 1, nothing=True)):
                wait_until(queue.csd.sender == 0)
    for cpu in range(NR_CPUS):
        if cpu != cpu_id():
            wait_until(at(call_single_queue, cpu).csd.sender != cpu_id() + 1)


def send_request(queue: call_single_queue, info: flush_tlb_info) -> None:
    """Put a request into the CPU's slot as soon as that is free, and interrupt the CPU."""
    while not try_cmpxchg(queue.csd, request(), request(sender=cpu_id() + 1, info=info)):
        wait_until(queue.csd.sender == 0)


def interrupt() -> None:
    """Take the requests to this CPU whenever its interrupts are enabled, for ever."""
    while True:
        wait_until(at(call_single_queue, cpu_id()).csd.sender != 0 and not this_cpu(Cpu).irqs_off)
        interrupt_flush()


def interrupt_flush() -> None:
    """Do and acknowledge one request.  With CONFIG_TLB_GENERATIONS a flush reads memory, so it takes several steps."""
    if CONFIG_TLB_GENERATIONS == 0:
        taken = xchg(at(call_single_queue, cpu_id()).csd, request())
        if not taken.nothing:
            flush_tlb_func(taken.info)
        return
    this_cpu(Cpu).in_irq = True
    asked = at(call_single_queue, cpu_id()).csd
    if not asked.nothing:
        flush_tlb_func(asked.info)
    xchg(at(call_single_queue, cpu_id()).csd, request())
    this_cpu(Cpu).in_irq = False


def wait_for_interrupt_handler() -> None:
    """Wait until this CPU is in no interrupt: what a handler does must not be mixed with what disables interrupts."""
    wait_until(not this_cpu(Cpu).in_irq and at(call_single_queue, cpu_id()).csd.sender <= NR_CPUS)

# SPDX-License-Identifier: GPL-2.0-only
"""The ASID allocator of arm64 with TLBs and page tables: ptelab explore bench/arm64_asid.py

After arch/arm64/mm/context.c (v7.0): `check_and_switch_context` and what it calls, with their names and the order of
their accesses.  CPUs switch among processes, of which there are more than ASIDs, while each CPU's walker fills its TLB
from the page table that it has loaded, and one process loses its only page.  No CPU may ever have a translation of
another process under the ASID that it runs with, nor one of the lost page once the invalidation has completed, and
no two processes may run with the same ASID.

Distinct states without reductions: 16,703 with SWITCHES=1, 3,468,012 with 2.

Left out: pinned ASIDs, pairs of ASIDs for KPTI, common translations of several CPUs (CnP).
Differs: the bitmap of a whole rollover is written at once, which only holders of the lock could tell.
"""

from typing import Annotated, NamedTuple, TypeAlias

from ptelab.lang import (
    Array,
    Ghost,
    array,
    at,
    atomic_add_return,
    atomic_fetch_andnot,
    choose,
    cmpxchg,
    cpu_id,
    daemon,
    flag,
    ghost,
    nr,
    on_entry,
    on_return,
    param,
    per_cpu,
    percpu,
    reach,
    spin_lock,
    spin_unlock,
    spinlock_t,
    struct,
    this_cpu,
    thread,
    u3,
    u8,
    upto,
    wait_until,
    xchg,
)

nr_Cpu = param("nr_Cpu", 2)
nr_mm_struct = param("nr_mm_struct", 4)
NUM_USER_ASIDS = param("NUM_USER_ASIDS", 4)
SWITCHES = param("SWITCHES", 2)

Asid: TypeAlias = Annotated[int, upto("NUM_USER_ASIDS")]


class context_id(NamedTuple):
    """An ASID and the generation that it is from; all zero when there is none."""

    generation: u3 = 0
    asid: Asid = 0


@struct
class mm_struct:
    """A process with one page."""

    id: context_id
    present: bool
    lost: Ghost[bool]  # the page is gone, and no TLB has it any more


@struct
class Allocator:
    """What cpu_asid_lock protects, and the generation, which is read without it."""

    cpu_asid_lock: spinlock_t
    asid_generation: u3
    asid_map: u8
    cur_idx: Asid
    tlb_flush_pending: u8


@struct
class Cpu:
    """Per-CPU variables that other CPUs reach, and the interconnect's wire to the CPU."""

    active_asids: context_id
    reserved_asids: context_id
    invalidate: Asid  # an ASID whose translations are to go


@percpu
class Mmu:
    """The registers and the TLB: for each ASID, whose page it translates to."""

    mm: mm_struct | None  # whose page table is loaded
    asid: Asid
    entry: Array[mm_struct | None] = array(NUM_USER_ASIDS)


def setup() -> None:
    """All pages are there; the first generation has begun."""
    for i in range(nr(mm_struct)):
        at(mm_struct, i).present = True
    at(Allocator, 0).asid_generation = 1
    at(Allocator, 0).cur_idx = 1


# ---------------------------------------------------------------------------------------------- context.c


def asid_gen_match(id: context_id) -> bool:
    """Whether an ASID is from the current generation."""
    return id.generation == at(Allocator, 0).asid_generation


def find_next_zero_bit(bits: u8, start: Asid) -> Asid:
    """The first ASID from `start` on that is free; NUM_USER_ASIDS when none is."""
    for i in range(NUM_USER_ASIDS):
        if i >= start and not bits >> i & 1:
            return i
    return NUM_USER_ASIDS


def flush_context() -> None:
    """Keep the ASIDs that CPUs run with, and have every CPU flush its TLB before its next switch."""
    bits: u8 = 1  # ASID 0 is nobody's
    for i in range(nr(Cpu)):
        id = xchg(at(Cpu, i).active_asids, context_id())
        if id == context_id():
            id = at(Cpu, i).reserved_asids
        bits = bits | 1 << id.asid
        at(Cpu, i).reserved_asids = id
    at(Allocator, 0).asid_map = bits
    at(Allocator, 0).tlb_flush_pending = (1 << nr(Cpu)) - 1


def check_update_reserved_asid(id: context_id, newid: context_id) -> bool:
    """Whether some CPU has kept this ASID over a rollover; then it is kept in the new generation."""
    hit = False
    for i in range(nr(Cpu)):
        if at(Cpu, i).reserved_asids == id:
            hit = True
            at(Cpu, i).reserved_asids = newid
    return hit


def new_context(mm: mm_struct) -> context_id:
    """An ASID of the current generation.  Context: cpu_asid_lock held."""
    id = mm.id
    generation = at(Allocator, 0).asid_generation
    if id != context_id():
        newid = context_id(generation=generation, asid=id.asid)
        if check_update_reserved_asid(id, newid):
            return newid
        bits = at(Allocator, 0).asid_map
        if not bits >> id.asid & 1:
            at(Allocator, 0).asid_map = bits | 1 << id.asid
            return newid
    asid = find_next_zero_bit(at(Allocator, 0).asid_map, at(Allocator, 0).cur_idx)
    if asid == NUM_USER_ASIDS:
        generation = atomic_add_return(1, at(Allocator, 0).asid_generation)
        flush_context()
        asid = find_next_zero_bit(at(Allocator, 0).asid_map, 1)
    at(Allocator, 0).asid_map |= 1 << asid
    at(Allocator, 0).cur_idx = asid
    return context_id(generation=generation, asid=asid)


def check_and_switch_context(mm: mm_struct, cpu: u3) -> None:
    """Run this process on this CPU."""
    id = mm.id
    old_active = at(Cpu, cpu).active_asids
    if old_active != context_id() and asid_gen_match(id):
        if cmpxchg(at(Cpu, cpu).active_asids, old_active, id) != context_id():
            cpu_switch_mm(mm)
            return
    spin_lock(at(Allocator, 0).cpu_asid_lock)
    id = mm.id
    if not asid_gen_match(id):
        id = new_context(mm)
        mm.id = id
    if atomic_fetch_andnot(1 << cpu, at(Allocator, 0).tlb_flush_pending) >> cpu & 1:
        local_flush_tlb_all()
    at(Cpu, cpu).active_asids = id
    spin_unlock(at(Allocator, 0).cpu_asid_lock)
    cpu_switch_mm(mm)


def cpu_switch_mm(mm: mm_struct) -> None:
    """Load ASID and page table; the ASID is read from the process again."""
    id = mm.id
    this_cpu(Mmu).asid = id.asid
    this_cpu(Mmu).mm = mm


# --------------------------------------------------------------------------------------------- the machine


def local_flush_tlb_all() -> None:
    """This CPU's TLB forgets everything."""
    for i in range(NUM_USER_ASIDS):
        this_cpu(Mmu).entry[i] = None


@thread(copies=nr_Cpu)
def cpu() -> None:
    """A CPU that runs one process after the other."""
    for _ in range(SWITCHES):
        check_and_switch_context(at(mm_struct, choose(nr(mm_struct))), cpu_id())


@thread()
def unmap() -> None:
    """Take the first process's page away and invalidate its translations on all CPUs; on a CPU that runs no process."""
    mm = at(mm_struct, 0)
    mm.present = False
    id = mm.id
    if id.asid:
        for i in range(nr(Cpu)):
            at(Cpu, i).invalidate = id.asid
        for i in range(nr(Cpu)):
            wait_until(at(Cpu, i).invalidate == 0)
    page_is_lost(mm)


@daemon(copies=nr_Cpu)
def walker() -> None:
    """Fill the TLB from the page table that is loaded, at any time or never."""
    while True:
        fill()


def fill() -> None:
    """One walk."""
    choose(1)
    mm = this_cpu(Mmu).mm
    asid = this_cpu(Mmu).asid
    if mm is None or this_cpu(Mmu).entry[asid] is not None:
        return
    wait_until(mm.present)
    this_cpu(Mmu).entry[asid] = mm


@daemon(copies=nr_Cpu)
def interconnect() -> None:
    """Take invalidations from other CPUs."""
    while True:
        wait_until(at(Cpu, cpu_id()).invalidate != 0)
        forget()


def forget() -> None:
    """One invalidation; who has sent it sees that it is done."""
    asid = xchg(at(Cpu, cpu_id()).invalidate, 0)
    this_cpu(Mmu).entry[asid] = None


# ---------------------------------------------------------------------------------------------- invariants


@ghost
def page_is_lost(mm: mm_struct) -> None:
    """The invalidation has completed: nobody who runs this process has a translation any more."""
    mm.lost = True
    for i in range(nr(Cpu)):
        if per_cpu(Mmu, i).mm == mm and per_cpu(Mmu, i).entry[per_cpu(Mmu, i).asid] is not None:
            flag("stale_translation", cpu=i)


@on_return(cpu_switch_mm)
def never_a_wrong_translation(mm: mm_struct) -> None:
    """What the TLB has under the ASID that is loaded now is this process's, and not that of a page that it has lost."""
    whose = this_cpu(Mmu).entry[this_cpu(Mmu).asid]
    if whose is not None:
        reach("translation_survives")
        if whose != mm:
            flag("wrong_translation", whose=whose, mm=mm)
        if mm.lost:
            flag("stale_translation", cpu=cpu_id())


@on_entry(flush_context)
def rollover() -> None:
    """The ASIDs of a generation have run out."""
    reach("rollover")


@on_return(check_update_reserved_asid)
def reserved(result: bool) -> None:
    """A process that was running during a rollover goes on with its ASID."""
    if result:
        reach("reserved_asid_kept")


@ghost
def final() -> u3:
    """How many generations there have been."""
    return at(Allocator, 0).asid_generation

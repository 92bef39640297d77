# SPDX-License-Identifier: GPL-2.0-only
"""An arm64 CPU as far as page tables go: walker, TLB, walk cache, loads, stores, TLBI, DSB.

As on the other architectures an instruction starts at a `choose`, and what the CPU has cached is looked up in the same
transition as the access to memory that it leads to.

H1 `speculation` fills the TLB from any valid entry at any time.  An entry with AF=0 is never cached: with FEAT_HAFDBS
the walker sets AF first by a locked update, without it the access faults.
H2 A store through a writable TLB entry (AP[2] clear) touches no page-table entry.
H3 A store through a read-only one with DBM clears AP[2] by a locked update that re-checks the entry, where the hardware
manages dirty state (level 2); elsewhere it faults.
H4 A read-only TLB entry faults a store, whatever the entry in memory says now, and the fault does not drop it.
H5 AP[2] is never cleared by speculation.
H6 The walk cache (`psc`) keeps the upper entry until an invalidation that is not limited to the last level.
H7 A TLBI is broadcast and interrupts nobody.  It is pending for each CPU until that CPU has done it; a DSB waits until
all that its own CPU has issued are done, so that no access with an old translation is under way.

HAFDBS is the level of CPU 0 and HAFDBS_OTHERS that of all others: 0 neither, 1 access flag, 2 dirty state too.
Differs: at the CPU that issues it a TLBI is done at once; user code that follows without a DSB could still use what it
drops, were it not for the DSB of a context switch.
Differs: two levels of tables; a fill replaces what the TLB holds for the address, and an entry goes when an access
finds it evicted.  Differs: an ASID is the mm's top table.  Left out: contiguous and global entries; what is
unpredictable without break-before-make, which is a flag.
"""

from typing import Annotated, NamedTuple, TypeAlias

from hw.memory import NR_CPUS, NR_PAGES, Addr, Frame, Pfn, Table, TablePfn, Value

from ptelab.lang import (
    Array,
    array,
    at,
    atomic_fetch_andnot,
    atomic_or,
    choose,
    cpu_id,
    index_of,
    param,
    percpu,
    struct,
    this_cpu,
    try_cmpxchg,
    u3,
    u8,
    upto,
    wait_until,
)  # fmt: skip

PTRS_PER_PTE = param("PTRS_PER_PTE", 2)
PTRS_PER_PMD = param("PTRS_PER_PMD", 1)
HAFDBS = param("HAFDBS", 0)
HAFDBS_OTHERS = param("HAFDBS_OTHERS", 0)

# A bit for each page and each upper entry; and as many for each CPU.
SCOPE_MAX = param("SCOPE_MAX", 63)
REQUESTS_MAX = param("REQUESTS_MAX", 16777215)

FSC_TRANSLATION = 1
FSC_ACCESS = 2
FSC_PERM = 3
FSC_TYPE = 3
WNR = 4


class pte_t(NamedTuple):
    """A page descriptor: valid, AP[2], AF, DBM, the dirty and uffd_wp bits that software keeps, the page frame."""

    valid: bool = False
    rdonly: bool = False
    af: bool = False
    dbm: bool = False
    sw_dirty: bool = False
    uffd_wp: bool = False
    pfn: Pfn = 0


class pmd_t(NamedTuple):
    """A table descriptor: valid, and the PTE table; or a block descriptor, which maps a huge page itself."""

    valid: bool = False
    pfn: TablePfn = 0
    leaf: bool = False
    entry: pte_t = pte_t()


@struct
class pte_p:
    """A slot that holds a pte_t: its handle is what C calls `pte_t *`.  Table t has those from t·PTRS_PER_PTE on."""

    pte: pte_t


@struct
class pmd_p:
    """A slot that holds a pmd_t: its handle is what C calls `pmd_t *`.  A top table is PTRS_PER_PMD slots in a row."""

    pmd: pmd_t


class tlb_entry(NamedTuple):
    """A cached translation with the rights that the entry had.  `large`: a part of a block that has more than one."""

    valid: bool = False
    large: bool = False
    rdonly: bool = False
    dbm: bool = False
    pfn: Pfn = 0


@percpu
class Cpu:
    """What one CPU has cached."""

    tlb: Array[tlb_entry] = array(NR_PAGES)
    psc: Array[pmd_t] = array(PTRS_PER_PMD)


@struct
class Core:
    """What others know of a CPU: TTBR0, which stands for the ASID too, and whether it takes interrupts (inverted)."""

    ttbr0: pmd_p | None
    irqs_off: bool


Scope: TypeAlias = Annotated[int, upto("SCOPE_MAX")]
Requests: TypeAlias = Annotated[int, upto("REQUESTS_MAX")]


@struct
class Broadcasts:
    """The invalidations that one CPU has asked for and that are not done yet.

    A CPU has NR_PAGES + PTRS_PER_PMD bits, from CPU 0 on.  Bit i: the TLB entry of page i.  Bit NR_PAGES + i: entry i
    of the walk cache.
    """

    pending: Requests


def hafdbs() -> u3:
    """What this CPU manages by hardware."""
    return HAFDBS if cpu_id() == 0 else HAFDBS_OTHERS


def load(addr: Addr) -> tuple[Value, u3]:
    """Execute a load: its value, or the syndrome of the abort."""
    while True:
        evicted = choose(2) == 1
        entry = this_cpu(Cpu).tlb[addr]
        if entry.valid and not evicted:
            value = read_memory(addr, at(Frame, entry.pfn))
            return value, 0
        error = walk(addr, False)
        if error != 0:
            return 0, error


def store(addr: Addr, value: Value) -> u3:
    """Execute a store: 0, or the syndrome of the abort."""
    while True:
        evicted = choose(2) == 1
        entry = this_cpu(Cpu).tlb[addr]
        if entry.valid and not entry.rdonly and not evicted:
            write_memory(addr, at(Frame, entry.pfn), value)
            return 0
        if entry.valid and not evicted and not (entry.dbm and hafdbs() >= 2):
            return page_fault(addr, FSC_PERM | WNR)
        error = walk(addr, True)
        if error != 0:
            return error


def read_memory(addr: Addr, frame: Frame) -> Value:
    """Read through the translation of an address that the TLB holds."""
    return frame.data


def write_memory(addr: Addr, frame: Frame, value: Value) -> None:
    """Write through the translation of an address that the TLB holds, without a look at the page table."""
    frame.data = value


def walk(addr: Addr, write: bool) -> u3:
    """Take one step of the walk that an access needs: a syndrome, or 0 when the access has to be tried again."""
    index: Addr = addr // PTRS_PER_PTE
    wnr: u3 = WNR if write else 0
    upper = this_cpu(Cpu).psc[index]
    if not upper.valid:
        upper = top_entry(addr).pmd
        if upper.leaf:
            return walk_leaf(addr, write, upper)
        if not upper.valid:
            return page_fault(addr, FSC_TRANSLATION | wnr)
        this_cpu(Cpu).psc[index] = upper
        return 0
    pte = read_entry(upper, addr)
    if not pte.valid:
        return page_fault(addr, FSC_TRANSLATION | wnr)
    if not pte.af:
        if hafdbs() == 0:
            return page_fault(addr, FSC_ACCESS | wnr)
        set_flags(addr, pte, pte._replace(af=True), upper)
        return 0
    if write and pte.rdonly:
        if not (pte.dbm and hafdbs() >= 2):
            return page_fault(addr, FSC_PERM | WNR)
        set_flags(addr, pte, pte._replace(rdonly=False), upper)
        return 0
    fill(addr, pte, False)
    return 0


def walk_leaf(addr: Addr, write: bool, upper: pmd_t) -> u3:
    """End a walk at a block descriptor: a syndrome, or 0 when the access has to be tried again."""
    pte = upper.entry
    wnr: u3 = WNR if write else 0
    if not pte.valid:
        return page_fault(addr, FSC_TRANSLATION | wnr)
    if not pte.af:
        if hafdbs() == 0:
            return page_fault(addr, FSC_ACCESS | wnr)
        set_leaf(addr, upper, pte._replace(af=True))
        return 0
    if write and pte.rdonly:
        if not (pte.dbm and hafdbs() >= 2):
            return page_fault(addr, FSC_PERM | WNR)
        set_leaf(addr, upper, pte._replace(rdonly=False))
        return 0
    fill_large(addr, pte, False)
    return 0


def set_leaf(addr: Addr, upper: pmd_t, entry: pte_t) -> None:
    """Update the block descriptor just read, unless it has changed."""
    go_on = choose(1) == 0
    slot = top_entry(addr)
    if go_on:
        try_cmpxchg(slot.pmd, upper, upper._replace(entry=entry))


def page_fault(addr: Addr, esr: u3) -> u3:
    """Raise an abort; a TLB entry that is too strict stays."""
    return esr


def top_entry(addr: Addr) -> pmd_p:
    """The slot of the upper entry for an address in the top table that TTBR0 names."""
    return at(pmd_p, index_of(at(Core, cpu_id()).ttbr0) + addr // PTRS_PER_PTE)


def read_entry(upper: pmd_t, addr: Addr) -> pte_t:
    """Read an entry of the table that the walk cache names."""
    pte = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte
    table_used(at(Table, upper.pfn), addr)
    return pte


def table_used(table: Table, addr: Addr) -> None:
    """Nothing; the invariants watch which tables the hardware uses."""


def set_flags(addr: Addr, pte: pte_t, new: pte_t, upper: pmd_t) -> None:
    """Update the entry just read, unless it has changed or an invalidation of its table has stopped the walk."""
    go_on = choose(1) == 0
    if go_on and this_cpu(Cpu).psc[addr // PTRS_PER_PTE] == upper:
        slot = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE)
        try_cmpxchg(slot.pte, pte, new)
        table_used(at(Table, upper.pfn), addr)


def fill(addr: Addr, pte: pte_t, speculative: bool) -> None:
    """Cache a valid entry whose AF is set."""
    this_cpu(Cpu).tlb[addr] = tlb_entry(valid=True, rdonly=pte.rdonly, dbm=pte.dbm, pfn=pte.pfn)


def fill_large(addr: Addr, pte: pte_t, speculative: bool) -> None:
    """Cache the part that an address has of a block; how many parts are cached at a time is the CPU's affair."""
    fill(addr, pte._replace(pfn=pte.pfn + addr % PTRS_PER_PTE), speculative)
    if PTRS_PER_PTE > 1:
        this_cpu(Cpu).tlb[addr] = this_cpu(Cpu).tlb[addr]._replace(large=True)


def forget(addr: Addr) -> None:
    """Drop the TLB entry for an address."""
    this_cpu(Cpu).tlb[addr] = tlb_entry()


def tlbi_scope(start: Addr, end: u8, last_level: bool) -> Scope:
    """What an invalidation of a range covers; of the walk cache only if it is not limited to the last level."""
    scope: Scope = 0
    for addr in range(NR_PAGES):
        if start <= addr < end:
            scope |= 1 << addr
            if not last_level:
                scope |= 1 << (NR_PAGES + addr // PTRS_PER_PTE)
    return scope


def tlbi(scope: Scope) -> None:
    """TLBI without broadcast: invalidate at this CPU; complete at its next DSB, before which it runs no user code.

    What is cached of a block goes with any address in it.
    """
    for addr in range(NR_PAGES):
        if scope & (1 << addr) != 0:
            forget(addr)
            for other in range(NR_PAGES):
                if this_cpu(Cpu).tlb[other].large and other // PTRS_PER_PTE == addr // PTRS_PER_PTE:
                    forget(other)
    for index in range(PTRS_PER_PMD):
        if scope & (1 << (NR_PAGES + index)) != 0:
            this_cpu(Cpu).psc[index] = pmd_t()


def tlbi_is(pgd: pmd_p, scope: Scope) -> None:
    """TLBI …IS: invalidate here, and ask every other CPU with this address space to; do not wait."""
    requests: Requests = 0
    for cpu in range(NR_CPUS):
        if cpu != cpu_id() and at(Core, cpu).ttbr0 == pgd:
            requests |= scope << (cpu * (NR_PAGES + PTRS_PER_PMD))
    atomic_or(requests, at(Broadcasts, cpu_id()).pending)
    if at(Core, cpu_id()).ttbr0 == pgd:
        tlbi(scope)


def dsb_ish() -> None:
    """DSB ISH: wait until every invalidation that this CPU has issued is done."""
    wait_until(at(Broadcasts, cpu_id()).pending == 0)


def interconnect(requests: Broadcasts) -> None:
    """Do what one CPU has asked of this one, at any time, for ever."""
    while True:
        wait_until(requests.pending & own_requests() != 0)
        invalidate(requests)


def own_requests() -> Requests:
    """The bits of this CPU among what another has asked for."""
    return ((1 << (NR_PAGES + PTRS_PER_PMD)) - 1) << (cpu_id() * (NR_PAGES + PTRS_PER_PMD))


def invalidate(requests: Broadcasts) -> None:
    """Do the invalidations that are pending now."""
    done = atomic_fetch_andnot(own_requests(), requests.pending) & own_requests()
    tlbi(done >> (cpu_id() * (NR_PAGES + PTRS_PER_PMD)))


def interconnect_0() -> None:
    """What CPU 0 asks of this one; each issuer's requests are done independently of the others'."""
    interconnect(at(Broadcasts, 0))


def interconnect_1() -> None:
    """What CPU 1 asks of this one."""
    interconnect(at(Broadcasts, 1))


def interconnect_2() -> None:
    """What CPU 2 asks of this one."""
    interconnect(at(Broadcasts, 2))


def interconnect_3() -> None:
    """What CPU 3 asks of this one."""
    interconnect(at(Broadcasts, 3))


def speculation() -> None:
    """Walk for any address at any time: read the upper entry, then fill the TLB through it."""
    while True:
        addr: Addr = choose(NR_PAGES)
        upper = this_cpu(Cpu).psc[addr // PTRS_PER_PTE]
        if not upper.valid:
            upper = top_entry(addr).pmd
            if not upper.leaf:
                this_cpu(Cpu).psc[addr // PTRS_PER_PTE] = upper
            elif upper.entry.valid and upper.entry.af:
                fill_large(addr, upper.entry, True)
            elif upper.entry.valid and hafdbs() >= 1:
                set_leaf(addr, upper, upper.entry._replace(af=True))
        else:
            pte = read_entry(upper, addr)
            if pte.valid and pte.af:
                fill(addr, pte, True)
            elif pte.valid and hafdbs() >= 1:
                set_flags(addr, pte, pte._replace(af=True), upper)

# SPDX-License-Identifier: GPL-2.0-only
"""An s390 CPU as far as page tables go: dynamic address translation, TLB, loads, stores, IPTE, IDTE, PTLB.

As on the other architectures an instruction starts at a `choose`, and what the CPU has cached is looked up in the same
transition as the access to memory that it leads to.

H1 `speculation` forms TLB entries from any valid entry at any time.  The hardware never writes a page-table entry: what
the kernel calls young and dirty is software's, an old entry is invalid and a clean one is protected.
H2 A store through an unprotected TLB entry touches no page-table entry.
H4 A store through a protected one is suppressed with a protection exception, whatever the entry in memory says now.
With the facility for it (RDP=1) RDP lets stores through a protected entry without making it invalid first.
H6 An entry for a segment (`psc`) may be used until all of the address space is purged.
H7 IPTE sets the invalid bit and purges what was formed from the entry on every CPU; it completes when all have done so,
and so does IDTE for an address space.  Neither is an interrupt to the other CPUs' programs.

A TLB entry belongs to an address space.  It stays when another one is attached, and only an attached one forms new
entries.

Differs: two levels of tables; a TLB entry goes when an access finds it evicted; an ASCE is the mm's top table.
Differs: what a CPU caches is of one address space only, that of the column: in another one it runs nothing.
Left out: storage keys, large pages, common segments.
"""

from typing import Annotated, NamedTuple, TypeAlias

from hw.memory import NR_CPUS, NR_PAGES, Addr, Frame, Pfn, Table, TablePfn, Value

from ptelab.lang import (
    Array,
    array,
    at,
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
    upto,
    wait_until,
    xchg,
)  # fmt: skip

PTRS_PER_PTE = param("PTRS_PER_PTE", 2)
PTRS_PER_PMD = param("PTRS_PER_PMD", 1)
RDP = param("RDP", 0)

# A bit for each page and each upper entry.
SCOPE_MAX = param("SCOPE_MAX", 255)

PIC_DAT = 1
PIC_PROTECTION = 2
TEID_STORE = 4


class pte_t(NamedTuple):
    """A page-table entry: bits of the hardware, bits of software, and the page frame.

    The hardware's are the invalid bit, here the other way round, and the protection bit.  Only software looks at
    present, young, dirty, soft_dirty, and the rights to read and to write.
    """

    valid: bool = False
    protect: bool = False
    present: bool = False
    young: bool = False
    dirty: bool = False
    soft_dirty: bool = False
    read: bool = False
    write: bool = False
    pfn: Pfn = 0


class pmd_t(NamedTuple):
    """A segment-table entry: whether it is valid, and the page table; or one that maps a large page itself."""

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
    """A translation formed from a valid entry."""

    valid: bool = False
    protect: bool = False
    pfn: Pfn = 0


@percpu
class Cpu:
    """What one CPU has formed from the tables, and whether its control registers hold the ASCE of these."""

    attached: bool
    tlb: Array[tlb_entry] = array(NR_PAGES)
    psc: Array[pmd_t] = array(PTRS_PER_PMD)


@struct
class Core:
    """What others know of a CPU: the ASCE whose translations it can hold, attached or not; if interrupts are masked."""

    asce: pmd_p | None
    irqs_off: bool


Scope: TypeAlias = Annotated[int, upto("SCOPE_MAX")]


@struct
class Interconnect:
    """The purges that one CPU has asked of another, at issuer · NR_CPUS + target, and that are not done yet.

    Bit i: the TLB entry of page i.  Bit NR_PAGES + i: entry i for segments.
    """

    pending: Scope


def load(addr: Addr) -> tuple[Value, u3]:
    """Execute a load: its value, or the code of the exception."""
    assert this_cpu(Cpu).attached
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
    """Execute a store: 0, or the code of the exception."""
    assert this_cpu(Cpu).attached
    while True:
        evicted = choose(2) == 1
        entry = this_cpu(Cpu).tlb[addr]
        if entry.valid and not evicted:
            if entry.protect:
                return page_fault(addr, PIC_PROTECTION | TEID_STORE)
            write_memory(addr, at(Frame, entry.pfn), value)
            return 0
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
    """Take one step of the translation that an access needs: an exception, or 0 to try the access again."""
    index: Addr = addr // PTRS_PER_PTE
    store_bit: u3 = TEID_STORE if write else 0
    upper = this_cpu(Cpu).psc[index]
    if not upper.valid:
        upper = top_entry(addr).pmd
        if upper.leaf:
            return walk_leaf(addr, write, upper)
        if not upper.valid:
            return page_fault(addr, PIC_DAT | store_bit)
        this_cpu(Cpu).psc[index] = upper
        return 0
    pte = read_entry(upper, addr)
    if not pte.valid:
        return page_fault(addr, PIC_DAT | store_bit)
    if write and pte.protect:
        return page_fault(addr, PIC_PROTECTION | TEID_STORE)
    fill(addr, pte, False)
    return 0


def walk_leaf(addr: Addr, write: bool, upper: pmd_t) -> u3:
    """End a translation at a segment-table entry that maps a large page: an exception, or 0 to try the access again."""
    store_bit: u3 = TEID_STORE if write else 0
    pte = upper.entry
    if not pte.valid:
        return page_fault(addr, PIC_DAT | store_bit)
    if write and pte.protect:
        return page_fault(addr, PIC_PROTECTION | TEID_STORE)
    fill(addr, pte._replace(pfn=pte.pfn + addr % PTRS_PER_PTE), False)
    return 0


def page_fault(addr: Addr, code: u3) -> u3:
    """Raise a program interruption."""
    return code


def top_entry(addr: Addr) -> pmd_p:
    """The slot of the segment-table entry for an address in the table that the ASCE names."""
    return at(pmd_p, index_of(at(Core, cpu_id()).asce) + addr // PTRS_PER_PTE)


def read_entry(upper: pmd_t, addr: Addr) -> pte_t:
    """Read an entry of the page table that a segment entry names."""
    pte = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte
    table_used(at(Table, upper.pfn), addr)
    return pte


def table_used(table: Table, addr: Addr) -> None:
    """Nothing; the invariants watch which tables the hardware uses."""


def fill(addr: Addr, pte: pte_t, speculative: bool) -> None:
    """Form a TLB entry from a valid entry."""
    this_cpu(Cpu).tlb[addr] = tlb_entry(valid=True, protect=pte.protect, pfn=pte.pfn)


def forget(addr: Addr) -> None:
    """Drop the TLB entry for an address."""
    this_cpu(Cpu).tlb[addr] = tlb_entry()


def lctl(asce: pmd_p | None) -> None:
    """LCTL of control registers 1 and 7: attach an address space, or none.  Nothing is purged."""
    this_cpu(Cpu).attached = asce is not None and asce == at(Core, cpu_id()).asce


def purge(scope: Scope) -> None:
    """Drop what a scope covers."""
    for addr in range(NR_PAGES):
        if scope & (1 << addr) != 0:
            forget(addr)
    for index in range(PTRS_PER_PMD):
        if scope & (1 << (NR_PAGES + index)) != 0:
            this_cpu(Cpu).psc[index] = pmd_t()


def purge_everywhere(asce: pmd_p, scope: Scope) -> None:
    """Purge at this CPU, have every other CPU with the address space do so, and wait until all have."""
    for cpu in range(NR_CPUS):
        if cpu != cpu_id() and at(Core, cpu).asce == asce:
            atomic_or(scope, at(Interconnect, cpu_id() * NR_CPUS + cpu).pending)
    if at(Core, cpu_id()).asce == asce:
        purge(scope)
    for cpu in range(NR_CPUS):
        if cpu != cpu_id():
            wait_until(at(Interconnect, cpu_id() * NR_CPUS + cpu).pending == 0)


def ipte(addr: Addr, slot: pte_p, asce: pmd_p, local: bool) -> None:
    """IPTE: set the invalid bit, then purge what was formed from the entry, here or everywhere."""
    done = False
    while not done:
        old = slot.pte
        done = try_cmpxchg(slot.pte, old, old._replace(valid=False))
    if not local:
        purge_everywhere(asce, 1 << addr)
    elif at(Core, cpu_id()).asce == asce:
        purge(1 << addr)


def rdp(addr: Addr, slot: pte_p, asce: pmd_p, local: bool) -> None:
    """RDP: clear the protection bit, and have what was formed from the entry purged, here or everywhere.

    It does not wait for other CPUs: until they have done so, a store there may still be suppressed.
    """
    done = False
    while not done:
        old = slot.pte
        done = try_cmpxchg(slot.pte, old, old._replace(protect=False))
    if at(Core, cpu_id()).asce == asce:
        purge(1 << addr)
    for cpu in range(NR_CPUS):
        if not local and cpu != cpu_id() and at(Core, cpu).asce == asce:
            atomic_or(1 << addr, at(Interconnect, cpu_id() * NR_CPUS + cpu).pending)


def idte_segment(addr: Addr, slot: pmd_p, asce: pmd_p, local: bool) -> None:
    """IDTE: set the invalid bit of a segment-table entry, then purge what came of it, here or everywhere."""
    done = False
    while not done:
        old = slot.pmd
        done = try_cmpxchg(slot.pmd, old, old._replace(valid=False, entry=old.entry._replace(valid=False)))
    index: Addr = addr // PTRS_PER_PTE
    scope: Scope = ((1 << PTRS_PER_PTE) - 1) << (index * PTRS_PER_PTE)
    if not old.leaf:
        scope |= 1 << (NR_PAGES + index)
    if not local:
        purge_everywhere(asce, scope)
    elif at(Core, cpu_id()).asce == asce:
        purge(scope)


def idte(asce: pmd_p) -> None:
    """IDTE: purge everything of an address space from every CPU."""
    purge_everywhere(asce, (1 << (NR_PAGES + PTRS_PER_PMD)) - 1)


def interconnect(requests: Interconnect) -> None:
    """Do what one CPU has asked of this one, at any time, for ever."""
    while True:
        wait_until(requests.pending != 0)
        invalidate(requests)


def invalidate(requests: Interconnect) -> None:
    """Do the purges that are pending now."""
    purge(xchg(requests.pending, 0))


def interconnect_0() -> None:
    """What CPU 0 asks of this one; each issuer's requests are done independently of the others'."""
    interconnect(at(Interconnect, cpu_id()))


def interconnect_1() -> None:
    """What CPU 1 asks of this one."""
    interconnect(at(Interconnect, NR_CPUS + cpu_id()))


def interconnect_2() -> None:
    """What CPU 2 asks of this one."""
    interconnect(at(Interconnect, 2 * NR_CPUS + cpu_id()))


def interconnect_3() -> None:
    """What CPU 3 asks of this one."""
    interconnect(at(Interconnect, 3 * NR_CPUS + cpu_id()))


def speculation() -> None:
    """Translate any address at any time: read the segment entry, then form a TLB entry through it."""
    while True:
        addr: Addr = choose(NR_PAGES)
        if not this_cpu(Cpu).attached:
            continue
        upper = this_cpu(Cpu).psc[addr // PTRS_PER_PTE]
        if not upper.valid:
            upper = top_entry(addr).pmd
            if not upper.leaf:
                this_cpu(Cpu).psc[addr // PTRS_PER_PTE] = upper
            elif upper.entry.valid:
                fill(addr, upper.entry._replace(pfn=upper.entry.pfn + addr % PTRS_PER_PTE), True)
        else:
            pte = read_entry(upper, addr)
            if pte.valid:
                fill(addr, pte, True)

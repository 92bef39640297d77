# SPDX-License-Identifier: GPL-2.0-only
"""An x86-64 CPU as far as page tables go: walker, TLB, paging-structure cache, loads, stores, INVLPG, MOV to CR3.

What one instruction does to translations and memory, with interrupts only between instructions: each starts at a
`choose`, and what the CPU has cached is looked up in the same transition as the access to memory that it leads to.

H1 `speculation` fills the TLB from any present entry at any time, after it has set A by a locked read-modify-write.
H2 A store through a writable and dirty TLB entry touches no page-table entry.
H3 A store through a writable and clean one sets D by a locked read-modify-write that re-checks the entry.
H4 A store through a read-only one faults, whatever the entry in memory says now; the fault drops what was cached.
H5 D is never set by speculation.
H6 The paging-structure cache (`psc`) keeps the upper entry until it is invalidated, and is what walks go through.
H7 An invalidation lies between two instructions, so none is in flight with an old translation afterwards.

Differs: two levels, the top table and the PTE tables; the levels between add steps but no new kind of entry.
Differs: D is set where the bits for software are still what the walk saw, else the walk is done again.
Differs: a fill replaces what the TLB holds for the address, and an entry goes when an access finds it evicted; that is
every eviction at any time, because an entry that is not used has no effect.
Differs: a huge page has as many pages as a PTE table has entries, which may be one.
Left out: PCIDs, global pages, memory types, protection keys, the A bit of upper entries, setting D while W is already
clear (old CPUs).
"""

from typing import NamedTuple

from hw.memory import NR_PAGES, Addr, Frame, Pfn, Table, TablePfn, Value

from ptelab.lang import Array, array, at, choose, index_of, param, percpu, struct, this_cpu, try_cmpxchg, u3, u8

PTRS_PER_PTE = param("PTRS_PER_PTE", 2)
PTRS_PER_PMD = param("PTRS_PER_PMD", 1)
TCE = param("TCE", 0)

PF_PROT = 1
PF_WRITE = 2
PF_USER = 4


class pte_t(NamedTuple):
    """An entry of a PTE table: P, R/W, A, D and the page frame; soft_dirty and uffd_wp are bits for software."""

    present: bool = False
    rw: bool = False
    accessed: bool = False
    dirty: bool = False
    soft_dirty: bool = False
    uffd_wp: bool = False
    pfn: Pfn = 0


class pmd_t(NamedTuple):
    """An entry of the top table: P and the PTE table; or, with PS, an entry that maps a huge page itself."""

    present: bool = False
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
    """A cached translation with the rights and the D bit that the entry had.

    The bits for software are here for set_dirty only, which compares the entry as a whole.  `large`: a part of a huge
    page that has more than one.
    """

    valid: bool = False
    large: bool = False
    rw: bool = False
    dirty: bool = False
    soft_dirty: bool = False
    uffd_wp: bool = False
    pfn: Pfn = 0


@percpu
class Cpu:
    """What one CPU holds: CR3, the interrupt flag (inverted), the TLB and the paging-structure cache.

    `in_irq`: a handler of an interrupt runs, see smp.
    """

    cr3: pmd_p | None
    irqs_off: bool
    in_irq: bool
    tlb: Array[tlb_entry] = array(NR_PAGES)
    psc: Array[pmd_t] = array(PTRS_PER_PMD)


def load(addr: Addr) -> tuple[Value, u3]:
    """Execute a load: its value, or the error code of the page fault."""
    while True:
        evicted = choose(2) == 1
        entry = this_cpu(Cpu).tlb[addr]
        if entry.valid and not evicted:
            value = read_memory(addr, at(Frame, entry.pfn))
            return value, 0
        error = walk(addr, False, tlb_entry())
        if error != 0:
            return 0, error


def store(addr: Addr, value: Value) -> u3:
    """Execute a store: 0, or the error code of the page fault."""
    while True:
        evicted = choose(2) == 1
        entry = this_cpu(Cpu).tlb[addr]
        if entry.valid and entry.rw and entry.dirty and not evicted:
            write_memory(addr, at(Frame, entry.pfn), value)
            return 0
        if evicted:
            entry = tlb_entry()
        error = walk(addr, True, entry)
        if error != 0:
            return error


def read_memory(addr: Addr, frame: Frame) -> Value:
    """Read through the translation of an address that the TLB holds."""
    return frame.data


def write_memory(addr: Addr, frame: Frame, value: Value) -> None:
    """Write through the translation of an address that the TLB holds, without a look at the page table."""
    frame.data = value


def walk(addr: Addr, write: bool, entry: tlb_entry) -> u3:
    """Take one step of the walk that an access needs: an error code, or 0 when the access has to be tried again."""
    index: Addr = addr // PTRS_PER_PTE
    upper = this_cpu(Cpu).psc[index]
    if write and entry.valid and not entry.rw:
        return page_fault(addr, PF_USER | PF_WRITE | PF_PROT)
    if not upper.present:
        upper = top_entry(addr).pmd
        if upper.leaf:
            return walk_leaf(addr, write, upper)
        if not upper.present:
            return page_fault(addr, PF_USER | PF_WRITE if write else PF_USER)
        this_cpu(Cpu).psc[index] = upper
        return 0
    if write and entry.valid:
        set_dirty(addr, entry, upper)
        return 0
    pte = read_entry(upper, addr)
    if not pte.present:
        return page_fault(addr, PF_USER | PF_WRITE if write else PF_USER)
    if write and not pte.rw:
        return page_fault(addr, PF_USER | PF_WRITE | PF_PROT)
    if pte.accessed:
        fill(addr, pte, False)
    else:
        set_accessed(addr, pte, upper)
    return 0


def walk_leaf(addr: Addr, write: bool, upper: pmd_t) -> u3:
    """End a walk at an entry that maps a huge page: an error code, or 0 when the access has to be tried again."""
    pte = upper.entry
    if not pte.present:
        return page_fault(addr, PF_USER | PF_WRITE if write else PF_USER)
    if write and not pte.rw:
        return page_fault(addr, PF_USER | PF_WRITE | PF_PROT)
    if not pte.accessed:
        set_leaf(addr, upper, pte._replace(accessed=True))
    elif write and not pte.dirty:
        set_leaf(addr, upper, pte._replace(dirty=True))
    else:
        fill_large(addr, pte, False)
    return 0


def set_leaf(addr: Addr, upper: pmd_t, entry: pte_t) -> None:
    """Set A or D of the entry of a huge page that was just read, unless it has changed."""
    go_on = choose(1) == 0
    slot = top_entry(addr)
    if go_on:
        try_cmpxchg(slot.pmd, upper, upper._replace(entry=entry))


def page_fault(addr: Addr, error_code: u3) -> u3:
    """Raise a page fault, which drops what is cached for the address."""
    forget(addr)
    this_cpu(Cpu).psc[addr // PTRS_PER_PTE] = pmd_t()
    return error_code


def top_entry(addr: Addr) -> pmd_p:
    """The slot of the upper entry for an address in the top table that CR3 names."""
    return at(pmd_p, index_of(this_cpu(Cpu).cr3) + addr // PTRS_PER_PTE)


def read_entry(upper: pmd_t, addr: Addr) -> pte_t:
    """Read an entry of the table that the paging-structure cache names."""
    pte = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE).pte
    table_used(at(Table, upper.pfn), addr)
    return pte


def table_used(table: Table, addr: Addr) -> None:
    """Nothing; the invariants watch which tables the hardware uses."""


def set_dirty(addr: Addr, entry: tlb_entry, upper: pmd_t) -> None:
    """Set D for a store through a clean entry, if the entry in memory is still what was cached; else drop it."""
    old = pte_t(present=True, rw=True, accessed=True, soft_dirty=entry.soft_dirty, uffd_wp=entry.uffd_wp, pfn=entry.pfn)
    slot = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE)
    if try_cmpxchg(slot.pte, old, old._replace(dirty=True)):
        this_cpu(Cpu).tlb[addr] = entry._replace(dirty=True)
    else:
        forget(addr)
    table_used(at(Table, upper.pfn), addr)


def set_accessed(addr: Addr, pte: pte_t, upper: pmd_t) -> None:
    """Set A of the entry just read, unless it has changed or an invalidation has stopped the walk."""
    go_on = choose(1) == 0
    if go_on and this_cpu(Cpu).psc[addr // PTRS_PER_PTE] == upper:
        slot = at(pte_p, upper.pfn * PTRS_PER_PTE + addr % PTRS_PER_PTE)
        try_cmpxchg(slot.pte, pte, pte._replace(accessed=True))
        table_used(at(Table, upper.pfn), addr)


def fill(addr: Addr, pte: pte_t, speculative: bool) -> None:
    """Cache a present entry whose A bit is set."""
    this_cpu(Cpu).tlb[addr] = tlb_entry(
        valid=True, rw=pte.rw, dirty=pte.dirty, soft_dirty=pte.soft_dirty, uffd_wp=pte.uffd_wp, pfn=pte.pfn
    )


def fill_large(addr: Addr, pte: pte_t, speculative: bool) -> None:
    """Cache the part that an address has of a huge page; how many parts are cached at a time is the CPU's affair."""
    fill(addr, pte._replace(pfn=pte.pfn + addr % PTRS_PER_PTE), speculative)
    if PTRS_PER_PTE > 1:
        this_cpu(Cpu).tlb[addr] = this_cpu(Cpu).tlb[addr]._replace(large=True)


def forget(addr: Addr) -> None:
    """Drop the TLB entry for an address."""
    this_cpu(Cpu).tlb[addr] = tlb_entry()


def invlpg(addr: u8) -> None:
    """Drop the TLB entry for an address, all of a huge page, and every entry of the paging-structure cache.

    With EFER.TCE, AMD's translation cache extension, only what the cache has for that address; INVPCID, which Linux
    uses where kernel and user have tables of their own, promises no more.  An address beyond those that there are has
    no TLB entry.
    """
    if addr < NR_PAGES:
        forget(addr)
    for other in range(NR_PAGES):
        if this_cpu(Cpu).tlb[other].large and other // PTRS_PER_PTE == addr // PTRS_PER_PTE:
            forget(other)
    for index in range(PTRS_PER_PMD):
        if TCE == 0 or index == addr // PTRS_PER_PTE:
            this_cpu(Cpu).psc[index] = pmd_t()


def write_cr3(pgd: pmd_p | None) -> None:
    """Load CR3, which drops all that is cached; None is a table without user addresses."""
    this_cpu(Cpu).cr3 = pgd
    for addr in range(NR_PAGES):
        forget(addr)
    for index in range(PTRS_PER_PMD):
        this_cpu(Cpu).psc[index] = pmd_t()


def speculation() -> None:
    """Walk for any address at any time, as the CPU's walker may: read the upper entry, then fill the TLB through it."""
    while True:
        addr: Addr = choose(NR_PAGES)
        if this_cpu(Cpu).cr3 is None:
            continue
        upper = this_cpu(Cpu).psc[addr // PTRS_PER_PTE]
        if not upper.present:
            upper = top_entry(addr).pmd
            if not upper.leaf:
                this_cpu(Cpu).psc[addr // PTRS_PER_PTE] = upper
            elif upper.entry.present and upper.entry.accessed:
                fill_large(addr, upper.entry, True)
        else:
            pte = read_entry(upper, addr)
            if pte.present and pte.accessed:
                fill(addr, pte, True)
            elif pte.present:
                set_accessed(addr, pte, upper)

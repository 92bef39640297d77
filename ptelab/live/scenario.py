# SPDX-License-Identifier: GPL-2.0-only
"""A litmus test as programs for the agent: the initial state is made, the columns run, what is there is looked at.

The first mm of a test is that of the agent itself, whose first thread directs a run; each column has a thread, or a
process when it runs in another mm.  A run goes: make the files and mappings as the test begins, release the columns,
let them meet, wait until all have ended, look, take everything away.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ptelab.litmus import syntax
from ptelab.litmus.columns import calls, calls_of
from ptelab.litmus.resolve import Bits, Column, File, Test, Vma
from ptelab.live import huge, merging, private, swapping
from ptelab.live.column import (
    CONSTANTS,
    MADV_COLLAPSE,
    PAGE,
    SYNC_FILE_RANGE_ALL,
    TABLE_BYTES,
    ColumnCompiler,
    Unable,
    register_names,
)  # fmt: skip
from ptelab.live.devices import transfer
from ptelab.live.forking import ForkEvents, forks_registered
from ptelab.live.merging import Ksm, Merging
from ptelab.live.private import PrivatePages
from ptelab.live.probe import Abilities
from ptelab.live.program import RESULTS, WORD, Arg, Label, Program, Reg, Shared
from ptelab.live.reading import OFFSET, is_reading
from ptelab.live.swapping import Swapping
from ptelab.live.switching import Visit

TEST_AREA = 0x200000000
"""Where the page tables of a test begin; the first VMA ends at the end of a table, as in the model."""
EMPTY_AREA = 0x350000000
"""Where nothing is ever stored."""
WATCH_AREA, WATCH_BYTES = 0x300000000, 16 * TABLE_BYTES
"""Where the agent maps files itself, to look at them."""

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 0x01, 0x02, 0x10, 0x20
_PRIVATE = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP = 4, 10, 11, 16
MLOCK_ONFAULT = 1
PR_SET_TIMERSLACK = 29
O_RDONLY, O_WRONLY = 0, 1
AT_FDCWD = -100
POSIX_FADV_DONTNEED = 4
PFN_MASK = (1 << 55) - 1
UNKNOWN = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of the test: its descriptors, which the agent inherits; `reader` is open for reading only."""

    fd: int
    reader: int
    has_disk: bool


@dataclass
class Stage:
    """What the programs of a test share.  `fields` are the words of a result, by what they hold."""

    test: Test
    abilities: Abilities
    files: dict[str, OpenFile]
    entries: int  # of a PTE table in the model
    runs_max: int
    values_fd: int  # a file with each number at its place, and room to note one for each column
    ksm: Ksm = field(default_factory=Ksm)
    merging: Merging | None = None
    swapping: Swapping | None = None
    shared: Shared = field(init=False)
    fields: dict[str, int] = field(default_factory=dict)
    columns: dict[int, ColumnCompiler] = field(default_factory=dict)
    children: dict[str, Program] = field(default_factory=dict)
    forks: dict[str, ForkEvents] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    pids: dict[str, int] = field(default_factory=dict)
    cpu_masks: dict[int, int] = field(default_factory=dict)  # column → where its mask lies
    main_mm: str = ""
    ending: frozenset[str] = frozenset()  # mms whose columns call exit: each is a process of its own

    def __post_init__(self) -> None:
        assert self.abilities.machine is not None
        self.shared = Shared(self.abilities.machine, 0)
        words = self.shared.words
        self.stop, self.delay, self.row, self.run = words(), words(), words(), words()
        self.made = words()  # whether a run has begun as the test does
        self.go, self.start, self.done, self.ready, self.seen, self.fin = (words() for _ in range(6))
        self.pagemap_path = self.shared.bytes(b"/proc/self/pagemap\0")
        self.clear_refs_path = self.shared.bytes(b"/proc/self/clear_refs\0")
        self.one, self.four = self.shared.bytes(b"1"), self.shared.bytes(b"4")
        _check(self.test, self.abilities)
        self.ending = frozenset(c.mm for c in self.test.columns if exits(c))
        self.main_mm = next((m for m in self.test.mms if m not in self.test.children and m not in self.ending), "")
        if merging.wants(self.test):
            self.merging = Merging(self, self.ksm)
        if self.test.swap:
            self.swapping = Swapping(self)
        Director(self).write()
        self.shared.results_bytes = self.runs_max * self.row_bytes

    @property
    def page(self) -> int:
        """The size of what a test calls a page: where there are huge pages, a part of one, as a table has entries."""
        return TABLE_BYTES // self.entries if huge.wants(self.test) else PAGE

    @property
    def offset(self) -> int:
        """Where the datum lies in a page."""
        return OFFSET if any(reads(c) for c in self.test.columns) else 0

    @property
    def row_bytes(self) -> int:
        """The size of one result."""
        return max(1, len(self.fields)) * WORD

    def field(self, name: str) -> int:
        """Where a word of a result lies within it."""
        return self.fields.setdefault(name, len(self.fields)) * WORD

    def address(self, vma: str, page: int) -> int:
        """The address of a page of a mapping: two tables of the model meet where two of the machine do."""
        return self.place(self.test.vmas[vma].start + page)

    def place(self, page: int) -> int:
        """The same of a page by its number in an address space."""
        return TEST_AREA + TABLE_BYTES + (page - self.entries) * self.page

    @property
    def anonymous(self) -> list[tuple[str, int]]:
        """The pages of processes whose data are looked at in the end: those that no file has."""
        vmas = [v for v in self.test.vmas.values() if not v.file and not v.shared and v.mm not in self.ending]
        return [(v.name, page) for v in vmas for page in range(v.pages)]

    def vmas_of(self, mm: str) -> list[Vma]:
        """The mappings that an mm has at first."""
        return [v for v in self.test.vmas.values() if v.mm == mm and not v.hole]

    def child_program(self, mm: str) -> Program:
        """What the process does that a column's fork makes."""
        if mm not in self.children:
            self.children[mm] = self.shared.program()
        return self.children[mm]

    def pid(self, mm: str) -> int:
        """The address of the number of the process that has an mm which is neither the agent's nor a child's."""
        if mm == self.main_mm or mm in self.test.children:
            raise Unable("which process maps a page is not known")
        return self.pids.setdefault(mm, self.shared.words())

    def cpu_mask(self, column: int) -> int:
        """The address of the set of CPUs that a column runs on."""
        if column not in self.cpu_masks:
            self.cpu_masks[column] = self.shared.words(1, 1)
        return self.cpu_masks[column]


def _check(test: Test, abilities: Abilities) -> None:
    if any(f.device for f in test.files.values()):
        raise Unable("a driver's memory is needed")
    if why := huge.unable(test):
        raise Unable(why)
    if any(b.huge for b in test.ptes.values()) and abilities.pagemap_scan:
        raise Unable(f"PAGEMAP_SCAN, which tells whether a page is huge: {abilities.pagemap_scan}")
    if test.has_lists:
        raise Unable("a process has more in memory than the pages of a test, and reclaim finds that as well")
    if test.bounds.get("SPARE_PAGES") == 0:
        raise Unable("memory does not run out here")
    if why := swapping.unable(test, abilities):
        raise Unable(why)
    if test.bounds.get("CONFIG_MEM_SOFT_DIRTY") and not abilities.soft_dirty:
        raise Unable("the kernel has no soft-dirty bits")


def exits(column: Column) -> bool:
    """Whether a column ends with its thread."""
    return "exit" in calls_of(column.process.body)


def reads(column: Column) -> bool:
    """Whether a column has a page pinned for some time to read it."""
    found = list(calls(column.process.body))
    return is_reading(found) and not transfer(found)


class Director:
    """Writes the program of the first thread, and those of all others."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.test, self.shared = stage, stage.test, stage.shared
        self.program = self.shared.program()
        test = self.test
        self.main_columns = [c for c in test.columns if c.mm in ("", stage.main_mm)]
        self.others = [m for m in test.mms if m != stage.main_mm and m not in test.children]
        self.staying = [c for c in test.columns if not exits(c)]
        self.ended = [m for m in test.mms if m in stage.ending]
        if any(c.mm in stage.ending for c in self.staying):
            raise Unable("a process of which only some threads end is not made here")
        self.meeting = [c for c in test.columns if c.mm not in test.children]
        found = [call for c in test.columns for call in calls(c.process.body)]
        advised = [a.name for call in found if call.name == "madvise" and isinstance(a := call.args[2], syntax.Name)]
        self.reclaims = "MADV_PAGEOUT" in advised or any("reclaim" in call.name for call in found)
        self.private = PrivatePages(stage)

    def write(self) -> None:
        """All programs."""
        stage, p = self.stage, self.program
        run, row, pagemap = p.reg(), p.reg(), p.reg()
        p.call("openat", AT_FDCWD, stage.pagemap_path, O_RDONLY, 0, to=pagemap)
        p.call("prctl", PR_SET_TIMERSLACK, 1, 0, 0, 0)  # threads inherit it: who sleeps for short does so
        for column in self.main_columns:
            p.op("SPAWN", self._column_thread(column).number)
        others = {mm: self.shared.program() for mm in self.others}
        for mm, program in others.items():
            self._other(mm, program)
        for mm in self.test.children:
            self._child(mm, stage.child_program(mm))
        if self.reclaims:
            p.call("mmap", EMPTY_AREA, TABLE_BYTES, PROT_READ | PROT_WRITE, _PRIVATE, -1, 0)
        if stage.swapping:
            stage.swapping.begin(p, stage.main_mm, pagemap)
        p.op("SET", RESULTS, to=row)  # from here on all columns are known, and so is what a result has of them
        again, end = p.label(Label()), Label()
        stop = p.reg()
        p.load(stop, stage.stop)
        p.op("ADD", run, 1, to=run)
        p.op("IF_ZERO", self._is(p, stop, 0), end)
        p.store(stage.run, run)
        p.store(stage.row, row)
        for file in self.test.files.values():
            self._file(p, file)
        p.store(stage.made, 1)
        self._mappings(p, stage.main_mm, run, pagemap)
        self._make_others(p, others, run)
        p.op("ARRIVE", stage.go)
        self._await(p, stage.done, run, len(self.staying))
        for _ in self.ended:
            p.call("wait4", -1, 0, 0x40000000, 0)
        self._look(p, stage.main_mm, pagemap, row)
        lasting = len(self.others) + len(self.test.children) - len(self.ended)
        self._await(p, stage.seen, run, lasting)
        self._registers(p, row)
        self._note(p, row, "made", stage.made)
        if stage.merging:
            for which in range(2):
                self._note(p, row, f"sharing {which}", stage.merging.count(which))
        for name, address in (stage.swapping.words if stage.swapping else {}).items():
            self._note(p, row, name, address)
            p.store(address, 0)
        for file in self.test.files.values():
            self._look_at_file(p, file, pagemap, row)
        p.op("ARRIVE", stage.fin)
        for _ in range(lasting):
            p.call("wait4", -1, 0, 0x40000000, 0)
        for vma in (v for v in self.test.vmas.values() if v.mm == stage.main_mm):
            p.call("munmap", stage.address(vma.name, 0), vma.pages * stage.page)
        for file in self.test.files.values():
            self._look_at_disk(p, file, row)
        p.op("ADD", row, stage.row_bytes, to=row)
        enough = p.reg()
        p.op("LESS", run, stage.runs_max, to=enough)
        p.op("IF_ZERO", enough, end)
        p.jump(again)
        p.label(end)

    def _is(self, p: Program, a: Arg, b: Arg) -> Reg:
        to = p.reg()
        p.op("EQUAL", a, b, to=to)
        return to

    # Wait until a counter to which `each` arrivals are added in a run has got them all.
    def _await(self, p: Program, counter: int, run: Arg, each: int) -> None:
        if each:
            target = p.reg()
            p.op("TIMES", run, each, to=target)
            p.op("AWAIT", counter, target, 0)

    # ----------------------------------------------------------------------------------- the beginning

    # A file as the test begins: these data, clean and in the page cache.
    def _file(self, p: Program, file: File) -> None:
        stage, fd = self.stage, self.stage.files[file.name].fd
        if huge.of_files(self.test):
            huge.write(p, fd, file.values)
            p.call("sync_file_range", fd, 0, 0, SYNC_FILE_RANGE_ALL)
            return
        if self._has_holes(file):
            p.call("ftruncate", fd, 0)
        if self._has_holes(file) or any(call == "truncate" for call in self._calls()):
            p.call("ftruncate", fd, len(file.values) * PAGE)
        there = self.shared.words()
        for index, value in enumerate(file.values):
            skip, now = Label(), p.reg()
            p.call("pread64", fd, there, WORD, index * PAGE)
            p.load(now, there)
            p.op("SUB", now, value, to=now)
            p.op("IF_ZERO", now, skip)
            p.call("pwrite64", fd, self.shared.words(1, value), WORD, index * PAGE)
            p.label(skip)
        if stage.files[file.name].has_disk:
            p.call("sync_file_range", fd, 0, 0, SYNC_FILE_RANGE_ALL)

    # Whether pages of a file in memory are made by loads: their entries are writable, and clean.
    def _has_holes(self, file: File) -> bool:
        entries = ((self.test.vmas[name], bits) for (name, _), bits in self.test.ptes.items())
        return file.shmem and any(v.file == file.name and b.write and not b.dirty for v, b in entries)

    def _calls(self) -> list[str]:
        return [name for c in self.test.columns for name in calls_of(c.process.body)]

    def _mappings(self, p: Program, mm: str, run: Reg, pagemap: Reg, inherited: frozenset[str] = frozenset()) -> None:
        stage, test = self.stage, self.test
        for vma in stage.vmas_of(mm):
            if vma.name not in inherited:
                self._map(p, vma)
        if mm == stage.main_mm:
            if stage.merging:
                stage.merging.begin(p, pagemap)
            self.private.by_fork(p, run)
        for vma in stage.vmas_of(mm):
            start = stage.address(vma.name, 0)
            pages = {page: bits for (name, page), bits in test.ptes.items() if name == vma.name}
            for page, bits in pages.items():
                if not bits.page and not bits.slot:
                    self._entry(p, vma, page, bits)
                elif bits.page and vma.name not in inherited and private.kind(test, vma, bits) == private.STORED:
                    self.private.store(p, vma, page, bits)
            if vma.file and pages:  # others may have been mapped around these
                for page in set(range(vma.pages)) - set(pages):
                    p.call("madvise", start + page * stage.page, stage.page, MADV_DONTNEED)
        if stage.swapping:
            stage.swapping.out(p, mm, inherited)
        for vma in stage.vmas_of(mm):
            if self._written_first(vma):
                p.call("mprotect", stage.address(vma.name, 0), vma.pages * stage.page, PROT_READ)
        if any(not b.young and not b.slot for (name, _), b in test.ptes.items() if test.vmas[name].mm == mm):
            opened = p.reg()
            p.call("openat", AT_FDCWD, stage.clear_refs_path, O_WRONLY, 0, to=opened)
            p.call("write", opened, stage.one, 1)
            p.call("close", opened)
        if self.reclaims:  # what CPUs have not yet put into the lists of reclaim is put there: ours, and all others'
            p.call("madvise", EMPTY_AREA, TABLE_BYTES, CONSTANTS["MADV_PAGEOUT"])
            p.call("madvise", EMPTY_AREA, TABLE_BYTES, MADV_COLLAPSE)
        if stage.merging:
            stage.merging.meet(p, mm, pagemap)
        if huge.wants(test):
            for vma in stage.vmas_of(mm):
                p.call("madvise", stage.address(vma.name, 0), vma.pages * stage.page, huge.advice_at_last(test))
            if mm == stage.main_mm:
                huge.check(p, stage, pagemap)

    # Whether a mapping that is read-only has pages of its own, which were stored to.
    def _written_first(self, vma: Vma) -> bool:
        return not vma.write and any(b.page or b.slot for (name, _), b in self.test.ptes.items() if name == vma.name)

    def _map(self, p: Program, vma: Vma) -> None:
        stage = self.stage
        start, size = stage.address(vma.name, 0), vma.pages * stage.page
        flags = MAP_FIXED | (MAP_SHARED if vma.shared else MAP_PRIVATE)
        fd, offset = -1, 0
        if vma.file:
            file = stage.files[vma.file]
            fd, offset = (file.reader if vma.readonly else file.fd), vma.pgoff * stage.page
        else:
            flags |= MAP_ANONYMOUS
        prot = PROT_READ | (PROT_WRITE if vma.write or self._written_first(vma) else 0)
        prot |= PROT_EXEC if vma.program else 0
        p.call("mmap", start, size, prot, flags, fd, offset)
        if vma.number % 2:
            p.call("madvise", start, size, MADV_DONTDUMP)  # or two of them would be merged into one
        if vma.file and not vma.shared and vma.write and self.test.children:
            p.store(start, 0)  # it has an anon_vma from now on, as in the model, so that fork copies its entries
            p.call("madvise", start, size, MADV_DONTNEED)
        if vma.locked:
            p.call("mlock2", start, size, MLOCK_ONFAULT)
        if stage.merging:
            stage.merging.enter(p, vma.name)
        if huge.wants(self.test):
            p.call("madvise", start, size, huge.advice_at_first(self.test, vma))

    # One entry as the test begins, by the access that makes it.
    def _entry(self, p: Program, vma: Vma, page: int, bits: Bits) -> None:
        address = self.stage.address(vma.name, page)
        file = self.test.files[vma.file]
        notify = vma.shared and vma.write and not file.shmem
        if bits.write and bits.dirty:
            p.store(address, file.values[vma.pgoff + page])
        elif bits.dirty:
            raise Unable("nothing makes a page of a file dirty and read-only")
        elif bits.write and notify:
            raise Unable("nothing makes a page of such a file writable and clean")
        elif bits.write and file.shmem:
            if file.values[vma.pgoff + page]:
                raise Unable("a page of a memory file that holds data is dirty")
            p.load(p.reg(), address)
        elif vma.shared and vma.write and file.shmem:
            raise Unable("pages of memory files are mapped writable at once")
        else:
            p.load(p.reg(), address)

    # ---------------------------------------------------------------------------------- other processes

    def _make_others(self, p: Program, others: dict[str, Program], run: Reg) -> None:
        stage, test = self.stage, self.test
        for users in swapping.users(test):
            mms = {v.mm for v, _ in users}
            if len(mms) > 1 and len({stage.address(v.name, page) for v, page in users}) > 1:
                raise Unable("a page that processes share has one address")
            if len(mms) > 1 and stage.main_mm not in mms:
                raise Unable("a page that only other processes share is not made here")
        # A fork takes the right to store from all that the child gets: it gets what it needs.
        wanted = {stage.address(v, 0) for mm in others for v in self._inherited(mm)}
        kept = [v for v in stage.vmas_of(stage.main_mm) if stage.address(v.name, 0) not in wanted] if others else []
        for advice in (MADV_DONTFORK, MADV_DOFORK):
            for vma in kept:
                p.call("madvise", stage.address(vma.name, 0), vma.pages * stage.page, advice)
            if advice == MADV_DONTFORK:
                for mm, program in others.items():
                    process = p.reg()
                    p.op("FORK", program.number, to=process)
                    p.store(stage.pid(mm), process)
        self._await(p, stage.ready, run, len(others))

    def _inherited(self, mm: str) -> frozenset[str]:
        return swapping.shared_with(self.test, mm, self.stage.main_mm)

    # A process that is forked for each run and has another mm of the test.
    def _other(self, mm: str, p: Program) -> None:
        stage = self.stage
        run, row, pagemap = p.reg(), p.reg(), p.reg()
        inherited = self._inherited(mm)
        places = {stage.address(v, 0) for v in inherited}
        p.die_with_parent()
        p.load(run, stage.run)
        p.load(row, stage.row)
        p.call("openat", AT_FDCWD, stage.pagemap_path, O_RDONLY, 0, to=pagemap)
        for vma in stage.vmas_of(stage.main_mm):
            if stage.address(vma.name, 0) not in places:
                p.call("munmap", stage.address(vma.name, 0), vma.pages * stage.page)
        if stage.swapping:
            stage.swapping.begin(p, mm, pagemap)
        self._mappings(p, mm, run, pagemap, inherited)
        columns = [c for c in self.test.columns if c.mm == mm]
        for column in columns[1:]:
            p.op("SPAWN", self._column_once(column).number)
        for visit in (v for v in stage.visits if v.mm == mm):
            p.op("SPAWN", self._visitor(visit).number)
        p.op("ARRIVE", stage.ready)
        if columns:
            self._body(p, columns[0], run)
        self._await(p, stage.done, run, len(self.staying))
        self._look(p, mm, pagemap, row)
        p.op("ARRIVE", stage.seen)
        p.op("AWAIT", stage.fin, run, 0)

    # A process that a column forks.
    def _child(self, mm: str, p: Program) -> None:
        stage = self.stage
        run, row = p.reg(), p.reg()
        p.die_with_parent()
        p.load(run, stage.run)
        p.load(row, stage.row)
        columns = [c for c in self.test.columns if c.mm == mm]
        for column in columns[1:]:
            p.op("SPAWN", self._column_once(column, meets=False).number)
        for column in columns[:1]:
            self._body(p, column, run, meets=False)
        self._await(p, stage.done, run, len(self.staying))
        p.op("ARRIVE", stage.seen)
        p.op("AWAIT", stage.fin, run, 0)

    # ------------------------------------------------------------------------------------------ columns

    # The thread of a column in the agent itself, run after run.
    def _column_thread(self, column: Column) -> Program:
        p = self.shared.program()
        device = None
        run = p.reg()
        if reads(column) or forks_registered(list(calls(column.process.body))):
            device = self.shared.program()
            p.op("SPAWN", device.number)
        p.call("sched_setaffinity", 0, WORD, self.stage.cpu_mask(column.number))
        again = p.label(Label())
        p.op("ADD", run, 1, to=run)
        p.op("AWAIT", self.stage.go, run, 0)
        self._body(p, column, run, released=True, device=device)
        p.jump(again)
        return p

    # The thread of another mm that has a column's CPU for a while.
    def _visitor(self, visit: Visit) -> Program:
        p = self.shared.program()
        run = p.reg()
        p.load(run, self.stage.run)
        p.call("sched_setaffinity", 0, WORD, self.stage.cpu_mask(visit.column))
        if visit.at_first:
            p.op("AWAIT", self.stage.go, run, 0)
            self._meet(p, run)
        else:
            p.op("AWAIT", visit.turn, run, 0)
        p.op("ARRIVE", visit.back)
        return p

    def _column_once(self, column: Column, meets: bool = True) -> Program:
        p = self.shared.program()
        run = p.reg()
        p.load(run, self.stage.run)
        self._body(p, column, run, meets)
        return p

    def _body(
        self, p: Program, column: Column, run: Reg, meets: bool = True, released: bool = False,
        device: Program | None = None,
    ) -> None:  # fmt: skip
        stage = self.stage
        compiler = ColumnCompiler(stage, column, p, run)
        stage.columns[column.number] = compiler
        if helped := compiler.devices.reader or compiler.devices.forks:
            if device is None:
                device = self.shared.program()
                p.op("SPAWN", device.number)
                helped.thread(device, for_good=False)
            else:
                helped.thread(device, for_good=True)
        compiler.reset()
        compiler.devices.prepare()
        if not released:
            p.call("sched_setaffinity", 0, WORD, stage.cpu_mask(column.number))
            p.op("AWAIT", stage.go, run, 0)
        if meets:
            for (thread, vma, page), bits in self.test.tlbs.items():
                if thread == column.number:
                    self._warm(p, vma, page, bits)
            if not column.active_mm:
                self._meet(p, run)
        compiler.statements()
        compiler.devices.finish()
        p.op("END") if exits(column) else p.op("ARRIVE", stage.done)

    def _meet(self, p: Program, run: Reg) -> None:
        target, longest = p.reg(), p.reg()
        p.op("TIMES", run, len(self.meeting), to=target)
        p.load(longest, self.stage.delay)
        p.op("RENDEZVOUS", self.stage.start, target)
        p.op("DELAY", longest)

    # Let the CPU have a translation in its TLB, by the access that fills it.
    def _warm(self, p: Program, vma: str, page: int, bits: Bits) -> None:
        address = self.stage.address(vma, page) + self.stage.offset
        entry = self.test.ptes[vma, page]
        if bits.write and bits.dirty and entry.write and entry.dirty:
            v = self.test.vmas[vma]
            page_value = self.test.pages[bits.page].value if bits.page else 0
            p.store(address, page_value if bits.page else self.test.files[v.file].values[v.pgoff + page])
        else:
            p.load(p.reg(), address)

    # -------------------------------------------------------------------------------------------- looking

    def _look(self, p: Program, mm: str, pagemap: Reg, row: Reg) -> None:
        if mm in self.stage.ending:
            return
        for vma in (v for v in self.test.vmas.values() if v.mm == mm):
            for page in range(vma.pages):
                to = p.reg()
                p.op("ADD", row, self.stage.field(f"pagemap {vma.name} {page}"), to=to)
                p.call("pread64", pagemap, to, WORD, self.stage.address(vma.name, page) // PAGE * WORD)
        for name, page in (place for place in self.stage.anonymous if self.test.vmas[place[0]].mm == mm):
            to, value, refused = p.reg(), p.reg(), Label()
            p.op("ADD", row, self.stage.field(f"datum {name} {page}"), to=to)
            p.store(to, UNKNOWN)
            p.load(value, self.stage.address(name, page) + self.stage.offset, refused)
            p.store(to, value)
            p.label(refused)

    def _registers(self, p: Program, row: Reg) -> None:
        for number, compiler in self.stage.columns.items():
            names = {f"{number}:{name}": compiler.register(name) for name in register_names(compiler.column)}
            for label, register in {**names, f"signal {number}": compiler.fault}.items():
                self._note(p, row, label, self.shared.register(compiler.program, register))

    def _note(self, p: Program, row: Reg, name: str, address: Arg) -> None:
        value, to = p.reg(), p.reg()
        p.load(value, address)
        p.op("ADD", row, self.stage.field(name), to=to)
        p.store(to, value)

    def _look_at_file(self, p: Program, file: File, pagemap: Reg, row: Reg) -> None:
        stage = self.stage
        count = len(file.values)
        start, size = WATCH_AREA + file.number * WATCH_BYTES, stage.page
        fd = stage.files[file.name].fd
        p.call("mmap", start, count * size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0)
        for index in range(count):
            value, to, address, frame = p.reg(), p.reg(), start + index * size, p.reg()
            gone, on = Label(), Label()
            p.op("ADD", row, stage.field(f"value {file.name} {index}"), to=to)
            p.load(value, address, gone)
            p.store(to, value)
            if stage.abilities.frames:
                p.op("ADD", row, stage.field(f"frame {file.name} {index}"), to=to)
                p.call("pread64", pagemap, to, WORD, address // PAGE * WORD)
                p.load(frame, to)
                p.op("AND", frame, PFN_MASK, to=frame)
                p.op("TIMES", frame, WORD, to=frame)
                for what, source in (("count", stage.abilities.kpagecount), ("flags", stage.abilities.kpageflags)):
                    p.op("ADD", row, stage.field(f"{what} {file.name} {index}"), to=to)
                    p.call("pread64", source, to, WORD, frame)
            p.jump(on)
            p.label(gone)
            for what in ("value", *(("frame", "count", "flags") if stage.abilities.frames else ())):
                p.op("ADD", row, stage.field(f"{what} {file.name} {index}"), to=to)
                p.store(to, UNKNOWN)
            p.label(on)
        p.call("munmap", start, count * size)

    # What is on disk: of a page that is clean when nothing maps it any more, dropped and read again.
    def _look_at_disk(self, p: Program, file: File, row: Reg) -> None:
        stage = self.stage
        if not (stage.abilities.frames and stage.files[file.name].has_disk):
            return
        fd = stage.files[file.name].fd
        for index in range(len(file.values)):
            frame, to, skip = p.reg(), p.reg(), Label()
            p.op("ADD", row, stage.field(f"frame {file.name} {index}"), to=frame)
            p.load(frame, frame)
            p.op("IF_ZERO", self._is(p, self._is(p, frame, UNKNOWN), 0), skip)
            p.op("AND", frame, PFN_MASK, to=frame)
            p.op("TIMES", frame, WORD, to=frame)
            p.op("ADD", row, stage.field(f"later flags {file.name} {index}"), to=to)
            p.call("pread64", stage.abilities.kpageflags, to, WORD, frame)
            p.call("fadvise64", fd, index * stage.page, stage.page, POSIX_FADV_DONTNEED)
            p.op("ADD", row, stage.field(f"disk {file.name} {index}"), to=to)
            p.call("pread64", fd, to, WORD, index * stage.page)
            p.label(skip)

# SPDX-License-Identifier: GPL-2.0-only
"""From what a litmus file says to what it means: names looked up, defaults filled in, contradictions refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, cast

from ptelab.litmus import profiles, syntax
from ptelab.litmus.syntax import LitmusError, Pos

Result: TypeAlias = Literal["Never", "Sometimes", "Always", "DEADLOCK", "Maybe"]
RESULTS: tuple[Result, ...] = ("Never", "Sometimes", "Always", "DEADLOCK", "Maybe")

KEYS = ("Arch", "Reach", "Patch", "Bounds")
_HERD_KEYS = ("Generator", "Prefetch", "Com", "Orig", "Cycle", "Relax", "Safe", "Hash", "Variant", "Config", "Commit")
_PTE_SYNONYMS = {"af": "young", "db": "dirty", "dbm": "write", "present": "valid", "accessed": "young"}
_PTE_FIELDS = ("oa", "valid", "write", "dirty", "young", "exclusive", "huge", "ksm")
_VMA_PARTS = ("mm", "file", "pgoff", "pages", "start", "prot", "flags", "locked")
_FLAGS = {"shared": True, "private": False, "hole": True, "readonly": True}
_PROT = {"r": False, "rw": True, "rx": False}


@dataclass(frozen=True, slots=True)
class File:
    number: int
    name: str
    values: tuple[int, ...]  # one datum a page
    first_folio: int
    shmem: bool = False
    device: bool = False  # memory of a driver, mapped without pages


@dataclass(frozen=True, slots=True)
class Page:
    """An anonymous page; its folio comes after those of all files."""

    number: int
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Vma:
    number: int
    name: str
    mm: str
    file: str  # empty: anonymous
    pgoff: int
    pages: int
    start: int  # page number in its mm
    write: bool
    shared: bool = True
    hole: bool = False  # only addresses, where nothing is mapped yet
    readonly: bool = False  # shared, of a file that was opened for reading only
    locked: bool = False  # its memory is locked, as by mlock(2)
    program: bool = False  # it may be executed


@dataclass(frozen=True, slots=True)
class Bits:
    """A page-table entry, or what a TLB caches of one."""

    write: bool
    dirty: bool
    young: bool
    page: str = ""  # the anonymous page, if it is one
    exclusive: bool | None = None  # None: if nothing else maps the page
    huge: bool = False
    ksm: bool = False  # KSM has merged pages into this one
    slot: int = 0  # the page is in this slot in swap


@dataclass(frozen=True, slots=True)
class Column:
    process: syntax.Process
    cpu: int
    mm: str  # empty: a kernel thread
    active_mm: str = ""  # what its CPU has loaded at first, if not the mm

    @property
    def number(self) -> int:
        return self.process.number


@dataclass(frozen=True, slots=True)
class PatchClaim:
    """`Patch=ID:Result(arches)`: with the patch applied, the test's result is another."""

    pos: Pos
    id: str
    result: Result
    arches: tuple[str, ...]


@dataclass(slots=True)
class Test:
    """A litmus test that is ready to be generated."""

    litmus: syntax.Litmus
    expected: Result | None = None
    exceptions: dict[str, Result] = field(default_factory=dict)  # profile or architecture → another result there
    arches: tuple[str, ...] = profiles.DEFAULT
    reach: tuple[tuple[str, Pos, tuple[str, ...]], ...] = ()  # (situation, where it stands, profiles; none: all)
    patches: tuple[PatchClaim, ...] = ()
    bounds: dict[str, int] = field(default_factory=dict)
    mms: list[str] = field(default_factory=list)
    children: dict[str, str] = field(default_factory=dict)  # mm that fork makes → its parent
    files: dict[str, File] = field(default_factory=dict)
    pages: dict[str, Page] = field(default_factory=dict)
    swap: str = ""  # the swap device
    slots: tuple[int, ...] = ()  # what it holds
    memcgs: list[str] = field(default_factory=list)  # all pages are charged to the first
    vmas: dict[str, Vma] = field(default_factory=dict)
    ptes: dict[tuple[str, int], Bits] = field(default_factory=dict)  # (vma, page within it)
    tlbs: dict[tuple[int, str, int], Bits] = field(default_factory=dict)  # (column, vma, page within it)
    columns: list[Column] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.litmus.name

    @property
    def question(self) -> str:
        """The prose of the leading comment: everything but the `Result:` line, on one line."""
        lines = [line for line in self.litmus.comment.splitlines() if not line.startswith("Result:")]
        return " ".join(" ".join(lines).split())

    @property
    def named_profiles(self) -> tuple[str, ...]:
        """Every profile that the file names: those that it is about, then those that a line says something of."""
        words = [*self.exceptions, *(w for _, _, named in self.reach for w in named)]
        words += [w for claim in self.patches for w in claim.arches]
        return tuple(dict.fromkeys((*self.arches, *(w for w in words if w in profiles.PROFILES))))

    @property
    def file_pages(self) -> int:
        """How many pages the files have; their folios come first."""
        return sum(len(f.values) for f in self.files.values())

    @property
    def has_private(self) -> bool:
        """Whether a mapping is private, so that pages may be copied."""
        return any(not v.shared for v in self.vmas.values())

    @property
    def has_lists(self) -> bool:
        """Whether pages are on lists by age, from which reclaim chooses."""
        return self.bounds.get("LRU_LISTS") == 1

    def layout_of(self, mm: str) -> str:
        """The mm whose mappings an mm has: its own, or those of the parent that it is forked from."""
        return self.children.get(mm, mm)

    def is_exclusive(self, bits: Bits) -> bool:
        """Whether an anonymous page, or one in swap, starts as its owner's alone."""
        if bits.exclusive is not None:
            return bits.exclusive
        return sum(b.page == bits.page and b.slot == bits.slot for b in self.ptes.values()) == 1

    def on(self, profile: str) -> Test:
        """The test as it is meant on one profile."""
        words = (f"{profile}+", profile, profiles.base(profile))
        expected = next((self.exceptions[w] for w in words if w in self.exceptions), self.expected)
        reach = tuple(r for r in self.reach if not r[2] or profiles.covers(r[2], profile))
        return replace(self, expected=expected, exceptions={}, reach=reach)

    def error(self, pos: Pos, what: str, instead: str = "") -> LitmusError:
        """The error to raise for something at `pos`."""
        return LitmusError(self.litmus.file, pos, what, instead)


def known(names: Iterable[str]) -> str:
    """`a, b or c`, for what to write instead."""
    words = list(names)
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else "".join(words)


def alike(word: str, names: Iterable[str]) -> str:
    """The names that a word may have been meant for, at most five: there are many situations."""
    words = sorted(names)
    return known(difflib.get_close_matches(word, words, 5, 0.4) or words[:5])


def resolve(litmus: syntax.Litmus) -> Test:
    """Check a parsed file as far as that is possible without a model.  Raises LitmusError."""
    test = Test(litmus)
    _comment(test)
    for metadata in litmus.metadata:
        _metadata(test, metadata)
    _Init(test).run()
    return test


def _comment(test: Test) -> None:
    for i, line in enumerate(test.litmus.comment.splitlines()):
        if line.startswith("Result:"):
            pos = Pos(test.litmus.comment_pos.line + i + 1, 4)
            for word, where in _marked(test, pos, line.removeprefix("Result:")):
                if word not in RESULTS:
                    raise test.error(pos, f"'{word}' is no result", known(RESULTS))
                if where:
                    test.exceptions |= dict.fromkeys(where, word)
                else:
                    test.expected = word


# ---------------------------------------------------------------------------------------------- header


def _metadata(test: Test, m: syntax.Metadata) -> None:
    if m.key == "Arch":
        test.arches = _profiles(test, m.pos, m.value)
    elif m.key == "Reach":
        test.reach += tuple((word, m.pos, where) for word, where in _marked(test, m.pos, m.value))
    elif m.key == "Patch":
        test.patches += tuple(_claims(test, m))
    elif m.key == "Bounds":
        for word in _words(m.value):
            match = re.fullmatch(r"(\w+):(\d+)", word)
            if match is None:
                raise test.error(m.pos, f"'{word}' is no bound", "Bounds=NAME:NUMBER,…")
            test.bounds[match[1]] = int(match[2])
    elif m.key not in _HERD_KEYS:
        raise test.error(m.pos, f"unknown key '{m.key}'", known(KEYS))


# `a,b(x86_64,arm64),c`: the words, and the profiles that each is limited to.
def _marked(test: Test, pos: Pos, text: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    if not re.fullmatch(r"\s*(?:[\w.-]+\s*(?:\([\w+, ]+\))?\s*(?:,\s*|$))*", text):
        raise test.error(pos, f"'{text.strip()}' is no list of words", "a,b(x86_64,arm64)")
    for match in re.finditer(r"([\w.-]+)\s*(?:\(([^)]*)\))?", text):
        yield match[1], _profiles(test, pos, match[2] or "")


def _profiles(test: Test, pos: Pos, text: str) -> tuple[str, ...]:
    words = tuple(_words(text))
    for word in words:
        if not profiles.is_word(word):
            raise test.error(pos, f"unknown architecture '{word}'", known(profiles.PROFILES))
    return words


def _words(text: str) -> list[str]:
    return [w.strip() for w in text.split(",") if w.strip()]


def _claims(test: Test, m: syntax.Metadata) -> Iterable[PatchClaim]:
    pattern = re.compile(r"\s*([\w.-]+):(\w+)(?:\(([\w+, ]*)\))?\s*(?:,|$)")
    i = 0
    while i < len(m.value):
        match = pattern.match(m.value, i)
        if match is None or match[2] not in RESULTS:
            raise test.error(m.pos, f"'{m.value[i:]}' is no claim about a patch", "Patch=ID:Sometimes(x86_64,arm64)")
        arches = _profiles(test, m.pos, match[3] or "") or test.arches
        yield PatchClaim(m.pos, match[1], cast(Result, match[2]), arches)
        i = match.end()


# ------------------------------------------------------------------------------------------------ init


class _Init:
    """Reads the init block into a test."""

    def __init__(self, test: Test) -> None:
        self.test = test
        self.names: dict[str, Pos] = {}
        self.thread_mm: dict[int, tuple[str, Pos]] = {}
        self.thread_active_mm: dict[int, str] = {}
        self.thread_cpu: dict[int, tuple[int, Pos]] = {}

    def run(self) -> None:
        test = self.test
        for item in test.litmus.init:
            if isinstance(item, syntax.Declare):
                self._declare(item)
        for item in test.litmus.init:
            if isinstance(item, syntax.Assign):
                self._assign(item)
        self._columns()
        for item in test.litmus.init:
            if isinstance(item, syntax.PteInit):
                address = self._address(item.address)
                test.ptes.update(self._entry(address, item.record))
        for item in test.litmus.init:
            if isinstance(item, syntax.AssignAt):
                self._tlb(item)

    def _declare(self, item: syntax.Declare) -> None:
        test = self.test
        if item.name in self.names:
            raise test.error(item.pos, f"'{item.name}' is there already (line {self.names[item.name].line})")
        self.names[item.name] = item.pos
        match item.type:
            case "mm_struct":
                self._mm(item)
            case "file" | "address_space" | "shmem" | "device":
                self._file(item)
            case "mem_cgroup":
                test.memcgs.append(item.name)
            case "vma" | "vm_area_struct":
                self._vma(item)
            case "swap":
                self._swap(item)
            case "page":
                value = item.value if item.value is not None else 0
                if not isinstance(value, int):
                    raise test.error(item.pos, "a page is one number", f"page {item.name}=1")
                test.pages[item.name] = Page(len(test.pages), item.name, value)
            case _:
                raise test.error(
                    item.pos,
                    f"unknown type '{item.type}'",
                    known(("mm_struct", "file", "shmem", "page", "swap", "vma")),
                )

    def _mm(self, item: syntax.Declare) -> None:
        test = self.test
        test.mms.append(item.name)
        if item.value is None:
            return
        record = item.value if isinstance(item.value, tuple) else ()
        for f in record:
            if isinstance(f, syntax.RecordField) and f.name == "fork" and f.value in test.mms:
                test.children[item.name] = str(f.value)
        if item.name not in test.children:
            raise test.error(item.pos, "an mm_struct is empty, or made by fork from one before", "mm_struct c=(fork:m)")

    def _file(self, item: syntax.Declare) -> None:
        values = item.value if item.value is not None else (0,)
        if isinstance(values, int):
            values = (values,)
        if not (isinstance(values, tuple) and values and all(isinstance(v, int) and v >= 0 for v in values)):
            raise self.test.error(item.pos, "a file is one number a page", f"file {item.name}={{1,0}}")
        first = sum(len(f.values) for f in self.test.files.values())
        numbers = cast("tuple[int, ...]", values)
        self.test.files[item.name] = File(
            len(self.test.files), item.name, numbers, first, item.type == "shmem", item.type == "device"
        )

    def _swap(self, item: syntax.Declare) -> None:
        test = self.test
        values = (item.value,) if isinstance(item.value, int) else item.value if item.value is not None else (0,)
        if not (isinstance(values, tuple) and values and all(isinstance(v, int) and v >= 0 for v in values)):
            raise test.error(item.pos, "swap is one number a slot", f"swap {item.name}={{1,0}}")
        if test.swap:
            raise test.error(item.pos, "there is one swap device", f"more slots of {test.swap}")
        test.swap, test.slots = item.name, cast("tuple[int, ...]", values)

    def _vma(self, item: syntax.Declare) -> None:
        test = self.test
        record = item.value
        if not isinstance(record, tuple) or not all(isinstance(f, syntax.RecordField) for f in record):
            raise test.error(
                item.pos, f"'{item.name}' needs its parts", "vma x=(mm:m,file:f,pgoff:0,prot:rw,flags:shared)"
            )
        given: dict[str, syntax.RecordField] = {}
        for f in cast(syntax.Record, record):
            if f.name not in _VMA_PARTS:
                raise test.error(f.pos, f"a vma has no '{f.name}'", known(_VMA_PARTS))
            given[f.name] = f

        def number(name: str, default: int) -> int:
            if name not in given:
                return default
            value = given[name].value
            if not isinstance(value, int) or value < 0:
                raise test.error(given[name].pos, f"{name} is not a number", f"{name}:{default}")
            return value

        def word(name: str, choices: Iterable[str], default: str) -> str:
            if name not in given and default:
                return default
            value = given[name].value if name in given else ""
            if not isinstance(value, str) or value not in choices:
                pos = given[name].pos if name in given else item.pos
                what = f"no {name} '{value}'" if value else f"'{item.name}' has no {name}"
                raise test.error(
                    pos, what, known(f"{name}:{c}" for c in choices) or f"a declaration of the {name} before"
                )
            return value

        parents = [m for m in test.mms if m not in test.children]
        mm = word("mm", parents, parents[0] if len(parents) == 1 else "")
        shared = _FLAGS[word("flags", _FLAGS, "shared" if "file" in given else "private")]
        hole = "flags" in given and given["flags"].value == "hole"
        file = word("file", test.files, "") if ("file" in given or shared) and not hole else ""
        pages = number("pages", 1)
        pgoff = number("pgoff", 0)
        last = max((v.start + v.pages for v in test.vmas.values() if v.mm == mm), default=0)
        vma = Vma(
            len(test.vmas), item.name, mm, file, pgoff, pages, number("start", last), _PROT[word("prot", _PROT, "rw")],
            shared, hole, "flags" in given and given["flags"].value == "readonly",
            number("locked", 0) != 0, "prot" in given and given["prot"].value == "rx",
        )  # fmt: skip
        if vma.readonly:
            vma = replace(vma, write=False)
        if not file:
            vma = replace(vma, pgoff=vma.start)
        elif pages == 0 or pgoff + pages > len(test.files[file].values):
            size = len(test.files[file].values)
            raise test.error(item.pos, f"{file} has {size} page(s), {item.name} maps {pages} from page {pgoff}")
        for other in test.vmas.values():
            if other.mm == mm and vma.start < other.start + other.pages and other.start < vma.start + pages:
                raise test.error(item.pos, f"{vma.name} and {other.name} overlap", f"start:{last}")
        test.vmas[item.name] = vma

    def _assign(self, item: syntax.Assign) -> None:
        test = self.test
        if item.thread >= len(test.litmus.processes):
            raise test.error(item.pos, f"there is no P{item.thread}")
        if item.name == "mm" and isinstance(item.value, str) and item.value in test.mms:
            self.thread_mm[item.thread] = item.value, item.pos
        elif item.name == "active_mm" and isinstance(item.value, str) and item.value in test.mms:
            self.thread_active_mm[item.thread] = item.value
        elif item.name in ("mm", "active_mm"):
            raise test.error(
                item.pos, f"'{item.value}' is no mm_struct", known(test.mms) or "a declaration: mm_struct m;"
            )
        elif item.name == "cpu" and isinstance(item.value, int) and item.value >= 0:
            self.thread_cpu[item.thread] = item.value, item.pos
        elif item.name == "cpu":
            raise test.error(item.pos, "a CPU is a number", f"{item.thread}:cpu=0")
        else:
            raise test.error(item.pos, f"nothing is known of '{item.thread}:{item.name}'; registers start at 0",
                             f"{item.thread}:cpu=…, {item.thread}:mm=… or {item.thread}:tlb(x)=(…)")  # fmt: skip

    def _columns(self) -> None:
        test = self.test
        taken = {cpu for cpu, _ in self.thread_cpu.values()}
        spare = (cpu for cpu in range(len(test.litmus.processes) + len(taken)) if cpu not in taken)
        used: dict[int, int] = {}
        for number, process in enumerate(test.litmus.processes):
            if process.number != number:
                raise test.error(process.pos, f"P{process.number} is out of order", f"P{number}")
            mm = self._column_mm(process)
            cpu, pos = self.thread_cpu.get(number) or (next(spare), process.pos)
            if cpu in used and any(profiles.PROFILES[a].cpus_max != 1 for a in test.arches):
                raise test.error(
                    pos,
                    f"P{used[cpu]} runs on CPU {cpu} already and there is no scheduler",
                    f"{number}:cpu={max(used) + 1}",
                )
            used[cpu] = number
            test.columns.append(Column(process, cpu, mm, self.thread_active_mm.get(number, "")))
        if test.columns and max(used) >= len(used):
            number = used[max(used)]
            raise test.error(
                self.thread_cpu[number][1], f"CPUs are numbered from 0 without gaps, and {len(used)} are used"
            )

    def _column_mm(self, process: syntax.Process) -> str:
        test = self.test
        mm, given = self.thread_mm.get(process.number, ("", process.pos))[0], process.number in self.thread_mm
        for parameter in process.parameters:
            if "__user" in parameter.type:
                if parameter.name not in test.vmas:
                    raise test.error(
                        parameter.pos, f"no vma '{parameter.name}'", known(test.vmas) or "vma x=(…) in the init block"
                    )
                of = test.vmas[parameter.name].mm
                if mm and of == test.layout_of(mm):
                    of = mm
                if mm and of != mm:
                    why = "runs in" if given else "has a pointer into"
                    raise test.error(parameter.pos, f"{parameter.name} belongs to {of}, P{process.number} {why} {mm}")
                mm = of
            elif parameter.type == ("struct", "mm_struct"):
                self._parameter(parameter, test.mms, "mm_struct")
            elif parameter.type == ("struct", "page"):
                self._parameter(parameter, test.pages, "page")
            elif parameter.type == ("struct", "mem_cgroup"):
                self._parameter(parameter, test.memcgs, "mem_cgroup")
            elif parameter.type in (("struct", "file"), ("struct", "address_space")):
                self._parameter(parameter, test.files, "file")
            else:
                raise test.error(parameter.pos, f"a column cannot have a '{' '.join(parameter.type)} *'",
                                 f"char __user *{parameter.name} or struct file *{parameter.name}")  # fmt: skip
        return mm

    def _parameter(self, parameter: syntax.Parameter, names: Iterable[str], what: str) -> None:
        if parameter.name not in names:
            raise self.test.error(parameter.pos, f"no {what} '{parameter.name}' in the init block", known(names))

    # ---- page-table entries

    def _address(self, address: syntax.Address) -> tuple[str, int]:
        return check_address(self.test, address)

    # At most one item: an entry that is not valid is simply absent.
    def _entry(self, address: tuple[str, int], record: syntax.Record) -> dict[tuple[str, int], Bits]:
        bits = self._bits(address, record)
        return {} if bits is None else {address: bits}

    def _bits(self, address: tuple[str, int], record: syntax.Record) -> Bits | None:
        test = self.test
        vma = test.vmas[address[0]]
        if test.swap and any(isinstance(f.value, syntax.PageOf) and f.value.file == test.swap for f in record):
            return self._swapped(vma, record)
        bits = {"valid": 1, "write": int(vma.write and (vma.shared or not vma.file)), "young": 1}
        anonymous = ""
        for name, value, pos in pte_fields(test, record):
            if name == "oa" and value >= test.file_pages:
                anonymous = list(test.pages)[value - test.file_pages]
                if vma.shared:
                    raise test.error(pos, f"{address[0]} is shared and maps its file", f"oa:PA({vma.file}[…])")
            elif name == "oa" and not vma.file:
                raise test.error(pos, f"{address[0]} has no file", "oa:PA(p), of a page p declared before")
            elif name == "oa":
                file, page = test.files[vma.file], vma.pgoff + address[1]
                if value != file.first_folio + page:
                    raise test.error(pos, f"{address[0]} maps another page there", f"oa:PA({file.name}[{page}])")
            else:
                bits[name] = value
        bits.setdefault("dirty", bits["write"])
        if bits["write"] and not vma.write:
            raise test.error(record[0].pos, f"{vma.name} may not be written", "write:0")
        if not bits["valid"]:
            return None
        if not vma.file and not anonymous:
            anonymous = self._page_there(address, record)
        if bits["write"] and vma.file and not vma.shared and not anonymous:
            raise test.error(record[0].pos, f"{vma.name} is private, and this is the file's page", "write:0")
        exclusive = bool(bits["exclusive"]) if "exclusive" in bits else None
        huge = bool(bits.get("huge", 0))
        ksm = bool(bits.get("ksm", 0))
        if ksm and (not anonymous or bits["write"] or exclusive is not False):
            raise test.error(record[0].pos, "KSM merges anonymous pages that are not written", "write:0,exclusive:0")
        if huge and not anonymous and test.bounds.get("PTRS_PER_PTE") != 1:
            raise test.error(record[0].pos, "a huge page of a file needs Bounds=PTRS_PER_PTE:1")
        if huge and anonymous and not test.bounds.get("TRANSPARENT_HUGEPAGE"):
            raise test.error(record[0].pos, "a huge page of anonymous memory needs Bounds=TRANSPARENT_HUGEPAGE:1")
        return Bits(bool(bits["write"]), bool(bits["dirty"]), bool(bits["young"]), anonymous, exclusive, huge, ksm)

    # An entry of a page that is in swap: of its bits only `exclusive` may be given.
    def _swapped(self, vma: Vma, record: syntax.Record) -> Bits:
        test = self.test
        slot, exclusive = 0, None
        for f in record:
            if isinstance(f.value, syntax.PageOf) and f.name == "oa":
                slot = f.value.index + 1
            elif f.name == "exclusive" and f.value in (0, 1):
                exclusive = f.value == 1
            else:
                raise test.error(f.pos, f"the entry of a page in swap has no '{f.name}'", "oa:PA(…) and exclusive:0")
        if slot > len(test.slots):
            raise test.error(record[0].pos, f"{test.swap} has {len(test.slots)} slot(s)")
        if vma.shared:
            raise test.error(record[0].pos, f"{vma.name} is shared, and only private pages are swapped")
        return Bits(False, False, False, exclusive=exclusive, slot=slot)

    # The anonymous page that an address has by another item, for an entry that does not say which.
    def _page_there(self, address: tuple[str, int], record: syntax.Record) -> str:
        if address in self.test.ptes and self.test.ptes[address].page:
            return self.test.ptes[address].page
        raise self.test.error(record[0].pos, f"{address[0]} is anonymous: which page is it", "oa:PA(p),…")

    def _tlb(self, item: syntax.AssignAt) -> None:
        test = self.test
        if item.name != "tlb":
            raise test.error(
                item.pos, f"nothing is known of '{item.name}(…)'", f"{item.thread}:tlb({item.address.vma})=(…)"
            )
        address = self._address(item.address)
        if item.thread >= len(test.columns):
            raise test.error(item.pos, f"there is no P{item.thread}")
        if test.columns[item.thread].mm != test.vmas[address[0]].mm:
            raise test.error(item.pos, f"P{item.thread} does not run in the mm of {address[0]}")
        bits = self._bits(address, item.record)
        if bits is None:
            raise test.error(item.pos, "a TLB holds valid entries only", "nothing: a TLB starts empty")
        test.tlbs[item.thread, address[0], address[1]] = bits
        given = any(isinstance(i, syntax.PteInit) and self._address(i.address) == address for i in test.litmus.init)
        if not given:
            before = test.ptes.get(address, Bits(False, False, False))
            test.ptes[address] = replace(
                bits, write=before.write or bits.write, dirty=before.dirty or bits.dirty, young=True
            )


def check_address(test: Test, address: syntax.Address) -> tuple[str, int]:
    """(vma, page within it) of an address; LitmusError when it is outside any."""
    if address.vma not in test.vmas:
        raise test.error(address.pos, f"no vma '{address.vma}'", known(test.vmas) or "vma x=(…) in the init block")
    vma = test.vmas[address.vma]
    if address.page >= vma.pages:
        raise test.error(address.pos, f"{vma.name} has {vma.pages} page(s)")
    return address.vma, address.page


def pte_fields(test: Test, record: syntax.Record) -> Iterable[tuple[str, int, Pos]]:
    """The fields of a page-table entry under their own names, `oa` as the number of the folio."""
    for f in record:
        name = _PTE_SYNONYMS.get(f.name, f.name)
        if name not in _PTE_FIELDS:
            raise test.error(f.pos, f"an entry has no '{f.name}'", known(_PTE_FIELDS))
        if name == "oa":
            if not isinstance(f.value, syntax.PageOf):
                raise test.error(f.pos, "oa is the address of a frame", "oa:PA(f[0])")
            yield name, check_page(test, f.value.file, f.value.index, f.value.pos), f.pos
        elif f.value in (0, 1) and isinstance(f.value, int):
            yield name, f.value, f.pos
        else:
            raise test.error(f.pos, f"{f.name} is a bit", f"{f.name}:0 or {f.name}:1")


def check_page(test: Test, name: str, index: int, pos: Pos) -> int:
    """The number of the folio that holds a page of a file, or that is an anonymous page."""
    if name in test.pages:
        if index > 0:
            raise test.error(pos, f"{name} is one page", name)
        return test.file_pages + test.pages[name].number
    if name not in test.files:
        raise test.error(pos, f"no file '{name}'", known(test.files) or "file f={…} in the init block")
    file = test.files[name]
    if index >= len(file.values):
        raise test.error(pos, f"{name} has {len(file.values)} page(s)")
    return file.first_folio + index

# SPDX-License-Identifier: GPL-2.0-only
"""What a test looks at when a run is over: each location as one or more integers of the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ptelab.litmus import syntax as s
from ptelab.litmus.columns import ColumnWriter
from ptelab.litmus.resolve import Test, check_address, check_page, known

FUNCTIONS = {
    "disk": "observe_disk",
    "page_mapcount": "observe_mapcount",
    "folio_mapcount": "observe_mapcount",
    "folio_ref_count": "observe_refcount",
    "page_count": "observe_refcount",
    "folio_test_dirty": "observe_folio_dirty",
    "PageDirty": "observe_folio_dirty",
    "rss": "observe_rss",
}
"""Functions that a condition may use, and the model's functions that answer."""

NUMBER = "u16"
"""The type of an observed number in the outcome; no state holds it."""

TRUTHS = ("folio_test_dirty", "PageDirty")
PTE_PARTS = (("valid", "pte_present"), ("write", "pte_write"), ("dirty", "pte_dirty"), ("young", "pte_young"))


@dataclass(frozen=True, slots=True)
class Observation:
    """One location: `label` as in the file, `parts` the integers that it adds to the outcome.

    A part is (name, expression of the dialect, its type); a location that is one number has a part without a name.
    """

    label: str
    parts: tuple[tuple[str, str, str], ...]
    prepare: str = ""  # a statement that comes before
    uses: frozenset[str] = frozenset()
    errno: bool = False  # shown as 0 or -value

    def keys(self) -> Iterator[str]:
        """The labels of the integers."""
        for name, _, _ in self.parts:
            yield f"{self.label}.{name}" if name else self.label


def label(location: s.Location) -> str:
    """A location as herd prints it."""
    match location:
        case s.Register(_, thread, name):
            return f"{thread}:{name}"
        case s.Observe(_, function, name, index):
            place = name if index is None else f"{name}[{index}]"
            return f"{function}({place})" if function else place
        case s.PteOf(_, address):
            return f"[PTE({address_label(address)})]"


def address_label(address: s.Address) -> str:
    """`x`, `x + PAGE_SIZE`, …"""
    times = f"{address.page} * " if address.page > 1 else ""
    return f"{address.vma} + {times}PAGE_SIZE" if address.page else address.vma


def fault_label(atom: s.FaultAtom) -> str:
    """`fault(P1,x)`; the signal is always SIGSEGV and left out."""
    return f"fault(P{atom.thread},{address_label(atom.address)})" if atom.address else f"fault(P{atom.thread})"


def atoms(prop: s.Prop | None) -> Iterator[s.FlagAtom | s.FaultAtom | s.Compare]:
    """The atoms of a proposition, left to right."""
    match prop:
        case s.Not(a):
            yield from atoms(a)
        case s.Connect(_, a, b):
            yield from atoms(a)
            yield from atoms(b)
        case s.FlagAtom() | s.FaultAtom() | s.Compare():
            yield prop


class Observer:
    """Collects the observations of a test."""

    def __init__(self, test: Test, writers: Sequence[ColumnWriter]) -> None:
        self.test, self.writers = test, writers
        self.found: dict[str, Observation] = {}
        condition = test.litmus.condition
        for location in test.litmus.locations:
            self._location(location, oa=False)
        for prop in (test.litmus.filter, condition.prop if condition else None):
            for atom in atoms(prop):
                if isinstance(atom, s.Compare):
                    self._compare(atom)
                elif isinstance(atom, s.FaultAtom):
                    self._fault(atom)
                elif prop is test.litmus.filter:
                    raise test.error(atom.pos, "a filter cannot hide a flag", "the flag in the condition")

    def _add(self, observation: Observation) -> None:
        before = self.found.get(observation.label)
        if before is None or len(before.parts) < len(observation.parts):
            self.found[observation.label] = observation

    def _compare(self, atom: s.Compare) -> None:
        location, value = atom.location, atom.value
        if value is None:
            if not (isinstance(location, s.Observe) and location.function in TRUTHS):
                raise self.test.error(atom.pos, f"{label(location)} is not a truth", f"{label(location)}=…")
        elif isinstance(location, s.PteOf) != isinstance(value, tuple):
            instead = f"{label(location)}=" + ("(valid:1,…)" if isinstance(location, s.PteOf) else "1")
            raise self.test.error(atom.pos, "the two sides differ in kind", instead)
        elif isinstance(value, str) and not (isinstance(location, s.Register) and self._is_errno(location)):
            raise self.test.error(atom.pos, f"{label(location)} holds no error", "a number")
        self._location(location, oa=isinstance(value, tuple) and any(f.name == "oa" for f in value))

    def _is_errno(self, location: s.Register) -> bool:
        return location.thread < len(self.writers) and location.name in self.writers[location.thread].registers.errno

    def _location(self, location: s.Location, oa: bool) -> None:
        match location:
            case s.Register():
                self._add(self._register(location))
            case s.Observe():
                self._add(self._observe(location))
            case s.PteOf(_, address):
                vma = self.test.vmas[check_address(self.test, address)[0]]
                name = f"pte{vma.number}_{address.page}"
                parts = [*PTE_PARTS, *([("oa", "pte_pfn")] if oa else [])]
                expressions = tuple((p, f"{f}({name})", "bool" if p != "oa" else NUMBER) for p, f in parts)
                prepare = (
                    f"{name} = observe_pte(at(mm_struct, {self.test.mms.index(vma.mm)}), {vma.start + address.page})"
                )
                uses = frozenset(["at", "mm_struct", "observe_pte", *(f for _, f in parts)])
                self._add(Observation(label(location), expressions, prepare, uses))

    def _register(self, location: s.Register) -> Observation:
        test = self.test
        if location.thread >= len(self.writers):
            raise test.error(location.pos, f"there is no P{location.thread}")
        writer = self.writers[location.thread]
        if location.name not in writer.registers.names:
            names = known(f"{location.thread}:{n}" for n in writer.registers.names)
            raise test.error(location.pos, f"P{location.thread} has no register '{location.name}'", names)
        if location.name not in writer.kept:
            writer.kept.append(location.name)
        expression = f"at(LitmusColumns, 0).P{location.thread}_{location.name}"
        errno = location.name in writer.registers.errno
        return Observation(label(location), (("", expression, NUMBER),), uses=frozenset(["at"]), errno=errno)

    def _observe(self, location: s.Observe) -> Observation:
        test = self.test
        if location.function and location.function not in FUNCTIONS:
            raise test.error(location.pos, f"unknown function '{location.function}'", known(FUNCTIONS))
        if location.function == "rss":
            if location.name not in test.mms:
                raise test.error(location.pos, f"no mm_struct '{location.name}'", known(f"rss({m})" for m in test.mms))
            call, uses = f"observe_rss(at(mm_struct, {test.mms.index(location.name)}))", {"observe_rss", "mm_struct"}
            return Observation(label(location), (("", call, NUMBER),), uses=frozenset(uses | {"at"}))
        index = location.index if location.index is not None else 0 if location.name in test.pages else -1
        if index < 0:
            raise test.error(location.pos, "a file has pages", f"{location.function}({location.name}[0])")
        folio = check_page(test, location.name, index, location.pos)
        if location.function == "disk":
            call = f"observe_disk(at(address_space, {test.files[location.name].number}), {index})"
            uses = {"observe_disk", "address_space"}
        else:
            function = FUNCTIONS.get(location.function, "observe_page")
            call, uses = f"{function}(at(Folio, {folio}))", {function, "Folio"}
        type_ = "bool" if location.function in TRUTHS else NUMBER
        return Observation(label(location), (("", call, type_),), uses=frozenset(uses | {"at"}))

    def _fault(self, atom: s.FaultAtom) -> None:
        test = self.test
        if atom.thread >= len(self.writers):
            raise test.error(atom.pos, f"there is no P{atom.thread}")
        if atom.signal not in ("", "SIGSEGV"):
            raise test.error(atom.pos, f"unknown signal '{atom.signal}'", "SIGSEGV")
        writer = self.writers[atom.thread]
        pointers = [test.vmas[p] for p in sorted(writer.pointers)]
        if atom.address is not None:
            pages = [check_address(test, atom.address)]
            if pages[0][0] not in writer.pointers:
                raise test.error(
                    atom.pos, f"P{atom.thread} has no pointer {pages[0][0]}", known(p.name for p in pointers)
                )
        else:
            pages = [(v.name, page) for v in pointers for page in range(v.pages)]
            if not pages:
                raise test.error(atom.pos, f"P{atom.thread} is a kernel thread and has no faults")
        writer.faults.update(pages)
        terms = [f"at(LitmusColumns, 0).P{atom.thread}_fault_{v}_{p}" for v, p in pages]
        self._add(Observation(fault_label(atom), (("", " or ".join(terms), "bool"),), uses=frozenset(["at"])))

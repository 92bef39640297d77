# SPDX-License-Identifier: GPL-2.0-only
"""A litmus test as a module of the dialect: `P0` …, `setup` and `final`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ptelab.litmus.columns import ColumnWriter, Line, calls
from ptelab.litmus.model import Api
from ptelab.litmus.observe import NUMBER, Observation, Observer
from ptelab.litmus.resolve import Bits, Test, Vma

MODULE = "litmus"
"""The generated module's name; its file is laid over the model as `litmus.py`."""

_LANG = {"at", "ghost"}
ERRNO_MAX = 255
"""The largest error that a system call of the model returns."""

_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)


@dataclass(slots=True)
class Generated:
    """The text, which line of the litmus file each of its lines stands for, and how the outcome is read."""

    text: str
    lines: dict[int, int] = field(default_factory=dict)
    observations: tuple[Observation, ...] = ()
    value_max: int = 1

    @property
    def observed(self) -> tuple[str, ...]:
        """The labels of the outcome's integers."""
        return tuple(key for o in self.observations for key in o.keys())  # noqa: SIM118


def generate(test: Test, api: Api, watch: Sequence[Observation] = ()) -> Generated:
    """Write the module of a test for a model.  Raises LitmusError for what the model does not offer.

    `watch`: what outcomes show besides what the test looks at.
    """
    _check_lists(test)
    writers = [ColumnWriter(test, api, column) for column in test.columns]
    observer = Observer(test, writers)
    observations = (*observer.found.values(), *(o for o in watch if o.label not in observer.found))
    # Columns are written twice: the first time tells how wide a register must be.
    for writer in writers:
        writer.write("u8")
    values = {1} | {v for w in writers for v in w.values} | {v for f in test.files.values() for v in f.values}
    values |= {p.value for p in test.pages.values()} | set(test.slots)
    largest = max(values | ({ERRNO_MAX} if any(w.registers.errno for w in writers) else set()))
    register = f"u{next((w for w in _WIDTHS if largest < 1 << w), _WIDTHS[-1])}"

    lines: list[Line] = []
    used = {"always_at_quiescence", "ghost", "at"}
    lines += _ghost(writers, register, used)
    for writer in writers:
        lines += [Line(""), Line(""), *writer.write(register)]
        used |= writer.used
    lines += [Line(""), Line(""), *_Setup(test, used).write()]
    lines += [Line(""), Line(""), *_final(observations, used)]

    text = "\n".join(line.text for line in lines)
    words = _LANG | {w for w in (register, NUMBER) if re.search(rf"\b{w}\b", text)}
    head = [
        Line("# SPDX-License-Identifier: GPL-2.0-only"),
        Line(f'"""Generated from {test.name}.litmus."""'),
        Line(""),
        *(Line(text) for text in api.imports(used - _LANG)),
        Line(f"from ptelab.lang import {', '.join(sorted(words))}"),
    ]
    lines = head + lines
    sources = {number: line.source for number, line in enumerate(lines, 1) if line.source}
    return Generated("".join(f"{line.text}\n" for line in lines), sources, observations, max(values))


# Lists by age are of pages of files: nothing puts others there, or takes locked ones off.
def _check_lists(test: Test) -> None:
    for call in (c for column in test.columns for c in calls(column.process.body)):
        if call.name in ("squeeze", "clear_refs_accessed") and not test.has_lists:
            raise test.error(call.pos, f"{call.name} is about pages on lists", "Bounds=LRU_LISTS:1 as well")
        if call.name in ("reclaim", "reclaim_page") and test.has_lists:
            raise test.error(call.pos, f"{call.name} takes pages that are on no list", "squeeze")
    if not test.has_lists:
        return
    others = [v for v in test.vmas.values() if v.locked or not (v.shared or v.hole)]
    if others or any(f.shmem or f.device for f in test.files.values()) or any(b.huge for b in test.ptes.values()):
        pos = next(m.pos for m in test.litmus.metadata if m.key == "Bounds" and "LRU_LISTS" in m.value)
        raise test.error(pos, "lists are of pages of files on disk", "shared mappings, neither locked nor huge")


# Where the registers and faults that the outcome shows outlive their column.
def _ghost(writers: list[ColumnWriter], register: str, used: set[str]) -> list[Line]:
    members: list[str] = []
    functions: list[str] = []
    for w in writers:
        n = w.column.number
        if w.kept:
            members += [f"P{n}_{r}: {register}" for r in w.kept]
            parameters = ", ".join(f"{r}: {register}" for r in w.kept)
            functions += ["", "", "@ghost", f"def keep_P{n}({parameters}) -> None:", f'    """What P{n} ended with."""']
            functions += [f"    at(LitmusColumns, 0).P{n}_{r} = {r}" for r in w.kept]
        for vma, page in sorted(w.faults):
            members.append(f"P{n}_fault_{vma}_{page}: bool")
            functions += [
                "",
                "",
                "@ghost",
                f"def note_P{n}_fault_{vma}_{page}() -> None:",
                f'    """P{n} got a SIGSEGV."""',
            ]
            functions.append(f"    at(LitmusColumns, 0).P{n}_fault_{vma}_{page} = True")
    if not members:
        return []
    head = ["", "", "@ghost", "class LitmusColumns:", '    """What the outcome shows of the columns."""', ""]
    return [Line(text) for text in [*head, *(f"    {m}" for m in members), *functions]]


class _Setup:
    """Writes the function `setup`, a part of the initial state at a time."""

    def __init__(self, test: Test, used: set[str]) -> None:
        self.test, self.used = test, used
        self.out = ["def setup() -> None:", '    """The initial state."""']

    def call(self, name: str, *args: object) -> None:
        self.used.add(name)
        self.out.append(f"    {name}({', '.join(str(a) for a in args)})")

    def element(self, struct: str, number: int) -> str:
        self.used.add(struct)
        return f"at({struct}, {number})"

    def mm(self, name: str) -> str:
        return self.element("mm_struct", self.test.mms.index(name))

    def write(self) -> list[Line]:
        """All of it."""
        for name in self.test.mms:
            self.call("setup_mm", self.mm(name))
        self._pages()
        self._vmas()
        self._columns()
        self._entries()
        return [Line(text) for text in self.out]

    def _pages(self) -> None:
        test = self.test
        for file in test.files.values():
            mapping = self.element("address_space", file.number)
            if file.shmem or file.device:
                self.call("setup_file", mapping, False, True)
            if file.device:
                self.call("setup_device", mapping)
            for index, value in enumerate(file.values):
                kind = "setup_device_page" if file.device else "setup_file_page"
                self.call(kind, mapping, index, self.element("Folio", file.first_folio + index), value)
        for p in test.pages.values():
            self.call("setup_page", self.element("Folio", test.file_pages + p.number), p.value)
        for slot, value in enumerate(test.slots, 1):
            self.call("setup_swap", slot, value)
        if test.has_private:
            self.call("setup_zero_page")

    def _vmas(self) -> None:
        test = self.test
        for vma in (v for v in test.vmas.values() if not v.hole):
            flags = ["VM_READ", *(["VM_WRITE"] if vma.write else []), *([] if vma.readonly else ["VM_MAYWRITE"])]
            flags += ["VM_SHARED"] if vma.shared and not vma.readonly else []
            flags += ["VM_EXEC"] if vma.program else []
            flags += ["VM_LOCKED"] if vma.locked else []
            flags += ["VM_PFNMAP"] if vma.file and test.files[vma.file].device else []
            self.used.update(flags)
            mapping = self.element("address_space", test.files[vma.file].number) if vma.file else "None"
            place = (vma.start, vma.pages, mapping, vma.pgoff)
            self.call("setup_vma", _vma(vma, self.used), self.mm(vma.mm), *place, " | ".join(flags))

    def _columns(self) -> None:
        for column in self.test.columns:
            if column.mm and column.active_mm:
                self.call("setup_elsewhere", column.cpu, self.mm(column.mm), self.mm(column.active_mm))
            elif column.mm:
                self.call("setup_cpu", column.cpu, self.mm(column.mm))
            active = column.active_mm or column.mm
            self.call("setup_task", column.number, column.cpu, self.mm(active) if active else "None")

    def _entries(self) -> None:
        test = self.test
        for (name, page), bits in test.ptes.items():
            vma = test.vmas[name]
            entry = (bits.write, bits.dirty, bits.young)
            if bits.slot:
                self.call("setup_swap_pte", _vma(vma, self.used), vma.start + page, bits.slot, test.is_exclusive(bits))
            elif bits.page:
                folio = self.element("Folio", test.file_pages + test.pages[bits.page].number)
                exclusive = test.is_exclusive(bits)
                kind = "setup_anon_huge" if bits.huge else "setup_anon_pte"
                self.call(kind, _vma(vma, self.used), vma.start + page, folio, *entry, exclusive)
                if bits.ksm:
                    self.call("setup_ksm", folio)
            else:
                kind = "setup_huge" if bits.huge else "setup_pte"
                self.call(kind, _vma(vma, self.used), vma.start + page, *entry)
        if test.has_lists:
            for number in range(test.file_pages):
                self.call("setup_lru", self.element("Folio", number), self.element("mem_cgroup", 0))
        elif test.memcgs:
            for number in range(test.file_pages + len(test.pages)):
                self.call("setup_charge", self.element("Folio", number), self.element("mem_cgroup", 0))
        for (thread, name, page), bits in test.tlbs.items():
            vma = test.vmas[name]
            mapped = _folio(test, vma, page, bits, self.element)
            cpu = test.columns[thread].cpu
            self.call("setup_tlb", cpu, _vma(vma, self.used), vma.start + page, mapped, bits.write, bits.dirty)


def _folio(test: Test, vma: Vma, page: int, bits: Bits, element: Callable[[str, int], str]) -> str:
    if bits.page:
        return element("Folio", test.file_pages + test.pages[bits.page].number)
    return element("Folio", test.files[vma.file].first_folio + vma.pgoff + page)


def _vma(vma: Vma, used: set[str]) -> str:
    used.add("vm_area_struct")
    return f"at(vm_area_struct, {vma.number})"


def _final(observations: tuple[Observation, ...], used: set[str]) -> list[Line]:
    expressions = [expression for o in observations for _, expression, _ in o.parts]
    types = [type_ for o in observations for _, _, type_ in o.parts]
    result = "None" if not types else types[0] if len(types) == 1 else f"tuple[{', '.join(types)}]"
    out = ["@ghost", f"def final() -> {result}:", '    """Judge a run that is over, and say what can be observed."""']
    out.append("    always_at_quiescence()")
    for o in observations:
        used |= o.uses
        if o.prepare:
            out.append(f"    {o.prepare}")
    if expressions:
        out.append(f"    return {', '.join(expressions)}")
    return [Line(text) for text in out]

# SPDX-License-Identifier: GPL-2.0-only
"""A litmus test as a module of the dialect: `P0` …, `setup` and `final`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ptelab.litmus.columns import ColumnWriter, Line
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
    writers = [ColumnWriter(test, api, column) for column in test.columns]
    observer = Observer(test, writers)
    observations = (*observer.found.values(), *(o for o in watch if o.label not in observer.found))
    # Columns are written twice: the first time tells how wide a register must be.
    for writer in writers:
        writer.write("u8")
    values = {1} | {v for w in writers for v in w.values} | {v for f in test.files.values() for v in f.values}
    values |= {p.value for p in test.pages.values()}
    largest = max(values | ({ERRNO_MAX} if any(w.registers.errno for w in writers) else set()))
    register = f"u{next((w for w in _WIDTHS if largest < 1 << w), _WIDTHS[-1])}"

    lines: list[Line] = []
    used = {"always_at_quiescence", "ghost", "at"}
    lines += _ghost(writers, register, used)
    for writer in writers:
        lines += [Line(""), Line(""), *writer.write(register)]
        used |= writer.used
    lines += [Line(""), Line(""), *_setup(test, used)]
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


def _setup(test: Test, used: set[str]) -> list[Line]:
    out = ["def setup() -> None:", '    """The initial state."""']

    def call(name: str, *args: object) -> None:
        used.add(name)
        out.append(f"    {name}({', '.join(str(a) for a in args)})")

    def element(struct: str, number: int) -> str:
        used.add(struct)
        return f"at({struct}, {number})"

    def mm(name: str) -> str:
        return element("mm_struct", test.mms.index(name))

    for name in test.mms:
        call("setup_mm", mm(name))
    for file in test.files.values():
        if file.shmem or file.device:
            call("setup_file", element("address_space", file.number), False, True)
        if file.device:
            call("setup_device", element("address_space", file.number))
        for index, value in enumerate(file.values):
            folio = element("Folio", file.first_folio + index)
            call(
                "setup_device_page" if file.device else "setup_file_page",
                element("address_space", file.number),
                index,
                folio,
                value,
            )
    for p in test.pages.values():
        call("setup_page", element("Folio", test.file_pages + p.number), p.value)
    if test.has_private:
        call("setup_zero_page")
    for vma in (v for v in test.vmas.values() if not v.hole):
        flags = ["VM_READ", *(["VM_WRITE"] if vma.write else []), *([] if vma.readonly else ["VM_MAYWRITE"])]
        flags += ["VM_SHARED"] if vma.shared and not vma.readonly else []
        flags += ["VM_PFNMAP"] if vma.file and test.files[vma.file].device else []
        used.update(flags)
        mapping = element("address_space", test.files[vma.file].number) if vma.file else "None"
        call("setup_vma", _vma(vma, used), mm(vma.mm), vma.start, vma.pages, mapping, vma.pgoff, " | ".join(flags))
    for column in test.columns:
        if column.mm and column.active_mm:
            call("setup_elsewhere", column.cpu, mm(column.mm), mm(column.active_mm))
        elif column.mm:
            call("setup_cpu", column.cpu, mm(column.mm))
        active = column.active_mm or column.mm
        call("setup_task", column.number, column.cpu, mm(active) if active else "None")
    for (name, page), bits in test.ptes.items():
        vma = test.vmas[name]
        if bits.page:
            folio = element("Folio", test.file_pages + test.pages[bits.page].number)
            entry = (bits.write, bits.dirty, bits.young, test.is_exclusive(bits))
            call("setup_anon_pte", _vma(vma, used), vma.start + page, folio, *entry)
        else:
            call(
                "setup_huge" if bits.huge else "setup_pte",
                _vma(vma, used),
                vma.start + page,
                bits.write,
                bits.dirty,
                bits.young,
            )
    if test.memcgs:
        for number in range(test.file_pages + len(test.pages)):
            call("setup_charge", element("Folio", number), element("mem_cgroup", 0))
    for (thread, name, page), bits in test.tlbs.items():
        vma = test.vmas[name]
        mapped = _folio(test, vma, page, bits, element)
        cpu = test.columns[thread].cpu
        call("setup_tlb", cpu, _vma(vma, used), vma.start + page, mapped, bits.write, bits.dirty)
    return [Line(text) for text in out]


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

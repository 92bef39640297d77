# SPDX-License-Identifier: GPL-2.0-only
"""Huge pages of anonymous memory, as a test begins.

Of the model's tables, which have one entry or two, each is one of the machine's; so what a test calls a page is all or
half of a huge page, and its first word is what the test stores and loads.  A page that is not huge is the first of
those that lie there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptelab.litmus.resolve import Bits, Test, Vma
from ptelab.live.column import PAGE, TABLE_BYTES
from ptelab.live.program import WORD, Label, Program, Reg

if TYPE_CHECKING:
    from ptelab.live.scenario import Stage

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_HUGEPAGE, _NOHUGEPAGE = 14, 15
_FRAME = (1 << 55) - 1
_THP_BIT = 22  # of /proc/kpageflags


def wants(test: Test) -> bool:
    """Whether a test has huge pages of anonymous memory."""
    return bool(test.bounds.get("TRANSPARENT_HUGEPAGE"))


def unable(test: Test) -> str:
    """Why the huge pages of a test cannot be made; empty when they can, or if there are none."""
    if not wants(test):
        return "huge pages of files are not made here" if any(b.huge for b in test.ptes.values()) else ""
    if test.files:
        return "huge pages beside files are not made here"
    for vma in test.vmas.values():
        if len({b.huge for (name, _), b in test.ptes.items() if name == vma.name}) > 1:
            return "huge pages beside others in one mapping are not made here"
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text(encoding="ascii"):
            return "transparent huge pages are off"
        if int((_SETTINGS / "hpage_pmd_size").read_text(encoding="ascii")) != TABLE_BYTES:
            return "huge pages have another size"
        for file in _SETTINGS.glob("hugepages-*kB/enabled"):
            size = int(file.parent.name.removeprefix("hugepages-").removesuffix("kB")) << 10
            if size != TABLE_BYTES and "[never]" not in file.read_text(encoding="ascii"):
                return f"there are large pages of {size >> 10} kB, too"
    except OSError:
        return "there are no transparent huge pages"
    return ""


def advice_at_first(test: Test, vma: Vma) -> int:
    """What is said of a mapping before its entries are made."""
    return _HUGEPAGE if any(b.huge for (name, _), b in test.ptes.items() if name == vma.name) else _NOHUGEPAGE


def advice_at_last(test: Test) -> int:
    """What is said of mappings then: the model may have no more large folios, where a page cannot be one alone."""
    used = len({b.page for b in test.ptes.values() if b.huge})
    more = test.bounds.get("PTRS_PER_PTE") == 1 or test.bounds.get("LARGE_FOLIOS", 0) > used
    return _HUGEPAGE if more else _NOHUGEPAGE


def fill(p: Program, stage: Stage, vma: Vma, page: int, bits: Bits) -> None:
    """Store what the parts of a huge page have that belong to pages behind the first."""
    names = list(stage.test.pages)
    first = names.index(bits.page)
    for i, name in enumerate(names[first + 1 : first + stage.entries], 1):
        p.store(stage.address(vma.name, page) + stage.offset + i * stage.page, stage.test.pages[name].value)


def check(p: Program, stage: Stage, pagemap: Reg) -> None:
    """Note when a page that should be huge is not."""
    if not stage.abilities.frames:
        return
    word, frame = stage.shared.words(), p.reg()
    for (name, page), bits in stage.test.ptes.items():
        if bits.huge and stage.test.vmas[name].mm == stage.main_mm:
            small, on = Label(), Label()
            p.call("pread64", pagemap, word, WORD, stage.address(name, page) // PAGE * WORD)
            p.load(frame, word)
            p.op("AND", frame, _FRAME, to=frame)
            p.op("TIMES", frame, WORD, to=frame)
            p.call("pread64", stage.abilities.kpageflags, word, WORD, frame)
            p.load(frame, word)
            p.op("SHIFT", frame, _THP_BIT, to=frame)
            p.op("AND", frame, 1, to=frame)
            p.op("IF_ZERO", frame, small)
            p.jump(on)
            p.label(small)
            p.store(stage.made, 0)
            p.label(on)

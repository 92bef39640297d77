# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario shows, in the kernel or in the model: faults, what is mapped, how often, what is young, and calls."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

PROCESSES = ("parent", "child")
WHEN = ("before", "after")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A page of a process that is mapped; frames are numbered as they are first seen, and -1 is the zero page."""

    page: int
    frame: int
    mapcount: int


@dataclass(slots=True)
class Observed:
    """`mapped` and `young` are for (when, process); calls are those of a process of functions that were asked for.

    `young` is None where the kernel hides it: smaps takes a page that is marked as referenced for young.
    """

    faults: int = 0
    mapped: dict[tuple[str, int], tuple[Mapped, ...]] = field(default_factory=dict)
    young: dict[tuple[str, int], int | None] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

    def lines(self, hidden: Set[tuple[str, int]] = frozenset()) -> dict[str, str]:
        """Everything, each thing in one line; what is hidden in the kernel can be left out for the model too."""
        found = {"faults": str(self.faults)}
        for when, process in sorted(self.mapped, key=lambda key: (WHEN.index(key[0]), key[1])):
            young = self.young.get((when, process))
            known = young is not None and (when, process) not in hidden
            text = f"{_runs(self.mapped[when, process])}; {young if known else '?'} young"
            found[f"{when}, {PROCESSES[process]}"] = text
        if self.calls:
            found["calls"] = _calls(self.calls)
        return found

    @property
    def hidden(self) -> Set[tuple[str, int]]:
        """Where it does not say what is young."""
        return {key for key, young in self.young.items() if young is None}


@dataclass(slots=True)
class Collector:
    """Builds an Observed; frames get their numbers here."""

    zero: int | None = None
    numbers: dict[int, int] = field(default_factory=dict)
    mapped: dict[tuple[str, int], list[Mapped]] = field(default_factory=dict)
    young: dict[tuple[str, int], int | None] = field(default_factory=dict)
    referenced: set[tuple[str, int]] = field(default_factory=set)

    def process(self, when: str, process: int, young: int) -> None:
        """A process was looked at, all its pages before."""
        self.mapped.setdefault((when, process), [])
        self.young[when, process] = None if (when, process) in self.referenced else young

    def page(
        self, when: str, process: int, page: int, frame: int, mapcount: int, zero: bool, referenced: bool = False
    ) -> None:
        """A page of it is mapped."""
        if referenced:
            self.referenced.add((when, process))
        number = -1 if zero else self.numbers.setdefault(frame, len(self.numbers))
        self.mapped.setdefault((when, process), []).append(Mapped(page, number, 0 if zero else mapcount))

    def observed(self, faults: int, calls: tuple[str, ...]) -> Observed:
        """All of it."""
        return Observed(faults, {key: tuple(pages) for key, pages in self.mapped.items()}, dict(self.young), calls)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}…{last}"


# Pages in a row whose frames are in a row too, and that are mapped as often, are written together.
def _runs(pages: tuple[Mapped, ...]) -> str:
    words = []
    i = 0
    while i < len(pages):
        j = i
        step = 0 if pages[i].frame < 0 else 1
        if i + 1 < len(pages) and pages[i + 1].frame == pages[i].frame:
            step = 0
        while (
            j + 1 < len(pages)
            and pages[j + 1].page == pages[j].page + 1
            and pages[j + 1].frame == pages[j].frame + step
            and pages[j + 1].mapcount == pages[i].mapcount
        ):
            j += 1
        frames = "zero" if pages[i].frame < 0 else f"f{_range(pages[i].frame, pages[j].frame)}"
        words.append(f"{_range(pages[i].page, pages[j].page)}={frames}×{pages[i].mapcount}")
        i = j + 1
    return " ".join(words) or "nothing mapped"


def _calls(calls: tuple[str, ...]) -> str:
    words = []
    i = 0
    while i < len(calls):
        j = i
        while j + 1 < len(calls) and calls[j + 1] == calls[i]:
            j += 1
        words.append(calls[i] if i == j else f"{j - i + 1}×{calls[i]}")
        i = j + 1
    return ", ".join(words)

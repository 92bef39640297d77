# SPDX-License-Identifier: GPL-2.0-only
"""What a run on the kernel showed, in the words of the model; and what the model allows, in the same words."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ptelab.litmus.resolve import Test
from ptelab.live import swapping
from ptelab.live.column import register_names
from ptelab.live.program import WORD
from ptelab.live.scenario import UNKNOWN, Stage

Seen: TypeAlias = tuple[tuple[str, int | None], ...]
"""An outcome: labels as in litmus files with their values; None where this run could not tell."""

ENTRIES = 2
"""Entries of a PTE table in the model, when a test does not say."""

_DIRTY = 1 << 4  # of /proc/kpageflags


def labels(stage: Stage) -> list[str]:
    """What runs of a test on the kernel show, in a fixed order."""
    test = stage.test
    found = [f"{c.number}:{name}" for c in test.columns for name in register_names(c)]
    found += [f"fault(P{c.number})" for c in test.columns if has_pointer(test, c.number)]
    for file in test.files.values():
        for i in range(len(file.values)):
            found.append(f"{file.name}[{i}]")
            if stage.abilities.frames:
                found.append(f"page_mapcount({file.name}[{i}])")
                if stage.files[file.name].has_disk:
                    found += [f"folio_test_dirty({file.name}[{i}])", f"disk({file.name}[{i}])"]
    found += [f"{_pte(v.name, page)}.valid" for v in test.vmas.values() for page in range(v.pages)]
    for place in stage.anonymous:
        found.append(content(*place))
        if test.swap:
            found.append(in_swap(*place))
    return found


def content(vma: str, page: int) -> str:
    """How the datum of a page of a process is called."""
    return f"[{_place(vma, page)}]"


def in_swap(vma: str, page: int) -> str:
    """The same of whether an entry says that the page is in swap."""
    return f"swapped({_place(vma, page)})"


def has_pointer(test: Test, number: int) -> bool:
    """Whether a column accesses user memory."""
    return any("__user" in p.type for p in test.columns[number].process.parameters)


def _pte(vma: str, page: int) -> str:
    return f"[PTE({_place(vma, page)})]"


def _place(vma: str, page: int) -> str:
    times = f"{page} * " if page > 1 else ""
    return f"{vma} + {times}PAGE_SIZE" if page else vma


Rows: TypeAlias = Sequence[tuple[Mapping[str, int], int]]
"""The words of runs, and how many runs had them."""


def rows(stage: Stage, data: bytes, runs: int) -> Rows:
    """The words of all runs."""
    size = stage.row_bytes
    raw = Counter(data[i * size : (i + 1) * size] for i in range(runs))
    return [
        (dict(zip(stage.fields, struct.unpack(f"<{size // WORD}Q", row), strict=True)), count)
        for row, count in raw.items()
    ]


def unmade(rows: Rows) -> int:
    """How many runs have not begun as the test does."""
    return sum(count for words, count in rows if not words.get("made", 1))


def merged(rows: Rows) -> int:
    """In how many runs KSM had more pages merged after the columns' look than before it."""
    return sum(
        count for words, count in rows if _number(words.get("sharing 1", 0)) > _number(words.get("sharing 0", 0))
    )


def swapped(rows: Rows) -> int:
    """In how many runs a column has found a page in swap that it wanted to be there."""
    return sum(count for words, count in rows if swapping.swapped(words))


def doubtful(rows: Rows) -> int:
    """How many runs have begun as the test does, but MADV_PAGEOUT has not taken the page, or maybe another."""
    return sum(count for words, count in rows if words.get("made", 1) and swapping.doubtful(words))


def histogram(stage: Stage, rows: Rows) -> Counter[Seen]:
    """How often each outcome was seen, in runs that have begun as the test does and are not in doubt."""
    found: Counter[Seen] = Counter()
    for words, count in rows:
        if words.get("made", 1) and not swapping.doubtful(words):
            found[_outcome(stage, words)] += count
    return found


# A number that is written out in a word.
def _number(word: int) -> int:
    return int(word.to_bytes(WORD, "little").split(b"\n")[0].strip(b"\0") or b"0")


def _outcome(stage: Stage, words: Mapping[str, int]) -> Seen:
    values: dict[str, int | None] = {}
    for name, word in words.items():
        kind, _, rest = name.partition(" ")
        if kind == "signal":
            values[f"fault(P{rest})"] = int(word != 0)
        elif kind == "pagemap":
            vma, _, page = rest.partition(" ")
            values[f"{_pte(vma, int(page))}.valid"] = word >> 63
            values[in_swap(vma, int(page))] = word >> 62 & 1
        elif kind == "datum":
            vma, _, page = rest.partition(" ")
            values[content(vma, int(page))] = None if word == UNKNOWN else word
        elif kind in ("value", "count", "flags", "disk"):
            file, _, index = rest.partition(" ")
            place = f"{file}[{index}]"
            label = {"value": place, "count": f"page_mapcount({place})", "flags": f"folio_test_dirty({place})",
                     "disk": f"disk({place})"}[kind]  # fmt: skip
            values[label] = _of_file(words, kind, rest, word)
        elif ":" in name:
            values[name] = word - (1 << 64) if word >> 63 else word
    return tuple((label, values.get(label)) for label in labels(stage))


def _of_file(words: Mapping[str, int], kind: str, rest: str, word: int) -> int | None:
    if words[f"value {rest}"] == UNKNOWN:  # the file is shorter now
        return None
    if kind == "count":
        return word - 1  # the agent's own mapping, by which it looked
    if kind == "flags":
        return int(word & _DIRTY != 0)
    if kind == "disk":
        dirty = (words[f"flags {rest}"] | words[f"later flags {rest}"]) & _DIRTY
        return None if dirty else word
    return word

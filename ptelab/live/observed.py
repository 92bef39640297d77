# SPDX-License-Identifier: GPL-2.0-only
"""What a run on the kernel showed, in the words of the model; and what the model allows, in the same words."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from ptelab import checking
from ptelab.checking import Options
from ptelab.litmus import syntax as s
from ptelab.litmus.judge import decode, evaluate
from ptelab.litmus.resolve import Test
from ptelab.live.column import register_names
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
    found += [f"fault(P{c.number})" for c in test.columns if _has_pointer(test, c.number)]
    for file in test.files.values():
        for i in range(len(file.values)):
            found.append(f"{file.name}[{i}]")
            if stage.abilities.frames:
                found.append(f"page_mapcount({file.name}[{i}])")
                if stage.files[file.name].has_disk:
                    found += [f"folio_test_dirty({file.name}[{i}])", f"disk({file.name}[{i}])"]
    found += [f"{_pte(v.name, page)}.valid" for v in test.vmas.values() for page in range(v.pages)]
    return found


def _has_pointer(test: Test, number: int) -> bool:
    return any("__user" in p.type for p in test.columns[number].process.parameters)


def _pte(vma: str, page: int) -> str:
    times = f"{page} * " if page > 1 else ""
    return f"[PTE({vma} + {times}PAGE_SIZE)]" if page else f"[PTE({vma})]"


def histogram(stage: Stage, data: bytes, runs: int) -> Counter[Seen]:
    """How often each outcome was seen."""
    size = stage.row_bytes
    raw = Counter(data[i * size : (i + 1) * size] for i in range(runs))
    found: Counter[Seen] = Counter()
    for row, count in raw.items():
        words = struct.unpack(f"<{size // 8}Q", row)
        found[_outcome(stage, dict(zip(stage.fields, words, strict=True)))] += count
    return found


def _outcome(stage: Stage, words: Mapping[str, int]) -> Seen:
    values: dict[str, int | None] = {}
    for name, word in words.items():
        kind, _, rest = name.partition(" ")
        if kind == "signal":
            values[f"fault(P{rest})"] = int(word != 0)
        elif kind == "pagemap":
            vma, _, page = rest.partition(" ")
            values[f"{_pte(vma, int(page))}.valid"] = word >> 63
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


# ------------------------------------------------------------------------------------------------ model


@dataclass(frozen=True, slots=True)
class Allowed:
    """The model's outcomes, over the labels that runs on the kernel show, and whether they satisfy the condition."""

    outcomes: Mapping[Seen, tuple[bool, ...]]
    flags: tuple[str, ...]
    complete: bool
    bounds: Mapping[str, int]

    def matches(self, seen: Seen) -> list[Seen]:
        """The allowed outcomes that agree with one seen in all that it shows."""
        return [o for o in self.outcomes if all(b is None or a == b for (_, a), (_, b) in zip(o, seen, strict=True))]


def allowed(test: Test, wanted: list[str], options: Options) -> Allowed:
    """Explore a test in the model.  Labels that it does not know are unknown there as well."""
    watched = replace(
        test,
        litmus=replace(test.litmus, locations=_locations(test, wanted), filter=_faults(test)),
        bounds={**test.bounds, **_window(test)},
    )
    built, verdict = checking.check(watched, options)
    outcomes: dict[Seen, tuple[bool, ...]] = {}
    condition = test.litmus.condition
    for outcome in verdict.exploration.outcomes:
        values = decode(built.generated.observations, outcome)
        if test.litmus.filter is not None and not evaluate(test, test.litmus.filter, values):
            continue
        positive = bool(condition and evaluate(test, condition.prop, values))
        key = tuple((label, values.get(label)) for label in wanted)
        outcomes[key] = tuple(sorted({*outcomes.get(key, ()), positive}))
    found = verdict.exploration
    return Allowed(outcomes, tuple(sorted(found.flags)), found.complete, built.scenario.params)


# The kernel maps around a fault all that is there within 64 kB, a table and a VMA: in the model, a table is one window.
def _window(test: Test) -> dict[str, int]:
    if not any(v.file and v.pages > 1 for v in test.vmas.values()):
        return {}
    return {
        "FAULT_AROUND_PAGES": max(test.bounds.get(name, ENTRIES) for name in ("PTRS_PER_PTE", "FAULT_AROUND_PAGES"))
    }


_NOWHERE = s.Pos(1, 1)


# What the test's outcomes must show in addition.
def _locations(test: Test, wanted: list[str]) -> tuple[s.Location, ...]:
    found: list[s.Location] = []
    for c in test.columns:
        found += [s.Register(_NOWHERE, c.number, name) for name in register_names(c)]
    for file in test.files.values():
        for i in range(len(file.values)):
            for function in ("", "page_mapcount", "folio_test_dirty", "disk"):
                place = f"{file.name}[{i}]"
                if (f"{function}({place})" if function else place) in wanted:
                    found.append(s.Observe(_NOWHERE, function, file.name, i))
    for v in test.vmas.values():
        found += [s.PteOf(_NOWHERE, s.Address(_NOWHERE, v.name, page)) for page in range(v.pages)]
    return tuple(found)


# A filter that every outcome passes, and that makes outcomes show which columns were refused an access.
def _faults(test: Test) -> s.Prop | None:
    prop: s.Prop = s.Truth(True)
    for c in test.columns:
        if _has_pointer(test, c.number):
            prop = s.Connect("or", prop, s.FaultAtom(_NOWHERE, c.number, None, ""))
    return prop if test.litmus.filter is None else s.Connect("or", prop, test.litmus.filter)

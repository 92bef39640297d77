# SPDX-License-Identifier: GPL-2.0-only
"""What the model allows of what a run on the kernel shows; kept on disk, as it depends on the sources alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ptelab import checking
from ptelab.checking import Options
from ptelab.litmus import syntax as s
from ptelab.litmus.judge import decode, evaluate
from ptelab.litmus.observe import NUMBER, Observation
from ptelab.litmus.resolve import Test
from ptelab.live.column import register_names
from ptelab.live.observed import ENTRIES, Seen, content, has_pointer, in_swap
from ptelab.native import objects
from ptelab.source import Sources


@dataclass(frozen=True, slots=True)
class Allowed:
    """The model's outcomes, over the labels that runs on the kernel show, and whether they satisfy the condition."""

    outcomes: Mapping[Seen, tuple[bool, ...]]
    flags: tuple[str, ...]
    complete: bool

    def matches(self, seen: Seen) -> list[Seen]:
        """The allowed outcomes that agree with one seen in all that it shows."""
        return [o for o in self.outcomes if all(b is None or a == b for (_, a), (_, b) in zip(o, seen, strict=True))]


def allowed(test: Test, wanted: list[str], options: Options) -> Allowed:
    """What the model allows of a test: from the cache, or explored."""
    name = _key(test, wanted, options)
    kept = objects.get(name)
    if kept is not None:
        outcomes, flags = json.loads(kept)
        return Allowed({tuple((a, b) for a, b in o): tuple(truths) for o, truths in outcomes}, tuple(flags), True)
    found = explored(test, wanted, options)
    if found.complete:
        objects.put(name, json.dumps([list(found.outcomes.items()), found.flags]).encode())
    return found


# Everything that the answer depends on: the test, the model and this tool, each by its text.
def _key(test: Test, wanted: list[str], options: Options) -> str:
    model = _model_key(options.arch, options.model, options.patches, options.edits)
    return objects.key("allowed", repr(test.litmus), options.arch, *wanted, model, _tool_key())


@functools.cache
def _model_key(arch: str, model: Path | None, patches: tuple[Path, ...], edits: tuple[tuple[str, str], ...]) -> str:
    sources = Sources(arch, model, patches=patches, edits=dict(edits))
    return objects.key(*(f"{text.path} {text.text}" for text in sources.texts()))


@functools.cache
def _tool_key() -> str:
    tool = Path(__file__).parent.parent
    code = [p.read_text(encoding="utf-8") for p in sorted(tool.rglob("*.py")) if p.parent.name != "commands"]
    return objects.key(*code)


def explored(test: Test, wanted: list[str], options: Options) -> Allowed:
    """Explore a test in the model.  Labels that it does not know are unknown there as well."""
    watched = replace(
        test,
        litmus=replace(test.litmus, locations=_locations(test, wanted), filter=_faults(test)),
        bounds={**test.bounds, **_window(test)},
    )
    built, verdict = checking.check(watched, replace(options, watch=tuple(_watch(test, wanted))))
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
    return Allowed(outcomes, tuple(sorted(found.flags)), found.complete)


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


# What else the kernel shows of pages: their data, wherever they are, and whether that is in swap.
def _watch(test: Test, wanted: list[str]) -> Iterator[Observation]:
    for v in test.vmas.values():
        for page in range(v.pages):
            mm, address = f"at(mm_struct, {test.mms.index(v.mm)})", v.start + page
            known = frozenset(["at", "mm_struct"])
            data, swapped = content(v.name, page), in_swap(v.name, page)
            if data in wanted:
                yield Observation(data, (("", f"content_of({mm}, {address})", NUMBER),), uses=known | {"content_of"})
            if swapped in wanted:
                said = f"slot_of(entry_of({mm}, {address})) != 0"
                yield Observation(swapped, (("", said, "bool"),), uses=known | {"slot_of", "entry_of"})


# A filter that every outcome passes, and that makes outcomes show which columns were refused an access.
def _faults(test: Test) -> s.Prop | None:
    prop: s.Prop = s.Truth(True)
    for c in test.columns:
        if has_pointer(test, c.number):
            prop = s.Connect("or", prop, s.FaultAtom(_NOWHERE, c.number, None, ""))
    return prop if test.litmus.filter is None else s.Connect("or", prop, test.litmus.filter)

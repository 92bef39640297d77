# SPDX-License-Identifier: GPL-2.0-only
"""Two versions of the model on the same tests: do they behave alike, and what do they cost?

What is compared: verdicts, flags, and the sets of outcomes, where an outcome is what the test looks at and the final
value of every counter (every member of type atomic_t) of the folios, mms and files that the test names.  What a
version costs is counted in one run: the columns one after the other, hardware and interrupts only where a column waits
for them.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptelab import bundled, checking
from ptelab.checking import Options
from ptelab.litmus.build import Built
from ptelab.litmus.judge import Verdict
from ptelab.litmus.observe import NUMBER, Observation
from ptelab.litmus.resolve import Test
from ptelab.machine import Event, Flagged, Machine, State
from ptelab.source import SourceError, Sources

ENTRIES = ("pte_p", "pmd_p")
_FLUSH = re.compile(r"^(?:flush_tlb_\w+|__tlb_flush_\w+|__flush_tlb_\w+|arch_tlbbatch_flush)$")
_INTERRUPT = ("interrupt_flush", "invalidate")
STEPS_MAX = 100_000
"""A run of this many transitions does not come to an end."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version: a model directory (None: the bundled one) and patches over it."""

    name: str
    model: Path | None = None
    patches: tuple[Path, ...] = ()


@dataclass(slots=True)
class Cost:
    """What one run takes: counts by what is counted; flushes by the function that asks for them."""

    counts: Counter[str] = field(default_factory=Counter)
    complete: bool = True


@dataclass(slots=True)
class Difference:
    """Where two versions differ on one test and profile: words about it, and runs that show it, by side."""

    test: Test
    arch: str
    states: int
    words: list[str]
    runs: list[tuple[int, Built, str, Sequence[tuple[int, int]]]]  # side, scenario, what it shows, choices


@dataclass(slots=True)
class Comparison:
    """What came out: how many tests were alike, where they differ, what each side costs."""

    alike: int = 0
    differences: list[Difference] = field(default_factory=list)
    costs: list[tuple[str, str, Cost, Cost]] = field(default_factory=list)  # test, profile
    incomplete: list[str] = field(default_factory=list)
    only_one_side: list[str] = field(default_factory=list)  # counters that one side lacks


def side(word: str) -> Side:
    """`-` or `v7.0`: the bundled model; a directory: that one; else patches, bundled or files, joined by commas."""
    if word in ("-", "v7.0"):
        return Side(word)
    if Path(word).is_dir():
        return Side(word, Path(word))
    return Side(word, None, tuple(bundled.patch_path(w) for w in word.split(",")))


# ------------------------------------------------------------------------------------------- the counters


def counters(arch: str, version: Side) -> dict[str, list[tuple[str, int]]]:
    """Struct → its counters: (member, length), length 0 for one that is no array; only what threads share has any."""
    sources = Sources(arch, version.model, patches=version.patches)
    lengths: dict[str, int] = {}
    found: dict[str, list[tuple[str, int]]] = {}
    trees = [ast.parse(text.text) for text in sources.texts()]
    for tree in trees:
        for node in tree.body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, int)
            ):
                lengths |= {t.id: node.value.value for t in node.targets if isinstance(t, ast.Name)}
    for tree in trees:
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(d) == "struct" for d in node.decorator_list):
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        length = _length(item, lengths)
                        if length is not None:
                            found.setdefault(node.name, []).append((item.target.id, length))
    return found


def _length(item: ast.AnnAssign, constants: dict[str, int]) -> int | None:
    annotation = ast.unparse(item.annotation)
    if annotation == "atomic_t":
        return 0
    if annotation == "Array[atomic_t]" and isinstance(item.value, ast.Call):
        size = item.value.args[0]
        if isinstance(size, ast.Constant) and isinstance(size.value, int):
            return size.value
        return constants.get(ast.unparse(size))
    return None


def watched(test: Test, found: dict[str, list[tuple[str, int]]]) -> list[Observation]:
    """The counters of what a test names, as observations."""
    names: dict[str, list[str]] = {
        "Folio": [f"{f.name}[{i}]" for f in test.files.values() for i in range(len(f.values))] + list(test.pages),
        "mm_struct": list(test.mms),
        "mm_context_t": list(test.mms),
        "mem_cgroup": list(test.memcgs),
        "address_space": list(test.files),
        "zone": ["zone"],
    }
    result = []
    for struct, members in sorted(found.items()):
        for number, name in enumerate(names.get(struct, [])):
            for member, length in members:
                for i in range(max(length, 1)):
                    place = f"at({struct}, {number}).{member}" + (f"[{i}]" if length else "")
                    label = f"{member}({name})" + (f"[{i}]" if length else "")
                    result.append(Observation(label, (("", place, NUMBER),), uses=frozenset(["at", struct])))
    return result


# ------------------------------------------------------------------------------------------------ the cost


def cost(built: Built) -> Cost:
    """Count what one run takes: every column in turn until it ends, alternative 0 of every choice."""
    machine = Machine(built.scenario)
    result = Cost()
    try:
        state = machine.initial()
        for _ in range(STEPS_MAX):
            events: list[Event] = []
            following = _next(machine, state, events)
            if following is None:
                return result
            state = following
            _count(result.counts, events)
    except Flagged as flagged:
        result.counts[f"flag {flagged.name}"] += 1
    result.complete = False
    return result


# The first column that can go on; else hardware that somebody waits for.
def _next(machine: Machine, state: State, events: list[Event]) -> State | None:
    threads = machine.scenario.threads
    order = [i for i, t in enumerate(threads) if not t.daemon] + [i for i, t in enumerate(threads) if t.daemon]
    for thread in order:
        if not machine.alternatives(state, thread) or machine.is_speculation(state, thread):
            continue
        tried: list[Event] = []
        following = machine.step(state, thread, 0, tried)
        if following is not None:
            events += tried
            return following
    return None


def _count(counts: Counter[str], events: Sequence[Event]) -> None:
    for e in events:
        if e.kind == "call":
            name = e.text.rpartition(".")[2]
            callers = [f.rpartition(".")[2] for f in e.stack]
            caller = next((c for c in reversed(callers) if c != name), "")
            if name in _INTERRUPT:
                counts["remote flushes"] += 1
            elif _FLUSH.match(name) and not _FLUSH.match(caller):
                counts[f"flushes by {caller}"] += 1
        elif not e.free:
            entry = e.place is not None and e.place[0] in ENTRIES
            hardware = "hardware " if e.at.file.rpartition("model/")[2].startswith("hw/") else ""
            if entry and e.kind == "read":
                counts[f"{hardware}entry reads"] += 1
            elif entry and e.kind in ("write", "atomic"):
                counts[f"{hardware}entry writes"] += 1
            if e.kind == "atomic":
                counts["atomics"] += 1
            elif e.kind == "lock":
                counts["locks taken"] += 1


# ----------------------------------------------------------------------------------------------- comparing


def compare(
    a: Side, b: Side, tests: Sequence[Test], arches: Sequence[str], options: Options,
    report: Callable[[str], None] = lambda line: None,
) -> Comparison:  # fmt: skip
    """Check every test on every profile that it is about, on both sides; differences come smallest scenario first."""
    result = Comparison()
    for arch in arches:
        both = [counters(arch, s) for s in (a, b)]
        common = {s: [m for m in members if m in both[1].get(s, [])] for s, members in both[0].items()}
        for other, mine in ((both[0], "only the second"), (both[1], "only the first")):
            extra = both[1] if other is both[0] else both[0]
            missing = [f"{s}.{m}" for s, members in extra.items() for m, n in members if (m, n) not in other.get(s, [])]
            result.only_one_side += [f"{name} ({mine} has it)" for name in missing if arch == arches[0]]
        for test in tests:
            if not checking.skipped(test, arch):
                report(f"{test.name} on {arch}")
                _compare_one(result, (a, b), test, arch, options, watched(test, common))
    result.differences.sort(key=lambda d: d.states)
    return result


def _compare_one(
    result: Comparison, sides: tuple[Side, Side], test: Test, arch: str, options: Options, watch: list[Observation]
) -> None:
    checked: list[tuple[Built, Verdict]] = []
    for s in sides:
        mine = replace(options, arch=arch, model=s.model, patches=s.patches, watch=tuple(watch))
        checked.append(checking.check(test, mine))
    costs = [cost(checking.prepare(test.on(arch), replace(options, arch=arch, model=s.model, patches=s.patches,
                                                         reduce=False))) for s in sides]  # fmt: skip
    result.costs.append((test.name, arch, costs[0], costs[1]))
    if not all(v.exploration.complete for _, v in checked):
        result.incomplete.append(f"{test.name} on {arch}")
    words: list[str] = []
    runs: list[tuple[int, Built, str, Sequence[tuple[int, int]]]] = []
    results = [v.result for _, v in checked]
    if results[0] != results[1]:
        words.append(f"result {results[0]} against {results[1]}")
    texts = [{r.text: r for r in v.runs} for _, v in checked]
    for number in (0, 1):
        for text in sorted(texts[number].keys() - texts[1 - number].keys()):
            words.append(f"only {sides[number].name}: {text}")
            runs.append((number, checked[number][0], text, texts[number][text].choices))
    if words:
        runs.sort(key=lambda r: len(r[3]))
        result.differences.append(Difference(test, arch, checked[0][1].exploration.states, words, runs))
    else:
        result.alike += 1


def total(costs: Sequence[tuple[str, str, Cost, Cost]]) -> list[tuple[str, int, int]]:
    """The costs of all runs that came to an end on both sides: (what, first, second)."""
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for _, _, a, b in costs:
        if a.complete and b.complete:
            first += a.counts
            second += b.counts
    return [(name, first[name], second[name]) for name in sorted(first | second)]


__all__ = ["Comparison", "Cost", "Difference", "Side", "SourceError", "compare", "cost", "counters", "side", "total"]

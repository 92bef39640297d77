# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts as text in herd's manner, whose lines the kernel's scripts parse, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptelab.exploration import Exploration, format_choices, odds_of_a_missed_state
from ptelab.litmus.judge import Verdict

_KINDS = {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}


_BOUNDS = (
    "NR_CPUS",
    "NR_PAGES",
    "PTRS_PER_PTE",
    "nr_mm_struct",
    "nr_vm_area_struct",
    "nr_Folio",
    "nr_ptdesc",
    "VALUE_MAX",
)
"""The bounds that a reader should have before the eyes; `--json` has all of them."""


def herd_lines(verdict: Verdict, bounds: Mapping[str, int]) -> list[str]:
    """The lines that herd prints of a test, what was explored, and a line `!!! …` for everything that is wrong."""
    test, found = verdict.test, verdict.exploration
    condition = test.litmus.condition
    lines = [
        f"Test {test.name} {_KINDS[condition.quantifier] if condition else 'Forbidden'}",
        f"States {len(verdict.runs)}",
        *(run.text or "()" for run in verdict.runs),
        {True: "Ok", False: "No", None: "Unknown"}[verdict.holds],
        "Witnesses",
        f"Positive: {verdict.positive} Negative: {verdict.negative}",
        *(f"Flag {name}" for name in sorted(found.flags)),
        f"Condition {condition.quantifier} {condition.text}" if condition else "Condition ~exists (any flag)",
        f"Observation {test.name} {verdict.result} {verdict.positive} {verdict.negative}",
        f"Time {test.name} {found.seconds:.2f}",
        f"Explored {found.states} states, {found.transitions} transitions, depth {found.depth}",
        "Bounds " + " ".join(f"{n}:{bounds[n]}" for n in dict.fromkeys([*_BOUNDS, *test.bounds]) if n in bounds),
    ]
    if found.resumed_states:
        lines.append(f"Resumed with {found.resumed_states} states")
    if found.checkpoint:
        lines.append(f"Stopped: {found.checkpoint}")
    return lines + [f"!!! {problem}" for problem in verdict.problems]


def json_object(verdict: Verdict, arch: str, patches: Sequence[str], bounds: Mapping[str, int]) -> dict[str, Any]:
    """Everything about one test, for programs."""
    test, found = verdict.test, verdict.exploration
    return {
        "test": test.name,
        "arch": arch,
        "patches": list(patches),
        "result": verdict.result,
        "expected": test.expected,
        "ok": verdict.status == "ok",
        "status": verdict.status,
        "flags": sorted(found.flags),
        "outcomes": [run.text for run in verdict.runs if not run.flag],
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "seconds": round(found.seconds, 3),
        "memory_bytes": found.memory_bytes,
        "complete": found.complete,
        "stopped": found.stopped,
        **fingerprint_object(found),
        "checkpoint": found.checkpoint,
        "resumed_states": found.resumed_states,
        "bounds": dict(sorted(bounds.items())),
        "reached": sorted(found.reached),
        "problems": verdict.problems,
        "choices": format_choices(verdict.example.choices) if verdict.example else None,
    }


def fingerprint_object(found: Exploration) -> dict[str, Any]:
    """What is to be said of states that were not kept whole; nothing when they were."""
    if not found.fingerprint_bits:
        return {}
    return {"fingerprint_bits": found.fingerprint_bits, "odds_of_a_missed_state": odds_of_a_missed_state(found)}


def differences(verdicts: Sequence[tuple[str, Verdict]]) -> list[str]:
    """Where the answers of one test differ between profiles: a line per test and profile, and a line of summary."""
    by_test: dict[str, dict[str, Verdict]] = {}
    for arch, verdict in verdicts:
        by_test.setdefault(verdict.test.name, {})[arch] = verdict
    lines: list[str] = []
    different = 0
    for name, found in by_test.items():
        answers = {arch: _answer(verdict) for arch, verdict in found.items()}
        if len(set(answers.values())) > 1:
            different += 1
            lines.append(f"{name} differs:")
            common = set.intersection(*(set(outcomes) for _, _, outcomes in answers.values()))
            for arch, (result, flags, outcomes) in answers.items():
                extra = [f"flag {flag}" for flag in flags] + sorted(set(outcomes) - common)
                lines.append(
                    f"  {arch:<14} {result:<10} {'only some have: ' + ' | '.join(extra) if extra else ''}".rstrip()
                )
    same = len(by_test) - different
    return [*lines, f"Answers differ between profiles in {different} tests, are the same in {same}"]


def _answer(verdict: Verdict) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    outcomes = tuple(sorted({run.text for run in verdict.runs if not run.flag}))
    return verdict.result, tuple(sorted(verdict.exploration.flags)), outcomes

# SPDX-License-Identifier: GPL-2.0-only
"""What was seen against what the model allows; as text in the manner of herd's litmus7, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ptelab.litmus.judge import named_flags
from ptelab.litmus.resolve import Test
from ptelab.live import merging
from ptelab.live.allowed import Allowed
from ptelab.live.observed import Seen
from ptelab.live.running import Result

Mark: TypeAlias = Literal["*", ":", "?", "!"]
"""An outcome that satisfies the condition, one that does not, one that leaves this open, and one that is forbidden."""

_KINDS = {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}


@dataclass(slots=True)
class Verdict:
    """What became of a test."""

    test: Test
    result: Result
    allowed: Allowed
    marks: dict[Seen, Mark] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    never_seen: list[Seen] = field(default_factory=list)
    disturbed: bool = False

    @property
    def status(self) -> str:
        """ok, failed, disturbed or incomplete."""
        if self.problems:
            return "failed"
        if self.disturbed:
            return "disturbed"
        return "ok" if self.allowed.complete else "incomplete"

    def count(self, mark: Mark) -> int:
        """How many runs had outcomes of a kind."""
        return sum(n for seen, n in self.result.histogram.items() if self.marks[seen] == mark)


def judge(test: Test, result: Result, allowed: Allowed) -> Verdict:
    """Compare: an outcome that the model forbids is a failure, one that was never seen is none."""
    verdict = Verdict(test, result, allowed)
    met: set[Seen] = set()
    for seen, count in result.histogram.items():
        matching = allowed.matches(seen)
        met.update(matching)
        truths = {truth for o in matching for truth in allowed.outcomes[o]}
        if truths:
            verdict.marks[seen] = "?" if len(truths) > 1 else "*" if truths == {True} else ":"
        elif allowed.flags or not allowed.complete:
            why = f"ends runs with flag {', '.join(allowed.flags)}" if allowed.flags else "was not explored to the end"
            verdict.marks[seen] = "?"
            verdict.notes.append(f"not judged, since the model {why}: {show(seen)}")
        else:
            verdict.marks[seen] = "!"
            verdict.problems.append(f"the model forbids what was seen {count} times: {show(seen)}")
    for flag in sorted(set(allowed.flags) - named_flags(test)):
        verdict.problems.append(f"the model raises flag {flag} and the condition does not name it")
    verdict.never_seen = [o for o in allowed.outcomes if o not in met]
    if result.hung:
        verdict.problems.append(f"run {result.runs + 1} did not come to an end")
    return verdict


def excuse(verdict: Verdict, again: Result, noise: Sequence[str]) -> None:
    """Take back that forbidden outcomes fail the test, when none comes a second time and something else may be why."""
    forbidden = [seen for seen, mark in verdict.marks.items() if mark == "!"]
    if noise and forbidden and not any(seen in again.histogram for seen in forbidden):
        verdict.notes += [f"disturbed, not seen again, while {', '.join(noise)} runs: {p}" for p in verdict.problems]
        verdict.problems.clear()
        verdict.disturbed = True


def show(seen: Seen) -> str:
    """An outcome in one line."""
    words = []
    for label, value in seen:
        if label.startswith("fault("):
            words.append(label if value else f"~{label}")
        elif label.endswith(".valid"):
            words.append(f"{label.removesuffix('.valid')}=(valid:{'?' if value is None else value})")
        else:
            words.append(f"{label}={'?' if value is None else value}")
    return "; ".join(words) + ";"


def lines(verdict: Verdict) -> list[str]:
    """The text of a verdict."""
    test, result = verdict.test, verdict.result
    condition = test.litmus.condition
    positive, negative = verdict.count("*"), verdict.count(":")
    kind = "Sometimes" if positive and negative else "Always" if positive else "Never"
    out = [
        f"Test {test.name} {_KINDS[condition.quantifier] if condition else 'Forbidden'}",
        f"Histogram ({len(result.histogram)} states)",
        *(f"{count:<8}{verdict.marks[seen]}>{show(seen)}" for seen, count in result.histogram.most_common()),
        "Witnesses",
        f"Positive: {positive}, Negative: {negative}",
        f"Condition {condition.quantifier} {condition.text}" if condition else "Condition ~exists (any flag)",
        f"Observation {test.name} {kind} {positive} {negative}",
        f"Time {test.name} {result.seconds:.2f}",
    ]
    if result.unmade:
        out.append(f"Left out {result.unmade} runs that did not begin as the test does")
    if result.doubtful:
        out.append(f"Left out {result.doubtful} runs in which MADV_PAGEOUT left the page, or took another")
    if merging.targets(test):
        out.append(f"KSM has merged a page in {result.merged} runs at least")
    if test.swap and result.swapped:
        out.append(f"A page was swapped out in {result.swapped} runs at least")
    total = len(verdict.allowed.outcomes)
    out.append(f"Seen {total - len(verdict.never_seen)} of {total} outcomes that the model allows")
    out += [f"never  :>{show(o)}" for o in verdict.never_seen]
    if not verdict.allowed.complete:
        out.append("The model was not explored to the end")
    return out + verdict.notes + [f"!!! {problem}" for problem in verdict.problems]


def json_object(verdict: Verdict, kernel: str) -> dict[str, Any]:
    """Everything about one test, for programs."""
    return {
        "test": verdict.test.name,
        "kernel": kernel,
        "status": verdict.status,
        "runs": verdict.result.runs,
        "unmade": verdict.result.unmade,
        "doubtful": verdict.result.doubtful,
        "merged": verdict.result.merged,
        "swapped": verdict.result.swapped,
        "seconds": round(verdict.result.seconds, 3),
        "outcomes": [
            {"count": count, "mark": verdict.marks[seen], "values": dict(seen)}
            for seen, count in verdict.result.histogram.most_common()
        ],
        "never_seen": [dict(o) for o in verdict.never_seen],
        "model_flags": list(verdict.allowed.flags),
        "problems": verdict.problems,
        "notes": verdict.notes,
    }


def summary(what: str, statuses: Sequence[str], more: str = "") -> str:
    """One line over all tests."""
    order = ("ok", "failed", "incomplete", "disturbed", "skipped")
    words = ", ".join(f"{statuses.count(s)} {s}" for s in order if s in statuses or s == "ok")
    return f"{len(statuses)} {what}: {words}{more}"

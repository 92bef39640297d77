# SPDX-License-Identifier: GPL-2.0-only
"""From what an engine found to what the test says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ptelab.exploration import Choice, Exploration, Outcome, odds_of_a_missed_state
from ptelab.litmus import syntax as s
from ptelab.litmus.columns import errno_value
from ptelab.litmus.observe import Observation, atoms, fault_label, label
from ptelab.litmus.profiles import covers
from ptelab.litmus.resolve import Result, Test, pte_fields

Status: TypeAlias = Literal["ok", "failed", "incomplete"]
UNKNOWN = "Unknown"
"""The result of an exploration that was stopped before it found a positive outcome."""

Values: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """A way that the test can end: an outcome, or a flag (whose run has no outcome), with a shortest run to it."""

    text: str
    positive: bool
    choices: Sequence[Choice]
    flag: str = ""


@dataclass(slots=True)
class Verdict:
    """What became of a test."""

    test: Test
    exploration: Exploration
    result: str  # a Result, or UNKNOWN
    status: Status
    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # one line each: why it is not ok
    example: Run | None = None  # the counterexample of a failure, else a witness when there is one

    @property
    def positive(self) -> int:
        return sum(r.positive for r in self.runs)

    @property
    def negative(self) -> int:
        return len(self.runs) - self.positive

    @property
    def holds(self) -> bool | None:
        """Whether the condition as herd reads it is validated: `Ok` or `No`; None: what was not explored decides."""
        condition = self.test.litmus.condition
        match condition.quantifier if condition else "~exists":
            case "exists":
                found, means = self.positive, True
            case "~exists":
                found, means = self.positive, False
            case _:
                found, means = self.negative, False
        if found:
            return means
        return not means if self.exploration.complete else None


# ----------------------------------------------------------------------------------------- propositions


def evaluate(test: Test, prop: s.Prop, values: Values | None, flag: str = "") -> bool | None:
    """Whether a proposition holds of an outcome; with `values` None the run ended in `flag` and has no outcome.

    None: it depends on values that such a run does not have.
    """
    match prop:
        case s.Truth(value):
            return value
        case s.FlagAtom(_, name):
            return name == flag
        case s.Not(a):
            inner = evaluate(test, a, values, flag)
            return None if inner is None else not inner
        case s.Connect(op, a, b):
            left, right = evaluate(test, a, values, flag), evaluate(test, b, values, flag)
            if op == "implies":
                left, op = (None if left is None else not left), "or"
            decisive = op == "or"
            if decisive in (left, right):
                return decisive
            return None if left is None or right is None else not decisive
        case s.FaultAtom():
            return None if values is None else bool(values[fault_label(prop)])
        case s.Compare():
            return None if values is None else _compare(test, prop, values)


def _compare(test: Test, atom: s.Compare, values: Values) -> bool:
    name = label(atom.location)
    if isinstance(atom.value, tuple):
        equal = all(values[f"{name}.{part}"] == value for part, value, _ in pte_fields(test, atom.value))
    elif isinstance(atom.value, str):
        equal = values[name] == -(errno_value(atom.value) or 0)
    else:
        equal = values[name] == (1 if atom.value is None else atom.value)
    return equal == (atom.op == "=")


def decode(observations: Sequence[Observation], outcome: Outcome) -> dict[str, int]:
    """The integers of an outcome by their labels; errors negative, as system calls return them."""
    values: dict[str, int] = {}
    numbers = iter(outcome)
    for o in observations:
        for key in o.keys():  # noqa: SIM118
            value = next(numbers)
            values[key] = -value if o.errno else value
    return values


def show(test: Test, observations: Sequence[Observation], values: Values) -> str:
    """An outcome as herd prints a final state."""
    names = [f"{f.name}[{i}]" for f in test.files.values() for i in range(len(f.values))] + list(test.pages)
    pages = {number: f"PA({name})" for number, name in enumerate(names)}
    words: list[str] = []
    for o in observations:
        if o.label.startswith("fault("):
            words.append(o.label if values[o.label] else f"~{o.label}")
        elif o.label.startswith("[PTE("):
            bits = [(name, values[f"{o.label}.{name}"]) for name, _, _ in o.parts]
            parts = [f"{name}:{pages.get(value, 'new') if name == 'oa' else value}" for name, value in bits]
            words.append(f"{o.label}=({','.join(parts if values[f'{o.label}.valid'] else parts[:1])})")
        else:
            words.append(f"{o.label}={values[o.label]}")
    return " ".join(f"{w};" for w in words)


def named_flags(test: Test) -> set[str]:
    """The flags that the condition names, and that may therefore be raised."""
    condition = test.litmus.condition
    named = {a.name for a in atoms(condition.prop if condition else None) if isinstance(a, s.FlagAtom)}
    return named | ({"deadlock"} if test.expected == "DEADLOCK" else set())


# ---------------------------------------------------------------------------------------------- verdict


def judge(test: Test, observations: Sequence[Observation], found: Exploration) -> Verdict:
    """Judge an exploration of a test against its `Result:`, its flags, its filter and its `Reach=`."""
    runs, dropped = _runs(test, observations, found)
    verdict = Verdict(test, found, UNKNOWN, "ok", runs)
    verdict.result = _result(verdict)
    _problems(verdict, dropped)
    definite = bool(verdict.problems)
    if not found.complete:
        verdict.problems.append(incompleteness(found))
        verdict.status = "failed" if definite else "incomplete"
    elif definite:
        verdict.status = "failed"
    verdict.example = _example(verdict)
    return verdict


def incompleteness(found: Exploration) -> str:
    """Why an exploration says nothing of what it has not seen."""
    lossy = (
        f"states were kept as fingerprints of {found.fingerprint_bits} bits: the odds of a missed one are"
        f" {odds_of_a_missed_state(found)} after {found.states} states"
    )
    if found.stopped == "fingerprint":
        return lossy
    how = "interrupted" if found.stopped == "interrupt" else f"stopped at a limit ({found.stopped})"
    stopped = f"{how} after {found.states} states"
    return f"{stopped}; {lossy}" if found.fingerprint_bits else stopped


def _runs(test: Test, observations: Sequence[Observation], found: Exploration) -> tuple[list[Run], int]:
    condition = test.litmus.condition
    runs: list[Run] = []
    dropped = 0
    for outcome, choices in sorted(found.outcomes.items()):
        values = decode(observations, outcome)
        if test.litmus.filter is not None and not evaluate(test, test.litmus.filter, values):
            dropped += 1
            continue
        positive = bool(condition and evaluate(test, condition.prop, values))
        runs.append(Run(show(test, observations, values), positive, choices))
    for flag, choices in sorted(found.flags.items()):
        positive = bool(evaluate(test, condition.prop, None, flag)) if condition else True
        runs.append(Run(f"flag {flag};", positive, choices, flag))
    return runs, dropped


def _result(verdict: Verdict) -> str:
    found = verdict.exploration
    if not found.complete:
        return "Sometimes" if verdict.positive else UNKNOWN
    if set(found.flags) == {"deadlock"} and not found.outcomes and verdict.test.expected == "DEADLOCK":
        return "DEADLOCK"
    if not verdict.positive:
        return "Never"
    return "Sometimes" if verdict.negative else "Always"


# What is certainly wrong: an incomplete exploration may be wrong as well, but not for lack of what it has not seen.
def _problems(verdict: Verdict, dropped: int) -> None:
    test, found = verdict.test, verdict.exploration
    for flag in sorted(set(found.flags) - named_flags(test)):
        verdict.problems.append(f"flag {flag} is raised and the condition does not name it")
    if found.complete:
        if dropped and not any(not r.flag for r in verdict.runs):
            verdict.problems.append("the filter leaves no outcome")
        if not found.outcomes and not found.flags:
            verdict.problems.append("no run comes to an end: the columns go round for ever")
        for name, _, _ in test.reach:
            if name not in found.reached:
                verdict.problems.append(f"situation {name} is not reached")
    if _contradicts(verdict):
        verdict.problems.append(f"result {verdict.result}, expected {test.expected}")


def _contradicts(verdict: Verdict) -> bool:
    expected: Result | None = verdict.test.expected
    if expected is None or expected == "Maybe":
        return False
    if verdict.exploration.complete:
        return verdict.result != expected
    return (expected == "Never" and verdict.positive > 0) or (expected == "Always" and verdict.negative > 0)


# The run to show: what must not be, shortest first; of a test that is ok, a positive outcome.
def _example(verdict: Verdict) -> Run | None:
    named = named_flags(verdict.test)
    groups = [[r for r in verdict.runs if r.flag and r.flag not in named]]
    if verdict.test.expected == "Always":
        groups.append([r for r in verdict.runs if not r.positive])
    groups.append([r for r in verdict.runs if r.positive])
    for group in groups:
        if group:
            return min(group, key=lambda r: (len(r.choices), r.text))
    return None


def with_patch(test: Test, arch: str, patch: str) -> Result | None:
    """What the test's `Patch=` lines say its result is with a patch; None when they say nothing."""
    for claim in test.patches:
        if claim.id == patch and covers(claim.arches, arch):
            return claim.result
    return None

# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live` does: tests are performed on the running kernel and held against the model."""

from __future__ import annotations

import functools
import json
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ptelab import beside, bundled, checking
from ptelab.checking import Options
from ptelab.litmus import build
from ptelab.litmus.resolve import Test
from ptelab.live import verdict as verdicts
from ptelab.live.allowed import Allowed, allowed
from ptelab.live.binary import Crashed, Hung
from ptelab.live.column import PAGE, Unable
from ptelab.live.counting import Counting, Counts, ModelCounts, read
from ptelab.live.measuring import Measured, measure
from ptelab.live.observed import labels
from ptelab.live.probe import Abilities, noise, probe
from ptelab.live.report import Entry
from ptelab.live.running import run, staged
from ptelab.live.scenario import Stage
from ptelab.live.squeezed import squeezes
from ptelab.live.squeezing import is_squeezing
from ptelab.live.tracing import NoTracing, Tracepoint, in_use, tracepoints
from ptelab.live.verdict import Verdict
from ptelab.native.sequential import Stopped

OK, FAILED, LIMIT, SKIPPED = 0, 1, 3, 4

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Session:
    """How tests are run: `echo` takes results, `explain` what is said besides."""

    abilities: Abilities
    options: Options  # of the model
    seconds: float
    directory: Path | None
    as_json: bool
    echo: Say
    explain: Say
    entries: list[Entry] = field(default_factory=list)  # of a report

    @property
    def kernel(self) -> str:
        """Which kernel this is."""
        return f"{os.uname().release} {os.uname().machine}"

    def command(self, word: str) -> str:
        """How to run one test again."""
        return " ".join(["ptelab live", word, *(f"--patch {patch}" for patch in self.options.patches)])


def live(paths: Sequence[Path], options: Options, seconds: float, directory: Path | None, make_swap: bool,
         as_json: bool, echo: Say, explain: Say, entries: list[Entry]) -> int:  # fmt: skip
    """Run tests for some seconds each, and count what scenarios have counted.  The exit status.

    What was compared is added to `entries`.
    """
    abilities = probe(make_swap, directory)
    if abilities.machine is None:
        explain(f"skipped: the agent has no machine code for {os.uname().machine}")
        return SKIPPED
    if mmap.PAGESIZE != PAGE:
        explain(f"skipped: pages of {mmap.PAGESIZE} bytes")
        return SKIPPED
    options = replace(options, arch=abilities.machine.profile)
    session = Session(abilities, options, seconds, directory, as_json, echo, explain, entries)
    limits = "" if abilities.frames else "; frame numbers are hidden: no map counts, no dirty flags, no disk"
    explain(f"Kernel {session.kernel}, {len(abilities.cpus)} CPUs{limits}")
    statuses = _litmus(session, [p for p in paths if p.suffix != ".toml"])
    tables = [p for p in paths if p.suffix == ".toml"]
    statuses += _counts(session, [p for p in tables if not is_squeezing(p)])
    statuses += squeezes(session, [p for p in tables if is_squeezing(p)])
    for status, exit_status in (("failed", FAILED), ("incomplete", LIMIT), ("ok", OK), ("disturbed", OK)):
        if status in statuses:
            return exit_status
    return SKIPPED


# --------------------------------------------------------------------------------------------- outcomes


def _litmus(session: Session, paths: Sequence[Path]) -> list[str]:
    statuses: list[str] = []
    runs = 0
    todo: list[tuple[Test, list[str]]] = []
    for path in paths:
        test = build.read(path).on(session.options.arch)
        try:
            todo.append((test, _labels(session, test)))
        except Unable as error:
            statuses.append(_skip(session, test, str(error)))
    for (test, _), outcomes in zip(todo, _explored(session, todo), strict=True):
        try:
            judged = _perform(session, test, outcomes)
        except Unable as error:
            statuses.append(_skip(session, test, str(error)))
            continue
        except Crashed as error:
            session.explain(f"!!! Test {test.name}: {error}")
            statuses.append("failed")
            session.entries.append(_entry(session, test, "failed", "", str(error)))
            continue
        statuses.append(judged.status)
        runs += judged.result.runs
        allows = "\n".join(verdicts.show(o) for o in judged.allowed.outcomes)
        session.entries.append(_entry(session, test, judged.status, allows, "\n".join(verdicts.lines(judged))))
        if session.as_json:
            session.echo(json.dumps(verdicts.json_object(judged, session.kernel), ensure_ascii=False))
        else:
            session.echo("\n".join(verdicts.lines(judged)) + "\n")
    if statuses:
        session.explain(verdicts.summary("tests", statuses, f"; {runs:,} runs"))
    return statuses


def _skip(session: Session, test: Test, why: str) -> str:
    session.explain(f"Test {test.name} skipped: {why}")
    session.entries.append(_entry(session, test, "skipped", "", why))
    return "skipped"


def _entry(session: Session, test: Test, status: str, allows: str, seen: str) -> Entry:
    repeat = session.command(test.name + (" --swap" if test.swap and session.abilities.swap.own else ""))
    return Entry("test", test.name, test.question, session.kernel, status, allows, seen, repeat)


def _labels(session: Session, test: Test) -> list[str]:
    if reason := checking.skipped(test, session.options.arch):
        raise Unable(reason)
    with staged(test, session.abilities, session.directory, plan=True) as stage:
        return labels(stage)


# What the model allows for all tests, before any is performed: exploring would disturb what runs at the same time.
def _explored(session: Session, todo: Sequence[tuple[Test, list[str]]]) -> list[Allowed]:
    jobs, options = min(len(todo) // 4, len(session.abilities.cpus)), session.options
    if jobs > 1:
        session.explain(f"Exploring {len(todo)} tests in the model")
        options = replace(options, threads=1, memory_bytes=options.memory_bytes // jobs)
    return list(beside.in_order(functools.partial(_allowed, options), todo, jobs))


def _allowed(options: Options, asked: tuple[Test, list[str]]) -> Allowed:
    return allowed(*asked, options)


def _perform(session: Session, test: Test, outcomes: Allowed) -> Verdict:
    with staged(test, session.abilities, session.directory) as stage:
        result = run(stage, session.abilities, session.seconds)
        if result.unmade and not result.runs:
            raise Unable(f"its beginning came about in none of {result.unmade} runs")
        judged = verdicts.judge(test, result, outcomes)
        if judged.count("!"):
            judged = _by_a_later_kernel(session, stage, judged)
        if judged.count("!") and (others := noise(ksmd_is_ours=stage.merging is not None)):
            verdicts.excuse(judged, run(stage, session.abilities, session.seconds), others)
    return judged


# The same by a model with a fix that kernels after v7.0 have, if the test knows one, and that explains what was seen.
def _by_a_later_kernel(session: Session, stage: Stage, judged: Verdict) -> Verdict:
    for claim in judged.test.patches:
        patch = bundled.patches()[claim.id]
        if patch.path not in session.options.patches and _is_fix(patch):
            options = replace(session.options, patches=(*session.options.patches, patch.path))
            again = verdicts.judge(judged.test, judged.result, allowed(judged.test, labels(stage), options))
            if not again.count("!"):
                again.notes.append(f"as the model says with {claim.id}, a fix that later kernels have")
                return again
    return judged


def _is_fix(patch: bundled.Patch) -> bool:
    lines = patch.header.splitlines()
    return "Kind: fix" in lines and "Kernel versions: none" not in lines


# ----------------------------------------------------------------------------------------------- counts


def _counts(session: Session, paths: Sequence[Path]) -> list[str]:
    statuses: list[str] = []
    machine = session.abilities.machine
    assert machine is not None
    for path in paths:
        scenarios = read(path)
        try:
            known = tracepoints()
        except NoTracing as error:
            session.explain(f"Counts of {path.name} skipped: {error}")
            statuses += ["skipped"] * len(scenarios)
            continue
        model = ModelCounts(scenarios, session.options.arch, session.options.model, session.options.patches)
        with in_use(known.values(), machine.numbers["perf_event_open"]):
            statuses += [_count(session, path, scenario, known, model) for scenario in scenarios]
    if statuses:
        session.explain(verdicts.summary("counts", statuses))
    return statuses


def _count(
    session: Session, path: Path, scenario: Counting, known: Mapping[str, Tracepoint], model: ModelCounts
) -> str:
    try:
        measured = measure(scenario, session.abilities, known, session.directory)
    except (Unable, NoTracing) as error:
        session.explain(f"Count {scenario.name} skipped: {error}")
        session.entries.append(_count_entry(session, path, scenario, "skipped", "", str(error)))
        return "skipped"
    except (Crashed, Hung) as error:
        session.explain(f"!!! Count {scenario.name}: {error}")
        session.entries.append(_count_entry(session, path, scenario, "failed", "", str(error)))
        return "failed"
    try:
        counted: Counts | str = model.counts(scenario)
    except Stopped as error:
        counted = f"the model stops: {error}"
    status = _compare(session, scenario, counted, measured)
    said = counted if isinstance(counted, str) else counted.show()
    seen = "\n".join(c.show() for c in ([measured.usual] if measured.usual else dict.fromkeys(measured.counts)))
    session.entries.append(_count_entry(session, path, scenario, status, said, seen))
    return status


def _count_entry(session: Session, path: Path, scenario: Counting, status: str, model: str, seen: str) -> Entry:
    repeat = session.command(str(path))
    return Entry("count", scenario.name, scenario.question, session.kernel, status, model, seen, repeat)


def _compare(session: Session, scenario: Counting, model: Counts | str, measured: Measured) -> str:
    usual = measured.usual
    status = "disturbed" if usual is None else "ok" if usual == model else "failed"
    said = model if isinstance(model, str) else model.show()
    if session.as_json:
        counts = [asdict(c) for c in measured.counts]
        record = {"count": scenario.name, "kernel": session.kernel, "status": status, "measured": counts,
                  "model": model if isinstance(model, str) else asdict(model)}  # fmt: skip
        session.echo(json.dumps(record, ensure_ascii=False))
        return status
    lines = [f"Count {scenario.name}: {said}"]
    if measured.disturbed:
        lines += [f"  disturbed, the kernel says: {counts.show()}" for counts in dict.fromkeys(measured.counts)]
    if status == "failed":
        lines.append(f"!!! the kernel says: {usual.show() if usual else ''}")
    session.echo("\n".join(lines))
    return status

# SPDX-License-Identifier: GPL-2.0-only
"""What `ptelab live` does: tests are performed on the running kernel and held against the model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ptelab import checking
from ptelab.checking import Options
from ptelab.litmus import build
from ptelab.live import verdict as verdicts
from ptelab.live.column import Unable
from ptelab.live.counting import Counting, Counts, ModelCounts, read
from ptelab.live.measuring import Measured, measure
from ptelab.live.observed import allowed
from ptelab.live.probe import Abilities, probe
from ptelab.live.running import perform
from ptelab.live.tracing import NoTracing, tracepoints
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

    @property
    def kernel(self) -> str:
        """Which kernel this is."""
        return f"{os.uname().release} {os.uname().machine}"


def live(paths: Sequence[Path], options: Options, seconds: float, directory: Path | None, as_json: bool,
         echo: Say, explain: Say) -> int:  # fmt: skip
    """Run tests for some seconds each, and count what scenarios have counted.  The exit status."""
    abilities = probe()
    if abilities.machine is None:
        explain(f"skipped: the agent has no machine code for {os.uname().machine}")
        return SKIPPED
    options = replace(options, arch=abilities.machine.profile)
    session = Session(abilities, options, seconds, directory, as_json, echo, explain)
    limits = "" if abilities.frames else "; frame numbers are hidden: no map counts, no dirty flags, no disk"
    explain(f"Kernel {session.kernel}, {len(abilities.cpus)} CPUs{limits}")
    statuses = _litmus(session, [p for p in paths if p.suffix != ".toml"])
    statuses += _counts(session, [p for p in paths if p.suffix == ".toml"])
    for status, exit_status in (("failed", FAILED), ("incomplete", LIMIT), ("ok", OK), ("disturbed", OK)):
        if status in statuses:
            return exit_status
    return SKIPPED


# --------------------------------------------------------------------------------------------- outcomes


def _litmus(session: Session, paths: Sequence[Path]) -> list[str]:
    statuses: list[str] = []
    runs = 0
    profile = session.options.arch
    for path in paths:
        test = build.read(path).on(profile)
        reason = checking.skipped(test, profile)
        try:
            if reason:
                raise Unable(reason)
            labels, result = perform(test, session.abilities, session.seconds, session.directory)
        except Unable as error:
            session.explain(f"Test {test.name} skipped: {error}")
            statuses.append("skipped")
            continue
        judged = verdicts.judge(test, result, allowed(test, labels, session.options))
        statuses.append(judged.status)
        runs += result.runs
        if session.as_json:
            session.echo(json.dumps(verdicts.json_object(judged, session.kernel), ensure_ascii=False))
        else:
            session.echo("\n".join(verdicts.lines(judged)) + "\n")
    if statuses:
        session.explain(verdicts.summary("tests", statuses, f"; {runs:,} runs"))
    return statuses


# ----------------------------------------------------------------------------------------------- counts


def _counts(session: Session, paths: Sequence[Path]) -> list[str]:
    statuses: list[str] = []
    for path in paths:
        scenarios = read(path)
        try:
            known = tracepoints()
        except NoTracing as error:
            session.explain(f"Counts of {path.name} skipped: {error}")
            statuses += ["skipped"] * len(scenarios)
            continue
        model = ModelCounts(scenarios, session.options.arch, session.options.model, session.options.patches)
        for scenario in scenarios:
            try:
                measured = measure(scenario, session.abilities, known, session.directory)
            except (Unable, NoTracing) as error:
                session.explain(f"Count {scenario.name} skipped: {error}")
                statuses.append("skipped")
                continue
            try:
                counted: Counts | str = model.counts(scenario)
            except Stopped as error:
                counted = f"the model stops: {error}"
            statuses.append(_compare(session, scenario, counted, measured))
    if statuses:
        session.explain(verdicts.summary("counts", statuses))
    return statuses


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

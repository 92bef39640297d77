# SPDX-License-Identifier: GPL-2.0-only
"""Squeezes on the running kernel beside the model's, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ptelab.live import verdict as verdicts
from ptelab.live.aging import ModelSqueezes
from ptelab.live.binary import Crashed, Hung
from ptelab.live.column import Unable
from ptelab.live.figure import bars
from ptelab.live.probe import noise
from ptelab.live.report import Entry
from ptelab.live.squeezing import CAVEAT, Left, Squeezing, agree, measure, read, show, sorts
from ptelab.native.sequential import Stopped

if TYPE_CHECKING:
    from ptelab.live.command import Session


TRULY_OLD = "arm64+haf"
"""Where entries that are mapped around a fault are old from the start; the model says what it would be there."""


def squeezes(session: Session, paths: Sequence[Path]) -> list[str]:
    """Perform all scenarios of some files: a status for each."""
    statuses: list[str] = []
    for path in paths:
        scenarios = read(path)
        models: dict[str, ModelSqueezes] = {}
        for scenario in scenarios:
            judged = _judge(session, scenario, scenarios, models)
            statuses.append(judged.status)
            session.entries.append(_entry(session, path, judged))
            _say(session, judged)
    if statuses:
        session.explain(verdicts.summary("squeezes", statuses))
    return statuses


@dataclass(slots=True)
class _Judged:
    scenario: Squeezing
    status: str = "skipped"
    reason: str = ""  # where there is nothing to compare
    kernel: list[Left] = field(default_factory=list)
    model: list[Left] = field(default_factory=list)
    truly_old: list[Left] = field(default_factory=list)  # the model's, on TRULY_OLD
    noise: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What has to be said beside the figures."""
        notes = []
        if self.truly_old:
            notes += [f"the model of {TRULY_OLD}:", *(f"  {s}" for s in show(self.scenario, self.truly_old))]
        if self.scenario.old:
            notes.append(CAVEAT)
        if self.noise:
            notes.append(f"at work meanwhile: {', '.join(self.noise)}")
        return notes


def _judge(
    session: Session, scenario: Squeezing, scenarios: Sequence[Squeezing], models: dict[str, ModelSqueezes]
) -> _Judged:
    judged = _Judged(scenario)
    try:
        judged.kernel = measure(scenario, session.abilities, session.directory)
        judged.model = _model(session, session.options.arch, scenario, scenarios, models)
        if not scenario.old and not session.options.arch.startswith("arm64"):
            judged.truly_old = _model(session, TRULY_OLD, scenario, scenarios, models)
        judged.status = "ok" if agree(scenario, judged.model, judged.kernel) else "failed"
        if judged.status == "failed" and (others := noise()):
            judged.kernel = measure(scenario, session.abilities, session.directory)
            if agree(scenario, judged.model, judged.kernel):
                judged.status, judged.noise = "disturbed", others
    except Unable as error:
        judged.status, judged.reason = "skipped", str(error)
    except (Crashed, Hung) as error:
        judged.status, judged.reason = "failed", str(error)
    except Stopped as error:
        judged.status, judged.reason = "failed", f"the model stops: {error}"
    return judged


def _model(
    session: Session, profile: str, scenario: Squeezing, scenarios: Sequence[Squeezing],
    models: dict[str, ModelSqueezes],
) -> list[Left]:  # fmt: skip
    if profile not in models:
        models[profile] = ModelSqueezes(scenarios, profile, session.options.model, session.options.patches)
    return models[profile].left(scenario)


def _entry(session: Session, path: Path, judged: _Judged) -> Entry:
    scenario = judged.scenario
    model = "\n".join(show(scenario, judged.model)) if judged.model else ""
    seen = "\n".join(show(scenario, judged.kernel)) if judged.kernel else judged.reason
    figure = _figure(judged) if judged.kernel and judged.model else ""
    return Entry("squeeze", scenario.name, scenario.question, session.kernel, judged.status, model, seen,
                 session.command(str(path)), figure, "\n".join(judged.notes))  # fmt: skip


def _say(session: Session, judged: _Judged) -> None:
    scenario = judged.scenario
    if session.as_json and judged.kernel:
        sides = {"measured": judged.kernel, "model": judged.model, TRULY_OLD: judged.truly_old}
        record = {"squeeze": scenario.name, "kernel": session.kernel, "status": judged.status,
                  "squeezed": scenario.squeezed, "pages": sorts(scenario),
                  **{who: [asdict(one) for one in left] for who, left in sides.items()}}  # fmt: skip
        session.echo(json.dumps(record, ensure_ascii=False))
        return
    if judged.reason:
        session.explain(
            f"{'!!! ' * (judged.status == 'failed')}Squeeze {scenario.name} {judged.status}: {judged.reason}"
        )
        return
    lines = [f"Squeeze {scenario.name}:"]
    for kernel, model in zip(show(scenario, judged.kernel), show(scenario, judged.model), strict=True):
        lines += [f"  kernel {kernel}", f"  model  {model}"]
    lines += [f"  {note}" for note in judged.notes]
    if judged.status == "failed":
        lines.append("!!! the model says otherwise than the kernel")
    session.echo("\n".join(lines))


def _figure(judged: _Judged) -> str:
    touched, others = sorts(judged.scenario)
    sides = {"kernel": judged.kernel, "model": judged.model}
    if judged.truly_old:
        sides[f"model of {TRULY_OLD}"] = judged.truly_old
    series = {}
    for who, left in sides.items():
        series[f"pages that were touched, {who}"] = [one.touched / touched for one in left]
        series[f"pages that were not, {who}"] = [one.others / others for one in left]
    return bars([f"-{mb} MB" for mb in judged.scenario.squeezed], series)
